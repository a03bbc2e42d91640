//! `cargo xtask bench …`: figures, measured next to the program that users run today, in one run and on the same inputs.

mod build;
mod load;
mod measure;
mod peers;
mod source;
mod table;
mod trees;

use anyhow::Result;

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Compare the kustomize engine with kustomize 5.8.1.
    Build(build::Arguments),
    /// Measure memory, drift correction and events under a steady load.
    Load(load::Arguments),
    /// Measure requests, CPU and memory of source-controller while nothing changes.
    Source(source::Arguments),
}

/// Measures and prints a table.
pub fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.what {
        What::Build(arguments) => build::run(arguments),
        What::Load(arguments) => load::run(arguments),
        What::Source(arguments) => source::run(arguments),
    }
}
