//! known_hosts: which host keys a server may have. The format is that of OpenSSH; a host is looked up as Flux does it: by its name
//! on port 22, by `[name]:port` on any other, with no fallback from one to the other. Pure.

use std::fmt;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::{
    Algorithm, Certificate, HashAlg, PublicKey, PublicKeyOrCertificate, parse_public_key_base64,
    ssh_key::certificate::CertType,
};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::identity::shown;

/// The port that is not written into known_hosts.
const PORT_DEFAULT: u16 = 22;
/// Entries of one text.
const ENTRIES_MAX: usize = 10_000;
/// Types of host keys that are supported. Entries of other types hold for no server.
const TYPES: [&str; 5] =
    ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

/// The host keys that are known.
#[derive(Debug, Default)]
pub struct KnownHosts {
    entries: Vec<Entry>,
    /// Of the text.
    digest: [u8; 32],
}

#[derive(Debug)]
struct Entry {
    line: usize,
    marker: Marker,
    hosts: Hosts,
    key: PublicKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    Host,
    Authority,
    Revoked,
}

#[derive(Debug)]
enum Hosts {
    Patterns(Vec<Pattern>),
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

#[derive(Debug)]
struct Pattern {
    is_negated: bool,
    /// Lower case, with `*` and `?`.
    host: String,
    port: u16,
}

/// A server, as known_hosts names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostName {
    host: String,
    port: u16,
}

/// A text is no known_hosts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KnownHostsError {
    /// It is not UTF-8.
    #[error("it is not UTF-8")]
    NotText,
    /// A line cannot be read.
    #[error("line {line} {problem}")]
    Line {
        /// Its number, from one.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// It has too many lines.
    #[error("it has more than {ENTRIES_MAX} entries")]
    TooMany,
}

/// A host key is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyError {
    /// There is no entry for the host.
    #[error(
        "knownhosts: key is unknown: known_hosts has no entry for {host:?}; the server offers the {offered}"
    )]
    Unknown {
        /// What was looked for.
        host: String,
        /// Type and fingerprint of the key of the server.
        offered: String,
    },
    /// The entries for the host have other keys.
    #[error(
        "knownhosts: key mismatch: known_hosts has another key for {host:?} (line {line}: {known}); the server offers the {offered}"
    )]
    Mismatch {
        /// What was looked for.
        host: String,
        /// The first entry for it.
        line: usize,
        /// Type and fingerprint of the key there.
        known: String,
        /// Type and fingerprint of the key of the server.
        offered: String,
    },
    /// The key is revoked.
    #[error(
        "knownhosts: key is revoked: line {line} of known_hosts revokes the {offered}, which {host:?} offers"
    )]
    Revoked {
        /// What was looked for.
        host: String,
        /// The entry.
        line: usize,
        /// Type and fingerprint of the key.
        offered: String,
    },
    /// The certificate of the server is not valid.
    #[error("knownhosts: certificate of {host:?} rejected: {problem}; it is signed by the {authority}")]
    Certificate {
        /// What was looked for.
        host: String,
        /// What is wrong with it.
        problem: &'static str,
        /// Type and fingerprint of the key of the authority.
        authority: String,
    },
}

impl HostName {
    /// A host, without brackets, and a port.
    pub(crate) fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_lowercase(), port }
    }

    /// The forms in which it can be hashed: an address of IPv6 is written with and without brackets.
    fn forms(&self) -> Vec<String> {
        let Self { host, port } = self;
        match *port {
            PORT_DEFAULT if host.contains(':') => vec![host.clone(), format!("[{host}]")],
            PORT_DEFAULT => vec![host.clone()],
            port => vec![format!("[{host}]:{port}")],
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.forms().swap_remove(0))
    }
}

