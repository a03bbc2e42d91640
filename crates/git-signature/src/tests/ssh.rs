//! SSH signatures of `ssh-keygen`.

use plumb_testkit::sshd::{key_pair, keygen_is_missing};
use ssh_key::{Algorithm, HashAlg, PublicKey, Signature, SshSig, encoding::Encode as _};

use super::*;

const NOW: &str = "2030-01-01T00:00:00Z";

/// A repository whose user signs with a key, and trusts it.
fn repository(format: ObjectFormat, private: &str, public: &str) -> Repository {
    let mut repository = Repository::new(format);
    let key = repository.write("key", private);
    program(repository.folder.path(), "chmod", &["600", "key"]);
    repository.write("key.pub", public);
    let signers = repository.write("signers", &format!("plumb@example.com {public}\n"));
    repository.options = vec![
        "gpg.format=ssh".to_owned(),
        format!("user.signingkey={key}"),
        format!("gpg.ssh.allowedSignersFile={signers}"),
    ];
    repository
}

/// What is signed, with a signature that `ssh-keygen` made of it.
fn signed_by_keygen(private: &str, options: &[&str]) -> SignedObject {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("key"), private).unwrap();
    program(folder.path(), "chmod", &["600", "key"]);
    let payload = "tree 1\nauthor a\ncommitter c\n\nSubject\n";
    std::fs::write(path("payload"), payload).unwrap();
    let key = path("key");
    let file = path("payload");
    program(folder.path(), "ssh-keygen", &[&["-Y", "sign", "-f", &key], options, &[&file]].concat());
    with_signature(payload, &std::fs::read_to_string(path("payload.sig")).unwrap())
}

fn with_signature(payload: &str, signature: &str) -> SignedObject {
    let header = signature.trim().replace('\n', "\n ");
    let raw = payload.replacen("\n\n", &format!("\ngpgsig {header}\n\n"), 1);
    SignedObject::commit(raw.as_bytes(), ObjectFormat::Sha1).unwrap()
}

#[test]
fn commits_and_tags_of_each_kind_of_key_are_accepted_as_git_accepts_them() {
    if keygen_is_missing() {
        return;
    }
    for (kind, bits) in
        [("ed25519", "256"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "2048")]
    {
        let (private, public) = key_pair(&["-t", kind, "-b", bits, "-N", ""]).unwrap();
        let trusted = keys(&[("author.sshpub", &public)]);
        assert_eq!(trusted.unusable(), []);
        for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
            let repository = repository(format, &private, &public);
            repository.sign();
            check_variants(&repository, "commit", "HEAD", &trusted, at(NOW));
            check_variants(&repository, "tag", "v1", &trusted, at(NOW));
            let object = repository.parse("commit", &repository.raw("commit", "HEAD")).unwrap();
            let fingerprint =
                PublicKey::from_openssh(&public).unwrap().fingerprint(HashAlg::Sha256).to_string();
            assert_eq!(verify(&object, &trusted, Times::at(at(NOW))), Ok(Signer(fingerprint)));
        }
    }
}

#[test]
fn another_key_and_other_content_are_rejected() {
    if keygen_is_missing() {
        return;
    }
    let (private, public) = key_pair(&["-t", "ed25519", "-N", ""]).unwrap();
    let (_, other) = key_pair(&["-t", "ed25519", "-N", ""]).unwrap();
    let signer = PublicKey::from_openssh(&public).unwrap().fingerprint(HashAlg::Sha256).to_string();
    let object = signed_by_keygen(&private, &["-n", "git"]);
    let rejected =
        |object, files: &[(&str, &str)]| verify(object, &keys(files), Times::at(at(NOW))).unwrap_err();
    assert_eq!(
        rejected(&object, &[("a.sshpub", &other)]),
        VerifyError::Ssh(Rejection::NoMatchingKey { signer: signer.clone() })
    );
    let changed = with_signature("tree 2\nauthor a\ncommitter c\n\nSubject\n", object.signature());
    assert_eq!(
        rejected(&changed, &[("a.sshpub", &public)]),
        VerifyError::Ssh(Rejection::Mismatch { key: signer })
    );
    assert_eq!(rejected(&object, &[]), VerifyError::NoSshKeys);
    assert_eq!(
        rejected(&object, &[("a.asc", &public)]),
        VerifyError::NoSshKeys,
        "the suffix says what it is"
    );
}

