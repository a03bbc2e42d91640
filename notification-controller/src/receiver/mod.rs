//! Receiver: the path under which a webhook is taken. The phases of an attempt, one file each, joined by `reconcile`.
//! Taking webhooks never enters: see `hooks`.

pub mod decide;
pub mod facts;
pub mod ledger;
pub mod reconcile;
#[cfg(test)]
mod tests;
