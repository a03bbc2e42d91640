//! Attempts that end in every way an attempt can end, driven as a controller drives them.

use std::collections::{BTreeMap, VecDeque};

use plumb_api::source::{GitRepository, GitRepositoryCondition};
use plumb_status::Ledger;
use plumb_testkit::scenario::{Call, Response, Scenario};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use super::*;
use crate::events::Senders;
use crate::report::Reporter;

const PATH: &str = "/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/gitrepositories/*";
const STATUS: &str = "/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/gitrepositories/*/status";

/// The name of an object that is suspended, whoever shows it.
const RESTING: &str = "resting";

/// The name of an object that only holds settings for others.
const SETTINGS: &str = "settings";

/// The name of an object whose own fields make its status too large.
const LARGE: &str = "large";

/// Knows nothing of its own.
struct Nothing;

impl Ledger for Nothing {
    type Condition = GitRepositoryCondition;
}

type Script = Box<dyn Fn(&str) -> Step + Send + Sync>;

/// What an attempt does.
#[derive(Clone)]
enum Step {
    End(AttemptOutcome<GitRepositoryCondition>),
    Panic,
    Sleep(Duration),
    UntilSuperseded,
    Park(Arc<Notify>),
}

struct Scripted {
    script: Script,
    deadline: Duration,
}

impl ReconciledKind for Scripted {
    type Object = GitRepository;
    type Ledger = Nothing;

    fn ledger(&self, _: &GitRepository) -> Nothing {
        Nothing
    }

    fn needs_finalizer(&self, object: &GitRepository) -> bool {
        object.metadata.name.as_deref() != Some(SETTINGS)
    }

    async fn reconcile(&self, visit: &Visit<Self>) -> AttemptOutcome<GitRepositoryCondition> {
        match (self.script)(&visit.key().name) {
            Step::End(ending) => ending,
            Step::Panic => panic!("on purpose"),
            Step::Sleep(time) => {
                tokio::time::sleep(time).await;
                done()
            }
            Step::UntilSuperseded => AttemptOutcome::Superseded { by: visit.superseded().await },
            Step::Park(wake) => {
                visit.park();
                wake.notified().await;
                done()
            }
        }
    }

    fn status(&self, object: &GitRepository, _: &Nothing) -> Map<String, Value> {
        assert!(object.metadata.name.as_deref() != Some("faulty"), "on purpose");
        let mut fields = Map::new();
        if object.metadata.name.as_deref() == Some(LARGE) {
            fields.insert("observedIgnore".into(), "more than the API server takes".into());
        }
        fields
    }

    async fn reconcile_suspended(&self, visit: &Visit<Self>) -> Option<Duration> {
        match (self.script)(&visit.key().name) {
            Step::Sleep(again) => Some(again),
            _ => None,
        }
    }

    fn deadline(&self, _: &GitRepository) -> Duration {
        self.deadline
    }
}

fn done() -> AttemptOutcome<GitRepositoryCondition> {
    AttemptOutcome::Succeeded { detail: Detail::new(Reason::Succeeded, "done"), changed: true }
}

fn failed() -> AttemptOutcome<GitRepositoryCondition> {
    let detail = Detail::new(Reason::GitOperationFailed, "no route");
    AttemptOutcome::Failed { condition: None, detail, retry: RetryPolicy::Backoff }
}

/// The objects that were added, by name.
type Objects = Arc<Mutex<BTreeMap<String, Value>>>;

/// An API server that keeps objects, and a driver that runs against it.
struct Fixture {
    api: Scenario,
    objects: Objects,
    store: ObjectCache<GitRepository>,
    queue: Queue,
    shutdown: CancellationToken,
    senders: Senders,
}

