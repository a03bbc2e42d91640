//! Claim: a PersistentVolumeClaim is there once it is bound.

use plumb_manifests::Object;

use crate::verdict::Verdict;

pub fn assess(object: &Object) -> Verdict {
    match object.text(&["status", "phase"]) {
        Some("Bound") => Verdict::current("the claim is bound"),
        phase => Verdict::in_progress(format!(
            "the claim is not bound, its phase is {}",
            phase.unwrap_or("unknown")
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::verdict::Status;

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "callers write the JSON in place")]
    fn check(status: serde_json::Value, expect: Status) {
        let object = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "x"}, "status": status});
        assert_eq!(assess(&Object::new(object).unwrap()).status, expect);
    }

    #[test]
    fn a_claim_is_current_only_when_it_is_bound() {
        check(json!({"phase": "Bound"}), Status::Current);
        check(json!({"phase": "Pending"}), Status::InProgress);
        check(json!({}), Status::InProgress);
    }
}
