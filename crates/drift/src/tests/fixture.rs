//! A loop before the mock API server, with a few objects applied and watched.

use plumb_apply::{ApplyOptions, execute};
use plumb_cluster::{Budget, Cluster, NamespacedName};
use plumb_manifests::Object;
use plumb_planning::fingerprint::HashKey;
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

pub fn owner() -> OwnerRef {
    OwnerRef::kustomization(&key())
}

pub fn settings(name: &str, data: &Value) -> Object {
    let value = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "prod"}, "data": data,
    });
    Object::new(value).unwrap()
}

pub struct Fixture {
    pub api: Api,
    pub drift: DriftLoop,
    pub shutdown: CancellationToken,
    recorder: Arc<EventRecorder>,
    cluster: Cluster,
    measures: plumb_runtime::Metrics,
}

/// The name of another Kustomization that there is.
pub const NEIGHBOUR: &str = "neighbour";

#[derive(Default)]
struct EventRecorder {
    emitted: Mutex<Vec<EventDraft>>,
    reports: Mutex<usize>,
}

impl EventSink for EventRecorder {
    fn emit(&self, owner: &OwnerRef, event: EventDraft) {
        assert_eq!(*owner, self::owner());
        self.emitted.lock().unwrap().push(event);
    }

    fn exists(&self, owner: &OwnerRef) -> bool {
        owner.name.name == NEIGHBOUR
    }

    fn drift_changed(&self, _: &OwnerRef) {
        *self.reports.lock().unwrap() += 1;
    }
}

/// What a controller passes on.
impl Fixture {
    pub fn set_policy(&self, policy: DriftPolicy) {
        self.drift.step(Input::Policy(owner(), policy));
    }

    pub fn set_mode(&self, mode: DriftMode, suspended: bool, interval: Duration) {
        self.drift.step(Input::Spec { owner: owner(), mode, suspended, interval });
    }

    pub fn unreadable(&self) {
        self.drift.step(Input::Unreadable(owner()));
    }

    pub fn forget(&self) {
        self.drift.step(Input::Forget(owner()));
    }

    pub fn restore(&self, request: RestoreRequest) {
        self.drift.step(Input::Restore(owner(), request));
    }

    pub fn restore_status(&self, status: &plumb_api::kustomize::DriftStatus) {
        self.drift.step(Input::Remember(owner(), status.clone()));
    }

    pub fn adopt(&self, managed: Managed) {
        self.drift.step(Input::Adopt(owner(), managed));
    }

    pub fn adopt_unverified(&self, managed: Managed) {
        self.drift.step(Input::AdoptUnverified(owner(), managed));
    }

    pub fn audit(&self) {
        self.drift.step(Input::Audit(owner()));
    }

    pub fn at_interval(&self) -> std::collections::BTreeSet<plumb_manifests::ObjectId> {
        self.drift.at_interval(&owner())
    }

    pub async fn begin(&self) -> Attempt {
        self.drift.begin(&owner()).await
    }

    pub fn report(&self) -> Option<DriftReport> {
        let report = self.drift.0.lock().report(&owner(), self.drift.0.now());
        assert_eq!(self.drift.snapshot(&owner()).get(), report, "the snapshot is as new");
        report
    }

    /// How many objects drift.
    pub fn open(&self) -> usize {
        self.report().unwrap().drift.map_or(0, |drift| drift.entries.len())
    }

    pub fn is_known(&self) -> bool {
        self.drift.is_known(&owner())
    }

    pub fn applied(&self) -> BTreeMap<plumb_manifests::ObjectId, plumb_planning::fingerprint::Fingerprint> {
        self.drift.applied(&owner())
    }

    pub fn known(&self) -> BTreeMap<plumb_manifests::ObjectId, plumb_planning::record::Record> {
        self.drift.0.lock().records(&owner())
    }
}

impl Fixture {
    pub async fn enabled(names: &[&str]) -> Self {
        Self::with(names, DriftMode::Enabled, false).await
    }

    /// ConfigMaps of these names with `a: "1"`, applied and watched.
    pub async fn with(names: &[&str], mode: DriftMode, suspended: bool) -> Self {
        let objects: Vec<Object> = names.iter().map(|name| settings(name, &json!({"a": "1"}))).collect();
        Self::of(&objects, mode, suspended, Api::new("configmaps", "ConfigMap")).await
    }

    /// The same, but the kind may not be watched.
    pub async fn blind(names: &[&str]) -> Self {
        let api = Api::new("configmaps", "ConfigMap");
        api.scenario.on("GET", "/api/v1/configmaps", Response::forbidden("cannot list resource configmaps"));
        let objects: Vec<Object> = names.iter().map(|name| settings(name, &json!({"a": "1"}))).collect();
        Self::of(&objects, DriftMode::Enabled, false, api).await
    }

