//! The flags of source-controller in addition to the common options. An unsupported flag is accepted at its default only;
//! another value ends the start.

use std::path::PathBuf;

use clap::Args;
use jiff::SignedDuration;
use kube::Client;
use plumb_api::meta::GoDuration;
use plumb_api::sealed::Sealed;
use plumb_aws::AwsClient;
use plumb_azure::ManagedIdentity;
use plumb_bucket::BucketLimits;
use plumb_fetch::HostPort;
use plumb_filetree::digest::DigestAlgorithm;
use plumb_gcp::{GcpClient, GcpEndpoints, GcpError};
use plumb_git::{HostKeyAlgorithms, KexAlgorithms, Limits, SshAlgorithms};
use plumb_memory::MemoryPool;
use plumb_oci::OciLimits;
use plumb_runtime::config::{Common, ConfigError, FeatureGate, Listen, UnsupportedFlag, Work};
use plumb_runtime::{ControllerOptions, Identity};
use plumb_store::Retention;
use plumb_transport::{TokenCache, TokenLimits, address::AddressPolicy};

use crate::{
    cloud::{
        Cloud,
        azure::{Azure, AzureEnvironment},
    },
    helm_repository::HelmLimits,
    object_storage::BucketFlags,
};

/// Whether specs may name a ServiceAccount whose identity is used.
const OBJECT_LEVEL_WORKLOAD_IDENTITY: FeatureGate = FeatureGate::new("ObjectLevelWorkloadIdentity", false);
/// The flag that errors name.
const ALLOW_LINK_LOCAL: &str = "--allow-link-local-addresses";

