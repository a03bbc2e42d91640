//! Credentials for registries: the files that Docker writes, and which of their entries is for a repository. Pure.

use std::{collections::BTreeMap, fmt};

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use plumb_api::sealed::Sealed;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::reference::Repository;

/// Base64 with or without padding: Docker writes the one, users the other.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// A user name that stands for an identity token as the password.
const TOKEN_USER: &str = "<token>";
/// Entries of one file.
const ENTRIES_MAX: usize = 1000;

/// The credential for a registry.
#[derive(Clone, Default)]
pub enum RegistryCredential {
    /// Without credentials.
    #[default]
    Anonymous,
    /// Name and password.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: Sealed,
    },
    /// A token that a token server takes in exchange for another one.
    IdentityToken(Sealed),
    /// A token for the registry itself.
    RegistryToken(Sealed),
}

impl RegistryCredential {
    /// Whether there is one.
    pub fn is_some(&self) -> bool {
        !matches!(self, Self::Anonymous)
    }

    /// Distinguishes credentials without showing them.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let (kind, name, secret): (u8, &str, &[u8]) = match self {
            Self::Anonymous => (0, "", &[]),
            Self::Basic { username, password } => (1, username, password.expose()),
            Self::IdentityToken(token) => (2, "", token.expose()),
            Self::RegistryToken(token) => (3, "", token.expose()),
        };
        let hash = Sha256::new().chain_update([kind]).chain_update((name.len() as u64).to_le_bytes());
        hash.chain_update(name).chain_update(secret).finalize().into()
    }
}

impl fmt::Debug for RegistryCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Basic { .. } => "Basic",
            Self::IdentityToken(_) => "IdentityToken",
            Self::RegistryToken(_) => "RegistryToken",
        })
    }
}

/// The credentials of one or several files.
#[derive(Clone, Debug, Default)]
pub struct DockerConfig {
    /// The most specific first.
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    key: String,
    host: String,
    path: String,
    credential: RegistryCredential,
}

/// A file of credentials cannot be used. It never shows a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DockerConfigError {
    /// It is not JSON of that shape.
    #[error("it is not the JSON of a Docker configuration")]
    Malformed,
    /// Too many entries.
    #[error("it has more than {ENTRIES_MAX} entries")]
    TooMany,
    /// An entry.
    #[error("the entry for {registry:?} has {problem}")]
    Entry {
        /// The key of the entry.
        registry: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

#[derive(Deserialize)]
struct RawConfig {
    #[serde(default)]
    auths: BTreeMap<String, RawEntry>,
}

#[derive(Deserialize)]
struct RawEntry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    registrytoken: String,
}

impl DockerConfig {
    /// The key `.dockerconfigjson` of a Secret.
    pub fn parse(json: &[u8]) -> Result<Self, DockerConfigError> {
        let RawConfig { auths } = serde_json::from_slice(json).map_err(|_| DockerConfigError::Malformed)?;
        Self::from_entries(auths)
    }

    /// The key `.dockercfg` of a Secret: the older form.
    pub fn parse_legacy(json: &[u8]) -> Result<Self, DockerConfigError> {
        Self::from_entries(serde_json::from_slice(json).map_err(|_| DockerConfigError::Malformed)?)
    }

    fn from_entries(entries: BTreeMap<String, RawEntry>) -> Result<Self, DockerConfigError> {
        if entries.len() > ENTRIES_MAX {
            return Err(DockerConfigError::TooMany);
        }
        let parsed = entries.into_iter().map(|(key, entry)| Entry::new(&key, entry));
        Ok(Self { entries: parsed.collect::<Result<_, _>>()? }.sorted())
    }

    /// Several files as one. Of equal keys the earlier file's counts.
    pub fn merged(configs: impl IntoIterator<Item = Self>) -> Self {
        Self { entries: configs.into_iter().flat_map(|config| config.entries).collect() }.sorted()
    }

    fn sorted(mut self) -> Self {
        self.entries.sort_by(|a, b| b.key.cmp(&a.key));
        self
    }

    /// The credential for a repository: that of the most specific key.
    pub fn credential(&self, repository: &Repository) -> RegistryCredential {
        let entry = self.entries.iter().find(|entry| entry.is_for(repository));
        entry.map(|entry| entry.credential.clone()).unwrap_or_default()
    }
}

