//! RBAC: a ServiceAccount and the least ClusterRole for each controller, the Role for leader election, and
//! the roles for users. A controller with a new kind of request needs a line here.

use std::{collections::BTreeMap, sync::LazyLock};

use anyhow::Result;
use plumb_api::{
    ApiResource,
    meta::{KUSTOMIZE_GROUP, NOTIFICATION_GROUP, SOURCE_GROUP},
    notification::ObjectKind,
    source::EXTENSIONS_GROUP,
};
use serde_json::{Value, json};

use super::{Files, kustomization, yaml};

const FOLDER: &str = "config/rbac";
const ORIGIN: &str = "xtask/src/gen/roles.rs";
const RBAC: &str = "rbac.authorization.k8s.io/v1";
/// The default namespace of the controllers.
const NAMESPACE: &str = "flux-system";

const SOURCE: &str = "source-controller";
const KUSTOMIZE: &str = "kustomize-controller";
const NOTIFICATION: &str = "notification-controller";

/// A rule: API group, resources, verbs.
type Rule<'a> = (&'a str, Vec<&'a str>, &'static [&'static str]);

const WATCH: &[&str] = &["get", "list", "watch"];
/// The finalizer is set and released by a patch.
const RECONCILE: &[&str] = &["get", "list", "patch", "watch"];
const STATUS: &[&str] = &["patch"];
/// Objects are created by server-side apply, which needs both verbs.
const GENERATE: &[&str] = &["create", "delete", "get", "list", "patch", "watch"];
/// An annotation is patched; objects with a label are listed.
const REQUEST_RECONCILE: &[&str] = &["list", "patch"];
/// Events are created, and counted up by a patch.
const EMIT_EVENTS: &[&str] = &["create", "patch"];

/// Secrets are read one by one.
const READ: &[&str] = &["get"];

/// The files of `config/rbac`.
pub fn files() -> Result<Files> {
    let mut files = Files::new();
    for (name, documents) in [
        ("source-controller.yaml", controller(SOURCE, &source())),
        ("kustomize-controller.yaml", [controller(KUSTOMIZE, &kustomize()), whole_cluster()].concat()),
        (
            "notification-controller.yaml",
            [controller(NOTIFICATION, &notification()), secrets_of_notification()].concat(),
        ),
        ("leader-election.yaml", leader_election()),
        ("people.yaml", people()),
    ] {
        files.insert(format!("{FOLDER}/{name}"), yaml(ORIGIN, &documents)?);
    }
    let names: Vec<String> =
        files.keys().filter_map(|path| path.rsplit('/').next()).map(str::to_owned).collect();
    files.insert(format!("{FOLDER}/kustomization.yaml"), kustomization(ORIGIN, &names)?);
    Ok(files)
}

fn source() -> Vec<Rule<'static>> {
    vec![
        (
            SOURCE_GROUP,
            vec!["buckets", "gitrepositories", "helmcharts", "helmrepositories", "ocirepositories"],
            RECONCILE,
        ),
        (
            SOURCE_GROUP,
            vec![
                "buckets/status",
                "gitrepositories/status",
                "helmcharts/status",
                "helmrepositories/status",
                "ocirepositories/status",
            ],
            STATUS,
        ),
        (EXTENSIONS_GROUP, vec!["artifactgenerators"], RECONCILE),
        (EXTENSIONS_GROUP, vec!["artifactgenerators/status"], STATUS),
        // What they generate.
        (SOURCE_GROUP, vec!["externalartifacts"], GENERATE),
        (SOURCE_GROUP, vec!["externalartifacts/status"], STATUS),
        // Of a ServiceAccount only the names of its image pull Secrets are read.
        ("", vec!["secrets", "serviceaccounts"], READ),
        ("", vec!["events"], EMIT_EVENTS),
    ]
}

/// What the controller needs for itself: what it applies, it may apply by `whole_cluster`, or by a binding in its place.
fn kustomize() -> Vec<Rule<'static>> {
    vec![
        (KUSTOMIZE_GROUP, vec!["kustomizations"], RECONCILE),
        (KUSTOMIZE_GROUP, vec!["kustomizations/status"], STATUS),
        (SOURCE_GROUP, vec!["buckets", "externalartifacts", "gitrepositories", "ocirepositories"], WATCH),
        // After a definition is applied it is waited for; at start its own is read for the fields of drift.
        ("apiextensions.k8s.io", vec!["customresourcedefinitions"], WATCH),
        ("", vec!["events"], EMIT_EVENTS),
    ]
}

