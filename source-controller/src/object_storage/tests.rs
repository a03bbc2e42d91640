//! The storage in a bucket from its flags, and whole attempts with it: an object store in memory, a Helm repository of our own.

use std::{
    fs,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use plumb_bucket::BucketCredential;
use plumb_memory::MemoryPool;
use plumb_plane::stores::{AZURITE, MOTO};
use plumb_runtime::ControllerOptions as _;
use plumb_status::{AttemptOutcome, chain};
use plumb_store::router;
use plumb_testkit::{
    bucket::{ACCOUNT, BUCKET, ObjectStore},
    helm::HelmServer,
    registry::response,
    stores::{ACCOUNT_KEY, AzuriteProcess, MotoProcess, is_there},
};
use plumb_transport::address::AddressPolicy;
use serde_json::json;
use tower::ServiceExt as _;

use super::*;
use crate::{
    artifact::{ArtifactLedger, LedgerAccess, reconcile},
    fixture::{Fixture, condition, emitted, ready},
    helm_repository::{HelmClients, HelmLimits, HelmRepositorySource},
};

const INDEX: &str =
    "apiVersion: v1\nentries:\n  app:\n  - {name: app, version: 1.0.0, urls: [app-1.0.0.tgz]}\n";
const SECRET: &str = "a-secret-of-the-storage";

fn options(args: &[&str]) -> Options {
    Options::parse_args([&["source-controller"], args].concat()).unwrap()
}

fn opened(args: &[&str]) -> Result<Option<BucketStore>, StorageFlagError> {
    open(&options(args), MemoryPool::new(64 << 20))
}

/// A directory as a Secret is mounted.
fn mounted(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("..data")).unwrap();
    for (name, content) in files {
        fs::write(root.path().join("..data").join(name), content).unwrap();
        std::os::unix::fs::symlink(format!("..data/{name}"), root.path().join(name)).unwrap();
    }
    root
}

/// The credential of the fake, as a mounted directory.
pub fn access_key(id: &str) -> tempfile::TempDir {
    mounted(&[("accesskey", id), ("secretkey", &format!("{SECRET}\n"))])
}

/// What a replica has, by its flags.
pub fn replica(endpoint: &str, credentials: &tempfile::TempDir) -> BucketStore {
    let (endpoint, directory) =
        (format!("--storage-endpoint={endpoint}"), credentials.path().display().to_string());
    let directory = format!("--storage-credentials-dir={directory}");
    let backend =
        if endpoint.contains("http://") { "--storage-backend=azure" } else { "--storage-backend=s3" };
    let bucket = format!("--storage-bucket={BUCKET}");
    let prefix = "--storage-bucket-prefix=clusters/one";
    opened(&[backend, &bucket, prefix, &endpoint, &directory, "--storage-insecure"]).unwrap().unwrap()
}

fn helm_repository(bucket: BucketStore) -> (HelmServer, Fixture<HelmRepositorySource>) {
    let server = HelmServer::plain().unwrap();
    server.file("/index.yaml", INDEX.to_owned());
    let spec = json!({ "url": server.url(), "interval": "1m" });
    let mut fixture = Fixture::new(&spec, |api, _| {
        let addresses = AddressPolicy::reject_link_local("--allow-link-local-addresses");
        let clients =
            HelmClients::new(crate::cloud::none(api.client()), addresses, MemoryPool::new(600 << 20));
        HelmRepositorySource::new(clients, HelmLimits::DEFAULT)
    });
    fixture.storage.bucket = Some(bucket);
    (server, fixture)
}

/// The artifact of the status, as a client of a replica gets it.
async fn served(store: &BucketStore, fixture: &Fixture<HelmRepositorySource>) -> (StatusCode, Vec<u8>) {
    let path = format!("/{}", fixture.artifact()["path"].as_str().unwrap());
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router(store.clone()).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    (parts.status, axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec())
}

#[test]
fn flags_that_do_not_fit_together_are_named() {
    let azure = "--storage-backend=azure";
    for (args, expect) in [
        (&["--storage-backend=s3"][..], "--storage-backend=s3 needs --storage-bucket"),
        (&["--storage-bucket=b"], "--storage-bucket has no effect with --storage-backend=disk"),
        (&[azure, "--storage-bucket=b"], "--storage-backend=azure needs --storage-endpoint"),
        (&[azure, "--storage-bucket=b", "--storage-endpoint=http://127.0.0.1/x"], "set --storage-insecure"),
        (
            &[azure, "--storage-bucket=b", "--storage-endpoint=https://localhost"],
            "not the URL of a storage account",
        ),
        (
            &["--storage-backend=s3", "--storage-bucket=a/b"],
            "--storage-endpoint, --storage-bucket or --storage-region cannot be used",
        ),
        (
            &["--storage-backend=gcs", "--storage-bucket=b", "--storage-ca-file=/none"],
            "--storage-ca-file cannot be used",
        ),
        (
            &["--storage-backend=gcs", "--storage-bucket=b", "--storage-credentials-dir=/none"],
            "the credential of --storage-backend=gcs cannot be used: cannot read /none",
        ),
    ] {
        let error = opened(args).err().unwrap();
        assert!(chain(&error).contains(expect), "{args:?}: {error}");
    }
    assert!(opened(&[]).unwrap().is_none());
    let error = Options::parse_args(["source-controller", "--storage-bucket-prefix=../x"]).unwrap_err();
    assert!(error.to_string().contains("cannot be a prefix of keys"), "{error}");
}

