//! `spec.verify`: the signatures of the commit and of its tag, by the keys of a Secret. Verified in every attempt, so that a key that is
//! taken out of the Secret, or revoked there, counts without a new commit; what was verified before with the same keys is known.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use kube::ResourceExt as _;
use plumb_api::source::{GitRepository, GitRepositoryCondition, GitVerificationMode};
use plumb_filetree::digest::sha256_hex;
use plumb_git::{RawObject, RawObjects};
use plumb_git_signature::{ObjectFormat, SignedObject, Signer, Times, TrustedKeys, VerifyError, verify};
use plumb_secrets::{SecretContent, SecretError};
use plumb_status::{
    Classify, ConditionStatus, ConditionType as _, ConditionUpdate, Consequence, Detail, EventDraft, Reason,
};
use serde_json::{Map, Value, json};

use super::{GitSource, Pull, error::GitSourceError, validate::Valid};
use crate::artifact::{Verified, on_thread};

/// Objects whose verification is known, at most. With more, all are verified again.
const KNOWN_MAX: usize = 10_000;
/// The field of the status with the mode that succeeded.
const MODE_FIELD: &str = "sourceVerificationMode";

/// What is verified, and by which keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Which objects; never the old spelling of `HEAD`.
    pub mode: GitVerificationMode,
    /// The Secret with the public keys.
    pub secret: String,
}

impl Verification {
    /// Whether the commit is verified.
    const fn of_commit(&self) -> bool {
        !matches!(self.mode, GitVerificationMode::Tag)
    }

    /// Whether the tag is verified.
    pub const fn of_tag(&self) -> bool {
        matches!(self.mode, GitVerificationMode::Tag | GitVerificationMode::TagAndHead)
    }
}

/// Verifications that succeeded in this process, by the UIDs of objects; cheap to clone.
#[derive(Clone, Default)]
pub struct KnownVerifications(Arc<Mutex<BTreeMap<String, Known>>>);

#[derive(Clone)]
struct Known {
    subject: Subject,
    message: String,
}

/// What a verification depends on. Only its success is kept.
#[derive(Clone, PartialEq, Eq)]
struct Subject {
    commit: String,
    tag: Option<String>,
    mode: GitVerificationMode,
    /// A digest of all keys.
    keys: String,
}

impl KnownVerifications {
    fn message(&self, uid: &str, subject: &Subject) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(uid).filter(|known| known.subject == *subject).map(|known| known.message.clone())
    }

    fn keep(&self, uid: String, subject: Subject, message: String) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX && !known.contains_key(&uid) {
            known.clear();
        }
        known.insert(uid, Known { subject, message });
    }
}

/// Why a commit or tag is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum VerificationError {
    /// The keys cannot be read.
    #[error("public keys secret error")]
    Secret(#[source] SecretError),
    /// No tag is checked out.
    #[error("cannot verify tag object's signature if a tag reference is not specified")]
    NoTag,
    /// The tag has no signature.
    #[error("cannot verify signature of tag '{tag}' since it is not signed")]
    UnsignedTag {
        /// Name and id.
        tag: String,
    },
    /// The signature of an object is missing or not accepted.
    #[error("signature verification of {kind} '{object}' failed: {problem}")]
    Rejected {
        /// What it is.
        kind: SignedKind,
        /// The id of the commit, or name and id of the tag.
        object: String,
        /// Why.
        problem: String,
        /// What helps.
        remedy: String,
    },
}

/// A kind of object that is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedKind {
    /// A commit.
    Commit,
    /// A tag.
    Tag,
}

impl std::fmt::Display for SignedKind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Commit => "commit",
            Self::Tag => "tag",
        })
    }
}

impl Classify for VerificationError {
    fn reason(&self) -> Reason {
        match self {
            Self::Secret(_) => Reason::VerificationError,
            Self::NoTag => Reason::InvalidVerificationMode,
            Self::UnsignedTag { .. } => Reason::InvalidGitObject,
            Self::Rejected { kind: SignedKind::Commit, .. } => Reason::InvalidCommitSignature,
            Self::Rejected { kind: SignedKind::Tag, .. } => Reason::InvalidTagSignature,
        }
    }

