//! Flags and environment, read once at start, in the forms that Go programs take them. A flag that is not honoured yet
//! is accepted at its default; another value ends the start. What a single controller alone has stays with it.

use std::fmt::{self, Display};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Arg, ArgAction, Args, ValueEnum};
use plumb_api::meta::GoDuration;
use plumb_cluster::RateLimit;
use plumb_status::cadence::{Backoff, PeriodRange};

/// The shortest pause between two tries to hold the lease: more would keep the API server busy.
const LEASE_RETRY_MIN: Duration = Duration::from_millis(100);

/// Requests a second and at once of client-go where a configuration has zero.
const CLIENT_GO_QPS: f64 = 5.0;
const CLIENT_GO_BURST: u32 = 10;

/// Flags of all controllers.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Address of the metrics endpoint. 0 disables it.
    #[arg(long = "metrics-addr", env = "METRICS_ADDR", default_value = ":8080")]
    pub metrics_addr: Listen,
    /// Address of the health probes. 0 disables them.
    #[arg(long = "health-addr", default_value = ":9440")]
    pub health_addr: Listen,
    /// Maximum concurrent reconciliations per kind.
    #[arg(long = "concurrent")]
    pub concurrent: Option<usize>,
    /// Log level.
    #[arg(long = "log-level", value_enum, default_value = "info")]
    pub log_level: LogLevel,
    /// Log encoding.
    #[arg(long = "log-encoding", value_enum, default_value = "json")]
    pub log_encoding: LogEncoding,
    /// Enable leader election.
    #[arg(long = "enable-leader-election")]
    pub enable_leader_election: bool,
    /// Release the lease on shutdown.
    #[arg(long = "leader-election-release-on-cancel", default_value = "true")]
    pub leader_election_release_on_cancel: bool,
    /// Duration after which a lease that is not renewed expires.
    #[arg(long = "leader-election-lease-duration", default_value = "35s")]
    pub leader_election_lease_duration: GoDuration,
    /// Deadline for renewing the lease. The leader exits after it.
    #[arg(long = "leader-election-renew-deadline", default_value = "30s")]
    pub leader_election_renew_deadline: GoDuration,
    /// Wait between attempts to acquire or renew the lease, at least 100ms.
    #[arg(long = "leader-election-retry-period", default_value = "5s")]
    pub leader_election_retry_period: GoDuration,
    /// Maximum number of requests per second to the API server. Unset or negative: no limit.
    #[arg(long = "kube-api-qps", allow_negative_numbers = true)]
    pub kube_api_qps: Option<f64>,
    /// Maximum number of requests at once, with --kube-api-qps.
    #[arg(long = "kube-api-burst", default_value = "300", allow_negative_numbers = true)]
    pub kube_api_burst: i64,
    /// Minimum delay before a failed reconciliation is retried.
    #[arg(long = "min-retry-delay", default_value = "750ms")]
    pub min_retry_delay: GoDuration,
    /// Maximum delay before a failed reconciliation is retried.
    #[arg(long = "max-retry-delay", default_value = "15m")]
    pub max_retry_delay: GoDuration,
    /// Watch all namespaces. If false, watch only the namespace of the controller.
    #[arg(long = "watch-all-namespaces", default_value = "true")]
    pub watch_all_namespaces: bool,
    /// Only the default value is supported; source-controller takes any, and watches none, as with Flux.
    #[arg(long = "watch-configs-label-selector", default_value = WATCH_CONFIGS)]
    pub watch_configs_label_selector: String,
    /// Feature gates, `Name=true,Other=false`.
    #[arg(long = "feature-gates", value_delimiter = ',')]
    pub feature_gates: Vec<String>,
    /// Maximum number of cached tokens of GitHub Apps and cloud identities. 0 disables the cache.
    #[arg(long = "token-cache-max-size", default_value = "100")]
    pub token_cache_max_size: i64,
    /// Maximum duration for which a token is cached.
    #[arg(long = "token-cache-max-duration", default_value = "1h")]
    pub token_cache_max_duration: GoDuration,
    /// ServiceAccount for cloud identities where a source names none; source-controller only, with the feature gate
    /// ObjectLevelWorkloadIdentity. Other controllers support only the default value.
    #[arg(long = "default-service-account", default_value = "")]
    pub default_service_account: String,
    /// Memory budget for data from outside, in bytes or as a quantity, e.g. 512Mi. 0: 60 % of the container's
    /// memory limit.
    #[arg(long = "memory-budget", default_value = "0", value_parser = crate::memory::parse_quantity)]
    pub memory_budget: u64,
    /// Namespace of the controller.
    #[arg(long = "runtime-namespace", env = "RUNTIME_NAMESPACE", hide = true)]
    pub runtime_namespace: Option<String>,
    /// Name of the pod, or of the machine.
    #[arg(long = "hostname", env = "HOSTNAME", hide = true)]
    pub hostname: Option<String>,
}

