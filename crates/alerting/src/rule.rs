//! An Alert as a rule that events are held against: its patterns compiled, its references resolved. The sending never
//! enters.

use std::collections::BTreeMap;

use plumb_api::event::{Event, Severity};
use plumb_api::meta::NamespacedName;
use plumb_api::notification::{ANY_NAME, AlertSeverity, AlertSpec, EventSource};
use plumb_status::UnsupportedFields;

use crate::incoming::{involved, strip_internal};
use crate::metadata::{Conflict, merge};
use crate::pattern::{Pattern, PatternError};
use crate::validate;

/// How many patterns each list of an Alert may have.
pub const PATTERNS_MAX: usize = 256;

/// Whether Alerts may forward events of objects in other namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrossNamespace {
    /// They may.
    Allowed,
    /// They may not.
    Blocked,
}

/// An Alert that events are held against.
#[derive(Debug, Clone)]
pub struct Rule {
    alert: NamespacedName,
    provider: String,
    suspended: bool,
    severity: AlertSeverity,
    sources: Vec<Source>,
    inclusion: Option<Vec<Pattern>>,
    exclusion: Vec<Pattern>,
    event_metadata: BTreeMap<String, String>,
    summary: String,
}

#[derive(Debug, Clone)]
struct Source {
    kind: &'static str,
    namespace: String,
    /// None for all.
    name: Option<String>,
}

/// A pattern of an Alert that cannot be used: the others still are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// It does not compile.
    #[error("failed to compile {list} regex: {pattern}")]
    Refused {
        /// `inclusion` or `exclusion`.
        list: &'static str,
        /// The pattern.
        pattern: String,
        /// Why.
        #[source]
        source: PatternError,
    },
    /// There is no memory for it.
    #[error("{list} regex {pattern}: no memory for it or for those after it: {why}")]
    OverBudget {
        /// `inclusion` or `exclusion`.
        list: &'static str,
        /// The pattern.
        pattern: String,
        /// Which limit.
        why: String,
    },
    /// The list is longer than allowed.
    #[error("the {list} list has more than {PATTERNS_MAX} patterns: the first {PATTERNS_MAX} count")]
    TooMany {
        /// `inclusion` or `exclusion`.
        list: &'static str,
    },
}

/// What an event and a rule have to do with each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Unmatched,
    /// The rule matches an event of another namespace, which is not allowed. The text says so.
    Blocked(String),
    /// The event is to be sent.
    Matched(Box<Delivery>),
}

/// An event that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// For which Alert.
    pub alert: NamespacedName,
    /// To which Provider of the Alert's namespace.
    pub provider: String,
    /// The event, with the metadata of the Alert.
    pub event: Event,
    /// Keys of the metadata that were set more than once.
    pub conflicts: Vec<Conflict>,
}

/// Counts the bytes of a compiled pattern in a budget, or says why there is no room.
pub type Charge<'a> = &'a mut dyn FnMut(u64) -> Result<(), String>;

impl Rule {
    /// The rule of an Alert, and the patterns that it has to do without. An Alert that sets something that is not
    /// honoured makes no rule. `charge` counts what the rule keeps for as long as it lives. It can take long: not for a
    /// thread that others wait for.
    pub fn compile(
        alert: NamespacedName,
        spec: &AlertSpec,
        charge: Charge<'_>,
    ) -> Result<(Self, Vec<BadPattern>), UnsupportedFields> {
        validate::alert(spec)?;
        let mut bad = Vec::new();
        let inclusion = compile("inclusion", &spec.inclusion_list, charge, &mut bad);
        let rule = Self {
            provider: spec.provider_ref.name.clone(),
            suspended: spec.suspend,
            severity: spec.event_severity,
            sources: spec.event_sources.iter().map(|source| Source::of(source, &alert.namespace)).collect(),
            inclusion: (!spec.inclusion_list.is_empty()).then_some(inclusion),
            exclusion: compile("exclusion", &spec.exclusion_list, charge, &mut bad),
            event_metadata: spec.event_metadata.clone(),
            summary: spec.summary.clone().unwrap_or_default(),
            alert,
        };
        Ok((rule, bad))
    }

    /// The Alert that the rule is made of.
    pub fn alert(&self) -> &NamespacedName {
        &self.alert
    }

    /// The name of the Provider, in the namespace of the Alert.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Whether the rule is about the object and the severity of an event; patterns are not looked at.
    pub fn concerns(&self, event: &Event) -> bool {
        !self.suspended && self.is_about(event)
    }

    /// Whether messages are held against patterns, which can take long.
    pub fn has_patterns(&self) -> bool {
        self.inclusion.as_ref().is_some_and(|patterns| !patterns.is_empty()) || !self.exclusion.is_empty()
    }

