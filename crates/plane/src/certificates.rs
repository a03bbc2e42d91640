//! The plane's own certificates and keys: made at each start, valid for this plane alone.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

/// The host names of the API server.
const SERVER_NAMES: [&str; 6] =
    ["127.0.0.1", "::1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];

/// File names inside the plane's folder.
pub const CA: &str = "ca.crt";
pub const SERVER_CERTIFICATE: &str = "apiserver.crt";
pub const SERVER_KEY: &str = "apiserver.key";
pub const ACCOUNT_KEY: &str = "service-accounts.key";
pub const ACCOUNT_PUBLIC: &str = "service-accounts.pub";

/// Writes a CA, the API server's certificate, and the key that signs the tokens of service accounts.
pub fn write(folder: &Path) -> Result<()> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.distinguished_name.push(DnType::CommonName, "plumb plane");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

    let names = SERVER_NAMES.iter().map(ToString::to_string).collect::<Vec<_>>();
    let server_key = KeyPair::generate()?;
    let server = CertificateParams::new(names)?.signed_by(&server_key, &authority)?;
    let accounts = KeyPair::generate()?;

    let files = [
        (CA, authority.pem()),
        (SERVER_CERTIFICATE, server.pem()),
        (SERVER_KEY, server_key.serialize_pem()),
        (ACCOUNT_KEY, accounts.serialize_pem()),
        (ACCOUNT_PUBLIC, accounts.public_key_pem()),
    ];
    for (name, content) in files {
        let file = folder.join(name);
        fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
