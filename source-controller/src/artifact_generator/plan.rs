//! The spec, checked: every reference, path and pattern of it. What is wrong stalls the object. Pure.

use std::collections::{BTreeMap, BTreeSet};

use plumb_api::source::{
    ArtifactGenerator, CopyOperation, CopyStrategy, GeneratorMetadata, GeneratorSourceKind, OutputArtifact,
};
use plumb_cluster::NamespacedName;
use plumb_filetree::{MemoryTree, PathError, RelPath};

use super::{
    error::GeneratorError,
    glob::{Glob, is_pattern},
    path_pattern::{self, PathPattern},
};

/// Copy operations of one object: each may look at every file of a source.
const OPERATIONS_MAX: usize = 2_000;
/// Alternatives of all patterns of one object: each is in memory.
const ALTERNATIVES_MAX: u64 = 100_000;
/// What a destination begins with.
const ARTIFACT: &str = "@artifact/";

/// What is to be generated.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// The sources by alias.
    pub sources: BTreeMap<String, SourceName>,
    /// The directories that lead to artifacts; none where the spec names the artifacts.
    pub pattern: Option<PathPattern>,
    /// The artifacts in the order of the spec; with a pattern, none until the directories are known.
    pub outputs: Vec<Output>,
    /// Labels and annotations of the artifacts.
    pub metadata: GeneratorMetadata,
}

/// A source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceName {
    /// Its kind.
    pub kind: GeneratorSourceKind,
    /// Its name.
    pub name: NamespacedName,
}

impl std::fmt::Display for SourceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.kind.as_str(), self.name.namespace, self.name.name)
    }
}

/// An artifact.
#[derive(Debug, PartialEq, Eq)]
pub struct Output {
    /// Name of the ExternalArtifact.
    pub name: String,
    /// The source whose revision it gets.
    pub revision: Option<String>,
    /// The source whose origin revision it gets.
    pub origin_revision: Option<String>,
    /// The copy operations.
    pub copies: Vec<Copy>,
    /// Labels of its own: what the names of its directory stand for.
    pub labels: BTreeMap<String, String>,
}

/// A copy operation.
#[derive(Debug, PartialEq, Eq)]
pub struct Copy {
    /// As written.
    pub from: String,
    /// As written.
    pub to: String,
    /// The source.
    pub alias: String,
    /// Which of its files.
    pub selection: Selection,
    /// Where they go.
    pub destination: RelPath,
    /// Whether the destination is a directory in any case.
    pub into_directory: bool,
    /// What is left out.
    pub exclude: Vec<Glob>,
    /// What happens to files that exist.
    pub strategy: Strategy,
    /// Whether nothing need be there.
    pub optional: bool,
}

/// What happens to files that exist, or what is done with archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// They are written over.
    Overwrite,
    /// YAML is merged into them.
    Merge,
    /// Archives are unpacked.
    Extract,
}

/// Which files are copied.
#[derive(Debug, PartialEq, Eq)]
pub enum Selection {
    /// A file or a directory.
    Path(RelPath),
    /// All that match.
    Pattern(Pattern),
}

/// Files by a pattern.
#[derive(Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The pattern.
    pub glob: Glob,
    /// The components before the first that is a pattern. Exclusions are seen from there too.
    pub base: RelPath,
    /// `a/b` of the pattern `a/b/**`: taken away from the paths that match.
    stripped: Option<String>,
}

impl Pattern {
    fn new(text: &str, glob: Glob) -> Result<Self, PathError> {
        let literal = text.split('/').take_while(|part| !is_pattern(part));
        let base = RelPath::root().resolve(&literal.collect::<Vec<_>>().join("/"))?;
        Ok(Self { glob, base, stripped: text.strip_suffix("/**").map(str::to_owned) })
    }

    /// Where a file that matches goes, below the destination.
    pub fn destination(&self, path: &RelPath) -> Result<RelPath, PathError> {
        let stripped = self.stripped.as_ref().and_then(|prefix| path.as_str().strip_prefix(prefix.as_str()));
        stripped.and_then(|rest| rest.strip_prefix('/')).map_or_else(|| Ok(path.clone()), RelPath::parse)
    }
}

