//! Identities of keyless signers: an issuer and a subject, as regular expressions.

use regex::{Regex, RegexBuilder};

/// Memory of a compiled expression, in bytes.
const EXPRESSION_BYTES_MAX: usize = 1 << 20;
/// Classes that are of ASCII in Go, and of Unicode here.
const CLASSES: [char; 8] = ['d', 'D', 's', 'S', 'w', 'W', 'b', 'B'];

/// An identity that may sign.
#[derive(Clone, Debug)]
pub struct Identity {
    issuer: Regex,
    subject: Regex,
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.expressions() == other.expressions()
    }
}

impl Eq for Identity {}

/// An expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {expression:?} is not a regular expression: {problem}")]
pub struct IdentityError {
    /// The field: `issuer` or `subject`.
    field: &'static str,
    expression: String,
    problem: String,
}

impl Identity {
    /// An identity of two expressions. Each has to match somewhere in its text, unless it is anchored.
    pub fn parse(issuer: &str, subject: &str) -> Result<Self, IdentityError> {
        Ok(Self { issuer: expression("issuer", issuer)?, subject: expression("subject", subject)? })
    }

    /// Its two expressions: of the issuer, and of the subject.
    pub fn expressions(&self) -> (&str, &str) {
        (self.issuer.as_str(), self.subject.as_str())
    }

    /// Whether it is that of a certificate.
    pub(crate) fn matches(&self, issuer: &str, subject: &str) -> bool {
        is_match(&self.issuer, issuer) && is_match(&self.subject, subject)
    }
}

/// A text that is not ASCII is matched only by expressions without a class that Go reads otherwise: it matches more here than there.
fn is_match(expression: &Regex, text: &str) -> bool {
    (text.is_ascii() || !has_class(expression.as_str())) && expression.is_match(text)
}

/// Whether an expression has `\d`, `\w`, `\s`, `\b`, or the opposite of one.
fn has_class(expression: &str) -> bool {
    let mut characters = expression.chars();
    while let Some(character) = characters.next() {
        if character == '\\' && characters.next().is_some_and(|class| CLASSES.contains(&class)) {
            return true;
        }
    }
    false
}

fn expression(field: &'static str, expression: &str) -> Result<Regex, IdentityError> {
    let built = RegexBuilder::new(expression).size_limit(EXPRESSION_BYTES_MAX).build();
    built.map_err(|error| {
        // The last line of the error: those before it draw the expression.
        let text = error.to_string();
        let line = text.lines().last().unwrap_or_default();
        let problem = line.strip_prefix("error: ").unwrap_or(line).to_owned();
        IdentityError { field, expression: expression.to_owned(), problem }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_of_ascii_as_in_go() {
        let workflow = r"^https://github\.com/[\w-]+/[\w-]+/\.github/workflows/\w+\.yml@refs/tags/v\d+$";
        let identity = |subject: &str| Identity::parse("", subject).unwrap();
        let of = |tag: &str| {
            format!("https://github.com/my-org/app/.github/workflows/release.yml@refs/tags/{tag}")
        };
        assert!(identity(workflow).matches("", &of("v12")));
        // Digits of other scripts, and letters that look like others.
        for (expression, subject) in [
            (workflow, of("v\u{661}")),
            (r"^\w+@corp\.example$", "b\u{f6}b@corp.example".to_owned()),
            (r"^[^\D]$", "\u{661}".to_owned()),
        ] {
            assert!(!identity(expression).matches("", &subject), "{expression} {subject}");
        }
        assert!(identity("^b\u{f6}b@").matches("", "b\u{f6}b@corp.example"), "it has no class");
        assert!(identity(r"^.\\d$").matches("", "\u{f6}\\d"), "a backslash and a letter");
    }

    #[test]
    fn issuer_and_subject_have_to_match() {
        let matches = |issuer: &str, subject: &str| {
            Identity::parse(issuer, subject).unwrap().matches("https://issuer.example", "me@host.example")
        };
        assert!(matches("^https://issuer\\.example$", "^me@"));
        assert!(matches("issuer", "") && matches("", ".*"));
        assert!(!matches("^issuer", "me") && !matches("issuer", "^host"));
    }

    #[test]
    fn what_is_no_expression_is_named_with_its_field() {
        let error = |issuer: &str, subject: &str| Identity::parse(issuer, subject).unwrap_err().to_string();
        assert_eq!(error("(", "x"), "issuer \"(\" is not a regular expression: unclosed group");
        assert!(error("x", "(a{1000}){1000}").starts_with("subject \"(a{1000}"), "{}", error("x", "("));
        assert!(error("x", "(a{1000}){1000}").contains("exceeds size limit"));
    }
}
