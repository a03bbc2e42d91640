//! Computed: fields that a controller of Kubernetes computes from others. A manifest may hold them, most often because it was
//! exported from a cluster; to apply them would be to fight with that controller at each reconcile.

use plumb_manifests::Object;
use serde_json::Value;

/// The annotations that make an injector of CA bundles fill in `caBundle`.
const INJECT_CA: &str = "cert-manager.io/inject-";

/// The annotation that the Deployment controller counts rollouts in.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// Removes them.
pub fn strip(object: &mut Object) {
    let kind = (object.group().to_owned(), object.kind().to_owned());
    match (kind.0.as_str(), kind.1.as_str()) {
        // Filled in from the roles that the selectors choose.
        ("rbac.authorization.k8s.io", "ClusterRole")
            if object.at(&["aggregationRule"]).is_some_and(|rule| !rule.is_null()) =>
        {
            remove(object.value_mut(), &["rules"]);
        }
        ("apps", "Deployment" | "ReplicaSet") => {
            remove(object.value_mut(), &["metadata", "annotations", REVISION]);
        }
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
        ) if is_injected(object) => {
            let webhooks = object.value_mut().get_mut("webhooks").and_then(Value::as_array_mut);
            webhooks.into_iter().flatten().for_each(|webhook| remove(webhook, &["clientConfig", "caBundle"]));
        }
        ("apiregistration.k8s.io", "APIService") if is_injected(object) => {
            remove(object.value_mut(), &["spec", "caBundle"]);
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") if is_injected(object) => {
            remove(object.value_mut(), &["spec", "conversion", "webhook", "clientConfig", "caBundle"]);
        }
        _ => {}
    }
}

fn is_injected(object: &Object) -> bool {
    object.annotations().keys().any(|key| key.starts_with(INJECT_CA))
}

fn remove(value: &mut Value, path: &[&str]) {
    let Some((last, above)) = path.split_last() else { return };
    let parent = above.iter().try_fold(value, |at, key| at.get_mut(*key));
    if let Some(map) = parent.and_then(Value::as_object_mut) {
        map.remove(*last);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::object;

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "rows write the JSON in place")]
    fn check(mut value: Value, expect: Value) {
        value["metadata"]["name"] = "x".into();
        let mut object = object(value);
        strip(&mut object);
        let mut left = object.into_value();
        for key in ["apiVersion", "kind"] {
            left.as_object_mut().unwrap().remove(key);
        }
        left["metadata"].as_object_mut().unwrap().remove("name");
        assert_eq!(left, expect);
    }

    #[test]
    fn the_rules_of_an_aggregated_role_are_left_to_the_controller() {
        let role = |aggregation: Value| {
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {},
                "aggregationRule": aggregation, "rules": [{"verbs": ["get"]}],
            })
        };
        let chosen = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
        check(role(chosen.clone()), json!({"metadata": {}, "aggregationRule": chosen}));
        let plain = json!({"metadata": {}, "aggregationRule": null, "rules": [{"verbs": ["get"]}]});
        check(role(Value::Null), plain);
    }

    #[test]
    fn an_injected_bundle_and_a_counted_revision_are_left_to_their_controllers() {
        let hook = |annotations: Value| {
            json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
                "metadata": {"annotations": annotations},
                "webhooks": [{"name": "a", "clientConfig": {"url": "https://a", "caBundle": "Cg=="}}],
            })
        };
        let injected = json!({"cert-manager.io/inject-ca-from": "ns/c"});
        check(
            hook(injected.clone()),
            json!({"metadata": {"annotations": injected}, "webhooks": [{"name": "a", "clientConfig": {"url": "https://a"}}]}),
        );
        check(
            hook(json!({})),
            json!({
                "metadata": {"annotations": {}},
                "webhooks": [{"name": "a", "clientConfig": {"url": "https://a", "caBundle": "Cg=="}}],
            }),
        );
        check(
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"annotations": {REVISION: "3", "a": "b"}}}),
            json!({"metadata": {"annotations": {"a": "b"}}}),
        );
    }
}
