//! Input that no signer makes: an error, soon, and never a panic.

use std::sync::LazyLock;

use data_encoding::BASE64;
use proptest::prelude::*;

use super::*;

fn commit(signature: &str) -> SignedObject {
    let header = signature.trim_end().replace('\n', "\n ");
    let raw = format!("tree 1\nauthor a\ncommitter c\ngpgsig {header}\n\nSubject\n");
    SignedObject::commit(raw.as_bytes(), ObjectFormat::Sha1).unwrap()
}

fn armored(label: &str, bytes: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n\n{}\n-----END {label}-----\n", BASE64.encode(bytes))
}

static PGP: LazyLock<String> = LazyLock::new(|| pgp::Owner::new().ring(|_| {}));

fn trusted() -> TrustedKeys {
    let ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    let keys = keys(&[("a.asc", &PGP), ("b.sshpub", ssh)]);
    assert_eq!(keys.unusable(), []);
    keys
}

fn judged(signature: &str, keys: &TrustedKeys) -> String {
    verify(&commit(signature), keys, Times::at(Timestamp::UNIX_EPOCH)).unwrap_err().to_string()
}

#[test]
fn armor_that_is_none_is_named() {
    let keys = trusted();
    let (pgp, ssh) = ("PGP SIGNATURE", "SSH SIGNATURE");
    for (signature, expect) in [
        ("", "unsupported signature type: empty".to_owned()),
        ("x", "unsupported signature type: unknown".to_owned()),
        ("-----BEGIN SIGNED MESSAGE-----\n", "unsupported signature type: x509".to_owned()),
        ("-----BEGIN PGP MESSAGE-----\n", "unsupported signature type: unknown".to_owned()),
        (
            "-----BEGIN PGP SIGNATURE-----",
            "unable to unarmor PGP signature: the last line is another one".to_owned(),
        ),
        (
            "-----BEGIN PGP SIGNATURE----- x\n-----END PGP SIGNATURE-----",
            "unable to unarmor PGP signature: the first line is another one".to_owned(),
        ),
        (
            "-----BEGIN SSH SIGNATURE-----\n%\n-----END SSH SIGNATURE-----",
            "unable to unarmor SSH signature: it is not valid base64".to_owned(),
        ),
    ] {
        assert_eq!(judged(signature, &keys), expect, "{signature}");
    }
    for label in [pgp, ssh] {
        let kind = &label[..3];
        let one = armored(label, b"x");
        let more = format!("unable to unarmor {kind} signature: it is more than one signature");
        assert_eq!(judged(&format!("{one}{one}"), &keys), more);
        let last = format!("unable to unarmor {kind} signature: the last line is another one");
        assert_eq!(judged(&format!("{one}trailing"), &keys), last);
    }
}

#[test]
fn lengths_that_lie_end_in_an_error_without_the_memory_they_claim() {
    let keys = trusted();
    let huge: [&[u8]; 8] = [
        // A signature packet of 4 GiB, in both forms of the header; one of unknown length; one in parts.
        &[0xc2, 0xff, 0xff, 0xff, 0xff, 0xff, 4, 0],
        &[0x8a, 0xff, 0xff, 0xff, 0xff, 4, 0],
        &[0x8b, 4, 0, 22, 8, 0xff, 0xff],
        &[0xc2, 0xfe, 4, 0, 22, 8],
        // Subpackets of 64 KiB, one subpacket of 4 GiB.
        &[0xc2, 10, 4, 0, 22, 8, 0xff, 0xff, 1, 2, 3, 4],
        &[0xc2, 12, 4, 0, 22, 8, 0, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        // A number of 64 KiB.
        &[0xc2, 14, 4, 0, 1, 8, 0, 0, 0, 0, 1, 2, 0xff, 0xff, 1, 2],
        &[],
    ];
    for bytes in huge {
        let text = judged(&armored("PGP SIGNATURE", bytes), &keys);
        assert!(text.starts_with("unable to "), "{bytes:x?}: {text}");
    }
    let prefix = b"SSHSIG\0\0\0\x01";
    for length in [[0xff; 4], [0, 0, 0, 1], [0, 1, 0, 0]] {
        let bytes = [&prefix[..], &length].concat();
        let text = judged(&armored("SSH SIGNATURE", &bytes).replacen("\n\n", "\n", 1), &keys);
        assert!(text.starts_with("unable to unarmor SSH signature: "), "{text}");
    }
}

#[test]
fn a_signature_in_a_signature_in_a_signature_ends() {
    let keys = trusted();
    // An embedded signature, as deep as the limit of a signature allows.
    let mut inner = vec![4, 0, 22, 8, 0, 0, 0, 0, 1, 2];
    while inner.len() < 40_000 {
        let length = u32::try_from(inner.len() + 1).unwrap().to_be_bytes();
        let subpacket = [&[0xff][..], &length, &[32], &inner].concat();
        let Ok(size) = u16::try_from(subpacket.len()) else { break };
        inner = [&[4, 0, 22, 8][..], &size.to_be_bytes(), &subpacket, &[0, 0, 1, 2]].concat();
    }
    let length = u32::try_from(inner.len()).unwrap().to_be_bytes();
    let packet = [&[0xc2, 0xff][..], &length, &inner].concat();
    let text = judged(&armored("PGP SIGNATURE", &packet), &keys);
    assert!(text.starts_with("unable to "), "{text}");
}

#[test]
fn keys_that_cannot_be_read_are_named_and_the_others_count() {
    let ring = pgp::Owner::new().ring(|_| {});
    let broken = armored("PGP PUBLIC KEY BLOCK", b"secret words");
    let files: [(&str, &[u8]); 5] = [
        ("a.asc", ring.as_bytes()),
        ("b.asc", b"secret words"),
        ("c.asc", broken.as_bytes()),
        ("d.sshpub", b"secret words"),
        ("e.asc", b"\xff"),
    ];
    let keys = TrustedKeys::parse(files);
    let names: Vec<_> = keys.unusable().iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["b.asc", "c.asc", "d.sshpub", "e.asc"]);
    for unusable in keys.unusable() {
        assert!(!unusable.problem.contains("secret"), "{}", unusable.problem);
    }
    assert!(!keys.pgp.is_empty() && keys.ssh.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        prefix in proptest::sample::select(vec![&b""[..], b"\xc2\x40\x04\x00\x16\x08\x00\x06\x05\x02", b"SSHSIG\0\0\0\x01\0\0\0\x33\0\0\0\x0bssh-ed25519"]),
        header in "[a-z \n-]{0,40}",
    ) {
        let all = [prefix, &bytes[..]].concat();
        let keys = trusted();
        for label in ["PGP SIGNATURE", "SSH SIGNATURE"] {
            let text = judged(&armored(label, &all), &keys);
            prop_assert!(text.starts_with("unable to "), "{text}");
        }
        let raw = [&b"tree 1\ncommitter c\n"[..], header.as_bytes(), &bytes].concat();
        let _ = SignedObject::commit(&raw, ObjectFormat::Sha1);
        let _ = SignedObject::commit(&bytes, ObjectFormat::Sha256);
        let _ = SignedObject::tag(&[b"object 1\ntag v1\n", &raw[..]].concat());
        let block = armored("PGP PUBLIC KEY BLOCK", &bytes);
        let _ = TrustedKeys::parse([("a.asc", block.as_bytes()), ("b.sshpub", &bytes), ("c", header.as_bytes())]);
    }
}
