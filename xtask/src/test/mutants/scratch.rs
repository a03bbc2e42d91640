//! The copy of the workspace that mutants are tried in. The user's own files are never changed, and the copy stays, so
//! that the next run builds only what changed.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// A copy of the files that git tracks or would add.
pub struct Scratch(PathBuf);

/// Puts a file's text back when it is dropped.
pub struct Restored {
    file: PathBuf,
    text: String,
}

impl Scratch {
    /// Makes the copy equal to the workspace. A file whose content is the same is not written, so that cargo takes it for
    /// unchanged.
    pub fn copy(root: &Path, folder: &Path) -> Result<Self> {
        let words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let listed =
            Command::new("git").current_dir(root).args(words).output().context("cannot start git")?;
        if !listed.status.success() {
            bail!("git cannot list the files of {}", root.display());
        }
        let listed = String::from_utf8(listed.stdout).context("a file's name is not UTF-8")?;
        let wanted: BTreeSet<&str> = listed.split('\0').filter(|name| root.join(name).is_file()).collect();
        for name in &wanted {
            copy_file(&root.join(name), &folder.join(name)).with_context(|| format!("cannot copy {name}"))?;
        }
        remove_others(folder, folder, &wanted)?;
        Ok(Self(folder.to_path_buf()))
    }

    /// The path of the copy.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Writes `mutated` into the file until the returned value is dropped; then `text` is restored.
    pub fn replace(&self, name: &str, text: &str, mutated: &str) -> Result<Restored> {
        let file = self.0.join(name);
        let restored = Restored { file: file.clone(), text: text.to_owned() };
        fs::write(file, mutated).with_context(|| format!("cannot write {name}"))?;
        Ok(restored)
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.file, &self.text) {
            eprintln!("cannot restore {}: {error}", self.file.display());
        }
    }
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let content = fs::read(from)?;
    if fs::read(to).is_ok_and(|there| there == content) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(to, content)?;
    Ok(())
}

fn remove_others(root: &Path, folder: &Path, wanted: &BTreeSet<&str>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            remove_others(root, &path, wanted)?;
            continue;
        }
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        if !wanted.contains(name.as_str()) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {name}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_follows_the_workspace_and_leaves_equal_files_alone() {
        let [root, copy] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let git = Command::new("git").current_dir(root.path()).args(["init", "--quiet"]).status().unwrap();
        assert!(git.success());
        fs::create_dir(root.path().join("src")).unwrap();
        fs::write(root.path().join("src/a.rs"), "one").unwrap();
        fs::write(root.path().join("b"), "two").unwrap();
        let scratch = Scratch::copy(root.path(), copy.path()).unwrap();
        let copied = scratch.folder().join("src/a.rs");
        let written = fs::metadata(&copied).unwrap().modified().unwrap();
        fs::remove_file(root.path().join("b")).unwrap();
        let scratch = Scratch::copy(root.path(), copy.path()).unwrap();
        assert_eq!(fs::metadata(&copied).unwrap().modified().unwrap(), written);
        assert!(!scratch.folder().join("b").exists());
        let restored = scratch.replace("src/a.rs", "one", "broken").unwrap();
        assert_eq!(fs::read_to_string(&copied).unwrap(), "broken");
        drop(restored);
        assert_eq!(fs::read_to_string(&copied).unwrap(), "one");
    }
}
