//! Commits and specs that cannot be carried out: a clear condition, and the cluster as it was.

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    environment::Environment,
    sample::{App, SETTINGS, WEB, config_map},
    seen::{self, inventory, is_true},
};

/// Pushes what cannot be applied; returns the message. The cluster must be as before, and the way back must work.
async fn rejected(environment: &Environment, app: &App, reason: &str) -> Result<String> {
    let settings = environment.get("ConfigMap", "settings").await?;
    let web = environment.get("Deployment", "web").await?;
    let before = environment.get("Kustomization", "app").await?;
    environment.commit(&app.repository, "cannot be applied").await?;
    let message = environment.failed("app", reason).await?;
    let failed = environment.get("Kustomization", "app").await?;
    assert_eq!(failed["status"]["lastAppliedRevision"], app.revision.as_str());
    for id in inventory(&before) {
        assert!(inventory(&failed).contains(&id), "{id} is missing: {failed:#}");
    }
    let version = |seen: &Value| seen["metadata"]["resourceVersion"].clone();
    assert_eq!(version(&environment.get("ConfigMap", "settings").await?), version(&settings));
    assert_eq!(
        environment.get("Deployment", "web").await?["metadata"]["generation"],
        web["metadata"]["generation"]
    );
    app.repository.revert()?;
    environment.request("GitRepository", "app").await?;
    environment.applied("app", &app.repository.revision()?).await?;
    Ok(message)
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_yaml_is_named_by_file_and_line_and_changes_nothing() -> Result<()> {
    let environment = Environment::new("broken").await?;
    let app = environment.app("enabled").await?;
    app.repository
        .write(SETTINGS, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata: [unclosed\n")?;
    app.repository.replace(WEB, "replicas: 3", "replicas: 4")?;
    let message = rejected(&environment, &app, "BuildFailed").await?;
    assert!(message.contains("/deploy/settings.yaml:5:"), "{message}");
    environment.reported("BuildFailed", &["deploy/settings.yaml"]).await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_a_kustomization_file_that_is_not_known_is_named() -> Result<()> {
    let environment = Environment::new("file-field").await?;
    let app = environment.app("enabled").await?;
    let file = "resources: [settings.yaml, web.yaml]\nhelmCharts: [{name: chart}]\n";
    app.repository.write("deploy/kustomization.yaml", file)?;
    let message = rejected(&environment, &app, "BuildFailed").await?;
    assert!(message.contains("deploy/kustomization.yaml") && message.contains("helmCharts"), "{message}");
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_there_twice_is_named() -> Result<()> {
    let environment = Environment::new("duplicate").await?;
    let app = environment.app("enabled").await?;
    app.repository.write("deploy/again.yaml", &config_map("settings", "again"))?;
    let message = rejected(&environment, &app, "BuildFailed").await?;
    assert!(message.contains("settings"), "{message}");
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_is_not_served_is_named() -> Result<()> {
    let environment = Environment::new("unknown-kind").await?;
    let app = environment.app("enabled").await?;
    let widget = "apiVersion: nowhere.example.com/v1\nkind: Widget\nmetadata: {name: w}\n";
    app.repository.write("deploy/widget.yaml", widget)?;
    let message = rejected(&environment, &app, "ReconciliationFailed").await?;
    assert!(
        message.contains("no matches for kind \"Widget\" in version \"nowhere.example.com/v1\""),
        "{message}"
    );
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immutable_field_is_named_and_the_object_stays() -> Result<()> {
    let environment = Environment::new("immutable").await?;
    let app = environment.app("enabled").await?;
    app.repository.replace(WEB, "matchLabels: {app: web}", "matchLabels: {app: other}")?;
    app.repository.replace(WEB, "labels: {app: web}", "labels: {app: other}")?;
    let message = rejected(&environment, &app, "ReconciliationFailed").await?;
    assert!(message.contains("Deployment/") && message.contains("field is immutable"), "{message}");
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_are_rejected_in_the_middle_are_all_listed_and_nothing_is_pruned() -> Result<()> {
    let environment = Environment::new("rejected").await?;
    let app = environment.app("enabled").await?;
    app.repository.write("deploy/old.yaml", &config_map("old", "a"))?;
    let second = environment.commit(&app.repository, "one more").await?;
    environment.applied("app", &second).await?;
    app.repository.remove("deploy/old.yaml")?;
    for name in ["bad-one", "bad-two"] {
        let file = config_map(name, "a").replace("greeting:", "'not a key':");
        app.repository.write(&format!("deploy/{name}.yaml"), &file)?;
    }
    app.repository.write("deploy/good.yaml", &config_map("good", "a"))?;
    app.repository.replace(WEB, "replicas: 3", "replicas: 4")?;
    environment.commit(&app.repository, "two are rejected").await?;
    let message = environment.failed("app", "ReconciliationFailed").await?;
    for name in ["bad-one", "bad-two"] {
        assert!(message.contains(&format!("ConfigMap/{}/{name}", environment.namespace)), "{message}");
    }
    environment.get("ConfigMap", "old").await?;
    environment.get("ConfigMap", "good").await?;
    // A wave after that of the rejected objects does not begin.
    assert_eq!(environment.get("Deployment", "web").await?["spec"]["replicas"], 3);
    let failed = environment.get("Kustomization", "app").await?;
    let known = inventory(&failed);
    for id in ["old__ConfigMap", "good__ConfigMap", "settings__ConfigMap", "web_apps_Deployment"] {
        assert!(known.contains(&&*format!("{}_{id}", environment.namespace)), "{id} is missing: {known:?}");
    }
    for name in ["bad-one", "bad-two"] {
        app.repository.remove(&format!("deploy/{name}.yaml"))?;
    }
    let repaired = environment.commit(&app.repository, "repaired").await?;
    environment.applied("app", &repaired).await?;
    environment.gone("ConfigMap", "old").await?;
    assert_eq!(environment.get("Deployment", "web").await?["spec"]["replicas"], 4);
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_not_in_the_source_is_named() -> Result<()> {
    let environment = Environment::new("path").await?;
    let app = environment.app("enabled").await?;
    environment.edit("Kustomization", "app", &json!({"spec": {"path": "./nowhere"}})).await?;
    let message = environment.failed("app", "ArtifactFailed").await?;
    assert!(message.contains("kustomization path not found") && message.contains("nowhere"), "{message}");
    environment.get("ConfigMap", "settings").await?;
    environment.edit("Kustomization", "app", &json!({"spec": {"path": "./deploy"}})).await?;
    environment.applied("app", &app.revision).await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsupported_field_is_rejected_and_nothing_is_applied() -> Result<()> {
    let environment = Environment::new("unsupported").await?;
    let repository = environment.sample("app")?;
    environment.create(environment.source("app")).await?;
    environment
        .create(environment.kustomization("app", &json!({"decryption": {"provider": "sops"}})))
        .await?;
    let message = environment.failed("app", "UnsupportedField").await?;
    assert!(message.contains("spec.decryption"), "{message}");
    assert!(is_true(&environment.get("Kustomization", "app").await?, "Stalled"));
    assert!(environment.find("ConfigMap", "settings").await?.is_none());
    environment.edit("Kustomization", "app", &json!({"spec": {"decryption": null}})).await?;
    environment.applied("app", &repository.revision()?).await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_not_there_is_waited_for() -> Result<()> {
    let environment = Environment::new("no-source").await?;
    environment.create(environment.kustomization("app", &json!({}))).await?;
    let missing = environment
        .until("Kustomization", "app", "misses its source", |seen| {
            seen::reason(seen, "Ready") == "ArtifactFailed"
        })
        .await?;
    assert!(seen::message(&missing, "Ready").contains("'GitRepository/app' not found"), "{missing:#}");
    let repository = environment.sample("app")?;
    environment.create(environment.source("app")).await?;
    environment.applied("app", &repository.revision()?).await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_cannot_be_built_counts_as_attempted() -> Result<()> {
    let environment = Environment::new("attempted").await?;
    let app = environment.app("enabled").await?;
    app.repository.write(SETTINGS, "data: [unclosed\n")?;
    let broken = environment.commit(&app.repository, "cannot be built").await?;
    environment.failed("app", "BuildFailed").await?;
    let failed = environment.get("Kustomization", "app").await?;
    assert_eq!(failed["status"]["lastAttemptedRevision"], broken.as_str(), "{failed:#}");
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_emptied_deletes_nothing() -> Result<()> {
    let environment = Environment::new("emptied").await?;
    let app = environment.app("enabled").await?;
    let repository = &app.repository;
    let first = repository.head()?;
    let unharmed = async |reason: &str, text: &str| {
        let reported_text =
            |seen: &Value| seen::is_failed(seen, reason) && seen::message(seen, "Ready").contains(text);
        let failed =
            environment.until("Kustomization", "app", &format!("reports {text}"), reported_text).await?;
        assert_eq!(inventory(&failed).len(), 2, "{failed:#}");
        environment.get("ConfigMap", "settings").await?;
        environment.get("Deployment", "web").await
    };
    repository.write("deploy/kustomization.yaml", "resources: []\n")?;
    environment.commit(repository, "no resources").await?;
    unharmed("PruneBlocked", "renders no objects").await?;

    repository.git(&["checkout", "--quiet", "--orphan", "wiped"])?;
    repository.git(&["rm", "--quiet", "-r", "--force", "."])?;
    repository.git(&["commit", "--quiet", "--allow-empty", "--message", "an empty commit"])?;
    repository.git(&["push", "--quiet", "--force", "origin", "wiped:main"])?;
    environment.request("GitRepository", "app").await?;
    unharmed("ArtifactFailed", "kustomization path not found").await?;
    environment.edit("Kustomization", "app", &json!({"spec": {"path": "./"}})).await?;
    unharmed("PruneBlocked", "renders no objects").await?;
    environment.reported("PruneBlocked", &["allow-empty"]).await?;

    repository.git(&["push", "--quiet", "--force", "origin", &format!("{first}:main")])?;
    environment.request("GitRepository", "app").await?;
    environment.edit("Kustomization", "app", &json!({"spec": {"path": "./deploy"}})).await?;
    environment.applied("app", &app.revision).await?;
    environment.close().await
}

/// The remedy that the message names is carried out, too: it is the only one that helps.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_a_variable_turns_into_a_number_is_named_and_quotes_in_its_value_help() -> Result<()> {
    let environment = Environment::new("retyped").await?;
    let repository = environment.sample("app")?;
    repository.replace(SETTINGS, "greeting: hello", "greeting: '${n}'")?;
    repository.push("with a variable")?;
    environment.create(environment.source("app")).await?;
    let fields = json!({
        "patches": [{ "target": {"kind": "Nothing"}, "patch": "- {op: remove, path: /x}" }],
        "postBuild": {"substitute": {"n": "999991"}},
    });
    environment.create(environment.kustomization("app", &fields)).await?;
    let message = environment.failed("app", "ReconciliationFailed").await?;
    assert!(
        message.contains(".data.greeting: expected string, got ")
            && message.contains("(.data.greeting holds ${n}, whose value is not a text: ")
            && message.contains("as in n: '\"value\"'"),
        "{message}"
    );
    let quoted = json!({"spec": {"postBuild": {"substitute": {"n": "\"999991\""}}}});
    environment.edit("Kustomization", "app", &quoted).await?;
    environment.applied("app", &repository.revision()?).await?;
    assert_eq!(environment.get("ConfigMap", "settings").await?["data"]["greeting"], "999991");
    let warned = environment.events("BuildWarning").await?;
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(
        warned[0].contains("\nspec.patches[0]: the target (kind=Nothing) selects no object"),
        "{warned:?}"
    );
    environment.close().await
}
