//! Which classes are rejected, and the check of a URL whose host is a literal address.

use std::net::IpAddr;

use url::{Host, Url};

use super::class::AddressClass;

/// Which classes of addresses connections may not go to. Copied into each client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPolicy {
    rejected: u8,
    api_server: Option<IpAddr>,
    flag: &'static str,
}

/// A connection to this address is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("host {host:?} has the {class} address {address}, which is rejected; {flag} allows it")]
pub struct RejectedAddress {
    /// The host of the URL.
    pub host: String,
    /// The address.
    pub address: IpAddr,
    /// Its class.
    pub class: AddressClass,
    /// The flag that allows it.
    pub flag: &'static str,
}

impl AddressPolicy {
    /// Every address is allowed. `flag` is what errors name as the remedy: `"--allow-link-local-addresses"`.
    pub const fn allow_all(flag: &'static str) -> Self {
        Self { rejected: 0, api_server: None, flag }
    }

    /// Rejects what no source and no provider is ever at: link-local, metadata services, unspecified, multicast.
    /// Loopback and private addresses are allowed: Git servers and receivers inside of the cluster are common.
    pub const fn reject_link_local(flag: &'static str) -> Self {
        Self::allow_all(flag)
            .reject(AddressClass::LinkLocal)
            .reject(AddressClass::Metadata)
            .reject(AddressClass::Unspecified)
            .reject(AddressClass::Multicast)
    }

    /// Rejects one more class.
    #[must_use]
    pub const fn reject(self, class: AddressClass) -> Self {
        Self { rejected: self.rejected | bit(class), ..self }
    }

    /// Allows one more class.
    #[must_use]
    pub const fn allow(self, class: AddressClass) -> Self {
        Self { rejected: self.rejected & !bit(class), ..self }
    }

    /// Allows these classes, as a flag names them.
    #[must_use]
    pub fn allow_each(self, classes: &[AddressClass]) -> Self {
        classes.iter().fold(self, |policy, class| policy.allow(*class))
    }

    /// Rejects the address of the API server's Service, whatever its class: usually a private one.
    #[must_use]
    pub const fn reject_api_server(self, address: IpAddr) -> Self {
        Self { api_server: Some(address), ..self }.reject(AddressClass::ApiServer)
    }

    /// Whether a connection of `host` may go to this address.
    pub fn check(&self, host: &str, address: IpAddr) -> Result<(), RejectedAddress> {
        let is_api_server = self.api_server == Some(address.to_canonical());
        let class = if is_api_server { AddressClass::ApiServer } else { AddressClass::of(address) };
        if self.rejected & bit(class) == 0 {
            return Ok(());
        }
        Err(RejectedAddress { host: host.to_owned(), address, class, flag: self.flag })
    }

    /// Checks a URL whose host is a literal address: those are never resolved. A host name passes here and is
    /// checked by [`super::CheckedResolver`]. Call it for the first URL and for the target of each redirect.
    pub fn check_url(&self, url: &Url) -> Result<(), RejectedAddress> {
        let host = url.host_str().unwrap_or_default();
        match url.host() {
            Some(Host::Ipv4(address)) => self.check(host, address.into()),
            Some(Host::Ipv6(address)) => self.check(host, address.into()),
            Some(Host::Domain(_)) | None => Ok(()),
        }
    }
}

const fn bit(class: AddressClass) -> u8 {
    1 << class as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_addresses_of_a_url_are_checked_in_every_spelling() {
        let policy = AddressPolicy::reject_link_local("--allow-x");
        let check = |url: &str| policy.check_url(&Url::parse(url).expect("a URL"));
        for url in [
            "http://169.254.169.254/latest",
            "http://0xa9fea9fe/",
            "http://2852039166/",
            "http://0251.0376.0251.0376/",
            "http://[::ffff:169.254.169.254]/",
            "http://[fe80::1]:8080/",
            "http://0.0.0.0/",
            "http://[::]/",
        ] {
            let rejected = check(url).expect_err(url);
            assert!(rejected.to_string().ends_with("--allow-x allows it"), "{rejected}");
        }
        for url in
            ["http://10.0.0.1/", "http://127.0.0.1:3000/x", "https://[fd12::1]/", "https://example.com/"]
        {
            check(url).expect(url);
        }
        assert!(
            policy
                .reject(AddressClass::Private)
                .check_url(&Url::parse("http://10.0.0.1/").expect("a URL"))
                .is_err()
        );
    }

    #[test]
    fn the_api_server_is_rejected_among_private_addresses_that_are_not() {
        let policy = AddressPolicy::reject_link_local("--allow-x")
            .reject_api_server("10.96.0.1".parse().expect("an address"));
        let check = |url: &str| policy.check_url(&Url::parse(url).expect("a URL"));
        check("https://10.96.0.2/").expect("another Service");
        for url in ["https://10.96.0.1/", "https://[::ffff:10.96.0.1]/"] {
            assert_eq!(check(url).expect_err(url).class, AddressClass::ApiServer);
        }
        let allowed = policy.allow(AddressClass::ApiServer).allow(AddressClass::LinkLocal);
        for url in ["https://10.96.0.1/", "http://169.254.1.1/"] {
            allowed.check_url(&Url::parse(url).expect("a URL")).expect(url);
        }
    }
}
