//! Against a real `sshd` and `git-upload-pack`: each type of key, each way in which a host or a key is not accepted, both versions of
//! the protocol; and against servers that misbehave below it.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use plumb_testkit::{
    repository::Repository,
    sshd::{Sshd, SshdOptions, is_missing, key_pair, keygen_is_missing},
};

use super::*;
use crate::ssh::{HostKeyError, Identity, KnownHosts, SshCredential, SshFault};

const SHORT: Duration = Duration::from_millis(500);
/// Longer than any operation here may take on a loaded machine.
const WAIT_MAX: Duration = Duration::from_secs(20);
const BANNER: &[u8] = b"SSH-2.0-OpenSSH_9.9\r\n";
const ED25519: [&str; 4] = ["-t", "ed25519", "-N", ""];

struct Server {
    sshd: Sshd,
    repository: Repository,
    private: String,
}

impl Server {
    /// A server with one commit, and a key that it accepts; none where `sshd` is not installed.
    fn start(options: &SshdOptions) -> Option<Self> {
        if is_missing() {
            return None;
        }
        let (private, public) = key_pair(&ED25519).unwrap();
        Some(Self::accepting(options, &private, &public))
    }

    fn accepting(options: &SshdOptions, private: &str, public: &str) -> Self {
        let sshd = Sshd::start(options, public).unwrap();
        let repository = sshd.repository("app").unwrap();
        repository.write("app.yaml", "one").unwrap();
        repository.push("First").unwrap();
        Self { sshd, repository, private: private.to_owned() }
    }

    fn endpoint(&self) -> Endpoint {
        self.endpoint_with(&self.sshd.known_hosts().unwrap())
    }

    fn endpoint_with(&self, known_hosts: &str) -> Endpoint {
        over_ssh(&self.sshd.url("app").unwrap(), &self.private, known_hosts)
    }

    /// The line of known_hosts for one host key.
    fn line(&self, kind: &str) -> String {
        format!("[127.0.0.1]:{} {}\n", self.sshd.port(), self.sshd.host_key(kind).unwrap())
    }
}

fn over_ssh(url: &str, private: &str, known_hosts: &str) -> Endpoint {
    let identity = Identity::parse(private.as_bytes(), None).unwrap();
    let known_hosts = KnownHosts::parse(known_hosts.as_bytes()).unwrap();
    Endpoint::over_ssh(url, SshCredential::new(identity, known_hosts)).unwrap()
}

