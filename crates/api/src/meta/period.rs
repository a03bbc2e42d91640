//! The periods of a spec, each held in a range: the one place where a value that would spin or never end becomes one
//! that can be used. The ranges themselves stand in `plumb_status::cadence`.

use plumb_status::cadence::PeriodRange;

use super::GoDuration;

/// A period that a spec sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    field: &'static str,
    set: GoDuration,
    range: PeriodRange,
}

impl Period {
    /// The field as people write it (`spec.interval`), its value, and the range that it is held in.
    pub const fn new(field: &'static str, set: GoDuration, range: PeriodRange) -> Self {
        Self { field, set, range }
    }

    /// The period that is used: the nearest one inside the range.
    pub fn effective(self) -> GoDuration {
        self.range.clamp(self.set.to_std()).into()
    }

    /// What to say where another period is used than the one that is set.
    pub fn warning(self) -> Option<String> {
        let Self { field, set, range } = self;
        let used = self.effective();
        if used == set {
            return None;
        }
        let (side, bound) = if set < used { ("below", "minimum") } else { ("above", "maximum") };
        let limit = GoDuration::from(if set < used { range.min } else { range.max });
        Some(format!("{field}: {set} is {side} the {bound} of {limit}; {used} is used"))
    }
}

/// An object whose spec sets periods.
pub trait Periods {
    /// The periods that are set; those that are left to their default are not among them.
    fn periods(&self) -> Vec<Period>;
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "the values of a case are written in place")]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::kustomize::Kustomization;
    use crate::meta::Reconciled;
    use crate::notification::{Provider, Receiver};
    use crate::source::GitRepository;

    /// Values that would spin, fail at once, or overflow a timer.
    const HOSTILE: [&str; 6] =
        ["0s", "-1s", "-9223372036854775808ns", "1ns", "999ms", "9223372036854775807ns"];

    const MIN: GoDuration = GoDuration::from_secs(1);

    fn max(range: PeriodRange) -> GoDuration {
        range.max.into()
    }

    fn read<O: serde::de::DeserializeOwned>(kind: &str, spec: Value) -> O {
        let object = json!({
            "apiVersion": "v1", "kind": kind, "metadata": { "name": "a", "namespace": "apps" }, "spec": spec
        });
        serde_json::from_value(object).unwrap()
    }

    fn kustomization(periods: Value) -> Kustomization {
        let mut spec = json!({
            "prune": true, "interval": "1m", "sourceRef": { "kind": "GitRepository", "name": "a" }
        });
        spec.as_object_mut().unwrap().extend(periods.as_object().unwrap().clone());
        read("Kustomization", spec)
    }

    fn repository(periods: Value) -> GitRepository {
        let mut spec = json!({ "url": "https://git.example/a", "interval": "1m" });
        spec.as_object_mut().unwrap().extend(periods.as_object().unwrap().clone());
        read("GitRepository", spec)
    }

    fn warnings(object: &impl Periods) -> Vec<String> {
        object.periods().into_iter().filter_map(Period::warning).collect()
    }

    #[track_caller]
    fn held(period: GoDuration, range: PeriodRange) {
        assert!(period.to_std() >= range.min && period.to_std() <= range.max, "{period}");
    }

    #[test]
    fn every_interval_of_every_kind_is_held_in_its_range_and_reported() {
        for hostile in HOSTILE {
            let repository = repository(json!({ "interval": hostile }));
            let kustomization = kustomization(json!({ "interval": hostile, "retryInterval": hostile }));
            let receiver: Receiver =
                read("Receiver", json!({ "type": "generic", "resources": [], "interval": hostile }));
            held(repository.interval().unwrap(), PeriodRange::REQUEUE);
            held(kustomization.interval().unwrap(), PeriodRange::REQUEUE);
            held(kustomization.spec.effective_retry_interval(), PeriodRange::REQUEUE);
            held(receiver.interval().unwrap(), PeriodRange::REQUEUE);
            assert_eq!(warnings(&repository).len(), 1, "{hostile}");
            assert_eq!(warnings(&kustomization).len(), 2, "{hostile}");
            assert_eq!(warnings(&receiver).len(), 1, "{hostile}");
        }
    }

    #[test]
    fn every_timeout_of_every_kind_is_held_in_its_range_and_reported() {
        for hostile in HOSTILE {
            let repository = repository(json!({ "timeout": hostile }));
            let kustomization = kustomization(json!({ "timeout": hostile }));
            let provider: Provider = read("Provider", json!({ "type": "generic", "timeout": hostile }));
            held(repository.spec.effective_timeout(), PeriodRange::SOURCE_TIMEOUT);
            held(kustomization.spec.effective_timeout(), PeriodRange::HEALTH_TIMEOUT);
            held(provider.spec.effective_timeout(), PeriodRange::PROVIDER_TIMEOUT);
            assert_eq!(warnings(&repository).len(), 1, "{hostile}");
            assert_eq!(warnings(&kustomization).len(), 1, "{hostile}");
            assert_eq!(warnings(&provider).len(), 1, "{hostile}");
        }
    }

    #[test]
    fn a_timeout_that_follows_from_a_hostile_interval_is_held_too() {
        for hostile in HOSTILE {
            let object = kustomization(json!({ "interval": hostile }));
            held(object.spec.effective_timeout(), PeriodRange::HEALTH_TIMEOUT);
        }
    }

    #[test]
    fn a_period_inside_its_range_is_used_as_it_is_and_not_reported() {
        let object = kustomization(json!({ "interval": "1s", "retryInterval": "90s", "timeout": "24h" }));
        assert_eq!(object.spec.effective_interval(), MIN);
        assert_eq!(object.spec.effective_retry_interval(), GoDuration::from_secs(90));
        assert_eq!(object.spec.effective_timeout(), max(PeriodRange::HEALTH_TIMEOUT));
        assert_eq!(warnings(&object), Vec::<String>::new());
        assert_eq!(warnings(&repository(json!({ "timeout": "60m" }))), Vec::<String>::new());
    }

    #[test]
    fn a_report_names_the_field_the_value_the_limit_and_what_is_used() {
        assert_eq!(
            warnings(&kustomization(json!({ "interval": "0s", "timeout": "25h" }))),
            [
                "spec.interval: 0s is below the minimum of 1s; 1s is used",
                "spec.timeout: 25h0m0s is above the maximum of 24h0m0s; 24h0m0s is used",
            ]
        );
    }
}
