//! A controller at work: what is installed, when it begins, how it ends. Kinds and their logic never enter.

use std::borrow::Cow;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kube::Client;
use plumb_cluster::{
    ConnectError, Connector, NamespacedName, ObjectCache, ObjectEvent, OutageEnds, Outages, RateLimit,
};
use plumb_memory::MemoryPool;
use plumb_transport::server::{Limits, Refused, Server};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Readiness, ReadinessGate};
use crate::attempt::{Driver, claims_progress, urgency};
use crate::background::{Background, BoxError, Outcome, Task};
use crate::clock::Clock;
use crate::config::{Common, Work};
use crate::events::{EventAddress, Recorder, Senders};
use crate::kind::ReconciledKind;
use crate::leader::{Election, LeaseConfig, lease_name};
use crate::lease::LeaseGuard;
use crate::memory;
use crate::metrics::Metrics;
use crate::options::ControllerOptions;
use crate::periods::PeriodReporter;
use crate::queue::{Priority, Queue};
use crate::report::{Draft, Reporter};
use crate::requests::counted;
use crate::suspension::Suspensions;
use crate::unreadable::UnreadableReporter;
use crate::watch::{OnChange, Watch, WatchHealth, Watched, Watching};

/// How long events may take to leave when the process ends.
const EVENTS_DRAIN: Duration = Duration::from_secs(3);
/// The namespace of the controller where nothing says another: that of Flux.
const RUNTIME_NAMESPACE: &str = "flux-system";

/// Who a controller is.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// Its name, as events and leases carry it.
    pub controller: &'static str,
    /// The field manager of its statuses.
    pub status_manager: &'static str,
    /// How many objects of a kind it works on at a time where no flag says so.
    pub concurrent: usize,
}

/// How a controller reaches the API server.
struct Clients {
    /// For what only the leader may do.
    client: Client,
    /// For what every replica may do.
    unfenced: Client,
    guard: Option<LeaseGuard>,
    /// Host and port, for metrics.
    host: String,
}

/// The guard of the lease, with leader election.
fn guard(common: &Common) -> Option<LeaseGuard> {
    common.enable_leader_election.then(|| {
        let (lease, renew) = (common.leader_election_lease_duration, common.leader_election_renew_deadline);
        LeaseGuard::new(lease.to_std(), renew.to_std())
    })
}

/// What a controller is made of, until it runs.
pub struct Runtime {
    identity: Identity,
    /// Its writes need the lease.
    client: Client,
    outages: Outages,
    unfenced: Client,
    /// Of all requests but those for the lease and the events.
    rate_limit: Option<RateLimit>,
    guard: Option<LeaseGuard>,
    clock: Clock,
    common: Common,
    work: Option<Work>,
    metrics: Metrics,
    memory: MemoryPool,
    readiness: Readiness,
    recorder: Recorder,
    senders: Senders,
    shutdown: CancellationToken,
    watches: Vec<Task>,
    /// What the watches that are added wait for, while it is set.
    begin: Option<CancellationToken>,
    synced: Vec<Task>,
    tasks: Vec<(&'static str, Task)>,
    draining: Vec<(&'static str, Task)>,
    leading: Vec<(&'static str, Task)>,
    drivers: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// An installed kind.
pub struct Handle<K: ReconciledKind> {
    /// Its objects.
    pub store: ObjectCache<K::Object>,
    /// Its work.
    pub queue: Queue,
    kind: Arc<K>,
    reporter: Reporter<K::Object>,
    clock: Clock,
}

impl<K: ReconciledKind> Clone for Handle<K> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            queue: self.queue.clone(),
            kind: Arc::clone(&self.kind),
            reporter: self.reporter.clone(),
            clock: self.clock.clone(),
        }
    }
}

impl<K: ReconciledKind> Handle<K> {
    /// Writes what a fresh ledger says of the conditions that stand beside Ready, and the kind's own fields, whether an
    /// attempt goes on or not: each of the two writes is recomputed when the other came first.
    pub async fn amend(&self, key: &NamespacedName) {
        let Some(mut object) = self.store.get(key) else { return };
        let start = Arc::clone(&object);
        let written = self.reporter.write(&mut object, |object| {
            let ledger = self.kind.ledger(object);
            let before = self.reporter.before(object, start.as_ref(), self.clock.now());
            Draft {
                status: plumb_status::summary::amend(&before.as_ref(), &ledger),
                fields: self.kind.status(object, &ledger),
            }
        });
        if let Err(error) = written.await {
            let error = plumb_status::chain(&error);
            tracing::warn!(name = key.name, namespace = key.namespace, error, "failed to update status");
        }
    }
}

impl Runtime {
    /// A controller with nothing installed yet, which reaches the API server by `connector`.
    pub fn connect<O: ControllerOptions>(
        options: &O,
        connector: &Connector,
        clock: Clock,
    ) -> Result<Self, ConnectError> {
        let unfenced = connector.client()?;
        let guard = guard(options.common());
        let client = match &guard {
            // Connections of its own: they end with the lease.
            Some(guard) => connector.client_while(guard.may_send())?,
            None => unfenced.clone(),
        };
        let clients = Clients { client, unfenced, guard, host: connector.host() };
        Ok(Self::with_clients(options, clients, clock))
    }

