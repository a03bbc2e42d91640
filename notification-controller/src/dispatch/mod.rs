//! Sends deliveries, beside everything else: bounded in number, bytes and time, each Provider in its own lane. What
//! fails is told on the Alert, without secrets; what finds no room is counted.

mod lanes;
mod send;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Client;
use plumb_alerting::incoming::involved;
use plumb_alerting::redact::Redactor;
use plumb_alerting::render::{self, Settings};
use plumb_alerting::rule::{AlertId, Delivery};
use plumb_api::notification::ProviderSpec;
use plumb_status::{Reason, chain};
use tokio_util::task::TaskTracker;

use lanes::Lanes;

pub use lanes::LaneId;
pub use send::{Pace, client as http_client};

/// Tells something on an Alert.
pub type Tell = Arc<dyn Fn(&AlertId, Reason, &str) + Send + Sync>;
/// Counts a delivery that found no room.
pub type CountDropped = Arc<dyn Fn() + Send + Sync>;

/// What the dispatcher needs.
pub struct Means {
    /// For the Secrets of Providers.
    pub cluster: Client,
    /// For the Providers.
    pub http: reqwest::Client,
    /// How often and how soon to try again.
    pub pace: Pace,
    /// For failures.
    pub tell: Tell,
    /// For what finds no room.
    pub count_dropped: CountDropped,
}

/// Takes deliveries and sends them.
#[derive(Clone)]
pub struct Dispatcher(Arc<Inner>);

struct Inner {
    means: Means,
    lanes: Mutex<Lanes<Job>>,
    tracker: TaskTracker,
}

struct Job {
    delivery: Delivery,
    provider: Arc<ProviderSpec>,
}

impl Dispatcher {
    /// Nothing to send yet.
    pub fn new(means: Means) -> Self {
        Self(Arc::new(Inner { means, lanes: Mutex::new(Lanes::new()), tracker: TaskTracker::new() }))
    }

    /// Takes a delivery, or drops and counts it where there is no room. Never waits.
    pub fn offer(&self, delivery: Delivery, provider: Arc<ProviderSpec>) {
        let lane = LaneId { namespace: delivery.alert.namespace.clone(), name: delivery.provider.clone() };
        let bytes = weight(&delivery);
        let offered = self.lanes().offer(&lane, Job { delivery, provider }, bytes);
        if let Err(full) = offered {
            (self.0.means.count_dropped)();
            tracing::warn!(provider = %lane, ?full, "no room for a notification: it is dropped");
            return;
        }
        self.pump();
    }

    /// Waits until everything is sent, at most this long. Whatever is left after that is lost, and said to be.
    pub async fn drain(&self, limit: Duration) {
        self.0.tracker.close();
        if tokio::time::timeout(limit, self.0.tracker.wait()).await.is_err() {
            let waiting = self.lanes().waiting();
            tracing::warn!(
                under_way = self.0.tracker.len(),
                waiting,
                "notifications were cut off at the end"
            );
        }
    }

    /// Starts whatever may start.
    fn pump(&self) {
        loop {
            let next = self.lanes().start();
            let Some((lane, job)) = next else { return };
            self.0.tracker.spawn(self.clone().work(lane, job));
        }
    }

    /// Delivers one after the other for as long as something may start: each end makes room for one more.
    async fn work(self, lane: LaneId, job: Job) {
        let mut next = Some((lane, job));
        while let Some((lane, job)) = next {
            let (dispatcher, own) = (self.clone(), lane.clone());
            // A task of its own: a fault ends this delivery and no other.
            if let Err(fault) = tokio::spawn(async move { dispatcher.deliver(&own, job).await }).await {
                tracing::error!(provider = %lane, panicked = fault.is_panic(), "a delivery ended by a fault");
            }
            let mut lanes = self.lanes();
            lanes.done(&lane);
            next = lanes.start();
        }
    }

    async fn deliver(&self, lane: &LaneId, job: Job) {
        let Job { delivery, provider } = job;
        let means = &self.0.means;
        let object = involved(&delivery.event);
        let limit = provider.effective_timeout().to_std();
        let mut settings = Settings::default();
        let attempt = async {
            settings =
                settings::gather(&means.cluster, &lane.namespace, &provider).await.map_err(|e| chain(&e))?;
            let type_ = render::provider(provider.type_.as_str()).map_err(|e| chain(&e))?;
            let request = type_.render(&delivery.event, &settings).map_err(|e| chain(&e))?;
            if request.url.scheme() == "http" && settings.token.is_some() {
                tracing::warn!(provider = %lane, "a credential is sent over an unencrypted connection");
            }
            send::send(&means.http, &request, limit, means.pace).await.map_err(|e| chain(&e))
        };
        if let Err(why) = attempt.await {
            let why = Redactor::new(settings.secrets()).mask(&why);
            tracing::error!(alert = %delivery.alert, provider = %lane, error = %why, "failed to send notification");
            let text = format!("failed to send notification for {object}: {why}");
            (means.tell)(&delivery.alert, Reason::NotificationDispatchFailed, &text);
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes<Job>> {
        self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// About how many bytes a delivery holds.
fn weight(delivery: &Delivery) -> usize {
    const FIXED: usize = 512;
    let event = &delivery.event;
    let metadata: usize = event.metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    FIXED + event.message.len() + metadata
}
