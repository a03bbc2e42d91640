//! Where a repository is, and the credentials for it. They are read in three places only: the request, the name of a mirror, and
//! the scrubbing of error texts.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use plumb_transport::{Credential, OriginCredential, Proxy, Trust, shown_text};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::{
    ssh::{SshCredential, SshTarget},
    submodule::SubmoduleError,
};

/// The scheme of URLs over SSH.
const SSH_SCHEME: &str = "ssh";
/// The user where the URL names none.
const SSH_USER: &str = "git";
const SSH_PORT: u16 = 22;
/// A secret shorter than this is not scrubbed from texts: it would eat ordinary words.
const SCRUBBED_LENGTH_MIN: usize = 4;

/// A repository and how to reach it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    url: Url,
    access: Access,
}

/// How a repository is reached.
#[derive(Clone, Debug)]
pub(crate) enum Access {
    Http(Box<HttpAccess>),
    Ssh(SshTarget),
}

#[derive(Clone, Debug)]
pub(crate) struct HttpAccess {
    credential: Credential,
    origin: CredentialOrigin,
    pub(crate) bound: OriginCredential,
    pub(crate) trust: Trust,
    pub(crate) proxy: Proxy,
    /// Whose credential it is, where it is a token that is another one every hour.
    pub(crate) owner: Option<[u8; 32]>,
}

/// What determines the client for a repository. Repositories that are read with different credentials share no connection.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClientKey {
    trust: Trust,
    proxy: Proxy,
    credential: Option<OriginCredential>,
}

impl HttpAccess {
    /// What of the object determines whom we talk to; nothing where it sets nothing of it.
    fn peer(&self) -> Vec<&[u8]> {
        let (trust, proxy) = (self.trust.parts(), self.proxy.parts());
        if trust.is_empty() && proxy.is_empty() {
            return Vec::new();
        }
        [vec![&b"trust"[..]], trust, vec![&b"proxy"[..]], proxy].concat()
    }

    /// The same as a text: what a server has said is kept under it, for those only who reach the server in the same way.
    pub(crate) fn peer_digest(&self) -> String {
        let peer = self.peer();
        if peer.is_empty() {
            return String::new();
        }
        let mut hash = Sha256::new();
        for part in peer {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        HEXLOWER.encode(&hash.finalize())
    }

    pub(crate) fn client_key(&self) -> ClientKey {
        let credential = self.credential.is_some().then(|| self.bound.clone());
        ClientKey { trust: self.trust.clone(), proxy: self.proxy.clone(), credential }
    }
}

/// The source of the credentials of a request, for the remedy when a server rejects them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialOrigin {
    /// None were sent.
    None,
    /// The user info of the URL.
    Url,
    /// The caller: a Secret.
    Given,
}

/// A URL is not one of a repository that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It does not parse or has no host.
    #[error("repository URL '{url}' is not valid: {problem}")]
    BadUrl {
        /// The URL, as far as it may be shown.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// Another scheme than http, https and ssh.
    #[error(
        "repository URL '{url}' is not valid: scheme {scheme:?} is not supported, use http, https or ssh"
    )]
    Scheme {
        /// The URL, as far as it may be shown.
        url: String,
        /// The scheme.
        scheme: String,
    },
}

