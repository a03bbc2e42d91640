//! Webhooks that arrive: under which path, and whether they are what they claim to be. One file and one line in the
//! table per type. HTTP servers and the look-up of Receivers never enter.

mod generic;
mod generic_hmac;
mod github;
mod signature;
mod target;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

pub use signature::SignatureError;
pub use target::{Objects, Target, TargetError};

/// How many bytes the body of a webhook may have.
pub const WEBHOOK_BYTES_MAX: usize = 3 << 20;

/// What every webhook path begins with.
pub const WEBHOOK_PATH_PREFIX: &str = "/hook/";

/// How a webhook of one type is verified.
pub type Verify = fn(&Webhook<'_>, &Expectation<'_>) -> Result<(), WebhookRejection>;

/// Every type of Receiver that is honoured.
pub const RECEIVERS: &[(&str, Verify)] =
    &[("generic", generic::verify), ("generic-hmac", generic_hmac::verify), ("github", github::verify)];

/// A request as it arrived.
#[derive(Clone, Copy)]
pub struct Webhook<'a> {
    /// The headers; names in lower case.
    pub headers: &'a [(String, String)],
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Webhook<'a> {
    /// The first value of a header, whose name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What a Receiver expects of it.
#[derive(Clone, Copy)]
pub struct Expectation<'a> {
    /// The token that both sides know.
    pub token: &'a [u8],
    /// The events that are let in; all of them where the list is empty.
    pub events: &'a [String],
}

/// Why a webhook is refused. The texts go to the log; to the caller only where it has proved who it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookRejection {
    /// No such type.
    #[error("receivers of type {0:?} are not supported by this version")]
    UnknownType(String),
    /// The token is empty, so that nothing proves anything.
    #[error("the token is empty")]
    NoToken,
    /// The header with the signature is missing.
    #[error("the header {header} with the signature is missing")]
    NoSignature {
        /// The header that should carry it.
        header: &'static str,
    },
    /// The signature is wrong.
    #[error("the header {header} is not valid")]
    Signature {
        /// The header that should carry it.
        header: &'static str,
        /// What is wrong with it.
        #[source]
        source: SignatureError,
    },
    /// The body is of a kind that the sender does not use.
    #[error("content type {0:?} is not supported")]
    ContentType(String),
    /// The header with the event is missing, and only some events are let in.
    #[error("the header {header} is missing: it must name one of the events of spec.events")]
    NoEvent {
        /// The header that should carry it.
        header: &'static str,
    },
    /// The event is not in the list.
    #[error("the event {0:?} is not authorised")]
    Event(String),
}

impl WebhookRejection {
    /// Whether the caller has proved that it knows the token: only then it may learn why it is refused.
    pub fn is_authenticated(&self) -> bool {
        match self {
            Self::UnknownType(_) | Self::NoToken | Self::NoSignature { .. } | Self::Signature { .. } => false,
            Self::ContentType(_) | Self::NoEvent { .. } | Self::Event(_) => true,
        }
    }
}

/// Does the work of a verification for a path that no Receiver has, so that the time does not reveal that there is none.
pub fn verify_unknown(webhook: &Webhook<'_>) {
    // The verdict is of no use: the key is known to everybody.
    let _ = std::hint::black_box(signature::verify_with_sha256(webhook.body, b"no receiver"));
}

/// Verifies a webhook for a Receiver of this type.
pub fn verify(
    type_: &str,
    webhook: &Webhook<'_>,
    expectation: &Expectation<'_>,
) -> Result<(), WebhookRejection> {
    let known = RECEIVERS.iter().find(|(name, _)| *name == type_);
    let (_, verify) = known.ok_or_else(|| WebhookRejection::UnknownType(type_.to_owned()))?;
    verify(webhook, expectation)
}

/// The path under which a Receiver listens. It is as secret as the token that it is made of.
pub fn webhook_path(token: &[u8], name: &str, namespace: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(token);
    digest.update(name.as_bytes());
    digest.update(namespace.as_bytes());
    format!("{WEBHOOK_PATH_PREFIX}{}", data_encoding::HEXLOWER.encode(&digest.finalize()))
}

/// A path as a key of a map: its SHA-256. What is kept this way is not the secret.
pub fn path_digest(path: &str) -> [u8; 32] {
    Sha256::digest(path.as_bytes()).into()
}

/// Whether two paths are the same, in a time that depends on their lengths alone.
pub fn is_same_path(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// Whether an event is let in: case does not matter.
fn is_listed(event: &str, events: &[String]) -> bool {
    events.is_empty() || events.iter().any(|listed| listed.eq_ignore_ascii_case(event))
}

#[cfg(test)]
pub(crate) mod rows {
    use super::*;

    /// The verdict on a webhook with the token `secret`: empty where it is let in.
    pub fn verdict(type_: &str, headers: &[(&str, &str)], body: &str, events: &[&str]) -> String {
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.to_lowercase(), (*value).to_owned())).collect();
        let events: Vec<_> = events.iter().map(|event| (*event).to_owned()).collect();
        let webhook = Webhook { headers: &headers, body: body.as_bytes() };
        match verify(type_, &webhook, &Expectation { token: b"secret", events: &events }) {
            Ok(()) => String::new(),
            Err(rejection) => plumb_status::chain(&rejection),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_the_digest_of_token_name_and_namespace() {
        // printf tokhookflux-system | sha256sum
        let expect = "/hook/4932243522c384b73145c05830bedf3ca1a764d2f440e6fb4c914952716929e8";
        assert_eq!(webhook_path(b"tok", "hook", "flux-system"), expect);
    }

    #[test]
    fn a_path_is_the_same_only_as_a_whole() {
        assert!(is_same_path("/hook/a", "/hook/a"));
        assert!(!is_same_path("/hook/a", "/hook/b"));
        assert!(!is_same_path("/hook/a", "/hook/"));
    }

    #[test]
    fn an_unknown_type_lets_nothing_in() {
        assert_eq!(
            rows::verdict("harbor", &[], "", &[]),
            "receivers of type \"harbor\" are not supported by this version"
        );
    }
}
