//! Credentials of clouds for sources without a Secret: of an identity of this controller, or of a ServiceAccount of the spec.

pub mod account;
mod aws;
pub mod azure;
mod gcp;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use plumb_api::{
    sealed::Sealed,
    source::{BucketProvider, CloudProvider},
};
use plumb_aws::{AwsClient, AwsError};
use plumb_bucket::{BucketAddress, BucketCredential};
use plumb_fetch::HostPort;
use plumb_gcp::{GcpClient, GcpError};
use plumb_oci::{RegistryCredential, Repository};
use plumb_status::{Classify, Consequence, Reason};
use plumb_transport::{ClientConfig, Proxy, address::AddressPolicy};
use url::Url;

use self::{
    account::{Account, AccountError},
    azure::{Azure, AzureCredentialError},
};

/// What credentials of clouds are made with.
#[derive(Clone)]
pub struct Cloud {
    /// The API server: ServiceAccounts are read from it.
    pub client: Client,
    /// Amazon Web Services.
    pub aws: AwsClient,
    /// Azure.
    pub azure: Azure,
    /// Google Cloud.
    pub gcp: GcpClient,
    /// Registries and object stores that are sent credentials in addition to those of the clouds.
    pub hosts: Vec<HostPort>,
    /// Whether ServiceAccounts of specs may be used: the feature gate `ObjectLevelWorkloadIdentity`.
    pub is_object_level_enabled: bool,
    /// The ServiceAccount where a spec names none. Empty: the identity of this controller.
    pub default_account: String,
    /// Which addresses are called.
    pub addresses: AddressPolicy,
}

/// How long one request for a credential of this controller may take: sources of all namespaces wait for it.
const OWN_TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// For which source a credential is.
pub struct Requester<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its ServiceAccount.
    pub service_account: Option<&'a str>,
    /// The proxy.
    pub proxy: Proxy,
    /// How long one request may take.
    pub timeout: Duration,
    /// Whether the spec has certificates of its own, or allows plain HTTP.
    pub has_own_trust: bool,
}

/// What the spec of a Bucket says of its cloud.
pub struct BucketSettings<'a> {
    /// Where the bucket is.
    pub address: &'a BucketAddress,
    /// The region.
    pub region: Option<&'a str>,
    /// The endpoint of the Security Token Service.
    pub sts_endpoint: Option<&'a str>,
}

/// There is no credential.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// The ServiceAccount of the spec.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// Whoever has the certificates, or the network, would read a credential that is not theirs.
    #[error(
        "the identity of source-controller is not used with certificates of the spec or with plain HTTP, unless the flag --cloud-host \
         allows the host"
    )]
    OwnTrust,
    /// Amazon Web Services.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// Azure.
    #[error(transparent)]
    Azure(AzureCredentialError),
    /// Google Cloud.
    #[error(transparent)]
    Gcp(#[from] GcpError),
}

impl From<AzureCredentialError> for CloudError {
    fn from(error: AzureCredentialError) -> Self {
        match error {
            AzureCredentialError::Account(error) => Self::Account(error),
            error => Self::Azure(error),
        }
    }
}

impl From<plumb_azure::AzureError> for CloudError {
    fn from(error: plumb_azure::AzureError) -> Self {
        Self::Azure(error.into())
    }
}

impl CloudError {
    /// Whether the feature gate is off.
    fn is_gate_disabled(&self) -> bool {
        matches!(self, Self::Account(AccountError::GateDisabled))
    }

    /// Whether the source is not at the cloud of its provider.
    fn is_not_of_provider(&self) -> bool {
        matches!(
            self,
            Self::OwnTrust
                | Self::Aws(AwsError::NotEcr { .. } | AwsError::NotSts { .. } | AwsError::Region { .. })
                | Self::Azure(AzureCredentialError::NotAzure { .. })
                | Self::Gcp(GcpError::NotGoogle { .. })
        )
    }

