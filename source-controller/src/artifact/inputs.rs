//! The inputs of an artifact other than its revision: fields of the spec, revisions of other artifacts. The status records them
//! (`observedIgnore`, `observedInclude`, …); when one differs, the artifact is rebuilt. Pure.

use std::collections::BTreeMap;

use plumb_filetree::digest::sha256_hex;
use serde::Serialize;
use serde_json::{Map, Value};

/// Hexadecimal digits of a fingerprint.
const FINGERPRINT_DIGITS: usize = 8;

/// One input of an artifact.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The field of the status that notes it: `"observedIgnore"`. Or a key of the artifact's metadata.
    pub observed: &'static str,
    /// Which of them.
    noted_in: NotedIn,
    /// Where it comes from, as conditions name it: `"spec.ignore"`.
    pub origin: &'static str,
    /// The value; null where it is not set.
    pub value: Value,
}

/// Where an input is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotedIn {
    Status,
    ArtifactMetadata,
}

impl Input {
    /// An input. `false` and empty texts, lists and maps count as not set, as the API server does not keep them.
    pub fn new(observed: &'static str, origin: &'static str, value: impl Serialize) -> Self {
        // What cannot be written as JSON cannot have come from the API server.
        let value = serde_json::to_value(value).unwrap_or_default();
        let value = if is_unset(&value) { Value::Null } else { value };
        Self { observed, noted_in: NotedIn::Status, origin, value }
    }

    /// An input that Flux's status has no field for: the metadata of the artifact notes it.
    pub fn in_metadata(key: &'static str, origin: &'static str, value: Option<String>) -> Self {
        Self { noted_in: NotedIn::ArtifactMetadata, ..Self::new(key, origin, value) }
    }

    fn noted<'a>(&self, status: &'a Value) -> &'a Value {
        let noted = match self.noted_in {
            NotedIn::Status => status.get(self.observed),
            NotedIn::ArtifactMetadata => {
                let metadata = status.pointer("/artifact/metadata");
                metadata.and_then(|metadata| metadata.get(self.observed))
            }
        };
        noted.unwrap_or(&Value::Null)
    }
}

/// All inputs of an artifact other than its revision. Other fields of the status are ignored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs(pub Vec<Input>);

impl Inputs {
    /// The origin of the first input that differs from what the status notes.
    pub fn changed(&self, status: &Value) -> Option<&'static str> {
        let differs = |input: &&Input| {
            let noted = input.noted(status);
            if is_unset(noted) { !input.value.is_null() } else { *noted != input.value }
        };
        self.0.iter().find(differs).map(|input| input.origin)
    }

    /// A short name of the inputs that are set, for the name of a file; none where none is.
    pub fn fingerprint(&self) -> Option<String> {
        let set: Vec<_> = self.0.iter().filter(|input| !input.value.is_null()).collect();
        if set.is_empty() {
            return None;
        }
        let text: Vec<_> = set.iter().map(|input| format!("{}={}", input.observed, input.value)).collect();
        let digest = sha256_hex(text.join("\n").as_bytes());
        Some(digest.get(..FINGERPRINT_DIGITS).unwrap_or(&digest).to_owned())
    }

    /// The fields of the status, as a merge patch.
    pub(super) fn patch(&self) -> Map<String, Value> {
        let of_status = self.0.iter().filter(|input| input.noted_in == NotedIn::Status);
        of_status.map(|input| (input.observed.to_owned(), input.value.clone())).collect()
    }

    /// What the metadata of the artifact notes.
    pub(super) fn metadata(&self) -> BTreeMap<String, String> {
        let of_metadata = self.0.iter().filter(|input| input.noted_in == NotedIn::ArtifactMetadata);
        let text = |input: &Input| Some((input.observed.to_owned(), input.value.as_str()?.to_owned()));
        of_metadata.filter_map(text).collect()
    }
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn inputs(ignore: Value, include: Value) -> Inputs {
        Inputs(vec![
            Input::new("observedIgnore", "spec.ignore", ignore),
            Input::new("observedInclude", "spec.include", include),
        ])
    }

    #[test]
    fn the_first_input_that_differs_is_named_and_unset_equals_empty() {
        for (noted, now, expect) in [
            (json!({}), inputs(json!(null), json!([])), None),
            (json!({"observedIgnore": "", "observedInclude": []}), inputs(json!(null), json!(null)), None),
            (json!({"observedIgnore": "/a"}), inputs(json!("/a"), json!([])), None),
            (json!({"observedIgnore": "/a"}), inputs(json!("/b"), json!([])), Some("spec.ignore")),
            (json!({"observedIgnore": "/a"}), inputs(json!(null), json!([])), Some("spec.ignore")),
            (json!({}), inputs(json!(null), json!([{"repository": {"name": "r"}}])), Some("spec.include")),
            (json!({"observedOther": 1}), inputs(json!(null), json!(null)), None),
        ] {
            assert_eq!(now.changed(&noted), expect, "{noted} {now:?}");
        }
    }

    #[test]
    fn other_inputs_have_another_fingerprint_and_none_have_none() {
        let print = |ignore, include| inputs(ignore, include).fingerprint();
        assert_eq!(print(json!(null), json!([])), None);
        let some = print(json!("/a"), json!([])).unwrap();
        assert_eq!((some.len(), some), (8, print(json!("/a"), json!(null)).unwrap()));
        assert_ne!(print(json!("/a"), json!(null)), print(json!("/b"), json!(null)));
        assert_ne!(print(json!("/a"), json!(null)), print(json!(null), json!(["/a"])));
    }
}
