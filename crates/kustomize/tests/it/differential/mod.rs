//! Random kustomizations, built here and by kustomize 5.8.1: the same bytes, or both reject.
//!
//! kustomize is the program in `PLUMB_KUSTOMIZE` (a command line, to which the directory is added), else the `kubectl` of a
//! control plane in the cache; without either the test prints that and passes. More of the environment:
//!
//! - `PLUMB_DIFFERENTIAL_CASES`: how many cases, 300 by default; a nightly run uses 10 000.
//! - `PLUMB_DIFFERENTIAL_SEED`: another seed than the default. Each case has a seed of its own, `SEED:NUMBER`, which
//!   is printed with a difference; the same text in this variable repeats that case alone.
//! - `PLUMB_DIFFERENTIAL_REPORT`: a folder for all differences, reduced; else they are only printed.
//! - `PLUMB_DIFFERENTIAL_REPLAY`: such a folder; only its cases are built again.
//! - `PLUMB_DIFFERENTIAL_STOP`: after how many differences the run stops, 5 by default.
//! - `PLUMB_DIFFERENTIAL_TRIES`: how many smaller cases are tried to reduce a difference.
//! - `PLUMB_DIFFERENTIAL_REFUSALS`: if set, what kustomize rejects is counted by kind, to see whether the generator
//!   makes too much that is rejected.
//! - `PLUMB_KUSTOMIZE_SERVER`: a program that serves many builds, see `oracle.rs`.

#![expect(clippy::unwrap_used, reason = "a run that cannot be set up fails the test")]

mod case;
mod compare;
mod exceptions;
mod generate;
mod oracle;
mod reduce;
mod report;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::differential::case::Case;
use crate::differential::compare::{Outcome, compare, ours};
use crate::differential::oracle::{Oracle, Program};
use crate::differential::report::{Found, Tally};

/// Fields that this engine does not support yet: rejected by name, counted, generated seldom.
pub const NOT_SUPPORTED: &[&str] = &[];

const CASES: usize = 300;
const SEED: u64 = 6;
/// kustomize uses one core and a half; more at a time is no faster.
const WORKERS: usize = 2;
const STOP: usize = 5;
/// Questions to make one case small: many where they cost little.
const TRIES_OF_A_SERVER: usize = 1500;
const TRIES_OF_A_COMMAND: usize = 300;

#[test]
fn random_kustomizations_are_built_or_rejected_as_kustomize_does() {
    let Some(program) = oracle::find() else {
        println!("skipped: no kustomize; PLUMB_KUSTOMIZE may name it");
        return;
    };
    if let Some(folder) = env::var_os("PLUMB_DIFFERENTIAL_REPLAY") {
        return replay(Path::new(&folder), program);
    }
    let tries = match program {
        Program::Server(_) => TRIES_OF_A_SERVER,
        Program::Command(_) => TRIES_OF_A_COMMAND,
    };
    let run = Run::from_environment(tries);
    println!("seed {}, {} cases from {}, by {program:?}", run.seed, run.count, run.first);
    let next = AtomicUsize::new(0);
    let tally = Mutex::new(Tally::default());
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (next, tally, program, run) = (&next, &tally, program.clone(), &run);
            scope.spawn(move || {
                let mut oracle = Oracle::new(program, worker).unwrap();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= run.count || tally.lock().unwrap().differences() >= run.stop {
                        break;
                    }
                    check(run, run.first + index, &mut oracle, tally);
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    println!("{tally}");
    if env::var_os("PLUMB_DIFFERENTIAL_REFUSALS").is_some() {
        println!("{}", tally.rejections());
    }
    assert!(tally.found.is_empty(), "{} cases differ:\n{}", tally.found.len(), tally.details());
}

/// Builds the cases of an earlier report once more.
fn replay(folder: &Path, program: Program) {
    let mut oracle = Oracle::new(program, 0).unwrap();
    let mut folders: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let mut differ = Vec::new();
    for folder in folders.iter().filter(|folder| folder.join("input").is_dir()) {
        let report = fs::read_to_string(folder.join("report.txt")).unwrap();
        let target = report.lines().find_map(|line| line.strip_prefix("target: \"")?.strip_suffix('"'));
        let case = Case::read(&folder.join("input"), target.unwrap()).unwrap();
        let outcome = compare(&case, &ours(&case), &oracle.ask(&case).unwrap());
        if let Outcome::Differs(difference) = outcome {
            differ.push(format!("{}: {difference:?}", folder.display()));
        }
    }
    assert!(differ.is_empty(), "{} of {} still differ:\n{}", differ.len(), folders.len(), differ.join("\n"));
}

/// What is to be run.
struct Run {
    seed: u64,
    first: usize,
    count: usize,
    stop: usize,
    tries: usize,
}

impl Run {
    fn from_environment(tries: usize) -> Self {
        let number = |name: &str| env::var(name).ok().map(|text| text.parse::<usize>().unwrap());
        let count = number("PLUMB_DIFFERENTIAL_CASES").unwrap_or(CASES);
        let stop = number("PLUMB_DIFFERENTIAL_STOP").unwrap_or(STOP);
        let tries = number("PLUMB_DIFFERENTIAL_TRIES").unwrap_or(tries);
        let seed = env::var("PLUMB_DIFFERENTIAL_SEED").unwrap_or_else(|_| SEED.to_string());
        match seed.split_once(':') {
            Some((seed, case)) => {
                Self { seed: seed.parse().unwrap(), first: case.parse().unwrap(), count: 1, stop, tries }
            }
            None => Self { seed: seed.parse().unwrap(), first: 0, count, stop, tries },
        }
    }
}

fn check(run: &Run, number: usize, oracle: &mut Oracle, tally: &Mutex<Tally>) {
    let case = throw(run.seed, number);
    let verdict = oracle.ask(&case).unwrap();
    let own = ours(&case);
    let outcome = compare(&case, &own, &verdict);
    tally.lock().unwrap().count(&outcome, &verdict);
    let Outcome::Differs(difference) = outcome.clone() else { return };
    if tally.lock().unwrap().is_known(&difference) {
        return;
    }
    let mut is_interesting =
        |case: &Case| oracle.ask(case).is_ok_and(|verdict| compare(case, &ours(case), &verdict) == outcome);
    let small = reduce::reduce(&case, run.tries, &mut is_interesting);
    let verdict = oracle.ask(&small).unwrap();
    let found =
        Found { seed: format!("{}:{number}", run.seed), own: ours(&small), case: small, verdict, difference };
    tally.lock().unwrap().add(found);
}

/// The case of a seed and a number.
fn throw(seed: u64, number: usize) -> Case {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&(number as u64).to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    generate::trees(NOT_SUPPORTED).new_tree(&mut runner).unwrap().current()
}
