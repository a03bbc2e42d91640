//! What kind of address an IP address is. An IPv4 address inside an IPv6 address counts as that IPv4 address.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// Addresses of metadata services of clouds outside of the link-local ranges.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// The kind of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressClass {
    /// Reachable from everywhere.
    Global,
    /// RFC 1918, RFC 6598 and unique local addresses: Services and Pods, usually.
    Private,
    /// The host itself.
    Loopback,
    /// 169.254.0.0/16 and fe80::/10. Metadata services of most clouds are here.
    LinkLocal,
    /// The metadata service of a cloud outside of the link-local ranges.
    Metadata,
    /// 0.0.0.0/8 and `::`, which reach the host itself.
    Unspecified,
    /// Multicast and broadcast.
    Multicast,
    /// The API server's own Service, where it is known: [`AddressClass::of`] never returns it.
    ApiServer,
}

impl AddressClass {
    /// The class of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => embedded_v4(address).map_or_else(|| of_v6(address), of_v4),
        }
    }
}

/// The classes that a flag can allow, with their names there: those that a policy may reject by default.
const ALLOWABLE: [(AddressClass, &str); 6] = [
    (AddressClass::Loopback, "loopback"),
    (AddressClass::LinkLocal, "link-local"),
    (AddressClass::Metadata, "metadata"),
    (AddressClass::Unspecified, "unspecified"),
    (AddressClass::Multicast, "multicast"),
    (AddressClass::ApiServer, "api-server"),
];

/// A text is not the name of a class that can be allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("address class {text:?} is not supported: use {}", ALLOWABLE.map(|(_, name)| name).join(", "))]
pub struct UnknownAddressClass {
    /// The text.
    text: String,
}

impl FromStr for AddressClass {
    type Err = UnknownAddressClass;

    /// The class that a flag names. Global and private addresses have none: no policy rejects them by default.
    fn from_str(text: &str) -> Result<Self, UnknownAddressClass> {
        let found = ALLOWABLE.iter().find(|(_, name)| *name == text);
        found.map(|(class, _)| *class).ok_or_else(|| UnknownAddressClass { text: text.to_owned() })
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = ALLOWABLE.iter().find(|(class, _)| class == self).map(|(_, name)| *name);
        f.write_str(named.unwrap_or(if *self == Self::Private { "private" } else { "global" }))
    }
}

fn of_v4(address: Ipv4Addr) -> AddressClass {
    let [first, second, ..] = address.octets();
    if METADATA_V4.contains(&address) {
        AddressClass::Metadata
    } else if first == 0 {
        AddressClass::Unspecified
    } else if address.is_loopback() {
        AddressClass::Loopback
    } else if address.is_link_local() {
        AddressClass::LinkLocal
    } else if address.is_private() || (first == 100 && (64..128).contains(&second)) {
        AddressClass::Private
    } else if address.is_multicast() || address.is_broadcast() {
        AddressClass::Multicast
    } else {
        AddressClass::Global
    }
}

fn of_v6(address: Ipv6Addr) -> AddressClass {
    if METADATA_V6.contains(&address) {
        AddressClass::Metadata
    } else if address.is_unspecified() {
        AddressClass::Unspecified
    } else if address.is_loopback() {
        AddressClass::Loopback
    } else if address.is_unicast_link_local() {
        AddressClass::LinkLocal
    } else if address.is_unique_local() {
        AddressClass::Private
    } else if address.is_multicast() {
        AddressClass::Multicast
    } else {
        AddressClass::Global
    }
}

/// The IPv4 address that an IPv6 address embeds: mapped, compatible, NAT64 (64:ff9b::/96), 6to4 (2002::/16).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let join = |at: usize| {
        let ([first, second], [third, fourth]) = (segments[at].to_be_bytes(), segments[at + 1].to_be_bytes());
        Ipv4Addr::new(first, second, third, fourth)
    };
    match segments {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(join(6)),
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => Some(join(6)),
        [0x2002, ..] => Some(join(1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_class_however_it_is_written() {
        for (address, class) in [
            ("8.8.8.8", AddressClass::Global),
            ("2606:4700::1111", AddressClass::Global),
            ("10.96.0.1", AddressClass::Private),
            ("172.16.0.1", AddressClass::Private),
            ("192.168.1.1", AddressClass::Private),
            ("100.64.0.1", AddressClass::Private),
            ("fd12::1", AddressClass::Private),
            ("127.0.0.1", AddressClass::Loopback),
            ("127.9.9.9", AddressClass::Loopback),
            ("::1", AddressClass::Loopback),
            ("169.254.169.254", AddressClass::LinkLocal),
            ("fe80::1", AddressClass::LinkLocal),
            ("100.100.100.200", AddressClass::Metadata),
            ("fd00:ec2::254", AddressClass::Metadata),
            ("0.0.0.0", AddressClass::Unspecified),
            ("0.1.2.3", AddressClass::Unspecified),
            ("::", AddressClass::Unspecified),
            ("224.0.0.1", AddressClass::Multicast),
            ("255.255.255.255", AddressClass::Multicast),
            ("ff02::1", AddressClass::Multicast),
            ("::ffff:169.254.169.254", AddressClass::LinkLocal),
            ("::169.254.169.254", AddressClass::LinkLocal),
            ("64:ff9b::a9fe:a9fe", AddressClass::LinkLocal),
            ("2002:a9fe:a9fe::1", AddressClass::LinkLocal),
            ("::ffff:127.0.0.1", AddressClass::Loopback),
        ] {
            assert_eq!(AddressClass::of(address.parse().expect("an address")), class, "{address}");
        }
    }

    #[test]
    fn a_flag_names_the_classes_as_errors_do() {
        for (class, name) in ALLOWABLE {
            assert_eq!((name.parse(), class.to_string().as_str()), (Ok(class), name));
        }
        for text in ["global", "private", "Loopback", "", "loopback,metadata"] {
            let error = text.parse::<AddressClass>().unwrap_err().to_string();
            assert!(
                error.ends_with("use loopback, link-local, metadata, unspecified, multicast, api-server"),
                "{error}"
            );
        }
        assert_eq!(AddressClass::Private.to_string(), "private");
    }
}
