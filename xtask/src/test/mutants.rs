//! `cargo xtask test --mutants`: breaks one line of the code at a time, in a copy of the workspace, and checks for each that
//! the test that is named for it fails. A mutant that no test notices marks a guarantee without a test.

mod scratch;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use self::scratch::Scratch;
use super::{
    cargo,
    programs::{self, Program},
    say, shared_folder, target_folder,
};
use crate::proof::source::Tests;

const FOLDER: &str = "tests/mutants";
/// A mutant may make its test wait for ever; that counts as noticed.
const TEST_SECONDS_MAX: u64 = 120;
const POLL: Duration = Duration::from_millis(20);
/// One line of the code that is broken, and the test that must notice.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Mutant {
    /// What is broken, in words with hyphens.
    name: String,
    /// The file, below the workspace's folder.
    file: String,
    /// Text that occurs exactly once in it.
    find: String,
    /// The replacement.
    replace: String,
    /// The package of the test.
    package: String,
    /// The full path of the test as `cargo test` prints it.
    test: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MutantsFile {
    #[serde(default)]
    mutant: Vec<Mutant>,
}

/// What became of a mutant.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// The test failed.
    Killed,
    /// The test did not end in time.
    TimedOut,
    /// The test passed all the same.
    Survived,
    /// It cannot be tried, with the reason.
    Stale(String),
}

/// Runs the mutants whose name, file, package or test contains the filter; an error if one survived or is stale.
pub fn run(root: &Path, filter: Option<&str>) -> Result<()> {
    let started = Instant::now();
    let chosen: Vec<Mutant> = read(root)?.into_iter().filter(|mutant| mutant.matches(filter)).collect();
    if chosen.is_empty() {
        bail!("no mutant of {FOLDER} matches");
    }
    let sandbox = Sandbox::prepare(root)?;
    let mut verdicts: Vec<(Mutant, Verdict, Duration)> = Vec::new();
    for (package, mutants) in by_package(chosen) {
        eprintln!("== {package} ({:.0} s)", started.elapsed().as_secs_f32());
        let programs = sandbox.unmutated(&package, &mutants)?;
        for mutant in mutants {
            let began = Instant::now();
            let verdict = sandbox.judge(&mutant, &programs)?;
            eprintln!("  {:<9} {}", verdict.word(), mutant.name);
            verdicts.push((mutant, verdict, began.elapsed()));
        }
    }
    say("")?;
    for (mutant, verdict, took) in &verdicts {
        let why = if let Verdict::Stale(why) = verdict { format!(": {why}") } else { String::new() };
        say(&format!(
            "{:<9} {:>5.1} s  {}  {} in {}{why}",
            verdict.word(),
            took.as_secs_f32(),
            mutant.name,
            mutant.test,
            mutant.package
        ))?;
    }
    let count =
        |judge: fn(&Verdict) -> bool| verdicts.iter().filter(|(_, verdict, _)| judge(verdict)).count();
    let survived = count(|verdict| *verdict == Verdict::Survived);
    let stale = count(|verdict| matches!(verdict, Verdict::Stale(_)));
    let killed = verdicts.len() - survived - stale;
    say(&format!(
        "{killed} killed, {survived} survived, {stale} stale, in {:.0} s",
        started.elapsed().as_secs_f32()
    ))?;
    if survived + stale > 0 {
        bail!("not every mutant was killed");
    }
    Ok(())
}

/// Fails with every mutant that no longer fits the code: its text does not occur exactly once, or its test is missing.
pub fn check(root: &Path) -> Result<()> {
    let tests = Tests::read(root)?;
    let mut breaches = Vec::new();
    let mut names = BTreeSet::new();
    for mutant in read(root)? {
        if !names.insert(mutant.name.clone()) {
            breaches.push(format!("two mutants are called {}", mutant.name));
        }
        let text = fs::read_to_string(root.join(&mutant.file)).unwrap_or_default();
        let unfit = mutant.mutated(&text).err().or_else(|| tests.missing(&mutant.package, &mutant.test));
        let unfit = unfit.or_else(|| mutant.too_slow(&tests));
        breaches.extend(unfit.map(|why| format!("{}: {why}", mutant.name)));
    }
    if breaches.is_empty() { Ok(()) } else { bail!("{FOLDER}:\n  {}", breaches.join("\n  ")) }
}

