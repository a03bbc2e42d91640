//! Scenario tests (T1) of whole attempts at a Receiver: a mock API server for Secrets; every resulting status passes the
//! lint.

use plumb_alerting::rule::CrossNamespace;
use plumb_api::notification::{Receiver, ReceiverCondition};
use plumb_status::{Before, Next, Status, breaches, summarize};
use plumb_testkit::scenario::{Response, Scenario};
use serde_json::{Value, json};

use super::ledger::ReceiverLedger;
use super::reconcile;
use crate::harness::secret;

const SECRET: &str = "/api/v1/namespaces/prod/secrets/s";
// printf tokenhookprod | sha256sum
const PATH: &str = "/hook/50e37e994a5b9d06391419ffb92553abef2b494ad564d7b79a468a2efd3b75c3";

struct Fixture {
    api: Scenario,
    object: Value,
    minutes: i64,
    cross_namespace: CrossNamespace,
}

/// What an attempt led to.
#[derive(Debug, PartialEq)]
struct Outcome {
    ready: String,
    stalled: bool,
    path: Value,
    reported: Vec<String>,
    next: Next,
}

impl Fixture {
    fn new() -> Self {
        let object = json!({
            "apiVersion": "notification.toolkit.fluxcd.io/v1", "kind": "Receiver",
            "metadata": { "name": "hook", "namespace": "prod", "uid": "u", "generation": 1 },
            "spec": {
                "type": "generic-hmac", "secretRef": { "name": "s" }, "interval": "5m",
                "resources": [{ "kind": "GitRepository", "name": "repo" }]
            },
            "status": { "observedGeneration": -1 }
        });
        let fixture =
            Self { api: Scenario::new(), object, minutes: 0, cross_namespace: CrossNamespace::Allowed };
        secret(&fixture.api, "s", &[("token", "token")]);
        fixture
    }

    fn set(&mut self, field: &str, value: Value) {
        self.object["spec"][field] = value;
        let generation = self.object["metadata"]["generation"].as_i64().unwrap();
        self.object["metadata"]["generation"] = json!(generation + 1);
    }

    /// One attempt; its status is stored as the runtime would store it.
    async fn attempt(&mut self) -> Outcome {
        let receiver: Receiver = serde_json::from_value(self.object.clone()).unwrap();
        let mut ledger = ReceiverLedger::of(&receiver);
        let attempted = reconcile::attempt(&receiver, &self.api.client(), self.cross_namespace).await;
        let ending = reconcile::conclude(attempted, &mut ledger);
        let status = receiver.status.clone().unwrap_or_default();
        let before = Status {
            conditions: status.conditions,
            observed_generation: status.observed_generation.unwrap_or(-1),
            last_handled_reconcile_at: status.last_handled_reconcile_at,
        };
        self.minutes += 1;
        let now = "2026-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap()
            + jiff::SignedDuration::from_mins(self.minutes);
        let generation = receiver.metadata.generation.unwrap();
        let view = Before { generation, requested_at: None, at_start: &before, current: &before, now };
        let summary = summarize(&view, &ledger, &ending);
        let after = summary.status.unwrap();
        assert_eq!(breaches::<ReceiverCondition>(generation, &after), Vec::<&str>::new(), "{after:?}");
        let path = ledger.status()["webhookPath"].clone();
        self.object["status"] = json!({
            "conditions": after.conditions, "observedGeneration": after.observed_generation, "webhookPath": path
        });
        let ready = after.ready().unwrap();
        Outcome {
            ready: format!("{} {}: {}", ready.status.as_str(), ready.reason, ready.message),
            stalled: after.condition("Stalled").is_some(),
            path,
            reported: summary
                .events
                .iter()
                .map(|event| format!("{} {}", event.reason, event.message))
                .collect(),
            next: summary.next,
        }
    }
}

fn initialized(reported: &[&str]) -> Outcome {
    Outcome {
        ready: format!("True Succeeded: Receiver initialized for path: {PATH}"),
        stalled: false,
        path: json!(PATH),
        reported: reported.iter().map(ToString::to_string).collect(),
        next: Next::Interval,
    }
}

const FINISHED: &str = "Succeeded Reconciliation finished, next run in 5m0s";

#[tokio::test]
async fn a_receiver_listens_under_the_path_of_its_token_and_says_so_once() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.attempt().await, initialized(&[FINISHED]));
    let before = fixture.object.clone();
    assert_eq!(fixture.attempt().await, initialized(&[]));
    assert_eq!(fixture.object, before, "nothing changed, so nothing is written");
    assert_eq!(fixture.api.lines(), [format!("GET {SECRET}"), format!("GET {SECRET}")]);
}

#[tokio::test]
async fn another_token_leads_to_another_path_at_the_next_look() {
    let mut fixture = Fixture::new();
    fixture.attempt().await;
    secret(&fixture.api, "s", &[("token", "other")]);
    let outcome = fixture.attempt().await;
    assert_ne!(outcome.path, json!(PATH));
    assert_eq!(
        outcome.ready,
        format!("True Succeeded: Receiver initialized for path: {}", outcome.path.as_str().unwrap())
    );
    assert_eq!(outcome.reported, [FINISHED]);
}

