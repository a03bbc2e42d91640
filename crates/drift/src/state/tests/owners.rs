//! Several owners that take the same objects, release them and are deleted, also while attempts and comparisons run.

use super::*;
use crate::dice::Dice;

const SEEDS: u64 = 1_000;
const STEPS: usize = 60;
const OBJECTS: [&str; 4] = ["a", "b", "c", "d"];

fn owner_of(number: usize) -> OwnerRef {
    OwnerRef::kustomization(&NamespacedName::new("flux-system", ["x", "y", "z"][number]))
}

/// The same object, for every owner.
fn config(name: &str) -> Arc<Planned> {
    planned(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "prod"}, "data": {"a": "1"},
    }))
}

struct Owners {
    state: State,
    dice: Dice,
    now: i64,
    version: u32,
    planned: Vec<Arc<Planned>>,
    /// Comparisons under way, and whether they write.
    running: Vec<(CompareJob, bool)>,
    /// Which objects each owner has; `None`: it is not known.
    has: [Option<BTreeSet<usize>>; 3],
    held: [bool; 3],
    kinds: BTreeSet<Kind>,
    reads: Vec<PreApplyRead>,
    log: Vec<String>,
}

impl Owners {
    fn pass(&mut self, input: Input) {
        for effect in self.state.step(input, at(self.now)) {
            match effect {
                Effect::Look(job) => {
                    let twice = self.running.iter().any(|(other, _)| {
                        (&other.owner, &other.id, other.incarnation) == (&job.owner, &job.id, job.incarnation)
                    });
                    assert!(!twice, "two looks at {}\n{}", job.id, self.log.join("\n"));
                    self.running.push((*job, false));
                }
                Effect::WatchKinds(kinds) => self.kinds = kinds,
                Effect::Read(read) => self.reads.push(*read),
                _ => {}
            }
        }
    }

    fn adopt(&mut self, number: usize) {
        let chosen: BTreeSet<usize> = (0..OBJECTS.len()).filter(|_| self.dice.one_in(2)).collect();
        let objects: Vec<_> = chosen.iter().map(|index| self.planned[*index].clone()).collect();
        self.version += 1;
        let managed = adopted(DriftMode::Enabled, &objects, self.version);
        self.log.push(format!("{number} takes {chosen:?}"));
        self.has[number] = Some(chosen);
        self.pass(Input::Adopt(owner_of(number), managed));
    }

    fn edit(&mut self, index: usize) {
        self.version += 1;
        let input = edited(&self.planned[index], self.version);
        self.pass(input);
    }

    /// One comparison continues: it requests to write, or ends.
    fn look(&mut self) {
        if let Some(read) = self.reads.pop() {
            let found = self.dice.one_in(2).then(|| Finding::missing(read.seen));
            self.pass(Input::Read(Box::new(read), found));
        }
        if self.running.is_empty() {
            return;
        }
        let index = self.dice.index(self.running.len());
        let (job, wrote) = self.running[index].clone();
        if !wrote && self.dice.one_in(2) {
            let may = self.state.may_write(&job);
            let number = (0..3).find(|number| owner_of(*number) == job.owner).unwrap();
            assert!(!may || !self.held[number], "a write during an attempt\n{}", self.log.join("\n"));
            self.running[index].1 = may;
            return;
        }
        self.running.swap_remove(index);
        self.version += 1;
        let outcome = if wrote {
            let live = live(&job.planned, self.version);
            let finding = Finding::missing(at(self.now));
            Outcome::Corrected { finding, live, rest: None }
        } else {
            [Outcome::Abandoned, Outcome::Postponed][self.dice.index(2)].clone()
        };
        self.pass(Input::Finished(Box::new(Finished { job, outcome, wrote, detected: None })));
    }

