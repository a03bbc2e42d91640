//! The certificates of a signer: from its own to that of a CA that signed itself, in this order and complete.

use jiff::Timestamp;
use x509_parser::{
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_SHA1WITHRSA,
        OID_PKIX_AUTHORITY_INFO_ACCESS, OID_SHA1_WITH_RSA, OID_X509_EXT_CRL_DISTRIBUTION_POINTS,
    },
    parse_x509_certificate,
    prelude::X509Certificate,
    public_key::PublicKey,
};

use super::name::Name;
use crate::error::Rejection;

/// Kinds of keys that may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    P256,
    P384,
    P521,
    Rsa2048,
    Rsa3072,
    Rsa4096,
}

/// A certificate, and the bytes that it was read from.
pub(super) struct Certificate<'a> {
    der: &'a [u8],
    parsed: X509Certificate<'a>,
}

/// Certificates from that of the signer on.
pub(super) struct Chain<'a>(Vec<Certificate<'a>>);

/// Whether the bytes are one certificate.
pub(super) fn is_certificate(der: &[u8]) -> bool {
    Certificate::parse(der).is_ok()
}

impl<'a> Certificate<'a> {
    fn parse(der: &'a [u8]) -> Result<Self, Rejection> {
        let malformed = |error: &dyn ToString| Rejection::malformed("certificate", error);
        let (rest, parsed) = parse_x509_certificate(der).map_err(|error| malformed(&error))?;
        if !rest.is_empty() {
            return Err(malformed(&"something follows it"));
        }
        Ok(Self { der, parsed })
    }

    /// The kind of its key; none where such a key may not sign.
    pub(super) fn key_kind(&self) -> Option<KeyKind> {
        let key = self.parsed.public_key();
        if key.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
            let curve = key.algorithm.parameters.as_ref()?.as_oid().ok()?;
            let curves = [
                (OID_EC_P256, KeyKind::P256),
                (OID_NIST_EC_P384, KeyKind::P384),
                (OID_NIST_EC_P521, KeyKind::P521),
            ];
            return curves.into_iter().find(|(oid, _)| *oid == curve).map(|(_, kind)| kind);
        }
        match key.parsed().ok()? {
            PublicKey::RSA(rsa) => match rsa.key_size() {
                2048 => Some(KeyKind::Rsa2048),
                3072 => Some(KeyKind::Rsa3072),
                4096 => Some(KeyKind::Rsa4096),
                _ => None,
            },
            _ => None,
        }
    }

    /// Its key, without the algorithm.
    pub(super) fn public_key(&self) -> &[u8] {
        &self.parsed.public_key().subject_public_key.data
    }

    /// The name of its owner.
    pub(super) fn subject(&self) -> Result<Name, String> {
        let registry = x509_parser::objects::oid_registry();
        let mut parts = Vec::new();
        for attribute in self.parsed.subject().iter_attributes() {
            let kind = x509_parser::objects::oid2abbrev(attribute.attr_type(), registry);
            let (Ok(kind), Ok(value)) = (kind, attribute.as_str()) else { continue };
            parts.push((kind, value));
        }
        Name::of(parts)
    }

    /// Whether the other one issued it.
    fn is_issued_by(&self, issuer: &Self) -> bool {
        let weak = [OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA];
        !weak.contains(&self.parsed.signature_algorithm.algorithm)
            && self.parsed.issuer().as_raw() == issuer.parsed.subject().as_raw()
            && self.parsed.verify_signature(Some(issuer.parsed.public_key())).is_ok()
    }

    /// Checks what the certificate of a signer may be used for.
    fn check_leaf(&self) -> Result<(), Rejection> {
        let malformed = |problem: &str| Rejection::malformed("signing certificate", &problem);
        if self.parsed.is_ca() {
            return Err(malformed("it is that of a CA"));
        }
        let usage = self.parsed.key_usage().ok().flatten();
        let usage =
            usage.filter(|usage| usage.critical).ok_or_else(|| malformed("it has no critical key usage"))?;
        // Bit 0: digital signature. Bit 1, content commitment, may be there, too.
        if usage.value.flags & !2 != 1 {
            return Err(malformed("its key usage is not digital signature alone"));
        }
        let Ok(extended) = self.parsed.extended_key_usage() else {
            return Err(malformed("its extended key usage cannot be read"));
        };
        let is_for_others = extended.is_some_and(|usage| {
            let usage = usage.value;
            usage.server_auth
                || usage.client_auth
                || usage.email_protection
                || usage.time_stamping
                || usage.ocsp_signing
        });
        if is_for_others {
            return Err(malformed("its extended key usage is not for code alone"));
        }
        self.key_kind().map(|_| ()).ok_or_else(|| malformed("its key is of a kind that may not sign"))
    }

    /// Checks that it is that of a CA which may have so many CAs below it.
    fn check_ca(&self, below: usize) -> Result<(), Rejection> {
        let malformed = |problem: &str| Rejection::malformed("certificate of a CA", &problem);
        let constraints = self.parsed.basic_constraints().ok().flatten();
        let Some(constraints) = constraints.filter(|constraints| constraints.value.ca) else {
            return Err(malformed("it is not that of a CA"));
        };
        if constraints.value.path_len_constraint.is_some_and(|max| (max as usize) < below) {
            return Err(malformed("its path is too long"));
        }
        let usage = self.parsed.key_usage().ok().flatten();
        match usage {
            Some(usage) if usage.critical && usage.value.key_cert_sign() => Ok(()),
            _ => Err(malformed("its key usage is not to sign certificates")),
        }
    }

    fn validity(&self) -> (i64, i64) {
        let validity = self.parsed.validity();
        (validity.not_before.timestamp(), validity.not_after.timestamp())
    }
}

