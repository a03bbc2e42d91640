//! Pod: ready or done is current; a crash loop is failed; unschedulable is failed after a while.

use jiff::{SignedDuration, Timestamp};
use plumb_manifests::Object;
use serde_json::Value;

use crate::reading::{conditions, text};
use crate::verdict::Verdict;

/// How long a Pod may stay unschedulable before it counts as failed.
const SCHEDULE_WINDOW: SignedDuration = SignedDuration::from_secs(15);

pub fn assess(object: &Object, now: Timestamp) -> Verdict {
    match object.text(&["status", "phase"]).unwrap_or_default() {
        "Succeeded" => Verdict::current("the Pod has completed"),
        "Failed" => Verdict::current("the Pod has ended without success"),
        "Running" => running(object),
        "Pending" => pending(object, now),
        "" => Verdict::in_progress("the Pod has no phase yet"),
        phase => Verdict::unknown(format!("the Pod's phase {phase} is not known")),
    }
}

fn running(object: &Object) -> Verdict {
    if conditions(object).any(|condition| condition.is_true("Ready")) {
        return Verdict::current("the Pod is ready");
    }
    let looping = crash_looping(object);
    if looping.is_empty() {
        Verdict::in_progress("the Pod is running, but not ready")
    } else {
        Verdict::failed(format!("containers in a crash loop: {}", looping.join(", ")))
    }
}

fn pending(object: &Object, now: Timestamp) -> Verdict {
    let unschedulable = conditions(object)
        .any(|condition| condition.is_false("PodScheduled") && condition.reason == "Unschedulable");
    if !unschedulable {
        return Verdict::in_progress("the Pod is pending");
    }
    let created: Option<Timestamp> =
        object.text(&["metadata", "creationTimestamp"]).and_then(|time| time.parse().ok());
    let fails_at = created.and_then(|created| created.checked_add(SCHEDULE_WINDOW).ok());
    match fails_at {
        Some(fails_at) if now < fails_at => {
            Verdict { fails_at: Some(fails_at), ..Verdict::in_progress("the Pod has not been scheduled") }
        }
        Some(_) | None => Verdict::failed("the Pod could not be scheduled"),
    }
}

fn crash_looping(object: &Object) -> Vec<&str> {
    let statuses = object.at(&["status", "containerStatuses"]).and_then(Value::as_array);
    statuses
        .into_iter()
        .flatten()
        .filter(|status| {
            status.pointer("/state/waiting/reason").and_then(Value::as_str) == Some("CrashLoopBackOff")
        })
        .map(|status| text(status, "name"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::verdict::Status;

    #[expect(clippy::needless_pass_by_value, reason = "callers write the JSON in place")]
    fn pod(status: Value) -> Object {
        let metadata = json!({"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"});
        Object::new(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}))
            .unwrap()
    }

    #[track_caller]
    fn check(status: Value, expect: Status) {
        assert_eq!(assess(&pod(status), "2026-01-01T00:00:10Z".parse().unwrap()).status, expect);
    }

    #[test]
    fn the_phase_decides() {
        check(json!({}), Status::InProgress);
        check(json!({"phase": "Pending"}), Status::InProgress);
        check(json!({"phase": "Running"}), Status::InProgress);
        check(json!({"phase": "Succeeded"}), Status::Current);
        check(json!({"phase": "Failed"}), Status::Current);
        check(json!({"phase": "Lost"}), Status::Unknown);
        check(
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}),
            Status::Current,
        );
    }

    #[test]
    fn a_crash_loop_is_a_failure_that_names_its_containers() {
        let waiting = json!({"name": "web", "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
        let fine = json!({"name": "log", "state": {"running": {}}});
        let verdict = assess(
            &pod(json!({"phase": "Running", "containerStatuses": [fine, waiting]})),
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(verdict, Verdict::failed("containers in a crash loop: web"));
    }

    #[test]
    fn an_unschedulable_pod_fails_after_a_while() {
        let status = json!({
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}],
        });
        let early = assess(&pod(status.clone()), "2026-01-01T00:00:10Z".parse().unwrap());
        assert_eq!(early.status, Status::InProgress);
        assert_eq!(early.fails_at, Some("2026-01-01T00:00:15Z".parse().unwrap()));
        let late = assess(&pod(status), "2026-01-01T00:00:15Z".parse().unwrap());
        assert_eq!((late.status, late.fails_at), (Status::Failed, None));
    }
}
