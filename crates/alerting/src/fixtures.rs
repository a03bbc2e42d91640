//! The least that a test of this crate needs.

use std::collections::BTreeMap;

use plumb_api::event::{Event, ObjectReference, Severity};

/// An event of a Kustomization that was applied.
pub fn event() -> Event {
    Event {
        involved_object: ObjectReference {
            api_version: "kustomize.toolkit.fluxcd.io/v1".into(),
            kind: "Kustomization".into(),
            namespace: "prod".into(),
            name: "apps".into(),
            uid: "1-2".into(),
            ..ObjectReference::default()
        },
        severity: Severity::Info,
        timestamp: "2026-11-25T06:30:00Z".parse().unwrap(),
        message: "Applied".into(),
        reason: "ReconciliationSucceeded".into(),
        metadata: pairs(&[("kustomize.toolkit.fluxcd.io/revision", "main@sha1:1")]),
        reporting_controller: "kustomize-controller".into(),
        reporting_instance: "pod-1".into(),
    }
}

/// A map of strings.
pub fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
