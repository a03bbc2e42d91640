//! Keys of `ssh-keygen` in each type and format.

use plumb_testkit::sshd::{key_pair, keygen_is_missing};

use super::*;

fn read(arguments: &[&str], passphrase: Option<&str>) -> Result<Identity, IdentityError> {
    let (private, public) = key_pair(arguments).unwrap();
    let identity = Identity::parse(private.as_bytes(), passphrase)?;
    let base64 = public.split(' ').nth(1).unwrap();
    let public = russh::keys::parse_public_key_base64(base64).unwrap();
    assert_eq!(identity.key().public_key().key_data(), public.key_data());
    Ok(identity)
}

#[test]
fn each_type_is_read_in_the_format_of_openssh_and_in_pem() {
    if keygen_is_missing() {
        return;
    }
    for (kind, bits, name) in [
        ("ed25519", "256", "ssh-ed25519"),
        ("ecdsa", "256", "ecdsa-sha2-nistp256"),
        ("ecdsa", "384", "ecdsa-sha2-nistp384"),
        ("ecdsa", "521", "ecdsa-sha2-nistp521"),
        ("rsa", "2048", "ssh-rsa"),
    ] {
        for format in ["RFC4716", "PEM", "PKCS8"] {
            let arguments = ["-t", kind, "-b", bits, "-m", format, "-N", ""];
            let identity = read(&arguments, None).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
            assert!(identity.shown().starts_with(&format!("{name} key SHA256:")), "{}", identity.shown());
        }
    }
}

#[test]
fn a_passphrase_decrypts_and_its_lack_is_an_error_of_its_own() {
    if keygen_is_missing() {
        return;
    }
    for arguments in [
        &["-t", "ed25519", "-a", "1", "-N", "s3cret-word"][..],
        &["-t", "ecdsa", "-a", "1", "-N", "s3cret-word"],
        &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "s3cret-word"],
    ] {
        read(arguments, Some("s3cret-word")).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
        assert_eq!(read(arguments, Some("wrong")).unwrap_err(), IdentityError::Passphrase, "{arguments:?}");
        for none in [None, Some("")] {
            assert_eq!(read(arguments, none).unwrap_err(), IdentityError::Encrypted, "{arguments:?}");
        }
    }
    // A passphrase that is not needed does no harm.
    read(&["-t", "ed25519", "-N", ""], Some("s3cret-word")).unwrap();
}

#[test]
fn a_key_with_spaces_and_other_line_ends_is_read() {
    if keygen_is_missing() {
        return;
    }
    let (private, _) = key_pair(&["-t", "ed25519", "-N", ""]).unwrap();
    let odd = format!("\n  {}  \r\n\r\n", private.trim().replace('\n', " \r\n "));
    Identity::parse(odd.as_bytes(), None).unwrap();
}

#[test]
fn what_cannot_be_used_is_named_and_never_shown() {
    if keygen_is_missing() {
        return;
    }
    let (private, public) = key_pair(&["-t", "ed25519", "-N", ""]).unwrap();
    let cut: String = private.lines().take(3).collect::<Vec<_>>().join("\n");
    let encrypted = key_pair(&["-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", "s3cret-word"]).unwrap().0;
    let des = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,00\n\nAAAA\n";
    for (text, expect) in [
        (public.as_str(), "it holds no private key in the format of OpenSSH or PEM"),
        ("s3cret-word", "it holds no private key in the format of OpenSSH or PEM"),
        ("PuTTY-User-Key-File-3: ssh-ed25519", "it holds no private key in the format of OpenSSH or PEM"),
        ("-----BEGIN CERTIFICATE-----\n", "it holds no private key in the format of OpenSSH or PEM"),
        (&cut, "the private key is damaged or of a type that is not supported: use ed25519, ecdsa or rsa"),
        (&encrypted, "an encrypted PKCS#8 key is not supported: convert it with ssh-keygen -p"),
        (
            des,
            "a PEM key that is encrypted with DES-EDE3-CBC is not supported: convert it with ssh-keygen -p",
        ),
        (&"x".repeat(IDENTITY_BYTES_MAX + 1), "it is larger than 32768 bytes"),
    ] {
        let error = Identity::parse(text.as_bytes(), Some("s3cret-word")).unwrap_err();
        assert_eq!(error.to_string(), expect);
    }
    let identity = Identity::parse(private.as_bytes(), None).unwrap();
    let shown = format!("{identity:?}");
    assert!(shown.starts_with("Identity(ssh-ed25519 key SHA256:"), "{shown}");
    assert!(private.lines().filter(|line| !line.starts_with('-')).all(|line| !shown.contains(line)));
}

#[test]
fn a_passphrase_that_takes_too_much_work_is_rejected_before_the_work() {
    if keygen_is_missing() {
        return;
    }
    let (private, _) = key_pair(&["-t", "ed25519", "-a", "1", "-N", "s3cret-word"]).unwrap();
    let body: String = private.lines().filter(|line| !line.starts_with('-')).collect();
    let mut bytes = BASE64.decode(body.as_bytes()).unwrap();
    // Magic, cipher, the name of the function, the length of its options, the salt, the rounds.
    let salt = bytes.windows(6).position(|part| part == b"bcrypt").unwrap() + 6 + 4 + 4;
    let rounds = salt + 16;
    assert_eq!(bytes[rounds..rounds + 4], [0, 0, 0, 1]);
    bytes[rounds..rounds + 4].copy_from_slice(&(ROUNDS_MAX + 1).to_be_bytes());
    let text = format!(
        "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n",
        BASE64.encode(&bytes)
    );
    let error = Identity::parse(text.as_bytes(), Some("s3cret-word")).unwrap_err();
    assert_eq!(error, IdentityError::Rounds { rounds: ROUNDS_MAX + 1 });
}

#[test]
fn another_key_or_passphrase_is_another_identity() {
    if keygen_is_missing() {
        return;
    }
    let (one, _) = key_pair(&["-t", "ed25519", "-N", ""]).unwrap();
    let (two, _) = key_pair(&["-t", "ed25519", "-N", ""]).unwrap();
    let digest = |text: &str| *Identity::parse(text.as_bytes(), None).unwrap().digest();
    assert_eq!(digest(&one), digest(&one));
    assert_ne!(digest(&one), digest(&two));
}
