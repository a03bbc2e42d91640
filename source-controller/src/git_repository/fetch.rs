//! The files of a commit.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use plumb_api::source::{GitRepository, GitRepositoryCondition};
use plumb_git::Checkout;
use plumb_status::{Detail, Reason};
use serde_json::Map;

use super::{GitSource, Pull, error::GitSourceError, include, resolve::inputs, validate::Valid};
use crate::artifact::{Content, Fetched, Inputs, Payload};

/// The longest part of a commit's subject that an event quotes.
const SUBJECT_CHARACTERS_MAX: usize = 50;

/// Fetches the commit that a session found.
pub async fn fetch(
    source: &GitSource,
    object: &GitRepository,
    valid: &Valid,
    pull: Pull,
) -> Result<Fetched<GitRepositoryCondition>, GitSourceError> {
    let Pull { session, included: artifacts } = pull;
    let stem_inputs = inputs(object, &artifacts);
    let checkout = source.git.checkout(session, &valid.selection, valid.timeout).await;
    let Checkout { found, summary, mut tree, mut memory } = checkout.map_err(GitSourceError::of_git)?;
    if !valid.includes.is_empty() {
        let namespace = object.namespace().unwrap_or_default();
        let (includes, rules) = (&valid.includes, (valid.selection.ignore.as_deref(), valid.timeout));
        let merged = include::included(source, &namespace, (tree, memory), includes, artifacts, rules).await;
        (tree, memory) = merged.map_err(GitSourceError::Include)?;
    }
    Ok(Fetched {
        file_stem: file_stem(&found.commit_hex(), &stem_inputs),
        content: Content { payload: Payload::Tree(tree), memory },
        metadata: BTreeMap::new(),
        announcement: Detail::new(Reason::NewArtifact, stored_message(&short(&summary))),
        status: Map::new(),
        conditions: Vec::new(),
    })
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
