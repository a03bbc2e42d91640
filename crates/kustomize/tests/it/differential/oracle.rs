//! kustomize itself: how it is found, and its result for a tree.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use crate::differential::case::Case;

/// A command line to which the directory is added.
const COMMAND: &str = "PLUMB_KUSTOMIZE";
/// The same for a program that serves many builds: see [`Server`].
const SERVER: &str = "PLUMB_KUSTOMIZE_SERVER";
/// A build that takes longer has not ended.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The result of kustomize.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Built(String),
    Refused(String),
    /// It panicked, died or did not end: the case is skipped.
    Failed(String),
}

/// How kustomize is run.
#[derive(Debug, Clone)]
pub enum Program {
    /// A process for each build.
    Command(Vec<String>),
    /// One process for many.
    Server(Vec<String>),
}

/// Finds kustomize: what the environment names, or the `kubectl` of a cached control plane.
pub fn find() -> Option<Program> {
    let words = |name: &str| {
        let line = env::var(name).ok().filter(|line| !line.trim().is_empty())?;
        Some(line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    };
    if let Some(words) = words(SERVER) {
        return Some(Program::Server(words));
    }
    words(COMMAND).or_else(cached_plane).map(Program::Command)
}

/// The newest plane in the user's cache: `plumb/plane/<version>/plane kubectl kustomize`.
fn cached_plane() -> Option<Vec<String>> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    let versions = fs::read_dir(cache.join("plumb/plane")).ok()?;
    let mut planes: Vec<PathBuf> =
        versions.flatten().map(|entry| entry.path().join("plane")).filter(|plane| plane.is_file()).collect();
    planes.sort();
    let plane = planes.pop()?;
    Some(vec![plane.to_string_lossy().into_owned(), "kubectl".to_owned(), "kustomize".to_owned()])
}

/// kustomize, with a folder of its own for the trees.
pub struct Oracle {
    program: Program,
    folder: PathBuf,
    server: Option<Server>,
}

impl Oracle {
    pub fn new(program: Program, number: usize) -> io::Result<Self> {
        let folder = env::temp_dir().join(format!("plumb-differential-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self { program, folder, server: None })
    }

    /// The result of kustomize for the case. Paths of this machine are cut out of its messages.
    pub fn ask(&mut self, case: &Case) -> io::Result<Verdict> {
        let tree = self.folder.join("tree");
        if tree.exists() {
            fs::remove_dir_all(&tree)?;
        }
        fs::create_dir_all(&tree)?;
        case.write(&tree)?;
        let directory = tree.join(&case.target);
        let verdict = match &self.program {
            Program::Command(words) => run(words, &directory)?,
            Program::Server(words) => {
                // Schemas stay in the process for the builds that follow, and those that are read by then count.
                let is_fresh = case.mentions("openapi");
                let server = match self.server.take().filter(|_| !is_fresh) {
                    Some(server) => server,
                    None => Server::start(words)?,
                };
                let (verdict, server) = server.ask(&directory);
                self.server = server.filter(|_| !is_fresh);
                verdict
            }
        };
        let place = tree.to_string_lossy().into_owned();
        Ok(match verdict {
            Verdict::Refused(text) => Verdict::Refused(text.replace(&place, "")),
            Verdict::Built(text) => Verdict::Built(of_version(&text)),
            Verdict::Failed(text) => Verdict::Failed(text),
        })
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The text with our version in the label of `managedByLabel`: a custom build has another.
fn of_version(text: &str) -> String {
    const LABEL: &str = "app.kubernetes.io/managed-by: kustomize-";
    let lines = text.split_inclusive('\n').map(|line| match line.split_once(LABEL) {
        Some((margin, _)) => format!("{margin}{LABEL}v5.8.1\n"),
        None => line.to_owned(),
    });
    lines.collect()
}

fn run(words: &[String], directory: &Path) -> io::Result<Verdict> {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(directory);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let collect = |mut from: Box<dyn io::Read + Send>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = from.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let output = child.stdout.take().map(|pipe| collect(Box::new(pipe)));
    let errors = child.stderr.take().map(|pipe| collect(Box::new(pipe)));
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > TIMEOUT {
            child.kill()?;
            child.wait()?;
            return Ok(Verdict::Failed("it did not end".to_owned()));
        }
        thread::sleep(Duration::from_millis(2));
    };
    let text = |reader: Option<thread::JoinHandle<String>>| {
        reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
    };
    let (output, errors) = (text(output), text(errors));
    Ok(match status.code() {
        Some(0) => Verdict::Built(output),
        // Go's exit code after a panic or a fatal error.
        Some(2) | None => Verdict::Failed(errors),
        Some(_) => Verdict::Refused(errors),
    })
}

/// A program that reads a line `root DIRECTORY` and responds `ok LENGTH`, `err LENGTH` or `panic LENGTH`, a line break
/// and as many bytes. It saves the start of a process for each build.
struct Server {
    child: Killed,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Server {
    fn start(words: &[String]) -> io::Result<Self> {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => {
                Ok(Self { child: Killed(child), input, output: BufReader::new(output) })
            }
            _ => Err(io::Error::other("the program has no pipes")),
        }
    }

    /// Sends a request, and returns the server if it still runs.
    fn ask(self, directory: &Path) -> (Verdict, Option<Self>) {
        let Self { child, mut input, mut output } = self;
        let line = format!("root {}\n", directory.display());
        let reader = thread::spawn(move || {
            input.write_all(line.as_bytes())?;
            let mut head = String::new();
            output.read_line(&mut head)?;
            let (kind, length) =
                head.trim_end().split_once(' ').ok_or_else(|| io::Error::other("it died"))?;
            let mut bytes = vec![0; length.parse().map_err(io::Error::other)?];
            output.read_exact(&mut bytes)?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let verdict = match kind {
                "ok" => Verdict::Built(text),
                "err" => Verdict::Refused(text),
                _ => Verdict::Failed(text),
            };
            io::Result::Ok((verdict, input, output))
        });
        let started = Instant::now();
        while !reader.is_finished() && started.elapsed() < TIMEOUT {
            thread::sleep(Duration::from_micros(200));
        }
        if !reader.is_finished() {
            drop(child);
            return (Verdict::Failed("it did not end".to_owned()), None);
        }
        match reader.join() {
            Ok(Ok((verdict, input, output))) => (verdict, Some(Self { child, input, output })),
            Ok(Err(error)) => (Verdict::Failed(error.to_string()), None),
            Err(_) => (Verdict::Failed("the reader panicked".to_owned()), None),
        }
    }
}

/// A process that ends with its owner.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
