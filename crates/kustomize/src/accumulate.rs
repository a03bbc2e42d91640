//! One kustomization inside another: resources, generators, components and transformers, in kustomize's order.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use plumb_filetree::{EntryKind, RelPath};

use crate::build::Reach;
use crate::config::{self, Config, Gathered};
use crate::error::BuildError;
use crate::field::FieldSpec;
use crate::provenance::{Author, Provenance};
use crate::reading::Reader;
use crate::schema::{self, Known};
use crate::set::ResourceSet;
use crate::settings::{self, Blank, FILE_NAMES, OpenApiEntry, Role, Settings};
use crate::shares::Spread;
use crate::transformers::names::Affix;
use crate::transformers::namespace::MovedSubject;
use crate::transformers::{annotations, images, labels, names, namespace, replicas};
use crate::vars::Vars;
use crate::warning::{Origin, Warnings};
use crate::{generators, load, patches, plugins, replacements};

/// What has been gathered so far.
#[derive(Debug, Default)]
pub(crate) struct Accumulated {
    pub set: ResourceSet,
    /// It flows from the bases up.
    pub config: Gathered,
    /// They flow up, too.
    pub vars: Vars,
}

/// The location of a kustomization.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub directory: RelPath,
    /// Its file; none if it was generated.
    pub file: Option<RelPath>,
    /// The directories on the way to it, itself included.
    pub chain: Vec<RelPath>,
}

impl Place {
    /// The built-in for a field of its file.
    pub(crate) fn author(&self, kind: &str) -> Author {
        match &self.file {
            Some(file) => Author::field(file, kind),
            None => Author::field(&self.directory.child(FILE_NAMES[0]).unwrap_or_default(), kind),
        }
    }

    fn name(&self, error: BuildError) -> BuildError {
        match &self.file {
            Some(file) => error.in_file(file),
            None => error,
        }
    }
}

/// What all kustomizations of a build share.
pub(crate) struct Assembly<'t> {
    pub reader: &'t Reader<'t>,
    pub provenance: Provenance,
    reach: Reach,
    pub warnings: Warnings,
    schema: RefCell<Known>,
    /// Whether a kustomization has named the built-in schema: then no document of another one counts.
    is_builtin_fixed: Cell<bool>,
    has_read_objects: Cell<bool>,
}

impl<'t> Assembly<'t> {
    pub(crate) fn new(reader: &'t Reader<'t>, reach: Reach, provenance: Provenance) -> Self {
        let schema = RefCell::new(Known::Builtin);
        let has_read_objects = Cell::new(false);
        let (warnings, is_builtin_fixed) = (Warnings::default(), Cell::new(false));
        Self { reader, provenance, reach, warnings, schema, is_builtin_fixed, has_read_objects }
    }

    /// How lists are merged, as far as it is known by now.
    pub(crate) fn schema(&self) -> Known {
        self.schema.borrow().clone()
    }

    /// Adds what a kustomization gathers, and transforms all that is there then.
    pub(crate) fn add(
        &self,
        place: &Place,
        settings: &Settings,
        into: &mut Accumulated,
    ) -> Result<(), BuildError> {
        self.gather(place, settings, into)
            .and_then(|()| self.transform(place, settings, into))
            .and_then(|()| into.vars.add(&settings.vars, &mut into.set, self.reader))
            .map_err(|error| place.name(error))
    }

    fn gather(&self, place: &Place, settings: &Settings, into: &mut Accumulated) -> Result<(), BuildError> {
        let file = place.file.as_ref().unwrap_or(&place.directory);
        for warning in &settings.warnings {
            self.warnings.notice(format!("/{file}: {warning}"));
        }
        self.read_schema(place, settings)?;
        for reference in &settings.resources {
            self.add_resource(place, reference, into)?;
        }
        self.reader.spend(into.config.len(), 0)?;
        let own = self.configuration(place, settings)?;
        self.warn_lost(place, into.config.add(own)?);
        self.gather_generated(place, settings, into)?;
        plugins::generate(self, place, &settings.generators, &mut into.set)?;
        for (index, reference) in settings.components.iter().enumerate() {
            self.add_component(place, reference, into)
                .map_err(|error| error.in_field(settings.fields.component(index)))?;
        }
        self.check_count(into)
    }

