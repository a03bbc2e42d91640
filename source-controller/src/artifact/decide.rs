//! Keep the artifact, or build one, and why: a pure function of what is the case.

use plumb_store::Integrity;
use serde_json::Value;

use super::inputs::Inputs;

/// The artifact that the status announces, as the storage has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The status announces none.
    Never,
    /// It is there, and whole.
    Intact {
        /// The revision that it was built from.
        revision: String,
    },
    /// It was advertised, but is missing or was damaged.
    Lost(Loss),
}

/// How an artifact was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The file is missing.
    Disappeared,
    /// The file did not match its digest, and was removed.
    Damaged,
    /// The file is there but cannot be read.
    Unreadable,
}

impl Loss {
    /// The text for a failed integrity check.
    pub fn of(integrity: Integrity) -> Option<Self> {
        match integrity {
            Integrity::Intact => None,
            Integrity::Missing => Some(Self::Disappeared),
            Integrity::Mismatch => Some(Self::Damaged),
            Integrity::Unreadable => Some(Self::Unreadable),
        }
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The artifact is that of the revision and of the spec.
    Keep,
    /// A new artifact is needed.
    Build(BuildReason),
}

/// Why an artifact is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildReason {
    /// There is none yet, or one of another revision.
    NewRevision(String),
    /// It was made with something else.
    InputChanged(&'static str),
    /// It is lost.
    Lost(Loss),
}

impl BuildReason {
    /// The text for the Reconciling condition.
    pub fn progress(&self) -> String {
        match self {
            Self::NewRevision(revision) => format!("building artifact: new upstream revision '{revision}'"),
            Self::InputChanged(origin) => format!("building artifact: {origin} changed"),
            Self::Lost(Loss::Disappeared) => "building artifact: disappeared from storage".to_owned(),
            Self::Lost(Loss::Damaged) => "building artifact: stored file did not match its digest".to_owned(),
            Self::Lost(Loss::Unreadable) => "building artifact: stored file cannot be read".to_owned(),
        }
    }
}

/// Decides from the stored artifact, the revision that was resolved, and what the artifact was made with.
pub fn decide(stored: &Stored, revision: &str, inputs: &Inputs, status: &Value) -> Decision {
    match stored {
        Stored::Never => Decision::Build(BuildReason::NewRevision(revision.to_owned())),
        Stored::Lost(loss) => Decision::Build(BuildReason::Lost(*loss)),
        Stored::Intact { revision: stored } if stored != revision => {
            Decision::Build(BuildReason::NewRevision(revision.to_owned()))
        }
        Stored::Intact { .. } => match inputs.changed(status) {
            Some(origin) => Decision::Build(BuildReason::InputChanged(origin)),
            None => Decision::Keep,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::artifact::inputs::Input;

    #[track_caller]
    fn check(stored: &Stored, ignore: Option<&str>, status: &Value, expect: Option<&str>) {
        let inputs = Inputs(vec![Input::new("observedIgnore", "spec.ignore", ignore)]);
        let actual = match decide(stored, "main@sha1:b", &inputs, status) {
            Decision::Keep => None,
            Decision::Build(reason) => Some(reason.progress()),
        };
        assert_eq!(actual.as_deref(), expect.map(|expect| format!("building artifact: {expect}")).as_deref());
    }

    #[test]
    fn an_artifact_is_reused_only_if_nothing_is_different() {
        let intact = |revision: &str| Stored::Intact { revision: revision.to_owned() };
        let (plain, observed) = (json!({}), json!({"observedIgnore": "/x"}));
        check(&intact("main@sha1:b"), None, &plain, None);
        check(&intact("main@sha1:b"), Some("/x"), &observed, None);
        let newer = Some("new upstream revision 'main@sha1:b'");
        check(&intact("main@sha1:a"), None, &plain, newer);
        check(&Stored::Never, None, &plain, newer);
        check(&intact("main@sha1:b"), Some("/x"), &plain, Some("spec.ignore changed"));
        check(&intact("main@sha1:b"), None, &observed, Some("spec.ignore changed"));
        check(&Stored::Lost(Loss::Disappeared), None, &plain, Some("disappeared from storage"));
        check(&Stored::Lost(Loss::Damaged), None, &plain, Some("stored file did not match its digest"));
        check(&Stored::Lost(Loss::Unreadable), None, &plain, Some("stored file cannot be read"));
    }

    #[test]
    fn every_integrity_but_intact_is_a_loss() {
        for (integrity, loss) in [
            (Integrity::Intact, None),
            (Integrity::Missing, Some(Loss::Disappeared)),
            (Integrity::Mismatch, Some(Loss::Damaged)),
            (Integrity::Unreadable, Some(Loss::Unreadable)),
        ] {
            assert_eq!(Loss::of(integrity), loss);
        }
    }
}
