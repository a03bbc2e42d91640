//! Asks for reconciliations: the objects of a target are found, and each gets one merge patch of an annotation.

use std::fmt;
use std::time::Duration;

use kube::api::{ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, Selector};
use kube::{Api, Client};
use plumb_alerting::receiver::{Objects, Target, TargetError};
use plumb_api::meta::{NOTIFICATION_MANAGER, RECONCILE_REQUESTED_AT};
use plumb_cluster::{CallError, call_within};
use plumb_status::chain;
use serde_json::json;

/// How long the API server may take for one page of a list, or for one patch.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// How many objects of one page are held at once.
const PAGE_OBJECTS_MAX: u32 = 500;
/// How many objects one resource of a Receiver may choose by labels.
const LABELLED_OBJECTS_MAX: usize = 2000;

/// One object, as a request names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Annotation {
    place: ApiResource,
    namespace: String,
    name: String,
}

impl fmt::Display for Annotation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}/{}", self.place.kind, self.namespace, self.name)
    }
}

#[cfg(test)]
impl Annotation {
    /// An object as a test names it.
    pub fn of(plural: &str, namespace: &str, name: &str) -> Self {
        let gvk = kube::core::GroupVersionKind::gvk("g", "v1", plural);
        let place = ApiResource::from_gvk_with_plural(&gvk, plural);
        Self { place, namespace: namespace.into(), name: name.into() }
    }
}

/// Why an object was not annotated.
#[derive(Debug, thiserror::Error)]
pub enum AnnotateError {
    /// The Receiver names nothing that can be there.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The API server rejected the request, or did not respond.
    #[error("failed to {verb} '{object}'")]
    Call {
        /// `list` or `annotate`.
        verb: &'static str,
        /// Which.
        object: String,
        /// Why.
        source: CallError,
    },
    /// The patch that it shared with other webhooks failed.
    #[error("failed to annotate '{object}': the patch shared with other webhooks failed")]
    Shared {
        /// Which.
        object: String,
    },
    /// Too many objects carry the labels.
    #[error("more than {LABELLED_OBJECTS_MAX} objects match '{object}': narrow matchLabels")]
    TooMany {
        /// Which.
        object: String,
    },
}

impl AnnotateError {
    /// The text for the caller of a webhook: it names the resource of the Receiver, and repeats nothing of the API server.
    pub fn public_text(&self) -> String {
        match self {
            Self::Call { source: CallError::TimedOut { .. }, .. } => chain(self),
            Self::Call { .. } | Self::Target(_) | Self::Shared { .. } | Self::TooMany { .. } => {
                self.to_string()
            }
        }
    }
}

/// The objects of a target. Those chosen by labels are listed, metadata only; none at all is no error.
pub async fn find(client: &Client, target: Target) -> Result<Vec<Annotation>, AnnotateError> {
    let place = target.resource();
    let Target { kind, version: _, namespace, objects } = target;
    let labels = match objects {
        Objects::Named(name) => return Ok(vec![Annotation { place, namespace, name }]),
        Objects::Labelled(labels) => labels,
    };
    let object = format!("{kind}/{namespace}/*");
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &place);
    let selector: Selector = labels.into_iter().collect();
    let mut params = ListParams::default().labels_from(&selector).limit(PAGE_OBJECTS_MAX);
    let mut found = Vec::new();
    loop {
        let page = call_within(CALL_TIMEOUT, api.list_metadata(&params))
            .await
            .map_err(|source| AnnotateError::Call { verb: "list", object: object.clone(), source })?;
        let names = page.items.into_iter().filter_map(|item| item.metadata.name);
        found.extend(names.map(|name| Annotation {
            place: place.clone(),
            namespace: namespace.clone(),
            name,
        }));
        if found.len() > LABELLED_OBJECTS_MAX {
            return Err(AnnotateError::TooMany { object });
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(found),
        }
    }
}

/// Asks for a reconciliation of one object.
pub async fn annotate(
    client: &Client,
    annotation: &Annotation,
    requested_at: &str,
) -> Result<(), AnnotateError> {
    let Annotation { place, namespace, name } = annotation;
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, place);
    let params =
        PatchParams { field_manager: Some(NOTIFICATION_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = json!({ "metadata": { "annotations": { RECONCILE_REQUESTED_AT: requested_at } } });
    let patch = Patch::Merge(&patch);
    let patched = call_within(CALL_TIMEOUT, api.patch_metadata(name, &params, &patch)).await;
    patched.map(drop).map_err(|source| AnnotateError::Call {
        verb: "annotate",
        object: annotation.to_string(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use plumb_alerting::rule::CrossNamespace;
    use plumb_testkit::scenario::{Response, Scenario};

    use super::*;

    #[tokio::test]
    async fn a_refusal_of_the_api_server_is_its_message_and_stays_in_the_log() {
        let api = Scenario::new();
        let buckets = "/apis/source.toolkit.fluxcd.io/v1/namespaces/prod/buckets";
        api.on("GET", buckets, Response::forbidden("buckets is forbidden: no"));
        let resource = json!({ "kind": "Bucket", "name": "*", "matchLabels": { "team": "a" } });
        let resource = serde_json::from_value(resource).unwrap();
        let target = Target::resolve(&resource, "prod", CrossNamespace::Allowed).unwrap();
        let error = find(&api.client(), target).await.unwrap_err();
        let failed = "failed to list 'Bucket/prod/*'";
        assert_eq!(chain(&error), format!("{failed}: buckets is forbidden: no"));
        assert_eq!(error.public_text(), failed);
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_does_not_respond_is_named_with_the_time_that_was_waited() {
        let api = Scenario::new();
        let path = "/apis/g/v1/namespaces/prod/buckets/b";
        api.on("PATCH", path, Response::silence());
        let error =
            annotate(&api.client(), &Annotation::of("buckets", "prod", "b"), "now").await.unwrap_err();
        let text = "failed to annotate 'buckets/prod/b': the API server did not answer within 15 s";
        assert_eq!((error.public_text().as_str(), chain(&error).as_str()), (text, text));
    }
}
