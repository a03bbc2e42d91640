//! Hides what must not be printed: the data of Secrets, and what a Secret's last-applied annotation repeats of it.

use serde_json::Value;

/// Replaces a value.
pub const SENSITIVE: &str = "(sensitive)";

/// The annotation in which kubectl repeats the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A copy that is safe to print.
#[must_use]
pub fn hide(value: &Value) -> Value {
    let mut copy = value.clone();
    let is_core_secret = copy.get("kind").and_then(Value::as_str) == Some("Secret");
    if !is_core_secret {
        return copy;
    }
    for field in ["data", "stringData"] {
        match copy.get_mut(field) {
            Some(Value::Object(map)) => map.values_mut().for_each(|entry| *entry = SENSITIVE.into()),
            Some(Value::Null) | None => {}
            Some(other) => *other = SENSITIVE.into(),
        }
    }
    let annotations = copy.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"));
    if let Some(text) = annotations.and_then(|map| map.get_mut(LAST_APPLIED)) {
        *text = SENSITIVE.into();
    }
    copy
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secret_values_are_hidden_and_keys_stay() {
        let secret = json!({"kind": "Secret", "data": {"a": "x"}, "stringData": "odd",
            "metadata": {"annotations": {LAST_APPLIED: "{\"data\":…}", "b": "c"}}});
        let expect = json!({"kind": "Secret", "data": {"a": SENSITIVE}, "stringData": SENSITIVE,
            "metadata": {"annotations": {LAST_APPLIED: SENSITIVE, "b": "c"}}});
        assert_eq!(hide(&secret), expect);
    }

    #[test]
    fn other_kinds_are_unchanged() {
        let object = json!({"kind": "ConfigMap", "data": {"a": "x"}});
        assert_eq!(hide(&object), object);
    }
}
