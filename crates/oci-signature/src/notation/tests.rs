//! Envelopes of signers of our own, right and wrong in one part each.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CrlDistributionPoint, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use serde_json::{Value, json};

use super::*;

const REPOSITORY: &str = "registry.example:5000/org/app";
const DIGEST: &str = "sha256:44821ee36fa8c8c8c8cba414a62d778aae020b3f8ad97691b13c4f87ed39ed94";

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

fn target() -> Target {
    Target {
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        digest: DIGEST.into(),
        size: 400,
    }
}

/// A CA, and a signer with a certificate of it.
struct Signer {
    ca: CertifiedIssuer<'static, KeyPair>,
    key: KeyPair,
    certificates: Vec<Vec<u8>>,
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    for (kind, value) in [
        (DnType::CountryName, "US"),
        (DnType::StateOrProvinceName, "WA"),
        (DnType::OrganizationName, "example"),
        (DnType::CommonName, name),
    ] {
        params.distinguished_name.push(kind, value);
    }
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    params
}

impl Signer {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut ca = named("ca");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let mut leaf = named("release");
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        change(&mut leaf);
        let key = KeyPair::generate().unwrap();
        let leaf = leaf.signed_by(&key, &ca).unwrap();
        let certificates = vec![leaf.der().to_vec(), ca.der().to_vec()];
        Self { ca, key, certificates }
    }

    fn envelope(&self, headers: &Value, payload: &Value) -> Value {
        let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let (protected, payload) = (encode(headers), encode(payload));
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, self.key.serialized_der()).unwrap();
        let signature = key.sign(&SystemRandom::new(), format!("{protected}.{payload}").as_bytes()).unwrap();
        let chain: Vec<String> = self.certificates.iter().map(|der| BASE64_STANDARD.encode(der)).collect();
        json!({
            "payload": payload, "protected": protected, "header": { "x5c": chain },
            "signature": BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref()),
        })
    }

    fn good(&self) -> Value {
        self.envelope(&headers(), &payload(DIGEST))
    }

    /// Who trusts the CA, by this policy.
    fn trusted(&self, policy: &Value) -> Notation {
        let mut notation = Notation::new(TrustPolicy::parse(policy.to_string().as_bytes()).unwrap());
        notation.add_certificates(self.ca.pem().as_bytes()).unwrap();
        notation
    }
}

fn headers() -> Value {
    json!({
        "alg": "ES256", "cty": "application/vnd.cncf.notary.payload.v1+json",
        "crit": ["io.cncf.notary.signingScheme"],
        "io.cncf.notary.signingScheme": "notary.x509", "io.cncf.notary.signingTime": "2026-05-01T00:00:00Z",
    })
}

fn payload(digest: &str) -> Value {
    let Target { media_type, size, .. } = target();
    json!({ "targetArtifact": { "mediaType": media_type, "digest": digest, "size": size } })
}

fn policy(level: &str, identities: &[&str]) -> Value {
    json!({
        "version": "1.0",
        "trustPolicies": [{
            "name": "default", "registryScopes": ["*"], "signatureVerification": { "level": level },
            "trustStores": ["ca:example"], "trustedIdentities": identities,
        }],
    })
}

fn verify(notation: &Notation, envelope: &Value) -> Result<Verdict, Rejection> {
    notation.verify(envelope.to_string().as_bytes(), &target(), REPOSITORY, now())
}

#[track_caller]
fn rejected(result: Result<Verdict, Rejection>, expect: &str) {
    let error = result.expect_err(expect).to_string();
    assert!(error.contains(expect), "{expect}: {error}");
}

