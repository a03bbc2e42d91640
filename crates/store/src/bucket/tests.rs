//! A store in a bucket, against an object store in memory.

use std::sync::atomic::{AtomicBool, Ordering};

use plumb_api::sealed::Sealed;
use plumb_bucket::{AccessKey, BucketCredential, BucketLimits, SharedKey};
use plumb_memory::MemoryPool;
use plumb_status::{Classify, Consequence, Reason, chain};
use plumb_testkit::{
    bucket::{BUCKET, ObjectStore},
    registry::response,
};
use plumb_transport::{Proxy, Trust, address::AddressPolicy};

use super::*;
use crate::ArtifactStore;

mod crash;
mod served;

const SECRET: &str = "a-secret-of-the-storage";

fn s3(server: &ObjectStore) -> (BucketAddress, BucketCredential) {
    let address = BucketAddress::s3(&server.address().to_string(), BUCKET, None, true).unwrap();
    let key = AccessKey { id: "id".to_owned(), secret: Sealed::from(SECRET), session: None };
    (address, BucketCredential::AccessKey(key))
}

fn azure(server: &ObjectStore) -> (BucketAddress, BucketCredential) {
    let address = BucketAddress::azure(&server.azure(), BUCKET).unwrap();
    let key = SharedKey { account: address.account().unwrap(), key: Sealed::from(SECRET) };
    (address, BucketCredential::SharedKey(key))
}

/// The store of one process.
fn process((address, credential): (BucketAddress, BucketCredential)) -> BucketStore {
    let addresses = AddressPolicy::reject_link_local("--allow-link-local-addresses");
    let client = BucketClient::new(addresses, MemoryPool::new(64 << 20), BucketLimits::DEFAULT);
    let access = move || {
        let (trust, fingerprint) = (Trust::default(), String::new());
        let credential = credential.clone();
        Ok(Access { trust, proxy: Proxy::None, fingerprint, insecure: true, credential })
    };
    let prefix = "clusters/one".parse().unwrap();
    BucketStore::new(client, BucketSettings { address, prefix, access: Arc::new(access) })
}

fn location(name: &str) -> Location {
    Location::new("GitRepository", "apps", name).unwrap()
}

/// Writes on disk, and uploads.
async fn put(
    store: &BucketStore,
    location: &Location,
    file: &str,
    bytes: &[u8],
) -> Result<Written, StoreError> {
    let root = tempfile::tempdir().unwrap();
    let disk = ArtifactStore::open(root.path()).unwrap();
    let written = disk.put_bytes(location, file, bytes).unwrap();
    store.upload(location, &written, &disk.file(&written)).await.map(|()| written)
}

