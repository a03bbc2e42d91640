//! What a Provider and its Secret say together. The Secret is read when it is needed and kept nowhere.

use kube::Client;
use plumb_alerting::render::{AddressOrigin, Settings};
use plumb_api::notification::ProviderSpec;
use plumb_api::sealed::Sealed;
use plumb_secrets::{ProviderSecret, SecretError};

/// Why there is nothing to send with.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The Secret does not help.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The Secret asks for something that is not there yet.
    #[error("key 'proxy' of secret '{namespace}/{name}' is not supported by this version of Plumb")]
    Proxy {
        /// The namespace of the Secret.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// Reads the Secret, if there is one, and joins it with the spec: the Secret wins.
pub async fn gather(
    client: &Client,
    namespace: &str,
    spec: &ProviderSpec,
) -> Result<Settings, SettingsError> {
    let secret = match &spec.secret_ref {
        None => ProviderSecret::default(),
        Some(reference) => {
            let content = plumb_secrets::read(client, namespace, &reference.name).await?;
            let secret = ProviderSecret::from_content(&content)?;
            if secret.proxy.is_some() {
                let (namespace, name) = (namespace.to_owned(), reference.name.clone());
                return Err(SettingsError::Proxy { namespace, name });
            }
            secret
        }
    };
    let address_origin = match (&spec.secret_ref, &secret.address) {
        (Some(reference), Some(_)) => {
            AddressOrigin::Secret { namespace: namespace.to_owned(), name: reference.name.clone() }
        }
        _ => AddressOrigin::Spec,
    };
    let address = spec.address.as_deref().filter(|address| !address.is_empty()).map(Sealed::from);
    Ok(Settings {
        address: secret.address.or(address),
        address_origin,
        channel: spec.channel.clone().unwrap_or_default(),
        username: secret.username.or_else(|| spec.username.clone()).unwrap_or_default(),
        token: secret.token,
        headers: secret.headers,
    })
}