impl Fixture {
    fn new(script: impl Fn(&str) -> Step + Send + Sync + 'static, concurrent: usize) -> Self {
        let api = Scenario::new();
        let objects = Objects::default();
        let kept = Arc::clone(&objects);
        let version = Mutex::new(100);
        api.on(
            "PATCH",
            STATUS,
            Response::with(move |call| {
                let mut version = version.lock().unwrap();
                *version += 1;
                Response::ok(answered(&kept, call, *version))
            }),
        );
        let kept = Arc::clone(&objects);
        api.on("PATCH", PATH, Response::with(move |call| Response::ok(answered(&kept, call, 99))));
        let store = ObjectCache::default();
        let queue = Queue::new(cadence::Backoff::default());
        let metrics = Metrics::default();
        let (recorder, senders) = Recorder::new("c", "i".into(), None, Clock::system(), metrics.clone());
        let driver = Driver {
            kind: Arc::new(Scripted { script: Box::new(script), deadline: Duration::from_mins(1) }),
            store: store.clone(),
            queue: queue.clone(),
            reporter: Reporter::new(api.client(), "c", store.clone(), Arc::new(|_| {})),
            periods: PeriodReporter::new(recorder.clone()),
            recorder,
            clock: Clock::system(),
            metrics,
            concurrent,
            jitter: 0,
            suspensions: Suspensions::default(),
        };
        let shutdown = CancellationToken::new();
        tokio::spawn(driver.run(shutdown.clone()));
        Self { api, objects, store, queue, shutdown, senders }
    }

    fn add(&self, object: Value, priority: Priority) -> NamespacedName {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.objects.lock().unwrap().insert(name, object.clone());
        let object: GitRepository = serde_json::from_value(object).unwrap();
        let key = NamespacedName::of(&object);
        self.store.put(object);
        self.queue.add(&key, priority);
        key
    }

    /// The statuses that were written, once there are that many.
    async fn statuses(&self, name: &str, count: usize) -> Vec<Value> {
        let path = format!("/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/gitrepositories/{name}/status");
        within("statuses", || self.api.matching("PATCH", &path).len() >= count).await;
        self.api.matching("PATCH", &path).into_iter().map(|call| call.body["status"].clone()).collect()
    }
}

/// Waits on the paused clock until something holds; otherwise the test fails instead of running forever.
async fn within(what: &str, mut holds: impl FnMut() -> bool) {
    const WAIT_MAX: Duration = Duration::from_mins(10);
    const PAUSE: Duration = Duration::from_millis(5);
    let wait = async {
        while !holds() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    assert!(tokio::time::timeout(WAIT_MAX, wait).await.is_ok(), "no {what} within {WAIT_MAX:?}");
}

impl Fixture {
    /// The messages of the Kubernetes events about clamped periods so far.
    async fn period_events(self) -> Vec<String> {
        const EVENTS: &str = "/api/v1/namespaces/apps/events";
        self.api.on("POST", EVENTS, Response::with(|call| Response::ok(call.body.clone())));
        self.shutdown.cancel();
        let closing = CancellationToken::new();
        closing.cancel();
        self.senders.run(self.api.client(), closing).await;
        let calls = self.api.matching("POST", EVENTS).into_iter();
        let told = calls.filter(|call| call.body["reason"] == "PeriodLimited");
        told.map(|call| call.body["message"].as_str().unwrap().to_owned()).collect()
    }
}

fn answered(objects: &Objects, call: &Call, version: u32) -> Value {
    let name = call.path.split('/').nth(7).unwrap();
    let mut answer = objects.lock().unwrap()[name].clone();
    answer["metadata"]["resourceVersion"] = version.to_string().into();
    if let Some(finalizers) = call.body["metadata"].get("finalizers") {
        answer["metadata"]["finalizers"] = finalizers.clone();
    }
    if let Some(status) = call.body.get("status") {
        answer["status"] = status.clone();
        // A merge patch: null removes a field.
        answer["status"].as_object_mut().unwrap().retain(|_, field| !field.is_null());
    }
    answer
}

fn object(name: &str) -> Value {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": {
            "name": name, "namespace": "apps", "uid": name, "generation": 1, "resourceVersion": "7",
            "finalizers": ["finalizers.fluxcd.io"]
        },
        "spec": { "url": "https://git.example/web", "interval": "1m", "suspend": name == RESTING }
    })
}