impl Endpoint {
    /// A repository over HTTP. Credentials in the URL count where none are given.
    pub fn new(url: &str, credential: Credential, trust: Trust) -> Result<Self, EndpointError> {
        let bad = |problem: String| EndpointError::BadUrl { url: shown_text(url), problem };
        let mut parsed = Url::parse(url).map_err(|error| bad(error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            let scheme = parsed.scheme().to_owned();
            return Err(EndpointError::Scheme { url: shown_text(url), scheme });
        }
        if parsed.host_str().is_none_or(str::is_empty) {
            return Err(bad("it has no host".to_owned()));
        }
        let from_url = userinfo(&parsed);
        let without_userinfo = parsed.set_username("").and_then(|()| parsed.set_password(None));
        without_userinfo.map_err(|()| bad("its credentials cannot be set apart".to_owned()))?;
        let (credential, origin) = match credential {
            Credential::None if from_url.is_some() => (from_url, CredentialOrigin::Url),
            Credential::None => (Credential::None, CredentialOrigin::None),
            given => (given, CredentialOrigin::Given),
        };
        let bound = OriginCredential::new(&parsed, &credential).map_err(|error| bad(error.to_string()))?;
        let proxy = Proxy::default();
        let http = HttpAccess { credential, origin, bound, trust, proxy, owner: None };
        Ok(Self { url: parsed, access: Access::Http(Box::new(http)) })
    }

    /// The same repository, whose credential is a token of this owner: other tokens of it have the same mirror.
    #[must_use]
    pub fn owned_by(mut self, owner: [u8; 32]) -> Self {
        if let Access::Http(http) = &mut self.access {
            http.owner = Some(owner);
        }
        self
    }

    /// The same repository through a proxy, submodules included. Over SSH none is used.
    #[must_use]
    pub fn through(mut self, proxy: Proxy) -> Self {
        if let Access::Http(http) = &mut self.access {
            http.proxy = proxy;
        }
        self
    }

    /// A repository over SSH: `ssh://[user@]host[:port]/path`. The user is `git` where the URL names none; a password in the URL is
    /// not used.
    pub fn over_ssh(url: &str, credential: SshCredential) -> Result<Self, EndpointError> {
        let bad = |problem: &str| EndpointError::BadUrl { url: shown_text(url), problem: problem.to_owned() };
        let mut parsed = Url::parse(url).map_err(|error| bad(&error.to_string()))?;
        if parsed.scheme() != SSH_SCHEME {
            let scheme = parsed.scheme().to_owned();
            return Err(EndpointError::Scheme { url: shown_text(url), scheme });
        }
        let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(bad("it has no host"));
        }
        if host.starts_with('-') || !host.chars().all(is_of_host) {
            return Err(bad("its host is not a name or an address"));
        }
        let user = decoded(parsed.username()).ok_or_else(|| bad("its user is not UTF-8"))?;
        let path = decoded(parsed.path()).ok_or_else(|| bad("its path is not UTF-8"))?;
        if path.trim_matches('/').is_empty() {
            return Err(bad("it has no path"));
        }
        if path.chars().chain(user.chars()).any(char::is_control) {
            return Err(bad("it contains a control character"));
        }
        // As Git does it: the home directory of a user is no absolute path.
        let path = if path.starts_with("/~") { path[1..].to_owned() } else { path };
        parsed.set_password(None).map_err(|()| bad("its credentials cannot be set apart"))?;
        parsed.set_query(None);
        parsed.set_fragment(None);
        let user = if user.is_empty() { SSH_USER.to_owned() } else { user };
        let port = parsed.port().unwrap_or(SSH_PORT);
        Ok(Self { url: parsed, access: Access::Ssh(SshTarget { user, host, port, path, credential }) })
    }

    /// The repository of a submodule of this one, or of a submodule of that. The credentials of this one are for its server only: a
    /// submodule elsewhere is read without any, and not over SSH.
    pub(crate) fn submodule(&self, url: &str) -> Result<Self, SubmoduleError> {
        let invalid = |source| SubmoduleError::Endpoint { source };
        if url.starts_with("ssh://") {
            let no_key = || SubmoduleError::NoKey { url: shown_text(url) };
            let Access::Ssh(own) = &self.access else { return Err(no_key()) };
            let other = Self::over_ssh(url, own.credential.clone()).map_err(invalid)?;
            let is_own = matches!(&other.access, Access::Ssh(other) if other.host == own.host && other.port == own.port);
            return if is_own { Ok(other) } else { Err(no_key()) };
        }
        let other = Self::new(url, Credential::None, Trust::default()).map_err(invalid)?;
        match &self.access {
            Access::Http(own) if other.url.origin() == self.url.origin() => {
                let same = Self::new(url, own.credential.clone(), own.trust.clone()).map_err(invalid)?;
                let same = same.through(own.proxy.clone());
                Ok(own.owner.map_or(same.clone(), |owner| same.owned_by(owner)))
            }
            Access::Http(own) => Ok(other.through(own.proxy.clone())),
            Access::Ssh(_) => Ok(other),
        }
    }

