//! The storage on disk: what is stored, compared, collected and removed, and in which order it gets there.

use std::time::Duration;

use bytes::Bytes;
use plumb_archive::{ArchiveOptions, Entry, EntryContent, Listing, RestartableWrite};
use plumb_filetree::TreeLimits;

use super::*;

fn tree(content: &'static str) -> MemoryTree {
    let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
    builder.file(&RelPath::parse("a.yaml").unwrap(), Bytes::from_static(content.as_bytes()), false).unwrap();
    builder.build()
}

fn fixture() -> (tempfile::TempDir, ArtifactStore, Location) {
    let root = tempfile::tempdir().unwrap();
    let store = ArtifactStore::open(&root.path().join("data")).unwrap();
    (root, store, Location::new("GitRepository", "default", "podinfo").unwrap())
}

#[test]
fn a_file_is_on_the_disk_before_it_has_its_name_and_its_name_before_it_is_announced() {
    let (_root, store, location) = fixture();
    store.put(&location, "a.tar.gz", &tree("x")).unwrap();
    let steps = lasting::STEPS.take();
    let directories = ["sync directory"; 3];
    assert_eq!(steps, [&directories[..], &["sync file", "rename", "sync directory"]].concat());
    store.put(&location, "b.tar.gz", &tree("y")).unwrap();
    assert_eq!(lasting::STEPS.take(), ["sync file", "rename", "sync directory"]);
}