impl Entry {
    fn new(key: &str, entry: RawEntry) -> Result<Self, DockerConfigError> {
        let (host, path) = split_key(key);
        let credential = entry
            .credential()
            .map_err(|problem| DockerConfigError::Entry { registry: format!("{host}{path}"), problem })?;
        // Without the scheme: the order of keys is that of hosts and paths.
        Ok(Self { key: format!("{host}{path}"), host, path, credential })
    }

    fn is_for(&self, repository: &Repository) -> bool {
        hosts_match(&self.host, repository.registry())
            && format!("/{}", repository.path()).starts_with(&self.path)
    }
}

/// Host with port, and path, of a key: `https://index.docker.io/v1/`, `host:5000/team`, `*.example.com`.
fn split_key(key: &str) -> (String, String) {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    // User info is no part of the host, and is never shown.
    let bare = bare.rsplit_once('@').map_or(bare, |(_, rest)| rest);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let path = match path.split_once('/').unwrap_or((path, "")) {
        ("v1" | "v2", rest) => rest,
        _ => path,
    };
    let host = if host == "docker.io" { "index.docker.io" } else { host };
    (host.to_ascii_lowercase(), if path.is_empty() { String::new() } else { format!("/{path}") })
}

/// Whether the host of a key, in whose labels `*` and `?` stand for any characters, is this one. Ports are equal.
fn hosts_match(pattern: &str, host: &str) -> bool {
    let (pattern, pattern_port) = split_port(pattern);
    let (host, port) = split_port(host);
    let (patterns, labels): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), host.split('.').collect());
    pattern_port == port
        && patterns.len() == labels.len()
        && patterns
            .iter()
            .zip(labels)
            .all(|(pattern, label)| label_matches(pattern.as_bytes(), label.as_bytes()))
}

fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    }
}

fn label_matches(pattern: &[u8], label: &[u8]) -> bool {
    let (mut at, mut next) = (0, 0);
    // Where to go on when the text after a `*` does not fit: one character further.
    let mut star: Option<(usize, usize)> = None;
    while next < label.len() {
        match (pattern.get(at), star) {
            (Some(b'*'), _) => {
                star = Some((at, next));
                at += 1;
            }
            (Some(&character), _) if character == b'?' || character == label[next] => {
                at += 1;
                next += 1;
            }
            (_, Some((star_at, covered))) => {
                star = Some((star_at, covered + 1));
                at = star_at + 1;
                next = covered + 1;
            }
            (_, None) => return false,
        }
    }
    pattern[at..].iter().all(|&character| character == b'*')
}

impl RawEntry {
    fn credential(self) -> Result<RegistryCredential, &'static str> {
        let Self { auth, username, password, identitytoken, registrytoken } = self;
        if !registrytoken.is_empty() {
            return Ok(RegistryCredential::RegistryToken(registrytoken.into()));
        }
        if !identitytoken.is_empty() {
            return Ok(RegistryCredential::IdentityToken(identitytoken.into()));
        }
        let (username, password) = if auth.is_empty() { (username, password) } else { decode(&auth)? };
        if username.is_empty() && password.is_empty() {
            return Ok(RegistryCredential::Anonymous);
        }
        if username == TOKEN_USER {
            return Ok(RegistryCredential::IdentityToken(password.into()));
        }
        Ok(RegistryCredential::Basic { username, password: password.into() })
    }
}

