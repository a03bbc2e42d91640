//! `cargo xtask bench build`: our engine and kustomize on the same folders. Before a figure counts, both must print the same
//! bytes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::measure::{exponent, median, report, run as run_once};
use super::peers;
use super::table::{Outcome, Row, Target, render};
use super::trees::{Family, write_family, write_mixed};
use crate::check::workspace_root;
use crate::test::{cargo, finish, shared_folder, target_folder};

/// Objects, runs of ours, runs of the peer, times that ours is to be faster: all in process.
const LOOPS: [(usize, &str, &str, f64); 3] =
    [(9, "300", "15", 100.0), (99, "100", "10", 100.0), (999, "20", "3", 30.0)];
const LARGE: usize = 4000;
const LARGE_MILLISECONDS_MAX: f64 = 100.0;
const SMALL: usize = 9;
/// Objects, and runs that together take some tenths of a second.
const GROWTH: [(usize, &str); 4] = [(10, "300"), (100, "60"), (1000, "10"), (10_000, "3")];
/// Of these folders, the one that kustomize builds too: larger ones take it minutes.
const GROWTH_COMPARED: usize = 100;
const EXPONENT_MAX: f64 = 1.1;

/// Arguments of `cargo xtask bench build`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Write the raw figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The programs; for a missing peer, the reason.
struct Programs {
    plumb: PathBuf,
    kustomize: Result<PathBuf, String>,
    kbuild: Result<PathBuf, String>,
}

/// Builds the programs and the folders, measures, and prints the table.
pub fn run(arguments: &Arguments) -> Result<()> {
    let root = workspace_root()?;
    eprintln!("== build (plumb with the release profile: some minutes the first time)");
    finish(cargo(&root).args(["build", "--release", "--package", "plumb-cli"]), "the build failed")?;
    let why = |error: anyhow::Error| format!("{error:#}");
    let programs = Programs {
        plumb: target_folder(&root)?.join("release/plumb"),
        kustomize: peers::kustomize().map_err(why),
        kbuild: peers::kbuild(&shared_folder(&root)).map_err(why),
    };
    let folder = tempfile::tempdir().context("no temporary folder")?;
    for objects in LOOPS.iter().map(|row| row.0).chain([LARGE]) {
        write_mixed(&folder.path().join(objects.to_string()), objects)?;
    }
    eprintln!("== outputs");
    compare(&programs, folder.path())?;
    let mut outcomes = Vec::new();
    for (objects, own_turns, peer_turns, times) in LOOPS {
        eprintln!("== {objects} objects, in process");
        outcomes.push(in_process(&programs, folder.path(), objects, [own_turns, peer_turns], times));
    }
    eprintln!("== {LARGE} objects");
    outcomes.extend(large(&programs, folder.path()));
    eprintln!("== {SMALL} objects, as a process");
    outcomes.push(small(&programs, folder.path()));
    for family in Family::ALL {
        eprintln!("== growth: {}", family.name());
        outcomes.push(growth(&programs, folder.path(), family));
    }
    print(&outcomes, arguments.json.as_deref())
}

/// Both programs must print the same for each folder.
fn compare(programs: &Programs, folder: &Path) -> Result<()> {
    let Ok(kustomize) = &programs.kustomize else { return Ok(()) };
    for objects in LOOPS.map(|row| row.0) {
        compare_one(&programs.plumb, kustomize, &folder.join(objects.to_string()))?;
    }
    Ok(())
}

fn compare_one(plumb: &Path, kustomize: &Path, folder: &Path) -> Result<()> {
    let words = ["build", folder.to_str().context("the temporary folder is not UTF-8")?];
    let (ours, theirs) = (run_once(plumb, &words)?, run_once(kustomize, &words)?);
    same(&ours.output, &theirs.output, folder)
}

fn same(ours: &[u8], theirs: &[u8], folder: &Path) -> Result<()> {
    if ours == theirs && !ours.is_empty() {
        return Ok(());
    }
    let at = ours.iter().zip(theirs).position(|(own, other)| own != other);
    let at = at.unwrap_or_else(|| ours.len().min(theirs.len()));
    let name = folder.file_name().unwrap_or_default().display();
    bail!("plumb and kustomize print different objects for the tree {name}, from byte {at} on");
}

fn in_process(programs: &Programs, folder: &Path, objects: usize, turns: [&str; 2], times: f64) -> Outcome {
    let what = format!("{objects} objects, in process");
    let path = folder.join(objects.to_string());
    let measured = || -> Result<Row, String> {
        let path = path.to_str().unwrap_or_default();
        let kbuild = programs.kbuild.as_ref().map_err(Clone::clone)?;
        let ours = looped(&programs.plumb, &["bench-build", path, turns[0]])?;
        let peer = looped(kbuild, &[path, turns[1]])?;
        let bare = looped(kbuild, &[path, turns[1], "noreset"])?;
        let raw = json!({ "ours": ours.1, "peer": peer.1, "peer_without_schema_reset": bare.1 });
        Ok(Row {
            what: what.clone(),
            ours: ours.0,
            peer: Some(peer.0),
            unit: "ms",
            target: Target::Times(times),
            raw,
        })
    };
    measured().map_err(|why| (what.clone(), why))
}

