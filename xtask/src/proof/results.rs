//! The results of the named tests: `tests/proof/results.toml`, written by `cargo xtask test --record` and read by
//! `cargo xtask gen`. A run adds the tests that it ran and leaves the others as they were.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::{Claim, FOLDER, RESULTS};
use crate::test::programs::Program;

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It ran to its end.
    Passed,
    /// It did not.
    Failed,
    /// It ran, and reported that it can show nothing here.
    Skipped,
}

/// The recorded end of one test.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    outcome: Outcome,
    /// The day of the run.
    date: String,
    /// The commit that was checked out.
    commit: String,
}

/// What is recorded: by package and test.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
pub struct Results(BTreeMap<String, BTreeMap<String, Entry>>);

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

impl Results {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }

    /// How the claim's test ended last.
    pub fn outcome(&self, claim: &Claim) -> Option<Outcome> {
        self.entry(claim).map(|entry| entry.outcome)
    }

    /// The same in words, with day and commit.
    pub fn result_of(&self, claim: &Claim) -> String {
        let Some(Entry { outcome, date, commit }) = self.entry(claim) else { return "not run".to_owned() };
        let word = match outcome {
            Outcome::Failed => "**failed**",
            other => other.word(),
        };
        format!("{word} {date} at {commit}")
    }

    fn entry(&self, claim: &Claim) -> Option<&Entry> {
        self.0.get(&claim.package)?.get(&claim.test)
    }

    fn render(&self) -> String {
        let mut text = "# Written by `cargo xtask test --record`. Do not edit.\n".to_owned();
        for (package, tests) in &self.0 {
            let _ = write!(text, "\n[{package}]\n");
            for (test, Entry { outcome, date, commit }) in tests {
                let word = outcome.word();
                let _ = writeln!(
                    text,
                    "\"{test}\" = {{ outcome = \"{word}\", date = \"{date}\", commit = \"{commit}\" }}"
                );
            }
        }
        text
    }
}

/// Reads the output of `cargo test` and keeps how each test of each package ended.
pub struct Recorder {
    programs: Vec<Program>,
    package: Option<String>,
    seen: BTreeMap<(String, String), Outcome>,
}

impl Recorder {
    /// A recorder for the output of these programs.
    pub fn new(programs: Vec<Program>) -> Self {
        Self { programs, package: None, seen: BTreeMap::new() }
    }

    /// A line of the output: cargo's, which names the program that runs, or the program's.
    pub fn read(&mut self, line: &str) {
        let trimmed = line.trim_start();
        if trimmed.starts_with("Running ") || trimmed.starts_with("Doc-tests ") {
            let started = trimmed.rsplit_once('/').map(|(_, name)| name.trim_end_matches(')'));
            let program = self.programs.iter().find(|program| Some(program.file_name().as_str()) == started);
            self.package = program.map(|program| program.package.clone());
            return;
        }
        let Some(package) = &self.package else { return };
        let Some((name, end)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... ")) else {
            return;
        };
        let outcome = match end {
            "ok" => Outcome::Passed,
            "FAILED" => Outcome::Failed,
            end if end.starts_with("ignored") => Outcome::Skipped,
            _ => return,
        };
        // A module whose name is a keyword, as `r#gen`, is named without the prefix in the tables.
        let name = name.trim_end_matches(" - should panic").replace("r#", "");
        self.seen.insert((package.clone(), name), outcome);
    }

    /// Lines like `skipped: a::test: why`: the test passed in the eyes of its program and showed nothing.
    pub fn read_skips(&mut self, lines: &str) {
        let skipped: Vec<&str> = lines
            .lines()
            .filter_map(|line| Some(line.strip_prefix("skipped: ")?.split_once(": ")?.0))
            .collect();
        for ((_, test), outcome) in &mut self.seen {
            if *outcome == Outcome::Passed && skipped.contains(&test.as_str()) {
                *outcome = Outcome::Skipped;
            }
        }
    }

    /// Writes the results of the tests that a row names. A test that no row names any more goes.
    pub fn write(&self, root: &Path, date: &str, commit: &str) -> Result<()> {
        let proof = super::read(root)?;
        let results = self.merged(&proof.results, &proof.tests(), date, commit);
        let file = root.join(FOLDER).join(RESULTS);
        fs::write(&file, results.render()).with_context(|| format!("cannot write {FOLDER}/{RESULTS}"))
    }

