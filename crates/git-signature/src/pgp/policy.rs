//! Whether a key may have made a signature: who vouches for the key, what it is for, when it is valid. What a key ring says of itself
//! counts only where the primary key signed it.

use jiff::Timestamp;
use pgp::{
    composed::{SignedPublicKey, SignedPublicSubKey},
    crypto::hash::HashAlgorithm,
    packet::{Signature, SignatureType},
    types::{Duration, KeyDetails, KeyVersion, SignedUser, Tag},
};

use super::shown;
use crate::{error::Rejection, verify::Times};

/// Accepts a signature that the cryptography of a key verified, or says what speaks against the key at a time.
pub(super) fn accept(
    ring: &SignedPublicKey,
    subkey: Option<&SignedPublicSubKey>,
    signature: &Signature,
    times: Times,
) -> Result<(), Rejection> {
    let primary = &ring.primary_key;
    if ring.details.revocation_signatures.iter().any(|revocation| revocation.verify_key(primary).is_ok()) {
        return Err(Rejection::KeyRevoked { key: shown(primary) });
    }
    let own = self_signature(ring, times).ok_or_else(|| Rejection::Unbound { key: shown(primary) })?;
    must_be_valid(primary, own, signature, times)?;
    match subkey {
        None if own.key_flags().sign() => Ok(()),
        None => Err(Rejection::NotForSigning { key: shown(primary) }),
        Some(subkey) => accept_subkey(ring, subkey, signature, times),
    }
}

fn accept_subkey(
    ring: &SignedPublicKey,
    subkey: &SignedPublicSubKey,
    signature: &Signature,
    times: Times,
) -> Result<(), Rejection> {
    let (primary, key) = (&ring.primary_key, &subkey.key);
    let of_primary = |signature: &&Signature, kind| {
        signature.typ() == Some(kind) && signature.verify_subkey_binding(primary, key).is_ok()
    };
    if subkey.signatures.iter().any(|one| of_primary(&one, SignatureType::SubkeyRevocation)) {
        return Err(Rejection::KeyRevoked { key: shown(key) });
    }
    let bindings = subkey.signatures.iter().filter(|one| of_primary(one, SignatureType::SubkeyBinding));
    let binding = newest(bindings.filter(|one| counts(one, times)))
        .ok_or_else(|| Rejection::Unbound { key: shown(key) })?;
    must_be_valid(key, binding, signature, times)?;
    if !binding.key_flags().sign() {
        return Err(Rejection::NotForSigning { key: shown(key) });
    }
    // Without it, anybody could claim that the key of someone else is one of theirs.
    let consent = binding.embedded_signature();
    let is_mutual = |consent: &Signature| {
        counts(consent, times) && consent.verify_primary_key_binding(key, primary).is_ok()
    };
    if consent.is_some_and(is_mutual) { Ok(()) } else { Err(Rejection::Unbound { key: shown(key) }) }
}

/// The statement of the owner that holds at a time: the newest one about a user, or about the key itself. Keys of version 4 often
/// have one of the second kind that says nothing of use or expiry.
fn self_signature(ring: &SignedPublicKey, times: Times) -> Option<&Signature> {
    let primary = &ring.primary_key;
    let direct = ring.details.direct_signatures.iter().filter(|one| {
        one.typ() == Some(SignatureType::Key) && counts(one, times) && one.verify_key(primary).is_ok()
    });
    let of_users = ring.details.users.iter().filter_map(|user| certification(ring, user, times));
    let (of_users, direct) = (newest(of_users), newest(direct));
    if primary.version() == KeyVersion::V6 { direct } else { of_users.or(direct) }
}

/// The newest certification of a user by the owner, unless it was revoked later.
fn certification<'a>(ring: &SignedPublicKey, user: &'a SignedUser, times: Times) -> Option<&'a Signature> {
    let primary = &ring.primary_key;
    let own = |signature: &&Signature| {
        super::names(signature, primary)
            && signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
    };
    let made = newest(
        user.signatures
            .iter()
            .filter(|one| one.typ() != Some(SignatureType::CertRevocation) && counts(one, times))
            .filter(own),
    )?;
    let revoked = newest(
        user.signatures.iter().filter(|one| one.typ() == Some(SignatureType::CertRevocation)).filter(own),
    );
    let is_revoked = revoked.is_some_and(|revoked| made_at(revoked) >= made_at(made));
    (!is_revoked).then_some(made)
}

/// Whether a statement about a key counts at a time. SHA-1 is accepted here, like everywhere: old keys have no other, and to forge one
/// a second preimage would be needed, not a collision.
fn counts(signature: &Signature, times: Times) -> bool {
    let is_broken = |hash| matches!(hash, HashAlgorithm::Md5 | HashAlgorithm::Ripemd160);
    let Some(made) = made_at(signature).filter(|made| *made <= times.now) else { return false };
    let expired = expiry(made, signature.signature_expiration_time());
    !signature.hash_alg().is_none_or(is_broken) && expired.is_none_or(|expired| expired > times.valid_at)
}

fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    signatures.max_by_key(|signature| made_at(signature))
}

/// A key has to be there when it signs, and not to have expired when the signature is verified.
fn must_be_valid(
    key: &impl KeyDetails,
    statement: &Signature,
    signature: &Signature,
    times: Times,
) -> Result<(), Rejection> {
    let created = Timestamp::from_second(i64::from(key.created_at().as_secs())).unwrap_or(Timestamp::MAX);
    if let Some(made) = made_at(signature).filter(|made| *made < created) {
        return Err(Rejection::BeforeKey { at: made, key: shown(key) });
    }
    match expiry(created, statement.key_expiration_time()) {
        Some(expired) if expired <= times.valid_at => {
            Err(Rejection::KeyExpired { key: shown(key), at: expired })
        }
        _ => Ok(()),
    }
}

/// When a signature was made, as it says itself.
pub(super) fn made_at(signature: &Signature) -> Option<Timestamp> {
    Timestamp::from_second(i64::from(signature.created()?.as_secs())).ok()
}

/// When what began at a time expires. A period of zero is one without end.
pub(super) fn expiry(from: Timestamp, period: Option<Duration>) -> Option<Timestamp> {
    let seconds = i64::from(period?.as_secs());
    let end = Timestamp::from_second(from.as_second().saturating_add(seconds)).unwrap_or(Timestamp::MAX);
    (seconds > 0).then_some(end)
}
