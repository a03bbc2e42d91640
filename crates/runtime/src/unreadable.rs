//! Objects that cannot be read as their type: reported in their own status and by an event, by one worker of the leader.
//! All other objects live on. Until such an object can be read it is treated as suspended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, ResourceExt as _};
use plumb_api::meta::RECONCILE_REQUESTED_AT;
use plumb_cluster::{CallError, NamespacedName, call};
use plumb_status::cadence::Backoff;
use plumb_status::{
    AttemptOutcome, Before, Condition, Detail, Ledger, Reason, Status, chain, condition_types, summarize,
};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::events::Recorder;
use crate::kind::Object;
use crate::reported::ReportedGenerations;
use crate::watch::read;

/// How many objects of a kind wait to be reported; more are logged only.
const WAITING_MAX: usize = 4096;
/// The pauses before a report that failed is tried again.
const BACKOFF: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_mins(5) };

/// Reports objects of one kind. Clones share what waits.
#[derive(Clone)]
pub(crate) struct UnreadableReporter {
    pub(crate) client: Client,
    pub(crate) recorder: Recorder,
    pub(crate) clock: Clock,
    pub(crate) manager: &'static str,
    pub(crate) waiting: Arc<Waiting>,
}

/// What is to be reported.
#[derive(Default)]
pub(crate) struct Waiting {
    state: Mutex<State>,
    stir: Notify,
}

#[derive(Default)]
struct State {
    /// One report for each object, of its newest version.
    reports: BTreeMap<NamespacedName, Report>,
    reported: ReportedGenerations,
}

#[derive(Debug, Clone)]
struct Report {
    uid: String,
    generation: i64,
    failures: u32,
    due: Instant,
}

condition_types! {
    /// No condition of its own.
    enum NoCondition {}
}

/// Nothing was made true.
struct Nothing;

impl Ledger for Nothing {
    type Condition = NoCondition;
}

impl UnreadableReporter {
    /// Asks for a report, once per generation. Never waits.
    pub(crate) fn request(&self, key: &NamespacedName, raw: &DynamicObject) {
        let report = Report {
            uid: raw.uid().unwrap_or_default(),
            generation: raw.metadata.generation.unwrap_or_default(),
            failures: 0,
            due: Instant::now(),
        };
        let mut state = self.waiting.state();
        if state.reported.contains(&report.uid, report.generation) {
            return;
        }
        if state.reports.len() >= WAITING_MAX && !state.reports.contains_key(key) {
            let NamespacedName { namespace, name } = key;
            tracing::warn!(name, namespace, "invalid object not reported: {WAITING_MAX} reports are queued");
            return;
        }
        state.reports.insert(key.clone(), report);
        drop(state);
        self.waiting.stir.notify_one();
    }

    /// Reports one object after the other. Only the leader may do that.
    pub(crate) async fn run<O: Object>(self) {
        loop {
            let next = self.waiting.next();
            let Some((key, report)) = next else {
                self.waiting.stir.notified().await;
                continue;
            };
            if Instant::now() < report.due {
                tokio::select! {
                    () = tokio::time::sleep_until(report.due) => {}
                    () = self.waiting.stir.notified() => {}
                }
                continue;
            }
            let outcome = self.write::<O>(&key, &report).await;
            if let Err(error) = &outcome {
                let NamespacedName { namespace, name } = &key;
                tracing::warn!(name, namespace, error = chain(error), "failed to report invalid object");
            }
            self.waiting.settle(&key, report, outcome.is_ok());
        }
    }

    /// Reads the object again: only the newest version is reported, if it still cannot be read.
    async fn write<O: Object>(&self, key: &NamespacedName, report: &Report) -> Result<(), CallError> {
        let resource = ApiResource::erase::<O>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &key.namespace, &resource);
        let Some(raw) = call(api.get_opt(&key.name)).await? else { return Ok(()) };
        if raw.uid().unwrap_or_default() != report.uid {
            return Ok(());
        }
        let Err(problem) = read::<O>(&raw) else { return Ok(()) };
        let stands = status_of(&raw);
        let before = Before {
            generation: raw.metadata.generation.unwrap_or_default(),
            requested_at: raw.annotations().get(RECONCILE_REQUESTED_AT).map(String::as_str),
            at_start: &stands,
            current: &stands,
            now: self.clock.now(),
        };
        let detail = Detail::new(Reason::InvalidSpec, message(&problem, &raw));
        let summary = summarize(&before, &Nothing, &AttemptOutcome::Stalled { condition: None, detail });
        let Some(status) = summary.status else { return Ok(()) };
        if status == stands {
            return Ok(());
        }
        let mut fields =
            json!({ "conditions": status.conditions, "observedGeneration": status.observed_generation });
        if let Some(handled) = status.last_handled_reconcile_at {
            fields["lastHandledReconcileAt"] = handled.into();
        }
        let patch = json!({ "metadata": { "resourceVersion": raw.resource_version() }, "status": fields });
        let params = PatchParams { field_manager: Some(self.manager.to_owned()), ..PatchParams::default() };
        call(api.patch_status(&key.name, &params, &Patch::Merge(&patch))).await?;
        for event in summary.events {
            self.recorder.emit_as(&resource, &raw, event);
        }
        Ok(())
    }
}

impl Waiting {
    /// The report that is due first.
    fn next(&self) -> Option<(NamespacedName, Report)> {
        let state = self.state();
        let next = state.reports.iter().min_by_key(|(_, report)| report.due);
        next.map(|(key, report)| (key.clone(), report.clone()))
    }

    /// Takes a report out, or puts it off, unless a newer one was requested meanwhile.
    fn settle(&self, key: &NamespacedName, report: Report, done: bool) {
        let mut state = self.state();
        let same = |waits: &Report| waits.uid == report.uid && waits.generation == report.generation;
        if !state.reports.get(key).is_some_and(same) {
            return;
        }
        if !done {
            let failures = report.failures.saturating_add(1);
            let due = Instant::now() + BACKOFF.after(failures, u64::from(failures));
            state.reports.insert(key.clone(), Report { failures, due, ..report });
            return;
        }
        state.reports.remove(key);
        state.reported.insert(&report.uid, report.generation);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is said of an object. Its `spec.suspend` is read whatever else is wrong with it.
fn message(problem: &str, raw: &DynamicObject) -> String {
    let suspend = raw.data.pointer("/spec/suspend");
    let suspended = match suspend {
        Some(Value::Bool(suspended)) => *suspended,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        _ => false,
    };
    let until = if suspended {
        "spec.suspend is true: it stays suspended"
    } else {
        "it is treated as suspended until it can be read"
    };
    format!("the object cannot be read: {problem} ({until})")
}

/// What of a status can be read.
fn status_of(raw: &DynamicObject) -> Status {
    let status = raw.data.get("status").cloned().unwrap_or_default();
    let conditions: Vec<Condition> = status
        .get("conditions")
        .and_then(|list| serde_json::from_value(list.clone()).ok())
        .unwrap_or_default();
    Status {
        conditions,
        observed_generation: status.get("observedGeneration").and_then(Value::as_i64).unwrap_or(-1),
        last_handled_reconcile_at: status
            .get("lastHandledReconcileAt")
            .and_then(|text| text.as_str())
            .map(str::to_owned),
    }
}

#[cfg(test)]
mod tests;