    /// The URL, without credentials.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether credentials go over an unencrypted connection.
    pub fn is_exposed(&self) -> bool {
        self.url.scheme() == "http" && matches!(&self.access, Access::Http(http) if http.credential.is_some())
    }

    pub(crate) fn credential_origin(&self) -> CredentialOrigin {
        match &self.access {
            Access::Http(http) => http.origin,
            Access::Ssh(_) => CredentialOrigin::Given,
        }
    }

    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    /// What the offers of this repository's server are kept under.
    pub(crate) fn greeting_key(&self) -> String {
        match &self.access {
            Access::Http(http) => format!("{} {}", http.peer_digest(), self.url),
            Access::Ssh(_) => self.url.to_string(),
        }
    }

    /// The name of the mirror of this repository for this credential, and for this way to the server: another credential, proxy or trust
    /// has another mirror, so that nobody waits for a server that somebody else has chosen.
    pub(crate) fn keyed_name(&self, key: &[u8; 32]) -> String {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
        let (kind, name, secret) = match &self.access {
            Access::Ssh(target) => ("ssh", target.user.as_str(), &target.credential.identity().digest()[..]),
            Access::Http(http) => match (&http.owner, &http.credential) {
                (Some(owner), _) => ("owner", "", &owner[..]),
                (None, Credential::None) => ("none", "", &b""[..]),
                (None, Credential::Basic { username, password }) => {
                    ("basic", username.as_str(), password.expose())
                }
                (None, Credential::Bearer { token }) => ("bearer", "", token.expose()),
            },
        };
        let peer = match &self.access {
            Access::Ssh(target) => vec![&target.credential.known_hosts().digest()[..]],
            Access::Http(http) => http.peer(),
        };
        let own = [self.url.as_str().as_bytes(), kind.as_bytes(), name.as_bytes(), secret];
        for part in own.into_iter().chain(peer) {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        HEXLOWER.encode(&mac.finalize().into_bytes())
    }

    /// A text in which the secrets of this credential, plain or encoded for a URL, are covered.
    pub(crate) fn scrub(&self, text: &str) -> String {
        // Over SSH no secret is ever sent.
        let Access::Http(http) = &self.access else { return text.to_owned() };
        let secret = match &http.credential {
            Credential::None => return text.to_owned(),
            Credential::Basic { password, .. } => password,
            Credential::Bearer { token } => token,
        };
        let Some(secret) = secret.expose_str() else { return text.to_owned() };
        let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        [secret, encoded.as_str()]
            .iter()
            .filter(|form| form.len() >= SCRUBBED_LENGTH_MIN)
            .fold(text.to_owned(), |text, form| text.replace(form, "*****"))
    }
}

/// Whether a letter can be part of a host name or an address.
fn is_of_host(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_' | ':')
}

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

fn userinfo(url: &Url) -> Credential {
    match (url.username(), url.password()) {
        ("", None) => Credential::None,
        (username, password) => Credential::Basic {
            username: percent_decode_str(username).decode_utf8_lossy().into_owned(),
            password: percent_decode_str(password.unwrap_or_default()).collect::<Vec<u8>>().into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str, credential: Credential) -> Endpoint {
        Endpoint::new(url, credential, Trust::default()).unwrap()
    }

    /// The credential of an endpoint over HTTP.
    fn credential(endpoint: &Endpoint) -> &Credential {
        let Access::Http(http) = &endpoint.access else { panic!("not over HTTP") };
        &http.credential
    }

    fn basic(password: &str) -> Credential {
        Credential::Basic { username: "u".into(), password: password.into() }
    }

    #[test]
    fn only_http_and_https_are_read() {
        for bad in
            ["ssh://git@host/x", "file:///tmp/x", "git://host/x", "ext::sh -c x", "nonsense", "http://"]
        {
            assert!(Endpoint::new(bad, Credential::None, Trust::default()).is_err(), "{bad}");
        }
    }

    #[test]
    fn words_for_a_command_line_and_odd_hosts_are_no_urls() {
        for bad in [
            "-oProxyCommand=x",
            "--upload-pack=x",
            "ssh://-oProxyCommand=x/y",
            "fd::1",
            "git@host:x",
            "http://ho st/x",
            "http://h:99999/x",
            "http://[fe80::1%25eth0]/x",
            "",
        ] {
            assert!(Endpoint::new(bad, Credential::None, Trust::default()).is_err(), "{bad}");
        }
        // What is requested is what was parsed: no second host and no header comes of a line break or a backslash.
        for (odd, plain) in [("http://ho\r\nst/a", "http://host/a"), ("http://h\\@x:y/", "http://h/@x:y/")] {
            assert_eq!(endpoint(odd, Credential::None).url().as_str(), plain);
        }
    }

    #[test]
    fn a_url_over_ssh_has_user_host_port_and_path() {
        if plumb_testkit::sshd::keygen_is_missing() {
            return;
        }
        let (private, _) = plumb_testkit::sshd::key_pair(&["-t", "ed25519", "-N", ""]).unwrap();
        let open = |url: &str| {
            let identity = crate::ssh::Identity::parse(private.as_bytes(), None).unwrap();
            Endpoint::over_ssh(url, SshCredential::new(identity, crate::ssh::KnownHosts::default()))
        };
        for (url, user, host, port, path, shown) in [
            ("ssh://host/a.git", "git", "host", 22, "/a.git", "ssh://host/a.git"),
            ("ssh://me@host:2222/a/b", "me", "host", 2222, "/a/b", "ssh://me@host:2222/a/b"),
            ("ssh://git@[::1]:22/a%20b", "git", "::1", 22, "/a b", "ssh://git@[::1]:22/a%20b"),
            ("ssh://git@host/~me/a", "git", "host", 22, "~me/a", "ssh://git@host/~me/a"),
            ("ssh://git:s3cret@host/a?s3cret#s3cret", "git", "host", 22, "/a", "ssh://git@host/a"),
        ] {
            let endpoint = open(url).unwrap();
            let Access::Ssh(target) = endpoint.access() else { panic!("{url}") };
            assert_eq!(
                (target.user.as_str(), target.host.as_str(), target.port),
                (user, host, port),
                "{url}"
            );
            assert_eq!((target.path.as_str(), endpoint.url().as_str()), (path, shown));
            assert!(!format!("{endpoint:?}").contains("s3cret"));
        }
        for bad in [
            "ssh://-oProxyCommand=x/y",
            "ssh://git@ho$(x)st/y",
            "ssh:///y",
            "ssh://host",
            "ssh://host/",
            "ssh://host/a%0Ab",
            "ssh://host/%ff",
            "ssh://a%00b@host/a",
            "http://host/a",
            "git@host:a",
        ] {
            assert!(open(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn credentials_of_the_url_are_a_fallback_and_never_shown() {
        let one = endpoint("http://me:p%40ss+w=x&y@host/repo", Credential::None);
        assert!(
            matches!(credential(&one), Credential::Basic { username, password } if username == "me" && password.matches(b"p@ss+w=x&y"))
        );
        assert_eq!(one.url().as_str(), "http://host/repo");
        assert!(!format!("{one:?}").contains("ss+w"));
        assert!(one.is_exposed());
        let two = endpoint("http://me:other@host/repo", basic("given"));
        assert!(matches!(credential(&two), Credential::Basic { password, .. } if password.matches(b"given")));
        assert!(!endpoint("http://host/repo", Credential::None).is_exposed());
    }

    #[test]
    fn a_url_that_is_not_valid_is_shown_without_its_credentials() {
        for (url, expect) in [
            ("http://h:99999/x", "repository URL 'http://h:99999/x' is not valid: invalid port number"),
            (
                "http://me:s3cret@h:99999/x",
                "repository URL 'http://…@h:99999/x' is not valid: invalid port number",
            ),
            (
                "http://me:s3cret%0A@h/x",
                "repository URL 'http://…@h/x' is not valid: the password ends with a line break",
            ),
            (
                "ftp://h/x",
                "repository URL 'ftp://h/x' is not valid: scheme \"ftp\" is not supported, use http, https or ssh",
            ),
        ] {
            let error = Endpoint::new(url, Credential::None, Trust::default()).unwrap_err();
            assert_eq!(error.to_string(), expect);
        }
    }

    #[test]
    fn each_credential_has_its_own_mirror() {
        let key = [7; 32];
        let name = |credential| endpoint("http://host/repo", credential).keyed_name(&key);
        assert_eq!(name(basic("a")), name(basic("a")));
        assert_ne!(name(basic("a")), name(basic("b")));
        assert_ne!(name(basic("a")), name(Credential::Bearer { token: "a".into() }));
        let plain = || endpoint("http://host/repo", Credential::None);
        let proxy = |address: &str, password: &str| {
            let credential = Credential::Basic { username: "u".into(), password: password.into() };
            Proxy::Address(plumb_transport::ProxyAddress::parse(address, &credential).unwrap())
        };
        let unverified = Endpoint::new("http://host/repo", Credential::None, Trust::unverified()).unwrap();
        let ways = [
            plain(),
            unverified,
            plain().through(Proxy::None),
            plain().through(proxy("http://a:1", "x")),
            plain().through(proxy("http://a:1", "y")),
            plain().through(proxy("http://b:1", "x")),
        ];
        let names: std::collections::BTreeSet<_> = ways.iter().map(|way| way.keyed_name(&key)).collect();
        let greetings: std::collections::BTreeSet<_> = ways.iter().map(Endpoint::greeting_key).collect();
        assert_eq!((names.len(), greetings.len()), (ways.len(), ways.len()));
        assert_eq!(name(Credential::None), plain().through(Proxy::Environment).keyed_name(&key));
        assert_ne!(
            name(Credential::None),
            endpoint("http://host/repo", Credential::None).keyed_name(&[8; 32])
        );
    }

    #[test]
    fn all_tokens_of_an_owner_have_one_mirror() {
        let token = |token: &str| Credential::Bearer { token: token.into() };
        let name = |endpoint: Endpoint| endpoint.keyed_name(&[7; 32]);
        let of = |text: &str, owner| endpoint("http://host/repo", token(text)).owned_by([owner; 32]);
        assert_eq!(name(of("a", 1)), name(of("b", 1)));
        assert_ne!(name(of("a", 1)), name(of("a", 2)));
        assert_ne!(name(of("a", 1)), name(endpoint("http://host/repo", token("a"))));
        let below = |endpoint: Endpoint| name(endpoint.submodule("http://host/lib").unwrap());
        assert_eq!(below(of("a", 1)), below(of("b", 1)));
        assert_ne!(below(of("a", 1)), below(of("a", 2)));
        let elsewhere = |endpoint: Endpoint| name(endpoint.submodule("http://other/lib").unwrap());
        assert_eq!(elsewhere(of("a", 1)), elsewhere(of("a", 2)), "it is read without credentials");
    }

    #[test]
    fn secrets_are_scrubbed_from_texts() {
        let one = endpoint("http://host/repo", basic("s3cret/x"));
        assert_eq!(one.scrub("got s3cret/x and s3cret%2Fx"), "got ***** and *****");
    }
}
