//! Registries that behave, and others that do not.

use std::sync::atomic::{AtomicUsize, Ordering};

use plumb_testkit::registry::{INDEX, Login, MANIFEST, Pages, Registry, digest, response};
use serde_json::json;

use super::*;

const POLICY: AddressPolicy = AddressPolicy::reject_link_local("--allow-link-local-addresses");
const TIMEOUT: Duration = Duration::from_secs(10);
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn client() -> OciClient {
    client_with(OciLimits::DEFAULT)
}

fn client_with(limits: OciLimits) -> OciClient {
    OciClient::new(POLICY, MemoryPool::new(1 << 30), limits)
}

fn access(credential: RegistryCredential) -> Access {
    Access {
        trust: Trust::default(),
        proxy: Proxy::None,
        fingerprint: String::new(),
        plain_http: true,
        credential,
    }
}

fn user(name: &str, password: &str) -> RegistryCredential {
    RegistryCredential::Basic { username: name.into(), password: password.into() }
}

async fn connect(client: &OciClient, registry: &Registry, credential: RegistryCredential) -> Remote {
    let repository = Repository::parse(&registry.url("org/app")).unwrap();
    client.connect("apps", &repository, access(credential), TIMEOUT).await.unwrap()
}

async fn anonymous(registry: &Registry) -> Remote {
    connect(&client(), registry, RegistryCredential::Anonymous).await
}

fn text(error: &OciError) -> String {
    plumb_status::chain(error)
}

#[tokio::test]
async fn a_poll_is_one_request_once_the_registry_is_known() {
    let registry = Registry::plain().unwrap();
    let expect = registry.push("latest", &[(LAYER, b"abc")], &json!({}));
    registry.login(Login::Token {
        realm: None,
        user: Some(("me".into(), "s3cret".into())),
        expires_in: Some(300),
    });
    let client = client();
    let head = "HEAD /v2/org/app/manifests/latest".to_owned();
    let token = "GET /token?service=test&scope=repository%3Aorg%2Fapp%3Apull".to_owned();
    for expected in
        [vec!["GET /v2/".to_owned(), head.clone(), token.clone(), head.clone()], vec![head.clone()]]
    {
        let remote = connect(&client, &registry, user("me", "s3cret")).await;
        assert_eq!(remote.digest_of("latest").await.unwrap().as_str(), expect);
        assert_eq!(registry.take_calls(), expected);
    }
    // Another credential never uses the token of this one.
    let error = connect(&client, &registry, user("me", "wrong")).await.digest_of("latest").await.unwrap_err();
    assert!(text(&error).contains("status 401 UNAUTHORIZED: the credentials are not accepted"), "{error}");
    registry.take_calls();
    // A token that the registry takes no longer is renewed.
    registry.login(Login::Token { realm: None, user: None, expires_in: Some(300) });
    connect(&client, &registry, user("me", "s3cret")).await.digest_of("latest").await.unwrap();
    assert_eq!(registry.take_calls(), [head.clone(), token, head]);
}

#[tokio::test]
async fn a_token_is_used_for_its_lifetime_only() {
    let registry = Registry::plain().unwrap();
    registry.push("latest", &[], &json!({}));
    registry.login(Login::Token { realm: None, user: None, expires_in: Some(0) });
    let remote = anonymous(&registry).await;
    remote.digest_of("latest").await.unwrap();
    registry.take_calls();
    remote.digest_of("latest").await.unwrap();
    assert_eq!(registry.take_calls().len(), 3);
}

