//! The event server: takes an event, drops what repeats, holds the rest against every Alert and hands over what
//! matches. It never waits for a sink.

mod repeats;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use plumb_alerting::incoming::{DedupKey, EVENT_BYTES_MAX, clean, involved};
use plumb_alerting::receiver::WEBHOOK_PATH_PREFIX;
use plumb_alerting::render;
use plumb_alerting::rule::{CrossNamespace, Delivery, Rule, Verdict};
use plumb_api::event::Event;
use plumb_memory::Limit;
use plumb_runtime::read_event_token;
use plumb_status::Reason;

use crate::budget::Share;
use crate::directory::{Directory, ProviderLookup};
use crate::dispatch::{AlertReporter, CountDropped, Dispatcher};
use crate::matching::Matching;
use crate::server::{Answer, Arrived, BodyAccount, Endpoint, answer};

use repeats::{Novelty, Repeats};

/// How many conflicting keys of metadata are reported at most.
const CONFLICTS_TOLD_MAX: usize = 20;

/// Bytes of one event, from its first byte on until it is matched.
const EVENT: Limit = Limit { name: "body of an event", bytes_max: EVENT_BYTES_MAX as u64 };

/// The scheme of the token.
const BEARER: &[u8] = b"Bearer ";

/// What the event server needs.
pub struct IntakeConfig {
    /// The Alerts and Providers.
    pub directory: Arc<Directory>,
    /// For what matches.
    pub dispatcher: Dispatcher,
    /// Where patterns are matched.
    pub matching: Matching,
    /// For bodies, and the events in them.
    pub memory: Share,
    /// For failures.
    pub report: AlertReporter,
    /// For what finds no room to be matched.
    pub count_dropped: CountDropped,
    /// Whether Alerts may forward events of objects in other namespaces.
    pub cross_namespace: CrossNamespace,
    /// Whether every watch has spoken: before that, an Alert could be missed.
    pub is_filled: Arc<dyn Fn() -> bool + Send + Sync>,
    /// A repetition within this time is refused.
    pub interval: Duration,
    /// The file with the token that senders must present; none where everyone may post events.
    pub token_file: Option<PathBuf>,
    /// The address of the receiver server, for whoever posts a webhook here.
    pub webhooks_at: String,
}

/// The event server.
pub struct Intake {
    config: IntakeConfig,
    repeats: Mutex<Repeats>,
}

/// An event, with the account of its bytes.
struct Taken {
    event: Event,
    _account: Box<dyn BodyAccount>,
}

impl Endpoint for Intake {
    /// Each sender has a share of its own: one that sends much leaves room for the others.
    fn account(&self, _: &str, peer: IpAddr) -> Box<dyn BodyAccount> {
        Box::new(self.config.memory.hold(&peer.to_string(), EVENT))
    }

    async fn take(self: Arc<Self>, arrived: Arrived) -> Answer {
        match self.authenticate(&arrived.headers).await {
            Ok(()) => self.answer(arrived),
            // Whoever posts a webhook has no token of this server.
            Err(_) if arrived.path.starts_with(WEBHOOK_PATH_PREFIX) => {
                answer(StatusCode::UNAUTHORIZED, &self.not_an_event("unauthorized"))
            }
            Err(rejected) => rejected,
        }
    }
}

impl Intake {
    /// No event was seen yet.
    pub fn new(config: IntakeConfig) -> Self {
        let repeats = Mutex::new(Repeats::new(config.interval));
        Self { config, repeats }
    }

    /// Whether the sender knows the token, where one is required.
    async fn authenticate(&self, headers: &HeaderMap) -> Result<(), Answer> {
        let Some(file) = &self.config.token_file else { return Ok(()) };
        let token = read_event_token(file).await.map_err(|error| {
            tracing::error!(file = %file.display(), %error, "failed to read event token");
            answer(StatusCode::SERVICE_UNAVAILABLE, "the token cannot be read")
        })?;
        let given = headers.get(http::header::AUTHORIZATION).map_or(&[][..], HeaderValue::as_bytes);
        let given =
            given.split_at_checked(BEARER.len()).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(BEARER));
        if given.is_some_and(|(_, given)| token.matches(given)) {
            return Ok(());
        }
        let mut rejected = answer(
            StatusCode::UNAUTHORIZED,
            "unauthorized: the bearer token of --events-token-file is required",
        );
        rejected.headers_mut().insert(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        Err(rejected)
    }

