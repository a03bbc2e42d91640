//! The files of a commit.

use std::collections::BTreeMap;

use kube::{Resource as _, ResourceExt as _};
use plumb_api::{
    meta::Artifact,
    source::{GitRepository, GitRepositoryCondition},
};
use plumb_cluster::NamespacedName;
use plumb_git::{ArchivedCommit, Checkout, Found, Session};
use plumb_status::{Detail, Reason, chain};
use plumb_store::{Location, StoreError};
use serde_json::Map;

use super::{GitSource, Pull, error::GitSourceError, include, resolve::inputs, validate::Valid};
use crate::artifact::{Content, Fetched, Inputs, Payload, on_thread};

/// The longest part of a commit's subject that an event quotes.
const SUBJECT_CHARACTERS_MAX: usize = 50;

/// Fetches the commit that a session found.
pub async fn fetch(
    source: &GitSource,
    object: &GitRepository,
    valid: &Valid,
    pull: Pull,
) -> Result<Fetched<GitRepositoryCondition>, GitSourceError> {
    let Pull { session, included } = pull;
    let inputs = inputs(object, &included);
    let files = if valid.includes.is_empty() {
        archived(source, object, valid, session).await?
    } else {
        merged(source, object, valid, session, included).await?
    };
    let Files { found, summary, content } = files;
    Ok(Fetched {
        file_stem: file_stem(&found.commit_hex(), &inputs),
        content,
        metadata: BTreeMap::new(),
        announcement: Detail::new(Reason::NewArtifact, stored_message(&short(&summary))),
        status: Map::new(),
        conditions: Vec::new(),
    })
}

/// The files of a commit, and those that are included.
struct Files {
    found: Found,
    summary: String,
    content: Content,
}

/// Writes the files into an archive, from the object database. What did not change since the last artifact is taken over from it.
async fn archived(
    source: &GitSource,
    object: &GitRepository,
    valid: &Valid,
    session: Session,
) -> Result<Files, GitSourceError> {
    let (storage, name) = (source.storage.clone(), NamespacedName::of(object));
    let location = Location::new(&GitRepository::kind(&()), &name.namespace, &name.name);
    let location = location.map_err(|source| GitSourceError::Storage(StoreError::Location { source }))?;
    let last = object.artifact().map(|artifact| (artifact.path.clone(), artifact.digest.clone()));
    let opened = on_thread(move || {
        let previous = last.and_then(|(path, digest)| match storage.previous(&location, &path, &digest) {
            Ok(previous) => previous,
            Err(error) => {
                // It only saves work.
                tracing::warn!(error = %chain(&error), "failed to read the index of the last artifact");
                None
            }
        });
        Ok((previous, storage.store.spool(&location)?))
    });
    let (previous, spool) = opened.await?.map_err(GitSourceError::Storage)?;
    let algorithm = source.storage.store.algorithm();
    let archived = source.git.archive(session, &valid.selection, valid.timeout, algorithm, previous, spool);
    let ArchivedCommit { found, summary, output, archive } =
        archived.await.map_err(GitSourceError::of_git)?;
    let payload = Payload::Archive { spool: output, archive };
    Ok(Files { found, summary, content: Content { payload, memory: None } })
}

/// Reads the files into memory, and merges those of included artifacts into them.
async fn merged(
    source: &GitSource,
    object: &GitRepository,
    valid: &Valid,
    session: Session,
    artifacts: Vec<Artifact>,
) -> Result<Files, GitSourceError> {
    let checkout = source.git.checkout(session, &valid.selection, valid.timeout).await;
    let Checkout { found, summary, tree, memory } = checkout.map_err(GitSourceError::of_git)?;
    let namespace = object.namespace().unwrap_or_default();
    let (includes, rules) = (&valid.includes, (valid.selection.ignore.as_deref(), valid.timeout));
    let merged = include::included(source, &namespace, (tree, memory), includes, artifacts, rules).await;
    let (tree, memory) = merged.map_err(GitSourceError::Include)?;
    Ok(Files { found, summary, content: Content { payload: Payload::Tree(tree), memory: Some(memory) } })
}

/// The message of the event for an artifact of this commit or revision.
pub fn stored_message(commit: &str) -> String {
    format!("stored artifact for commit '{commit}'")
}

/// The file of a commit, as Flux names it. Other inputs make another file of the same commit.
fn file_stem(commit: &str, inputs: &Inputs) -> String {
    match inputs.fingerprint() {
        None => commit.to_owned(),
        Some(fingerprint) => format!("{commit}-{fingerprint}"),
    }
}

/// A subject in at most as many characters as an event quotes.
fn short(subject: &str) -> String {
    if subject.chars().count() <= SUBJECT_CHARACTERS_MAX {
        return subject.to_owned();
    }
    let kept: String = subject.chars().take(SUBJECT_CHARACTERS_MAX - 3).collect();
    format!("{kept}...")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_subject_is_cut() {
        assert_eq!(short("Short"), "Short");
        assert_eq!(short(&"ä".repeat(60)), format!("{}...", "ä".repeat(47)));
        assert_eq!(short(&"a".repeat(50)), "a".repeat(50));
    }
}
