//! A YAML text with what is lost in its value: order, styles, comments, anchors. kustomize keeps them where it changes
//! a value inside a text.

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StructureStyle};
use plumb_manifests::yaml::Node;

/// A value and how it is written.
#[derive(Debug, Clone)]
pub(super) struct Styled {
    pub content: Content,
    pub anchor: Option<String>,
    /// As it is written, with its exclamation marks.
    pub tag: Option<String>,
    /// Behind the value, on its line.
    pub comment: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    Scalar(String, Style),
    Alias(String),
    List(Vec<Item>, Shape),
    Map(Vec<Item>, Shape),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Block,
    Flow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    Literal,
    Folded,
}

/// One item of a list, or one entry of a map, with the comments around it.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub head: Vec<String>,
    /// None in a list.
    pub key: Option<Styled>,
    pub value: Styled,
    pub foot: Vec<String>,
}

/// The first document of a text.
#[derive(Debug, Clone)]
pub(super) struct StyledText {
    pub head: Vec<String>,
    pub root: Styled,
    pub foot: Vec<String>,
}

impl Styled {
    fn new(content: Content) -> Self {
        Self { content, anchor: None, tag: None, comment: None }
    }

    pub(super) fn scalar(text: &str, style: Style) -> Self {
        Self::new(Content::Scalar(text.to_owned(), style))
    }

    /// A value that was not in the text before. The depth of values is limited, and so is this recursion.
    pub(super) fn from_node(node: &Node) -> Self {
        let item = |key: Option<&str>, node: &Node| Item {
            head: Vec::new(),
            key: key.map(|key| Self::scalar(key, Style::Plain)),
            value: Self::from_node(node),
            foot: Vec::new(),
        };
        match node {
            Node::Array(items) => {
                Self::new(Content::List(items.iter().map(|node| item(None, node)).collect(), Shape::Block))
            }
            Node::Object(map) => {
                let entries = map.iter().map(|(key, node)| item(Some(key), node)).collect();
                Self::new(Content::Map(entries, Shape::Block))
            }
            scalar => Self::scalar(scalar.scalar().unwrap_or_default(), Style::Plain),
        }
    }
}

/// A comment on its own line.
struct Comment {
    line: usize,
    column: usize,
    text: String,
}

struct Reading<'t> {
    events: std::vec::IntoIter<(Event<'t>, Span)>,
    characters: Vec<char>,
    /// On lines of their own, the next one last.
    comments: Vec<Comment>,
    /// Behind values, by line.
    trailing: Trailing,
    /// Where each line begins.
    line_starts: Vec<usize>,
    /// Where the last map or list has ended.
    last_line: usize,
}

impl StyledText {
    /// Reads a text that is known to be YAML.
    pub(super) fn parse(text: &str, depth_max: usize) -> Option<Self> {
        let text = text.replace("\r\n", "\n");
        let mut options = Options::default();
        options.flow_nesting_limit = depth_max;
        options.block_nesting_limit = depth_max;
        let mut events = Vec::new();
        let mut parser = Parser::new_from_str_with_options(&text, options);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.ok()?;
            match event {
                Event::DocumentEnd => break,
                event @ (Event::Scalar(..)
                | Event::Alias(_)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..)
                | Event::MappingEnd) => events.push((event, span)),
                // Comments are among the events if another crate of the build has switched them on.
                _ => {}
            }
        }
        let (comments, trailing) = comments(&text, &events);
        let characters: Vec<char> = text.chars().collect();
        let breaks = characters.iter().enumerate().filter(|&(_, &c)| c == '\n');
        let line_starts = std::iter::once(0).chain(breaks.map(|(index, _)| index + 1)).collect();
        let mut reading =
            Reading { events: events.into_iter(), characters, comments, trailing, line_starts, last_line: 0 };
        let (event, span) = reading.events.next()?;
        let (line, column) = (span.start.line(), span.start.col());
        let mut groups = reading.groups_before(line);
        // A comment right above the first value belongs to it, everything else to the document.
        let own = match groups.last() {
            Some(last) if last.end + 1 == line && last.column == column => groups.pop(),
            _ => None,
        };
        let head = joined(groups);
        let mut root = reading.value(event, &span)?;
        if let (Some(own), Content::Map(items, Shape::Block) | Content::List(items, Shape::Block)) =
            (own, &mut root.content)
            && let Some(first) = items.first_mut()
        {
            first.head.extend(own.lines);
        }
        let foot = joined(reading.groups_before(usize::MAX));
        Some(Self { head, root, foot })
    }
}

