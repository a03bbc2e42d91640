//! Against a real `git http-backend` over HTTP: each form of a reference, accepted and rejected credentials, each kind of mirror.

mod archive;
mod clients;
mod crash;
mod greeting;
mod hostile;
mod limits;
mod oracle;
mod peers;
mod references;
mod selection;
mod server;
mod ssh;

use plumb_filetree::{FileTree, RelPath};
use plumb_status::{Classify, Reason};
use server::{GitServer, Repository, Rules, git, self_signed};

use super::*;
use plumb_transport::{Credential, Trust};

const TIMEOUT: Duration = Duration::from_mins(1);
/// `me:s3cret`
const BASIC: &str = "Basic bWU6czNjcmV0";

struct Fixture {
    git: Git,
    root: tempfile::TempDir,
}

fn resources() -> Resources {
    let addresses = AddressPolicy::reject_link_local("--allow-x");
    Resources { memory: MemoryPool::new(600 << 20), addresses, ssh: SshAlgorithms::default() }
}

fn open(root: &Path, limits: Limits) -> Git {
    Git::open(root, limits, resources()).unwrap()
}

impl Fixture {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self { git: open(&root.path().join("plumb-git"), Limits::default()), root }
    }

    async fn read(&self, endpoint: &Endpoint, reference: &Reference) -> Result<Checkout, GitError> {
        let session = self.git.find("team-a", endpoint, reference, TIMEOUT).await?;
        both(&self.git, session, &Selection::default()).await
    }

    fn mirrors(&self) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(self.root.path().join("plumb-git")).unwrap();
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
    }
}

/// The files of a commit, which are the same in memory and in an archive.
async fn both(git: &Git, session: Session, selection: &Selection) -> Result<Checkout, GitError> {
    let Session { endpoint, reference, found, consumer, .. } = &session;
    let again = git.session(consumer, endpoint, reference, found.clone());
    let checkout = git.checkout(session, selection, TIMEOUT).await?;
    let archived = archive::archived(git, again, selection, None).await?;
    assert_eq!(archive::unpacked(&archived), checkout.tree);
    assert_eq!((&archived.found, &archived.summary), (&checkout.found, &checkout.summary));
    Ok(checkout)
}

fn anonymous(url: &str) -> Endpoint {
    Endpoint::new(url, Credential::None, Trust::default()).unwrap()
}

fn ignoring(rules: &str) -> Selection {
    Selection { ignore: Some(rules.to_owned()), ..Selection::default() }
}

fn main() -> Reference {
    Reference::Branch("main".into())
}

fn sample(server: &GitServer) -> (Repository, String) {
    let repository = server.repository("sample.git");
    repository.write("app.yaml", "one");
    repository.write("deep/er/x.yaml", "two");
    let commit = repository.commit("First line\n\nand more");
    (repository, commit)
}

