//! notification-controller: events out, webhooks in. Flags are read once, servers and watches are installed, the runtime
//! runs them. What they do never enters.

mod budget;
#[cfg(test)]
mod canary;
mod config_errors;
mod configuration;
mod directory;
mod dispatch;
#[cfg(test)]
mod harness;
mod hooks;
mod install;
mod intake;
mod kind;
mod matching;
mod options;
mod pending;
mod receiver;
mod server;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

fn main() -> ExitCode {
    plumb_runtime::start(install::install)
}