fn key(written: &Written) -> String {
    format!("clusters/one/{}", written.path)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_is_uploaded_and_read_by_every_process() {
    for provider in [s3, azure] {
        let server = ObjectStore::plain().unwrap();
        let (leader, other) = (process(provider(&server)), process(provider(&server)));
        let app = location("app");
        let written = put(&leader, &app, "1.tar.gz", b"one").await.unwrap();
        assert_eq!(server.keys(), ["clusters/one/gitrepository/apps/app/1.tar.gz"]);
        let Written { path, digest, size } = &written;
        for store in [&leader, &other] {
            assert_eq!(store.verify(&app, path, digest).await.unwrap(), Integrity::Intact);
            let read = store.read(&app, path, digest, *size).await.unwrap();
            assert_eq!(read.as_deref(), Some(&b"one"[..]));
            let error = store.read(&app, path, digest, size - 1).await.unwrap_err();
            assert!(chain(&error).contains("it has 3 bytes, and 2 are accepted"), "{error:?}");
            assert_eq!(store.read(&app, path, "sha256:0", *size).await.unwrap(), None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_changes_nothing_asks_for_one_head() {
    let server = ObjectStore::plain().unwrap();
    let (leader, app) = (process(s3(&server)), location("app"));
    let written = put(&leader, &app, "1.tar.gz", b"one").await.unwrap();
    let Written { path, digest, .. } = &written;
    let retention = Retention { ttl: Duration::from_mins(1), records: 2 };
    let attempt = async |store: &BucketStore| {
        server.take_calls();
        assert_eq!(store.verify(&app, path, digest).await.unwrap(), Integrity::Intact);
        let collected = store.collect(&app, Some(path), retention, SystemTime::now()).await.unwrap();
        assert_eq!(collected.artifacts, 0);
        server
            .take_calls()
            .iter()
            .map(|call| call.replace(&format!("/apps/{}", key(&written)), "…"))
            .collect::<Vec<_>>()
    };
    assert_eq!(attempt(&leader).await, ["HEAD …", "GET /apps/"]);
    assert_eq!(attempt(&leader).await, ["HEAD …"]);
    // After a restart it is read once.
    let next = process(s3(&server));
    assert_eq!(attempt(&next).await, ["HEAD …", "GET …", "GET /apps/"]);
    assert_eq!(attempt(&next).await, ["HEAD …"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_wrote_or_deleted_is_found() {
    for provider in [s3, azure] {
        let server = ObjectStore::plain().unwrap();
        let (store, app) = (process(provider(&server)), location("app"));
        let written = put(&store, &app, "1.tar.gz", b"one").await.unwrap();
        let Written { path, digest, .. } = &written;
        let verify = async || store.verify(&app, path, digest).await.unwrap();
        assert_eq!(verify().await, Integrity::Intact);
        // Size and digest stay.
        server.corrupt(&key(&written), b"two");
        assert_eq!(verify().await, Integrity::Mismatch);
        assert_eq!(server.keys(), Vec::<String>::new(), "it must not be served");
        assert_eq!(verify().await, Integrity::Missing);
        // The same bytes, but not by Plumb.
        server.put(&key(&written), b"one");
        assert_eq!(verify().await, Integrity::Mismatch);
        put(&store, &app, "1.tar.gz", b"one").await.unwrap();
        assert_eq!(verify().await, Integrity::Intact);
        server.delete(&key(&written));
        assert_eq!(verify().await, Integrity::Missing);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_path_is_never_requested() {
    let server = ObjectStore::plain().unwrap();
    let (store, other) = (process(s3(&server)), location("other"));
    let written = put(&store, &location("app"), "1.tar.gz", b"one").await.unwrap();
    server.take_calls();
    for path in [written.path.as_str(), "gitrepository/apps/other/../app/1.tar.gz", "../1.tar.gz"] {
        assert_eq!(store.verify(&other, path, &written.digest).await.unwrap(), Integrity::Missing, "{path}");
        assert_eq!(store.read(&other, path, &written.digest, 9).await.unwrap(), None, "{path}");
    }
    assert_eq!(server.take_calls(), Vec::<String>::new());
}

/// Objects that are nobody's of `gitrepository/apps/app` below the prefix.
const FOREIGN: [&str; 6] = [
    "clusters/one/bucket/apps/app/1.tar.gz",
    "clusters/one/gitrepository/apps/app-2/1.tar.gz",
    "clusters/one/gitrepository/apps/app/deeper/1.tar.gz",
    "clusters/one/gitrepository/apps/appendix.txt",
    "clusters/two/gitrepository/apps/app/1.tar.gz",
    "gitrepository/apps/app/1.tar.gz",
];

#[tokio::test(flavor = "multi_thread")]
async fn expired_files_of_an_object_are_deleted_and_nothing_else() {
    let server = ObjectStore::plain().unwrap();
    let (store, app) = (process(s3(&server)), location("app"));
    for key in FOREIGN {
        server.put(key, b"x");
    }
    let now = SystemTime::now();
    let retention = Retention { ttl: Duration::from_mins(1), records: 2 };
    let mut all = Vec::new();
    for (file, age) in [("1.tar.gz", 500), ("2.tar.gz", 40), ("3.tar.gz", 20), ("4.tar.gz", 500)] {
        let written = put(&store, &app, file, file.as_bytes()).await.unwrap();
        server.written_at(&key(&written), now - Duration::from_secs(age));
        all.push(written);
    }
    let left = || -> Vec<String> {
        let keys = server.keys().into_iter().filter(|key| !FOREIGN.contains(&key.as_str()));
        keys.map(|key| key.rsplit('/').next().unwrap().to_owned()).collect()
    };
    let collect = async |store: &BucketStore, now| {
        store.collect(&app, Some(&all[3].path), retention, now).await.unwrap().artifacts
    };
    // The old one, and the older of two young ones; the current one stays, whatever its age.
    assert_eq!(collect(&store, now).await, 2);
    assert_eq!(left(), ["3.tar.gz", "4.tar.gz"]);
    assert_eq!(collect(&store, now).await, 0);
    // What was written since the listing is known, too.
    put(&store, &app, "5.tar.gz", b"5").await.unwrap();
    assert_eq!(collect(&store, now + Duration::from_mins(5)).await, 2);
    assert_eq!(left(), ["4.tar.gz"]);
    assert_eq!(store.remove(&app).await.unwrap().artifacts, 1);
    server.take_calls();
    assert_eq!(store.remove(&app).await.unwrap().artifacts, 0);
    assert_eq!(server.take_calls(), Vec::<String>::new(), "it is known to have none");
    assert_eq!(server.keys(), FOREIGN, "not below the object");
    put(&store, &app, "6.tar.gz", b"6").await.unwrap();
    assert_eq!(store.remove(&app).await.unwrap().artifacts, 1);
    // What another process wrote since is found by the sweep.
    put(&process(s3(&server)), &app, "7.tar.gz", b"7").await.unwrap();
    assert_eq!(store.remove(&app).await.unwrap().artifacts, 0);
    assert!(
        store
            .objects("GitRepository", Duration::ZERO)
            .await
            .unwrap()
            .contains(&("apps".into(), "app".into()))
    );
    assert_eq!(store.remove(&app).await.unwrap().artifacts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_with_artifacts_are_listed_by_kind_and_age() {
    let server = ObjectStore::plain().unwrap();
    server.pages(2);
    let store = process(s3(&server));
    for key in FOREIGN {
        server.put(key, b"x");
    }
    let old = SystemTime::now() - Duration::from_hours(1);
    for (name, file, is_old) in
        [("app", "1.tar.gz", true), ("app", "2.tar.gz", false), ("old", "1.tar.gz", true)]
    {
        let written = put(&store, &location(name), file, b"x").await.unwrap();
        if is_old {
            server.written_at(&key(&written), old);
        }
    }
    let names = async |unchanged_for| {
        let objects = store.objects("GitRepository", unchanged_for).await.unwrap();
        objects.into_iter().map(|(namespace, name)| format!("{namespace}/{name}")).collect::<Vec<_>>()
    };
    assert_eq!(names(Duration::from_mins(10)).await, ["apps/old"]);
    assert_eq!(names(Duration::ZERO).await, ["apps/app", "apps/app-2", "apps/old"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_names_the_bucket_and_a_remedy_but_no_secret_and_passes() {
    let server = ObjectStore::plain().unwrap();
    let (store, app) = (process(s3(&server)), location("app"));
    let denied = "<Error><Code>AccessDenied</Code><Message>text of the server</Message></Error>";
    server.answer(move |_| Some(response(403, &[], denied)));
    let path = "gitrepository/apps/app/1.tar.gz";
    let retention = Retention { ttl: Duration::ZERO, records: 1 };
    let errors = [
        (put(&store, &app, "1.tar.gz", b"one").await.unwrap_err(), Reason::ArchiveOperationFailed),
        (store.verify(&app, path, "sha256:0").await.unwrap_err(), Reason::ReadOperationFailed),
        (store.read(&app, path, "sha256:0", 9).await.unwrap_err(), Reason::ReadOperationFailed),
        (
            store.collect(&app, None, retention, SystemTime::now()).await.unwrap_err(),
            Reason::GarbageCollectionFailed,
        ),
        (store.remove(&app).await.unwrap_err(), Reason::GarbageCollectionFailed),
        (store.objects("GitRepository", Duration::ZERO).await.unwrap_err(), Reason::ReadOperationFailed),
    ];
    for (error, reason) in errors {
        assert_eq!((error.reason(), error.consequence()), (reason, Consequence::Retry));
        let (text, hint) = (chain(&error), error.hint().unwrap());
        assert!(text.contains("in bucket 'apps'") && text.contains("status 403"), "{text}");
        assert!(!text.contains(SECRET) && !text.contains("text of the server"), "{text}");
        assert!(hint.contains("read, write and delete"), "{hint}");
    }
    server.answer(|_| Some(response(404, &[], "<Error><Code>NoSuchBucket</Code></Error>")));
    let error = put(&store, &app, "1.tar.gz", b"one").await.unwrap_err();
    assert!(error.hint().unwrap().contains("correct --storage-bucket"), "{error:?}");
    server.answer_itself();
    let written = put(&store, &app, "1.tar.gz", b"one").await.unwrap();
    assert_eq!(store.verify(&app, path, &written.digest).await.unwrap(), Integrity::Intact);
    drop(server);
    let error = store.verify(&app, path, &written.digest).await.unwrap_err();
    assert!(error.hint().unwrap().contains("it is retried"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_not_there_afterwards_is_no_success() {
    let server = Arc::new(ObjectStore::plain().unwrap());
    let (store, app) = (process(s3(&server)), location("app"));
    let is_lost = AtomicBool::new(true);
    server.answer(move |call| {
        let lost = call.method == "PUT" && is_lost.swap(false, Ordering::Relaxed);
        lost.then(|| response(200, &[("etag", "\"1\"")], ""))
    });
    let error = put(&store, &app, "1.tar.gz", b"one").await.unwrap_err();
    assert!(chain(&error).contains("another object is in its place"), "{error:?}");
    put(&store, &app, "1.tar.gz", b"one").await.unwrap();
}

#[tokio::test]
async fn a_request_of_a_client_waits_for_others_for_a_while_only() {
    let server = ObjectStore::plain().unwrap();
    let (store, app) = (process(s3(&server)), location("app"));
    let written = put(&store, &app, "1.tar.gz", b"one").await.unwrap();
    let path = RelPath::parse(&written.path).unwrap();
    let mut sent = Vec::new();
    for _ in 0..SERVED_MAX / 2 {
        sent.push(store.0.served.acquire("10.0.0.1").await);
    }
    server.take_calls();
    tokio::time::pause();
    let error = store.look(&path, "10.0.0.1").await.err().unwrap();
    tokio::time::resume();
    let expect = "128 requests of clients, or 64 of this one, are being answered already";
    assert!(chain(&error).contains(expect), "{error:?}");
    assert_eq!(server.take_calls(), Vec::<String>::new());
    // Another client is not kept waiting.
    let (head, slot) = store.look(&path, "10.0.0.2").await.unwrap().unwrap();
    let body = store.open(&path, (&head, slot), None).await.unwrap().unwrap();
    assert_eq!(store.0.served.used(), SERVED_MAX / 2 + 1);
    // A client that goes frees its place.
    drop(body);
    assert_eq!(store.0.served.used(), SERVED_MAX / 2);
    sent.pop();
    assert!(store.look(&path, "10.0.0.1").await.unwrap().is_some());
}

#[test]
fn a_prefix_is_a_path_or_nothing() {
    for (text, expect) in [("", ""), ("/", ""), ("a", "a/"), ("/clusters/one-1_x.y/", "clusters/one-1_x.y/")]
    {
        assert_eq!(text.parse::<KeyPrefix>().unwrap().to_string(), expect);
    }
    for text in ["a//b", "../a", "a/./b", "a b", "a%2f", &"a".repeat(PREFIX_MAX + 1)] {
        assert!(text.parse::<KeyPrefix>().is_err(), "{text}");
    }
}