/// Checks a spec. References to sources in other namespaces are rejected unless `cross_namespace` allows them.
pub fn plan(object: &ArtifactGenerator, cross_namespace: bool) -> Result<Plan, GeneratorError> {
    let spec = &object.spec;
    let own = object.metadata.namespace.as_deref().unwrap_or_default();
    let mut sources = BTreeMap::new();
    for source in &spec.sources {
        let namespace = source.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or(own);
        let name = SourceName { kind: source.kind, name: NamespacedName::new(namespace, &source.name) };
        if !cross_namespace && namespace != own {
            return Err(GeneratorError::CrossNamespace { source_name: name });
        }
        if sources.insert(source.alias.clone(), name).is_some() {
            return Err(invalid(format!("duplicate source alias '{}' found", source.alias)));
        }
    }
    let metadata = spec.common_metadata.clone().unwrap_or_default();
    let pattern = spec.path_pattern.as_deref().filter(|text| !text.is_empty());
    let Some(pattern) = pattern else {
        let named = spec.artifacts.iter().map(|artifact| (artifact.clone(), BTreeMap::new()));
        let outputs = outputs(named.collect(), &sources)?;
        return Ok(Plan { sources, pattern: None, outputs, metadata });
    };
    let parsed = PathPattern::parse(pattern).map_err(invalid)?;
    let used = path_pattern::aliases(&spec.artifacts);
    if let Some(alias) = used.into_iter().chain([parsed.alias()]).find(|alias| !sources.contains_key(*alias))
    {
        return Err(invalid(format!("pathPattern {pattern:?}: source alias '{alias}' not found")));
    }
    Ok(Plan { sources, pattern: Some(parsed), outputs: Vec::new(), metadata })
}

impl Plan {
    /// Labels and annotations of an artifact: those of all artifacts, and of its own what they leave open.
    pub fn metadata_of(&self, output: &Output) -> GeneratorMetadata {
        let mut metadata = self.metadata.clone();
        for (name, value) in &output.labels {
            metadata.labels.entry(name.clone()).or_insert_with(|| value.clone());
        }
        metadata
    }

    /// The plan with the artifacts of all directories that match the pattern, as they are in this source.
    pub fn expanded(
        self,
        artifacts: &[OutputArtifact],
        tree: Option<&MemoryTree>,
    ) -> Result<Self, GeneratorError> {
        let Some(pattern) = &self.pattern else { return Ok(self) };
        // Without the tree there would be no artifacts, and all that are there would be deleted.
        let tree = tree.ok_or_else(|| invalid(format!("source alias '{}' not found", pattern.alias())))?;
        let expanded = pattern.expand(tree, artifacts).map_err(invalid)?;
        let outputs = outputs(expanded, &self.sources)?;
        Ok(Self { outputs, ..self })
    }
}

fn outputs(
    artifacts: Vec<(OutputArtifact, BTreeMap<String, String>)>,
    sources: &BTreeMap<String, SourceName>,
) -> Result<Vec<Output>, GeneratorError> {
    let count: usize = artifacts.iter().map(|(artifact, _)| artifact.copy.len()).sum();
    if count > OPERATIONS_MAX {
        return Err(invalid(format!(
            "spec.artifacts has {count} copy operations, the limit is {OPERATIONS_MAX}"
        )));
    }
    let mut names = BTreeSet::new();
    let mut outputs = Vec::new();
    let mut alternatives = 0;
    for (artifact, labels) in artifacts {
        if !names.insert(artifact.name.clone()) {
            return Err(invalid(format!("duplicate artifact name '{}' found", artifact.name)));
        }
        outputs.push(Output { labels, ..output(&artifact, sources, &mut alternatives)? });
    }
    Ok(outputs)
}

fn invalid(message: String) -> GeneratorError {
    GeneratorError::Invalid { message }
}