    fn gather_generated(
        &self,
        place: &Place,
        settings: &Settings,
        into: &mut Accumulated,
    ) -> Result<(), BuildError> {
        for mut resource in generators::run(self, &place.directory, settings)? {
            let author = place.author(&format!("{}Generator", resource.kind()));
            self.reader.admit(&resource.value)?;
            self.provenance.note_generator(&mut resource, &author);
            into.set.absorb(resource)?;
        }
        Ok(())
    }

    fn add_component(
        &self,
        place: &Place,
        reference: &str,
        into: &mut Accumulated,
    ) -> Result<(), BuildError> {
        let opened = self.open_component(place, reference)?;
        let (inner, settings) = &*opened;
        self.add(inner, settings, into)?;
        self.reader.spend(into.config.len(), 0)?;
        self.warn_lost(place, into.config.settle()?);
        Ok(())
    }

    fn open_component(&self, place: &Place, reference: &str) -> Result<Box<(Place, Settings)>, BuildError> {
        let doing = |error: BuildError| error.while_doing("accumulating components");
        let directory = self.locate(&place.directory, reference).map_err(doing)?;
        if self.reader.kind(&directory) != Some(EntryKind::Dir) {
            let message = format!("accumulating components: no directory {reference:?}");
            return Err(BuildError::invalid(message));
        }
        self.open(place, &directory, Role::Component)
    }

    /// The transformer configuration from the files of a kustomization.
    fn configuration(&self, place: &Place, settings: &Settings) -> Result<Gathered, BuildError> {
        let mut files = Config::default();
        for reference in &settings.configurations {
            let file = self.file(&place.directory, reference)?;
            files.merge(config::read(self.reader, &file)?)?;
        }
        for reference in &settings.crds {
            let file = self.file(&place.directory, reference)?;
            files.merge(config::crds::read(self.reader, &file)?)?;
        }
        Gathered::of(files)
    }

    fn warn_lost(&self, place: &Place, lost: Vec<String>) {
        let file = place.file.as_ref().unwrap_or(&place.directory);
        for lost in lost {
            self.warnings.silent_at(format_args!("/{file}"), lost);
        }
    }

    /// Uses the schema that a kustomization names, a document or the built-in one by its version, unless another
    /// kustomization named one earlier. Once objects have been read, a document extends the built-in one; before, it
    /// replaces it (never in Flux).
    fn read_schema(&self, place: &Place, settings: &Settings) -> Result<(), BuildError> {
        const VERSION: &str = "v1.21.2";
        if self.is_builtin_fixed.get() || matches!(*self.schema.borrow(), Known::Own(_)) {
            return Ok(());
        }
        let OpenApiEntry { path, version } = &settings.openapi;
        let Some(reference) = path.as_deref().filter(|path| !path.is_empty()) else {
            return match version.as_deref() {
                None | Some("") => Ok(()),
                Some(VERSION) => {
                    self.is_builtin_fixed.set(true);
                    Ok(())
                }
                Some(other) => Err(BuildError::invalid(format!(
                    "the specified OpenAPI version is not built in: {other:?}, only {VERSION:?} is"
                ))),
            };
        };
        if version.is_some() {
            let message = "openapi: builtin version and custom schema provided, cannot use both";
            return Err(BuildError::invalid(message));
        }
        let file = self.file(&place.directory, reference)?;
        let is_over_builtin = self.reach == Reach::Tree || self.has_read_objects.get();
        let schema = schema::read(self.reader, &file, is_over_builtin)?;
        *self.schema.borrow_mut() = Known::Own(Rc::new(schema));
        Ok(())
    }

