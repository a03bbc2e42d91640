//! Patterns of the inclusion and exclusion lists: the dialect of Go's `regexp`, run by the engine of the `regex` crate, which
//! is linear in time as well. What Go would refuse is refused here too. Alerts and events never enter.

mod class;
mod escape;

use regex_automata::Input;
use regex_automata::meta::{BuildError, Config, Regex};
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::syntax;

/// How long a pattern may be.
pub const PATTERN_BYTES_MAX: usize = 4096;
/// How much memory each automaton of a compiled pattern may take. A pattern has two of them at most.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// How much memory the states take that are made while matching.
const SCRATCH_BYTES_MAX: usize = 2 << 20;
/// How deep a pattern may nest.
const NESTING_MAX: u32 = 100;
/// The greatest count of `{n,m}`, as in Go.
const REPEAT_MAX: u32 = 1000;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Go's dialect does not have this.
    #[error("{what} at byte {at}")]
    Syntax {
        /// Where.
        at: usize,
        /// What is wrong there.
        what: String,
    },
    /// It is longer than allowed.
    #[error("longer than {PATTERN_BYTES_MAX} bytes")]
    TooLong,
    /// The engine refuses it.
    #[error("{0}")]
    Refused(String),
}

impl Pattern {
    /// Compiles a pattern of Go's dialect.
    pub fn parse(go: &str) -> Result<Self, PatternError> {
        if go.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong);
        }
        let ours = translate(go)?;
        let config = Config::new()
            .utf8_empty(false)
            .which_captures(WhichCaptures::None)
            .nfa_size_limit(Some(COMPILED_BYTES_MAX))
            .hybrid_cache_capacity(SCRATCH_BYTES_MAX);
        let built = Regex::builder()
            .configure(config)
            .syntax(syntax::Config::new().utf8(false).nest_limit(NESTING_MAX))
            .build(&ours);
        built.map(Self).map_err(|error| PatternError::Refused(one_line(&error)))
    }

    /// Whether it matches anywhere in the text.
    pub fn is_match(&self, text: &str) -> bool {
        // Not the pool of the engine: it would keep this memory, and what a pattern takes would not be known.
        self.0.is_match_with(&mut self.0.create_cache(), &Input::new(text))
    }

    /// How much memory it takes.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.0.memory_usage()).unwrap_or(u64::MAX)
    }
}

/// The engine draws its syntax errors over several lines; the last one says what is wrong.
fn one_line(error: &BuildError) -> String {
    if let Some(limit) = error.size_limit() {
        return format!("needs more than {limit} bytes when compiled");
    }
    let text = error.syntax_error().map_or_else(|| error.to_string(), ToString::to_string);
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

/// The same pattern in the engine's dialect.
fn translate(go: &str) -> Result<String, PatternError> {
    let mut text = Text { go, at: 0, out: String::with_capacity(go.len() + 16), last: Last::Nothing };
    while let Some(next) = text.peek() {
        match next {
            '\\' => text.escaped()?,
            '[' => {
                class::class(&mut text)?;
                text.last = Last::Atom;
            }
            '(' => text.group()?,
            '{' => text.counted()?,
            '*' | '+' | '?' => {
                text.take(1);
                text.repeat(&next.to_string())?;
            }
            '|' => {
                text.copy();
                text.last = Last::Nothing;
            }
            ')' | '.' | '^' | '$' => {
                text.copy();
                text.last = Last::Atom;
            }
            _ => {
                text.take(next.len_utf8());
                text.literal(next);
            }
        }
    }
    Ok(text.out)
}

/// What was written last: whether a repetition may follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    Atom,
    Repetition,
}

/// The pattern being read and the one being written.
struct Text<'a> {
    go: &'a str,
    at: usize,
    out: String,
    last: Last,
}

