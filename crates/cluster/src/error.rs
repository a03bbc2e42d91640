//! Request errors: why a request failed, in a text without secrets.
//!
//! Messages of the server about a Secret are never repeated: a validation message quotes the value that it rejects.

use std::fmt;

use http::StatusCode;
use plumb_manifests::ObjectId;
use serde_json::Value;

use crate::repeatable::sorted;

/// The longest message of a server that is repeated.
pub const MESSAGE_BYTES_MAX: usize = 4096;

/// Placeholder for a server's message about a Secret.
const WITHHELD: &str = "the server's message is withheld, because it may quote secret values";

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The cluster serves no such kind.
    #[error("no matches for kind {kind:?} in version {api_version:?}")]
    NoMatch {
        /// The kind.
        kind: String,
        /// Group and version.
        api_version: String,
    },
    /// A group's server is down, so whether it serves a kind is not known.
    #[error("cannot tell whether {api_version} is served: its discovery is stale")]
    StaleDiscovery {
        /// Group and version.
        api_version: String,
    },
    /// A namespaced object without namespace.
    #[error("namespace not specified")]
    NamespaceNotSpecified,
    /// An id with a namespace of a kind that turned out to be cluster-scoped.
    #[error("the kind is cluster-scoped, but the id has a namespace; retried under its id without one")]
    ClusterScoped,
    /// The server rejected it.
    #[error("{0}")]
    Rejected(Box<ApiRejection>),
    /// No response.
    #[error("cannot reach the API server: {cause}")]
    Unreachable {
        /// The chain of causes.
        cause: String,
    },
    /// More than is read.
    #[error("the API server's answer exceeds {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// A response that is not an object.
    #[error("the API server's answer is not an object: {cause}")]
    Garbled {
        /// What is wrong with it.
        cause: String,
    },
    /// A definition that did not become established in time.
    #[error("the definition is not established: {cause}")]
    NotEstablished {
        /// The details.
        cause: String,
    },
    /// The object changed during every attempt.
    #[error("the object kept changing, given up after {attempts} attempts")]
    Contended {
        /// How often it was tried.
        attempts: usize,
    },
    /// One request took longer than a request may, while the work as a whole still has time.
    #[error("the API server did not answer within {} s: look at the admission webhooks of the kind", limit.as_secs())]
    NoAnswer {
        /// The limit of one request.
        limit: std::time::Duration,
    },
    /// The time is up.
    #[error("the deadline has passed")]
    TimedOut,
    /// Stopped by a newer revision or by the end of the process.
    #[error("cancelled")]
    Cancelled,
}

impl RequestError {
    /// The server's rejection, if it is one.
    pub fn rejection(&self) -> Option<&ApiRejection> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            _ => None,
        }
    }

    /// Whether the object, or its kind, is not there.
    pub fn is_absence(&self) -> bool {
        match self {
            Self::NoMatch { .. } => true,
            Self::Rejected(rejection) => matches!(rejection.absent, Some(Absent::Object | Absent::Namespace)),
            _ => false,
        }
    }

    /// Whether a retry of the same request can help without a change from outside.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::StaleDiscovery { .. }
            | Self::NoAnswer { .. }
            | Self::TimedOut
            | Self::ClusterScoped
            | Self::Contended { .. } => true,
            Self::Rejected(rejection) => {
                rejection.code == 429 || rejection.code >= 500 || rejection.code == 409
            }
            _ => false,
        }
    }

    /// Whether the API server was unreachable: the error is not about the object.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Rejected(rejection) => matches!(rejection.code, 502..=504),
            _ => false,
        }
    }

    /// Whether the request ended before its outcome was known.
    pub fn is_cut_short(&self) -> bool {
        matches!(self, Self::Cancelled | Self::TimedOut)
    }
}

/// What is absent according to a 404.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// The object.
    Object,
    /// Its namespace.
    Namespace,
    /// Its kind: the path is not served.
    Kind,
}

/// A no of the server.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about one answer")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiRejection {
    /// HTTP status.
    pub code: u16,
    /// The server's reason, such as `Invalid`.
    pub reason: String,
    /// The server's message; withheld for a Secret.
    pub message: String,
    /// What is absent, for a 404.
    pub absent: Option<Absent>,
    /// Whether a field that cannot be changed was to be changed.
    pub immutable: bool,
    /// Whether an item of a list is duplicate, according to the server.
    pub duplicate: bool,
    /// The namespace of the object is terminating, so nothing can be created in it.
    pub terminating: bool,
    /// The identity may not do this: no policy, quota or webhook was evaluated.
    pub unauthorized: bool,
    /// How long to wait before a retry, if the server sets it.
    pub retry_after: Option<std::time::Duration>,
}

