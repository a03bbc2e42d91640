//! Scenario tests (T1) of credentials of clouds: one server plays the services of the cloud, others a registry and an object store.

mod google_azure;

use plumb_archive::UnpackLimits;
use plumb_aws::Environment;
use plumb_bucket::{BucketClient, BucketLimits};
use plumb_memory::MemoryPool;
use plumb_oci::{OciClient, OciLimits};
use plumb_testkit::{
    bucket::{BUCKET, ObjectStore},
    registry::{Login, Registry, response},
    scenario::{Response, Scenario},
};
use plumb_transport::{TokenCache, TokenLimits};
use serde_json::{Value, json};

use super::*;
use crate::{
    bucket::BucketSource,
    fixture::{Fixture, condition, ready},
    oci_repository::OciSource,
};

const ACCOUNT: &str = "/api/v1/namespaces/apps/serviceaccounts/sa";
const KEYS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "key-s3cret"), ("AWS_REGION", "eu-west-1")];

/// A registry that wants the login `AWS:pull-s3cret`, and with it the API of ECR and of the Security Token Service.
fn aws() -> Registry {
    let server = Registry::plain().unwrap();
    server.login(Login::Basic("AWS".into(), "pull-s3cret".into()));
    server.push("latest", &[("application/x", b"content")], &json!({}));
    server.answer(|call| {
        let login = json!({ "authorizationData": [{ "authorizationToken": "QVdTOnB1bGwtczNjcmV0", "expiresAt": 4_102_444_800_u64 }] });
        let keys = "<R><X><Credentials><AccessKeyId>temporary</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></X></R>";
        (call.method == "POST" && call.target == "/").then(|| {
            if call.body == "{}" { response(200, &[], login.to_string()) } else { response(200, &[], keys) }
        })
    });
    server
}

/// What makes a [`Cloud`] another one.
struct Settings<'a> {
    environment: Vec<(&'a str, String)>,
    hosts: Vec<String>,
    is_object_level_enabled: bool,
    default_account: &'a str,
}

impl<'a> Settings<'a> {
    /// The services of AWS are at this server, and the pairs are in the environment.
    fn new(server: &Registry, pairs: &[(&'a str, &str)]) -> Self {
        let mut environment: Vec<_> =
            pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        environment.push(("AWS_ENDPOINT_URL", format!("http://{}/", server.address())));
        environment.push(("AWS_EC2_METADATA_DISABLED", "true".to_owned()));
        let hosts = vec![server.address().to_string()];
        Self { environment, hosts, is_object_level_enabled: false, default_account: "" }
    }

    fn cloud(&self, client: Client) -> Cloud {
        let found = |name: &str| {
            self.environment.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
        };
        let cache = TokenCache::new(TokenLimits::DEFAULT);
        Cloud {
            aws: AwsClient::new(Environment::read(found), MemoryPool::new(1 << 30), cache),
            hosts: self.hosts.iter().map(|host| host.parse().unwrap()).collect(),
            is_object_level_enabled: self.is_object_level_enabled,
            default_account: self.default_account.to_owned(),
            ..none(client)
        }
    }

    fn repository(&self, url: &str) -> Fixture<OciSource> {
        let spec = json!({
            "url": url, "interval": "1m", "provider": "aws",
            "layerSelector": { "mediaType": "application/x", "operation": "copy" },
        });
        Fixture::new(&spec, |api, _| {
            let addresses = AddressPolicy::reject_link_local("--allow-link-local-addresses");
            let memory = MemoryPool::new(600 << 20);
            let registries = OciClient::new(addresses, memory.clone(), OciLimits::DEFAULT);
            OciSource::new(self.cloud(api.client()), registries, memory, UnpackLimits::DEFAULT)
        })
    }

    fn bucket(&self, store: &ObjectStore) -> Fixture<BucketSource> {
        let spec = json!({
            "endpoint": store.address().to_string(), "bucketName": BUCKET, "insecure": true, "interval": "1m",
            "provider": "aws", "region": "eu-west-1",
        });
        Fixture::new(&spec, |api, _| {
            let addresses = AddressPolicy::reject_link_local("--allow-link-local-addresses");
            let clients = BucketClient::new(addresses, MemoryPool::new(600 << 20), BucketLimits::DEFAULT);
            BucketSource::new(self.cloud(api.client()), clients)
        })
    }
}

/// The API server knows the ServiceAccount `apps/sa` with these annotations, and gives its token.
fn account(api: &Scenario, annotations: &Value) {
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "sa", "namespace": "apps", "annotations": annotations },
    });
    let token = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {},
        "spec": { "audiences": ["sts.amazonaws.com"] },
        "status": { "token": "account-token", "expirationTimestamp": "2126-01-01T00:00:00Z" },
    });
    api.on("GET", ACCOUNT, Response::ok(account));
    api.on("POST", &format!("{ACCOUNT}/token"), Response::ok(token));
}

