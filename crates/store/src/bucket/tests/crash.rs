//! A process that is killed in the middle of an upload to a real server of S3, at seeded moments: what was announced is there, whole.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

use plumb_plane::stores::MOTO;
use plumb_testkit::stores::{MotoProcess, is_there};

use super::*;

/// Set for the child: the address of the server, ID and secret of the key.
const CHILD: &str = "PLUMB_STORE_UPLOADS";
/// How many moments are tried.
const KILLS: u64 = 8;
/// The longest time from an announcement to the kill: some uploads.
const DELAY_MICROSECONDS: u64 = 300_000;
/// Uploads until the child stops by itself.
const UPLOADS_MAX: u64 = 10_000;
/// Two parts.
const BYTES: usize = (8 << 20) + 1000;

fn store(settings: &str) -> BucketStore {
    let mut parts = settings.split(' ');
    let (address, id, secret) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let address = BucketAddress::s3(address, BUCKET, None, true).unwrap();
    let key = AccessKey { id: id.to_owned(), secret: Sealed::from(secret), session: None };
    process((address, BucketCredential::AccessKey(key)))
}

/// The process that is killed: it announces each artifact after it was uploaded.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(settings) = std::env::var(CHILD) else { return };
    let store = store(&settings);
    let mut out = std::io::stdout();
    for upload in 0..UPLOADS_MAX {
        // Three names, so that objects are written over as well; every other one has one part.
        let name = upload % 3;
        let content = vec![name.to_le_bytes()[0]; if name == 1 { 1000 } else { BYTES }];
        let written = put(&store, &location("app"), &format!("{name}.tar.gz"), &content).await.unwrap();
        writeln!(out, "\nADVERTISED {} {}", written.path, written.digest).unwrap();
        out.flush().unwrap();
    }
}

fn advertised_until_killed(settings: &str, delay: Duration) -> Vec<(String, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "bucket::tests::crash::child", "--nocapture"])
        .env(CHILD, settings)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || {
        lines.by_ref().find_map(|line| {
            let line = line.ok()?;
            let (path, digest) = line.strip_prefix("ADVERTISED ")?.split_once(' ')?;
            Some((path.to_owned(), digest.to_owned()))
        })
    };
    let mut advertised: Vec<_> = next().into_iter().collect();
    std::thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap();
    advertised.extend(std::iter::from_fn(next));
    advertised
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_advertised_is_in_the_bucket_after_a_kill_at_any_moment() {
    if !is_there(MOTO) {
        return;
    }
    let moto = MotoProcess::start(BUCKET, &[]).await.unwrap();
    let settings = format!("{} {} {}", moto.address, moto.key_id, moto.secret);
    let mut seed: u64 = 0x2545_f491_4f6c_dd1d;
    for kill in 0..KILLS {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let delay = Duration::from_micros(seed % DELAY_MICROSECONDS);
        let advertised = tokio::task::block_in_place(|| advertised_until_killed(&settings, delay));
        assert!(!advertised.is_empty(), "kill {kill}: the child uploaded nothing");
        // A process that knows nothing yet, and so reads each of them whole.
        let store = store(&settings);
        for (path, digest) in &advertised {
            let integrity = store.verify(&location("app"), path, digest).await.unwrap();
            assert_eq!(integrity, Integrity::Intact, "kill {kill} after {delay:?}: {path}");
        }
    }
}
