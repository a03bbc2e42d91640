//! HTTP between the controllers and other programs, bounded in both directions. For requests: which addresses connections may go
//! to, which servers are trusted, a client with proxy, timeouts and redirects, credentials that stay with their origin, a bounded
//! body, one cause for each connection that fails, and fairly shared slots. For responses: the bounded server. The content and
//! meaning of messages are up to the caller.

pub mod address;
mod body;
mod client;
mod connection;
mod credential;
mod redirect;
pub mod server;
mod shown;
mod slots;
#[cfg(test)]
mod tests;
mod trust;

pub use body::{BodyError, read_body};
pub use client::{ClientConfig, ClientError, Proxy, ProxyAddress, ProxyError};
pub use connection::ConnectionError;
pub use credential::{Credential, CredentialError, CredentialPart, Origin, OriginCredential};
pub use redirect::{REDIRECTS_MAX, RedirectError, Redirects, redirect_target};
pub use shown::{shown_text, shown_url};
pub use slots::{Slot, Slots};
pub use trust::{Trust, TrustError, TrustPart};