#[test]
fn an_envelope_of_a_trusted_signer_counts() {
    let (signer, other) = (Signer::new(), Signer::new());
    let strict = policy("strict", &["x509.subject: C=US, ST=WA, O=example"]);
    assert_eq!(verify(&signer.trusted(&strict), &signer.good()), Ok(Verdict::Verified));
    assert_eq!(verify(&signer.trusted(&policy("strict", &["*"])), &signer.good()), Ok(Verdict::Verified));
    rejected(
        verify(&other.trusted(&strict), &signer.good()),
        "none of its certificates is in the trust store",
    );
    let named = policy("strict", &["x509.subject: C=US, ST=WA, O=other"]);
    rejected(verify(&signer.trusted(&named), &signer.good()), "does not match the trusted identities");
    // The certificate of the signer itself may be the one that is trusted; as DER, too.
    let mut pinned = Notation::new(TrustPolicy::parse(strict.to_string().as_bytes()).unwrap());
    pinned.add_certificates(&signer.certificates[0]).unwrap();
    assert_eq!(verify(&pinned, &signer.good()), Ok(Verdict::Verified));
}

#[test]
fn what_was_changed_does_not_count() {
    let (signer, other) = (Signer::new(), Signer::new());
    let trusted = signer.trusted(&policy("strict", &["*"]));
    let mut changed = signer.good();
    changed["payload"] = signer.envelope(&headers(), &payload("sha256:1"))["payload"].clone();
    rejected(verify(&trusted, &changed), "does not match its certificate");
    let mut changed = signer.good();
    changed["header"] = other.good()["header"].clone();
    rejected(verify(&trusted, &changed), "does not match its certificate");
    let foreign = signer.envelope(&headers(), &payload("sha256:1"));
    rejected(verify(&trusted, &foreign), "it is for the digest \"sha256:1\"");
    let mut larger = payload(DIGEST);
    larger["targetArtifact"]["size"] = json!(401);
    rejected(verify(&trusted, &signer.envelope(&headers(), &larger)), "it is for the digest");
    let mut without = signer.good();
    without["header"]["x5c"].as_array_mut().unwrap().pop();
    rejected(verify(&trusted, &without), "do not lead from the signer to a CA");
    let mut mixed = signer.good();
    mixed["header"]["x5c"][1] = other.good()["header"]["x5c"][1].clone();
    rejected(verify(&trusted, &mixed), "do not lead from the signer to a CA");
}

#[test]
fn headers_have_to_be_known_and_to_fit() {
    let signer = Signer::new();
    let trusted = signer.trusted(&policy("strict", &["*"]));
    let with = |field: &str, value: Value| {
        let mut headers = headers();
        headers[field] = value;
        signer.envelope(&headers, &payload(DIGEST))
    };
    for (envelope, expect) in [
        (with("alg", json!("none")), "algorithm \"none\" is not that of the key"),
        (with("alg", json!("ES384")), "algorithm \"ES384\" is not that of the key"),
        (with("alg", json!("HS256")), "algorithm \"HS256\" is not that of the key"),
        (with("cty", json!("text/plain")), "its payload has the type \"text/plain\""),
        (with("crit", json!([])), "have to be critical headers"),
        (with("crit", json!(["io.cncf.notary.signingScheme", "x"])), "critical header \"x\" is not known"),
        (
            with("crit", json!(["io.cncf.notary.signingScheme", "io.cncf.notary.verificationPlugin"])),
            "verified by a plugin, and there are none",
        ),
        (with("io.cncf.notary.signingScheme", json!("x")), "signing scheme \"x\" is not known"),
        (with("io.cncf.notary.expiry", json!("2026-12-01T00:00:00Z")), "have to be critical headers"),
        (json!({}), "the envelope of the signature cannot be read"),
        (
            json!({ "payload": "%", "protected": "%", "header": { "x5c": ["QQ=="] }, "signature": "%" }),
            "cannot be read",
        ),
        (
            json!({ "payload": "e30", "protected": "e30", "header": { "x5c": vec!["QQ=="; 11] }, "signature": "e30" }),
            "cannot be read",
        ),
    ] {
        rejected(verify(&trusted, &envelope), expect);
    }
    let expiring = |expiry: &str| {
        let mut headers = headers();
        headers["crit"] = json!(["io.cncf.notary.signingScheme", "io.cncf.notary.expiry"]);
        headers["io.cncf.notary.expiry"] = json!(expiry);
        signer.envelope(&headers, &payload(DIGEST))
    };
    assert_eq!(verify(&trusted, &expiring("2026-12-01T00:00:00Z")), Ok(Verdict::Verified));
    rejected(verify(&trusted, &expiring("2026-05-15T00:00:00Z")), "digital signature has expired on");
    rejected(verify(&trusted, &expiring("2026-04-01T00:00:00Z")), "expires before it was signed");
    let permissive = signer.trusted(&policy("permissive", &["*"]));
    assert_eq!(verify(&permissive, &expiring("2026-05-15T00:00:00Z")), Ok(Verdict::Verified));
}

