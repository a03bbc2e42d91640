//! What is sent, and what is made of responses: against an object store in memory that may lie.

use plumb_api::sealed::Sealed;
use plumb_memory::{Limit, MemoryPool};
use plumb_status::chain;
use plumb_testkit::{
    bucket::{BUCKET, ObjectStore, TOKEN},
    registry::response,
};

use super::*;
use crate::{
    NewObject,
    credential::{EntraApp, EntraIdentity, GoogleKey, LdapLogin, tests::key},
    revision,
    signature::AccessKey,
};

const FILE: Limit = Limit { name: "an object of a test", bytes_max: 1 << 20 };
const SECONDS: Duration = Duration::from_secs(10);

fn client(limits: BucketLimits) -> BucketClient {
    let addresses = AddressPolicy::reject_link_local("--allow-link-local-addresses");
    BucketClient::new(addresses, MemoryPool::new(64 << 20), limits)
}

fn access(credential: BucketCredential) -> Access {
    Access {
        trust: Trust::default(),
        proxy: Proxy::None,
        fingerprint: String::new(),
        insecure: true,
        credential,
    }
}

fn access_key(id: &str) -> BucketCredential {
    let (id, secret) = (id.to_owned(), Sealed::from("secret"));
    BucketCredential::AccessKey(AccessKey { id, secret, session: None })
}

fn s3(store: &ObjectStore) -> BucketAddress {
    BucketAddress::s3(&store.address().to_string(), BUCKET, None, true).unwrap()
}

fn each(store: &ObjectStore) -> [BucketAddress; 3] {
    let endpoint = store.address().to_string();
    [
        s3(store),
        BucketAddress::gcs(&endpoint, BUCKET, true).unwrap(),
        BucketAddress::azure(&store.azure(), BUCKET).unwrap(),
    ]
}

async fn connect(address: &BucketAddress, credential: BucketCredential) -> Result<Remote, BucketError> {
    client(BucketLimits::DEFAULT).connect("apps", address, access(credential), SECONDS).await
}

async fn anonymous(address: &BucketAddress) -> Remote {
    connect(address, BucketCredential::Anonymous).await.unwrap()
}

async fn keys(remote: &Remote, prefix: &str) -> Vec<String> {
    let listing = remote.list(prefix, &mut |_| true).await.unwrap();
    listing.objects.into_iter().map(|object| object.key).collect()
}

async fn list_error(remote: &Remote) -> String {
    chain(&remote.list("", &mut |_| true).await.unwrap_err())
}

async fn get_error(remote: &Remote, object: &Object) -> String {
    chain(&remote.get(object, FILE).await.unwrap_err())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_provider_lists_over_pages_and_sends_what_was_listed() {
    let store = ObjectStore::plain().unwrap();
    for (key, bytes) in [("a/b c+d&é.yaml", "one"), ("a/empty", ""), ("b.yaml", "two"), ("z/", "")] {
        store.put(key, bytes.as_bytes());
    }
    store.pages(1);
    for address in each(&store) {
        let remote = anonymous(&address).await;
        assert_eq!(keys(&remote, "").await, ["a/b c+d&é.yaml", "a/empty", "b.yaml", "z/"]);
        assert_eq!(keys(&remote, "a/").await, ["a/b c+d&é.yaml", "a/empty"]);
        let listing = remote.list("", &mut |object| object.key.starts_with('a')).await.unwrap();
        let got = remote.get(&listing.objects[0], FILE).await.unwrap();
        assert_eq!((got.bytes.as_slice(), got.memory.bytes() >= 3), (&b"one"[..], true));
        assert_eq!(remote.get(&listing.objects[1], FILE).await.unwrap().bytes, b"");
        let found = remote.find("b.yaml", FILE).await.unwrap();
        assert_eq!(found.map(|content| content.bytes), Some(b"two".to_vec()));
        assert!(remote.find("gone.yaml", FILE).await.unwrap().is_none());
    }
}

fn new<'a>(key: &'a str, content: &[u8]) -> NewObject<'a> {
    let size = content.len() as u64;
    NewObject { key, digest: "sha256:1", size, media_type: "application/gzip" }
}

