//! Object stores of others, which check the signatures of requests.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use plumb_api::sealed::Sealed;
use plumb_bucket::{
    Access, AccessKey, BucketAddress, BucketClient, BucketCredential, BucketError, BucketLimits, NewObject,
    ObjectHead, Remote, SharedKey,
};
use plumb_memory::{Limit, MemoryPool};
use plumb_plane::stores::{AZURITE, MOTO};
use plumb_status::chain;
use plumb_testkit::stores::{ACCOUNT_KEY, AzuriteProcess, MotoProcess, is_there};
use plumb_transport::{Proxy, Trust, address::AddressPolicy};
use tokio::sync::Notify;

const FILE: Limit = Limit { name: "an object of a test", bytes_max: 1 << 20 };
const KEYS: [&str; 4] = ["a b/c+d&é=%2F.yaml", "a/empty", "plain.yaml", "quote'\"(~)*!.yaml"];

async fn connect(address: &BucketAddress, credential: BucketCredential) -> Result<Remote, BucketError> {
    let addresses = AddressPolicy::reject_link_local("--allow-link-local-addresses");
    let client = BucketClient::new(addresses, MemoryPool::new(64 << 20), BucketLimits::DEFAULT);
    let access = Access {
        trust: Trust::default(),
        proxy: Proxy::None,
        fingerprint: String::new(),
        insecure: true,
        credential,
    };
    client.connect("apps", address, access, Duration::from_secs(30)).await
}

/// All objects are listed and fetched, also those with unusual names.
async fn read_all(remote: &Remote) -> Result<plumb_bucket::Listing, BucketError> {
    let listing = remote.list("", &mut |_| true).await?;
    let keys: Vec<&str> = listing.objects.iter().map(|object| object.key.as_str()).collect();
    assert_eq!(keys, KEYS);
    for object in &listing.objects {
        let content = remote.get(object, FILE).await?;
        let expect = if object.key == "a/empty" { "" } else { &object.key };
        assert_eq!(content.bytes, expect.as_bytes());
    }
    let below = remote.list("a b/", &mut |_| true).await?;
    assert_eq!(below.objects.len(), 1);
    assert!(remote.find("gone", FILE).await?.is_none());
    Ok(listing)
}

