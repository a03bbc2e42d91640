//! Prints a value as kustomize does (go-yaml v2): block style, sorted keys, lists not indented under their key, lines
//! folded behind column 80.

use serde_json::Value;

use super::escape::escaped;
use super::node::{Map, Node};
use super::number::print_float;
use super::order::sort;
use super::plain::{Style, is_break, is_printable, style};

/// The column behind which the next single space becomes a line break.
const WIDTH: usize = 80;
const INDENT: usize = 2;
/// A longer key needs the `? ` form.
const SIMPLE_KEY_BYTES_MAX: usize = 128;

/// The value as one YAML document, with a line break at its end.
pub fn to_string(node: &Node) -> String {
    let mut out = String::new();
    write(node, &mut out);
    out
}

/// The same of a JSON value.
pub fn json_to_string(value: &Value) -> String {
    to_string(&Node::from(value))
}

/// The same with quotes around every text that was read in quotes.
pub fn to_string_with_quotes(node: &Node) -> String {
    let mut out = String::new();
    let mut printer = Printer { out: &mut out, column: 0, keeps_quotes: true };
    printer.node(node, Place { indent: 0, is_root: true, in_list: false });
    printer.line_end();
    out
}

/// The value as one YAML document behind what a text holds already.
pub fn write(node: &Node, out: &mut String) {
    let mut printer = Printer { out, column: 0, keeps_quotes: false };
    printer.node(node, Place { indent: 0, is_root: true, in_list: false });
    printer.line_end();
}

struct Printer<'o> {
    out: &'o mut String,
    /// In characters, from 0.
    column: usize,
    keeps_quotes: bool,
}

/// The position of a value.
#[derive(Clone, Copy)]
struct Place {
    /// The indentation of the map or list that holds it.
    indent: usize,
    is_root: bool,
    in_list: bool,
}

