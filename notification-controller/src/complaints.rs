//! What is wrong with Alerts and Providers. They have no status, so it is told by an event, once per generation. Pure:
//! the sending never enters.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use plumb_alerting::rule::BadPattern;
use plumb_alerting::validate::Unsupported;
use plumb_status::{Classify as _, Detail, Reason, chain};

/// How many objects are remembered; beyond that the memory starts anew, and something may be told twice.
const REMEMBERED_MAX: usize = 16_384;
/// How many patterns of one Alert are told of.
const PATTERNS_TOLD_MAX: usize = 5;

/// Which generation of which object was told of last.
#[derive(Default)]
pub struct Complaints(Mutex<BTreeMap<String, i64>>);

impl Complaints {
    /// Whether this generation of the object is still to be told of; from now on it is not.
    pub fn are_due(&self, uid: &str, generation: i64) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.get(uid) == Some(&generation) {
            return false;
        }
        if told.len() >= REMEMBERED_MAX {
            told.clear();
        }
        told.insert(uid.to_owned(), generation);
        true
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

/// What is told of an Alert.
pub fn of_alert(judged: &Result<Vec<BadPattern>, Unsupported>) -> Vec<Detail> {
    match judged {
        Err(unsupported) => vec![of_field(unsupported)],
        Ok(bad) => {
            let texts = bad.iter().take(PATTERNS_TOLD_MAX).map(|bad| chain(bad));
            texts.map(|text| Detail::new(Reason::InvalidConfig, text)).collect()
        }
    }
}

/// What is told of a Provider.
pub fn of_provider(judged: &Result<(), Unsupported>) -> Vec<Detail> {
    judged.as_ref().err().map(of_field).into_iter().collect()
}

fn of_field(unsupported: &Unsupported) -> Detail {
    Detail::new(unsupported.reason(), unsupported.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::directory::Directory;
    use crate::stage::{alert, provider};

    #[test]
    fn a_generation_is_told_of_once() {
        let complaints = Complaints::default();
        assert!(complaints.are_due("u", 1));
        assert!(!complaints.are_due("u", 1));
        assert!(complaints.are_due("v", 1));
        assert!(complaints.are_due("u", 2));
        complaints.forget("u");
        assert!(complaints.are_due("u", 2));
    }

    #[test]
    fn an_alert_is_told_of_by_field_or_by_pattern() {
        let directory = Directory::default();
        let told = |spec| {
            let details = of_alert(&directory.put_alert(&alert("a", spec)));
            details.iter().map(|detail| format!("{}: {}", detail.reason, detail.message)).collect::<Vec<_>>()
        };
        let source = json!([{ "kind": "Bucket", "name": "*" }]);
        let labelled = json!([{ "kind": "Bucket", "name": "*", "matchLabels": { "a": "b" } }]);
        let reference = json!({ "name": "p" });
        assert_eq!(told(json!({ "providerRef": reference, "eventSources": source })), [""; 0]);
        let field =
            "UnsupportedField: spec.eventSources[0].matchLabels is not supported by this version of Plumb";
        assert_eq!(told(json!({ "providerRef": reference, "eventSources": labelled })), [field]);
        let pattern = "InvalidConfig: failed to compile exclusion regex: (: unclosed group";
        assert_eq!(
            told(json!({ "providerRef": reference, "eventSources": source, "exclusionList": ["("] })),
            [pattern]
        );
    }

    #[test]
    fn a_provider_is_told_of_by_field() {
        let judged = Directory::default().put_provider(&provider("p", json!({ "type": "discord" })));
        let details = of_provider(&judged);
        let text = "spec.type is not supported by this version of Plumb: \"discord\"";
        assert_eq!(details, [Detail::new(Reason::UnsupportedField, text)]);
    }
}
