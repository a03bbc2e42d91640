//! HTTP between the controllers and other programs, bounded in both directions. For requests: which addresses connections may go
//! to, which servers are trusted, proxy and timeouts, credentials and redirects that keep to their origin, bounded bodies, one cause
//! for each connection that fails, and fairly shared slots. For responses: the bounded server. The content and meaning of messages
//! are up to the caller.
//!
//! A request goes out by [`HttpClient`], and its response is read within a limit:
//! ```no_run
//! # use plumb_memory::{Limit, MemoryPool};
//! # use plumb_transport::{ClientConfig, Credential, HttpClient, HttpRequest, OriginCredential, Redirects};
//! # async fn index(url: url::Url, credential: Credential, pool: MemoryPool) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
//! let client = HttpClient::new(ClientConfig { redirects: Redirects::Follow, ..ClientConfig::default() })?;
//! let credential = OriginCredential::new(&url, &credential)?;
//! let response = client.send(HttpRequest::get(url).credential(credential)).await?;
//! let limit = Limit { name: "index of charts", bytes_max: 50 << 20 };
//! let mut memory = pool.reservation("apps", limit);
//! Ok(response.collect(limit, &mut memory, |_| ()).await?)
//! # }
//! ```

pub mod address;
mod body;
mod client;
mod client_cache;
mod connection;
mod credential;
mod exchange;
mod redirect;
pub mod server;
mod shown;
mod slots;
pub mod tcp;
#[cfg(test)]
mod tests;
mod tokens;
mod trust;

pub use body::{BodyError, BodyPieces, BodyReader, BoundedResponse};
pub use client::{ClientConfig, ClientError, Proxy, ProxyAddress, ProxyError};
pub use client_cache::{CLIENT_IDLE_MAX, CLIENTS_MAX, ClientCache};
pub use connection::ConnectionError;
pub use credential::{Credential, CredentialError, CredentialPart, Origin, OriginCredential};
pub use exchange::{HttpClient, HttpRequest, REQUEST_TIMEOUT};
pub use redirect::{REDIRECTS_MAX, RedirectError, Redirects, redirect_target};
pub use shown::{shown_text, shown_url};
pub use slots::{NoSlot, Slot, Slots};
pub use tokens::{TokenCache, TokenKey, TokenLimits, read_token_file, token_key};
pub use trust::{Trust, TrustError, TrustPart};
