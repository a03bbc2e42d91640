//! Controllers that are killed (-9) in the middle of their work: the end is that of an undisturbed run.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use plumb_plane::process;
use plumb_testkit::{
    controllers::{KUSTOMIZE, NOTIFICATION, SOURCE},
    sink::Received,
    wait::Wait,
};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::{
    environment::Environment,
    notification,
    sample::{SETTINGS, config_map},
    seen::{condition, inventory, is_ready, uid},
};

/// How long after a commit the controller is killed, round by round.
const MOMENTS: [u64; 8] = [0, 15, 40, 70, 110, 160, 240, 400];

/// Commits, kills, restarts, again and again, and compares the end with what an undisturbed run ends with.
async fn ends_in_the_same_state(test: &str, victim: &'static str) -> Result<()> {
    let mut environment = Environment::new(test).await?;
    let app = environment.app("enabled").await?;
    environment.edit("GitRepository", "app", &json!({"spec": {"interval": "1s"}})).await?;
    app.repository.write("deploy/constant.yaml", &config_map("constant", "always"))?;
    let revision = environment.commit(&app.repository, "constant").await?;
    environment.applied("app", &revision).await?;
    let before = [
        environment.get("ConfigMap", "constant").await?,
        environment.get("ConfigMap", "settings").await?,
        environment.get("Deployment", "web").await?,
    ];
    let mut revision = String::new();
    for (round, moment) in MOMENTS.into_iter().enumerate() {
        app.repository.write(SETTINGS, &config_map("settings", &format!("round-{round}")))?;
        app.repository.write(&format!("deploy/of-{round}.yaml"), &config_map(&format!("of-{round}"), "a"))?;
        if round > 0 {
            app.repository.remove(&format!("deploy/of-{}.yaml", round - 1))?;
        }
        revision = environment.commit(&app.repository, &format!("round {round}")).await?;
        tokio::time::sleep(Duration::from_millis(moment)).await;
        environment.controllers.kill(victim);
        block_in_place(|| environment.controllers.restart(victim))?;
    }
    let last = MOMENTS.len() - 1;
    let applied = environment.applied("app", &revision).await?;
    let mut found = inventory(&applied);
    let mut expected: Vec<_> = ["constant", "settings", &format!("of-{last}")]
        .map(|name| format!("{}_{name}__ConfigMap", environment.namespace))
        .into();
    expected.push(format!("{}_web_apps_Deployment", environment.namespace));
    found.sort_unstable();
    expected.sort();
    assert_eq!(found, expected);
    environment.until("GitRepository", "app", "is ready", is_ready).await?;
    for round in 0..last {
        environment.gone("ConfigMap", &format!("of-{round}")).await?;
    }
    environment.get("ConfigMap", &format!("of-{last}")).await?;
    let after = [
        environment.get("ConfigMap", "constant").await?,
        environment.get("ConfigMap", "settings").await?,
        environment.get("Deployment", "web").await?,
    ];
    assert_eq!(before.each_ref().map(uid), after.each_ref().map(uid));
    assert_eq!(after[1]["data"]["greeting"], format!("round-{last}"));
    // Objects that no commit changed were never written.
    assert_eq!(after[0]["data"], before[0]["data"]);
    assert_eq!(after[2]["metadata"]["generation"], before[2]["metadata"]["generation"]);
    assert!(condition(&applied, "Drifted").is_none());
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn kustomize_controller_killed_at_work_ends_in_the_same_state() -> Result<()> {
    ends_in_the_same_state("kill-kustomize", KUSTOMIZE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn source_controller_killed_at_work_ends_in_the_same_state() -> Result<()> {
    ends_in_the_same_state("kill-source", SOURCE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_done_while_the_controller_is_down_is_found_at_its_start() -> Result<()> {
    let mut environment = Environment::new("kill-drift").await?;
    environment.app("enabled").await?;
    let before = environment.get("ConfigMap", "settings").await?;
    environment.controllers.kill(KUSTOMIZE);
    environment.delete("ConfigMap", "settings").await?;
    environment.kubectl(&["scale", "deployment/web", "--replicas=8"])?;
    block_in_place(|| environment.controllers.restart(KUSTOMIZE))?;
    let back = |seen: &Value| seen["data"] == before["data"];
    environment.until("ConfigMap", "settings", "is back", back).await?;
    environment.until("Deployment", "web", "has 3 replicas", |seen| seen["spec"]["replicas"] == 3).await?;
    environment.reported("DriftCorrected", &["/settings missing"]).await?;
    environment.reported("DriftCorrected", &["/web drifted: .spec.replicas 3 → 8 by kubectl"]).await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_survives_a_restart_and_is_not_reported_twice() -> Result<()> {
    let mut environment = Environment::new("kill-flag").await?;
    environment.app("warn").await?;
    environment.kubectl(&["scale", "deployment/web", "--replicas=8"])?;
    let flagged =
        |seen: &Value| condition(seen, "Drifted").is_some_and(|drifted| drifted["status"] == "True");
    environment.until("Kustomization", "app", "is flagged", flagged).await?;
    environment.reported("DriftDetected", &["/web drifted"]).await?;
    environment.controllers.kill(KUSTOMIZE);
    block_in_place(|| environment.controllers.restart(KUSTOMIZE))?;
    environment.stays("Kustomization", "app", "stays flagged", flagged).await?;
    assert_eq!(environment.get("Deployment", "web").await?["spec"]["replicas"], 8);
    assert_eq!(environment.events("DriftDetected").await?.len(), 1);
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_restart_writes_no_object() -> Result<()> {
    let mut environment = Environment::new("kill-idle").await?;
    let app = environment.app("enabled").await?;
    let before = environment.get("ConfigMap", "settings").await?;
    for victim in [SOURCE, KUSTOMIZE] {
        environment.controllers.kill(victim);
        block_in_place(|| environment.controllers.restart(victim))?;
    }
    environment
        .stays("Kustomization", "app", "is ready", |seen| condition(seen, "Stalled").is_none())
        .await?;
    environment.applied("app", &app.revision).await?;
    let after = environment.get("ConfigMap", "settings").await?;
    assert_eq!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
    assert_eq!(environment.events("DriftCorrected").await?, Vec::<String>::new());
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn notification_controller_killed_blocks_no_other_controller_and_resumes_after_its_restart()
-> Result<()> {
    let mut environment = Environment::with_notification("kill-alerts").await?;
    let app = environment.app("enabled").await?;
    notification::alert(&environment, "all", &environment.sink.url(), "info").await?;
    for (round, moment) in MOMENTS.into_iter().enumerate() {
        app.repository.write(SETTINGS, &config_map("settings", &format!("round-{round}")))?;
        let revision = environment.commit(&app.repository, &format!("round {round}")).await?;
        tokio::time::sleep(Duration::from_millis(moment)).await;
        environment.controllers.kill(NOTIFICATION);
        environment.applied("app", &revision).await?;
        block_in_place(|| environment.controllers.restart(NOTIFICATION))?;
    }
    app.repository.write(SETTINGS, &config_map("settings", "at last"))?;
    let revision = environment.commit(&app.repository, "told").await?;
    environment.applied("app", &revision).await?;
    notification::delivered(&environment.sink, |one| one.text("/metadata/revision") == revision)?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_corrected_while_source_controller_is_down() -> Result<()> {
    let mut environment = Environment::new("kill-alone").await?;
    let app = environment.app("enabled").await?;
    environment.controllers.kill(SOURCE);
    environment.edit("ConfigMap", "settings", &json!({"data": {"greeting": "mine"}})).await?;
    environment
        .until("ConfigMap", "settings", "says hello", |seen| seen["data"]["greeting"] == "hello")
        .await?;
    // A controller that starts without it waits for it, and changes nothing.
    environment.controllers.kill(KUSTOMIZE);
    environment.delete("ConfigMap", "settings").await?;
    block_in_place(|| environment.controllers.restart(KUSTOMIZE))?;
    environment.stays("Deployment", "web", "stays", |_| true).await?;
    block_in_place(|| environment.controllers.restart(SOURCE))?;
    environment.until("ConfigMap", "settings", "is back", |seen| seen["data"]["greeting"] == "hello").await?;
    environment.applied("app", &app.revision).await?;
    environment.close().await
}

/// How many Kustomizations are reconciled, and how often, while notification-controller is stopped.
const TEAMS: usize = 10;
const ROUNDS: usize = 10;
/// How long the events may take to arrive after it runs again: longer than the pauses between deliveries.
const REPORTED_MAX: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_reconciliations_do_not_wait_for_a_notification_controller_that_is_stopped() -> Result<()> {
    let environment = Environment::with_notification("stopped").await?;
    let app = environment.app("enabled").await?;
    notification::alert(&environment, "all", &environment.sink.url(), "info").await?;
    let name = |team: usize| format!("team-{team}");
    for team in 0..TEAMS {
        let fields = json!({"path": "./deploy", "namePrefix": format!("t{team}-")});
        environment.create(environment.kustomization(&name(team), &fields)).await?;
    }
    for team in 0..TEAMS {
        environment.applied(&name(team), &app.revision).await?;
    }
    let notifier =
        environment.controllers.id(NOTIFICATION).context("notification-controller does not run")?;
    process::pause(notifier);
    let mut revisions = Vec::new();
    for round in 0..ROUNDS {
        app.repository.write(SETTINGS, &config_map("settings", &format!("round-{round}")))?;
        let revision = environment.commit(&app.repository, &format!("round {round}")).await?;
        for team in 0..TEAMS {
            environment.applied(&name(team), &revision).await?;
        }
        revisions.push(revision);
    }
    process::resume(notifier);
    // Events that were not delivered are counted, and the last of them arrives.
    let reported = |revision: &str| {
        let of = |one: &Received| one.text("/metadata/revision") == revision;
        environment.sink.received().iter().filter(|one| of(one)).count()
    };
    let last = revisions.last().context("there was a round")?;
    Wait::until("the last round is reported", REPORTED_MAX).holds(|| reported(last) > 0).await?;
    let missing = revisions.iter().filter(|revision| reported(revision) == 0).count();
    let dropped =
        environment.controllers.counted(KUSTOMIZE, "plumb_events_dropped_total", "queue=\"wire\"")?;
    ensure!(missing == 0 || dropped > 0, "{missing} rounds are not reported, and no drop is counted");
    environment.close().await
}
