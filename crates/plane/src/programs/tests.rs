//! Which way is taken, against a mirror on this machine and a `go` that compiles nothing.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;

use super::*;
use crate::download::Limits;
use crate::mirror::{Manner, Mirror};

/// Short enough for a test, long enough for a response on a loaded machine.
const LIMITS: Limits = Limits {
    probe: Duration::from_secs(10),
    silence: Duration::from_secs(10),
    tries: 3,
    pause: Duration::from_millis(1),
    total: Duration::from_mins(1),
    progress_every: Duration::from_secs(5),
};
/// Where nothing ever comes.
const AT_ONCE: Duration = Duration::from_millis(100);

/// A machine with a cache of its own, and the progress that was reported on it.
struct Machine {
    folder: tempfile::TempDir,
    search: Search,
    reported: Mutex<Vec<String>>,
}

impl Machine {
    /// Without Go and without components.
    fn bare(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let search = Search {
            choice: Choice::Any,
            folder: None,
            path: None,
            cache: Some(folder.path().join("plane")),
            release: ReleaseSource {
                kubernetes_url: url.to_owned(),
                etcd_url: url.to_owned(),
                digests: None,
                platform: "linux-amd64".to_owned(),
                limits: LIMITS,
            },
        };
        Self { folder, search, reported: Mutex::default() }
    }

    /// Has the digests of a mirror.
    fn of(mirror: &Mirror) -> Self {
        let mut machine = Self::bare(&mirror.url);
        machine.search.release.digests = Some(mirror.digests(machine.folder.path(), false));
        machine
    }

    fn with_go(mut self) -> Self {
        self.search.path =
            Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bin").into_os_string());
        self
    }

    fn choosing(mut self, choice: Choice) -> Self {
        self.search.choice = choice;
        self
    }

    fn find(&self) -> Result<Programs> {
        self.search.find(&|line: &str| self.reported.lock().unwrap().push(line.to_owned()))
    }

    /// The text of an error, all causes.
    fn failure(&self) -> String {
        format!("{:#}", self.find().unwrap_err())
    }

    fn reported(&self) -> String {
        self.reported.lock().unwrap().join("\n")
    }

    fn release_folder(&self) -> PathBuf {
        self.search.cache.as_ref().unwrap().join(self.search.release.folder_name())
    }

    /// The content of the cache, without the locks.
    fn cached(&self) -> Vec<String> {
        let entries = fs::read_dir(self.search.cache.as_ref().unwrap()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| !name.ends_with("-lock")).collect();
        names.sort();
        names
    }
}

#[track_caller]
fn assert_holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

