//! The entry point: from a directory of a tree to its objects.

use std::collections::HashMap;
use std::sync::Arc;

use plumb_filetree::{FileTree, RelPath};
use plumb_manifests::Object;
use plumb_manifests::object::NotAnObject;
use plumb_manifests::yaml::{self, Node};

use crate::accumulate::{Accumulated, Assembly, Place};
use crate::error::BuildError;
use crate::limits::Limits;
use crate::passage::{self, Refolded};
use crate::provenance::{Metadata, Provenance, Trail, Transformation};
use crate::reading::{ReadSet, Reader};
use crate::resource::{Resource, scalar_text};
use crate::settings::{self, Blank, ImageEntry, PatchEntry, Settings};
use crate::transformers::hash;
use crate::warning::Warning;
use crate::{order, references, replacements};

/// How a build is done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Which files a kustomization may name.
    pub reach: Reach,
    /// The order of the objects where the kustomization file names none.
    pub order: Order,
    /// Limits of a build.
    pub limits: Limits,
}

/// The order of the objects where `sortOptions` is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// kustomize's legacy order, as the kustomize command prints.
    #[default]
    Legacy,
    /// The order in which they were read, as Flux builds.
    AsRead,
}

/// Which files a kustomization may name. Directories are free in both: they are kustomizations of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Every file of the tree, as Flux builds.
    #[default]
    Tree,
    /// Files in and below its own directory, as the kustomize command builds.
    OwnDirectory,
}

/// One object of a build.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// The finished object, as kustomize would print it.
    pub node: Node,
    /// The file that it was read from, or whose generator made it; with a leading slash.
    pub origin: String,
    /// The transformers that ran while the object was there, in order; objects that went the same way share the list.
    pub transformers: Arc<[Arc<Transformation>]>,
}

impl Built {
    /// The object in JSON. kustomize lets more pass than the API server takes, so this can fail.
    pub fn to_object(&self) -> Result<Object, NotAnObject> {
        Object::new(self.node.to_json())
    }
}

/// A finished build.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Build {
    /// The objects, in the order in which they are printed.
    pub objects: Vec<Built>,
    /// What the result depends on.
    pub reads: ReadSet,
    /// Accepted input that the author should check.
    pub warnings: Vec<Warning>,
}

impl Build {
    /// The bytes that `kustomize build` prints.
    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        for (index, built) in self.objects.iter().enumerate() {
            if index > 0 {
                out.push_str("---\n");
            }
            yaml::write(&built.node, &mut out);
        }
        out
    }
}

/// A text of the caller, and the field of the caller that contains it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Named {
    /// The text.
    pub text: String,
    /// What errors and warnings call it.
    pub field: String,
}

/// What a caller adds to the kustomization of the directory that is built.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Additions {
    /// The error for an empty kustomization file.
    pub blank: Blank,
    /// The resources of a directory that has no kustomization file; `None` if it must have one.
    pub generated: Option<Vec<String>>,
    /// Replaces the namespace.
    pub namespace: Option<Named>,
    /// Replaces the prefix of names.
    pub name_prefix: Option<Named>,
    /// Replaces the suffix of names.
    pub name_suffix: Option<Named>,
    /// Replace the entries of the same name, or follow the file's own.
    pub images: Vec<ImageEntry>,
    /// Follow the file's own.
    pub patches: Vec<PatchEntry>,
    /// Follow the file's own.
    pub components: Vec<Named>,
    /// Added to the file's own, each once.
    pub build_metadata: Vec<String>,
}

/// Builds the kustomization in a directory of the tree.
pub fn build(tree: &dyn FileTree, path: &RelPath, options: &Options) -> Result<Build, BuildError> {
    build_with(tree, path, &Additions::default(), options)
}

/// The same with additions.
pub fn build_with(
    tree: &dyn FileTree,
    path: &RelPath,
    additions: &Additions,
    options: &Options,
) -> Result<Build, BuildError> {
    let reader = Reader::new(tree, &options.limits);
    let (file, mut settings) = if let Some(resources) = &additions.generated {
        (None, Settings { resources: resources.clone(), ..Settings::default() })
    } else {
        let file = settings::find(&reader, path)?;
        let settings = settings::read(&reader, &file, additions.blank)?;
        (Some(file), settings)
    };
    extend(&mut settings, additions);
    let provenance = Provenance::new(path.clone(), &settings.build_metadata);
    let assembly = Assembly::new(&reader, options.reach, provenance);
    let place = Place { directory: path.clone(), file, chain: vec![path.clone()] };
    let mut accumulated = Accumulated::default();
    assembly.add(&place, &settings, &mut accumulated)?;
    let objects =
        finish(accumulated, &settings, &assembly, options.order).map_err(|error| match &place.file {
            Some(file) => error.in_file(file),
            None => error,
        })?;
    let warnings = assembly.warnings.into_vec();
    Ok(Build { objects, reads: reader.into_reads(), warnings })
}

