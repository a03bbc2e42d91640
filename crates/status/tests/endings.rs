//! Every ending after every ending, and long walks over them: whatever happened before, the status that the reducer
//! makes is sound. The vocabularies are like those of GitRepository and Kustomization; single rules of the reducer are
//! tested in `reducer.rs`.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use jiff::Timestamp;
use plumb_status::{
    AttemptOutcome, Before, Condition, ConditionStatus, ConditionType, ConditionUpdate, Detail, Ledger,
    Reason, RetryPolicy, Status, breaches, condition_types, in_progress, summarize,
};
use proptest::prelude::*;

condition_types! {
    enum Fetcher {
        StorageOperationFailed = Negative,
        FetchFailed = Negative,
        IncludeUnavailable = Negative,
        ArtifactOutdated = Negative,
        ArtifactInStorage = Positive,
        SourceVerified = Positive,
    }
}

condition_types! {
    enum Applier {
        Healthy = Positive,
        Drifted = Negative beside Ready,
    }
}

/// What an attempt has learned: one thing about one condition, the same about all, or nothing.
#[derive(Debug, Clone)]
struct Facts<C> {
    about: Option<C>,
    said: ConditionUpdate,
    progress: Option<String>,
}

impl<C: ConditionType> Ledger for Facts<C> {
    type Condition = C;

    fn condition(&self, condition: C) -> ConditionUpdate {
        match self.about {
            Some(about) if about != condition => ConditionUpdate::Unchanged,
            _ => self.said.clone(),
        }
    }

    fn progress(&self) -> Option<String> {
        self.progress.clone()
    }
}

/// One attempt.
#[derive(Debug, Clone)]
struct Attempt<C> {
    book: Facts<C>,
    ending: AttemptOutcome<C>,
    /// Whether the spec changed before it.
    edited: bool,
    /// Whether it showed that it was at work.
    shown: bool,
    requested_at: Option<&'static str>,
}

/// Where an object stands between two attempts.
#[derive(Debug, Clone)]
struct Place {
    generation: i64,
    status: Status,
}

impl Default for Place {
    fn default() -> Self {
        Self { generation: 1, status: Status::default() }
    }
}

fn detail(reason: Reason) -> Detail {
    Detail::new(reason, format!("{reason} it is"))
}

fn endings<C: ConditionType>() -> Vec<AttemptOutcome<C>> {
    let mut all = vec![
        AttemptOutcome::Succeeded { detail: detail(Reason::Succeeded), changed: true },
        AttemptOutcome::Succeeded { detail: detail(Reason::ReconciliationSucceeded), changed: false },
        AttemptOutcome::Waiting { on: detail(Reason::DependencyNotReady), retry: Duration::from_secs(30) },
        AttemptOutcome::Superseded { by: "main@sha1:1".to_owned() },
        AttemptOutcome::Suspended,
        AttemptOutcome::Static,
        AttemptOutcome::Gone,
    ];
    for condition in std::iter::once(None).chain(C::ALL.iter().copied().map(Some)) {
        let failure = detail(Reason::Failed);
        all.push(AttemptOutcome::Failed { condition, detail: failure.clone(), retry: RetryPolicy::Backoff });
        all.push(AttemptOutcome::Stalled { condition, detail: failure });
    }
    let retry = RetryPolicy::After(Duration::from_secs(1));
    all.push(AttemptOutcome::Failed { condition: None, detail: detail(Reason::BuildFailed), retry });
    all
}

fn books<C: ConditionType>() -> Vec<Facts<C>> {
    let progress = Some("Building manifests".to_owned());
    let mut all = vec![
        Facts { about: None, said: ConditionUpdate::Unchanged, progress: None },
        Facts { about: None, said: ConditionUpdate::Unchanged, progress: progress.clone() },
        Facts { about: None, said: ConditionUpdate::Clear, progress: None },
    ];
    for about in C::ALL.iter().copied().map(Some).chain([None]) {
        for status in [ConditionStatus::True, ConditionStatus::False, ConditionStatus::Unknown] {
            let said = ConditionUpdate::Set(status, detail(Reason::NewRevision));
            all.push(Facts { about, said, progress: progress.clone() });
        }
    }
    all
}

