//! Writes that the API server never answers: an attempt ends soon after its timeout or when something newer arrives, and what
//! became of the write is found out by another one. The clock is moved on by hand.

use super::*;

const NEXT: &str = "main@sha1:2222222222222222222222222222222222222222";
const A: &str = "/api/v1/namespaces/prod/configmaps/a";

impl Fixture {
    /// Moves the clock on until this fits, second by second. How many seconds that took, or none if it took more than `most`.
    async fn seconds_until(&self, most: u64, fits: impl Fn(&Self) -> bool) -> Option<u64> {
        for second in 0..=most {
            for _ in 0..10 {
                if fits(self) {
                    return Some(second);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(1)).await;
            tokio::time::resume();
        }
        None
    }

    fn applies_of_a(&self) -> usize {
        self.api.matching("PATCH", A).len()
    }

    async fn until_a_is_asked_for(&self) {
        self.until("a is applied", || self.applies_of_a() > 0).await;
    }
}

#[tokio::test]
async fn an_apply_that_is_never_answered_ends_the_attempt_soon_after_its_timeout_and_is_named() {
    let edit = |object: &mut Value| object["spec"]["timeout"] = "30s".into();
    let fixture = Fixture::start(MANIFESTS, edit, |api| {
        api.on("PATCH", A, Response::silence());
    })
    .await;
    fixture.until_a_is_asked_for().await;
    let failed = |fixture: &Fixture| fixture.status()["conditions"][0]["status"] == "False";
    assert!(fixture.seconds_until(45, failed).await.is_some(), "{:#}", fixture.status());
    let message = fixture.status()["conditions"][0]["message"].to_string();
    // 40 s, and what passes while the clock is not moved by hand.
    let named = "ConfigMap/prod/a apply failed: the API server did not answer within 4";
    assert!(message.contains(named), "{message}");
    fixture.stop().await;
}

#[tokio::test]
async fn a_newer_revision_waits_for_no_old_write_and_repeats_it_when_it_can_come_no_more() {
    let fixture = Fixture::start(
        MANIFESTS,
        |_| {},
        |api| {
            api.once("PATCH", A, Response::silence());
        },
    )
    .await;
    fixture.until_a_is_asked_for().await;
    fixture.publish(&[("all.yaml", MANIFESTS), ("notes.md", "new")], NEXT);
    let applied = |fixture: &Fixture| fixture.status()["lastAppliedRevision"] == NEXT;
    let took = fixture.seconds_until(30, applied).await;
    assert!(took.is_some(), "{:#}\n{:#?}", fixture.status(), fixture.api.lines());
    assert_eq!(fixture.applies_of_a(), 2, "the same content is applied again");
    // Until the server has given up on the first one, it may still come after the second one.
    let repeated = fixture.seconds_until(70, |fixture| fixture.applies_of_a() == 3).await;
    assert!(repeated.is_some_and(|seconds| seconds > 30), "{repeated:?} {:#?}", fixture.api.lines());
    assert_eq!(
        fixture.seconds_until(100, |fixture| fixture.applies_of_a() > 3).await,
        None,
        "once is enough"
    );
    let failed = |call: &Call| call.body["status"]["conditions"][0]["status"] == "False";
    assert!(!fixture.api.matching("PATCH", STATUS).iter().any(failed));
    fixture.stop().await;
}

#[tokio::test]
async fn what_leaves_git_while_its_apply_is_unanswered_stays_in_the_inventory_until_it_can_come_no_more() {
    let without_a =
        MANIFESTS.replace("metadata: {name: a, namespace: prod}", "metadata: {name: c, namespace: prod}");
    let fixture = Fixture::start(
        MANIFESTS,
        |_| {},
        |api| {
            api.on("PATCH", A, Response::silence());
            let details = json!({ "name": "a", "kind": "configmaps" });
            let absent = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
                "message": "configmaps \"a\" not found", "details": details
            });
            api.on("GET", A, Response::json(404, absent));
        },
    )
    .await;
    fixture.until_a_is_asked_for().await;
    fixture.publish(&[("all.yaml", &without_a)], NEXT);
    let applied = |fixture: &Fixture| fixture.status()["lastAppliedRevision"] == NEXT;
    assert!(fixture.seconds_until(30, applied).await.is_some(), "{:#}", fixture.status());
    let has_a = |fixture: &Fixture| ids(&fixture.status()).contains("prod_a__ConfigMap");
    assert!(has_a(&fixture), "the server may still create it");
    let said = fixture.status()["conditions"][0]["message"].to_string();
    assert!(
        said.contains("ConfigMap/prod/a is kept: the API server has not answered a write of it"),
        "{said}"
    );
    let released = fixture.seconds_until(120, |fixture| !has_a(fixture)).await;
    assert!(released.is_some_and(|seconds| seconds > 30), "{released:?}");
    fixture.stop().await;
}