    /// What helps.
    fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Account(error) => Some(error.hint()),
            Self::OwnTrust => Some(
                "remove spec.certSecretRef and spec.insecure, or set spec.serviceAccountName to use an identity of the namespace",
            ),
            Self::Aws(AwsError::NotEcr { .. }) => Some(
                "correct spec.url or spec.provider, or allow the registry with the flag --cloud-host of source-controller",
            ),
            Self::Aws(AwsError::NotSts { .. }) => Some("correct spec.sts.endpoint"),
            Self::Aws(AwsError::NoRegion | AwsError::Region { .. }) => {
                Some("set spec.region, or the environment variable AWS_REGION of source-controller")
            }
            Self::Aws(AwsError::Status { .. }) => {
                Some("check the role, its trust policy, and its access to the registry or bucket")
            }
            Self::Aws(AwsError::Connection { .. }) => Some(
                "set up an identity for the pod of source-controller (EKS Pod Identity, IRSA, or a role of the node), or set spec.secretRef",
            ),
            Self::Azure(error) => error.hint(),
            Self::Gcp(GcpError::NotGoogle { .. }) => {
                Some("correct the spec, or allow the host with the flag --cloud-host of source-controller")
            }
            Self::Gcp(GcpError::Status { .. }) => {
                Some("check the service account, who may act as it, and its access to the registry or bucket")
            }
            Self::Gcp(GcpError::Connection { .. }) => {
                Some("set up an identity for the pod of source-controller, or set spec.secretRef")
            }
            Self::Gcp(_) | Self::Aws(_) => None,
        }
    }
}

impl Classify for CloudError {
    fn reason(&self) -> Reason {
        if self.is_gate_disabled() {
            Reason::FeatureGateDisabled
        } else if self.is_not_of_provider() {
            Reason::InvalidProviderConfiguration
        } else {
            Reason::AuthenticationFailed
        }
    }

    fn consequence(&self) -> Consequence {
        // Only another spec, or another start of the controller, helps.
        let is_stalled = self.is_gate_disabled() || self.is_not_of_provider();
        if is_stalled { Consequence::Stall } else { Consequence::Retry }
    }

    fn hint(&self) -> Option<String> {
        self.remedy().map(str::to_owned)
    }
}

impl Cloud {
    /// The credential for a registry. It is sent nowhere but to registries of the cloud.
    pub async fn registry(
        &self,
        provider: CloudProvider,
        requester: &Requester<'_>,
        repository: &Repository,
    ) -> Result<RegistryCredential, CloudError> {
        let requester = &self.bounded(requester, || self.is_allowed(repository.registry()))?;
        match provider {
            CloudProvider::Generic => Ok(RegistryCredential::Anonymous),
            CloudProvider::Aws => {
                let login = aws::login(self, requester, repository.registry()).await?;
                Ok(RegistryCredential::Basic { username: login.username, password: login.password })
            }
            CloudProvider::Azure => azure::login(self, requester, repository).await,
            CloudProvider::Gcp => gcp::login(self, requester, repository).await,
        }
    }

    /// The credential for a bucket.
    pub async fn bucket(
        &self,
        provider: BucketProvider,
        requester: &Requester<'_>,
        settings: &BucketSettings<'_>,
    ) -> Result<BucketCredential, CloudError> {
        let endpoint = Url::parse(settings.address.shown());
        // What is signed for AWS is of no use for other requests.
        let is_allowed =
            || provider == BucketProvider::Aws || endpoint.is_ok_and(|url| self.is_allowed_url(&url));
        let requester = &self.bounded(requester, is_allowed)?;
        match provider {
            BucketProvider::Generic => Ok(BucketCredential::Anonymous),
            // A signature is for one host: it is of no use elsewhere.
            BucketProvider::Aws => aws::key(self, requester, settings).await.map(BucketCredential::AccessKey),
            BucketProvider::Azure => azure::storage(self, requester, settings).await,
            BucketProvider::Gcp => gcp::storage(self, requester, settings).await,
        }
    }

