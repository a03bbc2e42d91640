//! Entries of `generators`, `transformers` and `validators`: kustomize's built-ins with a configuration of their own.
//! Nothing is executed here; anything else is rejected by name.

mod add_value;
mod decode;
mod generators;
mod transformers;

use plumb_filetree::RelPath;
use plumb_manifests::yaml::Node;
use serde_json::Value;

use crate::accumulate::{Accumulated, Assembly, Place};
use crate::error::BuildError;
use crate::identity::ResId;
use crate::load;
use crate::provenance::Author;
use crate::resource::Resource;
use crate::set::ResourceSet;
use crate::warning::Origin;

/// One configuration of a built-in.
struct Plugin {
    id: ResId,
    /// The entry of the file, in JSON.
    config: Value,
    author: Author,
}

/// What a list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Generator,
    Transformer,
    Validator,
}

impl Purpose {
    fn noun(self) -> &'static str {
        match self {
            Self::Generator => "generator",
            Self::Transformer => "transformer",
            Self::Validator => "validator",
        }
    }
}

/// Adds what the entries of `generators` make.
pub(crate) fn generate(
    assembly: &Assembly<'_>,
    place: &Place,
    references: &[String],
    set: &mut ResourceSet,
) -> Result<(), BuildError> {
    for plugin in load(assembly, place, references, Purpose::Generator)? {
        let mut made = plugin.name(generators::run(assembly, &place.directory, &plugin))?;
        assembly.reader.admit(&made.value)?;
        assembly.provenance.note_generator(&mut made, &plugin.author);
        made.file = format!("/{}", plugin.author.file);
        plugin.name(set.absorb(made))?;
    }
    Ok(())
}

/// Runs the entries of `transformers`.
pub(crate) fn transform(
    assembly: &Assembly<'_>,
    place: &Place,
    references: &[String],
    set: &mut ResourceSet,
) -> Result<(), BuildError> {
    for plugin in load(assembly, place, references, Purpose::Transformer)? {
        let outer = assembly.warnings.enter(plugin.origin());
        let done = transformers::run(assembly, &place.directory, &plugin, set);
        assembly.warn_spreads(set);
        assembly.warnings.enter(outer);
        plugin.name(done)?;
        set.drop_empties();
        assembly.provenance.note_transformer(assembly.reader, set, &plugin.author)?;
    }
    Ok(())
}

/// Runs the entries of `validators`: transformers that may change nothing but one label.
pub(crate) fn validate(
    assembly: &Assembly<'_>,
    place: &Place,
    references: &[String],
    set: &mut ResourceSet,
) -> Result<(), BuildError> {
    for plugin in load(assembly, place, references, Purpose::Validator)? {
        // Copying and comparing everything costs several passes over it.
        for _ in 0..4 {
            spend_on_walk(assembly, set)?;
        }
        let before = set.clone();
        plugin.name(transformers::run(assembly, &place.directory, &plugin, set))?;
        plugin.name(check_unchanged(&before, set))?;
    }
    Ok(())
}

/// Takes from the budget what it costs to walk through whole objects.
fn spend_on_walk(assembly: &Assembly<'_>, set: &ResourceSet) -> Result<(), BuildError> {
    const VALUES_PER_STEP: usize = 16;
    let values: usize = set.iter().map(|resource| resource.value.count()).sum();
    assembly.reader.spend(values / VALUES_PER_STEP + 1, 0)
}

/// Rejects any difference, that of notes included, as kustomize does.
fn check_unchanged(before: &ResourceSet, after: &ResourceSet) -> Result<(), BuildError> {
    let reject = |id: ResId| {
        let message = format!("validator shouldn't modify the resource map: {id} is not what it was");
        Err(BuildError::invalid(message))
    };
    let mut left = after.iter();
    for old in before.iter() {
        match left.next() {
            Some(new) if old == new || *old == without_mark(old, new) => {}
            _ => return reject(old.current_id()),
        }
    }
    Ok(())
}

/// The object without the label that validators may set.
fn without_mark(old: &Resource, new: &Resource) -> Resource {
    const MARK: &str = "validated-by";
    let mut resource = Resource { shares: old.shares, has_shares: old.has_shares, ..new.clone() };
    if let Some(metadata) = resource.value.get_mut("metadata").and_then(Node::as_object_mut)
        && let Some(labels) = metadata.get_mut("labels").and_then(Node::as_object_mut)
        && labels.remove(MARK).is_some()
        && labels.is_empty()
    {
        metadata.remove("labels");
    }
    resource
}

