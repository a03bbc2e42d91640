//! Tests that cannot run here (data that is not part of the repository) print so, and are counted.

use std::{fs::File, io::Write as _};

/// The environment variable with the file that skips are counted in; `cargo xtask test` sets it.
pub const SKIPS: &str = "PLUMB_SKIPS";

/// Prints that the running test shows nothing, and why. The test returns after it.
///
/// # Panics
/// If the file that counts skips cannot be written: a skip must not go unnoticed.
#[expect(clippy::print_stdout, reason = "the line belongs to the test's output, which the harness captures")]
pub fn skip(reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    println!("skipped: {test}: {reason}");
    let Some(file) = std::env::var_os(SKIPS) else { return };
    let line = format!("skipped: {test}: {reason}\n");
    // One write per line: several test binaries append to the same file.
    let written = File::options().append(true).create(true).open(file);
    let written = written.and_then(|mut file| file.write_all(line.as_bytes()));
    written.expect("the file that counts skipped tests can be written");
}
