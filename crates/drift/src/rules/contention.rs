//! Contention: another manager rewrites the same field after each correction. Corrections of that field are slowed down, and
//! its beginning and its end are reported; never endless writes, never silence. Other fields, other managers, removed
//! owner labels and a deleted object are corrected at once meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use plumb_api::kustomize::DriftClass;
use plumb_status::cadence::Backoff;

use crate::rules::finding::Finding;

/// How often in a row a field is rewritten after a correction before corrections are slowed down.
pub const REWRITES_MIN: u32 = 3;

/// A field that changes within this time after its correction was rewritten; without that for so long, contention ends.
pub const REWRITE_WINDOW: Duration = Duration::from_secs(10);

/// The first delay; each further one is twice the one before, up to the interval.
pub const FIRST_DELAY: Duration = Duration::from_secs(1);

/// Tracked fields per object, at most.
const FIELDS_MAX: usize = 64;

/// The corrections of one object, by manager and field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contention {
    fields: BTreeMap<Contended, Corrections>,
}

/// A field and the managers that change it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Contended {
    manager: String,
    path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Corrections {
    /// When it was corrected last.
    last: Timestamp,
    count: u64,
    /// How often it was rewritten within the window after a correction, in a row.
    rewrites: u32,
    /// The present delay; none where there is no contention.
    delay: Option<Duration>,
    /// Not to be corrected before.
    until: Option<Timestamp>,
}

/// When a drifted object may be corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentionChange {
    /// Now.
    Now,
    /// Not before this time.
    Later(Timestamp),
}

/// Contention that begins or ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispute {
    /// The managers that rewrite the fields, sorted, each once; empty where none is known.
    pub managers: Vec<String>,
    /// The fields, sorted.
    pub paths: Vec<String>,
    /// How often they were corrected.
    pub count: u64,
    /// After which time they are corrected next.
    pub delay: Duration,
}

impl Contention {
    /// Whether corrections of some field are slowed down: then what differs has to be known before a correction.
    pub fn is_active(&self) -> bool {
        self.fields.values().any(|field| field.delay.is_some())
    }

    /// When an object that differs so may be corrected.
    pub fn check(&self, finding: &Finding, now: Timestamp) -> ContentionChange {
        if matches!(finding.class, DriftClass::Missing | DriftClass::Disowned) {
            return ContentionChange::Now;
        }
        let mut earliest = None;
        for field in fields_of(finding) {
            match self.fields.get(&field).and_then(|field| field.until) {
                Some(until) if until > now => earliest = Some(earliest.map_or(until, |at| until.min(at))),
                _ => return ContentionChange::Now,
            }
        }
        earliest.map_or(ContentionChange::Now, ContentionChange::Later)
    }

    /// A correction was made of what differed since then; `interval` bounds the delays. Contention that begins with it, if any
    /// does.
    pub fn corrected(
        &mut self,
        finding: &Finding,
        since: Timestamp,
        now: Timestamp,
        interval: Duration,
    ) -> Option<Dispute> {
        self.fields.retain(|_, field| field.delay.is_some() || later(field.last, REWRITE_WINDOW) > now);
        let mut begun = Vec::new();
        for key in fields_of(finding) {
            if self.fields.len() >= FIELDS_MAX && !self.fields.contains_key(&key) {
                continue;
            }
            let field = self.fields.entry(key.clone()).or_insert_with(|| Corrections::first(now));
            if field.count > 0 && since <= later(field.last, REWRITE_WINDOW) {
                field.rewrites = field.rewrites.saturating_add(1);
            } else {
                *field = Corrections::first(now);
            }
            field.last = now;
            field.count = field.count.saturating_add(1);
            field.until = None;
            if field.rewrites >= REWRITES_MIN {
                let backoff = Backoff { min: FIRST_DELAY, max: interval.max(FIRST_DELAY) };
                let delay = backoff.without_jitter(field.rewrites - REWRITES_MIN + 1);
                if field.delay.is_none() {
                    begun.push(key);
                }
                field.delay = Some(delay);
                field.until = Some(later(now, delay));
            }
        }
        self.dispute(begun)
    }

    /// Contention that has ended: its fields were not rewritten for [`REWRITE_WINDOW`]. Call it when the object was observed
    /// in its desired state.
    pub fn ended(&mut self, now: Timestamp) -> Option<Dispute> {
        let ended: Vec<Contended> = self
            .fields
            .iter()
            .filter(|(_, field)| field.delay.is_some() && field.quiet_at() <= now)
            .map(|(key, _)| key.clone())
            .collect();
        let dispute = self.dispute(ended.clone());
        for key in ended {
            self.fields.remove(&key);
        }
        dispute
    }

    /// When [`Contention::ended`] may have something, where the object stays as it is.
    pub fn next_end(&self) -> Option<Timestamp> {
        self.fields.values().filter(|field| field.delay.is_some()).map(Corrections::quiet_at).min()
    }

    fn dispute(&self, keys: Vec<Contended>) -> Option<Dispute> {
        let fields = || keys.iter().filter_map(|key| self.fields.get(key));
        let count = fields().map(|field| field.count).max()?;
        let delay = fields().filter_map(|field| field.delay).max().unwrap_or(FIRST_DELAY);
        let (mut managers, mut paths) = (BTreeSet::new(), BTreeSet::new());
        for Contended { manager, path } in keys {
            managers.extend(Some(manager).filter(|manager| !manager.is_empty()));
            paths.insert(path);
        }
        Some(Dispute {
            managers: managers.into_iter().collect(),
            paths: paths.into_iter().collect(),
            count,
            delay,
        })
    }
}

