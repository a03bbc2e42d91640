//! The flags of notification-controller, with Flux's names and defaults. What is not honoured yet is refused by name.

use std::path::PathBuf;

use clap::Args;
use plumb_alerting::rule::CrossNamespace;
use plumb_api::meta::GoDuration;
use plumb_runtime::config::{Common, FeatureGate, Listen, UnsupportedFlag, Work};
use plumb_runtime::{ControllerOptions, Identity};
use plumb_transport::address::{AddressClass, AddressPolicy};

/// Flags of notification-controller.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Common options.
    #[command(flatten)]
    pub common: Common,
    /// Address of the event server. 0 disables it.
    #[arg(long = "events-addr", default_value = ":9090")]
    pub events_addr: Listen,
    /// Address of the webhook receiver. 0 disables it.
    #[arg(long = "receiverAddr", default_value = ":9292")]
    pub receiver_addr: Listen,
    /// File with the bearer token that event senders must present. Unset: events are accepted without
    /// authentication, as in Flux.
    #[arg(long = "events-token-file", env = "EVENTS_TOKEN_FILE")]
    pub events_token_file: Option<PathBuf>,
    /// Period during which repeated events are dropped.
    #[arg(long = "rate-limit-interval", default_value = "5m")]
    pub rate_limit_interval: GoDuration,
    /// Disallow references to objects in other namespaces.
    #[arg(long = "no-cross-namespace-refs")]
    pub no_cross_namespace_refs: bool,
    /// Allow Providers at addresses of these classes, which are rejected by default: loopback, link-local,
    /// metadata, unspecified, multicast, api-server. Private addresses are not rejected.
    #[arg(long = "allow-addresses", value_delimiter = ',', value_name = "CLASS")]
    pub allow_addresses: Vec<AddressClass>,
    /// Reject Providers at private addresses (RFC 1918, RFC 6598, unique local).
    #[arg(long = "deny-private-addresses")]
    pub deny_private_addresses: bool,
    /// IP address of the API server's Service.
    #[arg(long = "kubernetes-service-host", env = "KUBERNETES_SERVICE_HOST", hide = true)]
    pub kubernetes_service_host: Option<String>,
    /// Only the default value is supported.
    #[arg(long = "export-http-path-metrics")]
    pub export_http_path_metrics: bool,
}

impl ControllerOptions for Options {
    const IDENTITY: Identity = Identity {
        controller: plumb_api::meta::NOTIFICATION_MANAGER,
        status_manager: plumb_api::meta::NOTIFICATION_MANAGER,
        concurrent: 4,
    };
    const ABOUT: &'static str =
        "Forwards events to notification providers and handles webhooks that trigger reconciliations.";
    const GATES: &'static [FeatureGate] = &[
        FeatureGate::new("CacheSecretsAndConfigMaps", false),
        FeatureGate::fixed("DisableConfigWatchers", false),
        FeatureGate::fixed("ObjectLevelWorkloadIdentity", false),
    ];

    fn common(&self) -> &Common {
        &self.common
    }

    fn work(&self) -> Option<&Work> {
        None
    }

    fn unsupported(&self) -> Vec<UnsupportedFlag> {
        vec![UnsupportedFlag::new("export-http-path-metrics", &self.export_http_path_metrics, &false)]
    }
}

impl Options {
    /// Which addresses Providers may be at.
    pub fn address_policy(&self) -> AddressPolicy {
        let policy = AddressPolicy::reject_link_local("--allow-addresses").reject(AddressClass::Loopback);
        let policy = if self.deny_private_addresses { policy.reject(AddressClass::Private) } else { policy };
        let api_server = self.kubernetes_service_host.as_deref().and_then(|host| host.parse().ok());
        let policy = api_server.map_or(policy, |address| policy.reject_api_server(address));
        policy.allow_each(&self.allow_addresses)
    }

