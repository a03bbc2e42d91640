//! Limits of memory, and what a reference may lead to.

use plumb_status::Consequence;

use super::*;

fn on_branch(branch: &str, commit: &str) -> Reference {
    Reference::from_fields(Some(branch), None, None, None, Some(commit)).unwrap()
}

#[tokio::test]
async fn a_commit_has_to_be_on_the_branch_that_is_named_with_it() {
    for can_filter in ["true", "false"] {
        let server = GitServer::start(Rules::default());
        let (repository, first) = sample(&server);
        git(&server.root.join("sample.git"), &["config", "uploadpack.allowFilter", can_filter]);
        repository.write("app.yaml", "newer");
        let second = repository.commit("Second");
        repository.git(&["checkout", "-q", "-b", "side", &first]);
        repository.write("app.yaml", "aside");
        let aside = repository.commit("Aside");
        let fixture = Fixture::new();
        let endpoint = anonymous(&repository.url);
        for (branch, commit, is_on_it) in [
            ("main", &first, true),
            ("main", &second, true),
            ("side", &first, true),
            ("side", &aside, true),
            ("main", &aside, false),
            ("side", &second, false),
        ] {
            let result = fixture.read(&endpoint, &on_branch(branch, commit)).await;
            match result {
                Ok(checkout) => {
                    assert!(is_on_it, "{commit} is not on {branch}");
                    assert_eq!(checkout.found.revision(), format!("{branch}@sha1:{commit}"));
                }
                Err(error) => {
                    assert!(!is_on_it && matches!(error, GitError::NotOnBranch { .. }), "{error:?}");
                    let expected =
                        format!("commit {commit} is not on branch {branch:?} of '{}'", repository.url);
                    assert_eq!(error.to_string(), expected);
                }
            }
        }
        assert_eq!(fixture.mirrors().len(), 1, "nothing stays of the histories");
    }
}

#[tokio::test]
async fn a_tag_on_a_file_or_directory_is_named_and_affects_no_other() {
    let server = GitServer::start(Rules::default());
    let (repository, first) = sample(&server);
    repository.git(&["tag", "v1.0.0"]);
    repository.git(&["tag", "v9.0.0", "HEAD:app.yaml"]);
    repository.git(&["tag", "-a", "-m", "annotated", "v9.1.0", "HEAD:deep"]);
    repository.git(&["push", "-q", "origin", "--tags"]);
    let fixture = Fixture::new();
    let endpoint = anonymous(&repository.url);
    let version = |range| Reference::from_fields(None, None, Some(range), None, None).unwrap();
    for (reference, name, kind) in [
        (Reference::Tag("v9.0.0".into()), "v9.0.0", "blob"),
        (Reference::Tag("v9.1.0".into()), "v9.1.0", "tree"),
        (version(">=9"), "v9.1.0", "tree"),
    ] {
        let error = fixture.read(&endpoint, &reference).await.unwrap_err();
        let expected =
            format!("reference {name:?} of '{}' leads to a {kind}, not to a commit", repository.url);
        assert_eq!(error.to_string(), expected);
    }
    let checkout = fixture.read(&endpoint, &version("1.x")).await.unwrap();
    assert_eq!(checkout.found.revision(), format!("v1.0.0@sha1:{first}"));
}

#[test]
fn an_abbreviated_commit_stalls() {
    let error = Reference::from_fields(None, None, None, None, Some("0123abc")).unwrap_err();
    assert_eq!(error.consequence(), Consequence::Stall);
}

/// A repository whose tree has `width` names for the same tree on each of `levels` levels: a few kilobytes that unfold to many
/// entries.
fn shared_subtrees(repository: &Repository, width: usize, levels: usize) {
    let blob = repository.git(&["hash-object", "-w", "--stdin"]);
    let mut tree = mktree(repository, &format!("100644 blob {blob}\tfile"));
    for _ in 0..levels {
        let entries: Vec<String> =
            (0..width).map(|index| format!("040000 tree {tree}\t{index:0200}")).collect();
        tree = mktree(repository, &entries.join("\n"));
    }
    let commit = repository.git(&["commit-tree", "-m", "shared", &tree]);
    repository.git(&["push", "-q", "origin", &format!("{commit}:refs/heads/main")]);
}

