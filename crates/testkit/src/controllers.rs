//! The three controllers as processes, as a user runs them: free ports, probes, logs, and kill -9 at any moment.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use plumb_plane::{
    Plane, Reaper,
    process::{Process, Start},
};

use crate::wire;

/// The environment variable that names the folder with the binaries; `cargo xtask` sets it.
pub const BINARIES: &str = "PLUMB_BIN_DIR";
/// The controllers, in the order in which they are started.
pub const NAMES: [&str; 3] = [NOTIFICATION, SOURCE, KUSTOMIZE];
/// source-controller.
pub const SOURCE: &str = "source-controller";
/// kustomize-controller.
pub const KUSTOMIZE: &str = "kustomize-controller";
/// notification-controller.
pub const NOTIFICATION: &str = "notification-controller";
/// The namespace that the controllers think they run in.
pub const NAMESPACE: &str = "flux-system";

/// How long a controller may take to be ready.
const READY_MAX: Duration = Duration::from_mins(1);
const READY_POLL: Duration = Duration::from_millis(10);
/// How long a controller may take to stop by itself.
const STOP_MAX: Duration = Duration::from_secs(15);
const LOG_LINES: usize = 20;

/// The three controllers against one plane. They are killed, and their files removed, when this is dropped.
pub struct Controllers {
    running: BTreeMap<&'static str, Process>,
    recipes: BTreeMap<&'static str, Recipe>,
    ports: Ports,
    folder: PathBuf,
    reaper: Reaper,
}

struct Recipe {
    argv: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    health: u16,
}

/// One port per server of the three.
struct Ports {
    artifacts: u16,
    events: u16,
    receiver: u16,
    health: [u16; 3],
    metrics: [u16; 3],
}

impl Controllers {
    /// Starts all three and waits until each is ready. Blocks a thread.
    pub fn start(plane: &Plane, binaries: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("plumb-controllers-").tempdir()?.keep();
        let reaper = Reaper::of(&folder)?;
        let ports = Ports::free()?;
        let mut recipes = BTreeMap::new();
        for (at, name) in NAMES.into_iter().enumerate() {
            let program = binaries.join(name);
            if !program.is_file() {
                bail!("{} is not there: build it with `cargo build -p {name}`", program.display());
            }
            let mut argv = vec![program.into_os_string()];
            argv.extend(ports.arguments(name, at, &folder).into_iter().map(OsString::from));
            let environment = vec![
                ("KUBECONFIG".into(), plane.kubeconfig(name).into_os_string()),
                ("RUNTIME_NAMESPACE".into(), NAMESPACE.into()),
                ("TMPDIR".into(), folder.join("tmp").into_os_string()),
            ];
            recipes.insert(name, Recipe { argv, environment, health: ports.health[at] });
        }
        fs::create_dir_all(folder.join("tmp"))?;
        fs::create_dir_all(folder.join("storage"))?;
        let mut all = Self { running: BTreeMap::new(), recipes, ports, folder, reaper };
        for name in NAMES {
            all.launch(name)?;
        }
        for name in NAMES {
            all.await_ready(name)?;
        }
        Ok(all)
    }

    /// The folder of the binaries: from the environment, else next to the running test.
    pub fn binaries() -> Result<PathBuf> {
        if let Some(folder) = env::var_os(BINARIES) {
            return Ok(folder.into());
        }
        let test = env::current_exe().context("this program has no path")?;
        // target/debug/deps/it-… → target/debug
        let folder = test.parent().and_then(Path::parent).context("a test is in target/<profile>/deps")?;
        Ok(folder.to_owned())
    }

    /// Sends SIGKILL: no handler runs, nothing is flushed.
    pub fn kill(&mut self, name: &'static str) {
        if let Some(mut process) = self.running.remove(name) {
            process.kill();
        }
    }

    /// Starts one that was killed or stopped, with the same arguments, and waits until it is ready.
    pub fn restart(&mut self, name: &'static str) -> Result<()> {
        self.launch(name)?;
        self.await_ready(name)
    }

    /// Sends SIGTERM to one and waits for its end; false if it had to be killed.
    pub fn stop(&mut self, name: &'static str) -> bool {
        self.running.remove(name).is_none_or(|mut process| process.stop(STOP_MAX))
    }

