//! What servers offer is kept from one poll to the next, and never leads to another result.

use super::*;

/// The methods of the requests that a poll makes, and its result.
async fn poll(server: &GitServer, git: &Git, endpoint: &Endpoint) -> (Vec<String>, Result<String, String>) {
    server.seen.lock().unwrap().clear();
    let found = git.find("team-a", endpoint, &main(), TIMEOUT).await;
    let found = found.map(|session| session.found().revision()).map_err(|error| plumb_status::chain(&error));
    let lines = server.seen.lock().unwrap();
    (lines.iter().map(|(line, _)| line.split(' ').next().unwrap().to_owned()).collect(), found)
}

#[tokio::test]
async fn only_the_first_poll_asks_what_the_server_offers() {
    let server = GitServer::start(Rules::default());
    let (repository, commit) = sample(&server);
    let (fixture, endpoint) = (Fixture::new(), anonymous(&repository.url));
    let found = Ok(format!("main@sha1:{commit}"));
    assert_eq!(
        poll(&server, &fixture.git, &endpoint).await,
        (vec!["GET".into(), "POST".into()], found.clone())
    );
    assert_eq!(poll(&server, &fixture.git, &endpoint).await, (vec!["POST".into()], found));
    repository.write("app.yaml", "next");
    let next = repository.commit("next");
    let found = Ok(format!("main@sha1:{next}"));
    assert_eq!(poll(&server, &fixture.git, &endpoint).await, (vec!["POST".into()], found));
}

#[tokio::test]
async fn an_error_is_the_same_as_without_what_was_kept_and_the_server_is_asked_again() {
    let server = GitServer::start(Rules::default());
    let (repository, commit) = sample(&server);
    let (fixture, other, endpoint) = (Fixture::new(), Fixture::new(), anonymous(&repository.url));
    poll(&server, &fixture.git, &endpoint).await.1.unwrap();
    let (folder, away) = (server.root.join("sample.git"), server.root.join("away.git"));
    std::fs::rename(&folder, &away).unwrap();
    let (methods, error) = poll(&server, &fixture.git, &endpoint).await;
    assert_eq!(methods, ["POST", "GET"]);
    assert_eq!(error, poll(&server, &other.git, &endpoint).await.1);
    assert!(error.is_err());
    std::fs::rename(&away, &folder).unwrap();
    let found = Ok(format!("main@sha1:{commit}"));
    assert_eq!(poll(&server, &fixture.git, &endpoint).await, (vec!["GET".into(), "POST".into()], found));
}

#[tokio::test]
async fn a_commit_is_only_found_where_the_server_is_there() {
    let server = GitServer::start(Rules::default());
    let (repository, commit) = sample(&server);
    let (fixture, endpoint) = (Fixture::new(), anonymous(&repository.url));
    poll(&server, &fixture.git, &endpoint).await.1.unwrap();
    std::fs::rename(server.root.join("sample.git"), server.root.join("away.git")).unwrap();
    let reference = Reference::Commit { commit, branch: None };
    assert!(fixture.git.find("team-a", &endpoint, &reference, TIMEOUT).await.is_err());
}
