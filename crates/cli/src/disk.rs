//! A directory of this machine as a tree: read on demand, from the root of the filesystem down, so that `../../base` works
//! and paths in errors are those of the machine. Regular files only: nothing else is ever opened, and no file that is over
//! the limit is read.
//!
//! Links are followed as kustomize follows them. Where a kustomization may only read what lies in and below its directory,
//! a link that leads out of it is refused, and a kustomization file behind such a link counts as absent.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, FileType};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use plumb_filetree::{EntryKind, FileTree, ReadError, RelPath};
use plumb_kustomize::{FILE_NAMES, Limits, Reach};
use rustix::fs::{Mode, OFlags};

/// The tree. What was seen of a path is kept: one build sees one state of it.
pub struct DiskTree {
    reach: Reach,
    bytes_max: u64,
    places: RefCell<HashMap<RelPath, Rc<Place>>>,
    /// Directories whose kustomization file was read: they may read what is below them.
    roots: RefCell<Vec<RelPath>>,
    notes: RefCell<BTreeSet<String>>,
}

/// What was found at a path.
#[derive(Debug)]
struct Place {
    /// Without links on the way.
    real: PathBuf,
    what: What,
    is_linked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Absent,
    Dir,
    File,
    Special(&'static str),
}

impl DiskTree {
    /// The whole filesystem.
    pub fn new(reach: Reach) -> Self {
        let bytes_max = u64::try_from(Limits::default().file_bytes_max).unwrap_or(u64::MAX);
        Self {
            reach,
            bytes_max,
            places: RefCell::default(),
            roots: RefCell::default(),
            notes: RefCell::default(),
        }
    }

    /// Why something that is there counted as absent: to be told beside the error that followed.
    pub fn notes(&self) -> Vec<String> {
        self.notes.borrow().iter().cloned().collect()
    }

    fn locate(&self, path: &RelPath) -> Rc<Place> {
        if let Some(known) = self.places.borrow().get(path) {
            return Rc::clone(known);
        }
        // As deep as a path has components, and those are limited.
        let place = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => self.look(&self.locate(&parent), name, path),
            _ => Place { real: PathBuf::from("/"), what: What::Dir, is_linked: false },
        };
        let place = Rc::new(place);
        self.places.borrow_mut().insert(path.clone(), Rc::clone(&place));
        place
    }

    fn look(&self, parent: &Place, name: &str, path: &RelPath) -> Place {
        let (real, is_linked) = (parent.real.join(name), parent.is_linked);
        if parent.what != What::Dir {
            return Place { real, what: What::Absent, is_linked };
        }
        let found = match fs::symlink_metadata(&real) {
            Ok(metadata) if metadata.is_symlink() => follow(&real).map(|(real, what)| (real, what, true)),
            Ok(metadata) => Ok((real.clone(), what(metadata.file_type()), is_linked)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Place { real, what: What::Absent, is_linked };
            }
            Err(error) => Err(error),
        };
        match found {
            Ok((real, what, is_linked)) => Place { real, what, is_linked },
            Err(error) => {
                let is_link = fs::symlink_metadata(&real).is_ok_and(|metadata| metadata.is_symlink());
                let note = match (is_link, error.kind()) {
                    (true, ErrorKind::NotFound) => "is a link to what is not there".to_owned(),
                    (true, kind) => format!("is a link that cannot be followed: {kind}"),
                    (false, kind) => format!("cannot be looked at: {kind}"),
                };
                self.notes.borrow_mut().insert(format!("'/{path}' {note}"));
                Place { real, what: What::Absent, is_linked: true }
            }
        }
    }

    /// The directory that a file would have to lie in, if a link leads out of it.
    fn escaped(&self, path: &RelPath, place: &Place) -> Option<RelPath> {
        if self.reach == Reach::Tree || !place.is_linked {
            return None;
        }
        let is_below = |root: &RelPath| place.real.starts_with(&self.locate(root).real);
        let parent = path.parent().unwrap_or_default();
        if is_kustomization_file(path) {
            return (!is_below(&parent)).then_some(parent);
        }
        let roots = self.roots.borrow().clone();
        let mut readers = roots.iter().filter(|root| path.starts_with(root)).peekable();
        let nearest = readers.peek().map_or(parent, |root| (*root).clone());
        (!readers.any(is_below)).then_some(nearest)
    }