impl Printer<'_> {
    /// A value behind `key:` or `-` (no blank written yet) or at the root. The depth of values is limited by the
    /// parser, and so is this recursion.
    fn node(&mut self, node: &Node, place: Place) {
        match node {
            Node::Object(map) if !map.is_empty() => self.map(map, place),
            Node::Array(items) if !items.is_empty() => self.list(items, place),
            Node::Object(_) => self.word("{}", place),
            Node::Array(_) => self.word("[]", place),
            Node::Null(_) => self.word("null", place),
            Node::Plain(plain) if plain.is_canonical_integer() => self.word(&plain.text, place),
            Node::Plain(plain) => match plain.to_json() {
                Value::Number(number) => self.word(&number_text(&number), place),
                Value::Bool(flag) => self.word(if flag { "true" } else { "false" }, place),
                Value::String(text) => self.string(&text, place),
                Value::Null | Value::Array(_) | Value::Object(_) => self.word("null", place),
            },
            Node::String(text) if self.keeps_quotes && text.is_quoted => self.quoted(&text.meaning(), place),
            Node::String(text) => self.string(&text.meaning(), place),
        }
    }

    fn string(&mut self, text: &str, place: Place) {
        let indent = if place.is_root { 0 } else { place.indent + INDENT };
        self.gap(place);
        self.text(text, style(text, false), indent, true);
        self.line_end();
    }

    fn quoted(&mut self, text: &str, place: Place) {
        let indent = if place.is_root { 0 } else { place.indent + INDENT };
        let style = match style(text, false) {
            Style::Plain => Style::Double,
            other => other,
        };
        self.gap(place);
        self.text(text, style, indent, true);
        self.line_end();
    }

    fn map(&mut self, map: &Map, place: Place) {
        let indent = if place.is_root { 0 } else { place.indent + INDENT };
        let mut entries: Vec<(&str, &Node)> = map.iter().collect();
        sort(&mut entries);
        let mut goes_on_same_line = self.begin(place);
        for (key, node) in entries {
            if !goes_on_same_line {
                self.margin(indent);
            }
            goes_on_same_line = false;
            self.key(key, indent);
            self.node(node, Place { indent, is_root: false, in_list: false });
        }
    }

    fn key(&mut self, key: &str, indent: usize) {
        if key.len() <= SIMPLE_KEY_BYTES_MAX && !key.contains(is_break) {
            self.text(key, style(key, true), indent + INDENT, false);
            self.push(":");
            return;
        }
        self.push("? ");
        self.text(key, style(key, false), indent + INDENT, true);
        self.line_end();
        self.margin(indent);
        self.push(":");
    }

    fn list(&mut self, items: &[Node], place: Place) {
        // A list under a key is at the key's own column.
        let indent = match (place.is_root, place.in_list) {
            (true, _) => 0,
            (false, true) => place.indent + INDENT,
            (false, false) => place.indent,
        };
        let mut goes_on_same_line = self.begin(place);
        for item in items {
            if !goes_on_same_line {
                self.margin(indent);
            }
            goes_on_same_line = false;
            self.push("-");
            self.node(item, Place { indent, is_root: false, in_list: true });
        }
    }

    /// Goes to where the first entry of a map or list is written; true if that is on the current line.
    fn begin(&mut self, place: Place) -> bool {
        if place.in_list {
            self.push(" ");
        } else if !place.is_root {
            self.line_end();
        }
        place.in_list
    }

    fn word(&mut self, word: &str, place: Place) {
        self.gap(place);
        self.push(word);
        self.line_end();
    }

    fn gap(&mut self, place: Place) {
        if !place.is_root {
            self.push(" ");
        }
    }

    fn text(&mut self, text: &str, style: Style, indent: usize, may_fold: bool) {
        match style {
            Style::Plain => self.plain(text, indent, may_fold),
            Style::Single => self.single(text, indent, may_fold),
            Style::Double => self.double(text, indent, may_fold),
            Style::Literal => self.literal(text, indent),
        }
    }

    fn plain(&mut self, text: &str, indent: usize, may_fold: bool) {
        if !may_fold || self.column + text.len() <= WIDTH {
            return self.push(text);
        }
        let mut follows_space = false;
        let mut characters = text.chars().peekable();
        while let Some(c) = characters.next() {
            let folds = c == ' '
                && may_fold
                && !follows_space
                && self.column > WIDTH
                && characters.peek().is_some_and(|&next| next != ' ');
            self.space_or_fold(c, folds, indent);
            follows_space = c == ' ';
        }
    }

    fn single(&mut self, text: &str, indent: usize, may_fold: bool) {
        self.push("'");
        let mut follows_space = false;
        let mut follows_break = false;
        let mut characters = text.chars().enumerate().peekable();
        while let Some((index, c)) = characters.next() {
            let next = characters.peek().map(|&(_, next)| next);
            if is_break(c) {
                if !follows_break && c == '\n' {
                    self.line_end();
                }
                self.out.push(c);
                self.column = 0;
                (follows_space, follows_break) = (false, true);
                continue;
            }
            if follows_break {
                self.margin(indent);
            }
            let folds = c == ' '
                && may_fold
                && !follows_space
                && self.column > WIDTH
                && index > 0
                && next.is_some_and(|next| next != ' ');
            self.space_or_fold(c, folds, indent);
            if c == '\'' {
                self.push("'");
            }
            (follows_space, follows_break) = (c == ' ', false);
        }
        self.push("'");
    }

    fn double(&mut self, text: &str, indent: usize, may_fold: bool) {
        self.push("\"");
        // Behind a byte order mark Go's library takes every character for one.
        let is_marked = text.starts_with('\u{feff}');
        let mut follows_space = false;
        let mut characters = text.chars().enumerate().peekable();
        while let Some((index, c)) = characters.next() {
            let next = characters.peek().map(|&(_, next)| next);
            if is_marked || !is_printable(c) || is_break(c) || c == '"' || c == '\\' {
                self.push(&escaped(c));
                follows_space = false;
                continue;
            }
            let folds =
                c == ' ' && may_fold && !follows_space && self.column > WIDTH && index > 0 && next.is_some();
            self.space_or_fold(c, folds, indent);
            if folds && next == Some(' ') {
                self.push("\\");
            }
            follows_space = c == ' ';
        }
        self.push("\"");
    }

    fn space_or_fold(&mut self, c: char, folds: bool, indent: usize) {
        if folds {
            self.line_end();
            self.margin(indent);
        } else {
            self.out.push(c);
            self.column += 1;
        }
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.push("|");
        if text.starts_with(|c| c == ' ' || is_break(c)) {
            self.push("2");
        }
        let without_last = text.strip_suffix(is_break);
        match without_last {
            None => self.push("-"),
            Some(rest) if rest.is_empty() || rest.ends_with(is_break) => self.push("+"),
            Some(_) => {}
        }
        self.line_end();
        let indent = indent.max(INDENT);
        let mut at_line_start = true;
        for c in text.chars() {
            if is_break(c) {
                self.out.push(c);
                self.column = 0;
                at_line_start = true;
                continue;
            }
            if at_line_start {
                self.margin(indent);
                at_line_start = false;
            }
            self.out.push(c);
            self.column += 1;
        }
    }

    fn push(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += if text.is_ascii() { text.len() } else { text.chars().count() };
    }

    fn margin(&mut self, indent: usize) {
        const BLANKS: &str = "                                ";
        let mut rest = indent;
        while rest > 0 {
            let some = rest.min(BLANKS.len());
            self.out.push_str(&BLANKS[..some]);
            rest -= some;
        }
        self.column = indent;
    }

    fn line_end(&mut self) {
        if !self.out.ends_with('\n') {
            self.out.push('\n');
        }
        self.column = 0;
    }
}