fn content(key: &str) -> &[u8] {
    if key == "a/empty" { b"" } else { key.as_bytes() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_s3_accepts_our_signatures_and_no_others() {
    if !is_there(MOTO) {
        return;
    }
    let objects = KEYS.map(|key| (key, content(key)));
    let moto = MotoProcess::start("apps", &objects).await.unwrap();
    let address = BucketAddress::s3(&moto.address.to_string(), "apps", None, true).unwrap();
    let key = |secret: &str| {
        let (id, secret) = (moto.key_id.clone(), Sealed::from(secret));
        BucketCredential::AccessKey(AccessKey { id, secret, session: None })
    };
    let remote = connect(&address, key(&moto.secret)).await.unwrap();
    let listing = read_all(&remote).await.unwrap();
    // ETags of S3 are digests of the content, without quotes in a revision.
    assert_eq!(listing.objects[1].etag, "d41d8cd98f00b204e9800998ecf8427e");
    let wrong = connect(&address, key("another secret")).await.unwrap();
    let error = chain(&wrong.list("", &mut |_| true).await.unwrap_err());
    assert!(error.contains("status 403 SignatureDoesNotMatch"), "{error}");
    let gone = BucketAddress::s3(&moto.address.to_string(), "gone", None, true).unwrap();
    let remote = connect(&gone, key(&moto.secret)).await.unwrap();
    let error = remote.list("", &mut |_| true).await.unwrap_err();
    assert_eq!(error.to_string(), "bucket 'gone' not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_azure_accepts_our_signatures_and_no_others() {
    if !is_there(AZURITE) {
        return;
    }
    let azurite = AzuriteProcess::start("apps").await.unwrap();
    for key in KEYS {
        azurite.put("apps", key, content(key)).await.unwrap();
    }
    let address = BucketAddress::azure(&azurite.endpoint(), "apps").unwrap();
    let key = |key: &str| {
        let account = address.account().unwrap();
        BucketCredential::SharedKey(SharedKey::new(account, &Sealed::from(key)).unwrap())
    };
    let remote = connect(&address, key(ACCOUNT_KEY)).await.unwrap();
    let listing = read_all(&remote).await.unwrap();
    let plain = &listing.objects[2];
    assert!(plain.etag.starts_with("\"0x") && plain.etag.ends_with('"'), "{}", plain.etag);
    azurite.put("apps", "plain.yaml", b"changed").await.unwrap();
    let error = remote.get(plain, FILE).await.unwrap_err();
    assert_eq!(error.to_string(), "object 'plain.yaml' has changed or was deleted since it was listed");
    let wrong = connect(&address, key("YW5vdGhlciBrZXk=")).await.unwrap();
    let error = chain(&wrong.list("", &mut |_| true).await.unwrap_err());
    assert!(error.contains("status 403 Auth"), "{error}");
    let gone = BucketAddress::azure(&azurite.endpoint(), "gone").unwrap();
    let remote = connect(&gone, key(ACCOUNT_KEY)).await.unwrap();
    let error = remote.list("", &mut |_| true).await.unwrap_err();
    assert_eq!(error.to_string(), "bucket 'gone' not found");
}

/// More than one part.
const LARGE: usize = (17 << 20) + 3;

fn bytes(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(31) >> 7).wrapping_add(seed).to_le_bytes()[0]).collect()
}

async fn put(remote: &Remote, key: &str, digest: &str, content: &[u8]) -> Result<(), BucketError> {
    let size = content.len() as u64;
    let new = NewObject { key, digest, size, media_type: "application/gzip" };
    remote.put(&new, &mut &content[..]).await
}

async fn opened(
    remote: &Remote,
    key: &str,
    head: &ObjectHead,
    range: Option<(u64, u64)>,
) -> Result<Option<Vec<u8>>, BucketError> {
    let Some(mut body) = remote.open(key, head, range).await? else { return Ok(None) };
    let mut all = Vec::new();
    while let Some(piece) = body.next().await? {
        all.extend_from_slice(&piece);
    }
    Ok(Some(all))
}

/// Objects are written as a whole, small and large, read in part, replaced and deleted.
async fn written_and_read(remote: &Remote) -> Result<(), BucketError> {
    let digest = "sha256:00c0ffee00c0ffee00c0ffee00c0ffee";
    for length in [5, LARGE] {
        let key = format!("a/gitrepository/apps/b c+{length}.tar.gz");
        assert_eq!(remote.head(&key).await?, None);
        let content = bytes(length, 0);
        put(remote, &key, digest, &content).await?;
        let head = remote.head(&key).await?.expect("it was written");
        assert_eq!((head.size, head.digest.as_deref()), (length as u64, Some(digest)));
        assert!(head.modified.is_some());
        assert_eq!(opened(remote, &key, &head, None).await?.as_ref(), Some(&content));
        let middle = opened(remote, &key, &head, Some((1, 3))).await?;
        assert_eq!(middle.as_deref(), Some(&content[1..4]));
        let listed = remote.list("a/", &mut |_| true).await?;
        let listed = listed.objects.into_iter().find(|object| object.key == key).expect("it is listed");
        assert_eq!((listed.size, listed.modified.is_some()), (Some(length as u64), true));
        // Another content of the same size and digest is another object.
        put(remote, &key, digest, &bytes(length, 1)).await?;
        assert_eq!(opened(remote, &key, &head, None).await?, None);
        assert_ne!(remote.head(&key).await?.expect("it was written").etag, head.etag);
        remote.delete(&key).await?;
        assert_eq!(remote.head(&key).await?, None);
        remote.delete(&key).await?;
    }
    // A content that ends early makes no object.
    let new = NewObject { key: "a/short", digest, size: LARGE as u64, media_type: "application/gzip" };
    let error = remote.put(&new, &mut &bytes(LARGE - 1, 0)[..]).await;
    assert!(matches!(error, Err(BucketError::Content { .. })), "{error:?}");
    assert_eq!(remote.head("a/short").await?, None);
    Ok(())
}

/// A content whose writer is killed after the first part: it tells when that is sent.
struct Killed(usize, Arc<Notify>);

impl tokio::io::AsyncRead for Killed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let length = buffer.remaining().min(self.0);
        if length == 0 {
            self.1.notify_one();
            return Poll::Pending;
        }
        self.0 -= length;
        buffer.put_slice(&vec![0; length]);
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_not_ended_is_aborted_when_it_is_old() {
    if !is_there(MOTO) {
        return;
    }
    let moto = MotoProcess::start("apps", &[]).await.unwrap();
    let address = BucketAddress::s3(&moto.address.to_string(), "apps", None, true).unwrap();
    let (id, secret) = (moto.key_id.clone(), Sealed::from(moto.secret.as_str()));
    let key = BucketCredential::AccessKey(AccessKey { id, secret, session: None });
    let remote = connect(&address, key).await.unwrap();
    for key in ["a/1.tar.gz", "ab/1.tar.gz"] {
        let new = NewObject { key, digest: "sha256:0", size: LARGE as u64, media_type: "application/gzip" };
        let sent = Arc::new(Notify::new());
        let mut content = Killed(10 << 20, Arc::clone(&sent));
        tokio::select! {
            put = remote.put(&new, &mut content) => panic!("it has ended: {put:?}"),
            () = sent.notified() => {}
        }
        assert_eq!(remote.head(key).await.unwrap(), None);
    }
    // moto says of every upload that it began in November of 2010.
    let [early, late] = ["2010-11-01T00:00:00Z", "2010-12-01T00:00:00Z"].map(|time| time.parse().unwrap());
    assert_eq!(remote.abort_unfinished("a/", early).await.unwrap(), 0, "they may go on");
    assert_eq!(remote.abort_unfinished("a/", late).await.unwrap(), 1, "nothing of another prefix");
    assert_eq!(remote.abort_unfinished("a/", late).await.unwrap(), 0);
    assert_eq!(remote.abort_unfinished("", late).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_s3_takes_what_is_written() {
    if !is_there(MOTO) {
        return;
    }
    let moto = MotoProcess::start("apps", &[]).await.unwrap();
    let address = BucketAddress::s3(&moto.address.to_string(), "apps", None, true).unwrap();
    let key = |secret: &str| {
        let (id, secret) = (moto.key_id.clone(), Sealed::from(secret));
        BucketCredential::AccessKey(AccessKey { id, secret, session: None })
    };
    let remote = connect(&address, key(&moto.secret)).await.unwrap();
    written_and_read(&remote).await.unwrap();
    let wrong = connect(&address, key("another secret")).await.unwrap();
    let error = put(&wrong, "a/b", "sha256:0", b"x").await.unwrap_err();
    assert_eq!((error.status(), error.code()), (Some(403), Some("SignatureDoesNotMatch")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_azure_takes_what_is_written() {
    if !is_there(AZURITE) {
        return;
    }
    let azurite = AzuriteProcess::start("apps").await.unwrap();
    let address = BucketAddress::azure(&azurite.endpoint(), "apps").unwrap();
    let key = SharedKey::new(address.account().unwrap(), &Sealed::from(ACCOUNT_KEY)).unwrap();
    let remote = connect(&address, BucketCredential::SharedKey(key)).await.unwrap();
    written_and_read(&remote).await.unwrap();
    let anonymous = connect(&address, BucketCredential::Anonymous).await.unwrap();
    let error = put(&anonymous, "a/b", "sha256:0", b"x").await.unwrap_err();
    assert!(matches!(error.status(), Some(401..=404)), "{error:?}");
}