#[tokio::test]
async fn passwords_and_tokens_go_where_they_belong() {
    let registry = Registry::plain().unwrap();
    registry.push("latest", &[], &json!({}));
    let basic = Some("Basic bWU6czNjcmV0".to_owned());
    let sent = |registry: &Registry| -> Vec<Option<String>> {
        registry.calls().into_iter().map(|call| call.authorization).collect()
    };
    registry.login(Login::Basic("me".into(), "s3cret".into()));
    connect(&client(), &registry, user("me", "s3cret")).await.digest_of("latest").await.unwrap();
    assert_eq!(sent(&registry), [None, None, basic.clone()], "a password is sent when it is asked for");
    registry.take_calls();
    registry.login(Login::Token {
        realm: None,
        user: Some(("me".into(), "refresh".into())),
        expires_in: None,
    });
    let identity = RegistryCredential::IdentityToken("refresh".into());
    connect(&client(), &registry, identity).await.digest_of("latest").await.unwrap();
    let posted = registry.calls().into_iter().find(|call| call.method == "POST").unwrap();
    assert_eq!(posted.target, "/token", "an identity token is never in a URL");
    assert!(posted.body.contains("grant_type=refresh_token") && posted.authorization.is_none());
    let bearer = RegistryCredential::RegistryToken("t0ken-2".into());
    registry.take_calls();
    connect(&client(), &registry, bearer).await.digest_of("latest").await.unwrap();
    assert_eq!(sent(&registry), [None, Some("Bearer t0ken-2".to_owned())]);
}

#[tokio::test]
async fn credentials_go_to_no_token_server_of_another_domain() {
    let (registry, thief) = (Registry::plain().unwrap(), Registry::plain().unwrap());
    registry.push("latest", &[], &json!({}));
    let login = Login::Token { realm: None, user: Some(("me".into(), "s3cret".into())), expires_in: None };
    thief.login(login);
    // The other server is on this host, too, so it is called by another of its names.
    let realm = format!("http://localhost:{}/token", thief.address().port());
    registry.login(Login::Token { realm: Some(realm), user: None, expires_in: None });
    for credential in [user("me", "s3cret"), RegistryCredential::IdentityToken("s3cret".into())] {
        let error = connect(&client(), &registry, credential).await.digest_of("latest").await.unwrap_err();
        assert!(text(&error).contains("\"localhost\" is on another domain than the registry"), "{error}");
    }
    assert!(!thief.calls().is_empty(), "it is asked for a token for everybody");
    assert!(thief.calls().iter().all(|call| call.authorization.is_none() && !call.body.contains("s3cret")));
    for bad in ["file:///etc/passwd", "nonsense", "http://169.254.169.254/token"] {
        registry.login(Login::Token { realm: Some(bad.to_owned()), user: None, expires_in: None });
        assert!(anonymous(&registry).await.digest_of("latest").await.is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_blob_on_another_host_is_fetched_without_credentials() {
    let (registry, cdn) = (Registry::plain().unwrap(), Registry::plain().unwrap());
    registry.push("latest", &[(LAYER, b"abc")], &json!({}));
    cdn.blob(b"abc");
    registry.login(Login::Basic("me".into(), "s3cret".into()));
    let target = format!("http://localhost:{}/v2/x/blobs/{}", cdn.address().port(), digest(b"abc"));
    registry.answer(move |call| {
        let is_blob = call.target.contains("/blobs/") && call.authorization.is_some();
        is_blob.then(|| response(307, &[("location", &target)], ""))
    });
    let remote = connect(&client(), &registry, user("me", "s3cret")).await;
    let manifest = remote.manifest(&remote.digest_of("latest").await.unwrap()).await.unwrap();
    assert_eq!(remote.blob(&manifest.layers[0]).await.unwrap().bytes, b"abc");
    assert!(cdn.calls().iter().all(|call| call.authorization.is_none()), "{:?}", cdn.calls());
    assert_eq!(cdn.calls().len(), 1);
}

#[tokio::test]
async fn what_does_not_match_its_digest_is_rejected() {
    let registry = Registry::plain().unwrap();
    let genuine = registry.push("latest", &[(LAYER, b"abc")], &json!({}));
    let forged = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "layers": [] }).to_string();
    let remote = anonymous(&registry).await;
    let manifest = remote.manifest(&Digest::parse(&genuine).unwrap()).await.unwrap();
    registry.answer(move |call| match call.target.as_str() {
        target if target.contains("/blobs/") => Some(response(200, &[], "abd")),
        // A tag that moved between two requests, or a header that lies.
        target if target.contains("/manifests/") => {
            Some(response(200, &[("docker-content-digest", &digest(b"x"))], forged.clone()))
        }
        _ => None,
    });
    let error = remote.blob(&manifest.layers[0]).await.unwrap_err();
    assert!(text(&error).contains("the content does not match its digest"), "{error}");
    let error = remote.manifest(&Digest::parse(&genuine).unwrap()).await.unwrap_err();
    assert!(text(&error).contains(&format!("expected {genuine}")), "{error}");
    registry.answer(|call| call.target.contains("/blobs/").then(|| response(200, &[], "ab")));
    let error = remote.blob(&manifest.layers[0]).await.unwrap_err();
    assert!(text(&error).contains("the content has 2 bytes, its manifest says 3"), "{error}");
    registry.answer(|call| call.target.contains("/blobs/").then(|| response(200, &[], "abcd")));
    let error = remote.blob(&manifest.layers[0]).await.unwrap_err();
    assert!(text(&error).contains("larger than 3 bytes"), "{error}");
}

#[tokio::test]
async fn a_registry_without_digests_in_its_headers_is_asked_for_the_manifest() {
    let registry = Registry::plain().unwrap();
    let expect = registry.push("latest", &[], &json!({}));
    for answer in [405, 404, 200] {
        registry.answer(move |call| (call.method == "HEAD").then(|| response(answer, &[], "")));
        assert_eq!(anonymous(&registry).await.digest_of("latest").await.unwrap().as_str(), expect);
    }
    registry.answer(|_| None);
    let error = anonymous(&registry).await.digest_of("missing").await.unwrap_err();
    assert!(text(&error).ends_with("/v2/org/app/manifests/missing: status 404 MANIFEST_UNKNOWN"), "{error}");
    assert!(!text(&error).contains("may hold anything"), "{error}");
}

#[tokio::test]
async fn an_index_leads_to_the_manifest_of_the_platform() {
    let registry = Registry::plain().unwrap();
    let child = registry.push("child", &[(LAYER, b"abc")], &json!({ "a": "b" }));
    let entry = |digest: &str| json!({ "mediaType": MANIFEST, "digest": digest, "size": 1, "platform": { "os": "linux", "architecture": "amd64" } });
    let index = |registry: &Registry, digest: &str| {
        registry
            .manifest(INDEX, &json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry(digest)] }))
    };
    let mut digest = index(&registry, &child);
    let remote = anonymous(&registry).await;
    let manifest = remote.manifest(&Digest::parse(&digest).unwrap()).await.unwrap();
    assert_eq!((manifest.layers.len(), manifest.annotations["a"].as_str()), (1, "b"));
    for _ in 0..INDEX_DEPTH_MAX {
        digest = index(&registry, &digest);
    }
    let error = remote.manifest(&Digest::parse(&digest).unwrap()).await.unwrap_err();
    assert!(text(&error).contains("nested too deeply"), "{error}");
}