    /// Answers a request. Any path will do.
    fn answer(self: &Arc<Self>, arrived: Arrived) -> Answer {
        if arrived.method != Method::POST {
            return answer(StatusCode::METHOD_NOT_ALLOWED, "method not allowed: use POST");
        }
        if !(self.config.is_filled)() {
            return answer(StatusCode::SERVICE_UNAVAILABLE, "not ready yet");
        }
        let Ok(mut event) = serde_json::from_slice::<Event>(&arrived.body) else {
            let text = "the body is not an event";
            return if arrived.path.starts_with(WEBHOOK_PATH_PREFIX) {
                answer(StatusCode::BAD_REQUEST, &self.not_an_event(text))
            } else {
                answer(StatusCode::BAD_REQUEST, text)
            };
        };
        clean(&mut event);
        match self.note(&event) {
            Novelty::Repeated { again_in } => {
                tracing::debug!(object = %involved(&event), "duplicate event dropped");
                too_many(again_in)
            }
            Novelty::New => {
                self.hand_over(Taken { event, _account: arrived.account });
                answer(StatusCode::ACCEPTED, "")
            }
        }
    }

    /// What is answered at the path of a webhook.
    fn not_an_event(&self, problem: &str) -> String {
        format!(
            "{problem}: this is the event server (--events-addr); webhooks are posted to the receiver server \
             (--receiverAddr={})",
            self.config.webhooks_at
        )
    }

    fn note(&self, event: &Event) -> Novelty {
        let mut repeats = self.repeats.lock().unwrap_or_else(PoisonError::into_inner);
        repeats.note(DedupKey::of(event), Instant::now())
    }

    /// Holds an event against every Alert. What needs patterns waits for its turn in the queue of the Alert's namespace.
    fn hand_over(self: &Arc<Self>, taken: Taken) {
        let taken = Arc::new(taken);
        for rule in self.config.directory.rules() {
            if !rule.concerns(&taken.event) {
                continue;
            }
            if !rule.has_patterns() {
                self.judge(&rule, &taken.event);
                continue;
            }
            let namespace = rule.alert().namespace.clone();
            let (intake, taken) = (Arc::clone(self), Arc::clone(&taken));
            let job = move || intake.judge(&rule, &taken.event);
            if let Err(full) = self.config.matching.offer(&namespace, job) {
                (self.config.count_dropped)();
                tracing::warn!(%namespace, error = %full, "notification dropped");
            }
        }
    }

    fn judge(&self, rule: &Rule, event: &Event) {
        match rule.judge(event, self.config.cross_namespace) {
            Verdict::Unmatched => {}
            Verdict::Blocked(why) => {
                let text = format!("failed to dispatch notification for {}: {why}", involved(event));
                (self.config.report)(rule.alert(), Reason::NotificationDispatchFailed, &text);
            }
            Verdict::Matched(delivery) => self.offer(event, *delivery),
        }
    }

    fn offer(&self, event: &Event, delivery: Delivery) {
        let alert = &delivery.alert;
        let provider = match self.config.directory.provider(&alert.namespace, &delivery.provider) {
            ProviderLookup::Found(provider) => provider,
            ProviderLookup::Silent => return,
            ProviderLookup::Missing => {
                let object = involved(event);
                let text = format!(
                    "failed to dispatch notification for {object}: failed to read provider: Provider \"{}\" not found",
                    delivery.provider
                );
                (self.config.report)(alert, Reason::NotificationDispatchFailed, &text);
                return;
            }
        };
        // Judged by what the controller said, before the Alert's own metadata came in.
        if !render::provider(provider.type_.as_str()).is_ok_and(|type_| type_.wants(event)) {
            return;
        }
        if !delivery.conflicts.is_empty() {
            let keys: Vec<_> =
                delivery.conflicts.iter().take(CONFLICTS_TOLD_MAX).map(ToString::to_string).collect();
            let text = format!("metadata key conflicts detected: {}", keys.join("; "));
            (self.config.report)(alert, Reason::MetadataAppendFailed, &text);
        }
        self.config.dispatcher.offer(delivery, provider);
    }
}

/// 429, with the headers that Flux gives.
fn too_many(again_in: Duration) -> Answer {
    let mut answer = answer(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests");
    let wait = SignedDuration::try_from(again_in).unwrap_or(SignedDuration::ZERO);
    let reset = Timestamp::now().saturating_add(wait).unwrap_or(Timestamp::MAX);
    let reset = reset.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let headers = answer.headers_mut();
    headers.insert("x-ratelimit-limit", HeaderValue::from_static("1"));
    headers.insert("x-ratelimit-remaining", HeaderValue::from_static("0"));
    if let Ok(reset) = HeaderValue::from_str(&reset) {
        headers.insert("x-ratelimit-reset", reset.clone());
        headers.insert(http::header::RETRY_AFTER, reset);
    }
    answer
}
