//! Webhooks that requeue sources, and alerts that reach their receivers. Hostile senders and dead receivers have no effect on others.

use std::time::Duration;

use anyhow::{Context as _, Result};
use plumb_testkit::{
    sink::{Behaviour, Received, Sink},
    webhook, wire,
};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::{
    environment::Environment,
    sample::SETTINGS,
    seen::{is_ready, text},
};

const TOKEN: &str = "webhook-token";
/// How long a notification may take on a loaded machine.
const DELIVERED_MAX: Duration = Duration::from_secs(30);
/// Larger than any webhook.
const GIANT: usize = 40 << 20;

async fn environment(test: &str) -> Result<Environment> {
    Environment::with_notification(test).await
}

/// A Receiver for the GitRepository `app`; returns its path.
async fn receiver(environment: &Environment) -> Result<String> {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook"}, "stringData": {"token": TOKEN}});
    environment.create(secret).await?;
    let receiver = json!({
        "apiVersion": "notification.toolkit.fluxcd.io/v1", "kind": "Receiver", "metadata": {"name": "hook"},
        "spec": {
            "type": "generic-hmac", "secretRef": {"name": "hook"},
            "resources": [{"kind": "GitRepository", "name": "app"}],
        },
    });
    environment.create(receiver).await?;
    let ready = environment.until("Receiver", "hook", "is ready", is_ready).await?;
    let path = text(&ready, "/status/webhookPath").to_owned();
    assert!(path.starts_with("/hook/"), "{ready:#}");
    Ok(path)
}

/// A generic Provider with this address, and an Alert that sends it the events of the Kustomization `app`.
pub async fn alert(environment: &Environment, name: &str, address: &str, severity: &str) -> Result<()> {
    let api = "notification.toolkit.fluxcd.io/v1beta3";
    let provider = json!({
        "apiVersion": api, "kind": "Provider", "metadata": {"name": name},
        "spec": {"type": "generic", "address": address},
    });
    environment.create(provider).await?;
    let alert = json!({
        "apiVersion": api, "kind": "Alert", "metadata": {"name": name},
        "spec": {
            "providerRef": {"name": name}, "eventSeverity": severity,
            "eventSources": [{"kind": "Kustomization", "name": "*"}],
        },
    });
    environment.create(alert).await.map(drop)
}

/// The body of the first request that fits, once it is there.
pub fn delivered(sink: &Sink, fits: impl Fn(&Received) -> bool) -> Result<Value> {
    let arrived = block_in_place(|| sink.wait_for(DELIVERED_MAX, fits));
    let received_bodies = || sink.received().iter().map(|one| one.body.clone()).collect::<Vec<_>>();
    Ok(arrived.with_context(|| format!("it did not arrive, only {:#?}", received_bodies()))?.body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_webhook_refreshes_the_source() -> Result<()> {
    let environment = environment("webhook").await?;
    let app = environment.app("enabled").await?;
    let path = receiver(&environment).await?;
    app.repository.replace(SETTINGS, "hello", "hola")?;
    app.repository.push("told by a webhook alone")?;
    let body = br#"{"ref": "refs/heads/main"}"#;
    let response = block_in_place(|| webhook::send(environment.controllers.receiver(), &path, TOKEN, body))?;
    assert_eq!(response.code, 200, "{response:?}");
    environment.applied("app", &app.repository.revision()?).await?;
    assert_eq!(environment.get("ConfigMap", "settings").await?["data"]["greeting"], "hola");
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_signatures_and_giant_bodies_are_rejected_and_change_nothing() -> Result<()> {
    let environment = environment("hostile").await?;
    environment.app("enabled").await?;
    let path = receiver(&environment).await?;
    let before = environment.get("GitRepository", "app").await?;
    let requests = environment.git.requests();
    let address = environment.controllers.receiver();
    let giant = vec![b'a'; GIANT];
    let signed = webhook::signature(TOKEN, &giant)?;
    let responses = block_in_place(|| {
        anyhow::Ok([
            webhook::send(address, &path, "another-token", b"{}")?.code,
            wire::post(address, &path, &[], b"{}")?.code,
            wire::post(address, &path, &[("X-Signature", "sha256=00")], b"{}")?.code,
            wire::post(address, &path, &[("X-Signature", &*signed)], &giant)?.code,
            webhook::send(address, "/hook/0000", TOKEN, b"{}")?.code,
        ])
    })?;
    assert!(responses.iter().all(|code| (400..500).contains(code)), "{responses:?}");
    let same = |seen: &Value| seen["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"];
    environment.stays("GitRepository", "app", "is untouched", same).await?;
    assert_eq!(environment.git.requests(), requests);
    // The next honest one is served.
    let response = block_in_place(|| webhook::send(address, &path, TOKEN, b"{}"))?;
    assert_eq!(response.code, 200, "{response:?}");
    environment.until("GitRepository", "app", "was requested to reconcile", |seen| !same(seen)).await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_reaches_the_provider_of_an_alert() -> Result<()> {
    let environment = environment("alert").await?;
    alert(&environment, "all", &format!("{}/all", environment.sink.url()), "info").await?;
    alert(&environment, "errors", &format!("{}/errors", environment.sink.url()), "error").await?;
    let app = environment.app("warn").await?;
    environment.kubectl(&["scale", "deployment/web", "--replicas=8"])?;
    for path in ["/all", "/errors"] {
        let event =
            delivered(&environment.sink, |one| one.path == path && one.text("/reason") == "DriftDetected")?;
        assert_eq!(event["involvedObject"]["name"], "app");
        assert!(
            text(&event, "/message").contains("/web drifted: .spec.replicas 3 → 8 by kubectl"),
            "{event:#}"
        );
        assert_eq!(event["metadata"]["revision"], app.revision.as_str(), "{event:#}");
    }
    let received = environment.sink.received();
    let severities = |path: &str| -> Vec<_> {
        let of = received.iter().filter(|one| one.path == path);
        of.map(|one| one.text("/severity").to_owned()).collect()
    };
    assert!(severities("/all").contains(&"info".to_owned()));
    assert!(severities("/errors").iter().all(|severity| severity == "error"));
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_receiver_delays_no_other() -> Result<()> {
    let environment = environment("hangs").await?;
    let hanging = Sink::start()?;
    hanging.behave(Behaviour::Hang);
    alert(&environment, "hanging", &hanging.url(), "info").await?;
    alert(&environment, "healthy", &environment.sink.url(), "info").await?;
    let app = environment.app("enabled").await?;
    for value in ["one", "two", "three"] {
        app.repository.write(SETTINGS, &super::sample::config_map("settings", value))?;
        let revision = environment.commit(&app.repository, value).await?;
        environment.applied("app", &revision).await?;
        let fits = |one: &Received| text(&one.body, "/metadata/revision") == revision;
        delivered(&environment.sink, fits)?;
    }
    assert!(block_in_place(|| hanging.wait_for(DELIVERED_MAX, |_| true)).is_some());
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_fetched_while_no_event_receiver_responds() -> Result<()> {
    let sink = Sink::start()?;
    sink.behave(Behaviour::Hang);
    let environment = Environment::with_sink("no-events", sink).await?;
    let app = environment.app("enabled").await?;
    for value in ["one", "two", "three"] {
        app.repository.write(SETTINGS, &super::sample::config_map("settings", value))?;
        let revision = environment.commit(&app.repository, value).await?;
        environment.applied("app", &revision).await?;
    }
    environment.close().await
}
