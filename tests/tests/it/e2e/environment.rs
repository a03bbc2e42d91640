//! The environment of every test: a namespace, a Git server, a sink for events, controllers that watch this namespace alone.

use std::{
    fmt::Debug,
    io::Write as _,
    net::SocketAddr,
    ops::ControlFlow,
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use plumb_testkit::{
    controllers::{Controllers, ControllersOptions},
    gitserver::{Credentials, GitServer, GitServerOptions},
    kinds,
    repository::Repository,
    sink::Sink,
    wait::Wait,
};
use serde_json::{Value, json};
use tokio::{sync::OnceCell, task::block_in_place};

use super::seen;

/// How long anything may take that is waited for.
const TIMEOUT: Duration = Duration::from_mins(1);
/// How long something must not happen to count as not happening.
const QUIET: Duration = Duration::from_millis(1500);
/// The Secret with the credentials of the Git server.
pub const SECRET: &str = "git-auth";
/// The annotation that requests a reconciliation.
const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";

static DEFINITIONS: OnceCell<()> = OnceCell::const_new();
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// The environment of one test.
pub struct Environment {
    /// The namespace.
    pub namespace: String,
    /// The Git server.
    pub git: GitServer,
    /// Where events arrive, unless notification-controller takes them.
    pub sink: Sink,
    /// The controllers.
    pub controllers: Controllers,
    client: Client,
}

impl Environment {
    /// source-controller and kustomize-controller, with events to the sink.
    pub async fn new(test: &str) -> Result<Self> {
        Self::with_sink(test, Sink::start()?).await
    }

    /// source-controller and kustomize-controller, with events to this sink.
    pub async fn with_sink(test: &str, sink: Sink) -> Result<Self> {
        Self::started(test, sink, ControllersOptions::with_sink).await
    }

    /// All three controllers: events go to notification-controller.
    pub async fn with_notification(test: &str) -> Result<Self> {
        Self::started(test, Sink::start()?, |_| ControllersOptions::with_notification()).await
    }

    /// Controllers that are started with these options for the address of the sink, except that they watch the namespace of
    /// the test alone.
    pub async fn started(
        test: &str,
        sink: Sink,
        options: impl FnOnce(SocketAddr) -> ControllersOptions,
    ) -> Result<Self> {
        let plane = block_in_place(plumb_testkit::plane);
        let client = plane.client().await?;
        DEFINITIONS.get_or_try_init(|| plumb_testkit::install_crds(&client)).await?;
        let namespace = plumb_testkit::namespace(&client, test).await?;
        let credentials = Credentials { username: "bot".to_owned(), password: "pass-word".to_owned() };
        let git = GitServer::start(&GitServerOptions { tls: true, credentials: Some(credentials) })?;
        let options = ControllersOptions { namespace: Some(namespace.clone()), ..options(sink.address()) };
        let controllers = block_in_place(|| Controllers::start(plane, &Controllers::binaries()?, &options))?;
        let environment = Self { namespace, git, sink, controllers, client };
        let data = json!({"username": "bot", "password": "pass-word", "ca.crt": environment.git.ca()});
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": data});
        environment.create(secret).await?;
        Ok(environment)
    }

    /// The end of a test: every status that is left is sound.
    pub async fn close(self) -> Result<()> {
        for kind in ["GitRepository", "Kustomization", "Receiver"] {
            self.list(kind).await?;
        }
        Ok(())
    }

    /// A GitRepository of the repository with this name.
    pub fn source(&self, name: &str) -> Value {
        json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": name},
            "spec": {
                "interval": "10m", "timeout": "20s", "url": self.git.url(name), "ref": {"branch": "main"},
                "secretRef": {"name": SECRET},
            },
        })
    }

    /// A Kustomization of the folder `deploy` of the GitRepository `app`, with these fields set, or set otherwise.
    pub fn kustomization(&self, name: &str, fields: &Value) -> Value {
        let mut object = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": {"name": name},
            "spec": {
                "interval": "10m", "prune": true, "path": "./deploy", "targetNamespace": self.namespace,
                "sourceRef": {"kind": "GitRepository", "name": "app"},
            },
        });
        for (field, value) in fields.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        object
    }

    /// Commits and pushes everything, requests a reconciliation of the source `app`, returns the revision.
    pub async fn commit(&self, repository: &Repository, message: &str) -> Result<String> {
        repository.push(message)?;
        self.request("GitRepository", "app").await?;
        repository.revision()
    }

    /// Requests a reconciliation; returns the token that must appear in the status.
    pub async fn request(&self, kind: &str, name: &str) -> Result<String> {
        let token = format!("request-{}", REQUESTS.fetch_add(1, Ordering::Relaxed));
        self.annotate(kind, name, REQUESTED_AT, &token).await?;
        Ok(token)
    }

    /// Sets one annotation.
    pub async fn annotate(&self, kind: &str, name: &str, key: &str, value: &str) -> Result<()> {
        self.edit(kind, name, &json!({"metadata": {"annotations": {key: value}}})).await.map(drop)
    }

    /// Waits until a Kustomization has applied a revision and is Ready.
    pub async fn applied(&self, name: &str, revision: &str) -> Result<Value> {
        self.until("Kustomization", name, &format!("has applied {revision}"), |seen| {
            seen::is_ready(seen) && seen["status"]["lastAppliedRevision"] == revision
        })
        .await
    }

    /// Waits until a Kustomization has failed for this reason; returns the message of Ready.
    pub async fn failed(&self, name: &str, reason: &str) -> Result<String> {
        let what = format!("has failed with {reason}");
        let failed = self.until("Kustomization", name, &what, |seen| seen::is_failed(seen, reason)).await?;
        Ok(seen::message(&failed, "Ready").to_owned())
    }

    /// Waits until an object fits.
    pub async fn until(
        &self,
        kind: &str,
        name: &str,
        what: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let wait = Wait::until(format!("{kind} {name} {what}"), TIMEOUT);
        self.wait(wait, async || {
            Ok(match self.find(kind, name).await? {
                Some(object) if fits(&object) => ControlFlow::Break(object),
                other => ControlFlow::Continue(other),
            })
        })
        .await
    }

    /// Waits until an object is not there.
    pub async fn gone(&self, kind: &str, name: &str) -> Result<()> {
        let wait = Wait::until(format!("{kind} {name} is absent"), TIMEOUT);
        self.wait(wait, async || {
            let found = self.find(kind, name).await?;
            Ok(found.map_or(ControlFlow::Break(()), ControlFlow::Continue))
        })
        .await
    }

    /// Watches for a while that an object fits all the time; returns how it is then.
    pub async fn stays(
        &self,
        kind: &str,
        name: &str,
        what: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let stays = Wait::until(format!("{kind} {name} {what}"), QUIET);
        let stays = stays.stays(async || {
            let seen = self.get(kind, name).await?;
            Ok(if fits(&seen) { ControlFlow::Continue(seen) } else { ControlFlow::Break(seen) })
        });
        self.explained(stays.await).await
    }

    /// Waits for an event of this reason whose message contains all these words; returns the message.
    pub async fn reported(&self, reason: &str, words: &[&str]) -> Result<String> {
        let wait = Wait::until(format!("there is an event {reason} with {words:?}"), TIMEOUT);
        self.wait(wait, async || {
            let events = self.events(reason).await?;
            let found = events.iter().find(|text| words.iter().all(|word| text.contains(word))).cloned();
            Ok(found.map_or(ControlFlow::Continue(events), ControlFlow::Break))
        })
        .await
    }

    /// Waits; an error shows the events and the logs.
    async fn wait<T, S: Debug>(
        &self,
        wait: Wait,
        probe: impl AsyncFnMut() -> Result<ControlFlow<T, S>>,
    ) -> Result<T> {
        self.explained(wait.poll(probe).await).await
    }

    async fn explained<T>(&self, waited: Result<T>) -> Result<T> {
        match waited {
            Ok(found) => Ok(found),
            Err(error) => bail!("{error:#}\n{}", self.evidence().await),
        }
    }

    /// The messages of all events of this reason.
    pub async fn events(&self, reason: &str) -> Result<Vec<String>> {
        let all = self.list("Event").await?;
        let fitting = all.iter().filter(|event| event["reason"] == reason);
        Ok(fitting.map(|event| seen::text(event, "/message").to_owned()).collect())
    }

    /// Creates an object.
    pub async fn create(&self, object: Value) -> Result<Value> {
        let kind = seen::text(&object, "/kind").to_owned();
        let object: DynamicObject = serde_json::from_value(object)?;
        let made = self.api(&kind)?.create(&PostParams::default(), &object).await;
        Ok(serde_json::to_value(made.with_context(|| format!("cannot create the {kind}"))?)?)
    }

    /// An object that must be there.
    pub async fn get(&self, kind: &str, name: &str) -> Result<Value> {
        self.find(kind, name).await?.with_context(|| format!("{kind} {name} is not there"))
    }

    /// An object, if it is there. Its status is sound.
    pub async fn find(&self, kind: &str, name: &str) -> Result<Option<Value>> {
        let found = self.api(kind)?.get_opt(name).await?;
        let Some(found) = found.map(serde_json::to_value).transpose()? else { return Ok(None) };
        seen::lint(kind, &found)?;
        Ok(Some(found))
    }

    /// All objects of a kind. Each status is sound.
    pub async fn list(&self, kind: &str) -> Result<Vec<Value>> {
        let found = self.api(kind)?.list(&ListParams::default()).await?;
        let objects: Vec<_> = found.items.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        objects.iter().try_for_each(|object| seen::lint(kind, object))?;
        Ok(objects)
    }

    /// Changes an object by a merge patch, as a person's tool would.
    pub async fn edit(&self, kind: &str, name: &str, patch: &Value) -> Result<Value> {
        self.edit_as("kubectl-edit", kind, name, patch).await
    }

    /// Changes an object by a merge patch of this field manager.
    pub async fn edit_as(&self, manager: &str, kind: &str, name: &str, patch: &Value) -> Result<Value> {
        let parameters = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        let edited = self.api(kind)?.patch(name, &parameters, &Patch::Merge(patch)).await;
        Ok(serde_json::to_value(edited.with_context(|| format!("cannot edit {kind} {name}"))?)?)
    }

    /// Deletes an object.
    pub async fn delete(&self, kind: &str, name: &str) -> Result<()> {
        let deleted = self.api(kind)?.delete(name, &DeleteParams::default()).await;
        deleted.with_context(|| format!("cannot delete {kind} {name}")).map(drop)
    }

    /// Runs the stock kubectl in this namespace.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<()> {
        let plane = plumb_testkit::plane();
        let words = plane.kubectl();
        let (program, first) = words.split_first().context("the plane has no kubectl")?;
        let mut command = Command::new(program);
        command.args(first).arg("--kubeconfig").arg(plane.kubeconfig(plumb_plane::ADMIN));
        command.args(["--namespace", &self.namespace]).args(arguments);
        let output = block_in_place(|| command.output()).context("cannot start kubectl")?;
        if !output.status.success() {
            bail!("kubectl {arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Creates an object of any kind by the stock kubectl.
    pub fn create_from_file(&self, object: &Value) -> Result<()> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(object.to_string().as_bytes())?;
        let path = file.path().to_str().context("the path of a temporary file is text")?;
        self.kubectl(&["create", "-f", path])
    }

    /// Details of a failed test.
    async fn evidence(&self) -> String {
        let events = self.list("Event").await.unwrap_or_default();
        let line =
            |event: &Value| format!("{}: {}", seen::text(event, "/reason"), seen::text(event, "/message"));
        let events: Vec<_> = events.iter().map(line).collect();
        format!("events: {events:#?}\n{}", self.controllers.last_lines())
    }

    fn api(&self, kind: &str) -> Result<Api<DynamicObject>> {
        kinds::namespaced(&self.client, kind, &self.namespace)
    }
}
