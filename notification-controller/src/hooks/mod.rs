//! The receiver server: finds the Receiver of a path, verifies the webhook, asks for the reconciliations. The path is a
//! secret: it is never logged.

mod annotate;
mod coalesce;
mod shares;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Method, StatusCode};
use kube::Client;
use plumb_alerting::receiver::{
    Expectation, Target, WEBHOOK_BYTES_MAX, WEBHOOK_PATH_PREFIX, Webhook, WebhookRejection, verify,
    verify_unknown,
};
use plumb_alerting::rule::CrossNamespace;
use plumb_alerting::validate;
use plumb_api::notification::{Receiver, ReceiverResource, ReceiverSpec};
use plumb_api::sealed::Sealed;
use plumb_memory::Limit;
use plumb_secrets::{SecretError, receiver_token};
use plumb_status::condition::{READY, find};
use plumb_status::{UnsupportedFields, chain};
use tokio::time::Instant;

use crate::budget::Share;
use crate::directory::Directory;
use crate::receiver::decide;
use crate::server::{Answer, Arrived, BodyAccount, Endpoint, answer};

use annotate::{AnnotateError, Annotation};

pub use coalesce::Coalescer;
pub use shares::PathShares;

/// How many requests to the API server one webhook has under way at once.
const REQUESTS_AT_ONCE: usize = 8;
/// Bytes of one webhook.
const WEBHOOK: Limit = Limit { name: "body of a webhook", bytes_max: WEBHOOK_BYTES_MAX as u64 };
/// A rejected webhook is answered at a multiple of this time after its body arrived, so that the time does not reveal how far
/// it came: reading a Secret and an HMAC over the largest body take less.
const REJECTION_STEP: Duration = Duration::from_millis(500);

/// How many failures an answer names.
const FAILURES_NAMED_MAX: usize = 10;

/// Where the time comes from.
pub type Now = Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;

/// What the receiver server needs.
pub struct Hooks {
    /// For Secrets and patches.
    pub cluster: Client,
    /// The Receivers.
    pub directory: Arc<Directory>,
    /// Whether Receivers may reach into other namespaces.
    pub cross_namespace: CrossNamespace,
    /// Whether every watch has spoken: before that, a Receiver could be missed.
    pub is_filled: Arc<dyn Fn() -> bool + Send + Sync>,
    /// The clock.
    pub now: Now,
    /// For bodies.
    pub memory: Share,
    /// What each path has of it.
    pub shares: PathShares,
    /// Patches of objects for which many webhooks come.
    pub coalescer: Coalescer,
    /// The address of the event server, for whoever posts an event here.
    pub events_at: String,
}

impl Endpoint for Hooks {
    fn account(&self, path: &str, _: IpAddr) -> Box<dyn BodyAccount> {
        let receiver = self.directory.receiver_at(path);
        let budget = receiver.map(|receiver| {
            self.memory.hold(receiver.metadata.namespace.as_deref().unwrap_or_default(), WEBHOOK)
        });
        Box::new(self.shares.open(path, budget))
    }

    async fn take(self: Arc<Self>, arrived: Arrived) -> Answer {
        self.answer(arrived).await
    }
}

impl Hooks {
    /// Answers a request. Whoever does not prove that it knows a Receiver's token learns nothing: a path that is unknown,
    /// one that is not usable and a wrong signature are answered alike, at the same time after the body arrived.
    async fn answer(&self, arrived: Arrived) -> Answer {
        if arrived.method != Method::POST {
            return answer(StatusCode::METHOD_NOT_ALLOWED, "method not allowed: use POST");
        }
        if !(self.is_filled)() {
            return answer(StatusCode::SERVICE_UNAVAILABLE, "not ready yet");
        }
        // Any caller may learn it: no Receiver can have such a path.
        if !arrived.path.starts_with(WEBHOOK_PATH_PREFIX) {
            return answer(StatusCode::NOT_FOUND, &self.not_a_webhook());
        }
        let began = Instant::now();
        let Some(receiver) = self.directory.receiver_at(&arrived.path) else {
            verify_unknown(&Webhook { headers: &lower(&arrived.headers), body: &arrived.body });
            drop(arrived);
            return rejected(began).await;
        };
        let namespace = receiver.metadata.namespace.clone().unwrap_or_default();
        let name = receiver.metadata.name.clone().unwrap_or_default();
        let answer = match self.authenticate(&arrived, &receiver, &namespace).await {
            Ok(()) if receiver.spec.suspend || !is_usable(&receiver) => {
                answer(StatusCode::SERVICE_UNAVAILABLE, "the receiver is suspended or not ready")
            }
            Ok(()) => self.ask(&receiver.spec, &namespace, &name).await,
            Err(error) => {
                let why = chain(&error);
                tracing::error!(controllerKind = "Receiver", %namespace, %name, error = %why, "unable to validate payload");
                match error {
                    HookError::Rejected(rejection) if rejection.is_authenticated() => {
                        answer(StatusCode::BAD_REQUEST, &why)
                    }
                    HookError::Rejected(_)
                    | HookError::Unsupported(_)
                    | HookError::NoSecretRef
                    | HookError::Token(_) => {
                        drop(arrived);
                        rejected(began).await
                    }
                }
            }
        };
        tracing::info!(controllerKind = "Receiver", %namespace, %name, status = answer.status().as_u16(), "webhook");
        answer
    }

