//! The credential of the provider `azure`: a token of an identity of this controller, or of a ServiceAccount of the spec.

use std::path::PathBuf;

use jiff::Timestamp;
use plumb_azure::{ASSERTION_AUDIENCE, AzureError, AzureIdentity, AzureTokens, DEVOPS_SCOPE, Proof};
use plumb_fetch::HostPort;
use plumb_transport::{ClientConfig, Credential, Proxy};

use url::Url;

use super::{GitSource, validate::Valid};
use crate::cloud::account::{Account, AccountError};

/// The host of Azure DevOps, and the end of its older names.
const DEVOPS_HOST: &str = "dev.azure.com";
const DEVOPS_HOST_SUFFIX: &str = ".visualstudio.com";
const TENANT_ID: &str = "azure.workload.identity/tenant-id";
const CLIENT_ID: &str = "azure.workload.identity/client-id";
/// Who holds the identity of the environment.
const CONTROLLER: &str = "controller";

/// The identity of this controller, as the webhook of Azure Workload Identity sets it in the environment.
#[derive(Clone, Debug)]
pub struct AzureEnvironment {
    /// `AZURE_AUTHORITY_HOST`.
    pub authority: String,
    /// `AZURE_TENANT_ID`.
    pub tenant_id: Option<String>,
    /// `AZURE_CLIENT_ID`.
    pub client_id: Option<String>,
    /// `AZURE_FEDERATED_TOKEN_FILE`.
    pub token_file: Option<PathBuf>,
    /// Servers that are sent tokens in addition to those of Azure DevOps.
    pub hosts: Vec<HostPort>,
    /// Whether ServiceAccounts of specs may be used: the feature gate `ObjectLevelWorkloadIdentity`.
    pub is_object_level_enabled: bool,
}

/// What the provider `azure` works with.
#[derive(Clone)]
pub struct Azure {
    /// Tokens.
    pub tokens: AzureTokens,
    /// The identity of this controller.
    pub environment: AzureEnvironment,
}

/// There is no token.
#[derive(Debug, thiserror::Error)]
pub enum AzureCredentialError {
    /// The ServiceAccount of the spec.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The repository is not at Azure DevOps.
    #[error("spec.provider azure is for repositories of Azure DevOps: no token is sent to '{server}'")]
    NotDevOps {
        /// Scheme and host of the repository.
        server: String,
    },
    /// This controller has no identity.
    #[error("missing environment variable {name} for workload identity")]
    NoIdentity {
        /// The variable.
        name: &'static str,
    },
    /// The file with the token of this controller cannot be read.
    #[error("failed to read the file of AZURE_FEDERATED_TOKEN_FILE: {problem}")]
    File {
        /// Why.
        problem: String,
    },
    /// Azure gives no token.
    #[error(transparent)]
    Azure(#[from] AzureError),
}

impl AzureCredentialError {
    /// What helps.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Account(error) => Some(error.hint()),
            Self::NotDevOps { .. } => Some(
                "correct spec.url, or allow the server with the flag --azure-devops-host of source-controller",
            ),
            Self::NoIdentity { .. } | Self::File { .. } => Some(
                "set up Azure Workload Identity for the pod of source-controller, or set spec.serviceAccountName",
            ),
            Self::Azure(AzureError::Status { .. }) => {
                Some("check the identity, its federated credential and its access to the repository")
            }
            Self::Azure(_) => None,
        }
    }
}

/// A token for Azure DevOps, and the identity that it is of.
pub async fn credential(
    source: &GitSource,
    namespace: &str,
    valid: &Valid,
    service_account: Option<&str>,
    proxy: Proxy,
) -> Result<(Credential, AzureIdentity), AzureCredentialError> {
    let Azure { tokens, environment } = &source.azure;
    must_be_devops(&valid.url, &environment.hosts)?;
    let config = ClientConfig { proxy, addresses: Some(source.addresses), ..ClientConfig::default() };
    let (identity, proof) = match service_account {
        None => (own_identity(environment)?, ProofSource::File(environment.token_file.clone())),
        Some(_) if !environment.is_object_level_enabled => return Err(AccountError::GateDisabled.into()),
        Some(name) => {
            let account = Account::read(&source.client, namespace, name).await?;
            (identity_of(&account, environment)?, ProofSource::Account(Box::new(account)))
        }
    };
    let wanted = (&identity, DEVOPS_SCOPE);
    let token = tokens.token(config, wanted, proof.read(), namespace, valid.timeout, Timestamp::now());
    // On the heap: a whole exchange would be part of every attempt.
    let token = Box::pin(token).await?;
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

fn own_identity(environment: &AzureEnvironment) -> Result<AzureIdentity, AzureCredentialError> {
    let AzureEnvironment { authority, tenant_id, client_id, .. } = environment;
    let missing = |name| AzureCredentialError::NoIdentity { name };
    let tenant_id = tenant_id.as_deref().ok_or_else(|| missing("AZURE_TENANT_ID"))?;
    let client_id = client_id.as_deref().ok_or_else(|| missing("AZURE_CLIENT_ID"))?;
    Ok(AzureIdentity::new(authority, tenant_id, client_id, CONTROLLER)?)
}

/// The identity that a ServiceAccount is annotated with.
fn identity_of(
    account: &Account,
    environment: &AzureEnvironment,
) -> Result<AzureIdentity, AzureCredentialError> {
    let tenant_id = account.required("azure tenant ID", TENANT_ID)?;
    let client_id = account.required("azure client ID", CLIENT_ID)?;
    let holder = format!("{}/{}", account.namespace, account.name);
    Ok(AzureIdentity::new(&environment.authority, tenant_id, client_id, &holder)?)
}

/// Where the proof of an identity comes from. Read only when a token is made.
enum ProofSource {
    File(Option<PathBuf>),
    Account(Box<Account>),
}

impl ProofSource {
    async fn read(self) -> Result<Proof, AzureCredentialError> {
        match self {
            Self::File(None) => Err(AzureCredentialError::NoIdentity { name: "AZURE_FEDERATED_TOKEN_FILE" }),
            Self::File(Some(path)) => {
                let read = plumb_transport::read_token_file(path).await;
                let token =
                    read.map_err(|error| AzureCredentialError::File { problem: error.to_string() })?;
                Ok(Proof::Assertion(token))
            }
            Self::Account(account) => Ok(Proof::Assertion(account.token(ASSERTION_AUDIENCE).await?)),
        }
    }
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
