//! Public keys of signers.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA256_ASN1,
    ECDSA_P521_SHA512_ASN1, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};

use crate::pem::blocks;

/// Bytes of a file with a key.
const FILE_BYTES_MAX: usize = 64 << 10;

/// Bytes of an RSA key of 2048 bits: its modulus alone has these. Smaller ones verify nothing.
const RSA_BYTES_MIN: usize = 256;

/// The algorithms of the signatures of cosign and Flux, and the kind of key of each. ECDSA with SHA-256 is what they use for every
/// curve unless told otherwise; cosign 3 signs with the digest that fits the curve.
static ALGORITHMS: [(&str, &dyn VerificationAlgorithm); 7] = [
    ("ECDSA P-256", &ECDSA_P256_SHA256_ASN1),
    ("ECDSA P-384", &ECDSA_P384_SHA256_ASN1),
    ("ECDSA P-384", &ECDSA_P384_SHA384_ASN1),
    ("ECDSA P-521", &ECDSA_P521_SHA256_ASN1),
    ("ECDSA P-521", &ECDSA_P521_SHA512_ASN1),
    ("RSA", &RSA_PKCS1_2048_8192_SHA256),
    ("Ed25519", &ED25519),
];

/// The public key of a signer.
pub struct PublicKey {
    kind: &'static str,
    /// The same key for each algorithm that it may have signed with.
    algorithms: Vec<ParsedPublicKey>,
}

/// A file is not a public key that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is too large.
    #[error("it has more than {} KiB", FILE_BYTES_MAX >> 10)]
    TooLarge,
    /// It has no key.
    #[error("it has no PEM block of the type PUBLIC KEY or RSA PUBLIC KEY")]
    NotPem,
    /// It has a key that cannot be used.
    #[error("it is none of: ECDSA P-256, P-384 or P-521, RSA of 2048 to 8192 bits, Ed25519")]
    Unsupported,
}

impl PublicKey {
    /// Parses the first public key of a PEM file.
    pub fn parse_pem(pem: &[u8]) -> Result<Self, KeyError> {
        if pem.len() > FILE_BYTES_MAX {
            return Err(KeyError::TooLarge);
        }
        let is_key = |label: &str| matches!(label, "PUBLIC KEY" | "RSA PUBLIC KEY");
        let block = blocks(pem).find(|block| is_key(block.label)).ok_or(KeyError::NotPem)?;
        Self::from_der(&block.der)
    }

    /// A key as DER: a SubjectPublicKeyInfo, or an RSA key by itself.
    pub(crate) fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let fitting = ALGORITHMS.iter().filter_map(|(kind, algorithm)| {
            let parsed = ParsedPublicKey::new(*algorithm, der).ok()?;
            Some((*kind, parsed))
        });
        let (kinds, algorithms): (Vec<_>, Vec<_>) = fitting.unzip();
        let kind = kinds.first().copied().ok_or(KeyError::Unsupported)?;
        if kind == "RSA" && der.len() < RSA_BYTES_MIN {
            return Err(KeyError::Unsupported);
        }
        Ok(Self { kind, algorithms })
    }

    /// What kind of key it is: `ECDSA P-256`.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Whether the signature over the message was made with this key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.algorithms.iter().any(|key| key.verify_sig(message, signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{SIGNED, text};

    #[test]
    fn each_kind_of_key_verifies_what_it_signed_and_nothing_else() {
        for (kind, pem, signature) in SIGNED {
            let key = PublicKey::parse_pem(text(pem).as_bytes()).unwrap();
            let signature = crate::claim::decode(signature).unwrap();
            assert_eq!(key.kind(), *kind);
            assert!(key.verifies(crate::fixture::MESSAGE, &signature), "{kind}");
            assert!(!key.verifies(b"another", &signature), "{kind}");
            for (other, pem, _) in SIGNED.iter().filter(|(other, _, _)| other != kind) {
                let other_key = PublicKey::parse_pem(text(pem).as_bytes()).unwrap();
                assert!(!other_key.verifies(crate::fixture::MESSAGE, &signature), "{kind} {other}");
            }
        }
    }

    #[test]
    fn what_is_no_key_is_rejected() {
        let parse = |pem: &str| PublicKey::parse_pem(pem.as_bytes()).map(|key| key.kind());
        assert_eq!(parse(""), Err(KeyError::NotPem));
        assert_eq!(parse("ssh-ed25519 AAAA"), Err(KeyError::NotPem));
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(parse(certificate), Err(KeyError::NotPem));
        let nonsense = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
        assert_eq!(parse(nonsense), Err(KeyError::Unsupported));
        assert_eq!(parse(&"x".repeat(FILE_BYTES_MAX + 1)), Err(KeyError::TooLarge));
        assert_eq!(parse(&text(crate::fixture::SMALL_RSA)), Err(KeyError::Unsupported), "1024 bits");
    }
}
