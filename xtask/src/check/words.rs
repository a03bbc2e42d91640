//! Holds the texts that users read against the project's terms: descriptions of the CustomResourceDefinitions, `--help`,
//! the messages in string literals, and the documents; and the names that code defines. Comments never enter.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{Outcome, links, tidy};

/// The generated CustomResourceDefinitions.
const DEFINITIONS: &str = "config/crd";
/// First words that announce a question instead of what a field or flag does.
const FIRST_WORDS: [&str; 8] = ["Whether", "How", "Who", "Whose", "What", "Where", "Which", "Those"];
/// What derives a command line, with its documentation as `--help`.
const DERIVES: [&str; 4] = ["Parser", "Args", "Subcommand", "ValueEnum"];
/// Phrases that no text for users may contain, one per line; lines with `#` are comments.
const PHRASES: &str = include_str!("words.txt");

/// Names that code must not define, with the term to use instead.
const NAMES: [(&str, &str); 48] = [
    ("Desk", "DriftLoop"),
    ("Book", "OwnerState"),
    ("Sitting", "Step"),
    ("Post", "Effects"),
    ("Errand", "CompareRequest"),
    ("Glance", "PreApplyRead"),
    ("Terms", "DriftPolicy or LeaseConfig"),
    ("Teller", "EventSink"),
    ("Telling", "DriftEvent"),
    ("Telltime", "ReportAfter"),
    ("Stand", "Drift or Fixture"),
    ("Standing", "DriftReport"),
    ("Standings", "OpenDrift"),
    ("Hold", "Attempt"),
    ("Appetite", "EventFilter"),
    ("complaint", "error_summary"),
    ("complaints", "config_errors"),
    ("Sought", "ProviderLookup"),
    ("Ask", "Request"),
    ("Patience", "WatchBackoff"),
    ("patience", "backoff"),
    ("Pace", "Debounce"),
    ("Burst", "EventAggregator"),
    ("Hand", "WriterKind"),
    ("Sight", "WatchEvent"),
    ("News", "WatchChange"),
    ("Occurrence", "EventDraft"),
    ("Said", "ConditionUpdate"),
    ("Turn", "Transition"),
    ("Means", "DispatcherConfig"),
    ("Doors", "Listeners"),
    ("Lane", "ProviderQueue"),
    ("Course", "AttemptOutcome"),
    ("victims", "expired"),
    ("Unhonoured", "UnsupportedFlag"),
    ("crew", "harness"),
    ("Crew", "Harness"),
    ("stand", "cluster or fixture"),
    ("desk", "drift_loop or fixture"),
    ("tell", "report or emit"),
    ("told", "reported"),
    ("Told", "Reported"),
    ("teller", "reporter"),
    ("Wake", "EventAction"),
    ("WhyNot", "SkipReason"),
    ("Fate", "PruneOutcome"),
    ("Refusal", "ErrorKind or Rejection"),
    ("Lender", "LedgerAccess"),
];
/// What defines a name.
const DEFINE: [&str; 7] = ["struct", "enum", "trait", "type", "fn", "mod", "macro_rules!"];

/// Fails with every description, flag or message that breaks a rule.
pub fn run(root: &Path) -> Result<Outcome> {
    let mut breaches = Vec::new();
    for entry in std::fs::read_dir(root.join(DEFINITIONS)).context(DEFINITIONS)? {
        let path = entry?.path();
        let definition: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path)?)
            .with_context(|| path.display().to_string())?;
        let shown = path.strip_prefix(root).unwrap_or(&path).display();
        let found = definition_breaches(&definition);
        breaches.extend(found.into_iter().map(|why| format!("{shown}: {why}")));
    }
    for path in tidy::rust_files(root)? {
        let source = std::fs::read_to_string(&path)?;
        let shown = path.strip_prefix(root).unwrap_or(&path).display();
        let names = if path.ends_with("check/words.rs") { Vec::new() } else { name_breaches(&source) };
        let found = source_breaches(&source).into_iter().chain(names);
        breaches.extend(found.map(|(line, why)| format!("{shown}:{line}: {why}")));
    }
    for path in links::documents(root)? {
        let text = std::fs::read_to_string(&path)?;
        let shown = path.strip_prefix(root).unwrap_or(&path).display();
        breaches.extend(unwanted_phrase(&text).into_iter().map(|why| format!("{shown}: {why}")));
    }
    breaches.sort();
    let remedy = "write it in the terms of xtask/src/check/words.txt";
    if breaches.is_empty() { Ok(Outcome::Passed) } else { bail!("\n  {}\n{remedy}", breaches.join("\n  ")) }
}