/// The median of a loop, and its whole output.
fn looped(program: &Path, words: &[&str]) -> Result<(f64, Value), String> {
    let report = report(program, words).map_err(|error| format!("{error:#}"))?;
    let median = report["wall_ms_median"].as_f64().ok_or("the loop says no median")?;
    Ok((median, report))
}

/// Time and memory of one build of the large folder; ours several times, for it is short.
fn large(programs: &Programs, folder: &Path) -> Vec<Outcome> {
    let names = [format!("{LARGE} objects, time"), format!("{LARGE} objects, peak memory")];
    let path = folder.join(LARGE.to_string());
    let measured = || -> Result<[Row; 2], String> {
        let words = ["build", path.to_str().unwrap_or_default()];
        let kustomize = programs.kustomize.as_ref().map_err(Clone::clone)?;
        let why = |error: anyhow::Error| format!("{error:#}");
        let ours = run_once(&programs.plumb, &words).map_err(why)?;
        let milliseconds = median(&programs.plumb, &words, 9).map_err(why)?;
        let peer = run_once(kustomize, &words).map_err(why)?;
        same(&ours.output, &peer.output, &path).map_err(why)?;
        let raw = json!({ "bytes": ours.output.len() });
        let [time, memory] = names.clone();
        Ok([
            Row {
                what: time,
                ours: milliseconds,
                peer: Some(peer.milliseconds),
                unit: "ms",
                target: Target::TimesBelow(100.0, LARGE_MILLISECONDS_MAX),
                raw: raw.clone(),
            },
            Row {
                what: memory,
                ours: ours.peak_mib,
                peer: Some(peer.peak_mib),
                unit: "MiB",
                target: Target::Times(5.0),
                raw,
            },
        ])
    };
    match measured() {
        Ok(rows) => rows.map(Ok).into(),
        Err(why) => names.map(|name| Err((name, why.clone()))).into(),
    }
}

fn small(programs: &Programs, folder: &Path) -> Outcome {
    let what = format!("{SMALL} objects, as a process");
    let path = folder.join(SMALL.to_string());
    let measured = || -> Result<Row, String> {
        let words = ["build", path.to_str().unwrap_or_default()];
        let kustomize = programs.kustomize.as_ref().map_err(Clone::clone)?;
        let why = |error: anyhow::Error| format!("{error:#}");
        let ours = median(&programs.plumb, &words, 100).map_err(why)?;
        let peer = median(kustomize, &words, 20).map_err(why)?;
        let (target, raw) = (Target::Times(10.0), json!({ "runs": [100, 20] }));
        Ok(Row { what: what.clone(), ours, peer: Some(peer), unit: "ms", target, raw })
    };
    measured().map_err(|why| (what.clone(), why))
}

/// The exponent of processor time over the number of objects.
fn growth(programs: &Programs, folder: &Path, family: Family) -> Outcome {
    let what = format!("growth from 10 to 10 000: {}", family.name());
    let measured = || -> Result<Row, String> {
        let mut points = Vec::new();
        for (objects, turns) in GROWTH {
            let path = folder.join(format!("{}-{objects}", family.name().replace(' ', "-")));
            write_family(&path, family, objects).map_err(|error| format!("{error:#}"))?;
            if let (GROWTH_COMPARED, Ok(kustomize)) = (objects, &programs.kustomize) {
                compare_one(&programs.plumb, kustomize, &path).map_err(|error| format!("{error:#}"))?;
            }
            let words = ["bench-build", path.to_str().unwrap_or_default(), turns];
            let (_, report) = looped(&programs.plumb, &words)?;
            let milliseconds =
                report["cpu_ms_per_build"].as_f64().ok_or("the loop says no processor time")?;
            let count = u32::try_from(objects).map_err(|error| error.to_string())?;
            points.push((f64::from(count), milliseconds));
        }
        let raw = json!({ "objects_and_cpu_ms": points });
        let target = Target::AtMost(EXPONENT_MAX);
        Ok(Row { what: what.clone(), ours: exponent(&points), peer: None, unit: "", target, raw })
    };
    measured().map_err(|why| (what.clone(), why))
}

fn print(outcomes: &[Outcome], json: Option<&Path>) -> Result<()> {
    if let Some(path) = json {
        let rows: Vec<Value> = outcomes.iter().flatten().map(Row::to_json).collect();
        fs::write(path, serde_json::to_string_pretty(&rows)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    crate::test::say(&render(outcomes))
}
