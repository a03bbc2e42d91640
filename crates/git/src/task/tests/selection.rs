//! Which files of a commit are read: `sparseCheckout` with a partial clone, and submodules.

use super::*;

fn sparse(directories: &[&str]) -> Selection {
    let sparse_checkout = directories.iter().map(|text| (*text).to_owned()).collect();
    Selection { sparse_checkout, ..Selection::default() }
}

fn recursive() -> Selection {
    Selection { recurse_submodules: true, ..Selection::default() }
}

async fn read(git: &Git, endpoint: &Endpoint, selection: &Selection) -> Result<Checkout, GitError> {
    let session = git.find("team-a", endpoint, &main(), TIMEOUT).await?;
    both(git, session, selection).await
}

fn names(checkout: &Checkout) -> Vec<&str> {
    checkout.tree.iter().map(|(path, _)| path.as_str()).collect()
}

/// Bytes of all packs of the mirrors.
fn fetched(fixture: &Fixture) -> u64 {
    let packs = fixture
        .mirrors()
        .into_iter()
        .flat_map(|mirror| std::fs::read_dir(mirror.join("objects/pack")).unwrap());
    packs.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// Text that does not compress.
fn noise(seed: u64) -> String {
    let mut state = seed;
    let numbers = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{state:016x}")
    });
    numbers.take(20_000).collect()
}

fn with_directories(server: &GitServer) -> Repository {
    let repository = server.repository("sample.git");
    repository.write("README.md", "x");
    repository.write("apps/api/a.yaml", "api");
    repository.write("apps/web/w.yaml", "web");
    repository.write("apps/.sourceignore", "big.bin\n");
    repository.write("apps/api/big.bin", &noise(1));
    repository.write("apps2/b.yaml", "two");
    repository.write("other/large.txt", &noise(2));
    repository.commit("First");
    repository
}

#[tokio::test]
async fn only_the_selected_directories_are_read_and_only_their_files_are_fetched() {
    for can_filter in [true, false] {
        let server = GitServer::start(Rules::default());
        let repository = with_directories(&server);
        git(&server.root.join("sample.git"), &["config", "uploadpack.allowFilter", &can_filter.to_string()]);
        let (fixture, endpoint) = (Fixture::new(), anonymous(&repository.url));
        let checkout = read(&fixture.git, &endpoint, &sparse(&["./apps/"])).await.unwrap();
        let expect =
            ["apps", "apps/.sourceignore", "apps/api", "apps/api/a.yaml", "apps/web", "apps/web/w.yaml"];
        assert_eq!(names(&checkout), expect);
        assert_eq!(text(&checkout, "apps/api/a.yaml"), "api");
        // The large files are not selected, or ignored.
        assert_eq!(fetched(&fixture) < 20_000, can_filter, "{}", fetched(&fixture));

        // What is known is not fetched again, and what is selected later is fetched then.
        repository.write("apps/api/a.yaml", "newer");
        repository.commit("Second");
        let checkout = read(&fixture.git, &endpoint, &sparse(&["apps/api", "apps2"])).await.unwrap();
        assert_eq!(
            names(&checkout),
            ["apps", "apps/api", "apps/api/a.yaml", "apps/api/big.bin", "apps2", "apps2/b.yaml"]
        );
        assert_eq!(text(&checkout, "apps/api/a.yaml"), "newer");
        let requests = server.seen.lock().unwrap().len();
        read(&fixture.git, &endpoint, &sparse(&["apps/api", "apps2"])).await.unwrap();
        assert_eq!(server.seen.lock().unwrap().len(), requests + 1, "a poll and nothing else");
        // A checkout of everything is not served from what lacks files.
        let all = read(&fixture.git, &endpoint, &Selection::default()).await.unwrap();
        assert_eq!(text(&all, "other/large.txt").len(), 320_000);
        assert_eq!(fixture.mirrors().len(), 2);
    }
}

#[tokio::test]
async fn a_directory_that_does_not_exist_is_named() {
    let server = GitServer::start(Rules::default());
    let repository = with_directories(&server);
    let (fixture, endpoint) = (Fixture::new(), anonymous(&repository.url));
    for directory in ["nope", "/apps", "../apps", "apps/api/a.yaml/x", "apps//api"] {
        let error = read(&fixture.git, &endpoint, &sparse(&["apps2", directory])).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("sparse checkout dir '{directory}' does not exist in repository")
        );
        assert_eq!(error.reason(), Reason::GitOperationFailed);
    }
    let file = read(&fixture.git, &endpoint, &sparse(&["apps/api/a.yaml"])).await.unwrap();
    assert_eq!(names(&file), ["apps", "apps/api", "apps/api/a.yaml"]);
}

#[tokio::test]
async fn a_damaged_partial_mirror_is_rebuilt() {
    let server = GitServer::start(Rules::default());
    let repository = with_directories(&server);
    let (fixture, endpoint) = (Fixture::new(), anonymous(&repository.url));
    read(&fixture.git, &endpoint, &sparse(&["apps"])).await.unwrap();
    for entry in std::fs::read_dir(fixture.mirrors()[0].join("objects/pack")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(path, "garbage").unwrap();
    }
    let checkout = read(&fixture.git, &endpoint, &sparse(&["apps"])).await.unwrap();
    assert_eq!(text(&checkout, "apps/api/a.yaml"), "api");
}

