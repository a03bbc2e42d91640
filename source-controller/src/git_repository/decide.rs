//! Keep the artifact, or build one, and why: a pure function of what is the case.

use plumb_api::{meta::Artifact, source::GitRepositoryStatus};
use plumb_store::Integrity;

use super::facts::Stored;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The artifact is that of the revision and of the spec.
    Keep(Artifact),
    /// A new artifact is needed.
    Build(Why),
}

/// Why an artifact is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is none yet.
    First,
    /// The repository has another revision.
    NewRevision(String),
    /// The ignore rules of the spec are others.
    IgnoreChanged,
    /// The file is gone.
    Disappeared,
    /// The file was not what its digest said.
    Damaged,
    /// The file is there but cannot be read.
    Unreadable,
}

impl Why {
    /// How the Reconciling condition says it.
    pub fn progress(&self, revision: &str) -> String {
        match self {
            Self::First => format!("building artifact: new upstream revision '{revision}'"),
            Self::NewRevision(new) => format!("building artifact: new upstream revision '{new}'"),
            Self::IgnoreChanged => "building artifact: spec.ignore changed".to_owned(),
            Self::Disappeared => "building artifact: disappeared from storage".to_owned(),
            Self::Damaged => "building artifact: stored file did not match its digest".to_owned(),
            Self::Unreadable => "building artifact: stored file cannot be read".to_owned(),
        }
    }
}

/// Decides from the stored artifact, the revision that was found, and what the artifact was made with.
pub fn decide(
    stored: &Stored,
    revision: &str,
    spec_ignore: Option<&str>,
    status: Option<&GitRepositoryStatus>,
) -> Decision {
    let observed_ignore = status.and_then(|status| status.observed_ignore.as_deref());
    // An artifact that Flux made with what this version does not honour is not the artifact of this spec.
    let is_plain = status.is_none_or(|status| {
        status.observed_include.is_empty()
            && !status.observed_recurse_submodules
            && status.observed_sparse_checkout.is_empty()
    });
    match stored {
        Stored::Never => Decision::Build(Why::First),
        Stored::Lost(Integrity::Mismatch) => Decision::Build(Why::Damaged),
        Stored::Lost(Integrity::Unreadable) => Decision::Build(Why::Unreadable),
        Stored::Lost(Integrity::Missing | Integrity::Intact) => Decision::Build(Why::Disappeared),
        Stored::Intact(artifact) if artifact.revision != revision => {
            Decision::Build(Why::NewRevision(revision.to_owned()))
        }
        Stored::Intact(_) if observed_ignore != spec_ignore || !is_plain => {
            Decision::Build(Why::IgnoreChanged)
        }
        Stored::Intact(artifact) => Decision::Keep(artifact.clone()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn artifact(revision: &str) -> Artifact {
        Artifact {
            digest: "sha256:0".into(),
            last_update_time: jiff::Timestamp::UNIX_EPOCH,
            metadata: std::collections::BTreeMap::new(),
            path: "gitrepository/ns/n/x.tar.gz".into(),
            revision: revision.into(),
            size: Some(1),
            url: "http://host/gitrepository/ns/n/x.tar.gz".into(),
        }
    }

    #[track_caller]
    fn check(stored: &Stored, ignore: Option<&str>, status: &GitRepositoryStatus, expect: &Decision) {
        assert_eq!(decide(stored, "main@sha1:b", ignore, Some(status)), *expect);
    }

    #[test]
    fn an_artifact_is_kept_only_if_nothing_is_different() {
        let plain = GitRepositoryStatus::default();
        let intact = |revision| Stored::Intact(artifact(revision));
        check(&intact("main@sha1:b"), None, &plain, &Decision::Keep(artifact("main@sha1:b")));
        let newer = Why::NewRevision("main@sha1:b".into());
        check(&intact("main@sha1:a"), None, &plain, &Decision::Build(newer));
        check(&intact("main@sha1:b"), Some("/x"), &plain, &Decision::Build(Why::IgnoreChanged));
        let observed =
            GitRepositoryStatus { observed_ignore: Some("/x".into()), ..GitRepositoryStatus::default() };
        check(&intact("main@sha1:b"), Some("/x"), &observed, &Decision::Keep(artifact("main@sha1:b")));
        check(&intact("main@sha1:b"), None, &observed, &Decision::Build(Why::IgnoreChanged));
        let sparse = GitRepositoryStatus {
            observed_sparse_checkout: vec!["a".into()],
            ..GitRepositoryStatus::default()
        };
        check(&intact("main@sha1:b"), None, &sparse, &Decision::Build(Why::IgnoreChanged));
        check(&Stored::Never, None, &plain, &Decision::Build(Why::First));
        check(&Stored::Lost(Integrity::Missing), None, &plain, &Decision::Build(Why::Disappeared));
        check(&Stored::Lost(Integrity::Mismatch), None, &plain, &Decision::Build(Why::Damaged));
        check(&Stored::Lost(Integrity::Unreadable), None, &plain, &Decision::Build(Why::Unreadable));
    }
}
