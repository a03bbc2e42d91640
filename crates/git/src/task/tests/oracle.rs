//! The stock `git` as oracle: for generated repositories the tree that is read is the one that `git ls-tree -r` lists, less links,
//! submodules and the files of version control. Fetched step by step into one mirror, whole and in part, over HTTP and SSH.

use std::collections::BTreeMap;

use sha1::Digest as _;

use super::*;

/// Steps of a history.
const STEPS: usize = 8;
/// Names that are unusual and allowed.
const NAMES: [&str; 14] = [
    "plain.yaml",
    "with space",
    "ünïcödé",
    "🦀.yaml",
    "-rf",
    "--upload-pack=x",
    "$(x)",
    "'quote'",
    "\"double\"",
    "#hash",
    "%41",
    ".hidden",
    "a.b.c",
    "trailing.",
];
/// A rule that leaves out nothing, so that the built-in rules do not hold.
const NOTHING: &str = "/no/such/file\n";

/// Numbers from a seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn path(&mut self) -> String {
        let depth = self.below(3);
        let parts = (0..depth).map(|_| format!("d{}", self.below(3))).collect::<Vec<_>>();
        [parts, vec![NAMES[self.below(NAMES.len())].to_owned()]].concat().join("/")
    }
}

/// One step of a history: some changes, a commit, and now and then a merge.
fn step(repository: &Repository, numbers: &mut Numbers, number: usize) {
    let side = numbers.below(4) == 0;
    if side {
        repository.git(&["checkout", "-q", "-b", &format!("side{number}")]);
    }
    for change in 0..=numbers.below(6) {
        let path = numbers.path();
        let file = repository.work().join(&path);
        match numbers.below(6) {
            0 if file.is_symlink() || file.exists() => std::fs::remove_file(&file).unwrap(),
            1 if file.is_file() => {
                let to = repository.work().join(format!("d0/renamed-{number}-{change}"));
                std::fs::create_dir_all(to.parent().unwrap()).unwrap();
                std::fs::rename(&file, to).unwrap();
            }
            2 if !file.exists() && !file.is_symlink() => {
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::os::unix::fs::symlink(["/etc/passwd", "../x", "plain.yaml"][numbers.below(3)], &file)
                    .unwrap();
            }
            3 => {
                std::fs::create_dir_all(repository.work().join(format!("empty{}", numbers.below(3))))
                    .unwrap();
            }
            _ if file.is_symlink() => {}
            kind => {
                repository.write(&path, &"line\n".repeat(numbers.below(2000)));
                let mode =
                    std::os::unix::fs::PermissionsExt::from_mode(if kind == 4 { 0o755 } else { 0o644 });
                std::fs::set_permissions(&file, mode).unwrap();
            }
        }
    }
    repository.git(&["add", "-A"]);
    if numbers.below(3) == 0 {
        let commit = repository.git(&["rev-parse", "HEAD"]);
        let entry = format!("160000,{commit},d1/module{}", numbers.below(2));
        repository.git(&["update-index", "--add", "--cacheinfo", &entry]);
    }
    repository.git(&["commit", "-q", "--allow-empty", "-m", "step"]);
    if side {
        repository.git(&["checkout", "-q", "main"]);
        repository.write(&format!("main{number}"), "x");
        repository.git(&["add", "-A"]);
        repository.git(&["commit", "-q", "-m", "main"]);
        repository.git(&["merge", "-q", "-X", "theirs", "-m", "merge", &format!("side{number}")]);
    }
    repository.git(&["push", "-q", "origin", "main"]);
}

/// Mode and object of each file, as git lists them.
fn listed(repository: &Repository, prefix: &str) -> BTreeMap<String, String> {
    let list = repository.git(&["ls-tree", "-r", "-z", "HEAD"]);
    let entries = list.split('\0').filter_map(|line| line.split_once('\t'));
    let files = entries.filter(|(entry, path)| entry.starts_with("100") && path.starts_with(prefix));
    files
        .map(|(entry, path)| {
            let mut fields = entry.split(' ');
            (path.to_owned(), format!("{} {}", fields.next().unwrap(), fields.next_back().unwrap()))
        })
        .collect()
}

/// The same of what was read.
fn read(checkout: &Checkout, is_sha256: bool) -> BTreeMap<String, String> {
    let files = checkout.tree.files().map(|(path, file)| {
        let object = [format!("blob {}\0", file.content.len()).as_bytes(), &file.content].concat();
        let id = if is_sha256 {
            data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(&object))
        } else {
            data_encoding::HEXLOWER.encode(&sha1::Sha1::digest(&object))
        };
        let mode = if file.executable { "100755" } else { "100644" };
        (path.as_str().to_owned(), format!("{mode} {id}"))
    });
    files.collect()
}

fn selection(prefix: &str) -> Selection {
    let sparse_checkout = if prefix.is_empty() { Vec::new() } else { vec![prefix.to_owned()] };
    Selection { ignore: Some(NOTHING.to_owned()), sparse_checkout, ..Selection::default() }
}

async fn compare(format: &str, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let server = GitServer::start(Rules::default());
        let repository = server.repository_in("sample.git", format);
        let (fixture, endpoint) = (Fixture::new(), anonymous(&repository.url));
        let mut numbers = Numbers(seed);
        repository.write("d0/first", "x");
        repository.commit("First");
        for number in 0..STEPS {
            step(&repository, &mut numbers, number);
            for prefix in ["", "d0"] {
                let session = fixture.git.find("team-a", &endpoint, &main(), TIMEOUT).await.unwrap();
                let checkout = fixture.git.checkout(session, &selection(prefix), TIMEOUT).await.unwrap();
                let revision = format!("main@{format}:{}", repository.git(&["rev-parse", "HEAD"]));
                assert_eq!(checkout.found.revision(), revision);
                let expect = listed(&repository, prefix);
                assert_eq!(
                    read(&checkout, format == "sha256"),
                    expect,
                    "seed {seed}, step {number}, {prefix:?}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_is_what_git_lists() {
    compare("sha1", 0..5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_is_what_git_lists_in_the_sha_256_format() {
    compare("sha256", 100..102).await;
}
