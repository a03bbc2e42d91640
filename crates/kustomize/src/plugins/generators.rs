//! The generators.

use plumb_filetree::RelPath;
use plumb_manifests::yaml::{Map, Node};
use serde::Deserialize;

use super::Plugin;
use super::decode::decode;
use crate::accumulate::Assembly;
use crate::error::BuildError;
use crate::generators::{self, GeneratorKind};
use crate::resource::Resource;
use crate::settings::{CONFIG_MAP, GeneratorEntry, GeneratorOptions, SECRET};
use crate::shape::{Fields, Keys, Shape};

/// Creates the objects of a configuration.
pub(super) fn run(
    assembly: &Assembly<'_>,
    directory: &RelPath,
    plugin: &Plugin,
) -> Result<Resource, BuildError> {
    let entry = |fields| entry(plugin, fields);
    let shared = GeneratorOptions::default();
    match plugin.id.gvk.kind.as_str() {
        "ConfigMapGenerator" => {
            generators::make(assembly, directory, GeneratorKind::ConfigMap, &entry(CONFIG_MAP)?, &shared)
        }
        "SecretGenerator" => {
            generators::make(assembly, directory, GeneratorKind::Secret, &entry(SECRET)?, &shared)
        }
        "IAMPolicyGenerator" => service_account(plugin),
        other => Err(BuildError::unsupported(format!("generator {other}"))),
    }
}

fn entry(plugin: &Plugin, fields: Fields) -> Result<GeneratorEntry, BuildError> {
    let mut entry: GeneratorEntry = decode(&plugin.config, fields, Keys::AnyCase)?;
    if entry.name.is_empty() {
        entry.name = plugin.id.name.to_string();
    }
    if entry.namespace.is_empty() {
        entry.namespace = plugin.id.namespace.to_string();
    }
    Ok(entry)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Policy {
    cloud: String,
    kubernetes_service: Account,
    service_account: Account,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Account {
    name: String,
    namespace: String,
    project_id: String,
}

const POLICY: Fields = &[
    ("cloud", Shape::Text),
    ("kubernetesService", Shape::Record(&[("name", Shape::Text), ("namespace", Shape::Text)])),
    ("serviceAccount", Shape::Record(&[("name", Shape::Text), ("projectId", Shape::Text)])),
];

/// A service account for one of Google's cloud.
fn service_account(plugin: &Plugin) -> Result<Resource, BuildError> {
    let Policy { cloud, kubernetes_service: own, service_account: theirs } =
        decode(&plugin.config, POLICY, Keys::AnyCase)?;
    if cloud != "gke" {
        return Err(BuildError::invalid(format!("cloud provider {cloud} not supported yet")));
    }
    for (field, text) in [
        ("kubernetesService.name", &own.name),
        ("serviceAccount.name", &theirs.name),
        ("serviceAccount.projectId", &theirs.project_id),
    ] {
        if text.is_empty() {
            return Err(BuildError::invalid(format!("field {field} is missing")));
        }
    }
    let mut object = Map::new();
    object.insert("apiVersion", "v1");
    object.insert("kind", "ServiceAccount");
    object.insert("metadata", Node::object());
    let mut account = Resource::new(object, "");
    account.set_name(&own.name);
    account.set_namespace(&own.namespace);
    let member = format!("{}@{}.iam.gserviceaccount.com", theirs.name, theirs.project_id);
    account.annotations().insert("iam.gke.io/gcp-service-account", Node::text(member));
    Ok(account)
}
