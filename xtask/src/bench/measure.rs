//! How long a program runs and how much memory it takes at most. Linux only: the peak is read from `/proc`.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

/// One run of a program.
pub struct Run {
    /// From its start to its end.
    pub milliseconds: f64,
    /// The most memory that it held, in MiB.
    pub peak_mib: f64,
    /// What it printed.
    pub output: Vec<u8>,
}

/// Runs a program that prints more than fits into a pipe, once, and measures its memory.
///
/// The peak is read before each piece of output is taken: the output after the last read fits into the pipe.
pub fn run(program: &Path, words: &[&str]) -> Result<Run> {
    let shown = program.display();
    let started = Instant::now();
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {shown}"))?;
    let mut pipe = child.stdout.take().context("the program has no output")?;
    let (mut output, mut piece, mut peak_kib) = (Vec::new(), vec![0_u8; 64 << 10], 0);
    loop {
        let read = pipe.read(&mut piece).with_context(|| format!("the output of {shown} cannot be read"))?;
        if read == 0 {
            break;
        }
        peak_kib = peak_kib.max(peak(child.id()));
        output.extend_from_slice(&piece[..read]);
    }
    let status = child.wait()?;
    let milliseconds = started.elapsed().as_secs_f64() * 1e3;
    if !status.success() {
        bail!("{shown} {} ended with {status}", words.join(" "));
    }
    Ok(Run { milliseconds, peak_mib: f64::from(peak_kib) / 1024.0, output })
}

/// The median time of several runs, in milliseconds, after one that does not count.
pub fn median(program: &Path, words: &[&str], runs: usize) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..=runs {
        let started = Instant::now();
        let output = Command::new(program).args(words).stdin(Stdio::null()).output()?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
        if !output.status.success() {
            bail!("{} failed: {}", program.display(), String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    times.remove(0);
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// The line of JSON that a program prints.
pub fn report(program: &Path, words: &[&str]) -> Result<serde_json::Value> {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("{} printed no JSON", program.display()))
}

/// The slope of a straight line through the logarithms: 1 where the cost grows as its cause does.
pub fn exponent(points: &[(f64, f64)]) -> f64 {
    let points: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    // Not more than a few points: exact.
    #[expect(clippy::cast_precision_loss, reason = "a handful of points")]
    let count = points.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
    let up: f64 = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    let along: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    up / along
}

/// `VmHWM` of a process, in KiB; 0 if it has ended.
pub fn peak(process: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponent_is_the_power_of_the_growth() {
        let powers = |power: i32| [10.0, 100.0, 1000.0].map(|x: f64| (x, 3.0 * x.powi(power)));
        assert!((exponent(&powers(1)) - 1.0).abs() < 1e-9);
        assert!((exponent(&powers(2)) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_run_reports_its_time_its_memory_and_its_output() {
        let run = run(Path::new("/bin/sh"), &["-c", "head -c 300000 /dev/zero"]).unwrap();
        assert_eq!(run.output.len(), 300_000);
        assert!(run.peak_mib > 0.1 && run.milliseconds > 0.0);
        assert!(super::run(Path::new("/bin/sh"), &["-c", "exit 3"]).is_err());
    }
}
