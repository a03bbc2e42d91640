//! Why a signature does not count. No text of a signature is quoted unbounded.

/// Characters of a foreign text that an error quotes.
const QUOTED_CHARS_MAX: usize = 200;

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The signature is missing, or is not base64.
    #[error("the signature is not base64")]
    Encoding,
    /// A payload or a bundle that cannot be read.
    #[error("the {what} cannot be read: {problem}")]
    Malformed {
        /// What it should be.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// It was not made with one of the keys.
    #[error("it was not made with one of the public keys")]
    Key,
    /// It is for another artifact.
    #[error("it is for the digest {}, not for the artifact", quoted(.claimed))]
    Claim {
        /// The digest that it names.
        claimed: String,
    },
    /// It is a statement about the artifact, not a signature of it.
    #[error("it is an attestation of the type {}, not a signature", quoted(.predicate))]
    Attestation {
        /// The type of its predicate.
        predicate: String,
    },
    /// It was signed in another way than the spec wants.
    #[error("it was signed with {found}, and {wanted} is wanted")]
    Material {
        /// How it was signed.
        found: &'static str,
        /// What is wanted.
        wanted: &'static str,
    },
    /// Its certificate, its log entry or the signature itself.
    #[error("it cannot be trusted: {problem}")]
    Untrusted {
        /// Why.
        problem: String,
    },
    /// No entry of the transparency log comes with it.
    #[error("it has no entry of the transparency log with it: the log is not asked, sign the artifact again")]
    NotLogged,
    /// It was made by somebody else.
    #[error("it was made by the subject {} of the issuer {}, which is none of the identities", quoted(.subject), quoted(.issuer))]
    Identity {
        /// The issuer of the identity.
        issuer: String,
        /// The subject.
        subject: String,
    },
    /// Nobody is named who may sign.
    #[error("a bundle counts only for an identity: set matchOIDCIdentity")]
    NoIdentities,
}

impl Rejection {
    pub(crate) fn untrusted(problem: impl Into<String>) -> Self {
        Self::Untrusted { problem: problem.into() }
    }

    pub(crate) fn malformed(what: &'static str, problem: &dyn ToString) -> Self {
        Self::Malformed { what, problem: shortened(&problem.to_string()) }
    }
}

/// A text of others, as errors show it.
pub(crate) fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}

pub(crate) fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
