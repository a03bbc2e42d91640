//! SSH signatures (PROTOCOL.sshsig of OpenSSH), and the public keys of `authorized_keys` lines.

use data_encoding::BASE64;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use ssh_key::{
    Algorithm, HashAlg, PublicKey, SshSig,
    encoding::{Decode as _, Reader as _},
};

use crate::{
    armor,
    error::{Rejection, VerifyError},
    object::SignedObject,
    verify::{Signer, Times},
};

/// The namespace of signatures that Git makes.
const NAMESPACE: &str = "git";
const LABEL: &str = "SSH SIGNATURE";
const FORMAT: &str = "SSH";

/// SSH public keys.
#[derive(Default)]
pub(crate) struct SshKeys(Vec<TrustedKey>);

struct TrustedKey {
    key: PublicKey,
    expires: Option<Timestamp>,
}

impl SshKeys {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the keys of lines; the lines that hold none, by their numbers.
    pub(crate) fn add(&mut self, text: &str) -> Vec<String> {
        let mut problems = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match TrustedKey::parse(line) {
                Ok(key) => self.0.push(key),
                Err(problem) => problems.push(format!("line {}: {problem}", number + 1)),
            }
        }
        problems
    }
}

impl TrustedKey {
    /// A key with or without options before it. Options that restrict a login mean nothing here; `expiry-time` does, and a
    /// certificate authority is no signer.
    fn parse(line: &str) -> Result<Self, &'static str> {
        if let Some(key) = public_key(line) {
            return Ok(Self { key, expires: None });
        }
        let (options, rest) = split_options(line);
        let key = public_key(rest.trim_start()).ok_or("it is no public key of a supported type")?;
        let mut expires = None;
        for option in split_list(options) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            match name.to_ascii_lowercase().as_str() {
                "cert-authority" => return Err("it is a certificate authority, not a signer"),
                "expiry-time" => {
                    let time = parse_expiry(value.trim_matches('"'));
                    expires = Some(time.ok_or("its expiry-time is not valid")?);
                }
                _ => {}
            }
        }
        Ok(Self { key, expires })
    }
}

/// `type base64 comment`
fn public_key(line: &str) -> Option<PublicKey> {
    let mut words = line.split_ascii_whitespace();
    let key = PublicKey::from_openssh(&format!("{} {}", words.next()?, words.next()?)).ok()?;
    // What SHA-1 is a part of is no key.
    (key.algorithm() != Algorithm::Dsa).then_some(key)
}

/// The options of a line, and the rest: spaces in quotes belong to the options.
fn split_options(line: &str) -> (&str, &str) {
    let mut is_quoted = false;
    let end = line.find(|character: char| {
        is_quoted ^= character == '"';
        character.is_ascii_whitespace() && !is_quoted
    });
    line.split_at(end.unwrap_or(line.len()))
}

fn split_list(options: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    options.split(move |character: char| {
        is_quoted ^= character == '"';
        character == ',' && !is_quoted
    })
}

/// `YYYYMMDD` or `YYYYMMDDHHMM[SS]`, with or without `Z`. All are read as UTC: the time zone of a controller is not the user's.
fn parse_expiry(text: &str) -> Option<Timestamp> {
    let digits = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || ![8, 12, 14].contains(&digits.len()) {
        return None;
    }
    let field = |from: usize, to: usize| digits.get(from..to).unwrap_or("0").parse::<i8>().ok();
    let year = digits.get(..4)?.parse().ok()?;
    let (month, day) = (field(4, 6)?, field(6, 8)?);
    let time = DateTime::new(year, month, day, field(8, 10)?, field(10, 12)?, field(12, 14)?, 0).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// Verifies an SSH signature.
pub(crate) fn verify(object: &SignedObject, keys: &SshKeys, times: Times) -> Result<Signer, VerifyError> {
    let signature = parse(object.signature())?;
    check(&signature, object.payload(), keys, times).map_err(VerifyError::Ssh)
}

fn parse(signature: &str) -> Result<SshSig, VerifyError> {
    let broken = |problem: &str| VerifyError::Unreadable { format: FORMAT, problem: problem.to_owned() };
    let text: String = armor::inner(signature, LABEL, FORMAT)?.concat();
    let bytes = BASE64.decode(text.as_bytes()).map_err(|_| broken("it is not valid base64"))?;
    let mut reader = bytes.as_slice();
    let signature = SshSig::decode(&mut reader).map_err(|error| broken(&error.to_string()))?;
    if !reader.is_finished() || signature.version() != SshSig::VERSION || !signature.reserved().is_empty() {
        return Err(broken("it has parts that are not known"));
    }
    Ok(signature)
}

fn check(signature: &SshSig, payload: &[u8], keys: &SshKeys, times: Times) -> Result<Signer, Rejection> {
    let fingerprint = signature.public_key().fingerprint(HashAlg::Sha256).to_string();
    // A key may be listed twice: then the later time counts.
    let trusted = keys.0.iter().filter(|trusted| trusted.key.key_data() == signature.public_key());
    let Some(trusted) = trusted.max_by_key(|trusted| trusted.expires.unwrap_or(Timestamp::MAX)) else {
        return Err(Rejection::NoMatchingKey { signer: fingerprint });
    };
    if signature.namespace() != NAMESPACE {
        return Err(Rejection::Namespace { namespace: signature.namespace().to_owned() });
    }
    match signature.algorithm() {
        Algorithm::Rsa { hash: None } | Algorithm::Dsa => {
            return Err(Rejection::WeakHash { hash: "SHA1".to_owned() });
        }
        _ => {}
    }
    trusted
        .key
        .verify(NAMESPACE, payload, signature)
        .map_err(|_| Rejection::Mismatch { key: fingerprint.clone() })?;
    match trusted.expires {
        Some(expires) if expires <= times.valid_at => {
            Err(Rejection::KeyExpired { key: fingerprint, at: expires })
        }
        _ => Ok(Signer(fingerprint)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_time_is_read_as_openssh_writes_it() {
        for (text, expect) in [
            ("20260102", Some("2026-01-02T00:00:00Z")),
            ("20260102Z", Some("2026-01-02T00:00:00Z")),
            ("202601020304", Some("2026-01-02T03:04:00Z")),
            ("20260102030405Z", Some("2026-01-02T03:04:05Z")),
            ("20261302", None),
            ("2026", None),
            ("2026010203", None),
            ("+2026010", None),
            ("", None),
        ] {
            assert_eq!(parse_expiry(text), expect.map(|text| text.parse().unwrap()), "{text:?}");
        }
    }

    #[test]
    fn options_end_at_the_first_space_outside_of_quotes() {
        let line = r#"command="a, b",expiry-time="20260102" ssh-ed25519 AAAA"#;
        let (options, rest) = split_options(line);
        assert_eq!(rest, " ssh-ed25519 AAAA");
        let list: Vec<_> = split_list(options).collect();
        assert_eq!(list, [r#"command="a, b""#, r#"expiry-time="20260102""#]);
    }
}
