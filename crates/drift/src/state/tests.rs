//! Single steps of the machine.

mod lifetimes;
mod owners;

use std::sync::Arc;
use std::time::Duration;

use plumb_api::meta::NamespacedName;
use plumb_manifests::Object;
use plumb_planning::fingerprint::HashKey;
use plumb_planning::fixtures::at;
use plumb_planning::plan::{self, Planned};
use plumb_planning::takeover::Takeover;
use plumb_status::Reason;
use serde_json::{Value, json};

use super::*;
use crate::rules::Finding;
use crate::rules::open::ReportAfter;

fn owner() -> OwnerRef {
    OwnerRef::kustomization(&NamespacedName::new("flux-system", "apps"))
}

fn planned(value: Value) -> Arc<Planned> {
    let objects = vec![Object::new(value).unwrap()];
    plan::prepare(objects, &owner().labels(), &HashKey::new([7; 32])).unwrap().remove(0)
}

fn settings(value: &str) -> Arc<Planned> {
    planned(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "prod"},
        "data": {"a": value},
    }))
}

fn namespace() -> Arc<Planned> {
    planned(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "prod"}}))
}

/// The live object, in this version.
fn live(planned: &Planned, version: u32) -> Object {
    let mut value = planned.object.value().clone();
    value["metadata"]["uid"] = "u1".into();
    value["metadata"]["resourceVersion"] = version.to_string().into();
    Object::new(value).unwrap()
}

fn adopted(mode: DriftMode, objects: &[Arc<Planned>], version: u32) -> Managed {
    let applied = objects.iter().map(|planned| Applied {
        id: planned.id.clone(),
        change: ApplyChange::Written,
        live: live(planned, version),
    });
    let policy = DriftPolicy { mode, interval: Duration::from_mins(10), ..DriftPolicy::default() };
    Managed { policy, objects: objects.to_vec(), applied: applied.collect() }
}

fn begun(mode: DriftMode, objects: &[Arc<Planned>]) -> State {
    let mut state = State::new(Settings { concurrency: 4, started: at(-60) });
    state.step(Input::Adopt(owner(), adopted(mode, objects, 10)), at(0));
    state
}

/// A watch event of an object that another manager wrote.
fn edited(planned: &Planned, version: u32) -> Input {
    let mut value = live(planned, version).value().clone();
    value["metadata"]["managedFields"] = json!([{
        "manager": "kubectl-edit", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {"f:a": {}}},
    }]);
    let seen = Seen::of(&value["metadata"], &owner().labels(), &Takeover::default(), false);
    let kind = (String::new(), "v1".to_owned(), planned.id.kind.clone());
    Input::Seen(kind, planned.id.clone(), Box::new(seen))
}

fn looks(effects: Vec<Effect>) -> Vec<CompareJob> {
    effects
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Look(job) => Some(*job),
            _ => None,
        })
        .collect()
}

fn finished(job: &CompareJob, outcome: Outcome) -> Input {
    Input::Finished(Box::new(Finished { job: job.clone(), outcome, wrote: false, detected: None }))
}

fn open(finding: Finding, live: Object) -> Outcome {
    Outcome::Open(Box::new(OpenOutcome {
        finding,
        live: Some(live),
        why: "mode is warn".to_owned(),
        report: ReportAfter::AtOnce,
        again: CompareAgain::Never,
        held_by_controller: false,
    }))
}

#[test]
fn a_restore_that_an_attempt_overtakes_does_not_run_again_over_a_newer_edit() {
    let before = settings("1");
    let mut state = begun(DriftMode::Warn, std::slice::from_ref(&before));
    let [job] = &looks(state.step(edited(&before, 11), at(1)))[..] else { panic!("no look") };
    let finding = Finding::compare(&live(&before, 11), &live(&settings("0"), 10), at(1)).unwrap();
    state.step(finished(job, open(finding, live(&before, 11))), at(1));
    let request = RestoreRequest {
        raw: at(2).to_string(),
        echoed: None,
        crd_echoes: true,
        inventory: [(before.id.clone(), "v1".to_owned())].into_iter().collect(),
    };
    let restoring = looks(state.step(Input::Restore(owner(), request), at(5)));
    assert!(restoring[0].request.restore);
    // An attempt applies a new revision, and a user edits the object after that, before the comparison returns.
    let after = settings("2");
    state.step(Input::Hold(owner()), at(5));
    assert!(!state.may_write(&restoring[0]));
    state.step(Input::Adopt(owner(), adopted(DriftMode::Warn, std::slice::from_ref(&after), 12)), at(6));
    state.step(Input::Release(owner()), at(6));
    state.step(edited(&after, 13), at(7));
    let mut again = looks(state.step(finished(&restoring[0], Outcome::Postponed), at(7)));
    again.extend(looks(state.step(Input::Tick, at(9))));
    assert_eq!(again.len(), 1, "the edit is looked at");
    assert!(!again[0].request.restore, "but it is not restored");
}

#[test]
fn objects_that_failed_without_their_namespace_are_retried_at_once_when_it_is_back() {
    let (namespace, settings) = (namespace(), settings("1"));
    let mut state = begun(DriftMode::Enabled, &[namespace.clone(), settings.clone()]);
    let failure = LookFailure {
        message: "namespaces \"prod\" not found".to_owned(),
        denied: false,
        passing: false,
        away: false,
    };
    let mut jobs = looks(state.step(edited(&settings, 11), at(1)));
    let mut second = 1;
    for _ in 0..6 {
        state.step(finished(&jobs[0], Outcome::Failed(failure.clone())), at(second));
        second += 64;
        jobs = looks(state.step(Input::Tick, at(second)));
        assert_eq!(jobs.len(), 1, "after {second} s");
    }
    state.step(finished(&jobs[0], Outcome::Failed(failure)), at(second));
    assert!(looks(state.step(Input::Tick, at(second + 5))).is_empty(), "it backs off");
    // The namespace is there again, as another one.
    let mut metadata = live(&namespace, 40).value()["metadata"].clone();
    metadata["uid"] = "u2".into();
    let seen = Seen::of(&metadata, &owner().labels(), &Takeover::default(), false);
    let kind = (String::new(), "v1".to_owned(), "Namespace".to_owned());
    let jobs = looks(state.step(Input::Seen(kind, namespace.id.clone(), Box::new(seen)), at(second + 6)));
    assert!(jobs.iter().any(|job| job.id == settings.id), "{jobs:?}");
}