    /// A controller with nothing installed yet, of which all requests go through `client`.
    pub fn new<O: ControllerOptions>(options: &O, client: Client, clock: Clock) -> Self {
        let host = String::new();
        let clients = Clients { unfenced: client.clone(), client, guard: guard(options.common()), host };
        Self::with_clients(options, clients, clock)
    }

    fn with_clients<O: ControllerOptions>(options: &O, clients: Clients, clock: Clock) -> Self {
        let (identity, common, work) = (O::IDENTITY, options.common().clone(), options.work().cloned());
        let outages = Outages::default();
        let Clients { client, unfenced, guard, host } = clients;
        let (client, unfenced) = (outages.observe(client), outages.observe(unfenced));
        let metrics = Metrics::default();
        let (client, unfenced) = (counted(client, &metrics, &host), counted(unfenced, &metrics, &host));
        let address = work.as_ref().filter(|work| !work.events_addr.is_empty()).map(|work| EventAddress {
            url: work.events_addr.clone(),
            token_file: work.events_token_file.clone(),
        });
        let instance = common.hostname().unwrap_or(identity.controller).to_owned();
        let (recorder, senders) =
            Recorder::new(identity.controller, instance, address, clock.clone(), metrics.clone());
        let memory = memory::pool(common.memory_budget, &metrics);
        let client = guard.as_ref().map_or_else(|| client.clone(), |guard| guard.fence(client.clone()));
        Self {
            identity,
            client,
            outages,
            unfenced,
            rate_limit: common.rate_limit(),
            guard,
            clock,
            common,
            work,
            metrics,
            memory,
            readiness: Readiness::default(),
            recorder,
            senders,
            shutdown: CancellationToken::new(),
            watches: Vec::new(),
            synced: Vec::new(),
            begin: None,
            tasks: Vec::new(),
            draining: Vec::new(),
            leading: Vec::new(),
            drivers: Vec::new(),
        }
    }

    /// The connection to the API server. With leader election a write fails unless this replica holds the lease.
    pub fn client(&self) -> Client {
        self.limited(&self.client)
    }

    /// The same client, within `--kube-api-qps`.
    fn limited(&self, client: &Client) -> Client {
        self.rate_limit.as_ref().map_or_else(|| client.clone(), |limit| limit.apply(client.clone()))
    }

    /// The connection to the API server for what every replica may write at any time: annotations on behalf of
    /// webhooks, which repeat without harm.
    pub fn unfenced_client(&self) -> Client {
        self.limited(&self.unfenced)
    }

