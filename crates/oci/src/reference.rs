//! Which repository of which registry: `oci://host[:port]/path`, with the rules and the defaults of Docker's references. Pure.

use std::{fmt, net::IpAddr};

/// The registry where a reference names none.
const DEFAULT_REGISTRY: &str = "index.docker.io";
/// Another name of it.
const DEFAULT_REGISTRY_ALIAS: &str = "docker.io";
/// Where the default registry has repositories whose path is one name.
const OFFICIAL: &str = "library";
/// The prefix of a URL.
const SCHEME: &str = "oci://";
/// Bytes of the path of a repository.
const PATH_BYTES: std::ops::RangeInclusive<usize> = 2..=255;
/// Bytes of a tag.
const TAG_BYTES_MAX: usize = 128;

/// A repository of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repository {
    registry: String,
    path: String,
}

/// A text does not name a repository, or a tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Another scheme, or no path.
    #[error("URL must be in format 'oci://<domain>/<org>/<repo>'")]
    Format,
    /// A tag in the URL.
    #[error("URL must not contain a tag; remove ':{tag}'")]
    Tag {
        /// The tag.
        tag: String,
    },
    /// A digest in the URL.
    #[error("URL must not contain a digest; set spec.ref.digest")]
    Digest,
    /// The host.
    #[error("registry {registry:?} is not a host with an optional port")]
    Registry {
        /// The host.
        registry: String,
    },
    /// The path.
    #[error("repository {path:?} {problem}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The tag of a reference.
    #[error("tag {tag:?} {problem}")]
    BadTag {
        /// The tag.
        tag: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Repository {
    /// The repository of a URL.
    pub fn parse(url: &str) -> Result<Self, ReferenceError> {
        let name = url.strip_prefix(SCHEME).filter(|name| !name.is_empty()).ok_or(ReferenceError::Format)?;
        if name.contains('@') {
            return Err(ReferenceError::Digest);
        }
        let (registry, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path.to_owned()),
            _ if !name.contains('/') && name.contains(['.', ':']) => return Err(ReferenceError::Format),
            Some(_) => (DEFAULT_REGISTRY, name.to_owned()),
            None => (DEFAULT_REGISTRY, format!("{OFFICIAL}/{name}")),
        };
        if let Some((_, tag)) = path.split_once(':') {
            return Err(ReferenceError::Tag { tag: tag.to_owned() });
        }
        check_path(&path)?;
        check_registry(registry)?;
        let registry = if registry == DEFAULT_REGISTRY_ALIAS { DEFAULT_REGISTRY } else { registry };
        let path = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            format!("{OFFICIAL}/{path}")
        } else {
            path
        };
        Ok(Self { registry: registry.to_ascii_lowercase(), path })
    }

    /// Host and perhaps port.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The host alone.
    pub fn host(&self) -> &str {
        split_port(&self.registry).0
    }

    /// The path in the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the registry may be asked over plain HTTP though no one says so: one on this host, in a private network of IPv4, or in
    /// `.local`, as Flux and `crane` have it.
    pub fn is_local(&self) -> bool {
        let host = self.host();
        let suffix = |suffix: &str| host.ends_with(suffix);
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_private(),
            Ok(IpAddr::V6(address)) => address.is_loopback(),
            Err(_) => host == "localhost" || suffix(".local") || suffix(".localhost"),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

/// Checks a tag.
pub fn check_tag(tag: &str) -> Result<(), ReferenceError> {
    let bad = |problem| Err(ReferenceError::BadTag { tag: tag.to_owned(), problem });
    if tag.is_empty() || tag.len() > TAG_BYTES_MAX {
        return bad("must have 1 to 128 characters");
    }
    if !tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')) {
        return bad("may only contain letters, digits, '_', '-' and '.'");
    }
    if tag.starts_with(['-', '.']) {
        return bad("may not begin with '-' or '.'");
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), ReferenceError> {
    let bad = |problem| Err(ReferenceError::Path { path: path.to_owned(), problem });
    if !PATH_BYTES.contains(&path.len()) {
        return bad("must have 2 to 255 characters");
    }
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.' | b'/')
    };
    if !path.bytes().all(allowed) {
        return bad("may only contain lower case letters, digits, '_', '-', '.' and '/'");
    }
    // Such a part would lead to another repository, once the path is in a URL.
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return bad("has an empty part, '.' or '..'");
    }
    Ok(())
}

