//! A repository on the Git server and a working tree next to it, both driven by the stock `git` command.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// The branch that everything is pushed to.
pub const BRANCH: &str = "main";

/// A working tree whose `origin` is a repository of the Git server.
pub struct Repository {
    work: PathBuf,
    ca: Option<PathBuf>,
}

impl Repository {
    pub(crate) fn create(bare: &Path, work: &Path, url: &str, ca: Option<PathBuf>) -> Result<Self> {
        fs::create_dir_all(work)?;
        let repository = Self { work: work.to_owned(), ca };
        let bare = bare.to_str().context("a temporary folder has a readable name")?;
        repository.git(&["init", "--quiet", "--bare", "--initial-branch", BRANCH, bare])?;
        repository.git(&["-C", bare, "config", "http.receivepack", "true"])?;
        repository.git(&["-C", bare, "config", "uploadpack.allowFilter", "true"])?;
        repository.git(&["init", "--quiet", "--initial-branch", BRANCH])?;
        repository.git(&["remote", "add", "origin", url])?;
        Ok(repository)
    }

    /// The working tree.
    pub fn folder(&self) -> &Path {
        &self.work
    }

    /// Writes a file of the working tree.
    pub fn write(&self, path: &str, content: &str) -> Result<()> {
        let file = self.work.join(path);
        fs::create_dir_all(file.parent().context("a file has a folder")?)?;
        fs::write(&file, content).with_context(|| format!("cannot write {path}"))
    }

    /// Reads a file of the working tree.
    pub fn read(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.work.join(path)).with_context(|| format!("cannot read {path}"))
    }

    /// Replaces the first event of a text in a file; an error if there is none.
    pub fn replace(&self, path: &str, old: &str, new: &str) -> Result<()> {
        let before = self.read(path)?;
        if !before.contains(old) {
            bail!("{path} does not contain {old:?}");
        }
        self.write(path, &before.replacen(old, new, 1))
    }

    /// Removes a file of the working tree.
    pub fn remove(&self, path: &str) -> Result<()> {
        fs::remove_file(self.work.join(path)).with_context(|| format!("cannot remove {path}"))
    }

    /// Commits everything and pushes it; returns the commit's id.
    pub fn push(&self, message: &str) -> Result<String> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message])?;
        self.git(&["push", "--quiet", "origin", BRANCH])?;
        self.head()
    }

    /// Reverts the newest commit and pushes that; returns the new commit's id.
    pub fn revert(&self) -> Result<String> {
        self.git(&["revert", "--no-edit", "HEAD"])?;
        self.git(&["push", "--quiet", "origin", BRANCH])?;
        self.head()
    }

    /// The id of the newest commit.
    pub fn head(&self) -> Result<String> {
        Ok(self.git(&["rev-parse", "HEAD"])?.trim().to_owned())
    }

    /// The revision as sources report it: `main@sha1:<id>`.
    pub fn revision(&self) -> Result<String> {
        Ok(format!("{BRANCH}@sha1:{}", self.head()?))
    }

    /// Runs git in the working tree, untouched by the user's own configuration.
    pub fn git(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("git");
        command.current_dir(&self.work).args(arguments);
        command
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0");
        for role in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{role}_NAME"), "Plumb")
                .env(format!("GIT_{role}_EMAIL"), "plumb@example.com");
        }
        if let Some(ca) = &self.ca {
            command.env("GIT_SSL_CAINFO", ca);
        }
        let output = command.output().context("cannot start git")?;
        if !output.status.success() {
            bail!("git {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
