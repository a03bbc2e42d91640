//! The image pull Secrets of a ServiceAccount. Its tokens are never read.

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client};
use plumb_cluster::call;

use crate::read::{SecretError, problem};

/// The names of the Secrets that a ServiceAccount pulls images with, in its namespace.
pub async fn pull_secrets(client: &Client, namespace: &str, name: &str) -> Result<Vec<String>, SecretError> {
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
    match call(api.get_opt(&name)).await {
        Ok(Some(account)) => {
            let secrets = account.image_pull_secrets.unwrap_or_default();
            Ok(secrets.into_iter().map(|secret| secret.name).filter(|name| !name.is_empty()).collect())
        }
        Ok(None) => Err(SecretError::NoServiceAccount { namespace, name }),
        Err(error) => {
            Err(SecretError::UnreadableServiceAccount { namespace, name, problem: problem(&error) })
        }
    }
}
