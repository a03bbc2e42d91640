//! Shell patterns: `*`, `?`, `[a-z]`, `[^a]`, and a backslash in front of what means itself.

/// Which beginnings of a text fit a pattern: for each number of characters, from none to all. The work is at most the
/// product of both lengths.
pub(super) fn fitting_beginnings(pattern: &[char], text: &[char]) -> Vec<bool> {
    let mut fits = vec![false; text.len() + 1];
    fits[0] = true;
    let mut at = 0;
    while at < pattern.len() {
        if pattern[at] == '*' {
            let first = fits.iter().position(|fits| *fits).unwrap_or(fits.len());
            fits[first..].fill(true);
            at += 1;
            continue;
        }
        let mut longer = vec![false; text.len() + 1];
        // What follows the element is the same for every character that fits it.
        let mut next = None;
        for (position, &c) in text.iter().enumerate().filter(|(position, _)| fits[*position]) {
            if let Some(end) = step(pattern, at, c) {
                longer[position + 1] = true;
                next = Some(end);
            }
        }
        fits = longer;
        match next {
            Some(end) => at = end,
            None => break,
        }
    }
    fits
}

/// Where the pattern continues if its next element matches a character.
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
    fn every_element_has_the_expected_type() {
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
            ("a", "", false),
            ("", "", true),
            ("", "a", false),
            ("a\\", "a", false),
            ("[]a]", "a", false),
            ("b*", "ab", false),
        ] {
            let [pattern, text] = [pattern, text].map(|text| text.chars().collect::<Vec<_>>());
            assert_eq!(fitting_beginnings(&pattern, &text).pop(), Some(expect), "{pattern:?} {text:?}");
        }
    }
}