/// Puts a submodule at a path, and declares it.
fn link(repository: &Repository, links: &[(&str, &str, &str)]) {
    let declared: String = links
        .iter()
        .flat_map(|(path, url, _)| ["[submodule \"", path, "\"]\n\tpath = ", path, "\n\turl = ", url, "\n"])
        .collect();
    for (path, _, commit) in links {
        repository.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]);
    }
    repository.write(".gitmodules", &declared);
    repository.git(&["add", ".gitmodules"]);
    repository.git(&["commit", "-q", "-m", "Link"]);
    repository.git(&["push", "-q", "--force", "origin", "HEAD"]);
}

fn library(server: &GitServer, name: &str, content: &str) -> (Repository, String) {
    let library = server.repository(name);
    library.write("lib.yaml", content);
    let commit = library.commit("Library");
    (library, commit)
}

#[tokio::test]
async fn a_submodule_comes_changes_its_commit_and_address_and_goes() {
    let server = GitServer::start(Rules::default());
    let (repository, _) = sample(&server);
    let (library_a, first) = library(&server, "a.git", "one");
    let (_, other) = library(&server, "b.git", "other");
    let (fixture, endpoint) = (Fixture::new(), anonymous(&repository.url));
    let plain = ["app.yaml", "deep", "deep/er", "deep/er/x.yaml"];
    assert_eq!(names(&read(&fixture.git, &endpoint, &recursive()).await.unwrap()), plain);

    link(&repository, &[("deep/lib", "../a.git", &first)]);
    let checkout = read(&fixture.git, &endpoint, &recursive()).await.unwrap();
    assert_eq!(text(&checkout, "deep/lib/lib.yaml"), "one");
    let without = read(&fixture.git, &endpoint, &Selection::default()).await.unwrap();
    assert_eq!(names(&without), plain, "only where it is asked for");

    library_a.write("lib.yaml", "two");
    let second = library_a.commit("Newer");
    link(&repository, &[("deep/lib", "../a.git", &second)]);
    let checkout = read(&fixture.git, &endpoint, &recursive()).await.unwrap();
    assert_eq!(text(&checkout, "deep/lib/lib.yaml"), "two");

    link(&repository, &[("deep/lib", &format!("{}/b.git", server.url), &other)]);
    let checkout = read(&fixture.git, &endpoint, &recursive()).await.unwrap();
    assert_eq!(text(&checkout, "deep/lib/lib.yaml"), "other");

    repository.git(&["rm", "-q", "-f", "--cached", "deep/lib"]);
    link(&repository, &[]);
    assert_eq!(names(&read(&fixture.git, &endpoint, &recursive()).await.unwrap()), plain);
}

#[tokio::test]
async fn submodules_of_submodules_are_read_up_to_the_limits() {
    let server = GitServer::start(Rules::default());
    let (_, inner) = library(&server, "inner.git", "inner");
    let (middle, _) = library(&server, "middle.git", "middle");
    link(&middle, &[("a", "../inner.git", &inner), ("b", "../inner.git", &inner)]);
    let middle_head = middle.git(&["rev-parse", "HEAD"]);
    let (repository, _) = sample(&server);
    link(&repository, &[("m", "../middle.git", &middle_head)]);
    let endpoint = anonymous(&repository.url);
    let root = tempfile::tempdir().unwrap();
    let with = |submodules_max, submodule_depth_max| {
        open(root.path(), Limits { submodules_max, submodule_depth_max, ..Limits::default() })
    };
    for selection in [recursive(), Selection { sparse_checkout: vec!["m".into()], ..recursive() }] {
        let checkout = read(&with(3, 2), &endpoint, &selection).await.unwrap();
        assert_eq!(text(&checkout, "m/a/lib.yaml"), "inner");
        assert_eq!(text(&checkout, "m/b/lib.yaml"), "inner");
        assert_eq!(text(&checkout, "m/lib.yaml"), "middle");
    }
    for (submodules_max, depth_max, path, expect) in [
        (
            2,
            2,
            "m/b",
            "the repository has more than 2 submodules, which is the limit of --git-submodules-max",
        ),
        (3, 1, "m/a", "it is nested deeper than 1 levels, which is the limit of --git-submodules-max-depth"),
    ] {
        let error = read(&with(submodules_max, depth_max), &endpoint, &recursive()).await.unwrap_err();
        assert_eq!(plumb_status::chain(&error), format!("failed to read submodule '{path}': {expect}"));
    }
}

