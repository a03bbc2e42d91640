//! Shell patterns: `*`, `?`, `[a-z]`, `[^a]`, and a backslash in front of what means itself.

/// Whether a whole text fits a pattern. One mark is kept to go back to, so the work is at most the product of both.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut position) = (0, 0);
    let mut mark: Option<(usize, usize)> = None;
    while position < text.len() {
        if pattern.get(at) == Some(&'*') {
            mark = Some((at, position));
            at += 1;
        } else if let Some(next) = step(&pattern, at, text[position]) {
            at = next;
            position += 1;
        } else if let Some((star, from)) = mark {
            mark = Some((star, from + 1));
            (at, position) = (star + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|&c| c == '*')
}

/// Where the pattern goes on if its next element fits a character.
fn step(pattern: &[char], at: usize, c: char) -> Option<usize> {
    match pattern.get(at)? {
        '?' => Some(at + 1),
        '[' => class(pattern, at + 1, c),
        '\\' => (pattern.get(at + 1) == Some(&c)).then_some(at + 2),
        own => (own == &c).then_some(at + 1),
    }
}

fn class(pattern: &[char], start: usize, c: char) -> Option<usize> {
    let is_negated = pattern.get(start) == Some(&'^');
    let mut at = start + usize::from(is_negated);
    let mut is_in = false;
    loop {
        let low = *pattern.get(at)?;
        if low == ']' {
            return (is_in != is_negated).then_some(at + 1);
        }
        if pattern.get(at + 1) == Some(&'-') && pattern.get(at + 2).is_some_and(|high| high != &']') {
            is_in |= (low..=pattern[at + 2]).contains(&c);
            at += 3;
        } else {
            is_in |= low == c;
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_fits_what_it_means() {
        for (pattern, text, expect) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("*/", "a/b/", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[a", "a", false),
            ("*a*b*", "xxaxxbxx", true),
        ] {
            assert_eq!(matches(pattern, text), expect, "{pattern} {text}");
        }
    }
}
