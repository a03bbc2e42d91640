//! One conversation with a server: handshake, list of references, one pack. Blocking; the task around it has the clock and the
//! interrupt flag. Choosing among references and keeping what was fetched are not done here.

use std::{
    error::Error as StdError,
    io::{self, BufRead, Read},
    path::Path,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use gix::{
    ObjectId,
    hash::Kind,
    objs::FindHeader,
    odb::pack,
    progress::Discard,
    protocol::{
        self, Handshake, LsRefsCommand,
        fetch::{self, Arguments, Negotiate, Response, Shallow, Tags, negotiate},
        handshake::Ref,
        ls_refs::RefPrefixes,
    },
    sec::identity::Account,
};
use gix_transport::{
    Protocol, Service,
    client::{
        TransportWithoutIO,
        blocking_io::http::{self, Transport, reqwest::Remote},
    },
};

use plumb_api::sealed::Sealed;

use crate::{
    credential::{Credential, Endpoint},
    error::GitError,
    tls,
};

/// How this client names itself to servers.
const AGENT: &str = concat!("plumb/", env!("CARGO_PKG_VERSION"));
/// History is not needed: one commit is fetched.
const DEPTH: std::num::NonZeroU32 = std::num::NonZeroU32::MIN;

/// One conversation.
pub(crate) struct Conversation {
    endpoint: Endpoint,
    transport: Transport<Remote>,
    handshake: Handshake,
}

impl Conversation {
    /// Connects and shakes hands. No single request takes longer than `timeout`.
    pub(crate) fn open(endpoint: &Endpoint, timeout: Duration) -> Result<Self, GitError> {
        let failed = |error: gix::Error| refine(endpoint, "list remote for", &error);
        let url = gix::url::parse(endpoint.url().as_str()).map_err(failed)?;
        let mut transport = Transport::<Remote>::new(url, Protocol::V2, false);
        transport.configure(&http_options(endpoint, timeout)?).map_err(failed)?;
        if let Credential::Basic { username, password } = endpoint.credential() {
            let password = text(endpoint, "password", password)?;
            let account = Account {
                username: username.clone(),
                password: password.to_owned(),
                oauth_refresh_token: None,
            };
            transport
                .set_identity(account)
                .map_err(|error| transport_error(endpoint, "list remote for", &error))?;
        }
        let handshake =
            protocol::handshake(&mut transport, Service::UploadPack, |_| Ok(None), Vec::new(), &mut Discard)
                .map_err(failed)?;
        Ok(Self { endpoint: endpoint.clone(), transport, handshake })
    }

    /// The references that start with a prefix, or all.
    pub(crate) fn list(&mut self, prefix: Option<&str>) -> Result<Vec<Ref>, GitError> {
        if let Some(refs) = &self.handshake.refs {
            return Ok(refs.clone());
        }
        let prefixes = prefix.map(|prefix| {
            let mut prefixes = RefPrefixes::new();
            prefixes.extend([prefix.into()]);
            prefixes
        });
        LsRefsCommand::new(prefixes, &self.handshake.capabilities, agent())
            .invoke_blocking(&mut self.transport, &mut Discard, false)
            .map_err(|error| refine(&self.endpoint, "list remote for", &error))
    }

    /// How the repository names its objects.
    pub(crate) fn object_hash(&self) -> Kind {
        let format = self.handshake.capabilities.capability("object-format");
        let is_sha256 =
            format.and_then(|format| format.value().map(|value| value == "sha256")).unwrap_or(false);
        if is_sha256 { Kind::Sha256 } else { Kind::Sha1 }
    }

    /// Fetches what leads to a commit into a repository that has the commits `haves`.
    pub(crate) fn fetch(
        &mut self,
        repository: &gix::Repository,
        want: ObjectId,
        haves: &[ObjectId],
        pack_bytes_max: u64,
        interrupt: &AtomicBool,
    ) -> Result<(), GitError> {
        let pack_directory = repository.objects.store_ref().path().join("pack");
        let mut wanted = Wanted { want, haves };
        let receive =
            |reader: &mut dyn BufRead, progress: &mut dyn gix::DynNestedProgress, interrupt: &AtomicBool| {
                receive_pack(reader, progress, interrupt, &pack_directory, repository, pack_bytes_max)
            };
        let context = fetch::Context {
            handshake: &mut self.handshake,
            transport: &mut self.transport,
            user_agent: agent(),
            trace_packetlines: false,
        };
        let options = fetch::Options {
            shallow_file: repository.git_dir().join("shallow"),
            shallow: &Shallow::DepthAtRemote(DEPTH),
            tags: Tags::None,
            reject_shallow_remote: false,
        };
        protocol::fetch(&mut wanted, receive, Discard, interrupt, context, options)
            .map(|_| ())
            .map_err(|error| refine(&self.endpoint, "fetch from", &error))
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

fn agent() -> protocol::command::Feature {
    ("agent", Some(AGENT.to_owned()))
}

fn http_options(endpoint: &Endpoint, timeout: Duration) -> Result<http::Options, GitError> {
    let refused = |what, detail| GitError::Certificate { url: endpoint.url().to_string(), what, detail };
    let trust = endpoint.trust();
    let tls = tls::client_config(trust).map_err(|error| refused(error.what, error.detail))?;
    let identity = match (&trust.client, &tls) {
        (Some((chain, key)), None) => {
            let pem = [chain.as_slice(), b"\n", key.expose()].concat();
            let bad = |_| refused("client certificate", "it does not parse".to_owned());
            Some(reqwest::Identity::from_pem(&pem).map_err(bad)?)
        }
        _ => None,
    };
    let backend = http::reqwest::Options {
        configure_client: Some(Box::new(move |builder| {
            let builder = builder.timeout(timeout);
            Ok(match (&tls, &identity) {
                (Some(tls), _) => builder.tls_backend_preconfigured(tls.clone()),
                (None, Some(identity)) => builder.identity(identity.clone()),
                (None, None) => builder,
            })
        })),
        configure_request: None,
    };
    let extra_headers = match endpoint.credential() {
        Credential::Bearer { token } => {
            vec![format!("Authorization: Bearer {}", text(endpoint, "bearer token", token)?)]
        }
        Credential::None | Credential::Basic { .. } => Vec::new(),
    };
    Ok(http::Options {
        extra_headers,
        backend: Some(Arc::new(Mutex::new(backend))),
        ..http::Options::default()
    })
}

/// A secret as it goes into a header: one line of text.
fn text<'a>(endpoint: &Endpoint, what: &'static str, secret: &'a Sealed) -> Result<&'a str, GitError> {
    secret.expose_str().filter(|text| !text.contains(char::is_control)).ok_or_else(|| GitError::Certificate {
        url: endpoint.url().to_string(),
        what,
        detail: "it is not a line of text".to_owned(),
    })
}

fn receive_pack(
    reader: &mut dyn BufRead,
    progress: &mut dyn gix::DynNestedProgress,
    interrupt: &AtomicBool,
    directory: &Path,
    repository: &gix::Repository,
    bytes_max: u64,
) -> gix::Result<bool> {
    let mut bounded = Bounded { inner: reader, left: bytes_max };
    let options = pack::bundle::write::Options {
        // One fetch does not take all cores: several run at the same time.
        thread_limit: Some(1),
        alloc_limit_bytes: usize::try_from(bytes_max).ok(),
        ..pack::bundle::write::Options::default()
    };
    let outcome = pack::Bundle::write_to_directory(
        &mut bounded,
        Some(directory),
        progress,
        interrupt,
        Some(repository.objects.clone()),
        repository.object_hash(),
        options,
    )?;
    if let Some(keep) = outcome.keep_path {
        // Nothing collects garbage here, so the marker against that is not needed; leaving it does no harm.
        let _ = std::fs::remove_file(keep);
    }
    Ok(true)
}

/// The negotiation of somebody who knows exactly what they want: one round, with all they have.
struct Wanted<'a> {
    want: ObjectId,
    haves: &'a [ObjectId],
}

impl Negotiate for Wanted<'_> {
    fn mark_complete_and_common_ref(&mut self) -> gix::Result<negotiate::Action> {
        Ok(negotiate::Action::MustNegotiate { remote_ref_target_known: vec![false] })
    }

    fn add_wants(&mut self, arguments: &mut Arguments, _known: &[bool]) -> bool {
        arguments.want(self.want);
        true
    }

    fn one_round(
        &mut self,
        state: &mut negotiate::one_round::State,
        arguments: &mut Arguments,
        _previous: Option<&Response>,
    ) -> gix::Result<(negotiate::Round, bool)> {
        for have in self.haves {
            arguments.have(have);
        }
        let round = negotiate::Round {
            haves_sent: self.haves.len(),
            in_vain: 0,
            haves_to_send: state.haves_to_send,
            previous_response_had_at_least_one_in_common: false,
        };
        Ok((round, true))
    }
}

/// A reader that ends with an error at its limit.
struct Bounded<'a> {
    inner: &'a mut dyn BufRead,
    left: u64,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.spend(read)?;
        Ok(read)
    }
}

