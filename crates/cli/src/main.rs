//! `plumb`: Plumb on the command line. This file only reads the command line; each command has a module.
//!
//! `plumb build DIR` is a pure calculation over files: no async runtime, no TLS and no cluster client is set up for it.

mod bench;
mod build;
mod disk;
mod flux;
mod output;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

/// GitOps from the command line: build manifests as the controllers do.
#[derive(Parser)]
#[command(name = "plumb", version, about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build a kustomization directory and print its objects, like `kustomize build`.
    Build(Box<build::Arguments>),
    /// Build a directory repeatedly and print time and memory.
    #[command(hide = true)]
    BenchBuild(bench::Arguments),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return reject(&error),
    };
    let done = match &arguments.command {
        Command::Build(arguments) => build::run(arguments),
        Command::BenchBuild(arguments) => bench::run(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {}", plumb_status::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// Help and version are no errors; everything else ends as every other error does, in status 1.
fn reject(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return if error.print().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if let (ErrorKind::UnknownArgument, Some(ContextValue::String(option))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
        && let Some(text) = build::unsupported_option(option)
    {
        eprintln!("Error: {text}");
        return ExitCode::FAILURE;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        eprint!("{error}");
        return ExitCode::FAILURE;
    }
    let text = error.to_string();
    eprint!("Error: {}", text.strip_prefix("error: ").unwrap_or(&text));
    ExitCode::FAILURE
}
