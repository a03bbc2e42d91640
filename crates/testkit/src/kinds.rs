//! The kinds that tests read and write by name. Group, version and plural are those of the types and of our definitions:
//! nothing is written down a second time.

use std::{any::TypeId, collections::BTreeMap, sync::OnceLock};

use anyhow::{Context as _, Result};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        batch::v1::Job,
        core::v1::{ConfigMap, Event, Namespace, Secret, Service},
        rbac::v1::Role,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

/// A kind.
#[derive(Clone, Debug)]
pub(crate) struct KnownKind {
    pub resource: ApiResource,
    /// Whether its objects have a namespace.
    pub namespaced: bool,
}

/// The resource of a kind: a kind of ours in the version that is stored, or a kind of Kubernetes that tests use.
///
/// # Errors
/// If it is neither.
pub fn resource(kind: &str) -> Result<&'static ApiResource> {
    known(kind).map(|known| &known.resource)
}

pub(crate) fn known(kind: &str) -> Result<&'static KnownKind> {
    static KNOWN: OnceLock<BTreeMap<String, KnownKind>> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        let all = built_in().into_iter().chain(ours());
        all.map(|known| (known.resource.kind.clone(), known)).collect()
    });
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

fn built_in() -> [KnownKind; 9] {
    fn of<K: Resource<DynamicType = ()> + k8s_openapi::Resource>() -> KnownKind
    where
        <K as k8s_openapi::Resource>::Scope: 'static,
    {
        let namespaced =
            TypeId::of::<<K as k8s_openapi::Resource>::Scope>() == TypeId::of::<NamespaceResourceScope>();
        KnownKind { resource: ApiResource::erase::<K>(&()), namespaced }
    }
    [
        of::<ConfigMap>(),
        of::<CustomResourceDefinition>(),
        of::<Deployment>(),
        of::<Event>(),
        of::<Job>(),
        of::<Namespace>(),
        of::<Role>(),
        of::<Secret>(),
        of::<Service>(),
    ]
}

fn ours() -> impl Iterator<Item = KnownKind> {
    plumb_api::crd::all().into_iter().filter_map(|(_, definition)| stored(&definition))
}

/// The kind of a definition, in the version that is stored.
fn stored(definition: &Value) -> Option<KnownKind> {
    let text = |pointer: &str| definition.pointer(pointer)?.as_str();
    let versions = definition["spec"]["versions"].as_array()?;
    let version = versions.iter().find(|version| version["storage"] == true)?["name"].as_str()?;
    let kind = text("/spec/names/kind")?;
    let gvk = GroupVersionKind::gvk(text("/spec/group")?, version, kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, text("/spec/names/plural")?);
    Some(KnownKind { resource, namespaced: text("/spec/scope")? == "Namespaced" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_group_version_and_plural_of_their_definition() {
        for (kind, version, plural, namespaced) in [
            ("ConfigMap", "v1", "configmaps", true),
            ("Namespace", "v1", "namespaces", false),
            ("Deployment", "apps/v1", "deployments", true),
            ("CustomResourceDefinition", "apiextensions.k8s.io/v1", "customresourcedefinitions", false),
            ("GitRepository", "source.toolkit.fluxcd.io/v1", "gitrepositories", true),
            ("Alert", "notification.toolkit.fluxcd.io/v1beta3", "alerts", true),
        ] {
            let known = known(kind).unwrap();
            let found = (&*known.resource.api_version, &*known.resource.plural, known.namespaced);
            assert_eq!(found, (version, plural, namespaced), "{kind}");
        }
        assert!(resource("Unicorn").unwrap_err().to_string().contains("no kind Unicorn"));
    }
}
