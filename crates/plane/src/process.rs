//! Child processes that cannot outlive us: each is killed when this process ends, however it ends.
//!
//! The kernel sends the parent-death signal when the *thread* that spawned the child ends, so one thread that lives
//! as long as the process spawns them all: a test harness gives each test a thread of its own.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        mpsc::{self, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::process::Signal;

/// How long a killed process may take to end.
const KILL_WAIT_MAX: Duration = Duration::from_secs(10);
/// Polling interval of an ending process.
const KILL_POLL: Duration = Duration::from_millis(5);

type Request = (Command, Sender<io::Result<Child>>);

/// What to start: a program, its arguments, its environment, where its output goes.
pub struct Start<'a> {
    /// Names the process in errors.
    pub name: &'a str,
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// Environment variables in addition to ours.
    pub environment: Vec<(OsString, OsString)>,
    /// Where stdout and stderr are appended.
    pub log: PathBuf,
}

/// A running child. Dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a child in a process group of its own (a Ctrl-C at the terminal is ours to handle, not its).
    pub fn start(start: Start<'_>) -> Result<Self> {
        let Start { name, argv, environment, log } = start;
        let output = File::options().create(true).append(true).open(&log);
        let output = output.with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = guarded(&argv)?;
        command.envs(environment).stdin(Stdio::null()).process_group(0);
        command.stdout(output.try_clone().context("cannot share the log")?).stderr(output);
        let child = spawn(command).with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The name it was started with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends SIGKILL and waits until the process has ended.
    pub fn kill(&mut self) {
        // Both fail only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends SIGTERM and waits for the end, at most this long; then SIGKILL. True if SIGTERM was enough.
    pub fn stop(&mut self, patience: Duration) -> bool {
        terminate(self.id());
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if self.ended().is_some() {
                return true;
            }
            thread::sleep(KILL_POLL);
        }
        self.kill();
        false
    }

    /// The last lines of its log, for an error message.
    pub fn last_lines(&self, count: usize) -> String {
        last_lines(&self.log, count)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends SIGTERM to a process, if it is there.
pub fn terminate(id: u32) {
    signal(id, Signal::TERM);
}

/// Sends SIGKILL to a process, if it is there. Does not wait for its end.
pub fn kill(id: u32) {
    signal(id, Signal::KILL);
}

/// Sends SIGSTOP to a process, if it is there: it runs no instruction until [`resume`].
pub fn pause(id: u32) {
    signal(id, Signal::STOP);
}

/// Sends SIGCONT to a process, if it is there.
pub fn resume(id: u32) {
    signal(id, Signal::CONT);
}

fn signal(id: u32, signal: Signal) {
    let id = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(id) = id {
        // Fails only when the process has ended already.
        let _ = rustix::process::kill_process(id, signal);
    }
}

/// Waits until a process that is not our child has ended; false if it still runs.
pub fn wait_until_gone(id: u32) -> bool {
    let deadline = Instant::now() + KILL_WAIT_MAX;
    while Path::new(&format!("/proc/{id}")).exists() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(KILL_POLL);
    }
    true
}

/// The last lines of a log file; a note when it cannot be read.
pub fn last_lines(log: &Path, count: usize) -> String {
    let Ok(file) = File::open(log) else { return format!("({} cannot be read)", log.display()) };
    let mut lines = VecDeque::with_capacity(count + 1);
    for line in BufReader::new(file).lines().map_while(Result::ok) {
        lines.push_back(line);
        if lines.len() > count {
            lines.pop_front();
        }
    }
    Vec::from(lines).join("\n")
}

/// The command behind `setpriv --pdeathsig KILL`, where util-linux is there. Elsewhere the reaper alone cleans up.
fn guarded(argv: &[OsString]) -> Result<Command> {
    static SETPRIV: OnceLock<Option<PathBuf>> = OnceLock::new();
    let (program, arguments) = argv.split_first().context("a command needs a program")?;
    let Some(setpriv) = SETPRIV.get_or_init(|| on_path("setpriv")) else {
        let mut command = Command::new(program);
        command.args(arguments);
        return Ok(command);
    };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments);
    Ok(command)
}

/// Looks a program up on PATH.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    program_in(&std::env::var_os("PATH")?, program)
}

/// Looks a program up in the folders of a search path.
pub(crate) fn program_in(path: &OsStr, program: &str) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| folder.join(program)).find(|file| is_executable(file))
}

/// Whether this is a file that may be run.
pub(crate) fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Request>();
        // The sender is static, so this thread ends only with the process.
        thread::spawn(move || {
            for (mut command, reply) in receiver {
                let _ = reply.send(command.spawn());
            }
        });
        sender
    });
    let (reply, answer) = mpsc::channel();
    let gone = |_| io::Error::other("the thread that spawns processes has ended");
    spawner
        .send((command, reply))
        .map_err(|_| io::Error::other("the thread that spawns processes has ended"))?;
    answer.recv().map_err(gone)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(folder: &Path) -> Process {
        let argv = vec!["sleep".into(), "60".into()];
        Process::start(Start { name: "sleep", argv, environment: Vec::new(), log: folder.join("log") })
            .unwrap()
    }

    #[test]
    fn a_child_outlives_the_thread_that_spawned_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let mut process = thread::spawn(move || sleeper(&path)).join().unwrap();
        thread::sleep(Duration::from_millis(50));
        assert!(process.ended().is_none());
    }

    #[test]
    fn a_dropped_child_is_terminated() {
        let folder = tempfile::tempdir().unwrap();
        let process = sleeper(folder.path());
        let id = process.id();
        drop(process);
        assert!(wait_until_gone(id));
    }

    #[test]
    fn a_child_that_listens_to_sigterm_is_not_killed() {
        let folder = tempfile::tempdir().unwrap();
        assert!(sleeper(folder.path()).stop(Duration::from_secs(5)));
    }
}