#[test]
fn a_signature_for_another_purpose_is_rejected() {
    if keygen_is_missing() {
        return;
    }
    let (private, public) = key_pair(&["-t", "ed25519", "-N", ""]).unwrap();
    let trusted = keys(&[("a.sshpub", &public)]);
    for namespace in ["file", "git2", "Git"] {
        let object = signed_by_keygen(&private, &["-n", namespace]);
        assert_eq!(
            verify(&object, &trusted, Times::at(at(NOW))),
            Err(VerifyError::Ssh(Rejection::Namespace { namespace: namespace.to_owned() }))
        );
    }
}

#[test]
fn each_hash_function_of_the_format_is_accepted_and_sha1_is_not() {
    if keygen_is_missing() {
        return;
    }
    let (private, public) = key_pair(&["-t", "rsa", "-b", "2048", "-N", ""]).unwrap();
    let trusted = keys(&[("a.sshpub", &public)]);
    for hash in ["hashalg=sha256", "hashalg=sha512"] {
        let object = signed_by_keygen(&private, &["-n", "git", "-O", hash]);
        assert!(verify(&object, &trusted, Times::at(at(NOW))).is_ok(), "{hash}");
    }
    // Not even ssh-keygen makes one: the same key, with the algorithm whose hash is SHA-1.
    let key = PublicKey::from_openssh(&public).unwrap();
    let weak = Signature::new(Algorithm::Rsa { hash: None }, vec![1; 256]).unwrap();
    let signature = SshSig::new(key.key_data().clone(), "git", HashAlg::Sha512, weak).unwrap();
    let object = with_signature("tree 1\nauthor a\ncommitter c\n\nSubject\n", &signature.to_string());
    let hash = "SHA1".to_owned();
    assert_eq!(
        verify(&object, &trusted, Times::at(at(NOW))),
        Err(VerifyError::Ssh(Rejection::WeakHash { hash }))
    );
}

fn sign<K: ssh_key::SigningKey>(key: &K, message: &[u8]) -> Signature {
    key.try_sign(message).unwrap()
}

#[test]
fn a_signature_of_a_security_key_is_verified_with_its_counter_and_application() {
    use ssh_key::{
        PrivateKey,
        private::Ed25519Keypair,
        public::{Ed25519PublicKey, KeyData, SkEd25519},
    };
    let pair = Ed25519Keypair::from_seed(&[7; 32]);
    let public = SkEd25519::new(Ed25519PublicKey(pair.public.0), "ssh:".to_owned());
    let key = PublicKey::new(KeyData::SkEd25519(public), "author");
    let payload = "tree 1\nauthor a\ncommitter c\n\nSubject\n";
    let blob = SshSig::signed_data("git", HashAlg::Sha512, payload.as_bytes()).unwrap();
    // Presence of the user, and how often the key was used.
    let trailer = [1, 0, 0, 0, 9];
    let message = [&HashAlg::Sha256.digest(b"ssh:")[..], &trailer, &HashAlg::Sha256.digest(&blob)].concat();
    let signer = PrivateKey::from(pair);
    let bare = sign(&signer, &message);
    let data = [bare.as_bytes(), &trailer].concat();
    let signature = Signature::new(Algorithm::SkEd25519, data).unwrap();
    let signature = SshSig::new(key.key_data().clone(), "git", HashAlg::Sha512, signature).unwrap();
    let trusted = keys(&[("a.sshpub", &key.to_openssh().unwrap())]);
    let object = with_signature(payload, &signature.to_string());
    assert!(verify(&object, &trusted, Times::at(at(NOW))).is_ok());
    let other = with_signature(&payload.replace("tree 1", "tree 2"), &signature.to_string());
    assert!(matches!(
        verify(&other, &trusted, Times::at(at(NOW))),
        Err(VerifyError::Ssh(Rejection::Mismatch { .. }))
    ));
}