/// Flags of source-controller.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Common options.
    #[command(flatten)]
    pub common: Common,
    /// Options of the controllers that emit events.
    #[command(flatten)]
    pub work: Work,
    /// Directory in which artifacts are stored; with an object store, copies of those that the leader wrote.
    #[arg(long = "storage-path", env = "STORAGE_PATH", default_value = "/data")]
    pub storage_path: PathBuf,
    /// Address of the artifact server.
    #[arg(long = "storage-addr", env = "STORAGE_ADDRESS", default_value = ":9090")]
    pub storage_addr: Listen,
    /// Advertised address of the artifact server. Empty: the address that it listens on.
    #[arg(long = "storage-adv-addr", env = "STORAGE_ADV_ADDR", default_value = "")]
    pub storage_adv_addr: String,
    /// Options of the storage of artifacts in a bucket.
    #[command(flatten)]
    pub bucket: BucketFlags,
    /// Retention time of artifacts after they were replaced.
    #[arg(long = "artifact-retention-ttl", default_value = "1m")]
    pub artifact_retention_ttl: GoDuration,
    /// Maximum number of artifacts retained per object within the retention time.
    #[arg(long = "artifact-retention-records", default_value = "2")]
    pub artifact_retention_records: usize,
    /// Maximum size of all Git mirrors in the directory for temporary files, in bytes. The least recently used ones are
    /// evicted first.
    #[arg(long = "git-mirrors-max-size", default_value_t = plumb_git::MIRRORS_BYTES_DEFAULT)]
    pub git_mirrors_max_size: u64,
    /// Maximum number of submodules of a GitRepository with `recurseSubmodules`, submodules of submodules included.
    #[arg(long = "git-submodules-max", default_value_t = plumb_git::SUBMODULES_DEFAULT)]
    pub git_submodules_max: usize,
    /// Maximum depth of submodules of a GitRepository with `recurseSubmodules`.
    #[arg(long = "git-submodules-max-depth", default_value_t = plumb_git::SUBMODULE_DEPTH_DEFAULT)]
    pub git_submodules_max_depth: usize,
    /// Maximum size of a layer of an OCI artifact as the registry stores it, in bytes.
    #[arg(long = "oci-layer-max-size", default_value_t = OciLimits::DEFAULT.layer_bytes_max)]
    pub oci_layer_max_size: u64,
    /// Maximum number of tags of an OCI repository whose reference is a semver range.
    #[arg(long = "oci-tags-max", default_value_t = OciLimits::DEFAULT.tags_max)]
    pub oci_tags_max: usize,
    /// Maximum number of objects that a bucket lists under its prefix, those that are excluded included.
    #[arg(long = "bucket-objects-max", default_value_t = BucketLimits::DEFAULT.objects_max)]
    pub bucket_objects_max: usize,
    /// Maximum size of all objects of a bucket that are fetched, in bytes.
    #[arg(long = "bucket-max-size", default_value_t = BucketLimits::DEFAULT.bytes_max)]
    pub bucket_max_size: u64,
    /// Allow tokens of the Azure provider to be sent to this Git server, `HOST[:PORT]`, in addition to Azure DevOps. Can be
    /// repeated.
    #[arg(long = "azure-devops-host")]
    pub azure_devops_host: Vec<HostPort>,
    /// Allow credentials of the providers aws, azure and gcp to be sent to this registry or object store, `HOST[:PORT]`, in addition
    /// to those of the provider. Can be repeated.
    #[arg(long = "cloud-host")]
    pub cloud_host: Vec<HostPort>,
    /// Authority of the tokens of the Azure provider.
    #[arg(long = "azure-authority-host", env = "AZURE_AUTHORITY_HOST", default_value = plumb_azure::AUTHORITY_DEFAULT, hide = true)]
    pub azure_authority_host: String,
    /// Tenant of the controller's Azure identity.
    #[arg(long = "azure-tenant-id", env = "AZURE_TENANT_ID", hide = true)]
    pub azure_tenant_id: Option<String>,
    /// Client ID of the controller's Azure identity.
    #[arg(long = "azure-client-id", env = "AZURE_CLIENT_ID", hide = true)]
    pub azure_client_id: Option<String>,
    /// File with the token of the controller's ServiceAccount for Azure.
    #[arg(long = "azure-federated-token-file", env = "AZURE_FEDERATED_TOKEN_FILE", hide = true)]
    pub azure_federated_token_file: Option<PathBuf>,
    /// Allow sources at link-local, metadata service, unspecified and multicast addresses.
    #[arg(long = "allow-link-local-addresses")]
    pub allow_link_local_addresses: bool,
    /// Disallow sources of ArtifactGenerators in other namespaces.
    #[arg(long = "no-cross-namespace-refs")]
    pub no_cross_namespace_refs: bool,
    /// Maximum number of retries of the download of a source's artifact for an ArtifactGenerator.
    #[arg(long = "http-retry", default_value = "9")]
    pub http_retry: u32,
    /// Allow artifact downloads for ArtifactGenerators from this host, `HOST[:PORT]`, in addition to the Services in the
    /// controller's namespace. Can be repeated.
    #[arg(long = "artifact-host")]
    pub artifact_host: Vec<HostPort>,
    /// Digest algorithm of artifacts: sha256, sha384, sha512 or blake3.
    #[arg(long = "artifact-digest-algo", default_value_t = DigestAlgorithm::Sha256)]
    pub artifact_digest_algo: DigestAlgorithm,
    /// Maximum size of the index of a Helm repository, in bytes.
    #[arg(long = "helm-index-max-size", default_value_t = HelmLimits::DEFAULT.index)]
    pub helm_index_max_size: u64,
    /// Maximum size of a Helm chart, in bytes.
    #[arg(long = "helm-chart-max-size", default_value_t = HelmLimits::DEFAULT.chart)]
    pub helm_chart_max_size: u64,
    /// Maximum size of the Chart.yaml of a Helm chart, in bytes.
    #[arg(long = "helm-chart-file-max-size", default_value_t = HelmLimits::DEFAULT.chart_file)]
    pub helm_chart_file_max_size: u64,
    /// Taken for the manifests of Flux, without effect: indexes are read from the storage, none is kept in memory.
    #[arg(long = "helm-cache-max-size", default_value = "0", allow_negative_numbers = true)]
    pub helm_cache_max_size: i64,
    /// Taken for the manifests of Flux, without effect.
    #[arg(long = "helm-cache-ttl", default_value = "15m")]
    pub helm_cache_ttl: GoDuration,
    /// Taken for the manifests of Flux, without effect.
    #[arg(long = "helm-cache-purge-interval", default_value = "1m")]
    pub helm_cache_purge_interval: GoDuration,
    /// Key exchange algorithms of connections over SSH, in order of preference, separated by commas. By default all that are
    /// supported: those with SHA-2 and mlkem768x25519.
    #[arg(long = "ssh-kex-algos", default_value = "")]
    pub ssh_kex_algos: KexAlgorithms,
    /// Host key algorithms of connections over SSH, in order of preference, separated by commas. By default all that are
    /// supported: ed25519, ecdsa, and rsa with SHA-2. Types that known_hosts has for the host are preferred.
    #[arg(long = "ssh-hostkey-algos", default_value = "")]
    pub ssh_hostkey_algos: HostKeyAlgorithms,
    /// Overrides the host of source-controller's artifacts.
    #[arg(long = "source-controller-localhost", env = "SOURCE_CONTROLLER_LOCALHOST", hide = true)]
    pub source_controller_localhost: Option<String>,
    /// Overrides the host of source-watcher's artifacts.
    #[arg(long = "source-watcher-localhost", env = "SOURCE_WATCHER_LOCALHOST", hide = true)]
    pub source_watcher_localhost: Option<String>,
    /// Address of the API server inside a pod.
    #[arg(long = "kubernetes-service-host", env = "KUBERNETES_SERVICE_HOST", hide = true)]
    pub kubernetes_service_host: Option<String>,
}