    fn check(&self, seed: u64) {
        let log = || format!("seed {seed}\n{}", self.log.join("\n"));
        for (index, planned) in self.planned.iter().enumerate() {
            let having: Vec<usize> =
                (0..3).filter(|n| self.has[*n].as_ref().is_some_and(|has| has.contains(&index))).collect();
            let shown = self.state.owner_of(&planned.id);
            let right = match shown {
                Some(owner) => having.iter().any(|number| owner_of(*number) == *owner),
                None => having.is_empty(),
            };
            assert!(right, "{index}: {shown:?}, had by {having:?}\n{}", log());
        }
        for number in 0..3 {
            let owner = owner_of(number);
            let managed = |job: &CompareJob| {
                let objects = self.state.owners.get(&owner).map(|owner| &owner.objects);
                let object = objects.and_then(|objects| objects.get(&job.id));
                object.is_some_and(|object| object.incarnation == job.incarnation)
            };
            let writes = self.running.iter().any(|(job, wrote)| *wrote && job.owner == owner && managed(job));
            assert!(!writes || self.state.is_writing(&owner), "{number} writes\n{}", log());
        }
        let any = self.has.iter().flatten().any(|has| !has.is_empty());
        assert_eq!(!self.kinds.is_empty(), any, "{}", log());
    }

    /// Until nothing is under way.
    fn rest(&mut self) {
        for _ in 0..100 {
            self.now += 70;
            self.pass(Input::Tick);
            while let Some(read) = self.reads.pop() {
                self.pass(Input::Read(Box::new(read), None));
            }
            while let Some((job, wrote)) = self.running.pop() {
                self.version += 1;
                let live = live(&job.planned, self.version);
                let outcome = Outcome::Clean { live, lacks_fields: false };
                self.pass(Input::Finished(Box::new(Finished { job, outcome, wrote, detected: None })));
            }
            if self.state.is_idle() {
                return;
            }
        }
    }
}

fn runs(seed: u64, objects: &[Arc<Planned>]) {
    let mut world = Owners {
        state: State::new(Settings { concurrency: 2, started: at(-60) }),
        dice: Dice(seed),
        now: 0,
        version: 10,
        planned: objects.to_vec(),
        running: Vec::new(),
        has: [const { None }; 3],
        held: [false; 3],
        kinds: BTreeSet::new(),
        reads: Vec::new(),
        log: Vec::new(),
    };
    for _ in 0..STEPS {
        let number = world.dice.index(3);
        match world.dice.roll(12) {
            0 | 1 if !world.held[number] => {
                world.log.push(format!("{number} begins"));
                world.pass(Input::Hold(owner_of(number)));
                world.held[number] = true;
            }
            0..=3 if world.held[number] && !world.state.is_writing(&owner_of(number)) => {
                world.adopt(number);
                world.pass(Input::Release(owner_of(number)));
                world.held[number] = false;
            }
            4 => {
                world.log.push(format!("{number} is forgotten"));
                world.has[number] = None;
                world.held[number] = false;
                world.pass(Input::Forget(owner_of(number)));
            }
            5 | 6 => {
                let index = world.dice.index(OBJECTS.len());
                world.edit(index);
            }
            7 => {
                world.now += i64::try_from(world.dice.roll(3)).unwrap();
                world.pass(Input::Tick);
            }
            _ => world.look(),
        }
        world.check(seed);
    }
    for number in 0..3 {
        if std::mem::take(&mut world.held[number]) {
            world.pass(Input::Release(owner_of(number)));
        }
    }
    world.rest();
    assert!(world.state.is_idle(), "seed {seed}: {:?}\n{}", world.state.schedule, world.log.join("\n"));
    // Each object that has an owner is still compared, once, by the owner that gets its events.
    for index in 0..OBJECTS.len() {
        world.now += 5;
        world.version += 1;
        world.edit(index);
        let shown = world.state.owner_of(&world.planned[index].id).cloned();
        let looking: Vec<_> = world.running.iter().map(|(job, _)| job.owner.clone()).collect();
        assert_eq!(looking, shown.into_iter().collect::<Vec<_>>(), "seed {seed}\n{}", world.log.join("\n"));
        world.rest();
    }
    for number in 0..3 {
        world.pass(Input::Forget(owner_of(number)));
    }
    world.rest();
    let state = &world.state;
    assert!(state.owners.is_empty() && state.is_idle() && world.kinds.is_empty(), "seed {seed}: {state:?}");
    assert_eq!(state.schedule.first(), None, "seed {seed}");
    assert!(state.index.objects_of(&super::lifetimes::config_maps()).is_empty(), "seed {seed}");
}

#[test]
fn owners_that_share_objects_and_are_deleted_at_any_time_leave_every_object_watched_by_one_of_them() {
    let objects = OBJECTS.map(config);
    for seed in 0..SEEDS {
        runs(seed, &objects);
    }
}
