//! OpenPGP signatures and key rings of rPGP: each with one thing that speaks against it.

use std::sync::LazyLock;

use ::pgp::{
    composed::{
        ArmorOptions, DetachedSignature, KeyType, SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey,
        SubkeyParamsBuilder, SubpacketConfig,
    },
    crypto::hash::HashAlgorithm,
    packet::{
        KeyFlags, Notation, RevocationCode, Signature, SignatureConfig, SignatureType, Subpacket,
        SubpacketData,
    },
    types::{Duration, KeyDetails as _, KeyVersion, Password, Tag, Timestamp as Seconds},
};
use rand::{SeedableRng as _, rngs::StdRng};

use super::*;

const PAYLOAD: &str = "tree 1\nauthor a\ncommitter c\n\nSubject\n";
const CREATED: &str = "2020-01-01T00:00:00Z";
const SIGNED: &str = "2025-01-01T00:00:00Z";
const NOW: &str = "2026-01-01T00:00:00Z";
const YEAR: u32 = 365 * 24 * 3600;

fn seconds(text: &str) -> Seconds {
    Seconds::from_secs(at(text).as_second().try_into().unwrap())
}

fn regular(data: SubpacketData) -> Subpacket {
    Subpacket::regular(data).unwrap()
}

/// Keys of RSA take long to make.
static RSA: LazyLock<Owner> = LazyLock::new(|| Owner::with(KeyType::Rsa(2048), KeyVersion::V4));

/// Someone with a primary key that signs and certifies, and a subkey that signs.
pub(super) struct Owner {
    secret: SignedSecretKey,
}

/// What a statement about a key says.
#[derive(Clone)]
struct Statement {
    made: &'static str,
    hash: HashAlgorithm,
    signs: bool,
    key_years: Option<u32>,
    signature_years: Option<u32>,
}

impl Default for Statement {
    fn default() -> Self {
        Self {
            made: CREATED,
            hash: HashAlgorithm::Sha512,
            signs: true,
            key_years: None,
            signature_years: None,
        }
    }
}

impl Owner {
    pub(super) fn new() -> Self {
        Self::with(KeyType::Ed25519Legacy, KeyVersion::V4)
    }

    fn with(kind: KeyType, version: KeyVersion) -> Self {
        let mut subkey = SubkeyParamsBuilder::default();
        subkey.version(version).key_type(kind.clone()).can_sign(true).created_at(seconds(CREATED));
        let mut params = SecretKeyParamsBuilder::default();
        params.version(version).key_type(kind).can_sign(true).can_certify(true).created_at(seconds(CREATED));
        params.primary_user_id("Author <author@example.com>".to_owned());
        params.subkeys(vec![subkey.build().unwrap()]);
        Self { secret: params.build().unwrap().generate(StdRng::from_entropy()).unwrap() }
    }

    fn public(&self) -> SignedPublicKey {
        let mut public = self.secret.to_public_key();
        if public.primary_key.version() == KeyVersion::V4 {
            public.details.users[0].signatures = vec![self.certify(&Statement::default())];
            public.public_subkeys[0].signatures = vec![self.bind(&Statement::default(), true)];
        }
        public
    }

    /// The key ring, armored, after a change of it.
    pub(super) fn ring(&self, change: impl FnOnce(&mut SignedPublicKey)) -> String {
        let mut public = self.public();
        change(&mut public);
        public.to_armored_string(ArmorOptions::default()).unwrap()
    }

    fn id(&self) -> String {
        self.secret.primary_key.legacy_key_id().to_string().to_uppercase()
    }

    fn subkey_id(&self) -> String {
        self.secret.secret_subkeys[0].key.legacy_key_id().to_string().to_uppercase()
    }