    /// The outages of the API server.
    pub fn outages(&self) -> Outages {
        self.outages.clone()
    }

    /// The time.
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// What is counted and measured.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The budget of the process for memory that input from outside can claim.
    pub fn memory(&self) -> MemoryPool {
        self.memory.clone()
    }

    /// The flags that all controllers have.
    pub fn common(&self) -> &Common {
        &self.common
    }

    /// Cancelled when the process is to end.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Emits events that no attempt emits.
    pub fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// The namespace that the controller runs in.
    pub fn runtime_namespace(&self) -> String {
        let told = self.common.runtime_namespace.clone().filter(|namespace| !namespace.is_empty());
        told.unwrap_or_else(|| RUNTIME_NAMESPACE.to_owned())
    }

    /// A gate that keeps the process from being ready until it is opened.
    pub fn readiness_gate(&self, name: &'static str) -> ReadinessGate {
        self.readiness.gate(name)
    }

    /// A server for a port of the process, which counts what it refuses and ends with the process.
    pub fn server(&self, port: &'static str, listener: TcpListener, limits: Limits) -> Server {
        let metrics = self.metrics.clone();
        let on_refused = Arc::new(move |refused: Refused| metrics.connection_refused(port, refused.as_str()));
        Server { listener, limits, on_refused, stop: self.shutdown() }
    }

    /// A queue with the backoff of the flags.
    pub fn queue(&self) -> Queue {
        Queue::new(self.common.backoff())
    }

    /// Begins a background task with the process, on every replica. An error ends the process.
    pub fn spawn<F>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        self.tasks.push((name, Box::pin(async move { task.await.into_result() })));
    }

