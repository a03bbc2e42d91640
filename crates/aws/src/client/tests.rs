//! One server plays the services of AWS, and shows what it was sent.

use std::{
    future::{Pending, Ready, pending, ready},
    io::Write as _,
};

use plumb_testkit::registry::{Registry, response};
use plumb_transport::TokenLimits;
use serde_json::json;

use super::*;
use crate::environment::tests::of;

const NOW: &str = "2026-01-01T00:00:00Z";

fn server() -> Registry {
    let server = Registry::plain().unwrap();
    server.answer(|call| {
        let keys = json!({
            "Code": "Success", "AccessKeyId": "ASIA", "SecretAccessKey": "s3cret", "Token": "session",
            "Expiration": "2026-01-01T01:00:00Z",
        });
        let assumed = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s3cret</SecretAccessKey><SessionToken>session</SessionToken><Expiration>2026-01-01T01:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
        let login = json!({ "authorizationData": [{ "authorizationToken": "QVdTOnMzY3JldA==", "expiresAt": 1_767_268_800 }] });
        let denied = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>s3cret-token</Message></Error></ErrorResponse>";
        Some(match (call.method.as_str(), call.target.as_str()) {
            ("PUT", "/latest/api/token") => response(200, &[], "imds"),
            ("GET", "/latest/meta-data/iam/security-credentials/") => response(200, &[], "node-role\n"),
            ("GET", "/latest/meta-data/iam/security-credentials/node-role" | "/v1/credentials") => {
                response(200, &[], keys.to_string())
            }
            ("POST", "/") if call.body.contains("denied") => response(403, &[], denied),
            ("POST", "/") if call.body.contains("odd") => response(200, &[], "<html/>"),
            ("POST", "/") if call.body == "{}" => response(200, &[], login.to_string()),
            ("POST", "/") => response(200, &[], assumed),
            _ => response(404, &[], ""),
        })
    });
    server
}

fn client(pairs: &[(&str, &str)]) -> AwsClient {
    AwsClient::new(of(pairs), MemoryPool::new(1 << 30), TokenCache::new(TokenLimits::DEFAULT))
}

fn identity(now: &str) -> Identity<'static> {
    Identity {
        role: None,
        region: Some("eu-west-1"),
        sts_endpoint: None,
        consumer: "apps",
        config: ClientConfig { proxy: Proxy::None, ..ClientConfig::default() },
        timeout: Duration::from_secs(10),
        now: now.parse().unwrap(),
    }
}

fn role(name: &str, account: &str) -> WebIdentity {
    let account = ("apps".to_owned(), account.to_owned());
    WebIdentity { role: format!("arn:aws:iam::1:role/{name}"), account }
}

fn token() -> Ready<Result<Sealed, AwsError>> {
    ready(Ok(Sealed::from("web-identity\n")))
}

/// No token of a ServiceAccount is requested.
fn no_token() -> Pending<Result<Sealed, AwsError>> {
    pending()
}

#[tokio::test]
async fn the_metadata_service_of_the_machine_is_asked_with_a_token_and_seldom() {
    let server = server();
    let base = format!("http://{}/", server.address());
    let aws = client(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &base)]);
    for (now, is_asked) in [(NOW, true), ("2026-01-01T00:47:00Z", false), ("2026-01-01T00:49:00Z", true)] {
        let key = aws.key(&identity(now), no_token()).await.unwrap();
        assert!(
            key.id == "ASIA" && key.secret.matches(b"s3cret") && key.session.unwrap().matches(b"session")
        );
        let expect = [
            "PUT /latest/api/token",
            "GET /latest/meta-data/iam/security-credentials/",
            "GET /latest/meta-data/iam/security-credentials/node-role",
        ];
        assert_eq!(server.take_calls(), if is_asked { &expect[..] } else { &[] }, "{now}");
    }
}