    fn consequence(&self) -> Consequence {
        match self {
            // The spec alone decides which reference is checked out.
            Self::NoTag => Consequence::Stall,
            // Keys and tags may be replaced at any time.
            Self::Secret(_) | Self::UnsignedTag { .. } | Self::Rejected { .. } => Consequence::Retry,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Secret(SecretError::NotFound { .. }) => {
                "create the Secret or correct spec.verify.secretRef".to_owned()
            }
            Self::Secret(_) => return None,
            Self::NoTag => {
                "set spec.ref.tag, spec.ref.semver or a spec.ref.name under refs/tags, or set spec.verify.mode to HEAD".to_owned()
            }
            Self::UnsignedTag { .. } => {
                "create the tag with git tag --sign, or set spec.verify.mode to HEAD".to_owned()
            }
            Self::Rejected { remedy, .. } => remedy.clone(),
        })
    }
}

/// Verifies what was found, as far as the spec asks for it.
pub async fn verify_signatures(
    source: &GitSource,
    repository: &GitRepository,
    valid: &Valid,
    pull: Pull,
) -> Result<Verified<Pull, GitRepositoryCondition>, GitSourceError> {
    let Some(wanted) = &valid.verification else {
        return Ok(Verified {
            conditions: vec![(GitRepositoryCondition::SourceVerified, ConditionUpdate::Clear)],
            status: Map::from_iter([(MODE_FIELD.to_owned(), Value::Null)]),
            ..Verified::unchanged(pull)
        });
    };
    let namespace = repository.namespace().unwrap_or_default();
    let content = plumb_secrets::read(&source.client, &namespace, &wanted.secret).await;
    let content = content.map_err(|error| GitSourceError::Verification(VerificationError::Secret(error)))?;
    let subject = Subject {
        commit: pull.session.found().commit_hex(),
        tag: pull.session.found().tag_hex(),
        mode: wanted.mode,
        keys: digest(&content),
    };
    let uid = repository.uid().unwrap_or_default();
    if let Some(message) = source.verifications.message(&uid, &subject) {
        return Ok(accepted(pull, wanted.mode, message, Vec::new()));
    }
    let objects = source.git.signed_objects(&pull.session, &valid.selection, valid.timeout).await;
    let objects = objects.map_err(GitSourceError::of_git)?;
    let times = times(repository, wanted, &pull.session.found().revision(), (source.clock)());
    let (wanted, tag) = (wanted.clone(), pull.session.found().tag_name());
    let mode = wanted.mode;
    // Many keys, or long ones, take a while.
    let judged = on_thread(move || judge(&wanted, tag.as_deref(), &objects, &content, times)).await?;
    let message = judged.map_err(GitSourceError::Verification)?;
    source.verifications.keep(uid, subject, message.clone());
    // After a restart, what was verified before is no news.
    let is_news = verified_message(repository) != Some(&message);
    let event = is_news.then(|| EventDraft::trace(Reason::Succeeded, message.clone()));
    Ok(accepted(pull, mode, message, event.into_iter().collect()))
}

fn accepted(
    pull: Pull,
    mode: GitVerificationMode,
    message: String,
    events: Vec<EventDraft>,
) -> Verified<Pull, GitRepositoryCondition> {
    let detail = Detail::new(Reason::Succeeded, message);
    let update = ConditionUpdate::Set(ConditionStatus::True, detail);
    Verified {
        remote: pull,
        conditions: vec![(GitRepositoryCondition::SourceVerified, update)],
        status: Map::from_iter([(MODE_FIELD.to_owned(), json!(mode.as_str()))]),
        events,
    }
}

/// The text of SourceVerified, if it is True.
fn verified_message(repository: &GitRepository) -> Option<&String> {
    let conditions = &repository.status.as_ref()?.conditions;
    let verified = |name: &str| name == GitRepositoryCondition::SourceVerified.as_str();
    let found = conditions.iter().find(|condition| verified(&condition.type_))?;
    (found.status == ConditionStatus::True).then_some(&found.message)
}

/// When signature and keys have to be valid: now; for a revision that was accepted in this mode already, when it was. Nothing that is
/// published becomes unacceptable because time passes.
fn times(repository: &GitRepository, wanted: &Verification, revision: &str, now: Timestamp) -> Times {
    let accepted_at = || {
        let status = repository.status.as_ref()?;
        verified_message(repository)?;
        let mode = status.source_verification_mode.as_deref()?;
        let artifact = status.artifact.as_ref()?;
        let is_same = mode == wanted.mode.as_str() && artifact.revision == revision;
        is_same.then(|| artifact.last_update_time.min(now))
    };
    Times { now, valid_at: accepted_at().unwrap_or(now) }
}

/// A digest of the keys: other keys, other verification.
fn digest(content: &SecretContent) -> String {
    let mut text = Vec::new();
    for (name, value) in content.entries() {
        for part in [name.as_bytes(), value.expose()] {
            text.extend_from_slice(&(part.len() as u64).to_be_bytes());
            text.extend_from_slice(part);
        }
    }
    sha256_hex(&text)
}

