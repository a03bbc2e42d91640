//! Whole attempts of any kind of source, for its scenario tests: a real store, a mock API server; every resulting status passes the
//! lint.

use std::{sync::Mutex, time::Duration};

use jiff::Timestamp;
use kube::Resource as _;
use plumb_api::meta::Reconciled as _;
use plumb_status::{AttemptOutcome, Before, Status, Summary, breaches, summarize};
use plumb_store::{Advertised, ArtifactStore, Retention};
use plumb_testkit::scenario::{Response, Scenario};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::artifact::{ArtifactLedger, ConditionOf, Source, Storage, reconcile, teardown};

/// One object, and what its attempts work with.
pub struct Fixture<S> {
    pub source: S,
    pub storage: Storage,
    pub api: Scenario,
    pub object: Value,
    pub root: tempfile::TempDir,
    pub now: Timestamp,
}

impl<S: Source<Object: DeserializeOwned>> Fixture<S> {
    /// The object `apps/app` with a spec. The source is given the API server, and a directory for temporary files.
    pub fn new(spec: &Value, source: impl FnOnce(&Scenario, &std::path::Path) -> S) -> Self {
        let root = tempfile::tempdir().unwrap();
        let api = Scenario::new();
        let source = source(&api, root.path());
        let storage = storage(root.path());
        let object = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": S::Object::kind(&()),
            "metadata": { "name": "app", "namespace": "apps", "generation": 1 },
            "spec": spec, "status": { "observedGeneration": -1 },
        });
        Self { source, storage, api, object, root, now: "2026-01-01T00:00:00Z".parse().unwrap() }
    }

    /// Changes a field of the spec, as a user would.
    pub fn set(&mut self, field: &str, value: Value) -> &mut Self {
        self.object["spec"][field] = value;
        let generation = self.object["metadata"]["generation"].as_i64().unwrap();
        self.object["metadata"]["generation"] = json!(generation + 1);
        self
    }

    /// The Secret of this name has this data.
    pub fn secret(&self, name: &str, data: &[(&str, &str)]) {
        let data: Value = data.iter().map(|(key, value)| ((*key).to_owned(), json!(base64(value)))).collect();
        let body =
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "data": data });
        self.api.on("GET", &format!("/api/v1/namespaces/apps/secrets/{name}"), Response::ok(body));
    }

    /// One attempt; its status is stored as the runtime would store it.
    pub async fn attempt(&mut self) -> Summary {
        let object = self.typed();
        let ledger = Mutex::new(ArtifactLedger::of(&object, &self.storage));
        let outcome = reconcile(&self.source, &object, &self.storage, &ledger, self.now).await;
        self.finish(&object, &ledger.into_inner().unwrap(), &outcome)
    }

    /// The attempt for an object that is being deleted.
    pub async fn teardown(&mut self) -> AttemptOutcome<ConditionOf<S>> {
        let object = self.typed();
        let ledger = Mutex::new(ArtifactLedger::of(&object, &self.storage));
        teardown::<S>(&object, &self.storage, &ledger).await
    }

    /// The object as it is now.
    pub fn typed(&self) -> S::Object {
        serde_json::from_value(self.object.clone()).unwrap()
    }

    /// Stores the status that an attempt leads to.
    pub fn finish(
        &mut self,
        object: &S::Object,
        ledger: &ArtifactLedger<ConditionOf<S>>,
        outcome: &AttemptOutcome<ConditionOf<S>>,
    ) -> Summary {
        let before = Status {
            conditions: object.conditions().to_vec(),
            observed_generation: object.observed_generation().unwrap_or(-1),
            last_handled_reconcile_at: object.last_handled_reconcile_at().map(str::to_owned),
        };
        let generation = object.meta().generation.unwrap();
        let view =
            Before { generation, requested_at: None, at_start: &before, current: &before, now: self.now };
        let summary = summarize(&view, ledger, outcome);
        let Some(after) = summary.status.clone() else {
            self.object["status"] = json!({});
            return summary;
        };
        assert_eq!(breaches::<ConditionOf<S>>(generation, &after), Vec::<&str>::new(), "{after:?}");
        for (field, value) in ledger.status() {
            // A merge patch: null removes a field.
            let status = self.object["status"].as_object_mut().unwrap();
            if value.is_null() {
                status.remove(&field)
            } else {
                status.insert(field, value)
            };
        }
        self.object["status"]["conditions"] = json!(after.conditions);
        self.object["status"]["observedGeneration"] = json!(after.observed_generation);
        summary
    }

    /// The artifact of the status.
    pub fn artifact(&self) -> &Value {
        &self.object["status"]["artifact"]
    }

    /// The file of the artifact.
    pub fn stored(&self) -> std::path::PathBuf {
        self.root.path().join("data").join(self.artifact()["path"].as_str().unwrap())
    }
}

/// A storage below a directory.
pub fn storage(root: &std::path::Path) -> Storage {
    let advertised =
        Advertised::new("source-controller.flux-system.svc.", "127.0.0.1:1".parse().unwrap(), None);
    Storage {
        store: ArtifactStore::open(&root.join("data")).unwrap(),
        bucket: None,
        advertised,
        retention: Retention { ttl: Duration::from_mins(1), records: 2 },
    }
}

/// Base64, as the API server writes bytes.
pub fn base64(text: &str) -> String {
    let bytes = k8s_openapi::ByteString(text.as_bytes().to_vec());
    serde_json::to_value(bytes).unwrap().as_str().unwrap().to_owned()
}

/// Status, reason and message of Ready.
pub fn ready(summary: &Summary) -> (String, String, String) {
    let ready = summary.status.as_ref().unwrap().ready().unwrap();
    (ready.status.as_str().to_owned(), ready.reason.clone(), ready.message.clone())
}

/// Reason and message of each event.
pub fn emitted(summary: &Summary) -> Vec<String> {
    summary.events.iter().map(|event| format!("{} {}", event.reason, event.message)).collect()
}

/// Status and reason of a condition.
pub fn condition(summary: &Summary, type_: &str) -> Option<String> {
    let found = summary.status.as_ref().unwrap().condition(type_);
    found.map(|found| format!("{} {}", found.status.as_str(), found.reason))
}