/// Reads the configurations: texts, files, or directories whose build they are.
fn load(
    assembly: &Assembly<'_>,
    place: &Place,
    references: &[String],
    purpose: Purpose,
) -> Result<Vec<Plugin>, BuildError> {
    let mut gathered = Accumulated::default();
    let own_file = place.author("").file;
    let mut elsewhere = Vec::new();
    for reference in references {
        match load::inline(reference, &format!("/{own_file}"), assembly.reader.limits()) {
            Ok(resources) => {
                for resource in resources {
                    assembly.reader.admit(&resource.value)?;
                    gathered.set.append(resource)?;
                }
            }
            // What spans lines or is a map is meant as a text, and no file has such a name.
            Err(error) if reference.contains(['\n', '{']) => {
                let attempt = format!("a {} that stands in the kustomization file", purpose.noun());
                return Err(error.while_doing(attempt));
            }
            Err(_) => elsewhere.push(reference),
        }
    }
    // kustomize runs texts first, at any position.
    for reference in elsewhere {
        assembly.add_resource(place, reference, &mut gathered)?;
    }
    let plugins = gathered.set.into_vec().into_iter().map(|resource| Plugin::new(&resource, purpose));
    plugins.collect()
}

/// Everything that kustomize has built in and this engine does.
const KINDS: [&str; 17] = [
    "AnnotationsTransformer",
    "ConfigMapGenerator",
    "HashTransformer",
    "IAMPolicyGenerator",
    "ImageTagTransformer",
    "LabelTransformer",
    "NamespaceTransformer",
    "PatchJson6902Transformer",
    "PatchStrategicMergeTransformer",
    "PatchTransformer",
    "PrefixSuffixTransformer",
    "PrefixTransformer",
    "ReplacementTransformer",
    "ReplicaCountTransformer",
    "SecretGenerator",
    "SuffixTransformer",
    "ValueAddTransformer",
];
const HELM: &str = "HelmChartInflationGenerator";

impl Plugin {
    fn new(resource: &Resource, purpose: Purpose) -> Result<Self, BuildError> {
        let id = resource.current_id();
        let file = RelPath::parse(resource.file.trim_start_matches('/')).unwrap_or_default();
        let kind = resource.kind();
        let doing = |error: BuildError| error.while_doing(format!("{} {id}", purpose.noun())).in_file(&file);
        let is_known = KINDS.contains(&kind);
        if resource.value.get("apiVersion").and_then(Node::as_str) != Some("builtin") {
            let remedy = if is_known || kind == HELM {
                "for the one that is built in write apiVersion: builtin"
            } else {
                "run it beforehand and name what it prints under resources"
            };
            let what = format!(
                "a function in a container, an executable or another plugin that is not built in ({remedy})"
            );
            return Err(doing(BuildError::unsupported(what)));
        }
        if kind == HELM {
            let what =
                "inflating a Helm chart (render it beforehand and name what it prints under resources)";
            return Err(doing(BuildError::unsupported(what)));
        }
        if !is_known {
            let message = format!("unable to load builtin {}", id.gvk);
            return Err(doing(BuildError::invalid(message)));
        }
        let is_generator = kind.ends_with("Generator");
        if is_generator != (purpose == Purpose::Generator) {
            let noun = if is_generator { "transformer" } else { "generator" };
            return Err(BuildError::invalid(format!("plugin {id} not a {noun}")).in_file(&file));
        }
        let author = Author {
            file,
            kind: kind.to_owned(),
            name: id.name.to_string(),
            namespace: id.namespace.to_string(),
        };
        Ok(Self { config: resource.value.to_json(), author, id })
    }

    /// What warnings call it.
    fn origin(&self) -> Origin {
        let entry = format!("plugin {}", self.id);
        Origin { file: self.author.file.clone(), entry, ..Origin::default() }
    }

    /// Names the configuration in an error.
    fn name<T>(&self, result: Result<T, BuildError>) -> Result<T, BuildError> {
        result.map_err(|error| {
            let attempt = format!("plugin {} of /{}", self.id, self.author.file);
            error.while_doing(attempt)
        })
    }
}

#[cfg(test)]
mod tests;
