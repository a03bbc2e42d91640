//! The YAML that most manifests are written in, read in one pass: maps and lists in blocks, scalars on one line, literal
//! blocks, flow collections on one line.
//!
//! Everything else (anchors, tags, folded texts, escapes, scalars over several lines, whatever is wrong) makes this reader
//! return nothing, and the parser reads the text from its beginning. So it never decides by itself: where it returns a
//! value, the parser returns the same, which tests and a fuzz target compare.

use super::Dialect;
use super::build::{Budget, Keys};
use super::node::{Node, Null, Plain, PlainKind, Str, Text};
use super::resolve::{Scalar, resolve};

/// Longer keys are the parser's.
const KEY_BYTES_MAX: usize = 128;

/// Reads a text that holds one document; none if the parser has to do it.
pub(super) fn read(text: &str, dialect: Dialect, budget: &mut Budget) -> Option<Node> {
    if !text.bytes().all(is_usual) || has_odd_breaks(text) {
        return None;
    }
    let mut reader =
        Reader { text, bytes: text.as_bytes(), at: 0, dialect, values: 0, depth_max: budget.depth_max() };
    let mut line = reader.next_line()?;
    if line.indent == 0 && text[line.start..].starts_with("---") {
        reader.at = line.start + "---".len();
        reader.end_of_line()?;
        line = reader.next_line()?;
    }
    let node = reader.block(line, 0)?;
    if reader.next_line().is_some() {
        return None;
    }
    budget.write_all(reader.values).then_some(node)
}

/// Bytes that mean nothing special to a parser: no control characters but line breaks and tabs.
fn is_usual(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f || byte == b'\n' || byte == b'\t'
}

/// Line breaks and marks beyond ASCII.
fn has_odd_breaks(text: &str) -> bool {
    !text.is_ascii() && text.contains(['\u{85}', '\u{2028}', '\u{2029}', '\u{feff}', '\u{fffe}', '\u{ffff}'])
        || !text.is_ascii() && text.chars().any(|c| ('\u{80}'..='\u{9f}').contains(&c))
}

/// Where the content of a line begins.
#[derive(Clone, Copy)]
struct Line {
    start: usize,
    /// Blanks before it.
    indent: usize,
}

