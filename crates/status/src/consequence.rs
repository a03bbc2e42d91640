//! What an error leads to, and how it is reported. Single errors and their texts are in the modules that raise them.

use std::error::Error;

use crate::Reason;
use crate::message::bounded;

/// What happens next after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Consequence {
    /// Try again later: the cause may pass by itself.
    Retry,
    /// Stop until someone changes the object: trying again cannot help.
    Stall,
    /// Something this object depends on is not there yet: look again soon, without alarm.
    Wait,
}

/// How an error becomes a condition. Implemented by exhaustive match, without a wildcard.
pub trait Classify {
    /// The reason shown in conditions, events and metrics.
    fn reason(&self) -> Reason;
    /// What happens next.
    fn consequence(&self) -> Consequence;
    /// Advice, apart from the cause: appended to the message of the condition.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// A reason and the sentence that goes with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Detail {
    /// The machine-readable part.
    pub reason: Reason,
    /// The sentence for people.
    pub message: String,
}

impl Detail {
    /// A detail from its two parts.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: bounded(message.into()) }
    }

    /// The detail of an error: its chain of causes, then the advice in parentheses where there is one.
    pub fn of<E: Error + Classify>(error: &E) -> Self {
        let cause = chain(error);
        let message = match error.hint() {
            Some(hint) => format!("{cause} ({hint})"),
            None => cause,
        };
        Self::new(error.reason(), message)
    }
}

/// The error and its sources as one line, `a: b: c`. A part that the text before it already ends with is not repeated.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let part = source.to_string();
        if !part.is_empty() && !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = source.source();
    }
    text
}
