//! Object stores of others that tests run against: moto (S3, from PyPI) and azurite (Azure, from npm). Each is installed once per
//! machine, and kept. moto is installed with all that it needs at exact versions, azurite at one version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::{is_executable, last_lines, on_path};
use crate::programs::{cache_folder, locked};

/// A server that is installed by the package manager of its language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectServer {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The program that installs it.
    installer: &'static str,
    /// Where the program is, below the folder of the installation.
    program: &'static str,
}

/// A server of S3 and IAM.
pub const MOTO: ObjectServer =
    ObjectServer { name: "moto", version: "5.2.5", installer: "python3", program: "bin/moto_server" };

/// A server of Azure Blob Storage.
pub const AZURITE: ObjectServer = ObjectServer {
    name: "azurite",
    version: "3.35.0",
    installer: "npm",
    program: "node_modules/.bin/azurite-blob",
};

/// All of them.
pub const ALL: [ObjectServer; 2] = [MOTO, AZURITE];

/// What moto needs, at exact versions.
const MOTO_REQUIREMENTS: &str = include_str!("../peers/moto/requirements.txt");
/// Lines of an installer's output that an error shows.
const ERROR_LINES: usize = 20;

impl ObjectServer {
    /// Whether the program is there, or there is what installs it.
    pub fn is_obtainable(&self) -> bool {
        on_path(self.installer).is_some() || self.folder().is_ok_and(|folder| self.is_complete(&folder))
    }

    /// The program, of the cache or installed into it. `progress` receives a line each.
    pub fn provide(&self, progress: &dyn Fn(&str)) -> Result<PathBuf> {
        let folder = self.folder()?;
        let program = folder.join(self.program);
        if self.is_complete(&folder) {
            return Ok(program);
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let _lock = locked(&folder.join("lock"), self.name, progress)?;
        // The previous holder of the lock may have installed it.
        if !self.is_complete(&folder) {
            progress(&format!(
                "installing {} {} with {}: once per machine",
                self.name, self.version, self.installer
            ));
            self.install(&folder)?;
            fs::write(folder.join("complete"), self.version)
                .context("cannot note that the installation is complete")?;
        }
        Ok(program)
    }

    fn folder(&self) -> Result<PathBuf> {
        Ok(cache_folder()?.join("peers").join(format!("{}-{}", self.name, self.version)))
    }

    /// The programs of both languages name their folder, so they are installed where they stay: a file tells that all is there.
    fn is_complete(&self, folder: &Path) -> bool {
        folder.join("complete").exists() && is_executable(&folder.join(self.program))
    }

    fn install(&self, folder: &Path) -> Result<()> {
        let installer = on_path(self.installer).with_context(|| {
            format!("no {} to install {} {} with", self.installer, self.name, self.version)
        })?;
        let mut command = Command::new(installer);
        command.current_dir(folder);
        if self.installer == "npm" {
            fs::write(folder.join("package.json"), "{\"private\": true}\n")
                .context("cannot write package.json")?;
            command.args(["install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]);
            command.arg(format!("{}@{}", self.name, self.version));
            return run(command, &folder.join("log"));
        }
        command.args(["-m", "venv", "."]);
        run(command, &folder.join("log"))?;
        fs::write(folder.join("requirements.txt"), MOTO_REQUIREMENTS)
            .context("cannot write requirements.txt")?;
        let mut command = Command::new(folder.join("bin/pip"));
        command.current_dir(folder).args(["install", "--quiet", "--no-deps", "-r", "requirements.txt"]);
        run(command, &folder.join("log"))
    }
}

fn run(mut command: Command, log: &Path) -> Result<()> {
    let output = fs::File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
    command.stdout(output.try_clone().context("cannot share the log")?).stderr(output);
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}:\n{}", last_lines(log, ERROR_LINES));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moto_is_held_at_its_version_with_all_that_it_needs() {
        let lines: Vec<&str> = MOTO_REQUIREMENTS.lines().collect();
        assert!(lines.contains(&format!("moto=={}", MOTO.version).as_str()));
        assert!(lines.iter().all(|line| line.split("==").count() == 2), "{lines:?}");
    }
}
