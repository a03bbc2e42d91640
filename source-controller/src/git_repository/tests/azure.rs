//! The provider `azure`: one server plays the authority of Azure and a Git server that accepts no credential, and shows what it was
//! sent.

use plumb_testkit::registry::{Registry, response};

use super::*;

const ACCOUNT: &str = "/api/v1/namespaces/apps/serviceaccounts/sa";

fn server() -> Registry {
    let server = Registry::plain().unwrap();
    server.answer(|call| {
        let token = json!({ "token_type": "Bearer", "expires_in": 3600, "access_token": "eyJ.s3cret-word" });
        let is_authority = call.target.ends_with("/oauth2/v2.0/token");
        Some(if is_authority { response(200, &[], token.to_string()) } else { response(401, &[], "") })
    });
    server
}

fn azure(server: &Registry, environment: AzureEnvironment) -> Fixture<GitSource> {
    let address = server.address().to_string();
    let authority = format!("http://{address}/");
    let hosts = vec![address.parse().unwrap()];
    let url = format!("http://{address}/org/_git/app");
    let mut fixture =
        source_of(&url, &RecentlyFound::new(0), AzureEnvironment { authority, hosts, ..environment });
    fixture.set("provider", json!("azure"));
    fixture
}

fn with_identity(file: &std::path::Path) -> AzureEnvironment {
    let id = |text: &str| Some(text.to_owned());
    let (tenant_id, client_id) = (id("tenant-1"), id("client-1"));
    AzureEnvironment { tenant_id, client_id, token_file: Some(file.to_owned()), ..azure_environment() }
}