    fn merged<'a>(
        &self,
        old: &Results,
        named: impl IntoIterator<Item = &'a (String, String)>,
        date: &str,
        commit: &str,
    ) -> Results {
        let mut results = Results::default();
        for (package, test) in named {
            let key = (package.clone(), test.clone());
            let entry = match self.seen.get(&key) {
                Some(outcome) => {
                    Some(Entry { outcome: *outcome, date: date.to_owned(), commit: commit.to_owned() })
                }
                None => old.0.get(package).and_then(|tests| tests.get(test)).cloned(),
            };
            if let Some(entry) = entry {
                results.0.entry(package.clone()).or_default().insert(test.clone(), entry);
            }
        }
        results
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::programs::Target;

    fn recorder() -> Recorder {
        let program = |package: &str, file: &str| Program {
            package: package.to_owned(),
            folder: "/w".into(),
            target: Target::Library,
            executable: format!("/w/target/debug/deps/{file}").into(),
        };
        Recorder::new(vec![program("plumb-a", "plumb_a-01"), program("plumb-tests", "it-02")])
    }

    #[test]
    fn results_are_stored_by_package_and_a_test_that_skipped_itself_did_not_pass() {
        let mut recorder = recorder();
        for line in [
            "     Running unittests src/lib.rs (target/debug/deps/plumb_a-01)",
            "test a::fine ... ok",
            "test a::bad ... FAILED",
            "test a::loud - should panic ... ok",
            "test a::timed ... ignored, slow",
            "     Running tests/it/main.rs (target/debug/deps/it-02)",
            "test a::fine ... ok",
            "test e2e::far ... ok",
            "   Doc-tests plumb_a",
            "test src/lib.rs - (line 3) ... ok",
        ] {
            recorder.read(line);
        }
        recorder.read_skips("skipped: e2e::far: no data here\n");
        let seen: Vec<String> = recorder
            .seen
            .iter()
            .map(|((package, test), outcome)| format!("{package} {test} {}", outcome.word()))
            .collect();
        let expect = [
            "plumb-a a::bad failed",
            "plumb-a a::fine passed",
            "plumb-a a::loud passed",
            "plumb-a a::timed skipped",
            "plumb-tests a::fine passed",
            "plumb-tests e2e::far skipped",
        ];
        assert_eq!(seen, expect);
    }

    #[test]
    fn a_partial_run_leaves_the_other_results_and_drops_unlisted_ones() {
        let old = "[p]\n\"a\" = { outcome = \"failed\", date = \"d0\", commit = \"c0\" }\n\
                   \"b\" = { outcome = \"passed\", date = \"d0\", commit = \"c0\" }\n\
                   \"gone\" = { outcome = \"passed\", date = \"d0\", commit = \"c0\" }\n";
        let old = Results::parse(old).unwrap();
        let named = ["a", "b", "new"].map(|test| ("p".to_owned(), test.to_owned()));
        let mut recorder = recorder();
        recorder.seen.insert(named[0].clone(), Outcome::Passed);
        let results = recorder.merged(&old, &named, "d1", "c1");
        let expect = "# Written by `cargo xtask test --record`. Do not edit.\n\n[p]\n\
                      \"a\" = { outcome = \"passed\", date = \"d1\", commit = \"c1\" }\n\
                      \"b\" = { outcome = \"passed\", date = \"d0\", commit = \"c0\" }\n";
        assert_eq!(results.render(), expect);
        assert_eq!(Results::parse(expect).unwrap(), results);
    }

    #[test]
    fn a_module_named_by_a_keyword_is_recorded_without_its_prefix() {
        let mut recorder = recorder();
        let program = recorder.programs[0].file_name();
        recorder.read(&format!("     Running unittests src/main.rs (target/debug/deps/{program})"));
        recorder.read("test r#gen::roles::tests::one ... ok");
        let names: Vec<&str> = recorder.seen.keys().map(|(_, test)| test.as_str()).collect();
        assert_eq!(names, ["gen::roles::tests::one"]);
    }
}