/// Where the objects are that a Receiver can reconcile.
static RECEIVER_RESOURCES: LazyLock<Vec<ApiResource>> =
    LazyLock::new(|| ObjectKind::ALL.iter().map(|kind| kind.resource()).collect());

fn notification() -> Vec<Rule<'static>> {
    let mut rules = vec![
        (NOTIFICATION_GROUP, vec!["alerts", "providers"], WATCH),
        (NOTIFICATION_GROUP, vec!["receivers"], RECONCILE),
        (NOTIFICATION_GROUP, vec!["receivers/status"], STATUS),
        ("", vec!["events"], EMIT_EVENTS),
    ];
    // A webhook requests a reconciliation by a patch of one annotation, without reading the object; a Receiver of all objects
    // with a label lists their metadata.
    let mut groups: BTreeMap<&'static str, Vec<&'static str>> = BTreeMap::new();
    for ApiResource { group, plural, .. } in RECEIVER_RESOURCES.iter() {
        groups.entry(group).or_default().push(plural);
    }
    rules.extend(groups.into_iter().map(|(group, resources)| (group, resources, REQUEST_RECONCILE)));
    rules
}

/// A controller's account, its role and the binding of both.
fn controller(name: &str, rules: &[Rule<'_>]) -> Vec<Value> {
    let role = format!("plumb-{name}");
    let account = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "name": name, "namespace": NAMESPACE, "labels": labels(name) },
    });
    vec![account, cluster_role(&role, &labels(name), rules), binding(&role, &role, name)]
}

/// Manifests may hold anything, so the controller that applies them may do anything, as Flux's may.
fn whole_cluster() -> Vec<Value> {
    vec![binding("plumb-cluster-reconciler", "cluster-admin", KUSTOMIZE)]
}

/// Secrets of Providers and Receivers are in any namespace. It is a role of its own, so that its binding can be replaced by one
/// RoleBinding in each namespace that has them.
fn secrets_of_notification() -> Vec<Value> {
    let name = "plumb-notification-controller-secrets";
    vec![
        cluster_role(name, &labels(NOTIFICATION), &[("", vec!["secrets"], READ)]),
        binding(name, name, NOTIFICATION),
    ]
}

fn leader_election() -> Vec<Value> {
    let name = "plumb-leader-election";
    let subjects = [SOURCE, KUSTOMIZE, NOTIFICATION].map(subject);
    let labels = json!({ "app.kubernetes.io/part-of": "flux" });
    let metadata = json!({ "name": name, "namespace": NAMESPACE, "labels": labels });
    // A lease's name holds the hash of the label selector, so the role cannot name it.
    let rules: [Rule<'_>; 1] = [("coordination.k8s.io", vec!["leases"], &["create", "get", "update"])];
    vec![
        json!({ "apiVersion": RBAC, "kind": "Role", "metadata": metadata, "rules": rules_of(&rules) }),
        json!({
            "apiVersion": RBAC,
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
            "subjects": subjects,
        }),
    ]
}

/// Users who may view, edit or administer a namespace may do the same with the toolkit's objects in it.
fn people() -> Vec<Value> {
    // Not their status: it is the controllers' to write.
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, crd) in plumb_api::crd::all() {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        all.entry(word(&crd["spec"]["group"])).or_default().push(word(&crd["spec"]["names"]["plural"]));
    }
    let role = |name: &str, to: &[&str], verbs: &'static [&'static str]| {
        let rules: Vec<Rule<'_>> = all
            .iter()
            .map(|(group, plurals)| (group.as_str(), plurals.iter().map(String::as_str).collect(), verbs))
            .collect();
        let mut labels = json!({ "app.kubernetes.io/part-of": "flux" });
        for to in to {
            labels[format!("rbac.authorization.k8s.io/aggregate-to-{to}")] = json!("true");
        }
        cluster_role(name, &labels, &rules)
    };
    vec![
        role("plumb-view", &["admin", "edit", "view"], WATCH),
        role("plumb-edit", &["admin", "edit"], &["create", "delete", "deletecollection", "patch", "update"]),
    ]
}

