//! Verdict: what is known about the health of one object, and how a list of verdicts is written in a message.

use std::fmt;

use jiff::Timestamp;
use plumb_manifests::ObjectId;

/// How far an object has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It is in the state that its spec requires.
    Current,
    /// It is on its way.
    InProgress,
    /// It will not get there without a change.
    Failed,
    /// It is being deleted.
    Terminating,
    /// It is not in the cluster.
    NotFound,
    /// It could not be read, or no rule applies to its status.
    Unknown,
}

impl Status {
    /// The word as kstatus writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "Current",
            Self::InProgress => "InProgress",
            Self::Failed => "Failed",
            Self::Terminating => "Terminating",
            Self::NotFound => "NotFound",
            Self::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known about the health of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How far it has come.
    pub status: Status,
    /// Why, in words.
    pub message: String,
    /// The time from which the object counts as failed if it does not change before.
    pub fails_at: Option<Timestamp>,
}

impl Verdict {
    /// A verdict that only a change of the object changes.
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), fails_at: None }
    }

    /// The object is in the state that its spec requires.
    pub fn current(message: impl Into<String>) -> Self {
        Self::new(Status::Current, message)
    }

    /// The object is on its way.
    pub fn in_progress(message: impl Into<String>) -> Self {
        Self::new(Status::InProgress, message)
    }

    /// The object will not get there without a change.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Status::Failed, message)
    }

    /// The object is not in the cluster.
    pub fn not_found() -> Self {
        Self::new(Status::NotFound, "the object is not in the cluster")
    }

    /// The object could not be read.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::new(Status::Unknown, message)
    }

    /// Whether nothing is to be waited for.
    pub fn is_current(&self) -> bool {
        self.status == Status::Current
    }

    /// Whether waiting is in vain.
    pub fn is_failed(&self) -> bool {
        self.status == Status::Failed
    }
}

/// Objects with their statuses as Flux writes them: `[Deployment/apps/web status: 'InProgress', …]`.
pub fn list<'a>(verdicts: impl IntoIterator<Item = (&'a ObjectId, &'a Verdict)>) -> String {
    let items: Vec<String> =
        verdicts.into_iter().map(|(id, verdict)| format!("{id} status: '{}'", verdict.status)).collect();
    format!("[{}]", items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ObjectId {
        ObjectId::parse_inventory(text).unwrap()
    }

    #[test]
    fn a_list_names_every_object_with_its_status() {
        let web = (id("apps_web_apps_Deployment"), Verdict::in_progress("Replicas: 0/3"));
        let crd = (id("_a.b_apiextensions.k8s.io_CustomResourceDefinition"), Verdict::not_found());
        assert_eq!(
            list([(&web.0, &web.1), (&crd.0, &crd.1)]),
            "[Deployment/apps/web status: 'InProgress', CustomResourceDefinition/a.b status: 'NotFound']"
        );
        assert_eq!(list([]), "[]");
    }
}