#[test]
fn a_credential_is_read_from_files_or_the_environment_and_never_printed() {
    let bucket = ["--storage-backend=s3", "--storage-bucket=b"];
    let of = |more: &[&str]| opened(&[&bucket[..], more].concat());
    let error = of(&["--storage-aws-access-key-id=", "--storage-aws-secret-access-key="]).err().unwrap();
    assert!(error.to_string().contains("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"), "{error}");
    let secret = format!("--storage-aws-secret-access-key={SECRET}");
    of(&["--storage-aws-access-key-id=id", &secret]).unwrap().unwrap();
    let parsed = options(&["--storage-aws-access-key-id=id", &secret]);
    assert!(!format!("{parsed:?}").contains(SECRET), "{parsed:?}");
    let error = of(&["--storage-aws-access-key-id=", &secret]).err().unwrap().to_string();
    assert!(error.contains("'accesskey' and 'secretkey'") && !error.contains(SECRET), "{error}");
    let google = mounted(&[("serviceaccount", SECRET)]);
    let directory = format!("--storage-credentials-dir={}", google.path().display());
    let error =
        opened(&["--storage-backend=gcs", "--storage-bucket=b", &directory]).err().unwrap().to_string();
    assert!(error.contains("serviceaccount") && !error.contains(SECRET), "{error}");
    let key = google.path().join("serviceaccount").display().to_string();
    let file = format!("--storage-google-application-credentials={key}");
    let error = opened(&["--storage-backend=gcs", "--storage-bucket=b", &file]).err().unwrap().to_string();
    assert!(error.contains("it is not the JSON of a service account key"), "{error}");
}