impl ControllerOptions for Options {
    const IDENTITY: Identity = Identity {
        controller: "source-controller",
        status_manager: plumb_api::meta::SOURCE_MANAGER,
        concurrent: 2,
    };
    const ABOUT: &'static str = "Fetches Git, OCI and Helm repositories and buckets, and publishes their revisions as artifacts in the cluster.";
    const GATES: &'static [FeatureGate] =
        &[FeatureGate::new("CacheSecretsAndConfigMaps", false), OBJECT_LEVEL_WORKLOAD_IDENTITY];
    const WATCHES_CONFIGS: bool = false;
    const TAKES_DEFAULT_ACCOUNT: bool = true;

    fn common(&self) -> &Common {
        &self.common
    }

    fn work(&self) -> Option<&Work> {
        Some(&self.work)
    }

    fn unsupported(&self) -> Vec<UnsupportedFlag> {
        Vec::new()
    }

    /// A default ServiceAccount that is never used would be a lockdown that is none.
    fn validate_own(&self) -> Result<(), ConfigError> {
        let is_enabled = self.common.is_enabled(&OBJECT_LEVEL_WORKLOAD_IDENTITY);
        if self.common.default_service_account.is_empty() || is_enabled {
            return Ok(());
        }
        Err(ConfigError::GateNeeded {
            flag: "default-service-account",
            gate: OBJECT_LEVEL_WORKLOAD_IDENTITY.name,
        })
    }
}

impl Options {
    /// Limits of what one repository and all mirrors may hold.
    pub fn limits(&self) -> Limits {
        Limits {
            mirrors_bytes_max: self.git_mirrors_max_size,
            submodules_max: self.git_submodules_max,
            submodule_depth_max: self.git_submodules_max_depth,
            ..Limits::default()
        }
    }

    /// The identity of this controller at Azure.
    pub fn azure(&self) -> AzureEnvironment {
        AzureEnvironment {
            authority: self.azure_authority_host.clone(),
            tenant_id: self.azure_tenant_id.clone(),
            client_id: self.azure_client_id.clone(),
            client_secret: variable("AZURE_CLIENT_SECRET").map(Sealed::from),
            token_file: self.azure_federated_token_file.clone(),
            managed: ManagedIdentity::read(variable),
            hosts: self.azure_devops_host.clone(),
            is_object_level_enabled: self.common.is_enabled(&OBJECT_LEVEL_WORKLOAD_IDENTITY),
            default_account: self.common.default_service_account.clone(),
        }
    }