impl<'a> Chain<'a> {
    pub(super) fn parse(certificates: &'a [Vec<u8>]) -> Result<Self, Rejection> {
        let parsed: Vec<_> =
            certificates.iter().map(|der| Certificate::parse(der)).collect::<Result<_, _>>()?;
        if parsed.is_empty() {
            return Err(Rejection::malformed("envelope of the signature", &"it has no certificates"));
        }
        Ok(Self(parsed))
    }

    /// The certificate of the signer.
    pub(super) fn leaf(&self) -> &Certificate<'a> {
        // There is one: `parse` has seen to it.
        &self.0[0]
    }

    /// Checks that each certificate was issued by the next one, the last one by itself, and that all are for this use.
    pub(super) fn check(&self) -> Result<(), Rejection> {
        self.leaf().check_leaf()?;
        let last = self.0.len() - 1;
        for (at, certificate) in self.0.iter().enumerate() {
            let issuer = self.0.get(at + 1).unwrap_or(certificate);
            if !certificate.is_issued_by(issuer) {
                return Err(Rejection::untrusted(
                    "its certificates do not lead from the signer to a CA that signed itself",
                ));
            }
            if at < last && certificate.is_issued_by(certificate) {
                return Err(Rejection::untrusted("a certificate that signed itself is not the last one"));
            }
            if at > 0 {
                certificate.check_ca(at - 1)?;
            }
        }
        Ok(())
    }

    /// Whether one of the certificates is one of these.
    pub(super) fn has_one_of(&self, trusted: &[Vec<u8>]) -> bool {
        self.0.iter().any(|certificate| trusted.iter().any(|trusted| trusted == certificate.der))
    }

    /// Checks that all were valid at a time.
    pub(super) fn check_valid(&self, time: Timestamp) -> Result<(), Rejection> {
        let time = time.as_second();
        for (from, to) in self.0.iter().map(Certificate::validity) {
            if time < from {
                return Err(Rejection::untrusted("one of its certificates is not valid yet"));
            }
            if time > to {
                return Err(Rejection::untrusted("one of its certificates has expired"));
            }
        }
        Ok(())
    }

    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        self.0.iter().any(|certificate| now.as_second() > certificate.validity().1)
    }

    /// Checks that none of them says where it may be revoked: those places are not asked.
    pub(super) fn check_revocable(&self) -> Result<(), Rejection> {
        let places = [OID_X509_EXT_CRL_DISTRIBUTION_POINTS, OID_PKIX_AUTHORITY_INFO_ACCESS];
        let names_one = |certificate: &Certificate<'_>| {
            certificate.parsed.iter_extensions().any(|extension| places.contains(&extension.oid))
        };
        if self.0.iter().any(names_one) {
            let problem = "one of its certificates names a CRL or an OCSP server, which is not asked: override 'revocation' with 'skip' or 'log' in the trust policy";
            return Err(Rejection::untrusted(problem));
        }
        Ok(())
    }
}
