//! What this process knows of the objects in the bucket, so that an attempt that changes nothing asks for one head: which contents were
//! hashed, by their ETags, and which files an object has. It is a memory of what was seen; the bucket decides.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use crate::layout::Location;

/// Artifacts and objects that are remembered. Beyond that all are forgotten, and looked at again.
const KEPT_MAX: usize = 100_000;

/// A file of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub name: String,
    pub written: SystemTime,
}

#[derive(Default)]
pub(super) struct Known {
    /// The ETag of the content that was hashed or uploaded, by path.
    verified: HashMap<String, String>,
    listed: HashMap<Location, Listed>,
}

struct Listed {
    files: Vec<File>,
    at: Instant,
}

impl Known {
    pub fn is_verified(&self, path: &str, etag: &str) -> bool {
        self.verified.get(path).is_some_and(|known| known == etag)
    }

    pub fn note_verified(&mut self, path: &str, etag: &str) {
        if self.verified.len() >= KEPT_MAX {
            self.verified.clear();
        }
        self.verified.insert(path.to_owned(), etag.to_owned());
    }

    /// The files of an object, if they were listed a short while ago.
    pub fn files(&self, location: &Location, max_age: Duration) -> Option<Vec<File>> {
        let listed = self.listed.get(location)?;
        (listed.at.elapsed() < max_age).then(|| listed.files.clone())
    }

    pub fn note_listed(&mut self, location: &Location, files: Vec<File>) {
        if self.listed.len() >= KEPT_MAX {
            self.listed.clear();
        }
        self.listed.insert(location.clone(), Listed { files, at: Instant::now() });
    }

    pub fn note_deleted(&mut self, location: &Location, path: &str) {
        self.forget(path);
        if let Some(listed) = self.listed.get_mut(location) {
            listed.files.retain(|file| Some(file.name.as_str()) != path.rsplit('/').next());
        }
    }

    pub fn forget(&mut self, path: &str) {
        self.verified.remove(path);
    }

    /// An object has files after all: somebody else wrote them.
    pub fn note_found(&mut self, location: &Location) {
        if self.listed.get(location).is_some_and(|listed| listed.files.is_empty()) {
            self.listed.remove(location);
        }
    }

    pub fn forget_files(&mut self, location: &Location) {
        self.listed.remove(location);
    }
}
