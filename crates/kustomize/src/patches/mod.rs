//! Patches: parsed, classified by their content, and applied to their targets.

mod json;
mod keyed;
mod strategic;

use plumb_filetree::RelPath;
use plumb_manifests::yaml;
use plumb_manifests::yaml::{Map, Node};
use serde_json::Value;

use crate::accumulate::{Assembly, Place};
use crate::error::BuildError;
use crate::load;
use crate::replacements;
use crate::resource::Resource;
use crate::selector::Selector;
use crate::set::ResourceSet;
use crate::settings::{PatchEntry, SelectorEntry};

use crate::identity::ResId;
use crate::reordered::Reordered;

use json::Operation;
use strategic::Merger;

/// Applies the entries of `patches`.
pub(crate) fn run(
    assembly: &Assembly<'_>,
    place: &Place,
    entries: &[PatchEntry],
    set: &mut ResourceSet,
) -> Result<(), BuildError> {
    for (index, entry) in entries.iter().enumerate() {
        let label = format!("patches[{index}]");
        assembly.warnings.within(&label, &entry.label, || {
            run_trimmed(assembly, &place.directory, entry, set).map_err(|error| {
                match entry.label.as_str() {
                    "" => error.while_doing(&label),
                    field => error.in_field(field),
                }
            })?;
            assembly.note(place, set, "PatchTransformer")
        })?;
    }
    Ok(())
}

/// Applies the entries of `patchesJson6902`.
pub(crate) fn run_json6902(
    assembly: &Assembly<'_>,
    place: &Place,
    entries: &[PatchEntry],
    set: &mut ResourceSet,
) -> Result<(), BuildError> {
    for (index, entry) in entries.iter().enumerate() {
        let label = format!("patchesJson6902[{index}]");
        let doing = |error: BuildError| error.while_doing(&label);
        if entry.target.as_ref().is_none_or(|target| target.name.is_empty()) {
            return Err(doing(BuildError::invalid("must specify the target name")));
        }
        assembly.warnings.within(&label, "", || {
            run_entry(assembly, &place.directory, entry, Remembers::Nothing, set).map_err(doing)?;
            assembly.note(place, set, "PatchJson6902Transformer")
        })?;
    }
    Ok(())
}

/// Applies the entries of `patchesStrategicMerge`: texts, or the names of files that hold them.
pub(crate) fn run_strategic(
    assembly: &Assembly<'_>,
    directory: &RelPath,
    entries: &[String],
    set: &mut ResourceSet,
) -> Result<(), BuildError> {
    let mut patches = Vec::new();
    for text in entries {
        let limits = assembly.reader.limits();
        if let Ok(inline) = load::inline(text, "", limits) {
            patches.extend(inline.into_iter().map(|patch| (patch, text.len())));
        } else {
            let file = assembly.file(directory, text)?;
            let text = assembly.reader.text(&file)?;
            let loaded = load::resources(&text, &file, limits)?;
            let size = text.len() / loaded.len().max(1);
            patches.extend(loaded.into_iter().map(|patch| (patch, size)));
        }
    }
    if patches.is_empty() && !entries.is_empty() {
        return Err(BuildError::invalid(format!("patch appears to be empty; files={entries:?}")));
    }
    for (patch, size) in &patches {
        assembly.reader.spend(1, *size)?;
        let index = find(set, patch)?;
        // kustomize takes the one object as if a target had selected it.
        set.change(index, |resource| apply_selected(assembly, resource, patch, Allowed::default()))?;
    }
    set.drop_empties();
    Ok(())
}

/// Applies one patch as `patches` does it: without the white space around a text. A block scalar at its end loses its
/// line breaks, and a first line that is indented loses its indentation.
pub(crate) fn run_trimmed(
    assembly: &Assembly<'_>,
    directory: &RelPath,
    entry: &PatchEntry,
    set: &mut ResourceSet,
) -> Result<(), BuildError> {
    let text = entry.patch.trim();
    if text.len() == entry.patch.len() {
        return run_entry(assembly, directory, entry, Remembers::Id, set);
    }
    let trimmed = PatchEntry { patch: text.to_owned(), ..entry.clone() };
    run_entry(assembly, directory, &trimmed, Remembers::Id, set)
}

