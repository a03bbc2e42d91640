//! The notification-controller: events out, webhooks in.

mod directory;
mod dispatch;
mod hooks;
mod intake;
mod server;
#[cfg(test)]
mod stage;

fn main() {}
