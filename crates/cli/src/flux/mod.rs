//! `plumb build kustomization NAME`: what `flux build kustomization NAME` prints. The Kustomization comes from a file or
//! from the cluster, the manifests from a directory of this machine; `spec.path` says nothing here.

mod artifact;
mod cluster;
mod mask;
mod variables;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use plumb_api::kustomize::Kustomization;
use plumb_kustomize::Reach;
use plumb_manifests::{Object, yaml};
use plumb_rendering::{Options, RenderError, RenderSpec, Rendered, Unset};
use plumb_status::Classify as _;
use serde_json::Value;

use cluster::Gathered;

use crate::disk::DiskTree;
use crate::{build, output};

const GROUP: &str = "kustomize.toolkit.fluxcd.io";

/// Arguments of `plumb build kustomization`.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(clap::Args)]
pub struct Arguments {
    /// Name of the Kustomization.
    name: String,
    /// Directory with the manifests. Files that .sourceignore files of the source, its spec.ignore or the defaults leave out of
    /// the artifact are left out here too.
    #[arg(long, value_name = "DIR")]
    path: PathBuf,
    /// Root of the source: .sourceignore files in it and below it count. Default: the nearest directory with .git from --path
    /// up, else --path.
    #[arg(long, value_name = "DIR")]
    source_root: Option<PathBuf>,
    /// File with the Kustomization. Default: it is read from the cluster.
    #[arg(long, value_name = "FILE")]
    kustomization_file: Option<PathBuf>,
    /// Do not connect to the cluster. Variables from ConfigMaps and Secrets, and spec.ignore of the source, are not known.
    #[arg(long, requires = "kustomization_file")]
    dry_run: bool,
    /// Namespace of the Kustomization.
    #[arg(short, long, env = "FLUX_SYSTEM_NAMESPACE", default_value = "flux-system")]
    namespace: String,
    /// Fail on variables without a value and without a default.
    #[arg(long)]
    strict_substitute: bool,
    /// Paths to ignore if there is no kustomization file: comma-separated patterns in .gitignore syntax.
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    ignore_paths: Vec<String>,
    /// Path of the kubeconfig file.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(long)]
    context: Option<String>,
    /// List the variables of the manifests instead of the objects: name, where the value is from, and the objects that use it.
    /// Values are not printed. A variable with neither value nor default is a warning, and replaced by nothing, unless
    /// --strict-substitute is set.
    #[arg(long)]
    list_variables: bool,
    /// Treat warnings as errors: write no objects and exit with status 1.
    #[arg(long)]
    strict: bool,
    #[arg(short, long, hide = true)]
    recursive: bool,
    #[arg(long, hide = true)]
    local_sources: Vec<String>,
}

/// Builds and prints.
pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.recursive || !arguments.local_sources.is_empty() {
        bail!("--recursive and --local-sources are not supported: build each Kustomization by its name");
    }
    let directory = build::locate(&arguments.path).context("invalid resource path")?;
    let gathered = gather(arguments)?;
    let spec = RenderSpec {
        path: directory.as_str().to_owned(),
        ..RenderSpec::from_spec(&gathered.kustomization.spec)
    };
    let unset = if arguments.strict_substitute { Unset::Refused } else { Unset::Empty };
    let options = Options { unset, ..Options::default() };
    let disk = DiskTree::new(Reach::Tree);
    let rules = artifact::Rules {
        root: arguments.source_root.as_deref(),
        spec: gathered.ignore.as_deref(),
        scan: &arguments.ignore_paths,
    };
    let tree = artifact::ArtifactTree::new(&disk, directory, &rules)?;
    let rendered = plumb_rendering::prepare(&tree, &spec, &options)
        .and_then(|prepared| prepared.render(&spec, &gathered.variables, &options))
        .map_err(|error| build::explain(explained(&error), &[disk.notes(), tree.notes()].concat()))?;
    let mut warnings: Vec<String> = rendered.warnings.iter().map(ToString::to_string).collect();
    warnings.extend(gathered.notes.iter().cloned());
    warnings.extend(variables::warnings(&rendered.substituted, &gathered));
    output::warn(&warnings, arguments.strict)?;
    if arguments.list_variables {
        return output::write(&variables::table(&rendered.substituted, &gathered), None);
    }
    output::write(&print(rendered, &gathered.kustomization), None)
}

