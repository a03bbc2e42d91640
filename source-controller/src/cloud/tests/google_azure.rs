//! The providers `gcp` and `azure`: one server plays the metadata services, the authority and the registry.

use plumb_api::sealed::Sealed;
use plumb_azure::{AzureTokens, ManagedIdentity};
use plumb_gcp::GcpEndpoints;

use super::{azure::AzureEnvironment, *};

/// The end of the refresh token: 2100.
const REFRESH: &str = "h.eyJleHAiOjQxMDI0NDQ4MDB9.s3cret";

/// A registry that wants this login, with the services of both clouds.
fn server(user: &str, password: &str) -> Registry {
    let server = Registry::plain().unwrap();
    server.login(Login::Basic(user.into(), password.into()));
    server.push("latest", &[("application/x", b"content")], &json!({}));
    server.answer(|call| {
        let token = json!({ "access_token": "cloud-s3cret", "expires_in": 3600 });
        let path = call.target.split('?').next().unwrap_or_default();
        match path {
            "/computeMetadata/v1/instance/service-accounts/default/token"
            | "/metadata/identity/oauth2/token"
            | "/t/oauth2/v2.0/token"
            | "/v1/token" => Some(response(200, &[], token.to_string())),
            "/oauth2/exchange" => Some(response(200, &[], json!({ "refresh_token": REFRESH }).to_string())),
            _ => None,
        }
    });
    server
}

/// The identities of the machine that the server plays.
fn cloud(server: &Registry, client: Client, allowed: &[String], environment: AzureEnvironment) -> Cloud {
    let url = |path: &str| Url::parse(&format!("http://{}{path}", server.address())).unwrap();
    let endpoints = GcpEndpoints { metadata: url("/"), sts: url("/v1/token"), iam: url("/") };
    let (memory, cache) = (MemoryPool::new(1 << 30), TokenCache::new(TokenLimits::DEFAULT));
    Cloud {
        azure: Azure { tokens: AzureTokens::new(memory.clone(), cache.clone()), environment },
        gcp: GcpClient::new(endpoints, None, memory, cache),
        hosts: allowed.iter().map(|host| host.parse().unwrap()).collect(),
        ..none(client)
    }
}

fn machine(server: &Registry) -> AzureEnvironment {
    let base = Url::parse(&format!("http://{}/", server.address())).unwrap();
    AzureEnvironment { managed: Some(ManagedIdentity::Machine { base }), ..AzureEnvironment::none() }
}

fn application(server: &Registry) -> AzureEnvironment {
    AzureEnvironment {
        authority: format!("http://{}/", server.address()),
        tenant_id: Some("t".to_owned()),
        client_id: Some("c".to_owned()),
        client_secret: Some(Sealed::from("app-s3cret")),
        ..machine(server)
    }
}

fn repository(
    server: &Registry,
    provider: &str,
    allowed: &[String],
    environment: AzureEnvironment,
) -> Fixture<OciSource> {
    let spec = json!({
        "url": server.url("org/app"), "interval": "1m", "provider": provider,
        "layerSelector": { "mediaType": "application/x", "operation": "copy" },
    });
    Fixture::new(&spec, |api, _| {
        let addresses = AddressPolicy::reject_link_local("--allow-link-local-addresses");
        let memory = MemoryPool::new(600 << 20);
        let registries = OciClient::new(addresses, memory.clone(), OciLimits::DEFAULT);
        let cloud = cloud(server, api.client(), allowed, environment);
        OciSource::new(cloud, registries, memory, UnpackLimits::DEFAULT)
    })
}

