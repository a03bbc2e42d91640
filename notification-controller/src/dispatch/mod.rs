//! Sends notifications, beside everything else: bounded in number, bytes and time, fair per namespace, in order per object.
//! A service that fails is left alone for a while and holds no send of another. What fails is reported on the Alert, without
//! secrets; what finds no room is counted.

mod queues;
mod send;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Client;
use plumb_alerting::incoming::{event_bytes, involved};
use plumb_alerting::redact::Redactor;
use plumb_alerting::render::{self, Settings};
use plumb_alerting::rule::Delivery;
use plumb_api::meta::NamespacedName;
use plumb_api::notification::ProviderSpec;
use plumb_memory::Limit;
use plumb_status::{Reason, chain};
use plumb_transport::HttpClient;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::budget::{Held, Share};
use queues::{Health, ProviderQueues};

pub use send::{SendRetries, client as http_client};

/// How long a notification may wait for its service; older ones are dropped.
const WAITING_TIME_MAX: Duration = Duration::from_hours(1);

/// Reports something on an Alert.
pub type AlertReporter = Arc<dyn Fn(&NamespacedName, Reason, &str) + Send + Sync>;
/// Counts notifications that were dropped.
pub type CountDropped = Arc<dyn Fn() + Send + Sync>;

/// What the dispatcher needs.
pub struct DispatcherConfig {
    /// For the Secrets of Providers.
    pub cluster: Client,
    /// For the Providers.
    pub http: HttpClient,
    /// How often and how soon to try again.
    pub retries: SendRetries,
    /// For notifications that wait.
    pub memory: Share,
    /// For failures.
    pub report: AlertReporter,
    /// For what finds no room.
    pub count_dropped: CountDropped,
}

/// Takes notifications and sends them.
#[derive(Clone)]
pub struct Dispatcher(Arc<Inner>);

struct Inner {
    config: DispatcherConfig,
    queues: Mutex<ProviderQueues<Job>>,
    /// Notified whenever a send ends.
    ended: Notify,
}

struct Job {
    delivery: Delivery,
    provider: Arc<ProviderSpec>,
    /// When it was offered.
    offered: Instant,
    /// When it has to have arrived: set when its first try starts.
    deadline: Option<Instant>,
    /// How often it was tried again.
    retries: u32,
    /// Why the last try did not succeed, without secrets.
    last_error: Option<String>,
    /// Its bytes in the budget.
    _held: Held,
}

/// Why a try did not succeed. The text is without secrets.
struct Failure {
    why: String,
    health: Health,
    /// Whether another try may succeed.
    is_transient: bool,
    /// How long the service asks to be left alone.
    retry_after: Option<Duration>,
}

impl Dispatcher {
    /// Nothing to send yet.
    pub fn new(config: DispatcherConfig) -> Self {
        Self(Arc::new(Inner { config, queues: Mutex::new(ProviderQueues::new()), ended: Notify::new() }))
    }

    /// Takes a notification, or drops and counts it where there is no room. Never waits.
    pub fn offer(&self, delivery: Delivery, provider: Arc<ProviderSpec>) {
        let id = NamespacedName::new(delivery.alert.namespace.clone(), delivery.provider.clone());
        let bytes_max = event_bytes(&delivery.event);
        let mut held =
            self.0.config.memory.hold(&id.namespace, Limit { name: "waiting notifications", bytes_max });
        if let Err(over) = held.try_grow(bytes_max) {
            return self.drop_one(&id, &over.to_string());
        }
        let object = involved(&delivery.event);
        let (offered, deadline, retries, last_error) = (Instant::now(), None, 0, None);
        let job = Job { delivery, provider, offered, deadline, retries, last_error, _held: held };
        let offered = self.queues().offer(&id, object, job);
        match offered {
            Ok(()) => self.pump(),
            Err(full) => self.drop_one(&id, &full.to_string()),
        }
    }

    /// Waits until everything is sent, at most this long. Whatever is left after that is dropped, counted and logged.
    pub async fn drain(&self, limit: Duration) {
        let drained = async {
            loop {
                let ended = self.0.ended.notified();
                if self.left() == 0 {
                    return;
                }
                ended.await;
            }
        };
        if tokio::time::timeout(limit, drained).await.is_err() {
            let left = self.left();
            for _ in 0..left {
                (self.0.config.count_dropped)();
            }
            tracing::warn!(left, "shutdown: notifications were dropped");
        }
    }

    /// How many wait or are under way.
    pub fn left(&self) -> usize {
        let queues = self.queues();
        queues.waiting() + queues.running()
    }

    fn drop_one(&self, id: &NamespacedName, why: &str) {
        (self.0.config.count_dropped)();
        tracing::warn!(provider = %id, error = why, "notification dropped");
    }

    /// Starts whatever may start.
    fn pump(&self) {
        // The runtime may be shutting down.
        while tokio::runtime::Handle::try_current().is_ok() {
            let next = self.queues().start(Instant::now());
            let Some((id, waiting)) = next else { return };
            let dispatcher = self.clone();
            tokio::spawn(dispatcher.run(id, waiting.object, waiting.item));
        }
    }

