//! Chance: everything random in a tree is thrown here, so that one seed makes one tree.

use proptest::prelude::Rng as _;
use proptest::test_runner::TestRng;

/// Chance, and which fields it may throw.
pub struct Dice {
    rng: TestRng,
    /// Fields that the engine does not know yet; they are thrown seldom.
    rare: &'static [&'static str],
}

impl Dice {
    pub fn new(rng: TestRng, rare: &'static [&'static str]) -> Self {
        Self { rng, rare }
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u32::try_from(end.max(1)).unwrap_or(u32::MAX);
        (self.rng.next_u32() % end) as usize
    }

    /// A number from `first` to `last`.
    pub fn between(&mut self, first: usize, last: usize) -> usize {
        first + self.below(last - first + 1)
    }

    /// True so many times of a hundred.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Whether a field of the kustomization file is thrown.
    pub fn field(&mut self, name: &str, percent: usize) -> bool {
        if self.rare.contains(&name) { self.below(1000) < percent } else { self.chance(percent) }
    }

    pub fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    /// One of the first `usual` items so many times of a hundred, else one of all.
    pub fn mostly<T: Clone>(&mut self, percent: usize, usual: usize, items: &[T]) -> T {
        let end = if self.chance(percent) { usual } else { items.len() };
        self.pick(&items[..end])
    }

    /// Some of the items, in order.
    pub fn some<T: Clone>(&mut self, items: &[T], percent: usize) -> Vec<T> {
        items.iter().filter(|_| self.below(100) < percent).cloned().collect()
    }
}