    pub(crate) fn add_resource(
        &self,
        place: &Place,
        reference: &str,
        into: &mut Accumulated,
    ) -> Result<(), BuildError> {
        let doing =
            |error: BuildError| error.while_doing(format!("accumulating resources from '{reference}'"));
        let path = self.locate(&place.directory, reference).map_err(doing)?;
        match self.reader.kind(&path) {
            Some(EntryKind::File) => {
                let path = self.file(&place.directory, reference).map_err(doing)?;
                self.add_file(&path, into)?;
            }
            Some(EntryKind::Dir) => {
                let opened = self.open(place, &path, Role::Kustomization);
                let opened = opened.map_err(|error| match error.file() {
                    Some(_) => error,
                    None => doing(error),
                })?;
                let (inner, settings) = &*opened;
                let mut gathered = Box::new(Accumulated::default());
                self.add(inner, settings, &mut gathered)?;
                self.take_in(place, *gathered, into)?;
            }
            None => {
                let error = BuildError::invalid(format!("no such file or directory: /{path}"));
                return Err(doing(error));
            }
        }
        self.check_count(into)
    }

    fn add_file(&self, path: &RelPath, into: &mut Accumulated) -> Result<(), BuildError> {
        let text = self.reader.text(path)?;
        let resources = load::resources(&text, path, self.reader.limits())?;
        // For built-in kinds, kustomize does not read the schema.
        if resources.iter().any(|resource| !resource.is_builtin()) {
            self.has_read_objects.set(true);
        }
        for mut resource in resources {
            self.reader.admit(&resource.value).map_err(|error| error.in_file(path))?;
            self.provenance.note_file(&mut resource, path);
            into.set.append(resource)?;
        }
        Ok(())
    }

    /// Takes in what a base has gathered.
    fn take_in(&self, place: &Place, base: Accumulated, into: &mut Accumulated) -> Result<(), BuildError> {
        let Accumulated { set, config, vars } = base;
        into.set.append_all(set)?;
        self.reader.spend(into.config.len() + config.len(), 0)?;
        self.warn_lost(place, into.config.add(config)?);
        into.vars.merge(vars)
    }

    fn check_count(&self, accumulated: &Accumulated) -> Result<(), BuildError> {
        let objects_max = self.reader.limits().objects_max;
        if accumulated.set.len() > objects_max {
            return Err(BuildError::over_limit(format!("more than {objects_max} objects")));
        }
        Ok(())
    }

    /// Reads the kustomization of a directory that another one names. Boxed, as kustomizations go deep.
    fn open(
        &self,
        from: &Place,
        directory: &RelPath,
        expected: Role,
    ) -> Result<Box<(Place, Settings)>, BuildError> {
        // The meaning of `..` in it, and whether it is open already, follow from its real path.
        let directory = self.reader.follow(directory);
        let mut chain = from.chain.clone();
        let is_cycle = chain.iter().any(|visited| visited.starts_with(&directory));
        chain.push(directory.clone());
        if is_cycle {
            let names: Vec<String> = chain.iter().map(|visited| format!("/{visited}")).collect();
            return Err(BuildError::invalid(format!("cycle detected: {}", names.join(" -> "))));
        }
        let depth_max = self.reader.limits().depth_max;
        if chain.len() > depth_max {
            let message = format!("more than {depth_max} kustomizations inside each other");
            return Err(BuildError::over_limit(message));
        }
        let file = settings::find(self.reader, &directory)?;
        let settings = settings::read(self.reader, &file, Blank::Refused)?;
        match (expected, settings.role) {
            (Role::Kustomization, Role::Component) => {
                Err(BuildError::invalid(format!("expected kind != 'Component' for path '/{directory}'")))
            }
            (Role::Component, Role::Kustomization) => Err(BuildError::invalid(format!(
                "expected kind 'Component' for path '/{directory}' but got 'Kustomization'"
            ))),
            _ => Ok(Box::new((Place { directory, file: Some(file), chain }, settings))),
        }
    }

