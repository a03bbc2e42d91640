//! Messages about drift (drift.md §5): object, fields, manager, time, and what was done.
//!
//! Values are already masked and shortened; nothing here reads an object.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use plumb_manifests::ObjectId;

use plumb_api::kustomize::{Confidence, DriftClass};

use crate::rules::attribution::Writer;
use crate::rules::contention::{Dispute, REWRITE_WINDOW};
use crate::rules::finding::{FieldDrift, Finding};
use plumb_planning::prune::SkipReason;

/// Fields that one message names.
pub const FIELDS_MAX: usize = 5;

/// Placeholder for an absent value.
const ABSENT: &str = "(absent)";

/// The object, its class, its fields, and the manager.
pub fn what(id: &ObjectId, finding: &Finding, now: Timestamp) -> String {
    match finding.class {
        DriftClass::Missing => format!(
            "{id} missing: deleted by an unknown client (see the audit log), seen at {}",
            time(finding.seen, now)
        ),
        DriftClass::Unknown => format!("{id} unknown: {}", finding.obstacle),
        DriftClass::Drifted | DriftClass::Disowned | DriftClass::Extra => {
            format!("{id} {}: {}", finding.class.as_str(), fields(&finding.fields, now))
        }
    }
}

/// Drift that was corrected. `overwritten_by`: a revision that was applied over it.
pub fn corrected(
    id: &ObjectId,
    finding: &Finding,
    took: Duration,
    overwritten_by: Option<&str>,
    now: Timestamp,
) -> String {
    let what = what(id, finding, now);
    match overwritten_by {
        Some(revision) => format!("{what}; overwritten by revision {revision}"),
        None => format!("{what}; corrected in {}", duration(took)),
    }
}

/// Open drift.
pub fn detected(id: &ObjectId, finding: &Finding, why: &str, since: Timestamp, now: Timestamp) -> String {
    let mut text = what(id, finding, now);
    if now.duration_since(since) >= SignedDuration::from_mins(1) {
        let _ = write!(text, "; unresolved since {}", time(since, now));
    }
    if !why.is_empty() {
        let _ = write!(text, "; not corrected: {why}");
    }
    text
}

/// Drift that was resolved without a correction.
pub fn resolved(id: &ObjectId, class: DriftClass, since: Timestamp, now: Timestamp) -> String {
    let open_for = now.duration_since(since).unsigned_abs();
    let fact = match class {
        DriftClass::Drifted | DriftClass::Disowned => "the live object matches Git again",
        DriftClass::Missing => "the object exists again",
        DriftClass::Extra => "the added fields were removed",
        DriftClass::Unknown => "the object can be compared again",
    };
    format!(
        "{id} resolved: {fact}; it was {} since {} ({})",
        class.as_str(),
        time(since, now),
        duration(open_for)
    )
}

/// Another manager rewrites fields after each correction.
pub fn contention(id: &ObjectId, dispute: &Dispute) -> String {
    let Dispute { managers: _, paths, count, delay } = dispute;
    format!(
        "{id}: {} changed {} again after each of {count} corrections: from now on they are corrected after {}, later ones \
         more slowly; other fields are corrected at once",
        who(dispute),
        few(paths),
        duration(*delay)
    )
}

/// The fields are no longer rewritten.
pub fn contention_ended(id: &ObjectId, dispute: &Dispute) -> String {
    let seconds = REWRITE_WINDOW.as_secs();
    format!(
        "{id}: {} has not changed {} for {seconds} s after {} corrections: they are corrected at once again",
        who(dispute),
        few(&dispute.paths),
        dispute.count
    )
}

fn who(dispute: &Dispute) -> String {
    if dispute.managers.is_empty() { "an unknown client".to_owned() } else { dispute.managers.join(", ") }
}

/// The first paths, and how many more there are.
fn few(paths: &[String]) -> String {
    let shown = paths[..paths.len().min(FIELDS_MAX)].join(", ");
    match paths.len().saturating_sub(FIELDS_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The reason why drift is open, for the message and the record.
pub fn why(reason: &SkipReason) -> String {
    reason.to_string()
}

fn fields(fields: &[FieldDrift], now: Timestamp) -> String {
    let shown = &fields[..fields.len().min(FIELDS_MAX)];
    let mut text = String::new();
    for (at, field) in shown.iter().enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| ABSENT.to_owned());
        let change = &field.change;
        let _ = write!(text, "{} {} → {}", change.path, value(&change.desired), value(&change.live));
        // One writer of several fields is named once, after the last of them.
        let next_is_same = shown.get(at + 1).is_some_and(|next| next.writer == field.writer);
        if !next_is_same {
            let _ = write!(text, " {}", writer(&field.writer, now));
        }
    }
    if fields.len() > FIELDS_MAX {
        let _ = write!(text, ", and {} more", fields.len() - FIELDS_MAX);
    }
    text
}

/// `by kubectl (Update, /scale) at 12:00:03Z`.
pub fn writer(writer: &Writer, now: Timestamp) -> String {
    let when = match writer.time {
        Some(at) => format!("at {}", time(at, now)),
        None => format!("seen at {}", time(writer.seen, now)),
    };
    if writer.confidence == Confidence::Unknown {
        return format!("by an unknown client, seen at {}", time(writer.seen, now));
    }
    let how = if writer.subresource.is_empty() {
        writer.operation.clone()
    } else {
        format!("{}, /{}", writer.operation, writer.subresource)
    };
    let sure = if writer.confidence == Confidence::Probable { "probably " } else { "" };
    format!("{sure}by {} ({how}) {when}", writer.manager)
}

/// A time of today without its date, else whole; whole seconds, UTC.
fn time(at: Timestamp, now: Timestamp) -> String {
    const DAY_SECONDS: i64 = 86_400;
    let whole = at.as_second();
    let text = Timestamp::from_second(whole).unwrap_or(at).to_string();
    let same_day = whole.div_euclid(DAY_SECONDS) == now.as_second().div_euclid(DAY_SECONDS);
    match text.split_once('T') {
        Some((_, clock)) if same_day => clock.to_owned(),
        Some(_) | None => text,
    }
}

/// `14 ms`, `1.2 s`, `3 m 20 s`, `2 h 5 m`.
pub fn duration(took: Duration) -> String {
    let (seconds, millis) = (took.as_secs(), took.subsec_millis());
    match seconds {
        0 => format!("{millis} ms"),
        1..60 => format!("{seconds}.{} s", millis / 100),
        60..3600 => format!("{} m {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// RFC 3339 in whole seconds, as status and metadata carry times.
pub fn rfc3339(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}