fn mktree(repository: &Repository, entries: &str) -> String {
    repository.git_with(&["mktree"], entries)
}

#[tokio::test]
async fn entries_of_a_tree_are_charged_before_they_are_held() {
    let server = GitServer::start(Rules::default());
    let repository = server.repository("sample.git");
    shared_subtrees(&repository, 10, 5);
    let memory = MemoryPool::new(256 << 20);
    let root = tempfile::tempdir().unwrap();
    let limits = Limits::default();
    let git = Git::open(root.path(), limits, Resources { memory: memory.clone(), ..resources() }).unwrap();
    let session = git.find("team-a", &anonymous(&repository.url), &main(), TIMEOUT).await.unwrap();
    let error = git.checkout(session, &Selection::default(), TIMEOUT).await.unwrap_err();
    let text = plumb_status::chain(&error);
    assert!(text.contains("files and paths of a commit: namespace \"team-a\""), "{text}");
    assert_eq!(error.consequence(), Consequence::Retry);
    assert_eq!(memory.usage().reserved, 0, "what was charged returns");
}

#[tokio::test]
async fn an_object_over_the_limit_of_one_is_rejected_by_its_size() {
    let server = GitServer::start(Rules::default());
    let repository = server.repository("sample.git");
    repository.write("zeros", &"0".repeat(17 << 20));
    repository.commit("large");
    let root = tempfile::tempdir().unwrap();
    let open = |bytes: u64| {
        let resources = Resources { memory: MemoryPool::new(bytes), ..resources() };
        Git::open(root.path(), Limits::default(), resources).unwrap()
    };
    let small = open(128 << 20);
    let session = small.find("team-a", &anonymous(&repository.url), &main(), TIMEOUT).await.unwrap();
    let error = small.checkout(session, &Selection::default(), TIMEOUT).await.unwrap_err();
    assert!(matches!(error, GitError::ObjectTooLarge { max: 16_777_216, .. }), "{error:?}");
    let large = open(600 << 20);
    let session = large.find("team-a", &anonymous(&repository.url), &main(), TIMEOUT).await.unwrap();
    let checkout = large.checkout(session, &Selection::default(), TIMEOUT).await.unwrap();
    assert_eq!(checkout.tree.bytes(), 17 << 20);
    assert!(checkout.memory.bytes() >= 17 << 20, "the files stay charged while they are held");
}

#[tokio::test]
async fn a_large_object_of_an_older_pack_is_read_without_a_new_mirror() {
    let server = GitServer::start(Rules::default());
    let repository = server.repository("sample.git");
    repository.write("zeros", &"0".repeat(17 << 20));
    repository.commit("large");
    let fixture = Fixture::new();
    let endpoint = anonymous(&repository.url);
    assert_eq!(fixture.read(&endpoint, &main()).await.unwrap().tree.bytes(), 17 << 20);
    let packs = || std::fs::read_dir(fixture.mirrors()[0].join("objects/pack")).unwrap().count();
    let before = packs();
    assert_eq!(fixture.read(&endpoint, &main()).await.unwrap().tree.bytes(), 17 << 20, "the same commit");
    assert_eq!(packs(), before, "nothing is fetched again");
    repository.write("app.yaml", "one");
    repository.commit("small");
    assert_eq!(fixture.read(&endpoint, &main()).await.unwrap().tree.bytes(), (17 << 20) + 3);
    assert!(packs() > before, "the mirror stays");
}

#[tokio::test]
async fn a_large_object_in_the_history_of_a_branch_keeps_no_commit_from_being_found() {
    let server = GitServer::start(Rules::default());
    let repository = server.repository("sample.git");
    git(&server.root.join("sample.git"), &["config", "uploadpack.allowFilter", "false"]);
    repository.write("app.yaml", "one");
    let first = repository.commit("small");
    repository.write("zeros", &"0".repeat(17 << 20));
    repository.commit("large");
    let checkout =
        Fixture::new().read(&anonymous(&repository.url), &on_branch("main", &first)).await.unwrap();
    assert_eq!(checkout.found.revision(), format!("main@sha1:{first}"));
}