/// Every mutant, in the order of the files' names.
fn read(root: &Path) -> Result<Vec<Mutant>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join(FOLDER)).with_context(|| format!("cannot read {FOLDER}"))? {
        files.push(entry?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut mutants = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file)?;
        let read: MutantsFile =
            toml::from_str(&text).with_context(|| format!("{} is not valid", file.display()))?;
        mutants.extend(read.mutant);
    }
    Ok(mutants)
}

/// By the package of the test, and inside by file: what is rebuilt between two mutants stays small.
fn by_package(mutants: Vec<Mutant>) -> BTreeMap<String, Vec<Mutant>> {
    let mut grouped: BTreeMap<String, Vec<Mutant>> = BTreeMap::new();
    for mutant in mutants {
        grouped.entry(mutant.package.clone()).or_default().push(mutant);
    }
    for group in grouped.values_mut() {
        group.sort_by(|a, b| a.file.cmp(&b.file));
    }
    grouped
}

impl Mutant {
    fn matches(&self, filter: Option<&str>) -> bool {
        let Some(filter) = filter else { return true };
        [&self.name, &self.file, &self.package, &self.test].iter().any(|text| text.contains(filter))
    }

    /// Why its test takes too long to run once per mutant, or `None`.
    fn too_slow(&self, tests: &Tests) -> Option<String> {
        let Self { package, test, .. } = self;
        let slow = tests.needs_plane(package, test);
        slow.then(|| format!("{test} of {package} needs a control plane: name a smaller test"))
    }

    /// The file's text with the one place replaced, or why that cannot be.
    fn mutated(&self, text: &str) -> Result<String, String> {
        if self.find == self.replace || self.find.is_empty() {
            return Err("it changes nothing".to_owned());
        }
        match text.matches(&self.find).count() {
            1 => Ok(text.replacen(&self.find, &self.replace, 1)),
            count => Err(format!("{:?} occurs {count} times in {}, not once", self.find, self.file)),
        }
    }
}

impl Verdict {
    const fn word(&self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::TimedOut => "timed out",
            Self::Survived => "SURVIVED",
            Self::Stale(_) => "STALE",
        }
    }
}

/// The copy of the workspace, and what is needed to build and run in it.
struct Sandbox {
    scratch: Scratch,
    build: PathBuf,
    shared: PathBuf,
    packages: BTreeMap<String, PathBuf>,
}

impl Sandbox {
    fn prepare(root: &Path) -> Result<Self> {
        let folder = target_folder(root)?.join("mutants");
        let scratch = Scratch::copy(root, &folder.join("tree"))?;
        let shared = std::path::absolute(shared_folder(root))?;
        let packages = programs::packages(&mut cargo(scratch.folder()))?;
        Ok(Self { scratch, build: folder.join("build"), shared, packages })
    }

    /// Which program contains which of the named tests, of those that exist and pass with the unchanged code.
    fn unmutated(&self, package: &str, mutants: &[Mutant]) -> Result<BTreeMap<String, Program>> {
        let named: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.test.as_str()).collect();
        let words = ["--lib", "--bins", "--tests"].map(str::to_owned);
        // A package without a library has no `--lib`; cargo reports that, and the rest is requested alone.
        let built = self.compile(package, &words).or_else(|_| self.compile(package, &words[1..]));
        let mut passing = BTreeMap::new();
        let built = built.with_context(|| format!("{package} does not compile as it stands"))?;
        for program in built.into_iter().filter(|program| !program.needs_plane()) {
            let listed = program.command().args(["--list", "--format", "terse"]).output()?;
            let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
            let tests = listed.lines().filter_map(|line| line.strip_suffix(": test"));
            for test in tests.filter(|test| named.contains(test)) {
                if self.run(&program, test)? == Some(true) {
                    passing.insert(test.to_owned(), program.clone());
                }
            }
        }
        Ok(passing)
    }

    /// Breaks the line, builds, runs the test, and puts the line back.
    fn judge(&self, mutant: &Mutant, programs: &BTreeMap<String, Program>) -> Result<Verdict> {
        let Some(program) = programs.get(&mutant.test) else {
            return Ok(Verdict::Stale("its test does not exist, or fails as the code stands".to_owned()));
        };
        let text = fs::read_to_string(self.scratch.folder().join(&mutant.file)).unwrap_or_default();
        let mutated = match mutant.mutated(&text) {
            Ok(mutated) => mutated,
            Err(why) => return Ok(Verdict::Stale(why)),
        };
        let _restored = self.scratch.replace(&mutant.file, &text, &mutated)?;
        if let Err(error) = self.compile(&mutant.package, &program.target.words()) {
            let reported = error.to_string();
            let line = reported.lines().find(|line| line.starts_with("error")).unwrap_or_default();
            return Ok(Verdict::Stale(format!("it does not compile: {line}")));
        }
        Ok(match self.run(program, &mutant.test)? {
            Some(true) => Verdict::Survived,
            Some(false) => Verdict::Killed,
            None => Verdict::TimedOut,
        })
    }

    fn compile(&self, package: &str, targets: &[String]) -> Result<Vec<Program>> {
        let mut command = cargo(self.scratch.folder());
        command.args(["test", "--quiet", "--no-run", "--message-format", "json", "--package", package]);
        // Each mutant changes one file of one crate: the compiler's cache of the rest is kept.
        command.args(targets).arg("--target-dir").arg(&self.build).env("CARGO_INCREMENTAL", "1");
        programs::build(&mut command, &self.packages)
    }

    /// Whether the test passed; `None` when it did not end in time.
    fn run(&self, program: &Program, test: &str) -> Result<Option<bool>> {
        let mut command = program.command();
        command.args(["--exact", test]).env("PLUMB_SHARED", &self.shared);
        passes(command, Duration::from_secs(TEST_SECONDS_MAX))
    }
}

