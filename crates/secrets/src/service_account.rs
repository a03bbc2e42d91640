//! The image pull Secrets of a ServiceAccount. Its tokens are never read.

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client};
use plumb_cluster::{CallError, call, client::CALL_TIMEOUT};

use crate::read::SecretError;

/// The names of the Secrets that a ServiceAccount pulls images with, in its namespace.
pub async fn pull_secrets(client: &Client, namespace: &str, name: &str) -> Result<Vec<String>, SecretError> {
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
    let problem = match call(api.get_opt(&name)).await {
        Ok(Some(account)) => {
            let secrets = account.image_pull_secrets.unwrap_or_default();
            return Ok(secrets
                .into_iter()
                .map(|secret| secret.name)
                .filter(|name| !name.is_empty())
                .collect());
        }
        Ok(None) => return Err(SecretError::NoServiceAccount { namespace, name }),
        Err(CallError::TimedOut) => format!("no response within {} s", CALL_TIMEOUT.as_secs()),
        Err(CallError::Failed(kube::Error::Api(status))) => {
            format!("the API server responded with status {}", status.code)
        }
        Err(CallError::Failed(_)) => {
            "the API server cannot be reached or does not respond as expected".to_owned()
        }
    };
    Err(SecretError::UnreadableServiceAccount { namespace, name, problem })
}
