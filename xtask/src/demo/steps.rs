//! The six steps. Each does what a user would do, reads the result from the API server, and reports it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::cluster::{condition, is_ready};
use super::stage::{OFFICE, RECEIVER, REPOSITORY, SHOP, Stage, short};
use super::{print_line, seconds_text};

const SETTINGS: &str = "/api/v1/namespaces/shop/configmaps/settings";
const WEB: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
const SERVICE: &str = "/api/v1/namespaces/shop/services/web";
const SALE: &str = "/apis/demo.plumb.dev/v1/namespaces/shop/sales/winter";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/office/deployments/desk";
/// How long drift that must not be corrected is observed.
const LEFT_ALONE: Duration = Duration::from_secs(2);
/// How long an alert may take to arrive.
const ALERT_MAX: Duration = Duration::from_secs(20);

/// 1: fetched, applied, Ready.
pub fn arrive(stage: &mut Stage) -> Result<()> {
    let revision = stage.repository.revision()?;
    let (source, took) =
        stage.cluster.wait("the artifact", REPOSITORY, |object| object.is_some_and(is_ready))?;
    let artifact = source.context("no source")?["status"]["artifact"].clone();
    ensure!(
        artifact["revision"] == revision.as_str(),
        "the artifact is of {}, not {revision}",
        artifact["revision"]
    );
    print_line(&format!(
        "   GitRepository/demo is Ready: {}, {} ({})",
        artifact["revision"],
        artifact["digest"],
        seconds_text(took)
    ));
    for (path, name) in [(SHOP, "shop"), (OFFICE, "office")] {
        let at =
            |object: &Value| is_ready(object) && object["status"]["lastAppliedRevision"] == revision.as_str();
        let (object, took) =
            stage.cluster.wait(&format!("Kustomization/{name}"), path, |object| object.is_some_and(at))?;
        let object = object.context("no Kustomization")?;
        let entries = object["status"]["inventory"]["entries"].as_array().map_or(0, Vec::len);
        let (_, _, message) = condition(&object, "Ready").unwrap_or_default();
        print_line(&format!(
            "   Kustomization/{name} is Ready: {message}, {entries} objects ({})",
            seconds_text(took)
        ));
    }
    stage.cluster.wait("the Receiver", RECEIVER, |object| object.is_some_and(is_ready))?;
    let web = stage.cluster.read(WEB)?;
    let image =
        web.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str).unwrap_or_default();
    ensure!(image == "registry.example.com/shop/web:1.2.3", "the overlay's image is not there: {image}");
    ensure!(
        web["spec"]["replicas"] == 3 && web["status"]["availableReplicas"] == 3,
        "not 3 replicas: {}",
        web["status"]
    );
    ensure!(stage.cluster.read(SALE)?["spec"]["percent"] == 25, "the overlay's patch is not there");
    print_line(&format!(
        "   Deployment/shop/web runs {image}, 3 of 3 available; the overlay's patch is in Sale/shop/winter"
    ));
    Ok(())
}

/// 2: a push and its webhook; a revert and its webhook.
pub fn commit_and_revert(stage: &mut Stage) -> Result<()> {
    stage.repository.replace("deploy/base/settings.yaml", "colour: blue", "colour: green")?;
    let commit = stage.repository.push("Paint the shop green")?;
    arrives(stage, "pushed", &commit, "green")?;
    let commit = stage.repository.revert()?;
    arrives(stage, "reverted: pushed", &commit, "blue")
}

fn arrives(stage: &Stage, what: &str, commit: &str, colour: &str) -> Result<()> {
    let began = Instant::now();
    stage.webhook()?;
    let is = |object: &Value| object["data"]["colour"] == colour;
    stage.cluster.wait(&format!("the colour {colour}"), SETTINGS, |object| object.is_some_and(is))?;
    let seen = began.elapsed();
    let revision = format!("main@sha1:{commit}");
    let applied =
        |object: &Value| is_ready(object) && object["status"]["lastAppliedRevision"] == revision.as_str();
    stage.cluster.wait("the revision", SHOP, |object| object.is_some_and(applied))?;
    print_line(&format!(
        "   {what} {}; webhook answered; ConfigMap/shop/settings says {colour} after {}, Kustomization/shop Ready at the revision after {}",
        short(commit),
        seconds_text(seen),
        seconds_text(began.elapsed())
    ));
    Ok(())
}

