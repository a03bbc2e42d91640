//! What becomes of a Receiver, by what its Secret holds and its spec says.

use plumb_testkit::scenario::{Answer, Scenario};
use serde_json::{Value, json};

use super::reconcile::reconcile;
use crate::stage::{receiver, secret};
use plumb_status::Ending;

fn spec() -> Value {
    json!({
        "type": "generic-hmac", "secretRef": { "name": "token" },
        "resources": [{ "kind": "GitRepository", "name": "web" }]
    })
}

#[tokio::test]
async fn a_receiver_with_a_token_listens_under_a_path_that_only_the_token_gives() {
    let api = Scenario::new();
    secret(&api, "token", &[("token", "secret")]);
    let (path, ending) = reconcile(&receiver("hook", "", spec()), &api.client()).await;
    let path = path.unwrap();
    // sha256("secret" + "hook" + "prod"), as Flux has it.
    assert_eq!(path, plumb_alerting::receiver::webhook_path(b"secret", "hook", "prod"));
    assert!(path.starts_with("/hook/") && path.len() == 6 + 64, "{path}");
    let detail = ending.detail().unwrap();
    assert_eq!(detail.message, format!("Receiver initialized for path: {path}"));
}

#[tokio::test]
async fn without_a_token_there_is_no_path() {
    let api = Scenario::new();
    api.on("GET", "/api/v1/namespaces/prod/secrets/token", Answer::not_found());
    let (path, ending) = reconcile(&receiver("hook", "/hook/old", spec()), &api.client()).await;
    assert_eq!(path, None);
    assert!(
        matches!(&ending, Ending::Failed { detail, .. } if detail.reason.as_str() == "TokenNotFound"),
        "{ending:?}"
    );
}

#[tokio::test]
async fn a_field_that_is_not_honoured_stalls_and_the_secret_is_not_read() {
    for (field, value) in [("resourceFilter", json!("true")), ("type", json!("harbor"))] {
        let api = Scenario::new();
        let mut spec = spec();
        spec[field] = value;
        let (_, ending) = reconcile(&receiver("hook", "", spec), &api.client()).await;
        assert!(
            matches!(&ending, Ending::Stalled { detail, .. } if detail.reason.as_str() == "UnsupportedField"),
            "{ending:?}"
        );
        assert_eq!(api.lines(), [""; 0]);
    }
}
