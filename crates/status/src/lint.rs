//! Invariants of a finished status. Tests run them over every summary and over every live status; nothing is
//! repaired here.

use crate::condition::{READY, RECONCILING, STALLED};
use crate::message::CONDITION_BYTES_MAX;
use crate::{Condition, ConditionStatus, ConditionType, Polarity, Reason, Status};

/// The most bytes of a reason.
const REASON_BYTES_MAX: usize = 1024;

/// Which invariants the status breaks; empty when it is sound.
pub fn breaches<C: ConditionType>(generation: i64, status: &Status) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut must = |holds: bool, rule: &'static str| {
        if !holds {
            found.push(rule);
        }
    };
    let ready = status.ready();
    let reconciling = status.condition(RECONCILING);
    let stalled = status.condition(STALLED);
    must(once::<C>(status), "each condition stands at most once");
    must(
        ready.is_some() || (reconciling.is_none() && stalled.is_none()),
        "Ready stands beside its companions",
    );
    must(ready.is_none() || status.conditions[0].type_ == READY, "Ready comes first");
    must(is_true_or_absent(reconciling), "Reconciling is True or absent");
    must(is_true_or_absent(stalled), "Stalled is True or absent");
    match ready.map(|ready| ready.status) {
        Some(ConditionStatus::True) => {
            must(
                reconciling.is_none() && stalled.is_none(),
                "Ready=True stands without Reconciling and Stalled",
            );
            let said = ready.and_then(|ready| ready.observed_generation);
            must(
                said == Some(status.observed_generation),
                "Ready=True and the status observe the same generation",
            );
            must(healthy::<C>(status), "Ready=True stands on healthy conditions");
        }
        Some(ConditionStatus::False) => {
            must(reconciling.is_some() != stalled.is_some(), "Ready=False has either Reconciling or Stalled");
            must(
                reconciling.is_none_or(|r| r.reason == Reason::ProgressingWithRetry.as_str()),
                "beside Ready=False, Reconciling is ProgressingWithRetry",
            );
        }
        Some(ConditionStatus::Unknown) => {
            must(reconciling.is_some() && stalled.is_none(), "Ready=Unknown stands with Reconciling");
        }
        None => {}
    }
    if let Some(stalled) = stalled {
        must(
            stalled.observed_generation == Some(status.observed_generation),
            "Stalled advances the generation",
        );
        must(ready.is_some_and(|r| r.reason == stalled.reason), "Stalled and Ready give one reason");
    }
    must(status.observed_generation <= generation, "no generation from the future is observed");
    for condition in status.conditions.iter().filter(|condition| is_ours::<C>(condition)) {
        must(
            condition.observed_generation.is_some_and(|seen| seen <= generation),
            "conditions name a generation",
        );
        must(is_reason(&condition.reason), "reasons are words in camel case");
        must(condition.message.len() <= CONDITION_BYTES_MAX, "messages fit");
        must(condition.last_transition_time.subsec_nanosecond() == 0, "times are whole seconds");
    }
    for type_ in C::ALL.iter().filter(|type_| type_.polarity() == Polarity::Negative) {
        must(is_true_or_absent(status.condition(type_.as_str())), "negative conditions are True or absent");
    }
    found
}

fn is_ours<C: ConditionType>(condition: &Condition) -> bool {
    [READY, RECONCILING, STALLED].contains(&condition.type_.as_str())
        || C::ALL.iter().any(|type_| type_.as_str() == condition.type_)
}

fn once<C: ConditionType>(status: &Status) -> bool {
    let ours: Vec<_> = status.conditions.iter().filter(|c| is_ours::<C>(c)).map(|c| &c.type_).collect();
    ours.iter().enumerate().all(|(at, type_)| !ours[..at].contains(type_))
}

fn healthy<C: ConditionType>(status: &Status) -> bool {
    C::ALL.iter().filter(|type_| type_.affects_ready()).all(|type_| {
        let stands = status.condition(type_.as_str());
        match type_.polarity() {
            Polarity::Positive => is_true_or_absent(stands),
            Polarity::Negative => stands.is_none(),
        }
    })
}

fn is_true_or_absent(condition: Option<&Condition>) -> bool {
    condition.is_none_or(Condition::is_true)
}

fn is_reason(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty()
        && text.len() <= REASON_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.ends_with(inner)
        && text.chars().all(|c| inner(c) || c == ',' || c == ':')
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    crate::condition_types! {
        enum Fetcher {
            FetchFailed = Negative,
        }
    }

    fn status(conditions: &[(&str, ConditionStatus, &str)]) -> Status {
        let condition = |(type_, status, reason): &(&str, ConditionStatus, &str)| Condition {
            type_: (*type_).to_owned(),
            status: *status,
            observed_generation: Some(2),
            last_transition_time: Timestamp::UNIX_EPOCH,
            reason: (*reason).to_owned(),
            message: String::new(),
        };
        let conditions = conditions.iter().map(condition).collect();
        Status { conditions, observed_generation: 2, last_handled_reconcile_at: None }
    }

    #[track_caller]
    fn check(conditions: &[(&str, ConditionStatus, &str)], expect: &[&str]) {
        assert_eq!(breaches::<Fetcher>(2, &status(conditions)), expect);
    }

    #[test]
    fn a_sound_status_has_no_breach() {
        check(&[(READY, ConditionStatus::True, "Succeeded")], &[]);
        let failed = "ReconciliationFailed";
        check(&[(READY, ConditionStatus::False, failed), (STALLED, ConditionStatus::True, failed)], &[]);
    }

    #[test]
    fn ready_beside_a_bad_condition_is_a_breach() {
        check(
            &[
                (READY, ConditionStatus::True, "Succeeded"),
                ("FetchFailed", ConditionStatus::True, "GitOperationFailed"),
            ],
            &["Ready=True stands on healthy conditions"],
        );
    }

    #[test]
    fn ready_beside_its_companions_and_a_failure_without_one_are_breaches() {
        check(
            &[
                (READY, ConditionStatus::True, "Succeeded"),
                (RECONCILING, ConditionStatus::True, "Progressing"),
            ],
            &["Ready=True stands without Reconciling and Stalled"],
        );
        check(
            &[(READY, ConditionStatus::False, "ReconciliationFailed")],
            &["Ready=False has either Reconciling or Stalled"],
        );
    }

    #[test]
    fn a_generation_from_the_future_is_a_breach() {
        let found = breaches::<Fetcher>(1, &status(&[(READY, ConditionStatus::True, "Succeeded")]));
        assert_eq!(found, ["no generation from the future is observed", "conditions name a generation"]);
    }
}
