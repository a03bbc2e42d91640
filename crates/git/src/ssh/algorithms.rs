//! Which algorithms an SSH connection may use: those with a secure hash, in a fixed order, or those of a flag. Host keys are asked
//! for in the types that known_hosts has for the host, so that a server with several keys offers one that is known.

use std::str::FromStr;

use russh::{
    Preferred, kex,
    keys::{Algorithm, EcdsaCurve, HashAlg},
};

/// Key exchanges, the preferred ones first.
static KEX: [kex::Name; 12] = [
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_G16_SHA512,
    kex::DH_G14_SHA256,
    kex::DH_GEX_SHA256,
    kex::DH_G15_SHA512,
    kex::DH_G17_SHA512,
    kex::DH_G18_SHA512,
];

/// Host keys, the preferred ones first. RSA only with SHA-2.
static HOST_KEYS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// An algorithm is not supported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not supported: use one of {}", supported.join(", "))]
pub struct UnknownAlgorithm {
    /// As given.
    pub name: String,
    supported: Vec<&'static str>,
}

/// Key exchange algorithms by their names, separated by commas; none means the default ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KexAlgorithms(Vec<kex::Name>);

/// Host key algorithms by their names, separated by commas; none means the default ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostKeyAlgorithms(Vec<Algorithm>);

/// The algorithms of SSH connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshAlgorithms {
    /// Key exchange.
    pub kex: KexAlgorithms,
    /// Host keys.
    pub host_keys: HostKeyAlgorithms,
}

impl FromStr for KexAlgorithms {
    type Err = UnknownAlgorithm;

    fn from_str(names: &str) -> Result<Self, UnknownAlgorithm> {
        chosen(names, &KEX, |name| name.as_ref()).map(Self)
    }
}

impl FromStr for HostKeyAlgorithms {
    type Err = UnknownAlgorithm;

    fn from_str(names: &str) -> Result<Self, UnknownAlgorithm> {
        chosen(names, &HOST_KEYS, |algorithm| algorithm.as_str()).map(Self)
    }
}

fn chosen<T: Clone>(
    names: &str,
    supported: &'static [T],
    name_of: impl Fn(&'static T) -> &'static str,
) -> Result<Vec<T>, UnknownAlgorithm> {
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let found = supported.iter().find(|one| name_of(one) == name).cloned();
            found.ok_or_else(|| UnknownAlgorithm {
                name: name.to_owned(),
                supported: supported.iter().map(&name_of).collect(),
            })
        })
        .collect()
}

impl SshAlgorithms {
    /// For a host of which keys of these types are known; `has_authority` where certificates for it are known.
    pub(crate) fn preferred(&self, known: &[Algorithm], has_authority: bool) -> Preferred {
        let mut kex = if self.kex.0.is_empty() { KEX.to_vec() } else { self.kex.0.clone() };
        // No algorithms: the server may list what it verifies RSA signatures with, and the handshake cannot be truncated.
        kex.extend([kex::EXTENSION_SUPPORT_AS_CLIENT, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT]);
        let allowed = if self.host_keys.0.is_empty() { HOST_KEYS.to_vec() } else { self.host_keys.0.clone() };
        let is_known = |algorithm: &Algorithm| known.iter().any(|known| is_same_type(known, algorithm));
        let (mut key, others): (Vec<_>, Vec<_>) = allowed.iter().cloned().partition(is_known);
        key.extend(others);
        let host_key_certificates = if has_authority { allowed } else { Vec::new() };
        Preferred {
            kex: kex.into(),
            key: key.into(),
            host_key_certificates: host_key_certificates.into(),
            ..Preferred::DEFAULT
        }
    }
}

/// An RSA key is of one type, whatever it signs with.
fn is_same_type(one: &Algorithm, other: &Algorithm) -> bool {
    matches!((one, other), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. })) || one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_names_algorithms_and_no_weak_one_is_supported() {
        assert_eq!("".parse::<KexAlgorithms>().unwrap(), KexAlgorithms::default());
        let both: KexAlgorithms = "curve25519-sha256, diffie-hellman-group14-sha256".parse().unwrap();
        assert_eq!(both.0, [kex::CURVE25519, kex::DH_G14_SHA256]);
        for weak in ["diffie-hellman-group1-sha1", "diffie-hellman-group14-sha1", "none", "ext-info-c", "x"] {
            let error = weak.parse::<KexAlgorithms>().unwrap_err().to_string();
            assert!(error.contains(weak) && error.contains("curve25519-sha256"), "{error}");
        }
        let one: HostKeyAlgorithms = "rsa-sha2-256".parse().unwrap();
        assert_eq!(one.0, [Algorithm::Rsa { hash: Some(HashAlg::Sha256) }]);
        for weak in ["ssh-rsa", "ssh-dss"] {
            assert!(weak.parse::<HostKeyAlgorithms>().is_err(), "{weak}");
        }
    }

    #[test]
    fn types_that_are_known_for_the_host_are_preferred() {
        let algorithms = SshAlgorithms::default();
        let names = |known: &[Algorithm]| {
            let preferred = algorithms.preferred(known, false);
            assert!(preferred.host_key_certificates.is_empty());
            preferred.key.iter().map(|algorithm| algorithm.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&[])[0], "ssh-ed25519");
        // known_hosts has `ssh-rsa` for all of them.
        let rsa = names(&[Algorithm::Rsa { hash: None }]);
        assert_eq!(rsa[..3], ["rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"]);
        assert!(!rsa.contains(&"ssh-rsa".to_owned()), "no signature with SHA-1");
        assert!(!algorithms.preferred(&[], true).host_key_certificates.is_empty());
        let kex = algorithms.preferred(&[], false).kex;
        assert!(kex.contains(&kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT));
        assert!(kex.iter().all(|name| !name.as_ref().ends_with("sha1")));
    }
}
