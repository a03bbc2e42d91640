//! TLS with a certificate bundle of the user's own. A server whose certificate is itself an entry of the bundle is accepted even
//! when the certificate calls itself a CA, which self-signed ones often do; its name is still checked. Nothing is accepted
//! without a check, except where a user has said so for one server.

use std::{fmt, sync::Arc};

use plumb_api::sealed::Sealed;
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

/// Certificates in a bundle beyond this count are rejected.
const BUNDLE_CERTIFICATES_MAX: usize = 1000;
/// The verifier's error for a CA's certificate that a server presents as its own. It checks the dates before.
const CA_AS_LEAF: &str = "CaUsedAsEndEntity";

/// Which servers are trusted, and the certificate that this client presents. Parsed once; the default trusts the system's
/// certificates and presents none.
#[derive(Clone, Default)]
pub struct Trust {
    settings: Settings,
    /// What it was parsed from: two that were parsed from the same are equal.
    source: Option<Arc<TrustSource>>,
}

struct TrustSource {
    ca: Option<Vec<u8>>,
    client: Option<(Vec<u8>, Sealed)>,
    beside_system: bool,
}

impl PartialEq for TrustSource {
    fn eq(&self, other: &Self) -> bool {
        let Self { ca, client, beside_system } = self;
        let same_client = match (client, &other.client) {
            (Some((chain, key)), Some((other_chain, other_key))) => {
                chain == other_chain && key.expose() == other_key.expose()
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        *ca == other.ca && same_client && *beside_system == other.beside_system
    }
}

impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(&self.settings) == std::mem::discriminant(&other.settings)
            && self.source == other.source
    }
}

impl Eq for Trust {}

#[derive(Clone, Default)]
enum Settings {
    #[default]
    System,
    SystemWithClient(reqwest::Identity),
    Unverified,
    Bundle(Box<ClientConfig>),
}

/// A part of the TLS settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustPart {
    /// The certificates that are trusted.
    CaBundle,
    /// The certificate that the client presents, with its chain.
    ClientCertificate,
    /// The key of that certificate.
    ClientKey,
}

/// A part of the TLS settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct TrustError {
    /// Which part.
    pub part: TrustPart,
    /// What is wrong with it, without its content: `"it is not PEM"`.
    pub problem: String,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.settings {
            Settings::System => "Trust(system)",
            Settings::SystemWithClient(_) => "Trust(system, client certificate)",
            Settings::Unverified => "Trust(unverified)",
            Settings::Bundle(_) => "Trust(bundle)",
        })
    }
}

impl Trust {
    /// From PEM: the certificates to trust instead of the system's, and the chain and key of a client certificate.
    pub fn parse(ca: Option<&[u8]>, client: Option<(&[u8], &Sealed)>) -> Result<Self, TrustError> {
        Self::of(ca, client, false)
    }

    /// The same, but the certificates are trusted beside the system's, not in their place.
    pub fn parse_beside_system(
        ca: Option<&[u8]>,
        client: Option<(&[u8], &Sealed)>,
    ) -> Result<Self, TrustError> {
        Self::of(ca, client, true)
    }

    /// Trusts every server, whatever its certificate: only where a user has said so for this one server.
    pub fn unverified() -> Self {
        Self { settings: Settings::Unverified, source: None }
    }

    fn of(
        ca: Option<&[u8]>,
        client: Option<(&[u8], &Sealed)>,
        beside_system: bool,
    ) -> Result<Self, TrustError> {
        let source = (ca.is_some() || client.is_some()).then(|| TrustSource {
            ca: ca.map(<[u8]>::to_vec),
            client: client.map(|(chain, key)| (chain.to_vec(), key.clone())),
            beside_system,
        });
        let client = client.map(|(chain, key)| parse_client(chain, key)).transpose()?;
        let settings = match (ca, client) {
            (None, None) => Settings::System,
            (None, Some(client)) => Settings::SystemWithClient(client.identity()?),
            (Some(ca), client) => Settings::Bundle(Box::new(bundle_config(ca, client, beside_system)?)),
        };
        Ok(Self { settings, source: source.map(Arc::new) })
    }