/// With the remedy, where it is one for who sits in front of the files.
fn explained(error: &RenderError) -> anyhow::Error {
    let is_about_variables =
        matches!(error, RenderError::Substitute { .. } | RenderError::VariableName { .. });
    match error.hint().filter(|_| is_about_variables) {
        Some(hint) => anyhow!("{error}\n  {hint}"),
        None => anyhow!("{error}"),
    }
}

/// The Kustomization, and what its spec refers to.
fn gather(arguments: &Arguments) -> Result<Gathered> {
    let Arguments { name, namespace, kustomization_file, dry_run, kubeconfig, context, .. } = arguments;
    let from_file = match kustomization_file {
        Some(file) => Some(read(file, name, namespace)?),
        None => None,
    };
    if let (true, Some(kustomization)) = (*dry_run, &from_file) {
        let mut gathered = Gathered::offline(kustomization.clone());
        let unread = cluster::references(kustomization).iter();
        gathered.unread = unread
            .map(|reference| {
                format!("{}/{} is not read with --dry-run", reference.kind.as_str(), reference.name)
            })
            .collect();
        return Ok(gathered);
    }
    let wanted = cluster::Wanted { name, namespace, from_file };
    cluster::gather(wanted, kubeconfig.as_deref(), context.as_deref())
}

/// The Kustomization of this name in a file that may hold other objects too.
fn read(file: &Path, name: &str, namespace: &str) -> Result<Kustomization> {
    let shown = file.display();
    let cannot_read = || format!("cannot read kustomization file '{shown}'");
    if !std::fs::metadata(file).with_context(cannot_read)?.is_file() {
        bail!("invalid kustomization file '{shown}': it is not a regular file");
    }
    let text = std::fs::read_to_string(file).with_context(cannot_read)?;
    let documents =
        yaml::parse(&text, &yaml::Limits::default()).map_err(|error| anyhow!("'{shown}': {error}"))?;
    let is_wanted = |value: &Value| {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        text("/apiVersion").split('/').next() == Some(GROUP)
            && text("/kind") == "Kustomization"
            && text("/metadata/name") == name
            && ["", namespace].contains(&text("/metadata/namespace"))
    };
    let found = documents.into_iter().map(|document| document.node.to_json()).find(is_wanted);
    let found = found.with_context(|| {
        format!("no Kustomization with name '{name}' and namespace '{namespace}' in file '{shown}'")
    })?;
    serde_json::from_value(found)
        .with_context(|| format!("the Kustomization '{name}' in '{shown}' is not valid"))
}

/// As Flux prints: owner's labels on every object, encrypted data masked, a separator behind each document.
fn print(rendered: Rendered, kustomization: &Kustomization) -> String {
    let common = kustomization.spec.common_metadata.as_ref();
    let is_common = |key: &String| common.is_some_and(|common| common.labels.contains_key(key));
    let metadata = &kustomization.metadata;
    let owner = [("name", &metadata.name), ("namespace", &metadata.namespace)];
    let owner: Vec<(String, &str)> = owner
        .into_iter()
        .map(|(key, text)| (format!("{GROUP}/{key}"), text.as_deref().unwrap_or_default()))
        .filter(|(key, _)| !is_common(key))
        .collect();
    let mut text = String::new();
    for built in rendered.objects {
        let mut object: Object = built.object;
        for (key, label) in &owner {
            object.set_label(key, label);
        }
        mask::encrypted(object.value_mut());
        text.push_str(&yaml::json_to_string(object.value()));
        text.push_str("---\n");
    }
    text
}
