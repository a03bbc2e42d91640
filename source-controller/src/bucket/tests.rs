//! Scenario tests (T1) of whole attempts: an object store of our own, a real store, a mock API server for Secrets.

use std::io::Read as _;

use plumb_bucket::{BucketClient, BucketLimits};
use plumb_filetree::digest::sha256_hex;
use plumb_memory::MemoryPool;
use plumb_status::AttemptOutcome;
use plumb_testkit::{
    bucket::{BUCKET, ObjectStore, TOKEN},
    registry::response,
    scenario::Response,
};
use plumb_transport::address::AddressPolicy;
use serde_json::{Value, json};

use super::BucketSource;
use crate::fixture::{Fixture, condition, emitted, ready};

const BUDGET: u64 = 600 << 20;

fn source_with(store: &ObjectStore, limits: BucketLimits, budget: u64) -> Fixture<BucketSource> {
    let spec = json!({
        "endpoint": store.address().to_string(), "bucketName": BUCKET, "insecure": store.ca().is_none(), "interval": "1m",
    });
    Fixture::new(&spec, |api, _| {
        let addresses = AddressPolicy::reject_link_local("--allow-link-local-addresses");
        BucketSource::new(
            crate::cloud::none(api.client()),
            BucketClient::new(addresses, MemoryPool::new(budget), limits),
        )
    })
}

fn source_at(store: &ObjectStore) -> Fixture<BucketSource> {
    source_with(store, BucketLimits::DEFAULT, BUDGET)
}

fn served(objects: &[(&str, &str)]) -> ObjectStore {
    let store = ObjectStore::plain().unwrap();
    for (key, bytes) in objects {
        store.put(key, bytes.as_bytes());
    }
    store
}

/// The files of a stored `tar.gz`, with their modes and contents.
fn files(fixture: &Fixture<BucketSource>) -> Vec<(String, u32, String)> {
    let bytes = std::fs::read(fixture.stored()).unwrap();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&*bytes));
    let entries = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        (entry.path().unwrap().display().to_string(), entry.header().mode().unwrap(), content)
    });
    entries.collect()
}

