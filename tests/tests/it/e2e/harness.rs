//! The controllers of one test, as processes that watch one namespace alone, so that parallel tests do not interfere.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use plumb_plane::{
    Plane, Reaper,
    process::{Process, Start, last_lines},
};
use plumb_testkit::{
    controllers::{Controllers, KUSTOMIZE, NOTIFICATION, SOURCE},
    wire,
};

/// How long a controller may take to be ready.
const READY_MAX: Duration = Duration::from_mins(1);
const READY_POLL: Duration = Duration::from_millis(10);
/// Where the ports of the controllers begin, how many there are, and how far those of two test processes are apart.
const PORTS_FIRST: u32 = 20_000;
const PORTS: u32 = 12_000;
const PORTS_STEP: u32 = 1_009;
/// How much of each log a failed test shows.
const LOG_LINES: usize = 25;

/// Where events go.
#[derive(Clone, Copy, Debug)]
pub enum Events {
    /// To a sink of the test.
    Sink(SocketAddr),
    /// To notification-controller, which is started too.
    Notification,
}

/// What a test changes of how the controllers are started.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The kubeconfig of a controller; without one, that of the plane.
    pub kubeconfigs: BTreeMap<&'static str, PathBuf>,
    /// Flags of a controller. They replace flags of the same name.
    pub flags: BTreeMap<&'static str, Vec<String>>,
    /// Controllers that are not started.
    pub without: Vec<&'static str>,
}

/// The processes. They are killed, and their files removed, when this is dropped.
pub struct Harness {
    running: BTreeMap<&'static str, Process>,
    recipes: BTreeMap<&'static str, Recipe>,
    ports: Ports,
    folder: PathBuf,
    reaper: Reaper,
}

struct Recipe {
    argv: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    health: SocketAddr,
    metrics: SocketAddr,
}

impl Recipe {
    fn change(&mut self, name: &str, overrides: &Overrides) {
        if let Some(kubeconfig) = overrides.kubeconfigs.get(name) {
            self.environment.retain(|(variable, _)| variable != "KUBECONFIG");
            self.environment.push(("KUBECONFIG".into(), kubeconfig.clone().into_os_string()));
        }
        for flag in overrides.flags.get(name).into_iter().flatten() {
            let prefix = flag.split_inclusive('=').next().unwrap_or(flag);
            self.argv.retain(|argument| !argument.to_string_lossy().starts_with(prefix));
            self.argv.push(flag.into());
        }
    }
}

/// The addresses of the servers.
struct Ports {
    artifacts: SocketAddr,
    events: SocketAddr,
    receiver: SocketAddr,
    health: [SocketAddr; 3],
    metrics: [SocketAddr; 3],
}

