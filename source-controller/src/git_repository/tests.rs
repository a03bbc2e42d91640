//! Scenario tests (T1) of whole attempts: a real Git server, a real store, a mock API server for Secrets; every resulting status
//! passes the lint.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use plumb_api::source::{GitRepository, GitRepositoryCondition};
use plumb_azure::AzureTokens;
use plumb_git::{Git, Limits, Resources, SshAlgorithms};
use plumb_github::GithubApps;
use plumb_memory::MemoryPool;
use plumb_status::{AttemptOutcome, Reason};
use plumb_testkit::{
    gitserver::{Credentials, GitServer, GitServerOptions},
    hostile::{HostileServer, Hostility},
    repository::Repository,
    scenario::Response,
};
use plumb_transport::{TokenCache, TokenLimits, address::AddressPolicy};
use serde_json::{Value, json};

use super::{GitSource, KnownVerifications, RecentlyFound, azure::Azure};
use crate::artifact::{ArtifactLedger, LedgerAccess, reconcile, teardown};
use crate::cloud::azure::AzureEnvironment;
use crate::fixture::{Fixture, condition, emitted, ready, storage};

type Ledger = ArtifactLedger<GitRepositoryCondition>;

mod azure;
mod github_app;
mod include;
mod messages;
mod objects;
mod proxy;
mod recent;
mod selection;
mod ssh;
mod verification;

const SECRET_PATH: &str = "/api/v1/namespaces/apps/secrets/git";

fn resources() -> Resources {
    let addresses = AddressPolicy::reject_link_local("--allow-link-local-addresses");
    Resources { memory: MemoryPool::new(600 << 20), addresses, ssh: SshAlgorithms::default() }
}

/// A source that asks at each attempt.
fn source_at(url: &str) -> Fixture<GitSource> {
    source_with(url, &RecentlyFound::new(0))
}

fn source_with(url: &str, recent: &RecentlyFound) -> Fixture<GitSource> {
    source_of(url, recent, azure_environment())
}

/// No identity, and no feature gate.
fn azure_environment() -> AzureEnvironment {
    AzureEnvironment::none()
}

fn source_of(url: &str, recent: &RecentlyFound, environment: AzureEnvironment) -> Fixture<GitSource> {
    let spec = json!({"url": url, "interval": "1m", "ref": {"branch": "main"}});
    Fixture::new(&spec, |api, root| {
        let git = Git::open(&root.join("plumb-git"), Limits::default(), resources()).unwrap();
        let Resources { memory, addresses, .. } = resources();
        let apps = GithubApps::new(memory.clone(), TokenCache::new(TokenLimits::DEFAULT));
        let azure =
            Azure { tokens: AzureTokens::new(memory, TokenCache::new(TokenLimits::DEFAULT)), environment };
        let recent = recent.clone();
        GitSource {
            client: api.client(),
            git,
            apps,
            azure,
            verifications: KnownVerifications::default(),
            clock: Timestamp::now,
            addresses,
            recent,
            storage: storage(root),
            handle: Arc::default(),
        }
    })
}

fn served(options: &GitServerOptions) -> (GitServer, Repository) {
    let server = GitServer::start(options).unwrap();
    let repository = server.repository("app").unwrap();
    repository.write("app.yaml", "one\n").unwrap();
    repository.push("Begin").unwrap();
    (server, repository)
}

