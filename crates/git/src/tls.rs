//! TLS with a certificate bundle of the user's own. A server whose certificate is itself an entry of the bundle is accepted even
//! when the certificate calls itself a CA, which self-signed ones often do; its name is still checked. Nothing is ever accepted
//! without a check.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};

use crate::credential::Trust;

/// Certificates in a bundle beyond this count are refused.
const BUNDLE_CERTIFICATES_MAX: usize = 1000;
/// How the verifier calls a CA's certificate that a server presents as its own. It looks at the dates before.
const CA_AS_LEAF: &str = "CaUsedAsEndEntity";

/// A part of the TLS settings cannot be used.
pub(crate) struct TlsError {
    pub(crate) what: &'static str,
    pub(crate) detail: String,
}

/// The settings for a bundle of the user's own; none where the system's certificates are to be trusted.
pub(crate) fn client_config(trust: &Trust) -> Result<Option<ClientConfig>, TlsError> {
    let Some(bundle) = &trust.ca else { return Ok(None) };
    let bad_bundle = |detail: String| TlsError { what: "CA bundle", detail };
    let bundle = certificates(bundle).map_err(bad_bundle)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = BundleVerifier::new(bundle, Arc::clone(&provider)).map_err(bad_bundle)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad_bundle(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let Some((chain, key)) = &trust.client else { return Ok(Some(builder.with_no_client_auth())) };
    let bad_client = |detail: String| TlsError { what: "client certificate", detail };
    let chain = certificates(chain).map_err(bad_client)?;
    let key = PrivateKeyDer::from_pem_slice(key.expose())
        .map_err(|_| bad_client("the key does not parse".to_owned()))?;
    builder.with_client_auth_cert(chain, key).map(Some).map_err(|error| bad_client(error.to_string()))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_slice_iter(pem)
        .take(BUNDLE_CERTIFICATES_MAX + 1)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| "it is not PEM".to_owned())?;
    match all.len() {
        0 => Err("it holds no certificate".to_owned()),
        count if count > BUNDLE_CERTIFICATES_MAX => {
            Err(format!("it holds more than {BUNDLE_CERTIFICATES_MAX} certificates"))
        }
        _ => Ok(all),
    }
}

struct BundleVerifier {
    bundle: Vec<CertificateDer<'static>>,
    chain: Arc<WebPkiServerVerifier>,
}

impl BundleVerifier {
    fn new(bundle: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(bundle.iter().cloned());
        if usable == 0 {
            return Err("it holds no certificate that can be used".to_owned());
        }
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { bundle, chain })
    }
}

impl fmt::Debug for BundleVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BundleVerifier of {} certificates", self.bundle.len())
    }
}

impl ServerCertVerifier for BundleVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let refusal =
            match self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
                Ok(verified) => return Ok(verified),
                Err(refusal) => refusal,
            };
        // Only the refusal for being a CA is overruled: an expired certificate stays refused.
        let is_ca_as_leaf = matches!(&refusal, Error::InvalidCertificate(CertificateError::Other(other))
            if other.0.to_string() == CA_AS_LEAF);
        if is_ca_as_leaf && self.bundle.iter().any(|entry| entry.as_ref() == end_entity.as_ref()) {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        Err(refusal)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
