//! Stand: a desk before the mock API server, with a few objects applied and watched.

use plumb_apply::{ApplyOptions, ObjectChange, execute};
use plumb_cluster::{Budget, Cluster, NamespacedName};
use plumb_manifests::Object;
use plumb_planning::drift::Tools;
use plumb_planning::fingerprint::HashKey;
use plumb_planning::ownership::Owner;
use plumb_planning::plan::{self, Planned, Request, Selection};
use plumb_planning::takeover::Takeover;
use plumb_status::EventDraft;
use plumb_testkit::scenario::Response;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::api::Api;
use super::*;

pub fn key() -> NamespacedName {
    NamespacedName::new("flux-system", "apps")
}

pub fn settings(name: &str, data: &Value) -> Object {
    let value = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "prod"}, "data": data,
    });
    Object::new(value).unwrap()
}

pub struct Stand {
    pub api: Api,
    pub desk: DriftLoop,
    pub shutdown: CancellationToken,
    ear: Arc<Ear>,
    cluster: Cluster,
    measures: plumb_runtime::Metrics,
}

/// The name of another Kustomization that there is.
pub const NEIGHBOUR: &str = "neighbour";

#[derive(Default)]
struct Ear {
    said: Mutex<Vec<EventDraft>>,
    reports: Mutex<usize>,
}

impl EventSink for Ear {
    fn emit(&self, key: &NamespacedName, event: EventDraft) {
        assert_eq!(*key, self::key());
        self.said.lock().unwrap().push(event);
    }

    fn exists(&self, key: &NamespacedName) -> bool {
        key.name == NEIGHBOUR
    }

    fn drift_changed(&self, _: &NamespacedName) {
        *self.reports.lock().unwrap() += 1;
    }
}

impl Stand {
    pub async fn enabled(names: &[&str]) -> Self {
        Self::with(names, Mode::Enabled, false).await
    }

    /// ConfigMaps of these names with `a: "1"`, applied and watched.
    pub async fn with(names: &[&str], mode: Mode, suspended: bool) -> Self {
        let objects: Vec<Object> = names.iter().map(|name| settings(name, &json!({"a": "1"}))).collect();
        Self::of(&objects, mode, suspended, Api::new("configmaps", "ConfigMap")).await
    }

    /// The same, but the kind may not be watched.
    pub async fn blind(names: &[&str]) -> Self {
        let api = Api::new("configmaps", "ConfigMap");
        api.scenario.on("GET", "/api/v1/configmaps", Response::forbidden("cannot list resource configmaps"));
        let objects: Vec<Object> = names.iter().map(|name| settings(name, &json!({"a": "1"}))).collect();
        Self::of(&objects, Mode::Enabled, false, api).await
    }