fn number_text(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => print_float(float),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(value: &Value, expect: &str) {
        assert_eq!(json_to_string(value), expect);
    }

    #[test]
    fn maps_and_lists_are_indented_as_kustomize_prints_them() {
        check(
            &json!({"a": {"b": [1, {"c": 2, "d": []}, [3, [4]]]}, "e": {}, "f": null}),
            "a:\n  b:\n  - 1\n  - c: 2\n    d: []\n  - - 3\n    - - 4\ne: {}\nf: null\n",
        );
        check(&json!([{"a": [1]}]), "- a:\n  - 1\n");
        check(&json!("x"), "x\n");
    }

    #[test]
    fn blocks_declare_their_indentation_and_their_end() {
        check(&json!({"a": "x\ny"}), "a: |-\n  x\n  y\n");
        check(&json!({"a": "x\n"}), "a: |\n  x\n");
        check(&json!({"a": "x\n\n"}), "a: |+\n  x\n\n");
        check(&json!({"a": " x\ny\n"}), "a: |2\n   x\n  y\n");
        check(&json!({"a": ["x\n\ny\n"]}), "a:\n- |\n  x\n\n  y\n");
        check(&json!({"a": [["x\ny"]]}), "a:\n- - |-\n    x\n    y\n");
    }

    #[test]
    fn long_lines_fold_at_single_spaces_behind_column_80() {
        let word = "w".repeat(39);
        let text = format!("{word} {word} {word} {word}");
        check(&json!({"a": text}), &format!("a: {word} {word}\n  {word} {word}\n"));
        let quoted = format!("- {word} {word} {word}");
        check(&json!({"a": quoted}), &format!("a: '- {word} {word}\n  {word}'\n"));
        check(&json!({"a": "x".repeat(200)}), &format!("a: {}\n", "x".repeat(200)));
    }

    #[test]
    fn characters_that_do_not_print_are_escaped() {
        check(
            &json!({"a": "t\tb", "b": "\u{1f600}", "c": "\u{1b}\0"}),
            "a: \"t\\tb\"\nb: \"\\U0001F600\"\nc: \"\\e\\0\"\n",
        );
    }

    #[test]
    fn keys_are_quoted_like_values() {
        check(&json!({"yes": 1, "a: b": 2, "1": 3}), "\"1\": 3\n'a: b': 2\n\"yes\": 1\n");
    }
}
