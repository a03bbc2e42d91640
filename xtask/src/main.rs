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

/// Development tasks of Plumb.
#[derive(Parser)]
#[command(name = "cargo xtask", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Start or stop a local control plane, or print its environment.
    Plane(plane::Arguments),
    /// Run the demo on a local control plane: from a commit to a corrected drift, step by step.
    Demo(demo::Arguments),
    /// Run all tests of the workspace against one control plane.
    Test(test::Arguments),
    /// Run the checks: format, layers, words, lints, documentation, fast tests.
    Check {
        /// Steps to run, comma-separated. Default: all.
        #[arg(conflicts_with = "only")]
        step: Option<String>,
        /// Steps to run, comma-separated. Same as the argument.
        #[arg(long)]
        only: Option<String>,
        /// Leave out these steps, joined by commas.
        #[arg(long, conflicts_with_all = ["step", "only"])]
        without: Option<String>,
    },
    /// Run the benchmarks, side by side with kustomize where there is a counterpart.
    Bench(bench::Arguments),
    /// Write the generated files. With --check, only verify that they are up to date.
    Gen {
        /// Write nothing. Fail if a file would change.
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
