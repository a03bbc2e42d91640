//! One running control plane: its start, its description for other processes, its end.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::programs::TESTED;
use crate::{
    ADMIN, CONTROLLERS, HANDOVER, Programs, certificates,
    components::{self, Ports},
    kubeconfig, node,
    process::{Process, Start, last_lines},
    reaper::Reaper,
};

/// How long a plane may take to be ready.
const START_MAX: Duration = Duration::from_secs(90);
/// Polling interval of readiness.
const READY_POLL: Duration = Duration::from_millis(50);
/// How often a start is tried: another process may take a port that was free a moment ago.
const TRIES_MAX: u32 = 3;
/// How many lines of a component's log an error shows.
const LOG_LINES: usize = 15;
const MASTERS: &str = "system:masters";
const MANAGER_USER: &str = "system:kube-controller-manager";
const DESCRIPTION: &str = "plane.json";

/// A user of the plane, known by a token.
#[derive(Clone, Debug)]
pub struct User {
    /// The name in the audit log and in admission.
    pub name: String,
    /// The groups; `system:masters` may do everything.
    pub groups: Vec<String>,
}

/// How a plane is to be.
#[derive(Clone, Debug)]
pub struct PlaneOptions {
    /// Users in addition to the admin and the three controllers.
    pub users: Vec<User>,
    /// Write an audit log of users and requests. Complete when the response arrives.
    pub audit: bool,
    /// Run a fake node, on which pods become Ready after this delay.
    pub node: Option<Duration>,
    /// Let etcd fsync, and keep its data on a disk.
    pub durable: bool,
    /// Receives progress, a line each.
    pub progress: fn(&str),
}

impl Default for PlaneOptions {
    fn default() -> Self {
        Self {
            users: Vec::new(),
            audit: false,
            node: Some(node::READY_AFTER),
            durable: false,
            progress: |_| {},
        }
    }
}

/// What another process needs to use a running plane.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Description {
    folder: PathBuf,
    server: String,
    kubectl: Vec<String>,
    audit: Option<PathBuf>,
}

/// A running control plane. The one that started it stops it when dropped; one from the environment is only borrowed.
pub struct Plane {
    description: Description,
    owned: Option<Owned>,
}

/// Fields are dropped in this order: first the node, then the processes, the folder last.
struct Owned {
    node: Option<Node>,
    components: Vec<Process>,
    reaper: Reaper,
    ready: Duration,
    origin: String,
}

impl Plane {
    /// Starts a plane and waits until it serves. Blocks; call it outside of async code.
    pub fn start(options: &PlaneOptions) -> Result<Self> {
        let programs = Programs::find(&options.progress)?;
        let mut tries = 1;
        loop {
            match Self::start_once(&programs, options) {
                Err(error)
                    if tries < TRIES_MAX && format!("{error:#}").contains("address already in use") =>
                {
                    tries += 1;
                }
                done => return done,
            }
        }
    }

    /// The plane of the environment, if there is one.
    pub fn from_env() -> Result<Option<Self>> {
        let Some(file) = std::env::var_os(HANDOVER).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        Self::from_file(Path::new(&file)).map(Some)
    }

    /// The plane that a description file names.
    pub fn from_file(file: &Path) -> Result<Self> {
        let read = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let description =
            serde_json::from_slice(&read).with_context(|| format!("{} is damaged", file.display()))?;
        Ok(Self { description, owned: None })
    }

    /// The description of this plane; its path in `PLUMB_PLANE_STATE` passes the plane to another process.
    pub fn description(&self) -> PathBuf {
        self.description.folder.join(DESCRIPTION)
    }

    /// The URL of the API server.
    pub fn server(&self) -> &str {
        &self.description.server
    }