fn text(checkout: &Checkout, path: &str) -> String {
    String::from_utf8(checkout.tree.read(&RelPath::parse(path).unwrap()).unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn branch_tag_version_name_and_commit_are_found() {
    let server = GitServer::start(Rules::default());
    let (repository, first) = sample(&server);
    repository.git(&["tag", "v1.0.0"]);
    repository.write("app.yaml", "newer");
    let second = repository.commit("Second");
    repository.git(&["tag", "-a", "-m", "annotated", "v1.1.0"]);
    repository.git(&["push", "-q", "origin", "--tags", "HEAD:refs/pull/1/head"]);
    let fixture = Fixture::new();
    let endpoint = anonymous(&repository.url);
    let fields = |branch, tag, semver, name, commit| {
        Reference::from_fields(branch, tag, semver, name, commit).unwrap()
    };
    for (reference, name, commit) in [
        (fields(Some("main"), None, None, None, None), "main@", &second),
        (fields(None, Some("v1.0.0"), None, None, None), "v1.0.0@", &first),
        (fields(None, Some("v1.1.0"), None, None, None), "v1.1.0@", &second),
        (fields(None, None, Some("~1.0"), None, None), "v1.0.0@", &first),
        (fields(None, None, Some(">=1"), None, None), "v1.1.0@", &second),
        (fields(None, None, None, Some("refs/pull/1/head"), None), "refs/pull/1/head@", &second),
        (fields(None, None, None, None, Some(&first)), "", &first),
        (fields(Some("main"), None, None, None, Some(&first)), "main@", &first),
    ] {
        let checkout = fixture.read(&endpoint, &reference).await.unwrap();
        assert_eq!(checkout.found.revision(), format!("{name}sha1:{commit}"));
        assert_eq!(text(&checkout, "app.yaml"), if *commit == first { "one" } else { "newer" });
        assert_eq!(checkout.summary, if *commit == first { "First line" } else { "Second" });
    }
    assert_eq!(fixture.mirrors().len(), 1);
}

#[tokio::test]
async fn of_equal_versions_the_newer_commit_is_taken_and_a_poll_fetches_none_again() {
    let server = GitServer::start(Rules::default());
    let (repository, _) = sample(&server);
    let tree = repository.git(&["write-tree"]);
    let commit = |message: &str, seconds: u32| {
        let who = format!("t <t@example.com> {seconds} +0000");
        let text = format!("tree {tree}\nauthor {who}\ncommitter {who}\n\n{message}\n");
        repository.git_with(&["hash-object", "-t", "commit", "-w", "--stdin"], &text)
    };
    let (old, new) = (commit("old", 1_700_000_000), commit("new", 1_800_000_000));
    // The order of the builds is not that of the commits.
    for (tag, commit) in [("1.3.0+10", &old), ("1.3.0+9", &new), ("v1.2.0", &old), ("1.2.0", &new)] {
        repository.git(&["tag", tag, commit]);
    }
    repository.git(&["push", "-q", "origin", "--tags"]);
    let fixture = Fixture::new();
    let endpoint = anonymous(&repository.url);
    for (range, name) in [("~1.3", "1.3.0+9"), ("~1.2", "1.2.0")] {
        let reference = Reference::from_fields(None, None, Some(range), None, None).unwrap();
        let checkout = fixture.read(&endpoint, &reference).await.unwrap();
        assert_eq!(checkout.found.revision(), format!("{name}@sha1:{new}"));
        assert_eq!(checkout.summary, "new");
        let before = server.seen.lock().unwrap().len();
        fixture.git.find("team-a", &endpoint, &reference, TIMEOUT).await.unwrap();
        assert_eq!(server.seen.lock().unwrap().len() - before, 1, "the list");
    }
}

#[tokio::test]
async fn a_new_commit_is_fetched_into_the_same_mirror() {
    let server = GitServer::start(Rules::default());
    let (repository, _) = sample(&server);
    let fixture = Fixture::new();
    let endpoint = anonymous(&repository.url);
    fixture.read(&endpoint, &main()).await.unwrap();
    for round in 0..3 {
        repository.write("app.yaml", &format!("round {round}"));
        repository.commit("more");
        let checkout = fixture.read(&endpoint, &main()).await.unwrap();
        assert_eq!(text(&checkout, "app.yaml"), format!("round {round}"));
        assert_eq!(text(&checkout, "deep/er/x.yaml"), "two");
    }
    // A rewritten history shares nothing with the cached one.
    repository.git(&["checkout", "-q", "--orphan", "fresh"]);
    repository.git(&["branch", "-q", "-D", "main"]);
    repository.git(&["branch", "-q", "-m", "main"]);
    repository.write("app.yaml", "rewritten");
    repository.commit("rewritten");
    assert_eq!(text(&fixture.read(&endpoint, &main()).await.unwrap(), "app.yaml"), "rewritten");
    assert_eq!(fixture.mirrors().len(), 1);
    let requests = server.seen.lock().unwrap().len();
    fixture.git.find("team-a", &endpoint, &main(), TIMEOUT).await.unwrap();
    assert_eq!(server.seen.lock().unwrap().len(), requests + 1, "a poll is one request");
}

#[tokio::test]
async fn a_damaged_mirror_is_thrown_away_and_rebuilt() {
    let server = GitServer::start(Rules::default());
    let (repository, _) = sample(&server);
    let fixture = Fixture::new();
    let endpoint = anonymous(&repository.url);
    fixture.read(&endpoint, &main()).await.unwrap();
    let packs = fixture.mirrors()[0].join("objects/pack");
    for entry in std::fs::read_dir(packs).unwrap() {
        let path = entry.unwrap().path();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(path, "garbage").unwrap();
    }
    assert_eq!(text(&fixture.read(&endpoint, &main()).await.unwrap(), "app.yaml"), "one");
    std::fs::remove_dir_all(fixture.mirrors()[0].join("objects")).unwrap();
    assert_eq!(text(&fixture.read(&endpoint, &main()).await.unwrap(), "app.yaml"), "one");
}

#[tokio::test]
async fn missing_and_empty_keys_are_named() {
    let server = GitServer::start(Rules::default());
    let (repository, _) = sample(&server);
    let empty = server.repository("empty.git");
    let fixture = Fixture::new();
    for (url, reference, reason, needle) in [
        (&repository.url, Reference::Branch("nope".into()), Reason::GitOperationFailed, "refs/heads/nope"),
        (&repository.url, Reference::Tag("v9".into()), Reason::GitOperationFailed, "refs/tags/v9"),
        (&empty.url, main(), Reason::EmptyGitRepository, "is empty"),
        (&format!("{}/gone.git", server.url), main(), Reason::GitOperationFailed, "repository not found"),
        (
            &repository.url,
            Reference::from_fields(None, None, None, None, Some(&"1".repeat(40))).unwrap(),
            Reason::GitOperationFailed,
            "object not found",
        ),
    ] {
        let error = fixture.read(&anonymous(url), &reference).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
        assert!(error.to_string().contains(needle), "{error}");
    }
}

#[tokio::test]
async fn passwords_and_tokens_are_sent_and_never_shown() {
    let fixture = Fixture::new();
    for (header, credential) in [
        (BASIC, Credential::Basic { username: "me".into(), password: "s3cret".into() }),
        ("Bearer s3cret", Credential::Bearer { token: "s3cret".into() }),
    ] {
        let server = GitServer::start(Rules { authorization: Some(header), ..Rules::default() });
        let (repository, _) = sample(&server);
        let good = Endpoint::new(&repository.url, credential, Trust::default()).unwrap();
        assert_eq!(text(&fixture.read(&good, &main()).await.unwrap(), "app.yaml"), "one");
        let wrong = Credential::Basic { username: "me".into(), password: "wr0ng-word".into() };
        let wrong = Endpoint::new(&repository.url, wrong, Trust::default()).unwrap();
        for endpoint in [wrong, anonymous(&repository.url)] {
            let error = fixture.read(&endpoint, &main()).await.unwrap_err();
            assert!(matches!(error, GitError::Unauthenticated { .. }), "{error:?}");
            assert!(error.to_string().contains("authentication required"), "{error}");
            assert!(!format!("{error:?} {error}").contains("wr0ng-word"));
        }
        assert!(fixture.mirrors().iter().all(|path| !path.to_string_lossy().contains("s3cret")));
    }
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_host() {
    let target = GitServer::start(Rules::default());
    let (repository, _) = sample(&target);
    let entry_server = GitServer::start(Rules { redirect: Some(target.url.clone()), ..Rules::default() });
    let path = repository.url.strip_prefix(&target.url).unwrap();
    let credential = Credential::Basic { username: "me".into(), password: "s3cret".into() };
    let endpoint =
        Endpoint::new(&format!("{}{path}", entry_server.url), credential, Trust::default()).unwrap();
    assert_eq!(text(&Fixture::new().read(&endpoint, &main()).await.unwrap(), "app.yaml"), "one");
    assert!(
        entry_server
            .seen
            .lock()
            .unwrap()
            .iter()
            .all(|(_, authorization)| authorization.as_deref() == Some(BASIC))
    );
    assert!(target.seen.lock().unwrap().iter().all(|(_, authorization)| authorization.is_none()));
    let token = Credential::Bearer { token: "s3cret".into() };
    let endpoint = Endpoint::new(&format!("{}{path}", entry_server.url), token, Trust::default()).unwrap();
    assert_eq!(text(&Fixture::new().read(&endpoint, &main()).await.unwrap(), "app.yaml"), "one");
    assert!(target.seen.lock().unwrap().iter().all(|(_, authorization)| authorization.is_none()));
}

#[tokio::test]
async fn only_a_certificate_of_the_bundle_is_trusted() {
    let fixture = Fixture::new();
    for calls_itself_ca in [false, true] {
        let (pem, tls) = self_signed(calls_itself_ca, "localhost");
        let server = GitServer::start(Rules { tls: Some(tls), ..Rules::default() });
        let (repository, _) = sample(&server);
        let with = |ca: &[u8]| {
            Endpoint::new(&repository.url, Credential::None, Trust::parse(Some(ca), None).unwrap()).unwrap()
        };
        assert_eq!(text(&fixture.read(&with(&pem), &main()).await.unwrap(), "app.yaml"), "one");
        let (other, _) = self_signed(calls_itself_ca, "localhost");
        let error = fixture.read(&with(&other), &main()).await.unwrap_err();
        let expect = format!(
            "unable to list remote for '{}': certificate signed by unknown authority",
            repository.url
        );
        assert_eq!(error.to_string(), expect);
        Trust::parse(Some(b"nonsense"), None).unwrap_err();
    }
    let (pem, tls) = self_signed(true, "elsewhere.example");
    let server = GitServer::start(Rules { tls: Some(tls), ..Rules::default() });
    let (repository, _) = sample(&server);
    let endpoint =
        Endpoint::new(&repository.url, Credential::None, Trust::parse(Some(&pem), None).unwrap()).unwrap();
    fixture.read(&endpoint, &main()).await.expect_err("the name does not match");
}

#[tokio::test]
async fn a_client_certificate_is_presented_to_its_server_only() {
    let client = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
    let (pem, tls) = server::mutual(&client.cert);
    let server = GitServer::start(Rules { tls: Some(tls), ..Rules::default() });
    let (repository, _) = sample(&server);
    let key = client.signing_key.serialize_pem().as_str().into();
    let chain = client.cert.pem();
    let presented = Trust::parse(Some(&pem), Some((chain.as_bytes(), &key))).unwrap();
    let fixture = Fixture::new();
    let endpoint = Endpoint::new(&repository.url, Credential::None, presented).unwrap();
    assert_eq!(text(&fixture.read(&endpoint, &main()).await.unwrap(), "app.yaml"), "one");
    let stranger = Trust::parse(Some(&pem), None).unwrap();
    let stranger = Endpoint::new(&repository.url, Credential::None, stranger).unwrap();
    fixture.read(&stranger, &main()).await.expect_err("the server asks for a certificate");
    // A submodule elsewhere has another origin: neither the certificate nor the bundle is used for it.
    let elsewhere = endpoint.submodule("https://localhost:1/x").unwrap();
    let crate::credential::Access::Http(http) = elsewhere.access() else { panic!("not over HTTP") };
    assert_eq!(format!("{:?}", http.trust), "Trust(system)");
}

#[tokio::test]
async fn ignored_files_links_and_submodules_stay_out() {
    let server = GitServer::start(Rules::default());
    let repository = server.repository("sample.git");
    repository.write("app.yaml", "one");
    repository.write("picture.png", "x");
    repository.write("docs/readme.md", "x");
    repository.write("docs/.sourceignore", "*.md\n");
    repository.write("run.sh", "x");
    std::os::unix::fs::symlink("/etc/passwd", repository.work().join("link")).unwrap();
    repository.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{},module", "1".repeat(40))]);
    repository.git(&["add", "--chmod=+x", "run.sh"]);
    repository.git(&["add", "app.yaml", "picture.png", "docs", "link"]);
    repository.git(&["commit", "-q", "-m", "all"]);
    repository.git(&["push", "-q", "origin", "HEAD"]);
    let fixture = Fixture::new();
    let endpoint = anonymous(&repository.url);
    let session = fixture.git.find("team-a", &endpoint, &main(), TIMEOUT).await.unwrap();
    let checkout = fixture.git.checkout(session, &ignoring("/app.yaml\n"), TIMEOUT).await.unwrap();
    let names: Vec<&str> = checkout.tree.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(names, ["docs", "docs/.sourceignore", "picture.png", "run.sh"]);
    assert!(checkout.tree.file(&RelPath::parse("run.sh").unwrap()).unwrap().executable);
}

#[tokio::test]
async fn names_that_are_no_safe_paths_reject_the_commit() {
    let server = GitServer::start(Rules::default());
    let (repository, _) = sample(&server);
    let blob = repository.git(&["rev-parse", "HEAD:app.yaml"]);
    let tree = repository.git(&["rev-parse", "HEAD:deep"]);
    let fixture = Fixture::new();
    for (number, name) in ["..", ".", ".git", ".GIT", ".g\u{200c}it"].into_iter().enumerate() {
        for (kind, mode, id) in [("blob", "100644", &blob), ("tree", "040000", &tree)] {
            let entry = format!("{mode} {kind} {id}\t{name}\n");
            let hostile = repository.git_with(&["mktree"], &entry);
            let commit = repository.git(&["commit-tree", "-m", "hostile", &hostile]);
            let branch = format!("hostile-{number}-{kind}");
            repository.git(&["push", "-q", "origin", &format!("{commit}:refs/heads/{branch}")]);
            let read = fixture.read(&anonymous(&repository.url), &Reference::Branch(branch)).await;
            let error = read.err().unwrap();
            assert!(
                matches!(error, GitError::FileName { .. } | GitError::Path { .. }),
                "{name:?}: {error:?}"
            );
            assert_eq!(fixture.mirrors().len(), 1);
        }
    }
}

#[tokio::test]
async fn attributes_change_no_content() {
    let server = GitServer::start(Rules::default());
    let (repository, _) = sample(&server);
    repository.write(".gitattributes", "*.yaml export-subst filter=x text eol=crlf\n*.txt export-ignore\n");
    repository.write("app.yaml", "$Format:%H$\n");
    repository.write("kept.txt", "x");
    repository.commit("attributes");
    let fixture = Fixture::new();
    let checkout = fixture.read(&anonymous(&repository.url), &main()).await.unwrap();
    assert_eq!(text(&checkout, "app.yaml"), "$Format:%H$\n");
    assert_eq!(text(&checkout, "kept.txt"), "x");
}

#[tokio::test]
async fn limits_of_pack_and_tree_are_enforced() {
    let server = GitServer::start(Rules::default());
    let (repository, _) = sample(&server);
    let endpoint = anonymous(&repository.url);
    for (limits, needle) in [
        (
            Limits { pack_bytes_max: 20, ..Limits::default() },
            "the pack is larger than 20 bytes, which is the limit for a pack",
        ),
        (
            Limits { tree: TreeLimits { file_bytes_max: 2, ..TreeLimits::DEFAULT }, ..Limits::default() },
            "the limit is 2",
        ),
        (
            Limits { tree: TreeLimits { depth_max: 1, ..TreeLimits::DEFAULT }, ..Limits::default() },
            "levels deep",
        ),
    ] {
        let root = tempfile::tempdir().unwrap();
        let git = open(root.path(), limits);
        let session = git.find("team-a", &endpoint, &main(), TIMEOUT).await.unwrap();
        let error = git.checkout(session, &Selection::default(), TIMEOUT).await.unwrap_err();
        assert!(plumb_status::chain(&error).contains(needle), "{}", plumb_status::chain(&error));
    }
}