#[tokio::test]
async fn a_missing_branch_is_named_where_the_server_has_more_references_than_may_be_listed() {
    let server = GitServer::start(Rules::default());
    let (repository, commit) = sample(&server);
    let name = "x".repeat(200);
    let lines: Vec<_> = (0..80_000).map(|index| format!("{commit} refs/pull/{index:06}/{name}\n")).collect();
    let packed = lines.concat();
    let header = "# pack-refs with: peeled fully-peeled sorted \n";
    std::fs::write(server.root.join("sample.git/packed-refs"), format!("{header}{packed}")).unwrap();
    let endpoint = anonymous(&repository.url);
    let missing = Reference::Branch("missing".into());
    let error = Fixture::new().read(&endpoint, &missing).await.unwrap_err();
    assert!(matches!(error, GitError::ReferenceNotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn waiting_for_a_slot_uses_up_no_timeout() {
    let fixture = Fixture::new();
    let acquired = (0..LISTS_MAX / 2).map(|_| fixture.git.inner.lists.acquire("team-a"));
    let held = futures_util::future::join_all(acquired).await;
    let (endpoint, reference) = (anonymous("http://127.0.0.1:1/x"), main());
    let found = fixture.git.find("team-a", &endpoint, &reference, Duration::ZERO);
    let release = async {
        // The clock advances past the timeout.
        tokio::time::sleep(Duration::from_millis(5)).await;
        drop(held);
    };
    let (found, ()) = tokio::join!(found, release);
    // It had its turn, and ended by its own timeout.
    let error = found.err().unwrap();
    assert!(matches!(error, GitError::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_unavailable_costs_no_mirror() {
    let rules = Rules::default();
    let is_unavailable = std::sync::Arc::clone(&rules.is_unavailable);
    let server = GitServer::start(rules);
    let (repository, _) = sample(&server);
    let fixture = Fixture::new();
    let endpoint = anonymous(&repository.url);
    fixture.read(&endpoint, &main()).await.unwrap();
    repository.write("app.yaml", "newer");
    repository.commit("Second");
    is_unavailable.store(true, std::sync::atomic::Ordering::Relaxed);
    let error = fixture.read(&endpoint, &main()).await.unwrap_err();
    let expected = format!("unable to fetch from '{}': the server responded with status 503", repository.url);
    assert_eq!(error.to_string(), expected);
    let packs = std::fs::read_dir(fixture.mirrors()[0].join("objects/pack")).unwrap().count();
    assert!(packs > 0, "the mirror stays");
    is_unavailable.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(text(&fixture.read(&endpoint, &main()).await.unwrap(), "app.yaml"), "newer");
}

#[tokio::test]
async fn a_pack_over_its_limit_costs_no_mirror() {
    let server = GitServer::start(Rules::default());
    let (repository, _) = sample(&server);
    let root = tempfile::tempdir().unwrap();
    let limits = Limits { pack_bytes_max: 1 << 20, ..Limits::default() };
    let fixture = Fixture { git: open(&root.path().join("plumb-git"), limits), root };
    let endpoint = anonymous(&repository.url);
    fixture.read(&endpoint, &main()).await.unwrap();
    // Digests do not compress.
    let digest = |index: u32| plumb_filetree::digest::sha256_hex(&index.to_be_bytes());
    repository.write("large", &(0..50_000).map(digest).collect::<String>());
    repository.commit("large");
    let packs = || std::fs::read_dir(fixture.mirrors()[0].join("objects/pack")).unwrap().count();
    let (before, posts) = (packs(), server.seen.lock().unwrap().len());
    let error = fixture.read(&endpoint, &main()).await.unwrap_err();
    assert!(matches!(error, GitError::PackTooLarge { max, .. } if max == 1 << 20), "{error:?}");
    assert_eq!(packs(), before, "the mirror stays");
    assert_eq!(server.seen.lock().unwrap().len(), posts + 2, "the list, and the pack once");
}
