//! Authentication as a GitHub App: a signed JWT of the app for a token of one of its installations, which is kept until
//! shortly before it expires. What the token is used for never enters.

mod app;
mod client;

pub use app::{App, AppError, Installation};
pub use client::{GithubApps, GithubError};