/// Comment lines without a gap between them.
struct Group {
    column: usize,
    start: usize,
    end: usize,
    lines: Vec<String>,
}

fn joined(groups: Vec<Group>) -> Vec<String> {
    let mut lines = Vec::new();
    for group in groups {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(group.lines);
    }
    lines
}

impl Reading<'_> {
    /// The comments before a line.
    fn groups_before(&mut self, line: usize) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        while let Some(comment) = self.comments.pop_if(|comment| comment.line < line) {
            let Comment { line, column, text } = comment;
            match groups.last_mut() {
                Some(group) if group.end + 1 == line && group.column == column => {
                    group.end = line;
                    group.lines.push(text);
                }
                _ => groups.push(Group { column, start: line, end: line, lines: vec![text] }),
            }
        }
        groups
    }

    /// The depth is limited by the parser, and so is this recursion.
    fn value(&mut self, event: Event<'_>, span: &Span) -> Option<Styled> {
        let (start, end) = (span.start, span.end);
        let styled = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_empty = start.index() == end.index();
                let style = match style {
                    ScalarStyle::SingleQuoted => Style::Single,
                    ScalarStyle::DoubleQuoted => Style::Double,
                    ScalarStyle::Literal => Style::Literal,
                    ScalarStyle::Folded => Style::Folded,
                    ScalarStyle::Plain => Style::Plain,
                };
                let is_nothing = is_empty && style == Style::Plain;
                let text = if is_nothing { String::new() } else { text.into_owned() };
                let mut styled = Styled::scalar(&text, style);
                styled.anchor = (anchor != 0).then(|| self.anchor_before(start.index())).flatten();
                styled.tag = tag.map(|tag| tag.original());
                styled
            }
            Event::Alias(_) => {
                let name = self.characters.get(start.index() + 1..end.index())?.iter().collect();
                Styled::new(Content::Alias(name))
            }
            Event::SequenceStart(shape, anchor, tag) => {
                let mut styled =
                    Styled::new(Content::List(self.items(shape_of(shape), false)?, shape_of(shape)));
                styled.anchor = (anchor != 0).then(|| self.anchor_before(start.index())).flatten();
                styled.tag = tag.map(|tag| tag.original());
                styled
            }
            Event::MappingStart(shape, anchor, tag) => {
                let mut styled =
                    Styled::new(Content::Map(self.items(shape_of(shape), true)?, shape_of(shape)));
                styled.anchor = (anchor != 0).then(|| self.anchor_before(start.index())).flatten();
                styled.tag = tag.map(|tag| tag.original());
                styled
            }
            _ => return None,
        };
        Some(styled)
    }

    /// The name of the last anchor before a place, on the way back over tags and gaps.
    fn anchor_before(&self, index: usize) -> Option<String> {
        let before = self.characters.get(..index)?;
        let at = before.iter().rposition(|&c| c == '&')?;
        Some(before[at + 1..].iter().take_while(|c| !c.is_whitespace()).collect())
    }

    /// A value with the comment behind it on the line where it ends.
    fn commented(&mut self, event: Event<'_>, span: &Span, within: Shape) -> Option<Styled> {
        let mut value = self.value(event, span)?;
        let is_one_line = match value.content {
            Content::Scalar(_, Style::Literal | Style::Folded) => false,
            Content::Scalar(..) | Content::Alias(_) => true,
            Content::List(_, shape) | Content::Map(_, shape) => shape == Shape::Flow,
        };
        if is_one_line && within == Shape::Block {
            value.comment = self.trailing.remove(&span.end.line().max(self.last_line));
        }
        Some(value)
    }

    fn items(&mut self, shape: Shape, is_map: bool) -> Option<Vec<Item>> {
        let mut items: Vec<Item> = Vec::new();
        let mut column = None;
        loop {
            let (event, span) = self.events.next()?;
            let line = match event {
                Event::SequenceEnd | Event::MappingEnd => {
                    self.last_line = span.end.line();
                    self.last_feet(&mut items, column, shape);
                    return Some(items);
                }
                _ => span.start.line(),
            };
            let is_dashed = !is_map && shape == Shape::Block;
            let (line, own) = if is_dashed { self.dash(&span) } else { (line, span.start.col()) };
            let column = *column.get_or_insert(own);
            let head = self.between(&mut items, line, column);
            let (key, value) = if is_map {
                let mut key = self.value(event, &span)?;
                let (event, next) = self.events.next()?;
                // A comment behind `key:` belongs to the key where the value begins below.
                let is_block =
                    matches!(event, Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..));
                let comment = if is_block || next.start.line() > span.start.line() {
                    self.trailing.remove(&span.start.line())
                } else {
                    None
                };
                let mut value = self.commented(event, &next, shape)?;
                if is_block {
                    value.comment = comment;
                } else {
                    key.comment = comment;
                }
                (Some(key), value)
            } else {
                let mut first: Vec<String> = Vec::new();
                if is_dashed && line < span.start.line() {
                    first.extend(self.trailing.remove(&line));
                    first.extend(joined(self.groups_before(span.start.line())));
                }
                let mut value = self.commented(event, &span, shape)?;
                if let Content::Map(items, _) | Content::List(items, _) = &mut value.content
                    && let Some(item) = items.first_mut()
                {
                    item.head.splice(0..0, first);
                }
                (None, value)
            };
            items.push(Item { head, key, value, foot: Vec::new() });
        }
    }

    /// Shares the comments between two items: those right behind the last one are its own if they are set off from the
    /// next one.
    fn between(&mut self, items: &mut [Item], line: usize, column: usize) -> Vec<String> {
        let mut groups = self.groups_before(line);
        let Some(last) = items.last_mut() else {
            return joined(groups);
        };
        let has_value =
            !matches!(&last.value.content, Content::Scalar(text, Style::Plain) if text.is_empty());
        let is_foot = groups.first().is_some_and(|group| {
            self.is_content(group.start - 1) && (group.end + 1 != line || group.column != column)
        });
        if is_foot && has_value {
            last.foot.extend(groups.remove(0).lines);
        }
        joined(groups)
    }

    /// Comments after the last item with its indentation.
    fn last_feet(&mut self, items: &mut [Item], column: Option<usize>, shape: Shape) {
        let (Some(last), Some(column), Shape::Block) = (items.last_mut(), column, shape) else {
            return;
        };
        let next =
            self.events.as_slice().iter().find(|(event, _)| {
                !matches!(event, Event::SequenceEnd | Event::MappingEnd | Event::DocumentEnd)
            });
        let next = next.map(|(_, span)| (span.start.line(), span.start.col()));
        let line_max = next.map_or(usize::MAX, |(line, _)| line);
        let mut kept = Vec::new();
        let mut is_first = true;
        for group in self.groups_before(line_max) {
            let is_head = next.is_some_and(|(line, next)| group.end + 1 == line && group.column == next);
            // At the end of the text, what is set off by an empty line belongs to the document.
            let follows = self.is_content(group.start - 1);
            if kept.is_empty()
                && group.column >= column
                && !is_head
                && (next.is_some() || (is_first && follows))
            {
                if !last.foot.is_empty() {
                    last.foot.push(String::new());
                }
                last.foot.extend(group.lines);
            } else {
                kept.push(group);
            }
            is_first = false;
        }
        for group in kept.into_iter().rev() {
            let lines = group.lines.into_iter().enumerate().rev();
            let comment = |(index, text)| Comment { line: group.start + index, column: group.column, text };
            self.comments.extend(lines.map(comment));
        }
    }

    /// Whether a line, counted from 1, has content.
    fn is_content(&self, line: usize) -> bool {
        let first = self.line(line).iter().find(|c| !c.is_whitespace());
        first.is_some_and(|&c| c != '#')
    }

    fn line(&self, line: usize) -> &[char] {
        let start = line.checked_sub(1).and_then(|index| self.line_starts.get(index));
        let rest = start.and_then(|&start| self.characters.get(start..)).unwrap_or_default();
        let end = self.line_starts.get(line).zip(start).map_or(rest.len(), |(next, start)| next - start);
        rest.get(..end).unwrap_or_default()
    }

    /// Line and column of the dash before an item: on its line, or on the last one before it with content.
    fn dash(&self, span: &Span) -> (usize, usize) {
        let (mut line, column) = (span.start.line(), span.start.col());
        let before = self.line(line).get(..column).unwrap_or_default();
        if let Some(dash) = before.iter().rposition(|&c| c == '-') {
            return (line, dash);
        }
        while line > 1 {
            line -= 1;
            if self.is_content(line) {
                let marks = self.line(line).iter().take_while(|c| matches!(c, ' ' | '-'));
                let dash = marks.collect::<Vec<_>>().iter().rposition(|&&c| c == '-');
                return (line, dash.unwrap_or(column));
            }
        }
        (span.start.line(), column)
    }
}