    /// What is answered at a path outside of that of webhooks.
    fn not_a_webhook(&self) -> String {
        format!(
            "not found: this is the receiver server (--receiverAddr), webhooks are posted to the status.webhookPath of a \
             Receiver; events are posted to the event server (--events-addr={})",
            self.events_at
        )
    }

    /// Whether the caller knows the token.
    async fn authenticate(
        &self,
        arrived: &Arrived,
        receiver: &Receiver,
        namespace: &str,
    ) -> Result<(), HookError> {
        let spec = &receiver.spec;
        validate::receiver(spec)?;
        let reference = spec.secret_ref.as_ref().ok_or(HookError::NoSecretRef)?;
        let token = self.token(&reference.name, namespace).await?;
        let headers = lower(&arrived.headers);
        let webhook = Webhook { headers: &headers, body: &arrived.body };
        let expectation = Expectation { token: token.expose(), events: &spec.events };
        Ok(verify(spec.type_.as_str(), &webhook, &expectation)?)
    }

    /// Requests a reconciliation of every resource; one that fails does not keep the others from being reconciled. The caller has
    /// proved that it knows the token, so the response names the one that failed.
    async fn ask(&self, spec: &ReceiverSpec, namespace: &str, name: &str) -> Answer {
        let find = async |resource: &ReceiverResource| {
            let target = Target::resolve(resource, namespace, self.cross_namespace)?;
            annotate::find(&self.cluster, target).await
        };
        // Collected before they run: a stream of borrowing closures is not Send.
        let finds: Vec<_> = spec.resources.iter().map(find).collect();
        let found: Vec<_> = stream::iter(finds).buffered(REQUESTS_AT_ONCE).collect().await;
        let (found, mut failures) = partition(found);
        // An object that several resources name is annotated once.
        let objects: HashSet<_> = found.into_iter().flatten().collect();
        let patches: Vec<_> =
            (objects.iter()).map(|object| self.coalescer.patch(object, || self.annotate(object))).collect();
        let outcomes: Vec<_> = stream::iter(patches).buffered(REQUESTS_AT_ONCE).collect().await;
        failures.extend(partition(outcomes).1);
        for error in &failures {
            tracing::error!(controllerKind = "Receiver", %namespace, %name, error = %chain(error), "failed to annotate resource");
        }
        if failures.is_empty() {
            answer(StatusCode::OK, "")
        } else {
            let whys: Vec<_> =
                failures.iter().take(FAILURES_NAMED_MAX).map(AnnotateError::public_text).collect();
            let text = format!("{} resources could not be annotated: {}", failures.len(), whys.join("; "));
            answer(StatusCode::INTERNAL_SERVER_ERROR, &text)
        }
    }

    async fn annotate(&self, object: &Annotation) -> Result<(), AnnotateError> {
        annotate::annotate(&self.cluster, object, &(self.now)().to_string()).await
    }

    async fn token(&self, secret: &str, namespace: &str) -> Result<Sealed, SecretError> {
        let content = plumb_secrets::read(&self.cluster, namespace, secret).await?;
        receiver_token(&content)
    }
}

/// Why a webhook is not let in. The texts are for the log.
#[derive(Debug, thiserror::Error)]
enum HookError {
    /// The Receiver sets something that is not honoured.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedFields),
    /// The Receiver has no token.
    #[error("spec.secretRef is not set")]
    NoSecretRef,
    /// The token cannot be read.
    #[error("unable to read token")]
    Token(#[from] SecretError),
    /// The webhook is not what it claims to be.
    #[error(transparent)]
    Rejected(#[from] WebhookRejection),
}

/// The one answer to everybody who has not proved anything.
async fn rejected(began: Instant) -> Answer {
    let steps = began.elapsed().as_millis() / REJECTION_STEP.as_millis() + 1;
    let after = REJECTION_STEP.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX));
    tokio::time::sleep_until(began + after).await;
    answer(StatusCode::NOT_FOUND, "not found")
}

fn partition<T, E>(outcomes: Vec<Result<T, E>>) -> (Vec<T>, Vec<E>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(value) => good.push(value),
            Err(error) => bad.push(error),
        }
    }
    (good, bad)
}

/// Whether its webhooks are let in. While it is looked at once more, it goes on as before.
fn is_usable(receiver: &Receiver) -> bool {
    let conditions = receiver.status.as_ref().map_or(&[][..], |status| &status.conditions);
    find(conditions, READY).is_some_and(decide::is_usable)
}

fn lower(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}