#[tokio::test]
async fn without_a_token_there_is_no_path_and_it_is_tried_again() {
    for (answer, why) in [
        (Response::not_found(), "failed to get secret 'prod/s': secrets \"s\" not found"),
        (
            Response::ok(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" } })),
            "secret 'prod/s' has no key 'token'",
        ),
        (
            Response::ok(json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "data": { "token": "" }
            })),
            "secret 'prod/s' has no key 'token'",
        ),
    ] {
        let mut fixture = Fixture::new();
        fixture.attempt().await;
        fixture.api.on("GET", SECRET, answer);
        let text = format!("unable to read token: {why}");
        let expect = Outcome {
            ready: format!("False TokenNotFound: {text}"),
            stalled: false,
            path: Value::Null,
            reported: vec![format!("TokenNotFound {text}")],
            next: Next::Backoff,
        };
        assert_eq!(fixture.attempt().await, expect);
        assert_eq!(fixture.attempt().await.reported, [""; 0], "the same failure is reported once");
        secret(&fixture.api, "s", &[("token", "token")]);
        assert_eq!(fixture.attempt().await, initialized(&[FINISHED]));
    }
}

#[tokio::test]
async fn an_api_server_that_refuses_does_not_cost_the_path() {
    let mut fixture = Fixture::new();
    fixture.attempt().await;
    fixture.api.on("GET", SECRET, Response::forbidden("no"));
    let outcome = fixture.attempt().await;
    let ready = "False TokenNotFound: unable to read token: failed to get secret 'prod/s': the API server responded with status 403";
    assert_eq!((outcome.ready.as_str(), &outcome.path), (ready, &json!(PATH)));
}

#[tokio::test]
async fn a_field_that_is_not_honoured_stalls_and_no_secret_is_read() {
    for (field, value, text) in [
        (
            "type",
            json!("gitlab"),
            "spec.type \"gitlab\" is not supported by this version of Plumb (spec.type: use generic, generic-hmac, \
             github)",
        ),
        (
            "resourceFilter",
            json!("true"),
            "spec.resourceFilter is not supported by this version of Plumb (remove the field)",
        ),
        (
            "resources",
            json!([{ "kind": "Bucket", "name": "a", "filter": "true" }]),
            "spec.resources[0].filter is not supported by this version of Plumb (remove the field)",
        ),
    ] {
        let mut fixture = Fixture::new();
        fixture.set(field, value);
        let expect = Outcome {
            ready: format!("False UnsupportedField: {text}"),
            stalled: true,
            path: Value::Null,
            reported: vec![format!("UnsupportedField {text}")],
            next: Next::Never,
        };
        assert_eq!(fixture.attempt().await, expect);
        assert_eq!(fixture.api.lines(), [""; 0]);
    }
}

#[tokio::test]
async fn without_a_reference_to_a_secret_only_a_change_helps() {
    let mut fixture = Fixture::new();
    fixture.set("secretRef", Value::Null);
    let outcome = fixture.attempt().await;
    assert_eq!(outcome.ready, "False TokenNotFound: unable to read token: spec.secretRef is not set");
    assert!(outcome.stalled && outcome.next == Next::Never);
}

#[tokio::test]
async fn a_resource_that_leads_to_no_object_is_named_in_condition_and_event_and_the_path_stays() {
    let labels = "matchLabels field not set when using wildcard '*' as name of Bucket: set matchLabels, or name one object";
    let blocked = "'Bucket/dev/a' is in another namespace, cross-namespace references have been blocked";
    let [repo, all, other] = [
        json!({ "kind": "GitRepository", "name": "repo" }),
        json!({ "kind": "Bucket", "name": "*" }),
        json!({ "kind": "Bucket", "name": "a", "namespace": "dev" }),
    ];
    for (resources, reason, text) in [
        (json!([repo, all]), "InvalidSpec", format!("spec.resources[1]: {labels}")),
        (json!([repo, other]), "AccessDenied", format!("spec.resources[1]: {blocked}")),
        (
            json!([all, repo, other]),
            "InvalidSpec",
            format!("spec.resources[0]: {labels}; spec.resources[2]: {blocked}"),
        ),
    ] {
        let mut fixture = Fixture::new();
        fixture.cross_namespace = CrossNamespace::Blocked;
        fixture.set("resources", resources);
        let expect = Outcome {
            ready: format!("False {reason}: {text}"),
            stalled: true,
            path: json!(PATH),
            reported: vec![format!("{reason} {text}")],
            next: Next::Never,
        };
        assert_eq!(fixture.attempt().await, expect);
        fixture.set("resources", json!([repo]));
        assert_eq!(fixture.attempt().await, initialized(&[FINISHED]));
    }
}