    /// One try, whatever becomes of it, and then whatever may start because it has ended.
    async fn run(self, id: NamespacedName, object: String, job: Job) {
        let mut ended = Ended { dispatcher: self.clone(), id, object, health: Health::Unknown, retry: None };
        if job.offered.elapsed() > WAITING_TIME_MAX {
            self.drop_one(&ended.id, "it was queued for more than an hour");
            return;
        }
        if let (Some(deadline), Some(why)) = (job.deadline, &job.last_error)
            && deadline <= Instant::now()
        {
            // The time ran out while it waited for its next try: the service was left alone, or others were sent.
            self.report(&ended.id, &job.delivery, why);
            return;
        }
        let limit = job.provider.effective_timeout().to_std();
        let deadline = job.deadline.unwrap_or_else(|| Instant::now() + limit);
        match self.attempt(&ended.id, &job, deadline, limit).await {
            Ok(()) => ended.health = Health::Answers,
            Err(failure) => {
                let retries = self.0.config.retries;
                let not_before = Instant::now() + retries.pause(job.retries + 1, failure.retry_after);
                let again =
                    failure.is_transient && job.retries < retries.retries_max && not_before < deadline;
                ended.health = failure.health;
                if again {
                    let (deadline, retries) = (Some(deadline), job.retries + 1);
                    let job = Job { deadline, retries, last_error: Some(failure.why), ..job };
                    ended.retry = Some((job, not_before));
                } else {
                    self.report(&ended.id, &job.delivery, &failure.why);
                }
            }
        }
    }

    async fn attempt(
        &self,
        id: &NamespacedName,
        job: &Job,
        deadline: Instant,
        limit: Duration,
    ) -> Result<(), Failure> {
        let Inner { config, .. } = &*self.0;
        let permanent =
            |why: String| Failure { why, health: Health::Unknown, is_transient: false, retry_after: None };
        let gathered = settings::gather(&config.cluster, &id.namespace, &job.provider);
        let settings = tokio::time::timeout_at(deadline, gathered)
            .await
            .map_err(|_| permanent(format!("the Secret could not be read within {limit:?}")))?
            .map_err(|error| permanent(chain(&error)))?;
        let redactor = Redactor::new(settings.secrets());
        let masked = |why: &dyn std::error::Error| redactor.mask(&chain(why));
        let request = render(&job.delivery, &job.provider, &settings).map_err(|e| permanent(masked(&e)))?;
        if request.url.scheme() == "http" && settings.token.is_some() {
            tracing::warn!(provider = %id, "a credential is sent over an unencrypted connection");
        }
        let sent = send::send(&config.http, &request, deadline, limit).await;
        sent.map_err(|send::Unsent { error, retry_after }| Failure {
            why: masked(&error),
            health: error.health(),
            is_transient: error.is_transient(),
            retry_after,
        })
    }

    fn report(&self, id: &NamespacedName, delivery: &Delivery, why: &str) {
        let object = involved(&delivery.event);
        tracing::error!(alert = %delivery.alert, provider = %id, error = why, "failed to send notification");
        let text = format!("failed to send notification for {object} to Provider/{id}: {why}");
        (self.0.config.report)(&delivery.alert, Reason::NotificationDispatchFailed, &text);
    }

    /// At this time the Provider gets another turn. The number of these waits is bounded by that of waiting notifications.
    fn wake_at(&self, id: NamespacedName, time: Instant) {
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let dispatcher = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep_until(time).await;
            dispatcher.queues().wake(&id, Instant::now());
            dispatcher.pump();
        });
    }

    fn queues(&self) -> MutexGuard<'_, ProviderQueues<Job>> {
        self.0.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a try: what it leaves in the queue when it is dropped, so that a panic ends this notification and no other.
struct Ended {
    dispatcher: Dispatcher,
    id: NamespacedName,
    object: String,
    health: Health,
    retry: Option<(Job, Instant)>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        let Self { dispatcher, id, object, health, retry } = self;
        if std::thread::panicking() {
            tracing::error!(provider = %id, "sending a notification panicked");
        }
        let now = Instant::now();
        let woken = match retry.take() {
            Some((job, not_before)) => {
                dispatcher.queues().retry(id, std::mem::take(object), job, not_before);
                Some(not_before)
            }
            None => dispatcher.queues().done(id, object, *health, now).map(|pause| {
                tracing::warn!(provider = %id, pause_s = pause.as_secs(), "provider failed, backing off");
                now + pause
            }),
        };
        if let Some(time) = woken {
            dispatcher.wake_at(id.clone(), time);
        }
        dispatcher.0.ended.notify_waiters();
        dispatcher.pump();
    }
}

fn render(
    delivery: &Delivery,
    provider: &ProviderSpec,
    settings: &Settings,
) -> Result<render::OutboundRequest, render::RenderError> {
    render::provider(provider.type_.as_str())?.render(&delivery.event, settings)
}
