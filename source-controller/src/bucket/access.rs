//! How a bucket is reached: Secrets of the spec, as trust, proxy and credential.

use plumb_api::{sealed::Sealed, source::BucketProvider};
use plumb_bucket::{
    Access, AccessKey, BucketAddress, BucketCredential, CredentialProblem, EntraApp, EntraIdentity,
    GoogleKey, LdapLogin, SharedKey,
};
use plumb_filetree::digest::Hasher;
use plumb_secrets::{
    SecretContent, SecretError, TlsSecret,
    bucket::{AzureApp, AzureSecret, access_key, service_account, sts_login},
};
use plumb_transport::{Proxy, Trust};

use super::{
    BucketSource,
    error::BucketSourceError,
    validate::{Sts, Valid},
};
use crate::{
    cloud::{BucketSettings, Requester},
    settings::{proxy, trust},
};

/// Reads all that the spec names.
pub async fn access(
    source: &BucketSource,
    namespace: &str,
    valid: &Valid,
) -> Result<Access, BucketSourceError> {
    let read = async |name: &str| plumb_secrets::read(&source.client, namespace, name).await;
    let mut credential = BucketCredential::Anonymous;
    if let Some(name) = &valid.secret {
        let content = read(name).await;
        let parsed = content.and_then(|content| secret_credential(valid.provider, &valid.address, &content));
        credential = parsed.map_err(BucketSourceError::Credential)?;
    } else if let Some(sts) = &valid.sts {
        credential = BucketCredential::Ldap(sts_credential(source, namespace, sts).await?);
    }
    let mut settings = Hasher::default();
    let proxy = match &valid.proxy {
        None => Proxy::Environment,
        Some(name) => {
            let content = read(name).await;
            content.and_then(|content| proxy(&content, &mut settings)).map_err(BucketSourceError::Proxy)?
        }
    };
    if valid.secret.is_none() && valid.provider != BucketProvider::Generic {
        credential = of_provider(source, namespace, valid, &proxy).await?;
    }
    let trust = match &valid.certificates {
        None => Trust::default(),
        Some(name) => {
            let content = read(name).await;
            content
                .and_then(|content| trust(TlsSecret::required(&content)?, &content, &mut settings))
                .map_err(BucketSourceError::Certificates)?
        }
    };
    let fingerprint = settings.finish_hex();
    Ok(Access { trust, proxy, fingerprint, insecure: valid.insecure, credential })
}

/// The credential of the cloud.
async fn of_provider(
    source: &BucketSource,
    namespace: &str,
    valid: &Valid,
    proxy: &Proxy,
) -> Result<BucketCredential, BucketSourceError> {
    let requester = Requester {
        namespace,
        service_account: valid.service_account.as_deref(),
        proxy: proxy.clone(),
        timeout: valid.timeout,
        has_own_trust: valid.insecure || valid.certificates.is_some(),
    };
    let settings = BucketSettings {
        address: &valid.address,
        region: valid.region.as_deref(),
        sts_endpoint: valid.sts_endpoint.as_deref(),
    };
    let made = source.cloud.bucket(valid.provider, &requester, &settings).await;
    let provider = valid.provider.as_str();
    made.map_err(|source| BucketSourceError::Cloud { provider, source: Box::new(source) })
}

/// The credential of a Secret, as its provider has them.
pub fn secret_credential(
    provider: BucketProvider,
    address: &BucketAddress,
    content: &SecretContent,
) -> Result<BucketCredential, SecretError> {
    match provider {
        BucketProvider::Generic | BucketProvider::Aws => {
            let (id, secret) = access_key(content)?;
            let line = |key: &'static str, text: &str| {
                if text.contains(char::is_control) || text.contains(char::is_whitespace) {
                    Err(content.rejected(key, "it has a space, a line break or a control character"))
                } else {
                    Ok(())
                }
            };
            line("accesskey", &id)?;
            line("secretkey", secret.expose_str().unwrap_or("\0"))?;
            Ok(BucketCredential::AccessKey(AccessKey { id, secret, session: None }))
        }
        BucketProvider::Gcp => {
            let key = GoogleKey::parse(service_account(content)?);
            key.map(BucketCredential::Google).map_err(|error| rejected(content, "serviceaccount", error))
        }
        BucketProvider::Azure => azure_credential(address, content),
    }
}

fn azure_credential(
    address: &BucketAddress,
    content: &SecretContent,
) -> Result<BucketCredential, SecretError> {
    match AzureSecret::from_content(content)? {
        AzureSecret::Secret(app, secret) => EntraApp::with_secret(&identity(&app), &secret)
            .map(BucketCredential::Entra)
            .map_err(|error| rejected(content, "tenantId", error)),
        AzureSecret::Certificate { app, certificate, sends_chain } => {
            EntraApp::with_certificate(&identity(&app), &certificate, sends_chain)
                .map(BucketCredential::Entra)
                .map_err(|error| rejected(content, "clientCertificate", error))
        }
        AzureSecret::Account(key) => {
            let account = address.account().ok_or_else(|| {
                content.rejected(
                    "accountKey",
                    "spec.endpoint has no name of a storage account as its first label",
                )
            })?;
            SharedKey::new(account, &key)
                .map(BucketCredential::SharedKey)
                .map_err(|error| rejected(content, "accountKey", error))
        }
        AzureSecret::Signature(signature) => Ok(BucketCredential::Signature(signature)),
    }
}

fn identity(app: &AzureApp) -> EntraIdentity<'_> {
    let AzureApp { tenant, client, authority } = app;
    EntraIdentity { tenant, client, authority: authority.as_deref() }
}

fn rejected(content: &SecretContent, key: &'static str, error: CredentialProblem) -> SecretError {
    content.rejected(key, error.0)
}

/// The login at a Security Token Service.
async fn sts_credential(
    source: &BucketSource,
    namespace: &str,
    sts: &Sts,
) -> Result<LdapLogin, BucketSourceError> {
    let read = async |name: &str| plumb_secrets::read(&source.client, namespace, name).await;
    let (username, password) = match &sts.secret {
        None => (String::new(), Sealed::from("")),
        Some(name) => {
            let content = read(name).await;
            content.and_then(|content| sts_login(&content)).map_err(BucketSourceError::StsCredential)?
        }
    };
    let mut settings = Hasher::default();
    let trust = match &sts.certificates {
        None => Trust::default(),
        Some(name) => {
            let content = read(name).await;
            content
                .and_then(|content| trust(TlsSecret::required(&content)?, &content, &mut settings))
                .map_err(BucketSourceError::StsCertificates)?
        }
    };
    let endpoint = sts.endpoint.clone();
    Ok(LdapLogin { endpoint, username, password, trust, fingerprint: settings.finish_hex() })
}
