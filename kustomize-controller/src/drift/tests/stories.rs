//! Stories: long sequences by chance, from a seed. Whatever happened: in the end the cluster says what Git says, everything
//! was told, and nobody is at work.

use plumb_testkit::scenario::Response;

use super::*;

const NAMES: [&str; 3] = ["one", "two", "three"];
const STEPS: usize = 60;

/// A number from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn name(&mut self) -> &'static str {
        NAMES[usize::try_from(self.roll(3)).unwrap()]
    }
}

fn refusal(which: u64) -> Response {
    match which {
        0 => Response::conflict("the object has been modified"),
        1 => Response::status(503, "ServiceUnavailable", "starting"),
        2 => Response::invalid("a webhook says no"),
        _ => Response::status(500, "InternalError", "oops"),
    }
}

async fn step(stand: &Stand, dice: &mut Dice, desired: &mut u64) {
    let name = dice.name();
    match dice.roll(12) {
        0..=3 => {
            let manager =
                ["kubectl-edit", "stubborn", "big-operator"][usize::try_from(dice.roll(3)).unwrap()];
            stand.api.edit(name, "a", &format!("x{}", dice.roll(4)), manager);
        }
        4 => stand.api.delete(name),
        5 => stand.api.strip(name),
        6 => stand.api.vanish(name),
        7 => stand.api.end_watches(),
        8 => {
            let method = ["GET", "PATCH"][usize::try_from(dice.roll(2)).unwrap()];
            let path = format!("/api/v1/namespaces/prod/configmaps/{name}");
            stand.api.scenario.once(method, &path, refusal(dice.roll(4)));
        }
        9 => {
            let mode = [Mode::Enabled, Mode::Warn, Mode::Disabled][usize::try_from(dice.roll(3)).unwrap()];
            stand.desk.set_policy(&key(), Stand::terms(mode, dice.roll(4) == 0));
        }
        10 => {
            *desired += 1;
            let wanted: Vec<_> =
                NAMES.iter().map(|name| settings(name, &json!({"a": desired.to_string()}))).collect();
            stand.try_apply(&wanted).await;
        }
        _ => {
            let hold = stand.desk.lock_for_attempt(&key()).await;
            tokio::time::sleep(Duration::from_millis(dice.roll(3000))).await;
            drop(hold);
        }
    }
    tokio::time::sleep(Duration::from_millis(dice.roll(1500))).await;
}

async fn play(seed: u64) {
    let stand = Stand::enabled(&NAMES).await;
    let (mut dice, mut desired) = (Dice(seed), 1);
    for _ in 0..STEPS {
        step(&stand, &mut dice, &mut desired).await;
    }
    // Peace: what the script still holds back is used up by the retries, and an attempt succeeds.
    stand.desk.set_policy(&key(), Stand::terms(Mode::Enabled, false));
    stand.api.end_watches();
    tokio::time::sleep(Duration::from_mins(30)).await;
    for _ in 0..10 {
        let due = stand.desk.at_interval(&key());
        if !due.is_empty() {
            let wanted: Vec<_> =
                NAMES.iter().map(|name| settings(name, &json!({"a": desired.to_string()}))).collect();
            stand.try_apply(&wanted).await;
        }
        tokio::time::sleep(Duration::from_mins(5)).await;
    }
    let applied = stand.desk.applied(&key());
    assert_eq!(applied.len(), NAMES.len(), "seed {seed}");
    for name in NAMES {
        let value = stand.api.value(name, "a");
        assert_eq!(value, stand.desired(name), "seed {seed}: {name} {:?}", stand.said());
        assert!(stand.api.is_labelled(name), "seed {seed}: {name}");
    }
    let standing = stand.desk.report(&key()).unwrap();
    assert_eq!((standing.condition, standing.drift), (None, None), "seed {seed}");
    assert!(stand.is_at_rest(), "seed {seed}");
    // At rest nothing is asked.
    stand.api.scenario.forget_calls();
    tokio::time::sleep(Duration::from_hours(5)).await;
    assert_eq!(stand.writes(), Vec::<String>::new(), "seed {seed}");
    // And it is still awake.
    let told = stand.said().len();
    stand.api.edit("one", "a", "late", "kubectl-edit");
    // Refusals of the script that nobody ran into yet come now.
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(
        stand.api.value("one", "a"),
        stand.desired("one"),
        "seed {seed} {:?} {:?}",
        stand.writes(),
        &stand.said()[told..]
    );
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_the_cluster_says_in_the_end_what_git_says() {
    for seed in 0..20 {
        play(seed).await;
    }
}
