//! Waiting for health: for kinds that are not there, and for objects that vanish.

use super::*;

fn checks(api_version: &'static str, kind: &'static str) -> impl FnOnce(&mut Value) {
    move |object| {
        object["spec"]["timeout"] = "2s".into();
        object["spec"]["healthChecks"] =
            json!([{ "apiVersion": api_version, "kind": kind, "name": "x", "namespace": "prod" }]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_on_a_kind_that_cannot_exist_fails_at_once_with_the_remedy() {
    let edit = |object: &mut Value| {
        checks("v1", "Deployment")(object);
        object["spec"]["timeout"] = "1h".into();
    };
    let fixture = Fixture::start(MANIFESTS, edit, |_| {}).await;
    let status = fixture.until_ready_is("False").await;
    let ready = &status["conditions"][0];
    assert_eq!(ready["reason"], "HealthCheckFailed");
    assert_eq!(
        ready["message"],
        "health check failed after 0s: no matches for kind \"Deployment\" in version \"v1\": set \
         spec.healthChecks[0].apiVersion to apps/v1"
    );
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_on_a_kind_that_may_come_says_what_it_waits_for() {
    let fixture = Fixture::start(MANIFESTS, checks("net.test/v1", "Gate"), |_| {}).await;
    let waits =
        |call: &Call| call.body.to_string().contains("Waiting for the cluster to serve Gate (net.test/v1)");
    let said = || fixture.api.matching("PATCH", STATUS).iter().any(waits);
    fixture.until("it says what it waits for", said).await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_its_ttl_removed_is_not_waited_for() {
    let job = "
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, namespace: prod}
spec: {ttlSecondsAfterFinished: 0, template: {spec: {restartPolicy: Never, containers: [{name: a, image: a}]}}}
";
    let edit = |object: &mut Value| object["spec"]["wait"] = true.into();
    let fixture = Fixture::start(job, edit, |api| {
        api.serve_kinds(&["Namespace", "ConfigMap", "Job"].map(ServedKind::known));
        api.on("PATCH", "/apis/batch/v1/namespaces/prod/jobs/*", Response::with(applied));
        api.on("GET", "/apis/batch/v1/jobs", Response::silence());
        listed_as_none(api, "/apis/batch/v1/namespaces/prod/jobs");
    })
    .await;
    fixture.until_ready_is("True").await;
    fixture.stop().await;
}

fn listed_as_none(api: &Scenario, path: &str) {
    api.on(
        "GET",
        path,
        Response::with(|call| {
            if call.parameter("watch").is_some() {
                Response::silence()
            } else {
                Response::list("batch/v1", "JobList", &[])
            }
        }),
    );
}
