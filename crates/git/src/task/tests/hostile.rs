//! Servers that misbehave: each operation ends at its deadline or at a limit, its thread ends with it, and other namespaces continue.

use std::net::SocketAddr;

use crate::{connection::Clients, greeting::Greetings};
use plumb_testkit::hostile::{GIT_RESULT, HostileServer, Hostility, git_server, packet};

use super::*;

const SHORT: Duration = Duration::from_millis(300);
/// Longer than any operation here may take on a loaded machine.
const WAIT_MAX: Duration = Duration::from_secs(10);
const ADVERTISEMENT: &str = "application/x-git-upload-pack-advertisement";

/// Some references, as a server lists them.
fn references(count: usize) -> Vec<u8> {
    (0..count).flat_map(|index| packet(&format!("{index:040x} refs/heads/b{index}\n"))).collect()
}

fn hostilities(content_type: &'static str) -> Vec<(&'static str, Hostility)> {
    let pause = Duration::from_millis(2);
    let body = references(1);
    vec![
        ("silence", Hostility::Silence),
        ("trickle", Hostility::Trickle { content_type, body: body.clone(), pause }),
        ("lying length", Hostility::LyingLength { content_type, claimed: 1 << 40, body: body.clone() }),
        ("truncation", Hostility::Truncation { content_type, body }),
    ]
}

