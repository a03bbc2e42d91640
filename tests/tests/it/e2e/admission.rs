//! Objects that admission or quota rejects: they are named, and nothing else waits for them.

use std::{ops::ControlFlow, time::Duration};

use anyhow::Result;
use plumb_testkit::wait::Wait;
use serde_json::{Value, json};

use super::{
    environment::Environment,
    sample::config_map,
    seen::{self, inventory, is_failed},
};

/// How many ConfigMaps one commit has: one is denied, one is over the quota.
const MAPS: usize = 50;
/// How long a policy may take to be enforced, or to be enforced no more.
const ENFORCED_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
const DENIED: &str = "the test denies it";

/// Denies an operation on one ConfigMap of the test's namespace.
async fn deny(environment: &Environment, operation: &str, name: &str) -> Result<()> {
    let policy = environment.namespace.as_str();
    let object = if operation == "DELETE" { "oldObject" } else { "object" };
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": [operation], "resources": ["configmaps"]});
    let namespace = json!({"matchLabels": {"kubernetes.io/metadata.name": policy}});
    let expression = format!("{object}.metadata.name != '{name}'");
    environment.create_from_file(&json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": policy},
        "spec": {
            "matchConstraints": {"namespaceSelector": namespace, "resourceRules": [rule]},
            "validations": [{"expression": expression, "message": DENIED}],
        },
    }))?;
    environment.create_from_file(&json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": policy}, "spec": {"policyName": policy, "validationActions": ["Deny"]},
    }))?;
    is_denied(environment, operation, name, true).await
}

/// Ends what [`deny`] began.
async fn allow(environment: &Environment, operation: &str, name: &str) -> Result<()> {
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        environment.kubectl(&["delete", kind, &environment.namespace])?;
    }
    is_denied(environment, operation, name, false).await
}

/// Waits until the API server responds as expected: a policy takes a moment to become active.
async fn is_denied(environment: &Environment, operation: &str, name: &str, wanted: bool) -> Result<()> {
    let verb = if operation == "DELETE" { "delete" } else { "create" };
    let what = format!("{operation} of {name} is {}", if wanted { "denied" } else { "allowed" });
    let wait = Wait::until(what, ENFORCED_MAX).every(POLL);
    wait.poll(async || {
        let tried = environment.kubectl(&[verb, "configmap", name, "--dry-run=server"]);
        let denied = tried.as_ref().is_err_and(|error| error.to_string().contains(DENIED));
        Ok(if denied == wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(tried) })
    })
    .await
}

fn names(objects: &[Value]) -> Vec<&str> {
    objects.iter().map(|object| seen::text(object, "/metadata/name")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_objects_those_that_a_policy_and_a_quota_reject_are_named_and_the_others_applied()
-> Result<()> {
    let environment = Environment::new("rejects").await?;
    let app = environment.app("enabled").await?;
    environment.edit("Kustomization", "app", &json!({"spec": {"retryInterval": "1s"}})).await?;
    deny(&environment, "CREATE", "map-07").await?;
    // The controller-manager makes one in each namespace.
    environment.until("ConfigMap", "kube-root-ca.crt", "is there", |_| true).await?;
    let quota = environment.list("ConfigMap").await?.len() + MAPS - 2;
    environment.create_from_file(&json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "maps"},
        "spec": {"hard": {"count/configmaps": quota.to_string()}},
    }))?;
    environment.kubectl(&["wait", "--for=jsonpath={.status.hard}", "--timeout=60s", "resourcequota/maps"])?;
    for number in 0..MAPS {
        let name = format!("map-{number:02}");
        app.repository.write(&format!("deploy/{name}.yaml"), &config_map(&name, "a"))?;
    }
    let revision = environment.commit(&app.repository, "fifty more").await?;
    let failed = |seen: &Value| {
        is_failed(seen, "ReconciliationFailed") && seen["status"]["lastAttemptedRevision"] == revision
    };
    let failed = environment.until("Kustomization", "app", "has failed", failed).await?;
    let message = seen::message(&failed, "Ready");
    let lines = |text: &str| message.lines().filter(|line| line.contains(text)).count();
    assert_eq!((lines(DENIED), lines("exceeded quota"), message.lines().count()), (1, 1, 2), "{message}");
    assert!(message.contains("/map-07 "), "{message}");
    let there = environment.list("ConfigMap").await?;
    let applied = names(&there).into_iter().filter(|name| name.starts_with("map-")).count();
    assert_eq!(applied, MAPS - 2, "{:?}", names(&there));
    environment.reported("ReconciliationFailed", &["/map-07 ", DENIED, "exceeded quota"]).await?;

    allow(&environment, "CREATE", "map-07").await?;
    environment.kubectl(&["delete", "resourcequota", "maps"])?;
    let applied = environment.applied("app", &revision).await?;
    assert_eq!(inventory(&applied).len(), MAPS + 2);
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_deleted_stays_in_the_inventory_and_the_rest_is_pruned() -> Result<()> {
    let environment = Environment::new("obstacles").await?;
    let app = environment.app("enabled").await?;
    environment.edit("Kustomization", "app", &json!({"spec": {"retryInterval": "1s"}})).await?;
    let all = ["free", "guarded", "held"];
    for name in all {
        app.repository.write(&format!("deploy/{name}.yaml"), &config_map(name, "a"))?;
    }
    let second = environment.commit(&app.repository, "three more").await?;
    environment.applied("app", &second).await?;
    // A finalizer of a person's tool would be drift.
    let finalizer = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    environment.edit_as("example-controller", "ConfigMap", "held", &finalizer).await?;
    deny(&environment, "DELETE", "guarded").await?;
    for name in all {
        app.repository.remove(&format!("deploy/{name}.yaml"))?;
    }
    let third = environment.commit(&app.repository, "three less").await?;
    let message = environment.failed("app", "PruneFailed").await?;
    assert!(message.contains("/guarded") && message.contains(DENIED), "{message}");
    environment.gone("ConfigMap", "free").await?;
    let id = |name: &str| format!("{}_{name}__ConfigMap", environment.namespace);
    let tracked = |seen: &Value| {
        let ids = inventory(seen);
        [("free", false), ("guarded", true), ("held", true)]
            .iter()
            .all(|(name, wanted)| ids.contains(&&*id(name)) == *wanted)
    };
    environment.stays("Kustomization", "app", "keeps track of what is left", tracked).await?;

    allow(&environment, "DELETE", "guarded").await?;
    environment.gone("ConfigMap", "guarded").await?;
    let held = |seen: &Value| seen::message(seen, "Ready").contains("/held is terminating");
    environment.until("Kustomization", "app", "names the object that a finalizer holds", held).await?;
    environment.edit("ConfigMap", "held", &json!({"metadata": {"finalizers": null}})).await?;
    environment.gone("ConfigMap", "held").await?;
    let rest = |seen: &Value| inventory(seen).len() == 2 && seen["status"]["lastAppliedRevision"] == third;
    environment.until("Kustomization", "app", "has only what is left", rest).await?;
    environment.close().await
}
