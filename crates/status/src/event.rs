//! Something that people should hear of: the content of an event, before it is addressed and sent.

use std::collections::BTreeMap;

use crate::Reason;
use crate::message::bounded;

/// How loud an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Only for those who look closely: never leaves the cluster.
    Trace,
    /// Good or neutral news.
    Info,
    /// Something is wrong.
    Error,
}

/// Who hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Audience {
    /// A Kubernetes event and an event on the wire to the notification-controller.
    Everyone,
    /// Only the wire.
    Wire,
    /// Only a Kubernetes event.
    Cluster,
}

/// What a success is, compared with what stood before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transition {
    /// The first success of the object.
    New,
    /// The world is different now, and was well before.
    Changed,
    /// It failed before. Whether the world also changed, `changed` of the ending says.
    Recovered,
    /// Nothing is different.
    Unchanged,
}

/// The content of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventDraft {
    /// How loud.
    pub severity: Severity,
    /// Why, for machines.
    pub reason: Reason,
    /// What, for people.
    pub message: String,
    /// Key and value pairs; keys without their group.
    pub metadata: BTreeMap<String, String>,
    /// Who hears of it.
    pub audience: Audience,
}

impl EventDraft {
    /// Good or neutral news for everyone.
    pub fn info(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Severity::Info, reason, message)
    }

    /// Something is wrong, for everyone.
    pub fn error(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, reason, message)
    }

    /// News for those who look closely.
    pub fn trace(reason: Reason, message: impl Into<String>) -> Self {
        Self { audience: Audience::Cluster, ..Self::new(Severity::Trace, reason, message) }
    }

    /// The same with one more key and value.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// The same for another audience.
    #[must_use]
    pub fn only_for(self, audience: Audience) -> Self {
        Self { audience, ..self }
    }

    fn new(severity: Severity, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            severity,
            reason,
            message: bounded(message.into()),
            metadata: BTreeMap::new(),
            audience: Audience::Everyone,
        }
    }
}
