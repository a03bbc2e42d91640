//! `spec.proxySecretRef`. A server takes the place of the proxy: it is sent the URL of another host.

use plumb_testkit::gitserver::Fault;

use super::*;

const PROXY_SECRET: &str = "/api/v1/namespaces/apps/secrets/proxy";

fn proxied(url: &str) -> Fixture<GitSource> {
    let mut fixture = source_at(url);
    fixture.set("proxySecretRef", json!({ "name": "proxy" }));
    fixture
}

/// The address of a server.
fn address(server: &GitServer) -> String {
    server.url("app").trim_end_matches("/app.git").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_and_its_submodules_are_read_through_the_proxy_of_the_secret() {
    let (proxy, repository) = served(&GitServerOptions::default());
    let library = proxy.repository("library").unwrap();
    library.write("lib.yaml", "lib").unwrap();
    let commit = library.push("Library").unwrap();
    let declared = "[submodule \"l\"]\n\tpath = lib\n\turl = http://other.invalid/library.git\n";
    repository.write(".gitmodules", declared).unwrap();
    repository.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},lib")]).unwrap();
    repository.git(&["add", ".gitmodules"]).unwrap();
    repository.git(&["commit", "--quiet", "--message", "Link"]).unwrap();
    repository.git(&["push", "--quiet", "origin", "main"]).unwrap();
    let mut fixture = proxied("http://git.invalid/app.git");
    fixture
        .secret("proxy", &[("address", &address(&proxy)), ("username", "me"), ("password", "s3cret-word")]);
    let summary = fixture.set("recurseSubmodules", json!(true)).attempt().await;
    assert_eq!(ready(&summary).0, "True", "{summary:?}");
    assert_eq!(fixture.artifact()["revision"], repository.revision().unwrap());
    // The proxy's own error is reported, without its password.
    proxy.fault(Fault::Respond(502));
    let summary = fixture.attempt().await;
    assert!(ready(&summary).2.contains("status 502"), "{summary:?}");
    assert!(!format!("{summary:?}").contains("s3cret-word"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_secret_that_cannot_be_used_is_named() {
    let mut fixture = proxied("http://git.invalid/app.git");
    for (data, expect) in [
        (
            None,
            "failed to configure proxy options: failed to get secret 'apps/proxy': secrets \"proxy\" not found",
        ),
        (
            Some(("username", "me")),
            "failed to configure proxy options: secret 'apps/proxy' has no key 'address'",
        ),
        (Some(("address", "ftp://proxy")), "failed to configure proxy options: key 'address'"),
        (Some(("address", "http://169.254.169.254")), "169.254.169.254"),
    ] {
        match data {
            None => {
                fixture.api.on("GET", PROXY_SECRET, Response::not_found());
            }
            Some(data) => fixture.secret("proxy", &[data]),
        }
        let (status, reason, message) = ready(&fixture.attempt().await);
        assert_eq!(status, "False");
        assert!(message.contains(expect), "{message}");
        if expect.starts_with("failed") {
            assert_eq!(reason, "AuthenticationFailed");
            assert!(message.ends_with("(correct spec.proxySecretRef or its Secret)"), "{message}");
        }
    }
}