/// Whether kustomize notes the id of an object before a JSON patch: `patches` does, `patchesJson6902` does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remembers {
    Id,
    Nothing,
}

/// Applies one patch.
pub(crate) fn run_entry(
    assembly: &Assembly<'_>,
    directory: &RelPath,
    entry: &PatchEntry,
    remembers: Remembers,
    set: &mut ResourceSet,
) -> Result<(), BuildError> {
    let source = read(assembly, directory, entry)?;
    let patch = parse(assembly, &source)?;
    let allowed = Allowed::new(entry);
    let selector = entry.target.as_ref().map(Selector::new).transpose()?;
    let mut selected = Vec::new();
    if let Some(selector) = &selector {
        assembly.reader.spend(set.len(), entry.target.as_ref().map_or(0, SelectorEntry::size))?;
        assembly.reader.spend(selector.cost_to_compile(), 0)?;
        for (index, resource) in set.iter().enumerate() {
            assembly.reader.spend(selector.cost(resource), 0)?;
            if selector.selects(resource) {
                selected.push(index);
            }
        }
        assembly.reader.spend(selected.len(), source.text.len())?;
    }
    let named = |error: BuildError| match &source.file {
        Some(file) => error.in_file(file),
        None => error,
    };
    match (patch, selector.is_some()) {
        (Patch::Empty, _) => Ok(()),
        (Patch::Json(_), false) => {
            Err(named(BuildError::invalid(format!("must specify a target for JSON patch {}", source.name()))))
        }
        (Patch::Json(_), true) if selected.is_empty() => {
            warn_idle(assembly, entry.target.as_ref());
            Ok(())
        }
        (Patch::Json(items), true) => {
            let operations = json::operations(items).map_err(named)?;
            for operation in operations.iter().filter(|operation| !operation.has_slash()) {
                assembly.warnings.silent(format!(
                    "JSON patch: kustomize drops the first part of a path that has no slash in front: {operation}"
                ));
            }
            if operations.is_empty() {
                return Ok(());
            }
            selected
                .into_iter()
                .try_for_each(|index| apply_json(assembly, set, index, &operations, remembers).map_err(named))
        }
        (Patch::Strategic(documents), false) => documents.iter().try_for_each(|document| {
            assembly.reader.spend(1, source.text.len() / documents.len())?;
            apply_by_id(assembly, set, document, allowed).map_err(named)
        }),
        (Patch::Strategic(documents), true) => match documents.as_slice() {
            [_] if selected.is_empty() => {
                warn_idle(assembly, entry.target.as_ref());
                Ok(())
            }
            [document] => selected.into_iter().try_for_each(|index| {
                set.change(index, |resource| apply_selected(assembly, resource, document, allowed))
                    .map_err(named)
            }),
            _ => Err(named(BuildError::invalid(
                "Multiple Strategic-Merge Patches in one `patches` entry is not allowed to set `patches.target` \
                 field",
            ))),
        },
    }?;
    set.drop_empties();
    // Only a patch that may rename is looked behind: this is a walk over all objects.
    let twice = if allowed == Allowed::default() { None } else { set.duplicate() };
    match twice {
        Some(id) => Err(BuildError::invalid(format!(
            "may not add resource with an already registered id: {id}: a patch has renamed objects to it"
        ))),
        None => Ok(()),
    }
}

/// A patch that is for no object is passed over by kustomize without a word.
fn warn_idle(assembly: &Assembly<'_>, target: Option<&SelectorEntry>) {
    let target = target.map(ToString::to_string).unwrap_or_default();
    assembly.warnings.silent(format!(
        "the target ({target}) selects no object, and kustomize passes over the patch: correct the target or remove the \
         patch"
    ));
}

