//! Receiver: the path under which a webhook is taken. The phases of an attempt, one file each: `facts`, `decide`, joined by
//! `reconcile`; the `ledger` is what an attempt has made true so far. Webhooks themselves belong to `hooks`.

pub mod decide;
mod facts;
pub mod ledger;
pub mod reconcile;
#[cfg(test)]
mod tests;