    /// Holds an event, as it is after [`clean`](crate::incoming::clean), against the rule.
    pub fn judge(&self, event: &Event, cross_namespace: CrossNamespace) -> Verdict {
        if !self.concerns(event) || !self.is_reported(&event.message) {
            return Verdict::Unmatched;
        }
        if cross_namespace == CrossNamespace::Blocked
            && event.involved_object.namespace != self.alert.namespace
        {
            let object = involved(event);
            return Verdict::Blocked(format!(
                "alert '{}' can't process event from '{object}', cross-namespace references have been blocked",
                self.alert
            ));
        }
        let (metadata, conflicts) = {
            let mut sent = event.clone();
            strip_internal(&mut sent);
            merge(&sent, &self.event_metadata, &self.summary)
        };
        Verdict::Matched(Box::new(Delivery {
            alert: self.alert.clone(),
            provider: self.provider.clone(),
            event: Event { metadata, ..event.clone() },
            conflicts,
        }))
    }

    fn is_about(&self, event: &Event) -> bool {
        let severe = match self.severity {
            AlertSeverity::Info => true,
            AlertSeverity::Error => event.severity == Severity::Error,
        };
        severe && self.sources.iter().any(|source| source.is_of(event))
    }

    fn is_reported(&self, message: &str) -> bool {
        let matches = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.is_match(message));
        self.inclusion.as_deref().is_none_or(matches) && !matches(&self.exclusion)
    }
}

impl Source {
    fn of(source: &EventSource, home: &str) -> Self {
        let namespace = source.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or(home);
        Self {
            kind: source.kind.as_str(),
            namespace: namespace.to_owned(),
            name: (source.name != ANY_NAME).then(|| source.name.clone()),
        }
    }

    fn is_of(&self, event: &Event) -> bool {
        let object = &event.involved_object;
        object.kind == self.kind
            && object.namespace == self.namespace
            && self.name.as_ref().is_none_or(|name| *name == object.name)
    }
}

fn compile(
    list: &'static str,
    patterns: &[String],
    charge: Charge<'_>,
    bad: &mut Vec<BadPattern>,
) -> Vec<Pattern> {
    if patterns.len() > PATTERNS_MAX {
        bad.push(BadPattern::TooMany { list });
    }
    let mut compiled = Vec::new();
    for pattern in patterns.iter().take(PATTERNS_MAX) {
        match Pattern::parse(pattern) {
            Ok(parsed) => match charge(parsed.bytes()) {
                Ok(()) => compiled.push(parsed),
                Err(why) => {
                    bad.push(BadPattern::OverBudget { list, pattern: pattern.clone(), why });
                    break;
                }
            },
            Err(source) => bad.push(BadPattern::Refused { list, pattern: pattern.clone(), source }),
        }
    }
    compiled
}

#[cfg(test)]
mod tests {
    use plumb_api::event::Event;
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::{event, pairs};

    /// A rule of an Alert in the namespace `prod`.
    fn rule(changes: &Value) -> Rule {
        let mut spec = json!({
            "providerRef": { "name": "p" },
            "eventSources": [{ "kind": "Kustomization", "name": "*" }]
        });
        for (key, value) in changes.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let alert = NamespacedName::new("prod", "a");
        Rule::compile(alert, &serde_json::from_value(spec).unwrap(), &mut |_| Ok(())).unwrap().0
    }

    #[track_caller]
    fn check(alert: &Value, change: fn(&mut Event), matched: bool) {
        let mut event = event();
        change(&mut event);
        let verdict = rule(alert).judge(&event, CrossNamespace::Allowed);
        assert_eq!(matches!(verdict, Verdict::Matched(_)), matched, "{alert}: {verdict:?}");
    }

    fn same(_: &mut Event) {}

    #[test]
    fn the_source_decides_by_kind_name_and_namespace() {
        let source = |source: Value| json!({ "eventSources": [source] });
        check(&json!({}), same, true);
        check(&source(json!({ "kind": "Kustomization", "name": "apps" })), same, true);
        check(&source(json!({ "kind": "Kustomization", "name": "app" })), same, false);
        check(&source(json!({ "kind": "GitRepository", "name": "*" })), same, false);
        check(&source(json!({ "kind": "Kustomization", "name": "*", "namespace": "prod" })), same, true);
        check(&source(json!({ "kind": "Kustomization", "name": "*", "namespace": "dev" })), same, false);
        check(&json!({}), |event| event.involved_object.namespace = "dev".into(), false);
        check(&json!({ "eventSources": [] }), same, false);
        check(
            &json!({ "eventSources": [
            { "kind": "Bucket", "name": "*" }, { "kind": "Kustomization", "name": "apps" }
        ] }),
            same,
            true,
        );
    }