    fn config(&self, kind: SignatureType, statement: &Statement) -> SignatureConfig {
        let mut config = SignatureConfig::v4(kind, self.secret.primary_key.algorithm(), statement.hash);
        let mut flags = KeyFlags::default();
        flags.set_certify(true);
        flags.set_sign(statement.signs);
        config.hashed_subpackets = vec![
            regular(SubpacketData::SignatureCreationTime(seconds(statement.made))),
            regular(SubpacketData::IssuerFingerprint(self.secret.primary_key.fingerprint())),
            regular(SubpacketData::KeyFlags(flags)),
        ];
        if let Some(years) = statement.key_years {
            let period = Duration::from_secs(years * YEAR);
            config.hashed_subpackets.push(regular(SubpacketData::KeyExpirationTime(period)));
        }
        if let Some(years) = statement.signature_years {
            let period = Duration::from_secs(years * YEAR);
            config.hashed_subpackets.push(regular(SubpacketData::SignatureExpirationTime(period)));
        }
        config
    }

    /// A statement about the user.
    fn certify(&self, statement: &Statement) -> Signature {
        self.about_user(SignatureType::CertPositive, statement)
    }

    fn about_user(&self, kind: SignatureType, statement: &Statement) -> Signature {
        let (key, public) = (&self.secret.primary_key, self.secret.primary_key.public_key());
        let user = &self.secret.details.users[0].id;
        let config = self.config(kind, statement);
        config.sign_certification(key, public, &Password::empty(), Tag::UserId, user).unwrap()
    }

    /// A statement about the primary key.
    fn about_key(&self, kind: SignatureType, made: &'static str) -> Signature {
        let mut config = self.config(kind, &Statement { made, ..Statement::default() });
        let reason = SubpacketData::RevocationReason(RevocationCode::KeySuperseded, Vec::new().into());
        config.hashed_subpackets.push(regular(reason));
        let key = &self.secret.primary_key;
        config.sign_key(key, &Password::empty(), key.public_key()).unwrap()
    }

    /// A statement about the subkey, with or without its consent.
    fn bind(&self, statement: &Statement, has_consent: bool) -> Signature {
        let subkey = &self.secret.secret_subkeys[0].key;
        let mut config = self.config(SignatureType::SubkeyBinding, statement);
        if has_consent {
            let mut consent =
                SignatureConfig::v4(SignatureType::KeyBinding, subkey.algorithm(), statement.hash);
            consent.hashed_subpackets = vec![
                regular(SubpacketData::SignatureCreationTime(seconds(statement.made))),
                regular(SubpacketData::IssuerFingerprint(subkey.fingerprint())),
            ];
            let primary = self.secret.primary_key.public_key();
            let empty = Password::empty();
            let consent =
                consent.sign_primary_key_binding(subkey, subkey.public_key(), &empty, primary).unwrap();
            config.hashed_subpackets.push(regular(SubpacketData::EmbeddedSignature(Box::new(consent))));
        }
        self.about_subkey(config)
    }

    fn about_subkey(&self, config: SignatureConfig) -> Signature {
        let key = &self.secret.primary_key;
        let subkey = self.secret.secret_subkeys[0].key.public_key();
        config.sign_subkey_binding(key, key.public_key(), &Password::empty(), subkey).unwrap()
    }

    /// A signature of the payload with these extensions in addition to its time and its key.
    fn sign(&self, by: By, hash: HashAlgorithm, made: &str, more: Vec<Subpacket>) -> String {
        let (primary, subkey) = (&self.secret.primary_key, &self.secret.secret_subkeys[0].key);
        let fingerprint = if by == By::Subkey { subkey.fingerprint() } else { primary.fingerprint() };
        let mut hashed = vec![
            regular(SubpacketData::SignatureCreationTime(seconds(made))),
            regular(SubpacketData::IssuerFingerprint(fingerprint)),
        ];
        hashed.extend(more);
        let subpackets = SubpacketConfig::UserDefined { hashed, unhashed: Vec::new() };
        let (rng, empty, payload) = (StdRng::from_entropy(), Password::empty(), PAYLOAD.as_bytes());
        let signed = match by {
            By::Primary => DetachedSignature::sign_binary_data_with_subpackets(
                rng, primary, &empty, hash, payload, subpackets,
            ),
            By::Subkey => DetachedSignature::sign_binary_data_with_subpackets(
                rng, subkey, &empty, hash, payload, subpackets,
            ),
            By::PrimaryAsText => DetachedSignature::sign_text_data_with_subpackets(
                rng, primary, &empty, hash, payload, subpackets,
            ),
        };
        signed.unwrap().to_armored_string(ArmorOptions::default()).unwrap()
    }

