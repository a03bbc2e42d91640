//! Why a signature does not count. No text of a signature is quoted unbounded.

/// Characters of a foreign text that an error quotes.
const QUOTED_CHARS_MAX: usize = 100;

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
}

impl Rejection {
    pub(crate) fn malformed(what: &'static str, problem: &dyn ToString) -> Self {
        Self::Malformed { what, problem: shortened(&problem.to_string()) }
    }
}

/// A text of others, as errors show it.
pub(crate) fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}

fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
