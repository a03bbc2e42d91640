//! Cleanup: a small shell that waits until this process has ended, in any way, then removes its leftovers.
//!
//! It reads process ids from a pipe that only we hold. When the pipe ends (we closed it, or were killed), it kills
//! those processes and removes the folder. A destructor cannot guarantee that: statics have none, and SIGKILL runs none.

use std::{
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context as _, Result};

const SCRIPT: &str = r#"
trap '' HUP INT TERM
while read -r id; do ids="$ids $id"; done
for id in $ids; do kill -9 "$id" 2>/dev/null; done
for _ in 1 2 3 4 5; do rm -rf -- "$1" 2>/dev/null && break; sleep 0.2; done
"#;

/// The guard of one folder and the processes that write into it.
pub struct Reaper {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Reaper {
    /// Guards a folder: it is removed when the reaper is dropped, or when this process ends in any way.
    pub fn of(folder: &Path) -> Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "plumb-reaper"]).arg(folder).current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut shell = command.spawn().context("cannot start /bin/sh")?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// Also kills this process at the end.
    pub fn adopt(&mut self, id: u32) -> Result<()> {
        let pipe = self.pipe.as_mut().context("the reaper has no pipe")?;
        writeln!(pipe, "{id}").context("the reaper is gone")
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // It ends by itself; an error means that another process has ended it.
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_adopted_is_killed_and_the_folder_removed() {
        let folder = tempfile::tempdir().unwrap().keep();
        let mut sleeper = Command::new("sleep").arg("60").spawn().unwrap();
        let mut reaper = Reaper::of(&folder).unwrap();
        reaper.adopt(sleeper.id()).unwrap();
        drop(reaper);
        assert!(!sleeper.wait().unwrap().success());
        assert!(!folder.exists());
    }
}