fn services(server: &Registry) -> Vec<String> {
    let calls = server.take_calls();
    let paths = calls.into_iter().filter(|call| !call.contains("/v2/"));
    paths.map(|call| call.split('?').next().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_of_google_and_azure_are_logged_into_once_and_no_others() {
    let azure_user = plumb_azure::REGISTRY_USER;
    for (provider, user, password, asked, environment) in [
        (
            "gcp",
            "oauth2accesstoken",
            "cloud-s3cret",
            &["GET /computeMetadata/v1/instance/service-accounts/default/token"][..],
            None,
        ),
        (
            "azure",
            azure_user,
            REFRESH,
            &["GET /metadata/identity/oauth2/token", "POST /oauth2/exchange"],
            Some(false),
        ),
        ("azure", azure_user, REFRESH, &["POST /t/oauth2/v2.0/token", "POST /oauth2/exchange"], Some(true)),
    ] {
        let server = server(user, password);
        let environment = || if environment == Some(true) { application(&server) } else { machine(&server) };
        let mut fixture = repository(&server, provider, &[server.address().to_string()], environment());
        for expect in [asked, &[]] {
            let summary = fixture.attempt().await;
            assert_eq!(ready(&summary).0, "True", "{:?}", ready(&summary));
            assert!(!format!("{summary:?}").contains("s3cret"));
            assert_eq!(services(&server), expect);
        }
        let mut fixture = repository(&server, provider, &[], environment());
        let summary = fixture.attempt().await;
        let (_, reason, message) = ready(&summary);
        assert_eq!(reason, "InvalidProviderConfiguration");
        let expect = format!("registry: '{}': tokens are sent to", server.address());
        assert!(message.contains(&expect), "{message}");
        assert!(condition(&summary, "Stalled").is_some());
        assert_eq!(server.calls().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_to_buckets_of_its_cloud_and_to_no_others() {
    let server = server("", "");
    let store = ObjectStore::plain().unwrap();
    store.put("a.yaml", b"one");
    store.login("Bearer cloud-s3cret");
    let elsewhere = ["store.evil.example", "https://store.evil.example"];
    let all = [("gcp", store.address().to_string(), elsewhere[0]), ("azure", store.azure(), elsewhere[1])];
    for (provider, endpoint, elsewhere) in all {
        for allowed in [vec![store.address().to_string()], Vec::new()] {
            let (endpoint, insecure) =
                if allowed.is_empty() { (elsewhere, false) } else { (endpoint.as_str(), true) };
            let spec = json!({
                "endpoint": endpoint, "bucketName": BUCKET, "insecure": insecure, "interval": "1m", "provider": provider,
            });
            let mut fixture = Fixture::new(&spec, |api, _| {
                let addresses = AddressPolicy::reject_link_local("--allow-link-local-addresses");
                let clients = BucketClient::new(addresses, MemoryPool::new(600 << 20), BucketLimits::DEFAULT);
                BucketSource::new(cloud(&server, api.client(), &allowed, machine(&server)), clients)
            });
            store.take_calls();
            server.take_calls();
            let summary = fixture.attempt().await;
            if allowed.is_empty() {
                let (_, reason, message) = ready(&summary);
                assert_eq!(reason, "InvalidProviderConfiguration", "{message}");
                assert!(message.contains("store.evil.example"), "{message}");
                assert_eq!((store.calls().len(), server.calls().len()), (0, 0));
            } else {
                assert_eq!(ready(&summary).0, "True", "{:?}", ready(&summary));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_is_exchanged_at_the_provider_that_it_is_annotated_with() {
    let server = server("oauth2accesstoken", "cloud-s3cret");
    let provider = "projects/1/locations/global/workloadIdentityPools/p/providers/k";
    for (annotations, is_valid) in [
        (json!({ "gcp.auth.fluxcd.io/workload-identity-provider": provider }), true),
        (json!({ "gcp.auth.fluxcd.io/workload-identity-provider": "p" }), false),
        (json!({ "iam.gke.io/gcp-service-account": "a/b" }), false),
    ] {
        let mut fixture = repository(&server, "gcp", &[server.address().to_string()], machine(&server));
        fixture.source.cloud_mut().is_object_level_enabled = true;
        fixture.set("serviceAccountName", json!("sa"));
        account(&fixture.api, &annotations);
        server.take_calls();
        let summary = fixture.attempt().await;
        let (status, reason, message) = ready(&summary);
        if is_valid {
            assert_eq!(status, "True", "{message}");
            let calls = server.calls();
            let exchange = calls.iter().find(|call| call.target == "/v1/token").unwrap();
            assert!(exchange.body.contains("subject_token=account-token"), "{}", exchange.body);
        } else {
            assert_eq!(reason, "AuthenticationFailed");
            assert!(message.contains("annotation: '"), "{message}");
        }
    }
}
