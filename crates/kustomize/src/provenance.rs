//! Where objects come from and which transformers they went through: always noted in a few bytes per object, and
//! written as kustomize's own annotations where the kustomization that is built has `buildMetadata`.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use plumb_filetree::RelPath;
use plumb_manifests::yaml::{self, Node, Text};
use serde::Deserialize;
use serde_json::Value;

use crate::error::BuildError;
use crate::reading::Reader;
use crate::resource::Resource;
use crate::set::ResourceSet;

const ORIGIN: &str = "config.kubernetes.io/origin";
const TRANSFORMATIONS: &str = "alpha.config.kubernetes.io/transformations";

/// A transformer that an object went through, in the order in which kustomize runs them. Like kustomize this counts
/// every transformer that ran while the object was there, whether or not it changed anything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Transformation {
    /// The file that configures it, with a leading slash.
    pub configured_in: String,
    /// What kustomize calls it, such as `PrefixTransformer`.
    pub kind: String,
    /// Its name, if it is an entry of `transformers`.
    pub name: String,
    /// The namespace of its configuration, if it is an entry of `transformers` and has one.
    pub namespace: String,
}

/// The options of `buildMetadata`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metadata {
    Origins,
    Transformers,
    ManagedBy,
}

impl Metadata {
    fn name(self) -> &'static str {
        match self {
            Self::Origins => "originAnnotations",
            Self::Transformers => "transformerAnnotations",
            Self::ManagedBy => "managedByLabel",
        }
    }
}

/// The transformers that an object went through: a place in the tree of all such sequences. 0 is the empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Trail(usize);

#[derive(Debug, Default)]
struct Trails {
    transformations: Vec<Arc<Transformation>>,
    /// The state before and after.
    steps: Vec<(Trail, usize)>,
}

/// What a step costs, so that hostile input cannot make too many.
const STEP_BYTES: usize = 64;
/// To note a transformer at so many objects costs as much as to look at one.
const OBJECTS_PER_STEP: usize = 16;

impl Trails {
    /// Adds a transformer to the trail of every object, and gives the number of trails that this made.
    fn lengthen(&mut self, set: &mut ResourceSet, transformation: Transformation) -> usize {
        let Self { transformations, steps } = self;
        transformations.push(Arc::new(transformation));
        let mut longer: HashMap<Trail, Trail> = HashMap::new();
        // Most objects went the same way as the one before.
        let mut last: Option<(Trail, Trail)> = None;
        for resource in set.notes_mut() {
            let before = resource.trail;
            resource.trail = match last {
                Some((known, after)) if known == before => after,
                _ => *longer.entry(before).or_insert_with(|| {
                    steps.push((before, transformations.len() - 1));
                    Trail(steps.len())
                }),
            };
            last = Some((before, resource.trail));
        }
        longer.len()
    }
}

/// The notes of a build.
#[derive(Debug)]
pub(crate) struct Provenance {
    root: RelPath,
    /// The root's `buildMetadata`. If there is any, even an unknown value, kustomize annotates, and removes in the end
    /// what was not requested.
    requested: Vec<String>,
    trails: RefCell<Trails>,
    /// Annotations of ours, which need no second look.
    known: RefCell<HashSet<Text>>,
}

/// What made or changes objects: a built-in of a kustomization file, or an entry of `generators` or `transformers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Author {
    pub file: RelPath,
    pub kind: String,
    pub name: String,
    pub namespace: String,
}

impl Author {
    /// The built-in of a field of a kustomization file.
    pub(crate) fn field(file: &RelPath, kind: &str) -> Self {
        Self { file: file.clone(), kind: kind.to_owned(), name: String::new(), namespace: String::new() }
    }
}

impl Provenance {
    pub(crate) fn new(root: RelPath, build_metadata: &[String]) -> Self {
        Self {
            root,
            requested: build_metadata.to_vec(),
            trails: RefCell::default(),
            known: RefCell::default(),
        }
    }

    /// Whether the root requests it.
    pub(crate) fn requests(&self, metadata: Metadata) -> bool {
        self.requested.iter().any(|name| name == metadata.name())
    }

    /// Notes the file that an object was read from.
    pub(crate) fn note_file(&self, resource: &mut Resource, file: &RelPath) {
        if !self.requested.is_empty() {
            let stated = Stated { path: self.relative(file), ..Stated::default() };
            self.annotate(resource, ORIGIN, stated.to_text(""));
        }
    }

    /// Records the creator of an object.
    pub(crate) fn note_generator(&self, resource: &mut Resource, author: &Author) {
        if !self.requested.is_empty() {
            let stated = self.stated(author);
            self.annotate(resource, ORIGIN, stated.to_text(""));
        }
    }

