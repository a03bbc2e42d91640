//! The controllers as processes, as a user runs them: free ports, probes, logs, and kill -9 at any moment.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use plumb_plane::{
    Plane, Reaper,
    process::{Process, Start, last_lines},
};

use crate::{wait::Wait, wire};

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
/// Lines of each log that an error shows.
const LOG_LINES: usize = 25;
/// The first port of the controllers, the number of ports, and the distance between those of two processes.
const PORTS_FIRST: u32 = 20_000;
const PORTS: u32 = 12_000;
const PORTS_STEP: u32 = 1_009;

/// Which controllers are started, and how.
#[derive(Clone, Debug)]
pub struct ControllersOptions {
    /// The controllers that are started, in this order.
    pub names: Vec<&'static str>,
    /// The namespace that they run in, and the only one that they watch; `None`: [`NAMESPACE`], and they watch all.
    pub namespace: Option<String>,
    /// Where events go; `None`: to notification-controller.
    pub events: Option<SocketAddr>,
    /// The kubeconfig of a controller; without one, that of the plane.
    pub kubeconfigs: BTreeMap<&'static str, PathBuf>,
    /// Flags of a controller. They replace flags of the same name.
    pub flags: BTreeMap<&'static str, Vec<String>>,
}

impl ControllersOptions {
    /// All three controllers for the whole cluster, as a user runs them.
    pub fn whole_cluster() -> Self {
        let dependencies = || vec!["--requeue-dependency=2s".to_owned()];
        Self {
            flags: BTreeMap::from([(SOURCE, dependencies()), (KUSTOMIZE, dependencies())]),
            ..Self::with_notification()
        }
    }

    /// All three controllers.
    pub fn with_notification() -> Self {
        Self {
            names: NAMES.to_vec(),
            namespace: None,
            events: None,
            kubeconfigs: BTreeMap::new(),
            flags: BTreeMap::new(),
        }
    }

    /// source-controller and kustomize-controller, whose events go to a sink.
    pub fn with_sink(events: SocketAddr) -> Self {
        Self { names: vec![SOURCE, KUSTOMIZE], events: Some(events), ..Self::with_notification() }
    }
}

/// Controllers against one plane. They are killed, and their files removed, when this is dropped.
pub struct Controllers {
    running: BTreeMap<&'static str, Process>,
    recipes: BTreeMap<&'static str, Recipe>,
    receiver: SocketAddr,
    folder: PathBuf,
    reaper: Reaper,
}

struct Recipe {
    argv: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    health: SocketAddr,
    metrics: SocketAddr,
}

/// The addresses that controllers share.
struct Addresses {
    artifacts: SocketAddr,
    events: SocketAddr,
    receiver: SocketAddr,
}

impl Controllers {
    /// Starts them and waits until each is ready. Blocks a thread.
    pub fn start(plane: &Plane, binaries: &Path, options: &ControllersOptions) -> Result<Self> {
        let mut all = Self::begin(plane, binaries, options)?;
        for name in &options.names {
            all.await_ready(name)?;
        }
        Ok(all)
    }

    /// Starts them, and does not wait.
    pub fn begin(plane: &Plane, binaries: &Path, options: &ControllersOptions) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("plumb-controllers-").tempdir()?.keep();
        let reaper = Reaper::of(&folder)?;
        fs::create_dir_all(folder.join("tmp"))?;
        fs::create_dir_all(folder.join("storage"))?;
        let addresses = Addresses { artifacts: free_port()?, events: free_port()?, receiver: free_port()? };
        let recipe = |name| Recipe::new(name, plane, binaries, &folder, &addresses, options);
        let recipes = options.names.iter().map(|name| Ok((*name, recipe(name)?)));
        let recipes = recipes.collect::<Result<_>>()?;
        let receiver = addresses.receiver;
        let mut all = Self { running: BTreeMap::new(), recipes, receiver, folder, reaper };
        for name in &options.names {
            all.launch(name)?;
        }
        Ok(all)
    }

    /// What the readiness probe of one responds.
    pub fn probed(&self, name: &str) -> Result<String> {
        let health = self.recipes.get(name).context("no such controller")?.health;
        Ok(wire::get(health, "/readyz")?.body)
    }

    /// Waits until one is ready. Blocks a thread.
    pub fn until_ready(&mut self, name: &'static str) -> Result<()> {
        self.await_ready(name)
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

    /// Whether one that was started has ended by itself.
    pub fn has_ended(&mut self, name: &str) -> bool {
        self.running.get_mut(name).is_none_or(|process| process.ended().is_some())
    }

    /// Where webhooks go.
    pub fn receiver(&self) -> SocketAddr {
        self.receiver
    }

    /// A counter of a controller, summed over its series that have this label (`name="value"`; empty: over all of them).
    pub fn counted(&self, controller: &str, counter: &str, label: &str) -> Result<u64> {
        let metrics = self.recipes.get(controller).context("no such controller")?.metrics;
        Ok(sum(&wire::get(metrics, "/metrics")?.body, counter, label))
    }

    /// The ends of all logs, for a test that failed.
    pub fn last_lines(&self) -> String {
        let last = |name: &&str| format!("{name}:\n{}", last_lines(&self.log_file(name), LOG_LINES));
        self.recipes.keys().map(last).collect::<Vec<_>>().join("\n")
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
        let health = self.recipes.get(name).context("no such controller")?.health;
        let process = self.running.get_mut(name).context("it was not started")?;
        let wait = Wait::until(format!("{name} is ready"), READY_MAX).every(READY_POLL);
        let ready = wait.poll_blocking(|| {
            let response = wire::get(health, "/readyz");
            if response.as_ref().is_ok_and(|response| response.code == 200) {
                return Ok(ControlFlow::Break(()));
            }
            match process.ended() {
                Some(status) => bail!("{name} ended at its start ({status})"),
                None => Ok(ControlFlow::Continue(response.map_err(|error| format!("{error:#}")))),
            }
        });
        ready.with_context(|| process.last_lines(LOG_LINES))
    }

    fn log_file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }
}