async fn ends_within_its_bounds(what: &str, server: &HostileServer) {
    let fixture = Fixture::new();
    let started = Instant::now();
    let found = fixture.git.find("team-a", &anonymous(&server.url()), &main(), SHORT).await;
    let error = found.err().unwrap();
    assert!(
        matches!(error, GitError::TimedOut { .. } | GitError::Transport { .. } | GitError::Connection { .. }),
        "{what}: {error:?}"
    );
    assert!(started.elapsed() < WAIT_MAX, "{what} took {:?}", started.elapsed());
    assert!(server.wait_until_closed(WAIT_MAX), "{what}: the connection is still open");
    let all_ended = tokio::time::timeout(WAIT_MAX, async {
        while fixture.git.abandoned_threads() > 0 || fixture.git.inner.lists.used() > 0 {
            tokio::task::yield_now().await;
        }
    });
    all_ended.await.unwrap_or_else(|_| panic!("{what}: a thread still runs"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_with_a_hostile_server_ends_at_its_deadline() {
    for (what, hostility) in hostilities(ADVERTISEMENT) {
        ends_within_its_bounds(what, &HostileServer::start(hostility).unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_a_hostile_server_ends_at_its_deadline() {
    for (what, hostility) in hostilities(GIT_RESULT) {
        ends_within_its_bounds(what, &git_server(hostility).unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_ends_by_itself_at_the_deadline() {
    // The connection itself, without the task around it that would raise the interrupt.
    let server = HostileServer::start(Hostility::Silence).unwrap();
    let bounds = Bounds::new("list remote for", server.url(), SHORT);
    let connector = Connector {
        greetings: Greetings::default(),
        clients: Clients::default(),
        policy: resources().addresses,
        runtime: Handle::current(),
        ssh: SshAlgorithms::default(),
    };
    let endpoint = anonymous(&server.url());
    let thread =
        tokio::task::spawn_blocking(move || Connection::open(&endpoint, &connector, &bounds).map(|_| ()));
    let error = tokio::time::timeout(WAIT_MAX, thread).await.expect("it ends").unwrap().unwrap_err();
    assert!(matches!(error, GitError::TimedOut { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_list_ends_at_its_limit() {
    let (first, again) = (references(1), references(2000));
    let server = git_server(Hostility::Endless { content_type: GIT_RESULT, first, again }).unwrap();
    let error =
        Fixture::new().git.find("team-a", &anonymous(&server.url()), &main(), TIMEOUT).await.err().unwrap();
    assert!(matches!(error, GitError::TooManyReferences { max: 16_777_216, .. }), "{error:?}");
    assert!(error.to_string().contains("more than 16777216 bytes of references"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_on_silent_servers_leaves_slots_to_others() {
    let server = HostileServer::start(Hostility::Silence).unwrap();
    let good = GitServer::start(Rules::default());
    let (repository, _) = sample(&good);
    let mut fixture = Fixture::new();
    let hasty = Limits { slot_wait_max: SHORT, ..Limits::default() };
    fixture.git = open(&fixture.root.path().join("plumb-git"), hasty);
    let hoard: Vec<_> = (0..2 * LISTS_MAX)
        .map(|_| {
            let (git, endpoint) = (fixture.git.clone(), anonymous(&server.url()));
            tokio::spawn(async move { git.find("team-a", &endpoint, &main(), TIMEOUT).await.map(|_| ()) })
        })
        .collect();
    while fixture.git.inner.lists.used() < LISTS_MAX / 2 {
        tokio::task::yield_now().await;
    }
    fixture.git.find("team-b", &anonymous(&repository.url), &main(), TIMEOUT).await.unwrap();
    assert_eq!(fixture.git.inner.lists.used(), LISTS_MAX / 2, "team-a holds half");
    let error =
        fixture.git.find("team-a", &anonymous(&repository.url), &main(), TIMEOUT).await.err().unwrap();
    assert!(error.to_string().contains("namespace \"team-a\" may use 8 of the maximum of 16"), "{error}");
    for task in hoard {
        task.abort();
    }
    assert!(server.wait_until_closed(WAIT_MAX), "an abandoned connection is closed");
}

#[tokio::test]
async fn rejected_addresses_get_no_request() {
    let fixture = Fixture::new();
    for url in ["http://169.254.169.254/x", "http://[fd00:ec2::254]/x", "http://0.0.0.0:1/x"] {
        let error = fixture.git.find("team-a", &anonymous(url), &main(), TIMEOUT).await.err().unwrap();
        assert!(matches!(error, GitError::Address { .. }), "{url}: {error:?}");
        assert!(plumb_status::chain(&error).contains("--allow-x"), "{}", plumb_status::chain(&error));
    }
}

#[tokio::test]
async fn a_redirect_to_a_rejected_address_is_not_followed() {
    let target: SocketAddr = "169.254.169.254:80".parse().unwrap();
    let entry_server =
        GitServer::start(Rules { redirect: Some(format!("http://{target}")), ..Rules::default() });
    let url = format!("{}/x.git", entry_server.url);
    let error = Fixture::new().git.find("team-a", &anonymous(&url), &main(), TIMEOUT).await.err().unwrap();
    assert!(matches!(error, GitError::Address { .. }), "{error:?}");
}

/// A line of a multiplexed response: 1 is the pack, 2 progress.
fn band(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut line = format!("{:04x}", bytes.len() + 5).into_bytes();
    line.push(number);
    line.extend_from_slice(bytes);
    line
}

/// A pack that claims so many objects and has none.
fn pack(objects: u32) -> Vec<u8> {
    let mut pack = [b"PACK\0\0\0\x02".as_slice(), &objects.to_be_bytes()].concat();
    let checksum = <sha1::Sha1 as sha1::Digest>::digest(&pack);
    pack.extend_from_slice(&checksum);
    pack
}

/// What a server may send in place of the pack that was asked for.
fn packs() -> Vec<(&'static str, Hostility)> {
    let whole =
        |content_type, body| Hostility::Whole { status: 200, headers: Vec::new(), content_type, body };
    let response =
        |lines: &[Vec<u8>]| [&[packet("packfile\n")], lines, &[b"0000".to_vec()]].concat().concat();
    let mut flipped = pack(0);
    if let Some(last) = flipped.last_mut() {
        *last ^= 1;
    }
    let first = [packet("packfile\n"), band(2, b"counting\n")].concat();
    vec![
        ("a pack without the commit", whole(GIT_RESULT, response(&[band(1, &pack(0))]))),
        ("a wrong checksum", whole(GIT_RESULT, response(&[band(1, &flipped)]))),
        ("fewer objects than claimed", whole(GIT_RESULT, response(&[band(1, &pack(3))]))),
        ("more objects than there can be", whole(GIT_RESULT, response(&[band(1, &pack(u32::MAX))]))),
        ("garbage as pack", whole(GIT_RESULT, response(&[band(1, b"no pack at all")]))),
        ("an empty line", whole(GIT_RESULT, response(&[b"0004".to_vec(), band(1, &pack(0))]))),
        ("a line without a band", whole(GIT_RESULT, response(&[band(1, b""), band(9, b"x")]))),
        ("a length that is none", whole(GIT_RESULT, [packet("packfile\n"), b"zzzz".to_vec()].concat())),
        ("an error of the server", whole(GIT_RESULT, response(&[band(3, b"out of order\n")]))),
        ("no section at all", whole(GIT_RESULT, b"0000".to_vec())),
        ("a page", whole("text/html", b"<html>".to_vec())),
        ("an end in the middle", Hostility::Truncation { content_type: GIT_RESULT, body: first.clone() }),
        (
            "progress without end",
            Hostility::Endless { content_type: GIT_RESULT, first, again: band(2, b"counting\n") },
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pack_of_a_hostile_server_is_an_error_and_ends_at_its_deadline() {
    for (what, hostility) in packs() {
        let listed = [packet(&format!("{} refs/heads/main\n", "1".repeat(40))), b"0000".to_vec()].concat();
        let server = HostileServer::scripted(move |line, body| {
            let is_fetch = body.windows(13).any(|window| window == b"command=fetch");
            match (line.starts_with("GET "), is_fetch) {
                (true, _) => plumb_testkit::hostile::git_handshake(),
                (false, true) => hostility.clone(),
                (false, false) => {
                    let (headers, content_type, body) = (Vec::new(), GIT_RESULT, listed.clone());
                    Hostility::Whole { status: 200, headers, content_type, body }
                }
            }
        });
        let server = server.unwrap();
        let fixture = Fixture::new();
        let started = Instant::now();
        let session = fixture.git.find("team-a", &anonymous(&server.url()), &main(), TIMEOUT).await.unwrap();
        let timeout = Duration::from_secs(1);
        let error = fixture.git.checkout(session, &Selection::default(), timeout).await.err();
        // A thread that panicked would count as interrupted.
        let is_expected = error.as_ref().is_some_and(|error| !matches!(error, GitError::Interrupted { .. }));
        assert!(is_expected, "{what}: {error:?}");
        assert!(started.elapsed() < WAIT_MAX, "{what} took {:?}", started.elapsed());
        let all_ended = tokio::time::timeout(WAIT_MAX, async {
            while fixture.git.abandoned_threads() > 0 || fixture.git.inner.fetches.used() > 0 {
                tokio::task::yield_now().await;
            }
        });
        all_ended.await.unwrap_or_else(|_| panic!("{what}: a thread still runs"));
    }
}