#[tokio::test]
async fn a_container_sends_the_token_of_its_file() {
    let server = server();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"pod-token\n").unwrap();
    let aws = client(&[
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("http://{}/v1/credentials", server.address())),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.path().to_str().unwrap()),
    ]);
    assert_eq!(aws.key(&identity(NOW), no_token()).await.unwrap().id, "ASIA");
    assert_eq!(server.calls()[0].authorization.as_deref(), Some("pod-token"));
}

#[tokio::test]
async fn a_token_is_exchanged_for_the_keys_of_its_role_once_for_each_service_account() {
    let server = server();
    let url = format!("http://{}/", server.address());
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"irsa-token\n").unwrap();
    let aws = client(&[
        ("AWS_ENDPOINT_URL_STS", &url),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.path().to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/controller"),
    ]);
    for (role, expect) in [
        (
            None,
            Some([
                "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fcontroller&RoleSessionName=source-controller",
                "WebIdentityToken=irsa-token",
            ]),
        ),
        (
            Some(role("r", "sa")),
            Some([
                "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=sa.apps.eu-west-1.fluxcd.io",
                "WebIdentityToken=web-identity",
            ]),
        ),
        (Some(role("r", "sa")), None),
        (
            Some(role("r", "other")),
            Some(["RoleSessionName=other.apps.eu-west-1.fluxcd.io", "WebIdentityToken=web-identity"]),
        ),
    ] {
        let key = aws.key(&Identity { role, ..identity(NOW) }, token()).await.unwrap();
        assert_eq!(key.id, "ASIAROLE");
        let calls = server.calls();
        server.take_calls();
        assert_eq!(calls.len(), usize::from(expect.is_some()));
        for part in expect.into_iter().flatten() {
            assert!(calls[0].body.contains(part), "{}", calls[0].body);
        }
    }
}

#[tokio::test]
async fn a_registry_is_logged_into_with_a_signed_request() {
    let server = server();
    let url = format!("http://{}/", server.address());
    let aws = client(&[
        ("AWS_ENDPOINT_URL", &url),
        ("AWS_ACCESS_KEY_ID", "AKIA"),
        ("AWS_SECRET_ACCESS_KEY", "key-s3cret"),
    ]);
    for (host, scope) in [
        ("1.dkr.ecr.eu-west-1.amazonaws.com", "AKIA/20260101/eu-west-1/ecr/aws4_request"),
        ("public.ecr.aws", "AKIA/20260101/us-east-1/ecr-public/aws4_request"),
    ] {
        let registry = EcrRegistry::parse(host).unwrap();
        for is_asked in [true, false] {
            let Login { username, password } =
                aws.login(&registry, &identity(NOW), no_token()).await.unwrap();
            assert!(username == "AWS" && password.matches(b"s3cret"));
            let calls = server.calls();
            server.take_calls();
            assert_eq!(calls.len(), usize::from(is_asked));
            for call in calls {
                let authorization = call.authorization.unwrap();
                assert!(authorization.contains(scope), "{authorization}");
                assert!(
                    authorization.contains("content-type;host;x-amz-content-sha256;x-amz-date;x-amz-target")
                );
            }
        }
    }
}

#[tokio::test]
async fn a_rejection_shows_its_code_and_no_secret() {
    let server = server();
    let aws = client(&[("AWS_ENDPOINT_URL_STS", &format!("http://{}/", server.address()))]);
    for (name, expect) in [
        ("denied", ": status 403 AccessDenied"),
        ("odd", ": the response is not the temporary credentials of AWS"),
    ] {
        let identity = Identity { role: Some(role(name, "sa")), ..identity(NOW) };
        let error = aws.key(&identity, token()).await.err().unwrap();
        let text = plumb_status::chain(&error);
        assert!(
            text.ends_with(expect) && !text.contains("s3cret-token") && !text.contains("web-identity"),
            "{text}"
        );
    }
    let nowhere = client(&[("AWS_EC2_METADATA_DISABLED", "true")]);
    let identity = Identity { region: None, role: Some(role("r", "sa")), ..identity(NOW) };
    let error = nowhere.key(&identity, no_token()).await.err().unwrap();
    assert!(error.to_string().contains("AWS_REGION is not set"), "{error}");
}