    /// What it was made of, to tell others apart by a digest; nothing for the default. Secrets are among it.
    pub fn parts(&self) -> Vec<&[u8]> {
        let kind: &[u8] = match self.settings {
            Settings::System => return Vec::new(),
            Settings::SystemWithClient(_) => b"client",
            Settings::Unverified => b"unverified",
            Settings::Bundle(_) => b"bundle",
        };
        let Some(TrustSource { ca, client, beside_system }) = self.source.as_deref() else {
            return vec![kind];
        };
        let client = client.as_ref().map(|(chain, key)| (chain.as_slice(), key.expose()));
        let (chain, key) = client.unwrap_or_default();
        let beside: &[u8] = if *beside_system { b"beside" } else { b"" };
        vec![kind, ca.as_deref().unwrap_or_default(), chain, key, beside]
    }

    pub(crate) fn apply(self, builder: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        match self.settings {
            Settings::System => builder,
            Settings::SystemWithClient(identity) => builder.identity(identity),
            Settings::Unverified => builder.tls_danger_accept_invalid_certs(true),
            Settings::Bundle(config) => builder.tls_backend_preconfigured(*config),
        }
    }
}

struct ClientCertificate<'a> {
    pem: (&'a [u8], &'a Sealed),
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl ClientCertificate<'_> {
    fn identity(&self) -> Result<reqwest::Identity, TrustError> {
        let (chain, key) = self.pem;
        let pem = [chain, b"\n", key.expose()].concat();
        reqwest::Identity::from_pem(&pem).map_err(|_| part(TrustPart::ClientCertificate, "it does not parse"))
    }
}

fn part(part: TrustPart, problem: impl Into<String>) -> TrustError {
    TrustError { part, problem: problem.into() }
}

fn parse_client<'a>(chain: &'a [u8], key: &'a Sealed) -> Result<ClientCertificate<'a>, TrustError> {
    let parsed = certificates(chain).map_err(|problem| part(TrustPart::ClientCertificate, problem))?;
    let parsed_key = PrivateKeyDer::from_pem_slice(key.expose())
        .map_err(|_| part(TrustPart::ClientKey, "it is not a private key in PEM without a passphrase"))?;
    Ok(ClientCertificate { pem: (chain, key), chain: parsed, key: parsed_key })
}

fn bundle_config(
    ca: &[u8],
    client: Option<ClientCertificate<'_>>,
    beside_system: bool,
) -> Result<ClientConfig, TrustError> {
    let bad_bundle = |problem: String| part(TrustPart::CaBundle, problem);
    let bundle = certificates(ca).map_err(bad_bundle)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut verifier = BundleVerifier::new(bundle, Arc::clone(&provider)).map_err(bad_bundle)?;
    if beside_system {
        // A system without certificates has none to add.
        verifier.system = rustls_platform_verifier::Verifier::new(Arc::clone(&provider)).ok();
    }
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad_bundle(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let Some(ClientCertificate { pem: _, chain, key }) = client else {
        return Ok(builder.with_no_client_auth());
    };
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| part(TrustPart::ClientKey, format!("it does not go with the certificate: {error}")))
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
    system: Option<rustls_platform_verifier::Verifier>,
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
        Ok(Self { bundle, chain, system: None })
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
        // Only the rejection for being a CA is overruled: an expired certificate stays rejected.
        let is_ca_as_leaf = matches!(&refusal, Error::InvalidCertificate(CertificateError::Other(other))
            if other.0.to_string() == CA_AS_LEAF);
        if !is_ca_as_leaf {
            return match &self.system {
                Some(system) => system
                    .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                    .map_err(|_| refusal),
                None => Err(refusal),
            };
        }
        if !self.bundle.iter().any(|entry| entry.as_ref() == end_entity.as_ref()) {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
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
