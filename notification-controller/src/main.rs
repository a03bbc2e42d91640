//! notification-controller: events out, webhooks in. Flags are read once, servers and watches are installed, the runtime
//! runs them. What they do never enters.

mod budget;
#[cfg(test)]
mod canary;
mod config_errors;
mod configuration;
mod directory;
mod dispatch;
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
mod stage;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use plumb_runtime::{Flags, Identity, Runtime};

use crate::install::{Listeners, install};
use crate::options::{GATES, Options};

const IDENTITY: Identity = Identity {
    controller: plumb_api::meta::NOTIFICATION_MANAGER,
    status_manager: plumb_api::meta::NOTIFICATION_MANAGER,
    concurrent: 4,
};

fn main() -> ExitCode {
    plumb_runtime::start(
        &IDENTITY,
        GATES,
        |options: &Options| Flags { common: &options.common, work: None },
        Options::validate,
        async |runtime: &mut Runtime, options: Options| {
            install(runtime, &options, Listeners::open(&options).await?)
        },
    )
}
