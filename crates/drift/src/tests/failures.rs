//! Failures: rejections, conflicts, missing responses, kinds that may not be watched.

use plumb_testkit::scenario::Response;

use super::*;

const AT: &str = "/api/v1/namespaces/prod/configmaps/settings";
/// Number of requests without a response in an outage.
const WITHOUT_RESPONSE: usize = 100;
/// How long after one of them the next follows at most, where a look has failed.
const PAUSE_MAX: Duration = Duration::from_secs(16);

#[tokio::test(start_paused = true)]
async fn a_change_between_evidence_and_write_is_compared_again() {
    let fixture = Fixture::enabled(&["settings"]).await;
    fixture.api.scenario.once("PATCH", AT, Response::conflict("the object has been modified"));
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(fixture.writes(), ["GET settings", "PATCH settings", "GET settings", "PATCH settings"]);
    assert_eq!(reasons(&fixture.emitted()), [Reason::DriftCorrected]);
}

#[tokio::test(start_paused = true)]
async fn a_correction_that_the_server_rejects_is_flagged_with_its_reason_and_retried() {
    let fixture = Fixture::enabled(&["settings"]).await;
    // Each look is a write, and a dry run that should show what differs.
    let reject = |looks: usize| {
        for _ in 0..2 * looks {
            fixture.api.scenario.once("PATCH", AT, Response::invalid("a webhook says no"));
        }
    };
    reject(1);
    fixture.api.edit("settings", "a", "2", "some-tool");
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(
        reasons(&fixture.emitted()),
        [Reason::DriftCorrected],
        "the second look went well, after a second"
    );
    reject(4);
    fixture.api.edit("settings", "a", "2", "some-tool");
    tokio::time::sleep(Duration::from_secs(6)).await;
    let emitted = fixture.emitted();
    assert_eq!(reasons(&emitted), [Reason::DriftCorrected, Reason::DriftDetected]);
    assert!(emitted[1].1.ends_with("; not corrected: a webhook says no"), "{}", emitted[1].1);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("1".to_owned()));
    assert_eq!(reasons(&fixture.emitted())[2..], [Reason::DriftCorrected]);
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_read_is_unknown_once_and_looked_at_after_the_interval() {
    let fixture = Fixture::enabled(&["settings"]).await;
    fixture.api.scenario.once("GET", AT, Response::forbidden("configmaps is forbidden"));
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(30)).await;
    let emitted = fixture.emitted();
    assert_eq!(reasons(&emitted), [Reason::DriftUnknown]);
    assert!(emitted[0].1.contains("configmaps is forbidden"));
    let drift = fixture.report().unwrap().drift.unwrap();
    assert_eq!(drift.entries[0].class.as_str(), "unknown");
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_may_not_be_watched_is_reported_once_and_compared_at_the_interval() {
    let fixture = Fixture::blind(&["settings"]).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let emitted = fixture.emitted();
    assert_eq!(reasons(&emitted), [Reason::DriftUnknown], "{emitted:?}");
    assert!(
        emitted[0].1.starts_with("ConfigMap cannot be watched for drift (1 managed here)"),
        "{}",
        emitted[0].1
    );
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("2".to_owned()));
    assert!(fixture.at_interval().is_empty());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_server_without_responses_blocks_the_loop_for_a_bounded_time() {
    let fixture = Fixture::enabled(&["settings"]).await;
    fixture.api.scenario.once("GET", AT, Response::silence());
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_of_any_length_the_pauses_between_comparisons_stay_short() {
    let fixture = Fixture::enabled(&["settings"]).await;
    for _ in 0..WITHOUT_RESPONSE {
        fixture.api.scenario.once("GET", AT, Response::status(503, "ServiceUnavailable", "starting"));
    }
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    let mut sent = 0;
    while fixture.api.value("settings", "a") != Some("1".to_owned()) {
        tokio::time::sleep(PAUSE_MAX).await;
        let calls = fixture.api.scenario.calls().len();
        assert!(calls > sent, "a pause of more than {PAUSE_MAX:?}");
        sent = calls;
    }
    assert!(sent > WITHOUT_RESPONSE);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_waits_for_no_correction_without_a_response() {
    let fixture = Fixture::enabled(&["settings"]).await;
    fixture.api.scenario.once("PATCH", AT, Response::silence());
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = tokio::time::Instant::now();
    let attempt = fixture.begin().await;
    assert!(began.elapsed() <= Duration::from_secs(10), "{:?}", began.elapsed());
    drop(attempt);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("1".to_owned()), "it is looked at again");
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_server_is_retried_until_it_responds() {
    let fixture = Fixture::enabled(&["settings"]).await;
    for _ in 0..10 {
        fixture.api.scenario.once("GET", AT, Response::status(503, "ServiceUnavailable", "starting"));
    }
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("1".to_owned()));
    assert_eq!(reasons(&fixture.emitted()), [Reason::DriftCorrected]);
}