async fn fault(endpoint: &Endpoint) -> SshFault {
    match Fixture::new().git.find("team-a", endpoint, &main(), TIMEOUT).await.err().expect("it fails") {
        GitError::Ssh { source, .. } => source,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn references_are_found_and_fetched_again_over_one_server() {
    let Some(server) = Server::start(&SshdOptions::default()) else { return };
    let fixture = Fixture::new();
    let first = fixture.read(&server.endpoint(), &main()).await.unwrap();
    assert_eq!(first.found.revision(), server.repository.revision().unwrap());
    assert_eq!((first.summary.as_str(), text(&first, "app.yaml").as_str()), ("First", "one"));

    server.repository.write("app.yaml", "two").unwrap();
    let second = server.repository.push("Second").unwrap();
    server.repository.git(&["tag", "-a", "-m", "annotated", "v1.2.0"]).unwrap();
    server.repository.git(&["push", "--quiet", "origin", "v1.2.0"]).unwrap();
    for reference in [
        main(),
        Reference::Tag("v1.2.0".into()),
        Reference::from_fields(None, None, Some(">=1.0.0"), None, None).unwrap(),
        Reference::from_fields(Some("main"), None, None, None, Some(&second)).unwrap(),
    ] {
        let read = fixture.read(&server.endpoint(), &reference).await.unwrap();
        assert_eq!((read.found.commit_hex(), text(&read, "app.yaml")), (second.clone(), "two".to_owned()));
    }
    assert_eq!(fixture.mirrors().len(), 1, "it is fetched into again");
}

#[tokio::test]
async fn sparse_directories_and_submodules_are_read_over_one_server() {
    let Some(server) = Server::start(&SshdOptions::default()) else { return };
    let library = server.sshd.repository("library").unwrap();
    library.write("lib.yaml", "lib").unwrap();
    let commit = library.push("Library").unwrap();
    let repository = &server.repository;
    repository.write("other/big.txt", &"x".repeat(1000)).unwrap();
    repository
        .write(".gitmodules", "[submodule \"l\"]\n\tpath = apps/lib\n\turl = ../library.git\n")
        .unwrap();
    repository.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},apps/lib")]).unwrap();
    repository.git(&["add", ".gitmodules", "other"]).unwrap();
    repository.git(&["commit", "--quiet", "--message", "Link"]).unwrap();
    repository.git(&["push", "--quiet", "origin", "main"]).unwrap();
    let (fixture, endpoint) = (Fixture::new(), server.endpoint());
    let sparse_checkout = vec!["app.yaml".to_owned(), "apps/".to_owned()];
    let selection = Selection { sparse_checkout, recurse_submodules: true, ..Selection::default() };
    let session = fixture.git.find("team-a", &endpoint, &main(), TIMEOUT).await.unwrap();
    let checkout = fixture.git.checkout(session, &selection, TIMEOUT).await.unwrap();
    let files: Vec<&str> = checkout.tree.files().map(|(path, _)| path.as_str()).collect();
    assert_eq!(files, ["app.yaml", "apps/lib/lib.yaml"]);
    assert_eq!(
        (text(&checkout, "app.yaml"), text(&checkout, "apps/lib/lib.yaml")),
        ("one".into(), "lib".into())
    );
    // The key is for its own server.
    for elsewhere in ["ssh://git@127.0.0.1:1/x", "ssh://git@localhost/x", "git@localhost:x"] {
        let url = crate::submodule::absolute(elsewhere, endpoint.url()).unwrap();
        let error = endpoint.submodule(&url).unwrap_err();
        assert!(matches!(error, crate::SubmoduleError::NoKey { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_take_the_version_is_read_by_the_old_protocol() {
    let options = SshdOptions { takes_protocol: false, ..SshdOptions::default() };
    let Some(server) = Server::start(&options) else { return };
    let fixture = Fixture::new();
    let first = fixture.read(&server.endpoint(), &main()).await.unwrap();
    assert_eq!(text(&first, "app.yaml"), "one");
    server.repository.write("app.yaml", "two").unwrap();
    let commit = server.repository.push("Second").unwrap();
    let second = fixture.read(&server.endpoint(), &main()).await.unwrap();
    assert_eq!((second.found.commit_hex(), text(&second, "app.yaml")), (commit, "two".to_owned()));
    let missing = Reference::Branch("mai".into());
    let error = fixture.git.find("team-a", &server.endpoint(), &missing, TIMEOUT).await.err().unwrap();
    assert!(matches!(error, GitError::ReferenceNotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn each_type_of_key_authenticates_and_rsa_signs_with_sha_2() {
    if is_missing() {
        return;
    }
    for arguments in [
        ["-t", "ed25519", "-b", "256", "-N", ""],
        ["-t", "ecdsa", "-b", "256", "-N", ""],
        ["-t", "ecdsa", "-b", "384", "-N", ""],
        ["-t", "ecdsa", "-b", "521", "-N", ""],
        ["-t", "rsa", "-b", "2048", "-N", ""],
    ] {
        let (private, public) = key_pair(&arguments).unwrap();
        let server = Server::accepting(&SshdOptions::default(), &private, &public);
        let read = Fixture::new().read(&server.endpoint(), &main()).await;
        assert_eq!(text(&read.unwrap_or_else(|error| panic!("{arguments:?}: {error}")), "app.yaml"), "one");
    }
}

#[tokio::test]
async fn rsa_signatures_with_sha_1_are_neither_made_nor_accepted() {
    if is_missing() {
        return;
    }
    let (private, public) = key_pair(&["-t", "rsa", "-b", "2048", "-N", ""]).unwrap();
    let old = SshdOptions {
        configuration: vec!["PubkeyAcceptedAlgorithms ssh-rsa".to_owned()],
        ..SshdOptions::default()
    };
    let server = Server::accepting(&old, &private, &public);
    let fault_of_key = fault(&server.endpoint()).await;
    assert!(matches!(fault_of_key, SshFault::WeakSignature | SshFault::Rejected { .. }), "{fault_of_key:?}");
    let old = SshdOptions {
        host_keys: vec!["rsa"],
        configuration: vec!["HostKeyAlgorithms ssh-rsa".to_owned()],
        ..SshdOptions::default()
    };
    let Some(server) = Server::start(&old) else { return };
    let SshFault::Handshake { problem } = fault(&server.endpoint()).await else { panic!("no handshake") };
    assert!(
        problem.starts_with("ssh: no common algorithm for key; client offered: [rsa-sha2-512 "),
        "{problem}"
    );
    assert!(problem.ends_with("server offered: [ssh-rsa]"), "{problem}");
}

#[tokio::test]
async fn the_server_is_asked_for_the_type_of_host_key_that_is_known() {
    let options = SshdOptions { host_keys: vec!["ed25519", "ecdsa", "rsa"], ..SshdOptions::default() };
    let Some(server) = Server::start(&options) else { return };
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let found = Fixture::new().read(&server.endpoint_with(&server.line(kind)), &main()).await;
        assert_eq!(text(&found.unwrap_or_else(|error| panic!("{kind}: {error}")), "app.yaml"), "one");
    }
}

#[tokio::test]
async fn a_host_key_that_is_not_known_ends_the_connection_before_the_key_is_shown() {
    let Some(server) = Server::start(&SshdOptions::default()) else { return };
    let (port, other) = (server.sshd.port(), key_pair(&ED25519).unwrap().1);
    let other = other.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let name = format!("[127.0.0.1]:{port}");
    for (known_hosts, expect) in [
        (format!("127.0.0.1 {}\n", server.sshd.host_key("ed25519").unwrap()), "key is unknown"),
        (String::new(), "key is unknown"),
        (format!("{name} {other}\n"), "key mismatch"),
        (
            format!("{0}@revoked * {1}", server.line("ed25519"), server.sshd.host_key("ed25519").unwrap()),
            "key is revoked",
        ),
    ] {
        let fault = fault(&server.endpoint_with(&known_hosts)).await;
        assert!(matches!(fault, SshFault::HostKey(_)), "{fault:?}");
        let text = fault.to_string();
        assert!(text.starts_with(&format!("ssh: handshake failed: knownhosts: {expect}: ")), "{text}");
        assert!(text.contains(&format!("{name:?}")) && text.contains("ssh-ed25519 key SHA256:"), "{text}");
    }
    let log = server.sshd.log().unwrap();
    assert!(!log.contains("publickey"), "{log}");
}

#[tokio::test]
async fn a_certificate_of_a_host_counts_where_its_authority_is_known() {
    if is_missing() {
        return;
    }
    let (authority, public) = key_pair(&ED25519).unwrap();
    let public = public.split(' ').take(2).collect::<Vec<_>>().join(" ");
    for (arguments, expect) in [
        (&["-n", "127.0.0.1"][..], None),
        (&["-n", "git.example,127.0.0.1", "-V", "-1d:+1d"], None),
        (&["-n", "git.example"], Some("it is not for the name of this host")),
        (&["-n", "127.0.0.1", "-V", "-2d:-1d"], Some("it has expired")),
        (&["-n", "127.0.0.1", "-V", "+1d:+2d"], Some("it is not valid yet")),
    ] {
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let certificate = Some((authority.clone(), arguments.clone()));
        let Some(server) = Server::start(&SshdOptions { certificate, ..SshdOptions::default() }) else {
            return;
        };
        let endpoint =
            server.endpoint_with(&format!("@cert-authority [127.0.0.1]:{} {public}\n", server.sshd.port()));
        match expect {
            None => {
                let read = Fixture::new().read(&endpoint, &main()).await;
                read.unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
            }
            Some(expect) => {
                let SshFault::HostKey(HostKeyError::Certificate { problem, .. }) = fault(&endpoint).await
                else {
                    panic!("{arguments:?}")
                };
                assert_eq!(problem, expect);
            }
        }
        let stranger = key_pair(&ED25519).unwrap().1;
        let stranger = stranger.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let endpoint =
            server.endpoint_with(&format!("@cert-authority [127.0.0.1]:{} {stranger}\n", server.sshd.port()));
        assert!(matches!(fault(&endpoint).await, SshFault::HostKey(HostKeyError::Certificate { .. })));
    }
}

#[tokio::test]
async fn a_key_that_the_server_does_not_accept_is_named_by_its_fingerprint() {
    let Some(mut server) = Server::start(&SshdOptions::default()) else { return };
    server.private = key_pair(&ED25519).unwrap().0;
    let fingerprint = Identity::parse(server.private.as_bytes(), None).unwrap().shown();
    let text = fault(&server.endpoint()).await.to_string();
    assert!(text.starts_with(
        "ssh: handshake failed: ssh: unable to authenticate, attempted methods [none publickey]"
    ));
    assert!(text.contains(&fingerprint), "{text}");
    assert!(server.private.lines().all(|line| line.starts_with('-') || !text.contains(line)));
}

#[tokio::test]
async fn a_repository_that_is_missing_is_not_found() {
    let Some(server) = Server::start(&SshdOptions::default()) else { return };
    let url = server.sshd.url("gone'; touch gone #").unwrap();
    let endpoint = over_ssh(&url, &server.private, &server.sshd.known_hosts().unwrap());
    let error = Fixture::new().git.find("team-a", &endpoint, &main(), TIMEOUT).await.err().unwrap();
    assert!(matches!(error, GitError::RepositoryNotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn rejected_addresses_are_not_connected_to() {
    if keygen_is_missing() {
        return;
    }
    let private = key_pair(&ED25519).unwrap().0;
    for host in ["169.254.169.254", "[fd00:ec2::254]", "0.0.0.0:22"] {
        let endpoint = over_ssh(&format!("ssh://git@{host}/x"), &private, "");
        let error = Fixture::new().git.find("team-a", &endpoint, &main(), TIMEOUT).await.err().unwrap();
        assert!(matches!(error, GitError::Address { .. }), "{host}: {error:?}");
    }
}

/// What a peer does with a connection.
type Act = fn(&mut TcpStream);

/// A peer on loopback that does this with each connection, and reports when the other side has closed it.
fn peer(act: Act) -> (u16, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (closed, wait) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            act(&mut stream);
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
            if closed.send(()).is_err() {
                return;
            }
        }
    });
    (port, wait)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_peer_ends_at_the_deadline_and_leaves_nothing_open() {
    if keygen_is_missing() {
        return;
    }
    let private = key_pair(&ED25519).unwrap().0;
    let peers: [(&str, Act); 5] = [
        ("silence", |_| {}),
        ("silence after the banner", |stream| {
            let _ = stream.write_all(BANNER);
        }),
        ("endless lines before the banner", |stream| while stream.write_all(b"hello\r\n").is_ok() {}),
        ("trickle", |stream| {
            let _ = stream.write_all(BANNER);
            while stream.write_all(b"\0").is_ok() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }),
        ("a packet of 4 GiB", |stream| {
            let _ = stream.write_all(BANNER);
            let _ = stream.write_all(&[0xff; 64]);
        }),
    ];
    for (what, act) in peers {
        let (port, closed) = peer(act);
        let endpoint = over_ssh(&format!("ssh://git@127.0.0.1:{port}/x"), &private, "");
        let fixture = Fixture::new();
        let error = fixture.git.find("team-a", &endpoint, &main(), SHORT).await.err().unwrap();
        assert!(
            matches!(error, GitError::TimedOut { .. } | GitError::Ssh { .. } | GitError::Connection { .. }),
            "{what}: {error:?}"
        );
        let closed = tokio::task::spawn_blocking(move || closed.recv_timeout(WAIT_MAX));
        closed.await.unwrap().unwrap_or_else(|_| panic!("{what}: the connection is still open"));
        let ended = tokio::time::timeout(WAIT_MAX, async {
            while fixture.git.abandoned_threads() > 0 || fixture.git.inner.lists.used() > 0 {
                tokio::task::yield_now().await;
            }
        });
        ended.await.unwrap_or_else(|_| panic!("{what}: a thread still runs"));
    }
}

#[tokio::test]
async fn a_session_that_is_dropped_closes_its_connection() {
    let Some(server) = Server::start(&SshdOptions::default()) else { return };
    let session = Fixture::new().git.find("team-a", &server.endpoint(), &main(), TIMEOUT).await.unwrap();
    drop(session);
    let ended = plumb_testkit::wait::Wait::until("the connection is closed", WAIT_MAX);
    ended.holds(|| server.sshd.log().unwrap().contains("Connection closed by")).await.unwrap();
}
