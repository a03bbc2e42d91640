//! Report: open drift as `status.drift` and as the message of the condition `Drifted` (drift.md §5).

use jiff::Timestamp;
use plumb_api::kustomize as wire;
use plumb_manifests::ObjectId;
use plumb_status::{Detail, Reason};

use crate::rules::finding::FieldDrift;
use crate::rules::open::{Drift, OpenDrift};

/// Objects that the condition's message names.
const NAMED_MAX: usize = 3;

/// The condition `Drifted`, while drift is open; otherwise it is removed.
pub fn condition(open_drift: &OpenDrift, now: Timestamp) -> Option<Detail> {
    let names: Vec<String> = open_drift.visible(now).map(|(id, _)| id.to_string()).collect();
    let total = names.len();
    let shown = names[..total.min(NAMED_MAX)].join(", ");
    let message = match total {
        0 => return None,
        1 => format!("1 object drifted: {shown}"),
        2..=NAMED_MAX => format!("{total} objects drifted: {shown}"),
        _ => format!("{total} objects drifted: {shown} and {} more", total - NAMED_MAX),
    };
    Some(Detail::new(Reason::DriftDetected, message))
}

/// `status.drift`; `None` only when there is neither drift nor a handled restore.
pub fn status(open_drift: &OpenDrift, restored: Option<&str>, now: Timestamp) -> Option<wire::DriftStatus> {
    let total = open_drift.visible(now).count();
    if total == 0 && restored.is_none() {
        return None;
    }
    let entries: Vec<wire::DriftEntry> =
        open_drift.visible(now).take(wire::DRIFT_ENTRIES_MAX).map(|(id, drift)| entry(id, drift)).collect();
    Some(wire::DriftStatus {
        entries,
        last_handled_restore: restored.map(str::to_owned),
        objects: Some(i64::try_from(total).unwrap_or(i64::MAX)),
        observed_at: open_drift.changed_at(),
    })
}

fn entry(id: &ObjectId, drift: &Drift) -> wire::DriftEntry {
    let fields = &drift.finding.fields;
    let more = fields.len().saturating_sub(wire::DRIFT_FIELDS_MAX);
    wire::DriftEntry {
        class: drift.finding.class,
        fields: fields.iter().take(wire::DRIFT_FIELDS_MAX).map(field).collect(),
        id: id.to_inventory(),
        more: (more > 0).then(|| i64::try_from(more).unwrap_or(i64::MAX)),
        since: drift.since,
    }
}

fn field(drift: &FieldDrift) -> wire::DriftField {
    let FieldDrift { change, writer } = drift;
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    wire::DriftField {
        confidence: writer.confidence,
        desired: change.desired.clone(),
        live: change.live.clone(),
        manager: said(&writer.manager),
        operation: said(&writer.operation),
        path: change.path.to_string(),
        subresource: said(&writer.subresource),
        time: writer.time,
    }
}

/// Loads the drift of a status into a new process, so that it is not reported again as new.
pub fn remember(open_drift: &mut OpenDrift, status: &wire::DriftStatus) {
    for entry in status.entries.iter().take(wire::DRIFT_ENTRIES_MAX) {
        let Ok(id) = ObjectId::parse_inventory(&entry.id) else { continue };
        let paths = entry.fields.iter().map(|field| field.path.clone()).collect();
        open_drift.remember(id, entry.class, entry.since, paths);
    }
}
