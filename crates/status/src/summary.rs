//! The reducer: what stood before, what the attempt made true and how it ended become one status, the events to
//! tell and the next visit. It is the only place where Ready, Reconciling and Stalled are decided.

use std::time::Duration;

use jiff::Timestamp;

use crate::condition::{READY, RECONCILING, STALLED, find, whole_seconds};
use crate::message::{CONDITION_BYTES_MAX, cut};
use crate::{
    AttemptOutcome, Condition, ConditionStatus, ConditionType, ConditionUpdate, Detail, EventDraft, Ledger,
    Polarity, Reason, RetryPolicy, Transition,
};

/// The part of a status that every kind has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// All conditions, those of strangers too.
    pub conditions: Vec<Condition>,
    /// The generation that was last carried through, or found to be beyond help. −1 before the first.
    pub observed_generation: i64,
    /// The last request to reconcile that was answered.
    pub last_handled_reconcile_at: Option<String>,
}

impl Default for Status {
    fn default() -> Self {
        Self { conditions: Vec::new(), observed_generation: -1, last_handled_reconcile_at: None }
    }
}

impl Status {
    /// The condition of this type, if it is set.
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        find(&self.conditions, type_)
    }

    /// The Ready condition, if it is set.
    pub fn ready(&self) -> Option<&Condition> {
        self.condition(READY)
    }
}

/// What stood before, and what the attempt was about.
#[derive(Debug, Clone, Copy)]
pub struct Before<'a> {
    /// The generation that the attempt worked on.
    pub generation: i64,
    /// The request to reconcile that the attempt answers, if any.
    pub requested_at: Option<&'a str>,
    /// The status when the attempt began: what is news is judged by it.
    pub at_start: &'a Status,
    /// The status as the server has it now: what is kept is kept from it.
    pub current: &'a Status,
    /// Now.
    pub now: Timestamp,
}

/// When to look at the object again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// At once.
    Now,
    /// After the interval of the object, with jitter.
    Interval,
    /// After exactly this.
    After(Duration),
    /// Later and later, per object.
    Backoff,
    /// When something changes.
    Never,
}

/// What an attempt leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The status that should stand; none where it is empty, or there is nothing left to write to.
    pub status: Option<Status>,
    /// The events to emit.
    pub events: Vec<EventDraft>,
    /// The next visit.
    pub next: Next,
}

/// The summary of an attempt.
pub fn summarize<L: Ledger + ?Sized>(
    before: &Before<'_>,
    ledger: &L,
    ending: &AttemptOutcome<L::Condition>,
) -> Summary {
    let status = match ending {
        AttemptOutcome::Static | AttemptOutcome::Gone => None,
        AttemptOutcome::Suspended => Some(echoed(before, amend(before, ledger))),
        AttemptOutcome::Superseded { .. } => Some(superseded(before, ledger)),
        AttemptOutcome::Succeeded { detail, .. } => Some(succeeded(before, ledger, detail)),
        AttemptOutcome::Waiting { on, .. } => Some(retried(before, ledger, None, on)),
        AttemptOutcome::Failed { condition, detail, .. } => Some(retried(before, ledger, *condition, detail)),
        AttemptOutcome::Stalled { condition, detail } => Some(stalled(before, ledger, *condition, detail)),
    };
    let events = events(before, ledger, ending, status.as_ref());
    Summary { status, events, next: next(ending) }
}

/// The status while work goes on: Ready is Unknown, Reconciling says what is being done.
pub fn in_progress(before: &Before<'_>, ready: &str, progress: &str) -> Status {
    let mut draft = Draft::from(before);
    draft.remove(STALLED);
    draft.set(READY, ConditionStatus::Unknown, Reason::Progressing, ready);
    draft.set(RECONCILING, ConditionStatus::True, Reason::Progressing, progress);
    draft.finish(before.current.observed_generation, before.current.last_handled_reconcile_at.clone())
}

/// The status outside of an attempt: only conditions that never affect Ready follow the ledger.
pub fn amend<L: Ledger + ?Sized>(before: &Before<'_>, ledger: &L) -> Status {
    let mut draft = Draft::from(before);
    for condition in L::Condition::ALL.iter().copied().filter(|condition| !condition.affects_ready()) {
        draft.take(condition, ledger.condition(condition));
    }
    draft.finish(before.current.observed_generation, before.current.last_handled_reconcile_at.clone())
}

fn succeeded<L: Ledger + ?Sized>(before: &Before<'_>, ledger: &L, detail: &Detail) -> Status {
    let mut draft = Draft::from(before);
    draft.take_all(ledger, None);
    for condition in L::Condition::ALL.iter().copied().filter(|condition| condition.affects_ready()) {
        // Every step passed: what was bad before and not said again is over.
        if ledger.condition(condition) == ConditionUpdate::Unchanged && draft.ill(condition).is_some() {
            draft.remove(condition.as_str());
        }
    }
    draft.remove(STALLED);
    match worst::<L::Condition>(&draft) {
        None => {
            draft.remove(RECONCILING);
            draft.set(READY, ConditionStatus::True, detail.reason, &detail.message);
            echoed(before, draft.finish(before.generation, None))
        }
        Some(ill) => {
            let progress = ledger.progress().unwrap_or_else(|| ill.message.clone());
            draft.set_text(READY, ConditionStatus::False, &ill.reason, &ill.message);
            draft.set(RECONCILING, ConditionStatus::True, Reason::ProgressingWithRetry, &progress);
            echoed(before, draft.finish(before.current.observed_generation, None))
        }
    }
}

