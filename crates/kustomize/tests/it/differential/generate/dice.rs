//! Chance: everything random in a tree is thrown here, so that one seed makes one tree.

use proptest::prelude::Rng as _;
use proptest::test_runner::TestRng;

/// Chance, and which fields it may throw.
pub struct Dice {
    rng: TestRng,
    /// Fields that the engine does not support yet; they are generated seldom.
    rare: &'static [&'static str],
    /// Whether rare features are left out: most of them make trees that fail to build.
    pub is_calm: bool,
}

/// What is thrown no more often than this is left out of calm trees.
const SELDOM: usize = 6;

impl Dice {
    pub fn new(rng: TestRng, rare: &'static [&'static str]) -> Self {
        let mut dice = Self { rng, rare, is_calm: false };
        dice.is_calm = dice.chance(60);
        dice
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
        let is_hit = self.below(100) < percent;
        is_hit && !(self.is_calm && percent <= SELDOM)
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0 && !self.is_calm
    }

    /// Whether a field of the kustomization file is thrown.
    pub fn field(&mut self, name: &str, percent: usize) -> bool {
        match (self.rare.contains(&name), self.is_calm) {
            (true, _) => self.below(1000) < percent,
            (false, true) => self.below(150) < percent,
            (false, false) => self.below(100) < percent,
        }
    }

    pub fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    /// One of the first `usual` items so many times of a hundred, else one of all.
    pub fn mostly<T: Clone>(&mut self, percent: usize, usual: usize, items: &[T]) -> T {
        let end = if self.is_calm || self.chance(percent) { usual } else { items.len() };
        self.pick(&items[..end])
    }

    /// Some of the items, in order.
    pub fn some<T: Clone>(&mut self, items: &[T], percent: usize) -> Vec<T> {
        items.iter().filter(|_| self.below(100) < percent).cloned().collect()
    }
}
