//! DNS with the policy applied to each response: what is rejected is never connected to.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::policy::{AddressPolicy, RejectedAddress};
use crate::connection::ConnectionError;

/// Addresses of one name that are used, at most.
const ADDRESSES_MAX: usize = 64;

/// What the standard library puts before the words of the system's resolver.
const LOOKUP_FAILED: &str = "failed to lookup address information: ";

/// Resolves names by the system's resolver and leaves out addresses that the policy rejects. When none is left, the
/// connection fails with [`RejectedAddress`] among the sources of its error.
#[derive(Clone, Copy, Debug)]
pub struct CheckedResolver {
    policy: AddressPolicy,
}

impl CheckedResolver {
    /// A resolver with this policy, for `reqwest::ClientBuilder::dns_resolver`. A proxy would resolve in its place:
    /// use `no_proxy` together with it.
    pub fn new(policy: AddressPolicy) -> Self {
        Self { policy }
    }
}

/// A name does not lead to an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("host {host:?} cannot be resolved: {}", problem.strip_prefix(LOOKUP_FAILED).unwrap_or(problem))]
pub struct Unresolved {
    /// The host of the URL.
    pub host: String,
    /// The text of the system's resolver.
    problem: String,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy;
        Box::pin(async move {
            // The port is set by the connector.
            let allowed = resolve(&policy, name.as_str(), 0).await?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// The addresses of a host that the policy allows.
pub(crate) async fn resolve(
    policy: &AddressPolicy,
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, ConnectionError> {
    let found = tokio::net::lookup_host((host, port)).await.map_err(|source| {
        ConnectionError::Unresolved(Unresolved { host: host.to_owned(), problem: source.to_string() })
    })?;
    allowed(policy, host, found).map_err(ConnectionError::Address)
}

fn allowed(
    policy: &AddressPolicy,
    host: &str,
    found: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, RejectedAddress> {
    let mut rejected: Option<RejectedAddress> = None;
    let mut allowed = Vec::new();
    for address in found.take(ADDRESSES_MAX) {
        match policy.check(host, address.ip()) {
            Ok(()) => allowed.push(address),
            Err(error) => rejected = Some(error),
        }
    }
    match rejected {
        Some(error) if allowed.is_empty() => Err(error),
        _ => Ok(allowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::AddressClass;

    #[test]
    fn rejected_addresses_are_left_out_and_an_empty_rest_is_an_error() {
        let policy = AddressPolicy::reject_link_local("--allow-x");
        let addresses = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| SocketAddr::new(text.parse().expect("an address"), 0)).collect()
        };
        let good = addresses(&["10.0.0.1"]);
        let mixed = addresses(&["169.254.169.254", "10.0.0.1"]);
        assert_eq!(allowed(&policy, "h", mixed.into_iter()).expect("one is left"), good);
        let error =
            allowed(&policy, "h", addresses(&["169.254.169.254"]).into_iter()).expect_err("none is left");
        assert_eq!(error.class, AddressClass::LinkLocal);
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_rejected_address_is_never_connected_to() {
        // `localhost` is an example of any name: here loopback is the class that is rejected.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://localhost:{}/", listener.local_addr().expect("bound").port());
        let policy = AddressPolicy::reject_link_local("--allow-x").reject(AddressClass::Loopback);
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(std::time::Duration::from_secs(2))
            .dns_resolver(std::sync::Arc::new(CheckedResolver::new(policy)))
            .build()
            .expect("a client");
        let error = client.get(&url).send().await.expect_err("rejected");
        assert!(format!("{error:?}").contains("class: Loopback"), "{error:?}");
        let accepted = tokio::time::timeout(std::time::Duration::from_millis(50), listener.accept()).await;
        assert!(accepted.is_err(), "no connection was made");
    }
}