    /// Notes that all objects went through a transformer.
    pub(crate) fn note_transformer(
        &self,
        reader: &Reader<'_>,
        set: &mut ResourceSet,
        author: &Author,
    ) -> Result<(), BuildError> {
        let Author { file, kind, name, namespace } = author.clone();
        let transformation = Transformation { configured_in: format!("/{file}"), kind, name, namespace };
        let new_steps = self.trails.borrow_mut().lengthen(set, transformation);
        reader.spend(new_steps, STEP_BYTES)?;
        reader.spend(set.len() / OBJECTS_PER_STEP, 0)?;
        if self.requested.is_empty() {
            return Ok(());
        }
        let stated = self.stated(author);
        let (origin, item) = (stated.to_text(""), stated.to_item());
        let mut bytes = 0;
        for resource in set.notes_mut() {
            bytes += self.annotate_transformer(resource, &origin, &item)?;
        }
        reader.spend(1, bytes)
    }

    /// The transformers of a trail.
    pub(crate) fn follow(&self, trail: Trail) -> Arc<[Arc<Transformation>]> {
        let trails = self.trails.borrow();
        let mut found = Vec::new();
        let mut at = trail;
        // A step leads to an earlier one, so this ends.
        while let Some((before, transformation)) =
            at.0.checked_sub(1).and_then(|index| trails.steps.get(index))
        {
            found.extend(trails.transformations.get(*transformation).cloned());
            at = *before;
        }
        found.reverse();
        found.into()
    }

    /// Removes the annotations that were not requested, regardless of their author.
    pub(crate) fn strip(&self, resource: &mut Resource) {
        let Some(annotations) =
            resource.value.at_mut(&["metadata", "annotations"]).and_then(Node::as_object_mut)
        else {
            return;
        };
        for (name, metadata) in [(ORIGIN, Metadata::Origins), (TRANSFORMATIONS, Metadata::Transformers)] {
            if !self.requests(metadata) {
                annotations.remove(name);
            }
        }
    }

    /// Objects whose origin the transformer lost come from it, as in kustomize; the rest went through it. Returns the bytes
    /// that were written.
    fn annotate_transformer(
        &self,
        resource: &mut Resource,
        origin: &str,
        item: &str,
    ) -> Result<usize, BuildError> {
        let Some(known) = annotation(resource, ORIGIN) else {
            self.annotate(resource, ORIGIN, origin.to_owned());
            return Ok(origin.len());
        };
        if !self.known.borrow().contains(known) {
            parse::<Stated>(known, ORIGIN)
                .map_err(|error| error.while_doing(resource.current_id().to_string()))?;
        }
        let text = match annotation(resource, TRANSFORMATIONS) {
            None => item.to_owned(),
            Some(known) if self.known.borrow().contains(known) => format!("{known}{item}"),
            Some(foreign) => {
                let items: Vec<Stated> = parse(foreign, TRANSFORMATIONS)
                    .map_err(|error| error.while_doing(resource.current_id().to_string()))?;
                items.iter().map(Stated::to_item).chain([item.to_owned()]).collect()
            }
        };
        let bytes = text.len();
        self.annotate(resource, TRANSFORMATIONS, text);
        Ok(bytes)
    }

    fn annotate(&self, resource: &mut Resource, name: &str, text: String) {
        let text = Text::from(text);
        let annotations = resource.annotations();
        // All of them are rewritten, as texts.
        for node in annotations.values_mut() {
            if let Node::Plain(plain) = node {
                *node = Node::quoted(plain.text.clone());
            }
        }
        annotations.insert(name, Node::text(text.clone()));
        let mut known = self.known.borrow_mut();
        if !known.contains(&text) {
            known.insert(text);
        }
    }

    fn stated(&self, author: &Author) -> Stated {
        let Author { file, kind, name, namespace } = author;
        Stated {
            configured_in: self.relative(file),
            configured_by: By {
                api_version: "builtin".to_owned(),
                kind: kind.clone(),
                name: name.clone(),
                namespace: namespace.clone(),
            },
            ..Stated::default()
        }
    }

    /// The way to a file from the directory that is built.
    fn relative(&self, file: &RelPath) -> String {
        let (from, to) = (self.root.components(), file.components());
        let shared = from.zip(to).take_while(|(one, other)| one == other).count();
        let up = self.root.components().skip(shared).map(|_| "..");
        up.chain(file.components().skip(shared)).collect::<Vec<_>>().join("/")
    }
}

/// The origin annotation that a merged object keeps.
pub(crate) fn origin(resource: &Resource) -> Option<Text> {
    annotation(resource, ORIGIN).map(Text::from)
}

/// Restores a saved annotation.
pub(crate) fn set_origin(resource: &mut Resource, origin: Text) {
    resource.annotations().insert(ORIGIN, Node::text(origin));
}

fn annotation<'r>(resource: &'r Resource, name: &str) -> Option<&'r str> {
    resource.value.at(&["metadata", "annotations", name]).and_then(Node::as_str)
}

/// The content of an annotation, in the order in which kustomize writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Stated {
    path: String,
    repo: String,
    #[serde(rename = "ref")]
    reference: String,
    configured_in: String,
    configured_by: By,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct By {
    api_version: String,
    kind: String,
    name: String,
    namespace: String,
}

