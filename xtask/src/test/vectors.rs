//! `cargo xtask test vectors`: the shared cases of the kustomize engine, and how many of them pass.

use std::path::Path;

use anyhow::{Result, bail};

use super::{Streams, cargo, say, shared_folder, watch};

/// Runs the cases; an error if one fails, is skipped, or if there are none.
pub fn run(root: &Path) -> Result<()> {
    let mut command = cargo(root);
    command.args(["test", "--package", "plumb-kustomize", "--test", "it", "vectors::", "--", "--nocapture"]);
    command.env("PLUMB_SHARED", shared_folder(root));
    let mut summary = None;
    let (status, _) = watch(command, Streams::Output, |line| {
        summary = Tally::parse(line).or(summary);
    })?;
    let Some(Tally { all, passed, excepted }) = summary else {
        if status.success() {
            bail!("there are no vectors at {}; set PLUMB_SHARED", shared_folder(root).display());
        }
        bail!("the vectors did not run to their end; see above");
    };
    say(&format!("{passed} of {all} vectors passed, {excepted} excepted with a reason"))?;
    if !status.success() || passed + excepted < all {
        bail!("{} vectors did not pass", all - passed - excepted);
    }
    Ok(())
}

/// The summary line of the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tally {
    all: usize,
    passed: usize,
    excepted: usize,
}

impl Tally {
    /// Reads `234 vectors: 230 passed, 2 skipped {…}, 1 excepted`.
    fn parse(line: &str) -> Option<Self> {
        let (all, rest) = line.split_once(" vectors: ")?;
        let all = all.split_whitespace().next_back()?.parse().ok()?;
        let words: Vec<&str> = rest.split_whitespace().collect();
        let count = |noun: &str| {
            let mut pairs = words.windows(2).filter(|pair| pair[1].trim_end_matches(',') == noun);
            pairs.next().and_then(|pair| pair[0].parse().ok()).unwrap_or_default()
        };
        Some(Self { all, passed: count("passed"), excepted: count("excepted") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_the_test_is_understood() {
        let line = "234 vectors: 230 passed, 2 skipped {\"crds\": 2}, 1 excepted";
        assert_eq!(Tally::parse(line), Some(Tally { all: 234, passed: 230, excepted: 1 }));
        let beside = "test every_vector ... 3 vectors: 3 passed, 0 skipped {}, 0 excepted";
        assert_eq!(Tally::parse(beside), Some(Tally { all: 3, passed: 3, excepted: 0 }));
        assert_eq!(Tally::parse("skipped: no vectors at /x"), None);
    }
}
