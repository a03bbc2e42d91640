//! A private Sigstore instance: a CA for code signing, a log of its certificates, and a transparency log with one entry in it. It signs
//! as `cosign` does without a key, also with parts of another instance.

use anyhow::{Context as _, Result};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber, SigningKey as _,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    registry::Registry,
    signer::{BUNDLE, SIMPLE, STATEMENT, envelope_message, simple_payload, statement},
};

/// When certificates are issued, in seconds of Unix time: 2025-06-01. They hold for ten minutes.
const ISSUED_AT: i64 = 1_748_736_000;
const HOLDS_FOR: u64 = 600;
/// What the log calls itself.
const ORIGIN: &str = "rekor.example";
/// Object identifiers of extensions: the issuer of an identity, in both forms that Fulcio writes, and the proofs of a log of certificates.
const OLD_IDENTITY_ISSUER: &[u64] = &[1, 3, 6, 1, 4, 1, 57264, 1, 1];
const IDENTITY_ISSUER: &[u64] = &[1, 3, 6, 1, 4, 1, 57264, 1, 8];
const CERTIFICATE_PROOFS: &[u64] = &[1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];

/// A private instance.
pub struct Sigstore {
    ca: CertifiedIssuer<'static, KeyPair>,
    certificate_log: KeyPair,
    log: KeyPair,
}

/// How something is signed. A test changes what it wants wrong.
#[derive(Clone, Copy)]
pub struct Ceremony<'a> {
    /// Who issues the certificate.
    pub ca: &'a Sigstore,
    /// Whose log of certificates vouches for it; none for no proof in it.
    pub certificate_log: Option<&'a Sigstore>,
    /// Whose transparency log has the entry.
    pub log: &'a Sigstore,
    /// When it was entered, in seconds after the certificate was issued.
    pub entered_after: i64,
    /// The issuer of the identity.
    pub issuer: &'a str,
    /// The identity: a mail address.
    pub subject: &'a str,
}

/// A certificate for one signature, and its key.
struct Certified {
    key: KeyPair,
    der: Vec<u8>,
    pem: String,
}

/// An entry of the log, in its parts.
struct Entry {
    body: String,
    root: [u8; 32],
    log_id: [u8; 32],
    time: i64,
    promise: String,
    checkpoint: String,
}

impl Sigstore {
    /// One with new keys.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        params.distinguished_name.push(DnType::OrganizationName, "sigstore.example");
        params.not_before = rcgen::date_time_ymd(2025, 1, 1);
        params.not_after = rcgen::date_time_ymd(2045, 1, 1);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { ca, certificate_log: KeyPair::generate()?, log: KeyPair::generate()? })
    }

    /// Its trusted root, as `trusted_root.json` has it.
    pub fn trusted_root(&self) -> Value {
        let since = json!({ "start": "2025-01-01T00:00:00Z" });
        let log = |url: &str, key: &KeyPair| {
            let public = key.subject_public_key_info();
            json!({
                "baseUrl": url, "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": encode(&public), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": since,
                },
                "logId": { "keyId": encode(&Sha256::digest(&public)) },
            })
        };
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log("https://rekor.example", &self.log)],
            "certificateAuthorities": [{
                "subject": { "organization": "sigstore.example", "commonName": "sigstore" },
                "uri": "https://fulcio.example",
                "certChain": { "certificates": [{ "rawBytes": encode(self.ca.der()) }] },
                "validFor": since,
            }],
            "ctlogs": [log("https://ct.example", &self.certificate_log)],
            "timestampAuthorities": [],
        })
    }

    /// How it signs for an identity where all is right.
    pub fn ceremony<'a>(&'a self, issuer: &'a str, subject: &'a str) -> Ceremony<'a> {
        Ceremony { ca: self, certificate_log: Some(self), log: self, entered_after: 60, issuer, subject }
    }
}

