//! A commit as an archive: the same files as in memory, and the same bytes whether parts of an earlier archive are taken over or not.

use std::{
    fs::Permissions,
    io::{self, Seek, SeekFrom, Write},
    os::unix::fs::PermissionsExt,
};

use plumb_archive::{ArchiveIndex, UnpackLimits, unpack};

use super::*;

/// A temporary file.
pub(super) struct Output(pub(super) File);

impl Output {
    pub(super) fn new() -> Self {
        Self(tempfile::tempfile().unwrap())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl RestartableWrite for Output {
    fn restart(&mut self) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.seek(SeekFrom::Start(0)).map(|_| ())
    }
}

fn bytes(mut file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    io::Read::read_to_end(&mut file, &mut bytes).unwrap();
    bytes
}

pub(super) async fn archived(
    git: &Git,
    session: Session,
    selection: &Selection,
    previous: Option<Previous<File>>,
) -> Result<ArchivedCommit<Output>, GitError> {
    git.archive(session, selection, TIMEOUT, DigestAlgorithm::Sha256, previous, Output::new()).await
}

pub(super) fn unpacked(archived: &ArchivedCommit<Output>) -> MemoryTree {
    let mut memory = MemoryPool::new(1 << 30).reservation("x", Limit { name: "x", bytes_max: u64::MAX });
    let limits = UnpackLimits { ratio_max: u64::MAX, ..UnpackLimits::DEFAULT };
    unpack(&bytes(&archived.output.0), &limits, &mut memory).unwrap()
}

fn previous(archived: &ArchivedCommit<Output>) -> Previous<File> {
    let (index, digest) = (archived.archive.index.as_ref().unwrap(), archived.archive.digest.as_str());
    let mut archive = tempfile::tempfile().unwrap();
    archive.write_all(&bytes(&archived.output.0)).unwrap();
    Previous { index: ArchiveIndex::decode(index, digest).unwrap(), archive }
}

fn large(server: &GitServer) -> Repository {
    let repository = server.repository("large.git");
    for number in 0..400 {
        repository.write(&format!("apps/{}/{number}.yaml", number % 10), &format!("of: {number}\n"));
    }
    repository.commit("many files");
    repository
}

#[tokio::test]
async fn after_each_change_the_archive_is_the_one_that_is_written_from_the_start() {
    let server = GitServer::start(Rules::default());
    let (repository, fixture) = (large(&server), Fixture::new());
    let endpoint = anonymous(&format!("{}/large.git", server.url));
    let read = |selection: Selection, last: Option<Previous<File>>| {
        let (git, endpoint) = (fixture.git.clone(), endpoint.clone());
        async move {
            let session = git.find("team-a", &endpoint, &main(), TIMEOUT).await.unwrap();
            archived(&git, session, &selection, last).await.unwrap()
        }
    };
    let mut last = read(Selection::default(), None).await;
    assert!(last.archive.index.is_some());
    let path = |text: &str| repository.work().join(text);
    let changes: [(&str, &dyn Fn()); 5] = [
        ("a content", &|| repository.write("apps/3/3.yaml", "changed")),
        ("a mode", &|| {
            std::fs::set_permissions(path("apps/4/4.yaml"), Permissions::from_mode(0o755)).unwrap();
        }),
        ("a move", &|| std::fs::rename(path("apps/5"), path("apps/moved")).unwrap()),
        ("an ignore file", &|| repository.write("apps/6/.sourceignore", "1*\n")),
        ("fewer files", &|| std::fs::remove_dir_all(path("apps/7")).unwrap()),
    ];
    for (what, change) in changes {
        change();
        repository.commit(what);
        let next = read(Selection::default(), Some(previous(&last))).await;
        let whole = read(Selection::default(), None).await;
        assert_ne!(next.archive.digest, last.archive.digest, "{what}");
        assert_eq!(next.archive.digest, whole.archive.digest, "{what}");
        assert_eq!(bytes(&next.output.0), bytes(&whole.output.0), "{what}");
        assert_eq!(next.archive.directories, whole.archive.directories, "{what}");
        last = next;
    }
    let other = ignoring("/apps/8/");
    let next = read(other.clone(), Some(previous(&last))).await;
    assert_eq!(next.archive.digest, read(other, None).await.archive.digest, "other rules of the spec");
}

#[tokio::test]
async fn an_earlier_archive_that_cannot_be_read_only_costs_time() {
    let server = GitServer::start(Rules::default());
    let (_repository, fixture) = (large(&server), Fixture::new());
    let endpoint = anonymous(&format!("{}/large.git", server.url));
    let reference = main();
    let find = || fixture.git.find("team-a", &endpoint, &reference, TIMEOUT);
    let all = Selection::default();
    let first = archived(&fixture.git, find().await.unwrap(), &all, None).await.unwrap();
    let cut = previous(&first);
    cut.archive.set_len(1000).unwrap();
    let next = archived(&fixture.git, find().await.unwrap(), &all, Some(cut)).await.unwrap();
    assert_eq!(bytes(&next.output.0), bytes(&first.output.0));
}

/// A disk that is full after some bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl RestartableWrite for Full {
    fn restart(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_full_disk_is_not_blamed_on_the_repository() {
    let server = GitServer::start(Rules::default());
    let (_repository, fixture) = (large(&server), Fixture::new());
    let endpoint = anonymous(&format!("{}/large.git", server.url));
    let session = fixture.git.find("team-a", &endpoint, &main(), TIMEOUT).await.unwrap();
    let commit = session.found().commit_hex();
    let (all, algorithm) = (Selection::default(), DigestAlgorithm::Sha256);
    let attempt = fixture.git.archive(session, &all, TIMEOUT, algorithm, None, Full(100));
    let error = attempt.await.map(|archived| archived.archive).unwrap_err();
    assert_eq!(error.reason(), Reason::ArchiveOperationFailed);
    let text = plumb_status::chain(&error);
    assert_eq!(text, format!("failed to write the archive of commit {commit}: no storage space"));
    assert_eq!(fixture.mirrors().len(), 1, "the mirror stays");
}
