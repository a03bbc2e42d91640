//! From a commit to the cluster and back, over HTTPS with basic auth.

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    environment::Environment,
    sample::{SETTINGS, config_map},
    seen::{self, inventory, is_ready, uid},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_applied_and_git_revert_reverts_it() -> Result<()> {
    let environment = Environment::new("loop").await?;
    let app = environment.app("enabled").await?;
    let first = environment.get("ConfigMap", "settings").await?;
    assert_eq!(first["data"], json!({"greeting": "hello", "mode": "plain"}));
    let source = environment.get("GitRepository", "app").await?;
    assert_eq!(source["status"]["artifact"]["revision"], app.revision.as_str());
    assert!(is_ready(&source) && seen::is_true(&source, "ArtifactInStorage"));

    app.repository.replace(SETTINGS, "hello", "hola")?;
    let second = environment.commit(&app.repository, "second").await?;
    environment.applied("app", &second).await?;
    assert_eq!(environment.get("ConfigMap", "settings").await?["data"]["greeting"], "hola");

    app.repository.revert()?;
    let third = app.repository.revision()?;
    assert!(third != app.revision && third != second);
    environment.request("GitRepository", "app").await?;
    environment.applied("app", &third).await?;
    let back = environment.get("ConfigMap", "settings").await?;
    assert_eq!((&back["data"]["greeting"], uid(&back)), (&json!("hello"), uid(&first)));
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn applied_objects_name_their_owner_and_are_in_the_inventory() -> Result<()> {
    let environment = Environment::new("owner").await?;
    environment.app("enabled").await?;
    let namespace = &environment.namespace;
    let mut expected =
        vec![format!("{namespace}_settings__ConfigMap"), format!("{namespace}_web_apps_Deployment")];
    let kustomization = environment.get("Kustomization", "app").await?;
    let mut found = inventory(&kustomization);
    expected.sort();
    found.sort_unstable();
    assert_eq!(found, expected);
    for (kind, name) in [("ConfigMap", "settings"), ("Deployment", "web")] {
        let labels = &environment.get(kind, name).await?["metadata"]["labels"];
        assert_eq!(labels["kustomize.toolkit.fluxcd.io/name"], "app");
        assert_eq!(labels["kustomize.toolkit.fluxcd.io/namespace"], namespace.as_str());
    }
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_change_is_not_written_again() -> Result<()> {
    let environment = Environment::new("unchanged").await?;
    let app = environment.app("enabled").await?;
    let before = environment.get("ConfigMap", "settings").await?;
    let token = environment.request("Kustomization", "app").await?;
    environment
        .until("Kustomization", "app", "handles a request", |seen| {
            is_ready(seen) && seen["status"]["lastHandledReconcileAt"] == token.as_str()
        })
        .await?;
    app.repository.write("deploy/other.yaml", &config_map("other", "new"))?;
    let second = environment.commit(&app.repository, "another object").await?;
    environment.applied("app", &second).await?;
    let after = environment.get("ConfigMap", "settings").await?;
    assert_eq!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
    environment.close().await
}

/// The definition of the kind Gauge in this group, and a Gauge.
pub fn gauge(group: &str) -> (Value, Value) {
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("gauges.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": "Gauge", "plural": "gauges"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    });
    let resource = json!({"apiVersion": format!("{group}/v1"), "kind": "Gauge", "metadata": {"name": "a"}, "spec": {"size": 3}});
    (definition, resource)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_and_its_custom_resource_arrive_in_one_commit() -> Result<()> {
    let environment = Environment::new("definition").await?;
    let group = format!("{}.example.com", environment.namespace);
    let app = environment.app("enabled").await?;
    let (definition, resource) = gauge(&group);
    app.repository.write("deploy/a-resource.yaml", &resource.to_string())?;
    app.repository.write("deploy/z-definition.yaml", &definition.to_string())?;
    let revision = environment.commit(&app.repository, "definition and resource").await?;
    let applied = environment.applied("app", &revision).await?;
    assert!(inventory(&applied).contains(&&*format!("{}_a_{group}_Gauge", environment.namespace)));
    environment.kubectl(&["get", &format!("gauges.{group}"), "a"])?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_with_conflicting_names_is_named_and_leaves_no_entry() -> Result<()> {
    let environment = Environment::new("taken").await?;
    let group = format!("{}.example.com", environment.namespace);
    let app = environment.app("enabled").await?;
    environment.edit("Kustomization", "app", &json!({"spec": {"retryInterval": "1s"}})).await?;
    let (definition, resource) = gauge(&group);
    // Another definition has the kind already: ours is stored and not established.
    let mut rival = definition.clone();
    rival["metadata"]["name"] = json!(format!("rivals.{group}"));
    rival["spec"]["names"]["plural"] = json!("rivals");
    environment.create_from_file(&rival)?;
    let rival = format!("crd/rivals.{group}");
    environment.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", &rival])?;
    let files = ["deploy/a-resource.yaml", "deploy/z-definition.yaml"];
    app.repository.write(files[0], &resource.to_string())?;
    app.repository.write(files[1], &definition.to_string())?;
    let second = environment.commit(&app.repository, "definition and resource").await?;
    let message = environment.failed("app", "ReconciliationFailed").await?;
    assert!(message.contains(&format!("CustomResourceDefinition/gauges.{group}")), "{message}");
    assert!(message.contains("is already in use"), "{message}");
    environment.kubectl(&["delete", &rival])?;
    environment.applied("app", &second).await?;
    let gauge = format!("gauges.{group}");
    environment.kubectl(&["get", &gauge, "a"])?;

    // A user deletes the definition, and its objects with it: both are recreated.
    environment.kubectl(&["delete", "crd", &gauge])?;
    environment.kubectl(&["wait", "--for=create", "--timeout=60s", &format!("crd/{gauge}")])?;
    environment.kubectl(&[
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        &format!("crd/{gauge}"),
    ])?;
    environment.kubectl(&["wait", "--for=create", "--timeout=60s", &format!("{gauge}/a")])?;

    // A user deletes both while nothing is corrected, and then they are removed from Git: no entry of either stays.
    environment.edit("Kustomization", "app", &json!({"spec": {"suspend": true}})).await?;
    environment.kubectl(&["delete", "crd", &gauge])?;
    for file in files {
        app.repository.remove(file)?;
    }
    let third = environment.commit(&app.repository, "neither").await?;
    environment.edit("Kustomization", "app", &json!({"spec": {"suspend": false}})).await?;
    // A definition that terminates stays in the inventory until it is deleted.
    let rest = |seen: &Value| {
        is_ready(seen) && inventory(seen).len() == 2 && seen["status"]["lastAppliedRevision"] == third
    };
    environment.until("Kustomization", "app", "has entries of neither", rest).await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_commits_and_version_ranges_are_sources_too() -> Result<()> {
    let environment = Environment::new("refs").await?;
    let repository = environment.sample("app")?;
    let head = repository.head()?;
    for tag in ["v1.2.0", "v1.10.0", "v2.0.0"] {
        repository.git(&["tag", tag])?;
        repository.git(&["push", "--quiet", "origin", tag])?;
    }
    for (name, reference, revision) in [
        ("tag", json!({"tag": "v1.2.0"}), format!("v1.2.0@sha1:{head}")),
        ("range", json!({"semver": "1.x"}), format!("v1.10.0@sha1:{head}")),
        ("commit", json!({"branch": "main", "commit": head}), format!("main@sha1:{head}")),
        ("name", json!({"name": "refs/heads/main"}), format!("refs/heads/main@sha1:{head}")),
    ] {
        let mut source = environment.source("app");
        source["metadata"]["name"] = json!(name);
        source["spec"]["ref"] = reference;
        environment.create(source).await?;
        let ready = environment.until("GitRepository", name, "is ready", is_ready).await?;
        assert_eq!(ready["status"]["artifact"]["revision"], revision.as_str());
    }
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_and_its_objects_are_created_and_pruned_with_one_commit() -> Result<()> {
    let environment = Environment::new("namespace").await?;
    let app = environment.app("enabled").await?;
    let inner = format!("{}-inner", environment.namespace);
    let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {inner}}}\n");
    let inside =
        config_map("inside", "a").replace("metadata:\n", &format!("metadata:\n  namespace: {inner}\n"));
    // In the order that does not work by itself.
    app.repository.write("team/a.yaml", &inside)?;
    app.repository.write("team/b.yaml", &namespace)?;
    app.repository.write(
        "team/c.yaml",
        &config_map("beside", "a")
            .replace("metadata:\n", &format!("metadata:\n  namespace: {}\n", environment.namespace)),
    )?;
    let second = environment.commit(&app.repository, "a namespace").await?;
    environment
        .create(environment.kustomization("team", &json!({"path": "./team", "targetNamespace": null})))
        .await?;
    let applied = environment.applied("team", &second).await?;
    assert!(inventory(&applied).contains(&&*format!("{inner}_inside__ConfigMap")));
    assert!(inventory(&applied).contains(&&*format!("_{inner}__Namespace")));
    for file in ["team/a.yaml", "team/b.yaml"] {
        app.repository.remove(file)?;
    }
    let third = environment.commit(&app.repository, "no namespace").await?;
    let pruned = environment.applied("team", &third).await?;
    assert!(!inventory(&pruned).contains(&&*format!("{inner}_inside__ConfigMap")));
    environment.kubectl(&["wait", "--for=delete", "--timeout=60s", &format!("namespace/{inner}")])?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fields_of_the_spec_shape_what_is_applied() -> Result<()> {
    let environment = Environment::new("fields").await?;
    let repository = environment.sample("app")?;
    repository.replace(SETTINGS, "greeting: hello", "greeting: ${greeting}, ${name:=nobody}")?;
    repository.write("deploy/ignored.yaml", "this: is\n  no: [manifest\n")?;
    repository.write(".sourceignore", "ignored.yaml\n")?;
    repository.push("with variables")?;
    environment.create(environment.source("app")).await?;
    let fields = json!({
        "namePrefix": "a-", "nameSuffix": "-z",
        "commonMetadata": {"labels": {"team": "blue"}, "annotations": {"note": "x"}},
        "images": [{"name": "example.com/web", "newTag": "2.0.0"}],
        "patches": [{
            "target": {"kind": "Deployment"},
            "patch": "- {op: replace, path: /spec/replicas, value: 2}",
        }],
        "postBuild": {"substitute": {"greeting": "hola"}},
    });
    environment.create(environment.kustomization("app", &fields)).await?;
    environment.applied("app", &repository.revision()?).await?;
    let settings = environment.get("ConfigMap", "a-settings-z").await?;
    assert_eq!(settings["data"]["greeting"], "hola, nobody");
    assert_eq!(settings["metadata"]["labels"]["team"], "blue");
    assert_eq!(settings["metadata"]["annotations"]["note"], "x");
    let web = environment.get("Deployment", "a-web-z").await?;
    assert_eq!((&web["spec"]["replicas"], &web["metadata"]["labels"]["team"]), (&json!(2), &json!("blue")));
    assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["image"], "example.com/web:2.0.0");
    environment.close().await
}
