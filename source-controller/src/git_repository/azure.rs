//! The credential of the provider `azure`: a token of an identity of this controller, or of a ServiceAccount of the spec, for Azure
//! DevOps.

use std::time::Duration;

use jiff::Timestamp;
use plumb_azure::{AzureIdentity, DEVOPS_SCOPE};
use plumb_fetch::HostPort;
use plumb_transport::{ClientConfig, Credential, Proxy, Trust};
use url::Url;

use super::{GitSource, validate::Valid};
pub use crate::cloud::azure::{Azure, AzureCredentialError};
use crate::cloud::{
    account::{Account, AccountError},
    azure::{TokenRequest, token},
};

/// The host of Azure DevOps, and the end of its older names.
const DEVOPS_HOST: &str = "dev.azure.com";
const DEVOPS_HOST_SUFFIX: &str = ".visualstudio.com";
/// How long an exchange may take, whatever the timeout: others wait for its token.
const EXCHANGE_MAX: Duration = Duration::from_secs(30);

/// A token for Azure DevOps, and the identity that it is of, where that is no managed one.
pub async fn credential(
    source: &GitSource,
    namespace: &str,
    valid: &Valid,
    service_account: Option<&str>,
    (trust, proxy): (&Trust, &Proxy),
) -> Result<(Credential, Option<AzureIdentity>), AzureCredentialError> {
    let environment = &source.azure.environment;
    must_be_devops(&valid.url, &environment.hosts)?;
    let default = Some(environment.default_account.as_str()).filter(|name| !name.is_empty());
    let name = match service_account {
        Some(_) if !environment.is_object_level_enabled => return Err(AccountError::GateDisabled.into()),
        Some(name) => Some(name),
        None => default.filter(|_| environment.is_object_level_enabled),
    };
    let account = match name {
        None => None,
        Some(name) => Some(Account::read(&source.client, namespace, name).await?),
    };
    let mut config = ClientConfig { addresses: Some(source.addresses), ..ClientConfig::default() };
    if account.is_none() {
        // All namespaces share this identity: none of them may read its token, or be in the way of its exchange.
        must_be_sealed(&valid.url, trust, proxy)?;
    } else {
        config.proxy = proxy.clone();
    }
    let (timeout, now) = (valid.timeout.min(EXCHANGE_MAX), Timestamp::now());
    let request = TokenRequest { scope: DEVOPS_SCOPE, config, consumer: namespace, timeout, now };
    let (token, identity) = token(&source.azure, account, request).await?;
    Ok((Credential::Bearer { token }, identity))
}

/// Whoever may create a GitRepository may name any server in it: the token of this controller is not for all of them.
fn must_be_devops(url: &str, hosts: &[HostPort]) -> Result<(), AzureCredentialError> {
    // A URL that does not parse is reported where it is used.
    let Ok(url) = Url::parse(url) else { return Ok(()) };
    let host = url.host_str().unwrap_or_default();
    let is_devops = url.scheme() == "https"
        && url.port().is_none()
        && (host == DEVOPS_HOST || host.ends_with(DEVOPS_HOST_SUFFIX));
    if is_devops || hosts.iter().any(|allowed| allowed.matches(&url)) {
        return Ok(());
    }
    Err(AzureCredentialError::NotDevOps { server: url.origin().ascii_serialization() })
}

/// Whether nothing that the object sets lets anybody but the server read the token. With the system's certificates alone a proxy
/// only passes encrypted bytes on.
fn must_be_sealed(url: &str, trust: &Trust, proxy: &Proxy) -> Result<(), AzureCredentialError> {
    if *trust != Trust::default() {
        return Err(AzureCredentialError::Certificates);
    }
    let is_encrypted = Url::parse(url).is_ok_and(|url| url.scheme() == "https");
    if matches!(proxy, Proxy::Address(_)) && !is_encrypted {
        return Err(AzureCredentialError::ReadingProxy);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_for_azure_devops_and_for_servers_that_are_allowed() {
        let hosts = ["git.example:8443".parse().unwrap()];
        for (url, is_allowed) in [
            ("https://dev.azure.com/org/project/_git/repo", true),
            ("https://org@dev.azure.com/org/project/_git/repo", true),
            ("https://org.visualstudio.com/project/_git/repo", true),
            ("https://git.example:8443/x", true),
            ("https://git.example/x", false),
            ("http://dev.azure.com/x", false),
            ("https://dev.azure.com:8443/x", false),
            ("https://dev.azure.com.evil.example/x", false),
            ("https://evil.example/dev.azure.com", false),
            ("https://dev.azure.com@evil.example/x", false),
            ("https://visualstudio.com.evil.example/x", false),
        ] {
            assert_eq!(must_be_devops(url, &hosts).is_ok(), is_allowed, "{url}");
        }
        let error = must_be_devops("https://me:s3cret@evil.example/x", &hosts).unwrap_err();
        assert!(error.to_string().ends_with("no token is sent to 'https://evil.example'"), "{error}");
    }
}