    /// What holds for the identity of this controller: its credential is requested past proxies of namespaces, within a short time, and
    /// sent only where the system trusts the server, or to a host that the operator allows.
    fn bounded<'a>(
        &self,
        requester: &Requester<'a>,
        is_allowed: impl FnOnce() -> bool,
    ) -> Result<Requester<'a>, CloudError> {
        let Requester { namespace, service_account, ref proxy, timeout, has_own_trust } = *requester;
        if self.account_name(requester)?.is_some() {
            return Ok(Requester {
                namespace,
                service_account,
                proxy: proxy.clone(),
                timeout,
                has_own_trust,
            });
        }
        if has_own_trust && !is_allowed() {
            return Err(CloudError::OwnTrust);
        }
        let (proxy, timeout) = (Proxy::Environment, timeout.min(OWN_TIMEOUT_MAX));
        Ok(Requester { namespace, service_account, proxy, timeout, has_own_trust })
    }

    /// The ServiceAccount of a source, if it acts as one.
    fn account_name<'a>(&'a self, requester: &Requester<'a>) -> Result<Option<&'a str>, AccountError> {
        let default = Some(self.default_account.as_str()).filter(|name| !name.is_empty());
        match requester.service_account {
            Some(_) if !self.is_object_level_enabled => Err(AccountError::GateDisabled),
            Some(name) => Ok(Some(name)),
            None => Ok(default.filter(|_| self.is_object_level_enabled)),
        }
    }

    async fn account(&self, requester: &Requester<'_>) -> Result<Option<Account>, AccountError> {
        match self.account_name(requester)? {
            None => Ok(None),
            Some(name) => Account::read(&self.client, requester.namespace, name).await.map(Some),
        }
    }

    fn config(&self, requester: &Requester<'_>) -> ClientConfig {
        let (proxy, addresses) = (requester.proxy.clone(), Some(self.addresses));
        ClientConfig { proxy, addresses, ..ClientConfig::default() }
    }

    /// Rejects a bucket that is not where a token may be sent.
    fn must_be_at(
        &self,
        settings: &BucketSettings<'_>,
        is_of_cloud: fn(&Url) -> bool,
        error: impl FnOnce(String) -> CloudError,
    ) -> Result<(), CloudError> {
        let endpoint = settings.address.shown();
        let is_allowed = |url: &Url| is_of_cloud(url) || self.is_allowed_url(url);
        if Url::parse(endpoint).is_ok_and(|url| is_allowed(&url)) {
            Ok(())
        } else {
            Err(error(plumb_transport::shown_text(endpoint)))
        }
    }

    /// Whether the operator allows credentials to be sent to a host.
    fn is_allowed(&self, registry: &str) -> bool {
        let url = Url::parse(&format!("https://{registry}/"));
        url.is_ok_and(|url| self.is_allowed_url(&url))
    }

    fn is_allowed_url(&self, url: &Url) -> bool {
        self.hosts.iter().any(|allowed| allowed.matches(url))
    }
}

/// The token of a ServiceAccount for an audience.
async fn token(account: Option<&Account>, audience: &str) -> Result<Sealed, CloudError> {
    match account {
        Some(account) => Ok(account.token(audience).await?),
        // Only the token of a ServiceAccount is exchanged.
        None => Ok(Sealed::from("")),
    }
}

/// The time, for the tokens.
fn now() -> Timestamp {
    Timestamp::now()
}

/// No identity, and no feature gate.
#[cfg(test)]
pub fn none(client: Client) -> Cloud {
    use plumb_memory::MemoryPool;
    use plumb_transport::{TokenCache, TokenLimits};

    use self::azure::AzureEnvironment;

    let disabled = |name: &str| (name == "AWS_EC2_METADATA_DISABLED").then(|| "true".to_owned());
    let (memory, cache) = (MemoryPool::new(1 << 30), TokenCache::new(TokenLimits::DEFAULT));
    Cloud {
        client,
        aws: AwsClient::new(plumb_aws::Environment::read(disabled), memory.clone(), cache.clone()),
        azure: Azure {
            tokens: plumb_azure::AzureTokens::new(memory.clone(), cache.clone()),
            environment: AzureEnvironment::none(),
        },
        gcp: GcpClient::new(plumb_gcp::GcpEndpoints::new(Some("127.0.0.1:1")).unwrap(), None, memory, cache),
        hosts: Vec::new(),
        is_object_level_enabled: false,
        default_account: String::new(),
        addresses: AddressPolicy::reject_link_local("--allow-link-local-addresses"),
    }
}