struct Source {
    text: String,
    /// As the entry names its file; empty for a text.
    path: String,
    file: Option<RelPath>,
}

impl Source {
    /// As kustomize names it, but without the text: it may hold a secret.
    fn name(&self) -> String {
        match &self.file {
            Some(_) => format!("[path: {:?}]", self.path),
            None => format!("[patch: {} bytes]", self.text.len()),
        }
    }
}

fn read(assembly: &Assembly<'_>, directory: &RelPath, entry: &PatchEntry) -> Result<Source, BuildError> {
    match (entry.path.trim(), entry.patch.trim()) {
        ("", "") => Err(BuildError::invalid("must specify one of patch and path in this entry")),
        ("", _) => Ok(Source { text: entry.patch.clone(), path: String::new(), file: None }),
        (_, "") => {
            let file = assembly.file(directory, &entry.path)?;
            Ok(Source { text: assembly.reader.text(&file)?, path: entry.path.clone(), file: Some(file) })
        }
        _ => Err(BuildError::invalid("patch and path can't be set at the same time")),
    }
}

enum Patch {
    /// Nothing but comments.
    Empty,
    Strategic(Vec<Resource>),
    /// Operations, not checked before there is an object to apply them to.
    Json(Vec<Value>),
}

fn parse(assembly: &Assembly<'_>, source: &Source) -> Result<Patch, BuildError> {
    let limits = assembly.reader.limits();
    let named = |error: BuildError| {
        let error = error.while_doing(format!("unable to parse SM or JSON patch from {}", source.name()));
        match &source.file {
            Some(file) => error.in_file(file),
            None => error,
        }
    };
    if source.text.trim_start().starts_with('[') {
        let value = serde_json::from_str(&source.text)
            .map_err(|error| named(BuildError::invalid(format!("no JSON: {error}"))))?;
        return json::items(value).map(Patch::Json).map_err(named);
    }
    let rejected = |error: yaml::YamlError| {
        named(match &source.file {
            Some(file) => BuildError::yaml(file, &error),
            None => BuildError::invalid(format!("line {error}")),
        })
    };
    let documents = yaml::parse(&source.text, &limits.yaml).map_err(rejected)?;
    if documents.iter().any(|document| document.node.is_array()) {
        let value = yaml::parse_settings(&source.text, &limits.yaml).map_err(rejected)?;
        return json::items(value).map(Patch::Json).map_err(named);
    }
    let resources = load::of_documents(documents, source.file.as_ref(), limits).map_err(named)?;
    Ok(if resources.is_empty() { Patch::Empty } else { Patch::Strategic(resources) })
}

/// Which parts of an id a patch may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Allowed {
    name: bool,
    kind: bool,
}

impl Allowed {
    fn new(entry: &PatchEntry) -> Self {
        let is_set = |name: &str| entry.options.get(name).copied().unwrap_or_default();
        Self { name: is_set("allowNameChange"), kind: is_set("allowKindChange") }
    }
}

/// Applies a patch to the one object that it names.
fn apply_by_id(
    assembly: &Assembly<'_>,
    set: &mut ResourceSet,
    patch: &Resource,
    allowed: Allowed,
) -> Result<(), BuildError> {
    let index = find(set, patch)?;
    if allowed.name || allowed.kind {
        // The index of the objects is rebuilt.
        assembly.reader.spend(set.len(), 0)?;
    }
    set.change(index, |resource| apply_strategic(assembly, resource, patch.value.clone(), allowed)).map(drop)
}

/// The position of the one object that a patch names.
fn find(set: &mut ResourceSet, patch: &Resource) -> Result<usize, BuildError> {
    let id = patch.original_id();
    match set.indices_of_any(&id)[..] {
        [index] => Ok(index),
        [] => Err(BuildError::invalid(format!(
            "no resource matches strategic merge patch \"{id}\": no matches for Id {id}; failed to find unique \
             target for patch {id}"
        ))),
        _ => Err(BuildError::invalid(format!(
            "multiple matches for Id {id}; failed to find unique target for patch {id}"
        ))),
    }
}