impl<'a> Text<'a> {
    fn rest(&self) -> &'a str {
        &self.go[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Steps over `bytes`, which end at a character.
    fn take(&mut self, bytes: usize) {
        self.at += bytes;
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.take(next.len_utf8());
        Some(next)
    }

    /// Copies one character that means the same in both dialects.
    fn copy(&mut self) {
        if let Some(same) = self.next() {
            self.out.push(same);
        }
    }

    fn literal(&mut self, literal: char) {
        push_literal(&mut self.out, literal);
        self.last = Last::Atom;
    }

    fn fail(&self, what: impl Into<String>) -> PatternError {
        PatternError::Syntax { at: self.at, what: what.into() }
    }

    /// A repetition operator; `?` after it makes it lazy. Stacking them is an error in Go.
    fn repeat(&mut self, operator: &str) -> Result<(), PatternError> {
        match self.last {
            Last::Nothing => return Err(self.fail(format!("nothing to repeat before {operator}"))),
            Last::Repetition => return Err(self.fail(format!("repetition {operator} of a repetition"))),
            Last::Atom => {}
        }
        self.out.push_str(operator);
        if self.peek() == Some('?') {
            self.copy();
        }
        self.last = Last::Repetition;
        Ok(())
    }

    /// `{n}`, `{n,}` or `{n,m}`; anything else after a brace is a literal brace in Go.
    fn counted(&mut self) -> Result<(), PatternError> {
        let Some((low, high, len)) = count(self.rest()) else {
            self.take(1);
            self.literal('{');
            return Ok(());
        };
        let too_many = |n: Option<u32>| n.is_none_or(|n| n > REPEAT_MAX);
        let backwards = matches!((low, high), (Some(low), High::Count(Some(high))) if low > high);
        if too_many(low) || matches!(high, High::Count(n) if too_many(n)) || backwards {
            return Err(self.fail("repeat count that is not allowed"));
        }
        let operator = self.rest()[..len].to_owned();
        self.take(len);
        self.repeat(&operator)
    }

    /// `(`, `(?:`, `(?flags)`, `(?flags:`, `(?P<name>` or `(?<name>`.
    fn group(&mut self) -> Result<(), PatternError> {
        self.take(1);
        self.last = Last::Nothing;
        if self.peek() != Some('?') {
            self.out.push('(');
            return Ok(());
        }
        self.take(1);
        let named = ["P<", "<"].iter().find(|start| self.rest().starts_with(**start));
        if let Some(start) = named {
            self.take(start.len());
            return self.name();
        }
        self.flags()
    }

    /// A name is checked and dropped: nothing here asks for groups.
    fn name(&mut self) -> Result<(), PatternError> {
        let Some((name, _)) = self.rest().split_once('>') else {
            return Err(self.fail("group name without an end"));
        };
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_word) {
            return Err(self.fail("group name that is not a word"));
        }
        self.take(name.len() + 1);
        self.out.push_str("(?:");
        Ok(())
    }

    fn flags(&mut self) -> Result<(), PatternError> {
        let end = self.rest().find([':', ')']).ok_or_else(|| self.fail("group without an end"))?;
        let flags = &self.rest()[..end];
        let known = flags.chars().all(|flag| "imsU-".contains(flag));
        if !known || flags.matches('-').count() > 1 || flags.ends_with('-') {
            return Err(self.fail(format!("unknown group (?{flags}")));
        }
        let closes = self.rest()[end..].starts_with(')');
        self.take(end + 1);
        match (closes, flags.is_empty()) {
            (true, true) => {}
            (true, false) => {
                self.out.push_str("(?");
                self.out.push_str(flags);
                self.out.push(')');
            }
            (false, _) => {
                self.out.push_str("(?");
                self.out.push_str(flags);
                self.out.push(':');
            }
        }
        Ok(())
    }

    /// A backslash outside of a class.
    fn escaped(&mut self) -> Result<(), PatternError> {
        if let Some(quoted) = self.rest().strip_prefix("\\Q") {
            let (literal, len) = match quoted.split_once("\\E") {
                Some((literal, _)) => (literal, literal.len() + 4),
                None => (quoted, quoted.len() + 2),
            };
            self.take(len);
            for character in literal.chars() {
                self.literal(character);
            }
            return Ok(());
        }
        let same = [("\\A", "\\A"), ("\\z", "\\z"), ("\\b", "(?-u:\\b)"), ("\\B", "(?-u:\\B)")];
        if let Some((_, ours)) = same.iter().find(|(go, _)| self.rest().starts_with(go)) {
            self.take(2);
            self.out.push_str(ours);
            self.last = Last::Atom;
            return Ok(());
        }
        if let Some(set) = escape::set(self)? {
            self.out.push('[');
            self.out.push_str(&set);
            self.out.push(']');
            self.last = Last::Atom;
            return Ok(());
        }
        let character = escape::character(self)?;
        self.literal(character);
        Ok(())
    }
}

