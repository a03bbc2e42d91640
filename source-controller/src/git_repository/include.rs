//! `spec.include`: files of the artifacts of other GitRepositories, copied into the tree of this one.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kube::{Api, Resource as _};
use plumb_api::{
    meta::Artifact,
    source::{GitRepository, GitRepositoryInclude},
};
use plumb_archive::{UnpackError, UnpackLimits, unpack};
use plumb_cluster::call;
use plumb_filetree::{FileTree as _, MemoryTree, PathError, RelPath, TreeError, TreeLimits};
use plumb_memory::{MemoryReservation, OverBudget};
use plumb_store::{Location, StoreError};

use super::GitSource;
use crate::artifact::{IgnoreError, Interrupted, ReadError, on_thread, without_ignored};

/// Bytes of an included artifact.
const ARCHIVE_BYTES_MAX: u64 = 512 << 20;

/// One include, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Include {
    /// The GitRepository, in the same namespace.
    pub repository: String,
    /// What is copied.
    pub from: RelPath,
    /// Where to.
    pub to: RelPath,
}

/// An include is not possible.
#[derive(Debug, thiserror::Error)]
pub enum IncludeError {
    /// A path of the spec.
    #[error("spec.include[{at}].{field} cannot be used")]
    Path {
        /// Which include.
        at: usize,
        /// Which of its fields.
        field: &'static str,
        /// Why.
        #[source]
        source: PathError,
    },
    /// The GitRepository does not exist, or cannot be read.
    #[error("could not get resource for include '{repository}': {problem}")]
    Missing {
        /// Its name.
        repository: String,
        /// Why.
        problem: String,
    },
    /// It has no artifact yet.
    #[error("no artifact available for include '{repository}'")]
    NoArtifact {
        /// Its name.
        repository: String,
    },
    /// Its artifact cannot be read from the storage.
    #[error("failed to read the artifact of include '{repository}'")]
    Storage {
        /// Its name.
        repository: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// Its artifact is no archive that can be unpacked.
    #[error("failed to unpack the artifact of include '{repository}'")]
    Unpack {
        /// Its name.
        repository: String,
        /// Why.
        #[source]
        source: UnpackError,
    },
    /// It cannot be copied.
    #[error("failed to copy '{repository}' include from '/{from}' to '/{to}': {problem}")]
    Copy {
        /// The GitRepository.
        repository: String,
        /// What is copied.
        from: RelPath,
        /// Where to.
        to: RelPath,
        /// Why.
        problem: String,
    },
    /// The files are too many or too large, or the ignore rules cannot be used.
    #[error("the included files cannot be used")]
    Ignore(#[from] IgnoreError),
    /// The memory budget does not allow it.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// The controller is shutting down.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Checks the includes of a spec. Pure.
pub fn parse(includes: &[GitRepositoryInclude]) -> Result<Vec<Include>, IncludeError> {
    let one = |(at, include): (usize, &GitRepositoryInclude)| {
        let GitRepositoryInclude { from_path, repository, to_path } = include;
        let path = |field, text: &str| {
            RelPath::root().resolve(text).map_err(|source| IncludeError::Path { at, field, source })
        };
        let to = to_path.as_deref().filter(|text| !text.is_empty()).unwrap_or(&repository.name);
        Ok(Include {
            repository: repository.name.clone(),
            from: path("fromPath", from_path.as_deref().unwrap_or_default())?,
            to: path("toPath", to)?,
        })
    };
    includes.iter().enumerate().map(one).collect()
}

/// The artifacts that the included GitRepositories have now.
pub async fn artifacts(
    source: &GitSource,
    namespace: &str,
    includes: &[Include],
) -> Result<Vec<Artifact>, IncludeError> {
    let api: Api<GitRepository> = Api::namespaced(source.client.clone(), namespace);
    let mut artifacts = Vec::new();
    for Include { repository, .. } in includes {
        let missing = |problem: String| IncludeError::Missing { repository: repository.clone(), problem };
        let found = call(api.get_opt(repository)).await.map_err(|error| missing(error.to_string()))?;
        let found = found.ok_or_else(|| {
            missing(format!("gitrepositories.source.toolkit.fluxcd.io \"{repository}\" not found"))
        })?;
        let artifact = found.artifact().cloned();
        artifacts.push(artifact.ok_or_else(|| IncludeError::NoArtifact { repository: repository.clone() })?);
    }
    Ok(artifacts)
}

/// A tree with the files of the included artifacts, which are charged as the tree is. The rules of what is left out hold for them,
/// too.
pub async fn included(
    source: &GitSource,
    namespace: &str,
    (tree, memory): (MemoryTree, MemoryReservation),
    includes: &[Include],
    artifacts: Vec<Artifact>,
    (spec_ignore, timeout): (Option<&str>, Duration),
) -> Result<(MemoryTree, MemoryReservation), IncludeError> {
    let (mut tree, mut memory) = (tree, memory);
    let end = Instant::now() + timeout;
    for (include, artifact) in includes.iter().zip(artifacts) {
        let before = memory.bytes();
        let archive = read(source, namespace, include, &artifact, &mut memory).await?;
        let (include, charged) = (include.clone(), memory.bytes() - before);
        let work = move || {
            let tree = unpacked(&tree, &archive, &include, &mut memory)?;
            drop(archive);
            memory.shrink(charged);
            Ok::<_, IncludeError>((tree, memory))
        };
        (tree, memory) = on_thread(work).await??;
    }
    let ignore = spec_ignore.map(str::to_owned);
    let work = move || {
        let is_over = || Instant::now() >= end;
        Ok((without_ignored(&tree, ignore.as_deref(), TreeLimits::DEFAULT, &is_over)?, memory))
    };
    on_thread(work).await?
}

/// The archive of an included artifact, charged.
async fn read(
    source: &GitSource,
    namespace: &str,
    include: &Include,
    artifact: &Artifact,
    memory: &mut MemoryReservation,
) -> Result<Vec<u8>, IncludeError> {
    let Include { repository, .. } = include;
    let failed = |source| IncludeError::Storage { repository: repository.clone(), source };
    let location = Location::new(&GitRepository::kind(&()), namespace, repository);
    let location = location.map_err(|source| failed(StoreError::Location { source }))?;
    match source.storage.read_at(location, artifact, ARCHIVE_BYTES_MAX, memory).await {
        Ok(Some(archive)) => Ok(archive),
        Ok(None) => Err(IncludeError::NoArtifact { repository: repository.clone() }),
        Err(ReadError::Storage(error)) => Err(failed(error)),
        Err(ReadError::OverBudget(over)) => Err(IncludeError::OverBudget(over)),
    }
}

/// A tree with the files of an included archive.
fn unpacked(
    tree: &MemoryTree,
    archive: &[u8],
    include: &Include,
    memory: &mut MemoryReservation,
) -> Result<MemoryTree, IncludeError> {
    let unpacked = unpack(archive, &UnpackLimits::DEFAULT, memory)
        .map_err(|source| IncludeError::Unpack { repository: include.repository.clone(), source })?;
    copied(tree, &unpacked, include)
}

/// A tree with what an include copies from another one. Pure.
fn copied(tree: &MemoryTree, other: &MemoryTree, include: &Include) -> Result<MemoryTree, IncludeError> {
    let Include { repository, from, to } = include;
    let problem = |problem: String| IncludeError::Copy {
        repository: repository.clone(),
        from: from.clone(),
        to: to.clone(),
        problem,
    };
    if other.kind(from).is_none() {
        return Err(problem("there is no such file or directory in its artifact".to_owned()));
    }
    if to.is_root() || tree.kind(to).is_some() {
        return Err(problem(format!("'/{to}' is in the repository already")));
    }
    let over = |error: TreeError| problem(error.to_string());
    let mut merged = MemoryTree::builder(TreeLimits::DEFAULT);
    for (path, file) in tree.iter() {
        match file {
            Some(file) => merged.file(path, file.content.clone(), file.executable),
            None => merged.dir(path),
        }
        .map_err(over)?;
    }
    for (path, file) in other.iter() {
        let Some(below) = below(path, from) else { continue };
        let target = to.join(&below).map_err(|error| problem(error.to_string()))?;
        match file {
            Some(file) => merged.file(&target, Bytes::clone(&file.content), file.executable),
            None => merged.dir(&target),
        }
        .map_err(over)?;
    }
    Ok(merged.build())
}

/// The rest of a path below a folder, or of that itself.
fn below(path: &RelPath, folder: &RelPath) -> Option<RelPath> {
    let rest: Option<PathBuf> =
        PathBuf::from(path.as_str()).strip_prefix(folder.as_str()).ok().map(std::path::Path::to_path_buf);
    RelPath::root().resolve(rest?.to_str()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn tree(files: &[&str]) -> MemoryTree {
        let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
        for path in files {
            let content = Bytes::copy_from_slice(path.as_bytes());
            builder.file(&RelPath::parse(path).unwrap(), content, false).unwrap();
        }
        builder.build()
    }

    fn include(fields: Value) -> Result<Include, IncludeError> {
        parse(&[serde_json::from_value(fields).unwrap()]).map(|mut all| all.remove(0))
    }

    fn merged(fields: Value) -> Result<Vec<String>, String> {
        let other = tree(&["a.yaml", "deploy/b.yaml", "deploy/deep/c.yaml", "deployment.yaml"]);
        let made = copied(&tree(&["app.yaml", "own/x"]), &other, &include(fields).unwrap());
        made.map(|tree| tree.files().map(|(path, _)| path.to_string()).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn files_are_copied_from_a_path_to_a_path() {
        let of = |paths: &[&str]| Ok(paths.iter().map(|path| (*path).to_owned()).collect());
        let repository = json!({ "name": "base" });
        assert_eq!(
            merged(json!({ "repository": repository })),
            of(&[
                "app.yaml",
                "base/a.yaml",
                "base/deploy/b.yaml",
                "base/deploy/deep/c.yaml",
                "base/deployment.yaml",
                "own/x"
            ])
        );
        assert_eq!(
            merged(json!({ "repository": repository, "fromPath": "./deploy/", "toPath": "own/deploy" })),
            of(&["app.yaml", "own/deploy/b.yaml", "own/deploy/deep/c.yaml", "own/x"])
        );
        assert_eq!(
            merged(json!({ "repository": repository, "fromPath": "a.yaml", "toPath": "b.yaml" })),
            of(&["app.yaml", "b.yaml", "own/x"])
        );
    }

    #[test]
    fn nothing_is_copied_over_or_out_of_the_tree() {
        let repository = json!({ "name": "base" });
        for (from, to, expect) in [
            ("missing", "x", "there is no such file or directory in its artifact"),
            ("", "own", "'/own' is in the repository already"),
            ("", "own/x", "'/own/x' is in the repository already"),
            ("", "app.yaml/x", "both a file and a directory"),
            ("", ".", "is in the repository already"),
        ] {
            let error =
                merged(json!({ "repository": repository, "fromPath": from, "toPath": to })).unwrap_err();
            assert!(error.contains(expect), "{from} {to}: {error}");
        }
        for (field, value) in [("fromPath", "../x"), ("toPath", "a/../../x")] {
            let mut fields = json!({ "repository": repository });
            fields[field] = value.into();
            let error = include(fields).unwrap_err().to_string();
            assert_eq!(error, format!("spec.include[0].{field} cannot be used"));
        }
    }
}
