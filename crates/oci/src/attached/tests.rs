//! Registries with and without the referrers API, and hostile ones.

use std::time::Duration;

use plumb_memory::MemoryPool;
use plumb_testkit::registry::{MANIFEST, Registry, response};
use plumb_transport::{Proxy, Trust, address::AddressPolicy};
use serde_json::json;

use super::*;
use crate::{Access, OciClient, OciLimits, RegistryCredential, Repository};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const PREFIX: &str = "application/vnd.dev.sigstore.bundle";

async fn remote(registry: &Registry) -> Remote {
    let addresses = AddressPolicy::reject_link_local("--allow-link-local-addresses");
    let client = OciClient::new(addresses, MemoryPool::new(1 << 30), OciLimits::DEFAULT);
    let access = Access {
        trust: Trust::default(),
        proxy: Proxy::None,
        fingerprint: String::new(),
        plain_http: true,
        credential: RegistryCredential::Anonymous,
    };
    let repository = Repository::parse(&registry.url("org/app")).unwrap();
    client.connect("apps", &repository, access, Duration::from_secs(10)).await.unwrap()
}

fn pushed(registry: &Registry) -> Digest {
    Digest::parse(&registry.push("v1", &[("x", b"abc")], &json!({}))).unwrap()
}

#[tokio::test]
async fn referrers_of_a_type_are_found_with_and_without_the_api() {
    let registry = Registry::plain().unwrap();
    let subject = pushed(&registry);
    let remote = remote(&registry).await;
    for lists in [true, false] {
        registry.lists_referrers(lists);
        assert_eq!(remote.referrers(&subject, PREFIX, &|_| false).await.unwrap(), []);
    }
    let attach = |kind: &str, content: &[u8]| {
        let layer = registry.described(kind, content, &json!({}));
        registry.attach(subject.as_str(), kind, &[layer], &json!({}))
    };
    let first = attach(BUNDLE, b"1");
    attach("application/spdx+json", b"2");
    let third = attach("", b"3");
    for lists in [true, false] {
        registry.lists_referrers(lists);
        registry.take_calls();
        let found = remote.referrers(&subject, PREFIX, &|_| false).await.unwrap();
        assert_eq!(found.iter().map(Digest::as_str).collect::<Vec<_>>(), [&first, &third]);
        let expect = format!("GET /v2/org/app/referrers/{subject}");
        let calls = registry.take_calls();
        assert_eq!((calls[0].as_str(), calls.len()), (expect.as_str(), if lists { 1 } else { 3 }));
    }
    // A web interface that responds to every path.
    registry.answer(|call| {
        let is_api = call.target.contains("/referrers/");
        is_api.then(|| response(200, &[("content-type", "text/html")], "<html>"))
    });
    assert_eq!(remote.referrers(&subject, PREFIX, &|_| false).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_list_of_referrers_is_bounded_and_stays_on_its_host() {
    let registry = Registry::plain().unwrap();
    let subject = pushed(&registry);
    let remote = remote(&registry).await;
    let entries = |count: usize| {
        let entry =
            |at: usize| json!({ "digest": Digest::of(&at.to_be_bytes()).as_str(), "artifactType": BUNDLE });
        json!({ "manifests": (0..count).map(entry).collect::<Vec<_>>() }).to_string()
    };
    let many = entries(REFERRERS_MAX + 1);
    let page = |link: &'static str| format!("<{link}>; rel=\"next\"");
    for (body, link, expect) in [
        (many, String::new(), "more than 200 referrers"),
        ("{".to_owned(), String::new(), "not the JSON of a list of referrers"),
        (entries(1), page("http://evil.example/x"), "leads to another host"),
        (entries(1), page("?a"), "leads to the same page"),
    ] {
        registry.answer(move |call| {
            let headers = [("content-type", INDEX), ("link", link.as_str())];
            call.target.contains("/referrers/").then(|| response(200, &headers, body.clone()))
        });
        let error = plumb_status::chain(&remote.referrers(&subject, PREFIX, &|_| false).await.unwrap_err());
        assert!(error.contains(expect), "{expect}: {error}");
    }
    let count = std::sync::atomic::AtomicUsize::new(0);
    registry.answer(move |call| {
        let at = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let link = format!("<?page={at}>; rel=\"next\"");
        let headers = [("content-type", INDEX), ("link", link.as_str())];
        call.target.contains("/referrers/").then(|| response(200, &headers, "{}"))
    });
    let error = plumb_status::chain(&remote.referrers(&subject, PREFIX, &|_| false).await.unwrap_err());
    assert!(error.contains("more than 20 pages"), "{error}");
}

#[tokio::test]
async fn entries_that_are_something_else_hide_no_other_and_count_for_no_limit() {
    let registry = Registry::plain().unwrap();
    let subject = pushed(&registry);
    let remote = remote(&registry).await;
    let wanted = Digest::of(b"wanted");
    let sha512 = format!("sha512:{}", "0".repeat(128));
    let other = |at: usize| json!({ "digest": Digest::of(&at.to_be_bytes()).as_str(), "annotations": { "is": "other" } });
    let mut entries: Vec<_> = (0..REFERRERS_MAX).map(other).collect();
    entries.extend([json!({ "digest": sha512, "artifactType": BUNDLE }), json!({ "digest": "" })]);
    entries.push(
        json!({ "digest": wanted.as_str(), "artifactType": BUNDLE, "annotations": { "is": "wanted" } }),
    );
    let body = json!({ "manifests": entries }).to_string();
    registry.answer(move |call| {
        let headers = [("content-type", INDEX)];
        call.target.contains("/referrers/").then(|| response(200, &headers, body.clone()))
    });
    let is_other =
        |annotations: &BTreeMap<String, String>| annotations.get("is").is_some_and(|is| is == "other");
    assert_eq!(remote.referrers(&subject, PREFIX, &is_other).await.unwrap(), [wanted]);
}

#[tokio::test]
async fn an_index_of_referrers_under_a_tag_is_bounded() {
    let registry = Registry::plain().unwrap();
    let subject = pushed(&registry);
    let remote = remote(&registry).await;
    let entry = json!({ "digest": subject.as_str(), "artifactType": BUNDLE });
    for (count, expect) in [(REFERRERS_MAX, None), (REFERRERS_MAX + 1, Some("more than 200 referrers"))] {
        let index = registry.manifest(INDEX, &json!({ "manifests": vec![entry.clone(); count] }));
        registry.tag(&subject.tag(), &index);
        let found = remote.referrers(&subject, PREFIX, &|_| false).await;
        let error = found.err().map(|error| plumb_status::chain(&error));
        let expect = expect.map(|expect| error.as_ref().is_some_and(|error| error.contains(expect)));
        assert_eq!((expect.unwrap_or(true), error.is_some()), (true, expect.is_some()), "{error:?}");
    }
    let nonsense = registry.manifest(MANIFEST, &json!([1]));
    registry.tag(&subject.tag(), &nonsense);
    let error = plumb_status::chain(&remote.referrers(&subject, PREFIX, &|_| false).await.unwrap_err());
    assert!(error.contains("not the JSON of a list of referrers"), "{error}");
}

#[tokio::test]
async fn a_tag_that_is_not_there_has_no_manifest() {
    let registry = Registry::plain().unwrap();
    let subject = pushed(&registry);
    let remote = remote(&registry).await;
    assert!(remote.tagged(&format!("{}.sig", subject.tag())).await.unwrap().is_none());
    assert_eq!(remote.tagged("v1").await.unwrap().unwrap().layers.len(), 1);
    registry.answer(|_| Some(response(500, &[], "")));
    assert!(remote.tagged("v1").await.is_err(), "an error is not the same as no tag");
}