    #[test]
    fn the_severity_error_lets_only_errors_through() {
        check(&json!({ "eventSeverity": "error" }), same, false);
        check(&json!({ "eventSeverity": "error" }), |event| event.severity = Severity::Error, true);
        check(&json!({ "eventSeverity": "info" }), |event| event.severity = Severity::Error, true);
    }

    #[test]
    fn a_suspended_alert_is_silent() {
        check(&json!({ "suspend": true }), same, false);
    }

    #[test]
    fn a_message_must_be_included_and_not_excluded() {
        check(&json!({ "inclusionList": ["^Dep", "^App"] }), same, true);
        check(&json!({ "inclusionList": ["^Dep"] }), same, false);
        check(&json!({ "exclusionList": ["plie"] }), same, false);
        check(&json!({ "inclusionList": ["App"], "exclusionList": ["^A"] }), same, false);
    }

    #[test]
    fn a_pattern_that_does_not_compile_is_reported_and_the_others_count() {
        check(&json!({ "inclusionList": ["(", "App"] }), same, true);
        check(&json!({ "inclusionList": ["("] }), same, false);
        check(&json!({ "exclusionList": ["("] }), same, true);
        let spec = json!({ "providerRef": { "name": "p" }, "eventSources": [], "inclusionList": ["("], "exclusionList": ["["] });
        let alert = NamespacedName::new("prod", "a");
        let spec = serde_json::from_value(spec).unwrap();
        let (_, bad) = Rule::compile(alert, &spec, &mut |_| Ok(())).unwrap();
        let told: Vec<_> = bad.iter().map(|bad| plumb_status::chain(bad)).collect();
        let expect = [
            "failed to compile inclusion regex: (: unclosed group",
            "failed to compile exclusion regex: [: class without an end at byte 1",
        ];
        assert_eq!(told, expect);
    }

    #[test]
    fn another_namespace_is_blocked_by_the_flag() {
        let rule = rule(&json!({ "eventSources": [
            { "kind": "Kustomization", "name": "*", "namespace": "dev" }, { "kind": "Kustomization", "name": "*" }
        ] }));
        let mut event = event();
        let judge = |event: &Event, cross| rule.judge(event, cross);
        assert!(matches!(judge(&event, CrossNamespace::Blocked), Verdict::Matched(_)));
        event.involved_object.namespace = "dev".into();
        assert!(matches!(judge(&event, CrossNamespace::Allowed), Verdict::Matched(_)));
        let text = "alert 'prod/a' can't process event from 'Kustomization/dev/apps', cross-namespace references have been blocked";
        assert_eq!(judge(&event, CrossNamespace::Blocked), Verdict::Blocked(text.into()));
    }

    #[test]
    fn the_delivery_carries_the_metadata_of_event_and_alert() {
        let mut event = event();
        event.metadata.insert("kustomize.toolkit.fluxcd.io/token".into(), "t".into());
        let rule = rule(&json!({ "eventMetadata": { "env": "prod" }, "summary": "s" }));
        let verdict = rule.judge(&event, CrossNamespace::Allowed);
        let Verdict::Matched(delivery) = verdict else { panic!("unmatched") };
        assert_eq!(
            delivery.event.metadata,
            pairs(&[("env", "prod"), ("revision", "main@sha1:1"), ("summary", "s")])
        );
        assert_eq!((delivery.alert.to_string().as_str(), delivery.provider.as_str()), ("prod/a", "p"));
    }

    #[test]
    fn patterns_over_budget_are_reported_with_their_limit_and_those_before_count() {
        let spec = json!({
            "providerRef": { "name": "p" }, "eventSources": [{ "kind": "Kustomization", "name": "*" }],
            "inclusionList": ["App", "Never"], "exclusionList": ["Applied"]
        });
        let alert = NamespacedName::new("prod", "a");
        let mut charges = 0;
        let mut charge = |bytes: u64| {
            assert!(bytes > 0);
            charges += 1;
            if charges > 1 { Err("the limit".to_owned()) } else { Ok(()) }
        };
        let (rule, bad) = Rule::compile(alert, &serde_json::from_value(spec).unwrap(), &mut charge).unwrap();
        let told: Vec<_> = bad.iter().map(ToString::to_string).collect();
        let expect = [
            "inclusion regex Never: no memory for it or for those after it: the limit",
            "exclusion regex Applied: no memory for it or for those after it: the limit",
        ];
        assert_eq!(told, expect);
        let verdict = rule.judge(&event(), CrossNamespace::Allowed);
        assert!(matches!(verdict, Verdict::Matched(_)));
    }
}