/// A URL where nothing listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn executable(folder: &Path, name: &str) {
    let file = folder.join(name);
    fs::write(&file, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_folder_needs_all_three_components() {
    let folder = tempfile::tempdir().unwrap();
    executable(folder.path(), ETCD);
    executable(folder.path(), API_SERVER);
    assert!(Programs::in_folder(folder.path(), String::new()).is_none());
    executable(folder.path(), CONTROLLER_MANAGER);
    let found = Programs::in_folder(folder.path(), String::new()).unwrap();
    assert_eq!(found.etcd, alone(folder.path().join(ETCD)));
}

#[test]
fn one_binary_is_called_with_the_component_first() {
    let folder = tempfile::tempdir().unwrap();
    executable(folder.path(), PLANE);
    let found = Programs::in_folder(folder.path(), String::new()).unwrap();
    assert_eq!(found.api_server.0[1], API_SERVER);
}

#[test]
fn a_choice_is_one_of_three_words_or_unset() {
    assert_eq!(Choice::parse("").unwrap(), Choice::Any);
    assert_eq!(Choice::parse("path").unwrap(), Choice::Path);
    assert_eq!(Choice::parse("download").unwrap(), Choice::Download);
    assert_eq!(Choice::parse("build").unwrap(), Choice::Build);
    let error = Choice::parse("docker").unwrap_err().to_string();
    assert_holds(&error, &["PLUMB_PLANE_BINARIES", "docker", "path, download or build"]);
}

#[test]
fn components_in_path_are_used_before_any_download() {
    let mirror = Mirror::start(Manner::Serve);
    let mut machine = Machine::of(&mirror).with_go();
    for name in [ETCD, API_SERVER, CONTROLLER_MANAGER] {
        executable(machine.folder.path(), name);
    }
    machine.search.path = Some(machine.folder.path().into());
    assert_holds(&machine.find().unwrap().origin, &["those of PATH", "PLUMB_PLANE_BINARIES"]);
    assert_eq!(mirror.transfers(), []);
    // A named way leaves them alone.
    let found = machine.choosing(Choice::Download).find().unwrap();
    assert_holds(&found.origin, &["the release binaries"]);
}

#[test]
fn a_folder_of_envtest_without_a_controller_manager_is_passed_over() {
    let mut machine = Machine::bare(&nowhere()).with_go();
    for name in [ETCD, API_SERVER] {
        executable(machine.folder.path(), name);
    }
    machine.search.folder = Some((ASSETS, machine.folder.path().to_owned()));
    let lacks = "names a folder without kube-controller-manager";
    assert_holds(&machine.find().unwrap().origin, &["those built from Go modules"]);
    assert_holds(&machine.reported(), &["KUBEBUILDER_ASSETS", lacks]);
    // A folder that was named for us, or a way that allows no other, is meant.
    machine.search.choice = Choice::Path;
    assert_holds(&machine.failure(), &["KUBEBUILDER_ASSETS", lacks]);
    machine.search.choice = Choice::Any;
    machine.search.folder = Some((FOLDERS[0], machine.folder.path().to_owned()));
    assert_holds(&machine.failure(), &["PLUMB_PLANE_DIR", lacks]);
}

#[test]
fn path_alone_neither_downloads_nor_builds() {
    let mirror = Mirror::start(Manner::Serve);
    let machine = Machine::of(&mirror).with_go().choosing(Choice::Path);
    assert_holds(&machine.failure(), &["PLUMB_PLANE_BINARIES is path", "PATH", "KUBEBUILDER_ASSETS"]);
    assert_eq!(mirror.transfers(), []);
}

#[test]
fn release_binaries_are_downloaded_once_before_a_build() {
    let mirror = Mirror::start(Manner::Serve);
    let machine = Machine::of(&mirror).with_go();
    let found = machine.find().unwrap();
    assert_holds(&found.origin, &["the release binaries", "PLUMB_PLANE_BINARIES"]);
    let folder = machine.release_folder();
    assert_eq!(found.etcd, alone(folder.join(ETCD)));
    assert_eq!(fs::read_to_string(folder.join(API_SERVER)).unwrap(), API_SERVER);
    assert_eq!(fs::read_to_string(folder.join(KUBECTL)).unwrap(), KUBECTL);
    assert!(!folder.join("kube-proxy").exists(), "only needed files stay");
    assert_eq!(machine.cached(), [machine.search.release.folder_name()], "the archives were deleted");
    assert_eq!(mirror.transfers().len(), 2);
    assert_eq!(machine.find().unwrap().origin, found.origin);
    assert_eq!(mirror.transfers().len(), 2, "the second run finds them in the cache");
}

#[test]
fn a_build_of_an_earlier_run_needs_no_network() {
    let mirror = Mirror::start(Manner::Serve);
    let machine = Machine::of(&mirror).with_go();
    machine.search.built(&|_| {}).unwrap();
    assert_holds(&machine.find().unwrap().origin, &["those built from Go modules"]);
    assert_eq!(mirror.transfers(), []);
}

#[test]
fn a_wrong_digest_is_an_error_and_nothing_is_stored_or_built() {
    let mirror = Mirror::start(Manner::Serve);
    let mut machine = Machine::of(&mirror).with_go();
    machine.search.release.digests = Some(mirror.digests(machine.folder.path(), true));
    let url = format!("{}/{}/etcd-{}-linux-amd64.tar.gz", mirror.url, release::ETCD, release::ETCD);
    assert_holds(
        &machine.failure(),
        &[&url, "expected sha256:", "got sha256:", "mirror or proxy", "PLUMB_PLANE_BINARIES=build"],
    );
    assert_eq!(machine.cached(), [""; 0]);
}

#[test]
fn the_digests_of_this_program_hold_where_no_file_names_others() {
    let mirror = Mirror::start(Manner::Serve);
    let machine = Machine::bare(&mirror.url).with_go();
    assert_holds(&machine.failure(), &["expected sha256:ffe840ff9295808e", "got sha256:"]);
}

#[test]
fn a_platform_without_digests_is_built() {
    let mirror = Mirror::start(Manner::Serve);
    let mut machine = Machine::bare(&mirror.url).with_go();
    machine.search.release.platform = "linux-riscv64".to_owned();
    assert_holds(&machine.find().unwrap().origin, &["those built from Go modules"]);
    assert_holds(&machine.reported(), &["etcd-v3.6.14-linux-riscv64.tar.gz", "PLUMB_PLANE_DIGESTS"]);
}

#[test]
fn a_truncated_transfer_resumes_where_it_ended() {
    let mirror = Mirror::start(Manner::CutFirst(100));
    let machine = Machine::of(&mirror);
    machine.find().unwrap();
    let ranges: Vec<Option<String>> = mirror.transfers().into_iter().map(|(_, range)| range).collect();
    let resumed = Some("bytes=100-".to_owned());
    assert_eq!(ranges, [None, resumed.clone(), None, resumed]);
    assert_holds(&machine.reported(), &["going on at 0 MB"]);
}

#[test]
fn a_server_without_ranges_sends_the_whole_again() {
    let mirror = Mirror::start(Manner::Whole);
    let machine = Machine::of(&mirror);
    fs::create_dir_all(machine.search.cache.as_ref().unwrap()).unwrap();
    let part = format!("etcd-{}-linux-amd64.tar.gz.part", release::ETCD);
    fs::write(sibling(&machine.release_folder(), &part), "old").unwrap();
    machine.find().unwrap();
    assert_eq!(mirror.transfers()[0].1, Some("bytes=3-".to_owned()));
}

#[test]
fn a_partial_download_of_another_file_is_restarted() {
    for old in [3, 1 << 20] {
        let mirror = Mirror::start(Manner::Serve);
        let machine = Machine::of(&mirror);
        fs::create_dir_all(machine.search.cache.as_ref().unwrap()).unwrap();
        let part = format!("etcd-{}-linux-amd64.tar.gz.part", release::ETCD);
        fs::write(sibling(&machine.release_folder(), &part), vec![b'x'; old]).unwrap();
        machine.find().unwrap();
        let ranges: Vec<Option<String>> = mirror.transfers().into_iter().map(|(_, range)| range).collect();
        assert_eq!(ranges, [Some(format!("bytes={old}-")), None, None]);
    }
}

#[test]
fn without_a_response_the_build_is_used_and_reported() {
    let silent = Mirror::start(Manner::Silent);
    for (url, cause) in [(&silent.url, "no answer within 0.1 s"), (&nowhere(), "refused")] {
        let mut machine = Machine::bare(url).with_go();
        machine.search.release.limits.probe = AT_ONCE;
        assert_holds(&machine.find().unwrap().origin, &["those built from Go modules"]);
        assert_holds(
            &machine.reported(),
            &[url, cause, "built from Go modules", "PLUMB_PLANE_BINARIES=download", "PLUMB_PLANE_ETCD_URL"],
        );
    }
}

#[test]
fn a_mirror_without_the_file_is_reported_and_the_build_is_used() {
    let mirror = Mirror::start(Manner::Missing);
    let machine = Machine::of(&mirror).with_go();
    assert_holds(&machine.find().unwrap().origin, &["those built from Go modules"]);
    assert_holds(&machine.reported(), &[&mirror.url, "404"]);
}

#[test]
fn with_neither_network_nor_go_the_error_names_both() {
    let url = nowhere();
    let machine = Machine::bare(&url);
    assert_holds(&machine.failure(), &[&url, "refused", "Install Go", "KUBEBUILDER_ASSETS"]);
}

#[test]
fn a_chosen_download_does_not_become_a_build() {
    let url = nowhere();
    let machine = Machine::bare(&url).with_go().choosing(Choice::Download);
    assert_holds(&machine.failure(), &[&url, "refused", "PLUMB_PLANE_BINARIES=build"]);
    assert!(!machine.search.build_folder().unwrap().exists());
}

#[test]
fn a_silent_server_times_out_and_the_stall_is_reported() {
    let mirror = Mirror::start(Manner::SilentAfterProbe);
    let mut machine = Machine::of(&mirror).with_go();
    machine.search.release.limits.silence = Duration::from_millis(100);
    machine.search.release.limits.progress_every = Duration::from_millis(1);
    assert_holds(&machine.find().unwrap().origin, &["those built from Go modules"]);
    assert_holds(
        &machine.reported(),
        &["waiting for 127.0.0.1, 0 s", "no byte for 0.1 s", "gave up after 3 tries"],
    );
}

#[test]
fn a_download_that_takes_too_long_times_out() {
    let mirror = Mirror::start(Manner::SilentAfterProbe);
    let mut machine = Machine::of(&mirror).with_go();
    machine.search.release.limits.total = AT_ONCE;
    assert_holds(&machine.find().unwrap().origin, &["those built from Go modules"]);
    assert_holds(&machine.reported(), &["not complete after 0 s"]);
}

#[test]
fn a_stalled_transfer_times_out_and_is_resumed_by_the_next_run() {
    let mirror = Mirror::start(Manner::Stall(50));
    let mut machine = Machine::of(&mirror).with_go();
    machine.search.release.limits.silence = Duration::from_millis(300);
    assert_holds(&machine.find().unwrap().origin, &["those built from Go modules"]);
    assert_holds(&machine.reported(), &["no byte for 0.3 s", "gave up after 3 tries"]);
    let part = format!("etcd-{}-linux-amd64.tar.gz.part", release::ETCD);
    // Up to 50 bytes a try.
    assert!((50..=150).contains(&fs::metadata(sibling(&machine.release_folder(), &part)).unwrap().len()));
}

#[test]
fn a_damaged_file_of_digests_is_named_with_its_line() {
    let mirror = Mirror::start(Manner::Serve);
    let machine = Machine::of(&mirror).with_go();
    let file = machine.search.release.digests.clone().unwrap();
    fs::write(&file, "# digests\n\nabc  etcd.tar.gz\n").unwrap();
    assert_holds(&machine.failure(), &[&file.display().to_string(), "PLUMB_PLANE_DIGESTS", "line 3"]);
}

#[test]
fn a_mirror_that_is_no_url_is_named_without_its_value() {
    let machine = Machine::bare("ftp://user:secret@mirror.example");
    let error = machine.failure();
    assert_holds(&error, &["PLUMB_PLANE_ETCD_URL is not an http or https URL"]);
    assert!(!error.contains("secret"), "{error}");
}

/// The variable that makes [`downloads_in_the_environment_of_the_test_below`] do something.
const INNER: &str = "PLUMB_TEST_DOWNLOAD_CACHE";

/// Started again by the next test, with a proxy in its environment: a process cannot change its own safely.
#[test]
fn downloads_in_the_environment_of_the_test_below() {
    let Some(cache) = env::var_os(INNER) else { return };
    let mut search = Search::from_env().unwrap();
    search.cache = Some(cache.into());
    search.path = None;
    search.folder = None;
    search.release.platform = "linux-amd64".to_owned();
    search.find(&|_| {}).unwrap();
}

#[test]
fn the_proxy_and_the_mirrors_of_the_environment_are_used() {
    // A proxy for plain HTTP gets requests for absolute URLs; this one responds itself.
    let mirror = Mirror::start(Manner::Serve);
    let folder = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(env::current_exe().unwrap());
    command.args(["--exact", "programs::tests::downloads_in_the_environment_of_the_test_below"]);
    for name in ["NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY"] {
        command.env_remove(name);
    }
    command.env("http_proxy", &mirror.url).env(INNER, folder.path()).env(CHOICE, "download");
    command.env(release::DIGESTS, mirror.digests(folder.path(), false));
    command.env(release::KUBERNETES_URL, "http://kubernetes.invalid/mirror/");
    command.env(release::ETCD_URL, "http://etcd.invalid");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let paths: Vec<String> = mirror.transfers().into_iter().map(|(path, _)| path).collect();
    assert_eq!(
        paths,
        [
            "http://etcd.invalid/v3.6.14/etcd-v3.6.14-linux-amd64.tar.gz",
            "http://kubernetes.invalid/mirror/v1.36.2/kubernetes-server-linux-amd64.tar.gz",
        ]
    );
}
