//! The kinds that tests read and write by name. Group, version and plural are those of the types and of our definitions:
//! nothing is written down a second time.

use std::{collections::BTreeMap, sync::OnceLock};

use anyhow::{Context as _, Result};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Event, Namespace, Secret, Service},
};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

/// The resource of a kind: a kind of ours in the version that is stored, or a kind of Kubernetes that tests use.
///
/// # Errors
/// If it is neither.
pub fn resource(kind: &str) -> Result<&'static ApiResource> {
    static KNOWN: OnceLock<BTreeMap<String, ApiResource>> = OnceLock::new();
    let known = KNOWN.get_or_init(|| built_in().into_iter().chain(ours()).collect());
    known.get(kind).with_context(|| format!("tests know no kind {kind}: add its type to testkit's kinds"))
}

/// Requests for the objects of a kind in a namespace.
///
/// # Errors
/// If the kind is not known.
pub fn namespaced(client: &Client, kind: &str, namespace: &str) -> Result<Api<DynamicObject>> {
    Ok(Api::namespaced_with(client.clone(), namespace, resource(kind)?))
}

/// An object of a kind, with its version.
///
/// # Errors
/// If the kind is not known.
pub fn object(kind: &str, name: &str, spec: &Value) -> Result<Value> {
    let version = &resource(kind)?.api_version;
    Ok(json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}))
}

fn built_in() -> [(String, ApiResource); 6] {
    fn of<K: Resource<DynamicType = ()>>() -> (String, ApiResource) {
        let resource = ApiResource::erase::<K>(&());
        (resource.kind.clone(), resource)
    }
    [of::<ConfigMap>(), of::<Deployment>(), of::<Event>(), of::<Namespace>(), of::<Secret>(), of::<Service>()]
}

fn ours() -> impl Iterator<Item = (String, ApiResource)> {
    plumb_api::crd::all().into_iter().filter_map(|(_, definition)| stored(&definition))
}

/// The kind of a definition and its resource in the version that is stored.
fn stored(definition: &Value) -> Option<(String, ApiResource)> {
    let text = |pointer: &str| definition.pointer(pointer)?.as_str();
    let versions = definition["spec"]["versions"].as_array()?;
    let version = versions.iter().find(|version| version["storage"] == true)?["name"].as_str()?;
    let kind = text("/spec/names/kind")?;
    let gvk = GroupVersionKind::gvk(text("/spec/group")?, version, kind);
    Some((kind.to_owned(), ApiResource::from_gvk_with_plural(&gvk, text("/spec/names/plural")?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_group_version_and_plural_of_their_definition() {
        for (kind, version, plural) in [
            ("ConfigMap", "v1", "configmaps"),
            ("Deployment", "apps/v1", "deployments"),
            ("GitRepository", "source.toolkit.fluxcd.io/v1", "gitrepositories"),
            ("Alert", "notification.toolkit.fluxcd.io/v1beta3", "alerts"),
        ] {
            let resource = resource(kind).unwrap();
            assert_eq!((&*resource.api_version, &*resource.plural), (version, plural), "{kind}");
        }
        assert!(resource("Unicorn").unwrap_err().to_string().contains("no kind Unicorn"));
    }
}
