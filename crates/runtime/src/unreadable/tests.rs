//! What is reported of objects that cannot be read, by whom and how often.

use plumb_api::source::GitRepository;
use plumb_testkit::scenario::{Response, Scenario};
use tokio::task::JoinHandle;

use super::*;
use crate::events::Senders;
use crate::metrics::Metrics;

const PATH: &str = "/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/gitrepositories/*";
const STATUS: &str = "/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/gitrepositories/*/status";

/// An object whose interval is no duration.
fn broken(name: &str, suspend: &Value) -> Value {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": { "name": name, "namespace": "apps", "uid": name, "generation": 2, "resourceVersion": "7" },
        "spec": { "url": "https://git.example/web", "interval": "now and then", "suspend": suspend },
        "status": { "observedGeneration": 1, "conditions": [] }
    })
}

fn raw(value: &Value) -> DynamicObject {
    serde_json::from_value(value.clone()).unwrap()
}

fn reporter(api: &Scenario) -> (UnreadableReporter, Senders) {
    let (recorder, senders) = Recorder::new("c", "i".into(), None, Clock::system(), Metrics::default());
    let (client, clock) = (api.client(), Clock::system());
    (UnreadableReporter { client, recorder, clock, manager: "c", waiting: Arc::default() }, senders)
}

fn work(reporter: &UnreadableReporter) -> JoinHandle<()> {
    tokio::spawn(reporter.clone().run::<GitRepository>())
}

fn serve(api: &Scenario) {
    api.on(
        "GET",
        PATH,
        Response::with(|call| Response::ok(broken(call.path.split('/').nth(7).unwrap(), &Value::Null))),
    );
    api.on(
        "PATCH",
        STATUS,
        Response::with(|call| Response::ok(broken(call.path.split('/').nth(7).unwrap(), &Value::Null))),
    );
}

#[tokio::test(start_paused = true)]
async fn it_is_reported_once_a_generation_and_only_by_the_leader() {
    let api = Scenario::new();
    serve(&api);
    let (reporter, _senders) = reporter(&api);
    let key = NamespacedName::new("apps", "web");
    for _ in 0..3 {
        reporter.request(&key, &raw(&broken("web", &Value::Null)));
    }
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(api.lines(), [""; 0], "a standby replica writes nothing");
    let worker = work(&reporter);
    tokio::time::sleep(Duration::from_secs(1)).await;
    reporter.request(&key, &raw(&broken("web", &Value::Null)));
    tokio::time::sleep(Duration::from_mins(1)).await;
    let written = api.matching("PATCH", STATUS);
    assert_eq!(written.len(), 1);
    assert_eq!(written[0].body["metadata"]["resourceVersion"], "7");
    let ready = &written[0].body["status"]["conditions"][0];
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("InvalidSpec")));
    let text = ready["message"].as_str().unwrap();
    assert!(text.ends_with("(it is treated as suspended until it can be read)"), "{text}");
    worker.abort();
}

#[tokio::test(start_paused = true)]
async fn many_are_reported_one_after_the_other_and_failures_later_and_later() {
    let api = Scenario::new();
    serve(&api);
    let failing = "/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/gitrepositories/web7/status";
    api.on("PATCH", failing, Response::status(500, "InternalError", "no"));
    let (reporter, _senders) = reporter(&api);
    for at in 0..200 {
        let name = format!("web{at}");
        reporter.request(&NamespacedName::new("apps", &name), &raw(&broken(&name, &Value::Null)));
    }
    let worker = work(&reporter);
    tokio::time::sleep(Duration::from_mins(10)).await;
    let failed = api.matching("PATCH", failing).len();
    assert!((5..14).contains(&failed), "{failed} tries in 10 minutes");
    assert_eq!(api.matching("PATCH", STATUS).len() - failed, 199);
    worker.abort();
}

#[tokio::test(start_paused = true)]
async fn what_was_mended_or_deleted_meanwhile_is_not_reported() {
    let api = Scenario::new();
    let mut mended = broken("web", &Value::Null);
    mended["spec"]["interval"] = "1m".into();
    api.once("GET", PATH, Response::ok(mended));
    api.once("GET", PATH, Response::not_found());
    let (reporter, _senders) = reporter(&api);
    for name in ["web", "gone"] {
        reporter.request(&NamespacedName::new("apps", name), &raw(&broken(name, &Value::Null)));
    }
    let worker = work(&reporter);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!((api.lines().len(), api.matching("PATCH", STATUS).len()), (2, 0));
    worker.abort();
}

#[test]
fn the_wish_to_be_left_alone_is_read_whatever_else_is_wrong() {
    for (suspend, expect) in
        [(json!(true), true), (json!("true"), true), (json!(1), false), (Value::Null, false)]
    {
        let text = message("no", &raw(&broken("web", &suspend)));
        assert_eq!(text.contains("spec.suspend is true"), expect, "{suspend}");
    }
}