fn phrases() -> impl Iterator<Item = &'static str> {
    PHRASES.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn unwanted_phrase(text: &str) -> Option<String> {
    let text = text.to_lowercase();
    let phrase = phrases().find(|phrase| text.contains(phrase))?;
    Some(format!("{phrase:?} is not one of the project's terms"))
}

/// What is wrong with a description or a help text.
fn description_breach(text: &str) -> Option<String> {
    let first = text.split(|letter: char| !letter.is_alphabetic()).next().unwrap_or_default();
    if FIRST_WORDS.contains(&first) {
        return Some(format!(
            "{text:?} begins with {first:?}: say what it does, its unit, default and limit"
        ));
    }
    unwanted_phrase(text)
}

fn definition_breaches(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let own = fields.get("description").and_then(Value::as_str).and_then(description_breach);
            own.into_iter().chain(fields.values().flat_map(definition_breaches)).collect()
        }
        Value::Array(items) => items.iter().flat_map(definition_breaches).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// What is wrong in a Rust file, with the line.
fn source_breaches(source: &str) -> Vec<(usize, String)> {
    let helped =
        help_texts(source).into_iter().filter_map(|(line, text)| Some((line, description_breach(&text)?)));
    let literal_breaches =
        literals(source).into_iter().filter_map(|(line, text)| Some((line, unwanted_phrase(&text)?)));
    helped.chain(literal_breaches).collect()
}

/// The definitions of names that are not the project's terms, with their lines.
fn name_breaches(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in (1..).zip(source.lines()) {
        let mut words = line.split_whitespace().skip_while(|word| !DEFINE.contains(word)).skip(1);
        let name = words.next().unwrap_or_default();
        let name =
            name.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or_default();
        let is_comment = line.trim_start().starts_with("//");
        if let Some((_, term)) = NAMES.iter().find(|(known, _)| *known == name && !is_comment) {
            found.push((at, format!("{name} is not one of the project's terms: {term}")));
        }
    }
    found
}

/// The documentation of command line items, with the line at which each begins.
fn help_texts(source: &str) -> Vec<(usize, String)> {
    let mut texts = Vec::new();
    let mut doc: Option<(usize, String)> = None;
    let mut derives = false;
    let mut end_of_body: Option<String> = None;
    for (at, line) in source.lines().enumerate() {
        let trimmed = line.trim_start();
        if let Some(text) = trimmed.strip_prefix("///") {
            let (_, doc) = doc.get_or_insert_with(|| (at + 1, String::new()));
            doc.push_str(text);
            continue;
        }
        if trimmed.starts_with("#[") {
            let mut words = trimmed.split(|letter: char| !letter.is_alphanumeric());
            derives |= trimmed.starts_with("#[derive(") && words.any(|word| DERIVES.contains(&word));
            continue;
        }
        let is_head = derives && trimmed.ends_with('{') && end_of_body.is_none();
        if is_head {
            end_of_body = Some(format!("{}}}", &line[..line.len() - trimmed.len()]));
        }
        derives = derives && !is_head && !trimmed.ends_with([';', '}']);
        let documented = doc.take().filter(|_| end_of_body.is_some());
        texts.extend(documented.map(|(line, text)| (line, text.trim().to_owned())));
        if end_of_body.as_deref() == Some(line) {
            end_of_body = None;
        }
    }
    texts
}

/// The string literals outside of comments, with the line at which each begins. Escapes stay as they are written, but
/// for the one that joins lines.
fn literals(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (length, literal) = token(rest, first);
        found.extend(literal.map(|text| (line, joined(text))));
        let (passed, ahead) = rest.split_at(length);
        line += passed.matches('\n').count();
        rest = ahead;
    }
    found
}

