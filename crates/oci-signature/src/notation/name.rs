//! Distinguished names of signers, as RFC 4514 writes them.

use std::collections::BTreeMap;

/// What a name has at least: country, state and organization.
const MANDATORY: [&str; 3] = ["C", "ST", "O"];

/// The parts of a name, by their types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(BTreeMap<String, String>);

impl Name {
    /// Parses a name: `C=US, ST=WA, O=example`. Names with several values in a part, or two parts of a type, are rejected.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = BTreeMap::new();
        for part in split(text, ',')? {
            if split(&part, '+')?.len() > 1 {
                return Err(format!("{text:?} has a part with several values"));
            }
            let (kind, value) =
                part.split_once('=').ok_or_else(|| format!("{text:?} has a part without '='"))?;
            if value.starts_with('#') {
                return Err(format!("{text:?} has a value in hexadecimal digits"));
            }
            add(&mut parts, kind.trim(), unescaped(value.trim()), text)?;
        }
        Self::checked(parts, text)
    }

    /// The name of parts that are known already.
    pub(super) fn of<'a>(all: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        let mut parts = BTreeMap::new();
        for (kind, value) in all {
            add(&mut parts, kind, value.to_owned(), "the subject of the certificate")?;
        }
        Self::checked(parts, "the subject of the certificate")
    }

    fn checked(parts: BTreeMap<String, String>, text: &str) -> Result<Self, String> {
        match MANDATORY.iter().find(|kind| !parts.contains_key(**kind)) {
            Some(missing) => Err(format!("{text:?} has no {missing}: C, ST and O have to be there")),
            None => Ok(Self(parts)),
        }
    }

    /// Whether all of its parts are parts of the other one.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.0.iter().all(|(kind, value)| other.0.get(kind) == Some(value))
    }
}

fn add(parts: &mut BTreeMap<String, String>, kind: &str, value: String, text: &str) -> Result<(), String> {
    // Another way to write it.
    let kind = if kind == "S" { "ST" } else { kind };
    if value.is_empty() {
        return Ok(());
    }
    match parts.insert(kind.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(format!("{text:?} has {kind} twice")),
    }
}

/// Splits where the separator is neither escaped nor quoted.
fn split(text: &str, separator: char) -> Result<Vec<String>, String> {
    let (mut parts, mut part, mut is_escaped, mut is_quoted) = (Vec::new(), String::new(), false, false);
    for c in text.chars() {
        if c == separator && !is_escaped && !is_quoted {
            parts.push(std::mem::take(&mut part));
            continue;
        }
        is_quoted ^= c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        part.push(c);
    }
    if is_escaped || is_quoted {
        return Err(format!("{text:?} does not end where it should"));
    }
    parts.push(part);
    Ok(parts)
}

/// A value without the signs that escape others.
fn unescaped(value: &str) -> String {
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let mut text = String::new();
    let mut is_escaped = false;
    for c in value.chars() {
        is_escaped = c == '\\' && !is_escaped;
        if !is_escaped {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_within_one_that_has_all_of_its_parts() {
        let name = |text: &str| Name::parse(text).unwrap();
        let leaf = name("CN=release, O=example, L=Seattle, ST=WA, C=US");
        for (text, expect) in [
            ("C=US, ST=WA, O=example", true),
            ("O=example,S=WA,C=US", true),
            ("C=US, ST=WA, O=example, CN=release", true),
            ("C=US, ST=WA, O=other", false),
            ("C=US, ST=WA, O=example, OU=x", false),
        ] {
            assert_eq!(name(text).is_within(&leaf), expect, "{text}");
        }
        let parts = [("C", "US"), ("ST", "WA"), ("O", "a, b"), ("CN", "")];
        assert_eq!(Name::of(parts).unwrap(), name("C=US,ST=WA,O=a\\, b"));
        assert_eq!(name("C=US,ST=WA,O=\"a, b\""), name("C=US,ST=WA,O=a\\, b"));
    }

    #[test]
    fn what_is_no_name_is_rejected() {
        for (text, expect) in [
            ("", "without '='"),
            ("C=US, O=x", "has no ST"),
            ("C=US, ST=WA, O=x, O=y", "has O twice"),
            ("C=US, ST=WA, O=x+CN=y", "several values"),
            ("C=US, ST=WA, O=#0c01", "hexadecimal"),
            ("C=US, ST=WA, O=\"x", "does not end"),
            ("C=US, ST=WA, O=x\\", "does not end"),
            ("C=US, ST=WA, x", "without '='"),
        ] {
            let error = Name::parse(text).unwrap_err();
            assert!(error.contains(expect), "{text}: {error}");
        }
    }
}
