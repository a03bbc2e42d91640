//! notification-controller: events out, webhooks in. Flags are read once, the kinds are installed, the servers are
//! started, the runtime runs all of it. What an event or a webhook means never enters.

mod complaints;
mod directory;
mod dispatch;
mod hooks;
mod intake;
mod kind;
mod options;
mod receiver;
mod server;
#[cfg(test)]
mod stage;
mod watches;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use plumb_alerting::rule::AlertId;
use plumb_api::notification::Alert;
use plumb_runtime::{BoxError, Flags, Identity, Key, Recorder, Runtime, Store, Watching};
use plumb_status::{Occurrence, Reason};

use crate::complaints::Complaints;
use crate::directory::Directory;
use crate::dispatch::{Dispatcher, Means, Pace, Tell, http_client};
use crate::hooks::Hooks;
use crate::intake::Intake;
use crate::kind::Receivers;
use crate::options::{GATES, Options};
use crate::server::Limits;
use crate::watches::Listener;

/// How many bytes an event or a webhook may have, as with Flux.
const BODY_BYTES_MAX: usize = 3 << 20;
/// How long what is being sent may take when the process ends.
const DRAIN: Duration = Duration::from_secs(5);

const IDENTITY: Identity = Identity {
    controller: plumb_api::meta::NOTIFICATION_MANAGER,
    status_manager: plumb_api::meta::NOTIFICATION_MANAGER,
    concurrent: 4,
};

fn main() -> ExitCode {
    plumb_runtime::start(
        &IDENTITY,
        GATES,
        |options: &Options| Flags { common: &options.common, work: None },
        Options::validate,
        async |runtime: &mut Runtime, options: Options| install(runtime, options).await,
    )
}

async fn install(runtime: &mut Runtime, options: Options) -> Result<(), BoxError> {
    let directory = Arc::new(Directory::default());
    let listener = Listener {
        directory: Arc::clone(&directory),
        complaints: Arc::new(Complaints::default()),
        recorder: runtime.recorder(),
    };
    let alerts = {
        let listener = listener.clone();
        runtime.watch(Watching::default(), move |change| listener.alert(change))
    };
    let providers = runtime.watch(Watching::default(), move |change| listener.provider(change));
    let receivers =
        runtime.install(Receivers { client: runtime.client(), directory: Arc::clone(&directory) }).store;
    let is_filled: Arc<dyn Fn() -> bool + Send + Sync> = {
        let alerts = alerts.clone();
        Arc::new(move || alerts.is_synced() && providers.is_synced() && receivers.is_synced())
    };
    let tell = teller(runtime.recorder(), alerts);
    serve_events(runtime, &options, &directory, &is_filled, tell).await?;
    serve_hooks(runtime, &options, directory, is_filled).await
}

/// The event server, on every replica.
async fn serve_events(
    runtime: &mut Runtime,
    options: &Options,
    directory: &Arc<Directory>,
    is_filled: &Arc<dyn Fn() -> bool + Send + Sync>,
    tell: Tell,
) -> Result<(), BoxError> {
    let counted = runtime.metrics().clone();
    let dispatcher = Dispatcher::new(Means {
        cluster: runtime.client(),
        http: http_client()?,
        pace: Pace::USUAL,
        tell: Arc::clone(&tell),
        count_dropped: Arc::new(move || counted.dropped("dispatch")),
    });
    let intake = Arc::new(Intake::new(
        Arc::clone(directory),
        dispatcher.clone(),
        tell,
        options.cross_namespace(),
        Arc::clone(is_filled),
        options.rate_limit_interval.to_std(),
    ));
    let listener = options.events_addr.bind().await?;
    tracing::info!(address = %listener.local_addr()?, "events are taken");
    let stop = runtime.shutdown();
    runtime.spawn_draining("event server", async move {
        let handle = move |arrived| {
            let intake = Arc::clone(&intake);
            async move { intake.take(&arrived) }
        };
        server::serve(listener, Limits::of_body(BODY_BYTES_MAX), handle, stop).await;
        dispatcher.drain(DRAIN).await;
    });
    Ok(())
}

/// The receiver server, on every replica.
async fn serve_hooks(
    runtime: &mut Runtime,
    options: &Options,
    directory: Arc<Directory>,
    is_filled: Arc<dyn Fn() -> bool + Send + Sync>,
) -> Result<(), BoxError> {
    let clock = runtime.clock();
    let hooks = Arc::new(Hooks {
        cluster: runtime.client(),
        directory,
        cross_namespace: options.cross_namespace(),
        is_filled,
        now: Arc::new(move || clock.now()),
    });
    let listener = options.receiver_addr.bind().await?;
    tracing::info!(address = %listener.local_addr()?, "webhooks are taken");
    let stop = runtime.shutdown();
    runtime.spawn_draining("receiver server", async move {
        let handle = move |arrived| {
            let hooks = Arc::clone(&hooks);
            async move { hooks.take(&arrived).await }
        };
        server::serve(listener, Limits::of_body(BODY_BYTES_MAX), handle, stop).await;
    });
    Ok(())
}

/// Tells what could not be sent, on the Alert that asked for it.
fn teller(recorder: Recorder, alerts: Store<Alert>) -> Tell {
    Arc::new(move |alert: &AlertId, reason: Reason, text: &str| {
        if let Some(alert) = alerts.get(&Key::new(&alert.namespace, &alert.name)) {
            recorder.tell(alert.as_ref(), Occurrence::error(reason, text));
        }
    })
}