/// Whether the command ended well; `None` when it did not end in time, and it and its children were killed.
fn passes(mut command: Command, timeout: Duration) -> Result<Option<bool>> {
    let began = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    let mut output = child.stdout.take().context("the program has no output")?;
    // Read in a thread, so that a loud test never waits for us.
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        output.read_to_end(&mut text).map(|_| text)
    });
    let ended = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if began.elapsed() > timeout {
            break None;
        }
        thread::sleep(POLL);
    };
    if let Some(group) = rustix::process::Pid::from_raw(i32::try_from(child.id())?) {
        // What the test started ends with it, whichever way it went; none left is no fault.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    child.wait()?;
    let text = reader.join().map_err(|_| anyhow::anyhow!("the reader of the output panicked"))??;
    let Some(status) = ended else { return Ok(None) };
    // A filter that chooses no test succeeds too.
    let ran = String::from_utf8_lossy(&text).contains("test result: ok. 1 passed");
    Ok(Some(status.success() && ran))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutant(find: &str, replace: &str) -> Mutant {
        Mutant {
            name: "limit-not-asked".to_owned(),
            file: "src/a.rs".to_owned(),
            find: find.to_owned(),
            replace: replace.to_owned(),
            package: "p".to_owned(),
            test: "tests::t".to_owned(),
        }
    }

    #[test]
    fn a_mutant_replaces_the_one_place() {
        assert_eq!(mutant("a < b", "true").mutated("if a < b {}").as_deref(), Ok("if true {}"));
    }

    #[test]
    fn a_mutant_that_fits_no_place_two_places_or_changes_nothing_is_stale() {
        let reported = |mutant: Mutant, text: &str| mutant.mutated(text).unwrap_err();
        assert_eq!(reported(mutant("x", "y"), "a"), "\"x\" occurs 0 times in src/a.rs, not once");
        assert_eq!(reported(mutant("a", "y"), "a a"), "\"a\" occurs 2 times in src/a.rs, not once");
        assert_eq!(reported(mutant("a", "a"), "a"), "it changes nothing");
    }

    #[test]
    fn mutants_are_chosen_by_any_of_their_names() {
        for filter in [None, Some("limit"), Some("a.rs"), Some("tests::t")] {
            assert!(mutant("a", "b").matches(filter), "{filter:?}");
        }
        assert!(!mutant("a", "b").matches(Some("other")));
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_passes_only_when_it_ran_one_test_and_ended_well() {
        let timeout = Duration::from_mins(1);
        let ends = |script: &str| passes(shell(script), timeout).unwrap();
        assert_eq!(ends("echo 'test result: ok. 1 passed; 0 failed'"), Some(true));
        assert_eq!(ends("echo 'test result: ok. 0 passed; 0 failed'"), Some(false));
        assert_eq!(ends("echo 'test result: ok. 1 passed; 0 failed'; exit 101"), Some(false));
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_with_its_children() {
        assert_eq!(passes(shell("sleep 600 & sleep 600"), Duration::from_millis(50)).unwrap(), None);
    }
}
