//! Replacements: the value of one field, copied into others.

mod change;
mod choice;
mod entry;
mod path;
mod structured;
mod styled;
mod styled_print;

use plumb_filetree::RelPath;
use plumb_manifests::yaml;
use plumb_manifests::yaml::Node;

use crate::accumulate::Assembly;
use crate::error::BuildError;
use crate::resource::Resource;
use crate::set::ResourceSet;

use change::{Change, Made, is_odd, with_text};
use choice::{Choice, Index};
use entry::{FieldOptions, SourceEntry, TargetEntry};
use path::TargetPath;

pub(crate) use entry::ReplacementEntry;

/// The default position of the value or the target.
const DEFAULT_PATH: &str = "metadata.name";

/// Carries out replacements in their order; files that they name are looked for from the directory.
pub(crate) fn run(
    assembly: &Assembly<'_>,
    directory: &RelPath,
    entries: &[ReplacementEntry],
    set: &mut ResourceSet,
) -> Result<(), BuildError> {
    let entries = read(assembly, directory, entries)?;
    let mut run = Run { assembly, set, index: None, made: Made::new(), odd: Vec::new() };
    for (entry, label) in &entries {
        assembly.warnings.within(label, "", || run.replace(entry))?;
    }
    run.finish();
    Ok(())
}

/// Puts the entries of files in the places of those that name them, each with what warnings call it.
fn read(
    assembly: &Assembly<'_>,
    directory: &RelPath,
    entries: &[ReplacementEntry],
) -> Result<Vec<(ReplacementEntry, String)>, BuildError> {
    let mut all = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let label = format!("replacements[{index}]");
        if entry.path.is_empty() {
            all.push((entry.clone(), label));
            continue;
        }
        if entry.source.is_some() || !entry.targets.is_empty() {
            return Err(BuildError::invalid("cannot specify both path and inline replacement"));
        }
        let file = assembly.file(directory, &entry.path)?;
        let text = assembly.reader.text(&file)?;
        let value = yaml::parse_settings(&text, &assembly.reader.limits().yaml);
        let value = value.map_err(|error| BuildError::yaml(&file, &error))?;
        assembly.reader.spend(1, text.len())?;
        let inner = entry::entries(value).map_err(|error| error.in_file(&file))?.into_iter().enumerate();
        all.extend(inner.map(|(at, entry)| (entry, format!("{label}: /{file}: [{at}]"))));
    }
    Ok(all)
}

struct Run<'r, 't> {
    assembly: &'r Assembly<'t>,
    set: &'r mut ResourceSet,
    /// None after an id has changed.
    index: Option<Index>,
    made: Made,
    /// Objects that may hold texts in fields of another kind.
    odd: Vec<usize>,
}

/// The copied value, and its object if the value is copied literally.
struct Source<'e> {
    value: Node,
    shared: Option<(usize, &'e str)>,
    label: String,
}

impl Run<'_, '_> {
    fn replace(&mut self, entry: &ReplacementEntry) -> Result<(), BuildError> {
        let mut source = self.source(entry)?;
        let warnings = &self.assembly.warnings;
        for (index, target) in entry.targets.iter().enumerate() {
            let label = format!("targets[{index}]");
            warnings.within(&label, "", || self.write(&mut source, target))?;
        }
        Ok(())
    }

