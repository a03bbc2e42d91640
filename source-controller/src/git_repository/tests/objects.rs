//! Artifacts in a bucket, of which the disk has copies.

use super::*;
use crate::object_storage::tests::{access_key, replica};

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_on_disk_that_was_damaged_is_not_taken_over() {
    let objects = plumb_testkit::bucket::ObjectStore::plain().unwrap();
    let credentials = access_key("id");
    let (server, repository) = served(&GitServerOptions::default());
    for number in 0..300 {
        repository.write(&format!("apps/{}/{number}.yaml", number % 7), &format!("of: {number}\n")).unwrap();
    }
    repository.push("Many files").unwrap();
    let mut fixture = source_at(&server.url("app"));
    let bucket = replica(&objects.address().to_string(), &credentials);
    fixture.storage.bucket = Some(bucket.clone());
    fixture.source.storage.bucket = Some(bucket);
    fixture.attempt().await;
    // The disk of the leader, and not the bucket.
    let mut bytes = std::fs::read(fixture.stored()).unwrap();
    let middle = bytes.len() / 4..bytes.len() / 2;
    bytes[middle].iter_mut().for_each(|byte| *byte ^= 0xff);
    std::fs::write(fixture.stored(), bytes).unwrap();
    repository.write("apps/3/3.yaml", "another\n").unwrap();
    repository.push("Go on").unwrap();
    assert_eq!(ready(&fixture.attempt().await).0, "True");
    let mut other = source_at(&server.url("app"));
    other.attempt().await;
    assert_eq!(fixture.artifact()["digest"], other.artifact()["digest"]);
    // A copy that is whole is taken over, and the artifact is the same.
    repository.write("apps/4/4.yaml", "another\n").unwrap();
    repository.push("Go on").unwrap();
    fixture.attempt().await;
    other.attempt().await;
    assert_eq!(fixture.artifact()["digest"], other.artifact()["digest"]);
    let key = format!("clusters/one/{}", fixture.artifact()["path"].as_str().unwrap());
    assert_eq!(objects.bytes(&key).unwrap(), std::fs::read(other.stored()).unwrap());
}
