//! Kstatus: the rules that hold for every kind, then those of the built-in kinds.
//!
//! Order matters: deletion, then the generation, then the two standard conditions, then the kind; otherwise the object is current.

use jiff::Timestamp;
use plumb_manifests::Object;
use serde_json::Value;

use crate::builtin;
use crate::reading::conditions;
use crate::verdict::{Status, Verdict};

/// The health of a live object. `now` decides only how long a Pod may stay unschedulable.
pub fn assess(object: &Object, now: Timestamp) -> Verdict {
    if object.text(&["metadata", "deletionTimestamp"]).is_some_and(|time| !time.is_empty()) {
        return Verdict::new(Status::Terminating, "the object is being deleted");
    }
    unobserved(object)
        .or_else(|| standard(object))
        .or_else(|| builtin::assess(object, now))
        .unwrap_or_else(|| Verdict::current("nothing speaks against it"))
}

/// The status of an older generation does not describe this one.
fn unobserved(object: &Object) -> Option<Verdict> {
    let generation = object.at(&["metadata", "generation"]).and_then(Value::as_i64)?;
    let observed = object.at(&["status", "observedGeneration"]).and_then(Value::as_i64)?;
    (generation != observed).then(|| {
        Verdict::in_progress(format!(
            "the generation is {generation}, the last observed generation is {observed}"
        ))
    })
}

/// `Reconciling` and `Stalled` decide, where a controller uses them.
fn standard(object: &Object) -> Option<Verdict> {
    conditions(object).find_map(|condition| {
        if condition.is_true("Reconciling") {
            Some(Verdict::in_progress(condition.message))
        } else if condition.is_true("Stalled") {
            Some(Verdict::failed(condition.message))
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "callers write the JSON in place")]
    fn check(metadata: Value, status: Value, expect: Status) {
        let mut metadata = metadata;
        metadata["name"] = "x".into();
        let object =
            json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata, "status": status});
        let object = Object::new(object).unwrap();
        assert_eq!(assess(&object, Timestamp::UNIX_EPOCH).status, expect);
    }

    fn condition(type_: &str, status: &str) -> Value {
        json!({"type": type_, "status": status, "reason": "R", "message": "m"})
    }

    #[test]
    fn an_object_without_status_is_current() {
        check(json!({}), json!(null), Status::Current);
        check(json!({"generation": 2}), json!({}), Status::Current);
    }

    #[test]
    fn an_object_being_deleted_is_terminating_whatever_its_status() {
        let stalled = json!({"conditions": [condition("Stalled", "True")]});
        check(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}), stalled, Status::Terminating);
    }

    #[test]
    fn a_generation_that_no_controller_observed_is_in_progress() {
        check(json!({"generation": 2}), json!({"observedGeneration": 1}), Status::InProgress);
        check(json!({"generation": 2}), json!({"observedGeneration": 2}), Status::Current);
        let stale = json!({"observedGeneration": 1, "conditions": [condition("Stalled", "True")]});
        check(json!({"generation": 2}), stale, Status::InProgress);
    }

    #[test]
    fn the_standard_conditions_decide_where_they_are_true() {
        check(json!({}), json!({"conditions": [condition("Reconciling", "True")]}), Status::InProgress);
        check(json!({}), json!({"conditions": [condition("Stalled", "True")]}), Status::Failed);
        check(json!({}), json!({"conditions": [condition("Stalled", "False")]}), Status::Current);
    }

    #[test]
    fn a_false_ready_condition_alone_does_not_make_an_object_unhealthy() {
        check(json!({}), json!({"conditions": [condition("Ready", "False")]}), Status::Current);
    }

    #[test]
    fn conditions_of_an_unknown_shape_are_passed_over() {
        check(json!({}), json!({"conditions": "none"}), Status::Current);
        check(json!({}), json!({"conditions": [1, {"type": 3}]}), Status::Current);
    }
}