/// The upper end of a count.
#[derive(Clone, Copy)]
enum High {
    Same,
    Open,
    Count(Option<u32>),
}

/// The counts of `{n}`, `{n,}`, `{n,m}` at the start of the text and their length; a count that no number holds is none.
fn count(text: &str) -> Option<(Option<u32>, High, usize)> {
    let (inside, _) = text.strip_prefix('{')?.split_once('}')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let len = inside.len() + 2;
    match inside.split_once(',') {
        None if is_number(inside) => Some((inside.parse().ok(), High::Same, len)),
        Some((low, "")) if is_number(low) => Some((low.parse().ok(), High::Open, len)),
        Some((low, high)) if is_number(low) && is_number(high) => {
            Some((low.parse().ok(), High::Count(high.parse().ok()), len))
        }
        _ => None,
    }
}

/// Writes a character so that it stands for itself, in a class as well.
fn push_literal(out: &mut String, literal: char) {
    if literal.is_ascii_punctuation() && literal != '_' && literal != '<' && literal != '>' {
        out.push('\\');
    }
    out.push(literal);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(go: &str, matches: &[&str], misses: &[&str]) {
        let pattern = Pattern::parse(go).unwrap_or_else(|error| panic!("{go}: {error}"));
        for text in matches {
            assert!(pattern.is_match(text), "{go} should match {text:?}");
        }
        for text in misses {
            assert!(!pattern.is_match(text), "{go} should not match {text:?}");
        }
    }

    #[track_caller]
    fn refused(go: &str, why: &str) {
        let error = Pattern::parse(go).err().unwrap_or_else(|| panic!("{go} was accepted"));
        assert!(error.to_string().contains(why), "{go}: {error}");
    }

    #[test]
    fn patterns_of_the_flux_documentation_match() {
        check(".*succeeded.*", &["Helm install succeeded.", "succeeded"], &["failed"]);
        check("^Dependencies.*", &["Dependencies do not meet"], &["The Dependencies"]);
        check("waiting.*socket", &["waiting on a socket"], &["socket waiting"]);
    }

    #[test]
    fn classes_of_letters_are_ascii_as_in_go() {
        check(r"^\d+$", &["12"], &["١٢", "a"]);
        check(r"^\w+$", &["a_1"], &["é"]);
        check(r"^\W$", &["é", "-"], &["a"]);
        check(r"^a\sb$", &["a b", "a\tb"], &["a\u{a0}b", "a\u{b}b"]);
        check(r"^[\d\s]+$", &["1 2"], &["x"]);
        check(r"^[^\D]+$", &["12"], &["a"]);
        check(r"é\b", &[], &["é", "é x"]);
        check(r"\bab\b", &["an ab!"], &["abc"]);
        check(r"^\B.\B$", &["-"], &["a"]);
    }

    #[test]
    fn a_dot_is_a_character_not_a_byte() {
        check("^.$", &["é", "→"], &["\n", "ab"]);
        check("(?s)^.$", &["\n"], &[]);
    }

    #[test]
    fn braces_that_count_nothing_are_literal() {
        check("^a{,3}$", &["a{,3}"], &["aa"]);
        check("a{", &["a{"], &["a"]);
        check("^a{2}$", &["aa"], &["a", "a{2}"]);
        check("^a{1,2}?$", &["aa"], &["aaa"]);
        check("^a{2,}$", &["aaaa"], &["a"]);
        check(r"^x{y}$", &["x{y}"], &[]);
    }

    #[test]
    fn brackets_and_operators_inside_a_class_are_literal() {
        check("^[[]$", &["["], &["]"]);
        check("^[[:]$", &["[", ":"], &["]"]);
        check("^[]a]+$", &["]a"], &["["]);
        check("^[^]a]$", &["b"], &["]", "a"]);
        check("^[a&&b]+$", &["a&b"], &["c"]);
        check("^[+--]+$", &["+,-"], &["."]);
        check("^[~~#]+$", &["~#"], &["a"]);
        check("^[a-]+$", &["a-"], &["b"]);
        check(r"^[\]\-\\]+$", &[r"]-\"], &["a"]);
        check("^[[:alpha:][:digit:]]+$", &["a1"], &["é", "-"]);
        check("^[[:^alpha:]]$", &["1", "é"], &["a"]);
        check(r"^[\pL]+$", &["é"], &["1"]);
        check(r"^[\x41-\x{43}\101]+$", &["ABC"], &["D"]);
    }

    #[test]
    fn quotes_and_escapes_stand_for_themselves() {
        check(r"^\Qa.b*\E+$", &["a.b**"], &["axb"]);
        check(r"\Q[", &["["], &["a"]);
        check(r"^\x41\x{1F600}\007\n\.\_\<$", &["A😀\u{7}\n._<"], &[]);
        check(r"^\p{Greek}\P{Greek}\p{^Greek}$", &["λab"], &["λλa"]);
    }

    #[test]
    fn groups_and_flags_work() {
        check("(?i)FAILED", &["failed"], &["passed"]);
        check("^(?P<a>x)(?<b>y)(?:z)$", &["xyz"], &["xy"]);
        check("(?i:A)b", &["ab", "Ab"], &["aB"]);
        check("(?m)^b$", &["a\nb\nc"], &["ab"]);
        check("^(?)a(?-s).$", &["ab"], &["a\n"]);
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for (go, why) in [
            ("(", "unclosed group"),
            ("a**", "repetition"),
            ("*a", "nothing to repeat"),
            ("(|*)", "nothing to repeat"),
            ("[a", "class"),
            ("[z-a]", "range"),
            (r"\C", "escape"),
            (r"\Z", "escape"),
            (r"\8", "escape"),
            (r"\1", "escape"),
            (r"\é", "escape"),
            (r"a\", "escape"),
            (r"[\b]", "escape"),
            ("[[:foo:]]", "class"),
            (r"\p{Nothing}", "Unicode"),
            ("(?x)a b", "unknown group"),
            ("(?=a", "without an end"),
            ("(?=a:)", "unknown group"),
            ("(?P<a-b>x)", "not a word"),
            ("a{1001}", "repeat count"),
            ("a{3,2}", "repeat count"),
            ("a{99999999999}", "repeat count"),
        ] {
            refused(go, why);
        }
    }

    #[test]
    fn no_pattern_makes_the_translation_fall_over() {
        let pieces = [
            "\\", "[", "]", "(", ")", "{", "}", "*", "?", "^", "-", ":", ",", "9", "a", "é", "Q", "E", "p",
            "x", "P<", "|",
        ];
        let mut patterns = vec![String::new()];
        for _ in 0..4 {
            let longer = patterns
                .iter()
                .flat_map(|pattern| pieces.iter().map(move |piece| format!("{pattern}{piece}")));
            patterns = longer.collect();
            for pattern in &patterns {
                let _ = translate(pattern);
            }
        }
        // What the translation lets through, the engine takes: a sample.
        for pattern in patterns.iter().step_by(97) {
            if let Err(PatternError::Refused(why)) = Pattern::parse(pattern) {
                assert!(
                    ["unclosed", "unopened", "repetition", "Unicode", "empty"]
                        .iter()
                        .any(|known| why.contains(known)),
                    "{pattern}: {why}"
                );
            }
        }
    }

    #[test]
    fn a_pattern_knows_how_much_memory_it_takes() {
        let bytes = |go: &str| Pattern::parse(go).unwrap().bytes();
        assert!(bytes("abc") < 64 << 10, "{}", bytes("abc"));
        let large = bytes(r"\w{100}(x|y){500}");
        assert!(large > bytes("abc") * 4, "{large}");
        assert!(large < 4 << 20, "{large}");
    }

    #[test]
    fn patterns_that_cost_too_much_are_refused() {
        refused("((a{1000}){1000}){1000}", "compiled");
        refused(&"(".repeat(PATTERN_BYTES_MAX + 1), "longer than");
        assert!(Pattern::parse(&format!("{}a{}", "(".repeat(500), ")".repeat(500))).is_err());
    }
}