#[test]
fn options_of_a_line_that_matter_are_honoured() {
    if keygen_is_missing() {
        return;
    }
    let (private, public) = key_pair(&["-t", "ed25519", "-N", ""]).unwrap();
    let object = signed_by_keygen(&private, &["-n", "git"]);
    let judged = |lines: &str, now: &str| {
        let trusted = keys(&[("a.sshpub", lines)]);
        let problems: Vec<_> = trusted.unusable().iter().map(|one| one.problem.clone()).collect();
        (verify(&object, &trusted, Times::at(at(now))).map(|_| ()), problems.join("; "))
    };
    let expired = |key: &Result<(), VerifyError>| matches!(key, Err(VerifyError::Ssh(Rejection::KeyExpired { at: expired, .. })) if *expired == at("2026-01-02T00:00:00Z"));
    for (line, is_accepted) in [
        (format!("# comment\n\n  {public}\r\n"), true),
        (format!("restrict,command=\"a b\" {public}"), true),
        (format!("expiry-time=\"20310101\" {public}"), true),
    ] {
        assert_eq!(
            (judged(&line, NOW).0.is_ok(), judged(&line, NOW).1),
            (is_accepted, String::new()),
            "{line}"
        );
    }
    let limited = format!("expiry-time=\"20260102\" {public}");
    assert!(judged(&limited, "2026-01-01T23:59:59Z").0.is_ok());
    assert!(expired(&judged(&limited, "2026-01-02T00:00:00Z").0));
    assert!(judged(&format!("{limited}\n{public}"), NOW).0.is_ok(), "listed twice");
    for (line, problem) in [
        (format!("cert-authority {public}"), "line 1: it is a certificate authority, not a signer"),
        (format!("expiry-time=\"x\" {public}"), "line 1: its expiry-time is not valid"),
        ("# a\nssh-dss AAAAB3NzaC1kc3MAAACB".to_owned(), "line 2: it is no public key of a supported type"),
        ("nonsense".to_owned(), "line 1: it is no public key of a supported type"),
    ] {
        assert_eq!(judged(&line, NOW), (Err(VerifyError::NoSshKeys), problem.to_owned()), "{line}");
    }
}

#[test]
fn parts_that_are_not_known_are_rejected() {
    if keygen_is_missing() {
        return;
    }
    let (private, public) = key_pair(&["-t", "ed25519", "-N", ""]).unwrap();
    let trusted = keys(&[("a.sshpub", &public)]);
    let object = signed_by_keygen(&private, &["-n", "git"]);
    let signature: SshSig = object.signature().parse().unwrap();
    let mut bytes = Vec::new();
    signature.encode(&mut bytes).unwrap();
    let armored = |bytes: &[u8]| {
        let text = data_encoding::BASE64.encode(bytes);
        let armor = format!("-----BEGIN SSH SIGNATURE-----\n{text}\n-----END SSH SIGNATURE-----");
        with_signature("tree 1\nauthor a\ncommitter c\n\nSubject\n", &armor)
    };
    assert!(verify(&armored(&bytes), &trusted, Times::at(at(NOW))).is_ok(), "lines of another length");
    let trailing = [&bytes[..], b"x"].concat();
    let mut old = bytes.clone();
    old[9] = 0;
    for changed in [trailing, old] {
        let problem = "it has parts that are not known".to_owned();
        assert_eq!(
            verify(&armored(&changed), &trusted, Times::at(at(NOW))),
            Err(VerifyError::Unreadable { format: "SSH", problem })
        );
    }
}
