//! The flags of notification-controller, with Flux's names and defaults. What is not honoured yet is refused by name.

use clap::{ArgAction, Parser};
use plumb_alerting::rule::CrossNamespace;
use plumb_api::meta::GoDuration;
use plumb_runtime::config::{self, Gate, Listen, Refused, Unhonoured, parse_bool};

/// The gates of Flux's notification-controller, at their defaults.
pub const GATES: &[Gate] = &[
    Gate { name: "CacheSecretsAndConfigMaps", default: false },
    Gate { name: "DisableConfigWatchers", default: false },
    Gate { name: "ObjectLevelWorkloadIdentity", default: false },
];

/// The flags.
#[derive(Debug, Clone, Parser)]
#[command(name = "notification-controller", about = "Tells people what happens, and takes webhooks.")]
pub struct Options {
    /// Those of all controllers.
    #[command(flatten)]
    pub common: config::Common,
    /// Where events are taken.
    #[arg(long = "events-addr", default_value = ":9090")]
    pub events_addr: Listen,
    /// Where webhooks are taken.
    #[arg(long = "receiverAddr", default_value = ":9292")]
    pub receiver_addr: Listen,
    /// How long an event that was told is not told again.
    #[arg(long = "rate-limit-interval", default_value = "5m")]
    pub rate_limit_interval: GoDuration,
    /// Whether references to other namespaces are refused.
    #[arg(long = "no-cross-namespace-refs", default_value = "false", default_missing_value = "true",
          num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_parser = parse_bool)]
    pub no_cross_namespace_refs: bool,
    /// Accepted at its default.
    #[arg(long = "export-http-path-metrics", default_value = "false", default_missing_value = "true",
          num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_parser = parse_bool)]
    pub export_http_path_metrics: bool,
}

impl Options {
    /// Refuses what is not honoured yet.
    pub fn validate(&self) -> Result<(), Refused> {
        config::only_defaults(&[Unhonoured::new(
            "export-http-path-metrics",
            &self.export_http_path_metrics,
            &false,
        )])
    }

    /// Whether references to other namespaces are followed.
    pub fn cross_namespace(&self) -> CrossNamespace {
        if self.no_cross_namespace_refs { CrossNamespace::Blocked } else { CrossNamespace::Allowed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Options {
        Options::try_parse_from([&["notification-controller"], args].concat()).unwrap()
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
        assert_eq!(options.common.validate(GATES), Ok(()));
        assert_eq!(
            (options.events_addr.to_string(), options.receiver_addr.to_string()),
            (":9090".into(), ":9292".into())
        );
        assert_eq!(options.rate_limit_interval.to_string(), "5m0s");
        assert_eq!(options.cross_namespace(), CrossNamespace::Allowed);
    }

    #[test]
    fn what_is_not_honoured_is_named() {
        let refused = parse(&["--export-http-path-metrics"]).validate().unwrap_err();
        assert!(refused.to_string().contains("--export-http-path-metrics=true"), "{refused}");
    }
}
