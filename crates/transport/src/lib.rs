//! HTTP between the controllers and everyone else.

pub mod server;
