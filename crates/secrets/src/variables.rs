//! The variables of `spec.postBuild.substituteFrom`: the data of ConfigMaps and Secrets, read in the order of the references. Which
//! kinds may be read, and what the variables mean, never enters.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use plumb_api::kustomize::{SubstituteKind, SubstituteReference};
use plumb_cluster::call;
use plumb_status::chain;

/// How many bytes the names and values of all variables may have together.
const BYTES_MAX: usize = 4 << 20;

/// The variables that were read. It has no `Debug`: values may be those of Secrets.
#[derive(Default)]
pub struct Variables {
    /// Their values, by name.
    pub values: BTreeMap<String, String>,
    /// The reference that each is from, as `kind/name`.
    pub origins: BTreeMap<String, String>,
    /// Optional references to objects that do not exist, as `kind/name`.
    pub missing: Vec<String>,
}

/// Why a reference cannot be used. Values never show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("substitute from '{reference}' error: {problem}")]
pub struct VariablesError {
    /// The reference, as `kind/name`.
    reference: String,
    /// What is wrong with it.
    problem: String,
}

/// Reads the variables; a later reference wins over an earlier one.
///
/// # Errors
/// A reference that is not optional and names no object, one that cannot be read, a value that is not UTF-8, and more than
/// 4 MiB of variables.
pub async fn read_variables(
    client: &Client,
    namespace: &str,
    references: &[SubstituteReference],
) -> Result<Variables, VariablesError> {
    let mut read = Variables::default();
    for SubstituteReference { kind, name, optional } in references {
        let reference = format!("{}/{name}", kind.as_str());
        let failed = |problem: String| VariablesError { reference: reference.clone(), problem };
        let data = match kind {
            SubstituteKind::ConfigMap => config_map(client, namespace, name).await,
            SubstituteKind::Secret => secret(client, namespace, name).await,
        };
        match data.map_err(failed)? {
            Some(data) => {
                read.origins.extend(data.keys().map(|key| (key.clone(), reference.clone())));
                read.values.extend(data);
            }
            None if *optional => read.missing.push(reference),
            // As the API server words it.
            None => {
                let resource = match kind {
                    SubstituteKind::ConfigMap => "configmaps",
                    SubstituteKind::Secret => "secrets",
                };
                return Err(failed(format!("{resource} \"{name}\" not found in namespace '{namespace}'")));
            }
        }
        if read.values.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > BYTES_MAX {
            let problem = format!("all variables together have more than {BYTES_MAX} bytes");
            return Err(VariablesError { reference: format!("{}/{name}", kind.as_str()), problem });
        }
    }
    Ok(read)
}

async fn config_map(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<BTreeMap<String, String>>, String> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = call(api.get_opt(name)).await.map_err(|error| chain(&error))?;
    Ok(found.map(|found| found.data.unwrap_or_default()))
}

async fn secret(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<BTreeMap<String, String>>, String> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let Some(found) = call(api.get_opt(name)).await.map_err(|error| chain(&error))? else { return Ok(None) };
    let texts = found.data.unwrap_or_default().into_iter().map(|(key, value)| {
        let text =
            String::from_utf8(value.0).map_err(|_| format!("the value of key '{key}' is not UTF-8"))?;
        Ok((key, text))
    });
    texts.collect::<Result<_, String>>().map(Some)
}

#[cfg(test)]
mod tests {
    use plumb_testkit::scenario::{Response, Scenario};
    use serde_json::{Value, json};

    use super::*;

    fn api() -> Scenario {
        let api = Scenario::new();
        let object = |kind: &str, data: Value| {
            let metadata = json!({ "name": "any", "namespace": "prod" });
            Response::ok(json!({ "apiVersion": "v1", "kind": kind, "metadata": metadata, "data": data }))
        };
        let path = |plural: &str, name: &str| format!("/api/v1/namespaces/prod/{plural}/{name}");
        api.on("GET", &path("configmaps", "any"), object("ConfigMap", json!({ "a": "1", "b": "1" })));
        api.on("GET", &path("configmaps", "text"), object("ConfigMap", json!({ "b": "2" })));
        api.on(
            "GET",
            &path("configmaps", "huge"),
            object("ConfigMap", json!({ "h": "x".repeat(BYTES_MAX) })),
        );
        api.on("GET", &path("configmaps", "none"), Response::not_found());
        api.on("GET", &path("configmaps", "hidden"), Response::forbidden("configmaps is forbidden: no"));
        api.on("GET", &path("secrets", "any"), object("Secret", json!({ "b": "Mw==" })));
        api.on("GET", &path("secrets", "binary"), object("Secret", json!({ "k": "/////w==" })));
        api.on("GET", &path("secrets", "none"), Response::not_found());
        api
    }

    async fn read(references: Value) -> Result<Variables, String> {
        let references: Vec<SubstituteReference> = serde_json::from_value(references).unwrap();
        read_variables(&api().client(), "prod", &references).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_later_reference_wins_and_what_is_optional_may_be_missing() {
        let references = json!([
            { "kind": "ConfigMap", "name": "any" },
            { "kind": "ConfigMap", "name": "none", "optional": true },
            { "kind": "ConfigMap", "name": "text" },
        ]);
        let Variables { values, origins, missing } = read(references).await.ok().unwrap();
        assert_eq!(values, BTreeMap::from([("a".into(), "1".into()), ("b".into(), "2".into())]));
        assert_eq!((origins["a"].as_str(), origins["b"].as_str()), ("ConfigMap/any", "ConfigMap/text"));
        assert_eq!(missing, ["ConfigMap/none"]);
        let secret = json!([{ "kind": "ConfigMap", "name": "any" }, { "kind": "Secret", "name": "any" }]);
        let Variables { values, origins, .. } = read(secret).await.ok().unwrap();
        assert_eq!((values["b"].as_str(), origins["b"].as_str()), ("3", "Secret/any"));
    }

    #[tokio::test]
    async fn a_reference_that_cannot_be_used_is_named_without_a_value() {
        for (kind, name, problem) in [
            ("ConfigMap", "none", "configmaps \"none\" not found in namespace 'prod'"),
            ("Secret", "none", "secrets \"none\" not found in namespace 'prod'"),
            ("Secret", "binary", "the value of key 'k' is not UTF-8"),
            ("ConfigMap", "hidden", "configmaps is forbidden: no"),
            ("ConfigMap", "huge", "all variables together have more than 4194304 bytes"),
        ] {
            let error = read(json!([{ "kind": kind, "name": name }])).await.err().unwrap();
            assert_eq!(error, format!("substitute from '{kind}/{name}' error: {problem}"));
        }
    }
}