const WATCH_CONFIGS: &str = "reconcile.fluxcd.io/watch=Enabled";

/// Flags of the controllers that reconcile objects and emit events.
#[derive(Debug, Clone, Args)]
pub struct Work {
    /// Address that events are posted to. Empty: no events are posted.
    #[arg(long = "events-addr", env = "EVENTS_ADDR", default_value = "")]
    pub events_addr: String,
    /// File with the bearer token sent with each event. Unset: no token. notification-controller requires it
    /// if it runs with --events-token-file.
    #[arg(long = "events-token-file", env = "EVENTS_TOKEN_FILE")]
    pub events_token_file: Option<PathBuf>,
    /// Jitter of the reconciliation interval, in percent, less than 100.
    #[arg(long = "interval-jitter-percentage", default_value = "5", value_parser = clap::value_parser!(u8).range(0..100))]
    pub interval_jitter_percentage: u8,
    /// Interval at which objects with dependencies that are not ready are requeued, at least 1s.
    #[arg(long = "requeue-dependency", default_value = "30s")]
    pub requeue_dependency: GoDuration,
    /// Label selector for the objects to reconcile. Empty: all.
    #[arg(long = "watch-label-selector", default_value = "")]
    pub watch_label_selector: String,
}

impl Common {
    /// The name of the pod or machine, where the environment tells it.
    pub fn hostname(&self) -> Option<&str> {
        self.hostname.as_deref().filter(|name| !name.is_empty())
    }

    /// Backoff of failed reconciliations.
    pub fn backoff(&self) -> Backoff {
        Backoff::held(self.min_retry_delay.to_std(), self.max_retry_delay.to_std())
    }

    /// The limit of requests to the API server, where there is one. Zero is the default of client-go, as there.
    pub fn rate_limit(&self) -> Option<RateLimit> {
        let set = self.kube_api_qps.filter(|qps| *qps >= 0.0)?;
        let per_second = if set == 0.0 { CLIENT_GO_QPS } else { set };
        let burst = u32::try_from(self.kube_api_burst).unwrap_or_default();
        Some(RateLimit::new(per_second, if burst == 0 { CLIENT_GO_BURST } else { burst }))
    }

    /// Whether a feature gate is on: by its default, or as it was set last. The gates were validated before.
    pub fn is_enabled(&self, gate: &FeatureGate) -> bool {
        let set = self.feature_gates.iter().rev().find_map(|text| {
            let (name, value) = text.split_once('=')?;
            (name.trim() == gate.name).then(|| parse_bool(value.trim()).ok())?
        });
        set.unwrap_or(gate.default)
    }

    /// Rejects unsupported values. [`ControllerOptions::validate`](crate::ControllerOptions::validate) calls it.
    pub(crate) fn validate(&self, gates: &[FeatureGate], watches_configs: bool) -> Result<(), ConfigError> {
        if watches_configs {
            let (name, set) = ("watch-configs-label-selector", &self.watch_configs_label_selector);
            only_defaults(&[UnsupportedFlag::new(name, set, &WATCH_CONFIGS)])?;
        }
        if self.concurrent == Some(0) {
            return Err(ConfigError::Zero { flag: "concurrent" });
        }
        self.validate_lease()?;
        check_gates(&self.feature_gates, gates)
    }

    /// A rival must not acquire while this replica may still write, and one failed renewal must not cost the lease.
    fn validate_lease(&self) -> Result<(), ConfigError> {
        let (lease, renew, retry) = (
            self.leader_election_lease_duration,
            self.leader_election_renew_deadline,
            self.leader_election_retry_period,
        );
        if !self.enable_leader_election
            || (lease > renew && renew > retry && retry.to_std() >= LEASE_RETRY_MIN)
        {
            return Ok(());
        }
        Err(ConfigError::Lease { lease, renew, retry })
    }
}

impl Work {
    /// How soon an object that waits for another is reconciled again, within [`PeriodRange::REQUEUE`].
    pub fn requeue_dependency(&self) -> Duration {
        let set = self.requeue_dependency.to_std();
        let used = PeriodRange::REQUEUE.clamp(set);
        if used != set {
            tracing::warn!(
                flag = "requeue-dependency",
                ?set,
                ?used,
                "period out of range, using the nearest limit"
            );
        }
        used
    }
}

