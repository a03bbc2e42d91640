//! YAML as it is written: scalars keep their text, and the writer throws the style.

use super::dice::Dice;

/// A value as it will be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// One line, literally.
    Text(String),
    /// A block scalar: its header and its lines.
    Block(String, Vec<String>),
    Map(Vec<(String, Node)>),
    List(Vec<Node>),
}

impl Node {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub fn quoted(text: &str) -> Self {
        Self::Text(format!("{text:?}"))
    }

    pub fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self::List(items.into_iter().collect())
    }

    pub fn texts<T: Into<String>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::List(items.into_iter().map(|item| Self::Text(item.into())).collect())
    }

    /// A map of texts.
    pub fn pairs<K: Into<String>, V: Into<String>>(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        Self::Map(entries.into_iter().map(|(key, value)| (key.into(), Self::Text(value.into()))).collect())
    }

    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(own, _)| own == key).map(|(_, value)| value),
            _ => None,
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Map(entries) => entries.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Text(_) | Self::Block(..) => false,
        }
    }

    /// How many values are in it, itself included.
    pub fn count(&self) -> usize {
        match self {
            Self::Text(_) | Self::Block(..) => 1,
            Self::Map(entries) => 1 + entries.iter().map(|(_, value)| value.count()).sum::<usize>(),
            Self::List(items) => 1 + items.iter().map(Self::count).sum::<usize>(),
        }
    }

    /// The value number `index`, counted from itself downwards.
    pub fn nth(&mut self, index: usize) -> Option<&mut Self> {
        let mut left = index;
        self.nth_from(&mut left)
    }

    fn nth_from(&mut self, left: &mut usize) -> Option<&mut Self> {
        if *left == 0 {
            return Some(self);
        }
        *left -= 1;
        match self {
            Self::Text(_) | Self::Block(..) => None,
            Self::Map(entries) => entries.iter_mut().find_map(|(_, value)| value.nth_from(left)),
            Self::List(items) => items.iter_mut().find_map(|value| value.nth_from(left)),
        }
    }

    fn fits_in_flow(&self) -> bool {
        match self {
            Self::Text(text) => {
                !text.contains(" #") && !text.starts_with(['&', '*', '!']) && !text.is_empty()
            }
            Self::Block(..) => false,
            Self::Map(entries) => {
                entries.len() <= 4
                    && entries.iter().all(|(key, value)| !key.starts_with("<<") && value.fits_in_flow())
            }
            Self::List(items) => items.len() <= 4 && items.iter().all(Self::fits_in_flow),
        }
    }
}

/// How one file is written.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Whether lists are indented deeper than their key.
    pub indents_lists: bool,
    /// How often a small map or list is written in one line.
    pub flow: usize,
    /// How often a comment precedes an entry.
    pub comments: usize,
}

impl Style {
    pub fn throw(dice: &mut Dice) -> Self {
        Self {
            indents_lists: dice.chance(40),
            flow: if dice.chance(30) { 25 } else { 3 },
            comments: if dice.chance(20) { 6 } else { 0 },
        }
    }
}

/// The text of a document.
pub fn write(node: &Node, style: Style, dice: &mut Dice) -> String {
    let mut writer = Writer { text: String::new(), style, dice };
    match node {
        Node::Text(text) => {
            writer.text.push_str(text);
            writer.text.push('\n');
        }
        Node::Block(header, lines) => writer.block(header, lines, 0),
        Node::Map(_) | Node::List(_) if node.is_empty() => writer.empty(node),
        Node::Map(entries) => writer.map(entries, 0),
        Node::List(items) => writer.list(items, 0),
    }
    writer.text
}

struct Writer<'d> {
    text: String,
    style: Style,
    dice: &'d mut Dice,
}

impl Writer<'_> {
    fn map(&mut self, entries: &[(String, Node)], indent: usize) {
        for (key, value) in entries {
            self.comment(indent);
            self.margin(indent);
            self.entry(key, value, indent);
        }
    }

    fn entry(&mut self, key: &str, value: &Node, indent: usize) {
        self.text.push_str(key);
        self.text.push(':');
        match value {
            Node::Text(text) if text.is_empty() => self.text.push('\n'),
            Node::Map(entries) if !entries.is_empty() && !self.goes_to_flow(value) => {
                self.text.push('\n');
                self.map(entries, indent + 2);
            }
            Node::List(items) if !items.is_empty() && !self.goes_to_flow(value) => {
                self.text.push('\n');
                self.list(items, if self.style.indents_lists { indent + 2 } else { indent });
            }
            other => {
                self.text.push(' ');
                self.inline(other, indent);
            }
        }
    }

    fn list(&mut self, items: &[Node], indent: usize) {
        for item in items {
            self.comment(indent);
            self.margin(indent);
            self.text.push('-');
            match item {
                Node::Text(text) if text.is_empty() => self.text.push('\n'),
                Node::Map(entries) if !entries.is_empty() && !self.goes_to_flow(item) => {
                    self.text.push(' ');
                    let (key, value) = &entries[0];
                    self.entry(key, value, indent + 2);
                    self.map(&entries[1..], indent + 2);
                }
                Node::List(inner) if !inner.is_empty() && !self.goes_to_flow(item) => {
                    self.text.push('\n');
                    self.list(inner, indent + 2);
                }
                other => {
                    self.text.push(' ');
                    self.inline(other, indent);
                }
            }
        }
    }

    /// The value after its key or its dash.
    fn inline(&mut self, node: &Node, indent: usize) {
        match node {
            Node::Text(text) => {
                self.text.push_str(text);
                if self.style.comments > 0 && self.dice.chance(3) && !text.starts_with(['|', '>']) {
                    self.text.push_str(" # behind");
                }
                self.text.push('\n');
            }
            Node::Block(header, lines) => self.block(header, lines, indent + 2),
            Node::Map(_) | Node::List(_) if node.is_empty() => self.empty(node),
            Node::Map(_) | Node::List(_) => {
                self.flow(node);
                self.text.push('\n');
            }
        }
    }

    fn empty(&mut self, node: &Node) {
        self.text.push_str(if matches!(node, Node::Map(_)) { "{}\n" } else { "[]\n" });
    }

    fn block(&mut self, header: &str, lines: &[String], indent: usize) {
        self.text.push_str(header);
        self.text.push('\n');
        for line in lines {
            if !line.is_empty() {
                self.margin(indent);
                self.text.push_str(line);
            }
            self.text.push('\n');
        }
    }

    fn flow(&mut self, node: &Node) {
        match node {
            Node::Text(text) => self.text.push_str(text),
            Node::Block(..) => self.text.push_str("\"block\""),
            Node::Map(entries) => {
                self.text.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    self.text.push_str(if index > 0 { ", " } else { "" });
                    self.text.push_str(key);
                    self.text.push_str(": ");
                    self.flow(value);
                }
                self.text.push('}');
            }
            Node::List(items) => {
                self.text.push('[');
                for (index, value) in items.iter().enumerate() {
                    self.text.push_str(if index > 0 { ", " } else { "" });
                    self.flow(value);
                }
                self.text.push(']');
            }
        }
    }

    fn goes_to_flow(&mut self, node: &Node) -> bool {
        let percent = self.style.flow;
        node.fits_in_flow() && self.dice.chance(percent)
    }

    fn comment(&mut self, indent: usize) {
        let percent = self.style.comments;
        if percent > 0 && self.dice.chance(percent) {
            self.margin(indent);
            self.text.push_str("# a comment: with a colon\n");
        }
    }

    fn margin(&mut self, indent: usize) {
        self.text.extend(std::iter::repeat_n(' ', indent));
    }
}
