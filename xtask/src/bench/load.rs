//! `cargo xtask bench load`: many sources, Kustomizations and objects, webhooks and foreign edits all the time; memory
//! stays flat, each foreign edit is corrected, each event arrives or is counted as dropped. Outside CI.

mod edits;
mod memory;
mod objects;
mod webhooks;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use plumb_plane::{Plane, PlaneOptions};
use plumb_testkit::{
    controllers::{Controllers, ControllersOptions, NAMES},
    gitserver::{GitServer, GitServerOptions},
    sink::Sink,
};
use tokio_util::sync::CancellationToken;

use crate::check::workspace_root;
use crate::test::{cargo, finish, say, target_folder};
pub use memory::resident;
use memory::{Growth, Samples};
pub use objects::prepare;

/// How much the last quarter may be above the second, as a factor.
const GROWTH_MAX: f64 = 1.05;
/// How long the last edits may take to be corrected after the load has ended.
const DRAIN_MAX: Duration = Duration::from_mins(2);

/// Arguments of `cargo xtask bench load`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Minutes of load, after everything is Ready.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=24 * 60))]
    minutes: u32,
    /// Number of GitRepositories, each with a Kustomization and a Receiver.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=2000))]
    sources: u32,
    /// Number of managed objects, over all Kustomizations.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    objects: u32,
    /// Webhooks per second.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    webhooks: u32,
    /// Foreign edits per second.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    edits: u32,
    /// Directory with the controllers. Default: they are built with the release profile.
    #[arg(long)]
    bin_dir: Option<PathBuf>,
}

