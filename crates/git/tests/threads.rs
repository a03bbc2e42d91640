//! One process, one test: how many threads it has is counted.

#![expect(clippy::unwrap_used, reason = "a case that cannot be set up fails the test")]

use std::ops::ControlFlow;
use std::time::Duration;

use plumb_git::{Endpoint, Git, Limits, Reference, Resources, SshAlgorithms};
use plumb_memory::MemoryPool;
use plumb_testkit::hostile::{HostileServer, Hostility};
use plumb_testkit::wait::Wait;
use plumb_transport::{Credential, Trust, address::AddressPolicy};

const TIMEOUTS: usize = 20;
const WAIT_MAX: Duration = Duration::from_secs(10);

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_timeouts_leave_no_thread_behind() {
    let root = tempfile::tempdir().unwrap();
    let addresses = AddressPolicy::reject_link_local("--allow-x");
    let resources = Resources { memory: MemoryPool::new(64 << 20), addresses, ssh: SshAlgorithms::default() };
    let git = Git::open(root.path(), Limits::default(), resources).unwrap();
    let server = HostileServer::start(Hostility::Silence).unwrap();
    let endpoint = Endpoint::new(&server.url(), Credential::None, Trust::default()).unwrap();
    let branch = Reference::Branch("main".into());
    let mut before = 0;
    for round in 0..=TIMEOUTS {
        git.find("team-a", &endpoint, &branch, Duration::from_millis(50)).await.err().unwrap();
        // The server has a thread for each connection: those are not counted.
        assert!(server.wait_until_closed(WAIT_MAX), "round {round}");
        if round == 0 {
            before = threads();
        }
    }
    // A thread closes its connection a little before it ends.
    let wait = Wait::until("no thread is left", WAIT_MAX).every(Duration::from_millis(5));
    let ended = wait.poll(async || {
        let (now, abandoned) = (threads(), git.abandoned_threads());
        // The runtime may keep one more of its blocking threads for a while.
        let ended = abandoned == 0 && now <= before + 2;
        let state = format!("{before} threads before, {now} after, {abandoned} of them abandoned");
        Ok(if ended { ControlFlow::Break(()) } else { ControlFlow::Continue(state) })
    });
    ended.await.unwrap();
}
