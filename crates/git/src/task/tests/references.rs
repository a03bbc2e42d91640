//! References that change their kind or their target, and tags of each kind.

use super::*;

fn tag(name: &str) -> Reference {
    Reference::Tag(name.to_owned())
}

#[tokio::test]
async fn a_branch_turns_into_a_directory_of_branches_and_back() {
    let server = GitServer::start(Rules::default());
    let (repository, first) = sample(&server);
    repository.git(&["push", "-q", "origin", "HEAD:refs/heads/release"]);
    let (fixture, endpoint) = (Fixture::new(), anonymous(&repository.url));
    let (plain, nested) = (Reference::Branch("release".into()), Reference::Branch("release/1".into()));
    for round in 0..2 {
        let checkout = fixture.read(&endpoint, &plain).await.unwrap();
        assert!(checkout.found.revision().starts_with("release@sha1:"), "{round}");
        repository.git(&["push", "-q", "origin", ":refs/heads/release"]);
        repository.git(&["push", "-q", "origin", &format!("{first}:refs/heads/release/1")]);
        let checkout = fixture.read(&endpoint, &nested).await.unwrap();
        assert_eq!(checkout.found.revision(), format!("release/1@sha1:{first}"));
        // The server lists `release/1` for it, which only begins like that.
        let error = fixture.read(&endpoint, &plain).await.unwrap_err();
        assert!(matches!(error, GitError::ReferenceNotFound { .. }), "{error:?}");
        repository.git(&["push", "-q", "origin", ":refs/heads/release/1"]);
        repository.git(&["push", "-q", "origin", "HEAD:refs/heads/release"]);
        repository.write("app.yaml", &format!("round {round}"));
        repository.commit("More");
        repository.git(&["push", "-q", "origin", "HEAD:refs/heads/release"]);
        assert_eq!(
            text(&fixture.read(&endpoint, &plain).await.unwrap(), "app.yaml"),
            format!("round {round}")
        );
    }
    assert_eq!(fixture.mirrors().len(), 1);
}

#[tokio::test]
async fn a_branch_that_begins_like_another_is_not_taken_for_it() {
    let server = GitServer::start(Rules::default());
    let (repository, first) = sample(&server);
    repository.git(&["push", "-q", "origin", "HEAD:refs/heads/release2"]);
    let (fixture, endpoint) = (Fixture::new(), anonymous(&repository.url));
    let release = Reference::Branch("release".into());
    let error = fixture.read(&endpoint, &release).await.unwrap_err();
    assert!(matches!(error, GitError::ReferenceNotFound { .. }), "{error:?}");
    repository.git(&["push", "-q", "origin", "HEAD:refs/heads/release"]);
    repository.commit("Second");
    repository.git(&["push", "-q", "origin", "HEAD:refs/heads/release2"]);
    let checkout = fixture.read(&endpoint, &release).await.unwrap();
    assert_eq!(checkout.found.revision(), format!("release@sha1:{first}"));
}

#[tokio::test]
async fn a_tag_that_moved_leads_to_where_it_is_now() {
    let server = GitServer::start(Rules::default());
    let (repository, first) = sample(&server);
    repository.write("app.yaml", "two");
    let second = repository.commit("Second");
    let (fixture, endpoint) = (Fixture::new(), anonymous(&repository.url));
    for options in [&["tag", "-f"][..], &["tag", "-f", "-a", "-m", "x"]] {
        // Forward, back, and forward again: each commit is known by then.
        for (commit, content) in [(&first, "one"), (&second, "two"), (&first, "one"), (&second, "two")] {
            repository.git(&[options, &["v1.0.0", commit.as_str()]].concat());
            repository.git(&["push", "-q", "--force", "origin", "refs/tags/v1.0.0"]);
            let range = Reference::from_fields(None, None, Some("1.x"), None, None).unwrap();
            for reference in [tag("v1.0.0"), range] {
                let checkout = fixture.read(&endpoint, &reference).await.unwrap();
                assert_eq!(checkout.found.revision(), format!("v1.0.0@sha1:{commit}"));
                assert_eq!(text(&checkout, "app.yaml"), content);
            }
        }
    }
}

#[tokio::test]
async fn a_tag_of_a_tag_leads_to_the_commit() {
    let server = GitServer::start(Rules::default());
    let (repository, commit) = sample(&server);
    repository.git(&["tag", "-a", "-m", "inner", "v1.0.0"]);
    repository.git(&["tag", "-a", "-m", "middle", "middle", "v1.0.0"]);
    repository.git(&["tag", "-a", "-m", "outer", "v2.0.0", "middle"]);
    repository.git(&["push", "-q", "origin", "--tags"]);
    let (fixture, endpoint) = (Fixture::new(), anonymous(&repository.url));
    let range = Reference::from_fields(None, None, Some("*"), None, None).unwrap();
    for reference in [tag("v2.0.0"), range] {
        let checkout = fixture.read(&endpoint, &reference).await.unwrap();
        assert_eq!(checkout.found.revision(), format!("v2.0.0@sha1:{commit}"));
    }
    let checkout = fixture.read(&endpoint, &tag("middle")).await.unwrap();
    assert_eq!(checkout.found.revision(), format!("middle@sha1:{commit}"));
}

#[tokio::test]
async fn a_file_is_brought_back_from_a_directory_that_is_left_out() {
    let server = GitServer::start(Rules::default());
    let repository = server.repository("sample.git");
    repository.write(".sourceignore", "/deploy/\n!/deploy/keep.yaml\n");
    repository.write("deploy/keep.yaml", "x");
    repository.write("deploy/drop.yaml", "x");
    repository.commit("First");
    let checkout = Fixture::new().read(&anonymous(&repository.url), &main()).await.unwrap();
    let files: Vec<&str> = checkout.tree.files().map(|(path, _)| path.as_str()).collect();
    // As Flux reads the rules; for git the directory would end it.
    assert_eq!(files, [".sourceignore", "deploy/keep.yaml"]);
}
