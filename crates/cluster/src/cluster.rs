//! Cluster: one API server as one identity sees it. Everything in this crate works on one of these.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;
use tokio::sync::Semaphore;

use crate::mapper::Mapper;
use crate::outage::Outages;
use crate::unanswered::Unanswered;

/// Concurrent watches of all health waits at one cluster, at most, in addition to the first one of each.
pub const WATCHES_CLUSTER_MAX: usize = 512;

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A client, what the server serves, and the time. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    mapper: Mapper,
    clock: Clock,
    outages: Outages,
    watch_slots: Arc<Semaphore>,
    unanswered: Unanswered,
}

impl Cluster {
    /// A cluster behind a client. No request is sent yet.
    pub fn new(client: Client, clock: Clock) -> Self {
        let mapper = Mapper::new(client.clone());
        let watch_slots = Arc::new(Semaphore::new(WATCHES_CLUSTER_MAX));
        Self {
            client,
            mapper,
            clock,
            outages: Outages::default(),
            watch_slots,
            unanswered: Unanswered::default(),
        }
    }

    /// The same cluster, whose watches reconnect as soon as an outage has ended. Without it they wait for their backoff.
    #[must_use]
    pub fn with_outages(self, outages: Outages) -> Self {
        Self { outages, ..self }
    }

    /// The outages of the API server.
    pub fn outages(&self) -> &Outages {
        &self.outages
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What the server serves.
    pub fn mapper(&self) -> &Mapper {
        &self.mapper
    }

    /// The writes without a response.
    pub fn unanswered(&self) -> &Unanswered {
        &self.unanswered
    }

    /// The watch slots of all health waits.
    pub fn watch_slots(&self) -> &Arc<Semaphore> {
        &self.watch_slots
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cluster")
    }
}
