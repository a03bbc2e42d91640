//! What is written, and what is not, on the answers that an API server can give.

use std::time::Duration;

use plumb_api::source::GitRepository;
use plumb_status::{ConditionStatus, Reason};
use plumb_testkit::scenario::{Response, Scenario};

use super::*;

const PATH: &str = "/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/gitrepositories/web";
const STATUS: &str = "/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/gitrepositories/web/status";

fn repository(version: &str, status: &Value) -> Value {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": { "name": "web", "namespace": "apps", "uid": "u", "generation": 1, "resourceVersion": version },
        "spec": { "url": "https://git.example/web", "interval": "1m" },
        "status": status
    })
}

fn typed(value: &Value) -> Arc<GitRepository> {
    Arc::new(serde_json::from_value(value.clone()).unwrap())
}

fn reporter(api: &Scenario) -> Reporter<GitRepository> {
    Reporter::new(api.client(), "source-controller", ObjectCache::default(), Arc::new(|_| {}))
}

/// Ready with a message that says how many conditions stood before.
fn compose(object: &GitRepository) -> Draft {
    let mut status = status_of(object);
    status.observed_generation = 1;
    if status.conditions.is_empty() {
        status.conditions.push(plumb_status::Condition {
            type_: "Ready".into(),
            status: ConditionStatus::True,
            observed_generation: Some(1),
            last_transition_time: "2026-11-25T06:30:00Z".parse().unwrap(),
            reason: Reason::Succeeded.as_str().into(),
            message: format!("seen at {}", object.resource_version().unwrap_or_default()),
        });
    }
    Draft { status, fields: Map::new() }
}

#[tokio::test]
async fn a_write_that_was_overtaken_is_recomputed() {
    let api = Scenario::new();
    api.once("PATCH", STATUS, Response::conflict("modified"));
    api.on("GET", PATH, Response::ok(repository("8", &json!({}))));
    api.on("PATCH", STATUS, Response::ok(repository("9", &json!({ "observedGeneration": 1 }))));
    let mut current = typed(&repository("7", &json!({})));
    reporter(&api).write(&mut current, compose).await.unwrap();
    let sent = api.matching("PATCH", STATUS);
    assert_eq!(sent.len(), 2);
    let versions: Vec<_> = sent.iter().map(|call| call.body["metadata"]["resourceVersion"].clone()).collect();
    assert_eq!(versions, ["7", "8"]);
    assert_eq!(sent[1].body["status"]["conditions"][0]["message"], "seen at 8");
    assert_eq!(current.resource_version().as_deref(), Some("9"));
}

#[tokio::test]
async fn a_write_that_is_overtaken_again_and_again_ends_and_says_so() {
    let api = Scenario::new();
    api.on("GET", PATH, Response::ok(repository("8", &json!({}))));
    api.on("PATCH", STATUS, Response::conflict("the object has been modified"));
    let mut current = typed(&repository("7", &json!({})));
    let error = reporter(&api).write(&mut current, compose).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot write the status: the object was changed by others 8 times in a row"
    );
    assert_eq!(api.matching("PATCH", STATUS).len(), 8);
}

#[tokio::test]
async fn what_would_change_nothing_is_not_written() {
    let api = Scenario::new();
    let mut current = typed(&repository(
        "7",
        &json!({ "observedGeneration": 1, "conditions": compose(&typed(&repository("7", &json!({})))).status.conditions }),
    ));
    reporter(&api).write(&mut current, compose).await.unwrap();
    assert_eq!(api.lines(), [""; 0]);
}

#[tokio::test]
async fn a_field_that_the_schema_drops_is_not_sent_again_and_again() {
    let api = Scenario::new();
    let stands = json!({ "observedGeneration": 1, "conditions": compose(&typed(&repository("7", &json!({})))).status.conditions });
    api.on("PATCH", STATUS, Response::ok(repository("8", &stands)));
    let reporter = reporter(&api);
    let mut current = typed(&repository("7", &json!({})));
    let compose = |object: &GitRepository| {
        let mut draft = compose(object);
        draft.fields.insert("drift".into(), json!({ "objects": 1 }));
        draft
    };
    reporter.write(&mut current, compose).await.unwrap();
    reporter.write(&mut current, compose).await.unwrap();
    assert_eq!(api.matching("PATCH", STATUS).len(), 1);
}

#[tokio::test]
async fn an_object_that_is_gone_is_distinguished_from_one_that_cannot_be_written() {
    let api = Scenario::new();
    api.once("PATCH", STATUS, Response::not_found());
    api.once("PATCH", STATUS, Response::forbidden("no"));
    let mut current = typed(&repository("7", &json!({})));
    let gone = reporter(&api).write(&mut current, compose).await.unwrap_err();
    assert!(matches!(gone, ReportError::Gone));
    let refused = reporter(&api).write(&mut current, compose).await.unwrap_err();
    assert!(matches!(refused, ReportError::Call(_)), "{refused}");
}

