//! `cargo xtask demo`: the main job on a real control plane, reported step by step. All statements are read from the API
//! server, never from a controller's log.

mod cluster;
mod sample;
mod stage;
mod steps;

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use stage::Stage;

/// Arguments of `cargo xtask demo`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Exit after the last step. The exit status is 0 only if every step succeeded.
    #[arg(long)]
    once: bool,
}

/// A step: its title, and what it does.
type Step = (&'static str, fn(&mut Stage) -> Result<()>);

const STEPS: [Step; 6] = [
    ("A repository becomes a cluster", steps::arrive),
    ("A commit, announced by a signed webhook; then `git revert`", steps::commit_and_revert),
    ("A manual change of the cluster: corrected", steps::heal),
    ("The same in mode warn: reported, and restored on request", steps::warn),
    ("A file leaves Git; then a broken manifest is pushed", steps::prune_and_break),
    ("The alerts that arrived", steps::alerts),
];

/// Runs the demo.
pub fn run(arguments: &Arguments) -> Result<()> {
    let began = Instant::now();
    let mut stage = Stage::up()?;
    for (at, (title, step)) in STEPS.iter().enumerate() {
        print_line(&format!("\n{}. {title}", at + 1));
        let started = Instant::now();
        if let Err(error) = step(&mut stage) {
            print_line(&format!("   failed: {error:#}\n\n{}", stage.report()));
            bail!("step {} failed", at + 1);
        }
        print_line(&format!("   step {} took {}", at + 1, seconds_text(started.elapsed())));
    }
    print_line(&format!("\nAll six steps held, {} after the start.", seconds_text(began.elapsed())));
    if arguments.once {
        return Ok(());
    }
    print_line(&stage.invitation());
    crate::plane::wait_for_the_end().context("cannot wait for Ctrl-C")?;
    print_line("\nEverything is taken down.");
    Ok(())
}

/// A duration as people read it.
fn seconds_text(time: Duration) -> String {
    let milliseconds = time.as_millis();
    if milliseconds < 1000 { format!("{milliseconds} ms") } else { format!("{:.1} s", time.as_secs_f64()) }
}

/// A line of output. A closed terminal is no reason to stop before everything is taken down.
fn print_line(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
