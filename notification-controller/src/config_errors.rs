//! What is wrong with Alerts and Providers. They have no status, so it is reported by an event, once per generation. Pure:
//! the sending never enters.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use plumb_alerting::rule::BadPattern;
use plumb_runtime::ReportedGenerations;
use plumb_status::{Detail, Reason, UnsupportedFields, chain};

/// How many objects wait to be reported by a process that does not lead. Beyond that one is dropped for each that is added.
const WAITING_MAX: usize = 16_384;
/// How many patterns of one Alert are reported.
const PATTERNS_TOLD_MAX: usize = 5;

/// The generation of each object that was reported last, and what is to be reported once this process leads.
pub struct ReportedErrors<C>(Mutex<State<C>>);

struct State<C> {
    leads: bool,
    reported: ReportedGenerations,
    waiting: BTreeMap<String, (i64, C)>,
}

impl<C> Default for ReportedErrors<C> {
    fn default() -> Self {
        Self(Mutex::new(State {
            leads: false,
            reported: ReportedGenerations::default(),
            waiting: BTreeMap::new(),
        }))
    }
}

impl<C> ReportedErrors<C> {
    /// Takes what is wrong with this generation of an object, and gives it back if it is to be reported now.
    pub fn note(&self, uid: &str, generation: i64, error: C) -> Option<C> {
        let mut state = self.state();
        if !state.leads {
            if state.waiting.len() >= WAITING_MAX && !state.waiting.contains_key(uid) {
                state.waiting.pop_first();
            }
            state.waiting.insert(uid.to_owned(), (generation, error));
            return None;
        }
        state.reported.insert(uid, generation).then_some(error)
    }

    /// Nothing is wrong with an object any more.
    pub fn settle(&self, uid: &str) {
        self.state().waiting.remove(uid);
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        let mut state = self.state();
        state.waiting.remove(uid);
        state.reported.remove(uid);
    }

    /// This process leads from now on: what is to be reported.
    pub fn lead(&self) -> Vec<C> {
        let mut state = self.state();
        state.leads = true;
        let waiting = std::mem::take(&mut state.waiting);
        let due = waiting.into_iter().filter_map(|(uid, (generation, error))| {
            state.reported.insert(&uid, generation).then_some(error)
        });
        due.collect()
    }

    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is reported of an Alert.
pub fn of_alert(judged: &Result<Vec<BadPattern>, UnsupportedFields>) -> Vec<Detail> {
    match judged {
        Err(unsupported) => vec![Detail::of(unsupported)],
        Ok(bad) => {
            let texts = bad.iter().take(PATTERNS_TOLD_MAX).map(|bad| chain(bad));
            texts.map(|text| Detail::new(Reason::InvalidConfig, text)).collect()
        }
    }
}

/// What is reported of a Provider.
pub fn of_provider(judged: &Result<(), UnsupportedFields>) -> Vec<Detail> {
    judged.as_ref().err().map(Detail::of).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::directory::Directory;
    use crate::harness::{alert, provider};

    #[test]
    fn a_generation_is_reported_once() {
        let errors = ReportedErrors::default();
        assert_eq!(errors.lead(), [""; 0]);
        assert_eq!(errors.note("u", 1, "a"), Some("a"));
        assert_eq!(errors.note("u", 1, "a"), None);
        assert_eq!(errors.note("v", 1, "b"), Some("b"));
        assert_eq!(errors.note("u", 2, "c"), Some("c"));
        errors.forget("u");
        assert_eq!(errors.note("u", 2, "c"), Some("c"));
    }

    #[test]
    fn who_does_not_lead_keeps_the_newest_word_until_it_does() {
        let errors = ReportedErrors::default();
        for (uid, generation, text) in [("u", 1, "old"), ("u", 2, "new"), ("fine", 1, "x"), ("gone", 1, "y")]
        {
            assert_eq!(errors.note(uid, generation, text), None);
        }
        errors.settle("fine");
        errors.forget("gone");
        assert_eq!(errors.lead(), ["new"]);
        assert_eq!(errors.note("u", 2, "new"), None);
        assert_eq!(errors.lead(), [""; 0]);
    }

    #[test]
    fn an_alert_is_reported_by_field_or_by_pattern() {
        let directory = Directory::default();
        let reported = |spec| {
            let details = of_alert(&directory.put_alert(&alert("a", spec)));
            details.iter().map(|detail| format!("{}: {}", detail.reason, detail.message)).collect::<Vec<_>>()
        };
        let source = json!([{ "kind": "Bucket", "name": "*" }]);
        let labelled = json!([{ "kind": "Bucket", "name": "*", "matchLabels": { "a": "b" } }]);
        let reference = json!({ "name": "p" });
        assert_eq!(reported(json!({ "providerRef": reference, "eventSources": source })), [""; 0]);
        let field = "UnsupportedField: spec.eventSources[0].matchLabels is not supported by this version of Plumb (remove the field)";
        assert_eq!(reported(json!({ "providerRef": reference, "eventSources": labelled })), [field]);
        let pattern = "InvalidConfig: failed to compile exclusion regex: (: unclosed group";
        assert_eq!(
            reported(json!({ "providerRef": reference, "eventSources": source, "exclusionList": ["("] })),
            [pattern]
        );
    }

    #[test]
    fn a_provider_is_reported_by_field() {
        let judged = Directory::default().put_provider(&provider("p", json!({ "type": "discord" })));
        let details = of_provider(&judged);
        let text = "spec.type \"discord\" is not supported by this version of Plumb (spec.type: use generic, \
                    generic-hmac, slack)";
        assert_eq!(details, [Detail::new(Reason::UnsupportedField, text)]);
    }
}