fn cluster_role(name: &str, labels: &Value, rules: &[Rule<'_>]) -> Value {
    let mut role = json!({ "apiVersion": RBAC, "kind": "ClusterRole", "metadata": { "name": name } });
    role["metadata"]["labels"] = labels.clone();
    role["rules"] = rules_of(rules);
    role
}

fn rules_of(rules: &[Rule<'_>]) -> Value {
    let one = |(group, resources, verbs): &Rule<'_>| {
        let mut resources = resources.clone();
        resources.sort_unstable();
        json!({ "apiGroups": [group], "resources": resources, "verbs": verbs })
    };
    rules.iter().map(one).collect()
}

fn binding(name: &str, role: &str, account: &str) -> Value {
    json!({
        "apiVersion": RBAC,
        "kind": "ClusterRoleBinding",
        "metadata": { "name": name, "labels": labels(account) },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": [subject(account)],
    })
}

fn subject(account: &str) -> Value {
    json!({ "kind": "ServiceAccount", "name": account, "namespace": NAMESPACE })
}

fn labels(component: &str) -> Value {
    json!({ "app.kubernetes.io/component": component, "app.kubernetes.io/part-of": "flux" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_role_of_a_controller_holds_a_wildcard_or_escalates() {
        for rules in [source(), kustomize(), notification()] {
            for (group, resources, verbs) in rules {
                let words = resources.iter().chain(verbs).chain(std::iter::once(&group));
                for word in words {
                    assert!(!["*", "escalate", "bind", "impersonate"].contains(word), "{group} {word}");
                }
            }
        }
    }

    #[test]
    fn secrets_are_read_one_by_one_and_never_listed() {
        for (group, resources, verbs) in source() {
            if group.is_empty() && resources.contains(&"secrets") {
                assert_eq!(verbs, ["get"]);
            }
        }
        assert!(
            notification().iter().all(|rule| !rule.1.contains(&"secrets")),
            "they have a role of their own"
        );
        let [role, _] = &secrets_of_notification()[..] else { panic!("a role and its binding") };
        assert_eq!(role["rules"], json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] }]));
    }

    #[test]
    fn every_kind_of_a_receiver_can_be_annotated() {
        let rules = notification();
        for ApiResource { group, plural, kind, .. } in RECEIVER_RESOURCES.iter() {
            let may = |rule: &Rule<'_>| {
                rule.0 == group && rule.1.contains(&plural.as_str()) && rule.2.contains(&"patch")
            };
            assert!(rules.iter().any(may), "{kind}");
        }
    }

    #[test]
    fn receiver_resources_are_never_read_created_or_deleted() {
        for (group, resources, verbs) in notification() {
            if group != NOTIFICATION_GROUP && !group.is_empty() {
                assert_eq!(verbs, REQUEST_RECONCILE, "{group} {resources:?}");
            }
        }
    }

    /// The documents of the hand-written manifests that the roles are for.
    fn manifests(file: &str) -> Vec<Value> {
        let root = crate::check::workspace_root().unwrap();
        let text = std::fs::read_to_string(root.join("config/manager").join(file)).unwrap();
        text.split("---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect()
    }

    #[test]
    fn each_deployment_runs_under_the_account_of_its_controller() {
        for name in [SOURCE, KUSTOMIZE, NOTIFICATION] {
            let all = manifests(&format!("{name}.yaml"));
            let deployment = all.iter().find(|document| document["kind"] == "Deployment").unwrap();
            assert_eq!(
                (&deployment["metadata"]["name"], &deployment["metadata"]["namespace"]),
                (&json!(name), &json!(NAMESPACE))
            );
            assert_eq!(deployment["metadata"]["labels"]["app.kubernetes.io/part-of"], "flux");
            let pod = &deployment["spec"]["template"]["spec"];
            assert_eq!(pod["serviceAccountName"], name);
            let manager = &pod["containers"][0];
            assert_eq!(manager["name"], "manager");
            assert_eq!(manager["securityContext"]["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(manager["securityContext"]["runAsNonRoot"], true, "{name}");
        }
    }

    #[test]
    fn each_service_finds_a_port_of_its_deployment() {
        let mut names = Vec::new();
        for name in [SOURCE, NOTIFICATION] {
            let all = manifests(&format!("{name}.yaml"));
            let deployment = all.iter().find(|document| document["kind"] == "Deployment").unwrap();
            let template = &deployment["spec"]["template"];
            let ports = template["spec"]["containers"][0]["ports"].as_array().unwrap();
            for service in all.iter().filter(|document| document["kind"] == "Service") {
                assert_eq!(service["spec"]["selector"]["app"], template["metadata"]["labels"]["app"]);
                let wanted = &service["spec"]["ports"][0]["targetPort"];
                assert!(ports.iter().any(|port| port["name"] == *wanted), "{name}: {wanted}");
                names.push(service["metadata"]["name"].clone());
            }
        }
        assert_eq!(names, ["source-controller", "notification-controller", "webhook-receiver"]);
    }
}