/// The text for what was verified.
fn judge(
    wanted: &Verification,
    tag: Option<&str>,
    objects: &RawObjects,
    content: &SecretContent,
    times: Times,
) -> Result<String, VerificationError> {
    let keys = TrustedKeys::parse(content.entries().map(|(name, value)| (name, value.expose())));
    let judge = Judge { keys, secret: content.shown(), times };
    let format = if objects.is_sha256 { ObjectFormat::Sha256 } else { ObjectFormat::Sha1 };
    let mut message = "verified signature of".to_owned();
    if wanted.of_tag() {
        let (tag, signer) = judge.tag(tag.unwrap_or_default(), objects.tag.as_ref())?;
        // Writing to a text does not fail.
        let _ = write!(message, "\n\t- tag '{tag}' with key '{signer}'");
    }
    if wanted.of_commit() {
        let commit = &objects.commit;
        let signer =
            judge.object(SignedKind::Commit, &commit.id, SignedObject::commit(&commit.bytes, format))?;
        let _ = write!(message, "\n\t- commit '{}' with key '{signer}'", commit.id);
    }
    Ok(message)
}

struct Judge {
    keys: TrustedKeys,
    secret: String,
    times: Times,
}

impl Judge {
    /// The tag as it is shown, and who signed it.
    fn tag(&self, name: &str, tag: Option<&RawObject>) -> Result<(String, Signer), VerificationError> {
        let Some(tag) = tag else { return Err(VerificationError::UnsignedTag { tag: name.to_owned() }) };
        let shown = format!("{name}@{}", tag.id);
        let object = SignedObject::tag(&tag.bytes);
        if object.as_ref().is_ok_and(|object| object.signature().is_empty()) {
            return Err(VerificationError::UnsignedTag { tag: shown });
        }
        let signed_name = object.as_ref().ok().and_then(|object| object.tag_name().map(<[u8]>::to_vec));
        let signer = self.object(SignedKind::Tag, &shown, object)?;
        // The signature of an old release must not count under the name of a new one.
        if signed_name.as_deref() != Some(name.as_bytes()) {
            return Err(VerificationError::Rejected {
                kind: SignedKind::Tag,
                object: shown,
                problem: match signed_name {
                    Some(other) => format!("it was signed as tag '{}'", other.escape_ascii()),
                    None => "it was signed without exactly one name".to_owned(),
                },
                remedy: "sign a tag of this name with git tag --sign".to_owned(),
            });
        }
        Ok((shown, signer))
    }

    fn object(
        &self,
        kind: SignedKind,
        shown: &str,
        object: Result<SignedObject, plumb_git_signature::ObjectError>,
    ) -> Result<Signer, VerificationError> {
        let rejected =
            |problem, remedy| VerificationError::Rejected { kind, object: shown.to_owned(), problem, remedy };
        let object = object.map_err(|error| rejected(error.to_string(), "sign it again".to_owned()))?;
        verify(&object, &self.keys, self.times)
            .map_err(|error| rejected(problem(kind, &error), self.remedy(&error)))
    }

    /// What helps. A key that cannot be read is the nearest cause.
    fn remedy(&self, error: &VerifyError) -> String {
        let mut remedy = match error {
            VerifyError::Unsupported(_) | VerifyError::Unreadable { .. } => {
                "sign it with a PGP or SSH key, for example with git commit --gpg-sign or git tag --sign"
                    .to_owned()
            }
            VerifyError::NoPgpKeys | VerifyError::NoSshKeys | VerifyError::Pgp(_) | VerifyError::Ssh(_) => {
                format!(
                    "sign it with a key that is trusted and valid, or correct the keys in secret '{}'",
                    self.secret
                )
            }
        };
        if let Some(unusable) = self.keys.unusable().first() {
            let _ = write!(
                remedy,
                "; key '{}' of secret '{}' cannot be used: {}",
                unusable.name, self.secret, unusable.problem
            );
        }
        remedy
    }
}

/// The text of an error, as Flux heads it.
fn problem(kind: SignedKind, error: &VerifyError) -> String {
    match error {
        VerifyError::Pgp(_) => format!("unable to verify Git {kind}: {error}"),
        VerifyError::Ssh(_) => format!("unable to verify Git {kind} SSH signature: {error}"),
        VerifyError::Unreadable { .. }
        | VerifyError::Unsupported(_)
        | VerifyError::NoPgpKeys
        | VerifyError::NoSshKeys => error.to_string(),
    }
}
