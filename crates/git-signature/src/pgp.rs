//! OpenPGP signatures and key rings.

use pgp::{
    composed::{Deserializable as _, DetachedSignature, PublicOrSecret, SignedPublicKey, SignedPublicSubKey},
    crypto::hash::HashAlgorithm,
    packet::{Signature, SignatureConfig, SignatureType, SignatureVersion, Subpacket, SubpacketData},
    types::{KeyDetails, VerifyingKey},
};

use crate::{
    armor,
    error::{Rejection, VerifyError},
    object::SignedObject,
    verify::{Signer, Times},
};

mod policy;

const LABEL: &str = "PGP SIGNATURE";
const FORMAT: &str = "PGP";
/// First lines of keys. A private key counts as its public one.
const KEY_BEGINS: [&str; 2] =
    ["-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----BEGIN PGP PRIVATE KEY BLOCK-----"];

const ARMOR_ENDS: &str = "-----END PGP ";

/// PGP keys of all files, and as many revocation certificates.
const KEYS_MAX: usize = 100;

/// PGP public keys.
#[derive(Default)]
pub(crate) struct PgpKeys {
    rings: Vec<SignedPublicKey>,
    /// Revocation certificates that stand alone, as `gpg --gen-revoke` writes them, until they are attributed.
    revocations: Vec<Signature>,
    is_over_limit: bool,
}

impl PgpKeys {
    pub(crate) fn is_empty(&self) -> bool {
        self.rings.is_empty()
    }

    /// Adds the keys of all armors in a text; what is wrong with those that hold none.
    pub(crate) fn add(&mut self, text: &str) -> Vec<String> {
        let (mut armors, mut problems) = (Vec::new(), Vec::new());
        let mut is_inside = false;
        for line in text.split_inclusive('\n') {
            if KEY_BEGINS.contains(&line.trim()) {
                armors.push(String::new());
                is_inside = true;
            }
            if let Some(armor) = armors.last_mut().filter(|_| is_inside) {
                armor.push_str(line);
            }
            // What follows an armor is no part of it: gpg writes a text before a revocation certificate.
            is_inside &= !line.starts_with(ARMOR_ENDS);
        }
        if armors.is_empty() {
            return vec!["it holds no armored PGP public key".to_owned()];
        }
        for armor in armors {
            if let Err(problem) = self.add_armor(&armor) {
                problems.push(problem);
            }
        }
        problems
    }

    fn add_armor(&mut self, armor: &str) -> Result<(), String> {
        let (keys, _) =
            PublicOrSecret::from_armor_many(armor.as_bytes()).map_err(|error| error.to_string())?;
        let mut is_empty = true;
        for key in keys {
            is_empty = false;
            let key = match key.map_err(|error| error.to_string())? {
                PublicOrSecret::Public(key) => key,
                PublicOrSecret::Secret(key) => key.to_public_key(),
            };
            if self.rings.contains(&key) {
                continue;
            }
            if self.rings.len() >= KEYS_MAX {
                self.is_over_limit = true;
                return Err(Rejection::TooManyKeys { max: KEYS_MAX }.to_string());
            }
            self.rings.push(key);
        }
        if is_empty { self.add_revocations(armor) } else { Ok(()) }
    }

    /// Adds the revocation certificates of an armor that begins with a signature.
    fn add_revocations(&mut self, armor: &str) -> Result<(), String> {
        let armor = armor.replace("PGP PUBLIC KEY BLOCK", LABEL);
        let (signatures, _) =
            DetachedSignature::from_armor_many(armor.as_bytes()).map_err(|error| error.to_string())?;
        let mut is_empty = true;
        for signature in signatures {
            let signature = signature.map_err(|error| error.to_string())?.signature;
            if signature.typ() != Some(SignatureType::KeyRevocation) {
                continue;
            }
            is_empty = false;
            if self.revocations.len() >= KEYS_MAX {
                self.is_over_limit = true;
                return Err(Rejection::TooManyKeys { max: KEYS_MAX }.to_string());
            }
            self.revocations.push(signature);
        }
        if is_empty { Err("it holds no PGP public key".to_owned()) } else { Ok(()) }
    }

    /// Adds revocation certificates to the keys that made them, whichever file has them. Those of no key stay. A key that is there
    /// several times is revoked where one of its copies is, as it is once gpg has imported them.
    pub(crate) fn attribute_revocations(&mut self) {
        let of_copies: Vec<_> =
            self.rings.iter().flat_map(|ring| ring.details.revocation_signatures.clone()).collect();
        for revocation in of_copies {
            self.attribute(&revocation);
        }
        for revocation in std::mem::take(&mut self.revocations) {
            if !self.attribute(&revocation) {
                self.revocations.push(revocation);
            }
        }
    }

    /// Adds a revocation to the keys that made it; whether there is one.
    fn attribute(&mut self, revocation: &Signature) -> bool {
        let mut is_attributed = false;
        for ring in &mut self.rings {
            let (primary, known) = (&ring.primary_key, &mut ring.details.revocation_signatures);
            if names(revocation, primary) && revocation.verify_key(primary).is_ok() {
                is_attributed = true;
                if !known.contains(revocation) {
                    known.push(revocation.clone());
                }
            }
        }
        is_attributed
    }

    /// What is wrong with all keys together.
    fn must_be_whole(&self) -> Result<(), Rejection> {
        if self.is_over_limit {
            return Err(Rejection::TooManyKeys { max: KEYS_MAX });
        }
        let Some(stray) = self.revocations.first() else { return Ok(()) };
        Err(Rejection::StrayRevocation { key: issuer(stray).unwrap_or_else(|| "without a name".to_owned()) })
    }
}

