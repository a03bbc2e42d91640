//! `cargo xtask …`: the workspace's own commands. This file only reads the command line; each command has a module.

mod bench;
mod check;
mod demo;
mod r#gen;
mod plane;
mod proof;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a developer of Plumb does beside writing code.
#[derive(Parser)]
#[command(name = "cargo xtask", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// A real control plane on this machine: start it, stop it, print how to reach it.
    Plane(plane::Arguments),
    /// The main job, on a real control plane: a commit becomes a corrected cluster, step by step.
    Demo(demo::Arguments),
    /// Every test of the workspace, against one control plane.
    Test(test::Arguments),
    /// Every habit of the house: format, layers, lints, documents, fast tests.
    Check {
        /// Run these steps alone, joined by commas.
        #[arg(conflicts_with = "only")]
        step: Option<String>,
        /// The same, as a flag.
        #[arg(long)]
        only: Option<String>,
        /// Leave out these steps, joined by commas.
        #[arg(long, conflicts_with_all = ["step", "only"])]
        without: Option<String>,
    },
    /// Figures beside those of the programs that people use today.
    Bench(bench::Arguments),
    /// Writes the generated files; with --check only says whether they are up to date.
    Gen {
        /// Write nothing; fail if a file would change.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Task::Plane(arguments) => plane::run(&arguments),
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Test(arguments) => test::run(&arguments),
        Task::Check { step, only, without } => check::run(step.or(only).as_deref(), without.as_deref()),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Gen { check } => r#gen::run(check),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