/// Applies a patch to an object that its target has selected. Name, namespace and API version of such a patch do not
/// count; its labels and annotations become texts, nulls too, and what is no map of them is left out.
fn apply_selected(
    assembly: &Assembly<'_>,
    resource: &mut Resource,
    patch: &Resource,
    allowed: Allowed,
) -> Result<(), BuildError> {
    let mut patch = patch.value.clone();
    let namespace = |node: &Node| node.at(&["metadata", "namespace"]).is_some_and(|node| !node.is_scalar());
    if namespace(&resource.value) && patch.at(&["metadata", "namespace"]).is_some() {
        let message = "field metadata.namespace: wrong node kind: expected MappingNode but got ScalarNode";
        return Err(BuildError::invalid(message).while_doing(format!("patching {}", resource.current_id())));
    }
    let has_version = resource.value.get("apiVersion").is_some_and(|version| !version.is_null());
    if !has_version && let Some(map) = patch.as_object_mut() {
        map.remove("apiVersion");
    }
    if let Some(metadata) = patch.get_mut("metadata").and_then(Node::as_object_mut) {
        metadata.remove("namespace");
        if !allowed.name {
            metadata.remove("name");
        }
        for field in ["labels", "annotations"] {
            make_texts(assembly, resource, metadata, field);
        }
    }
    let is_merged = apply_strategic(assembly, resource, patch, allowed)?;
    make_bare(resource, "apiVersion");
    if is_merged
        && !has_version
        && let Some(map) = resource.value.as_object_mut()
    {
        map.insert("apiVersion", Node::NULL);
    }
    Ok(())
}

/// kustomize rewrites the field, even if it is the same.
fn make_bare(resource: &mut Resource, field: &str) {
    if let Some(node) = resource.value.get_mut(field) {
        *node = node.take().bare();
    }
}

/// To compare so many pairs of items of a list costs as much as to look at an object.
const PAIRS_PER_STEP: usize = 64;

/// Makes texts of the labels or annotations of a patch.
fn make_texts(assembly: &Assembly<'_>, resource: &Resource, metadata: &mut Map, field: &str) {
    let warn = |what: String| {
        let id = resource.current_id();
        assembly.warnings.silent(format!(
            "patching {id}: kustomize {what}; write the patch in `patches`, without a target"
        ));
    };
    let Some(node) = metadata.get_mut(field) else { return };
    let Some(map) = node.as_object_mut().filter(|map| !map.is_empty()) else {
        if node.is_null() && resource.value.at(&["metadata", field]).is_some() {
            warn(format!("does not remove {field}"));
        }
        metadata.remove(field);
        return;
    };
    for (key, node) in map.iter_mut() {
        let text = node.scalar().unwrap_or_default().to_owned();
        if node.is_null() {
            warn(format!("sets {key:?} of {field} to {text:?} instead of removing it"));
        }
        *node = Node::quoted(text);
    }
}

