//! The rules of the reducer, one by one: which conditions stand, what is told, and when to look again.

use std::time::Duration;

use jiff::Timestamp;
use plumb_status::message::CONDITION_BYTES_MAX;
use plumb_status::{
    AttemptOutcome, Before, Classify, Condition, ConditionStatus, ConditionUpdate, Consequence, Detail,
    EventDraft, Ledger, Next, Reason, RetryPolicy, Severity, Status, Summary, chain, condition_types,
    in_progress, summarize,
};

condition_types! {
    /// A small vocabulary: bad news, good news, and one that Ready does not follow.
    enum Kind {
        FetchFailed = Negative,
        Healthy = Positive,
        Drifted = Negative beside Ready,
    }
}

#[derive(Default)]
struct Facts(Vec<(Kind, ConditionUpdate)>);

impl Ledger for Facts {
    type Condition = Kind;

    fn condition(&self, condition: Kind) -> ConditionUpdate {
        self.0
            .iter()
            .find(|(about, _)| *about == condition)
            .map_or(ConditionUpdate::Unchanged, |(_, said)| said.clone())
    }
}

fn stands(condition: Kind, status: ConditionStatus) -> Facts {
    Facts(vec![(
        condition,
        ConditionUpdate::Set(status, Detail::new(Reason::HealthCheckFailed, "web is not ready")),
    )])
}

fn applied() -> AttemptOutcome<Kind> {
    AttemptOutcome::Succeeded {
        detail: Detail::new(Reason::ReconciliationSucceeded, "Applied revision: main@sha1:1"),
        changed: false,
    }
}

fn failed(condition: Option<Kind>) -> AttemptOutcome<Kind> {
    AttemptOutcome::Failed {
        condition,
        detail: Detail::new(Reason::GitOperationFailed, "cannot reach git.example.com"),
        retry: RetryPolicy::Backoff,
    }
}

/// The summary of an attempt at generation 1, `seconds` after the epoch, over what stood before.
fn attempt(seconds: u64, before: &Status, book: &Facts, ending: &AttemptOutcome<Kind>) -> Summary {
    let before = Before {
        generation: 1,
        requested_at: None,
        at_start: before,
        current: before,
        now: Timestamp::UNIX_EPOCH + Duration::from_secs(seconds),
    };
    summarize(&before, book, ending)
}

/// The conditions as `Type=Status/Reason`, in their order.
fn shown(status: &Status) -> Vec<String> {
    let one = |c: &Condition| format!("{}={}/{}", c.type_, c.status.as_str(), c.reason);
    status.conditions.iter().map(one).collect()
}

#[track_caller]
fn check(
    before: &Status,
    book: &Facts,
    ending: &AttemptOutcome<Kind>,
    expect: &[&str],
    next: Next,
) -> Status {
    let summary = attempt(9, before, book, ending);
    let status = summary.status.expect("the object is still there");
    assert_eq!(shown(&status), expect);
    assert_eq!(summary.next, next);
    status
}

fn after(ending: &AttemptOutcome<Kind>) -> Status {
    let summary = attempt(1, &Status::default(), &Facts::default(), ending);
    summary.status.expect("the object is still there")
}

#[test]
fn a_success_is_ready_at_its_generation() {
    let expect = ["Ready=True/ReconciliationSucceeded"];
    let status = check(&Status::default(), &Facts::default(), &applied(), &expect, Next::Interval);
    assert_eq!(status.observed_generation, 1);
}

#[test]
fn a_failure_names_its_condition_and_is_tried_again() {
    let expect = [
        "Ready=False/GitOperationFailed",
        "FetchFailed=True/GitOperationFailed",
        "Reconciling=True/ProgressingWithRetry",
    ];
    let ending = failed(Some(Kind::FetchFailed));
    let status = check(&Status::default(), &Facts::default(), &ending, &expect, Next::Backoff);
    assert_eq!(status.observed_generation, -1, "what failed is not observed");
}