    fn source<'e>(&mut self, entry: &'e ReplacementEntry) -> Result<Source<'e>, BuildError> {
        let has_source = entry.source.is_some() || entry.source_value.is_some();
        if !has_source || entry.targets.is_empty() {
            return Err(BuildError::invalid("replacements must specify a source and at least one target"));
        }
        let source = match (&entry.source, &entry.source_value) {
            (Some(_), Some(_)) => {
                return Err(BuildError::invalid("value and resource selectors are mutually exclusive"));
            }
            (None, text) => {
                let text = text.as_deref().unwrap_or_default();
                let value = match change::meaning(text) {
                    Node::Null(_) => Node::text(text),
                    other => other,
                };
                return Ok(Source { value, shared: None, label: "sourceValue".to_owned() });
            }
            (Some(source), None) => source,
        };
        let (assembly, reader) = (self.assembly, self.assembly.reader);
        fill(&mut self.index, self.set, assembly)?;
        let position = match &self.index {
            Some(index) => choice::source(source, self.set, index, reader)?,
            None => return Err(BuildError::invalid("no index of the objects")),
        };
        let path = if source.field_path.is_empty() { DEFAULT_PATH } else { source.field_path.as_str() };
        let Some(resource) = self.set.get(position) else {
            return Err(BuildError::invalid(format!("nothing selected by {}", choice::name(source))));
        };
        if let Some(surprise) = path::surprise(resource, path) {
            assembly.warnings.silent(format!("source {}: {surprise}", choice::name(source)));
        }
        let found = path::find(&resource.value, path)
            .map_err(|error| error.while_doing("error looking up replacement source"))?;
        let Some(value) = found else {
            let id = choice::object_name(source);
            return Err(BuildError::invalid(format!(
                "fieldPath `{path}` is missing for replacement source {id}"
            )));
        };
        reader.spend_copies(1, value)?;
        let label = format!("{}:{path}", choice::object_name(source));
        match source.options.as_ref().filter(|options| !options.delimiter.is_empty()) {
            Some(options) => {
                let value = part(value, options, resource, source)?;
                Ok(Source { value, shared: None, label })
            }
            None => Ok(Source { value: value.clone(), shared: Some((position, path)), label }),
        }
    }

    fn write(&mut self, source: &mut Source<'_>, target: &TargetEntry) -> Result<(), BuildError> {
        let reader = self.assembly.reader;
        let choice = Choice::new(target, reader)?;
        let options = target.options.clone().unwrap_or_default();
        let written: Vec<&str> = match target.field_paths.as_slice() {
            [] => vec![DEFAULT_PATH],
            paths => paths.iter().map(String::as_str).collect(),
        };
        fill(&mut self.index, self.set, self.assembly)?;
        let positions = match &self.index {
            Some(index) => choice.positions(self.set, index, reader)?,
            None => Vec::new(),
        };
        if positions.is_empty() {
            let select = target.select.as_ref().map(ToString::to_string).unwrap_or_default();
            let but = if target.reject.is_empty() { "" } else { ", or reject leaves none over" };
            self.assembly.warnings.silent(format!(
                "select ({select}) finds no object{but}, and kustomize passes over the target: correct it or remove it"
            ));
            return Ok(());
        }
        let mut paths = Vec::with_capacity(written.len());
        for path in written {
            reader.spend(1, path.len())?;
            // An invalid path is only rejected where it would be followed.
            let verb = if options.create { "find or create" } else { "find" };
            let doing = format!("unable to {verb} field {path:?} in replacement target");
            paths.push(TargetPath::new(path).map_err(|error| error.while_doing(doing))?);
        }
        for position in positions {
            for path in &paths {
                self.write_field(source, position, path, &options)?;
            }
        }
        Ok(())
    }

    fn write_field(
        &mut self,
        source: &mut Source<'_>,
        position: usize,
        path: &TargetPath,
        options: &FieldOptions,
    ) -> Result<(), BuildError> {
        if let Some(resource) = self.set.get(position)
            && let Some(surprise) = path::surprise(resource, &path.written)
        {
            let id = resource.current_id();
            self.assembly.warnings.silent(format!("replacement of {:?} in {id}: {surprise}", path.written));
        }
        let (reader, made) = (self.assembly.reader, &mut self.made);
        let value = &source.value;
        let (outcome, has_new_id, id) = self.set.change(position, |resource| {
            let before = resource.current_id();
            let change = Change::new(value, options, reader, position, made);
            let outcome = change.apply(&mut resource.value, path);
            let after = resource.current_id();
            (outcome, before != after, after)
        });
        let outcome = outcome.map_err(|error| error.while_doing(format!("replacement in {id}")))?;
        if has_new_id {
            self.index = None;
        }
        if outcome.is_odd {
            self.odd.push(position);
        }
        for note in outcome.notes {
            let text = format!("replacement of {:?} in {id} with {}: {note}", path.written, source.label);
            self.assembly.warnings.silent(text);
        }
        // A literal copy changes with its source.
        if let Some((at, from)) = source.shared
            && at == position
            && let Some(resource) = self.set.get(position)
            && let Ok(Some(value)) = path::find(&resource.value, from)
        {
            reader.spend_copies(1, value)?;
            source.value = value.clone();
        }
        Ok(())
    }

    /// Marks the objects that may hold texts in fields of another kind: what becomes of them decides.
    fn finish(self) {
        for position in self.odd {
            self.set.change(position, |resource| resource.may_be_odd = true);
        }
    }
}

/// Rejects an object with a text in a field of another type: it can neither be printed nor become JSON.
pub(crate) fn check(resource: &Resource) -> Result<(), BuildError> {
    let found = if resource.may_be_odd { first_odd(&resource.value) } else { None };
    let Some(path) = found else { return Ok(()) };
    Err(BuildError::invalid(format!(
        "cannot decode the text in field {path:?} of {}: a replacement put it there, and the field holds a value of \
         another kind; quote that value in the target",
        resource.current_id()
    )))
}

fn fill(index: &mut Option<Index>, set: &ResourceSet, assembly: &Assembly<'_>) -> Result<(), BuildError> {
    if index.is_none() {
        *index = Some(Index::new(set, assembly.reader)?);
    }
    Ok(())
}

/// The part of a value that an option selects.
fn part(
    value: &Node,
    options: &FieldOptions,
    resource: &Resource,
    source: &SourceEntry,
) -> Result<Node, BuildError> {
    let Some(text) = value.scalar() else {
        return Err(BuildError::invalid("delimiter option can only be used with scalar nodes"));
    };
    let index = usize::try_from(options.index).ok();
    if let Some(part) = index.and_then(|index| text.split(options.delimiter.as_str()).nth(index)) {
        return with_text(value, part.into());
    }
    // The content of a secret is not repeated.
    let shown = if resource.kind() == "Secret" { choice::name(source) } else { text.to_owned() };
    let message = format!("options.index {} is out of bounds for value {shown}", options.index);
    Err(BuildError::invalid(message))
}

/// The path of the first scalar whose text is not of its kind. The depth is limited, and so is this recursion.
fn first_odd(node: &Node) -> Option<String> {
    let below = |key: String, node: &Node| {
        first_odd(node).map(|rest| if rest.is_empty() { key.clone() } else { format!("{key}.{rest}") })
    };
    match node {
        Node::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| below(index.to_string(), item))
        }
        Node::Object(map) => map.iter().find_map(|(key, value)| below(key.to_owned(), value)),
        scalar => is_odd(scalar).then(String::new),
    }
}