fn retried<L: Ledger + ?Sized>(
    before: &Before<'_>,
    ledger: &L,
    named: Option<L::Condition>,
    detail: &Detail,
) -> Status {
    let mut draft = Draft::from(before);
    draft.take_all(ledger, named.map(|condition| (condition, detail)));
    draft.remove(STALLED);
    draft.set(READY, ConditionStatus::False, detail.reason, &detail.message);
    let progress = ledger.progress().unwrap_or_else(|| detail.message.clone());
    draft.set(RECONCILING, ConditionStatus::True, Reason::ProgressingWithRetry, &progress);
    echoed(before, draft.finish(before.current.observed_generation, None))
}

fn stalled<L: Ledger + ?Sized>(
    before: &Before<'_>,
    ledger: &L,
    named: Option<L::Condition>,
    detail: &Detail,
) -> Status {
    let mut draft = Draft::from(before);
    draft.take_all(ledger, named.map(|condition| (condition, detail)));
    draft.remove(RECONCILING);
    draft.set(READY, ConditionStatus::False, detail.reason, &detail.message);
    draft.set(STALLED, ConditionStatus::True, detail.reason, &detail.message);
    echoed(before, draft.finish(before.generation, None))
}

/// The next attempt starts at once, so the conditions are left as they are, unless the ledger contradicts a Ready=True: by an
/// unhealthy condition, or by changes to the world that no revision accounts for yet.
fn superseded<L: Ledger + ?Sized>(before: &Before<'_>, ledger: &L) -> Status {
    let mut draft = Draft::from(before);
    draft.take_all(ledger, None);
    let ready = before.current.ready().is_some_and(Condition::is_true);
    let ill = worst::<L::Condition>(&draft);
    if ready && (ill.is_some() || !ledger.events().is_empty()) {
        let progress = ledger.progress().or(ill.map(|ill| ill.message)).unwrap_or(IN_PROGRESS.to_owned());
        draft.set(READY, ConditionStatus::Unknown, Reason::Progressing, IN_PROGRESS);
        draft.set(RECONCILING, ConditionStatus::True, Reason::Progressing, &progress);
    }
    // The request is not echoed: the attempt that starts now answers it.
    draft.finish(before.current.observed_generation, before.current.last_handled_reconcile_at.clone())
}

/// What Ready says while work goes on, where a kind has nothing better to say.
pub const IN_PROGRESS: &str = "Reconciliation in progress";

/// A request to reconcile is answered by every ending that comes from an attempt.
fn echoed(before: &Before<'_>, status: Status) -> Status {
    let kept = before.current.last_handled_reconcile_at.clone();
    Status { last_handled_reconcile_at: before.requested_at.map(str::to_owned).or(kept), ..status }
}

fn next<C>(ending: &AttemptOutcome<C>) -> Next {
    match ending {
        AttemptOutcome::Succeeded { .. } => Next::Interval,
        AttemptOutcome::Waiting { retry, .. }
        | AttemptOutcome::Failed { retry: RetryPolicy::After(retry), .. } => Next::After(*retry),
        AttemptOutcome::Failed { retry: RetryPolicy::Backoff, .. } => Next::Backoff,
        AttemptOutcome::Superseded { .. } => Next::Now,
        AttemptOutcome::Stalled { .. }
        | AttemptOutcome::Suspended
        | AttemptOutcome::Static
        | AttemptOutcome::Gone => Next::Never,
    }
}