impl Harness {
    /// Starts the controllers and waits until each is ready. Blocks a thread.
    pub fn start(plane: &Plane, namespace: &str, events: Events, overrides: &Overrides) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("plumb-harness-").tempdir()?.keep();
        let reaper = Reaper::of(&folder)?;
        fs::create_dir_all(folder.join("tmp"))?;
        fs::create_dir_all(folder.join("storage"))?;
        let ports = Ports::free()?;
        let names: &[&'static str] = match events {
            Events::Sink(_) => &[SOURCE, KUSTOMIZE],
            Events::Notification => &[NOTIFICATION, SOURCE, KUSTOMIZE],
        };
        let wanted = names.iter().filter(|name| !overrides.without.contains(name));
        let names: Vec<&'static str> = wanted.copied().collect();
        let mut harness = Self { running: BTreeMap::new(), recipes: BTreeMap::new(), ports, folder, reaper };
        let binaries = Controllers::binaries()?;
        for (at, name) in names.iter().enumerate() {
            let mut recipe = harness.recipe(&binaries, plane, namespace, events, (name, at))?;
            recipe.change(name, overrides);
            harness.recipes.insert(name, recipe);
            harness.launch(name)?;
        }
        for name in names {
            harness.await_ready(name)?;
        }
        Ok(harness)
    }

    /// Sends SIGKILL: no handler runs, nothing is flushed.
    pub fn kill(&mut self, name: &'static str) {
        if let Some(mut process) = self.running.remove(name) {
            process.kill();
        }
    }

    /// Starts one that was killed, with the same arguments, and waits until it is ready.
    pub fn restart(&mut self, name: &'static str) -> Result<()> {
        self.launch(name)?;
        self.await_ready(name)
    }

    /// The process id of one that was started.
    pub fn id(&self, name: &str) -> Option<u32> {
        self.running.get(name).map(Process::id)
    }

    /// Whether one that was started has ended by itself.
    pub fn has_ended(&mut self, name: &str) -> bool {
        self.running.get_mut(name).is_none_or(|process| process.ended().is_some())
    }

    /// A counter of a controller, summed over its series that have this label (`name="value"`).
    pub fn counted(&self, controller: &str, name: &str, label: &str) -> Result<f64> {
        let metrics = self.recipes.get(controller).context("no such controller")?.metrics;
        let response = wire::get(metrics, "/metrics")?;
        let prefix = format!("{name}{{");
        let series = response.body.lines().filter(|line| line.starts_with(&prefix) && line.contains(label));
        Ok(series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Where webhooks go.
    pub fn receiver(&self) -> SocketAddr {
        self.ports.receiver
    }

    /// The ends of all logs, for a test that failed.
    pub fn last_lines(&self) -> String {
        let last = |name: &&str| format!("{name}:\n{}", last_lines(&self.log_file(name), LOG_LINES));
        self.recipes.keys().map(last).collect::<Vec<_>>().join("\n")
    }

    fn recipe(
        &self,
        binaries: &Path,
        plane: &Plane,
        namespace: &str,
        events: Events,
        (name, at): (&str, usize),
    ) -> Result<Recipe> {
        let program = binaries.join(name);
        if !program.is_file() {
            bail!("{} is not there: build it with `cargo build -p {name}`", program.display());
        }
        let mut argv = vec![program.into_os_string()];
        argv.extend(self.ports.arguments(name, at, events, &self.folder).into_iter().map(OsString::from));
        let environment = vec![
            ("KUBECONFIG".into(), plane.kubeconfig(name).into_os_string()),
            ("RUNTIME_NAMESPACE".into(), namespace.into()),
            ("TMPDIR".into(), self.folder.join("tmp").into_os_string()),
        ];
        Ok(Recipe { argv, environment, health: self.ports.health[at], metrics: self.ports.metrics[at] })
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
        let health = self.recipes.get(name).context("no such controller")?.health;
        let deadline = Instant::now() + READY_MAX;
        while !wire::get(health, "/readyz").is_ok_and(|response| response.code == 200) {
            let process = self.running.get_mut(name).context("it was not started")?;
            if let Some(status) = process.ended() {
                bail!("{name} ended at its start ({status}):\n{}", process.last_lines(LOG_LINES));
            }
            if Instant::now() > deadline {
                bail!("{name} is not ready:\n{}", process.last_lines(LOG_LINES));
            }
            thread::sleep(READY_POLL);
        }
        Ok(())
    }

    fn log_file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }
}

/// A port that no other test of this process has had, and below those that the kernel assigns: a controller
/// that was killed must find its ports free again.
fn free_port() -> Result<SocketAddr> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    for _ in 0..PORTS {
        let at =
            std::process::id().wrapping_mul(PORTS_STEP).wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(PORTS_FIRST + at % PORTS)?;
        if let Ok(held) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok(held.local_addr()?);
        }
    }
    bail!("no port is free between {PORTS_FIRST} and {}", PORTS_FIRST + PORTS)
}

impl Ports {
    fn free() -> Result<Self> {
        let free = (0..9).map(|_| free_port()).collect::<Result<Vec<_>>>()?;
        let group = |from: usize| [free[from], free[from + 1], free[from + 2]];
        let [artifacts, events, receiver] = group(0);
        Ok(Self { artifacts, events, receiver, health: group(3), metrics: group(6) })
    }

    fn arguments(&self, name: &str, at: usize, events: Events, folder: &Path) -> Vec<String> {
        let mut arguments = vec![
            format!("--health-addr={}", self.health[at]),
            format!("--metrics-addr={}", self.metrics[at]),
            "--log-level=info".to_owned(),
            "--enable-leader-election=false".to_owned(),
            "--watch-all-namespaces=false".to_owned(),
        ];
        if name == NOTIFICATION {
            arguments.push(format!("--events-addr={}", self.events));
            arguments.push(format!("--receiverAddr={}", self.receiver));
            // Sinks of tests are on this machine.
            arguments.push("--allow-addresses=loopback".to_owned());
            return arguments;
        }
        let address = match events {
            Events::Sink(address) => address,
            Events::Notification => self.events,
        };
        arguments.push(format!("--events-addr=http://{address}/"));
        if name == SOURCE {
            arguments.push(format!("--storage-path={}", folder.join("storage").display()));
            arguments.push(format!("--storage-addr={}", self.artifacts));
            arguments.push(format!("--storage-adv-addr={}", self.artifacts));
        }
        arguments
    }
}