fn decode(auth: &str) -> Result<(String, String), &'static str> {
    let bytes = BASE64.decode(auth.trim()).map_err(|_| "an 'auth' that is not base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "an 'auth' that is not UTF-8")?;
    let (username, password) = text.split_once(':').ok_or("an 'auth' without a colon")?;
    Ok((username.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn config(auths: &Value) -> DockerConfig {
        DockerConfig::parse(json!({ "auths": auths }).to_string().as_bytes()).unwrap()
    }

    /// The user whose credential is for a repository.
    fn user(config: &DockerConfig, repository: &str) -> String {
        match config.credential(&Repository::parse(&format!("oci://{repository}")).unwrap()) {
            RegistryCredential::Basic { username, .. } => username,
            other => format!("{other:?}"),
        }
    }

    fn entry(username: &str) -> Value {
        json!({ "username": username, "password": "s3cret" })
    }

    #[test]
    fn the_most_specific_key_counts() {
        let config = config(&json!({
            "https://index.docker.io/v1/": entry("hub"),
            "ghcr.io": entry("ghcr"),
            "ghcr.io/team": entry("team"),
            "https://registry.example:5000/v2/": entry("port"),
            "*.wild.example": entry("wild"),
            "http://[::1]:5000": entry("six"),
            "https://mixed.example": entry("mixed"),
            "mixed.example/team": entry("mixed-team"),
            "slash.example/team/": entry("slash"),
        }));
        for (repository, expect) in [
            ("docker.io/org/app", "hub"),
            ("org/app", "hub"),
            ("app", "hub"),
            ("ghcr.io/org/app", "ghcr"),
            ("ghcr.io/team/app", "team"),
            ("registry.example:5000/app", "port"),
            ("registry.example/app", "Anonymous"),
            ("a.wild.example/app", "wild"),
            ("a.b.wild.example/app", "Anonymous"),
            ("wild.example/app", "Anonymous"),
            ("[::1]:5000/app", "six"),
            ("evilghcr.io/app", "Anonymous"),
            ("ghcr.io.evil/app", "Anonymous"),
            ("mixed.example/team/app", "mixed-team"),
            ("slash.example/team/app", "slash"),
            ("slash.example/team-evil/app", "Anonymous"),
        ] {
            assert_eq!(user(&config, repository), expect, "{repository}");
        }
    }

    #[test]
    fn each_form_of_a_credential_is_read() {
        let auth = |text: &str| json!({ "auth": base64::prelude::BASE64_STANDARD.encode(text) });
        for (entry, expect) in [
            (auth("me:s3cret:with:colons"), "me"),
            (json!({ "auth": "bWU6eA" }), "me"),
            (json!({ "auth": " bWU6eA==\n" }), "me"),
            (json!({ "auth": "", "username": "me", "password": "x", "email": "a@b" }), "me"),
            (json!({ "identitytoken": "t" }), "IdentityToken"),
            (auth("<token>:t"), "IdentityToken"),
            (json!({ "registrytoken": "t" }), "RegistryToken"),
            (json!({}), "Anonymous"),
        ] {
            assert_eq!(user(&config(&json!({ "ghcr.io": entry })), "ghcr.io/org/app"), expect, "{entry}");
        }
        let legacy = json!({ "ghcr.io": entry("me") }).to_string();
        assert_eq!(user(&DockerConfig::parse_legacy(legacy.as_bytes()).unwrap(), "ghcr.io/a/b"), "me");
    }

    #[test]
    fn of_several_files_the_most_specific_key_counts_then_the_earlier_file() {
        let first = config(&json!({ "ghcr.io": entry("first") }));
        let second = config(&json!({ "ghcr.io": entry("second"), "ghcr.io/team": entry("team") }));
        let merged = DockerConfig::merged([first, second]);
        assert_eq!(
            (user(&merged, "ghcr.io/org/app"), user(&merged, "ghcr.io/team/app")),
            ("first".into(), "team".into())
        );
    }

    #[test]
    fn what_cannot_be_used_is_rejected_without_its_value() {
        for (text, expect) in [
            ("s3cret", "not the JSON"),
            (
                r#"{"auths": {"https://me:s3cret@ghcr.io/v1/": {"auth": "s3cret!"}}}"#,
                "entry for \"ghcr.io\" has an 'auth' that is not base64",
            ),
            (r#"{"auths": {"ghcr.io": {"auth": "czNjcmV0"}}}"#, "without a colon"),
            (r#"{"auths": {"ghcr.io": {"auth": "/w=="}}}"#, "not UTF-8"),
        ] {
            let error = DockerConfig::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expect) && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn labels_match_as_globs() {
        for (pattern, label, expect) in [
            ("*", "abc", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c*", "abc", true),
            ("a?c", "abc", true),
            ("*b*b*", "abcb", true),
            ("a", "abc", false),
            ("*x", "abc", false),
            ("", "a", false),
            ("", "", true),
        ] {
            assert_eq!(label_matches(pattern.as_bytes(), label.as_bytes()), expect, "{pattern} {label}");
        }
    }

    #[test]
    fn fingerprints_tell_credentials_apart() {
        let basic = |username: &str, password: &str| {
            RegistryCredential::Basic { username: username.into(), password: password.into() }.fingerprint()
        };
        let all = [
            RegistryCredential::Anonymous.fingerprint(),
            basic("a", "b"),
            basic("ab", ""),
            basic("", "ab"),
            RegistryCredential::IdentityToken("ab".into()).fingerprint(),
            RegistryCredential::RegistryToken("ab".into()).fingerprint(),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one), "{index}");
        }
    }
}
