//! The provider `github`: a Git server that takes tokens of installations, and a server that plays GitHub's API.

use plumb_testkit::registry::{Registry, response};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use super::*;

const TOKEN: &str = "ghs_s3cret-word";

fn github() -> Registry {
    let server = Registry::plain().unwrap();
    server.answer(|call| {
        let is_known = call.target == "/app/installations/7/access_tokens";
        let answer = json!({ "token": TOKEN, "expires_at": "2126-01-01T00:00:00Z" });
        Some(if is_known { response(201, &[], answer.to_string()) } else { response(404, &[], "{}") })
    });
    server
}

fn app(fixture: &Fixture<GitSource>, github: &Registry, installation: &str) {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap().serialize_pem();
    let base_url = format!("http://{}", github.address());
    fixture.secret(
        "git",
        &[
            ("githubAppID", "42"),
            ("githubAppInstallationID", installation),
            ("githubAppPrivateKey", &key),
            ("githubAppBaseURL", &base_url),
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_is_fetched_with_a_token_of_the_installation() {
    let credentials = Credentials { username: "x-access-token".to_owned(), password: TOKEN.to_owned() };
    let (server, repository) = served(&GitServerOptions { tls: false, credentials: Some(credentials) });
    let github = github();
    let mut fixture = source_at(&server.url("app"));
    fixture.set("provider", json!("github")).set("secretRef", json!({ "name": "git" }));
    app(&fixture, &github, "7");
    assert_eq!(ready(&fixture.attempt().await).0, "True");
    assert_eq!(fixture.artifact()["revision"], repository.revision().unwrap());
    assert_eq!(github.take_calls(), ["POST /app/installations/7/access_tokens"]);
    fixture.attempt().await;
    assert_eq!(github.take_calls(), Vec::<String>::new(), "a token is used until shortly before its end");

    server.fault(plumb_testkit::gitserver::Fault::Respond(401));
    fixture.attempt().await;
    server.fault(plumb_testkit::gitserver::Fault::None);
    fixture.attempt().await;
    assert_eq!(github.take_calls().len(), 1, "a token that is not accepted is not used again");

    app(&fixture, &github, "8");
    let summary = fixture.attempt().await;
    let (_, reason, message) = ready(&summary);
    assert_eq!(
        (reason.as_str(), condition(&summary, "FetchFailed").unwrap().as_str()),
        ("AuthenticationFailed", "True AuthenticationFailed")
    );
    assert!(
        message.contains("failed to get a token of the GitHub App") && message.contains("status 404"),
        "{message}"
    );
    app(&fixture, &github, "x");
    let (_, _, message) = ready(&fixture.attempt().await);
    assert!(
        message.contains("key 'githubAppInstallationID' of secret 'apps/git' cannot be used"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn provider_and_secret_go_together() {
    let (server, _repository) = served(&GitServerOptions::default());
    let mut fixture = source_at(&server.url("app"));
    fixture.set("provider", json!("github"));
    let summary = fixture.attempt().await;
    let text = "secretRef with github app data must be specified when provider is set to github (set spec.secretRef)";
    assert_eq!(ready(&summary), ("False".into(), "InvalidProviderConfiguration".into(), text.into()));
    assert_eq!(condition(&summary, "Stalled").unwrap(), "True InvalidProviderConfiguration");
    fixture.set("provider", json!("generic")).set("secretRef", json!({ "name": "git" }));
    app(&fixture, &github(), "7");
    let (_, reason, message) = ready(&fixture.attempt().await);
    assert_eq!(reason, "InvalidProviderConfiguration");
    assert!(
        message.starts_with("secretRef 'apps/git' has github app data but provider is not set to github")
    );
}