impl Ceremony<'_> {
    /// A bundle with a statement about a digest.
    pub fn bundle(&self, predicate: &str, claimed: &str) -> Result<Value> {
        let certified = self.certified()?;
        let statement = statement(predicate, claimed);
        let signature = encode(&certified.key.sign(&envelope_message(&statement))?);
        let body = json!({
            "apiVersion": "0.0.1", "kind": "dsse",
            "spec": {
                "envelopeHash": { "algorithm": "sha256", "value": hex(&Sha256::digest(b"an envelope")) },
                "payloadHash": { "algorithm": "sha256", "value": hex(&Sha256::digest(&statement)) },
                "signatures": [{ "signature": signature, "verifier": encode(certified.pem.as_bytes()) }],
            },
        });
        let entry = self.enter(&body)?;
        Ok(json!({
            "mediaType": BUNDLE,
            "verificationMaterial": {
                "certificate": { "rawBytes": encode(&certified.der) },
                "tlogEntries": [entry.in_bundle("dsse")],
                "timestampVerificationData": {},
            },
            "dsseEnvelope": {
                "payload": encode(statement.as_bytes()), "payloadType": STATEMENT,
                "signatures": [{ "sig": signature }],
            },
        }))
    }

    /// A layer of a signature manifest, which claims a digest.
    pub fn simple(&self, registry: &Registry, claimed: &str) -> Result<Value> {
        let payload = simple_payload(claimed);
        Ok(registry.described(SIMPLE, payload.as_bytes(), &self.annotations(&payload)?))
    }

    /// The annotations of a layer with this payload.
    pub fn annotations(&self, payload: &str) -> Result<Value> {
        let certified = self.certified()?;
        let signature = encode(&certified.key.sign(payload.as_bytes())?);
        let body = json!({
            "apiVersion": "0.0.1", "kind": "hashedrekord",
            "spec": {
                "data": { "hash": { "algorithm": "sha256", "value": hex(&Sha256::digest(payload)) } },
                "signature": { "content": signature, "publicKey": { "content": encode(certified.pem.as_bytes()) } },
            },
        });
        let entry = self.enter(&body)?;
        Ok(json!({
            "dev.cosignproject.cosign/signature": signature,
            "dev.sigstore.cosign/certificate": certified.pem,
            "dev.sigstore.cosign/chain": self.ca.ca.pem(),
            "dev.sigstore.cosign/bundle": entry.in_annotation(),
        }))
    }

    fn certified(&self) -> Result<Certified> {
        let key = KeyPair::generate()?;
        let begin = rcgen::date_time_ymd(2025, 6, 1);
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(&[1, 2, 3]));
        params.not_before = begin;
        params.not_after = begin + std::time::Duration::from_secs(HOLDS_FOR);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        params.subject_alt_names = vec![SanType::Rfc822Name(self.subject.try_into()?)];
        let issuer = der(0x0c, self.issuer.as_bytes());
        let old_issuer = self.issuer.as_bytes().to_vec();
        params.custom_extensions.push(CustomExtension::from_oid_content(OLD_IDENTITY_ISSUER, old_issuer));
        params.custom_extensions.push(CustomExtension::from_oid_content(IDENTITY_ISSUER, issuer));
        if let Some(log) = self.certificate_log {
            // The log signs the certificate as it is without its proof.
            let without = params.signed_by(&key, &self.ca.ca)?;
            let proof =
                log.certificate_proof(body(without.der())?, &self.ca.ca.key().subject_public_key_info())?;
            let extension = CustomExtension::from_oid_content(CERTIFICATE_PROOFS, der(0x04, &proof));
            params.custom_extensions.push(extension);
        }
        let certificate = params.signed_by(&key, &self.ca.ca)?;
        Ok(Certified { der: certificate.der().to_vec(), pem: certificate.pem(), key })
    }

    fn enter(&self, body: &Value) -> Result<Entry> {
        let (key, body) = (&self.log.log, body.to_string());
        let root: [u8; 32] = Sha256::digest([&[0], body.as_bytes()].concat()).into();
        let log_id: [u8; 32] = Sha256::digest(key.subject_public_key_info()).into();
        let (body, time) = (encode(body.as_bytes()), ISSUED_AT + self.entered_after);
        let promised = format!(
            "{{\"body\":\"{body}\",\"integratedTime\":{time},\"logID\":\"{}\",\"logIndex\":0}}",
            hex(&log_id)
        );
        let promise = encode(&key.sign(promised.as_bytes())?);
        // The number of the tree tells the first version of Rekor from the second.
        let note = format!("{ORIGIN} - 1\n1\n{}\n", encode(&root));
        let signature = [&log_id[..4], &key.sign(note.as_bytes())?].concat();
        let checkpoint = format!("{note}\n— {ORIGIN} {}\n", encode(&signature));
        Ok(Entry { body, root, log_id, time, promise, checkpoint })
    }
}

impl Sigstore {
    /// The list of one proof that the log has the certificate (RFC 6962, section 3.3).
    fn certificate_proof(&self, certificate: &[u8], issuer: &[u8]) -> Result<Vec<u8>> {
        let key = &self.certificate_log;
        let time = u64::try_from(ISSUED_AT * 1000)?.to_be_bytes();
        let length = u32::try_from(certificate.len())?.to_be_bytes();
        let signed =
            [&[0, 0][..], &time, &[0, 1], &Sha256::digest(issuer), &length[1..], certificate, &[0, 0]]
                .concat();
        let signature = key.sign(&signed)?;
        let log_id = Sha256::digest(key.subject_public_key_info());
        let proof = [&[0][..], &log_id, &time, &[0, 0, 4, 3], &sized(&signature)?].concat();
        sized(&sized(&proof)?)
    }
}

impl Entry {
    fn in_bundle(&self, kind: &str) -> Value {
        json!({
            "logIndex": "0",
            "logId": { "keyId": encode(&self.log_id) },
            "kindVersion": { "kind": kind, "version": "0.0.1" },
            "integratedTime": self.time.to_string(),
            "inclusionPromise": { "signedEntryTimestamp": self.promise },
            "inclusionProof": {
                "logIndex": "0", "rootHash": encode(&self.root), "treeSize": "1", "hashes": [],
                "checkpoint": { "envelope": self.checkpoint },
            },
            "canonicalizedBody": self.body,
        })
    }

    fn in_annotation(&self) -> String {
        let payload = json!({
            "body": self.body, "integratedTime": self.time, "logIndex": 0, "logID": hex(&self.log_id),
        });
        json!({ "SignedEntryTimestamp": self.promise, "Payload": payload }).to_string()
    }
}

fn encode(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// Bytes after their length in two bytes.
fn sized(bytes: &[u8]) -> Result<Vec<u8>> {
    Ok([&u16::try_from(bytes.len())?.to_be_bytes()[..], bytes].concat())
}

/// A value of DER with less than 64 KiB.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let head = match content.len() {
        0..=127 => vec![tag, length[7]],
        128..=255 => vec![tag, 0x81, length[7]],
        _ => vec![tag, 0x82, length[6], length[7]],
    };
    [&head[..], content].concat()
}

/// The signed part of a certificate: the first value in the outermost one, which both have lengths of two bytes.
fn body(certificate: &[u8]) -> Result<&[u8]> {
    let inner = certificate.get(4..).context("a certificate begins with its length")?;
    let &[0x30, 0x82, high, low, ..] = inner else { anyhow::bail!("a certificate has more than 255 bytes") };
    inner.get(..4 + usize::from(u16::from_be_bytes([high, low]))).context("a certificate is complete")
}
