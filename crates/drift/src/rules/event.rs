//! An event about one object's drift, with the keys by which alerts route it (drift.md §5).

use jiff::Timestamp;
use plumb_manifests::ObjectId;
use plumb_status::{EventDraft, Reason};

use crate::rules::contention::Dispute;
use plumb_api::kustomize::DriftClass;

use crate::rules::finding::Finding;

/// Paths in the metadata at most.
const PATHS_MAX: usize = 5;

/// Managers in the metadata at most.
const MANAGERS_MAX: usize = 5;

/// The class of the drift.
pub const CLASS_KEY: &str = "event.toolkit.fluxcd.io/drift-class";
/// The managers, joined by a comma.
pub const MANAGER_KEY: &str = "event.toolkit.fluxcd.io/drift-manager";
/// The paths, joined by a comma and a space.
pub const PATHS_KEY: &str = "event.toolkit.fluxcd.io/drift-paths";
/// Since when.
pub const SINCE_KEY: &str = "event.toolkit.fluxcd.io/drift-since";
/// The revision of the Kustomization; the runtime puts the group before it.
pub const REVISION_KEY: &str = "revision";

/// An event about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftEvent {
    /// Which object.
    pub id: ObjectId,
    /// Which class.
    pub class: DriftClass,
    /// The event; its involved object is the Kustomization.
    pub event: EventDraft,
}

impl DriftEvent {
    /// An event with the metadata of a finding.
    pub fn new(
        id: &ObjectId,
        finding: &Finding,
        since: Timestamp,
        revision: &str,
        reason: Reason,
        message: String,
    ) -> Self {
        let mut event = match reason {
            Reason::DriftCorrected | Reason::DriftResolved => EventDraft::info(reason, message),
            _ => EventDraft::error(reason, message),
        };
        event = event
            .with(CLASS_KEY, finding.class.as_str())
            .with(SINCE_KEY, super::message::rfc3339(since))
            .with(REVISION_KEY, revision);
        let managers = finding.managers();
        if !managers.is_empty() {
            event = event.with(MANAGER_KEY, managers[..managers.len().min(MANAGERS_MAX)].join(","));
        }
        let paths = finding.paths();
        if !paths.is_empty() {
            event = event.with(PATHS_KEY, few(&paths));
        }
        Self { id: id.clone(), class: finding.class, event }
    }
}

impl DriftEvent {
    /// An event about fields that another manager rewrites after each correction.
    pub fn contention(
        id: &ObjectId,
        dispute: &Dispute,
        now: Timestamp,
        revision: &str,
        message: String,
    ) -> Self {
        let mut event = EventDraft::error(Reason::DriftContention, message)
            .with(CLASS_KEY, DriftClass::Drifted.as_str())
            .with(SINCE_KEY, super::message::rfc3339(now))
            .with(REVISION_KEY, revision)
            .with(PATHS_KEY, few(&dispute.paths));
        let managers = &dispute.managers;
        if !managers.is_empty() {
            event = event.with(MANAGER_KEY, managers[..managers.len().min(MANAGERS_MAX)].join(","));
        }
        Self { id: id.clone(), class: DriftClass::Drifted, event }
    }
}

fn few(paths: &[String]) -> String {
    let mut text = paths[..paths.len().min(PATHS_MAX)].join(", ");
    if paths.len() > PATHS_MAX {
        use std::fmt::Write as _;
        let _ = write!(text, " (+{})", paths.len() - PATHS_MAX);
    }
    text
}
