//! Intended differences: each is a row of `EXCEPTIONS.md` of the crate, which has the reason, and is recognized by what
//! both programs print for a case, so that it hides no other difference.

use crate::differential::case::Case;
use crate::differential::compare::Own;
use crate::differential::oracle::Verdict;

/// A row of the table, and how it is recognized.
struct Exception {
    name: &'static str,
    fits: fn(&Case, &Own, &Verdict) -> bool,
}

const EXCEPTIONS: &[Exception] = &[
    Exception { name: "empty-targets", fits: has_empty_targets },
    Exception { name: "custom-tag", fits: has_custom_tag },
    Exception { name: "merge-key", fits: writes_merge_key },
    Exception { name: "odd-key", fits: has_odd_key },
    Exception { name: "annotations-as-reference", fits: refers_by_annotations },
    Exception { name: "hash-of-another-kind", fits: hashes_another_kind },
    Exception { name: "made-between-brackets", fits: makes_between_brackets },
    Exception { name: "hash-of-a-large-number", fits: hashes_large_number },
    Exception { name: "labels-among-annotations", fits: labels_annotations },
];

/// The row of the table that a difference belongs to.
pub fn find(case: &Case, own: &Own, verdict: &Verdict) -> Option<&'static str> {
    EXCEPTIONS.iter().find(|exception| (exception.fits)(case, own, verdict)).map(|exception| exception.name)
}

fn has_empty_targets(case: &Case, own: &Own, verdict: &Verdict) -> bool {
    let text = "replacements must specify a source and at least one target";
    rejected_by_us(own, verdict, text) && case.mentions("targets: []")
}

fn has_custom_tag(case: &Case, own: &Own, verdict: &Verdict) -> bool {
    let has_tag = ["!custom ", "!!binary "].iter().any(|tag| case.mentions(tag));
    built_by_us(own, verdict, "invalid value type expect a string") && has_tag
}

fn writes_merge_key(case: &Case, own: &Own, verdict: &Verdict) -> bool {
    let (Own::Built(own), Verdict::Built(theirs)) = (own, verdict) else { return false };
    let has_key = |text: &str| text.lines().any(|line| line.trim_start().starts_with("<<:"));
    case.mentions("/<<") && has_key(own) && !has_key(theirs)
}

fn has_odd_key(_: &Case, own: &Own, verdict: &Verdict) -> bool {
    ["is not a text: it needs quotes", "already defined"]
        .iter()
        .any(|text| rejected_by_us(own, verdict, text))
}

fn refers_by_annotations(case: &Case, own: &Own, verdict: &Verdict) -> bool {
    built_by_us(own, verdict, "considering field 'metadata/annotations'") && case.mentions("nameReference")
}

/// The hashes of objects that are neither ConfigMap nor Secret differ, and nothing else.
fn hashes_another_kind(_: &Case, own: &Own, verdict: &Verdict) -> bool {
    let (Own::Built(own), Verdict::Built(theirs)) = (own, verdict) else { return false };
    let (own, theirs): (Vec<_>, Vec<_>) = (own.split("---\n").collect(), theirs.split("---\n").collect());
    let mut pairs = own.iter().zip(&theirs).filter(|(own, theirs)| own != theirs);
    own.len() == theirs.len()
        && pairs.all(|(own, theirs)| {
            let has_content = ["kind: ConfigMap\n", "kind: Secret\n"].iter().any(|kind| own.contains(kind));
            !has_content && without_hash(own) == without_hash(theirs)
        })
}

/// Fields for which kustomize prints `""` and ours `null`, and nothing else.
fn makes_between_brackets(case: &Case, own: &Own, verdict: &Verdict) -> bool {
    let (Own::Built(own), Verdict::Built(theirs)) = (own, verdict) else { return false };
    let is_made = |(own, theirs): (&str, &str)| {
        own == theirs
            || own.strip_suffix(": null").is_some_and(|key| theirs.strip_suffix(": \"\"") == Some(key))
    };
    case.mentions("{")
        && own.lines().count() == theirs.lines().count()
        && own.lines().zip(theirs.lines()).all(is_made)
}

/// Nothing but hashes differs, and there is the one number of the generator that no float holds.
fn hashes_large_number(case: &Case, own: &Own, verdict: &Verdict) -> bool {
    let (Own::Built(own), Verdict::Built(theirs)) = (own, verdict) else { return false };
    case.mentions("9223372036854775808") && without_hash(own) == without_hash(theirs)
}

/// Annotations that labels have written are there, or not, and nothing else differs.
fn labels_annotations(case: &Case, own: &Own, verdict: &Verdict) -> bool {
    let (Own::Built(own), Verdict::Built(theirs)) = (own, verdict) else { return false };
    let without = |text: &str| -> Vec<String> {
        let mut is_inside = false;
        let is_kept = |line: &&str| {
            is_inside = *line == "  annotations:" || is_inside && line.starts_with("    ");
            !is_inside
        };
        text.lines().filter(is_kept).map(str::to_owned).collect()
    };
    ["path: metadata/annotations", "behavior: merge", "labels:"].iter().all(|word| case.mentions(word))
        && without(own) == without(theirs)
}

fn without_hash(document: &str) -> Vec<&str> {
    const HASH: usize = "-0123456789".len();
    let line = |line| match line {
        name if str::starts_with(name, "  name: ") => {
            name.get(..name.len().saturating_sub(HASH)).unwrap_or(name)
        }
        other => other,
    };
    document.lines().map(line).collect()
}

fn rejected_by_us(own: &Own, verdict: &Verdict, text: &str) -> bool {
    matches!((own, verdict), (Own::Refused(message), Verdict::Built(_)) if message.contains(text))
}

fn built_by_us(own: &Own, verdict: &Verdict, text: &str) -> bool {
    matches!((own, verdict), (Own::Built(_), Verdict::Refused(message)) if message.contains(text))
}
