//! Which hosts artifacts are fetched from. A status can be forged by any of its writers, so its URL is not trusted. Pure: the
//! environment and the resolver's configuration are arguments.

use std::{collections::BTreeSet, fmt, net::IpAddr, str::FromStr};

use url::{Host, Url};

use crate::error::FetchError;

/// The cluster's DNS domain where nothing else is known.
const DEFAULT_CLUSTER_DOMAIN: &str = "cluster.local";

/// Where artifacts may come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPolicy {
    /// The namespace of this controller: each Service in it may serve artifacts.
    pub runtime_namespace: Option<String>,
    /// DNS domains of the cluster, in addition to `cluster.local`.
    pub cluster_domains: BTreeSet<String>,
    /// Replaces the host of artifacts of source-controller (`SOURCE_CONTROLLER_LOCALHOST`).
    pub source_controller_localhost: Option<String>,
    /// Replaces the host of artifacts of source-watcher (`SOURCE_WATCHER_LOCALHOST`).
    pub source_watcher_localhost: Option<String>,
    /// More hosts (`--artifact-host`).
    pub artifact_hosts: Vec<HostPort>,
    /// Whether this process runs in a pod (`KUBERNETES_SERVICE_HOST` is set); outside of one, loopback is allowed.
    pub in_pod: bool,
}

/// A host, with one port or with any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    host: String,
    port: Option<u16>,
}

/// A text is not `HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not HOST[:PORT]")]
pub struct HostPortError {
    text: String,
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        let rejected = || HostPortError { text: text.to_owned() };
        if text.is_empty() || text.contains(['/', '@', '?', '#', ' ']) {
            return Err(rejected());
        }
        // A scheme without a default port: else `:80` would read as no port.
        let url = Url::parse(&format!("artifact://{text}/")).map_err(|_| rejected())?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(rejected)?;
        Ok(Self { host: plain_host(host), port: url.port() })
    }
}

impl HostPort {
    /// Whether a URL is at this host and port.
    pub fn matches(&self, url: &Url) -> bool {
        url.host_str().map(plain_host).is_some_and(|host| host == self.host)
            && self.port.is_none_or(|port| Some(port) == url.port_or_known_default())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// The URL to fetch an artifact from, its host replaced where the environment sets one; an error when the host is not allowed.
pub fn allowed_host(url: &str, policy: &HostPolicy) -> Result<Url, FetchError> {
    let rejected = |problem| FetchError::BadUrl { url: without_credentials(url), problem };
    let mut parsed = Url::parse(url).map_err(|_| rejected("it does not parse"))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(rejected("only http and https are served"));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(rejected("it carries credentials"));
    }
    let host = parsed.host_str().map(plain_host).ok_or_else(|| rejected("it has no host"))?;
    if let Some(replacement) = replacement(&host, policy) {
        let target =
            replacement.parse::<HostPort>().map_err(|_| rejected("its replacement is not HOST[:PORT]"))?;
        parsed.set_host(Some(&target.host)).map_err(|_| rejected("its replacement is not a host"))?;
        parsed.set_port(target.port).map_err(|()| rejected("its replacement is not a port"))?;
        return Ok(parsed);
    }
    let is_allowed = is_own_service(&host, policy)
        || policy.artifact_hosts.iter().any(|entry| entry.matches(&parsed))
        || (!policy.in_pod && is_loopback(parsed.host().as_ref()));
    if is_allowed {
        Ok(parsed)
    } else {
        let port = parsed.port().map_or(String::new(), |port| format!(":{port}"));
        Err(FetchError::HostNotAllowed { host: format!("{host}{port}") })
    }
}

/// The cluster's DNS domains as the `search` lines of a resolver configuration list them.
pub fn cluster_domains(resolver_configuration: &str) -> BTreeSet<String> {
    resolver_configuration
        .lines()
        .filter_map(|line| line.trim().strip_prefix("search"))
        .flat_map(str::split_whitespace)
        .filter_map(|entry| entry.trim_end_matches('.').strip_prefix("svc."))
        .map(str::to_ascii_lowercase)
        .collect()
}

fn replacement<'a>(host: &str, policy: &'a HostPolicy) -> Option<&'a str> {
    let is_watcher = host.split('.').next() == Some("source-watcher");
    let value =
        if is_watcher { &policy.source_watcher_localhost } else { &policy.source_controller_localhost };
    value.as_deref().filter(|value| !value.is_empty())
}

/// `NAME.NAMESPACE`, `NAME.NAMESPACE.svc` or `NAME.NAMESPACE.svc.DOMAIN`, with a domain of this cluster: any other domain would be
/// a host of the internet that merely looks like a Service.
fn is_own_service(host: &str, policy: &HostPolicy) -> bool {
    let Some(namespace) = policy.runtime_namespace.as_deref().filter(|namespace| !namespace.is_empty())
    else {
        return false;
    };
    let mut parts = host.splitn(4, '.');
    let (name, place, svc, domain) = (parts.next(), parts.next(), parts.next(), parts.next());
    name.is_some_and(|name| !name.is_empty())
        && place == Some(namespace)
        && svc.is_none_or(|svc| svc == "svc")
        && domain
            .is_none_or(|domain| domain == DEFAULT_CLUSTER_DOMAIN || policy.cluster_domains.contains(domain))
}

