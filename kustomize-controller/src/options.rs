//! The flags of kustomize-controller, with Flux's names and defaults. What is not honoured yet is refused by name.

use clap::Args;
use plumb_fetch::HostPort;
use plumb_planning::takeover::Takeover;
use plumb_runtime::config::{Common, ConfigError, FeatureGate, UnsupportedFlag, Work};
use plumb_runtime::{ControllerOptions, Identity};

/// Whether ExternalArtifacts can be sources.
pub const EXTERNAL_ARTIFACT: FeatureGate = FeatureGate::new("ExternalArtifact", false);

/// Flags of kustomize-controller.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "the flags are Flux's")]
pub struct Options {
    /// Common options.
    #[command(flatten)]
    pub common: Common,
    /// Options of the controllers that emit events.
    #[command(flatten)]
    pub work: Work,
    /// Maximum concurrent server-side apply requests per Kustomization.
    #[arg(long = "concurrent-ssa", default_value = "4")]
    pub concurrent_ssa: usize,
    /// Maximum number of retries of an artifact download.
    #[arg(long = "http-retry", default_value = "9")]
    pub http_retry: u32,
    /// Disallow remote bases. Remote bases are never supported, so both values have the same effect.
    #[arg(long = "no-remote-bases")]
    pub no_remote_bases: bool,
    /// Disallow references to objects in other namespaces.
    #[arg(long = "no-cross-namespace-refs")]
    pub no_cross_namespace_refs: bool,
    /// Allow a source that renders no objects to prune everything (Flux's behaviour). Default: false. The annotation
    /// `kustomize.toolkit.fluxcd.io/allow-empty: "true"` allows it for one Kustomization.
    #[arg(long = "allow-empty")]
    pub allow_empty: bool,
    /// Field manager whose fields are taken over, by prefix. Can be repeated.
    #[arg(long = "override-manager")]
    pub override_manager: Vec<String>,
    /// Allow artifact downloads from this host, `HOST[:PORT]`, in addition to the Services in the
    /// controller's namespace. Can be repeated.
    #[arg(long = "artifact-host")]
    pub artifact_host: Vec<HostPort>,
    /// Only the default value is supported.
    #[arg(long = "custom-apply-stage-kinds", default_value = "")]
    pub custom_apply_stage_kinds: String,
    /// Only the default value is supported.
    #[arg(long = "default-decryption-service-account", default_value = "")]
    pub default_decryption_service_account: String,
    /// Only the default value is supported.
    #[arg(long = "default-kubeconfig-service-account", default_value = "")]
    pub default_kubeconfig_service_account: String,
    /// Only the default value is supported.
    #[arg(long = "sops-age-secret", default_value = "")]
    pub sops_age_secret: String,
    /// Only the default value is supported.
    #[arg(long = "sops-vault-configmap", default_value = "")]
    pub sops_vault_configmap: String,
    /// Only the default value is supported.
    #[arg(long = "insecure-kubeconfig-exec")]
    pub insecure_kubeconfig_exec: bool,
    /// Only the default value is supported.
    #[arg(long = "insecure-kubeconfig-tls")]
    pub insecure_kubeconfig_tls: bool,
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
        controller: plumb_api::meta::KUSTOMIZE_MANAGER,
        status_manager: plumb_api::meta::KUSTOMIZE_STATUS_MANAGER,
        concurrent: 4,
    };
    const ABOUT: &'static str = "Applies artifacts to clusters and keeps them from drifting.";
    const GATES: &'static [FeatureGate] = &[
        FeatureGate::new("CacheSecretsAndConfigMaps", false),
        FeatureGate::fixed("DisableStatusPollerCache", true),
        FeatureGate::fixed("DisableFailFastBehavior", false),
        FeatureGate::fixed("StrictPostBuildSubstitutions", true),
        FeatureGate::fixed("GroupChangeLog", false),
        FeatureGate::fixed("AdditiveCELDependencyCheck", false),
        EXTERNAL_ARTIFACT,
        FeatureGate::fixed("CancelHealthCheckOnNewRevision", false),
        FeatureGate::fixed("DisableConfigWatchers", false),
        FeatureGate::fixed("DirectSourceFetch", false),
        FeatureGate::fixed("MigrateAPIVersion", false),
        FeatureGate::fixed("ObjectLevelWorkloadIdentity", false),
    ];

    fn common(&self) -> &Common {
        &self.common
    }

    fn work(&self) -> Option<&Work> {
        Some(&self.work)
    }

    fn unsupported(&self) -> Vec<UnsupportedFlag> {
        vec![
            UnsupportedFlag::new("custom-apply-stage-kinds", &self.custom_apply_stage_kinds, &""),
            UnsupportedFlag::new(
                "default-decryption-service-account",
                &self.default_decryption_service_account,
                &"",
            ),
            UnsupportedFlag::new(
                "default-kubeconfig-service-account",
                &self.default_kubeconfig_service_account,
                &"",
            ),
            UnsupportedFlag::new("sops-age-secret", &self.sops_age_secret, &""),
            UnsupportedFlag::new("sops-vault-configmap", &self.sops_vault_configmap, &""),
            UnsupportedFlag::new("insecure-kubeconfig-exec", &self.insecure_kubeconfig_exec, &false),
            UnsupportedFlag::new("insecure-kubeconfig-tls", &self.insecure_kubeconfig_tls, &false),
        ]
    }

    fn validate_own(&self) -> Result<(), ConfigError> {
        if self.concurrent_ssa == 0 {
            return Err(ConfigError::Zero { flag: "concurrent-ssa" });
        }
        Ok(())
    }
}

impl Options {
    /// Field managers whose fields are taken over.
    pub fn takeover(&self) -> Takeover {
        Takeover { overrides: self.override_manager.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Options {
        Options::parse_args([&["kustomize-controller"], args].concat()).unwrap()
    }

    #[test]
    fn the_args_of_the_deployment_of_flux_are_taken() {
        let options = parse(&[
            "--events-addr=http://notification-controller.flux-system.svc.cluster.local./",
            "--watch-all-namespaces=true",
            "--log-level=info",
            "--log-encoding=json",
            "--enable-leader-election",
        ]);
        assert_eq!(options.validate(), Ok(()));
        assert_eq!((options.concurrent_ssa, options.http_retry), (4, 9));
    }

    #[test]
    fn what_is_not_honoured_is_named() {
        for flag in
            ["--sops-age-secret=keys", "--insecure-kubeconfig-exec=true", "--custom-apply-stage-kinds=a/B"]
        {
            assert!(parse(&[flag]).validate().unwrap_err().to_string().contains(flag), "{flag}");
        }
    }

    #[test]
    fn hosts_and_managers_may_be_given_several_times() {
        let options = parse(&[
            "--artifact-host=a:80",
            "--artifact-host=b",
            "--override-manager=x",
            "--override-manager=y",
        ]);
        assert_eq!((options.artifact_host.len(), options.takeover().overrides.len()), (2, 2));
    }
}