impl KnownHosts {
    /// Reads the text. Empty lines and comments are skipped, and entries of key types that are never negotiated.
    pub fn parse(text: &[u8]) -> Result<Self, KnownHostsError> {
        let text = std::str::from_utf8(text).map_err(|_| KnownHostsError::NotText)?;
        let mut entries = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let entry =
                entry(number, line).map_err(|problem| KnownHostsError::Line { line: number, problem })?;
            entries.extend(entry);
            if entries.len() > ENTRIES_MAX {
                return Err(KnownHostsError::TooMany);
            }
        }
        Ok(Self { entries, digest: Sha256::digest(text).into() })
    }

    /// Tells other texts apart.
    pub(crate) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The types of the keys that are known for a host.
    pub(crate) fn types(&self, name: &HostName) -> Vec<Algorithm> {
        self.of(name, Marker::Host).map(|entry| entry.key.algorithm()).collect()
    }

    /// Whether certificates of the host are accepted.
    pub(crate) fn has_authority(&self, name: &HostName) -> bool {
        self.of(name, Marker::Authority).next().is_some()
    }

    /// Whether a server may have this key. `now` is in seconds since 1970.
    pub(crate) fn check(
        &self,
        name: &HostName,
        offered: &PublicKeyOrCertificate,
        now: u64,
    ) -> Result<(), HostKeyError> {
        let key = offered.public_key();
        self.check_revoked(name, &key)?;
        match offered.certificate() {
            Some(certificate) => self.check_certificate(name, certificate, now),
            None => self.check_key(name, &key),
        }
    }

    fn check_key(&self, name: &HostName, key: &PublicKey) -> Result<(), HostKeyError> {
        let mut entries = self.of(name, Marker::Host).peekable();
        let Some(first) = entries.peek() else {
            return Err(HostKeyError::Unknown { host: name.to_string(), offered: shown(key) });
        };
        let (line, known) = (first.line, shown(&first.key));
        if entries.any(|entry| entry.key.key_data() == key.key_data()) {
            return Ok(());
        }
        Err(HostKeyError::Mismatch { host: name.to_string(), line, known, offered: shown(key) })
    }

    /// A key that is revoked for one host is used for none.
    fn check_revoked(&self, name: &HostName, key: &PublicKey) -> Result<(), HostKeyError> {
        let mut revoked = self.entries.iter().filter(|entry| entry.marker == Marker::Revoked);
        match revoked.find(|entry| entry.key.key_data() == key.key_data()) {
            Some(Entry { line, .. }) => {
                Err(HostKeyError::Revoked { host: name.to_string(), line: *line, offered: shown(key) })
            }
            None => Ok(()),
        }
    }

    fn check_certificate(
        &self,
        name: &HostName,
        certificate: &Certificate,
        now: u64,
    ) -> Result<(), HostKeyError> {
        let authority = PublicKey::from(certificate.signature_key().clone());
        self.check_revoked(name, &authority)?;
        let known: Vec<_> =
            self.of(name, Marker::Authority).map(|e| e.key.fingerprint(HashAlg::Sha256)).collect();
        let problem = if certificate.cert_type() != CertType::Host {
            "it is not one of a host"
        } else if !known.contains(&authority.fingerprint(HashAlg::Sha256)) {
            "no @cert-authority of known_hosts signed it"
        } else if !certificate.valid_principals().iter().any(|principal| matches(principal, &name.host)) {
            "it is not for the name of this host"
        } else if !certificate.critical_options().is_empty() {
            "it has a critical option that is not supported"
        } else if now < certificate.valid_after() {
            "it is not valid yet"
        } else if now >= certificate.valid_before() {
            "it has expired"
        } else if certificate.validate_at(now, &known).is_err() {
            "its signature is wrong or made with SHA-1"
        } else {
            return Ok(());
        };
        Err(HostKeyError::Certificate { host: name.to_string(), problem, authority: shown(&authority) })
    }

    fn of<'a>(&'a self, name: &'a HostName, marker: Marker) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.marker == marker && entry.hosts.hold(name))
    }
}

impl Hosts {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(hashed) = text.strip_prefix("|1|") {
            let decode =
                |text: &str| BASE64.decode(text.as_bytes()).map_err(|_| "has a hash that is no base64");
            let (salt, hash) = hashed.split_once('|').ok_or("has a hash without a salt")?;
            return Ok(Self::Hashed { salt: decode(salt)?, hash: decode(hash)? });
        }
        if text.starts_with('|') {
            return Err("has a hash of an unknown kind");
        }
        text.split(',')
            .filter(|pattern| !pattern.is_empty())
            .map(Pattern::parse)
            .collect::<Result<_, _>>()
            .map(Self::Patterns)
    }

    fn hold(&self, name: &HostName) -> bool {
        match self {
            Self::Patterns(patterns) => {
                let is_met = |negated: bool| {
                    patterns.iter().any(|pattern| pattern.is_negated == negated && pattern.holds(name))
                };
                is_met(false) && !is_met(true)
            }
            Self::Hashed { salt, hash } => name.forms().iter().any(|form| {
                // HMAC takes keys of any length.
                Hmac::<Sha1>::new_from_slice(salt)
                    .is_ok_and(|mac| mac.chain_update(form.as_bytes()).verify_slice(hash).is_ok())
            }),
        }
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (is_negated, text) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let (host, port) = match text.strip_prefix('[') {
            None => (text, PORT_DEFAULT),
            Some(rest) => match rest.split_once(']').ok_or("has a host without its closing bracket")? {
                (host, "") => (host, PORT_DEFAULT),
                (host, port) => {
                    let port = port.strip_prefix(':').and_then(|port| port.parse().ok());
                    (host, port.ok_or("has a port that is no number")?)
                }
            },
        };
        Ok(Self { is_negated, host: host.to_lowercase(), port })
    }

    fn holds(&self, name: &HostName) -> bool {
        self.port == name.port && matches(&self.host, &name.host)
    }
}

fn entry(line: usize, text: &str) -> Result<Option<Entry>, &'static str> {
    let mut fields = text.split_whitespace();
    let mut field = || fields.next().ok_or("is not 'hosts type key'");
    let first = field()?;
    let (marker, hosts) = match first {
        "@cert-authority" => (Marker::Authority, field()?),
        "@revoked" => (Marker::Revoked, field()?),
        other if other.starts_with('@') => return Err("has an unknown marker"),
        hosts => (Marker::Host, hosts),
    };
    let (kind, key) = (field()?, field()?);
    let hosts = Hosts::parse(hosts)?;
    let is_base64 = BASE64.decode(key.as_bytes()).is_ok();
    if !is_base64 {
        return Err("has a key that is no base64");
    }
    if !TYPES.contains(&kind) {
        return Ok(None);
    }
    let key = parse_public_key_base64(key).map_err(|_| "has a key that cannot be read")?;
    let is_as_announced =
        if key.algorithm().is_rsa() { kind == "ssh-rsa" } else { key.algorithm().as_str() == kind };
    if !is_as_announced {
        return Err("has a key of another type than it says");
    }
    Ok(Some(Entry { line, marker, hosts, key }))
}

/// Whether a name is one of a pattern with `*` and `?`. Only the last `*` is tried again, so the work is bounded by the product of both lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut position, mut star) = (0, 0, None);
    while position < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, position));
                at += 1;
            }
            Some(letter) if *letter == b'?' || *letter == name[position] => {
                at += 1;
                position += 1;
            }
            _ => {
                let Some((star_at, tried)) = star else { return false };
                star = Some((star_at, tried + 1));
                at = star_at + 1;
                position = tried + 1;
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests;
