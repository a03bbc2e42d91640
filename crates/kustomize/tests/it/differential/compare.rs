//! Both programs on one case, and whether they agree.

use std::panic::{AssertUnwindSafe, catch_unwind};

use plumb_filetree::RelPath;
use plumb_kustomize::{ErrorKind, Options, Reach, build};

use crate::differential::case::Case;
use crate::differential::oracle::Verdict;
use crate::differential::{NOT_SUPPORTED, exceptions};

/// The result of this engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Own {
    Built(String),
    Refused(String),
    /// A field that this engine does not do, and is known not to.
    NotSupported(&'static str),
    Panicked(String),
}

/// How the two differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    Bytes,
    /// Ours rejects what kustomize builds; the message without names and numbers.
    RefusedByUs(String),
    /// Ours builds what kustomize rejects; its message without names and numbers.
    BuiltByUs(String),
    Panic(String),
}

/// The outcome of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    BothBuilt,
    BothRefused,
    NotSupported(&'static str),
    /// They differ as a row of `EXCEPTIONS.md` describes.
    Excepted(&'static str),
    /// kustomize itself failed.
    NoVerdict,
    Differs(Difference),
}

/// Builds the case here.
pub fn ours(case: &Case) -> Own {
    let Some(tree) = case.tree() else { return Own::Refused("no such tree".to_owned()) };
    let Ok(target) = RelPath::root().resolve(&case.target) else {
        return Own::Refused("no such target".to_owned());
    };
    let options = Options { reach: Reach::OwnDirectory, ..Options::default() };
    let result =
        catch_unwind(AssertUnwindSafe(|| build(&tree, &target, &options).map(|build| build.to_yaml())));
    match result {
        Ok(Ok(text)) => Own::Built(text),
        Ok(Err(error)) => {
            let message = error.to_string();
            let known = NOT_SUPPORTED.iter().find(|name| message.contains(**name));
            match known {
                Some(name) if error.kind() == ErrorKind::Unsupported => Own::NotSupported(name),
                _ => Own::Refused(message),
            }
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            Own::Panicked(
                text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                    .unwrap_or_default(),
            )
        }
    }
}

/// Holds one against the other.
pub fn compare(case: &Case, own: &Own, verdict: &Verdict) -> Outcome {
    let difference = match (own, verdict) {
        (Own::Panicked(text), _) => return Outcome::Differs(Difference::Panic(text.clone())),
        (_, Verdict::Failed(_)) => return Outcome::NoVerdict,
        (Own::NotSupported(field), _) => return Outcome::NotSupported(field),
        (Own::Built(own), Verdict::Built(theirs)) if own == theirs => return Outcome::BothBuilt,
        (Own::Refused(_), Verdict::Refused(_)) => return Outcome::BothRefused,
        (Own::Built(_), Verdict::Built(_)) => Difference::Bytes,
        (Own::Refused(message), Verdict::Built(_)) => Difference::RefusedByUs(shape(message)),
        (Own::Built(_), Verdict::Refused(message)) => Difference::BuiltByUs(shape(message)),
    };
    exceptions::find(case, own, verdict).map_or(Outcome::Differs(difference), Outcome::Excepted)
}

/// A message without what changes from case to case.
pub fn shape(message: &str) -> String {
    // Every layer puts its own words in front.
    let message = message.rsplit("': ").next().unwrap_or_default();
    let mut shape = String::new();
    for word in message.split(|letter: char| !letter.is_alphabetic()).filter(|word| word.len() > 3) {
        if !word.contains(char::is_uppercase) && shape.len() < 200 {
            shape.push_str(word);
            shape.push(' ');
        }
    }
    shape
}