#[test]
fn certificates_have_to_be_for_this_use_and_valid() {
    for (change, expect) in [
        (
            Box::new(|leaf: &mut CertificateParams| leaf.key_usages = vec![])
                as Box<dyn Fn(&mut CertificateParams)>,
            "no critical key usage",
        ),
        (
            Box::new(|leaf| {
                leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
            }),
            "not digital signature alone",
        ),
        (
            Box::new(|leaf| leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
            "not for code alone",
        ),
        (Box::new(|leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), "it is that of a CA"),
        (Box::new(|leaf| leaf.not_after = rcgen::date_time_ymd(2026, 5, 20)), "has expired"),
        (Box::new(|leaf| leaf.not_before = rcgen::date_time_ymd(2026, 7, 1)), "is not valid yet"),
        (
            Box::new(|leaf| {
                leaf.crl_distribution_points =
                    vec![CrlDistributionPoint { uris: vec!["http://crl.example".into()] }];
            }),
            "override 'revocation'",
        ),
    ] {
        let signer = Signer::with(|leaf| change(leaf));
        rejected(verify(&signer.trusted(&policy("strict", &["*"])), &signer.good()), expect);
    }
    // Two that signed each other's place.
    let (signer, other) = (Signer::new(), Signer::new());
    let mut swapped = signer.good();
    swapped["header"]["x5c"].as_array_mut().unwrap().push(json!(BASE64_STANDARD.encode(other.ca.der())));
    rejected(verify(&signer.trusted(&policy("strict", &["*"])), &swapped), "do not lead from the signer");
}

#[test]
fn a_level_says_what_is_enforced() {
    let (signer, other) = (Signer::new(), Signer::new());
    let audit = other.trusted(&policy("audit", &["*"]));
    assert_eq!(verify(&audit, &signer.good()), Ok(Verdict::Ignored), "nobody vouches for it");
    let mut changed = signer.good();
    changed["payload"] = json!("e30");
    rejected(verify(&audit, &changed), "does not match its certificate");
    let revocable = Signer::with(|leaf| {
        leaf.crl_distribution_points = vec![CrlDistributionPoint { uris: vec!["http://crl.example".into()] }];
    });
    let mut skipping = policy("strict", &["*"]);
    skipping["trustPolicies"][0]["signatureVerification"]["override"] = json!({ "revocation": "skip" });
    assert_eq!(verify(&revocable.trusted(&skipping), &revocable.good()), Ok(Verdict::Verified));
    let mut stamped = policy("strict", &["*"]);
    stamped["trustPolicies"][0]["trustStores"] = json!(["ca:x", "tsa:y"]);
    rejected(
        verify(&signer.trusted(&stamped), &signer.good()),
        "timestamp authority, which is not supported",
    );
    stamped["trustPolicies"][0]["signatureVerification"]["verifyTimestamp"] = json!("afterCertExpiry");
    assert_eq!(verify(&signer.trusted(&stamped), &signer.good()), Ok(Verdict::Verified));
    let mut authority = policy("strict", &["*"]);
    authority["trustPolicies"][0]["trustStores"] = json!(["signingAuthority:x"]);
    rejected(verify(&signer.trusted(&authority), &signer.good()), "no trust store of the type \"ca\"");
}

#[test]
fn the_statement_that_names_the_repository_holds() {
    let signer = Signer::new();
    let mut two = policy("strict", &["x509.subject: C=US, ST=WA, O=other"]);
    two["trustPolicies"].as_array_mut().unwrap().push(json!({
        "name": "app", "registryScopes": [REPOSITORY], "signatureVerification": { "level": "strict" },
        "trustStores": ["ca:example"], "trustedIdentities": ["*"],
    }));
    assert_eq!(verify(&signer.trusted(&two), &signer.good()), Ok(Verdict::Verified));
    let mut elsewhere = policy("strict", &["*"]);
    elsewhere["trustPolicies"][0]["registryScopes"] = json!(["registry.example:5000/org/other"]);
    rejected(verify(&signer.trusted(&elsewhere), &signer.good()), "no applicable trust policy statement");
    let mut skip = policy("skip", &["*"]);
    assert_eq!(signer.trusted(&skip).is_skipped(REPOSITORY), Ok(true));
    skip["trustPolicies"][0]["signatureVerification"]["level"] = json!("audit");
    assert_eq!(signer.trusted(&skip).is_skipped(REPOSITORY), Ok(false));
}

#[test]
fn what_is_no_policy_is_rejected() {
    let set = |field: &str, value: Value| {
        let mut changed = policy("strict", &["*"]);
        changed["trustPolicies"][0][field] = value;
        changed
    };
    let level = |value: Value| set("signatureVerification", value);
    let mut twice = policy("strict", &["*"]);
    let one = twice["trustPolicies"][0].clone();
    twice["trustPolicies"].as_array_mut().unwrap().push(one.clone());
    let mut same_scope = twice.clone();
    same_scope["trustPolicies"][1]["name"] = json!("other");
    for (policy, expect) in [
        (json!("x"), "invalid type"),
        (json!({ "version": "2.0" }), "unsupported version \"2.0\""),
        (json!({ "version": "1.0" }), "1 to 1000 statements"),
        (twice, "use the same name"),
        (same_scope, "is present in multiple"),
        (set("name", json!("")), "is missing a name"),
        (set("registryScopes", json!([])), "zero registry scopes"),
        (set("registryScopes", json!(["*", "a/b"])), "wildcard registry scope"),
        (set("registryScopes", json!(["https://a/b"])), "is not a repository"),
        (set("registryScopes", json!(["a/*"])), "is not a repository"),
        (set("registryScopes", json!(["host"])), "is not a repository"),
        (set("trustStores", json!([])), "either missing trust stores or"),
        (set("trustedIdentities", json!([])), "either missing trust stores or"),
        (set("trustStores", json!(["ca"])), "has trust store \"ca\""),
        (set("trustStores", json!(["x:y"])), "has trust store \"x:y\""),
        (set("trustedIdentities", json!(["*", "x509.subject: C=US"])), "wildcard trusted identity"),
        (set("trustedIdentities", json!(["x509.subject: C=US"])), "has no ST"),
        (set("trustedIdentities", json!(["nobody"])), "missing separator"),
        (
            set(
                "trustedIdentities",
                json!(["x509.subject:C=US,ST=WA,O=a", "x509.subject:C=US,ST=WA,O=a,CN=b"]),
            ),
            "overlapping",
        ),
        (level(json!({ "level": "x" })), "invalid signature verification level"),
        (level(json!({ "level": "strict", "override": { "integrity": "log" } })), "not possible"),
        (level(json!({ "level": "strict", "override": { "expiry": "skip" } })), "not possible"),
        (
            level(json!({ "level": "skip", "override": { "expiry": "log" } })),
            "overrides what the level 'skip' skips",
        ),
        (level(json!({ "level": "strict", "verifyTimestamp": "x" })), "verifyTimestamp"),
    ] {
        let error = TrustPolicy::parse(policy.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expect), "{expect}: {error}");
    }
    let mut notation =
        Notation::new(TrustPolicy::parse(policy("strict", &["*"]).to_string().as_bytes()).unwrap());
    assert_eq!(notation.add_certificates(b"nonsense"), Err(CertificatesError::None));
}
