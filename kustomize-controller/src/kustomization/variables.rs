//! The variables of `spec.postBuild.substituteFrom`: read once for each attempt, in the order of the spec. ConfigMaps only:
//! `validate` has refused Secrets, whose values must not show in what is told of other objects.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use plumb_api::kustomize::{Kustomization, SubstituteKind, SubstituteReference};
use plumb_cluster::{CallError, call};
use plumb_status::chain;

use super::error::KustomizationError;

/// How many bytes all variables may have together.
const BYTES_MAX: usize = 4 << 20;

/// Reads the variables; a later reference wins over an earlier one.
pub async fn variables(
    object: &Kustomization,
    client: &Client,
) -> Result<BTreeMap<String, String>, KustomizationError> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let references =
        object.spec.post_build.as_ref().map_or(&[][..], |post_build| &post_build.substitute_from);
    let mut all = BTreeMap::new();
    for SubstituteReference { kind, name, optional } in
        references.iter().filter(|it| it.kind == SubstituteKind::ConfigMap)
    {
        let failed = |problem: String| KustomizationError::Variables {
            reference: format!("{}/{name}", kind.as_str()),
            problem,
        };
        match of_config_map(client, namespace, name).await {
            Ok(Some(read)) => all.extend(read),
            Ok(None) if *optional => {}
            // As the API server words it.
            Ok(None) => return Err(failed(format!("configmaps \"{name}\" not found"))),
            Err(problem) => return Err(failed(problem)),
        }
        if all.iter().map(|(key, value): (&String, &String)| key.len() + value.len()).sum::<usize>()
            > BYTES_MAX
        {
            return Err(failed(format!("all variables together have more than {BYTES_MAX} bytes")));
        }
    }
    Ok(all)
}

async fn of_config_map(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<BTreeMap<String, String>>, String> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = call(api.get_opt(name)).await.map_err(|error: CallError| chain(&error))?;
    Ok(found.map(|found| found.data.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use plumb_testkit::scenario::{Response, Scenario};
    use serde_json::{Value, json};

    use super::*;

    fn object(references: &Value) -> Kustomization {
        serde_json::from_value(json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": { "name": "apps", "namespace": "prod" },
            "spec": {
                "interval": "1m", "prune": true, "sourceRef": { "kind": "GitRepository", "name": "repo" },
                "postBuild": { "substituteFrom": references }
            }
        }))
        .unwrap()
    }

    fn api() -> Scenario {
        let api = Scenario::new();
        let metadata = json!({ "name": "any", "namespace": "prod" });
        api.on(
            "GET",
            "/api/v1/namespaces/prod/configmaps/any",
            Response::ok(json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "a": "1", "b": "1" }
            })),
        );
        api.on(
            "GET",
            "/api/v1/namespaces/prod/configmaps/text",
            Response::ok(json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "b": "2" }
            })),
        );
        api.on("GET", "/api/v1/namespaces/prod/configmaps/none", Response::not_found());
        api
    }

    #[tokio::test]
    async fn a_later_reference_wins_and_what_is_optional_may_be_missing() {
        let references = json!([
            { "kind": "ConfigMap", "name": "any" },
            { "kind": "ConfigMap", "name": "none", "optional": true },
            { "kind": "ConfigMap", "name": "text" }
        ]);
        let read = variables(&object(&references), &api().client()).await.unwrap();
        assert_eq!(read, BTreeMap::from([("a".into(), "1".into()), ("b".into(), "2".into())]));
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let references = json!([{ "kind": "ConfigMap", "name": "none" }]);
        let error = variables(&object(&references), &api().client()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "substitute from 'ConfigMap/none' error: configmaps \"none\" not found"
        );
    }
}