impl Stated {
    fn to_text(&self, indent: &str) -> String {
        let Self { path, repo, reference, configured_in, configured_by } = self;
        let By { api_version, kind, name, namespace } = configured_by;
        let line = |key: &str, value: &str, indent: &str| match value {
            "" => String::new(),
            value => format!("{indent}{key}: {}", yaml::to_string(&Node::text(value))),
        };
        let text: String =
            [("path", path), ("repo", repo), ("ref", reference), ("configuredIn", configured_in)]
                .map(|(key, value)| line(key, value, indent))
                .concat();
        let inner = format!("{indent}  ");
        let by = [("apiVersion", api_version), ("kind", kind), ("name", name), ("namespace", namespace)]
            .map(|(key, value)| line(key, value, &inner))
            .concat();
        if by.is_empty() { text } else { format!("{text}{indent}configuredBy:\n{by}") }
    }

    /// The same as an item of a list.
    fn to_item(&self) -> String {
        let text = self.to_text("  ");
        match text.strip_prefix("  ") {
            Some(rest) => format!("- {rest}"),
            None => "- {}\n".to_owned(),
        }
    }
}

fn parse<T: serde::de::DeserializeOwned + Default>(text: &str, name: &str) -> Result<T, BuildError> {
    let reject = |reason: String| {
        BuildError::invalid(format!("annotation {name} is kustomize's own, and not in its form: {reason}"))
    };
    let value = yaml::parse_settings(text, &yaml::Limits::default());
    match value.map_err(|error| reject(error.to_string()))? {
        Value::Null => Ok(T::default()),
        value => serde_json::from_value(value).map_err(|error| reject(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::limits::Limits;

    fn notes(root: &str, requested: &[&str]) -> Provenance {
        let requested: Vec<String> = requested.iter().map(|&name| name.to_owned()).collect();
        Provenance::new(RelPath::parse(root).unwrap(), &requested)
    }

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    fn set_of_one() -> ResourceSet {
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
        let mut set = ResourceSet::default();
        set.append(Resource::new(value, "/a.yaml")).unwrap();
        set
    }

    fn transform(notes: &Provenance, set: &mut ResourceSet, author: &Author) -> Result<(), BuildError> {
        let tree = plumb_filetree::MemoryTree::builder(plumb_filetree::TreeLimits::DEFAULT).build();
        let limits = Limits::default();
        notes.note_transformer(&Reader::new(&tree, &limits), set, author)
    }

    #[test]
    fn paths_are_those_from_the_directory_that_is_built() {
        let notes = notes("over/prod", &[]);
        assert_eq!(notes.relative(&path("over/prod/a.yaml")), "a.yaml");
        assert_eq!(notes.relative(&path("over/base/a.yaml")), "../base/a.yaml");
        assert_eq!(notes.relative(&path("a.yaml")), "../../a.yaml");
    }

    #[test]
    fn origins_are_recorded_with_and_without_annotations() {
        let notes = notes("", &[]);
        let mut set = set_of_one();
        for kind in ["PatchTransformer", "PrefixTransformer"] {
            transform(&notes, &mut set, &Author::field(&path("kustomization.yaml"), kind)).unwrap();
        }
        let resource = set.into_vec().remove(0);
        let kinds: Vec<String> =
            notes.follow(resource.trail).iter().map(|transformation| transformation.kind.clone()).collect();
        assert_eq!(kinds, ["PatchTransformer", "PrefixTransformer"]);
        assert_eq!(annotation(&resource, TRANSFORMATIONS), None);
    }

    #[test]
    fn annotations_are_spelled_as_kustomize_spells_them() {
        let notes = notes("", &["transformerAnnotations"]);
        let mut set = set_of_one();
        set.iter_mut().for_each(|resource| notes.note_file(resource, &path("a.yaml")));
        let author = Author {
            file: path("t.yaml"),
            kind: "LabelTransformer".to_owned(),
            name: "123".to_owned(),
            namespace: String::new(),
        };
        transform(&notes, &mut set, &author).unwrap();
        let resource = set.into_vec().remove(0);
        assert_eq!(annotation(&resource, ORIGIN), Some("path: a.yaml\n"));
        let expect = "- configuredIn: t.yaml\n  configuredBy:\n    apiVersion: builtin\n    kind: \
                      LabelTransformer\n    name: \"123\"\n";
        assert_eq!(annotation(&resource, TRANSFORMATIONS), Some(expect));
    }

    #[test]
    fn an_annotation_of_another_form_is_rejected() {
        let notes = notes("", &["originAnnotations"]);
        let mut set = set_of_one();
        set.iter_mut().for_each(|resource| {
            resource.annotations().insert(ORIGIN, "text");
        });
        let author = Author::field(&path("kustomization.yaml"), "PrefixTransformer");
        assert!(transform(&notes, &mut set, &author).is_err());
    }
}
