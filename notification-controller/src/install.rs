//! Puts the controller together: watches fill the directory, both servers ask it. The servers run on every replica;
//! statuses and reports of errors are for the one that leads.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use plumb_alerting::incoming::EVENT_BYTES_MAX;
use plumb_alerting::receiver::WEBHOOK_BYTES_MAX;
use plumb_api::meta::NamespacedName;
use plumb_api::notification::{Alert, Provider};
use plumb_cluster::ObjectCache;
use plumb_runtime::config::Listen;
use plumb_runtime::{BoxError, Recorder, Runtime, Watching};
use plumb_status::{EventDraft, Reason};
use plumb_transport::server::Server;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::configuration::Configuration;
use crate::directory::Directory;
use crate::dispatch::{AlertReporter, Dispatcher, DispatcherConfig, SendRetries, http_client};
use crate::hooks::{Coalescer, Hooks, PathShares};
use crate::intake::{Intake, IntakeConfig};
use crate::kind::Receivers;
use crate::matching::Matching;
use crate::options::Options;
use crate::pending::PendingAlerts;
use crate::server::{BodyLimits, CONNECTIONS, serve};

/// How long the event server and what it has taken may last after the shutdown was requested: the runtime gives its tasks a
/// second more.
const DRAIN: Duration = Duration::from_secs(7);

/// Where the servers listen, where they do.
pub struct Listeners {
    /// For events.
    pub events: Option<TcpListener>,
    /// For webhooks.
    pub hooks: Option<TcpListener>,
}

impl Listeners {
    /// Begins to listen where the flags say.
    pub async fn open(options: &Options) -> io::Result<Self> {
        Ok(Self {
            events: listen(&options.events_addr, "events").await?,
            hooks: listen(&options.receiver_addr, "webhooks").await?,
        })
    }
}

/// Begins to listen, and installs everything.
pub async fn install(runtime: &mut Runtime, options: Options) -> Result<(), BoxError> {
    let listeners = Listeners::open(&options).await?;
    install_with(runtime, &options, listeners)
}

/// Installs everything, with listeners that are open.
pub fn install_with(runtime: &mut Runtime, options: &Options, listeners: Listeners) -> Result<(), BoxError> {
    let budget = Budget::of(&runtime.memory());
    let matching = Matching::new();
    let directory = Arc::new(Directory::new(budget.patterns.clone()));
    let configuration = Arc::new(Configuration::new(Arc::clone(&directory), runtime.recorder()));
    let pending = {
        let configuration = Arc::clone(&configuration);
        PendingAlerts::new(matching.clone(), Arc::new(move |change| configuration.take_alert(change)))
    };
    let alerts: ObjectCache<Alert> = {
        let pending = pending.clone();
        runtime.watch(Watching::default(), move |change| pending.push(change))
    };
    let providers: ObjectCache<Provider> = {
        let configuration = Arc::clone(&configuration);
        runtime.watch(Watching::default(), move |change| configuration.take_provider(change))
    };
    let kind = Receivers::new(runtime.client(), Arc::clone(&directory), options.cross_namespace());
    let receivers = runtime.install(kind).store;
    runtime.spawn_leading("configuration errors", async move { configuration.lead() });

    let dispatcher = dispatcher(runtime, options, &budget, &alerts)?;
    let metrics = runtime.metrics().clone();
    let intake = Intake::new(IntakeConfig {
        directory: Arc::clone(&directory),
        dispatcher: dispatcher.clone(),
        matching,
        memory: budget.bodies.clone(),
        report: alert_reporter(alerts.clone(), runtime.recorder()),
        count_dropped: Arc::new(move || metrics.dropped("matching")),
        cross_namespace: options.cross_namespace(),
        is_filled: {
            let (alerts, providers) = (alerts.clone(), providers.clone());
            Arc::new(move || pending.is_filled(alerts.is_synced()) && providers.is_synced())
        },
        interval: options.rate_limit_interval.to_std(),
        token_file: options.events_token_file.clone(),
        webhooks_at: options.receiver_addr.to_string(),
    });
    let clock = runtime.clock();
    let hooks = Hooks {
        // Webhooks are handled on every replica, so their annotations do not need the lease.
        cluster: runtime.unfenced_client(),
        directory,
        cross_namespace: options.cross_namespace(),
        is_filled: {
            let receivers = receivers.clone();
            Arc::new(move || receivers.is_synced())
        },
        now: Arc::new(move || clock.now()),
        memory: budget.bodies,
        shares: PathShares::default(),
        coalescer: Coalescer::default(),
        events_at: options.events_addr.to_string(),
    };
    if let Some(listener) = listeners.events {
        let shutdown = runtime.shutdown();
        let server = runtime.server("events", listener, CONNECTIONS);
        runtime.spawn_draining("event server", take_events(server, intake, dispatcher, shutdown));
    }
    if let Some(listener) = listeners.hooks {
        let server = runtime.server("receivers", listener, CONNECTIONS);
        runtime.spawn_draining("receiver server", take_webhooks(server, hooks));
    }
    // Before that a Service should not lead here: both servers could only ask to come back.
    let gate = runtime.readiness_gate("watches");
    runtime.spawn("watches", async move {
        alerts.synced().await;
        providers.synced().await;
        receivers.synced().await;
        gate.open();
    });
    Ok(())
}

async fn listen(address: &Listen, server: &'static str) -> io::Result<Option<TcpListener>> {
    if address.is_off() {
        tracing::info!(server, "server disabled");
        return Ok(None);
    }
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"));
    let listener = address.bind().await.map_err(named)?;
    tracing::info!(server, address = %listener.local_addr()?, "server listening");
    Ok(Some(listener))
}

fn dispatcher(
    runtime: &Runtime,
    options: &Options,
    budget: &Budget,
    alerts: &ObjectCache<Alert>,
) -> Result<Dispatcher, BoxError> {
    let metrics = runtime.metrics().clone();
    let addresses = options.address_policy();
    Ok(Dispatcher::new(DispatcherConfig {
        cluster: runtime.client(),
        http: http_client(addresses)?,
        retries: SendRetries::DEFAULT,
        memory: budget.notifications.clone(),
        report: alert_reporter(alerts.clone(), runtime.recorder()),
        count_dropped: Arc::new(move || metrics.dropped("dispatch")),
    }))
}

/// Tells what went wrong on the Alert that it went wrong for, if that still exists.
fn alert_reporter(alerts: ObjectCache<Alert>, recorder: Recorder) -> AlertReporter {
    Arc::new(move |alert: &NamespacedName, reason: Reason, text: &str| {
        if let Some(alert) = alerts.get(&NamespacedName::new(alert.namespace.as_str(), alert.name.as_str())) {
            recorder.emit(alert.as_ref(), EventDraft::error(reason, text));
        }
    })
}

/// Accepts events until the shutdown is requested, then sends what was accepted.
async fn take_events(server: Server, intake: Intake, dispatcher: Dispatcher, shutdown: CancellationToken) {
    let asked = async {
        shutdown.cancelled().await;
        Instant::now()
    };
    let serving = serve(server, BodyLimits::of_body(EVENT_BYTES_MAX), Arc::new(intake));
    let (asked, ()) = tokio::join!(asked, serving);
    dispatcher.drain(DRAIN.saturating_sub(asked.elapsed())).await;
}

async fn take_webhooks(server: Server, hooks: Hooks) {
    serve(server, BodyLimits::of_body(WEBHOOK_BYTES_MAX), Arc::new(hooks)).await;
}