#[test]
fn each_credential_of_the_environment_is_taken_for_its_back_end() {
    let read = |args: &[&str]| {
        let options = options(&[args, &["--storage-bucket=b"]].concat());
        let address = address(&options.bucket).unwrap().unwrap();
        match Credentials::new(&options, address)
            .read()
            .unwrap_or_else(|problem| panic!("{args:?}: {problem}"))
        {
            BucketCredential::Bearer(_) => unreachable!("a token is of no Secret"),
            BucketCredential::AccessKey(key) => format!("key {}, session {}", key.id, key.session.is_some()),
            BucketCredential::Google(_) => "google".to_owned(),
            BucketCredential::SharedKey(key) => format!("account {}", key.account),
            BucketCredential::Signature(_) => "signature".to_owned(),
            BucketCredential::Entra(_) => "application".to_owned(),
            BucketCredential::Anonymous | BucketCredential::Ldap(_) => "another".to_owned(),
        }
    };
    let file = mounted(&[(
        "key.json",
        r#"{"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}"#,
    )]);
    let file = format!("--storage-google-application-credentials={}/key.json", file.path().display());
    let azure = ["--storage-backend=azure", "--storage-endpoint=https://acme.blob.core.windows.net"];
    let key = ["--storage-backend=s3", "--storage-aws-access-key-id=id", "--storage-aws-secret-access-key=s"];
    let application = ["--azure-tenant-id=t", "--azure-client-id=c", "--storage-azure-client-secret=s"];
    for (args, expect) in [
        ([&key[..], &["--storage-aws-session-token=t"]].concat(), "key id, session true"),
        (key.to_vec(), "key id, session false"),
        (vec!["--storage-backend=gcs", &file], "google"),
        ([&azure[..], &["--storage-azure-storage-key=czNj"]].concat(), "account acme"),
        ([&azure[..], &["--storage-azure-sas-token=sv=1"]].concat(), "signature"),
        ([&azure[..], &application].concat(), "application"),
        // The identity of a pod for other things is no credential of the storage.
        ([&azure[..], &application[..2], &["--storage-azure-sas-token=sv=1"]].concat(), "signature"),
    ] {
        assert_eq!(read(&args), expect, "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_replaced_without_a_restart() {
    let server = ObjectStore::plain().unwrap();
    let credentials = access_key("first");
    let (_helm, mut fixture) = helm_repository(replica(&server.address().to_string(), &credentials));
    server.login("Credential=second/");
    let (status, reason, message) = ready(&fixture.attempt().await);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "ArchiveOperationFailed"), "{message}");
    assert!(
        message.contains("check the credential of the storage") && !message.contains(SECRET),
        "{message}"
    );
    fs::write(credentials.path().join("..data/accesskey"), "second").unwrap();
    assert_eq!(ready(&fixture.attempt().await).0, "True");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_a_ca_of_its_own_is_trusted_by_a_flag() {
    let server = ObjectStore::tls().unwrap();
    let (credentials, ca) = (access_key("id"), mounted(&[("ca.crt", server.ca().unwrap())]));
    let endpoint = format!("--storage-endpoint=localhost:{}", server.address().port());
    let directory = format!("--storage-credentials-dir={}", credentials.path().display());
    let bucket = format!("--storage-bucket={BUCKET}");
    let flags = ["--storage-backend=s3", &bucket, &endpoint, &directory];
    let (_helm, mut fixture) = helm_repository(opened(&flags).unwrap().unwrap());
    let (status, _, message) = ready(&fixture.attempt().await);
    assert_eq!(status, "False");
    assert!(message.contains("--storage-ca-file"), "{message}");
    let trusted = format!("--storage-ca-file={}/ca.crt", ca.path().display());
    fixture.storage.bucket = opened(&[&flags[..], &[&trusted]].concat()).unwrap();
    assert_eq!(ready(&fixture.attempt().await).0, "True");
}

/// The leader reconciles, and another replica serves the same bytes.
async fn one_writes_and_another_serves(endpoint: &str, credentials: &tempfile::TempDir) {
    let (leader, other) = (replica(endpoint, credentials), replica(endpoint, credentials));
    let (_helm, mut fixture) = helm_repository(leader.clone());
    let first = fixture.attempt().await;
    assert_eq!(ready(&first).0, "True", "{:?}", ready(&first));
    assert_eq!(condition(&first, "ArtifactInStorage").unwrap(), "True Succeeded");
    let (status, bytes) = served(&other, &fixture).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(fixture.artifact()["digest"], plumb_testkit::registry::digest(&bytes));
    assert_eq!(fixture.artifact()["size"], json!(bytes.len()));
    assert_eq!(served(&leader, &fixture).await.1, bytes);
    // Another leader takes over, with an empty disk: nothing is built again.
    fs::remove_dir_all(fixture.root.path().join("data/helmrepository")).unwrap();
    fixture.storage.bucket = Some(other.clone());
    assert_eq!(emitted(&fixture.attempt().await), Vec::<String>::new());
    assert_eq!(fixture.teardown().await, AttemptOutcome::Gone);
    assert_eq!(served(&leader, &fixture).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_writes_and_another_serves() {
    let server = ObjectStore::plain().unwrap();
    one_writes_and_another_serves(&server.address().to_string(), &access_key("id")).await;
    let azure = mounted(&[("sasKey", "sv=1&sig=x")]);
    one_writes_and_another_serves(&format!("{}/{ACCOUNT}", server.url()), &azure).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_writes_to_a_server_of_s3_and_another_serves() {
    if !is_there(MOTO) {
        return;
    }
    let moto = MotoProcess::start(BUCKET, &[]).await.unwrap();
    let credentials = mounted(&[("accesskey", &moto.key_id), ("secretkey", &moto.secret)]);
    one_writes_and_another_serves(&moto.address.to_string(), &credentials).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_writes_to_a_server_of_azure_and_another_serves() {
    if !is_there(AZURITE) {
        return;
    }
    let azurite = AzuriteProcess::start(BUCKET).await.unwrap();
    one_writes_and_another_serves(&azurite.endpoint(), &mounted(&[("accountKey", ACCOUNT_KEY)])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_that_was_replaced_or_deleted_in_the_bucket_is_built_again() {
    let server = ObjectStore::plain().unwrap();
    let credentials = access_key("id");
    let store = replica(&server.address().to_string(), &credentials);
    let (_helm, mut fixture) = helm_repository(store.clone());
    fixture.attempt().await;
    let (artifact, key) = (fixture.artifact().clone(), server.keys()[0].clone());
    assert!(key.starts_with("clusters/one/helmrepository/apps/app/index-"), "{key}");
    let bytes = server.bytes(&key).unwrap();
    server.corrupt(&key, &vec![b'x'; bytes.len()]);
    let events = emitted(&fixture.attempt().await);
    let path = artifact["path"].as_str().unwrap();
    let lost = format!(
        "ArtifactVerificationFailed stored artifact '{path}' did not match its digest and was removed"
    );
    assert!(events.contains(&lost), "{events:?}");
    assert_eq!(fixture.artifact()["digest"], artifact["digest"]);
    assert_eq!(server.bytes(&key), Some(bytes.clone()));
    server.delete(&key);
    assert_eq!(ready(&fixture.attempt().await).0, "True");
    assert_eq!(server.bytes(&key), Some(bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_store_fails_attempts_with_a_remedy_and_ends_without_a_restart() {
    let server = ObjectStore::plain().unwrap();
    let credentials = access_key("id");
    let store = replica(&server.address().to_string(), &credentials);
    let (_helm, mut fixture) = helm_repository(store.clone());
    server.answer(|_| Some(response(507, &[], "text of the server")));
    let failed = fixture.attempt().await;
    assert_eq!(condition(&failed, "StorageOperationFailed").unwrap(), "True ArchiveOperationFailed");
    let (status, reason, message) = ready(&failed);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "ArchiveOperationFailed"));
    assert!(
        message.contains("failed to store artifact") && message.contains("in bucket 'apps'"),
        "{message}"
    );
    assert!(message.contains("check --storage-endpoint") && !message.contains("text of"), "{message}");
    server.answer_itself();
    let recovered = fixture.attempt().await;
    assert_eq!(
        (ready(&recovered).0.as_str(), condition(&recovered, "StorageOperationFailed")),
        ("True", None)
    );
    // An artifact that cannot be looked at is not lost.
    server.answer(|_| Some(response(507, &[], "")));
    let failed = fixture.attempt().await;
    assert_eq!(condition(&failed, "StorageOperationFailed").unwrap(), "True ReadOperationFailed");
    assert_eq!(served(&store, &fixture).await.0, StatusCode::SERVICE_UNAVAILABLE);
    server.answer_itself();
    let recovered = fixture.attempt().await;
    assert_eq!(ready(&recovered).0, "True");
    assert!(
        !emitted(&recovered).iter().any(|event| event.contains("NewArtifact")),
        "{:?}",
        emitted(&recovered)
    );
}

/// A ledger that notes whether the worker was given back.
struct Parking<L> {
    ledger: Mutex<L>,
    parked: Arc<AtomicBool>,
}

impl<L: Send> LedgerAccess<L> for Parking<L> {
    fn lock_ledger(&self) -> MutexGuard<'_, L> {
        self.ledger.lock().unwrap()
    }

    fn park(&self) {
        self.parked.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_holds_no_worker_while_it_waits_for_the_store() {
    let server = ObjectStore::plain().unwrap();
    let credentials = access_key("id");
    let (_helm, mut fixture) = helm_repository(replica(&server.address().to_string(), &credentials));
    fixture.attempt().await;
    let parked = Arc::new(AtomicBool::new(false));
    let (seen, asked) = (Arc::clone(&parked), Arc::new(AtomicU32::new(0)));
    let count = Arc::clone(&asked);
    server.answer(move |_| {
        count.fetch_add(u32::from(!seen.load(Ordering::Relaxed)), Ordering::Relaxed);
        None
    });
    let object = fixture.typed();
    let ledger = Mutex::new(ArtifactLedger::of(&object, &fixture.storage));
    reconcile(&fixture.source, &object, &fixture.storage, &Parking { ledger, parked }, fixture.now).await;
    assert!(server.calls().len() > 1);
    assert_eq!(asked.load(Ordering::Relaxed), 0, "requests while a worker was held");
}

#[test]
fn the_guide_and_the_component_name_flags_that_are_there() {
    let command = Options::command();
    let flags: Vec<(String, Option<String>)> = command
        .get_arguments()
        .filter_map(|flag| {
            let variable = flag.get_env().and_then(|name| name.to_str());
            Some((format!("--{}", flag.get_long()?), variable.map(str::to_owned)))
        })
        .collect();
    let guide = include_str!("../../../docs/guide/storage.md");
    let mut rows = 0;
    for row in guide.lines().filter(|line| line.starts_with("| `--storage")) {
        let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).skip(1);
        let (flag, variable) = (cells.next().unwrap(), cells.next().filter(|cell| cell != "–"));
        assert!(flags.contains(&(flag.clone(), variable.clone())), "{flag} {variable:?}");
        rows += 1;
    }
    assert_eq!(rows, 8);
    let is_variable = |name: &str| flags.iter().any(|(_, variable)| variable.as_deref() == Some(name));
    let component = include_str!("../../../config/components/object-storage/deployment.yaml");
    let settings = include_str!("../../../config/components/object-storage/kustomization.yaml");
    let words = [component, settings, guide].concat();
    let words: Vec<&str> = words
        .split(|character: char| !(character.is_ascii_uppercase() || character == '_'))
        .filter(|word| ["STORAGE_", "AWS_", "GOOGLE_", "AZURE_"].iter().any(|start| word.starts_with(start)))
        .collect();
    assert!(words.len() > 15, "{words:?}");
    for name in words {
        assert!(is_variable(name), "{name}");
    }
}
