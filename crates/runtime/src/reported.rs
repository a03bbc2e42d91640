//! Which errors of objects were reported: each once for a generation of an object. What is reported, and how, never enters.

use std::collections::BTreeMap;

/// How many objects are remembered. Beyond that one is forgotten for each that is added, and may be reported again.
const OBJECTS_MAX: usize = 16_384;

/// The generation of each object whose error was reported last, by the UID of the object.
#[derive(Debug, Clone, Default)]
pub struct ReportedGenerations(BTreeMap<String, i64>);

impl ReportedGenerations {
    /// Whether the error of this generation was reported.
    pub fn contains(&self, uid: &str, generation: i64) -> bool {
        self.0.get(uid) == Some(&generation)
    }

    /// Records that the error of this generation was reported. Returns `false` if that was recorded already.
    pub fn insert(&mut self, uid: &str, generation: i64) -> bool {
        if self.contains(uid, generation) {
            return false;
        }
        if self.0.len() >= OBJECTS_MAX && !self.0.contains_key(uid) {
            self.0.pop_first();
        }
        self.0.insert(uid.to_owned(), generation);
        true
    }

    /// Forgets an object that is gone.
    pub fn remove(&mut self, uid: &str) {
        self.0.remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_generation_is_reported_once_until_the_object_is_gone() {
        let mut reported = ReportedGenerations::default();
        assert!(reported.insert("u", 1) && reported.contains("u", 1));
        assert!(!reported.insert("u", 1));
        assert!(!reported.contains("u", 2) && reported.insert("u", 2));
        assert!(!reported.contains("u", 1), "the newest generation only");
        reported.remove("u");
        assert!(reported.insert("u", 2));
    }

    #[test]
    fn the_memory_is_bounded_and_one_object_more_costs_one_other_its_entry() {
        let mut reported = ReportedGenerations::default();
        for at in 0..OBJECTS_MAX {
            reported.insert(&format!("{at:08}"), 1);
        }
        assert!(reported.insert("00000001", 2), "a new generation takes no place");
        assert!(reported.contains("00000000", 1));
        assert!(reported.insert("z", 1));
        assert_eq!(reported.0.len(), OBJECTS_MAX);
        let kept = (0..OBJECTS_MAX).filter(|at| reported.0.contains_key(&format!("{at:08}"))).count();
        assert_eq!(kept, OBJECTS_MAX - 1);
    }
}
