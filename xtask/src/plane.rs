//! `cargo xtask plane up|down|env`: a control plane for people. A supervisor in a session of its own owns it, so that it
//! outlives the terminal's command and nothing but `down` is needed to be rid of it.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use plumb_plane::{ADMIN, HANDOVER, Plane, PlaneOptions, cache_folder, process};
use serde::{Deserialize, Serialize};

/// Polling interval of a starting supervisor.
const POLL: Duration = Duration::from_millis(100);
/// How long `up` waits: a first start may build the plane.
const UP_MAX: Duration = Duration::from_mins(30);
const LOG_LINES: usize = 20;

/// Arguments of `cargo xtask plane`.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Start a control plane in the background.
    Up {
        /// Write an audit log.
        #[arg(long)]
        audit: bool,
        /// Milliseconds until a pod on the fake node is Ready.
        #[arg(long, default_value_t = 200)]
        ready_after: u64,
    },
    /// Stop the control plane that `up` started.
    Down,
    /// Print the environment of the control plane, for `eval`.
    Env,
    /// Run the control plane in the foreground until SIGTERM.
    #[command(hide = true)]
    Supervise {
        #[arg(long)]
        audit: bool,
        #[arg(long)]
        ready_after: u64,
    },
}

/// What the supervisor leaves for `down` and `env`.
#[derive(Serialize, Deserialize)]
struct State {
    supervisor: u32,
    plane: PathBuf,
}

/// Starts, stops, shows or owns the plane.
pub fn run(arguments: &Arguments) -> Result<()> {
    let folder = cache_folder()?.join("plane").join("up");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    match &arguments.action {
        Action::Up { audit, ready_after } => up(&folder, *audit, *ready_after),
        Action::Down => down(&folder),
        Action::Env => print_environment(&folder),
        Action::Supervise { audit, ready_after } => supervise(&folder, *audit, *ready_after),
    }
}

fn up(folder: &Path, audit: bool, ready_after: u64) -> Result<()> {
    if running(folder)?.is_some() {
        eprintln!("a control plane is up already");
        return print_environment(folder);
    }
    let log = folder.join("supervisor.log");
    let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new(std::env::current_exe().context("this program has no path")?);
    command.args(["plane", "supervise", "--ready-after", &ready_after.to_string()]);
    if audit {
        command.arg("--audit");
    }
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let mut supervisor = command.spawn().context("cannot start the supervisor")?;
    let (deadline, mut reported) = (Instant::now() + UP_MAX, 0);
    while running(folder)?.is_none() {
        reported += print_output(&log, reported)?;
        if let Some(status) = supervisor.try_wait()? {
            bail!("the control plane did not start ({status}):\n{}", process::last_lines(&log, LOG_LINES));
        }
        if Instant::now() > deadline {
            bail!("the control plane did not start; see {}", log.display());
        }
        thread::sleep(POLL);
    }
    print_output(&log, reported)?;
    print_environment(folder)
}

/// Passes on the new output of the supervisor; returns how many bytes that was.
fn print_output(log: &Path, reported: usize) -> Result<usize> {
    let text = fs::read(log).context("the supervisor has no log")?;
    let new_output = text.get(reported..).unwrap_or_default();
    std::io::stderr().write_all(new_output)?;
    Ok(new_output.len())
}

fn down(folder: &Path) -> Result<()> {
    let Some(state) = running(folder)? else {
        eprintln!("no control plane is up");
        return Ok(());
    };
    process::terminate(state.supervisor);
    if !process::wait_until_gone(state.supervisor) {
        bail!("the supervisor (process {}) does not end", state.supervisor);
    }
    eprintln!("the control plane is down");
    Ok(())
}

fn print_environment(folder: &Path) -> Result<()> {
    let state = running(folder)?.context("no control plane is up: `cargo xtask plane up` starts one")?;
    let plane = Plane::from_file(&state.plane)?;
    let kubectl =
        plane.kubectl().iter().map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ");
    let mut lines = format!(
        "export KUBECONFIG={}\nexport {HANDOVER}={}\n",
        quoted(&plane.kubeconfig(ADMIN).to_string_lossy()),
        quoted(&state.plane.to_string_lossy()),
    );
    if !kubectl.is_empty() {
        lines.extend(["# kubectl: ", &*kubectl, "\n"]);
    }
    Ok(std::io::stdout().write_all(lines.as_bytes())?)
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The state, if its supervisor runs: only a running one holds the lock.
fn running(folder: &Path) -> Result<Option<State>> {
    let lock = File::create(folder.join("lock")).context("cannot write the lock")?;
    if lock.try_lock().is_ok() {
        return Ok(None);
    }
    match fs::read(folder.join("state.json")) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text).context("the state is damaged")?)),
        Err(_) => Ok(None), // it starts
    }
}

fn supervise(folder: &Path, audit: bool, ready_after: u64) -> Result<()> {
    rustix::process::setsid().context("the supervisor cannot have a session of its own")?;
    let lock = File::create(folder.join("lock")).context("cannot write the lock")?;
    lock.try_lock().context("another supervisor runs")?;
    let state_file = folder.join("state.json");
    let _ = fs::remove_file(&state_file); // of a supervisor that was killed
    let node = Some(Duration::from_millis(ready_after));
    let plane = Plane::start(&PlaneOptions {
        audit,
        node,
        progress: |line| eprintln!("{line}"),
        ..PlaneOptions::default()
    })?;
    eprintln!("{}; ready in {:.1} s", plane.origin(), plane.started_in().as_secs_f32());
    let state = State { supervisor: std::process::id(), plane: plane.description() };
    let written = folder.join("state.json.new");
    fs::write(&written, serde_json::to_vec(&state)?)?;
    fs::rename(&written, &state_file)?;
    wait_for_the_end()?;
    drop(plane);
    Ok(fs::remove_file(&state_file)?)
}

/// Waits for SIGTERM or Ctrl-C.
pub fn wait_for_the_end() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        tokio::select! { _ = terminated.recv() => {}, _ = interrupted.recv() => {} }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_word_is_read_back_whole() {
        let output =
            Command::new("sh").arg("-c").arg(format!("printf %s {}", quoted("it's $HOME"))).output().unwrap();
        assert_eq!(output.stdout, b"it's $HOME");
    }

    #[test]
    fn without_a_supervisor_nothing_is_up() {
        let folder = tempfile::tempdir().unwrap();
        assert!(running(folder.path()).unwrap().is_none());
    }
}
