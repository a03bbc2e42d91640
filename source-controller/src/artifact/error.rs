//! What can end an attempt early: a step of the kind, or the storage.

use std::error::Error;

use plumb_status::{Classify, Consequence, Reason};
use plumb_store::StoreError;

use super::{ledger::ArtifactCondition, source::BreaksCondition};

/// What can end an attempt early. `E` is the error of the kind.
#[derive(Debug, thiserror::Error)]
pub enum SourceError<E: Error + 'static> {
    /// A step of the kind failed.
    #[error(transparent)]
    Step(E),
    /// The storage failed.
    #[error(transparent)]
    Storage(StoreError),
}

impl<E: Error + BreaksCondition<Condition: ArtifactCondition>> SourceError<E> {
    /// The condition that it breaks.
    pub fn condition(&self) -> Option<E::Condition> {
        match self {
            Self::Step(error) => error.condition(),
            Self::Storage(_) => Some(E::Condition::STORAGE_OPERATION_FAILED),
        }
    }
}

impl<E: Error + Classify> Classify for SourceError<E> {
    fn reason(&self) -> Reason {
        match self {
            Self::Step(error) => error.reason(),
            Self::Storage(error) => error.reason(),
        }
    }

    fn consequence(&self) -> Consequence {
        match self {
            Self::Step(error) => error.consequence(),
            Self::Storage(error) => error.consequence(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Step(error) => error.hint(),
            Self::Storage(error) => error.hint(),
        }
    }
}