fn names(fixture: &Fixture<BucketSource>) -> Vec<String> {
    files(fixture).into_iter().map(|(name, _, _)| name).filter(|name| !name.ends_with('/')).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_become_an_artifact_and_nothing_is_fetched_until_they_change() {
    let store = served(&[("app.yaml", "one"), ("deep/b.yaml", "two"), ("deep/", "")]);
    let (one, two) = (store.put("app.yaml", b"one"), store.put("deep/b.yaml", b"two"));
    store.pages(2);
    let mut fixture = source_at(&store);
    let first = fixture.attempt().await;
    let hex = sha256_hex(format!("app.yaml {one}\ndeep/b.yaml {two}\n").as_bytes());
    let text = format!("stored artifact: revision 'sha256:{hex}'");
    assert_eq!(ready(&first), ("True".into(), "Succeeded".into(), text));
    assert_eq!(emitted(&first), ["NewArtifact stored artifact with 2 fetched files from 'apps' bucket"]);
    assert_eq!(condition(&first, "ArtifactInStorage").unwrap(), "True Succeeded");
    let artifact = fixture.artifact();
    assert_eq!(artifact["path"], format!("bucket/apps/app/{hex}.tar.gz"));
    assert_eq!(artifact["revision"], format!("sha256:{hex}"));
    assert_eq!(fixture.object["status"]["url"], artifact["url"]);
    let file = |name: &str, content: &str| (name.to_owned(), 0o600, content.to_owned());
    let found: Vec<_> = files(&fixture).into_iter().filter(|(name, _, _)| !name.ends_with('/')).collect();
    assert_eq!(found, [file("app.yaml", "one"), file("deep/b.yaml", "two")]);

    store.take_calls();
    let before = fixture.object.clone();
    assert_eq!(emitted(&fixture.attempt().await), Vec::<String>::new());
    assert_eq!(fixture.object, before, "nothing changed, so nothing is written");
    assert_eq!(store.take_calls(), ["GET /apps/", "GET /apps/"], "a poll is its pages, and no object");

    store.put("app.yaml", b"three");
    fixture.now += std::time::Duration::from_mins(2);
    assert_eq!(emitted(&fixture.attempt().await).len(), 1);
    assert_ne!(fixture.artifact()["revision"], before["status"]["artifact"]["revision"]);
    assert_eq!(fixture.api.unscripted(), Vec::<String>::new());
    assert!(matches!(fixture.teardown().await, AttemptOutcome::Gone));
    assert!(!fixture.stored().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_from_flux_keeps_revision_and_artifact_name() {
    let store = served(&[("a.yaml", "one")]);
    for (field, endpoint, provider, etag) in [
        ("accesskey", store.address().to_string(), "generic", None),
        ("sasKey", store.azure(), "azure", Some(("\"0x", "\""))),
    ] {
        let mut fixture = source_at(&store);
        fixture.secret("keys", &[(field, "sv=1"), ("secretkey", "s")]);
        fixture.set("secretRef", json!({ "name": "keys" }));
        fixture.set("provider", json!(provider)).set("endpoint", json!(endpoint));
        fixture.attempt().await;
        let (start, end) = etag.unwrap_or_default();
        let line = format!("a.yaml {start}{}{end}\n", store.put("a.yaml", b"one"));
        assert_eq!(fixture.artifact()["revision"], format!("sha256:{}", sha256_hex(line.as_bytes())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prefix_and_rules_choose_the_objects() {
    let store = served(&[("a/x.yaml", "1"), ("a/y.md", "2"), ("b.png", "3"), (".git/z", "4")]);
    let mut fixture = source_at(&store);
    fixture.attempt().await;
    assert_eq!(names(&fixture), [".git/z", "a/x.yaml", "a/y.md", "b.png"], "a bucket has no default rules");
    let first = fixture.stored();

    store.put(".sourceignore", b"*.png\n.git/\n");
    fixture.attempt().await;
    assert_eq!(names(&fixture), [".sourceignore", "a/x.yaml", "a/y.md"]);
    assert_ne!(fixture.stored(), first);
    fixture.set("ignore", json!("*.md\n!b.png"));
    fixture.attempt().await;
    assert_eq!(names(&fixture), [".sourceignore", "a/x.yaml", "b.png"]);
    assert_eq!(fixture.object["status"]["observedIgnore"], "*.md\n!b.png");

    fixture.set("prefix", json!("a/"));
    let summary = fixture.attempt().await;
    assert_eq!(
        names(&fixture),
        [".sourceignore", "a/x.yaml"],
        "the rules of the root count with a prefix, too"
    );
    assert!(emitted(&summary).concat().contains("with 1 fetched files"), "{:?}", emitted(&summary));
    let revision = fixture.artifact()["revision"].clone();
    let stored = fixture.stored();
    store.put(".sourceignore", b"*.png\n");
    std::fs::remove_file(&stored).unwrap();
    fixture.attempt().await;
    assert_eq!(fixture.artifact()["revision"], revision, "rules are no part of the revision, as with Flux");
    assert_ne!(fixture.stored(), stored, "other content has another name");
    store.delete("a/x.yaml");
    store.delete("a/y.md");
    fixture.set("ignore", Value::Null);
    fixture.attempt().await;
    assert_eq!(names(&fixture), [".sourceignore"]);
    assert_eq!(fixture.artifact()["revision"], format!("sha256:{}", sha256_hex(b"")));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_provider_is_reached_with_the_credentials_of_its_secret() {
    let store = ObjectStore::tls().unwrap();
    store.put("a.yaml", b"one");
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let google = json!({
        "type": "service_account", "client_email": "me", "private_key": key.serialize_pem(), "token_uri": format!("{}/token", store.url()),
    });
    let (google, authority, host) = (google.to_string(), store.url(), store.address().to_string());
    let entra =
        [("tenantId", "tenant"), ("clientId", "c"), ("clientSecret", "s"), ("authorityHost", &authority)];
    let certificate =
        rcgen::CertificateParams::new(vec!["app".to_owned()]).unwrap().self_signed(&key).unwrap();
    let pem = format!("{}{}", certificate.pem(), key.serialize_pem());
    let by_certificate = [
        ("tenantId", "tenant"),
        ("clientId", "c"),
        ("clientCertificate", &pem),
        ("authorityHost", &authority),
    ];
    let azure = store.azure();
    for (provider, endpoint, secret, login) in [
        ("generic", &host, &[("accesskey", "id"), ("secretkey", "s")][..], "Credential=id/".to_owned()),
        ("aws", &host, &[("accesskey", "id"), ("secretkey", "s")], "Credential=id/".to_owned()),
        ("gcp", &host, &[("serviceaccount", google.as_str())], format!("Bearer {TOKEN}")),
        ("azure", &azure, &[("accountKey", "czNjcmV0")], "SharedKey devaccount:".to_owned()),
        ("azure", &azure, &[("sasKey", "?sv=1&sig=x")], "sig=x".to_owned()),
        ("azure", &azure, &entra, format!("Bearer {TOKEN}")),
        ("azure", &azure, &by_certificate, format!("Bearer {TOKEN}")),
    ] {
        store.login(&login);
        let mut fixture = source_at(&store);
        fixture.secret("keys", secret);
        fixture.secret("tls", &[("ca.crt", store.ca().unwrap())]);
        fixture.set("certSecretRef", json!({ "name": "tls" })).set("secretRef", json!({ "name": "keys" }));
        fixture.set("provider", json!(provider)).set("endpoint", json!(endpoint));
        let (status, _, message) = ready(&fixture.attempt().await);
        assert_eq!(status, "True", "{provider}: {message}");
    }
    store.login("Credential=id/");
    let mut wrong = source_at(&store);
    wrong.secret("keys", &[("accesskey", "other"), ("secretkey", "s3cret")]);
    wrong.secret("tls", &[("ca.crt", store.ca().unwrap())]);
    wrong.set("certSecretRef", json!({ "name": "tls" })).set("secretRef", json!({ "name": "keys" }));
    let summary = wrong.attempt().await;
    let (_, reason, message) = ready(&summary);
    assert_eq!(reason, "BucketOperationFailed");
    assert!(message.contains("indexation of objects from bucket 'apps' failed"), "{message}");
    assert!(
        message.contains("status 403 InvalidAccessKeyId") && message.contains("spec.secretRef"),
        "{message}"
    );
    assert!(!message.contains("s3cret"), "{message}");
    assert_eq!(condition(&summary, "FetchFailed").unwrap(), "True BucketOperationFailed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_service_gives_temporary_keys() {
    let store = served(&[("a.yaml", "one")]);
    store.login("Credential=temporary/");
    let mut fixture = source_at(&store);
    fixture.secret("ldap", &[("username", "me"), ("password", "pass-word")]);
    let sts = json!({ "provider": "ldap", "endpoint": format!("{}/sts", store.url()), "secretRef": { "name": "ldap" } });
    fixture.set("sts", sts.clone());
    assert_eq!(ready(&fixture.attempt().await).0, "True");
    let mut wrong = source_at(&store);
    wrong.secret("ldap", &[("username", "me"), ("password", "s3cret")]);
    wrong.set("sts", sts);
    let (_, reason, message) = ready(&wrong.attempt().await);
    assert_eq!(reason, "AuthenticationFailed");
    let expect = format!("failed to get credential: POST {}/sts: status 403 AccessDenied", store.url());
    assert!(message.contains(&expect) && !message.contains("s3cret"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_to_what_does_not_help_is_named() {
    let store = served(&[("a.yaml", "one")]);
    let ldap = |field: &str| json!({ "provider": "ldap", "endpoint": "https://s", field: { "name": "bad" } });
    let gone = json!({ "name": "gone" });
    let bad = json!({ "name": "bad" });
    for (field, value, secret, expect) in [
        (
            "secretRef",
            gone.clone(),
            ("x", ""),
            "failed to get secret 'apps/gone': secrets \"gone\" not found",
        ),
        (
            "secretRef",
            bad.clone(),
            ("accesskey", "s3cret"),
            "invalid 'bad' secret data: required fields 'accesskey' and 'secretkey'",
        ),
        (
            "certSecretRef",
            bad.clone(),
            ("ca.crt", "s3cret"),
            "failed to get TLS config: key 'ca.crt' of secret",
        ),
        (
            "certSecretRef",
            gone.clone(),
            ("x", ""),
            "failed to get TLS config: failed to get secret 'apps/gone'",
        ),
        ("proxySecretRef", bad, ("address", "ftp://proxy"), "failed to get proxy URL: key 'address'"),
        ("proxySecretRef", gone, ("x", ""), "failed to get proxy URL: failed to get secret 'apps/gone'"),
        ("sts", ldap("secretRef"), ("username", "me"), "failed to get STS secret: invalid 'bad' secret data"),
        (
            "sts",
            ldap("certSecretRef"),
            ("x", "y"),
            "failed to get STS TLS config: secret 'apps/bad' has no key",
        ),
    ] {
        let mut fixture = source_at(&store);
        fixture.api.on("GET", "/api/v1/namespaces/apps/secrets/gone", Response::not_found());
        fixture.secret("bad", &[secret]);
        fixture.set(field, value);
        let summary = fixture.attempt().await;
        let (_, reason, message) = ready(&summary);
        assert_eq!(
            (reason.as_str(), condition(&summary, "FetchFailed").as_deref()),
            ("AuthenticationFailed", Some("True AuthenticationFailed"))
        );
        assert!(message.contains(expect) && !message.contains("s3cret"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_does_not_go_with_the_provider_is_named() {
    let store = served(&[("a.yaml", "one")]);
    for (provider, endpoint, secret, expect) in [
        (
            "gcp",
            "h".to_owned(),
            ("serviceaccount", "s3cret"),
            "key 'serviceaccount' of secret 'apps/bad' cannot be used",
        ),
        (
            "azure",
            store.azure(),
            ("accountKey", "s3cret!"),
            "key 'accountKey' of secret 'apps/bad' cannot be used",
        ),
        ("azure", store.url(), ("accountKey", "czNj"), "spec.endpoint has no name of a storage account"),
        ("azure", store.azure(), ("x", "s3cret"), "invalid 'bad' secret data: requires a 'sasKey'"),
        ("generic", store.url(), ("x", "y"), "write it without scheme"),
    ] {
        let mut fixture = source_at(&store);
        fixture.secret("bad", &[secret]);
        fixture.set("secretRef", json!({ "name": "bad" }));
        fixture.set("provider", json!(provider)).set("endpoint", json!(endpoint));
        let (_, _, message) = ready(&fixture.attempt().await);
        assert!(message.contains(expect) && !message.contains("s3cret"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_and_one_that_changes_meanwhile_are_tried_again() {
    let store = served(&[("a.yaml", "one")]);
    let mut fixture = source_at(&store);
    fixture.set("bucketName", json!("gone"));
    let summary = fixture.attempt().await;
    let (_, reason, message) = ready(&summary);
    assert_eq!(reason, "BucketOperationFailed");
    assert!(message.starts_with("bucket 'gone' not found"), "{message}");
    assert_eq!(condition(&summary, "FetchFailed").unwrap(), "True BucketOperationFailed");

    fixture.set("bucketName", json!(BUCKET));
    store.answer(|call| call.target.ends_with("/a.yaml").then(|| response(412, &[], "")));
    let (_, _, message) = ready(&fixture.attempt().await);
    assert!(message.contains("fetch from bucket 'apps' failed: failed to get 'a.yaml' object"), "{message}");
    assert!(message.contains("has changed or was deleted since it was listed"), "{message}");
    store.answer(|_| None);
    let recovered = fixture.attempt().await;
    assert_eq!(ready(&recovered).0, "True");
    assert_eq!(condition(&recovered, "FetchFailed"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_keys_are_rejected_and_the_last_artifact_stays() {
    let store = served(&[("a.yaml", "one")]);
    let mut fixture = source_at(&store);
    fixture.attempt().await;
    let revision = fixture.artifact()["revision"].clone();
    let long = "x/".repeat(100) + "x";
    for (key, expect) in [
        ("../../escape", "object key \"../../escape\" is not a path"),
        ("a/../../x", "is not a path"),
        ("nul\0x", "contains a NUL byte"),
        ("line\nbreak", "has a control character"),
        ("a.yaml/below", "is both a file and a directory"),
        ("/a.yaml", "object keys \"/a.yaml\" and \"a.yaml\" are the same path"),
        (&long, "levels deep"),
    ] {
        store.put(key, b"x");
        let summary = fixture.attempt().await;
        let (status, reason, message) = ready(&summary);
        assert_eq!((status.as_str(), reason.as_str()), ("False", "BucketOperationFailed"), "{key}");
        assert!(message.contains(expect), "{message}");
        assert_eq!(fixture.artifact()["revision"], revision);
        assert!(fixture.stored().exists());
        store.delete(key);
    }
    // What a rule leaves out harms nothing, and other spellings are other files.
    for key in ["../x", "A.yaml", "dir/", "/abs.yaml"] {
        store.put(key, b"x");
    }
    fixture.set("ignore", json!("..\n"));
    let (status, _, message) = ready(&fixture.attempt().await);
    assert_eq!(status, "True", "{message}");
    assert_eq!(names(&fixture), ["A.yaml", "a.yaml", "abs.yaml"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_over_a_limit_is_rejected_with_its_name_before_it_is_fetched() {
    let store = served(&[("a", "12345"), ("b", "12345"), ("c", "12345")]);
    for (limits, budget, expect) in [
        (
            BucketLimits { objects_max: 2, ..BucketLimits::DEFAULT },
            BUDGET,
            "the bucket lists more than 2 objects (narrow spec.prefix, or raise --bucket-objects-max",
        ),
        (
            BucketLimits { bytes_max: 14, ..BucketLimits::DEFAULT },
            BUDGET,
            "larger than 14 bytes together (narrow spec.prefix or spec.ignore, or raise --bucket-max-size",
        ),
        (BucketLimits::DEFAULT, 100, "--memory-budget"),
    ] {
        let mut fixture = source_with(&store, limits, budget);
        store.take_calls();
        let (_, reason, message) = ready(&fixture.attempt().await);
        assert_eq!(reason, "BucketOperationFailed");
        assert!(message.contains(expect), "{message}");
        assert!(store.take_calls().iter().all(|call| call.ends_with("/apps/")), "no object is fetched");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_used_with_its_own_credentials() {
    let store = served(&[("a.yaml", "one")]);
    let mut fixture = source_at(&store);
    let address = format!("http://{}", store.address());
    fixture.secret("proxy", &[("address", &address), ("username", "me"), ("password", "pw")]);
    fixture.set("proxySecretRef", json!({ "name": "proxy" }));
    // The store takes the place of the proxy: it is asked for the URL of another host.
    fixture.set("endpoint", json!("10.1.2.3:9000"));
    fixture.attempt().await;
    let calls = store.calls();
    assert!(calls.iter().any(|call| call.target.starts_with("http://10.1.2.3:9000/apps/")), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_at_a_metadata_service_is_not_asked() {
    let store = served(&[]);
    let mut fixture = source_at(&store);
    fixture.set("endpoint", json!("169.254.169.254"));
    let (_, reason, message) = ready(&fixture.attempt().await);
    assert_eq!(reason, "BucketOperationFailed");
    assert!(message.contains("--allow-link-local-addresses"), "{message}");
}