    /// Begins a background task with the process that ends by itself when [`Runtime::shutdown`] is cancelled, and is
    /// waited for, so that it can finish what it has begun. An error ends the process.
    pub fn spawn_draining<F>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        self.draining.push((name, Box::pin(async move { task.await.into_result() })));
    }

    /// Begins a background task once this process leads. An error ends the process.
    pub fn spawn_leading<F>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        self.leading.push((name, Box::pin(async move { task.await.into_result() })));
    }

    /// Installs kinds whose watches begin when a token is cancelled: kinds that the API server may serve later. Nothing else waits for
    /// their first lists, and what is installed has no work until then.
    pub fn install_later(&mut self, begin: CancellationToken, install: impl FnOnce(&mut Self)) {
        let outer = self.begin.replace(begin);
        install(self);
        self.begin = outer;
    }

    /// Watches a kind.
    pub fn watch<O: Watched>(
        &mut self,
        mut watching: Watching,
        on_change: impl Fn(&ObjectEvent<O>) + Send + Sync + 'static,
    ) -> ObjectCache<O> {
        let store = ObjectCache::default();
        watching.namespace = watching.namespace.or_else(|| self.only_namespace());
        self.add_watch(Watch {
            client: self.client(),
            outages: self.outages(),
            watching,
            store: store.clone(),
            on_change: Arc::new(on_change),
            health: self.watch_health::<O>(),
        });
        store
    }

    /// Installs a kind with a queue of its own.
    pub fn install<K: ReconciledKind>(&mut self, kind: K) -> Handle<K> {
        let queue = self.queue();
        self.install_with(queue, kind)
    }

    /// Installs a kind whose queue exists already.
    pub fn install_with<K: ReconciledKind>(&mut self, queue: Queue, kind: K) -> Handle<K> {
        let kind = Arc::new(kind);
        let store = ObjectCache::<K::Object>::default();
        let unreadable = UnreadableReporter {
            client: self.client(),
            recorder: self.recorder(),
            clock: self.clock(),
            manager: self.identity.status_manager,
            waiting: Arc::default(),
        };
        let on_change = on_change(&kind, &queue, unreadable.clone());
        self.spawn_leading("unreadable objects", unreadable.run::<K::Object>());
        let manager = self.identity.status_manager;
        let reporter = Reporter::new(self.client(), manager, store.clone(), Arc::clone(&on_change));
        let labels = self.work.as_ref().map(|work| work.watch_label_selector.clone()).unwrap_or_default();
        let watching = Watching { labels, namespace: self.only_namespace() };
        let health = self.watch_health::<K::Object>();
        self.add_watch(Watch {
            client: self.client(),
            outages: self.outages(),
            watching,
            store: store.clone(),
            on_change,
            health,
        });
        self.spawn("retries after an outage", retry_after_outages(self.outages.ends(), queue.clone()));
        let driver = Driver {
            kind: Arc::clone(&kind),
            store: store.clone(),
            queue: queue.clone(),
            reporter: reporter.clone(),
            recorder: self.recorder(),
            periods: PeriodReporter::new(self.recorder()),
            clock: self.clock(),
            metrics: self.metrics.clone(),
            concurrent: self.common.concurrent.unwrap_or(self.identity.concurrent),
            jitter: self.work.as_ref().map_or(0, |work| work.interval_jitter_percentage),
            suspensions: Suspensions::default(),
        };
        let shutdown = self.shutdown();
        self.drivers.push(Box::pin(driver.run(shutdown)));
        Handle { store, queue, kind, reporter, clock: self.clock() }
    }

    fn only_namespace(&self) -> Option<String> {
        (!self.common.watch_all_namespaces).then(|| self.runtime_namespace())
    }

    fn watch_health<O: Watched>(&self) -> WatchHealth {
        let name = match O::kind(&()) {
            Cow::Borrowed(kind) => kind,
            Cow::Owned(_) => "watch",
        };
        WatchHealth::new(self.readiness_gate(name))
    }

    fn add_watch<O: Watched>(&mut self, watch: Watch<O>) {
        let (store, begin) = (watch.store.clone(), self.begin.clone());
        if begin.is_none() {
            self.synced.push(Box::pin(async move {
                store.synced().await;
                Ok(())
            }));
        }
        self.watches.push(Box::pin(async move {
            if let Some(begin) = begin {
                begin.cancelled().await;
            }
            watch.run().await;
            Ok(())
        }));
    }

    fn terms(&self) -> LeaseConfig {
        let selector = self.work.as_ref().map(|work| work.watch_label_selector.as_str()).unwrap_or_default();
        let common = &self.common;
        LeaseConfig {
            namespace: self.runtime_namespace(),
            name: lease_name(self.identity.controller, selector),
            holder: format!("{}_{}", self.common.hostname().unwrap_or_default(), uuid::Uuid::new_v4()),
            lease: common.leader_election_lease_duration.to_std(),
            renew: common.leader_election_renew_deadline.to_std(),
            retry: common.leader_election_retry_period.to_std(),
            release: common.leader_election_release_on_cancel,
        }
    }

    /// Runs until the shutdown is requested, or something that must go on ends.
    pub async fn run(mut self) -> Result<(), BoxError> {
        self.serve_admin().await?;
        let election = self
            .guard
            .clone()
            .map(|guard| Election::begin(self.unfenced.clone(), self.terms(), self.clock.clone(), guard));
        let shutdown = self.shutdown.clone();
        let (background, mut failure) = Background::new(shutdown.clone());
        let closing = CancellationToken::new();
        let events = tokio::spawn(self.senders.run(self.unfenced.clone(), closing.clone()));
        for watch in self.watches {
            background.begin("watch", watch);
        }
        for (name, task) in self.tasks {
            background.begin(name, task);
        }
        for (name, task) in self.draining {
            background.begin_draining(name, task);
        }
        let work = async {
            if let Some(election) = &election {
                tokio::select! {
                    () = shutdown.cancelled() => return Ok(()),
                    () = election.elected() => {}
                }
            }
            self.metrics.leads(self.identity.controller, true);
            for (name, task) in self.leading {
                background.begin(name, task);
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                _ = join_all(self.synced) => {}
            }
            join_all(self.drivers).await;
            Ok(())
        };
        let lost = async {
            match &election {
                Some(election) => election.lost().await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            ended = work => ended,
            () = lost => if shutdown.is_cancelled() { Ok(()) } else { Err("leader election lost".into()) },
            Some(error) = failure.recv() => Err(error),
        };
        shutdown.cancel();
        background.end().await;
        // Only now: background tasks write until they have ended.
        if let Some(election) = election {
            election.end().await;
        }
        closing.cancel();
        // What does not leave in time is lost: nobody can be waited for without end.
        let _ = tokio::time::timeout(EVENTS_DRAIN, events).await;
        ended
    }

    async fn serve_admin(&mut self) -> io::Result<()> {
        let (health, metrics) = (self.common.health_addr.clone(), self.common.metrics_addr.clone());
        if !health.is_off() {
            let listener = health.bind().await?;
            tracing::info!(server = "probes", address = %listener.local_addr()?, "server listening");
            let readiness = self.readiness.clone();
            let server =
                Server { stop: CancellationToken::new(), ..self.server("probes", listener, admin::LIMITS) };
            self.spawn("probes", admin::serve_probes(server, readiness));
        }
        if !metrics.is_off() {
            let listener = metrics.bind().await?;
            tracing::info!(server = "metrics", address = %listener.local_addr()?, "server listening");
            let all = self.metrics.clone();
            let server =
                Server { stop: CancellationToken::new(), ..self.server("metrics", listener, admin::LIMITS) };
            self.spawn("metrics", admin::serve_metrics(server, all));
        }
        Ok(())
    }
}

