//! Tokens of Azure: of an identity of this controller, or of a ServiceAccount of the spec.

use std::{path::PathBuf, time::Duration};

use jiff::Timestamp;
use plumb_api::sealed::Sealed;
use plumb_azure::{
    ASSERTION_AUDIENCE, AzureError, AzureIdentity, AzureTokens, ManagedIdentity, Proof, REGISTRY_USER,
    STORAGE_SCOPE, is_storage, registry_scope, registry_scope_elsewhere,
};
use plumb_bucket::BucketCredential;
use plumb_fetch::HostPort;
use plumb_oci::{RegistryCredential, Repository};
use plumb_transport::ClientConfig;
use url::Url;

use super::{
    BucketSettings, Cloud, CloudError, Requester,
    account::{Account, AccountError},
    now,
};

const TENANT_ID: &str = "azure.workload.identity/tenant-id";
const CLIENT_ID: &str = "azure.workload.identity/client-id";
/// Who holds the identity of the environment.
const CONTROLLER: &str = "controller";

/// The identity of this controller, as the environment has it.
#[derive(Clone)]
pub struct AzureEnvironment {
    /// `AZURE_AUTHORITY_HOST`.
    pub authority: String,
    /// `AZURE_TENANT_ID`.
    pub tenant_id: Option<String>,
    /// `AZURE_CLIENT_ID`.
    pub client_id: Option<String>,
    /// `AZURE_CLIENT_SECRET`.
    pub client_secret: Option<Sealed>,
    /// `AZURE_FEDERATED_TOKEN_FILE`.
    pub token_file: Option<PathBuf>,
    /// Where a managed identity has its tokens.
    pub managed: Option<ManagedIdentity>,
    /// Git servers that are sent tokens in addition to those of Azure DevOps.
    pub hosts: Vec<HostPort>,
    /// Whether ServiceAccounts of specs may be used: the feature gate `ObjectLevelWorkloadIdentity`.
    pub is_object_level_enabled: bool,
    /// The ServiceAccount where a spec names none. Empty: the identity of this controller.
    pub default_account: String,
}

/// What tokens of Azure are made with.
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
    /// The Secret says whom to trust, which is not up to it where the token is one of this controller.
    #[error(
        "a CA or client certificate of spec.secretRef is not used with the identity of source-controller: its token is sent only to \
         servers that the system trusts"
    )]
    Certificates,
    /// The proxy would read the token of this controller.
    #[error(
        "spec.proxySecretRef is not used with the identity of source-controller over an unencrypted connection: the proxy would read \
         its token"
    )]
    ReadingProxy,
    /// The registry or storage account is not at Azure.
    #[error("invalid Azure {what}: '{host}': tokens are sent to {expected} only")]
    NotAzure {
        /// What it is.
        what: &'static str,
        /// The host.
        host: String,
        /// Where tokens are sent.
        expected: &'static str,
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
            Self::Certificates => {
                Some("remove ca.crt, tls.crt and tls.key from the Secret, or set spec.serviceAccountName")
            }
            Self::ReadingProxy => {
                Some("use the https:// URL, remove spec.proxySecretRef, or set spec.serviceAccountName")
            }
            Self::NotAzure { .. } => {
                Some("correct the spec, or allow the host with the flag --cloud-host of source-controller")
            }
            Self::NoIdentity { .. } | Self::File { .. } | Self::Azure(AzureError::Metadata { .. }) => Some(
                "set up Azure Workload Identity for the pod of source-controller, or set spec.serviceAccountName",
            ),
            Self::Azure(AzureError::Status { .. }) => {
                Some("check the identity, its federated credential and its access to the repository")
            }
            Self::Azure(_) => None,
        }
    }
}

/// How a token is requested.
pub struct TokenRequest<'a> {
    /// What it is for.
    pub scope: &'a str,
    /// How requests are sent.
    pub config: ClientConfig,
    /// Whom responses are charged to.
    pub consumer: &'a str,
    /// How long one request may take.
    pub timeout: Duration,
    /// The time.
    pub now: Timestamp,
}

/// A token of a ServiceAccount, or of this controller, and the identity that it is of, where that is no managed one.
pub async fn token(
    azure: &Azure,
    account: Option<Account>,
    request: TokenRequest<'_>,
) -> Result<(Sealed, Option<AzureIdentity>), AzureCredentialError> {
    let Azure { tokens, environment } = azure;
    let TokenRequest { scope, config, consumer, timeout, now } = request;
    let found = match account {
        Some(account) => Ok((identity_of(&account, environment)?, ProofSource::Account(Box::new(account)))),
        None => own_identity(environment),
    };
    let (identity, proof) = match (found, &environment.managed) {
        (Ok(found), _) => found,
        (Err(AzureCredentialError::NoIdentity { .. }), Some(managed)) => {
            let wanted = (environment.client_id.as_deref(), scope);
            let token = Box::pin(tokens.managed(managed, wanted, consumer, now)).await?;
            return Ok((token, None));
        }
        (Err(error), _) => return Err(error),
    };
    let token = tokens.token(config, (&identity, scope), proof.read(), consumer, timeout, now);
    // On the heap: a whole exchange would be part of every attempt.
    let token = Box::pin(token).await?;
    Ok((token, Some(identity)))
}

