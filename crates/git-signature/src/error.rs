//! Why an object or its signature is rejected. Errors name keys by their ids and fingerprints, never their content.

use jiff::Timestamp;

use crate::armor::SignatureFormat;

/// Why it cannot be said which bytes of an object are signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// Another program could read the object in another way.
    #[error("the {kind} is malformed: {problem}")]
    Malformed {
        /// `commit` or `tag`.
        kind: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// A signature header is repeated.
    #[error("the {kind} has more than one header '{header}'")]
    Repeated {
        /// `commit` or `tag`.
        kind: &'static str,
        /// The header.
        header: &'static str,
    },
    /// The signature is too long.
    #[error("the signature of the {kind} is larger than {max} bytes, which is the limit for a signature")]
    TooLarge {
        /// `commit` or `tag`.
        kind: &'static str,
        /// The limit, in bytes.
        max: usize,
    },
}

/// Why an object is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// There is no signature, or one of a kind that is not supported.
    #[error("unsupported signature type: {0}")]
    Unsupported(SignatureFormat),
    /// There is no key for signatures of this kind.
    #[error("PGP signature detected but no PGP public keys found in secret (keys with .asc suffix)")]
    NoPgpKeys,
    /// There is no key for signatures of this kind.
    #[error("SSH signature detected but no SSH public keys found in secret (keys with .sshpub suffix)")]
    NoSshKeys,
    /// The armor or what is in it cannot be read.
    #[error("unable to unarmor {format} signature: {problem}")]
    Unreadable {
        /// The kind of signature.
        format: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// No PGP key verifies it.
    #[error("unable to verify payload with any of the given key rings: {0}")]
    Pgp(Rejection),
    /// No SSH key verifies it.
    #[error("unable to verify payload with any of the given authorized keys: {0}")]
    Ssh(Rejection),
}

/// Why a signature is not accepted, by the key that came the nearest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Rejection {
    /// None of the keys is the one that it names.
    #[error("no matching key: it was made by key {signer}")]
    NoMatchingKey {
        /// Key id or fingerprint, as the signature names it.
        signer: String,
    },
    /// The bytes are not those that were signed, or it is forged.
    #[error("the signature of key {key} does not match the object")]
    Mismatch {
        /// The key.
        key: String,
    },
    /// Collisions of its hash function can be made.
    #[error("the hash function {hash} is not accepted")]
    WeakHash {
        /// The hash function.
        hash: String,
    },
    /// It is no signature of bytes as they are.
    #[error("it is a signature of another type than of binary data")]
    NotBinary,
    /// It was made for another purpose.
    #[error("namespace does not match: the signature is for namespace {namespace:?}, not for \"git\"")]
    Namespace {
        /// The namespace.
        namespace: String,
    },
    /// It has an extension that has to be understood and is not.
    #[error("it has a critical extension that is not supported")]
    CriticalExtension,
    /// It was not made yet.
    #[error("it is dated {at}, which is in the future")]
    Future {
        /// Its time.
        at: Timestamp,
    },
    /// It is not valid any more.
    #[error("it expired at {at}")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// The key is younger than what it signed.
    #[error("it is dated {at}, before key {key} was created")]
    BeforeKey {
        /// The time of the signature.
        at: Timestamp,
        /// The key.
        key: String,
    },
    /// The key belongs to no one: nothing shows what it may be used for.
    #[error("key {key} has no valid self-signature")]
    Unbound {
        /// The key.
        key: String,
    },
    /// The key is for something else.
    #[error("key {key} is not a signing key")]
    NotForSigning {
        /// The key.
        key: String,
    },
    /// The key is not valid any more.
    #[error("key {key} expired at {at}")]
    KeyExpired {
        /// The key.
        key: String,
        /// When.
        at: Timestamp,
    },
    /// There are more keys, or more revocation certificates, than are tried.
    #[error("there are more than {max} PGP keys or revocation certificates, which is the limit")]
    TooManyKeys {
        /// The limit.
        max: usize,
    },
    /// A revocation certificate belongs to none of the keys: which one is not to be trusted is not known.
    #[error("a revocation certificate of key {key} belongs to none of the keys")]
    StrayRevocation {
        /// The key that it names.
        key: String,
    },
    /// The key was revoked by its owner.
    #[error("key {key} is revoked")]
    KeyRevoked {
        /// The key.
        key: String,
    },
}