impl ApiRejection {
    /// Parses an error response. `confidential`: the request was about a Secret.
    pub fn read(code: StatusCode, body: &[u8], confidential: bool) -> Self {
        let status: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let text_of = |key: &str| status.get(key).and_then(Value::as_str).unwrap_or_default();
        let is_status = text_of("kind") == "Status";
        let (message, reason) = if is_status {
            (text_of("message").to_owned(), text_of("reason").to_owned())
        } else {
            (
                String::from_utf8_lossy(&body[..body.len().min(MESSAGE_BYTES_MAX)]).trim().to_owned(),
                String::new(),
            )
        };
        let reason = if reason.is_empty() {
            code.canonical_reason().unwrap_or("Unknown").replace(' ', "")
        } else {
            reason
        };
        let absent = (code == StatusCode::NOT_FOUND).then(|| what_is_absent(&status, is_status));
        let immutable = matches!(code.as_u16(), 409 | 422) && says_immutable(&status, &message);
        let duplicate = says_duplicate(&status, &message);
        let terminating = code == StatusCode::FORBIDDEN && has_cause(&status, "NamespaceTerminating");
        let unauthorized = code == StatusCode::FORBIDDEN && says_unauthorized(&message);
        let message = if confidential && absent.is_none() {
            WITHHELD.to_owned()
        } else {
            cut(sorted(message, &status))
        };
        let retry_after = status.pointer("/details/retryAfterSeconds").and_then(Value::as_u64);
        let retry_after = retry_after.map(std::time::Duration::from_secs);
        Self {
            code: code.as_u16(),
            reason,
            message,
            absent,
            immutable,
            duplicate,
            terminating,
            unauthorized,
            retry_after,
        }
    }

    /// A remedy, in addition to the cause.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self { absent: Some(Absent::Namespace), .. } => Some(
                "create the namespace in this Kustomization, or depend (dependsOn) on the one that creates it",
            ),
            Self { immutable: true, .. } => {
                Some("the field cannot be changed in place: delete the object, or give it another name")
            }
            Self { terminating: true, .. } => Some(
                "the namespace is terminating: the object is applied again once the namespace is deleted",
            ),
            Self { unauthorized: true, .. } => Some("grant the controller's identity this access"),
            _ => None,
        }
    }
}

impl fmt::Display for ApiRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Whether a 403 is of the authorizer. Quotas, policies and webhooks respond with the same code and reason.
fn says_unauthorized(message: &str) -> bool {
    let names_user = message.contains("User \"") && message.contains(" cannot ");
    names_user || message.contains("is attempting to grant RBAC permissions not currently held")
}

fn has_cause(status: &Value, reason: &str) -> bool {
    let causes = status.pointer("/details/causes").and_then(Value::as_array);
    causes.into_iter().flatten().any(|cause| cause["reason"] == reason)
}

fn says_duplicate(status: &Value, message: &str) -> bool {
    has_cause(status, "FieldValueDuplicate")
        || message.contains("Duplicate value")
        || message.contains("must be unique")
}

fn what_is_absent(status: &Value, is_status: bool) -> Absent {
    let detail =
        |key: &str| status.pointer(&format!("/details/{key}")).and_then(Value::as_str).unwrap_or_default();
    if !is_status || detail("name").is_empty() {
        Absent::Kind
    } else if detail("kind") == "namespaces" && detail("group").is_empty() {
        Absent::Namespace
    } else {
        Absent::Object
    }
}

fn says_immutable(status: &Value, message: &str) -> bool {
    let causes = status.pointer("/details/causes").and_then(Value::as_array);
    let mut texts =
        causes.into_iter().flatten().filter_map(|cause| cause.get("message")).filter_map(Value::as_str);
    let says = |text: &str| {
        text.contains("immutable") || text.contains("updates to statefulset spec for fields other than")
    };
    texts.any(says) || says(message)
}

fn cut(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        let mut end = MESSAGE_BYTES_MAX;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push('…');
    }
    message
}

/// What was attempted with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// To apply it.
    Apply,
    /// To read it before a deletion.
    Query,
    /// To delete it.
    Delete,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apply => "apply",
            Self::Query => "query",
            Self::Delete => "delete",
        })
    }
}