    /// Whether Alerts and Receivers may reach into other namespaces.
    pub fn cross_namespace(&self) -> CrossNamespace {
        if self.no_cross_namespace_refs { CrossNamespace::Blocked } else { CrossNamespace::Allowed }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parse(args: &[&str]) -> Options {
        Options::parse_args([&["notification-controller"], args].concat()).unwrap()
    }

    #[test]
    fn the_args_of_the_deployment_of_flux_are_taken() {
        let options = parse(&[
            "--watch-all-namespaces=true",
            "--log-level=info",
            "--log-encoding=json",
            "--enable-leader-election",
        ]);
        assert_eq!(options.validate(), Ok(()));
        assert_eq!(
            (options.events_addr.to_string(), options.receiver_addr.to_string()),
            (":9090".into(), ":9292".into())
        );
        assert_eq!(options.rate_limit_interval.to_std(), Duration::from_mins(5));
        assert_eq!(options.cross_namespace(), CrossNamespace::Allowed);
    }

    #[test]
    fn the_args_of_the_benchmarks_are_taken() {
        let options = parse(&[
            "--concurrent=20",
            "--enable-leader-election=false",
            "--events-addr=127.0.0.1:9090",
            "--receiverAddr=127.0.0.1:9292",
            "--health-addr=127.0.0.1:9440",
            "--metrics-addr=127.0.0.1:8080",
        ]);
        assert_eq!(options.validate(), Ok(()));
        assert_eq!(options.common.concurrent, Some(20));
    }

    #[test]
    fn lockdown_is_honoured() {
        assert_eq!(parse(&["--no-cross-namespace-refs=true"]).cross_namespace(), CrossNamespace::Blocked);
        assert_eq!(parse(&["--no-cross-namespace-refs"]).cross_namespace(), CrossNamespace::Blocked);
    }

    #[test]
    fn providers_are_kept_from_the_node_and_the_api_server_unless_a_flag_allows_it() {
        let check = |args: &[&str], address: &str| {
            let host = "--kubernetes-service-host=10.96.0.1";
            let policy = parse(&[&[host], args].concat()).address_policy();
            policy.check("h", address.parse().unwrap()).map_err(|error| error.to_string())
        };
        for address in
            ["127.0.0.1", "::1", "169.254.169.254", "0.0.0.0", "fd00:ec2::254", "224.0.0.1", "10.96.0.1"]
        {
            let error = check(&[], address).unwrap_err();
            assert!(error.ends_with("--allow-addresses allows it"), "{error}");
        }
        for address in ["10.96.0.2", "192.168.1.1", "fd12::1", "93.184.216.34"] {
            assert_eq!(check(&[], address), Ok(()), "{address}");
        }
        assert_eq!(check(&["--allow-addresses=loopback,api-server"], "127.0.0.1"), Ok(()));
        assert_eq!(check(&["--allow-addresses=loopback,api-server"], "10.96.0.1"), Ok(()));
        assert!(check(&["--allow-addresses=loopback"], "169.254.1.1").is_err());
        assert!(check(&["--deny-private-addresses"], "10.96.0.2").is_err());
        let unknown = ["notification-controller", "--allow-addresses=loopback,private"];
        let error = Options::parse_args(unknown).unwrap_err().to_string();
        let expect = "address class \"private\" is not supported: use loopback, link-local";
        assert!(error.contains(expect), "{error}");
    }

    #[test]
    fn what_is_not_honoured_is_named() {
        let flag = "--export-http-path-metrics=true";
        assert!(parse(&[flag]).validate().unwrap_err().to_string().contains(flag));
        let gated = parse(&["--feature-gates=ObjectLevelWorkloadIdentity=true"]).validate();
        assert!(gated.unwrap_err().to_string().contains("ObjectLevelWorkloadIdentity=true"));
        assert_eq!(parse(&["--feature-gates=DisableConfigWatchers=false"]).validate(), Ok(()));
    }

    #[test]
    fn the_flags_of_the_other_controllers_are_unknown() {
        for flag in ["--watch-label-selector=a=b", "--requeue-dependency=5s", "--storage-path=/data"] {
            let error = Options::parse_args(["notification-controller", flag]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{flag}");
        }
    }
}
