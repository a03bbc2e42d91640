//! A process that is killed in the middle of a fetch, at seeded moments: the next process fetches without a manual repair.

use std::{
    process::{Child, Command, Stdio},
    sync::{Arc, atomic::AtomicUsize, mpsc},
};

use super::{
    server::{Repository, Stall},
    *,
};

/// Set for the child: where its mirrors are.
const CHILD_ROOT: &str = "PLUMB_CRASH_ROOT";
/// Set for the child: what it fetches.
const CHILD_URL: &str = "PLUMB_CRASH_URL";
/// How many moments are tried, when it is not the sample below.
const KILLS: &str = "PLUMB_KILLS";
const KILLS_SAMPLED: u64 = 24;
/// The requests of a fetch: handshake, list, pack.
const REQUESTS: u64 = 3;
/// How long the child may continue after the bytes of the moment arrived. Written files and renames fall into it.
const AFTERMATH_MICROSECONDS: u64 = 12_000;
/// A child that does not come as far as its moment.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The process that is killed: started by the test below, from the same binary.
#[tokio::test]
async fn child() {
    let (Ok(root), Ok(url)) = (std::env::var(CHILD_ROOT), std::env::var(CHILD_URL)) else { return };
    let git = open(Path::new(&root), Limits::default());
    let session = git.find("team-a", &anonymous(&url), &main(), TIMEOUT).await.unwrap();
    git.checkout(session, &Selection::default(), TIMEOUT).await.unwrap();
}

fn start_child(root: &Path, url: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "task::tests::crash::child", "--nocapture"])
        .env(CHILD_ROOT, root)
        .env(CHILD_URL, url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A small generator with a seed (xorshift), so that a failure can be repeated.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Random text, so that a pack has bytes to be cut in.
fn noise(seeded: &mut Seeded) -> String {
    (0..4000).map(|_| format!("{:016x}\n", seeded.below(u64::MAX))).collect::<Vec<_>>().concat()
}

fn kill_at(root: &Path, repository: &Repository, server: &GitServer, seeded: &mut Seeded) -> String {
    // Most moments are in the pack's request: it is where files are written.
    let request = seeded.below(REQUESTS + 3).min(REQUESTS - 1);
    let thousandths = if seeded.below(3) == 0 { 1000 } else { seeded.below(1000) };
    let aftermath = seeded.below(AFTERMATH_MICROSECONDS);
    let (reached, arrived) = mpsc::sync_channel(1);
    let stall = Arc::new(Stall {
        request: usize::try_from(request).unwrap(),
        thousandths: usize::try_from(thousandths).unwrap(),
        reached,
        seen: AtomicUsize::new(0),
    });
    server.stall(Some(stall));
    let mut child = start_child(root, &repository.url);
    arrived.recv_timeout(WAIT_MAX).expect("the child fetches");
    std::thread::sleep(Duration::from_micros(aftermath));
    child.kill().unwrap();
    child.wait().unwrap();
    server.stall(None);
    format!("request {request}, {thousandths}/1000 of the response, {aftermath} µs later")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_that_was_killed_at_any_moment_recovers_by_itself() {
    let kills = std::env::var(KILLS).ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS_SAMPLED);
    let server = GitServer::start(Rules::default());
    let repository = server.repository("sample.git");
    let mut seeded = Seeded(0x9e37_79b9_7f4a_7c15);
    repository.write("noise", &noise(&mut seeded));
    repository.write("app.yaml", "first");
    repository.commit("first");
    for kill in 0..kills {
        let root = tempfile::tempdir().unwrap();
        let mirrors = root.path().join("plumb-git");
        let content = format!("kill {kill}");
        let is_first_fetch = kill % 2 == 0;
        if !is_first_fetch {
            let git = open(&mirrors, Limits::default());
            let session = git.find("team-a", &anonymous(&repository.url), &main(), TIMEOUT).await.unwrap();
            git.checkout(session, &Selection::default(), TIMEOUT).await.unwrap();
            repository.write("noise", &noise(&mut seeded));
        }
        repository.write("app.yaml", &content);
        repository.commit("next");
        let moment = kill_at(&mirrors, &repository, &server, &mut seeded);
        let git = open(&mirrors, Limits::default());
        let session = git.find("team-a", &anonymous(&repository.url), &main(), TIMEOUT).await.unwrap();
        let checkout = git.checkout(session, &Selection::default(), TIMEOUT).await;
        let checkout = checkout.unwrap_or_else(|error| {
            panic!("kill {kill} ({moment}): {}", plumb_status::chain(&error));
        });
        assert_eq!(text(&checkout, "app.yaml"), content, "kill {kill} ({moment})");
    }
}