/// Gives a boolean flag the form that Go programs take: `--flag`, `--flag=true` and `--flag=false`. Other arguments stay
/// as they are.
pub(crate) fn go_boolean(arg: Arg) -> Arg {
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        return arg;
    }
    let arg = if arg.get_default_values().is_empty() { arg.default_value("false") } else { arg };
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_parser(parse_bool)
}

/// Reads a boolean as Go does.
fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

/// Log level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// All messages.
    Trace,
    /// Messages for debugging.
    Debug,
    /// Events of normal operation.
    Info,
    /// Errors only.
    Error,
}

/// Log encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogEncoding {
    /// One JSON object per line.
    Json,
    /// Human-readable text.
    Console,
}

/// Error of an invalid or unsupported flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The flag has an unsupported value.
    #[error("--{flag}={value} is not supported yet: only its default {default:?} is")]
    UnsupportedFlag {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// The only value that is accepted.
        default: String,
    },
    /// A flag without effect.
    #[error("--{flag} needs a feature gate: set --feature-gates={gate}=true")]
    GateNeeded {
        /// The flag.
        flag: &'static str,
        /// The gate.
        gate: &'static str,
    },
    /// A flag must not be zero.
    #[error("--{flag} must be at least 1")]
    Zero {
        /// The flag.
        flag: &'static str,
    },
    /// The times of leader election do not fit together.
    #[error(
        "--leader-election-lease-duration={lease} must be longer than --leader-election-renew-deadline={renew}, \
             that longer than --leader-election-retry-period={retry}, and that no shorter than {LEASE_RETRY_MIN:?}"
    )]
    Lease {
        /// How long a lease holds.
        lease: GoDuration,
        /// How long a leader tries to renew it.
        renew: GoDuration,
        /// The pause between two tries.
        retry: GoDuration,
    },
    /// Not of the form Name=bool.
    #[error("--feature-gates: {text:?} is not of the form Name=true or Name=false")]
    GateForm {
        /// What was read.
        text: String,
    },
    /// There is no such gate.
    #[error("--feature-gates: there is no gate {name:?}")]
    GateUnknown {
        /// Its name.
        name: String,
    },
    /// The gate cannot be set so yet.
    #[error("--feature-gates: {name}={value} is not supported yet: only its default is")]
    UnsupportedGate {
        /// Its name.
        name: &'static str,
        /// What it was set to.
        value: bool,
    },
}

/// Flag that supports its default value only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedFlag {
    flag: &'static str,
    value: String,
    default: String,
}

impl UnsupportedFlag {
    /// The flag without dashes, its value and its default.
    pub fn new(flag: &'static str, value: &impl Display, default: &impl Display) -> Self {
        Self { flag, value: value.to_string(), default: default.to_string() }
    }
}

/// Rejects the first flag that is not at its default.
pub(crate) fn only_defaults(flags: &[UnsupportedFlag]) -> Result<(), ConfigError> {
    match flags.iter().find(|flag| flag.value != flag.default) {
        None => Ok(()),
        Some(UnsupportedFlag { flag, value, default }) => {
            Err(ConfigError::UnsupportedFlag { flag, value: value.clone(), default: default.clone() })
        }
    }
}

/// A feature gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureGate {
    /// Its name.
    pub name: &'static str,
    /// Its default.
    pub default: bool,
    /// Whether another value than the default is accepted.
    is_supported: bool,
}

impl FeatureGate {
    /// One whose default is the only value that is accepted.
    pub const fn fixed(name: &'static str, default: bool) -> Self {
        Self { name, default, is_supported: false }
    }

    /// One that can be set: [`Common::is_enabled`].
    pub const fn new(name: &'static str, default: bool) -> Self {
        Self { name, default, is_supported: true }
    }
}