fn ready(status: &Value) -> (&str, &str) {
    let ready = &status["conditions"][0];
    (ready["status"].as_str().unwrap(), ready["reason"].as_str().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_reported_and_retried_with_backoff() {
    let fixture = Fixture::new(|_| Step::End(failed()), 1);
    let began = Instant::now();
    fixture.add(object("a"), Priority::Revision);
    let statuses = fixture.statuses("a", 1).await;
    assert_eq!(ready(&statuses[0]), ("False", "GitOperationFailed"));
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(fixture.statuses("a", 1).await.len(), 1, "the same failure is not written again");
    assert!(began.elapsed() >= Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_one_attempt_and_no_other() {
    let fixture = Fixture::new(|name| if name == "a" { Step::Panic } else { Step::End(done()) }, 1);
    fixture.add(object("a"), Priority::Revision);
    fixture.add(object("b"), Priority::Revision);
    assert_eq!(ready(&fixture.statuses("a", 1).await[0]), ("False", "InternalError"));
    assert_eq!(ready(&fixture.statuses("b", 1).await[0]), ("True", "Succeeded"));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_ended_and_says_early_that_it_goes_on() {
    let fixture = Fixture::new(|_| Step::Sleep(Duration::from_mins(10)), 1);
    fixture.add(object("a"), Priority::Revision);
    let statuses = fixture.statuses("a", 2).await;
    assert_eq!(ready(&statuses[0]), ("Unknown", "Progressing"));
    assert_eq!(ready(&statuses[1]), ("False", "TimedOut"));
}

#[tokio::test(start_paused = true)]
async fn a_suspended_object_is_left_alone_but_its_request_is_answered() {
    let fixture = Fixture::new(|_| Step::Panic, 1);
    let mut suspended = object(RESTING);
    suspended["metadata"]["annotations"] = json!({ "reconcile.fluxcd.io/requestedAt": "now" });
    fixture.add(suspended, Priority::Forced);
    let statuses = fixture.statuses(RESTING, 1).await;
    assert_eq!(statuses[0]["lastHandledReconcileAt"], "now");
    assert_eq!(statuses[0]["conditions"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_suspended_object_that_could_not_be_looked_at_is_looked_at_again() {
    let looks = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&looks);
    let fixture = Fixture::new(
        move |_| {
            *counted.lock().unwrap() += 1;
            Step::Sleep(Duration::from_mins(1))
        },
        1,
    );
    fixture.add(object(RESTING), Priority::Interval);
    tokio::time::sleep(Duration::from_secs(150)).await;
    assert_eq!(*looks.lock().unwrap(), 3, "at once, and each minute");
    assert_eq!(fixture.statuses(RESTING, 1).await.len(), 1, "the same status is not written again");
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_driver_loses_no_key() {
    let fixture = Fixture::new(|_| Step::End(done()), 1);
    let key = fixture.add(object("faulty"), Priority::Revision);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!fixture.queue.is_running(&key));
    fixture.add(object("b"), Priority::Revision);
    assert_eq!(ready(&fixture.statuses("b", 1).await[0]), ("True", "Succeeded"));
}

#[tokio::test(start_paused = true)]
async fn something_newer_ends_an_attempt_and_the_next_begins_at_once() {
    let runs = Mutex::new(VecDeque::from([Step::UntilSuperseded, Step::End(done())]));
    let fixture = Fixture::new(move |_| runs.lock().unwrap().pop_front().unwrap(), 1);
    let key = fixture.add(object("a"), Priority::Revision);
    tokio::time::sleep(Duration::from_millis(10)).await;
    fixture.queue.supersede(&key, Priority::Revision, "GitRepository/apps/a");
    let statuses = fixture.statuses("a", 1).await;
    assert_eq!(ready(statuses.last().unwrap()), ("True", "Succeeded"));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_parked_holds_no_worker() {
    let wake = Arc::new(Notify::new());
    let parked = Arc::clone(&wake);
    let fixture = Fixture::new(
        move |name| if name == "a" { Step::Park(Arc::clone(&parked)) } else { Step::End(done()) },
        1,
    );
    fixture.add(object("a"), Priority::Revision);
    fixture.add(object("b"), Priority::Revision);
    assert_eq!(ready(&fixture.statuses("b", 1).await[0]), ("True", "Succeeded"));
    wake.notify_one();
    let statuses = fixture.statuses("a", 1).await;
    assert_eq!(ready(statuses.last().unwrap()).0, "True");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_deleted_is_let_go_when_it_is_torn_down() {
    let fixture = Fixture::new(|_| Step::Panic, 1);
    let mut going = object("a");
    going["metadata"]["deletionTimestamp"] = "2026-11-25T06:30:00Z".into();
    fixture.add(going, Priority::Deletion);
    let path = "/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/gitrepositories/a";
    within("a released finalizer", || !fixture.api.matching("PATCH", path).is_empty()).await;
    let calls = fixture.api.matching("PATCH", path);
    assert_eq!(calls[0].body["metadata"], json!({ "resourceVersion": "7", "finalizers": [] }));
}

#[tokio::test(start_paused = true)]
async fn the_finalizer_comes_before_the_first_attempt() {
    let fixture = Fixture::new(|_| Step::End(done()), 1);
    let mut bare = object("a");
    bare["metadata"]["finalizers"] = json!([]);
    fixture.add(bare, Priority::Revision);
    fixture.statuses("a", 1).await;
    let lines = fixture.api.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(!lines[0].ends_with("/status") && lines[1].ends_with("/status"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_only_holds_settings_keeps_neither_status_nor_finalizer() {
    let fixture = Fixture::new(|_| Step::End(AttemptOutcome::Static), 1);
    fixture.add(settled(SETTINGS), Priority::Revision);
    let [status] = &fixture.statuses(SETTINGS, 1).await[..] else { panic!("one write") };
    assert!(status.as_object().unwrap().values().all(Value::is_null), "{status}");
    assert_eq!(status.as_object().unwrap().len(), 2, "{status}");
    let path = format!("/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/gitrepositories/{SETTINGS}");
    within("a released finalizer", || !fixture.api.matching("PATCH", &path).is_empty()).await;
    assert_eq!(fixture.api.matching("PATCH", &path)[0].body["metadata"]["finalizers"], json!([]));

    // One that never had a status is left alone.
    let fresh = Fixture::new(|_| Step::End(AttemptOutcome::Static), 1);
    let mut bare = object(SETTINGS);
    bare["metadata"]["finalizers"] = json!([]);
    let key = fresh.add(bare, Priority::Revision);
    within("an idle queue", || fresh.queue.depth() == 0 && fresh.queue.active() == 0).await;
    assert_eq!((fresh.api.lines(), fresh.store.get(&key).is_some()), (Vec::<String>::new(), true));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_process_ends_what_goes_on() {
    let fixture = Fixture::new(|_| Step::UntilSuperseded, 1);
    let key = fixture.add(object("a"), Priority::Revision);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(fixture.queue.is_running(&key));
    fixture.shutdown.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!fixture.queue.is_running(&key));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_is_neither_visited_nor_forgotten() {
    let fixture = Fixture::new(|_| Step::Panic, 1);
    let key = fixture.add(object("a"), Priority::Interval);
    fixture.store.note_unreadable(&key);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(fixture.api.lines(), [""; 0]);
    assert!(!fixture.queue.is_running(&key) && fixture.store.is_unreadable(&key));
}

#[tokio::test(start_paused = true)]
async fn a_suspension_and_its_end_are_reported_with_who_did_it() {
    let fixture = Fixture::new(|_| Step::End(done()), 1);
    let mut meta = object("a");
    meta["apiVersion"] = "meta.k8s.io/v1".into();
    meta["kind"] = "PartialObjectMetadata".into();
    meta["metadata"]["managedFields"] =
        json!([{ "manager": "flux", "operation": "Update", "fieldsV1": { "f:spec": { "f:suspend": {} } } }]);
    fixture.api.on("GET", PATH, Response::ok(meta));
    fixture.api.on("POST", "/api/v1/namespaces/apps/events", Response::echo());
    for (version, suspend) in [("200", false), ("201", true), ("202", true), ("203", false)] {
        let mut next = object("a");
        next["metadata"]["resourceVersion"] = version.into();
        next["spec"]["suspend"] = suspend.into();
        fixture.add(next, Priority::Revision);
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(fixture.api.matching("GET", PATH).len(), 2, "one look at each change");
    let Fixture { api, senders, .. } = fixture;
    let closing = CancellationToken::new();
    closing.cancel();
    senders.run(api.client(), closing).await;
    let told = api.matching("POST", "/api/v1/namespaces/apps/events");
    let told = told.iter().map(|call| (call.body["reason"].clone(), call.body["message"].clone()));
    let told: Vec<_> = told.filter(|(reason, _)| reason == "Suspended" || reason == "Resumed").collect();
    assert_eq!(
        told,
        [
            ("Suspended".into(), "reconciliation suspended by \"flux\": spec.suspend is true".into()),
            (
                "Resumed".into(),
                "reconciliation resumed by \"flux\": spec.suspend is not true any more".into()
            ),
        ]
    );
}

/// An object that is Ready, as an attempt without news would write it again.
fn settled(name: &str) -> Value {
    let mut object = object(name);
    object["status"] = json!({
        "observedGeneration": 1,
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Succeeded", "message": "done", "observedGeneration": 1,
            "lastTransitionTime": "2026-11-25T06:30:00Z"
        }]
    });
    object
}

#[tokio::test(start_paused = true)]
async fn an_early_status_that_is_answered_late_does_not_stay() {
    let fixture = Fixture::new(|_| Step::Sleep(EARLY + Duration::from_millis(200)), 1);
    let objects = Arc::clone(&fixture.objects);
    let late = Response::with(move |call| Response::ok(answered(&objects, call, 100)));
    fixture.api.once("PATCH", STATUS, late.after(Duration::from_millis(1500)));
    let began = Instant::now();
    fixture.add(settled("a"), Priority::Interval);
    let statuses = fixture.statuses("a", 2).await;
    assert!(began.elapsed() < Duration::from_secs(5), "not only at the next interval");
    assert_eq!(ready(&statuses[0]), ("Unknown", "Progressing"));
    assert_eq!(ready(&statuses[1]), ("True", "Succeeded"));
    let path = "/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/gitrepositories/a/status";
    assert_eq!(fixture.api.matching("PATCH", path)[1].body["metadata"]["resourceVersion"], "100");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_is_never_taken_leaves_no_older_ready() {
    let fixture = Fixture::new(|_| Step::End(done()), 1);
    let objects = Arc::clone(&fixture.objects);
    fixture.api.on(
        "PATCH",
        STATUS,
        Response::with(move |call| match call.body["status"].get("observedIgnore") {
            Some(_) => Response::status(413, "RequestEntityTooLarge", "limit is 3145728"),
            None => Response::ok(answered(&objects, call, 101)),
        }),
    );
    fixture.add(settled(LARGE), Priority::Interval);
    let statuses = fixture.statuses(LARGE, 2).await;
    assert_eq!(ready(&statuses[1]), ("False", "PatchOperationFailed"));
    let message = statuses[1]["conditions"][0]["message"].as_str().unwrap();
    assert!(message.contains("bytes") && message.contains("limit is 3145728"), "{message}");
    assert!(message.contains("split the object"), "{message}");
    assert_eq!(statuses[1]["observedGeneration"], 1, "stays what it was");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_cannot_be_written_is_tried_again_later_and_later() {
    let fixture = Fixture::new(|_| Step::End(done()), 1);
    for _ in 0..4 {
        fixture.api.once("PATCH", STATUS, Response::status(500, "InternalError", "no"));
    }
    fixture.api.on(
        "GET",
        PATH,
        Response::with(|call| Response::ok(object(call.path.split('/').nth(7).unwrap()))),
    );
    let began = Instant::now();
    fixture.add(object("a"), Priority::Revision);
    let statuses = fixture.statuses("a", 5).await;
    assert_eq!(ready(&statuses[4]), ("True", "Succeeded"));
    assert!(began.elapsed() > Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn what_a_change_asks_for() {
    let kind = Scripted { script: Box::new(|_| Step::Panic), deadline: Duration::ZERO };
    let typed = |value: Value| -> GitRepository { serde_json::from_value(value).unwrap() };
    let with = |edit: fn(&mut Value)| {
        let mut value = object("a");
        edit(&mut value);
        typed(value)
    };
    let plain = typed(object("a"));
    let seen = with(|value| value["status"] = json!({ "observedGeneration": 1 }));
    assert_eq!(urgency(&kind, None, &plain), Some(Priority::Revision), "new");
    assert_eq!(urgency(&kind, None, &seen), Some(Priority::Interval), "after a restart");
    assert_eq!(urgency(&kind, Some(&plain), &seen), None, "a status");
    let asked =
        with(|value| value["metadata"]["annotations"] = json!({ "reconcile.fluxcd.io/requestedAt": "1" }));
    assert_eq!(urgency(&kind, Some(&plain), &asked), Some(Priority::Forced));
    assert_eq!(urgency(&kind, Some(&asked), &asked), None);
    let changed = with(|value| value["metadata"]["generation"] = 2.into());
    assert_eq!(urgency(&kind, Some(&plain), &changed), Some(Priority::Revision));
    let going = with(|value| value["metadata"]["deletionTimestamp"] = "2026-11-25T06:30:00Z".into());
    assert_eq!(urgency(&kind, Some(&plain), &going), Some(Priority::Deletion));
    assert_eq!(urgency(&kind, Some(&going), &going), None);
}

/// So many attempts in ten seconds are a spin.
const SPINS: usize = 1_000;

/// A driver whose attempts at `object` all end as `ending` says, and how many there are in ten seconds.
async fn attempts_in_ten_seconds(
    object: Value,
    ending: impl Fn() -> Step + Send + Sync + 'static,
) -> (usize, Fixture) {
    let attempts = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&attempts);
    let fixture = Fixture::new(
        move |_| {
            let mut counted = counted.lock().unwrap();
            *counted += 1;
            // What spins stands the paused clock still: it is stopped, so that the test ends.
            if *counted > SPINS { Step::Park(Arc::default()) } else { ending() }
        },
        1,
    );
    fixture.add(object, Priority::Revision);
    tokio::time::sleep(Duration::from_millis(10_500)).await;
    let count = *attempts.lock().unwrap();
    (count, fixture)
}

fn with_interval(interval: &str) -> Value {
    let mut object = object("a");
    object["spec"]["interval"] = interval.into();
    object
}

#[tokio::test(start_paused = true)]
async fn an_interval_below_the_minimum_is_looked_at_once_a_second_and_reported_once() {
    for interval in ["0s", "-1s", "1ns", "-9223372036854775808ns"] {
        let (count, fixture) = attempts_in_ten_seconds(with_interval(interval), || Step::End(done())).await;
        assert_eq!(count, 11, "{interval}");
        let events = fixture.period_events().await;
        assert_eq!(events.len(), 1, "{interval}: {events:?}");
        assert!(events[0].contains("below the minimum of 1s; 1s is used"), "{events:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_interval_beyond_every_timer_is_held_and_reported() {
    let (count, fixture) =
        attempts_in_ten_seconds(with_interval("9223372036854775807ns"), || Step::End(done())).await;
    assert_eq!(count, 1);
    let events = fixture.period_events().await;
    assert!(events.len() == 1 && events[0].contains("above the maximum of 87648h0m0s"), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn no_retry_and_no_wait_of_a_kind_spins() {
    for wait in [Duration::ZERO, Duration::from_nanos(1)] {
        let detail = Detail::new(Reason::GitOperationFailed, "no route");
        let failed = AttemptOutcome::Failed {
            condition: None,
            detail: detail.clone(),
            retry: RetryPolicy::After(wait),
        };
        let waiting = AttemptOutcome::Waiting { on: detail, retry: wait };
        for ending in [failed, waiting] {
            let (count, _) = attempts_in_ten_seconds(object("a"), move || Step::End(ending.clone())).await;
            assert_eq!(count, 11, "{wait:?}");
        }
        let (count, _) = attempts_in_ten_seconds(object(RESTING), move || Step::Sleep(wait)).await;
        assert_eq!(count, 11, "suspended, {wait:?}");
    }
    let detail = Detail::new(Reason::GitOperationFailed, "no route");
    let far = AttemptOutcome::Failed { condition: None, detail, retry: RetryPolicy::After(Duration::MAX) };
    assert_eq!(attempts_in_ten_seconds(object("a"), move || Step::End(far.clone())).await.0, 1);
}
