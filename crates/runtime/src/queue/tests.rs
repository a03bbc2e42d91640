//! The queue's promises, on tokio's paused clock.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tokio::time::{advance, timeout};

use super::*;

fn queue() -> Queue {
    Queue::new(Backoff::default())
}

fn key(name: &str) -> Key {
    Key::new("ns", name)
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
async fn a_superseded_visit_is_told_by_whom_and_runs_again() {
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