fn check_gates(set: &[String], known: &[FeatureGate]) -> Result<(), ConfigError> {
    for text in set.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
        let form = || ConfigError::GateForm { text: text.to_owned() };
        let (name, value) = text.split_once('=').ok_or_else(form)?;
        let value = parse_bool(value.trim()).map_err(|_| form())?;
        match known.iter().find(|gate| gate.name == name.trim()) {
            None => return Err(ConfigError::GateUnknown { name: name.trim().to_owned() }),
            Some(gate) if gate.default != value && !gate.is_supported => {
                return Err(ConfigError::UnsupportedGate { name: gate.name, value });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Where to listen: `:9090` on every address, `:0` on any port, `host:port`, or `0` for nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen(String);

impl Listen {
    /// Whether nothing is to be served.
    pub fn is_off(&self) -> bool {
        self.0 == "0" || self.0.is_empty()
    }

    /// Begins to listen. Without a host on every address, IPv6 too where there is one.
    pub async fn bind(&self) -> io::Result<tokio::net::TcpListener> {
        match self.0.strip_prefix(':') {
            Some(port) => match tokio::net::TcpListener::bind(format!("[::]:{port}")).await {
                Ok(listener) => Ok(listener),
                Err(_) => tokio::net::TcpListener::bind(format!("0.0.0.0:{port}")).await,
            },
            None => tokio::net::TcpListener::bind(&self.0).await,
        }
    }
}

impl Display for Listen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = text.is_empty()
            || text == "0"
            || text.parse::<SocketAddr>().is_ok()
            || text
                .rsplit_once(':')
                .is_some_and(|(host, port)| port.parse::<u16>().is_ok() && !host.contains(':'));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("{text:?} is not of the form host:port or :port"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::ControllerOptions as _;
    use crate::options::tests::parse;

    #[test]
    fn without_flags_the_defaults_are_those_of_flux() {
        let options = parse(&[]).unwrap();
        let Common { metrics_addr, health_addr, watch_all_namespaces, .. } = &options.common;
        assert_eq!((metrics_addr.to_string(), health_addr.to_string()), (":8080".into(), ":9440".into()));
        assert!(*watch_all_namespaces && !options.common.enable_leader_election);
        assert_eq!(options.common.backoff(), Backoff::default());
        assert_eq!(options.work.requeue_dependency.to_string(), "30s");
        assert_eq!(options.listen.to_string(), ":9292");
        assert_eq!(options.validate(), Ok(()));
    }

    #[test]
    fn the_args_of_the_deployment_of_flux_are_taken() {
        let options = parse(&[
            "--events-addr=http://notification-controller.flux-system.svc.cluster.local./",
            "--watch-all-namespaces=true",
            "--log-level=info",
            "--log-encoding=json",
            "--enable-leader-election",
            "--feature-gates=Fixed=false",
        ])
        .unwrap();
        assert!(options.common.enable_leader_election);
        assert_eq!(options.validate(), Ok(()));
    }

    #[test]
    fn booleans_come_bare_and_with_a_value_as_go_takes_them() {
        for (args, expect) in [
            (&["--enable-leader-election"][..], true),
            (&["--enable-leader-election=false"], false),
            (&["--enable-leader-election=T"], true),
        ] {
            assert_eq!(parse(args).unwrap().common.enable_leader_election, expect, "{args:?}");
        }
        assert!(parse(&["--enable-leader-election=maybe"]).is_err());
    }

    #[test]
    fn values_come_after_a_sign_or_as_the_next_argument() {
        let options = parse(&["--listen=:0", "--concurrent", "20", "--metrics-addr", "0"]).unwrap();
        assert_eq!(options.listen.to_string(), ":0");
        assert_eq!(options.common.concurrent, Some(20));
        assert!(options.common.metrics_addr.is_off());
    }

    #[test]
    fn an_unknown_flag_or_a_bad_value_ends_with_code_two() {
        for args in [&["--no-such-flag"][..], &["--health-addr=nowhere"], &["--requeue-dependency=5"]] {
            assert_eq!(parse(args).unwrap_err().exit_code(), 2, "{args:?}");
        }
    }

    #[test]
    fn a_flag_that_is_not_honoured_is_named_when_it_is_set() {
        let refused = parse(&["--default-service-account=default"]).unwrap().validate().unwrap_err();
        assert_eq!(
            refused.to_string(),
            r#"--default-service-account=default is not supported yet: only its default "" is"#
        );
    }

    #[test]
    fn gates_are_known_and_at_their_default_or_refused() {
        let refuse = |flag: &str| parse(&[flag]).unwrap().validate().unwrap_err().to_string();
        assert!(refuse("--feature-gates=Nonsense=true").contains("no gate \"Nonsense\""));
        assert!(refuse("--feature-gates=Fixed=true").contains("Fixed=true is not supported"));
        assert!(refuse("--feature-gates=Fixed").contains("not of the form"));
    }

    #[tokio::test]
    async fn a_port_of_zero_is_any_free_port() {
        let listener = ":0".parse::<Listen>().unwrap().bind().await.unwrap();
        assert_ne!(listener.local_addr().unwrap().port(), 0);
    }
}
