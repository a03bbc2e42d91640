//! Warnings of a build: one Kubernetes event for each revision.

use super::*;

/// The texts of the events of a reason.
fn events(fixture: &Fixture, reason: &str) -> Vec<String> {
    let posted = fixture.api.matching("POST", "/api/v1/namespaces/flux-system/events");
    let of_reason = posted.iter().filter(|call| call.body["reason"] == reason);
    of_reason.map(|call| call.body["message"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn until_events(fixture: &Fixture, reason: &str, count: usize) -> Vec<String> {
    let what = format!("there are {count} events {reason}");
    fixture.until(&what, || events(fixture, reason).len() >= count).await;
    events(fixture, reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_of_a_build_become_one_normal_event_for_each_revision() {
    const NEXT: &str = "main@sha1:2222222222222222222222222222222222222222";
    let patched = |object: &mut Value| {
        let patch =
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: prod}\n$patch: replace\n";
        object["spec"]["patches"] = json!([{ "patch": patch }]);
    };
    let fixture = Fixture::start(MANIFESTS, patched, |_| {}).await;
    fixture.until_ready_is("True").await;
    let first = until_events(&fixture, "BuildWarning", 1).await;
    assert!(
        first[0].starts_with(&format!("built revision {REVISION} with warnings (1)\nspec.patches[0]: ")),
        "{first:?}"
    );
    fixture.publish(&[("all.yaml", MANIFESTS), ("notes.md", "new")], NEXT);
    fixture.until_revision_is(NEXT).await;
    let all = until_events(&fixture, "BuildWarning", 2).await;
    assert!(all[1].contains(NEXT), "{all:?}");
    assert_eq!(all.len(), 2, "{all:?}");
    let posted = fixture.api.matching("POST", "/api/v1/namespaces/flux-system/events");
    let warned = posted.iter().find(|call| call.body["reason"] == "BuildWarning").unwrap();
    assert_eq!(warned.body["type"], "Normal");
    fixture.stop().await;
}

/// The API server sees a number where a text is wanted, and neither its message nor the manifest says where it is from.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_a_substitution_made_a_number_is_rejected_with_its_variable_and_the_quotes() {
    const MANIFEST: &str =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: prod}\ndata: {n: \"${n}\"}\n";
    let substitute =
        |object: &mut Value| object["spec"]["postBuild"] = json!({ "substitute": { "n": "999991" } });
    let refuse = |api: &Scenario| {
        let message = "failed to create typed patch object (prod/a; /v1, Kind=ConfigMap): .data.n: expected string, got \
                       &value.valueUnstructured{Value:999991}";
        let path = "/api/v1/namespaces/prod/configmaps/a";
        api.on("PATCH", path, Response::status(500, "InternalError", message));
    };
    let fixture = Fixture::start(MANIFEST, substitute, refuse).await;
    let status = fixture.until_ready_is("False").await;
    let message = status["conditions"][0]["message"].as_str().unwrap();
    assert!(
        message.contains(".data.n holds ${n}, whose value is not a text")
            && message.contains("as in n: '\"value\"'"),
        "{message}"
    );
    fixture.stop().await;
}