#[tokio::test]
async fn an_object_that_was_made_anew_is_not_written_for_the_old_one() {
    let api = Scenario::new();
    api.on("PATCH", STATUS, Response::conflict("modified"));
    let mut anew = repository("9", &json!({}));
    anew["metadata"]["uid"] = "v".into();
    api.on("GET", PATH, Response::ok(anew));
    let mut current = typed(&repository("7", &json!({})));
    assert!(matches!(reporter(&api).write(&mut current, compose).await, Err(ReportError::Gone)));
}

/// Ready with this message, whatever stands.
fn saying(message: &str) -> impl Fn(&GitRepository) -> Draft {
    move |object| {
        let mut draft = compose(&typed(&repository("7", &json!({}))));
        draft.status.conditions[0].message = message.to_owned();
        draft.status.last_handled_reconcile_at = object.resource_version();
        draft
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_caller_is_gone_is_awaited_before_the_next() {
    let api = Scenario::new();
    let committed = json!({ "observedGeneration": 1, "conditions": saying("goes on")(&typed(&repository("7", &json!({})))).status.conditions });
    api.once("PATCH", STATUS, Response::ok(repository("8", &committed)).after(Duration::from_millis(1500)));
    api.on("PATCH", STATUS, Response::ok(repository("9", &json!({}))));
    let reporter = reporter(&api);
    let stands = json!({ "observedGeneration": 1, "conditions": saying("done")(&typed(&repository("7", &json!({})))).status.conditions, "lastHandledReconcileAt": "7" });
    let mut current = typed(&repository("7", &stands));
    let early = Duration::from_secs(1);
    assert!(
        tokio::time::timeout(early, reporter.write(&mut current.clone(), saying("goes on"))).await.is_err()
    );
    // Compared with the copy that is known here, this would change nothing.
    reporter.write(&mut current, saying("done")).await.unwrap();
    let sent = api.matching("PATCH", STATUS);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[1].body["metadata"]["resourceVersion"], "8");
    assert_eq!(sent[1].body["status"]["conditions"][0]["message"], "done");
}

#[tokio::test(start_paused = true)]
async fn after_a_write_without_an_answer_the_object_is_read_again() {
    for lost in [Response::silence(), Response::status(504, "Timeout", "no")] {
        let api = Scenario::new();
        api.once("PATCH", STATUS, lost);
        api.on("GET", PATH, Response::ok(repository("8", &json!({}))));
        api.on("PATCH", STATUS, Response::ok(repository("9", &json!({}))));
        let reporter = reporter(&api);
        let mut current = typed(&repository("7", &json!({})));
        assert!(reporter.write(&mut current, saying("done")).await.is_err());
        reporter.write(&mut current, saying("done")).await.unwrap();
        let at = |method: &str| format!("{method} {}", if method == "GET" { PATH } else { STATUS });
        assert_eq!(api.lines(), [at("PATCH"), at("GET"), at("PATCH")]);
        assert_eq!(api.matching("PATCH", STATUS)[1].body["metadata"]["resourceVersion"], "8");
    }
}

#[tokio::test]
async fn what_another_writer_of_this_process_wrote_is_compared_with() {
    let api = Scenario::new();
    api.once("PATCH", STATUS, Response::ok(repository("8", &json!({ "observedGeneration": 1 }))));
    api.on("PATCH", STATUS, Response::ok(repository("9", &json!({}))));
    let reporter = reporter(&api);
    let mut stale = typed(&repository("7", &json!({})));
    reporter.write(&mut stale.clone(), saying("first")).await.unwrap();
    reporter.write(&mut stale, saying("second")).await.unwrap();
    assert_eq!(api.matching("PATCH", STATUS)[1].body["metadata"]["resourceVersion"], "8");
    assert_eq!(api.matching("GET", PATH).len(), 0);
}

#[tokio::test]
async fn a_status_that_the_api_server_never_accepts_is_reported_with_its_size() {
    for answer in [
        Response::status(413, "RequestEntityTooLarge", "limit is 3145728"),
        Response::status(500, "InternalError", "etcdserver: request is too large"),
        Response::invalid("status.inventory: Too long"),
    ] {
        let api = Scenario::new();
        api.on("PATCH", STATUS, answer);
        let mut current = typed(&repository("7", &json!({})));
        let error = reporter(&api).write(&mut current, saying("done")).await.unwrap_err();
        assert!(matches!(error, ReportError::Rejected { bytes: 100..500, .. }), "{error}");
    }
}

#[test]
fn a_patch_is_within_a_value_when_it_changes_nothing() {
    let value = json!({ "a": 1, "b": { "c": [1] } });
    for (patch, within) in [
        (json!({}), true),
        (json!({ "a": 1 }), true),
        (json!({ "a": 2 }), false),
        (json!({ "b": { "c": [1] } }), true),
        (json!({ "b": { "c": [] } }), false),
        (json!({ "d": null }), true),
        (json!({ "a": null }), false),
        (json!({ "d": {} }), false),
        (json!({ "observedGeneration": -1 }), true),
    ] {
        assert_eq!(is_within(&patch, &value), within, "{patch}");
    }
}