fn is_loopback(host: Option<&Host<&str>>) -> bool {
    match host {
        Some(Host::Domain(name)) => {
            let name = plain_host(name);
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(*address).to_canonical().is_loopback(),
        None => false,
    }
}

fn plain_host(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// A URL for an error text. The part before an `@` may be a password.
fn without_credentials(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_pod() -> HostPolicy {
        HostPolicy { runtime_namespace: Some("flux-system".into()), in_pod: true, ..HostPolicy::default() }
    }

    #[track_caller]
    fn check(policy: &HostPolicy, url: &str, expect: Result<&str, &str>) {
        let actual = allowed_host(url, policy);
        match expect {
            Ok(expect) => assert_eq!(actual.unwrap().as_str(), expect),
            Err(expect) => {
                assert!(actual.as_ref().unwrap_err().to_string().contains(expect), "{url}: {actual:?}");
            }
        }
    }

    #[test]
    fn services_of_the_own_namespace_are_allowed() {
        for host in [
            "source-controller.flux-system",
            "source-controller.flux-system.",
            "source-controller.flux-system.svc",
            "source-controller.flux-system.svc.",
            "source-controller.flux-system.svc.cluster.local",
            "source-controller.flux-system.svc.cluster.local.",
            "other.flux-system.svc.cluster.local.:9090",
        ] {
            let url = format!("http://{host}/gitrepository/a/b/c.tar.gz");
            check(&in_pod(), &url, Ok(&url));
        }
    }

    #[test]
    fn everything_else_is_rejected() {
        for (url, text) in [
            ("http://source-controller.other.svc.cluster.local./x", "not allowed"),
            ("http://source-controller.flux-system.evil.com/x", "not allowed"),
            ("http://source-controller.flux-system.svc.evil.com/x", "not allowed"),
            ("http://.flux-system/x", ""),
            ("http://flux-system/x", "not allowed"),
            ("http://127.0.0.1:8080/x", "host 127.0.0.1:8080 is not allowed"),
            ("http://169.254.169.254/latest", "not allowed"),
            ("file:///etc/passwd", "only http"),
            ("http://u:secret@source-controller.flux-system/x", "carries credentials"),
            ("nonsense", "does not parse"),
        ] {
            check(&in_pod(), url, Err(text));
            let shown = allowed_host(url, &in_pod()).unwrap_err().to_string();
            assert!(!shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn loopback_is_allowed_outside_of_a_pod_only() {
        let policy = HostPolicy::default();
        for url in ["http://127.0.0.1:1/x", "http://localhost:1/x", "http://[::1]:1/x", "http://127.8.8.8/x"]
        {
            check(&policy, url, Ok(url));
        }
        check(&policy, "http://10.0.0.1/x", Err("not allowed"));
        check(&in_pod(), "http://[::1]:1/x", Err("not allowed"));
    }

    #[test]
    fn a_listed_host_is_allowed_with_its_port() {
        let policy = HostPolicy {
            artifact_hosts: vec!["a.example:9090".parse().unwrap(), "b.example".parse().unwrap()],
            ..in_pod()
        };
        check(&policy, "http://a.example:9090/x", Ok("http://a.example:9090/x"));
        check(&policy, "http://a.example/x", Err("not allowed"));
        check(&policy, "http://B.example:7/x", Ok("http://b.example:7/x"));
        assert!("http://a".parse::<HostPort>().is_err());
        assert_eq!("a.example:80".parse::<HostPort>().unwrap().to_string(), "a.example:80");
    }

    #[test]
    fn the_environment_replaces_the_host() {
        let policy = HostPolicy {
            source_controller_localhost: Some("localhost:9000".into()),
            source_watcher_localhost: Some("localhost:9001".into()),
            ..in_pod()
        };
        check(&policy, "http://source-controller.x.svc/a", Ok("http://localhost:9000/a"));
        check(&policy, "http://source-watcher.x.svc/a", Ok("http://localhost:9001/a"));
    }

    #[test]
    fn the_resolver_resolves_the_cluster_domain() {
        let domains =
            cluster_domains("nameserver 10.0.0.1\nsearch flux-system.svc.corp.lan svc.corp.lan corp.lan\n");
        assert_eq!(domains, BTreeSet::from(["corp.lan".to_owned()]));
        let policy = HostPolicy { cluster_domains: domains, ..in_pod() };
        let url = "http://source-controller.flux-system.svc.corp.lan./x";
        check(&policy, url, Ok(url));
    }
}