/// One object with which something could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which object.
    pub id: ObjectId,
    /// What was attempted.
    pub attempt: Attempt,
    /// Why it failed.
    pub error: RequestError,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, attempt, error } = self;
        match error {
            RequestError::NamespaceNotSpecified => write!(f, "{id} {error}"),
            RequestError::Rejected(rejection) => {
                write!(f, "{id} {attempt} failed ({}): {error}", rejection.reason)?;
                rejection.hint().map_or(Ok(()), |hint| write!(f, " ({hint})"))
            }
            _ => write!(f, "{id} {attempt} failed: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn read(code: u16, body: &Value, confidential: bool) -> ApiRejection {
        ApiRejection::read(StatusCode::from_u16(code).unwrap(), body.to_string().as_bytes(), confidential)
    }

    fn status(reason: &str, message: &str, details: &Value) -> Value {
        json!({"kind": "Status", "reason": reason, "message": message, "details": details})
    }

    fn failure(rejection: ApiRejection) -> String {
        let id = ObjectId::parse_inventory("apps_web_apps_Deployment").unwrap();
        Failure { id, attempt: Attempt::Apply, error: RequestError::Rejected(Box::new(rejection)) }
            .to_string()
    }

    #[test]
    fn a_rejection_names_object_reason_and_cause() {
        let rejection = read(422, &status("Invalid", "spec.replicas: must be positive", &json!({})), false);
        assert_eq!(
            failure(rejection),
            "Deployment/apps/web apply failed (Invalid): spec.replicas: must be positive"
        );
    }

    #[test]
    fn server_messages_about_a_secret_are_withheld() {
        let cause = json!({"causes": [{"message": "Invalid value: \"hunter2\""}]});
        let rejection = read(422, &status("Invalid", "data: Invalid value: \"hunter2\"", &cause), true);
        assert!(!format!("{rejection:?} {rejection}").contains("hunter2"));
        assert_eq!(rejection.reason, "Invalid");
    }

    #[test]
    fn a_404_names_what_is_absent() {
        let object =
            status("NotFound", "configmaps \"a\" not found", &json!({"name": "a", "kind": "configmaps"}));
        let namespace =
            status("NotFound", "namespaces \"n\" not found", &json!({"name": "n", "kind": "namespaces"}));
        let kind = status("NotFound", "the server could not find the requested resource", &json!({}));
        assert_eq!(read(404, &object, false).absent, Some(Absent::Object));
        assert_eq!(read(404, &namespace, false).absent, Some(Absent::Namespace));
        assert_eq!(read(404, &kind, false).absent, Some(Absent::Kind));
        assert_eq!(
            ApiRejection::read(StatusCode::NOT_FOUND, b"404 page not found\n", false).absent,
            Some(Absent::Kind)
        );
        assert!(failure(read(404, &namespace, false)).contains("dependsOn"));
    }

    #[test]
    fn an_immutable_field_is_recognised_by_its_cause() {
        let cause = json!({"causes": [{"field": "spec.selector", "message": "Invalid value: {}: field is immutable"}]});
        assert!(read(422, &status("Invalid", "x is invalid", &cause), false).immutable);
        assert!(!read(422, &status("Invalid", "x is invalid", &json!({})), false).immutable);
    }

    #[test]
    fn a_terminating_namespace_is_not_reported_as_missing_access() {
        let cause = json!({"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]});
        let rejection = failure(read(403, &status("Forbidden", "is being terminated", &cause), false));
        assert!(
            rejection.contains("the namespace is terminating") && !rejection.contains("grant"),
            "{rejection}"
        );
    }

    #[test]
    fn only_a_rejection_by_the_authorizer_suggests_to_grant_access() {
        let hint = |message: &str, confidential| {
            read(403, &status("Forbidden", message, &json!({})), confidential).hint()
        };
        let grant = Some("grant the controller's identity this access");
        let user = "secrets is forbidden: User \"system:serviceaccount:a:b\" cannot create resource \"secrets\" in API \
                    group \"\" in the namespace \"prod\"";
        assert_eq!(hint(user, false), grant);
        assert_eq!(hint(user, true), grant, "the message is withheld, the hint is not");
        let role = "roles \"r\" is forbidden: user \"u\" (groups=[\"g\"]) is attempting to grant RBAC permissions not \
                    currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}";
        assert_eq!(hint(role, false), grant);
        for other in [
            "pods \"web\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=3, limited: pods=3",
            "admission webhook \"policy.example.com\" denied the request: no",
            "pods \"web\" is forbidden: violates PodSecurity \"restricted:latest\": privileged",
        ] {
            assert_eq!(hint(other, false), None, "{other}");
        }
    }

    #[test]
    fn an_endless_message_is_cut() {
        let rejection =
            read(500, &status("InternalError", &"ä".repeat(MESSAGE_BYTES_MAX), &json!({})), false);
        assert!(rejection.message.len() <= MESSAGE_BYTES_MAX + '…'.len_utf8());
    }
}
