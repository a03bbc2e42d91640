//! Signatures of Notation (Notary Project): an envelope with the certificates of its signer, judged by a trust policy. The envelope is
//! JWS; COSE is rejected by name.

mod chain;
mod jws;
mod name;
mod policy;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::Deserialize;

use self::{
    chain::Chain,
    jws::{Envelope, Scheme},
    policy::{Action, Statement},
};
use crate::{error::Rejection, pem::blocks};

pub use policy::{TrustPolicy, TrustPolicyError};

/// The type of the artifact with a signature.
pub const NOTATION_ARTIFACT_TYPE: &str = "application/vnd.cncf.notary.signature";
/// The media type of an envelope that is understood.
pub const JWS_MEDIA_TYPE: &str = "application/jose+json";
/// Bytes of an envelope: it has a few certificates.
pub const ENVELOPE_BYTES_MAX: u64 = 1 << 20;
/// Certificates of a trust store.
const CERTIFICATES_MAX: usize = 100;

/// Whose signatures count, by a trust policy and the certificates of its trust stores.
pub struct Notation {
    policy: TrustPolicy,
    /// DER.
    certificates: Vec<Vec<u8>>,
}

/// The artifact that has to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The media type of its manifest.
    pub media_type: String,
    /// The digest of its manifest.
    pub digest: String,
    /// The bytes of its manifest.
    pub size: u64,
}

/// What a signature that was accepted is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The signer is one that is trusted.
    Verified,
    /// The policy accepts it though nobody vouches for it.
    Ignored,
}

/// The certificates of a Secret cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificatesError {
    /// One is not a certificate.
    #[error("it has no certificate, as PEM or DER")]
    None,
    /// There are too many.
    #[error("there are more than {CERTIFICATES_MAX} certificates")]
    TooMany,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    target_artifact: TargetArtifact,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TargetArtifact {
    media_type: String,
    digest: String,
    size: u64,
}

impl Notation {
    /// A trust policy, without certificates so far.
    pub fn new(policy: TrustPolicy) -> Self {
        Self { policy, certificates: Vec::new() }
    }

    /// Adds the certificates of a file: PEM, or one as DER. They are in every trust store that the policy names, as with Flux.
    pub fn add_certificates(&mut self, file: &[u8]) -> Result<(), CertificatesError> {
        let mut found: Vec<Vec<u8>> =
            blocks(file).filter(|block| block.label == "CERTIFICATE").map(|block| block.der).collect();
        if found.is_empty() {
            found.push(file.to_vec());
        }
        if !found.iter().all(|der| chain::is_certificate(der)) {
            return Err(CertificatesError::None);
        }
        self.certificates.append(&mut found);
        if self.certificates.len() > CERTIFICATES_MAX { Err(CertificatesError::TooMany) } else { Ok(()) }
    }

    /// Whether the policy wants no signature of a repository (`host/path`) at all.
    pub fn is_skipped(&self, repository: &str) -> Result<bool, Rejection> {
        Ok(self.policy.applicable(repository)?.is_skipped())
    }

    /// Checks that an envelope is a signature of the artifact of a repository that counts at this time.
    pub fn verify(
        &self,
        envelope: &[u8],
        target: &Target,
        repository: &str,
        now: Timestamp,
    ) -> Result<Verdict, Rejection> {
        let statement = self.policy.applicable(repository)?;
        let envelope = Envelope::parse(envelope)?;
        let chain = Chain::parse(&envelope.certificates)?;
        envelope.verify(chain.leaf())?;
        chain.check()?;
        let authentic = self.check_authenticity(statement, &chain, envelope.scheme);
        let verdict = match (authentic, statement.authenticity) {
            (Ok(()), _) => Verdict::Verified,
            (Err(rejection), Action::Enforce) => return Err(rejection),
            (Err(_), Action::Log | Action::Skip) => Verdict::Ignored,
        };
        enforced(statement.expiry, envelope.check_expiry(now))?;
        enforced(statement.timestamp, check_time(statement, &chain, &envelope, now))?;
        enforced(statement.revocation, chain.check_revocable())?;
        check_target(&envelope.payload, target)?;
        Ok(verdict)
    }

    /// Checks that one of the certificates is in a trust store of the scheme, and that the policy names the signer.
    fn check_authenticity(
        &self,
        statement: &Statement,
        chain: &Chain<'_>,
        scheme: Scheme,
    ) -> Result<(), Rejection> {
        if !statement.has_store(scheme.store()) {
            let problem = format!("the trust policy has no trust store of the type {:?}", scheme.store());
            return Err(Rejection::Untrusted { problem });
        }
        if !chain.has_one_of(&self.certificates) {
            return Err(Rejection::untrusted("none of its certificates is in the trust store"));
        }
        statement.check_signer(chain.leaf())
    }
}

/// When the certificates have to be valid: now, or when a signing authority says that it signed.
fn check_time(
    statement: &Statement,
    chain: &Chain<'_>,
    envelope: &Envelope,
    now: Timestamp,
) -> Result<(), Rejection> {
    match envelope.scheme {
        Scheme::X509 if statement.wants_timestamp(chain.has_expired(now)) => Err(Rejection::untrusted(
            "the trust policy wants a timestamp of a timestamp authority, which is not supported",
        )),
        Scheme::X509 => chain.check_valid(now),
        Scheme::SigningAuthority => chain.check_valid(envelope.signed_at),
    }
}

/// A check counts where the policy enforces it.
fn enforced(action: Action, checked: Result<(), Rejection>) -> Result<(), Rejection> {
    match action {
        Action::Enforce => checked,
        Action::Log | Action::Skip => Ok(()),
    }
}

/// Checks which artifact was signed.
fn check_target(payload: &[u8], target: &Target) -> Result<(), Rejection> {
    let Payload { target_artifact: TargetArtifact { media_type, digest, size } } =
        serde_json::from_slice(payload)
            .map_err(|error| Rejection::malformed("payload of the signature", &error))?;
    let signed = Target { media_type, digest, size };
    if signed == *target { Ok(()) } else { Err(Rejection::Claim { claimed: signed.digest }) }
}
