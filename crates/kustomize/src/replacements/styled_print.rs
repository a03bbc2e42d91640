//! How kustomize prints a YAML text that it has changed: two blanks, lists not indented, lines of any length.

use plumb_manifests::yaml::{self, Dialect, Scalar, resolve};

use super::styled::{Content, Item, Shape, Style, Styled, StyledText};

/// The text without a line break at its end.
pub(super) fn print(text: &StyledText) -> String {
    let mut out = Printer { out: String::new(), foot_indent: None };
    if !text.head.is_empty() {
        out.comment(&text.head, 0);
        out.out.push('\n');
    }
    out.block(&text.root, 0, Place::Root);
    if !text.foot.is_empty() {
        out.out.push('\n');
        out.comment(&text.foot, 0);
    }
    out.out.trim_end().to_owned()
}

struct Printer {
    out: String,
    /// Where a comment behind an item has just been printed; a sibling is set off from it.
    foot_indent: Option<usize>,
}

/// The text before a value on its line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Dash,
    Key,
}

impl Printer {
    fn comment(&mut self, lines: &[String], indent: usize) {
        for line in lines {
            if !line.is_empty() {
                self.margin(indent);
                self.out.push_str(line);
            }
            self.out.push('\n');
        }
    }

    fn margin(&mut self, indent: usize) {
        self.out.extend(std::iter::repeat_n(' ', indent));
    }

    /// The depth is limited by the parser, and so is this recursion.
    fn block(&mut self, styled: &Styled, indent: usize, place: Place) {
        match &styled.content {
            Content::Map(items, Shape::Block) if !items.is_empty() => {
                self.open(styled, place);
                let indent = if place == Place::Root { indent } else { indent + 2 };
                self.items(items, indent, place == Place::Dash && !has_properties(styled));
            }
            Content::List(items, Shape::Block) if !items.is_empty() => {
                self.open(styled, place);
                let indent = if place == Place::Dash { indent + 2 } else { indent };
                self.items(items, indent, place == Place::Dash && !has_properties(styled));
            }
            _ => {
                let mut text = String::new();
                flow(styled, indent + if place == Place::Root { 0 } else { 2 }, Shape::Block, &mut text);
                if place != Place::Root && !text.is_empty() {
                    self.out.push(' ');
                }
                let is_block = matches!(styled.content, Content::Scalar(_, Style::Literal | Style::Folded));
                if let (true, Some(comment), Some(end)) = (is_block, &styled.comment, text.find('\n')) {
                    text.insert_str(end, &format!(" {comment}"));
                }
                self.out.push_str(&text);
                if let Some(comment) = styled.comment.as_ref().filter(|_| !is_block) {
                    self.out.push(' ');
                    self.out.push_str(comment);
                }
                if !self.out.ends_with('\n') || text.is_empty() {
                    self.out.push('\n');
                }
            }
        }
    }

    fn open(&mut self, styled: &Styled, place: Place) {
        let properties = properties(styled);
        if !properties.is_empty() {
            if place != Place::Root {
                self.out.push(' ');
            }
            self.out.push_str(properties.trim_end());
        }
        if place == Place::Key || !properties.is_empty() {
            self.out.push('\n');
        } else if place == Place::Dash {
            self.out.push(' ');
        }
    }

    fn items(&mut self, items: &[Item], indent: usize, mut goes_on: bool) {
        for item in items {
            if self.foot_indent.take() == Some(indent) {
                self.out.push('\n');
            }
            if !item.head.is_empty() {
                // Behind a dash, a comment begins on its line.
                let (first, rest) = item.head.split_at(usize::from(goes_on));
                for line in first {
                    self.out.push_str(line);
                    self.out.push('\n');
                }
                goes_on = false;
                self.comment(rest, indent);
            }
            if !std::mem::take(&mut goes_on) {
                self.margin(indent);
            }
            if let Some(key) = &item.key {
                let mut text = String::new();
                flow(key, indent, Shape::Block, &mut text);
                if text == "<<" {
                    self.out.push_str("!!merge ");
                }
                self.out.push_str(&text);
                self.out.push(':');
                if let Some(comment) = &key.comment {
                    self.out.push(' ');
                    self.out.push_str(comment);
                }
                self.block(&item.value, indent, Place::Key);
            } else {
                self.out.push('-');
                self.block(&item.value, indent, Place::Dash);
            }
            if !item.foot.is_empty() {
                self.comment(&item.foot, indent);
                self.foot_indent = Some(indent);
            }
        }
    }
}

