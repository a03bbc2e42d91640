//! The worker: carries out the comparisons that the state requests, and reports back. Sends requests to the API server and makes
//! no decisions.

mod compare;
mod correct;
mod pre_apply;

pub(crate) use compare::run;
pub(crate) use pre_apply::{overwritten, read};
