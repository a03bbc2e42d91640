//! Definition: a CustomResourceDefinition is there once it is established, and failed when its names are taken.

use plumb_manifests::Object;

use crate::reading::conditions;
use crate::verdict::Verdict;

pub fn assess(object: &Object) -> Verdict {
    for condition in conditions(object) {
        if condition.is_false("NamesAccepted") {
            return Verdict::failed(condition.message);
        }
        // A definition that is still installing has Established=False with this reason.
        if condition.is_false("Established") && condition.reason != "Installing" {
            return Verdict::failed(condition.message);
        }
        if condition.is_true("Established") {
            return Verdict::current("the definition is established");
        }
    }
    Verdict::in_progress("the definition is being installed")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::verdict::Status;

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "callers write the JSON in place")]
    fn check(conditions: Value, expect: Status) {
        let object = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "x"},
            "status": {"conditions": conditions},
        });
        assert_eq!(assess(&Object::new(object).unwrap()).status, expect);
    }

    #[test]
    fn a_definition_is_current_when_established_and_failed_when_its_names_are_taken() {
        let condition = |type_: &str, status: &str, reason: &str| json!({"type": type_, "status": status, "reason": reason});
        check(json!([]), Status::InProgress);
        check(json!([condition("Established", "False", "Installing")]), Status::InProgress);
        check(json!([condition("Established", "False", "NotAccepted")]), Status::Failed);
        check(json!([condition("NamesAccepted", "False", "MultipleNamesNotAllowed")]), Status::Failed);
        check(
            json!([
                condition("NamesAccepted", "True", "NoConflicts"),
                condition("Established", "True", "InitialNamesAccepted")
            ]),
            Status::Current,
        );
    }
}
