//! Lines as OpenSSH writes them, against host keys that `ssh-keygen` made once for these tests.

use super::*;

const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN+Wjn4+4Fcvl2JlKpggT+wCRxpSvtqqpVrQrKN1/A22";
const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=";

fn key(line: &str) -> PublicKeyOrCertificate {
    let (_, base64) = line.split_once(' ').unwrap();
    PublicKeyOrCertificate::from(parse_public_key_base64(base64).unwrap())
}

fn check(known_hosts: &str, host: &str, port: u16, offered: &str) -> Result<(), HostKeyError> {
    let known = KnownHosts::parse(known_hosts.as_bytes()).unwrap();
    known.check(&HostName::new(host, port), &key(offered), 0)
}

/// The first field of a hashed line, as OpenSSH makes it.
fn hashed(name: &str) -> String {
    let salt = b"0123456789abcdefghij";
    let mac = Hmac::<Sha1>::new_from_slice(salt).unwrap().chain_update(name.as_bytes());
    format!("|1|{}|{}", BASE64.encode(salt), BASE64.encode(&mac.finalize().into_bytes()))
}

#[test]
fn each_form_of_a_host_is_found() {
    for (hosts, host, port) in [
        ("git.example".to_owned(), "git.example", 22),
        ("git.example".to_owned(), "GIT.Example", 22),
        ("[git.example]:22".to_owned(), "git.example", 22),
        ("other,git.example,10.0.0.1".to_owned(), "10.0.0.1", 22),
        ("[git.example]:2222".to_owned(), "git.example", 2222),
        ("*.example".to_owned(), "git.example", 22),
        ("git?.example".to_owned(), "git1.example", 22),
        ("[*.example]:2222".to_owned(), "git.example", 2222),
        ("*,!bad.example".to_owned(), "git.example", 22),
        ("::1".to_owned(), "::1", 22),
        ("[::1]:2222".to_owned(), "::1", 2222),
        (hashed("git.example"), "Git.Example", 22),
        (hashed("[git.example]:2222"), "git.example", 2222),
        (hashed("::1"), "::1", 22),
        (hashed("[::1]"), "::1", 22),
    ] {
        assert_eq!(check(&format!("{hosts} {ED25519} a comment\n"), host, port, ED25519), Ok(()), "{hosts}");
    }
}

#[test]
fn a_host_that_is_not_listed_is_unknown_by_the_name_that_was_looked_for() {
    for (hosts, host, port, looked_for) in [
        ("git.example".to_owned(), "git.example", 2222, "[git.example]:2222"),
        ("[git.example]:2222".to_owned(), "git.example", 22, "git.example"),
        // A name for all hosts is one for port 22.
        ("*".to_owned(), "git.example", 2222, "[git.example]:2222"),
        ("*,!bad.example".to_owned(), "bad.example", 22, "bad.example"),
        ("!bad.example".to_owned(), "git.example", 22, "git.example"),
        ("git.example.evil".to_owned(), "git.example", 22, "git.example"),
        ("git?.example".to_owned(), "git.example", 22, "git.example"),
        (hashed("git.example"), "git.example", 2222, "[git.example]:2222"),
        (hashed("[git.example]:22"), "git.example", 22, "git.example"),
    ] {
        let error = check(&format!("{hosts} {ED25519}\n"), host, port, ED25519).unwrap_err();
        let HostKeyError::Unknown { host, offered } = &error else { panic!("{hosts}: {error}") };
        assert_eq!(host, looked_for, "{hosts}");
        assert_eq!(offered, "ssh-ed25519 key SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE");
        assert!(error.to_string().starts_with("knownhosts: key is unknown: "), "{error}");
    }
}

#[test]
fn one_of_several_keys_of_a_host_is_enough_and_another_one_is_a_mismatch() {
    let both = format!("# comment\n\nh {OTHER}\nh,i {ED25519}\r\ni {OTHER}\n");
    assert_eq!(check(&both, "h", 22, ED25519), Ok(()));
    assert_eq!(check(&both, "h", 22, OTHER), Ok(()));
    let error = check(&both, "h", 22, ECDSA).unwrap_err();
    assert!(matches!(&error, HostKeyError::Mismatch { line: 3, .. }), "{error}");
    let text = error.to_string();
    assert!(text.starts_with("knownhosts: key mismatch: known_hosts has another key for \"h\" (line 3: "));
    assert!(text.contains("ecdsa-sha2-nistp256 key SHA256:"), "{text}");
    // The type is a part of the key.
    let known = KnownHosts::parse(both.as_bytes()).unwrap();
    assert_eq!(known.types(&HostName::new("h", 22)), [Algorithm::Ed25519, Algorithm::Ed25519]);
}

#[test]
fn a_revoked_key_is_rejected_for_every_host() {
    for hosts in ["h", "another", "*"] {
        let text = format!("h {ED25519}\n@revoked {hosts} {ED25519}\n");
        let error = check(&text, "h", 22, ED25519).unwrap_err();
        assert!(matches!(error, HostKeyError::Revoked { line: 2, .. }), "{error}");
        assert_eq!(check(&format!("h {OTHER}\n{text}"), "h", 22, OTHER), Ok(()));
    }
}

#[test]
fn an_authority_is_no_host_key() {
    let text = format!("@cert-authority h {ED25519}\n");
    assert!(matches!(check(&text, "h", 22, ED25519), Err(HostKeyError::Unknown { .. })));
    let known = KnownHosts::parse(text.as_bytes()).unwrap();
    assert!(known.has_authority(&HostName::new("h", 22)) && !known.has_authority(&HostName::new("i", 22)));
}

#[test]
fn a_line_that_cannot_be_read_is_named_by_its_number() {
    for (line, problem) in [
        ("h".to_owned(), "is not 'hosts type key'"),
        ("h ssh-ed25519".to_owned(), "is not 'hosts type key'"),
        (format!("@trusted h {ED25519}"), "has an unknown marker"),
        ("h ssh-ed25519 !!!".to_owned(), "has a key that is no base64"),
        ("h ssh-ed25519 AAAA".to_owned(), "has a key that cannot be read"),
        (ED25519.replace("ssh-ed25519", "h ssh-rsa"), "has a key of another type than it says"),
        (format!("|1|AAAA {ED25519}"), "has a hash without a salt"),
        (format!("|2|AAAA|AAAA {ED25519}"), "has a hash of an unknown kind"),
        (format!("[h]:x {ED25519}"), "has a port that is no number"),
        (format!("[h {ED25519}"), "has a host without its closing bracket"),
    ] {
        let error = KnownHosts::parse(format!("# first\n{line}\n").as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), format!("line 2 {problem}"), "{line}");
    }
    // A type that Plumb never negotiates is no error: files of ssh-keyscan hold such lines.
    let other = "h ssh-dss AAAAB3NzaC1kc3M=\nh sk-ssh-ed25519@openssh.com AAAA\n";
    assert!(matches!(check(other, "h", 22, ED25519), Err(HostKeyError::Unknown { .. })));
    assert_eq!(KnownHosts::parse(b"\xff").unwrap_err(), KnownHostsError::NotText);
    let many = format!("h {ED25519}\n").repeat(ENTRIES_MAX + 1);
    assert_eq!(KnownHosts::parse(many.as_bytes()).unwrap_err(), KnownHostsError::TooMany);
}

#[test]
fn a_pattern_of_many_stars_is_matched_in_bounded_time() {
    assert!(matches("a*b*c", "aXbXbXc") && matches("*", "") && matches("**", "x") && !matches("a*b", "a"));
    assert!(!matches(&format!("{}b", "a*".repeat(500)), &"a".repeat(2000)));
}
