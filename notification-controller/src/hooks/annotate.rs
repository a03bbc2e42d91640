//! Asks for a reconciliation: one merge patch of an annotation per object.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use plumb_alerting::rule::CrossNamespace;
use plumb_api::meta::{NOTIFICATION_MANAGER, RECONCILE_REQUESTED_AT};
use plumb_api::notification::{ANY_NAME, ReceiverResource};
use serde_json::json;

use super::kinds;

/// How long the API server may take for one patch.
const PATCH_TIMEOUT: Duration = Duration::from_secs(15);

/// Why an object was not asked.
#[derive(Debug, thiserror::Error)]
pub enum AnnotateError {
    /// It stands in another namespace.
    #[error("'{object}' is in another namespace, cross-namespace references have been blocked")]
    Blocked {
        /// Which.
        object: String,
    },
    /// All objects of a kind are meant, but nothing chooses among them.
    #[error("matchLabels field not set when using wildcard '*' as name of {kind}")]
    NoLabels {
        /// The kind.
        kind: &'static str,
    },
    /// The API server refused.
    #[error("cannot annotate '{object}'")]
    Refused {
        /// Which.
        object: String,
        /// What it said.
        #[source]
        source: kube::Error,
    },
    /// The API server did not answer.
    #[error("cannot annotate '{object}': no answer within {} s", PATCH_TIMEOUT.as_secs())]
    Silent {
        /// Which.
        object: String,
    },
}

/// Asks for a reconciliation of one resource of a Receiver in the namespace `home`.
pub async fn annotate(
    client: &Client,
    home: &str,
    resource: &ReceiverResource,
    cross_namespace: CrossNamespace,
    requested_at: &str,
) -> Result<(), AnnotateError> {
    let namespace = resource.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or(home);
    let object = format!("{}/{namespace}/{}", resource.kind, resource.name);
    if cross_namespace == CrossNamespace::Blocked && namespace != home {
        return Err(AnnotateError::Blocked { object });
    }
    if resource.name == ANY_NAME {
        return Err(AnnotateError::NoLabels { kind: resource.kind.as_str() });
    }
    let place = kinds::resource(resource.kind, resource.api_version.as_deref());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &place);
    let params =
        PatchParams { field_manager: Some(NOTIFICATION_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = json!({ "metadata": { "annotations": { RECONCILE_REQUESTED_AT: requested_at } } });
    let patch = Patch::Merge(&patch);
    match tokio::time::timeout(PATCH_TIMEOUT, api.patch_metadata(&resource.name, &params, &patch)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(source)) => Err(AnnotateError::Refused { object, source }),
        Err(_) => Err(AnnotateError::Silent { object }),
    }
}