#[test]
fn a_stall_is_observed_and_waits_for_a_change() {
    let ending = AttemptOutcome::Stalled {
        condition: None,
        detail: Detail::new(Reason::UnsupportedField, "spec.verify"),
    };
    let expect = ["Ready=False/UnsupportedField", "Stalled=True/UnsupportedField"];
    let status = check(&after(&failed(None)), &Facts::default(), &ending, &expect, Next::Never);
    assert_eq!(status.observed_generation, 1);
}

#[test]
fn a_success_clears_what_failed_before() {
    let before = after(&failed(Some(Kind::FetchFailed)));
    check(&before, &Facts::default(), &applied(), &["Ready=True/ReconciliationSucceeded"], Next::Interval);
}

#[test]
fn a_success_is_not_ready_while_a_condition_is_bad() {
    let expect = [
        "Ready=False/HealthCheckFailed",
        "Healthy=False/HealthCheckFailed",
        "Reconciling=True/ProgressingWithRetry",
    ];
    let book = stands(Kind::Healthy, ConditionStatus::False);
    check(&Status::default(), &book, &applied(), &expect, Next::Interval);
}

#[test]
fn drift_stands_beside_ready_and_goes_when_it_is_over() {
    let book = stands(Kind::Drifted, ConditionStatus::True);
    let expect = ["Ready=True/ReconciliationSucceeded", "Drifted=True/HealthCheckFailed"];
    let status = check(&Status::default(), &book, &applied(), &expect, Next::Interval);
    let over = Facts(vec![(Kind::Drifted, ConditionUpdate::Clear)]);
    check(&status, &over, &AttemptOutcome::Suspended, &["Ready=True/ReconciliationSucceeded"], Next::Never);
}

#[test]
fn the_same_success_again_changes_nothing_and_tells_nothing() {
    let first = attempt(1, &Status::default(), &Facts::default(), &applied());
    assert_eq!(first.events.len(), 1, "the first is told");
    let status = first.status.unwrap();
    let again = attempt(2, &status, &Facts::default(), &applied());
    assert_eq!((again.status, again.events), (Some(status), Vec::new()));
}

#[test]
fn the_same_failure_again_is_told_once() {
    let first = attempt(1, &Status::default(), &Facts::default(), &failed(None));
    let told: Vec<_> = first.events.iter().map(|event| (event.severity, event.reason)).collect();
    assert_eq!(told, [(Severity::Error, Reason::GitOperationFailed)]);
    let status = first.status.unwrap();
    let again = attempt(2, &status, &Facts::default(), &failed(None));
    assert_eq!((again.status, again.events), (Some(status), Vec::new()));
}

#[test]
fn a_recovery_is_told() {
    let events = attempt(2, &after(&failed(None)), &Facts::default(), &applied()).events;
    let told: Vec<_> = events.iter().map(|event| (event.severity, event.message.as_str())).collect();
    assert_eq!(told, [(Severity::Info, "Applied revision: main@sha1:1")]);
}

#[test]
fn work_shown_in_between_does_not_make_the_same_failure_news() {
    let stood = after(&failed(None));
    let before = Before {
        generation: 1,
        requested_at: None,
        at_start: &stood,
        current: &stood,
        now: Timestamp::UNIX_EPOCH,
    };
    let working = in_progress(&before, "Reconciliation in progress", "Fetching");
    assert_eq!(shown(&working), ["Ready=Unknown/Progressing", "Reconciling=True/Progressing"]);
    let summary = summarize(&Before { current: &working, ..before }, &Facts::default(), &failed(None));
    assert!(summary.events.is_empty(), "news is judged by what stood when the attempt began");
}

#[test]
fn only_a_newer_attempt_leaves_a_request_open() {
    for (ending, expect) in [
        (applied(), Some("9")),
        (failed(None), Some("9")),
        (AttemptOutcome::Suspended, Some("9")),
        (AttemptOutcome::Superseded { by: "main@sha1:2".to_owned() }, None),
    ] {
        let before = Before {
            generation: 1,
            requested_at: Some("9"),
            at_start: &Status::default(),
            current: &Status::default(),
            now: Timestamp::UNIX_EPOCH,
        };
        let status = summarize(&before, &Facts::default(), &ending).status.unwrap();
        assert_eq!(status.last_handled_reconcile_at.as_deref(), expect, "{ending:?}");
    }
}

