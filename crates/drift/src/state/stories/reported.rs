//! What a run reported: each correction by one event, each open drift by one event, and status writes within their pace.

use std::collections::BTreeMap;

use plumb_api::kustomize::DriftStatus;
use plumb_status::{EventDraft, Reason};

use super::world::NAMES;
use crate::rules::debounce::REPORTS_AT_ONCE;
use crate::rules::event::{CLASS_KEY, PATHS_KEY};

/// What is counted of one object.
#[derive(Debug, Clone, Default)]
struct Count {
    /// Corrections by looks, and the events about them.
    corrections: (usize, usize),
    /// Attempts that overwrote another writer's state, and the events about them.
    overwrites: (usize, usize),
    /// Class and, where this process knows them, paths of the open drift that was reported.
    open: Option<(String, Option<String>)>,
}

#[derive(Debug, Clone, Default)]
pub struct ReportedDrift {
    objects: BTreeMap<&'static str, Count>,
    /// When the status was written, in milliseconds.
    writes: Vec<u64>,
    /// It was told that the kind may not be watched, and that is still so.
    pub denied: bool,
}

impl ReportedDrift {
    fn of(&mut self, name: &'static str) -> &mut Count {
        self.objects.entry(name).or_default()
    }

    pub fn corrected(&mut self, name: &'static str) {
        self.of(name).corrections.0 += 1;
    }

    pub fn overwritten(&mut self, name: &'static str) {
        self.of(name).overwrites.0 += 1;
    }

    /// An event. What is wrong with it, if anything is.
    pub fn event(&mut self, event: &EventDraft) -> Result<(), String> {
        if event.message.contains("cannot be watched for drift") {
            if std::mem::replace(&mut self.denied, true) {
                return Err(format!("told twice: {}", event.message));
            }
            return Ok(());
        }
        let named = |name: &&&str| event.message.contains(&format!("ConfigMap/prod/{name}"));
        let Some(name) = NAMES.iter().find(named) else { return Ok(()) };
        let count = self.of(name);
        match event.reason {
            Reason::DriftCorrected => {
                count.open = None;
                let by_attempt = event.message.contains("overwritten by revision");
                let (made, told) = if by_attempt { &mut count.overwrites } else { &mut count.corrections };
                *told += 1;
                if told > made {
                    return Err(format!("{told} events of {made} corrections: {}", event.message));
                }
            }
            Reason::DriftResolved => count.open = None,
            Reason::DriftDetected | Reason::DriftUnknown => {
                let text = |key| event.metadata.get(key).cloned().unwrap_or_default();
                let open = (text(CLASS_KEY), Some(text(PATHS_KEY)));
                if count.open.as_ref() == Some(&open) {
                    return Err(format!("told twice: {}", event.message));
                }
                count.open = Some(open);
            }
            _ => {}
        }
        Ok(())
    }

    /// The status is written now.
    pub fn writes(&mut self, now: u64) -> Result<(), String> {
        self.writes.push(now);
        let burst = usize::try_from(REPORTS_AT_ONCE).unwrap();
        for (before, at) in self.writes.iter().rev().enumerate().skip(burst).take(20) {
            let least = 1_000 * u64::try_from(before + 1 - burst).unwrap();
            if now - at < least {
                return Err(format!("{} status writes in {} ms", before + 1, now - at));
            }
        }
        Ok(())
    }

    /// In `disabled`, drift is not told: it is new later.
    pub fn disabled(&mut self) {
        self.objects.values_mut().for_each(|count| count.open = None);
    }

    /// A new process knows what the status says; events that waited in the old one are lost.
    pub fn restarted(&mut self, status: Option<&DriftStatus>) {
        self.writes.clear();
        self.denied = false;
        for name in NAMES {
            let entries = status.into_iter().flat_map(|status| &status.entries);
            let class = entries
                .filter(|entry| entry.id == format!("prod_{name}__ConfigMap"))
                .map(|entry| entry.class.as_str().to_owned())
                .next();
            let count = self.of(name);
            count.corrections.1 = count.corrections.0;
            let before = count.open.take();
            count.open = class.map(|class| match before {
                Some((before, paths)) if before == class => (class, paths),
                _ => (class, None),
            });
        }
    }

    /// After a rest: each correction was told, and each open drift.
    pub fn check(&self, report: Option<&DriftStatus>, log: &str) {
        for (name, count) in &self.objects {
            assert_eq!(
                count.corrections.0, count.corrections.1,
                "corrections of {name} and their events\n{log}"
            );
            let entries = report.into_iter().flat_map(|status| &status.entries);
            let open = entries
                .filter(|entry| entry.id == format!("prod_{name}__ConfigMap"))
                .map(|entry| entry.class.as_str())
                .next();
            let told = count.open.as_ref().map(|(class, _)| class.as_str());
            assert_eq!(told, open, "open drift of {name} and what was told of it\n{log}");
        }
    }
}