#[tokio::test(flavor = "multi_thread")]
async fn google_is_written_to_by_the_api_of_s3_with_a_token_that_may_write() {
    let store = ObjectStore::plain().unwrap();
    store.login(&format!("Bearer {TOKEN}"));
    let file = serde_json::json!({
        "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r",
        "token_uri": format!("{}/token", store.url()),
    });
    let key = GoogleKey::parse(&Sealed::from(file.to_string())).unwrap();
    let reading = key.fingerprint;
    let key = key.for_writing();
    assert_ne!(key.fingerprint, reading, "a token for reading is no token for writing");
    let remote = connect(&s3(&store), BucketCredential::Google(key)).await.unwrap();
    remote.put(&new("a/b", b"one"), &mut &b"one"[..]).await.unwrap();
    let head = remote.head("a/b").await.unwrap().unwrap();
    assert_eq!((head.size, head.digest.as_deref()), (3, Some("sha256:1")));
    let sent = store.calls();
    assert!(sent.iter().skip(1).all(|call| call.authorization == Some(format!("Bearer {TOKEN}"))));
    remote.delete("a/b").await.unwrap();
    assert_eq!(store.keys(), Vec::<String>::new());
}

/// Responds to an upload in parts as a server of S3 does; `end` is its response to the end.
fn in_parts(store: &ObjectStore, end: impl Fn() -> (u16, &'static str) + Send + Sync + 'static) {
    store.answer(move |call| match call.method.as_str() {
        "POST" if call.target.ends_with("?uploads=") => {
            let id =
                "<InitiateMultipartUploadResult><UploadId>an id</UploadId></InitiateMultipartUploadResult>";
            Some(response(200, &[], id))
        }
        "PUT" => Some(response(200, &[("etag", "\"p\"")], "")),
        "POST" => {
            let (status, body) = end();
            Some(response(status, &[], body))
        }
        _ => None,
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_parts_that_fails_at_its_end_is_no_success_and_leaves_no_parts() {
    let store = ObjectStore::plain().unwrap();
    let remote = anonymous(&s3(&store)).await;
    let content = vec![7; (8 << 20) + 1];
    // A success whose body is an error, as Amazon sends it.
    in_parts(&store, || (200, "<Error><Code>InvalidPart</Code></Error>"));
    let error = remote.put(&new("a", &content), &mut &content[..]).await.unwrap_err();
    assert!(error.to_string().ends_with("status 500 InvalidPart"), "{error}");
    let calls = store.take_calls();
    assert_eq!(calls.last().map(String::as_str), Some("DELETE /apps/a"), "{calls:?}");
    assert_eq!(calls.iter().filter(|call| call.starts_with("PUT")).count(), 2);
    in_parts(&store, || (200, "<CompleteMultipartUploadResult/>"));
    remote.put(&new("a", &content), &mut &content[..]).await.unwrap();
    let calls = store.calls();
    assert!(calls[1].target.ends_with("?partNumber=1&uploadId=an%20id"), "{:?}", calls[1].target);
    let document = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&quot;p&quot;</ETag></Part><Part><PartNumber>2</PartNumber><ETag>&quot;p&quot;</ETag></Part></CompleteMultipartUpload>";
    assert_eq!(calls.last().map(|call| call.body.as_str()), Some(document));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_that_ends_early_or_is_another_one_is_an_error() {
    let store = ObjectStore::plain().unwrap();
    let remote = anonymous(&s3(&store)).await;
    remote.put(&new("a", b"12345"), &mut &b"12345"[..]).await.unwrap();
    let head = remote.head("a").await.unwrap().unwrap();
    let etag = head.etag.clone();
    store.answer(move |_| Some(response(200, &[("etag", etag.as_str())], "123")));
    let mut body = remote.open("a", &head, None).await.unwrap().unwrap();
    assert_eq!(body.next().await.unwrap().as_deref(), Some(&b"123"[..]));
    let error = chain(&body.next().await.unwrap_err());
    assert!(error.contains("the object has 3 bytes, the listing says 5"), "{error}");
    // A server that ignores the condition.
    store.answer(|_| Some(response(200, &[("etag", "\"other\"")], "54321")));
    assert!(remote.open("a", &head, None).await.unwrap().is_none());
    // One that ignores the range.
    let etag = head.etag.clone();
    store.answer(move |_| Some(response(200, &[("etag", etag.as_str())], "12345")));
    let error = remote.open("a", &head, Some((1, 2))).await.unwrap_err();
    assert!(error.to_string().contains("status 200"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_not_the_listed_one_any_more_is_not_taken() {
    let store = ObjectStore::plain().unwrap();
    for address in each(&store) {
        store.put("a", b"one");
        store.put("b", b"one");
        let remote = anonymous(&address).await;
        let listing = remote.list("", &mut |_| true).await.unwrap();
        store.put("a", b"two");
        store.delete("b");
        let error = get_error(&remote, &listing.objects[0]).await;
        assert_eq!(error, "object 'a' has changed or was deleted since it was listed");
        assert!(get_error(&remote, &listing.objects[1]).await.contains("object 'b' has changed"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_are_those_of_flux() {
    let store = ObjectStore::plain().unwrap();
    let (one, two) = (store.put("b.yaml", b"one"), store.put("a/c.yaml", b"two"));
    let digest = |text: String| format!("sha256:{}", plumb_filetree::digest::sha256_hex(text.as_bytes()));
    let plain = digest(format!("a/c.yaml {two}\nb.yaml {one}\n"));
    // Flux takes the ETag of Azure from the header of each object, with its quotes.
    let quoted = digest(format!("a/c.yaml \"0x{two}\"\nb.yaml \"0x{one}\"\n"));
    for (address, expect) in each(&store).iter().zip([&plain, &plain, &quoted]) {
        let listing = anonymous(address).await.list("", &mut |_| true).await.unwrap();
        assert_eq!(revision(&listing.objects), *expect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lies_about_an_object_is_found_out() {
    let store = ObjectStore::plain().unwrap();
    let etag = store.put("a", b"12345");
    let remote = anonymous(&s3(&store)).await;
    let listing = remote.list("", &mut |_| true).await.unwrap();
    let object = listing.objects[0].clone();
    for (headers, body, expect) in [
        (vec![("etag", "\"other\"".to_owned())], "12345", "another ETag than the listing"),
        (vec![], "12345", "another ETag than the listing"),
        (vec![("etag", format!("\"{etag}\""))], "123", "the object has 3 bytes, the listing says 5"),
        (vec![("etag", format!("\"{etag}\""))], "1234567", "larger than 5 bytes"),
    ] {
        store.answer(move |_| {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            Some(response(200, &headers, body))
        });
        let error = get_error(&remote, &object).await;
        assert!(error.contains(expect), "{error}");
    }
    store.answer(|_| None);
    let small = Limit { name: "a small limit", bytes_max: 4 };
    let error = chain(&remote.get(&object, small).await.unwrap_err());
    assert!(error.contains("a small limit"), "{error}");
    let bad = Object { key: "a/../../etc".to_owned(), ..object };
    assert!(get_error(&remote, &bad).await.contains("it has a component '.' or '..'"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_does_not_end_is_ended() {
    let store = ObjectStore::plain().unwrap();
    let page = |token: &str| {
        format!(
            "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken></ListBucketResult>"
        )
    };
    let remote = anonymous(&s3(&store)).await;
    let same = page("same");
    store.answer(move |_| Some(response(200, &[], same.clone())));
    assert!(list_error(&remote).await.contains("leads to a page that was listed before"));
    assert_eq!(store.calls().len(), 2);

    let counter = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    store.answer(move |_| {
        let count = counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Some(response(200, &[], page(&count.to_string())))
    });
    let limits = BucketLimits { pages_max: 7, page_bytes_max: 1000, ..BucketLimits::DEFAULT };
    let remote = client(limits)
        .connect("apps", &s3(&store), access(BucketCredential::Anonymous), SECONDS)
        .await
        .unwrap();
    assert_eq!(list_error(&remote).await, "the bucket lists more than 7 pages");
    store.answer(|_| Some(response(200, &[], vec![b' '; 1001])));
    assert!(list_error(&remote).await.contains("larger than 1000 bytes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_server_is_asked_again_for_a_while() {
    let store = ObjectStore::plain().unwrap();
    store.put("a", b"1");
    let failures = Arc::new(std::sync::atomic::AtomicUsize::new(2));
    store.answer(move |_| {
        let left = failures.fetch_update(
            std::sync::atomic::Ordering::SeqCst,
            std::sync::atomic::Ordering::SeqCst,
            |left| left.checked_sub(1),
        );
        left.is_ok().then(|| response(503, &[], "<Error><Code>SlowDown</Code></Error>"))
    });
    let remote = anonymous(&s3(&store)).await;
    assert_eq!(keys(&remote, "").await, ["a"]);
    assert_eq!(store.calls().len(), 3);
    store.answer(|_| {
        Some(response(503, &[], "<Error><Code>SlowDown</Code><Message>s3cret</Message></Error>"))
    });
    store.take_calls();
    let error = list_error(&remote).await;
    assert!(error.ends_with(&format!("/{BUCKET}/: status 503 SlowDown")), "{error}");
    assert_eq!(store.calls().len(), 4, "not for ever");
    store.answer(|_| Some(response(403, &[], "<Error><Code>AccessDenied</Code></Error>")));
    store.take_calls();
    assert!(list_error(&remote).await.contains("status 403 AccessDenied"));
    assert_eq!(store.calls().len(), 1, "what is not allowed is not asked twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_requests_stay_with_their_host() {
    let (store, other) = (ObjectStore::plain().unwrap(), ObjectStore::plain().unwrap());
    let location = format!("{}/{BUCKET}?X-Amz-Signature=s3cret", other.url());
    store.answer(move |_| {
        Some(response(307, &[("location", &location)], "<Error><Code>TemporaryRedirect</Code></Error>"))
    });
    let remote = connect(&s3(&store), access_key("id")).await.unwrap();
    let error = list_error(&remote).await;
    let expect = format!("status 307 TemporaryRedirect: it leads to {}/{BUCKET}", other.url());
    assert!(error.contains(&expect) && !error.contains("s3cret"), "{error}");
    assert_eq!(other.calls().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_region_of_a_bucket_is_learnt_from_its_server() {
    let store = ObjectStore::plain().unwrap();
    store.put("a", b"1");
    store.put("b", b"1");
    store.region("eu-west-1");
    let remote = connect(&s3(&store), access_key("id")).await.unwrap();
    assert_eq!(keys(&remote, "").await, ["a", "b"]);
    let listing = remote.list("", &mut |_| true).await.unwrap();
    store.take_calls();
    remote.get(&listing.objects[0], FILE).await.unwrap();
    assert_eq!(store.calls().len(), 1, "it is learnt once");
    let address = BucketAddress::s3(&store.address().to_string(), BUCKET, Some("eu-west-1"), true).unwrap();
    store.take_calls();
    keys(&connect(&address, access_key("id")).await.unwrap(), "").await;
    assert_eq!(store.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_and_who_is_not_let_in_is_named() {
    let store = ObjectStore::plain().unwrap();
    let endpoint = store.address().to_string();
    for address in [
        BucketAddress::s3(&endpoint, "gone", None, true).unwrap(),
        BucketAddress::gcs(&endpoint, "gone", true).unwrap(),
        BucketAddress::azure(&store.azure(), "gone").unwrap(),
    ] {
        assert_eq!(list_error(&anonymous(&address).await).await, "bucket 'gone' not found");
    }
    store.login("Credential=id/");
    for (address, expect) in each(&store).iter().zip([
        "status 403 AccessDenied",
        "status 401 required",
        "status 403 AuthenticationFailed",
    ]) {
        let error = list_error(&anonymous(address).await).await;
        assert!(error.contains(expect), "{error}");
    }
    assert_eq!(keys(&connect(&s3(&store), access_key("id")).await.unwrap(), "").await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_token_service_are_fetched_once_and_used() {
    let store = ObjectStore::plain().unwrap();
    store.put("a", b"1");
    store.login("Credential=temporary/");
    let login = |password: &str| {
        BucketCredential::Ldap(LdapLogin {
            endpoint: format!("{}/sts", store.url()).parse().unwrap(),
            username: "me".to_owned(),
            password: Sealed::from(password),
            trust: Trust::default(),
            fingerprint: String::new(),
        })
    };
    let client = client(BucketLimits::DEFAULT);
    for _ in 0..2 {
        let remote = client.connect("apps", &s3(&store), access(login("pass-word")), SECONDS).await.unwrap();
        assert_eq!(keys(&remote, "").await, ["a"]);
    }
    let sts = store.calls().into_iter().filter(|call| call.target == "/sts").collect::<Vec<_>>();
    assert_eq!(sts.len(), 1);
    assert_eq!(
        sts[0].body,
        "Action=AssumeRoleWithLDAPIdentity&Version=2011-06-15&LDAPUsername=me&LDAPPassword=pass-word"
    );
    let error = client.connect("apps", &s3(&store), access(login("s3cret")), SECONDS).await.err().unwrap();
    assert_eq!(error.to_string(), format!("POST {}/sts: status 403 AccessDenied", store.url()));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_go_over_encrypted_connections() {
    let store = ObjectStore::tls().unwrap();
    store.put("a", b"1");
    store.login(&format!("Bearer {TOKEN}"));
    let trust = Trust::parse(store.ca().map(str::as_bytes), None).unwrap();
    let file = serde_json::json!({
        "type": "service_account", "client_email": "me", "private_key": key().serialize_pem(),
        "token_uri": format!("{}/token", store.url()),
    });
    let google = GoogleKey::parse(&Sealed::from(file.to_string())).unwrap();
    let authority = store.url();
    let identity = EntraIdentity { tenant: "tenant", client: "app", authority: Some(&authority) };
    let entra = EntraApp::with_secret(&identity, &Sealed::from("pw")).unwrap();
    for (address, credential) in [
        (
            BucketAddress::gcs(&store.address().to_string(), BUCKET, false).unwrap(),
            BucketCredential::Google(google),
        ),
        (BucketAddress::azure(&store.azure(), BUCKET).unwrap(), BucketCredential::Entra(entra)),
    ] {
        let access = Access {
            trust: trust.clone(),
            insecure: false,
            fingerprint: "ca".into(),
            ..access(credential.clone())
        };
        let client = client(BucketLimits::DEFAULT);
        for _ in 0..2 {
            let remote = client.connect("apps", &address, access.clone(), SECONDS).await.unwrap();
            assert_eq!(keys(&remote, "").await, ["a"]);
        }
        let exchanges = store.calls().into_iter().filter(|call| call.target.ends_with("/token")).count();
        assert_eq!(exchanges, 1);
        store.take_calls();
        // A token that is not accepted any more is not kept.
        let remote = client.connect("apps", &address, access.clone(), SECONDS).await.unwrap();
        store.answer(|call| (!call.target.ends_with("/token")).then(|| response(401, &[], "")));
        assert!(list_error(&remote).await.contains("status 401"));
        client.connect("apps", &address, access, SECONDS).await.unwrap();
        assert_eq!(store.take_calls().iter().filter(|call| call.ends_with("/token")).count(), 1);
        store.answer(|_| None);
        let plain = match &credential {
            BucketCredential::Google(_) => BucketAddress::gcs("h", BUCKET, true).unwrap(),
            _ => BucketAddress::azure("http://h.x.y", BUCKET).unwrap(),
        };
        let access = Access { insecure: false, ..super::tests::access(credential) };
        let error = client.connect("apps", &plain, access, SECONDS).await.err().unwrap();
        assert!(error.to_string().contains("a token is sent over https only"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_access_signature_is_sent_and_never_shown() {
    let store = ObjectStore::plain().unwrap();
    store.put("a", b"1");
    store.login("sig=s3cret%2B");
    let endpoint = format!("{}?sv=old&se=2999", store.azure());
    let address = BucketAddress::azure(&endpoint, BUCKET).unwrap();
    let signature = BucketCredential::Signature(Sealed::from("?sv=new&sig=s3cret%2B\n"));
    let remote = connect(&address, signature).await.unwrap();
    assert_eq!(keys(&remote, "").await, ["a"]);
    let target = store.calls().remove(0).target;
    assert!(
        target.contains("sv=new") && target.contains("se=2999") && !target.contains("sv=old"),
        "{target}"
    );
    store.login("other");
    let error = list_error(&remote).await;
    assert!(!error.contains("s3cret") && error.contains("status 403"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_covers_everything() {
    let address = BucketAddress::s3("127.0.0.1:9", BUCKET, None, true).unwrap();
    let remote = anonymous(&address).await.restarted(Duration::ZERO);
    assert_eq!(list_error(&remote).await, "the operation did not end within its timeout");
}