/// Requests to the services of AWS: `ecr`, or the form that was sent to the Security Token Service.
fn asked(server: &Registry) -> Vec<String> {
    let calls = server.calls();
    server.take_calls();
    let services = calls.into_iter().filter(|call| call.method == "POST" && call.target == "/");
    services.map(|call| if call.body == "{}" { "ecr".to_owned() } else { call.body }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oci_repository_is_pulled_with_a_login_of_ecr_that_is_asked_for_once() {
    let server = aws();
    let mut fixture = Settings::new(&server, &KEYS).repository(&server.url("org/app"));
    for expect in [&["ecr"][..], &[]] {
        let summary = fixture.attempt().await;
        assert_eq!(ready(&summary).0, "True", "{:?}", ready(&summary));
        assert!(!format!("{summary:?}").contains("s3cret"));
        assert_eq!(asked(&server), expect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_login_is_asked_for_or_sent_to_a_registry_of_others() {
    let (server, other) = (aws(), aws());
    let mut settings = Settings::new(&server, &KEYS);
    settings.hosts.clear();
    let mut fixture = settings.repository(&other.url("org/app"));
    let summary = fixture.attempt().await;
    let (_, reason, message) = ready(&summary);
    assert_eq!(reason, "InvalidProviderConfiguration");
    let expect = format!("failed to get credential from 'aws': invalid AWS registry: '{}'", other.address());
    assert!(message.starts_with(&expect), "{message}");
    assert!(condition(&summary, "Stalled").is_some());
    assert_eq!((server.calls().len(), other.calls().len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_identity_of_the_controller_goes_only_where_the_system_trusts_the_server() {
    let server = aws();
    let certificate = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap().cert.pem();
    for spec in [json!({ "certSecretRef": { "name": "ca" } }), json!({ "insecure": true })] {
        let mut settings = Settings::new(&server, &KEYS);
        settings.hosts.clear();
        let mut fixture = settings.repository("oci://1.dkr.ecr.eu-west-1.amazonaws.com/org/app");
        fixture.secret("ca", &[("ca.crt", &certificate)]);
        for (field, value) in spec.as_object().unwrap() {
            fixture.set(field, value.clone());
        }
        let (_, reason, message) = ready(&fixture.attempt().await);
        assert_eq!(reason, "InvalidProviderConfiguration", "{message}");
        assert!(
            message.contains("the identity of source-controller is not used with certificates"),
            "{message}"
        );
        assert_eq!(asked(&server), Vec::<String>::new());
    }
    let settings = Settings::new(&server, &KEYS);
    let cloud = settings.cloud(Scenario::new().client());
    let requester = |service_account, has_own_trust| Requester {
        namespace: "apps",
        service_account,
        proxy: Proxy::None,
        timeout: Duration::from_hours(1),
        has_own_trust,
    };
    let own = cloud.bounded(&requester(None, true), || true).unwrap();
    assert_eq!((own.proxy, own.timeout), (Proxy::Environment, Duration::from_secs(30)));
    let cloud = Cloud { is_object_level_enabled: true, ..cloud };
    let of_namespace = cloud.bounded(&requester(Some("sa"), true), || false).unwrap();
    assert_eq!((of_namespace.proxy, of_namespace.timeout), (Proxy::None, Duration::from_hours(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_counts_before_the_provider() {
    let server = aws();
    let mut fixture = Settings::new(&server, &[]).repository(&server.url("org/app"));
    let host = server.address();
    let config = json!({ "auths": { host.to_string(): { "username": "AWS", "password": "pull-s3cret" } } });
    fixture.secret("pull", &[(".dockerconfigjson", &config.to_string())]);
    fixture.set("secretRef", json!({ "name": "pull" }));
    let summary = fixture.attempt().await;
    assert_eq!(ready(&summary).0, "True", "{:?}", ready(&summary));
    assert_eq!(asked(&server), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_read_as_the_role_of_its_service_account() {
    let server = aws();
    let store = ObjectStore::plain().unwrap();
    store.put("a.yaml", b"one");
    store.login("Credential=temporary/");
    for (named, default_account) in [(Some("sa"), ""), (None, "sa")] {
        let settings =
            Settings { is_object_level_enabled: true, default_account, ..Settings::new(&server, &KEYS) };
        let mut fixture = settings.bucket(&store);
        fixture.set("serviceAccountName", json!(named));
        account(&fixture.api, &json!({ "eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/r" }));
        let summary = fixture.attempt().await;
        assert_eq!(ready(&summary).0, "True", "{:?}", ready(&summary));
        let asked = asked(&server);
        assert_eq!(asked.len(), 1);
        for part in [
            "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr",
            "WebIdentityToken=account-token",
            "sa.apps.eu-west-1",
        ] {
            assert!(asked[0].contains(part), "{asked:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_read_with_the_keys_of_the_environment() {
    let (server, store) = (aws(), ObjectStore::plain().unwrap());
    store.put("a.yaml", b"one");
    store.login("Credential=AKIA/");
    let mut fixture = Settings::new(&server, &KEYS).bucket(&store);
    let summary = fixture.attempt().await;
    assert_eq!(ready(&summary).0, "True", "{:?}", ready(&summary));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_is_missing_or_not_allowed_is_explained() {
    let (server, store) = (aws(), ObjectStore::plain().unwrap());
    let enabled = |pairs| Settings { is_object_level_enabled: true, ..Settings::new(&server, pairs) };
    let sts = json!({ "provider": "aws", "endpoint": "https://sts.evil.example" });
    for (settings, name, annotations, sts, reason, expect) in [
        (
            Settings::new(&server, &KEYS),
            Some("sa"),
            None,
            None,
            "FeatureGateDisabled",
            "please enable the ObjectLevelWorkloadIdentity feature gate",
        ),
        (
            enabled(&KEYS),
            Some("sa"),
            None,
            None,
            "AuthenticationFailed",
            "failed to get service account 'apps/sa'",
        ),
        (
            enabled(&KEYS),
            Some("sa"),
            Some(json!({})),
            None,
            "AuthenticationFailed",
            "is not set in the service account annotation eks.amazonaws.com/role-arn",
        ),
        (
            enabled(&KEYS),
            Some("sa"),
            Some(json!({ "eks.amazonaws.com/role-arn": "r" })),
            None,
            "AuthenticationFailed",
            "invalid eks.amazonaws.com/role-arn annotation: 'r'. must match",
        ),
        (
            enabled(&KEYS),
            Some("sa"),
            Some(json!({ "eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/r" })),
            Some(sts),
            "InvalidProviderConfiguration",
            "invalid STS endpoint: 'https://sts.evil.example'",
        ),
        (
            Settings::new(&server, &[]),
            None,
            None,
            None,
            "AuthenticationFailed",
            "there are no other credentials",
        ),
    ] {
        let mut fixture = settings.bucket(&store);
        fixture.set("serviceAccountName", json!(name)).set("sts", json!(sts));
        match &annotations {
            Some(annotations) => account(&fixture.api, annotations),
            None => drop(fixture.api.on("GET", ACCOUNT, Response::not_found())),
        }
        let summary = fixture.attempt().await;
        let (_, actual, message) = ready(&summary);
        assert_eq!(actual, reason, "{message}");
        assert!(
            message.starts_with("failed to get credential from 'aws': ") && message.contains(expect),
            "{message}"
        );
        assert_eq!(condition(&summary, "Stalled").is_some(), reason != "AuthenticationFailed");
        assert_eq!(asked(&server), Vec::<String>::new());
        assert_eq!(store.calls().len(), 0);
    }
}
