//! A proxy between one controller and the API server. It injects the faults that the test configures, and records every
//! request: the record is the audit log of this controller alone.
//!
//! The controller uses plain HTTP/1.1 to it through a kubeconfig of its own; the proxy adds the credentials and
//! uses TLS to the API server. Watches are forwarded line by line.

mod events;
mod forward;
mod request;
mod rule;
mod trap;

pub use request::{Outcome, Record, Seen};
pub use rule::{Fault, Rule};
pub use trap::Moment;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use plumb_plane::Plane;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
};
use trap::Trap;

/// How long a single event waits for the one that is to overtake it.
pub const REORDER_WAIT: Duration = Duration::from_millis(300);
/// How many requests a proxy records; later ones are only counted.
pub const RECORDS_MAX: usize = 200_000;

/// Where the requests go.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The URL of the API server, without a slash at the end.
    pub server: String,
    /// The certificate of its CA (PEM), if it uses TLS.
    pub ca: Option<Vec<u8>>,
    /// The bearer token of the user, if it has one.
    pub token: Option<String>,
}

impl Upstream {
    /// The API server of a plane, as one of its users.
    pub fn of(plane: &Plane, user: &str) -> Result<Self> {
        let file = plane.kubeconfig(user);
        let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let config: Value = serde_json::from_slice(&text).context("the plane's kubeconfig is JSON")?;
        let word = |pointer: &str| config.pointer(pointer).and_then(Value::as_str);
        let server = word("/clusters/0/cluster/server").context("the kubeconfig names no server")?;
        let ca = word("/clusters/0/cluster/certificate-authority").map(fs::read).transpose()?;
        let token = word("/users/0/user/token").map(str::to_owned);
        Ok(Self { server: server.to_owned(), ca, token })
    }
}