    /// The target of a reference, of any type.
    fn locate(&self, directory: &RelPath, reference: &str) -> Result<RelPath, BuildError> {
        let located = directory.resolve(reference);
        let is_there = located.as_ref().is_ok_and(|path| self.reader.kind(path).is_some());
        if !is_there && is_remote(reference) {
            return Err(BuildError::unsupported(format!("remote resource {reference:?}")));
        }
        located.map_err(|error| BuildError::invalid(error.to_string()))
    }

    /// The file that a reference names, if this kustomization may read it.
    pub(crate) fn file(&self, directory: &RelPath, reference: &str) -> Result<RelPath, BuildError> {
        let path = self.locate(directory, reference)?;
        if self.reach == Reach::OwnDirectory && !self.reader.follow(&path).starts_with(directory) {
            let message = format!("security; file '/{path}' is not in or below '/{directory}'");
            return Err(BuildError::invalid(message));
        }
        Ok(path)
    }

    fn transform(
        &self,
        place: &Place,
        settings: &Settings,
        into: &mut Accumulated,
    ) -> Result<(), BuildError> {
        let origin = Origin { file: place.author("").file, ..Origin::default() };
        let outer = self.warnings.enter(origin);
        let done = self.transform_here(place, settings, into);
        self.warnings.enter(outer);
        done
    }

    fn transform_here(
        &self,
        place: &Place,
        settings: &Settings,
        into: &mut Accumulated,
    ) -> Result<(), BuildError> {
        let config = into.config.config();
        let set = &mut into.set;
        self.reader.spend(set.len(), 0)?;
        // The search for the default fields is cheap for every object.
        let is_much = settings.labels.len() > LABELS_FEW || into.config.len() > 0;
        let walk = set.len() + if is_much { values(set) / VALUES_PER_STEP } else { 0 };
        if !settings.patches_strategic_merge.is_empty() {
            self.warnings.within("patchesStrategicMerge", "", || {
                patches::run_strategic(self, &place.directory, &settings.patches_strategic_merge, set)?;
                self.note(place, set, "PatchStrategicMergeTransformer")
            })?;
        }
        patches::run(self, place, &settings.patches, set)?;
        self.set_namespace_and_names(place, settings, config, walk, set)?;
        self.label(place, settings, config, walk, set)?;
        if !settings.common_annotations.is_empty() {
            self.reader.spend(walk, config.annotations.len())?;
            annotations::set_all(set, &settings.common_annotations, &config.annotations, self.reader)?;
            self.note(place, set, "AnnotationsTransformer")?;
        }
        patches::run_json6902(self, place, &settings.patches_json6902, set)?;
        for entry in &settings.replicas {
            self.spend(set, config.replicas.len())?;
            replicas::set(set, entry, &config.replicas)?;
            self.note(place, set, "ReplicaCountTransformer")?;
        }
        // What walks through whole objects costs the more the larger they are.
        let walk = if settings.images.is_empty() { 0 } else { values(set) / VALUES_PER_STEP + 1 };
        for entry in &settings.images {
            self.reader.spend(walk, config.images.len())?;
            images::replace(set, entry, &config.images, self.reader)
                .map_err(|error| error.in_field(&entry.label))?;
            self.note(place, set, "ImageTagTransformer")?;
        }
        if !settings.replacements.is_empty() {
            replacements::run(self, &place.directory, &settings.replacements, set)?;
            self.note(place, set, "ReplacementTransformer")?;
        }
        set.drop_empties();
        plugins::transform(self, place, &settings.transformers, set)?;
        plugins::validate(self, place, &settings.validators, set)
    }