fn closed(tls: bool) -> GitServerOptions {
    let credentials = Credentials { username: "bot".to_owned(), password: "s3cret-word".to_owned() };
    GitServerOptions { tls, credentials: Some(credentials) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_becomes_an_artifact_and_is_stored_until_there_is_another() {
    let (server, repository) = served(&GitServerOptions::default());
    let mut fixture = source_at(&server.url("app"));
    let first = fixture.attempt().await;
    let revision = repository.revision().unwrap();
    assert_eq!(
        ready(&first),
        ("True".into(), "Succeeded".into(), format!("stored artifact for revision '{revision}'"))
    );
    assert_eq!(emitted(&first), ["NewArtifact stored artifact for commit 'Begin'"]);
    assert_eq!(first.events[0].metadata["revision"], revision);
    assert!(first.events[0].metadata["digest"].starts_with("sha256:"));
    assert_eq!(condition(&first, "ArtifactInStorage").unwrap(), "True Succeeded");
    let path = format!("gitrepository/apps/app/{}.tar.gz", repository.head().unwrap());
    assert_eq!(fixture.artifact()["path"], path);
    assert_eq!(fixture.artifact()["url"], format!("http://source-controller.flux-system.svc./{path}"));

    fixture.now += Duration::from_secs(30);
    let before = fixture.object.clone();
    let second = fixture.attempt().await;
    assert_eq!(emitted(&second), Vec::<String>::new());
    assert_eq!(fixture.object, before, "nothing changed, so nothing is written");

    repository.write("app.yaml", "two\n").unwrap();
    repository.push("Go on").unwrap();
    fixture.now += Duration::from_mins(2);
    let third = fixture.attempt().await;
    assert!(
        emitted(&third).contains(&"NewArtifact stored artifact for commit 'Go on'".to_owned()),
        "{:?}",
        emitted(&third)
    );
    assert_eq!(fixture.artifact()["revision"], repository.revision().unwrap());
    assert!(fixture.stored().exists());
    assert_eq!(fixture.api.unscripted(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_artifact_of_a_large_repository_is_the_one_that_another_controller_would_make() {
    let (server, repository) = served(&GitServerOptions::default());
    for number in 0..300 {
        repository.write(&format!("apps/{}/{number}.yaml", number % 7), &format!("of: {number}\n")).unwrap();
    }
    repository.push("Many files").unwrap();
    let mut fixture = source_at(&server.url("app"));
    fixture.attempt().await;
    let index = |fixture: &Fixture<GitSource>| {
        let stored = fixture.stored();
        stored.with_file_name(format!(".{}.index", stored.file_name().unwrap().to_str().unwrap()))
    };
    assert!(index(&fixture).exists());
    for (path, spec) in [("apps/3/3.yaml", None), ("apps/4/.sourceignore", None), ("x", Some("/apps/5/"))] {
        repository.write(path, "18.yaml\n").unwrap();
        repository.push("Go on").unwrap();
        if let Some(ignore) = spec {
            fixture.set("ignore", json!(ignore));
        }
        fixture.attempt().await;
        let mut other = source_at(&server.url("app"));
        if let Some(ignore) = spec {
            other.set("ignore", json!(ignore));
        }
        other.attempt().await;
        for field in ["digest", "size", "metadata", "revision"] {
            assert_eq!(fixture.artifact()[field], other.artifact()[field], "{field} after {path}");
        }
        assert!(index(&fixture).exists(), "{path}");
    }
    std::fs::write(index(&fixture), "damaged").unwrap();
    let before = fixture.artifact()["digest"].clone();
    repository.write("apps/1/1.yaml", "last\n").unwrap();
    repository.push("Go on").unwrap();
    assert_eq!(ready(&fixture.attempt().await).0, "True");
    assert_ne!(fixture.artifact()["digest"], before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_damaged_artifact_is_rebuilt() {
    let (server, _repository) = served(&GitServerOptions::default());
    let mut fixture = source_at(&server.url("app"));
    fixture.attempt().await;
    let digest = fixture.artifact()["digest"].clone();
    std::fs::remove_file(fixture.stored()).unwrap();
    fixture.attempt().await;
    assert!(fixture.stored().exists());
    std::fs::write(fixture.stored(), "garbage").unwrap();
    let summary = fixture.attempt().await;
    assert_eq!(fixture.artifact()["digest"], digest);
    assert!(emitted(&summary)[0].contains("did not match its digest"), "{:?}", emitted(&summary));
    assert_eq!(ready(&summary).0, "True");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_takes_no_file_keeps_the_old_artifact_and_recovers() {
    let (server, repository) = served(&GitServerOptions::default());
    let mut fixture = source_at(&server.url("app"));
    fixture.attempt().await;
    let (old, stored) = (fixture.artifact().clone(), fixture.stored());
    repository.write("app.yaml", "two\n").unwrap();
    repository.push("Go on").unwrap();
    // A directory where the file should go: it cannot be written, not even by root.
    let blocked = stored.with_file_name(format!("{}.tar.gz", repository.head().unwrap()));
    std::fs::create_dir(&blocked).unwrap();
    let failed = fixture.attempt().await;
    assert_eq!(ready(&failed).0, "False");
    assert_eq!(condition(&failed, "StorageOperationFailed").unwrap(), "True ArchiveOperationFailed");
    assert_eq!(*fixture.artifact(), old);
    assert!(stored.exists());
    let leftovers = std::fs::read_dir(stored.parent().unwrap()).unwrap();
    let temporary =
        leftovers.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert_eq!(temporary.count(), 0, "no temporary file is left");
    std::fs::remove_dir(&blocked).unwrap();
    assert_eq!(ready(&fixture.attempt().await).0, "True");
    assert_eq!(fixture.artifact()["revision"], repository.revision().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_artifact_leaves_the_status_even_when_the_repository_is_down() {
    let (server, _repository) = served(&GitServerOptions::default());
    let mut fixture = source_at(&server.url("app"));
    fixture.attempt().await;
    std::fs::remove_file(fixture.stored()).unwrap();
    server.fault(plumb_testkit::gitserver::Fault::Respond(503));
    let summary = fixture.attempt().await;
    assert_eq!(ready(&summary).0, "False");
    assert_eq!(*fixture.artifact(), Value::Null);
    assert_eq!(condition(&summary, "ArtifactInStorage"), None);
    assert_eq!(condition(&summary, "FetchFailed").unwrap(), "True GitOperationFailed");
    let reconciling = summary.status.as_ref().unwrap().condition("Reconciling").unwrap().message.clone();
    assert_eq!(reconciling, "building artifact: disappeared from storage");
    server.fault(plumb_testkit::gitserver::Fault::None);
    let summary = fixture.attempt().await;
    assert_eq!(emitted(&summary), ["NewArtifact stored artifact for commit 'Begin'"]);
    assert_eq!(condition(&summary, "FetchFailed"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_down_keeps_the_artifact_and_recovers_without_a_new_one() {
    let (server, _repository) = served(&GitServerOptions::default());
    let mut fixture = source_at(&server.url("app"));
    fixture.attempt().await;
    let artifact = fixture.artifact().clone();
    server.fault(plumb_testkit::gitserver::Fault::Respond(502));
    let failed = fixture.attempt().await;
    assert!(
        ready(&failed).2.starts_with("failed to checkout and determine revision: unable to list remote for")
    );
    assert_eq!(*fixture.artifact(), artifact);
    assert_eq!(failed.next, plumb_status::summary::Next::Backoff);
    assert_eq!(emitted(&fixture.attempt().await), Vec::<String>::new(), "the same failure is reported once");
    server.fault(plumb_testkit::gitserver::Fault::None);
    let recovered = fixture.attempt().await;
    assert_eq!(emitted(&recovered).len(), 1);
    assert!(
        emitted(&recovered)[0].starts_with("Succeeded stored artifact for commit 'main@sha1:"),
        "{recovered:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_has_a_reason_and_a_message() {
    let (server, _repository) = served(&closed(false));
    let (open, _open_repository) = served(&GitServerOptions::default());
    let _empty = open.repository("empty").unwrap();
    let secret = || json!({"name": "git"});
    for (url, spec, data, reason, needle) in [
        (server.url("app"), json!({}), None, "GitOperationFailed", "authentication required"),
        (
            server.url("app"),
            json!({"secretRef": secret()}),
            Some(&[("username", "bot"), ("password", "wrong-word")][..]),
            "GitOperationFailed",
            "authentication required",
        ),
        (
            server.url("app"),
            json!({"secretRef": secret()}),
            Some(&[("password", "wrong-word")]),
            "AuthenticationFailed",
            "'username'",
        ),
        (
            server.url("app"),
            json!({"secretRef": secret()}),
            None,
            "AuthenticationFailed",
            "secrets \"git\" not found",
        ),
        (open.url("app"), json!({"ref": {"branch": "nope"}}), None, "GitOperationFailed", "nope"),
        (open.url("app"), json!({"ref": {"tag": "v9"}}), None, "GitOperationFailed", "v9"),
        (
            open.url("app"),
            json!({"ref": {"semver": "^9"}}),
            None,
            "GitOperationFailed",
            "no match found for semver: ^9",
        ),
        (
            open.url("app"),
            json!({"ref": {"commit": "1".repeat(40)}}),
            None,
            "GitOperationFailed",
            "object not found",
        ),
        (open.url("gone"), json!({}), None, "GitOperationFailed", "not found"),
        (open.url("empty"), json!({}), None, "EmptyGitRepository", "empty"),
    ] {
        let mut fixture = source_at(&url);
        fixture.api.on("GET", SECRET_PATH, Response::not_found());
        for (field, value) in spec.as_object().unwrap() {
            fixture.set(field, value.clone());
        }
        if let Some(data) = data {
            fixture.secret("git", data);
        }
        let summary = fixture.attempt().await;
        let (status, actual, message) = ready(&summary);
        assert_eq!((status.as_str(), actual.as_str()), ("False", reason), "{message}");
        assert!(message.contains(needle), "{message}");
        assert!(!format!("{summary:?}").contains("wrong-word"), "{message}");
        assert_eq!(condition(&summary, "FetchFailed").unwrap(), format!("True {reason}"));
        assert_eq!(*fixture.artifact(), Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_opens_a_closed_repository_over_tls() {
    let (server, _repository) = served(&closed(true));
    let mut fixture = source_at(&server.url("app"));
    fixture.set("secretRef", json!({"name": "git"}));
    fixture
        .secret("git", &[("username", "bot"), ("password", "s3cret-word"), ("ca.crt", server.ca().unwrap())]);
    let summary = fixture.attempt().await;
    assert_eq!(ready(&summary).0, "True", "{summary:?}");
    assert_eq!(fixture.api.lines(), [format!("GET {SECRET_PATH}")]);
    fixture.secret("git", &[("username", "bot"), ("password", "s3cret-word")]);
    let summary = fixture.attempt().await;
    assert!(ready(&summary).2.contains("certificate"), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsupported_field_stalls_before_anything_is_fetched() {
    let (server, _repository) = served(&GitServerOptions::default());
    let requested = server.requests();
    let mut fixture = source_at(&server.url("app"));
    let summary = fixture.set("serviceAccountName", json!("sa")).attempt().await;
    let (status, reason, message) = ready(&summary);
    assert_eq!((status.as_str(), reason.as_str()), ("False", Reason::UnsupportedField.as_str()));
    assert!(message.contains("spec.serviceAccountName"), "{message}");
    assert_eq!(condition(&summary, "Stalled").unwrap(), "True UnsupportedField");
    assert_eq!(summary.next, plumb_status::summary::Next::Never);
    assert_eq!(server.requests(), requested);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_ignore_rules_give_another_artifact_of_the_same_revision() {
    let (server, repository) = served(&GitServerOptions::default());
    repository.write("skip.yaml", "x\n").unwrap();
    repository.push("More").unwrap();
    let mut fixture = source_at(&server.url("app"));
    fixture.attempt().await;
    let before = fixture.artifact().clone();
    fixture.set("ignore", json!("/skip.yaml")).attempt().await;
    assert_eq!(fixture.artifact()["revision"], before["revision"]);
    assert_ne!(fixture.artifact()["digest"], before["digest"]);
    assert_eq!(fixture.object["status"]["observedIgnore"], "/skip.yaml");
    // A consumer of the first one still finds it.
    assert_ne!(fixture.artifact()["path"], before["path"]);
    let earlier =
        fixture.stored().with_file_name(before["path"].as_str().unwrap().rsplit('/').next().unwrap());
    assert!(earlier.is_file(), "{}", earlier.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_removes_what_was_stored() {
    let (server, _repository) = served(&GitServerOptions::default());
    let mut fixture = source_at(&server.url("app"));
    fixture.attempt().await;
    let stored = fixture.stored();
    let object: GitRepository = serde_json::from_value(fixture.object.clone()).unwrap();
    let ledger = Mutex::new(Ledger::of(&object, &fixture.storage));
    assert!(matches!(teardown::<GitSource>(&object, &fixture.storage, &ledger).await, AttemptOutcome::Gone));
    assert!(!stored.parent().unwrap().exists());
    assert!(matches!(teardown::<GitSource>(&object, &fixture.storage, &ledger).await, AttemptOutcome::Gone));
}

/// Access to a ledger that records when the worker was given back.
struct Parking {
    ledger: Mutex<Ledger>,
    parked: std::sync::atomic::AtomicBool,
}

impl LedgerAccess<Ledger> for Parking {
    fn lock_ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    fn park(&self) {
        self.parked.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

#[tokio::test]
async fn waiting_for_a_silent_server_holds_no_worker() {
    let server = HostileServer::start(Hostility::Silence).unwrap();
    let mut fixture = source_at(&server.url());
    fixture.set("timeout", json!("1s"));
    let object: GitRepository = serde_json::from_value(fixture.object.clone()).unwrap();
    let ledger = Mutex::new(Ledger::of(&object, &fixture.storage));
    let parking = Parking { ledger, parked: std::sync::atomic::AtomicBool::new(false) };
    let attempt = reconcile(&fixture.source, &object, &fixture.storage, &parking, fixture.now);
    let requested = async {
        while server.requests() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        parking.parked.load(std::sync::atomic::Ordering::SeqCst)
    };
    let (ending, was_parked) = tokio::join!(attempt, requested);
    assert!(was_parked, "the request was sent by an attempt that held its worker");
    let summary = fixture.finish(&object, &parking.ledger.into_inner().unwrap(), &ending);
    let text = format!("{summary:?}");
    assert!(text.contains("timed out after 1 s"), "{text}");
}
