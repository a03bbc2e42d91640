//! Which requests a fault hits, and which fault it is.

use std::{fmt, sync::Arc, time::Duration};

use http::Method;

use super::request::Seen;
use crate::scenario::pattern::Pattern;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is forwarded this much later.
    Delay(Duration),
    /// No response, and nothing is forwarded. The connection stays open until the client closes it.
    Hang,
    /// The proxy responds with this status code.
    Respond(u16),
    /// The proxy responds with this status code and a `Retry-After` of this many seconds.
    RetryAfter(u16, u64),
    /// The request is forwarded; its response is dropped and the connection closed.
    LostResponse,
    /// The connection is closed before anything is forwarded.
    Reset,
    /// Bodies above this many bytes get a 413; others are forwarded.
    RejectAbove(usize),
    /// Watches deliver nothing while the rule is set, bookmarks included. A watch that dropped something ends when the
    /// rule is removed.
    DropEvents,
    /// Watches deliver each event twice.
    DuplicateEvents,
    /// Watches deliver each pair of events in reverse order. A single event waits [`super::REORDER_WAIT`].
    ReorderEvents,
}

impl Fault {
    /// Whether it concerns the lines of a watch, not the request itself.
    pub fn is_of_events(self) -> bool {
        matches!(self, Self::DropEvents | Self::DuplicateEvents | Self::ReorderEvents)
    }
}

type Condition = Arc<dyn Fn(&Seen) -> bool + Send + Sync>;

/// A fault and the requests that it hits: all that match, unless [`Rule::after`] or [`Rule::times`] limit it.
#[derive(Clone)]
pub struct Rule {
    pattern: Pattern,
    writes_only: bool,
    condition: Option<Condition>,
    after: u32,
    times: u32,
    pub(super) fault: Fault,
}

impl Rule {
    /// A fault of requests with this method (`*` is any) and path (`*` is one segment, at the end the rest). The path
    /// of a subresource names it: `/apis/*/*/namespaces/*/kustomizations/*/status`.
    pub fn new(method: &str, path: &str, fault: Fault) -> Self {
        let pattern = Pattern::new(method, path);
        Self { pattern, writes_only: false, condition: None, after: 0, times: u32::MAX, fault }
    }

    /// A fault of writes, see [`Seen::is_write`].
    pub fn writes(path: &str, fault: Fault) -> Self {
        Self { writes_only: true, ..Self::new("*", path, fault) }
    }

    /// Only requests that meet this.
    #[must_use]
    pub fn when(mut self, condition: impl Fn(&Seen) -> bool + Send + Sync + 'static) -> Self {
        self.condition = Some(Arc::new(condition));
        self
    }

    /// The first `count` requests that match pass unharmed.
    #[must_use]
    pub fn after(mut self, count: u32) -> Self {
        self.after = count;
        self
    }

    /// Only this many requests are hit.
    #[must_use]
    pub fn times(mut self, count: u32) -> Self {
        self.times = count;
        self
    }

    pub(super) fn fits(&self, seen: &Seen) -> bool {
        self.pattern.fits(seen.method.as_str(), &seen.path)
            && (!self.writes_only || seen.is_write())
            && (!self.fault.is_of_events() || seen.method == Method::GET)
            && self.condition.as_ref().is_none_or(|condition| condition(seen))
    }

    /// Whether the request with this number, counted from zero over those that match, is hit.
    pub(super) fn hits(&self, number: u32) -> bool {
        number >= self.after && number - self.after < self.times
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("pattern", &self.pattern)
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}
