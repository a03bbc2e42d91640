//! Buckets of object stores: S3, Google Cloud Storage, Azure Blob Storage. Listed over pages and fetched object by object, exactly as
//! listed, under limits; written and deleted as a whole. Credentials go to the endpoint and to the server that exchanges them. What is done with an object never
//! enters.

mod address;
mod client;
mod credential;
mod error;
mod listing;
mod object;
mod request;
mod revision;
mod signature;
mod store;
mod token;
mod unfinished;
mod upload;

pub use address::{AddressError, BucketAddress};
pub use client::{Access, BucketClient, Content, Remote};
pub use credential::{BucketCredential, CredentialProblem, EntraApp, EntraIdentity, GoogleKey, LdapLogin};
pub use error::{BucketError, ResponseError};
pub use listing::{BucketLimits, Listing, Object};
pub use object::{ObjectBody, ObjectHead};
pub use revision::revision;
pub use signature::{AccessKey, SharedKey};
pub use upload::NewObject;