    /// Credentials of clouds, of the identities that the environment has at the start.
    pub fn cloud(
        &self,
        client: Client,
        azure: Azure,
        memory: MemoryPool,
        tokens: TokenCache,
    ) -> Result<Cloud, GcpError> {
        let endpoints = GcpEndpoints::new(variable("GCE_METADATA_HOST").as_deref())?;
        let file = self.bucket.google_application_credentials.clone();
        let environment = plumb_aws::Environment::read(variable);
        Ok(Cloud {
            client,
            aws: AwsClient::new(environment, memory.clone(), tokens.clone()),
            azure,
            gcp: GcpClient::new(endpoints, file, memory, tokens),
            hosts: self.cloud_host.clone(),
            is_object_level_enabled: self.common.is_enabled(&OBJECT_LEVEL_WORKLOAD_IDENTITY),
            default_account: self.common.default_service_account.clone(),
            addresses: self.addresses(),
        })
    }

    /// Limits of the tokens that are kept.
    pub fn token_limits(&self) -> TokenLimits {
        let age_max = SignedDuration::try_from(self.common.token_cache_max_duration.to_std());
        TokenLimits {
            max: usize::try_from(self.common.token_cache_max_size).unwrap_or_default(),
            age_max: age_max.unwrap_or(SignedDuration::MAX),
        }
    }

    /// The algorithms of connections over SSH.
    pub fn ssh_algorithms(&self) -> SshAlgorithms {
        SshAlgorithms { kex: self.ssh_kex_algos.clone(), host_keys: self.ssh_hostkey_algos.clone() }
    }

    /// Limits of what one OCI artifact may cost.
    pub fn oci_limits(&self) -> OciLimits {
        OciLimits {
            layer_bytes_max: self.oci_layer_max_size,
            tags_max: self.oci_tags_max,
            ..OciLimits::DEFAULT
        }
    }

    /// Limits of what one bucket may cost.
    pub fn bucket_limits(&self) -> BucketLimits {
        BucketLimits {
            objects_max: self.bucket_objects_max,
            bytes_max: self.bucket_max_size,
            ..BucketLimits::DEFAULT
        }
    }

    /// Limits of Helm repositories and charts.
    pub fn helm_limits(&self) -> HelmLimits {
        HelmLimits {
            index: self.helm_index_max_size,
            chart: self.helm_chart_max_size,
            chart_file: self.helm_chart_file_max_size,
        }
    }

    /// Which addresses sources may be at. Loopback and private ones are allowed: Git servers inside of the cluster are common.
    pub fn addresses(&self) -> AddressPolicy {
        if self.allow_link_local_addresses {
            AddressPolicy::allow_all(ALLOW_LINK_LOCAL)
        } else {
            AddressPolicy::reject_link_local(ALLOW_LINK_LOCAL)
        }
    }

    /// Retention of artifacts.
    pub fn retention(&self) -> Retention {
        Retention { ttl: self.artifact_retention_ttl.to_std(), records: self.artifact_retention_records }
    }
}

