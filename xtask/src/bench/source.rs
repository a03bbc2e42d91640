//! `cargo xtask bench source`: what source-controller costs, and how long it takes, next to the programs that do no more than has to be
//! done (`git`, a plain file server) and to Flux's source-controller in the same run. Outside CI.

mod git;
mod helm;
mod objects;
mod oci;
mod polls;
mod serve;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use plumb_plane::peers::FLUX_SOURCE_CONTROLLER;

use super::load;
use crate::test::say;

/// Clock ticks of a second in `/proc`: Linux has had this value on every common machine.
const TICKS: f64 = 100.0;

/// Arguments of `cargo xtask bench source`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Parts of the benchmark, separated by commas. Default: all.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "git,serve,oci,polls,helm")]
    rows: Vec<Row>,
    /// Number of files of the Git repository.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(100..=500_000))]
    files: u32,
    /// Number of OCIRepositories, all of one registry.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=5000))]
    repositories: u32,
    /// Number of GitRepositories, ten of each URL.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=5000))]
    git_repositories: u32,
    /// Number of intervals of one minute that are measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=60))]
    intervals: u32,
    /// Directory with the controllers. Default: they are built with the release profile.
    #[arg(long)]
    bin_dir: Option<PathBuf>,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Row {
    /// The first artifact of a large repository, the next one, and a poll.
    Git,
    /// Artifacts for many clients at a time.
    Serve,
    /// Polls of a registry.
    Oci,
    /// Polls of Git servers.
    Polls,
    /// The index of a Helm repository.
    Helm,
}

/// What one part found.
struct Section {
    table: String,
    /// The targets that were missed.
    missed: Vec<String>,
}

/// Measures and prints tables; an error if a target is missed.
pub fn run(arguments: &Arguments) -> Result<()> {
    let binaries = match &arguments.bin_dir {
        Some(folder) => folder.clone(),
        None => load::release_build()?,
    };
    let mut missed = Vec::new();
    for row in &arguments.rows {
        let section = row.run(arguments, &binaries)?;
        say(&section.table)?;
        missed.extend(section.missed);
    }
    if missed.is_empty() { Ok(()) } else { bail!("{}", missed.join("; ")) }
}

impl Row {
    fn run(self, arguments: &Arguments, binaries: &Path) -> Result<Section> {
        match self {
            Self::Git => git::run(arguments, binaries),
            Self::Serve => serve::run(binaries),
            Self::Oci => oci::run(arguments, binaries),
            Self::Polls => polls::run(arguments, binaries),
            Self::Helm => helm::run(binaries),
        }
    }
}

/// The folder with Flux's source-controller, which is built once per machine; none where that is not possible.
fn flux() -> Result<Option<PathBuf>> {
    let peer = FLUX_SOURCE_CONTROLLER;
    if !peer.is_obtainable() {
        eprintln!("no Go to build Flux's source-controller {}: measured without it", peer.version);
        return Ok(None);
    }
    let program = peer.provide(&|line| eprintln!("  {line}"))?;
    Ok(program.parent().map(Path::to_owned))
}

/// User and system time of a process, in seconds.
fn cpu_seconds(process: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).context("source-controller has ended")?;
    // The name of the program may have spaces and parentheses in it.
    let (_, fields) = stat.rsplit_once(')').context("/proc has another form")?;
    let ticks = |at: usize| -> Result<f64> {
        Ok(fields.split_whitespace().nth(at).context("/proc has another form")?.parse()?)
    };
    Ok((ticks(11)? + ticks(12)?) / TICKS)
}

/// The middle of some figures.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_this_process_is_read() {
        assert!(cpu_seconds(std::process::id()).unwrap() >= 0.0);
        assert!(cpu_seconds(u32::MAX).is_err());
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }
}