fn attempts<C: ConditionType>() -> Vec<Attempt<C>> {
    let mut all = Vec::new();
    for book in books() {
        for ending in endings() {
            for (edited, shown, requested_at) in
                [(false, false, None), (true, false, Some("now")), (false, true, Some("now"))]
            {
                let (book, ending) = (book.clone(), ending.clone());
                all.push(Attempt { book, ending, edited, shown, requested_at });
            }
        }
    }
    all
}

/// Takes an attempt from where the object stands, holds every status on the way against the rules, and says where it
/// stands then: nowhere, when the object is gone.
fn step<C: ConditionType>(place: &Place, attempt: &Attempt<C>) -> Option<Place> {
    let Attempt { book, ending, edited, shown, requested_at } = attempt;
    let generation = place.generation + i64::from(*edited);
    let at_start = &place.status;
    // No whole second, as clocks are.
    let now = Timestamp::UNIX_EPOCH + Duration::from_millis(1500);
    let mut before = Before { generation, requested_at: *requested_at, at_start, current: at_start, now };
    let working = in_progress(&before, "Reconciliation in progress", "Fetching");
    if *shown {
        sound::<C>(generation, &working, place, attempt);
        before.current = &working;
    }
    let summary = summarize(&before, book, ending);
    let Some(status) = summary.status else {
        assert!(
            matches!(ending, AttemptOutcome::Static | AttemptOutcome::Gone),
            "{ending:?} leaves no status"
        );
        return None;
    };
    // Suspension leaves a status of before the edit as it is; it is sound for the generation of its conditions.
    sound::<C>(generation, &status, place, attempt);
    let echoes = !matches!(ending, AttemptOutcome::Superseded { .. });
    if let Some(asked) = requested_at.filter(|_| echoes) {
        assert_eq!(status.last_handled_reconcile_at.as_deref(), Some(asked), "{attempt:?}");
    }
    Some(Place { generation, status })
}

fn sound<C: ConditionType>(generation: i64, status: &Status, place: &Place, attempt: &Attempt<C>) {
    let found = breaches::<C>(generation, status);
    assert!(found.is_empty(), "{found:?}\n  after {place:?}\n  by {attempt:?}\n  stands {status:?}");
}

fn every_ending_after_every_ending<C: ConditionType>() {
    let attempts = attempts::<C>();
    let mut places: BTreeMap<String, Place> = BTreeMap::new();
    for first in &attempts {
        places.extend(step(&Place::default(), first).map(|place| (format!("{place:?}"), place)));
    }
    assert!(places.len() > 10, "{} places are too few to prove anything", places.len());
    for place in places.values() {
        for second in &attempts {
            step(place, second);
        }
    }
}

#[test]
fn a_fetcher_is_sound_after_every_ending_after_every_ending() {
    every_ending_after_every_ending::<Fetcher>();
}

#[test]
fn an_applier_is_sound_after_every_ending_after_every_ending() {
    every_ending_after_every_ending::<Applier>();
}

fn walk<C: ConditionType>(steps: &[prop::sample::Index]) {
    let attempts = attempts::<C>();
    let mut place = Place::default();
    // A stranger's condition goes all the way.
    let stranger = Condition {
        type_: "example.com/Audited".to_owned(),
        status: ConditionStatus::Unknown,
        observed_generation: None,
        last_transition_time: Timestamp::UNIX_EPOCH,
        reason: "Asked".to_owned(),
        message: String::new(),
    };
    place.status.conditions.push(stranger.clone());
    for index in steps {
        place = step(&place, index.get(&attempts)).unwrap_or(place);
        let left = place.status.condition("example.com/Audited");
        assert_eq!(left, Some(&stranger), "a stranger's condition was touched");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_fetcher_is_sound_on_every_step_of_a_long_walk(steps: [prop::sample::Index; 24]) {
        walk::<Fetcher>(&steps);
    }

    #[test]
    fn an_applier_is_sound_on_every_step_of_a_long_walk(steps: [prop::sample::Index; 24]) {
        walk::<Applier>(&steps);
    }
}