impl Recipe {
    fn new(
        name: &str,
        plane: &Plane,
        binaries: &Path,
        folder: &Path,
        addresses: &Addresses,
        options: &ControllersOptions,
    ) -> Result<Self> {
        let program = binaries.join(name);
        if !program.is_file() {
            bail!("{} is not there: build it with `cargo build -p {name}`", program.display());
        }
        let (health, metrics) = (free_port()?, free_port()?);
        let mut arguments = vec![
            format!("--health-addr={health}"),
            format!("--metrics-addr={metrics}"),
            "--log-level=info".to_owned(),
            "--enable-leader-election=false".to_owned(),
        ];
        if options.namespace.is_some() {
            arguments.push("--watch-all-namespaces=false".to_owned());
        }
        arguments.extend(addresses.arguments(name, folder, options.events));
        for flag in options.flags.get(name).into_iter().flatten() {
            let prefix = flag.split_inclusive('=').next().unwrap_or(flag);
            arguments.retain(|argument| !argument.starts_with(prefix));
            arguments.push(flag.clone());
        }
        let mut argv = vec![program.into_os_string()];
        argv.extend(arguments.into_iter().map(OsString::from));
        let kubeconfig = options.kubeconfigs.get(name).cloned().unwrap_or_else(|| plane.kubeconfig(name));
        let environment = vec![
            ("KUBECONFIG".into(), kubeconfig.into_os_string()),
            ("RUNTIME_NAMESPACE".into(), options.namespace.as_deref().unwrap_or(NAMESPACE).into()),
            ("TMPDIR".into(), folder.join("tmp").into_os_string()),
        ];
        Ok(Self { argv, environment, health, metrics })
    }
}

impl Addresses {
    /// The options of one of the controllers that follow from them. `sink`: where events go instead of notification-controller.
    fn arguments(&self, name: &str, folder: &Path, sink: Option<SocketAddr>) -> Vec<String> {
        let Self { artifacts, events, receiver } = self;
        if name == NOTIFICATION {
            return vec![
                format!("--events-addr={events}"),
                format!("--receiverAddr={receiver}"),
                // Sinks of tests are on this machine.
                "--allow-addresses=loopback".to_owned(),
            ];
        }
        let mut arguments = vec![format!("--events-addr=http://{}/", sink.unwrap_or(*events))];
        if name == SOURCE {
            arguments.push(format!("--storage-path={}", folder.join("storage").display()));
            arguments.push(format!("--storage-addr={artifacts}"));
            arguments.push(format!("--storage-adv-addr={artifacts}"));
        }
        arguments
    }
}

/// A port that nothing else of this process has had, and below those that the kernel assigns: a controller
/// that was killed must find its ports free again.
pub fn free_port() -> Result<SocketAddr> {
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

/// The sum of a counter over its series with this label, in the text of `/metrics`.
fn sum(metrics: &str, counter: &str, label: &str) -> u64 {
    let is_series = |line: &&str| {
        let labels = line.strip_prefix(counter);
        labels.is_some_and(|labels| labels.starts_with(['{', ' ']) && labels.contains(label))
    };
    let series = metrics.lines().filter(is_series);
    series.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_summed_over_its_series_with_the_label() {
        let metrics = "# TYPE dropped_total counter\ndropped_total{queue=\"wire\",kind=\"a\"} 2\n\
                       dropped_total{queue=\"cluster\"} 4\ndropped_total{queue=\"wire\"} 1\n\
                       dropped_total_of_another{queue=\"wire\"} 8\nplain_total 16\n";
        for (counter, label, expected) in [
            ("dropped_total", "queue=\"wire\"", 3),
            ("dropped_total", "", 7),
            ("plain_total", "", 16),
            ("absent_total", "", 0),
        ] {
            assert_eq!(sum(metrics, counter, label), expected, "{counter} {label}");
        }
    }

    #[test]
    fn ports_differ_and_are_below_those_that_the_kernel_assigns() {
        let ports: std::collections::BTreeSet<u16> = (0..20).map(|_| free_port().unwrap().port()).collect();
        assert_eq!(ports.len(), 20);
        assert!(ports.iter().all(|port| (20_000..32_000).contains(port)), "{ports:?}");
    }
}