/// A secret before a token of a file, as the default chain of Azure has them; a managed identity is last.
fn own_identity(
    environment: &AzureEnvironment,
) -> Result<(AzureIdentity, ProofSource), AzureCredentialError> {
    let AzureEnvironment { authority, tenant_id, client_id, client_secret, token_file, .. } = environment;
    let missing = |name| AzureCredentialError::NoIdentity { name };
    let tenant_id = tenant_id.as_deref().ok_or_else(|| missing("AZURE_TENANT_ID"))?;
    let client_id = client_id.as_deref().ok_or_else(|| missing("AZURE_CLIENT_ID"))?;
    let proof = match (client_secret, token_file) {
        (Some(secret), _) => ProofSource::Secret(secret.clone()),
        (None, Some(file)) => ProofSource::File(file.clone()),
        (None, None) => return Err(missing("AZURE_FEDERATED_TOKEN_FILE")),
    };
    Ok((AzureIdentity::new(authority, tenant_id, client_id, CONTROLLER)?, proof))
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
    Secret(Sealed),
    File(PathBuf),
    Account(Box<Account>),
}

impl ProofSource {
    async fn read(self) -> Result<Proof, AzureCredentialError> {
        match self {
            Self::Secret(secret) => Ok(Proof::Secret(secret)),
            Self::File(path) => {
                let read = plumb_transport::read_token_file(path).await;
                let token =
                    read.map_err(|error| AzureCredentialError::File { problem: error.to_string() })?;
                Ok(Proof::Assertion(token))
            }
            Self::Account(account) => Ok(Proof::Assertion(account.token(ASSERTION_AUDIENCE).await?)),
        }
    }
}

/// The login of a registry: a token of the identity, exchanged at the registry. Only registries of Azure, and those that the operator
/// allows, are sent one.
pub(super) async fn login(
    cloud: &Cloud,
    requester: &Requester<'_>,
    repository: &Repository,
) -> Result<RegistryCredential, CloudError> {
    let registry = repository.registry();
    let elsewhere = || cloud.is_allowed(registry).then(registry_scope_elsewhere);
    let not_azure = || {
        let (what, expected) = ("registry", "*.azurecr.io, *.azurecr.cn and *.azurecr.us");
        AzureCredentialError::NotAzure { what, host: registry.to_owned(), expected }
    };
    let scope = registry_scope(registry).or_else(elsewhere).ok_or_else(not_azure)?;
    let scheme = if repository.is_local() { "http" } else { "https" };
    let base = Url::parse(&format!("{scheme}://{registry}/")).map_err(|_| not_azure())?;
    let account = cloud.account(requester).await?;
    let holder = account.as_ref().map(|account| {
        let annotation = |name| account.annotation(name).unwrap_or_default().to_owned();
        [account.namespace.clone(), account.name.clone(), annotation(TENANT_ID), annotation(CLIENT_ID)]
    });
    let holder: Vec<&str> = holder.iter().flatten().map(String::as_str).collect();
    let request = request(cloud, requester, scope);
    let (config, timing) = (request.config.clone(), (request.timeout, request.now));
    let made = async { token(&cloud.azure, account, request).await.map(|(token, _)| token) };
    let login = cloud.azure.tokens.registry(config, (&base, &holder), made, requester.namespace, timing);
    // On the heap: a whole exchange would be part of every attempt.
    let password = Box::pin(login).await?;
    Ok(RegistryCredential::Basic { username: REGISTRY_USER.to_owned(), password })
}

/// The token for a storage account. Only those of Azure, and those that the operator allows, are sent one.
pub(super) async fn storage(
    cloud: &Cloud,
    requester: &Requester<'_>,
    settings: &BucketSettings<'_>,
) -> Result<BucketCredential, CloudError> {
    cloud.must_be_at(settings, is_storage, |host| {
        let (what, expected) = ("storage account", "https://<account>.blob.core.windows.net");
        CloudError::Azure(AzureCredentialError::NotAzure { what, host, expected })
    })?;
    let account = cloud.account(requester).await?;
    let made = token(&cloud.azure, account, request(cloud, requester, STORAGE_SCOPE)).await;
    let (token, _) = made?;
    Ok(BucketCredential::Bearer(token))
}

fn request<'a>(cloud: &Cloud, requester: &Requester<'a>, scope: &'a str) -> TokenRequest<'a> {
    let (consumer, timeout) = (requester.namespace, requester.timeout);
    TokenRequest { scope, config: cloud.config(requester), consumer, timeout, now: now() }
}

#[cfg(test)]
impl AzureEnvironment {
    /// No identity, and no feature gate.
    pub fn none() -> Self {
        Self {
            authority: plumb_azure::AUTHORITY_DEFAULT.to_owned(),
            tenant_id: None,
            client_id: None,
            client_secret: None,
            token_file: None,
            managed: None,
            hosts: Vec::new(),
            is_object_level_enabled: false,
            default_account: String::new(),
        }
    }
}