struct Reader<'t> {
    text: &'t str,
    bytes: &'t [u8],
    /// The start of a line, or a place in one.
    at: usize,
    dialect: Dialect,
    /// Values read, keys counted.
    values: usize,
    depth_max: usize,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    /// The next line that is neither blank nor a comment; `at` stays at its start.
    fn next_line(&mut self) -> Option<Line> {
        loop {
            let line_start = self.at;
            self.skip_blanks();
            let start = self.at;
            match self.peek()? {
                b'\n' => self.at += 1,
                b'#' => self.skip_line(),
                _ => {
                    self.at = line_start;
                    return Some(Line { start, indent: start - line_start });
                }
            }
        }
    }

    fn skip_line(&mut self) {
        self.at = self.line_end();
        if self.at < self.bytes.len() {
            self.at += 1;
        }
    }

    /// The end of the current line, without its line break.
    fn line_end(&self) -> usize {
        let rest = &self.bytes[self.at..];
        self.at + rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len())
    }

    /// Goes to the next line if nothing but blanks and a comment is left of this one.
    fn end_of_line(&mut self) -> Option<()> {
        let before = self.at;
        self.skip_blanks();
        match self.peek() {
            None => Some(()),
            Some(b'\n') => {
                self.at += 1;
                Some(())
            }
            Some(b'#') if self.at > before => {
                self.skip_line();
                Some(())
            }
            Some(_) => None,
        }
    }

    /// A map or list that begins with this line. The depth is limited, and so is this recursion.
    fn block(&mut self, line: Line, depth: usize) -> Option<Node> {
        let is_mark =
            line.indent == 0 && matches!(self.text.get(line.start..line.start + 3), Some("---" | "..."));
        if depth >= self.depth_max || is_mark {
            return None;
        }
        self.at = line.start;
        if self.is_item() { self.list(line.indent, depth) } else { self.map(line.indent, depth) }
    }

    /// Whether a list item begins here.
    fn is_item(&self) -> bool {
        self.peek() == Some(b'-') && matches!(self.bytes.get(self.at + 1), None | Some(b' ' | b'\n'))
    }

    /// A map whose first key is here, at this column.
    fn map(&mut self, indent: usize, depth: usize) -> Option<Node> {
        self.values += 1;
        let mut keys = Keys::default();
        loop {
            let key = self.key()?;
            if keys.position(&key).is_some() {
                return None;
            }
            let node = self.value(indent, depth)?;
            keys.set(key, node);
            let Some(line) = self.next_line() else { break };
            if line.indent < indent {
                break;
            }
            let is_mark = indent == 0 && self.text[line.start..].starts_with(['-', '.']);
            if line.indent > indent || is_mark {
                return None;
            }
            self.at = line.start;
            if self.is_item() {
                return None;
            }
        }
        Some(Node::Object(keys.into_map()))
    }

    /// A key and its colon.
    fn key(&mut self) -> Option<Text> {
        let first = self.peek()?;
        let key = if matches!(first, b'"' | b'\'') { self.quoted(first)? } else { self.word()? };
        let is_key =
            self.peek() == Some(b':') && matches!(self.bytes.get(self.at + 1), None | Some(b' ' | b'\n'));
        if !is_key || key.len() > KEY_BYTES_MAX {
            return None;
        }
        self.at += 1;
        self.values += 1;
        Some(Text::new(key))
    }

    /// A key without quotes.
    fn word(&mut self) -> Option<&'t str> {
        let start = self.at;
        while self.peek().is_some_and(is_of_word) {
            self.at += 1;
        }
        let word = &self.text[start..self.at];
        let is_key = word.bytes().next().is_some_and(|first| first != b'-');
        (is_key && resolve(word, self.dialect) == Scalar::Text).then_some(word)
    }

    /// The value after a key, on its line or below; the map is at this column.
    fn value(&mut self, indent: usize, depth: usize) -> Option<Node> {
        let before = self.at;
        self.skip_blanks();
        match self.peek() {
            None | Some(b'\n' | b'#') => {
                self.at = before;
                self.end_of_line()?;
                match self.next_line() {
                    Some(line) if line.indent > indent => self.block(line, depth + 1),
                    Some(line) if line.indent == indent && self.bytes[line.start] == b'-' => {
                        self.at = line.start;
                        if self.is_item() { self.block(line, depth + 1) } else { None }
                    }
                    _ => {
                        self.values += 1;
                        Some(Node::Null(Null::Empty))
                    }
                }
            }
            Some(_) => self.inline(indent, depth),
        }
    }

    /// A scalar or a flow collection on this line, or a literal block behind it. What holds it is at this column.
    fn inline(&mut self, indent: usize, depth: usize) -> Option<Node> {
        let node = match self.peek()? {
            b'|' => return self.literal(indent),
            quote @ (b'"' | b'\'') => {
                let text = self.quoted(quote)?;
                self.values += 1;
                Node::String(Str::new(text, true))
            }
            b'{' | b'[' => self.flow(depth + 1)?,
            _ => self.plain()?,
        };
        self.end_of_line()?;
        // A deeper line would belong to the scalar.
        if self.next_line().is_some_and(|line| line.indent > indent) {
            return None;
        }
        Some(node)
    }

    /// A list whose first item is here, at this column.
    fn list(&mut self, indent: usize, depth: usize) -> Option<Node> {
        self.values += 1;
        let mut items = Vec::new();
        loop {
            self.at += 1;
            items.push(self.item(indent, depth)?);
            let Some(line) = self.next_line() else { break };
            if line.indent < indent {
                break;
            }
            if line.indent > indent {
                return None;
            }
            let here = self.at;
            self.at = line.start;
            if !self.is_item() {
                self.at = here;
                break;
            }
        }
        Some(Node::Array(items))
    }

    /// The value after the dash of an item; the dash is at this column.
    fn item(&mut self, indent: usize, depth: usize) -> Option<Node> {
        let behind = self.at;
        self.skip_blanks();
        let column = indent + 1 + (self.at - behind);
        match self.peek() {
            None | Some(b'\n' | b'#') => {
                self.at = behind;
                self.end_of_line()?;
                match self.next_line() {
                    Some(line) if line.indent > indent => self.block(line, depth + 1),
                    _ => {
                        self.values += 1;
                        Some(Node::Null(Null::Empty))
                    }
                }
            }
            Some(_) if depth + 1 >= self.depth_max => None,
            Some(b'-') if self.is_item() => self.list(column, depth + 1),
            Some(_) if self.is_at_key() => self.map(column, depth + 1),
            Some(_) => self.inline(indent, depth),
        }
    }

    /// Whether a key is here, and not only a scalar.
    fn is_at_key(&self) -> bool {
        let mut ahead = Reader { ..*self };
        ahead.key().is_some()
    }

    /// A text in quotes without anything that would have to be worked out.
    fn quoted(&mut self, quote: u8) -> Option<&'t str> {
        let start = self.at + 1;
        let length =
            self.bytes[start..].iter().position(|&byte| byte == quote || byte == b'\\' || byte == b'\n')?;
        let end = start + length;
        let is_simple = self.bytes[end] == quote && self.bytes.get(end + 1) != Some(&quote);
        let text = &self.text[start..end];
        if !is_simple || text.contains('\t') {
            return None;
        }
        self.at = end + 1;
        Some(text)
    }

    /// A scalar up to the end of the line or a comment.
    fn plain(&mut self) -> Option<Node> {
        let (start, line_end) = (self.at, self.line_end());
        let line = &self.bytes[start..line_end];
        let first = *line.first()?;
        let is_start = first.is_ascii_alphanumeric()
            || matches!(
                first,
                b'/' | b'.' | b'_' | b'$' | b'(' | b'+' | b'=' | b'~' | b'^' | b'<' | b';' | b'\\'
            )
            || first >= 0x80
            || first == b'-' && line.get(1).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'.');
        if !is_start {
            return None;
        }
        let mut end = line.len();
        for (index, &byte) in line.iter().enumerate() {
            match byte {
                b'\t' => return None,
                b':' if matches!(line.get(index + 1), None | Some(b' ')) => return None,
                b'#' if line[index - 1] == b' ' => {
                    end = index;
                    break;
                }
                _ => {}
            }
        }
        let text = self.text[start..start + end].trim_end_matches(' ');
        self.at = start + text.len();
        self.scalar(text)
    }

    fn scalar(&mut self, text: &str) -> Option<Node> {
        self.values += 1;
        Some(match resolve(text, self.dialect) {
            Scalar::Text => Node::text(text),
            Scalar::Null => Node::Null(match text {
                "~" => Null::Tilde,
                "Null" => Null::Capitalized,
                "NULL" => Null::Shouted,
                _ => Null::Word,
            }),
            Scalar::Plain(PlainKind::Time) if self.dialect == Dialect::Settings => Node::text(text),
            Scalar::Plain(kind) => Node::Plain(Plain::new(kind, text)),
            Scalar::NotFinite | Scalar::Merge => return None,
        })
    }

    /// A flow collection that ends on this line. The depth is limited, and so is this recursion.
    fn flow(&mut self, depth: usize) -> Option<Node> {
        if depth >= self.depth_max {
            return None;
        }
        match self.peek()? {
            b'{' => self.flow_map(depth),
            b'[' => self.flow_list(depth),
            quote @ (b'"' | b'\'') => {
                let text = self.quoted(quote)?;
                self.values += 1;
                Some(Node::String(Str::new(text, true)))
            }
            _ => self.flow_plain(),
        }
    }

    fn flow_map(&mut self, depth: usize) -> Option<Node> {
        self.values += 1;
        self.at += 1;
        let mut keys = Keys::default();
        if self.flow_end(b'}') {
            return Some(Node::object());
        }
        loop {
            let key = self.key()?;
            if keys.position(&key).is_some() {
                return None;
            }
            self.skip_blanks();
            keys.set(key, self.flow(depth + 1)?);
            if self.flow_next(b'}')? {
                return Some(Node::Object(keys.into_map()));
            }
        }
    }

    fn flow_list(&mut self, depth: usize) -> Option<Node> {
        self.values += 1;
        self.at += 1;
        let mut items = Vec::new();
        if self.flow_end(b']') {
            return Some(Node::Array(items));
        }
        loop {
            items.push(self.flow(depth + 1)?);
            if self.flow_next(b']')? {
                return Some(Node::Array(items));
            }
        }
    }

    /// Whether the collection ends here.
    fn flow_end(&mut self, close: u8) -> bool {
        self.skip_blanks();
        let is_end = self.peek() == Some(close);
        self.at += usize::from(is_end);
        is_end
    }

    /// Continues after an entry: true at the end of the collection.
    fn flow_next(&mut self, close: u8) -> Option<bool> {
        if self.flow_end(close) {
            return Some(true);
        }
        if self.peek() != Some(b',') {
            return None;
        }
        self.at += 1;
        self.skip_blanks();
        Some(false)
    }

    /// A scalar in a flow collection, of characters without special meaning only.
    fn flow_plain(&mut self) -> Option<Node> {
        let start = self.at;
        let is_start =
            self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'/' || byte == b'.');
        if !is_start {
            return None;
        }
        while let Some(byte) = self.peek() {
            let next = self.bytes.get(self.at + 1).copied().unwrap_or_default();
            match byte {
                b',' | b'}' | b']' => break,
                b':' if next.is_ascii_alphanumeric() || next == b'/' => {}
                b' ' if next.is_ascii_alphanumeric() || matches!(next, b' ' | b'}' | b']' | b',') => {}
                _ if is_of_word(byte) => {}
                _ => return None,
            }
            self.at += 1;
        }
        let text = self.text[start..self.at].trim_end_matches(' ');
        // Times are read in another way between brackets.
        if text.contains(':') && resolve(text, self.dialect) != Scalar::Text {
            return None;
        }
        self.scalar(text)
    }

    /// A literal block, starting at its header; its parent is at this column.
    fn literal(&mut self, indent: usize) -> Option<Node> {
        self.at += 1;
        let is_stripped = self.peek() == Some(b'-');
        self.at += usize::from(is_stripped);
        if self.peek() != Some(b'\n') {
            return None;
        }
        self.at += 1;
        let mut text = String::new();
        let mut margin = None;
        let mut breaks = 0;
        while self.at < self.bytes.len() {
            let (start, end) = (self.at, self.line_end());
            let line = &self.text[start..end];
            if end == self.bytes.len() {
                return None;
            }
            let blanks = line.bytes().take_while(|&byte| byte == b' ').count();
            if blanks == line.len() && margin.is_none_or(|margin| blanks <= margin) {
                // Before the first line of text it is not known yet whether a blank line is too deep.
                if margin.is_none() && blanks > 0 {
                    return None;
                }
                breaks += 1;
                self.at = end + 1;
                continue;
            }
            let margin = *margin.get_or_insert(blanks);
            if blanks < margin {
                if blanks > indent || line[blanks..].starts_with('\t') {
                    return None;
                }
                break;
            }
            if margin <= indent {
                return None;
            }
            text.extend(std::iter::repeat_n('\n', breaks));
            breaks = 1;
            text.push_str(&line[margin..]);
            self.at = end + 1;
        }
        if margin.is_none() || text.starts_with('\t') {
            return None;
        }
        if !is_stripped {
            text.push('\n');
        }
        self.values += 1;
        Some(Node::String(Str::new(text, true)))
    }
}

/// Characters of keys and names.
fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/')
}

#[cfg(test)]
mod tests;
