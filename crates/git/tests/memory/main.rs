//! One process, one test: its peak of memory is measured. Hostile repositories and servers cost no more than the budget allows.

#![expect(clippy::unwrap_used, reason = "a case that cannot be set up fails the test")]

mod bomb;

use std::{path::Path, time::Duration};

use plumb_git::{Endpoint, Git, GitError, Limits, Reference, Resources, Selection, SshAlgorithms};
use plumb_memory::MemoryPool;
use plumb_testkit::{
    gitserver::{GitServer, GitServerOptions},
    hostile::{GIT_RESULT, Hostility, git_server, packet},
    repository::Repository,
};
use plumb_transport::{Credential, Trust, address::AddressPolicy};

const BUDGET_BYTES: u64 = 160 << 20;
/// The budget under which a chain of deltas that needs 640 MiB is interrupted: its guard allows 84 MiB.
const CHAIN_BUDGET_BYTES: u64 = 16 << 20;
/// Memory of the process, at most: the guard's limit, and what is written between two checks, also where the machine is busy
/// with other things.
const CHAIN_BYTES_MAX: u64 = 256 << 20;
const TIMEOUT: Duration = Duration::from_mins(1);

/// Begins a measurement: the peak is the present again. Its number in bytes.
fn reset_peak() -> u64 {
    // 5 resets the peak: proc(5).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    peak_bytes()
}

/// The most memory that this process has had since the last reset, in bytes.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() << 10
}

fn commit_tree(repository: &Repository, tree: &str) {
    let commit = repository.git(&["commit-tree", "-m", "hostile", tree]).unwrap();
    repository.git(&["push", "-q", "origin", &format!("{}:refs/heads/main", commit.trim())]).unwrap();
}

/// Writes a tree by way of the index: each name leads to the same object.
fn tree_of(repository: &Repository, mode: &str, object: &str, names: usize) -> String {
    repository.git(&["read-tree", "--empty"]).unwrap();
    for index in 0..names {
        let name = format!("{index:0100}");
        if mode == "040000" {
            repository.git(&["read-tree", &format!("--prefix={name}/"), object]).unwrap();
        } else {
            let entry = format!("{mode},{object},{name}");
            repository.git(&["update-index", "--add", "--cacheinfo", &entry]).unwrap();
        }
    }
    repository.git(&["write-tree"]).unwrap().trim().to_owned()
}

/// A few kilobytes that unfold to 1000 files of one mebibyte.
fn shared_files(repository: &Repository) {
    repository.write("file", &"x".repeat(1 << 20)).unwrap();
    let blob = repository.git(&["hash-object", "-w", "file"]).unwrap().trim().to_owned();
    let mut tree = tree_of(repository, "100644", &blob, 10);
    for _ in 0..2 {
        tree = tree_of(repository, "040000", &tree, 10);
    }
    commit_tree(repository, &tree);
}

fn large_file(repository: &Repository) {
    std::fs::File::create(repository.folder().join("file")).unwrap().set_len(200 << 20).unwrap();
    repository.push("large").unwrap();
}

async fn read(git: &Git, url: &str) -> Result<u64, GitError> {
    let endpoint = Endpoint::new(url, Credential::None, Trust::default()).unwrap();
    let session = git.find("team-a", &endpoint, &Reference::Branch("main".into()), TIMEOUT).await?;
    Ok(git.checkout(session, &Selection::default(), TIMEOUT).await?.tree.bytes())
}

fn reader(root: &Path, memory: &MemoryPool) -> Git {
    let addresses = AddressPolicy::reject_link_local("--allow-x");
    Git::open(
        root,
        Limits::default(),
        Resources { memory: memory.clone(), addresses, ssh: SshAlgorithms::default() },
    )
    .unwrap()
}

/// First in the process: the guard counts what the process holds, not what an operation holds.
async fn a_chain_of_deltas_is_interrupted(git: &Git) {
    let server = bomb::server();
    let before = reset_peak();
    let text = plumb_status::chain(&read(git, &server.url()).await.expect_err("a chain of deltas"));
    let grown = peak_bytes().saturating_sub(before);
    assert!(text.contains("while its deltas are resolved"), "{text}");
    assert!(grown <= CHAIN_BYTES_MAX, "chain of deltas: {} MiB more, {text}", grown >> 20);
    eprintln!("chain of deltas: {} MiB more; {text}", grown >> 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_repositories_stay_within_one_and_a_half_budgets() {
    let chain = tempfile::tempdir().unwrap();
    a_chain_of_deltas_is_interrupted(&reader(chain.path(), &MemoryPool::new(CHAIN_BUDGET_BYTES))).await;
    let root = tempfile::tempdir().unwrap();
    let memory = MemoryPool::new(BUDGET_BYTES);
    let git = reader(root.path(), &memory);
    let server = GitServer::start(&GitServerOptions::default()).unwrap();
    let (shared, large) = (server.repository("shared").unwrap(), server.repository("large").unwrap());
    shared_files(&shared);
    large_file(&large);
    let lines: Vec<u8> =
        (0..2000).flat_map(|index| packet(&format!("{index:040x} refs/heads/b{index}\n"))).collect();
    let endless = Hostility::Endless { content_type: GIT_RESULT, first: Vec::new(), again: lines };
    let listing = git_server(endless).unwrap();
    for (what, url) in [
        ("shared files", server.url("shared")),
        ("large file", server.url("large")),
        ("endless list", listing.url()),
    ] {
        let before = reset_peak();
        let error = read(&git, &url).await.expect_err(what);
        let grown = peak_bytes().saturating_sub(before);
        let text = plumb_status::chain(&error);
        assert!(grown <= BUDGET_BYTES * 3 / 2, "{what}: {} MiB more, {text}", grown >> 20);
        assert_eq!(memory.usage().reserved, 0, "{what}: {text}");
        eprintln!("{what}: {} MiB more; {text}", grown >> 20);
    }
}
