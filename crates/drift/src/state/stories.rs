//! Randomized runs of the machine alone: a simulated cluster, watch, worker and controller, with random events
//! from a seed. No server and no runtime: time is a number.

mod kinds;
mod reported;
mod world;

use plumb_api::kustomize::DriftMode;

use self::world::{NAMES, World};
use crate::dice::Dice;

/// Number of runs.
const SEEDS: u64 = 10_000;
/// Number of events in a run.
const STEPS: usize = 20;
/// Number of runs in which the kind of the objects goes and comes back.
const KIND_SEEDS: u64 = 2_000;
/// Number of runs with a large owner, and its objects beside those of every run.
const LARGE_SEEDS: u64 = 60;
const FILLERS: usize = 300;

fn happen(world: &mut World, dice: &mut Dice) {
    let name = NAMES[dice.index(NAMES.len())];
    match dice.roll(16) {
        0..=4 => {
            let manager = ["kubectl-edit", "stubborn", "kubectl"][dice.index(3)];
            world.edit(name, &format!("x{}", dice.roll(4)), manager);
        }
        5 => world.delete(name, true),
        6 => world.strip(name),
        7 => world.delete(name, false),
        8 => world.relist(),
        9 => world.fail_next(name),
        10 => {
            let mode = DriftMode::ALL[dice.index(3)];
            let suspended = dice.one_in(4);
            world.set_policy(mode, suspended);
        }
        11 | 12 => world.begin_attempt(dice.one_in(4)),
        13 => world.restart(),
        14 => world.restore(),
        _ => world.slow_down(),
    }
    world.run(dice.roll(1_500));
}

/// Ends all faults: failures, an attempt under way, lost events.
fn settle(world: &mut World, mode: DriftMode) {
    world.heal();
    world.run(120_000);
    world.set_policy(mode, false);
    world.relist_if_lost();
    // Longer than every backoff and every delay of contention.
    for _ in 0..3 {
        world.at_interval();
        world.run(world::INTERVAL_MS);
    }
}

/// In `enabled`, what is live in the end is what was applied last, and nothing is left to do.
fn converges(seed: u64) {
    let mut dice = Dice(seed);
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        happen(&mut world, &mut dice);
    }
    settle(&mut world, DriftMode::Enabled);
    check_end(&mut world, DriftMode::Enabled, seed);
}

fn check_end(world: &mut World, mode: DriftMode, seed: u64) {
    match mode {
        DriftMode::Enabled => check_converged(world, seed),
        DriftMode::Warn | DriftMode::Disabled => check_reported(world, seed),
    }
}

fn check_converged(world: &mut World, seed: u64) {
    for name in NAMES {
        assert_eq!(world.live_value(name), world.applied_value(name), "seed {seed}: {name}\n{}", world.log());
        assert!(world.is_owned(name), "seed {seed}: {name}\n{}", world.log());
    }
    let report = world.report().expect("everything was compared");
    assert_eq!(
        (&report.condition, report.drift.iter().flat_map(|drift| &drift.entries).count()),
        (&None, 0),
        "seed {seed}\n{}",
        world.log()
    );
    assert!(world.state.is_idle(), "seed {seed}: {:?}\n{}", world.state, world.log());
    world.check_reported();
    // When idle, nothing is compared.
    let looks = world.looks;
    world.run(5 * 3_600_000);
    assert_eq!(world.looks, looks, "seed {seed}\n{}", world.log());
    // And it is still awake.
    world.edit("one", "late", "kubectl-edit");
    world.run(100);
    assert_eq!(world.live_value("one"), world.applied_value("one"), "seed {seed}\n{}", world.log());
}

/// In `warn`, what is reported in the end is what differs, and nothing was written for it.
fn reports(seed: u64) {
    let mut dice = Dice(seed);
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        happen(&mut world, &mut dice);
    }
    settle(&mut world, DriftMode::Warn);
    check_end(&mut world, DriftMode::Warn, seed);
}