/// Verifies a PGP signature.
pub(crate) fn verify(object: &SignedObject, keys: &PgpKeys, times: Times) -> Result<Signer, VerifyError> {
    keys.must_be_whole().map_err(VerifyError::Pgp)?;
    let signature = parse(object.signature())?;
    must_be_sound(&signature, times).map_err(VerifyError::Pgp)?;
    let signer = issuer(&signature).ok_or_else(|| unreadable("it does not name its key"))?;
    let mut rejections = Vec::new();
    for (ring, subkey) in keys.rings.iter().flat_map(|ring| candidates(ring, &signature)) {
        let result = match subkey {
            None => made_by(&signature, &ring.primary_key, object.payload()),
            Some(subkey) => made_by(&signature, &subkey.key, object.payload()),
        };
        match result.and_then(|()| policy::accept(ring, subkey, &signature, times)) {
            Ok(()) => return Ok(Signer(shown(&ring.primary_key))),
            Err(rejection) => rejections.push(rejection),
        }
    }
    let nearest = rejections.into_iter().max();
    Err(VerifyError::Pgp(nearest.unwrap_or(Rejection::NoMatchingKey { signer })))
}

fn unreadable(problem: impl Into<String>) -> VerifyError {
    VerifyError::Unreadable { format: FORMAT, problem: problem.into() }
}

/// The one signature of an armor.
fn parse(text: &str) -> Result<Signature, VerifyError> {
    armor::inner(text, LABEL, FORMAT)?;
    let armor = text.trim().as_bytes();
    let (mut packets, _) =
        DetachedSignature::from_armor_many(armor).map_err(|error| unreadable(error.to_string()))?;
    let first = packets.next().ok_or_else(|| unreadable("it holds no signature"))?;
    let first = first.map_err(|error| unreadable(error.to_string()))?.signature;
    if packets.next().is_some() {
        return Err(unreadable("it is more than one signature"));
    }
    Ok(first)
}

/// What can be said of a signature without its key.
fn must_be_sound(signature: &Signature, times: Times) -> Result<(), Rejection> {
    if signature.typ() != Some(SignatureType::Binary) {
        return Err(Rejection::NotBinary);
    }
    let hash = signature.hash_alg().unwrap_or(HashAlgorithm::None);
    let is_accepted = matches!(
        hash,
        HashAlgorithm::Sha224
            | HashAlgorithm::Sha256
            | HashAlgorithm::Sha384
            | HashAlgorithm::Sha512
            | HashAlgorithm::Sha3_256
            | HashAlgorithm::Sha3_512
    );
    if !is_accepted {
        return Err(Rejection::WeakHash { hash: hash.to_string() });
    }
    let is_known_version = [SignatureVersion::V4, SignatureVersion::V6].contains(&signature.version());
    if !is_known_version || has_unknown_extension(signature) {
        return Err(Rejection::CriticalExtension);
    }
    let made = policy::made_at(signature).ok_or(Rejection::CriticalExtension)?;
    if made > times.now {
        return Err(Rejection::Future { at: made });
    }
    match policy::expiry(made, signature.signature_expiration_time()) {
        Some(expired) if expired <= times.valid_at => Err(Rejection::Expired { at: expired }),
        _ => Ok(()),
    }
}

/// Whether it has an extension that the signer wants to be understood, and that is not.
fn has_unknown_extension(signature: &Signature) -> bool {
    let is_known = |subpacket: &Subpacket| {
        matches!(
            subpacket.data,
            SubpacketData::SignatureCreationTime(_)
                | SubpacketData::SignatureExpirationTime(_)
                | SubpacketData::IssuerKeyId(_)
                | SubpacketData::IssuerFingerprint(_)
                | SubpacketData::SignersUserID(_)
                | SubpacketData::PolicyURI(_)
        )
    };
    let mut hashed = signature.config().into_iter().flat_map(SignatureConfig::hashed_subpackets);
    hashed.any(|subpacket| subpacket.is_critical && !is_known(subpacket))
}

/// The keys of a ring that a signature names: the primary key (none) or subkeys.
fn candidates<'a>(
    ring: &'a SignedPublicKey,
    signature: &Signature,
) -> Vec<(&'a SignedPublicKey, Option<&'a SignedPublicSubKey>)> {
    let primary = names(signature, &ring.primary_key).then_some((ring, None));
    let subkeys = ring.public_subkeys.iter().filter(|subkey| names(signature, &subkey.key));
    primary.into_iter().chain(subkeys.map(|subkey| (ring, Some(subkey)))).collect()
}

fn names(signature: &Signature, key: &impl KeyDetails) -> bool {
    let (id, fingerprint) = (key.legacy_key_id(), key.fingerprint());
    signature.issuer_key_id().contains(&&id) || signature.issuer_fingerprint().contains(&&fingerprint)
}

/// The key that a signature names, as it is shown.
fn issuer(signature: &Signature) -> Option<String> {
    let fingerprint = signature.issuer_fingerprint().first().map(|fingerprint| format!("{fingerprint:X}"));
    let id = signature.issuer_key_id().first().map(|id| id.to_string().to_uppercase());
    id.or(fingerprint)
}

fn made_by(signature: &Signature, key: &impl VerifyingKey, payload: &[u8]) -> Result<(), Rejection> {
    signature.verify(key, payload).map_err(|_| Rejection::Mismatch { key: shown(key) })
}

/// The id of a key as `gpg` shows it.
fn shown(key: &impl KeyDetails) -> String {
    key.legacy_key_id().to_string().to_uppercase()
}