    /// A Secret in mode `warn`.
    pub async fn secret(password: &str) -> Self {
        let value = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": "prod"},
            "stringData": {"password": password},
        });
        Self::of(&[Object::new(value).unwrap()], DriftMode::Warn, false, Api::new("secrets", "Secret")).await
    }

    pub async fn of(objects: &[Object], mode: DriftMode, suspended: bool, api: Api) -> Self {
        let began = Instant::now();
        let start: jiff::Timestamp = "2026-05-01T12:00:00Z".parse().unwrap();
        let clock = move || start + jiff::SignedDuration::try_from(began.elapsed()).unwrap();
        api.set_clock(Arc::new(clock));
        let cluster = Cluster::new(api.scenario.client(), Arc::new(clock));
        let (recorder, shutdown, metrics) =
            (Arc::new(EventRecorder::default()), CancellationToken::new(), DriftMetrics::default());
        let measures = plumb_runtime::Metrics::default();
        metrics.register(&measures);
        let deps = DriftDeps {
            cluster: cluster.clone(),
            events: recorder.clone(),
            takeover: Takeover::default(),
            tools: Tools::default(),
            concurrency: 4,
            started: start,
            shutdown: shutdown.clone(),
            metrics,
        };
        let fixture = Self { api, drift: DriftLoop::start(deps), shutdown, recorder, cluster, measures };
        let managed = fixture.apply_all(objects).await;
        fixture.adopt(Managed { policy: Self::policy(mode, suspended), ..managed });
        tokio::time::sleep(MOMENT).await;
        fixture.api.scenario.forget_calls();
        fixture
    }

    pub fn policy(mode: DriftMode, suspended: bool) -> DriftPolicy {
        DriftPolicy {
            revision: "main@sha1:abc".to_owned(),
            origin_revision: Some("v1.0@sha1:000".to_owned()),
            mode,
            suspended,
            interval: Duration::from_mins(1),
        }
    }

    pub fn planned(objects: &[Object]) -> Vec<Arc<Planned>> {
        plan::prepare(objects.to_vec(), &owner().labels(), &HashKey::new([7; 32])).unwrap()
    }

    async fn apply_all(&self, objects: &[Object]) -> Managed {
        let (managed, complaint) = self.attempt(objects).await;
        assert_eq!(complaint, None);
        managed
    }

    /// An attempt that may fail.
    pub async fn try_apply(&self, objects: &[Object]) {
        let attempt = self.begin().await;
        let (managed, _) = self.attempt(objects).await;
        let policy = self.drift.0.lock().policy(&owner()).unwrap().clone();
        attempt.finish(Managed { policy, ..managed });
    }

    /// The value of the field `a` that was applied last.
    pub fn desired(&self, name: &str) -> Option<String> {
        let state = self.drift.0.lock();
        let planned = state.desired(&owner()).find(|planned| planned.id.name == name)?;
        planned.object.text(&["data", "a"]).map(str::to_owned)
    }

    async fn attempt(&self, objects: &[Object]) -> (Managed, Option<String>) {
        let (before, desired) = (Inventory::default(), Self::planned(objects));
        let request =
            Request { desired: &desired, before: &before, selection: Selection::Everything, prunes: true };
        let order = ApplyOptions {
            concurrency: 4,
            takeover: Takeover::default(),
            known: self.known(),
            budget: Budget::lasting(Duration::from_mins(1)),
        };
        let applied = execute(&self.cluster, &plan::plan(request).waves, &order).await;
        let complaint = applied.error_summary();
        let applied = applied.changes.into_iter().map(Into::into).collect();
        (Managed { policy: DriftPolicy::default(), objects: desired, applied }, complaint)
    }

    /// An attempt that applies all of these.
    pub async fn apply(&self, objects: &[Object], revision: &str) {
        self.apply_and(objects, revision, async {}).await;
    }

    /// An attempt that applies all of these, and ends after this.
    pub async fn apply_and(&self, objects: &[Object], revision: &str, rest: impl Future<Output = ()>) {
        let attempt = self.begin().await;
        let managed = self.apply_all(objects).await;
        rest.await;
        let policy = DriftPolicy { revision: revision.to_owned(), ..Self::policy(DriftMode::Warn, false) };
        attempt.finish(Managed { policy, ..managed });
        tokio::time::sleep(Duration::from_secs(2)).await;
    }

    pub fn inventory(&self) -> Inventory {
        self.applied().into_keys().map(|id| (id, "v1".to_owned())).collect()
    }

    pub fn emitted(&self) -> Vec<(Reason, String)> {
        let emitted = self.recorder.emitted.lock().unwrap();
        emitted.iter().map(|event| (event.reason, event.message.clone())).collect()
    }

    pub fn metadata(&self) -> Vec<BTreeMap<String, String>> {
        self.recorder.emitted.lock().unwrap().iter().map(|event| event.metadata.clone()).collect()
    }

    pub fn reports(&self) -> usize {
        *self.recorder.reports.lock().unwrap()
    }

    pub fn metrics(&self) -> String {
        self.measures.render()
    }

    /// Whether nothing is under way and nothing waits, except for its time.
    pub fn is_at_rest(&self) -> bool {
        self.drift.0.lock().is_idle()
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
