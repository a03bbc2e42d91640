//! The queue's promises, on tokio's paused clock.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tokio::time::{advance, timeout};

use super::*;

fn queue() -> Queue {
    Queue::new(Backoff::default())
}

fn key(name: &str) -> NamespacedName {
    NamespacedName::new("ns", name)
}

async fn drain(queue: &Queue) -> Vec<String> {
    let mut names = Vec::new();
    while let Ok(taken) = timeout(Duration::from_millis(1), queue.next()).await {
        names.push(taken.key.name.clone());
        queue.done(&taken, Again::Never);
    }
    names
}

#[tokio::test(start_paused = true)]
async fn the_more_urgent_goes_first_and_equals_in_order_of_arrival() {
    let queue = queue();
    queue.add(&key("bookkeeping"), Priority::Bookkeeping);
    queue.add(&key("interval"), Priority::Interval);
    queue.add(&key("revision-1"), Priority::Revision);
    queue.add(&key("forced"), Priority::Forced);
    queue.add(&key("revision-2"), Priority::Revision);
    queue.add(&key("deletion"), Priority::Deletion);
    let order = ["deletion", "forced", "revision-1", "revision-2", "interval", "bookkeeping"];
    assert_eq!(drain(&queue).await, order);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_waits_is_raised_but_never_lowered() {
    let queue = queue();
    queue.add(&key("a"), Priority::Interval);
    queue.add(&key("b"), Priority::Revision);
    queue.add(&key("a"), Priority::Forced);
    queue.add(&key("a"), Priority::Bookkeeping);
    assert_eq!(drain(&queue).await, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_running_key_is_not_taken_again_until_it_is_done() {
    let queue = queue();
    queue.add(&key("a"), Priority::Revision);
    let first = queue.next().await;
    queue.add(&key("a"), Priority::Forced);
    assert!(timeout(Duration::from_mins(1), queue.next()).await.is_err());
    queue.done(&first, Again::After(Duration::from_mins(10)));
    let second = queue.next().await;
    assert_eq!(second.priority, Priority::Forced);
}

#[tokio::test(start_paused = true)]
async fn failures_are_waited_for_longer_and_longer_and_a_success_ends_that() {
    let queue = queue();
    queue.add(&key("a"), Priority::Revision);
    for at_most in [750u64, 1500, 3000, 6000] {
        let taken = queue.next().await;
        queue.done(&taken, Again::Backoff { seed: 1 });
        let begun = Instant::now();
        let taken = queue.next().await;
        let waited = u64::try_from(begun.elapsed().as_millis()).unwrap();
        assert!(waited <= at_most + 1 && waited >= at_most * 9 / 10, "{waited} of {at_most}");
        queue.done(&taken, Again::Now);
    }
    let taken = queue.next().await;
    assert_eq!(taken.failures, 4);
    queue.done(&taken, Again::After(Duration::from_secs(1)));
    assert_eq!(queue.next().await.failures, 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_arrival_ends_the_wait_of_a_backoff() {
    let queue = queue();
    queue.add(&key("a"), Priority::Revision);
    let taken = queue.next().await;
    queue.done(&taken, Again::FailedAfter(Duration::from_mins(15)));
    queue.add(&key("a"), Priority::Revision);
    let begun = Instant::now();
    let taken = queue.next().await;
    assert_eq!((begun.elapsed(), taken.failures), (Duration::ZERO, 1));
    queue.done(&taken, Again::Never);
    advance(Duration::from_mins(20)).await;
    assert!(timeout(Duration::from_millis(1), queue.next()).await.is_err(), "the old timer was forgotten");
}

#[tokio::test(start_paused = true)]
async fn of_two_delays_the_sooner_wins() {
    let queue = queue();
    queue.add_after(&key("a"), Duration::from_secs(30), Priority::Interval);
    queue.add_after(&key("a"), Duration::from_secs(10), Priority::Interval);
    queue.add_after(&key("a"), Duration::from_secs(20), Priority::Interval);
    let begun = Instant::now();
    let taken = queue.next().await;
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
    queue.done(&taken, Again::Never);
    assert!(timeout(Duration::from_mins(1), queue.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_superseded_visit_is_notified_by_whom_and_runs_again() {
    let queue = queue();
    queue.add(&key("a"), Priority::Interval);
    let taken = queue.next().await;
    assert!(!taken.is_superseded());
    queue.supersede(&key("a"), Priority::Revision, "GitRepository/ns/apps");
    queue.supersede(&key("a"), Priority::Revision, "GitRepository/ns/later");
    assert_eq!(taken.superseded().await, "GitRepository/ns/apps");
    queue.done(&taken, Again::Now);
    let again = queue.next().await;
    assert_eq!((again.priority, again.is_superseded()), (Priority::Revision, false));
}

#[tokio::test(start_paused = true)]
async fn an_arrival_wakes_a_waiting_caller() {
    let queue = queue();
    queue.add_after(&key("late"), Duration::from_hours(1), Priority::Interval);
    let adder = queue.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        adder.add(&key("now"), Priority::Revision);
    });
    assert_eq!(queue.next().await.key.name, "now");
}

#[derive(Debug, Clone)]
enum Step {
    Add(u8, Priority),
    After(u8, u64),
    Take,
    Done(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let priority = prop_oneof![
        Just(Priority::Bookkeeping),
        Just(Priority::Interval),
        Just(Priority::Revision),
        Just(Priority::Deletion)
    ];
    prop_oneof![
        (0u8..4, priority).prop_map(|(key, priority)| Step::Add(key, priority)),
        (0u8..4, 0u64..100).prop_map(|(key, delay)| Step::After(key, delay)),
        Just(Step::Take),
        any::<bool>().prop_map(Step::Done),
    ]
}

proptest! {
    /// Whatever happens in whatever order: a key that was added is taken afterwards, and never twice at a time.
    #[test]
    fn no_key_is_lost_and_none_runs_twice(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let queue = queue();
            let mut owed = BTreeSet::new();
            let mut running: Vec<Taken> = Vec::new();
            for step in steps {
                match step {
                    Step::Add(at, priority) => {
                        queue.add(&key(&at.to_string()), priority);
                        owed.insert(at.to_string());
                    }
                    Step::After(at, delay) => {
                        queue.add_after(&key(&at.to_string()), Duration::from_secs(delay), Priority::Interval);
                        owed.insert(at.to_string());
                    }
                    Step::Take => {
                        if let Ok(taken) = timeout(Duration::from_millis(1), queue.next()).await {
                            assert!(running.iter().all(|other| other.key != taken.key), "runs twice");
                            owed.remove(&taken.key.name);
                            running.push(taken);
                        }
                    }
                    Step::Done(failed) => {
                        if let Some(taken) = running.pop() {
                            queue.done(&taken, if failed { Again::Backoff { seed: 1 } } else { Again::Never });
                        }
                    }
                }
            }
            for taken in running {
                queue.done(&taken, Again::Never);
            }
            while let Ok(taken) = timeout(Duration::from_hours(1), queue.next()).await {
                owed.remove(&taken.key.name);
                queue.done(&taken, Again::Never);
            }
            assert!(owed.is_empty(), "lost: {owed:?}");
        });
    }
}

fn of(namespace: &str, name: &str) -> NamespacedName {
    NamespacedName::new(namespace, name)
}

/// The namespaces of the next so many visits; each visit ends at once.
async fn served(queue: &Queue, visits: usize) -> Vec<String> {
    let mut namespaces = Vec::new();
    for _ in 0..visits {
        let taken = queue.next().await;
        namespaces.push(taken.key.namespace.clone());
        queue.done(&taken, Again::Never);
    }
    namespaces
}

#[tokio::test(start_paused = true)]
async fn namespaces_take_turns_whoever_came_first_with_however_many() {
    let queue = queue();
    for name in 0..100 {
        queue.add(&of("greedy", &name.to_string()), Priority::Revision);
    }
    queue.add(&of("a", "1"), Priority::Revision);
    queue.add(&of("b", "1"), Priority::Revision);
    queue.add(&of("a", "2"), Priority::Revision);
    assert_eq!(served(&queue, 6).await, ["greedy", "a", "b", "greedy", "a", "greedy"]);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_comes_anew_each_time_gets_no_more_than_its_turn() {
    let queue = queue();
    for name in 0..10 {
        queue.add(&of("patient", &name.to_string()), Priority::Revision);
    }
    queue.add(&of("quick", "1"), Priority::Revision);
    let mut namespaces = Vec::new();
    for _ in 0..6 {
        let taken = queue.next().await;
        namespaces.push(taken.key.namespace.clone());
        queue.done(&taken, Again::Forget);
        // Nothing of it was left in the queue when it comes back.
        queue.add(&of("quick", "1"), Priority::Revision);
    }
    assert_eq!(namespaces, ["patient", "quick", "patient", "quick", "patient", "quick"]);
}

#[tokio::test(start_paused = true)]
async fn urgent_work_of_one_namespace_does_not_starve_the_others() {
    for urgent in [Priority::Deletion, Priority::Forced] {
        let queue = queue();
        for name in 0..100 {
            queue.add(&of("urgent", &name.to_string()), urgent);
        }
        for namespace in ["a", "b"] {
            queue.add(&of(namespace, "1"), Priority::Bookkeeping);
        }
        let namespaces = served(&queue, 12).await;
        for namespace in ["a", "b"] {
            assert!(namespaces.contains(&namespace.to_owned()), "{urgent:?}: {namespaces:?}");
        }
        assert!(namespaces.iter().filter(|namespace| *namespace == "urgent").count() >= 9, "{namespaces:?}");
    }
}

const WORKERS: usize = 2;

async fn starts(queue: &Queue) -> Option<Taken> {
    timeout(Duration::from_millis(1), queue.next_within(WORKERS)).await.ok()
}

#[tokio::test(start_paused = true)]
async fn the_last_worker_is_not_for_the_namespace_that_holds_the_others() {
    let queue = queue();
    queue.add(&of("slow", "1"), Priority::Deletion);
    let _held = starts(&queue).await.unwrap();
    queue.add(&of("slow", "2"), Priority::Deletion);
    queue.add(&of("other", "1"), Priority::Bookkeeping);
    assert_eq!(starts(&queue).await.unwrap().key.namespace, "other");
    assert!(starts(&queue).await.is_none(), "both workers are held");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_holds_all_workers_does_not_keep_the_others_waiting() {
    let queue = queue();
    for name in 0..5 {
        queue.add(&of("slow", &name.to_string()), Priority::Revision);
    }
    let _held = (starts(&queue).await.unwrap(), starts(&queue).await.unwrap());
    assert!(starts(&queue).await.is_none(), "alone it has the configured workers and no more");
    queue.add(&of("other", "1"), Priority::Interval);
    queue.add(&of("third", "1"), Priority::Interval);
    let other = starts(&queue).await.unwrap();
    assert_eq!(other.key.namespace, "other");
    assert!(starts(&queue).await.is_none(), "the reserve is one worker");
    queue.done(&other, Again::Never);
    assert_eq!(starts(&queue).await.unwrap().key.namespace, "third");
}

#[tokio::test(start_paused = true)]
async fn a_single_worker_stays_single() {
    let queue = queue();
    queue.add(&of("a", "1"), Priority::Revision);
    queue.add(&of("b", "1"), Priority::Revision);
    let held = queue.next_within(1).await;
    assert!(timeout(Duration::from_millis(1), queue.next_within(1)).await.is_err());
    queue.done(&held, Again::Never);
    queue.next_within(1).await;
}

#[tokio::test(start_paused = true)]
async fn parked_visits_hold_no_worker_and_take_one_again_before_new_ones_of_their_namespace() {
    let queue = queue();
    for name in 0..3 {
        queue.add(&of("slow", &name.to_string()), Priority::Revision);
    }
    let parked = queue.next_within(1).await;
    queue.park(&parked);
    assert_eq!((queue.active(), queue.parked()), (0, 1));
    let running = queue.next_within(1).await;
    let resumed = tokio::spawn({
        let (queue, parked) = (queue.clone(), parked.clone());
        async move { queue.resume(&parked).await }
    });
    tokio::task::yield_now().await;
    assert!(timeout(Duration::from_millis(1), queue.next_within(1)).await.is_err());
    assert!(!resumed.is_finished(), "the worker is held");
    queue.done(&running, Again::Never);
    assert!(timeout(Duration::from_millis(1), queue.next_within(1)).await.is_err(), "it is taken again");
    resumed.await.unwrap();
    assert_eq!((queue.active(), queue.parked()), (1, 0));
    queue.done(&parked, Again::Never);
    assert_eq!(queue.next_within(1).await.key.name, "2");
}

#[tokio::test(start_paused = true)]
async fn a_parked_visit_that_is_superseded_or_dropped_leaves_no_worker_behind() {
    let queue = queue();
    queue.add(&of("a", "1"), Priority::Revision);
    queue.add(&of("b", "1"), Priority::Revision);
    let parked = queue.next_within(1).await;
    queue.park(&parked);
    let running = queue.next_within(1).await;
    queue.supersede(&parked.key, Priority::Revision, "something newer");
    // It does not wait for the worker that another holds.
    queue.resume(&parked).await;
    queue.done(&parked, Again::Forget);
    queue.done(&running, Again::Forget);
    let again = queue.next_within(1).await;
    assert_eq!(again.key.namespace, "a");
    queue.done(&again, Again::Forget);
    assert_eq!((queue.active(), queue.parked(), queue.depth()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn one_namespace_does_not_fill_the_room_for_parked_visits() {
    let queue = queue();
    let count = shares::PARKED_PER_NAMESPACE_MAX;
    for name in 0..=count {
        queue.add(&of("slow", &name.to_string()), Priority::Revision);
    }
    let mut parked = Vec::new();
    while let Some(taken) = starts(&queue).await {
        queue.park(&taken);
        parked.push(taken);
    }
    assert_eq!((parked.len(), queue.parked(), queue.depth()), (count, count, 1));
    queue.add(&of("other", "1"), Priority::Bookkeeping);
    assert_eq!(starts(&queue).await.unwrap().key.namespace, "other");
    queue.done(&parked.pop().unwrap(), Again::Never);
    assert_eq!(starts(&queue).await.unwrap().key.namespace, "slow");
}

#[tokio::test(start_paused = true)]
async fn all_parked_visits_together_are_bounded_and_newcomers_have_room_left() {
    let queue = queue();
    let park_all = async |namespace: &str, visits: usize| {
        for name in 0..visits {
            queue.add(&of(namespace, &name.to_string()), Priority::Revision);
        }
        let mut count = 0;
        while let Some(taken) = starts(&queue).await {
            queue.park(&taken);
            count += 1;
        }
        count
    };
    let full = shares::PARKED_SHARED_MAX / shares::PARKED_PER_NAMESPACE_MAX;
    for namespace in 0..full {
        park_all(&format!("full-{namespace}"), shares::PARKED_PER_NAMESPACE_MAX).await;
    }
    assert_eq!(queue.parked(), shares::PARKED_SHARED_MAX);
    assert_eq!(park_all("newcomer", 2).await, 1, "one visit for each namespace that has none");
    for namespace in 0..shares::PARKED_SHARED_MAX {
        park_all(&format!("next-{namespace}"), 1).await;
    }
    assert_eq!(queue.parked(), shares::PARKED_MAX);
}

#[tokio::test(start_paused = true)]
async fn the_interval_passes_however_often_something_else_happens() {
    const INTERVAL: Duration = Duration::from_mins(10);
    let queue = queue();
    queue.add(&key("a"), Priority::Revision);
    let first = queue.next().await;
    assert!(!first.interval_due);
    queue.done(&first, Again::Interval(INTERVAL));
    let begun = Instant::now();
    let mut due = Vec::new();
    while begun.elapsed() < INTERVAL * 3 {
        // A commit each half minute.
        advance(Duration::from_secs(30)).await;
        queue.add(&key("a"), Priority::Revision);
        let taken = queue.next().await;
        if taken.interval_due {
            due.push(begun.elapsed());
        }
        queue.done(&taken, Again::Interval(INTERVAL));
    }
    assert_eq!(due, [INTERVAL, INTERVAL * 2, INTERVAL * 3]);
}

#[tokio::test(start_paused = true)]
async fn an_interval_that_was_not_answered_is_due_at_the_next_visit_and_does_not_spin() {
    let queue = queue();
    queue.add(&key("a"), Priority::Revision);
    let taken = queue.next().await;
    queue.done(&taken, Again::Interval(Duration::from_mins(1)));
    let begun = Instant::now();
    let taken = queue.next().await;
    assert_eq!((begun.elapsed(), taken.interval_due), (Duration::from_mins(1), true));
    queue.done(&taken, Again::FailedAfter(Duration::from_secs(20)));
    let taken = queue.next().await;
    assert_eq!((begun.elapsed(), taken.interval_due), (Duration::from_secs(80), true));
    queue.done(&taken, Again::Interval(Duration::from_mins(1)));
    let taken = queue.next().await;
    assert_eq!((begun.elapsed(), taken.interval_due), (Duration::from_secs(140), true));
    queue.done(&taken, Again::Never);
    assert!(timeout(Duration::from_hours(1), queue.next()).await.is_err(), "the interval ends with the work");
}

#[tokio::test(start_paused = true)]
async fn an_interval_that_passes_during_a_visit_is_visited_after_it() {
    let queue = queue();
    queue.add(&key("a"), Priority::Revision);
    let taken = queue.next().await;
    queue.done(&taken, Again::Interval(Duration::from_mins(1)));
    queue.add(&key("a"), Priority::Revision);
    let long = queue.next().await;
    advance(Duration::from_mins(2)).await;
    queue.done(&long, Again::Interval(Duration::from_mins(1)));
    let begun = Instant::now();
    let taken = queue.next().await;
    assert_eq!((begun.elapsed(), taken.interval_due), (Duration::ZERO, true));
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_retried_at_once_on_request_and_its_failures_are_counted_on() {
    let queue = queue();
    for (name, again) in [
        ("backoff", Again::Backoff { seed: 1 }),
        ("retry-interval", Again::FailedAfter(Duration::from_mins(10))),
        ("waits", Again::After(Duration::from_mins(10))),
        ("well", Again::Interval(Duration::from_mins(10))),
    ] {
        queue.add(&key(name), Priority::Revision);
        let taken = queue.next().await;
        queue.done(&taken, again);
    }
    assert_eq!(queue.retry_failed(), 2);
    let mut retried = Vec::new();
    while let Ok(taken) = timeout(Duration::from_millis(1), queue.next()).await {
        retried.push((taken.key.name.clone(), taken.failures));
        queue.done(&taken, Again::Backoff { seed: 1 });
    }
    assert_eq!(retried, [("backoff".to_owned(), 1), ("retry-interval".to_owned(), 1)]);
    let again = timeout(Duration::from_millis(1100), queue.next()).await;
    assert!(again.is_err(), "the second failure waits longer than the first");
}
