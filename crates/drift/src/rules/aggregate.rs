//! Event aggregation: more than [`OBJECTS_MAX`] objects within a second are reported in one event per reason.
//!
//! The first few are emitted at once, so that a single edit is reported without delay; the rest waits for the end of its second.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use plumb_manifests::ObjectId;
use plumb_status::{EventDraft, Reason};

use crate::rules::contention::later;
use crate::rules::event::{self, DriftEvent};

/// Objects within a second that are reported one by one.
pub const OBJECTS_MAX: usize = 20;

/// Events of one second that go out at once.
pub const AT_ONCE: usize = 5;

/// The second.
const WINDOW: Duration = Duration::from_secs(1);

/// Objects that a summary names.
const NAMED_MAX: usize = 3;

/// Managers that a summary carries.
const MANAGERS_MAX: usize = 5;

/// The events of the present second.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventAggregator {
    ends: Option<Timestamp>,
    passed: usize,
    held: Vec<DriftEvent>,
    counts: BTreeMap<&'static str, Count>,
    objects: BTreeSet<ObjectId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Count {
    reason: Reason,
    error: bool,
    objects: usize,
    named: Vec<ObjectId>,
    classes: BTreeMap<&'static str, usize>,
    managers: BTreeSet<String>,
    revision: String,
}

impl EventAggregator {
    /// Takes events; gives those that go out now.
    pub fn offer(&mut self, drift_events: Vec<DriftEvent>, now: Timestamp) -> Vec<EventDraft> {
        let mut out = self.due(now);
        for drift_event in drift_events {
            self.ends.get_or_insert_with(|| later(now, WINDOW));
            self.count(&drift_event);
            if self.passed < AT_ONCE {
                self.passed += 1;
                out.push(drift_event.event);
            } else if self.objects.len() <= OBJECTS_MAX {
                self.held.push(drift_event);
            } else {
                self.held.clear();
            }
        }
        out
    }

    /// Events of a second that ended.
    pub fn due(&mut self, now: Timestamp) -> Vec<EventDraft> {
        if self.ends.is_none_or(|ends| now < ends) {
            return Vec::new();
        }
        let Self { ends: _, passed: _, held, counts, objects } = std::mem::take(self);
        if objects.len() > OBJECTS_MAX {
            counts.into_values().map(Count::into_occurrence).collect()
        } else {
            held.into_iter().map(|drift_event| drift_event.event).collect()
        }
    }

    /// When [`Self::due`] has something, if anything waits.
    pub fn next_due(&self) -> Option<Timestamp> {
        let waits = !self.held.is_empty() || self.objects.len() > OBJECTS_MAX;
        self.ends.filter(|_| waits)
    }

    fn count(&mut self, drift_event: &DriftEvent) {
        let DriftEvent { id, class, event } = drift_event;
        // The set is bounded: beyond the limit only numbers grow.
        if self.objects.len() <= OBJECTS_MAX {
            self.objects.insert(id.clone());
        }
        let text = |key: &str| event.metadata.get(key).cloned().unwrap_or_default();
        let count = self.counts.entry(event.reason.as_str()).or_insert_with(|| Count {
            reason: event.reason,
            error: event.severity == plumb_status::Severity::Error,
            objects: 0,
            named: Vec::new(),
            classes: BTreeMap::new(),
            managers: BTreeSet::new(),
            revision: text(event::REVISION_KEY),
        });
        count.objects += 1;
        *count.classes.entry(class.as_str()).or_default() += 1;
        if count.named.len() < NAMED_MAX {
            count.named.push(id.clone());
        }
        let managers = text(event::MANAGER_KEY);
        for name in managers.split(',').filter(|name| !name.is_empty()) {
            if count.managers.len() < MANAGERS_MAX {
                count.managers.insert(name.to_owned());
            }
        }
    }
}

impl Count {
    fn into_occurrence(self) -> EventDraft {
        let Self { reason, error, objects, named, classes, managers, revision } = self;
        let fact = match reason {
            Reason::DriftCorrected => "drifted within a second and were corrected",
            Reason::DriftResolved => "match Git again, within a second",
            Reason::DriftUnknown => "could not be compared, within a second",
            Reason::DriftContention => "are changed again after each correction, within a second",
            _ => "drifted within a second and are not corrected",
        };
        let names: Vec<String> = named.iter().map(ToString::to_string).collect();
        let kinds: Vec<String> = classes.iter().map(|(class, count)| format!("{count} {class}")).collect();
        let more = objects.saturating_sub(named.len());
        let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
        let who = if managers.is_empty() {
            String::new()
        } else {
            format!(", by {}", managers.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
        };
        let message =
            format!("{objects} objects {fact} ({}{who}): {}{rest}", kinds.join(", "), names.join(", "));
        let mut event =
            if error { EventDraft::error(reason, message) } else { EventDraft::info(reason, message) };
        if let [class] = classes.keys().copied().collect::<Vec<_>>()[..] {
            event = event.with(event::CLASS_KEY, class);
        }
        if !managers.is_empty() {
            event = event.with(event::MANAGER_KEY, managers.into_iter().collect::<Vec<_>>().join(","));
        }
        event.with(event::REVISION_KEY, revision)
    }
}
