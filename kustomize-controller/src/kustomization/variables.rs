//! The variables of `spec.postBuild.substituteFrom`: read once for each attempt, in the order of the spec. Values may be
//! secret: they never come into an error, a log or a status.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use plumb_api::kustomize::{Kustomization, SubstituteKind, SubstituteReference};
use plumb_runtime::client::{CallError, call};
use plumb_secrets::SecretError;
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
    for SubstituteReference { kind, name, optional } in references {
        let failed = |problem: String| KustomizationError::Variables {
            reference: format!("{}/{name}", kind.as_str()),
            problem,
        };
        let read = match kind {
            SubstituteKind::ConfigMap => of_config_map(client, namespace, name).await,
            SubstituteKind::Secret => of_secret(client, namespace, name).await,
        };
        match read {
            Ok(Some(read)) => all.extend(read),
            Ok(None) if *optional => {}
            Ok(None) => failed_missing(*kind, name).map_err(failed)?,
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

/// As the API server words it.
fn failed_missing(kind: SubstituteKind, name: &str) -> Result<(), String> {
    let plural = match kind {
        SubstituteKind::ConfigMap => "configmaps",
        SubstituteKind::Secret => "secrets",
    };
    Err(format!("{plural} \"{name}\" not found"))
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

async fn of_secret(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<BTreeMap<String, String>>, String> {
    let content = match plumb_secrets::read(client, namespace, name).await {
        Ok(content) => content,
        Err(SecretError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(chain(&error)),
    };
    let text = |(key, value): (&str, &plumb_api::sealed::Sealed)| match value.expose_str() {
        Some(text) => Ok((key.to_owned(), text.to_owned())),
        None => Err(format!("the value of {key} is not UTF-8")),
    };
    content.entries().map(text).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use plumb_testkit::scenario::{Answer, Scenario};
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
            Answer::ok(json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "a": "1", "b": "1" }
            })),
        );
        api.on("GET", "/api/v1/namespaces/prod/secrets/any", Answer::ok(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": { "b": "czNjcmV0", "c": "/w==" }
        })));
        api.on(
            "GET",
            "/api/v1/namespaces/prod/secrets/text",
            Answer::ok(json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": { "b": "czNjcmV0" }
            })),
        );
        for kind in ["configmaps", "secrets"] {
            api.on("GET", &format!("/api/v1/namespaces/prod/{kind}/none"), Answer::not_found());
        }
        api
    }

    #[tokio::test]
    async fn a_later_reference_wins_and_what_is_optional_may_be_missing() {
        let references = json!([
            { "kind": "ConfigMap", "name": "any" },
            { "kind": "Secret", "name": "none", "optional": true },
            { "kind": "Secret", "name": "text" }
        ]);
        let read = variables(&object(&references), &api().client()).await.unwrap();
        assert_eq!(read, BTreeMap::from([("a".into(), "1".into()), ("b".into(), "s3cret".into())]));
    }

    #[tokio::test]
    async fn what_is_missing_or_no_text_is_named_and_no_value_is_told() {
        for (reference, text) in [
            (
                json!({ "kind": "Secret", "name": "none" }),
                "substitute from 'Secret/none' error: secrets \"none\" not found",
            ),
            (
                json!({ "kind": "ConfigMap", "name": "none" }),
                "substitute from 'ConfigMap/none' error: configmaps \"none\" not found",
            ),
            (
                json!({ "kind": "Secret", "name": "any" }),
                "substitute from 'Secret/any' error: the value of c is not UTF-8",
            ),
        ] {
            let error = variables(&object(&json!([reference])), &api().client()).await.unwrap_err();
            assert_eq!(error.to_string(), text);
        }
    }
}
