//! Hostile input: it is rejected with its position or with the limit that it exceeds, or it is built within a
//! bounded number of steps. A test that takes long has failed, regardless of its result.
#![expect(clippy::unwrap_used, reason = "a case that cannot be set up fails the test")]

mod amplification;
mod encodings;
mod escapes;
mod loops;
mod nesting;
mod patterns;
mod quadratic;
mod texts;

use bytes::Bytes;
use plumb_filetree::{MemoryTree, RelPath, TreeLimits};
use plumb_kustomize::{Build, BuildError, ErrorKind, Limits, Options, build};

type Files<'f> = &'f [(&'f str, &'f str)];

const A: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n";

fn tree(files: Files<'_>) -> MemoryTree {
    let mut builder = MemoryTree::builder(TreeLimits { depth_max: 200, ..TreeLimits::DEFAULT });
    for (path, text) in files {
        let content = Bytes::copy_from_slice(text.as_bytes());
        builder.file(&RelPath::parse(path).unwrap(), content, false).unwrap();
    }
    builder.build()
}

fn built_with(files: Files<'_>, limits: Limits) -> Result<Build, BuildError> {
    build(&tree(files), &RelPath::root(), &Options { limits, ..Options::default() })
}

fn built(files: Files<'_>) -> Result<Build, BuildError> {
    built_with(files, Limits::default())
}

/// Rejected, with this in the message.
#[track_caller]
fn reject(files: Files<'_>, kind: ErrorKind, part: &str) {
    let error = built(files).unwrap_err();
    assert!(error.to_string().contains(part) && error.kind() == kind, "{:?}: {error}", error.kind());
}

/// Builds within these steps.
#[track_caller]
fn cheap(files: Files<'_>, steps_max: usize) -> Build {
    built_with(files, Limits { steps_max, ..Limits::default() }).unwrap()
}

/// Costs real work, and is charged for it: these steps are not enough.
#[track_caller]
fn charged(files: Files<'_>, steps_max: usize) {
    let error = built_with(files, Limits { steps_max, ..Limits::default() }).err();
    let is_over =
        |error: &BuildError| error.kind() == ErrorKind::OverLimit && error.to_string().contains("steps");
    assert!(error.as_ref().is_some_and(is_over), "with {steps_max} steps: {error:?}");
}

fn many(count: usize, entry: impl Fn(usize) -> String) -> String {
    (0..count).map(entry).collect()
}

/// ConfigMaps named `c0`, `c1` and so on.
fn objects(count: usize) -> String {
    many(count, |index| format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{index}}}\n"))
}