fn extend(settings: &mut Settings, additions: &Additions) {
    let Additions {
        blank: _,
        generated: _,
        namespace,
        name_prefix,
        name_suffix,
        images,
        patches,
        components,
        build_metadata,
    } = additions;
    let fields = &mut settings.fields;
    for (own, own_field, new) in [
        (&mut settings.namespace, &mut fields.namespace, namespace),
        (&mut settings.name_prefix, &mut fields.name_prefix, name_prefix),
        (&mut settings.name_suffix, &mut fields.name_suffix, name_suffix),
    ] {
        if let Some(Named { text, field }) = new {
            own.clone_from(text);
            own_field.clone_from(field);
        }
    }
    for image in images {
        match settings.images.iter_mut().find(|own| own.name == image.name) {
            Some(own) => own.clone_from(image),
            None => settings.images.push(image.clone()),
        }
    }
    settings.patches.extend(patches.iter().cloned());
    fields.components_start = settings.components.len();
    settings.components.extend(components.iter().map(|component| component.text.clone()));
    fields.components = components.iter().map(|component| component.field.clone()).collect();
    for one in build_metadata {
        if !settings.build_metadata.contains(one) {
            settings.build_metadata.push(one.clone());
        }
    }
}

/// What is done once, when everything has been gathered: hashes, references, order.
fn finish(
    accumulated: Accumulated,
    settings: &Settings,
    assembly: &Assembly<'_>,
    unsaid: Order,
) -> Result<Vec<Built>, BuildError> {
    let (reader, provenance) = (assembly.reader, &assembly.provenance);
    let Accumulated { mut set, config, vars } = accumulated;
    let config = config.config();
    hash::add(&mut set);
    references::update(&mut set, &config.name_references, reader)?;
    vars.resolve(&mut set, &config.var_references, assembly)?;
    set.retain(|resource| !is_local(resource));
    if let Some(id) = set.duplicate() {
        let message =
            format!("may not add resource with an already registered id: {id}: objects were renamed to it");
        return Err(BuildError::invalid(message));
    }
    let mut resources = set.into_vec();
    if settings.sort_options.is_some() || unsaid == Order::Legacy {
        order::sort(&mut resources, settings.sort_options.as_ref())?;
    }
    let mut trails: HashMap<Trail, Arc<[Arc<Transformation>]>> = HashMap::new();
    resources.iter().try_for_each(Resource::check_complete)?;
    resources.iter().try_for_each(replacements::check)?;
    let is_managed = provenance.requests(Metadata::ManagedBy);
    let bytes_max = reader.limits().output_bytes_max;
    let mut bytes = 0_usize;
    let finished = resources.into_iter().map(|mut resource| {
        provenance.strip(&mut resource);
        if is_managed {
            resource.set_managed_by().map_err(|error| error.while_doing(resource.current_id()))?;
        }
        let origin = resource.file.clone();
        let trail = trails.entry(resource.trail);
        let transformers = trail.or_insert_with(|| provenance.follow(resource.trail)).clone();
        let id = resource.current_id();
        let mut node = resource.into_finished();
        if let Some(Refolded { key }) = passage::rewrite(&mut node) {
            let text = format!(
                "{id}: the folded text of {key:?} is printed with other line breaks than it has, as by kustomize: write \
                 it as a literal block, with `|`"
            );
            assembly.warnings.silent_at(&origin, text);
        }
        passage::print(&mut node).map_err(|error| error.while_doing(id))?;
        reader.limits().interrupt.check()?;
        let weight = weight(&node);
        // Once more: its text, or its JSON, is made from it.
        reader.limits().charge.take(weight)?;
        bytes = bytes.saturating_add(weight);
        if bytes > bytes_max {
            return Err(BuildError::over_limit(format!("the objects have more than {bytes_max} bytes")));
        }
        Ok(Built { node, origin, transformers })
    });
    finished.collect()
}

/// Whether an object is only an input of the build.
pub(crate) fn is_local(resource: &Resource) -> bool {
    let annotation = resource.value.at(&["metadata", "annotations", "config.kubernetes.io/local-config"]);
    annotation.is_some_and(|value| scalar_text(value) != "false")
}

/// Bytes of all texts. The nesting is limited by the reader, and so is this recursion.
fn weight(value: &Node) -> usize {
    match value {
        Node::String(text) => text.len(),
        Node::Array(items) => items.iter().map(weight).sum::<usize>() + items.len(),
        Node::Object(map) => map.iter().map(|(key, value)| key.len() + 2 + weight(value)).sum(),
        Node::Null(_) => 4,
        Node::Plain(plain) => plain.text.len(),
    }
}