impl Corrections {
    /// Before the first correction.
    const fn first(now: Timestamp) -> Self {
        Self { last: now, count: 0, rewrites: 0, delay: None, until: None }
    }

    fn quiet_at(&self) -> Timestamp {
        later(self.until.unwrap_or(self.last).max(self.last), REWRITE_WINDOW)
    }
}

fn fields_of(finding: &Finding) -> impl Iterator<Item = Contended> {
    finding
        .fields
        .iter()
        .map(|field| Contended { manager: field.writer.manager.clone(), path: field.change.path.to_string() })
}

/// A time after another, held at the end of time.
pub(crate) fn later(from: Timestamp, by: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(by).ok().and_then(|by| from.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use plumb_manifests::Object;
    use serde_json::json;

    use super::*;
    use plumb_planning::fixtures::at;

    const INTERVAL: Duration = Duration::from_secs(4);

    /// A ConfigMap whose field this manager has changed, seen at a time.
    fn changed(key: &str, manager: &str, seen: Timestamp) -> Finding {
        let map = |value: &str| {
            let value = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "settings", "namespace": "prod", "managedFields": [{
                    "manager": manager, "operation": "Update", "apiVersion": "v1",
                    "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {format!("f:{key}"): {}}},
                }]},
                "data": {key: value},
            });
            Object::new(value).unwrap()
        };
        Finding::compare(&map("theirs"), &map("ours"), seen).unwrap()
    }

    /// Corrects the field at these seconds, each a moment after it was changed.
    fn corrections(contention: &mut Contention, key: &str, manager: &str, seconds: &[i64]) -> Vec<i64> {
        let mut begun = Vec::new();
        for second in seconds {
            let finding = changed(key, manager, at(*second));
            begun.extend(contention.corrected(&finding, at(*second), at(*second), INTERVAL).map(|_| *second));
        }
        begun
    }

    #[test]
    fn the_third_rewrite_of_a_field_begins_it_and_only_that_field_waits() {
        let mut contention = Contention::default();
        assert_eq!(corrections(&mut contention, "a", "stubborn", &[0, 1, 2]), Vec::<i64>::new());
        assert!(!contention.is_active());
        assert_eq!(corrections(&mut contention, "a", "stubborn", &[3]), [3]);
        assert!(contention.is_active());
        let now = at(3);
        let ask = |key, manager| contention.check(&changed(key, manager, now), now);
        assert_eq!(ask("a", "stubborn"), ContentionChange::Later(at(3) + FIRST_DELAY));
        assert_eq!(ask("b", "stubborn"), ContentionChange::Now, "another field");
        let both =
            [changed("a", "stubborn", now), changed("b", "stubborn", now)].map(|finding| finding.fields);
        let both = Finding { fields: both.concat(), ..changed("a", "stubborn", now) };
        assert_eq!(contention.check(&both, now), ContentionChange::Now, "another field next to it");
        assert_eq!(ask("a", "kubectl-edit"), ContentionChange::Now, "another manager");
        assert_eq!(contention.check(&Finding::missing(now), now), ContentionChange::Now, "a deleted object");
        assert_eq!(
            contention.check(&changed("a", "stubborn", at(4)), at(4)),
            ContentionChange::Now,
            "the delay is over"
        );
    }

    #[test]
    fn edits_of_different_fields_and_slow_edits_are_no_contention() {
        let mut contention = Contention::default();
        for (second, key) in (0..).zip(["a", "b", "c", "d", "e", "f", "g", "h"]) {
            assert!(corrections(&mut contention, key, "kubectl-edit", &[second]).is_empty());
        }
        assert!(corrections(&mut contention, "slow", "kubectl-edit", &[100, 111, 122, 133, 144]).is_empty());
        assert!(!contention.is_active());
        corrections(&mut contention, "a", "stubborn", &[200, 201, 202, 203]);
        assert!(contention.is_active());
        corrections(&mut contention, "a", "stubborn", &[260]);
        assert!(!contention.is_active(), "an edit a minute later is none of it");
    }

    #[test]
    fn delays_double_up_to_the_interval() {
        let mut contention = Contention::default();
        corrections(&mut contention, "a", "stubborn", &[0, 1, 2]);
        for (second, wait) in [(3, 1), (4, 2), (6, 4), (10, 4), (14, 4)] {
            corrections(&mut contention, "a", "stubborn", &[second]);
            let outcome = contention.check(&changed("a", "stubborn", at(second)), at(second));
            assert_eq!(outcome, ContentionChange::Later(at(second + wait)), "{second}");
        }
    }

    #[test]
    fn it_ends_when_the_field_was_not_written_for_the_window() {
        let mut contention = Contention::default();
        corrections(&mut contention, "a", "stubborn", &[0, 1, 2, 3]);
        assert_eq!(contention.next_end(), Some(at(14)));
        assert_eq!(contention.ended(at(13)), None);
        let ended = contention.ended(at(14)).unwrap();
        assert_eq!((ended.managers, ended.paths), (vec!["stubborn".into()], vec![".data.a".into()]));
        assert_eq!(ended.count, 4);
        assert_eq!(
            (contention.is_active(), contention.ended(at(14)), contention.next_end()),
            (false, None, None)
        );
    }

    #[test]
    fn the_recorded_state_is_bounded() {
        let mut contention = Contention::default();
        for field in 0..10 * FIELDS_MAX {
            corrections(&mut contention, &format!("key-{field}"), "busy", &[0]);
        }
        assert_eq!(contention.fields.len(), FIELDS_MAX);
        corrections(&mut contention, "a", "busy", &[60]);
        assert_eq!(contention.fields.len(), 1, "old fields are dropped");
    }
}
