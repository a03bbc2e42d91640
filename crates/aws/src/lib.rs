//! Credentials of Amazon Web Services: those of the environment as the SDKs find them, those of a role that a signed token of a
//! ServiceAccount may assume, and logins of container registries (ECR); signatures of requests, version 4; the XML of its APIs.

mod client;
mod ecr;
mod environment;
mod error;
mod parse;
mod signature;
pub mod xml;

pub use client::{AwsClient, Identity, WebIdentity};
pub use ecr::{EcrRegistry, Login};
pub use environment::{Endpoints, Environment, is_region, is_sts_endpoint};
pub use error::AwsError;
pub use parse::{TemporaryKey, code, error_code, parse_sts};
pub use signature::{AccessKey, EMPTY_BODY, Scope, Signed, sign};