/// The events to emit: first what happened in the world, then what the ending means, if it is news.
fn events<L: Ledger + ?Sized>(
    before: &Before<'_>,
    ledger: &L,
    ending: &AttemptOutcome<L::Condition>,
    status: Option<&Status>,
) -> Vec<EventDraft> {
    let mut events = ledger.events();
    let ready = status.and_then(Status::ready);
    match ending {
        AttemptOutcome::Succeeded { detail, changed } => match ready {
            Some(ready) if !ready.is_true() => {
                if is_news(before, ready) {
                    let text = &ready.message;
                    events.push(EventDraft::error(detail.reason, text.clone()));
                }
            }
            _ => events.extend(ledger.success(turn(before, ready, *changed), detail)),
        },
        AttemptOutcome::Waiting { on, .. } => {
            if ready.is_some_and(|ready| is_news(before, ready)) {
                events.extend(ledger.waiting(on));
            }
        }
        AttemptOutcome::Failed { detail, .. } | AttemptOutcome::Stalled { detail, .. } => {
            if ready.is_some_and(|ready| is_news(before, ready)) {
                events.push(EventDraft::error(detail.reason, detail.message.clone()));
            }
        }
        AttemptOutcome::Superseded { .. }
        | AttemptOutcome::Suspended
        | AttemptOutcome::Static
        | AttemptOutcome::Gone => {}
    }
    let metadata = ledger.metadata();
    for event in &mut events {
        for (key, value) in &metadata {
            event.metadata.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    events
}

fn is_news(before: &Before<'_>, ready: &Condition) -> bool {
    !before.at_start.ready().is_some_and(|was| was.says_the_same(ready))
}

fn turn(before: &Before<'_>, ready: Option<&Condition>, changed: bool) -> Transition {
    match before.at_start.ready() {
        Some(was) if was.is_false() => Transition::Recovered,
        Some(was) if was.is_true() => {
            let same = ready.is_some_and(|ready| was.says_the_same(ready));
            if changed || !same { Transition::Changed } else { Transition::Unchanged }
        }
        _ if before.at_start.observed_generation < 1 => Transition::New,
        _ if changed => Transition::Changed,
        _ => Transition::Unchanged,
    }
}

/// The unhealthy condition that Ready follows: negative ones before positive False ones before unknown ones, each in
/// the order of the vocabulary.
fn worst<C: ConditionType>(draft: &Draft<'_>) -> Option<Condition> {
    let ill: Vec<_> = C::ALL
        .iter()
        .filter(|c| c.affects_ready())
        .filter_map(|c| draft.ill(*c).map(|ill| (*c, ill)))
        .collect();
    let rank = |(type_, ill): &(C, Condition)| match (type_.polarity(), ill.status) {
        (Polarity::Negative, ConditionStatus::True) => 0,
        (_, ConditionStatus::False) => 1,
        _ => 2,
    };
    ill.into_iter().min_by_key(rank).map(|(_, ill)| ill)
}

/// A list of conditions in the making.
struct Draft<'a> {
    before: &'a Before<'a>,
    conditions: Vec<Condition>,
}

impl<'a> Draft<'a> {
    fn from(before: &'a Before<'a>) -> Self {
        Self { before, conditions: before.current.conditions.clone() }
    }

    fn take_all<L: Ledger + ?Sized>(&mut self, ledger: &L, named: Option<(L::Condition, &Detail)>) {
        for condition in L::Condition::ALL.iter().copied() {
            match named {
                Some((type_, detail)) if type_ == condition => {
                    let status = match type_.polarity() {
                        Polarity::Negative => ConditionStatus::True,
                        Polarity::Positive => ConditionStatus::False,
                    };
                    self.take(condition, ConditionUpdate::Set(status, detail.clone()));
                }
                _ => self.take(condition, ledger.condition(condition)),
            }
        }
    }

    fn take<C: ConditionType>(&mut self, condition: C, said: ConditionUpdate) {
        match (said, condition.polarity()) {
            (ConditionUpdate::Unchanged, _) => {}
            (ConditionUpdate::Set(ConditionStatus::True, detail), Polarity::Negative) => {
                self.set(condition.as_str(), ConditionStatus::True, detail.reason, &detail.message);
            }
            (ConditionUpdate::Clear, _) | (ConditionUpdate::Set(..), Polarity::Negative) => {
                self.remove(condition.as_str());
            }
            (ConditionUpdate::Set(status, detail), Polarity::Positive) => {
                self.set(condition.as_str(), status, detail.reason, &detail.message);
            }
        }
    }

    fn set(&mut self, type_: &str, status: ConditionStatus, reason: Reason, message: &str) {
        self.set_text(type_, status, reason.as_str(), message);
    }

    fn set_text(&mut self, type_: &str, status: ConditionStatus, reason: &str, message: &str) {
        let mut said = Condition {
            type_: type_.to_owned(),
            status,
            observed_generation: Some(self.before.generation),
            last_transition_time: whole_seconds(self.before.now),
            reason: reason.to_owned(),
            message: cut(message, CONDITION_BYTES_MAX),
        };
        if let Some(was) = self.before.current.condition(type_).filter(|was| was.says_the_same(&said)) {
            said.last_transition_time = was.last_transition_time;
        }
        self.remove(type_);
        self.conditions.push(said);
    }

    fn remove(&mut self, type_: &str) {
        self.conditions.retain(|condition| condition.type_ != type_);
    }

    /// The condition of this type, if it is set and unhealthy.
    fn ill<C: ConditionType>(&self, type_: C) -> Option<Condition> {
        let healthy = match type_.polarity() {
            Polarity::Positive => ConditionStatus::True,
            Polarity::Negative => ConditionStatus::False,
        };
        find(&self.conditions, type_.as_str()).filter(|condition| condition.status != healthy).cloned()
    }

    /// Ready first, the others by name.
    fn finish(mut self, observed_generation: i64, last_handled_reconcile_at: Option<String>) -> Status {
        self.conditions.sort_by(|a, b| (a.type_ != READY, &a.type_).cmp(&(b.type_ != READY, &b.type_)));
        Status { conditions: self.conditions, observed_generation, last_handled_reconcile_at }
    }
}
