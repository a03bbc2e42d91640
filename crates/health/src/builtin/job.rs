//! Job: current once it is complete (or suspended on purpose), not once it runs. This is Flux's rule, not kstatus's.

use plumb_manifests::Object;

use crate::reading::{conditions, number};
use crate::verdict::Verdict;

pub fn assess(object: &Object) -> Verdict {
    let parallelism = number(object, &["spec", "parallelism"], 1);
    let completions = number(object, &["spec", "completions"], parallelism);
    let count = |key: &str| number(object, &["status", key], 0);
    for condition in conditions(object) {
        if condition.is_true("Complete") {
            return Verdict::current(format!(
                "Job completed, succeeded: {}/{completions}",
                count("succeeded")
            ));
        }
        if condition.is_true("Failed") {
            return Verdict::failed(format!("Job failed, failed: {}/{completions}", count("failed")));
        }
        if condition.is_true("Suspended") {
            return Verdict::current("Job is suspended");
        }
    }
    Verdict::in_progress(format!("Job in progress, active: {}", count("active")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::verdict::Status;

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "callers write the JSON in place")]
    fn check(status: Value, expect: Status, message: &str) {
        let object = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"},
            "spec": {"completions": 2}, "status": status,
        });
        let verdict = assess(&Object::new(object).unwrap());
        assert_eq!((verdict.status, verdict.message.as_str()), (expect, message));
    }

    #[test]
    fn a_job_is_current_when_it_is_done_and_not_when_it_runs() {
        let done = |type_: &str| json!([{"type": type_, "status": "True"}]);
        check(json!({}), Status::InProgress, "Job in progress, active: 0");
        check(json!({"active": 1, "startTime": "t"}), Status::InProgress, "Job in progress, active: 1");
        check(
            json!({"conditions": done("Complete"), "succeeded": 2}),
            Status::Current,
            "Job completed, succeeded: 2/2",
        );
        check(json!({"conditions": done("Failed"), "failed": 1}), Status::Failed, "Job failed, failed: 1/2");
        check(json!({"conditions": done("Suspended")}), Status::Current, "Job is suspended");
        let undone = json!([{"type": "Complete", "status": "False"}]);
        check(json!({"conditions": undone}), Status::InProgress, "Job in progress, active: 0");
    }
}