    fn open(&self, path: &RelPath, real: &Path) -> Result<Bytes, ReadError> {
        let failed = |error: io::Error| ReadError::Failed { path: path.clone(), kind: error.kind() };
        // What stands there may have changed since it was looked at: a FIFO must not make us wait, a link not be followed.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(real, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        let mut file = File::from(file);
        let metadata = file.metadata().map_err(failed)?;
        if let What::Special(noun) = what(metadata.file_type()) {
            return Err(ReadError::NotRegular { path: path.clone(), what: noun });
        }
        let too_large = |bytes: u64| ReadError::TooLarge { path: path.clone(), bytes, max: self.bytes_max };
        if metadata.len() > self.bytes_max {
            return Err(too_large(metadata.len()));
        }
        let mut content = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default() + 1);
        file.by_ref().take(self.bytes_max + 1).read_to_end(&mut content).map_err(failed)?;
        let bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
        if bytes > self.bytes_max { Err(too_large(bytes)) } else { Ok(content.into()) }
    }
}

impl FileTree for DiskTree {
    fn kind(&self, path: &RelPath) -> Option<EntryKind> {
        let place = self.locate(path);
        match place.what {
            What::Absent => None,
            What::Dir => Some(EntryKind::Dir),
            What::File | What::Special(_) => match self.escaped(path, &place) {
                Some(root) if is_kustomization_file(path) => {
                    let note = ReadError::Outside { path: path.clone(), root }.to_string();
                    self.notes.borrow_mut().insert(note);
                    None
                }
                // Reading it is refused with the reason; that it is absent would be untrue.
                Some(_) | None => Some(EntryKind::File),
            },
        }
    }

    fn follow(&self, path: &RelPath) -> RelPath {
        let place = self.locate(path);
        let real = place.real.strip_prefix("/").ok().and_then(Path::to_str);
        real.and_then(|text| RelPath::parse(text).ok()).unwrap_or_else(|| path.clone())
    }

    fn read(&self, path: &RelPath) -> Result<Bytes, ReadError> {
        let place = self.locate(path);
        let path = path.clone();
        match place.what {
            What::Absent => return Err(ReadError::NotFound { path }),
            What::Dir => return Err(ReadError::IsDirectory { path }),
            What::File | What::Special(_) => {}
        }
        if let Some(root) = self.escaped(&path, &place) {
            return Err(ReadError::Outside { path, root });
        }
        if let What::Special(what) = place.what {
            return Err(ReadError::NotRegular { path, what });
        }
        let content = self.open(&path, &place.real)?;
        if let (true, Some(directory)) = (is_kustomization_file(&path), path.parent()) {
            self.roots.borrow_mut().push(directory);
        }
        Ok(content)
    }

    /// As a walk sees it: a directory behind a link is left out, so that no walk runs in a circle.
    fn list(&self, path: &RelPath) -> Result<Vec<(String, EntryKind)>, ReadError> {
        let place = self.locate(path);
        match place.what {
            What::Absent => return Err(ReadError::NotFound { path: path.clone() }),
            What::File | What::Special(_) => return Err(ReadError::NotADirectory { path: path.clone() }),
            What::Dir => {}
        }
        let failed = |error: io::Error| ReadError::Failed { path: path.clone(), kind: error.kind() };
        let mut entries = Vec::new();
        for entry in fs::read_dir(&place.real).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            // A name that is not UTF-8 cannot be written in a kustomization file either.
            let Ok(name) = entry.file_name().into_string() else { continue };
            if kind.is_dir() {
                entries.push((name, EntryKind::Dir));
            } else if kind.is_file() || (kind.is_symlink() && is_linked_file(&entry.path())) {
                entries.push((name, EntryKind::File));
            }
        }
        entries.sort();
        Ok(entries)
    }
}

fn is_linked_file(link: &Path) -> bool {
    fs::metadata(link).is_ok_and(|metadata| metadata.is_file())
}

fn is_kustomization_file(path: &RelPath) -> bool {
    path.file_name().is_some_and(|name| FILE_NAMES.contains(&name))
}

/// Where a link leads in the end.
fn follow(link: &Path) -> io::Result<(PathBuf, What)> {
    let real = fs::canonicalize(link)?;
    let kind = fs::symlink_metadata(&real)?.file_type();
    Ok((real, what(kind)))
}

fn what(kind: FileType) -> What {
    if kind.is_file() {
        What::File
    } else if kind.is_dir() {
        What::Dir
    } else if kind.is_fifo() {
        What::Special("a FIFO")
    } else if kind.is_socket() {
        What::Special("a socket")
    } else if kind.is_block_device() || kind.is_char_device() {
        What::Special("a device")
    } else {
        What::Special("no file")
    }
}

#[cfg(test)]
mod tests;