    /// Where webhooks go.
    pub fn receiver(&self) -> SocketAddr {
        local(self.ports.receiver)
    }

    /// Where the controllers send their events.
    pub fn events(&self) -> SocketAddr {
        local(self.ports.events)
    }

    /// Where artifacts are served.
    pub fn artifacts(&self) -> SocketAddr {
        local(self.ports.artifacts)
    }

    /// `/metrics` of one, as text.
    pub fn metrics(&self, name: &str) -> Result<String> {
        let at = NAMES.iter().position(|known| *known == name).context("no such controller")?;
        Ok(wire::get(local(self.ports.metrics[at]), "/metrics")?.body)
    }

    /// The log of one, over all its restarts.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.log_file(name)).unwrap_or_default()
    }

    /// The ends of all logs, for a test that failed.
    pub fn last_lines(&self) -> String {
        let last = |name: &&str| {
            format!("{name}:\n{}", plumb_plane::process::last_lines(&self.log_file(name), LOG_LINES))
        };
        NAMES.iter().map(last).collect::<Vec<_>>().join("\n")
    }

    /// The process id of one that runs.
    pub fn id(&self, name: &str) -> Option<u32> {
        self.running.get(name).map(Process::id)
    }

    fn launch(&mut self, name: &'static str) -> Result<()> {
        let recipe = self.recipes.get(name).context("no such controller")?;
        let log = self.log_file(name);
        let (argv, environment) = (recipe.argv.clone(), recipe.environment.clone());
        let process = Process::start(Start { name, argv, environment, log })?;
        self.reaper.adopt(process.id())?;
        self.running.insert(name, process);
        Ok(())
    }

    fn await_ready(&mut self, name: &'static str) -> Result<()> {
        let health = local(self.recipes.get(name).context("no such controller")?.health);
        let deadline = Instant::now() + READY_MAX;
        while !wire::get(health, "/readyz").is_ok_and(|response| response.code == 200) {
            let process = self.running.get_mut(name).context("it was not started")?;
            if let Some(status) = process.ended() {
                bail!("{name} ended at its start ({status}):\n{}", process.last_lines(LOG_LINES));
            }
            if Instant::now() > deadline {
                bail!(
                    "{name} is not ready after {} s:\n{}",
                    READY_MAX.as_secs(),
                    process.last_lines(LOG_LINES)
                );
            }
            thread::sleep(READY_POLL);
        }
        Ok(())
    }

    fn log_file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }
}

impl Ports {
    fn free() -> Result<Self> {
        // Held together, so that they differ.
        let held: Vec<_> =
            (0..9).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
        let ports = held.iter().map(|one| Ok(one.local_addr()?.port())).collect::<Result<Vec<u16>>>()?;
        let group = |from: usize| [ports[from], ports[from + 1], ports[from + 2]];
        let [artifacts, events, receiver] = group(0);
        Ok(Self { artifacts, events, receiver, health: group(3), metrics: group(6) })
    }

    fn arguments(&self, name: &str, at: usize, folder: &Path) -> Vec<String> {
        let mut arguments = vec![
            format!("--health-addr=127.0.0.1:{}", self.health[at]),
            format!("--metrics-addr=127.0.0.1:{}", self.metrics[at]),
            "--log-level=info".to_owned(),
            "--enable-leader-election=false".to_owned(),
        ];
        if name == NOTIFICATION {
            arguments.push(format!("--events-addr=127.0.0.1:{}", self.events));
            arguments.push(format!("--receiverAddr=127.0.0.1:{}", self.receiver));
            // Sinks of tests are on this machine.
            arguments.push("--allow-addresses=loopback".to_owned());
            return arguments;
        }
        arguments.push(format!("--events-addr=http://127.0.0.1:{}/", self.events));
        arguments.push("--requeue-dependency=2s".to_owned());
        if name == SOURCE {
            arguments.push(format!("--storage-path={}", folder.join("storage").display()));
            arguments.push(format!("--storage-addr=127.0.0.1:{}", self.artifacts));
            arguments.push(format!("--storage-adv-addr=127.0.0.1:{}", self.artifacts));
        }
        arguments
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
