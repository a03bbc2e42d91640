//! Which files of an object are not needed any more: a pure choice over names and ages. Deleting them is done elsewhere.

use std::time::Duration;

/// How long and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// A file older than this goes (`--artifact-retention-ttl`).
    pub ttl: Duration,
    /// Of the younger ones, this many stay, the current one included (`--artifact-retention-records`).
    pub records: usize,
}

/// A file as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub name: String,
    /// How long ago it was written.
    pub age: Duration,
}

/// The names to delete, oldest first. The current file always stays.
pub fn expired(stored: &[Stored], current: Option<&str>, retention: Retention) -> Vec<String> {
    let mut others: Vec<&Stored> = stored.iter().filter(|file| Some(file.name.as_str()) != current).collect();
    // The name breaks ties, so that the choice does not depend on the order of a directory.
    others.sort_by(|a, b| b.age.cmp(&a.age).then_with(|| a.name.cmp(&b.name)));
    let is_current_stored = stored.iter().any(|file| Some(file.name.as_str()) == current);
    let also_kept = retention.records.saturating_sub(usize::from(is_current_stored));
    let young = others.iter().filter(|file| file.age <= retention.ttl).count();
    let surplus = young.saturating_sub(also_kept);
    let old = others.len() - young;
    others.into_iter().take(old + surplus).map(|file| file.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stored: &[(&str, u64)], current: Option<&str>, records: usize, expect: &[&str]) {
        let stored: Vec<Stored> = stored
            .iter()
            .map(|(name, seconds)| Stored { name: (*name).to_owned(), age: Duration::from_secs(*seconds) })
            .collect();
        assert_eq!(expired(&stored, current, Retention { ttl: Duration::from_mins(1), records }), expect);
    }

    #[test]
    fn expired_files_are_deleted_and_the_current_one_stays() {
        check(&[("a", 500), ("b", 100), ("c", 10)], Some("a"), 2, &["b"]);
        check(&[("a", 500), ("b", 100)], None, 2, &["a", "b"]);
        check(&[("a", 60)], None, 2, &[]);
    }

    #[test]
    fn of_recent_files_only_the_configured_number_stays() {
        check(&[("a", 40), ("b", 30), ("c", 20), ("d", 10)], Some("d"), 2, &["a", "b"]);
        check(&[("a", 40), ("b", 30), ("c", 20)], None, 2, &["a"]);
        check(&[("b", 10), ("a", 10), ("c", 1)], Some("c"), 1, &["a", "b"]);
    }
}
