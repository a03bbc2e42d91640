//! GitRepositories of one repository share the request that finds out what a reference leads to.

use plumb_secrets::SecretContent;

use super::*;
use crate::git_repository::{recent, shares_news};

/// The requests that an attempt makes.
async fn requests(server: &GitServer, fixture: &mut Fixture<GitSource>) -> u64 {
    let before = server.requests();
    let summary = fixture.attempt().await;
    assert_eq!(ready(&summary).0, "True", "{summary:?}");
    server.requests() - before
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_shared_until_somebody_has_a_reason_to_look_anew() {
    let (server, repository) = served(&GitServerOptions::default());
    let recent = RecentlyFound::new(10);
    let (mut first, mut second) =
        (source_with(&server.url("app"), &recent), source_with(&server.url("app"), &recent));
    assert!(requests(&server, &mut first).await > 0, "a new object looks itself");
    assert!(requests(&server, &mut second).await > 0);
    assert_eq!((requests(&server, &mut first).await, requests(&server, &mut second).await), (0, 0));

    let old = first.artifact().clone();
    repository.write("app.yaml", "two\n").unwrap();
    repository.push("Next").unwrap();
    assert_eq!(requests(&server, &mut first).await, 0);
    assert_eq!(*first.artifact(), old, "the answer is not a minute old");
    first.object["metadata"]["annotations"] = json!({ "reconcile.fluxcd.io/requestedAt": "now" });
    assert!(requests(&server, &mut first).await > 0, "somebody asks");
    assert_eq!(first.artifact()["revision"], repository.revision().unwrap());
    first.object["status"]["lastHandledReconcileAt"] = "now".into();
    // The other one fetches what the first has found.
    requests(&server, &mut second).await;
    assert_eq!(second.artifact()["digest"], first.artifact()["digest"]);
    assert_eq!((requests(&server, &mut first).await, requests(&server, &mut second).await), (0, 0));
    assert!(requests(&server, second.set("ignore", json!("/x"))).await > 0, "another spec");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_credentials_have_an_answer_of_their_own() {
    let (server, _repository) = served(&closed(false));
    let recent = RecentlyFound::new(10);
    let source = |password: &str| {
        let mut fixture = source_with(&server.url("app"), &recent);
        fixture.set("secretRef", json!({ "name": "git" }));
        fixture.secret("git", &[("username", "bot"), ("password", password)]);
        fixture
    };
    let mut owner = source("s3cret-word");
    requests(&server, &mut owner).await;
    assert_eq!(requests(&server, &mut owner).await, 0);
    let mut other = source("guessed");
    other.object["status"] = owner.object["status"].clone();
    let summary = other.attempt().await;
    assert_eq!(ready(&summary).1, "GitOperationFailed", "the status of the owner does not help");
}

#[test]
fn an_object_looks_itself_unless_it_is_ready_current_and_nobody_asks() {
    let object = |edit: fn(&mut Value)| {
        let mut object = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {
                "name": "app", "namespace": "apps", "generation": 2,
                "annotations": { "reconcile.fluxcd.io/requestedAt": "a" },
            },
            "spec": { "url": "https://git.example/app", "interval": "1m" },
            "status": {
                "observedGeneration": 2, "lastHandledReconcileAt": "a",
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": "Succeeded", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
            },
        });
        edit(&mut object);
        recent::age_max(&serde_json::from_value(object).unwrap())
    };
    assert_eq!(object(|_| {}), Some(Duration::from_secs(57)));
    assert_eq!(object(|object| object["metadata"]["annotations"] = json!({})), Some(Duration::from_secs(57)));
    for edit in [
        (|object| object["metadata"]["generation"] = 3.into()) as fn(&mut Value),
        |object| object["status"]["conditions"][0]["status"] = "False".into(),
        |object| object["status"] = json!({}),
        |object| object["status"]["lastHandledReconcileAt"] = "b".into(),
    ] {
        assert_eq!(object(edit), None);
    }
}

#[test]
fn a_new_revision_is_news_for_those_that_follow_the_same_reference() {
    let object = |url: &str, branch: &str, revision: &str| -> GitRepository {
        let artifact = json!({
            "digest": "sha256:0", "lastUpdateTime": "2026-01-01T00:00:00Z", "path": "x", "revision": revision, "url": "x",
        });
        serde_json::from_value(json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": { "name": "app" },
            "spec": { "url": url, "interval": "1m", "ref": { "branch": branch } }, "status": { "artifact": artifact },
        }))
        .unwrap()
    };
    let new = object("https://a", "main", "main@sha1:2");
    for (url, branch, revision, expect) in [
        ("https://a", "main", "main@sha1:1", true),
        ("https://a", "main", "main@sha1:2", false),
        ("https://b", "main", "main@sha1:1", false),
        ("https://a", "next", "next@sha1:1", false),
    ] {
        assert_eq!(shares_news(&new, &object(url, branch, revision)), expect, "{url} {branch} {revision}");
    }
}

#[test]
fn what_opens_or_trusts_the_server_tells_answers_apart() {
    let object = |url: &str| -> GitRepository {
        let spec = json!({ "url": url, "interval": "1m", "ref": { "branch": "main" } });
        serde_json::from_value(json!({ "metadata": { "name": "app", "namespace": "apps" }, "spec": spec }))
            .unwrap()
    };
    let secret = |name: &str, data: &[(&str, &str)]| {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).into()));
        SecretContent::from_parts("apps", name, data)
    };
    let key = |url: &str, secret: Option<&SecretContent>, proxy| recent::key(&object(url), &[secret, proxy]);
    let basic = [("password", "a"), ("username", "bot")];
    let one = secret("one", &basic);
    let own = key("https://a", Some(&one), None);
    assert_eq!(own, key("https://a", Some(&secret("two", &basic)), None), "the name does not matter");
    for (other, problem) in [
        (key("https://b", Some(&one), None), "URL"),
        (key("https://a", None, None), "no Secret"),
        (key("https://a", None, Some(&one)), "a proxy in the place of credentials"),
        (key("https://a", Some(&secret("one", &[("password", "b"), ("username", "bot")])), None), "password"),
        (key("https://a", Some(&secret("one", &[basic[0], basic[1], ("ca.crt", "x")])), None), "CA"),
        (key("https://a", Some(&secret("one", &[("password", "abot"), ("username", "")])), None), "border"),
    ] {
        assert_ne!(other, own, "{problem}");
    }
}