fn names(store: &ArtifactStore, location: &Location) -> Vec<String> {
    let entries = fs::read_dir(store.full(location.path())).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_stored_artifact_is_intact_until_it_is_modified() {
    let (_root, store, location) = fixture();
    let (written, _) = store.put(&location, "abc.tar.gz", &tree("one")).unwrap();
    assert_eq!(written.path, "gitrepository/default/podinfo/abc.tar.gz");
    assert_eq!(store.put(&location, "abc.tar.gz", &tree("one")).unwrap().0, written);
    assert_eq!(names(&store, &location), ["abc.tar.gz"]);
    let verify = || store.verify(&location, &written.path, &written.digest).unwrap();
    assert_eq!(verify(), Integrity::Intact);
    fs::write(store.root().join(&written.path), "other").unwrap();
    assert_eq!(verify(), Integrity::Mismatch);
    assert_eq!(verify(), Integrity::Missing);
}

#[test]
fn a_file_is_compared_by_the_algorithm_of_its_digest_whichever_is_written_today() {
    let (_root, store, location) = fixture();
    let (old, _) = store.put(&location, "old.tar.gz", &tree("one")).unwrap();
    let store = store.with_algorithm(DigestAlgorithm::Blake3);
    let (new, _) = store.put(&location, "new.tar.gz", &tree("one")).unwrap();
    assert!(new.digest.starts_with("blake3:"), "{}", new.digest);
    for Written { path, digest, size } in [&old, &new] {
        assert_eq!(store.verify(&location, path, digest).unwrap(), Integrity::Intact);
        assert!(store.read(&location, path, digest, *size).unwrap().is_some());
    }
    assert_eq!(
        store.read(&location, &new.path, &old.digest.replace("sha256", "blake3"), new.size).unwrap(),
        None
    );
    let unsupported = format!("sha1:{}", "0".repeat(40));
    assert_eq!(store.read(&location, &new.path, &unsupported, new.size).unwrap(), None);
    assert_eq!(store.verify(&location, &new.path, &unsupported).unwrap(), Integrity::Mismatch);
}

#[test]
fn objects_that_have_artifacts_are_listed_when_they_are_old_enough() {
    let (_root, store, location) = fixture();
    store.put(&location, "a.tar.gz", &tree("one")).unwrap();
    store.put(&Location::new("GitRepository", "apps", "web").unwrap(), "a.tar.gz", &tree("one")).unwrap();
    store.put(&Location::new("Bucket", "apps", "files").unwrap(), "a.tar.gz", &tree("one")).unwrap();
    let objects = |kind, age| store.objects(kind, age).unwrap();
    let all = [("apps", "web"), ("default", "podinfo")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(objects("GitRepository", Duration::ZERO), all);
    assert_eq!(objects("GitRepository", Duration::from_mins(1)), []);
    assert_eq!(objects("HelmChart", Duration::ZERO), []);
}

#[test]
fn bytes_are_stored_as_they_are_in_the_same_safe_way() {
    let (_root, store, location) = fixture();
    let written = store.put_bytes(&location, "index.yaml", b"entries: {}\n").unwrap();
    assert_eq!(fs::read(store.root().join(&written.path)).unwrap(), b"entries: {}\n");
    assert_eq!(written.digest, format!("sha256:{}", plumb_filetree::digest::sha256_hex(b"entries: {}\n")));
    assert_eq!(written.size, 12);
    assert!(lasting::STEPS.take().ends_with(&["sync file", "rename", "sync directory"]));
    assert_eq!(store.verify(&location, &written.path, &written.digest).unwrap(), Integrity::Intact);
    assert!(store.put_bytes(&location, "../x.yaml", b"x").is_err());
}

#[test]
fn an_unreadable_file_is_rewritten() {
    for code in [5, 13, 117, 74] {
        let failed = io::Error::from_raw_os_error(code);
        assert_eq!(compare(Err(failed)).unwrap(), Integrity::Unreadable, "{code}");
    }
    assert_eq!(compare(Err(io::ErrorKind::NotFound.into())).unwrap(), Integrity::Missing);
    let too_many_open_files = io::Error::from_raw_os_error(24);
    compare(Err(too_many_open_files)).unwrap_err();
    let (_root, store, location) = fixture();
    let (written, _) = store.put(&location, "a.tar.gz", &tree("one")).unwrap();
    // What is in the file's place is replaced as a whole.
    assert_eq!(store.put(&location, "a.tar.gz", &tree("one")).unwrap().0, written);
    assert_eq!(store.verify(&location, &written.path, &written.digest).unwrap(), Integrity::Intact);
}

#[test]
fn failing_storage_is_retried_and_recovers() {
    let (root, store, location) = fixture();
    // A file in the place of the folder: a failure that holds for root too.
    let kind = store.root().join("gitrepository");
    fs::write(&kind, "in the way").unwrap();
    let error = store.put(&location, "a.tar.gz", &tree("one")).unwrap_err();
    assert_eq!(error.consequence(), Consequence::Retry);
    fs::remove_file(&kind).unwrap();
    store.put(&location, "a.tar.gz", &tree("one")).unwrap();
    drop(root);
}

#[test]
fn a_forged_path_is_never_looked_at() {
    let (root, store, location) = fixture();
    let outside = root.path().join("outside");
    fs::write(&outside, "x").unwrap();
    let (own, _) = store.put(&location, "abc.tar.gz", &tree("one")).unwrap();
    let other = Location::new("GitRepository", "default", "other").unwrap();
    for path in ["../outside", "gitrepository/default/podinfo/../../../../outside", own.path.as_str()] {
        assert_eq!(store.verify(&other, path, "sha256:0").unwrap(), Integrity::Missing, "{path}");
    }
    assert!(outside.exists());
    assert_eq!(store.verify(&location, &own.path, &own.digest).unwrap(), Integrity::Intact);
}

/// An archive of several members, as one of contents that have ids.
fn put_indexed(store: &ArtifactStore, location: &Location, file: &str, content: &'static str) -> Written {
    struct Static(&'static str);
    impl plumb_archive::Content for Static {
        fn id(&self) -> Option<&[u8]> {
            Some(self.0.as_bytes())
        }
    }
    let entries = (0..200).map(|at| Entry {
        path: RelPath::parse(&format!("{at}/a.yaml")).unwrap(),
        content: EntryContent::File { executable: false, content: Static(content) },
    });
    let listing = Listing::new(entries.collect(), TreeLimits::DEFAULT).unwrap();
    let options = ArchiveOptions { algorithm: store.algorithm(), limits: TreeLimits::DEFAULT };
    let read = |_: &RelPath, content: &Static, buffer: &mut Vec<u8>| {
        buffer.extend_from_slice(content.0.as_bytes());
        Ok::<_, io::Error>(())
    };
    let mut spool = store.spool(location).unwrap();
    let write = |spool: &mut Spool| {
        plumb_archive::write(&listing, options, None::<&mut Previous<File>>, read, spool).unwrap()
    };
    write(&mut spool);
    spool.restart().unwrap();
    let archive = write(&mut spool);
    store.put_archive(location, file, spool, &archive).unwrap()
}

#[test]
fn the_index_of_the_current_archive_stays_as_long_as_the_archive() {
    let (_root, store, location) = fixture();
    let first = put_indexed(&store, &location, "a.tar.gz", "one");
    let previous = |written: &Written| {
        store.previous(&location, &written.path, &written.digest).unwrap().map(|previous| previous.index)
    };
    assert_eq!(store.verify(&location, &first.path, &first.digest).unwrap(), Integrity::Intact);
    assert!(previous(&first).is_some());
    let second = put_indexed(&store, &location, "b.tar.gz", "two");
    assert_ne!(previous(&second), previous(&first));
    let wrong = Written { digest: first.digest.clone(), ..second.clone() };
    assert_eq!(previous(&wrong), None, "the index is of another archive");
    assert!(names(&store, &location).contains(&".b.tar.gz.index".to_owned()));
    let retention = Retention { ttl: Duration::from_mins(1), records: 2 };
    store.collect(&location, Some(&second.path), retention, SystemTime::now()).unwrap();
    assert_eq!(names(&store, &location), [".b.tar.gz.index", "a.tar.gz", "b.tar.gz"]);
    assert_eq!(previous(&first), None);
    // A file of one name whose archive has no index has none of an earlier one.
    store.put(&location, "b.tar.gz", &tree("one")).unwrap();
    assert_eq!(names(&store, &location), ["a.tar.gz", "b.tar.gz"]);
    put_indexed(&store, &location, "b.tar.gz", "two");
    assert_eq!(store.remove(&location).unwrap().artifacts, 2, "an index is no artifact");
}

#[test]
fn collection_keeps_the_current_file_and_drops_leftovers() {
    let (_root, store, location) = fixture();
    let now = SystemTime::now();
    let (current, _) = store.put(&location, "c.tar.gz", &tree("c")).unwrap();
    store.put(&location, "a.tar.gz", &tree("a")).unwrap();
    let directory = store.full(location.path());
    fs::write(directory.join("a.tar.gz.lock"), "").unwrap();
    fs::write(directory.join(".x.tar.gz.1.tmp"), "").unwrap();
    let retention = Retention { ttl: Duration::from_mins(1), records: 2 };
    let collect = |after| store.collect(&location, Some(&current.path), retention, now + after).unwrap();
    let held = File::open(directory.join(".x.tar.gz.1.tmp")).unwrap();
    held.lock().unwrap();
    assert_eq!(collect(Duration::from_secs(1)).artifacts, 0);
    assert_eq!(collect(Duration::from_mins(2)).artifacts, 1);
    assert_eq!(names(&store, &location), [".x.tar.gz.1.tmp", "c.tar.gz"], "it has a writer");
    // Not by closing it: a process that another test begins has the file open, too, until it runs its own program.
    held.unlock().unwrap();
    assert_eq!(collect(Duration::from_mins(2)).artifacts, 0);
    assert_eq!(names(&store, &location), ["c.tar.gz"]);
    assert_eq!(store.remove(&location).unwrap().artifacts, 1);
    assert_eq!(store.remove(&location).unwrap().artifacts, 0);
}

#[test]
fn the_advertised_address_follows_the_flag_or_the_socket() {
    let bound = "0.0.0.0:9090".parse().unwrap();
    let url = |flag, bound, host| Advertised::new(flag, bound, host).url("a/b");
    assert_eq!(url("source.ns.svc.", bound, None), "http://source.ns.svc./a/b");
    assert_eq!(url("https://x/", bound, None), "https://x/a/b");
    assert_eq!(url("", bound, Some("pod-1")), "http://pod-1:9090/a/b");
    assert_eq!(url("", bound, None), "http://localhost:9090/a/b");
    assert_eq!(url("", "127.0.0.1:41".parse().unwrap(), Some("pod-1")), "http://127.0.0.1:41/a/b");
}
