//! What the exchanges of one connection share, over HTTP or SSH: every wait ends at the operation's deadline or when its caller is
//! dropped, and what arrives is counted and charged. gix passes errors as text: the typed cause is kept here.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::StatusCode;
use plumb_memory::{MemoryReservation, OverBudget};
use plumb_transport::ConnectionError;
use tokio::runtime::Handle;

use crate::{bounds::Bounds, ssh::SshFault};

/// Why the transport ended an exchange. gix passes errors as text; this is the typed cause.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The caller was dropped.
    Interrupted,
    /// The deadline of the operation has passed.
    TimedOut,
    /// A status other than success.
    Status(StatusCode),
    /// The connection failed, its address is not allowed, or it redirects to where it is not followed.
    Connection(ConnectionError),
    /// A redirect that leads to something else than the same repository.
    OtherRepository {
        /// Where to, as far as it may be shown.
        target: String,
    },
    /// The response has another content type than Git's.
    NotGit,
    /// The exchange over SSH failed.
    Ssh(SshFault),
    /// The memory of the process for what input can grow is in use.
    OverBudget(OverBudget),
    /// The body is larger than the operation may read.
    TooLarge {
        /// The limit, in bytes.
        bytes_max: u64,
    },
}

/// What all exchanges of a connection share.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<State>>);

struct State {
    runtime: Handle,
    bounds: Bounds,
    /// Bytes of bodies that the operation may still read, of so many.
    bytes_left: u64,
    bytes_max: u64,
    /// What the bytes of bodies are charged to, and how much each byte counts.
    memory: Option<(MemoryReservation, u64)>,
    fault: Option<Fault>,
}

/// The part of the transport that stays with the connection while gix holds the transport.
#[derive(Clone)]
pub(crate) struct Control(Shared);

impl Control {
    /// Begins an operation: its bounds, and how many bytes of bodies it may read.
    pub(crate) fn begin(&self, bounds: &Bounds, bytes_max: u64) {
        let mut state = self.0.state();
        (state.bounds, state.fault) = (bounds.clone(), None);
        (state.bytes_left, state.bytes_max) = (bytes_max, bytes_max);
        state.memory = None;
    }

    /// Charges the bytes of bodies from now on, each `factor` times.
    pub(crate) fn charge(&self, memory: MemoryReservation, factor: u64) {
        self.0.state().memory = Some((memory, factor));
    }

    /// Gives back what was charged.
    pub(crate) fn discharge(&self) {
        self.0.state().memory = None;
    }

    /// Why the transport ended the last exchange, if it did.
    pub(crate) fn take_fault(&self) -> Option<Fault> {
        self.0.state().fault.take()
    }
}

impl Shared {
    /// The shared part of a connection on which so many bytes may be read.
    pub(crate) fn new(runtime: Handle, bounds: &Bounds, bytes_max: u64) -> (Self, Control) {
        let (bounds, bytes_left) = (bounds.clone(), bytes_max);
        let state = State { runtime, bounds, bytes_left, bytes_max, memory: None, fault: None };
        let shared = Self(Arc::new(Mutex::new(state)));
        let control = Control(shared.clone());
        (shared, control)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change of the state is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a fault for the reader of gix's error, and returns one for gix.
    pub(crate) fn fail(&self, fault: Fault) -> io::Error {
        let text = match &fault {
            Fault::Interrupted => "the operation was abandoned".to_owned(),
            Fault::TimedOut => "the deadline has passed".to_owned(),
            Fault::Status(status) => format!("the server responded with status {status}"),
            Fault::Connection(error) => error.to_string(),
            Fault::OtherRepository { .. } => "the redirect is not one of the same repository".to_owned(),
            Fault::NotGit => "the response is not one of a Git server".to_owned(),
            Fault::Ssh(fault) => fault.to_string(),
            Fault::OverBudget(over) => over.to_string(),
            Fault::TooLarge { bytes_max } => format!("the response is larger than {bytes_max} bytes"),
        };
        self.state().fault = Some(fault);
        io::Error::other(text)
    }

    /// Waits for something of the network, within the bounds of the operation.
    pub(crate) fn wait<T, E: Into<Fault>>(&self, work: impl Future<Output = Result<T, E>>) -> io::Result<T> {
        let (runtime, bounds) = {
            let state = self.state();
            (state.runtime.clone(), state.bounds.clone())
        };
        let outcome = runtime.block_on(async {
            tokio::select! {
                biased;
                () = bounds.interrupt.token().cancelled() => Err(Fault::Interrupted),
                () = tokio::time::sleep_until(bounds.deadline.into()) => Err(Fault::TimedOut),
                done = work => done.map_err(Into::into),
            }
        });
        outcome.map_err(|fault| self.fail(fault))
    }

    pub(crate) fn spend(&self, read: usize) -> io::Result<()> {
        let mut state = self.state();
        let Some(left) = state.bytes_left.checked_sub(read as u64) else {
            let bytes_max = state.bytes_max;
            drop(state);
            return Err(self.fail(Fault::TooLarge { bytes_max }));
        };
        state.bytes_left = left;
        let charged = match &mut state.memory {
            Some((memory, factor)) => memory.try_grow((read as u64).saturating_mul(*factor)),
            None => Ok(()),
        };
        drop(state);
        charged.map_err(|over| self.fail(Fault::OverBudget(over)))
    }
}