/// The length of what the text begins with, and the content if that is a string literal.
fn token(text: &str, first: char) -> (usize, Option<&str>) {
    let upto = |end: Option<usize>| end.unwrap_or(text.len());
    match first {
        '/' if text.starts_with("//") => (upto(text.find('\n')), None),
        '/' if text.starts_with("/*") => (upto(text.find("*/").map(|at| at + 2)), None),
        '"' => {
            let end = closing_quote(text, '"');
            (upto(end.map(|at| at + 1)), Some(&text[1..upto(end)]))
        }
        '\'' => (character(text), None),
        'r' => raw(text).unwrap_or((1, None)),
        _ if first.is_alphanumeric() || first == '_' => {
            // A word as a whole, so that only an `r` by itself begins a raw literal; `br` and `cr` keep theirs.
            let word = upto(text.find(|letter: char| !letter.is_alphanumeric() && letter != '_'));
            (if matches!(&text[..word], "br" | "cr") { 1 } else { word }, None)
        }
        _ => (first.len_utf8(), None),
    }
}

/// The place of the quote that ends the literal which the text begins with.
fn closing_quote(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return Some(at),
            _ => {}
        }
    }
    None
}

/// The length of a character literal; of a lifetime, its mark alone.
fn character(text: &str) -> usize {
    let is_literal = text[1..].starts_with('\\') || text.chars().nth(2) == Some('\'');
    closing_quote(text, '\'').filter(|_| is_literal).map_or(1, |at| at + 1)
}

fn raw(text: &str) -> Option<(usize, Option<&str>)> {
    let hashes = text[1..].len() - text[1..].trim_start_matches('#').len();
    let content = text[1 + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = content.find(&end)?;
    Some((2 + hashes + length + end.len(), Some(&content[..length])))
}

/// A literal that continues in the next line, as it is read.
fn joined(literal: &str) -> String {
    let mut parts = literal.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A phrase of the list, in two parts so that it is not found here.
    const OLD: &str = concat!("asked ", "for news");

    #[test]
    fn a_description_that_begins_with_a_question_word_or_holds_an_old_phrase_is_found() {
        assert_eq!(description_breach("Poll interval."), None);
        assert_eq!(description_breach("Whatever else."), None);
        assert!(description_breach("Whether to suspend.").unwrap().contains("begins with \"Whether\""));
        assert!(description_breach(&format!("Interval; {}.", OLD.to_uppercase())).unwrap().contains(OLD));
        let spec =
            json!({"properties": {"a": {"description": "How often."}, "description": {"type": "string"}}});
        assert_eq!(definition_breaches(&json!({"versions": [{"schema": spec}]})).len(), 1);
    }

    #[test]
    fn the_documentation_of_flags_is_found_and_that_of_other_items_is_not() {
        let source = "/// Where it is.\nstruct Other {\n    /// Who.\n    a: u8,\n}\n\n/// The flags.\n#[derive(Debug, \
                      clap::Args)]\npub struct Flags {\n    /// Poll\n    /// interval.\n    #[arg(long,\n        short)]\n    \
                      interval: u8,\n}\n\n/// What is next.\nfn next() {}\n";
        let expect = [(7, "The flags.".to_owned()), (10, "Poll interval.".to_owned())];
        assert_eq!(help_texts(source), expect);
        let broken = source.replace("/// Poll\n", "/// How often to\n");
        assert_eq!(source_breaches(source), []);
        assert_eq!(source_breaches(&broken).len(), 1);
    }

    #[test]
    fn a_message_with_an_old_phrase_is_found_in_every_kind_of_literal_and_not_in_comments() {
        let source = |code: &str| code.replace("OLD", OLD);
        for code in
            ["f(\"OLD\")", "x('\"', \"OLD\")", "r\"OLD\"", "br#\"a \"OLD\" b\"#", "for<'a> f(\"\\\"OLD\")"]
        {
            assert_eq!(source_breaches(&source(code)).len(), 1, "{code}");
        }
        assert_eq!(source_breaches("f();\n\"asked for \\\n   news\"")[0].0, 2);
        for code in ["// \"OLD\"\n", "/* \"OLD\" */", "OLD", "f(\"polled\")"] {
            assert_eq!(source_breaches(&source(code)), [], "{code}");
        }
    }

    #[test]
    fn code_defines_no_name_that_the_terms_replace() {
        for (line, expect) in [
            ("pub struct Desk(Arc<Shared>);", Some("Desk is not one of the project's terms: DriftLoop")),
            (
                "    pub(crate) async fn tell<T>(&self) {",
                Some("tell is not one of the project's terms: report or emit"),
            ),
            ("pub struct DeskLamp;", None),
            ("// struct Desk {", None),
            ("    let desk = Desk::new();", None),
        ] {
            let found = name_breaches(line);
            assert_eq!(found.first().map(|(_, why)| why.as_str()), expect, "{line}");
        }
    }
}