fn shape_of(shape: StructureStyle) -> Shape {
    match shape {
        StructureStyle::Block => Shape::Block,
        StructureStyle::Flow => Shape::Flow,
    }
}

type Trailing = std::collections::BTreeMap<usize, String>;

/// The comments of a text: those on their own lines, the first one last, and those behind something.
fn comments(text: &str, events: &[(Event<'_>, Span)]) -> (Vec<Comment>, Trailing) {
    let scalars: Vec<(usize, usize)> = events
        .iter()
        .filter(|(event, _)| matches!(event, Event::Scalar(..)))
        .map(|(_, span)| (span.start.index(), span.end.index()))
        .collect();
    let mut own = Vec::new();
    let mut trailing = Trailing::new();
    let mut index = 0;
    let mut scalar = 0;
    for (number, line) in text.split('\n').enumerate() {
        let length = line.chars().count();
        let mut follows_gap = true;
        for (column, c) in line.chars().enumerate() {
            let at = index + column;
            while scalars.get(scalar).is_some_and(|&(_, end)| end <= at) {
                scalar += 1;
            }
            let is_inside = scalars.get(scalar).is_some_and(|&(start, end)| start <= at && at < end);
            if c == '#' && follows_gap && !is_inside {
                let comment: String = line.chars().skip(column).collect();
                let comment = comment.trim_end().to_owned();
                if line.chars().take(column).all(char::is_whitespace) {
                    own.push(Comment { line: number + 1, column, text: comment });
                } else {
                    trailing.insert(number + 1, comment);
                }
                break;
            }
            follows_gap = c.is_whitespace();
        }
        // A separator ends the document.
        if number > 0 && (line.starts_with("---") || line.starts_with("...")) {
            let is_inside = scalars.get(scalar).is_some_and(|&(start, end)| start <= index && index < end);
            if !is_inside && scalars.last().is_some_and(|&(_, end)| end <= index) {
                break;
            }
        }
        index += length + 1;
    }
    own.reverse();
    (own, trailing)
}
