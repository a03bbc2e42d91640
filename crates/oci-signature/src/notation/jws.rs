//! The envelope of a signature in JWS (JSON): a payload, protected headers, and the certificates of the signer.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use jiff::Timestamp;
use serde::Deserialize;

use super::chain::{Certificate, KeyKind};
use crate::error::Rejection;

/// The type of the payload.
const PAYLOAD: &str = "application/vnd.cncf.notary.payload.v1+json";
/// Headers.
const SCHEME: &str = "io.cncf.notary.signingScheme";
const EXPIRY: &str = "io.cncf.notary.expiry";
const AUTHENTIC_TIME: &str = "io.cncf.notary.authenticSigningTime";
const PLUGIN: &str = "io.cncf.notary.verificationPlugin";
/// Certificates of a chain.
const CHAIN_MAX: usize = 10;

/// Algorithms of signatures, and the kind of key of each.
static ALGORITHMS: [(&str, KeyKind, &dyn VerificationAlgorithm); 6] = [
    ("ES256", KeyKind::P256, &ECDSA_P256_SHA256_FIXED),
    ("ES384", KeyKind::P384, &ECDSA_P384_SHA384_FIXED),
    ("ES512", KeyKind::P521, &ECDSA_P521_SHA512_FIXED),
    ("PS256", KeyKind::Rsa2048, &RSA_PSS_2048_8192_SHA256),
    ("PS384", KeyKind::Rsa3072, &RSA_PSS_2048_8192_SHA384),
    ("PS512", KeyKind::Rsa4096, &RSA_PSS_2048_8192_SHA512),
];

/// Who says when it was signed: the signer itself, or an authority that signs for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    X509,
    SigningAuthority,
}

impl Scheme {
    /// The type of the trust store with its certificates.
    pub(super) fn store(self) -> &'static str {
        match self {
            Self::X509 => "ca",
            Self::SigningAuthority => "signingAuthority",
        }
    }
}

/// An envelope, decoded; nothing of it is verified yet.
pub(super) struct Envelope {
    pub(super) payload: Vec<u8>,
    pub(super) certificates: Vec<Vec<u8>>,
    pub(super) scheme: Scheme,
    pub(super) signed_at: Timestamp,
    expires_at: Option<Timestamp>,
    algorithm: String,
    /// What was signed: protected headers and payload, as they are written.
    message: String,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Raw {
    payload: String,
    protected: String,
    header: Unprotected,
    signature: String,
}

#[derive(Deserialize)]
struct Unprotected {
    x5c: Vec<String>,
}

#[derive(Deserialize)]
struct Protected {
    alg: String,
    cty: String,
    #[serde(default)]
    crit: Vec<String>,
    #[serde(rename = "io.cncf.notary.signingScheme")]
    scheme: String,
    #[serde(rename = "io.cncf.notary.expiry")]
    expiry: Option<Timestamp>,
    #[serde(rename = "io.cncf.notary.signingTime")]
    signing_time: Option<Timestamp>,
    #[serde(rename = "io.cncf.notary.authenticSigningTime")]
    authentic_signing_time: Option<Timestamp>,
}

impl Envelope {
    pub(super) fn parse(envelope: &[u8]) -> Result<Self, Rejection> {
        let malformed = |error: &dyn ToString| Rejection::malformed("envelope of the signature", error);
        let Raw { payload, protected, header: Unprotected { x5c }, signature } =
            serde_json::from_slice(envelope).map_err(|error| malformed(&error))?;
        let decoded = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|error| malformed(&error));
        let headers: Protected =
            serde_json::from_slice(&decoded(&protected)?).map_err(|error| malformed(&error))?;
        if headers.cty != PAYLOAD {
            return Err(malformed(&format!("its payload has the type {:?}", headers.cty)));
        }
        if x5c.is_empty() || x5c.len() > CHAIN_MAX {
            return Err(malformed(&format!("it has to have 1 to {CHAIN_MAX} certificates")));
        }
        let certificates =
            x5c.iter().map(|der| BASE64_STANDARD.decode(der).map_err(|error| malformed(&error)));
        let certificates = certificates.collect::<Result<_, _>>()?;
        let (scheme, signed_at) = headers.check().map_err(|problem| malformed(&problem))?;
        Ok(Self {
            payload: decoded(&payload)?,
            certificates,
            scheme,
            signed_at,
            expires_at: headers.expiry,
            algorithm: headers.alg,
            message: format!("{protected}.{payload}"),
            signature: decoded(&signature)?,
        })
    }

    /// Checks that the owner of the certificate signed headers and payload.
    pub(super) fn verify(&self, leaf: &Certificate<'_>) -> Result<(), Rejection> {
        let kind = leaf.key_kind();
        let found = ALGORITHMS.iter().find(|(name, of, _)| *name == self.algorithm && Some(*of) == kind);
        let Some((_, _, algorithm)) = found else {
            let problem = format!("algorithm {:?} is not that of the key of its certificate", self.algorithm);
            return Err(Rejection::malformed("envelope of the signature", &problem));
        };
        let key = UnparsedPublicKey::new(*algorithm, leaf.public_key());
        key.verify(self.message.as_bytes(), &self.signature)
            .map_err(|_| Rejection::untrusted("the signature does not match its certificate"))
    }

    /// Checks that the signer wants it to be used at this time.
    pub(super) fn check_expiry(&self, now: Timestamp) -> Result<(), Rejection> {
        match self.expires_at {
            Some(expiry) if now >= expiry => {
                Err(Rejection::untrusted(format!("digital signature has expired on {expiry}")))
            }
            _ => Ok(()),
        }
    }
}

impl Protected {
    /// Scheme and time, where the headers fit together, and all that are critical are known.
    fn check(&self) -> Result<(Scheme, Timestamp), String> {
        let is_critical = |header: &str| self.crit.iter().any(|critical| critical == header);
        if is_critical(PLUGIN) {
            return Err("it has to be verified by a plugin, and there are none".to_owned());
        }
        let is_known = |header: &&String| [SCHEME, EXPIRY, AUTHENTIC_TIME].contains(&header.as_str());
        if let Some(unknown) = self.crit.iter().find(|header| !is_known(header)) {
            return Err(format!("its critical header {unknown:?} is not known"));
        }
        if !is_critical(SCHEME) || self.expiry.is_some() != is_critical(EXPIRY) {
            return Err("signing scheme and expiry have to be critical headers".to_owned());
        }
        let (scheme, time) = match (self.scheme.as_str(), self.signing_time, self.authentic_signing_time) {
            ("notary.x509", Some(time), None) => (Scheme::X509, time),
            ("notary.x509.signingAuthority", None, Some(time)) if is_critical(AUTHENTIC_TIME) => {
                (Scheme::SigningAuthority, time)
            }
            (scheme, _, _) => {
                return Err(format!("its signing scheme {scheme:?} is not known, or has not its time"));
            }
        };
        match self.expiry {
            Some(expiry) if expiry <= time => Err("it expires before it was signed".to_owned()),
            _ => Ok((scheme, time)),
        }
    }
}
