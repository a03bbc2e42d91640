//! The variables of `spec.postBuild.substituteFrom`, read for each attempt. ConfigMaps only: `validate` has refused Secrets, whose values
//! must not show in the events and statuses of other objects.

use std::collections::BTreeMap;

use kube::Client;
use plumb_api::kustomize::{Kustomization, SubstituteKind, SubstituteReference};
use plumb_secrets::{VariablesError, read_variables};

/// Reads the variables of a Kustomization.
pub async fn variables(
    object: &Kustomization,
    client: &Client,
) -> Result<BTreeMap<String, String>, VariablesError> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let references =
        object.spec.post_build.as_ref().map_or(&[][..], |post_build| &post_build.substitute_from);
    let is_map = |reference: &&SubstituteReference| reference.kind == SubstituteKind::ConfigMap;
    let maps: Vec<SubstituteReference> = references.iter().filter(is_map).cloned().collect();
    Ok(read_variables(client, namespace, &maps).await?.values)
}

#[cfg(test)]
mod tests {
    use plumb_testkit::scenario::{Response, Scenario};
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn no_secret_is_read_for_a_variable() {
        let api = Scenario::new();
        let path = "/api/v1/namespaces/prod/configmaps/any";
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "any" }, "data": { "a": "1" } });
        api.on("GET", path, Response::ok(map));
        let object = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": { "name": "apps", "namespace": "prod" },
            "spec": {
                "interval": "1m", "prune": true, "sourceRef": { "kind": "GitRepository", "name": "repo" },
                "postBuild": { "substituteFrom": [
                    { "kind": "Secret", "name": "any" }, { "kind": "ConfigMap", "name": "any" }
                ] }
            }
        });
        let object = serde_json::from_value(object).unwrap();
        let read = variables(&object, &api.client()).await.unwrap();
        assert_eq!((read, api.calls().len()), (BTreeMap::from([("a".into(), "1".into())]), 1));
    }
}