#[tokio::test]
async fn tags_are_listed_however_the_registry_pages_them() {
    let registry = Registry::plain().unwrap();
    let digest = registry.push("v0", &[], &json!({}));
    for number in (0..25).rev() {
        registry.tag(&format!("v{number}"), &digest);
    }
    let mut expect: Vec<String> = (0..25).map(|number| format!("v{number}")).collect();
    expect.sort();
    for pages in [Pages::Whole, Pages::Linked(10), Pages::Linked(25)] {
        registry.pages(pages);
        registry.take_calls();
        let (mut tags, charged) = anonymous(&registry).await.tags().await.unwrap();
        assert!(charged.bytes() > 0);
        tags.sort();
        assert_eq!(tags, expect, "{pages:?}");
        assert!(registry.take_calls().iter().any(|call| call.ends_with("/v2/org/app/tags/list?n=1000")));
    }
}

#[tokio::test]
async fn a_list_without_end_ends_at_its_limit() {
    let registry = Registry::plain().unwrap();
    let limits = OciLimits { tags_max: 50, tag_pages_max: 5, tag_page_bytes_max: 200, ..OciLimits::DEFAULT };
    let tags = |registry: &Registry| {
        let (client, repository) =
            (client_with(limits), Repository::parse(&registry.url("org/app")).unwrap());
        async move {
            let access = access(RegistryCredential::Anonymous);
            let remote = client.connect("apps", &repository, access, TIMEOUT).await.unwrap();
            text(&remote.tags().await.err().unwrap())
        }
    };
    let page = AtomicUsize::new(0);
    registry.answer(move |call| {
        let next = page.fetch_add(1, Ordering::SeqCst);
        let link = format!("</v2/org/app/tags/list?last={next}>; rel=\"next\"");
        call.target.contains("/tags/list").then(|| response(200, &[("link", &link)], r#"{"tags":["a"]}"#))
    });
    assert!(tags(&registry).await.contains("more than 5 pages"));
    registry.answer(|call| {
        let link = format!("<{}>; rel=\"next\"", call.target);
        call.target.contains("/tags/list").then(|| response(200, &[("link", &link)], r#"{"tags":["a"]}"#))
    });
    assert!(tags(&registry).await.contains("it leads to the same page"));
    let many = |count: usize| json!({ "tags": vec!["a"; count] }).to_string();
    registry.answer(move |call| call.target.contains("/tags/list").then(|| response(200, &[], many(48))));
    assert!(tags(&registry).await.contains("200 bytes"));
    let compact = OciLimits { tags_max: 3, ..OciLimits::DEFAULT };
    registry.answer(move |call| call.target.contains("/tags/list").then(|| response(200, &[], many(4))));
    let repository = Repository::parse(&registry.url("org/app")).unwrap();
    let access = access(RegistryCredential::Anonymous);
    let remote = client_with(compact).connect("apps", &repository, access, TIMEOUT).await.unwrap();
    assert!(text(&remote.tags().await.err().unwrap()).contains("more than 3 tags"));
}

#[tokio::test]
async fn a_layer_over_its_limit_is_not_requested() {
    let registry = Registry::plain().unwrap();
    let limits = OciLimits { layer_bytes_max: 2, ..OciLimits::DEFAULT };
    let repository = Repository::parse(&registry.url("org/app")).unwrap();
    let access = access(RegistryCredential::Anonymous);
    let remote = client_with(limits).connect("apps", &repository, access, TIMEOUT).await.unwrap();
    let layer =
        Descriptor { media_type: LAYER.into(), digest: Digest::of(b"abc"), size: 3, annotations: [].into() };
    registry.take_calls();
    let error = remote.blob(&layer).await.unwrap_err();
    assert!(text(&error).contains("has 3 bytes, the limit is 2"), "{error}");
    assert!(registry.calls().is_empty());
}

#[tokio::test]
async fn memory_of_a_blob_is_charged_and_given_back() {
    let registry = Registry::plain().unwrap();
    let layer = vec![7; 64 << 10];
    registry.push("latest", &[(LAYER, &layer)], &json!({}));
    let pool = MemoryPool::new(1 << 30);
    let client = OciClient::new(POLICY, pool.clone(), OciLimits::DEFAULT);
    let remote = connect(&client, &registry, RegistryCredential::Anonymous).await;
    let manifest = remote.manifest(&remote.digest_of("latest").await.unwrap()).await.unwrap();
    let blob = remote.blob(&manifest.layers[0]).await.unwrap();
    assert!(pool.usage().reserved >= 64 << 10);
    drop(blob);
    assert_eq!(pool.usage().reserved, 0);
}

#[tokio::test]
async fn plain_http_is_only_used_where_it_will_do() {
    let (plain, secure) = (Registry::plain().unwrap(), Registry::tls().unwrap());
    let digest_of =
        async |registry: &Registry, plain_http: bool, ca: Option<&str>| -> Result<Digest, String> {
            registry.push("latest", &[], &json!({}));
            let repository = Repository::parse(&registry.url("org/app")).unwrap();
            let trust = Trust::parse(ca.map(str::as_bytes), None).unwrap();
            let access = Access { trust, plain_http, ..access(RegistryCredential::Anonymous) };
            let remote = client().connect("apps", &repository, access, TIMEOUT).await;
            let remote = remote.map_err(|error| text(&error))?;
            remote.digest_of("latest").await.map_err(|error| text(&error))
        };
    assert!(digest_of(&plain, true, None).await.is_ok());
    assert!(digest_of(&secure, true, secure.ca()).await.is_ok());
    assert!(digest_of(&secure, false, secure.ca()).await.is_ok());
    let error = digest_of(&plain, false, None).await.unwrap_err();
    assert!(error.contains("HEAD https://"), "{error}");
    // A port for TLS that answers a plain request, as servers in Go do.
    let bad_request = Registry::plain().unwrap();
    bad_request.answer(|_| Some(response(400, &[], "Client sent an HTTP request to an HTTPS server.\n")));
    let error = digest_of(&bad_request, true, None).await.unwrap_err();
    assert!(error.contains("GET https://"), "{error}");
    let error = digest_of(&secure, true, None).await.unwrap_err();
    assert!(
        error.contains("unknown authority"),
        "a registry whose certificate is wrong is not asked in plain: {error}"
    );
    let requests = secure.calls().len();
    assert!(secure.calls().iter().all(|call| call.authorization.is_none()), "{requests}");
}

#[tokio::test]
async fn a_registry_that_hangs_costs_no_more_than_the_timeout() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let repository = Repository::parse(&format!("oci://{}/org/app", listener.local_addr().unwrap())).unwrap();
    let silent = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let access = Access { plain_http: false, ..access(RegistryCredential::Anonymous) };
    let remote = client().connect("apps", &repository, access, Duration::from_millis(200)).await.unwrap();
    let began = Instant::now();
    let error = remote.digest_of("latest").await.unwrap_err();
    assert!(text(&error).contains("timed out"), "{error}");
    assert!(began.elapsed() < TIMEOUT);
    silent.abort();
}

#[test]
fn a_cache_is_bounded() {
    let mut cache: Cache<usize, usize> = Cache::new(2);
    for number in 0..5 {
        cache.insert(number, number, None);
        cache.insert(number, number + 1, None);
    }
    assert_eq!([2, 4, 3].map(|number| cache.get(&number)), [None, Some(5), Some(4)]);
    cache.insert(6, 6, None);
    assert_eq!((cache.get(&4), cache.get(&3)), (None, Some(4)), "what was used last stays");
    cache.remove(&6);
    cache.insert(4, 5, None);
    cache.remove(&3);
    cache.insert(5, 5, Some(Duration::ZERO));
    assert_eq!((cache.get(&4), cache.get(&5), cache.order.len()), (Some(5), None, 2));
}

/// A port that speaks TLS to those who do, and plain HTTP to the others.
#[tokio::test]
async fn a_registry_whose_certificate_is_wrong_is_not_asked_in_plain() {
    let (secure, plain) = (Registry::tls().unwrap(), Registry::plain().unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let repository = Repository::parse(&format!("oci://{}/org/app", listener.local_addr().unwrap())).unwrap();
    let (tls, http) = (secure.address(), plain.address());
    let relay = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut first = [0];
            stream.peek(&mut first).await.unwrap();
            // The first byte of a TLS handshake.
            let target = if first[0] == 0x16 { tls } else { http };
            tokio::spawn(async move {
                let mut upstream = tokio::net::TcpStream::connect(target).await.unwrap();
                tokio::io::copy_bidirectional(&mut stream, &mut upstream).await.ok();
            });
        }
    });
    let access = access(user("me", "s3cret"));
    let error = client().connect("apps", &repository, access, TIMEOUT).await.err().unwrap();
    assert!(text(&error).contains("unknown authority"), "{error}");
    assert!(plain.calls().is_empty(), "{:?}", plain.calls());
    relay.abort();
}
