//! The receiver server: finds the Receiver of a path, verifies the webhook, asks for the reconciliations. The path is a
//! secret: it is never logged.

mod annotate;
mod kinds;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Method, StatusCode};
use kube::Client;
use plumb_alerting::receiver::{Expectation, Webhook, verify};
use plumb_alerting::rule::CrossNamespace;
use plumb_alerting::validate;
use plumb_api::notification::{Receiver, ReceiverSpec};
use plumb_api::sealed::Sealed;
use plumb_secrets::{SecretError, receiver_token};
use plumb_status::chain;
use plumb_status::condition::{READY, find};

use crate::directory::Directory;
use crate::server::{Answer, Arrived, answer};

/// How many objects are asked at once.
const PATCHES_AT_ONCE: usize = 8;

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
}

impl Hooks {
    /// Answers a request.
    pub async fn take(&self, arrived: &Arrived) -> Answer {
        if arrived.method != Method::POST {
            return answer(StatusCode::METHOD_NOT_ALLOWED, "a webhook is posted");
        }
        if !(self.is_filled)() {
            return answer(StatusCode::SERVICE_UNAVAILABLE, "not ready yet");
        }
        let Some(receiver) = self.directory.receiver_at(&arrived.path) else {
            return answer(StatusCode::NOT_FOUND, "not found");
        };
        if receiver.spec.suspend || !is_usable(&receiver) {
            return answer(StatusCode::SERVICE_UNAVAILABLE, "the receiver is suspended or not ready");
        }
        let namespace = receiver.metadata.namespace.clone().unwrap_or_default();
        let name = receiver.metadata.name.clone().unwrap_or_default();
        let answer = self.let_in(arrived, &receiver.spec, &namespace, &name).await;
        tracing::info!(controllerKind = "Receiver", %namespace, %name, status = answer.status().as_u16(), "webhook");
        answer
    }

    async fn let_in(&self, arrived: &Arrived, spec: &ReceiverSpec, namespace: &str, name: &str) -> Answer {
        if let Err(unsupported) = validate::receiver(spec) {
            return answer(StatusCode::SERVICE_UNAVAILABLE, &unsupported.to_string());
        }
        let Some(reference) = &spec.secret_ref else {
            return answer(StatusCode::SERVICE_UNAVAILABLE, "the receiver has no secretRef");
        };
        let token = match self.token(&reference.name, namespace).await {
            Ok(token) => token,
            Err(error) => {
                tracing::error!(controllerKind = "Receiver", %namespace, %name, error = %chain(&error), "no token");
                return answer(StatusCode::INTERNAL_SERVER_ERROR, "the token cannot be read");
            }
        };
        let headers = lower(&arrived.headers);
        let webhook = Webhook { headers: &headers, body: &arrived.body };
        let expectation = Expectation { token: token.expose(), events: &spec.events };
        if let Err(refusal) = verify(spec.type_.as_str(), &webhook, &expectation) {
            let why = chain(&refusal);
            tracing::error!(controllerKind = "Receiver", %namespace, %name, error = %why, "unable to validate payload");
            return answer(StatusCode::BAD_REQUEST, &why);
        }
        self.ask(spec, namespace, name).await
    }

    /// Asks every resource; one that fails does not keep the others from being asked.
    async fn ask(&self, spec: &ReceiverSpec, namespace: &str, name: &str) -> Answer {
        let requested_at = (self.now)().to_string();
        let patches: Vec<_> = (spec.resources.iter())
            .map(|resource| {
                annotate::annotate(&self.cluster, namespace, resource, self.cross_namespace, &requested_at)
            })
            .collect();
        let outcomes: Vec<_> = stream::iter(patches).buffered(PATCHES_AT_ONCE).collect().await;
        let failures: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
        for error in &failures {
            tracing::error!(controllerKind = "Receiver", %namespace, %name, error = %chain(error), "cannot ask");
        }
        if failures.is_empty() {
            answer(StatusCode::OK, "")
        } else {
            let text = format!("{} of {} resources could not be asked", failures.len(), spec.resources.len());
            answer(StatusCode::INTERNAL_SERVER_ERROR, &text)
        }
    }

    async fn token(&self, secret: &str, namespace: &str) -> Result<Sealed, SecretError> {
        let content = plumb_secrets::read(&self.cluster, namespace, secret).await?;
        receiver_token(&content)
    }
}

/// Whether it was not found wanting. While it is looked at once more, it goes on as before.
fn is_usable(receiver: &Receiver) -> bool {
    let conditions = receiver.status.as_ref().map_or(&[][..], |status| &status.conditions);
    find(conditions, READY).is_some_and(|ready| !ready.is_false())
}

fn lower(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}