/// What the authority was sent, and the credentials that the Git server was sent.
fn sent(server: &Registry) -> (Vec<String>, Vec<String>) {
    let calls = server.calls();
    server.take_calls();
    let (tokens, git): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| call.method == "POST");
    let tokens = tokens.into_iter().map(|call| format!("{} {}", call.target, call.body)).collect();
    (tokens, git.into_iter().filter_map(|call| call.authorization).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_identity_of_the_controller_opens_repositories_of_azure_devops_and_no_others() {
    let server = server();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "assertion-1\n").unwrap();
    let mut fixture = azure(&server, with_identity(file.path()));
    for _ in 0..2 {
        let summary = fixture.attempt().await;
        assert!(ready(&summary).2.contains("authentication required"), "{summary:?}");
        assert!(!format!("{summary:?}").contains("s3cret-word"));
        let (tokens, git) = sent(&server);
        // A token that was not accepted is not used again.
        assert_eq!(tokens.len(), 1);
        assert!(tokens[0].starts_with("/tenant-1/oauth2/v2.0/token "), "{tokens:?}");
        for part in [
            "client_id=client-1",
            "client_assertion=assertion-1",
            "scope=499b84ac-1321-427f-aa17-267ca6975798",
        ] {
            assert!(tokens[0].contains(part), "{tokens:?}");
        }
        assert_eq!(git, ["Bearer eyJ.s3cret-word"]);
    }
    fixture.set("url", json!(format!("http://localhost:{}/x", server.address().port())));
    let summary = fixture.attempt().await;
    let (_, reason, message) = ready(&summary);
    assert_eq!(reason, "InvalidProviderConfiguration");
    assert!(message.contains("no token is sent to 'http://localhost"), "{message}");
    assert_eq!(condition(&summary, "Stalled").unwrap(), "True InvalidProviderConfiguration");
    assert_eq!(sent(&server), (Vec::new(), Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_acts_as_the_identity_that_it_is_annotated_with() {
    let server = server();
    let enabled = AzureEnvironment { is_object_level_enabled: true, ..azure_environment() };
    let mut fixture = azure(&server, enabled);
    fixture.set("serviceAccountName", json!("sa"));
    let annotations =
        json!({ "azure.workload.identity/tenant-id": "t2", "azure.workload.identity/client-id": "c2" });
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "sa", "namespace": "apps", "annotations": annotations },
    });
    let token = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {},
        "spec": { "audiences": ["api://AzureADTokenExchange"] },
        "status": { "token": "assertion-2", "expirationTimestamp": "2126-01-01T00:00:00Z" },
    });
    fixture.api.on("GET", ACCOUNT, Response::ok(account));
    fixture.api.on("POST", &format!("{ACCOUNT}/token"), Response::ok(token));
    fixture.attempt().await;
    let (tokens, git) = sent(&server);
    assert!(tokens[0].starts_with("/t2/oauth2/v2.0/token "), "{tokens:?}");
    assert!(
        tokens[0].contains("client_id=c2") && tokens[0].contains("client_assertion=assertion-2"),
        "{tokens:?}"
    );
    assert_eq!(git, ["Bearer eyJ.s3cret-word"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_is_missing_or_not_allowed_is_explained() {
    let server = server();
    let enabled = || AzureEnvironment { is_object_level_enabled: true, ..azure_environment() };
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "sa" } });
    let options = "failed to configure authentication options:";
    for (environment, name, answer, reason, expect) in [
        (azure_environment(), None, None, "AuthenticationFailed", format!("{options} missing environment variable AZURE_TENANT_ID for workload identity (")),
        (
            with_identity(std::path::Path::new("/no/such/file")), None, None, "AuthenticationFailed",
            format!("{options} failed to read the file of AZURE_FEDERATED_TOKEN_FILE: No such file"),
        ),
        (
            azure_environment(), Some("sa"), None, "FeatureGateDisabled",
            "to use spec.serviceAccountName for provider authentication please enable the ObjectLevelWorkloadIdentity feature gate \
             in the controller ("
                .to_owned(),
        ),
        (
            enabled(), Some("sa"), Some(Response::not_found()), "AuthenticationFailed",
            format!("{options} failed to get service account 'apps/sa': serviceaccounts \"sa\" not found ("),
        ),
        (
            enabled(), Some("sa"), Some(Response::ok(account)), "AuthenticationFailed",
            format!("{options} azure tenant ID is not set in the service account annotation azure.workload.identity/tenant-id ("),
        ),
    ] {
        let mut fixture = azure(&server, environment);
        fixture.set("serviceAccountName", json!(name));
        if let Some(answer) = answer {
            fixture.api.on("GET", ACCOUNT, answer);
        }
        let summary = fixture.attempt().await;
        let (status, actual, message) = ready(&summary);
        assert_eq!((status.as_str(), actual.as_str()), ("False", reason), "{message}");
        assert!(message.starts_with(&expect), "{message}");
        assert_eq!(condition(&summary, "Stalled").is_some(), reason == "FeatureGateDisabled");
        assert_eq!(condition(&summary, "FetchFailed").unwrap(), format!("True {reason}"));
        assert_eq!(sent(&server), (Vec::new(), Vec::new()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_names_certificates_or_a_proxy_reads_the_token_of_the_controller() {
    let server = server();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "assertion-1").unwrap();
    let own = Registry::tls().unwrap();
    let address = format!("http://{}", server.address());
    for (field, content, expect) in [
        (
            "secretRef",
            ("ca.crt", own.ca().unwrap()),
            "a CA or client certificate of spec.secretRef is not used",
        ),
        ("proxySecretRef", ("address", address.as_str()), "spec.proxySecretRef is not used"),
    ] {
        let mut fixture = azure(&server, with_identity(file.path()));
        fixture.secret("own", &[content]);
        fixture.set(field, json!({ "name": "own" }));
        let summary = fixture.attempt().await;
        let (_, reason, message) = ready(&summary);
        assert_eq!(reason, "InvalidProviderConfiguration", "{message}");
        assert!(message.starts_with(expect), "{message}");
        assert_eq!(condition(&summary, "Stalled").unwrap(), "True InvalidProviderConfiguration");
        assert_eq!(sent(&server), (Vec::new(), Vec::new()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_the_controller_is_requested_past_the_proxy_of_the_object() {
    let (server, proxy) = (server(), Registry::plain().unwrap());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "assertion-1").unwrap();
    let mut fixture = azure(&server, with_identity(file.path()));
    fixture.secret("proxy", &[("address", &format!("http://{}", proxy.address()))]);
    fixture.set("proxySecretRef", json!({ "name": "proxy" }));
    fixture.set("url", json!("https://dev.azure.com/org/project/_git/app"));
    let summary = fixture.attempt().await;
    assert_eq!(sent(&server).0.len(), 1, "{summary:?}");
    assert!(proxy.calls().iter().all(|call| call.method != "POST"));
}
