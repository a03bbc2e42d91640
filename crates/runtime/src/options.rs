//! What a controller says of its command line. A flag of all controllers is written once, in [`crate::config`]; the form
//! of boolean flags and the order of the checks are here, for all of them.

use std::ffi::OsString;

use clap::{Args, Command};

use crate::config::{Common, ConfigError, FeatureGate, UnsupportedFlag, Work, go_boolean, only_defaults};
use crate::runtime::Identity;

/// The flags of a controller, and what else its start has to know.
///
/// The flags are [`Args`]. A `bool` among them takes the forms of Go programs: `--flag`, `--flag=true`, `--flag=false`.
pub trait ControllerOptions: Args {
    /// Who the controller is.
    const IDENTITY: Identity;
    /// What `--help` says of it.
    const ABOUT: &'static str;
    /// Its feature gates.
    const GATES: &'static [FeatureGate];
    /// Whether it has a use for ConfigMaps and Secrets that are watched.
    const WATCHES_CONFIGS: bool = true;
    /// Whether it has a use for a default ServiceAccount.
    const TAKES_DEFAULT_ACCOUNT: bool = false;

    /// The flags of all controllers.
    fn common(&self) -> &Common;

    /// The flags of the controllers that emit events; none for notification-controller.
    fn work(&self) -> Option<&Work>;

    /// Its own flags that support their default value only.
    fn unsupported(&self) -> Vec<UnsupportedFlag>;

    /// Rejects values of its own flags that are out of range.
    fn validate_own(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Rejects unsupported values and those out of range, of all flags.
    fn validate(&self) -> Result<(), ConfigError> {
        self.common().validate(Self::GATES, Self::WATCHES_CONFIGS)?;
        if !Self::TAKES_DEFAULT_ACCOUNT {
            let set = &self.common().default_service_account;
            only_defaults(&[UnsupportedFlag::new("default-service-account", set, &"")])?;
        }
        only_defaults(&self.unsupported())?;
        self.validate_own()
    }

    /// The command line that is read.
    fn command() -> Command {
        // The texts come last: the comments of flattened options would be taken for them.
        Self::augment_args(Command::default().name(Self::IDENTITY.controller))
            .version(env!("CARGO_PKG_VERSION"))
            .about(Self::ABOUT)
            .long_about(None)
            .mut_args(go_boolean)
    }

    /// Reads a command line, the name of the program first. Values are checked by [`Self::validate`] only.
    fn parse_args<T: Into<OsString> + Clone>(args: impl IntoIterator<Item = T>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(args)?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::Listen;

    const SWITCH: FeatureGate = FeatureGate::new("Switch", false);

    /// The options of a controller that exists in tests only.
    #[derive(Debug, Args)]
    pub(crate) struct Options {
        #[command(flatten)]
        pub(crate) common: Common,
        #[command(flatten)]
        pub(crate) work: Work,
        #[arg(long = "listen", default_value = ":9292")]
        pub(crate) listen: Listen,
        #[arg(long = "own-switch")]
        own_switch: bool,
        #[arg(long = "own-limit", default_value = "1")]
        own_limit: u32,
        #[arg(long = "own-fixed", default_value = "")]
        own_fixed: String,
    }

    impl ControllerOptions for Options {
        const IDENTITY: Identity = Identity { controller: "c", status_manager: "c", concurrent: 1 };
        const ABOUT: &'static str = "Tests.";
        const GATES: &'static [FeatureGate] = &[FeatureGate::fixed("Fixed", false), SWITCH];

        fn common(&self) -> &Common {
            &self.common
        }

        fn work(&self) -> Option<&Work> {
            Some(&self.work)
        }

        fn unsupported(&self) -> Vec<UnsupportedFlag> {
            vec![UnsupportedFlag::new("own-fixed", &self.own_fixed, &"")]
        }

        fn validate_own(&self) -> Result<(), ConfigError> {
            if self.own_limit == 0 { Err(ConfigError::Zero { flag: "own-limit" }) } else { Ok(()) }
        }
    }

    pub(crate) fn parse(args: &[&str]) -> Result<Options, clap::Error> {
        Options::parse_args([&["c"], args].concat())
    }

    #[test]
    fn a_boolean_flag_of_a_controller_is_taken_as_go_takes_it_without_saying_so() {
        for (args, expect) in [
            (&[][..], false),
            (&["--own-switch"], true),
            (&["--own-switch=true"], true),
            (&["--own-switch=F"], false),
        ] {
            assert_eq!(parse(args).unwrap().own_switch, expect, "{args:?}");
        }
        assert_eq!(parse(&["--own-switch=perhaps"]).unwrap_err().exit_code(), 2);
        assert!(
            !parse(&["--leader-election-release-on-cancel=false"])
                .unwrap()
                .common
                .leader_election_release_on_cancel
        );
        assert!(parse(&[]).unwrap().common.leader_election_release_on_cancel);
    }

    #[test]
    fn a_feature_gate_is_as_it_was_set_last() {
        for (gates, expect) in [
            ("", false),
            ("Switch=true", true),
            ("Fixed=false, Switch = true", true),
            ("Switch=true,Switch=false", false),
        ] {
            let options = parse(&[&format!("--feature-gates={gates}")]).unwrap();
            assert_eq!(options.validate(), Ok(()), "{gates}");
            assert_eq!(options.common.is_enabled(&SWITCH), expect, "{gates}");
        }
        for gates in ["Fixed=true", "Other=true", "Switch=maybe"] {
            assert!(parse(&[&format!("--feature-gates={gates}")]).unwrap().validate().is_err(), "{gates}");
        }
    }

    #[test]
    fn common_flags_and_those_of_the_controller_are_all_validated() {
        let rejected = |flag: &str| parse(&[flag]).unwrap().validate().unwrap_err().to_string();
        assert_eq!(parse(&[]).unwrap().validate(), Ok(()));
        for flag in ["--concurrent=0", "--own-limit=0"] {
            assert_eq!(rejected(flag), format!("{} must be at least 1", flag.trim_end_matches("=0")));
        }
        for flag in ["--default-service-account=x", "--own-fixed=x"] {
            assert!(rejected(flag).starts_with(flag), "{flag}");
        }
    }

    #[test]
    fn help_and_version_are_printed_and_end_with_success() {
        for (flag, text) in [("--help", "Tests."), ("--version", env!("CARGO_PKG_VERSION"))] {
            let shown = parse(&[flag]).unwrap_err();
            assert_eq!(shown.exit_code(), 0);
            assert!(shown.to_string().contains(text), "{shown}");
        }
    }
}
