//! How an attempt ends, and what it has made true by then. Turning both into a status is the reducer's work.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use crate::cadence::DEPENDENCY_WAIT;
use crate::{Classify, ConditionStatus, ConditionType, Consequence, Detail, EventDraft, Transition};

/// How an attempt ends: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptOutcome<C> {
    /// Every step passed. Ready=True iff all standing conditions are healthy.
    Succeeded {
        /// What Ready says.
        detail: Detail,
        /// Whether the world is different now: a new artifact, a changed object.
        changed: bool,
    },
    /// Something this object depends on is not there: Ready=False, look again soon.
    Waiting {
        /// What Ready says.
        on: Detail,
        /// How soon.
        retry: Duration,
    },
    /// A step failed and may pass next time: Ready=False, Reconciling=ProgressingWithRetry, an error event.
    Failed {
        /// The condition that the step belongs to.
        condition: Option<C>,
        /// What Ready and that condition say.
        detail: Detail,
        /// When to try again.
        retry: RetryPolicy,
    },
    /// Only a change of the object can help: Ready=False, Stalled=True, no further attempt.
    Stalled {
        /// The condition that the step belongs to.
        condition: Option<C>,
        /// What Ready, Stalled and that condition say.
        detail: Detail,
    },
    /// Something newer made this attempt pointless: start over at once, no alarm.
    Superseded {
        /// What made it so.
        by: String,
    },
    /// The object is suspended: the request to reconcile is echoed, nothing else is done.
    Suspended,
    /// The object only holds settings for others: its status is empty, it has no finalizer, and nothing is repeated.
    Static,
    /// Teardown is done and the finalizer released: there is nothing left to write to.
    Gone,
}

/// When a failed attempt is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryPolicy {
    /// Later and later, per object.
    Backoff,
    /// After a fixed time.
    After(Duration),
}

impl<C> AttemptOutcome<C> {
    /// The ending that an error leads to, by its own consequence: a failure is retried with the backoff, a wait ends
    /// after [`DEPENDENCY_WAIT`].
    pub fn of<E: Error + Classify>(error: &E, condition: Option<C>) -> Self {
        let detail = Detail::of(error);
        match error.consequence() {
            Consequence::Retry => Self::Failed { condition, detail, retry: RetryPolicy::Backoff },
            Consequence::Stall => Self::Stalled { condition, detail },
            Consequence::Wait => Self::Waiting { on: detail, retry: DEPENDENCY_WAIT },
        }
    }

    /// The same, but a failure is retried after this time. Other endings stay as they are.
    #[must_use]
    pub fn retried_after(mut self, interval: Duration) -> Self {
        if let Self::Failed { retry, .. } = &mut self {
            *retry = RetryPolicy::After(interval);
        }
        self
    }

    /// The same, but a wait ends after this time. Other endings stay as they are.
    #[must_use]
    pub fn waiting_for(mut self, wait: Duration) -> Self {
        if let Self::Waiting { retry, .. } = &mut self {
            *retry = wait;
        }
        self
    }

    /// One word for logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Succeeded { .. } => "succeeded",
            Self::Waiting { .. } => "waiting",
            Self::Failed { .. } => "failed",
            Self::Stalled { .. } => "stalled",
            Self::Superseded { .. } => "superseded",
            Self::Suspended => "suspended",
            Self::Static => "static",
            Self::Gone => "gone",
        }
    }

    /// The detail it carries, where it carries one.
    pub fn detail(&self) -> Option<&Detail> {
        match self {
            Self::Succeeded { detail, .. } | Self::Failed { detail, .. } | Self::Stalled { detail, .. } => {
                Some(detail)
            }
            Self::Waiting { on, .. } => Some(on),
            Self::Superseded { .. } | Self::Suspended | Self::Static | Self::Gone => None,
        }
    }
}

/// What a ledger says about one condition of the vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConditionUpdate {
    /// The attempt learned nothing about it: it stays as before. (A success still clears what contradicts it.)
    Unchanged,
    /// It does not apply any more.
    Clear,
    /// It is set, with this detail. A negative condition that is not True is cleared.
    Set(ConditionStatus, Detail),
}

/// What an attempt has made true so far. It is lent to the attempt, so it survives an error, a cancel and a panic.
pub trait Ledger {
    /// The condition types of the kind.
    type Condition: ConditionType;

    /// What is known of this condition now.
    fn condition(&self, condition: Self::Condition) -> ConditionUpdate {
        let _ = condition;
        ConditionUpdate::Unchanged
    }

    /// What the attempt was doing last, for the Reconciling condition.
    fn progress(&self) -> Option<String> {
        None
    }

    /// What goes with every event, keys without their group: `revision`, `digest`, …
    fn metadata(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// What happened in the world and is emitted whatever the ending: objects changed, garbage collected, …
    fn events(&self) -> Vec<EventDraft> {
        Vec::new()
    }

    /// The events of a success. The default emits the detail of Ready when it is news.
    fn success(&self, turn: Transition, detail: &Detail) -> Vec<EventDraft> {
        match turn {
            Transition::New | Transition::Changed | Transition::Recovered => {
                vec![EventDraft::info(detail.reason, detail.message.clone())]
            }
            Transition::Unchanged => Vec::new(),
        }
    }

    /// The events of a wait, when it is news. The default emits the detail of Ready, without alarm.
    fn waiting(&self, detail: &Detail) -> Vec<EventDraft> {
        vec![EventDraft::info(detail.reason, detail.message.clone())]
    }
}
