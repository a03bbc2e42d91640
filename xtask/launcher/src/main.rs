//! `cargo xtask …`: builds the workspace's programs, reports the progress, and executes `xtask`. It has no dependencies:
//! cargo is silent while it compiles this program, so it has to compile in a second or two.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader, IsTerminal as _, stderr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Time until the first line of progress, where little is left to build.
const FIRST_PROGRESS: Duration = Duration::from_secs(1);
/// Time between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let built = if stderr().is_terminal() { build_on_terminal(&root) } else { build_with_progress(&root) };
    match built {
        Ok(true) => {}
        Ok(false) => return ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: cannot build the workspace's programs: {error}");
            return ExitCode::FAILURE;
        }
    }
    let error = execute_xtask();
    eprintln!("error: cannot start xtask: {error}");
    ExitCode::FAILURE
}

/// Executes `xtask`, which is in the same folder. Returns only if that fails.
fn execute_xtask() -> std::io::Error {
    let xtask = match xtask() {
        Ok(xtask) => xtask,
        Err(error) => return error,
    };
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    Command::new(xtask).args(arguments).exec()
}

/// Where the program is that does the work.
fn xtask() -> std::io::Result<PathBuf> {
    Ok(env::current_exe()?.with_file_name("xtask"))
}

fn build_command(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Those that the tests and the demo start as well: built once, with one set of features.
    command.current_dir(root).args(["build", "--workspace", "--bins"]);
    command
}

/// cargo draws its own progress bar.
fn build_on_terminal(root: &Path) -> std::io::Result<bool> {
    Ok(build_command(root).status()?.success())
}

/// Reports every few seconds the action of cargo, its progress, and the elapsed time.
fn build_with_progress(root: &Path) -> std::io::Result<bool> {
    let started = Instant::now();
    let mut child = build_command(root).stderr(Stdio::piped()).spawn()?;
    let Some(output) = child.stderr.take() else { return Ok(child.wait()?.success()) };
    let (sender, lines) = channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut progress = Progress { compiled: 0, crates: crates(root), now: "starting cargo".to_owned() };
    // Where nothing was built yet, a build of minutes is certain; else it may end soon.
    let first = if xtask().is_ok_and(|xtask| xtask.exists()) { FIRST_PROGRESS } else { Duration::ZERO };
    let (mut next, mut reported) = (started + first, false);
    loop {
        match lines.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(line) if progress.read(&line) => {}
            Ok(line) => eprintln!("{line}"),
            Err(RecvTimeoutError::Timeout) => {
                eprintln!("{}", progress.line(started.elapsed()));
                (next, reported) = (Instant::now() + PROGRESS_EVERY, true);
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    // It has ended: it was what held the sender.
    let _ = reader.join();
    let built = child.wait()?.success();
    if built && reported {
        eprintln!("{}", progress.end(started.elapsed()));
    }
    Ok(built)
}

/// How many packages Cargo.lock names; 0 if it cannot be read.
fn crates(root: &Path) -> usize {
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    lock.lines().filter(|line| *line == "[[package]]").count()
}

/// How far the build is.
struct Progress {
    compiled: usize,
    /// At most so many are compiled.
    crates: usize,
    /// What cargo does, in its words.
    now: String,
}

impl Progress {
    /// Parses a line of cargo's that reports its action; false for any other line, which is for users.
    fn read(&mut self, line: &str) -> bool {
        let Some((verb, what)) = line.trim_start().split_once(' ') else { return false };
        let actions =
            ["Compiling", "Downloading", "Downloaded", "Updating", "Locking", "Blocking", "Finished"];
        if !actions.contains(&verb) || !line.starts_with(' ') {
            return false;
        }
        if verb == "Compiling" {
            self.compiled += 1;
        }
        // Without the folder of a package of the workspace.
        self.now = format!("{verb} {}", what.split(" (").next().unwrap_or(what)).to_lowercase();
        true
    }

    fn line(&self, elapsed: Duration) -> String {
        let Self { compiled, crates, now } = self;
        format!("[{:>4} s] building: {compiled} of at most {crates} crates, {now}", elapsed.as_secs())
    }

    fn end(&self, elapsed: Duration) -> String {
        format!("[{:>4} s] built: {} crates", elapsed.as_secs(), self.compiled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_from_cargo_and_everything_else_is_passed_on() {
        let mut progress = Progress { compiled: 0, crates: 400, now: String::new() };
        for line in [
            "  Downloaded serde v1.0.1",
            "   Compiling serde v1.0.1",
            "   Compiling plumb-api v0.1.0 (/a/folder)",
            "    Blocking waiting for file lock on build directory",
        ] {
            assert!(progress.read(line), "{line}");
        }
        assert_eq!(
            progress.line(Duration::from_secs(61)),
            "[  61 s] building: 2 of at most 400 crates, blocking waiting for file lock on build directory"
        );
        assert_eq!(progress.end(Duration::from_secs(75)), "[  75 s] built: 2 crates");
        for line in ["warning: unused import", "error[E0425]: cannot find value", "", "Compiling nothing"] {
            assert!(!progress.read(line), "{line}");
        }
    }

    #[test]
    fn the_crates_are_counted() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert!(crates(&root) > 100);
        assert_eq!(crates(&root.join("none")), 0);
    }
}