fn check_reported(world: &mut World, seed: u64) {
    let writes = world.writes;
    world.edit("two", "late", "kubectl-edit");
    world.run(5_000);
    let report = world.report().expect("everything was compared");
    let open: Vec<_> = report.drift.iter().flat_map(|drift| &drift.entries).collect();
    for name in NAMES {
        let differs = world.live_value(name) != world.applied_value(name) || !world.is_owned(name);
        let reported = open.iter().any(|entry| entry.id == format!("prod_{name}__ConfigMap"));
        assert_eq!(reported, differs, "seed {seed}: {name}\n{}", world.log());
    }
    assert_eq!(world.writes, writes, "seed {seed}\n{}", world.log());
    world.check_reported();
    assert!(world.state.is_idle(), "seed {seed}\n{}", world.log());
}

#[test]
fn ten_thousand_random_runs_end_as_in_git_or_with_a_correct_report() {
    let halves = [(0..SEEDS / 2, converges as fn(u64)), (SEEDS / 2..SEEDS, reports as fn(u64))];
    std::thread::scope(|scope| {
        for (seeds, story) in halves {
            scope.spawn(move || seeds.for_each(story));
        }
    });
    println!("{SEEDS} seeds of {STEPS} steps each");
}

/// The kind of all objects is denied or removed for a while. Then it comes back, and all ends as in any other run.
fn kind_comes_back(seed: u64) {
    let mut dice = Dice(seed);
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        match dice.roll(8) {
            0 => world.deny_kind(),
            1 => world.remove_kind(),
            2 | 3 => world.bring_kind_back(),
            4 => world.at_interval(),
            _ => happen(&mut world, &mut dice),
        }
        world.run(dice.roll(3_000));
    }
    world.heal();
    world.run(120_000);
    world.check_kind_told();
    world.bring_kind_back();
    let mode = if dice.one_in(2) { DriftMode::Enabled } else { DriftMode::Warn };
    settle(&mut world, mode);
    check_end(&mut world, mode, seed);
}

#[test]
fn a_kind_that_is_denied_or_removed_and_comes_back_ends_as_in_git_or_with_a_correct_report() {
    (0..KIND_SEEDS).for_each(kind_comes_back);
}

/// What no watch shows is corrected at the interval.
#[test]
fn drift_of_a_kind_that_may_not_be_watched_is_corrected_at_the_interval() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let mut world = World::new(seed);
        world.deny_kind();
        world.run(1_000);
        for _ in 0..5 {
            let name = NAMES[dice.index(NAMES.len())];
            match dice.roll(4) {
                0 => world.delete(name, true),
                1 => world.strip(name),
                2 => world.begin_attempt(false),
                _ => world.edit(name, &format!("x{}", dice.roll(4)), "kubectl-edit"),
            }
            world.run(dice.roll(1_500));
        }
        world.run(world::INTERVAL_MS);
        world.at_interval();
        world.run(world::INTERVAL_MS);
        world.check_kind_told();
        for name in NAMES {
            let (live, applied) = (world.live_value(name), world.applied_value(name));
            assert_eq!(live, applied, "seed {seed}: {name}\n{}", world.log());
            assert!(world.is_owned(name), "seed {seed}: {name}\n{}", world.log());
        }
    }
}

/// An owner with so many objects is reviewed with a pause.
fn large_owner(seed: u64) {
    let mut dice = Dice(seed);
    let mut world = World::large(seed, FILLERS);
    for _ in 0..STEPS {
        happen(&mut world, &mut dice);
    }
    let mode = if dice.one_in(2) { DriftMode::Enabled } else { DriftMode::Warn };
    settle(&mut world, mode);
    check_end(&mut world, mode, seed);
}

#[test]
fn an_owner_of_more_objects_than_are_reviewed_at_once_ends_as_in_git_or_with_a_correct_report() {
    (0..LARGE_SEEDS).for_each(large_owner);
}

#[test]
fn a_deleted_owner_leaves_no_state() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            happen(&mut world, &mut dice);
        }
        world.heal();
        world.run(120_000);
        world.forget();
        world.run(120_000);
        assert!(world.state.owners.is_empty() && world.state.is_idle(), "seed {seed}: {:?}", world.state);
        assert_eq!(world.state.schedule.first(), None, "seed {seed}");
        assert!(world.state.kinds.kinds().is_empty(), "seed {seed}");
    }
}