/// Attempts that failed because the API server was away are made again as soon as it is back.
async fn retry_after_outages(mut ends: OutageEnds, queue: Queue) {
    loop {
        ends.next().await;
        let retried = queue.retry_failed();
        tracing::info!(retried, "API server reachable again, retrying failed reconciliations");
    }
}

/// What follows from the changes of a kind's objects.
fn on_change<K: ReconciledKind>(
    kind: &Arc<K>,
    queue: &Queue,
    unreadable: UnreadableReporter,
) -> OnChange<K::Object> {
    let (kind, queue) = (Arc::clone(kind), queue.clone());
    Arc::new(move |change| {
        kind.changed(change);
        match change {
            ObjectEvent::Applied { old, new } => {
                if let Some(priority) = urgency(kind.as_ref(), old.as_deref(), new.as_ref()) {
                    hurry(&queue, new.as_ref(), priority);
                } else if claims_progress(new.as_ref())
                    && !queue.is_running(&NamespacedName::of(new.as_ref()))
                {
                    hurry(&queue, new.as_ref(), Priority::Interval);
                }
            }
            // A visit that finds nothing tidies up.
            ObjectEvent::Deleted { old } => {
                queue.supersede(&NamespacedName::of(old.as_ref()), Priority::Deletion, "deletion");
            }
            ObjectEvent::Unreadable { key, message: _, raw } => {
                // What runs now works for a spec that does not stand any more.
                queue.supersede(key, Priority::Revision, "a version that cannot be read");
                unreadable.request(key, raw);
            }
        }
    })
}

/// An object asks for an attempt.
fn hurry<O: kube::Resource<DynamicType = ()>>(queue: &Queue, object: &O, priority: Priority) {
    let key = NamespacedName::of(object);
    match priority {
        // What runs now works for something that is no longer wanted.
        Priority::Revision | Priority::Deletion => {
            queue.supersede(&key, priority, format!("{}/{key}", O::kind(&())));
        }
        Priority::Forced | Priority::Interval | Priority::Bookkeeping => queue.add(&key, priority),
    }
}

#[cfg(test)]
mod tests;