/// A variable of the environment that is not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parse(args: &[&str]) -> Options {
        Options::parse_args([&["source-controller"], args].concat()).unwrap()
    }

    #[test]
    fn the_args_of_the_deployment_of_flux_are_taken() {
        let options = parse(&[
            "--events-addr=http://notification-controller.flux-system.svc.cluster.local./",
            "--watch-all-namespaces=true",
            "--log-level=info",
            "--log-encoding=json",
            "--enable-leader-election",
            "--storage-path=/data",
            "--storage-adv-addr=source-controller.flux-system.svc.cluster.local.",
        ]);
        assert_eq!(options.validate(), Ok(()));
        assert_eq!(options.storage_adv_addr, "source-controller.flux-system.svc.cluster.local.");
    }

    #[test]
    fn the_defaults_are_those_of_flux() {
        let options = parse(&[]);
        assert_eq!(options.validate(), Ok(()));
        assert_eq!(options.retention(), Retention { ttl: Duration::from_mins(1), records: 2 });
        assert_eq!(
            (options.storage_addr.to_string(), options.storage_adv_addr.as_str()),
            (":9090".into(), "")
        );
    }

    #[test]
    fn link_local_addresses_are_rejected_unless_the_flag_allows_them() {
        let address = "169.254.169.254".parse().unwrap();
        let check = |args: &[&str]| parse(args).addresses().check("x", address);
        assert!(check(&[]).unwrap_err().to_string().contains("--allow-link-local-addresses"));
        assert_eq!(check(&["--allow-link-local-addresses"]), Ok(()));
        assert_eq!(check(&["--allow-link-local-addresses=true"]), Ok(()));
        assert!(check(&["--allow-link-local-addresses=false"]).is_err());
        assert_eq!(parse(&[]).addresses().check("git.apps.svc", "10.96.0.7".parse().unwrap()), Ok(()));
        assert_eq!(parse(&["--git-mirrors-max-size=5"]).limits().mirrors_bytes_max, 5);
    }

    #[test]
    fn the_limits_of_helm_are_flags() {
        assert_eq!(parse(&[]).helm_limits(), HelmLimits::DEFAULT);
        let options =
            parse(&["--helm-index-max-size=1", "--helm-chart-max-size=2", "--helm-chart-file-max-size=3"]);
        let limits = HelmLimits { index: 1, chart: 2, chart_file: 3 };
        assert_eq!((options.validate(), options.helm_limits()), (Ok(()), limits));
    }

    #[test]
    fn the_tuning_flags_of_flux_are_taken() {
        let options = parse(&[
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            "--helm-cache-max-size=10",
            "--helm-cache-ttl=60m",
            "--helm-cache-purge-interval=5m",
            "--watch-configs-label-selector=owner!=helm",
            "--feature-gates=CacheSecretsAndConfigMaps=true",
            "--artifact-digest-algo=sha512",
            "--token-cache-max-size=0",
            "--token-cache-max-duration=30m",
        ]);
        assert_eq!(options.token_limits(), TokenLimits { max: 0, age_max: SignedDuration::from_mins(30) });
        assert_eq!(parse(&[]).token_limits(), TokenLimits::DEFAULT);
        assert_eq!(options.validate(), Ok(()));
        assert_eq!(options.artifact_digest_algo, DigestAlgorithm::Sha512);
        assert!(options.common.rate_limit().is_some() && parse(&[]).common.rate_limit().is_none());
        assert!(parse(&["--kube-api-qps=-1"]).common.rate_limit().is_none());
        let error = Options::parse_args(["source-controller", "--artifact-digest-algo=sha1"]).unwrap_err();
        assert!(error.to_string().contains("use sha256, sha384, sha512 or blake3"), "{error}");
    }

    #[test]
    fn the_limits_of_buckets_are_flags() {
        assert_eq!(parse(&[]).bucket_limits(), BucketLimits::DEFAULT);
        let options = parse(&["--bucket-objects-max=1", "--bucket-max-size=2"]);
        let limits = BucketLimits { objects_max: 1, bytes_max: 2, ..BucketLimits::DEFAULT };
        assert_eq!((options.validate(), options.bucket_limits()), (Ok(()), limits));
    }

    #[test]
    fn a_default_service_account_needs_its_feature_gate() {
        let flag = "--default-service-account=apps";
        let rejected = parse(&[flag]).validate().unwrap_err();
        assert!(
            rejected.to_string().contains("set --feature-gates=ObjectLevelWorkloadIdentity=true"),
            "{rejected}"
        );
        let gate = "--feature-gates=ObjectLevelWorkloadIdentity=true";
        assert_eq!(parse(&[flag, gate]).validate(), Ok(()));
    }

    #[test]
    fn algorithms_of_ssh_are_checked_at_the_start() {
        let options =
            parse(&["--ssh-kex-algos=curve25519-sha256,ecdh-sha2-nistp256", "--ssh-hostkey-algos="]);
        assert_eq!(options.validate(), Ok(()));
        let kex = "curve25519-sha256,ecdh-sha2-nistp256".parse().unwrap();
        assert_eq!(options.ssh_algorithms(), SshAlgorithms { kex, ..SshAlgorithms::default() });
        for flag in ["--ssh-kex-algos=diffie-hellman-group1-sha1", "--ssh-hostkey-algos=ssh-rsa"] {
            let error = Options::parse_args(["source-controller", flag]).unwrap_err().to_string();
            assert!(error.contains("is not supported: use one of"), "{error}");
        }
    }
}