    fn usual(&self, by: By) -> String {
        self.sign(by, HashAlgorithm::Sha256, SIGNED, Vec::new())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Primary,
    PrimaryAsText,
    Subkey,
}

fn judge(payload: &str, signature: &str, ring: &str, now: &str) -> Result<Signer, VerifyError> {
    judge_at(payload, signature, ring, Times::at(at(now)))
}

fn judge_at(payload: &str, signature: &str, ring: &str, times: Times) -> Result<Signer, VerifyError> {
    let header = signature.trim().replace('\n', "\n ");
    let raw = payload.replacen("\n\n", &format!("\ngpgsig {header}\n\n"), 1);
    let object = SignedObject::commit(raw.as_bytes(), ObjectFormat::Sha1).unwrap();
    let keys = keys(&[("author.asc", ring)]);
    assert_eq!(keys.unusable(), []);
    verify(&object, &keys, times)
}

#[track_caller]
fn check(signature: &str, ring: &str, expect: Result<String, Rejection>) {
    assert_eq!(judge(PAYLOAD, signature, ring, NOW), expect.map(Signer).map_err(VerifyError::Pgp));
}

#[test]
fn each_kind_of_key_is_accepted_under_the_id_of_its_owner() {
    for (kind, version) in [
        (KeyType::Ed25519Legacy, KeyVersion::V4),
        (KeyType::Ed25519, KeyVersion::V4),
        (KeyType::Rsa(2048), KeyVersion::V4),
        (KeyType::ECDSA(::pgp::crypto::ecc_curve::ECCCurve::P256), KeyVersion::V4),
        (KeyType::ECDSA(::pgp::crypto::ecc_curve::ECCCurve::P384), KeyVersion::V4),
        (KeyType::ECDSA(::pgp::crypto::ecc_curve::ECCCurve::P521), KeyVersion::V4),
        (KeyType::Ed25519, KeyVersion::V6),
    ] {
        let owner = Owner::with(kind.clone(), version);
        let hash = match kind {
            KeyType::ECDSA(::pgp::crypto::ecc_curve::ECCCurve::P384) => HashAlgorithm::Sha384,
            KeyType::ECDSA(::pgp::crypto::ecc_curve::ECCCurve::P521) => HashAlgorithm::Sha512,
            _ => HashAlgorithm::Sha256,
        };
        let ring = owner.ring(|_| {});
        for by in [By::Primary, By::Subkey] {
            let signature = owner.sign(by, hash, SIGNED, Vec::new());
            // rPGP dates what it says of a key of version 6 today.
            let judged = judge(PAYLOAD, &signature, &ring, "2100-01-01T00:00:00Z");
            assert_eq!(judged, Ok(Signer(owner.id())), "{kind:?}");
        }
    }
}

#[test]
fn another_key_and_other_content_are_rejected() {
    let (owner, other) = (Owner::new(), Owner::new());
    let signature = owner.usual(By::Primary);
    let fingerprint = owner.secret.primary_key.fingerprint().to_string().to_uppercase();
    check(&signature, &other.ring(|_| {}), Err(Rejection::NoMatchingKey { signer: fingerprint }));
    assert_eq!(
        judge(&PAYLOAD.replace("tree 1", "tree 2"), &signature, &owner.ring(|_| {}), NOW),
        Err(VerifyError::Pgp(Rejection::Mismatch { key: owner.id() }))
    );
    let both = format!("{}\n{}", other.ring(|_| {}), owner.ring(|_| {}));
    check(&signature, &both, Ok(owner.id()));
    let armored = owner.secret.to_armored_string(ArmorOptions::default()).unwrap();
    let judged = judge(PAYLOAD, &signature, &armored, "2100-01-01T00:00:00Z");
    assert_eq!(judged, Ok(Signer(owner.id())), "a private key counts as its public one");
}

#[test]
fn a_signature_with_a_weak_hash_is_rejected_though_it_is_valid() {
    let owner = &*RSA;
    let ring = owner.ring(|_| {});
    for (hash, name) in
        [(HashAlgorithm::Sha1, "SHA1"), (HashAlgorithm::Md5, "MD5"), (HashAlgorithm::Ripemd160, "RIPEMD160")]
    {
        let signature = owner.sign(By::Primary, hash, SIGNED, Vec::new());
        check(&signature, &ring, Err(Rejection::WeakHash { hash: name.to_owned() }));
    }
    for hash in [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512, HashAlgorithm::Sha3_256]
    {
        check(&owner.sign(By::Primary, hash, SIGNED, Vec::new()), &ring, Ok(owner.id()));
    }
}

#[test]
fn what_a_signature_says_of_itself_is_honoured() {
    let owner = Owner::new();
    let ring = owner.ring(|_| {});
    check(&owner.usual(By::PrimaryAsText), &ring, Err(Rejection::NotBinary));
    let sha = HashAlgorithm::Sha256;
    let future = "2026-01-01T00:00:01Z";
    check(
        &owner.sign(By::Primary, sha, future, Vec::new()),
        &ring,
        Err(Rejection::Future { at: at(future) }),
    );
    let lasting = |secs| vec![regular(SubpacketData::SignatureExpirationTime(Duration::from_secs(secs)))];
    check(
        &owner.sign(By::Primary, sha, SIGNED, lasting(60)),
        &ring,
        Err(Rejection::Expired { at: at("2025-01-01T00:01:00Z") }),
    );
    check(&owner.sign(By::Primary, sha, SIGNED, lasting(2 * YEAR)), &ring, Ok(owner.id()));
    check(&owner.sign(By::Primary, sha, SIGNED, lasting(0)), &ring, Ok(owner.id()));
    let notation = || {
        SubpacketData::Notation(Notation {
            readable: true,
            name: "policy@example.com".into(),
            value: "x".into(),
        })
    };
    check(&owner.sign(By::Primary, sha, SIGNED, vec![regular(notation())]), &ring, Ok(owner.id()));
    let critical = Subpacket::critical(notation()).unwrap();
    check(&owner.sign(By::Primary, sha, SIGNED, vec![critical]), &ring, Err(Rejection::CriticalExtension));
}

#[test]
fn a_key_is_valid_from_its_creation_to_its_expiry() {
    let owner = Owner::new();
    let (primary, subkey) = (owner.usual(By::Primary), owner.usual(By::Subkey));
    let before = "2019-12-31T23:59:59Z";
    check(
        &owner.sign(By::Primary, HashAlgorithm::Sha256, before, Vec::new()),
        &owner.ring(|_| {}),
        Err(Rejection::BeforeKey { at: at(before), key: owner.id() }),
    );
    let certified = |years: &[(&'static str, u32)]| {
        owner.ring(|ring| {
            let one = |(made, years): &(&'static str, u32)| {
                owner.certify(&Statement { made, key_years: Some(*years), ..Statement::default() })
            };
            ring.details.users[0].signatures = years.iter().map(one).collect();
        })
    };
    let expired = |key, at_text: &str| Err(Rejection::KeyExpired { key, at: at(at_text) });
    // It had expired before it signed; it expired after that, and before now.
    check(&primary, &certified(&[(CREATED, 4)]), expired(owner.id(), "2023-12-31T00:00:00Z"));
    check(&primary, &certified(&[(CREATED, 6)]), expired(owner.id(), "2025-12-30T00:00:00Z"));
    check(&subkey, &certified(&[(CREATED, 6)]), expired(owner.id(), "2025-12-30T00:00:00Z"));
    check(&primary, &certified(&[(CREATED, 7)]), Ok(owner.id()));
    // The newest statement counts, in any order; one of the future does not yet.
    check(&primary, &certified(&[(CREATED, 6), (SIGNED, 9)]), Ok(owner.id()));
    check(&primary, &certified(&[(SIGNED, 9), (CREATED, 6)]), Ok(owner.id()));
    check(&primary, &certified(&[(CREATED, 9), (SIGNED, 6)]), expired(owner.id(), "2025-12-30T00:00:00Z"));
    check(
        &primary,
        &certified(&[(CREATED, 6), ("2026-02-01T00:00:00Z", 9)]),
        expired(owner.id(), "2025-12-30T00:00:00Z"),
    );
    let bound = owner.ring(|ring| {
        let statement = Statement { key_years: Some(6), ..Statement::default() };
        ring.public_subkeys[0].signatures = vec![owner.bind(&statement, true)];
    });
    check(&subkey, &bound, expired(owner.subkey_id(), "2025-12-30T00:00:00Z"));
    check(&primary, &bound, Ok(owner.id()));
    let short = owner.ring(|ring| {
        let statement = Statement { signature_years: Some(1), ..Statement::default() };
        ring.details.users[0].signatures = vec![owner.certify(&statement)];
    });
    check(&primary, &short, Err(Rejection::Unbound { key: owner.id() }));
}

#[test]
fn what_was_accepted_before_its_key_expired_is_accepted_later_but_not_by_a_revoked_key() {
    let owner = Owner::new();
    let years = Statement { key_years: Some(6), ..Statement::default() };
    let renewed = Statement { made: "2026-02-01T00:00:00Z", key_years: Some(7), ..Statement::default() };
    let ring = |statements: &[&Statement]| {
        owner.ring(|ring| {
            ring.details.users[0].signatures = statements.iter().map(|one| owner.certify(one)).collect();
        })
    };
    let signature = owner.usual(By::Primary);
    let judged = |ring: &str, valid_at: &str, now: &str| {
        let times = Times { now: at(now), valid_at: at(valid_at) };
        judge_at(PAYLOAD, &signature, ring, times).is_ok()
    };
    let (valid, expired, late) = ("2025-06-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z");
    assert!(judged(&ring(&[&years]), valid, late) && !judged(&ring(&[&years]), expired, late));
    // A statement that was made since then counts, though it is the only one that was exported.
    assert!(judged(&ring(&[&renewed]), valid, late));
    let revoked = owner.ring(|ring| {
        let revocation = owner.about_key(SignatureType::KeyRevocation, late);
        ring.details.revocation_signatures.push(revocation);
    });
    assert!(!judged(&revoked, valid, late));
}

#[test]
fn a_revoked_key_is_rejected_whenever_it_signed() {
    let (owner, other) = (Owner::new(), Owner::new());
    let (primary, subkey) = (owner.usual(By::Primary), owner.usual(By::Subkey));
    for made in ["2024-01-01T00:00:00Z", "2025-06-01T00:00:00Z"] {
        let ring = owner.ring(|ring| {
            let revocation = owner.about_key(SignatureType::KeyRevocation, made);
            ring.details.revocation_signatures.push(revocation);
        });
        for signature in [&primary, &subkey] {
            check(signature, &ring, Err(Rejection::KeyRevoked { key: owner.id() }));
        }
        let ring = owner.ring(|ring| {
            let statement = Statement { made, ..Statement::default() };
            let config = owner.config(SignatureType::SubkeyRevocation, &statement);
            ring.public_subkeys[0].signatures.push(owner.about_subkey(config));
        });
        check(&subkey, &ring, Err(Rejection::KeyRevoked { key: owner.subkey_id() }));
        check(&primary, &ring, Ok(owner.id()));
    }
    let foreign = owner.ring(|ring| {
        ring.details.revocation_signatures.push(other.about_key(SignatureType::KeyRevocation, SIGNED));
    });
    check(&primary, &foreign, Ok(owner.id()));
    let without_user = owner.ring(|ring| {
        let statement = Statement { made: SIGNED, ..Statement::default() };
        let revocation = owner.about_user(SignatureType::CertRevocation, &statement);
        ring.details.users[0].signatures.push(revocation);
    });
    check(&primary, &without_user, Err(Rejection::Unbound { key: owner.id() }));
}

#[test]
fn a_key_that_is_for_something_else_or_of_someone_else_is_rejected() {
    let (owner, other) = (Owner::new(), Owner::new());
    let (primary, subkey) = (owner.usual(By::Primary), owner.usual(By::Subkey));
    let other_use = Statement { signs: false, ..Statement::default() };
    let ring = owner.ring(|ring| ring.details.users[0].signatures = vec![owner.certify(&other_use)]);
    check(&primary, &ring, Err(Rejection::NotForSigning { key: owner.id() }));
    check(&subkey, &ring, Ok(owner.id()));
    let ring = owner.ring(|ring| ring.public_subkeys[0].signatures = vec![owner.bind(&other_use, true)]);
    check(&subkey, &ring, Err(Rejection::NotForSigning { key: owner.subkey_id() }));
    let usual = Statement::default();
    let ring = owner.ring(|ring| ring.public_subkeys[0].signatures = vec![owner.bind(&usual, false)]);
    check(&subkey, &ring, Err(Rejection::Unbound { key: owner.subkey_id() }));
    // Someone adds the subkey of another to their own ring.
    let stolen = other.ring(|ring| ring.public_subkeys = owner.public().public_subkeys);
    check(&subkey, &stolen, Err(Rejection::Unbound { key: owner.subkey_id() }));
    let forged = owner.ring(|ring| ring.details.users[0].signatures = vec![other.certify(&usual)]);
    check(&primary, &forged, Err(Rejection::Unbound { key: owner.id() }));
}

#[test]
fn statements_of_old_keys_about_themselves_may_use_sha1() {
    let owner = &*RSA;
    for (hash, expect) in [
        (HashAlgorithm::Sha1, Ok(owner.id())),
        (HashAlgorithm::Md5, Err(Rejection::Unbound { key: owner.id() })),
    ] {
        let statement = Statement { hash, ..Statement::default() };
        let ring = owner.ring(|ring| ring.details.users[0].signatures = vec![owner.certify(&statement)]);
        check(&owner.usual(By::Primary), &ring, expect);
    }
}

#[test]
fn two_signatures_in_one_armor_are_rejected() {
    let owner = Owner::new();
    let packets = |armor: &str| {
        let lines = armor.lines().filter(|line| !line.starts_with(['-', '=']) && !line.is_empty());
        data_encoding::BASE64.decode(lines.collect::<String>().as_bytes()).unwrap()
    };
    let one = packets(&owner.usual(By::Primary));
    let two = [one.clone(), one.clone()].concat();
    let armored = |bytes: &[u8]| {
        let text = data_encoding::BASE64.encode(bytes);
        format!("-----BEGIN PGP SIGNATURE-----\n\n{text}\n-----END PGP SIGNATURE-----")
    };
    let ring = owner.ring(|_| {});
    check(&armored(&one), &ring, Ok(owner.id()));
    let unreadable = |problem: &str| VerifyError::Unreadable { format: "PGP", problem: problem.to_owned() };
    assert_eq!(judge(PAYLOAD, &armored(&two), &ring, NOW), Err(unreadable("it is more than one signature")));
    let cut = &one[..one.len() - 3];
    assert!(matches!(judge(PAYLOAD, &armored(cut), &ring, NOW), Err(VerifyError::Unreadable { .. })));
}

#[test]
fn keys_that_repeat_count_once_and_too_many_are_rejected() {
    let owner = Owner::new();
    let signature = owner.usual(By::Primary);
    let ring = owner.ring(|_| {});
    check(&signature, &ring.repeat(101), Ok(owner.id()));
    let others: String = (0..100).map(|_| Owner::new().ring(|_| {})).collect();
    let header = signature.trim().replace('\n', "\n ");
    let raw = PAYLOAD.replacen("\n\n", &format!("\ngpgsig {header}\n\n"), 1);
    let object = SignedObject::commit(raw.as_bytes(), ObjectFormat::Sha1).unwrap();
    let judged = verify(&object, &keys(&[("a.asc", &ring), ("b.asc", &others)]), Times::at(at(NOW)));
    assert_eq!(judged, Err(VerifyError::Pgp(Rejection::TooManyKeys { max: 100 })));
}