impl BufRead for Bounded<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(io::Error::other("the pack is over its limit"));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.left = self.left.saturating_sub(amount as u64);
        self.inner.consume(amount);
    }
}

impl Bounded<'_> {
    fn spend(&mut self, read: usize) -> io::Result<()> {
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::other("the pack is over its limit"))?;
        Ok(())
    }
}

/// Whether an object of any kind is there.
pub(crate) fn has_object(repository: &gix::Repository, id: ObjectId) -> bool {
    repository.objects.try_header(&id).is_ok_and(|header| header.is_some())
}

/// The typed error for what the transport says.
fn refine(endpoint: &Endpoint, action: &'static str, error: &gix::Error) -> GitError {
    let url = endpoint.url().to_string();
    if error.is_unauthenticated() {
        return GitError::Unauthenticated { url };
    }
    let statuses = error.iter_errors().find_map(|part| {
        successors(part)
            .find_map(|part| part.downcast_ref::<reqwest::Error>().and_then(reqwest::Error::status))
    });
    match statuses.map(|status| status.as_u16()) {
        Some(401) => return GitError::Unauthenticated { url },
        Some(403) => return GitError::Forbidden { url },
        Some(404 | 410) => return GitError::RepositoryNotFound { url },
        _ => {}
    }
    let mut detail = String::new();
    for part in error.iter_errors().flat_map(successors) {
        let text = part.to_string();
        if !text.is_empty() && !detail.contains(&text) {
            detail = if detail.is_empty() { text } else { format!("{detail}: {text}") };
        }
    }
    GitError::Transport { action, url, detail: endpoint.scrub(&detail) }
}

fn transport_error(endpoint: &Endpoint, action: &'static str, error: &(dyn StdError + 'static)) -> GitError {
    let detail = endpoint.scrub(&plumb_status::chain(error));
    GitError::Transport { action, url: endpoint.url().to_string(), detail }
}

fn successors<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| (*error).source())
}