/// Checks one artifact. `alternatives` counts those of the patterns of all artifacts.
fn output(
    artifact: &OutputArtifact,
    sources: &BTreeMap<String, SourceName>,
    alternatives: &mut u64,
) -> Result<Output, GeneratorError> {
    let name = &artifact.name;
    let alias = |field: &str, reference: Option<&String>| {
        let Some(alias) = reference.map(|reference| reference.trim_start_matches('@')) else {
            return Ok(None);
        };
        if sources.contains_key(alias) {
            return Ok(Some(alias.to_owned()));
        }
        Err(invalid(format!("artifact {name} {field} source alias '{alias}' not found")))
    };
    let copies = artifact.copy.iter().map(|operation| {
        let copy = copy(operation, alternatives);
        let copy = copy.map_err(|problem| invalid(format!("artifact {name}: {problem}")))?;
        if sources.contains_key(&copy.alias) {
            return Ok(copy);
        }
        Err(invalid(format!("artifact {name} copy source alias '{}' not found", copy.alias)))
    });
    Ok(Output {
        name: name.clone(),
        revision: alias("revision", artifact.revision.as_ref())?,
        origin_revision: alias("originRevision", artifact.origin_revision.as_ref())?,
        copies: copies.collect::<Result<_, _>>()?,
        labels: BTreeMap::new(),
    })
}

fn copy(operation: &CopyOperation, alternatives: &mut u64) -> Result<Copy, String> {
    let (from, to) = (&operation.from, &operation.to);
    let (alias, path) = from
        .strip_prefix('@')
        .and_then(|rest| rest.split_once('/'))
        .ok_or_else(|| format!("invalid copy source '{from}': source format must be '@alias/pattern'"))?;
    let strategy = match operation.strategy {
        None | Some(CopyStrategy::Overwrite) => Strategy::Overwrite,
        Some(CopyStrategy::Merge) => Strategy::Merge,
        Some(CopyStrategy::Extract) => Strategy::Extract,
    };
    let bad_source = |problem: &dyn std::fmt::Display| format!("invalid copy source '{from}': {problem}");
    let selection = if is_pattern(path) {
        let glob = match strategy {
            Strategy::Extract => spanning(path, alternatives).map_err(|error| bad_source(&error))?,
            Strategy::Overwrite | Strategy::Merge => Glob::flat(path),
        };
        Selection::Pattern(Pattern::new(path, glob).map_err(|error| bad_source(&error))?)
    } else {
        Selection::Path(RelPath::root().resolve(path).map_err(|error| bad_source(&error))?)
    };
    let destination = to.strip_prefix(ARTIFACT).ok_or_else(|| {
        format!("invalid copy destination '{to}': destination must start with '{ARTIFACT}'")
    })?;
    if destination.split('/').any(|part| part == "..") {
        return Err(format!("invalid copy destination '{to}': destination path must not contain '..'"));
    }
    let exclude: Result<_, _> =
        operation.exclude.iter().map(|pattern| spanning(pattern, alternatives)).collect();
    Ok(Copy {
        from: from.clone(),
        to: to.clone(),
        alias: alias.to_owned(),
        selection,
        into_directory: to.ends_with('/'),
        destination: RelPath::root()
            .resolve(destination)
            .map_err(|error| format!("invalid copy destination '{to}': {error}"))?,
        exclude: exclude.map_err(|error| format!("invalid exclude of copy source '{from}': {error}"))?,
        strategy,
        optional: operation.optional,
    })
}

/// A pattern as doublestar reads it, counted.
fn spanning(pattern: &str, alternatives: &mut u64) -> Result<Glob, String> {
    let glob = Glob::spanning(pattern).map_err(|error| error.to_string())?;
    *alternatives += glob.cost();
    if *alternatives > ALTERNATIVES_MAX {
        return Err(format!("the patterns of all artifacts have more than {ALTERNATIVES_MAX} alternatives"));
    }
    Ok(glob)
}

#[cfg(test)]
mod tests;