    /// The kubeconfig of a user that the plane was started with.
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        kubeconfig_of(&self.description.folder, user)
    }

    /// A client of the admin. It belongs to the tokio runtime that it is made in.
    pub async fn client(&self) -> Result<kube::Client> {
        kubeconfig::client(&self.kubeconfig(ADMIN)).await
    }

    /// A client of another user.
    pub async fn client_of(&self, user: &str) -> Result<kube::Client> {
        kubeconfig::client(&self.kubeconfig(user)).await
    }

    /// How to call kubectl: the stock program of PATH, or the plane's own.
    pub fn kubectl(&self) -> Vec<OsString> {
        self.description.kubectl.iter().map(OsString::from).collect()
    }

    /// The audit log, if one was requested.
    pub fn audit_log(&self) -> Option<&Path> {
        self.description.audit.as_deref()
    }

    /// How long the start took; zero for a borrowed plane.
    pub fn started_in(&self) -> Duration {
        self.owned.as_ref().map_or(Duration::ZERO, |owned| owned.ready)
    }

    /// The origin of the components, as a sentence.
    pub fn origin(&self) -> &str {
        self.owned.as_ref().map_or("the control plane is borrowed", |owned| &owned.origin)
    }

    /// The ends of the components' logs.
    pub fn last_lines(&self) -> String {
        let names = ["etcd", "kube-apiserver", "kube-controller-manager"];
        let of = |name: &&str| last_lines(&self.description.folder.join(format!("{name}.log")), LOG_LINES);
        names.iter().map(|name| format!("{name}:\n{}", of(name))).collect::<Vec<_>>().join("\n")
    }

    fn start_once(programs: &Programs, options: &PlaneOptions) -> Result<Self> {
        let started = Instant::now();
        let folder = new_folder(options.durable)?;
        let reaper = Reaper::of(&folder)?;
        certificates::write(&folder)?;
        let ports = Ports::free()?;
        let description = describe(&folder, ports, programs, options)?;
        write_users(&folder, &description.server, options)?;
        let mut owned = Owned {
            node: None,
            components: Vec::new(),
            reaper,
            ready: Duration::ZERO,
            origin: programs.origin.clone(),
        };
        owned.add("etcd", components::etcd(&programs.etcd, &folder, ports, options.durable), &folder)?;
        owned.add(
            "kube-apiserver",
            components::api_server(&programs.api_server, &folder, ports, options.audit)?,
            &folder,
        )?;
        let manager = kubeconfig_of(&folder, MANAGER_USER);
        let manager = components::controller_manager(&programs.controller_manager, &folder, &manager);
        let mut plane = Self { description, owned: None };
        plane.wait(&mut owned, "the API server is not ready", |client| Box::pin(is_ready(client)))?;
        owned.add("kube-controller-manager", manager, &folder)?;
        // Its first visible work: without this account no pod is admitted in `default`.
        plane.wait(&mut owned, "the controller manager does no work", |client| {
            Box::pin(has_account(client))
        })?;
        if let Some(delay) = options.node {
            owned.node = Some(Node::start(plane.kubeconfig(ADMIN), delay)?);
        }
        owned.ready = started.elapsed();
        owned.origin = format!("{}: {}", owned.origin, found(&version(&plane.kubeconfig(ADMIN))?));
        plane.owned = Some(owned);
        Ok(plane)
    }

    /// Waits in a thread of its own, since the caller may be async.
    fn wait(&self, owned: &mut Owned, what: &str, ask: Probe) -> Result<()> {
        let kubeconfig = self.kubeconfig(ADMIN);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    let client = kubeconfig::client(&kubeconfig).await?;
                    let deadline = Instant::now() + START_MAX;
                    while !ask(client.clone()).await {
                        if let Some(dead) =
                            owned.components.iter_mut().find_map(|one| one.ended().map(|_| &*one))
                        {
                            bail!("{} ended at its start:\n{}", dead.name(), dead.last_lines(LOG_LINES));
                        }
                        if Instant::now() > deadline {
                            let logs = owned.components.iter().map(|one| one.last_lines(LOG_LINES));
                            bail!(
                                "{what} after {} s:\n{}",
                                START_MAX.as_secs(),
                                logs.collect::<Vec<_>>().join("\n")
                            );
                        }
                        tokio::time::sleep(READY_POLL).await;
                    }
                    Ok(())
                })
            });
            waiting.join().unwrap_or_else(|_| bail!("the wait for the control plane panicked"))
        })
    }
}

/// The version that the API server reports. In a thread of its own, since the caller may be async.
fn version(kubeconfig: &Path) -> Result<String> {
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let client = kubeconfig::client(kubeconfig).await?;
                let info = client.apiserver_version().await.context("the API server reports no version")?;
                Ok(info.git_version)
            })
        });
        asking.join().unwrap_or_else(|_| bail!("the request for the version panicked"))
    })
}

