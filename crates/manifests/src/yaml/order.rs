//! The order in which Go prints the keys of a map: numbers by value, letters behind everything else.

use std::cmp::Ordering;

/// Compares two keys as go-yaml v2 sorts them.
pub fn natural(left: &str, right: &str) -> Ordering {
    if left.is_ascii() && right.is_ascii() {
        return compare(left.as_bytes(), right.as_bytes(), |&byte| char::from(byte));
    }
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    compare(&left, &right, |&c| c)
}

fn compare<T: PartialEq>(left: &[T], right: &[T], to_char: impl Fn(&T) -> char) -> Ordering {
    let Some(at) = left.iter().zip(right).position(|(one, other)| one != other) else {
        return left.len().cmp(&right.len());
    };
    let (one, other) = (to_char(&left[at]), to_char(&right[at]));
    match (one.is_alphabetic(), other.is_alphabetic()) {
        (true, true) => return one.cmp(&other),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // In the middle of a number its first digits decide whether a zero is a leading one.
    let inside_number = (one == '0' || other == '0')
        && left[..at].iter().rev().map(&to_char).take_while(char::is_ascii_digit).any(|digit| digit != '0');
    let seed = i64::from(inside_number);
    let (one_number, one_length) = number(&left[at..], seed, &to_char);
    let (other_number, other_length) = number(&right[at..], seed, &to_char);
    one_number.cmp(&other_number).then(one_length.cmp(&other_length)).then(one.cmp(&other))
}

/// The digits at the front as a number that wraps around as Go's does, and how many they are.
fn number<T>(run: &[T], seed: i64, to_char: impl Fn(&T) -> char) -> (i64, usize) {
    const TEN: i64 = 10;
    let digits = run.iter().map_while(|item| to_char(item).to_digit(10));
    digits.fold((seed, 0), |(number, length), digit| {
        (number.wrapping_mul(TEN).wrapping_add(i64::from(digit)), length + 1)
    })
}

/// Sorts entries by their keys. [`natural`] is no total order (digits that wrap around), and the standard library may
/// panic about such an order, so this is a merge sort that never does.
pub(super) fn sort<V: Copy>(entries: &mut Vec<(&str, V)>) {
    let is_before = |left: &(&str, V), right: &(&str, V)| natural(left.0, right.0).is_le();
    if entries.is_sorted_by(is_before) {
        return;
    }
    let mut width = 1;
    while width < entries.len() {
        let mut merged = Vec::with_capacity(entries.len());
        for pair in entries.chunks(2 * width) {
            let (mut left, mut right) = pair.split_at(width.min(pair.len()));
            while let (Some(one), Some(other)) = (left.first(), right.first()) {
                if is_before(one, other) {
                    merged.push(*one);
                    left = &left[1..];
                } else {
                    merged.push(*other);
                    right = &right[1..];
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        *entries = merged;
        width *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_the_reference_shows() {
        let expect = ["_u", "1", "2", "10", "A", "B", "a-b", "a.b", "a/b", "a_b", "a1", "a2", "a10"];
        let mut entries: Vec<(&str, ())> = expect.iter().rev().map(|&key| (key, ())).collect();
        sort(&mut entries);
        assert_eq!(entries.iter().map(|&(key, ())| key).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn a_prefix_comes_first() {
        assert_eq!(natural("a", "ab"), Ordering::Less);
        assert_eq!(natural("ä", "ä"), Ordering::Equal);
    }
}