/// A running proxy; it stops when dropped. All methods may be called from any thread.
pub struct Proxy {
    address: SocketAddr,
    kubeconfig: PathBuf,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

/// What the connections share.
struct Shared {
    upstream: Upstream,
    client: reqwest::Client,
    started: Instant,
    state: Mutex<State>,
    /// Counts changes of the rules and cuts of watches.
    changed: watch::Sender<Change>,
    /// Held by a write while a trap is set: the n-th write is then the last one that is forwarded.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    rules: Vec<Armed>,
    records: Vec<Record>,
    /// How many records were dropped before the first one that is stored.
    forgotten: usize,
    requests: u64,
    trap: Option<Trap>,
    sprung: bool,
    closed: bool,
}

/// A rule, how many requests it fitted and how many it hit.
struct Armed {
    rule: Rule,
    fitted: u32,
    hit: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Change {
    rules: u64,
    cuts: u64,
}

/// Names a rule of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleId(usize);

impl Proxy {
    /// Starts on a free port of 127.0.0.1.
    pub fn start(upstream: Upstream) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("plumb-proxy-").tempdir()?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let kubeconfig = folder.path().join("kubeconfig");
        write_kubeconfig(&kubeconfig, address)?;
        let shared = Arc::new(Shared {
            client: forward::client(&upstream)?,
            upstream,
            started: Instant::now(),
            state: Mutex::default(),
            changed: watch::Sender::new(Change::default()),
            turn: tokio::sync::Mutex::new(()),
        });
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let serving = shared.clone();
        let thread = thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! { () = accept(listener, serving) => {}, _ = stopped => {} }
            });
            runtime.shutdown_background();
        })?;
        Ok(Self { address, kubeconfig, shared, stop: Some(stop), thread: Some(thread), _folder: folder })
    }

    /// Starts in front of a plane, as one of its users.
    pub fn to_plane(plane: &Plane, user: &str) -> Result<Self> {
        Self::start(Upstream::of(plane, user)?)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The kubeconfig that leads to it.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Adds a rule. Of several rules that hit a request, the oldest counts.
    pub fn add(&self, rule: Rule) -> RuleId {
        let id = {
            let mut state = self.shared.state();
            state.rules.push(Armed { rule, fitted: 0, hit: 0 });
            RuleId(state.rules.len() - 1)
        };
        self.shared.changed.send_modify(|change| change.rules += 1);
        id
    }

    /// How many requests or events a rule has hit, also after [`Proxy::heal`].
    pub fn hits(&self, id: RuleId) -> u32 {
        self.shared.state().rules.get(id.0).map_or(0, |armed| armed.hit)
    }

    /// Ends all faults. A request that hangs stays so until its client times out, as with a dead peer.
    pub fn heal(&self) {
        for armed in &mut self.shared.state().rules {
            armed.rule = armed.rule.clone().times(0);
        }
        self.shared.changed.send_modify(|change| change.rules += 1);
    }

    /// Cuts the connections of all open watches.
    pub fn cut_watches(&self) {
        self.shared.changed.send_modify(|change| change.cuts += 1);
    }

    /// Runs `action` at the n-th write from now on, counted from 1: when it has arrived and is not forwarded yet, or
    /// when it has a response that the controller has not received yet. Until then, writes are forwarded one at a time.
    /// Every request after it passes.
    pub fn at_write(&self, number: u32, moment: Moment, action: impl FnOnce() + Send + 'static) {
        self.set_trap(Trap::new(number, moment, false, Box::new(action)));
    }

    /// Sends SIGKILL to a process at its n-th write from now on, see [`Proxy::at_write`]. Later requests are not
    /// forwarded until [`Proxy::open`].
    pub fn kill_at_write(&self, number: u32, moment: Moment, process: u32) {
        let kill = move || plumb_plane::process::kill(process);
        self.set_trap(Trap::new(number, moment, true, Box::new(kill)));
    }

    /// Whether the n-th write has come.
    pub fn has_sprung(&self) -> bool {
        self.shared.state().sprung
    }

    /// Drops a trap that is set, and forwards again.
    pub fn open(&self) {
        let mut state = self.shared.state();
        (state.trap, state.closed) = (None, false);
    }

    /// Every request so far, in order of arrival; at most [`RECORDS_MAX`].
    pub fn records(&self) -> Vec<Record> {
        self.shared.state().records.clone()
    }

    /// Every write so far.
    pub fn writes(&self) -> Vec<Record> {
        self.shared.state().records.iter().filter(|record| record.write).cloned().collect()
    }

    /// The number of requests so far, watches included.
    pub fn requests(&self) -> u64 {
        self.shared.state().requests
    }

    /// Drops the records so far.
    pub fn forget(&self) {
        let mut state = self.shared.state();
        state.forgotten += state.records.len();
        state.records.clear();
    }

    /// Time since the proxy started: the clock of [`Record::at`].
    pub fn now(&self) -> Duration {
        self.shared.started.elapsed()
    }

    fn set_trap(&self, trap: Trap) {
        let mut state = self.shared.state();
        (state.trap, state.sprung, state.closed) = (Some(trap), false, false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A proxy that panicked shows itself as missing responses.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault that hits a request.
    fn fault_of(&self, seen: &Seen) -> Option<Fault> {
        self.choose(seen, |fault| !fault.is_of_events())
    }

    /// The fault that hits one event of a watch.
    fn event_fault_of(&self, seen: &Seen) -> Option<Fault> {
        self.choose(seen, Fault::is_of_events)
    }

    fn choose(&self, seen: &Seen, of: impl Fn(Fault) -> bool) -> Option<Fault> {
        let mut state = self.state();
        for armed in &mut state.rules {
            if !of(armed.rule.fault) || !armed.rule.fits(seen) {
                continue;
            }
            let number = armed.fitted;
            armed.fitted += 1;
            if armed.rule.hits(number) {
                armed.hit += 1;
                return Some(armed.rule.fault);
            }
        }
        None
    }
}

fn write_kubeconfig(file: &Path, address: SocketAddr) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "proxy", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "proxy", "user": {}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        "current-context": "proxy",
    });
    fs::write(file, config.to_string()).with_context(|| format!("cannot write {}", file.display()))
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).expect("a non-blocking socket of std is one for tokio");
    loop {
        // A connection that cannot be accepted is one that the client opens again.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| forward::serve(shared.clone(), request));
            // An error here is a connection that we cut, or the client did.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

#[cfg(test)]
mod tests;
