//! The worker: carries out the looks that the state asks for, and reports back. Requests to the API server, and nothing that
//! decides.

mod compare;
mod correct;
mod pre_apply;

pub(crate) use compare::run;
pub(crate) use pre_apply::{overwritten, read};