fn has_properties(styled: &Styled) -> bool {
    styled.anchor.is_some() || styled.tag.is_some()
}

fn properties(styled: &Styled) -> String {
    let anchor = styled.anchor.iter().map(|name| format!("&{name} "));
    anchor.chain(styled.tag.iter().map(|tag| format!("{tag} "))).collect()
}

/// A value on one line, or as a block scalar.
fn flow(styled: &Styled, indent: usize, within: Shape, out: &mut String) {
    out.push_str(&properties(styled));
    match &styled.content {
        Content::Scalar(text, style) => scalar(text, *style, styled.tag.is_some(), indent, within, out),
        Content::Alias(name) => {
            out.push('*');
            out.push_str(name);
        }
        Content::List(items, _) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                flow(&item.value, indent, Shape::Flow, out);
            }
            out.push(']');
        }
        Content::Map(items, _) => {
            out.push('{');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                if let Some(key) = &item.key {
                    flow(key, indent, Shape::Flow, out);
                    out.push_str(": ");
                }
                flow(&item.value, indent, Shape::Flow, out);
            }
            out.push('}');
        }
    }
}

fn scalar(text: &str, style: Style, has_tag: bool, indent: usize, within: Shape, out: &mut String) {
    let is_hard = text.chars().any(|c| !is_printable(c) && c != '\n');
    let style = match style {
        _ if is_hard => Style::Double,
        Style::Plain if text.is_empty() && within == Shape::Flow => Style::Single,
        Style::Plain if text.is_empty() || has_tag => Style::Plain,
        Style::Plain if text.contains('\n') && within == Shape::Block => Style::Literal,
        Style::Plain if !is_plain(text, within) => Style::Single,
        Style::Literal | Style::Folded if within == Shape::Flow => Style::Double,
        style => style,
    };
    match style {
        Style::Plain => out.push_str(text),
        Style::Single => {
            out.push('\'');
            out.push_str(&text.replace('\'', "''").replace('\n', "\n\n"));
            out.push('\'');
        }
        Style::Double => double(text, out),
        Style::Literal => block(text, '|', indent, out),
        Style::Folded => block(text, '>', indent, out),
    }
}

fn block(text: &str, mark: char, indent: usize, out: &mut String) {
    out.push(mark);
    if text.starts_with([' ', '\n']) {
        out.push('2');
    }
    match text.strip_suffix('\n') {
        None => out.push('-'),
        Some(rest) if rest.is_empty() || rest.ends_with('\n') => out.push('+'),
        Some(_) => {}
    }
    out.push('\n');
    let mut lines = text.split('\n').peekable();
    while let Some(line) = lines.next() {
        if lines.peek().is_none() && line.is_empty() {
            break;
        }
        if !line.is_empty() {
            out.extend(std::iter::repeat_n(' ', indent.max(2)));
            out.push_str(line);
        }
        if lines.peek().is_some() {
            out.push('\n');
            let goes_on = lines.peek().is_some_and(|next| !next.starts_with(' '));
            if mark == '>' && !line.is_empty() && !line.starts_with(' ') && goes_on {
                out.push('\n');
            }
        }
    }
}

fn double(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        if is_printable(c) && c != '"' && c != '\\' {
            out.push(c);
        } else {
            out.push_str(&yaml::escaped(c));
        }
    }
    out.push('"');
}

fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

/// Whether a text needs no quotes.
fn is_plain(text: &str, within: Shape) -> bool {
    let is_blank = |c: Option<char>| c.is_none_or(|c| c == ' ' || c == '\n');
    if text.starts_with(' ') || text.ends_with(' ') || text.starts_with("---") || text.starts_with("...") {
        return false;
    }
    let mut previous = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let next = characters.peek().copied();
        let is_first = previous.is_none();
        let is_special = match c {
            '#' if is_first => true,
            ',' | '[' | ']' | '{' | '}' => is_first || within == Shape::Flow,
            '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => is_first,
            '?' => (is_first && is_blank(next)) || within == Shape::Flow,
            '-' => is_first && is_blank(next),
            ':' => is_blank(next) || within == Shape::Flow,
            '#' => previous.is_some_and(|c: char| c.is_whitespace()),
            '\n' => true,
            _ => false,
        };
        if is_special {
            return false;
        }
        previous = Some(c);
    }
    true
}

/// Whether a plain scalar of this text would be read as something else than text.
pub(super) fn means_something(text: &str) -> bool {
    text.is_empty() || !matches!(resolve(text, Dialect::Objects), Scalar::Text)
}