/// What was measured.
#[derive(Clone, Debug, Default)]
struct Measured {
    memory: Vec<(&'static str, Growth)>,
    edits: edits::Tally,
    webhooks: webhooks::Tally,
    notified: u64,
    dropped: u64,
}

/// Runs the load and prints a table; an error if a target is missed.
pub fn run(arguments: &Arguments) -> Result<()> {
    let binaries = match &arguments.bin_dir {
        Some(folder) => folder.clone(),
        None => release_build()?,
    };
    let began = Instant::now();
    let plane = Plane::start(&PlaneOptions::default())?;
    let (git, sink) = (GitServer::start(&GitServerOptions::default())?, Sink::start()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let client = runtime.block_on(plane.client())?;
    runtime.block_on(objects::prepare(&client))?;
    let repositories = objects::push(&git, arguments.sources, arguments.objects)?;
    eprintln!("{} repositories after {:.0} s", repositories.len(), began.elapsed().as_secs_f32());
    let controllers = Controllers::start(&plane, &binaries, &ControllersOptions::whole_cluster())?;
    let address = sink.url();
    let paths = runtime
        .block_on(objects::create(&client, &repositories, &address))
        .with_context(|| controllers.last_lines())?;
    eprintln!("all Ready after {:.0} s; load for {} min", began.elapsed().as_secs_f32(), arguments.minutes);
    let measured = runtime.block_on(measure(arguments, &client, &controllers, paths))?;
    let measured = Measured { notified: notified(&sink), dropped: dropped(&controllers)?, ..measured };
    say(&table(arguments, &measured))?;
    let missed = misses(&measured);
    if missed.is_empty() { Ok(()) } else { bail!("{}", missed.join("; ")) }
}

/// Builds the controllers in release mode, and returns their folder.
pub fn release_build() -> Result<PathBuf> {
    let root = workspace_root()?;
    let mut command = cargo(&root);
    command.args(["build", "--release"]);
    for name in NAMES {
        command.args(["--package", name]);
    }
    finish(&mut command, "the controllers do not build")?;
    Ok(target_folder(&root)?.join("release"))
}

async fn measure(
    arguments: &Arguments,
    client: &kube::Client,
    controllers: &Controllers,
    paths: Vec<String>,
) -> Result<Measured> {
    let end = CancellationToken::new();
    let processes: Vec<_> = NAMES.iter().filter_map(|name| Some((*name, controllers.id(name)?))).collect();
    let edits = edits::Edits::start(client.clone(), arguments.objects).await?;
    let editing = tokio::spawn(edits.clone().run(arguments.edits, end.clone()));
    let webhooks = webhooks::run(controllers.receiver(), Arc::new(paths), arguments.webhooks, end.clone());
    let webhooks = tokio::spawn(webhooks);
    let samples = Samples::take(&processes, Duration::from_mins(1) * arguments.minutes).await;
    end.cancel();
    editing.await.context("the edits panicked")??;
    let webhooks = webhooks.await.context("the webhooks panicked")?;
    edits.drain(DRAIN_MAX).await;
    let memory = samples.context("a controller has ended")?.growths();
    Ok(Measured { memory, edits: edits.tally(), webhooks, ..Measured::default() })
}

/// How many corrections arrived at the sink as notifications.
fn notified(sink: &Sink) -> u64 {
    let all = sink.received();
    all.iter().filter(|one| one.text("/reason") == "DriftCorrected").count() as u64
}

/// Dropped events according to the controllers' metrics.
fn dropped(controllers: &Controllers) -> Result<u64> {
    NAMES.iter().map(|name| controllers.counted(name, "plumb_events_dropped_total", "")).sum()
}

/// What does not meet its target; empty if everything does.
fn misses(measured: &Measured) -> Vec<String> {
    let Measured { memory, edits, webhooks, notified, dropped } = measured;
    let mut missed = Vec::new();
    for (name, growth) in memory.iter().filter(|(_, growth)| growth.factor() > GROWTH_MAX) {
        missed.push(format!("{name} grew by a factor of {:.3}, at most {GROWTH_MAX}", growth.factor()));
    }
    if edits.missed() > 0 {
        missed.push(format!("{} of {} foreign edits were not corrected", edits.missed(), edits.made));
    }
    if webhooks.rejected > 0 {
        missed.push(format!("{} of {} webhooks were refused", webhooks.rejected, webhooks.sent));
    }
    if notified + dropped < edits.corrected {
        let lost = edits.corrected - notified - dropped;
        missed.push(format!("{lost} events neither arrived nor were counted as dropped"));
    }
    missed
}

fn table(arguments: &Arguments, measured: &Measured) -> String {
    let Measured { memory, edits, webhooks, notified, dropped } = measured;
    let mut lines = vec![
        format!(
            "{} sources, {} objects, {} webhooks and {} edits a second for {} min",
            arguments.sources, arguments.objects, arguments.webhooks, arguments.edits, arguments.minutes
        ),
        String::new(),
        "| Controller | RSS 2nd quarter | last quarter | peak | factor | target |".to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    for (name, growth) in memory {
        lines.push(format!(
            "| {name} | {:.1} MiB | {:.1} MiB | {:.1} MiB | {:.3} | ≤ {GROWTH_MAX} |",
            growth.second,
            growth.last,
            growth.peak,
            growth.factor()
        ));
    }
    lines.push(String::new());
    lines.push("| Count | |".to_owned());
    lines.push("|---|---|".to_owned());
    lines.push(format!("| foreign edits | {} |", edits.made));
    lines.push(format!("| corrected | {} |", edits.corrected));
    lines.push(format!("| missed | {} |", edits.missed()));
    lines.push(format!("| median and longest time to correct | {:?}, {:?} |", edits.median, edits.longest));
    lines.push(format!("| webhooks sent, refused | {}, {} |", webhooks.sent, webhooks.rejected));
    lines.push(format!("| notifications of corrections | {notified} |"));
    lines.push(format!("| events dropped and counted | {dropped} |"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Measured {
        let growth = Growth { second: 40.0, last: 41.0, peak: 50.0 };
        Measured {
            memory: vec![("source-controller", growth)],
            edits: edits::Tally { made: 10, corrected: 10, ..edits::Tally::default() },
            webhooks: webhooks::Tally { sent: 20, rejected: 0 },
            notified: 8,
            dropped: 2,
        }
    }

    #[test]
    fn a_good_run_misses_nothing() {
        assert_eq!(misses(&good()), Vec::<String>::new());
    }

    #[test]
    fn each_target_can_be_missed() {
        let growth = Growth { second: 40.0, last: 43.0, peak: 50.0 };
        let worse: [fn(&mut Measured); 4] = [
            |measured| measured.edits.corrected = 9,
            |measured| measured.webhooks.rejected = 1,
            |measured| measured.dropped = 1,
            |_| {},
        ];
        for (at, change) in worse.into_iter().enumerate() {
            let mut measured = good();
            change(&mut measured);
            if at == 3 {
                measured.memory = vec![("source-controller", growth)];
            }
            assert_eq!(misses(&measured).len(), 1, "{at}");
        }
    }
}
