//! Long random runs from a seed. In the end the cluster matches Git, everything
//! was reported, and no work is left.

use plumb_testkit::scenario::Response;

use crate::dice::Dice;

use super::*;

const NAMES: [&str; 3] = ["one", "two", "three"];
const STEPS: usize = 60;

fn rejection(which: u64) -> Response {
    match which {
        0 => Response::conflict("the object has been modified"),
        1 => Response::status(503, "ServiceUnavailable", "starting"),
        2 => Response::invalid("a webhook says no"),
        _ => Response::status(500, "InternalError", "oops"),
    }
}

async fn step(fixture: &Fixture, dice: &mut Dice, desired: &mut u64) {
    let name = NAMES[dice.index(3)];
    match dice.roll(12) {
        0..=3 => {
            let manager =
                ["kubectl-edit", "stubborn", "big-operator"][usize::try_from(dice.roll(3)).unwrap()];
            fixture.api.edit(name, "a", &format!("x{}", dice.roll(4)), manager);
        }
        4 => fixture.api.delete(name),
        5 => fixture.api.strip(name),
        6 => fixture.api.vanish(name),
        7 => fixture.api.end_watches(),
        8 => {
            let method = ["GET", "PATCH"][usize::try_from(dice.roll(2)).unwrap()];
            let path = format!("/api/v1/namespaces/prod/configmaps/{name}");
            fixture.api.scenario.once(method, &path, rejection(dice.roll(4)));
        }
        9 => {
            let mode = [DriftMode::Enabled, DriftMode::Warn, DriftMode::Disabled]
                [usize::try_from(dice.roll(3)).unwrap()];
            fixture.set_policy(Fixture::policy(mode, dice.roll(4) == 0));
        }
        10 => {
            *desired += 1;
            let wanted: Vec<_> =
                NAMES.iter().map(|name| settings(name, &json!({"a": desired.to_string()}))).collect();
            fixture.try_apply(&wanted).await;
        }
        _ => {
            let attempt = fixture.begin().await;
            tokio::time::sleep(Duration::from_millis(dice.roll(3000))).await;
            drop(attempt);
        }
    }
    tokio::time::sleep(Duration::from_millis(dice.roll(1500))).await;
}

async fn play(seed: u64) {
    let fixture = Fixture::enabled(&NAMES).await;
    let (mut dice, mut desired) = (Dice(seed), 1);
    for _ in 0..STEPS {
        step(&fixture, &mut dice, &mut desired).await;
    }
    // Peace: what the script still holds back is used up by the retries, and an attempt succeeds.
    fixture.set_policy(Fixture::policy(DriftMode::Enabled, false));
    fixture.api.end_watches();
    tokio::time::sleep(Duration::from_mins(30)).await;
    for _ in 0..10 {
        let due = fixture.at_interval();
        if !due.is_empty() {
            let wanted: Vec<_> =
                NAMES.iter().map(|name| settings(name, &json!({"a": desired.to_string()}))).collect();
            fixture.try_apply(&wanted).await;
        }
        tokio::time::sleep(Duration::from_mins(5)).await;
    }
    let applied = fixture.applied();
    assert_eq!(applied.len(), NAMES.len(), "seed {seed}");
    for name in NAMES {
        let value = fixture.api.value(name, "a");
        assert_eq!(value, fixture.desired(name), "seed {seed}: {name} {:?}", fixture.emitted());
        assert!(fixture.api.is_labelled(name), "seed {seed}: {name}");
    }
    let drift_report = fixture.report().unwrap();
    assert_eq!((drift_report.condition, drift_report.drift), (None, None), "seed {seed}");
    assert!(fixture.is_at_rest(), "seed {seed}");
    // When idle, no requests are sent.
    fixture.api.scenario.forget_calls();
    tokio::time::sleep(Duration::from_hours(5)).await;
    assert_eq!(fixture.writes(), Vec::<String>::new(), "seed {seed}");
    // And it is still awake.
    let reported = fixture.emitted().len();
    fixture.api.edit("one", "a", "late", "kubectl-edit");
    // Scripted errors that no request has met yet are dropped.
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(
        fixture.api.value("one", "a"),
        fixture.desired("one"),
        "seed {seed} {:?} {:?}",
        fixture.writes(),
        &fixture.emitted()[reported..]
    );
}

#[tokio::test(start_paused = true)]
async fn after_random_faults_the_cluster_converges_to_git() {
    for seed in 0..20 {
        play(seed).await;
    }
}
