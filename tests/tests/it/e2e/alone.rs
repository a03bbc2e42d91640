#[path = "mod.rs"]
mod e2e;