/// The version that was found, and the tested ones where it is none of them.
fn found(version: &str) -> String {
    let mut numbers = version.trim_start_matches('v').splitn(3, '.');
    let minor = format!("{}.{}", numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if TESTED.contains(&minor.as_str()) {
        format!("Kubernetes {version}")
    } else {
        format!("Kubernetes {version}, which is not tested (tested: {})", TESTED.join(", "))
    }
}

type Probe = fn(kube::Client) -> std::pin::Pin<Box<dyn Future<Output = bool> + Send>>;

async fn is_ready(client: kube::Client) -> bool {
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else { return false };
    client.request_text(request).await.is_ok_and(|response| response == "ok")
}

async fn has_account(client: kube::Client) -> bool {
    Api::<ServiceAccount>::namespaced(client, "default").get("default").await.is_ok()
}

impl Owned {
    fn add(&mut self, name: &str, argv: Vec<OsString>, folder: &Path) -> Result<()> {
        let log = folder.join(format!("{name}.log"));
        let process = Process::start(Start { name, argv, environment: Vec::new(), log })?;
        self.reaper.adopt(process.id())?;
        self.components.push(process);
        Ok(())
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        drop(self.node.take());
        // The API server first: without its etcd it would wait and complain.
        for component in self.components.iter_mut().rev() {
            component.kill();
        }
    }
}

/// The fake node, in a thread with a runtime of its own.
struct Node {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    fn start(kubeconfig: PathBuf, ready_after: Duration) -> Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("fake-node".to_owned()).spawn(move || {
            runtime.block_on(async {
                let node = async {
                    match kubeconfig::client(&kubeconfig).await {
                        Ok(client) => node::run(client, ready_after).await,
                        Err(error) => tracing::error!("the fake node has no client: {error:#}"),
                    }
                };
                tokio::select! { () = node => {}, _ = stopped => {} }
            });
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A node that panicked is reported by the tests that miss their pods.
            let _ = thread.join();
        }
    }
}

fn describe(folder: &Path, ports: Ports, programs: &Programs, options: &PlaneOptions) -> Result<Description> {
    let words = programs.kubectl.iter().flat_map(|kubectl| &kubectl.0);
    let description = Description {
        folder: folder.to_owned(),
        server: format!("https://127.0.0.1:{}", ports.server),
        kubectl: words.map(|word| word.to_string_lossy().into_owned()).collect(),
        audit: options.audit.then(|| folder.join(components::AUDIT_LOG)),
    };
    let file = folder.join(DESCRIPTION);
    let text = serde_json::to_string_pretty(&description).context("the plane cannot be described")?;
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(description)
}

/// The token file, and a kubeconfig per user.
fn write_users(folder: &Path, server: &str, options: &PlaneOptions) -> Result<()> {
    let masters = |name: &str| User { name: name.to_owned(), groups: vec![MASTERS.to_owned()] };
    let mut users = vec![masters(ADMIN), masters(MANAGER_USER)];
    users.extend(CONTROLLERS.iter().map(|name| masters(name)));
    users.extend(options.users.iter().cloned());
    let mut tokens = Vec::new();
    for User { name, groups } in &users {
        let token = uuid::Uuid::new_v4().simple().to_string();
        tokens.push(format!("{token},{name},{name},\"{}\"", groups.join(",")));
        kubeconfig::write(
            &kubeconfig_of(folder, name),
            server,
            &folder.join(certificates::CA),
            name,
            &token,
        )?;
    }
    fs::write(folder.join(components::TOKENS), tokens.join("\n")).context("cannot write the tokens")
}

fn kubeconfig_of(folder: &Path, user: &str) -> PathBuf {
    folder.join(format!("{}.kubeconfig", user.replace(':', "-")))
}

/// A folder in memory, where there is one and it is not to outlive a power loss. Only we may read it: it holds tokens.
fn new_folder(durable: bool) -> Result<PathBuf> {
    let memory = Path::new("/dev/shm");
    let parent = if !durable && memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let folder = tempfile::Builder::new().prefix("plumb-plane-").tempdir_in(&parent);
    let folder = folder.or_else(|_| tempfile::Builder::new().prefix("plumb-plane-").tempdir());
    // The reaper removes it.
    Ok(folder.context("cannot create a folder for the control plane")?.keep())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_is_not_tested_is_reported() {
        assert_eq!(found("v1.36.3"), "Kubernetes v1.36.3");
        assert_eq!(found("v1.37.2"), "Kubernetes v1.37.2");
        let newer = found("v1.99.0-rc.1+build");
        assert!(
            newer.starts_with("Kubernetes v1.99.0-rc.1+build, which is not tested (tested: 1.36, 1.37)"),
            "{newer}"
        );
    }
}
