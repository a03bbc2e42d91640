//! An HTTP client from its settings: trust, proxy, addresses, timeouts, redirects.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use url::Url;

use crate::{
    address::{AddressPolicy, CheckedResolver, RejectedAddress},
    credential::{Credential, CredentialError},
    redirect::Redirects,
    shown::{shown_text, shown_url},
    trust::Trust,
};

/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many unused connections to one host are kept.
const IDLE_PER_HOST_MAX: usize = 4;

/// The settings of a client.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Which servers are trusted, and the client certificate.
    pub trust: Trust,
    /// The proxy.
    pub proxy: Proxy,
    /// Which addresses connections may go to, however a name is resolved; none where the caller has its own list of hosts. Behind
    /// a proxy, the proxy resolves names: literal addresses are still checked. Whoever uses [`Self::build`] checks literal
    /// addresses by itself, with [`AddressPolicy::check_url`].
    pub addresses: Option<AddressPolicy>,
    /// How long a connection may take to come up.
    pub connect_timeout: Duration,
    /// How long the server may be silent before its response and between two parts of it; none where the timeout of the request, or
    /// the deadline of the caller, is enough.
    pub read_timeout: Option<Duration>,
    /// Whether [`crate::HttpClient`] follows redirects.
    pub redirects: Redirects,
    /// The header `User-Agent`, where a request has none.
    pub user_agent: Option<HeaderValue>,
}

impl Default for ClientConfig {
    /// The system's certificates, the proxy of the environment, no redirects, and a connection within 20 s.
    fn default() -> Self {
        Self {
            trust: Trust::default(),
            proxy: Proxy::Environment,
            addresses: None,
            connect_timeout: CONNECT_TIMEOUT,
            read_timeout: None,
            redirects: Redirects::None,
            user_agent: None,
        }
    }
}

/// The proxy of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proxy {
    /// The proxies of `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
    #[default]
    Environment,
    /// None, regardless of the environment.
    None,
    /// One for every request.
    Address(ProxyAddress),
}

/// An HTTP proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyAddress {
    url: Url,
    authorization: Option<HeaderValue>,
}

impl std::fmt::Debug for ProxyAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "ProxyAddress {{ url: {:?}, credential: {} }}",
            shown_url(&self.url),
            self.authorization.is_some()
        )
    }
}

/// An address is not one of an HTTP proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// It is no http or https URL, or has user info.
    #[error("{address:?} is not the address of a proxy: {problem}")]
    BadAddress {
        /// The address, as far as it may be shown.
        address: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Its credential cannot be sent.
    #[error("proxy {address:?}: {source}")]
    Credential {
        /// The address.
        address: String,
        /// Which part, and why; never its value.
        source: CredentialError,
    },
    /// It is at an address that connections may not go to.
    #[error(transparent)]
    Rejected(RejectedAddress),
}

/// Why a client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The proxy is at an address that connections may not go to.
    #[error(transparent)]
    Proxy(ProxyError),
    /// The settings do not go together.
    #[error("cannot set up the HTTP client")]
    Settings(#[source] reqwest::Error),
}

impl Proxy {
    /// What it was made of, to tell others apart by a digest; nothing for the default. A secret is among it.
    pub fn parts(&self) -> Vec<&[u8]> {
        match self {
            Self::Environment => Vec::new(),
            Self::None => vec![b"none"],
            Self::Address(ProxyAddress { url, authorization }) => {
                let authorization = authorization.as_ref().map(HeaderValue::as_bytes);
                vec![b"address", url.as_str().as_bytes(), authorization.unwrap_or_default()]
            }
        }
    }
}

impl ProxyAddress {
    /// The proxy at this address. A name and password are given apart from it: addresses are shown in errors. The credential is
    /// sent to the proxy only.
    pub fn parse(address: &str, credential: &Credential) -> Result<Self, ProxyError> {
        let bad = |problem| ProxyError::BadAddress { address: shown_text(address), problem };
        let url = Url::parse(address).map_err(|_| bad("it does not parse as a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("its scheme is neither http nor https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("it has credentials in it: use the keys username and password"));
        }
        let authorization = credential.authorization();
        let authorization =
            authorization.map_err(|source| ProxyError::Credential { address: shown_url(&url), source })?;
        Ok(Self { url, authorization })
    }
}

impl ClientConfig {
    /// The client of the HTTP library, which follows no redirects: for a protocol that has rules of its own for them. Others use
    /// [`crate::HttpClient`]. Cheap to clone; connections are pooled in it.
    pub fn build(self) -> Result<reqwest::Client, ClientError> {
        let Self { trust, proxy, addresses, connect_timeout, read_timeout, redirects: _, user_agent } = self;
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(connect_timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX);
        if let Some(user_agent) = user_agent {
            builder = builder.user_agent(user_agent);
        }
        if let Some(addresses) = addresses {
            builder = builder.dns_resolver(Arc::new(CheckedResolver::new(addresses)));
        }
        if let Some(read_timeout) = read_timeout {
            builder = builder.read_timeout(read_timeout);
        }
        builder = match proxy {
            Proxy::Environment => builder,
            Proxy::None => builder.no_proxy(),
            Proxy::Address(ProxyAddress { url, authorization }) => {
                let checked = addresses.map_or(Ok(()), |addresses| addresses.check_url(&url));
                checked.map_err(|rejected| ClientError::Proxy(ProxyError::Rejected(rejected)))?;
                let proxy = reqwest::Proxy::all(url).map_err(ClientError::Settings)?;
                builder.proxy(match authorization {
                    Some(authorization) => proxy.custom_http_auth(authorization),
                    None => proxy,
                })
            }
        };
        trust.apply(builder).build().map_err(ClientError::Settings)
    }
}
