//! What a run has found.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::{env, fs};

use crate::differential::case::Case;
use crate::differential::compare::{self, Difference, Outcome, Own};
use crate::differential::oracle::Verdict;

/// A difference, made small.
pub struct Found {
    pub seed: String,
    pub case: Case,
    pub own: Own,
    pub verdict: Verdict,
    pub difference: Difference,
}

/// Counts of all outcomes.
#[derive(Default)]
pub struct Tally {
    built: usize,
    rejected: usize,
    no_verdict: usize,
    excepted: BTreeMap<&'static str, usize>,
    theirs_built: usize,
    all: usize,
    differ: usize,
    not_supported: BTreeMap<&'static str, usize>,
    /// How many of a kind, and the first of them.
    rejections: BTreeMap<String, (usize, String)>,
    notes: Vec<String>,
    pub found: Vec<Found>,
}

impl Tally {
    pub fn count(&mut self, outcome: &Outcome, verdict: &Verdict) {
        self.all += 1;
        self.theirs_built += usize::from(matches!(verdict, Verdict::Built(_)));
        if let Verdict::Refused(message) = verdict {
            let end: Vec<char> = message.trim_end().chars().rev().take(150).collect();
            let example = || (0, end.iter().rev().collect());
            self.rejections.entry(compare::shape(message)).or_insert_with(example).0 += 1;
        }
        match outcome {
            Outcome::BothBuilt => self.built += 1,
            Outcome::BothRefused => self.rejected += 1,
            Outcome::NotSupported(field) => *self.not_supported.entry(field).or_default() += 1,
            Outcome::Excepted(name) => *self.excepted.entry(name).or_default() += 1,
            Outcome::NoVerdict => self.no_verdict += 1,
            Outcome::Differs(_) => self.differ += 1,
        }
    }

    pub fn differences(&self) -> usize {
        self.found.len()
    }

    /// Whether the same rejection or acceptance was found already; bytes are never the same.
    pub fn is_known(&self, difference: &Difference) -> bool {
        *difference != Difference::Bytes && self.found.iter().any(|found| found.difference == *difference)
    }

    pub fn add(&mut self, found: Found) {
        if self.found.iter().any(|own| own.case == found.case) {
            return;
        }
        if let Some(folder) = env::var_os("PLUMB_DIFFERENTIAL_REPORT") {
            let folder = Path::new(&folder).join(found.seed.replace(':', "-"));
            if let Err(error) = found.write(&folder) {
                self.notes.push(format!("cannot write {}: {error}", folder.display()));
            }
        }
        self.found.push(found);
    }

    /// Why kustomize rejected cases, the most frequent first.
    pub fn rejections(&self) -> String {
        let mut all: Vec<&(usize, String)> = self.rejections.values().collect();
        all.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        let lines = all.iter().take(60).map(|(count, example)| format!("{count:6} {example:?}\n"));
        lines.collect()
    }

    /// All differences in full.
    pub fn details(&self) -> String {
        let mut text = self.notes.join("\n");
        for found in &self.found {
            let _ = writeln!(text, "==== PLUMB_DIFFERENTIAL_SEED={}\n{found}", found.seed);
        }
        text
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            built,
            rejected,
            no_verdict,
            excepted,
            theirs_built,
            all,
            differ,
            not_supported,
            rejections: _,
            notes: _,
            found,
        } = self;
        write!(
            f,
            "{all} cases, {theirs_built} built by kustomize: {built} the same, {rejected} refused by both, {no_verdict} without a \
             verdict of kustomize, {excepted:?} excepted, {not_supported:?} not supported, {differ} different ({} reduced)",
            found.len()
        )
    }
}

impl Found {
    fn write(&self, folder: &Path) -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        self.case.write(&folder.join("input"))?;
        fs::write(folder.join("report.txt"), self.to_string())?;
        let (name, text) = match &self.verdict {
            Verdict::Built(text) => ("expected.yaml", text),
            Verdict::Refused(text) | Verdict::Failed(text) => ("expected.err", text),
        };
        fs::write(folder.join(name), text)?;
        match &self.own {
            Own::Built(text) => fs::write(folder.join("ours.yaml"), text),
            Own::Refused(text) | Own::Panicked(text) => fs::write(folder.join("ours.err"), text),
            Own::NotSupported(field) => fs::write(folder.join("ours.err"), field),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}\n{}", self.difference, self.case.render())?;
        match &self.verdict {
            Verdict::Built(text) => write!(f, "-> kustomize builds:\n{text}")?,
            Verdict::Refused(text) | Verdict::Failed(text) => writeln!(f, "-> kustomize refuses: {text}")?,
        }
        match &self.own {
            Own::Built(text) => write!(f, "-> ours builds:\n{text}"),
            Own::Refused(text) => writeln!(f, "-> ours refuses: {text}"),
            Own::Panicked(text) => writeln!(f, "-> ours panics: {text}"),
            Own::NotSupported(field) => writeln!(f, "-> ours does not support {field}"),
        }
    }
}