    fn set_namespace_and_names(
        &self,
        place: &Place,
        settings: &Settings,
        config: &Config,
        walk: usize,
        set: &mut ResourceSet,
    ) -> Result<(), BuildError> {
        let Settings { namespace, name_prefix, name_suffix, fields, .. } = settings;
        if !namespace.is_empty() {
            self.reader.spend(walk, config.namespace.len() + namespace.len())?;
            let moved = namespace::set_all(set, namespace, &config.namespace, self.reader)
                .map_err(|error| error.in_field(&fields.namespace))?;
            self.warnings.within("namespace", &fields.namespace, || self.warn_moved(namespace, moved));
            self.note(place, set, "NamespaceTransformer")?;
        }
        if !name_prefix.is_empty() {
            self.reader.spend(walk, config.name_prefix.len())?;
            names::add(set, Affix::Prefix, name_prefix, &config.name_prefix, self.reader)
                .map_err(|error| error.in_field(&fields.name_prefix))?;
            self.note(place, set, "PrefixTransformer")?;
        }
        if !name_suffix.is_empty() {
            self.reader.spend(walk, config.name_suffix.len())?;
            names::add(set, Affix::Suffix, name_suffix, &config.name_suffix, self.reader)
                .map_err(|error| error.in_field(&fields.name_suffix))?;
            self.note(place, set, "SuffixTransformer")?;
        }
        Ok(())
    }

    /// Reports accounts of other namespaces to which a binding gave something before.
    pub(crate) fn warn_moved(&self, namespace: &str, moved: Vec<MovedSubject>) {
        for MovedSubject { binding, index, before } in moved {
            self.warnings.silent(format!(
                "{binding}: subjects[{index}] named \"default\" is moved from namespace {before:?}, in which nothing else \
                 of this build is, to {namespace:?}: kustomize moves every subject of this name; set the namespace of this \
                 subject with a patch behind it, or use an account of another name"
            ));
        }
    }

    fn label(
        &self,
        place: &Place,
        settings: &Settings,
        config: &Config,
        walk: usize,
        set: &mut ResourceSet,
    ) -> Result<(), BuildError> {
        if settings.labels.is_empty() && settings.common_labels.is_empty() {
            return Ok(());
        }
        for (index, entry) in settings.labels.iter().enumerate() {
            let specs = labels::fields(entry, config)?;
            let label = format!("labels[{index}]");
            self.warnings.within(&label, "", || self.set_labels(place, &entry.pairs, &specs, walk, set))?;
        }
        // kustomize runs the last one even if there are no common labels, and warns.
        let (pairs, specs) = (&settings.common_labels, &config.selector_labels);
        self.warnings.within("commonLabels", "", || self.set_labels(place, pairs, specs, walk, set))
    }

    fn set_labels(
        &self,
        place: &Place,
        pairs: &BTreeMap<String, String>,
        specs: &[FieldSpec],
        walk: usize,
        set: &mut ResourceSet,
    ) -> Result<(), BuildError> {
        self.reader.spend(walk, specs.len())?;
        labels::set_all(set, pairs, specs, self.reader)?;
        self.note(place, set, "LabelTransformer")
    }

    /// Records that all objects went through the built-in of a field.
    pub(crate) fn note(&self, place: &Place, set: &mut ResourceSet, kind: &str) -> Result<(), BuildError> {
        self.warn_spreads(set);
        self.provenance.note_transformer(self.reader, set, &place.author(kind))
    }

    /// Reports what changed because kustomize keeps one value for several fields.
    pub(crate) fn warn_spreads(&self, set: &mut ResourceSet) {
        for (id, Spread { field, value, others }) in set.take_spreads() {
            self.warnings.silent(format!(
                "{id}: writing {field} = {value:?} also changes {}: kustomize keeps one value for all fields that `labels` \
                 or `commonLabels` have written, and the selector of an existing object cannot change; a JSON 6902 patch \
                 of {field} changes that field only",
                others.join(", ")
            ));
        }
    }

    pub(crate) fn spend(&self, set: &ResourceSet, bytes_each: usize) -> Result<(), BuildError> {
        self.reader.spend(set.len(), bytes_each)
    }
}

/// So many values are walked through at the cost of looking at one object.
const VALUES_PER_STEP: usize = 16;
/// So many entries of labels cost little.
const LABELS_FEW: usize = 16;

fn values(set: &ResourceSet) -> usize {
    set.iter().map(|resource| resource.value.count()).sum()
}

fn is_remote(reference: &str) -> bool {
    reference.contains("://")
        || ["git::", "git@", "github.com/", "github.com:", "gh:"]
            .iter()
            .any(|start| reference.starts_with(start))
}
