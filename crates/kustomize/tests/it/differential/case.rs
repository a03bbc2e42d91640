//! A tree of files and the directory in it that is built.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use bytes::Bytes;
use plumb_filetree::{MemoryTree, RelPath, TreeLimits};

/// An input of both programs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Case {
    pub files: BTreeMap<String, Vec<u8>>,
    /// The directory that is built.
    pub target: String,
}

impl Case {
    /// Puts the tree below a folder that is empty.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        for (path, content) in &self.files {
            let file = folder.join(path);
            if let Some(parent) = file.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(file, content)?;
        }
        fs::create_dir_all(folder.join(&self.target))
    }

    /// Reads back what [`Case::write`] has written.
    pub fn read(folder: &Path, target: &str) -> io::Result<Self> {
        let mut case = Self { target: target.to_owned(), ..Self::default() };
        let mut pending = vec![folder.to_owned()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory)? {
                let path = entry?.path();
                if path.is_dir() {
                    pending.push(path);
                } else if let Ok(name) = path.strip_prefix(folder) {
                    case.files.insert(name.to_string_lossy().into_owned(), fs::read(&path)?);
                }
            }
        }
        Ok(case)
    }

    /// The tree in memory; `None` where it has a path that no tree holds.
    pub fn tree(&self) -> Option<MemoryTree> {
        let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
        for (path, content) in &self.files {
            builder.file(&RelPath::parse(path).ok()?, Bytes::from(content.clone()), false).ok()?;
        }
        Some(builder.build())
    }

    /// Whether a word is in any file.
    pub fn mentions(&self, word: &str) -> bool {
        let word = word.as_bytes();
        self.files
            .values()
            .any(|content| content.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word)))
    }

    /// All files as one text.
    pub fn render(&self) -> String {
        let mut text = format!("target: {:?}\n", self.target);
        for (path, content) in &self.files {
            let shown = match std::str::from_utf8(content) {
                Ok(content) if !content.contains(['\r', '\u{feff}', '\0']) => content.to_owned(),
                Ok(content) => format!("{content:?}\n"),
                Err(_) => format!("{content:02x?}\n"),
            };
            let _ = write!(text, "-- {path} --\n{shown}");
            if !shown.ends_with('\n') {
                text.push_str("(no newline)\n");
            }
        }
        text
    }
}