#[tokio::test]
async fn ignore_rules_hold_across_submodules() {
    let server = GitServer::start(Rules::default());
    let lib = server.repository("lib.git");
    lib.write(".sourceignore", "*.txt\n");
    lib.write("a.txt", "x");
    lib.write("a.yaml", "x");
    lib.write("docs/b.yaml", "x");
    let commit = lib.commit("Library");
    let repository = server.repository("sample.git");
    repository.write("a.txt", "x");
    repository.write(".sourceignore", "docs/\n");
    repository.commit("First");
    link(&repository, &[("lib", "../lib.git", &commit)]);
    let (fixture, endpoint) = (Fixture::new(), anonymous(&repository.url));
    let checkout = read(&fixture.git, &endpoint, &recursive()).await.unwrap();
    assert_eq!(names(&checkout), [".sourceignore", "a.txt", "lib", "lib/.sourceignore", "lib/a.yaml"]);
}

#[tokio::test]
async fn credentials_go_to_submodules_on_the_same_server_only() {
    let rules = Rules { authorization: Some(BASIC), ..Rules::default() };
    let server = GitServer::start(rules.clone());
    let elsewhere = GitServer::start(Rules::default());
    let closed = GitServer::start(rules);
    let (_, own) = library(&server, "own.git", "own");
    let (_, foreign) = library(&elsewhere, "foreign.git", "foreign");
    let (_, hidden) = library(&closed, "hidden.git", "hidden");
    let (repository, _) = sample(&server);
    let credential = Credential::Basic { username: "me".into(), password: "s3cret".into() };
    let endpoint = Endpoint::new(&repository.url, credential, Trust::default()).unwrap();
    let fixture = Fixture::new();
    let foreign_url = format!("{}/foreign.git", elsewhere.url);
    link(&repository, &[("own", "../own.git", &own), ("foreign", &foreign_url, &foreign)]);
    let checkout = read(&fixture.git, &endpoint, &recursive()).await.unwrap();
    assert_eq!(
        (text(&checkout, "own/lib.yaml"), text(&checkout, "foreign/lib.yaml")),
        ("own".into(), "foreign".into())
    );
    let no_credential =
        |server: &GitServer| server.seen.lock().unwrap().iter().all(|(_, sent)| sent.is_none());
    assert!(!elsewhere.seen.lock().unwrap().is_empty() && no_credential(&elsewhere));

    // Nor where that server asks for some.
    let hidden_url = format!("{}/hidden.git", closed.url);
    link(&repository, &[("hidden", &hidden_url, &hidden)]);
    let error = read(&fixture.git, &endpoint, &recursive()).await.unwrap_err();
    let expect = format!(
        "failed to read submodule 'hidden': unable to list remote for '{hidden_url}': authentication required: no credentials were sent"
    );
    assert_eq!(plumb_status::chain(&error), expect);
    assert!(no_credential(&closed));
    assert!(error.hint().unwrap().contains("server of spec.url only"), "{:?}", error.hint());
}

#[tokio::test]
async fn a_submodule_that_cannot_be_read_is_named() {
    let server = GitServer::start(Rules::default());
    let (repository, _) = sample(&server);
    let (_, commit) = library(&server, "lib.git", "lib");
    let (fixture, endpoint) = (Fixture::new(), anonymous(&repository.url));
    let gone = format!("{}/gone.git", server.url);
    for (url, commit, expect) in [
        (gone.as_str(), &commit, format!("unable to list remote for '{gone}': repository not found")),
        ("../lib.git", &"1".repeat(40), format!("object not found: commit {} in '{}/lib.git'", "1".repeat(40), server.url)),
        ("git@host:x", &commit, "it is at 'ssh://…@host/x', and there is no key for this host: credentials are used for the host of spec.url only".into()),
        ("file:///etc", &commit, "repository URL 'file:///etc' is not valid: scheme \"file\" is not supported, use http, https or ssh".into()),
        ("-oProxyCommand=x", &commit, "repository URL '-oProxyCommand=x' is not valid: relative URL without a base".into()),
        ("ext::sh -c x", &commit, "repository URL 'ext::sh -c x' is not valid: scheme \"ext\" is not supported, use http, https or ssh".into()),
        ("../../../x", &commit, format!("its URL '../../../x' leads out of '{}/sample.git'", server.url)),
        ("http://169.254.169.254/x", &commit, "unable to connect to 'http://169.254.169.254/x'".into()),
    ] {
        link(&repository, &[("lib", url, commit)]);
        let error = read(&fixture.git, &endpoint, &recursive()).await.unwrap_err();
        let text = plumb_status::chain(&error);
        assert!(text.starts_with(&format!("failed to read submodule 'lib': {expect}")), "{text}");
    }
    // Declared, but not there, or there and not declared: as Flux, nothing is read.
    repository.git(&["rm", "-q", "-f", "--cached", "lib"]);
    repository.write(".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = ../lib.git\n");
    repository.git(&["add", ".gitmodules"]);
    repository.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},undeclared")]);
    repository.git(&["commit", "-q", "-m", "x"]);
    repository.git(&["push", "-q", "origin", "HEAD"]);
    let checkout = read(&fixture.git, &endpoint, &recursive()).await.unwrap();
    assert_eq!(names(&checkout), ["app.yaml", "deep", "deep/er", "deep/er/x.yaml"]);
}
