//! The event server: takes an event, drops what repeats, holds the rest against every Alert and hands over what
//! matches. It never waits for a sink.

mod repeats;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use plumb_alerting::incoming::{DedupKey, clean, involved};
use plumb_alerting::render;
use plumb_alerting::rule::{CrossNamespace, Delivery, Verdict};
use plumb_api::event::Event;
use plumb_status::Reason;

use crate::directory::{Directory, Sought};
use crate::dispatch::{Dispatcher, Tell};
use crate::server::{Answer, Arrived, answer};

use repeats::{Novelty, Repeats};

/// How many conflicting keys of metadata are told at most.
const CONFLICTS_TOLD_MAX: usize = 20;

/// What the event server needs.
pub struct Intake {
    directory: Arc<Directory>,
    dispatcher: Dispatcher,
    tell: Tell,
    cross_namespace: CrossNamespace,
    /// Whether every watch has spoken: before that, an Alert could be missed.
    is_filled: Arc<dyn Fn() -> bool + Send + Sync>,
    repeats: Mutex<Repeats>,
}

impl Intake {
    /// Takes events; a repetition within `interval` is refused.
    pub fn new(
        directory: Arc<Directory>,
        dispatcher: Dispatcher,
        tell: Tell,
        cross_namespace: CrossNamespace,
        is_filled: Arc<dyn Fn() -> bool + Send + Sync>,
        interval: Duration,
    ) -> Self {
        let repeats = Mutex::new(Repeats::new(interval));
        Self { directory, dispatcher, tell, cross_namespace, is_filled, repeats }
    }

    /// Answers a request. Any path will do.
    pub fn take(&self, arrived: &Arrived) -> Answer {
        if arrived.method != Method::POST {
            return answer(StatusCode::METHOD_NOT_ALLOWED, "an event is posted");
        }
        if !(self.is_filled)() {
            return answer(StatusCode::SERVICE_UNAVAILABLE, "not ready yet");
        }
        let Ok(mut event) = serde_json::from_slice::<Event>(&arrived.body) else {
            return answer(StatusCode::BAD_REQUEST, "the body is not an event");
        };
        clean(&mut event);
        match self.note(&event) {
            Novelty::Repeated { again_in } => {
                tracing::debug!(object = %involved(&event), "a repeated event is dropped");
                too_many(again_in)
            }
            Novelty::New => {
                self.hand_over(&event);
                answer(StatusCode::ACCEPTED, "")
            }
        }
    }

    fn note(&self, event: &Event) -> Novelty {
        let mut repeats = self.repeats.lock().unwrap_or_else(PoisonError::into_inner);
        repeats.note(DedupKey::of(event), Instant::now())
    }

    fn hand_over(&self, event: &Event) {
        for rule in self.directory.rules() {
            match rule.judge(event, self.cross_namespace) {
                Verdict::Unmatched => {}
                Verdict::Blocked(why) => {
                    let text = format!("failed to dispatch notification for {}: {why}", involved(event));
                    (self.tell)(rule.alert(), Reason::NotificationDispatchFailed, &text);
                }
                Verdict::Matched(delivery) => self.offer(event, *delivery),
            }
        }
    }

    fn offer(&self, event: &Event, delivery: Delivery) {
        let alert = &delivery.alert;
        let provider = match self.directory.provider(&alert.namespace, &delivery.provider) {
            Sought::Found(provider) => provider,
            Sought::Silent => return,
            Sought::Missing => {
                let object = involved(event);
                let text = format!(
                    "failed to dispatch notification for {object}: failed to read provider: Provider \"{}\" not found",
                    delivery.provider
                );
                (self.tell)(alert, Reason::NotificationDispatchFailed, &text);
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
            (self.tell)(alert, Reason::MetadataAppendFailed, &text);
        }
        self.dispatcher.offer(delivery, provider);
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