fn check_registry(registry: &str) -> Result<(), ReferenceError> {
    let bad = || Err(ReferenceError::Registry { registry: registry.to_owned() });
    let (host, port) = split_port(registry);
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return bad();
    }
    let is_literal = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    let is_name = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    if is_literal || is_name { Ok(()) } else { bad() }
}

fn split_port(registry: &str) -> (&str, Option<&str>) {
    match registry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (registry, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_and_path_are_those_of_docker() {
        for (url, expect) in [
            ("oci://ghcr.io/stefanprodan/manifests/podinfo", "ghcr.io/stefanprodan/manifests/podinfo"),
            ("oci://docker.io/org/app", "index.docker.io/org/app"),
            ("oci://docker.io/app", "index.docker.io/library/app"),
            ("oci://org/app", "index.docker.io/org/app"),
            ("oci://app", "index.docker.io/library/app"),
            ("oci://localhost/app", "localhost/app"),
            ("oci://localhost:5000/org/app", "localhost:5000/org/app"),
            ("oci://[::1]:5000/app", "[::1]:5000/app"),
            ("oci://GHCR.io/org/app", "ghcr.io/org/app"),
            ("oci://host.example/a__b.c-d/e", "host.example/a__b.c-d/e"),
        ] {
            assert_eq!(Repository::parse(url).unwrap().to_string(), expect, "{url}");
        }
    }

    #[test]
    fn what_is_no_repository_is_rejected_with_its_part() {
        for (url, expect) in [
            ("https://ghcr.io/org/app", "URL must be in format"),
            ("oci://ghcr.io", "URL must be in format"),
            ("oci://", "URL must be in format"),
            ("oci://ghcr.io/org/app:v1", "URL must not contain a tag; remove ':v1'"),
            ("oci://localhost:5000/app:v1", "URL must not contain a tag; remove ':v1'"),
            ("oci://ghcr.io/org/app@sha256:00", "must not contain a digest"),
            ("oci://me:secret@ghcr.io/org/app", "must not contain a digest"),
            ("oci://ghcr.io/Org/app", "lower case letters"),
            ("oci://ghcr.io/org/../../v2/x", "'..'"),
            ("oci://ghcr.io//app", "an empty part"),
            ("oci://ghcr.io/org/app?x=y", "lower case letters"),
            ("oci://ghcr.io:99999/org/app", "is not a host"),
            ("oci://[x]:5000/org/app", "is not a host"),
            ("oci://a b.c/org/app", "is not a host"),
        ] {
            let error = Repository::parse(url).unwrap_err().to_string();
            assert!(error.contains(expect), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn only_registries_nearby_are_asked_over_plain_http() {
        for (registry, local) in [
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("10.1.2.3", true),
            ("172.16.0.1:80", true),
            ("192.168.1.1", true),
            ("registry.local", true),
            ("registry.localhost:5000", true),
            ("172.32.0.1", false),
            ("8.8.8.8", false),
            ("registry.svc.cluster.example", false),
            ("localhost.example", false),
        ] {
            let repository = Repository::parse(&format!("oci://{registry}/org/app")).unwrap();
            assert_eq!(repository.is_local(), local, "{registry}");
        }
    }

    #[test]
    fn tags_are_checked() {
        for tag in ["latest", "v1.2.3", "6.5.4_build.1", "_x", &"a".repeat(128)] {
            assert_eq!(check_tag(tag), Ok(()), "{tag}");
        }
        for tag in ["", "a/b", "a:b", "ä", "-x", ".x", "a b", "1.0+1", &"a".repeat(129)] {
            assert!(check_tag(tag).is_err(), "{tag}");
        }
    }
}