/// 3: a scaled Deployment and a deleted ConfigMap are corrected, and reported.
pub fn heal(stage: &mut Stage) -> Result<()> {
    let settings = stage.cluster.read(SETTINGS)?["metadata"]["uid"].clone();
    let before = stage.cluster.read(WEB)?["metadata"]["generation"].as_i64().unwrap_or_default();
    stage.cluster.kubectl(&["-n", "shop", "scale", "deployment/web", "--replicas=8"], "")?;
    let began = Instant::now();
    // Scaled and corrected: two generations.
    let back = |object: &Value| {
        object["spec"]["replicas"] == 3 && object["metadata"]["generation"].as_i64() >= Some(before + 2)
    };
    stage.cluster.wait("3 replicas", WEB, |object| object.is_some_and(back))?;
    print_line(&format!(
        "   kubectl scale 3 → 8: back at 3, seen {} after kubectl returned",
        seconds_text(began.elapsed())
    ));
    print_line(&format!(
        "   event: {}",
        stage.cluster.event("shop", "DriftCorrected", "Deployment/shop/web")?
    ));
    stage.cluster.kubectl(&["-n", "shop", "delete", "configmap/settings"], "")?;
    let began = Instant::now();
    let recreated =
        |object: &Value| object["metadata"]["uid"] != settings && object["data"]["colour"] == "blue";
    stage.cluster.wait("the ConfigMap", SETTINGS, |object| object.is_some_and(recreated))?;
    print_line(&format!(
        "   kubectl delete configmap: recreated, seen {} after kubectl returned",
        seconds_text(began.elapsed())
    ));
    print_line(&format!(
        "   event: {}",
        stage.cluster.event("shop", "DriftCorrected", "ConfigMap/shop/settings")?
    ));
    Ok(())
}

/// 4: flagged, reported, not corrected; then corrected on request.
pub fn warn(stage: &mut Stage) -> Result<()> {
    stage.cluster.kubectl(&["-n", "office", "scale", "deployment/desk", "--replicas=5"], "")?;
    let began = Instant::now();
    let flagged = |object: &Value| {
        condition(object, "Drifted").is_some_and(|(status, _, _)| status == "True")
            && object.pointer("/status/drift/entries/0").is_some()
    };
    let (object, _) = stage.cluster.wait("Drifted=True", OFFICE, |object| object.is_some_and(flagged))?;
    let object = object.context("no Kustomization")?;
    let (_, _, message) = condition(&object, "Drifted").unwrap_or_default();
    print_line(&format!(
        "   kubectl scale 2 → 5: Drifted=True after {}: {message}",
        seconds_text(began.elapsed())
    ));
    let field = object.pointer("/status/drift/entries/0/fields/0").cloned().unwrap_or_default();
    print_line(&format!(
        "   status.drift: {} is {}, Git says {}, by {}",
        field["path"], field["live"], field["desired"], field["manager"]
    ));
    let alert = stage.sink.wait_for(ALERT_MAX, |got| got.text("/reason") == "DriftDetected");
    let alert = alert.context("no alert DriftDetected arrived")?;
    print_line(&format!("   alert: {}", alert.text("/message")));
    std::thread::sleep(LEFT_ALONE);
    ensure!(
        stage.cluster.read(DEPLOYMENT)?["spec"]["replicas"] == 5,
        "it was corrected, though the mode is warn"
    );
    ensure!(is_ready(&stage.cluster.read(OFFICE)?), "drift that is only reported must not change Ready");
    print_line(&format!(
        "   {} later it is still 5, and the Kustomization is still Ready",
        seconds_text(LEFT_ALONE)
    ));
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
    let restore = format!("kustomize.toolkit.fluxcd.io/restore={now}");
    stage
        .cluster
        .kubectl(&["-n", "flux-system", "annotate", "--overwrite", "kustomization/office", &restore], "")?;
    let began = Instant::now();
    stage.cluster.wait("2 replicas", DEPLOYMENT, |object| {
        object.is_some_and(|object| object["spec"]["replicas"] == 2)
    })?;
    let took = began.elapsed();
    let resolved = |object: &Value| condition(object, "Drifted").is_none();
    stage.cluster.wait("no drift", OFFICE, |object| object.is_some_and(resolved))?;
    print_line(&format!(
        "   restore annotation set: back at 2 after {}; Drifted is gone",
        seconds_text(took)
    ));
    Ok(())
}

