//! The tree over a real directory.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The path of a name in it, from the root.
    fn path(&self, name: &str) -> RelPath {
        let root = fs::canonicalize(self.0.path()).unwrap();
        RelPath::parse(root.join(name).to_str().unwrap().trim_matches('/')).unwrap()
    }

    fn write(&self, name: &str, content: &str) -> &Self {
        let file = self.0.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
        self
    }

    fn link(&self, name: &str, target: &str) -> &Self {
        symlink(target, self.0.path().join(name)).unwrap();
        self
    }
}

#[track_caller]
fn refused(tree: &DiskTree, path: &RelPath) -> String {
    tree.read(path).unwrap_err().to_string()
}

#[test]
fn files_and_directories_are_found_and_read() {
    let folder = Folder::new();
    folder.write("a/b.yaml", "x");
    let tree = DiskTree::new(Reach::OwnDirectory);
    assert_eq!(tree.kind(&folder.path("a")), Some(EntryKind::Dir));
    assert_eq!(tree.kind(&folder.path("a/b.yaml")), Some(EntryKind::File));
    assert_eq!(tree.kind(&folder.path("a/b.yaml/c")), None);
    assert_eq!(tree.kind(&folder.path("a/c")), None);
    assert_eq!(tree.read(&folder.path("a/b.yaml")).unwrap(), "x");
    assert_eq!(tree.list(&folder.path("a")).unwrap(), [("b.yaml".to_owned(), EntryKind::File)]);
    assert!(refused(&tree, &folder.path("a")).ends_with("is a directory"));
    assert!(tree.list(&folder.path("a/b.yaml")).unwrap_err().to_string().ends_with("is not a directory"));
}

#[test]
fn what_is_no_regular_file_is_never_opened() {
    let folder = Folder::new();
    folder.link("zero", "/dev/zero");
    let _socket = UnixListener::bind(folder.0.path().join("socket")).unwrap();
    let fifo = folder.0.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .unwrap();
    let tree = DiskTree::new(Reach::Tree);
    for (name, noun) in [("zero", "a device"), ("socket", "a socket"), ("fifo", "a FIFO")] {
        assert!(refused(&tree, &folder.path(name)).contains(noun), "{name}");
    }
    // What has become a FIFO since it was looked at does not make us wait either.
    let error = tree.open(&folder.path("fifo"), &fifo).unwrap_err();
    assert!(error.to_string().contains("a FIFO"), "{error}");
    assert_eq!(tree.list(&folder.path("")).unwrap(), []);
}

#[test]
fn a_file_over_the_limit_is_refused_by_its_size() {
    let folder = Folder::new();
    folder.write("big", "");
    File::options().write(true).open(folder.0.path().join("big")).unwrap().set_len(1 << 40).unwrap();
    let tree = DiskTree::new(Reach::Tree);
    assert!(refused(&tree, &folder.path("big")).contains("has 1099511627776 bytes, the limit is 16777216"));
}

#[test]
fn a_link_may_lead_anywhere_below_the_kustomization_and_nowhere_else() {
    let folder = Folder::new();
    folder.write("app/kustomization.yaml", "").write("app/sub/in.yaml", "in").write("out.yaml", "out");
    folder.link("app/in", "sub/in.yaml").link("app/out", "../out.yaml").link("app/up", "..");
    let tree = DiskTree::new(Reach::OwnDirectory);
    tree.read(&folder.path("app/kustomization.yaml")).unwrap();
    assert_eq!(tree.read(&folder.path("app/in")).unwrap(), "in");
    let message = refused(&tree, &folder.path("app/out"));
    assert!(message.starts_with("security; file '/") && message.contains("app/out'"), "{message}");
    assert!(refused(&tree, &folder.path("app/up/out.yaml")).starts_with("security; file '/"));
    let free = DiskTree::new(Reach::Tree);
    assert_eq!(free.read(&folder.path("app/out")).unwrap(), "out");
}

#[test]
fn a_kustomization_file_behind_a_link_out_of_its_directory_is_absent_and_said() {
    let folder = Folder::new();
    folder.write("base/kustomization.yaml", "").write("app/a.yaml", "");
    folder.link("app/kustomization.yaml", "../base/kustomization.yaml").link("linked", "base");
    let tree = DiskTree::new(Reach::OwnDirectory);
    assert_eq!(tree.kind(&folder.path("app/kustomization.yaml")), None);
    assert_eq!(tree.notes().len(), 1);
    assert_eq!(tree.kind(&folder.path("linked/kustomization.yaml")), Some(EntryKind::File));
    assert_eq!(tree.follow(&folder.path("linked/a")), folder.path("base/a"));
    let free = DiskTree::new(Reach::Tree);
    assert_eq!(free.kind(&folder.path("app/kustomization.yaml")), Some(EntryKind::File));
}

#[test]
fn links_that_lead_nowhere_are_absent_and_said() {
    let folder = Folder::new();
    folder.link("loop", "loop").link("gone", "nothing");
    let tree = DiskTree::new(Reach::Tree);
    assert_eq!(tree.kind(&folder.path("loop")), None);
    assert_eq!(tree.kind(&folder.path("gone")), None);
    assert_eq!(tree.notes().len(), 2, "{:?}", tree.notes());
    assert!(tree.notes().iter().all(|note| note.contains("is a link ")));
}

#[test]
fn a_walk_meets_no_directory_twice() {
    let folder = Folder::new();
    folder.write("a/b.yaml", "").link("a/self", ".").link("a/c.yaml", "b.yaml");
    let tree = DiskTree::new(Reach::Tree);
    let names: Vec<String> =
        tree.list(&folder.path("a")).unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["b.yaml", "c.yaml"]);
}