/// Something was changed in the world.
struct Changed;

impl Ledger for Changed {
    type Condition = Kind;

    fn events(&self) -> Vec<EventDraft> {
        vec![EventDraft::info(Reason::Progressing, "ConfigMap/apps/web configured")]
    }
}

#[test]
fn an_attempt_that_was_cut_off_half_way_leaves_no_ready_of_before() {
    let stands = attempt(0, &Status::default(), &Facts::default(), &applied()).status.unwrap();
    assert!(stands.ready().is_some_and(Condition::is_true));
    let before = Before {
        generation: 1,
        requested_at: None,
        at_start: &stands,
        current: &stands,
        now: Timestamp::UNIX_EPOCH,
    };
    let superseded = AttemptOutcome::Superseded { by: "main@sha1:2".to_owned() };
    let status = summarize(&before, &Changed, &superseded).status.unwrap();
    assert_eq!(status.ready().map(|ready| ready.status), Some(ConditionStatus::Unknown));
    let idle = summarize(&before, &Facts::default(), &superseded).status.unwrap();
    assert!(idle.ready().is_some_and(Condition::is_true), "what changed nothing leaves what stands");
}

#[test]
fn a_suspended_object_keeps_what_was_said_of_it() {
    let before = after(&failed(Some(Kind::FetchFailed)));
    let summary =
        attempt(5, &before, &stands(Kind::FetchFailed, ConditionStatus::False), &AttemptOutcome::Suspended);
    assert_eq!(summary.status, Some(before));
}

#[test]
fn the_time_of_a_condition_moves_only_with_what_it_says() {
    let first = after(&failed(None));
    let again = attempt(7, &first, &Facts::default(), &failed(None)).status.unwrap();
    assert_eq!(again.ready().unwrap().last_transition_time.as_second(), 1);
    let other = attempt(7, &first, &Facts::default(), &applied()).status.unwrap();
    assert_eq!(other.ready().unwrap().last_transition_time.as_second(), 7);
}

#[test]
fn what_is_gone_has_no_status_and_no_next_visit() {
    let summary = attempt(1, &after(&applied()), &Facts::default(), &AttemptOutcome::Gone);
    assert_eq!(summary, Summary { status: None, events: Vec::new(), next: Next::Never });
}

#[test]
fn an_endless_message_is_cut() {
    let detail = Detail::new(Reason::BuildFailed, "x".repeat(CONDITION_BYTES_MAX * 2));
    let status = after(&AttemptOutcome::Failed { condition: None, detail, retry: RetryPolicy::Backoff });
    let message = &status.ready().unwrap().message;
    assert!(message.len() <= CONDITION_BYTES_MAX && message.ends_with("bytes more)"), "{}", message.len());
}

#[derive(Debug, thiserror::Error)]
#[error("cannot read the repository")]
struct Unreadable(#[source] Refused);

#[derive(Debug, thiserror::Error)]
#[error("connection refused")]
struct Refused;

impl Classify for Unreadable {
    fn reason(&self) -> Reason {
        Reason::GitOperationFailed
    }

    fn consequence(&self) -> Consequence {
        Consequence::Retry
    }

    fn hint(&self) -> Option<String> {
        Some("is the host up?".to_owned())
    }
}

#[test]
fn an_error_is_told_with_its_causes_and_its_advice() {
    let error = Unreadable(Refused);
    assert_eq!(chain(&error), "cannot read the repository: connection refused");
    let message = "cannot read the repository: connection refused (is the host up?)";
    assert_eq!(Detail::of(&error), Detail::new(Reason::GitOperationFailed, message));
    let ending = AttemptOutcome::of(&error, Some(Kind::FetchFailed));
    assert_eq!(ending.as_str(), "failed");
}