/// 5: what left Git leaves the cluster; what is broken changes nothing.
pub fn prune_and_break(stage: &mut Stage) -> Result<()> {
    stage.repository.replace("deploy/base/kustomization.yaml", "- service.yaml\n", "")?;
    stage.repository.remove("deploy/base/service.yaml")?;
    let commit = stage.repository.push("The shop needs no Service")?;
    let began = Instant::now();
    stage.webhook()?;
    stage.cluster.wait("the prune", SERVICE, |object| object.is_none())?;
    print_line(&format!(
        "   pushed {} without service.yaml: Service/shop/web is gone after {}",
        short(&commit),
        seconds_text(began.elapsed())
    ));
    stage.cluster.wait("Ready", SHOP, |object| object.is_some_and(is_ready))?;
    let before = (stage.cluster.read(WEB)?, stage.cluster.read(SETTINGS)?);
    stage.repository.replace("deploy/base/settings.yaml", "  colour: blue", "  colour: [blue")?;
    let commit = stage.repository.push("A bracket is missing")?;
    stage.webhook()?;
    let broken = |object: &Value| {
        condition(object, "Ready")
            .is_some_and(|(status, reason, _)| status == "False" && reason == "BuildFailed")
    };
    let (object, took) = stage.cluster.wait("Ready=False", SHOP, |object| object.is_some_and(broken))?;
    let (_, reason, message) =
        object.as_ref().and_then(|object| condition(object, "Ready")).unwrap_or_default();
    ensure!(message.contains("settings.yaml:"), "the message names no file and line: {message}");
    print_line(&format!(
        "   pushed {} with a broken manifest: Ready=False after {}\n   {reason}: {message}",
        short(&commit),
        seconds_text(took)
    ));
    let after = (stage.cluster.read(WEB)?, stage.cluster.read(SETTINGS)?);
    let same = |one: &Value, other: &Value| {
        one["metadata"]["uid"] == other["metadata"]["uid"]
            && one["spec"] == other["spec"]
            && one["data"] == other["data"]
    };
    ensure!(same(&before.0, &after.0) && same(&before.1, &after.1), "the cluster is not as it was");
    print_line("   the cluster is as it was");
    let commit = stage.repository.revert()?;
    stage.webhook()?;
    let revision = format!("main@sha1:{commit}");
    let healthy =
        |object: &Value| is_ready(object) && object["status"]["lastAppliedRevision"] == revision.as_str();
    stage.cluster.wait("Ready again", SHOP, |object| object.is_some_and(healthy))?;
    print_line(&format!("   git revert, pushed {}: Ready again", short(&commit)));
    Ok(())
}

/// 6: the notifications of a user.
pub fn alerts(stage: &mut Stage) -> Result<()> {
    let wanted = ["NewArtifact", "ReconciliationSucceeded", "DriftCorrected", "DriftDetected", "BuildFailed"];
    for reason in wanted {
        stage
            .sink
            .wait_for(ALERT_MAX, |got| got.text("/reason") == reason)
            .with_context(|| format!("no alert {reason} arrived"))?;
    }
    for got in stage.sink.received() {
        let object = format!("{}/{}", got.text("/involvedObject/kind"), got.text("/involvedObject/name"));
        let first = got.text("/message").lines().next().unwrap_or_default().to_owned();
        print_line(&format!("   {:<5} {object}: {} — {first}", got.text("/severity"), got.text("/reason")));
    }
    Ok(())
}
