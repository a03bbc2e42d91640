//! The credential of the provider `azure`: a token of an identity of this controller, or of a ServiceAccount of the spec.

use std::path::PathBuf;

use jiff::Timestamp;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, ResourceExt as _, api::PostParams};
use plumb_api::sealed::Sealed;
use plumb_azure::{ASSERTION_AUDIENCE, AzureError, AzureIdentity, AzureTokens, DEVOPS_SCOPE, Proof};
use plumb_cluster::call;
use plumb_fetch::HostPort;
use plumb_transport::{ClientConfig, Credential, Proxy};

use url::Url;

use super::{GitSource, validate::Valid};

/// The host of Azure DevOps, and the end of its older names.
const DEVOPS_HOST: &str = "dev.azure.com";
const DEVOPS_HOST_SUFFIX: &str = ".visualstudio.com";
const TENANT_ID: &str = "azure.workload.identity/tenant-id";
const CLIENT_ID: &str = "azure.workload.identity/client-id";
/// Lifetime of the token of a ServiceAccount, in seconds: the least that the API server accepts.
const ASSERTION_SECONDS: i64 = 600;
/// Bytes of a file with the token of a ServiceAccount.
const ASSERTION_BYTES_MAX: u64 = 64 << 10;
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
    /// A ServiceAccount is named, and may not be used.
    #[error(
        "to use spec.serviceAccountName for provider authentication please enable the ObjectLevelWorkloadIdentity feature gate in \
         the controller"
    )]
    GateDisabled,
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
    /// The ServiceAccount cannot be read, or gives no token.
    #[error("failed to {action} service account '{namespace}/{name}': {problem}")]
    ServiceAccount {
        /// What was attempted.
        action: &'static str,
        /// The namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Why.
        problem: String,
    },
    /// The ServiceAccount lacks an annotation.
    #[error("azure {what} is not set in the service account annotation {annotation}")]
    Annotation {
        /// What is missing.
        what: &'static str,
        /// The annotation.
        annotation: &'static str,
    },
    /// Azure gives no token.
    #[error(transparent)]
    Azure(#[from] AzureError),
}

impl AzureCredentialError {
    /// What helps.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::GateDisabled => {
                Some("start source-controller with --feature-gates=ObjectLevelWorkloadIdentity=true")
            }
            Self::NotDevOps { .. } => Some(
                "correct spec.url, or allow the server with the flag --azure-devops-host of source-controller",
            ),
            Self::NoIdentity { .. } | Self::File { .. } => Some(
                "set up Azure Workload Identity for the pod of source-controller, or set spec.serviceAccountName",
            ),
            Self::ServiceAccount { .. } => Some(
                "check spec.serviceAccountName, and that source-controller may create serviceaccounts/token",
            ),
            Self::Annotation { .. } => Some("annotate the ServiceAccount of spec.serviceAccountName"),
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
        Some(_) if !environment.is_object_level_enabled => return Err(AzureCredentialError::GateDisabled),
        Some(name) => {
            let api: Api<ServiceAccount> = Api::namespaced(source.client.clone(), namespace);
            let identity = identity_of(&api, environment, namespace, name).await?;
            let client = source.client.clone();
            let (namespace, name) = (namespace.to_owned(), name.to_owned());
            (identity, ProofSource::ServiceAccount { client, namespace, name })
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
async fn identity_of(
    api: &Api<ServiceAccount>,
    environment: &AzureEnvironment,
    namespace: &str,
    name: &str,
) -> Result<AzureIdentity, AzureCredentialError> {
    let failed = |problem: String| failed("get", namespace, name, problem);
    let account = call(api.get_opt(name)).await.map_err(|error| failed(error.to_string()))?;
    let account = account.ok_or_else(|| failed(format!("serviceaccounts \"{name}\" not found")))?;
    let annotated = |what, annotation: &'static str| {
        let found = account.annotations().get(annotation).map(String::as_str);
        found.ok_or(AzureCredentialError::Annotation { what, annotation })
    };
    let (tenant_id, client_id) = (annotated("tenant ID", TENANT_ID)?, annotated("client ID", CLIENT_ID)?);
    let holder = format!("{namespace}/{name}");
    Ok(AzureIdentity::new(&environment.authority, tenant_id, client_id, &holder)?)
}

fn failed(action: &'static str, namespace: &str, name: &str, problem: String) -> AzureCredentialError {
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    AzureCredentialError::ServiceAccount { action, namespace, name, problem }
}

/// Where the proof of an identity comes from. Read only when a token is made.
enum ProofSource {
    File(Option<PathBuf>),
    ServiceAccount { client: Client, namespace: String, name: String },
}

impl ProofSource {
    async fn read(self) -> Result<Proof, AzureCredentialError> {
        match self {
            Self::File(None) => Err(AzureCredentialError::NoIdentity { name: "AZURE_FEDERATED_TOKEN_FILE" }),
            Self::File(Some(path)) => {
                let read = tokio::task::spawn_blocking(move || read_token(&path)).await;
                let read = read.unwrap_or_else(|_| Err(std::io::ErrorKind::Interrupted.into()));
                let text = read.map_err(|error| AzureCredentialError::File { problem: error.to_string() })?;
                Ok(Proof::Assertion(text.into()))
            }
            Self::ServiceAccount { client, namespace, name } => {
                let api: Api<ServiceAccount> = Api::namespaced(client, &namespace);
                let spec = TokenRequestSpec {
                    audiences: vec![ASSERTION_AUDIENCE.to_owned()],
                    expiration_seconds: Some(ASSERTION_SECONDS),
                    ..TokenRequestSpec::default()
                };
                let request = TokenRequest { spec, ..TokenRequest::default() };
                let parameters = PostParams::default();
                let made = call(api.create_token_request(&name, &parameters, &request)).await;
                let failed = |problem: String| failed("create a token of", &namespace, &name, problem);
                let status = made.map_err(|error| failed(error.to_string()))?.status;
                let status = status.ok_or_else(|| failed("the API server returned none".to_owned()))?;
                Ok(Proof::Assertion(Sealed::from(status.token)))
            }
        }
    }
}

/// A file that is replaced now and then: it is read each time.
fn read_token(path: &std::path::Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(ASSERTION_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
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