/// Merges a patch into an object; false if there is nothing left of it, or the patch does not count.
fn apply_strategic(
    assembly: &Assembly<'_>,
    resource: &mut Resource,
    mut patch: Node,
    allowed: Allowed,
) -> Result<bool, BuildError> {
    let before = resource.current_id();
    assembly.reader.spend_walk(&resource.value)?;
    assembly.reader.spend_copies(1, &patch)?;
    if allowed.name || allowed.kind {
        resource.record_id();
    }
    if strategic::replaces_all(&patch) {
        assembly.warnings.silent(format!(
            "patching {before}: kustomize leaves an object as it is when a patch says `$patch: replace` at its top"
        ));
        return Ok(false);
    }
    if let (Some(map), Some(api_version)) = (patch.as_object_mut(), resource.value.get("apiVersion")) {
        map.insert("apiVersion", api_version.clone());
    }
    let value = std::mem::take(&mut resource.value);
    let schema = assembly.schema();
    // Kinds without a schema take that of the kind that the patch names, in their own group.
    let mut gvk = before.gvk.clone();
    if schema.of_kind(&gvk).definition.is_none()
        && let Some(kind) = patch.get("kind").and_then(Node::scalar)
    {
        gvk.kind = kind.into();
    }
    let mut merger = Merger::new(&schema, gvk);
    let result =
        merger.merge(value, patch).map_err(|error| error.while_doing(format!("patching {before}")))?;
    assembly.reader.spend(merger.pairs / PAIRS_PER_STEP, 0)?;
    Reordered::note(&mut resource.reordered, merger.reordered);
    for loss in merger.losses {
        assembly.warnings.silent(format!("patching {before}: {loss}"));
    }
    let Some(value) = result else {
        resource.value = Node::object();
        return Ok(false);
    };
    resource.value = value;
    if !allowed.kind && resource.kind() != before.gvk.kind {
        resource.value.make_object().insert("kind", before.gvk.kind.clone());
    }
    if !allowed.kind {
        make_bare(resource, "kind");
    }
    if !allowed.name {
        resource.rewrite("name", &before.name);
    }
    resource.rewrite("namespace", &before.namespace);
    Ok(true)
}

fn apply_json(
    assembly: &Assembly<'_>,
    set: &mut ResourceSet,
    index: usize,
    operations: &[Operation],
    remembers: Remembers,
) -> Result<(), BuildError> {
    set.change(index, |resource| {
        let id = resource.current_id();
        assembly.reader.spend_walk(&resource.value)?;
        replacements::check(resource)?;
        if remembers == Remembers::Id {
            resource.record_id();
        }
        // kustomize notes ids in the annotations, so they exist, and patches can read its notes.
        if resource.has_own_notes() {
            resource.annotations();
        }
        let reads_notes = json::reads_metadata(operations);
        if reads_notes {
            resource.write_notes();
        }
        let reordered = std::mem::take(&mut resource.reordered);
        let patched = json::apply(&mut resource.value, operations, reordered);
        if reads_notes && resource.erase_notes() {
            assembly
                .warnings
                .silent(format!("patching {id}: kustomize copies annotations of its own into the object"));
        }
        let annotations = resource.value.at(&["metadata", "annotations"]).and_then(Node::as_object);
        for (key, text) in annotations.into_iter().flat_map(Map::iter).filter_map(exponent) {
            assembly.warnings.silent(format!(
                "patching {id}: kustomize writes annotation {key:?} as {text:?}: put it in quotes"
            ));
        }
        patched
            .and_then(|applied| {
                warn_of_json(assembly, &id, &applied);
                resource.reordered = applied.reordered;
                assembly.reader.spend(applied.work, 0)
            })
            .and_then(|()| resource.check_named())
            .and_then(|()| resource.settle_annotations())
            .map_err(|error| error.while_doing(format!("patching {id}")))
    })
}

/// Changes of a JSON patch beyond its operations.
fn warn_of_json(assembly: &Assembly<'_>, id: &ResId, applied: &json::Applied) {
    for rounded in &applied.rounded {
        assembly.warnings.silent(format!(
            "patching {id}: kustomize takes an object with a JSON patch through floating point: {rounded}; write a \
             strategic merge patch, which leaves other fields alone"
        ));
    }
    for surprise in &applied.surprises {
        assembly.warnings.silent(format!("patching {id}: {surprise}"));
    }
}

/// A number among the annotations that got an exponent.
fn exponent<'m>((key, node): (&'m str, &'m Node)) -> Option<(&'m str, &'m str)> {
    node.scalar().filter(|text| !node.is_string() && text.contains("e+")).map(|text| (key, text))
}