    /// A Secret in mode `warn`.
    pub async fn secret(password: &str) -> Self {
        let value = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": "prod"},
            "stringData": {"password": password},
        });
        Self::of(&[Object::new(value).unwrap()], Mode::Warn, false, Api::new("secrets", "Secret")).await
    }

    pub async fn of(objects: &[Object], mode: Mode, suspended: bool, api: Api) -> Self {
        let began = Instant::now();
        let start: jiff::Timestamp = "2026-05-01T12:00:00Z".parse().unwrap();
        let clock = move || start + jiff::SignedDuration::try_from(began.elapsed()).unwrap();
        api.set_clock(Arc::new(clock));
        let cluster = Cluster::new(api.scenario.client(), Arc::new(clock));
        let (ear, shutdown, metrics) =
            (Arc::new(Ear::default()), CancellationToken::new(), DriftMetrics::default());
        let measures = plumb_runtime::Metrics::default();
        metrics.register(&measures);
        let deps = DriftDeps {
            cluster: cluster.clone(),
            events: ear.clone(),
            takeover: Takeover::default(),
            tools: Tools::default(),
            concurrency: 4,
            started: start,
            shutdown: shutdown.clone(),
            metrics,
        };
        let stand = Self { api, desk: DriftLoop::start(deps), shutdown, ear, cluster, measures };
        let managed = stand.applied(objects).await;
        let terms = Self::terms(mode, suspended);
        stand.desk.adopt(&key(), Managed { terms, ..managed });
        tokio::time::sleep(MOMENT).await;
        stand.api.scenario.forget_calls();
        stand
    }

    pub fn terms(mode: Mode, suspended: bool) -> DriftPolicy {
        DriftPolicy {
            revision: "main@sha1:abc".to_owned(),
            origin_revision: Some("v1.0@sha1:000".to_owned()),
            mode,
            suspended,
            interval: Duration::from_mins(1),
        }
    }

    pub fn planned(objects: &[Object]) -> Vec<Planned> {
        let owner = Owner { name: key().name, namespace: key().namespace };
        plan::prepare(objects.to_vec(), &owner, &HashKey::new([7; 32])).unwrap()
    }

    async fn applied(&self, objects: &[Object]) -> Managed {
        let (managed, complaint) = self.attempt(objects).await;
        assert_eq!(complaint, None);
        managed
    }

    /// An attempt that may fail.
    pub async fn try_apply(&self, objects: &[Object]) {
        let hold = self.desk.lock_for_attempt(&key()).await;
        let (managed, _) = self.attempt(objects).await;
        let terms = self.desk.0.lock().books[&key()].terms.clone();
        self.desk.adopt(&key(), Managed { terms, ..managed });
        drop(hold);
    }

    /// What was applied last says of the field `a`.
    pub fn desired(&self, name: &str) -> Option<String> {
        let state = self.desk.0.lock();
        let objects = &state.books[&key()].objects;
        let kept = objects.iter().find(|(id, _)| id.name == name)?.1;
        kept.planned.object.text(&["data", "a"]).map(str::to_owned)
    }

    async fn attempt(&self, objects: &[Object]) -> (Managed, Option<String>) {
        let (before, desired) = (Inventory::default(), Self::planned(objects));
        let request = Request {
            desired: desired.clone(),
            before: &before,
            selection: Selection::Everything,
            prunes: true,
        };
        let order = ApplyOptions {
            concurrency: 4,
            takeover: Takeover::default(),
            known: self.desk.known(&key()),
            budget: Budget::lasting(Duration::from_mins(1)),
        };
        let applied = execute(&self.cluster, &plan::plan(request).waves, &order).await;
        let complaint = applied.error_summary();
        let changes: Vec<ObjectChange> = applied.changes;
        (Managed { terms: DriftPolicy::default(), objects: desired, changes }, complaint)
    }

    /// An attempt that applies all of these.
    pub async fn apply(&self, objects: &[Object], revision: &str) {
        self.apply_and(objects, revision, async {}).await;
    }

    /// An attempt that applies all of these, and ends after this.
    pub async fn apply_and(&self, objects: &[Object], revision: &str, rest: impl Future<Output = ()>) {
        let hold = self.desk.lock_for_attempt(&key()).await;
        let managed = self.applied(objects).await;
        rest.await;
        let terms = DriftPolicy { revision: revision.to_owned(), ..Self::terms(Mode::Warn, false) };
        self.desk.adopt(&key(), Managed { terms, ..managed });
        drop(hold);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }

    pub fn inventory(&self) -> Inventory {
        self.desk.applied(&key()).into_keys().map(|id| (id, "v1".to_owned())).collect()
    }

    pub fn said(&self) -> Vec<(Reason, String)> {
        let said = self.ear.said.lock().unwrap();
        said.iter().map(|event| (event.reason, event.message.clone())).collect()
    }

    pub fn metadata(&self) -> Vec<BTreeMap<String, String>> {
        self.ear.said.lock().unwrap().iter().map(|event| event.metadata.clone()).collect()
    }

    pub fn reports(&self) -> usize {
        *self.ear.reports.lock().unwrap()
    }

    pub fn metrics(&self) -> String {
        self.measures.render()
    }

    /// Whether nobody is at work and nobody waits.
    pub fn is_at_rest(&self) -> bool {
        let state = self.desk.0.lock();
        let idle = state.books.values().all(|book| {
            let quiet = |kept: &book::TrackedObject| {
                kept.phase == book::Phase::Idle
                    && kept.errand.is_none()
                    && kept.late.seen.is_none()
                    && kept.late.gone.is_none()
            };
            book.holds == 0 && book.writing == 0 && book.objects.values().all(quiet)
        });
        idle && state.running == 0
            && state.running_deferred == 0
            && state.ready.is_empty()
            && state.deferred.is_empty()
    }

    /// Requests for single objects: `GET x`, `PATCH x`, `PATCH x dry`.
    pub fn writes(&self) -> Vec<String> {
        let calls = self.api.scenario.calls();
        let single = calls.iter().filter(|call| call.path.contains("/v1/namespaces/prod/"));
        single
            .map(|call| {
                let name = call.path.rsplit('/').next().unwrap();
                let dry = if call.parameter("dryRun").is_some() { " dry" } else { "" };
                format!("{} {name}{dry}", call.method)
            })
            .collect()
    }
}
