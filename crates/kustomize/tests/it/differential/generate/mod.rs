//! Random trees.

mod configurations;
pub mod dice;
mod fields;
mod layers;
mod maps;
mod node;
mod objects;
mod patches;
mod plugins;
mod pods;
mod replacements;
mod words;

use proptest::prelude::{Just, Strategy};

use crate::differential::case::Case;

/// Trees with kustomizations; fields in `rare` are thrown seldom.
pub fn trees(rare: &'static [&'static str]) -> impl Strategy<Value = Case> {
    Just(()).prop_perturb(move |(), rng| layers::throw(&mut dice::Dice::new(rng, rare)))
}
