//! One budget per process for the memory that input from outside can claim: trees, packs, unpacked files, patterns,
//! events, request bodies. Bytes are reserved before they are allocated; what does not fit is rejected with the name of
//! the limit and disturbs nothing else. Fixed costs of the process are not counted here.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod pool;

pub use pool::{Limit, MemoryPool, MemoryReservation, OverBudget, Usage};
