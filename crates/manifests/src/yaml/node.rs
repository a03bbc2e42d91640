//! A value as it was written: what a plain scalar means is known, and so is how it was spelled.
//!
//! JSON has no place for `1.10`, `0x1F` or `2020-01-02`, but kustomize copies such spellings from field to field and
//! only works out what they mean when it prints. So does this tree; [`Node::to_json`] is that last step.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, Index};

use compact_str::CompactString;
use serde_json::Value;

use super::base64::decoded;
use super::number::{json_number, parse_float, parse_integer, print_float};
use super::resolve::time_text;

/// A text that costs no allocation while it is short.
pub type Text = CompactString;

/// A value of a YAML text.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Nothing.
    Null(Null),
    /// A boolean, a number or a time.
    Plain(Plain),
    /// A text.
    String(Str),
    /// A list.
    Array(Vec<Node>),
    /// A map whose keys are texts.
    Object(Map),
}

impl Default for Node {
    fn default() -> Self {
        Self::NULL
    }
}

/// How nothing is spelled. All are equal, but kustomize treats what is not written at all differently in places.
#[derive(Debug, Clone, Copy, Default)]
pub enum Null {
    /// `null`.
    #[default]
    Word,
    /// `~`.
    Tilde,
    /// The key has no value.
    Empty,
    /// The same in a flow map or list.
    FlowEmpty,
    /// `Null`.
    Capitalized,
    /// `NULL`.
    Shouted,
}

impl PartialEq for Null {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Which scalars of an object are one and the same, so that writing to one changes all of them: kustomize puts one
/// value into several places of an object. Copies of an object keep it; 0 means a scalar of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Share(u32);

const WRITTEN: u32 = 1 << 31;
/// The type of the scalar follows from its text, also after the text is replaced.
const BARE: u32 = 1 << 30;

impl Share {
    /// A scalar that is one with all of this number, from 1.
    pub fn new(number: u32) -> Self {
        Self(number & !(WRITTEN | BARE))
    }

    /// The number; none for a scalar of its own.
    pub fn number(self) -> Option<u32> {
        Some(self.0 & !(WRITTEN | BARE)).filter(|number| *number != 0)
    }

    /// Whether this one was written to, and the others are not updated yet.
    pub fn is_written(self) -> bool {
        self.0 & WRITTEN != 0
    }

    fn written(self) -> Self {
        self.number().map_or_else(Self::default, |number| Self(number | WRITTEN))
    }
}

/// What a plain scalar means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainKind {
    /// True or false.
    Bool,
    /// A whole number.
    Integer,
    /// A number with a fraction or an exponent, or one beyond 64 bits.
    Float,
    /// A date, or a date and a time.
    Time,
}

/// A plain scalar that is no text.
#[derive(Debug, Clone)]
pub struct Plain {
    /// What it means.
    pub kind: PlainKind,
    /// How it is spelled.
    pub text: Text,
    share: Share,
}

impl PartialEq for Plain {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.text == other.text
    }
}

impl Eq for Plain {}

impl Plain {
    /// A scalar of its own.
    pub fn new(kind: PlainKind, text: impl Into<Text>) -> Self {
        Self { kind, text: text.into(), share: Share::default() }
    }

    /// Whether this is an infinity or not-a-number, which JSON cannot express.
    pub fn is_finite(&self) -> bool {
        self.kind != PlainKind::Float || parse_float(&self.text).is_some()
    }

    /// What Go's YAML libraries make of it on the way to JSON.
    pub fn to_json(&self) -> Value {
        let text = self.text.as_str();
        match self.kind {
            PlainKind::Bool => Value::Bool(matches!(
                text,
                "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON"
            )),
            PlainKind::Integer => integer(text),
            PlainKind::Float => float(text),
            PlainKind::Time => Value::String(time_text(text).unwrap_or_else(|| text.to_owned())),
        }
    }

    /// Whether the text is the same in JSON.
    pub(super) fn is_canonical_integer(&self) -> bool {
        const DIGITS_MAX: usize = 18;
        let digits = self.text.strip_prefix('-').unwrap_or(&self.text).as_bytes();
        self.kind == PlainKind::Integer
            && digits.len() <= DIGITS_MAX
            && (digits.first().is_some_and(|&first| (b'1'..=b'9').contains(&first)) || self.text == "0")
            && digits.iter().all(u8::is_ascii_digit)
    }
}

fn integer(text: &str) -> Value {
    if let Ok(number) = text.parse::<i64>()
        && !text.starts_with('0')
        && !text.starts_with("-0")
        && !text.starts_with("+0")
    {
        return number.into();
    }
    parse_integer(text).unwrap_or_else(|| float(text))
}

fn float(text: &str) -> Value {
    parse_float(text).and_then(json_number).unwrap_or_else(|| Value::String(text.to_owned()))
}

/// A text, and whether it is quoted or in a block.
///
/// kustomize keeps the quotes of a field when a patch changes its value: `"1"` patched with `2` is the text `"2"`.
/// Texts are equal whatever their quotes.
#[derive(Debug, Clone, Default)]
pub struct Str {
    /// Its content.
    pub text: Text,
    /// Whether it is a text whatever its content.
    pub is_quoted: bool,
    /// Whether it is written as a folded block. Such a text changes when kustomize writes and reads it.
    pub is_folded: bool,
    /// Whether it is written in base64, as `!!binary`, and stands for the decoded bytes.
    pub is_binary: bool,
    share: Share,
}

impl Str {
    /// A text of its own.
    pub fn new(text: impl Into<Text>, is_quoted: bool) -> Self {
        Self { text: text.into(), is_quoted, is_folded: false, is_binary: false, share: Share::default() }
    }

    /// Whether it is to be base64, and is not.
    pub fn is_unreadable(&self) -> bool {
        self.is_binary && decoded(&self.text).is_err()
    }

    /// What it means.
    pub fn meaning(&self) -> Cow<'_, str> {
        let decoded = if self.is_binary { decoded(&self.text).ok() } else { None };
        decoded.map_or(Cow::Borrowed(self.text.as_str()), Cow::Owned)
    }
}

impl Deref for Str {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Str {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Str {}

impl<T: Into<Text>> From<T> for Str {
    /// A text without quotes.
    fn from(text: T) -> Self {
        Self::new(text, false)
    }
}

impl Node {
    /// `null`.
    pub const NULL: Self = Self::Null(Null::Word);

    /// A text.
    pub fn text(text: impl Into<Text>) -> Self {
        Self::String(Str::new(text, false))
    }

    /// A text in quotes.
    pub fn quoted(text: impl Into<Text>) -> Self {
        Self::String(Str::new(text, true))
    }

    /// The same scalar as one of several.
    #[must_use]
    pub fn shared(mut self, share: Share) -> Self {
        if let Some(own) = self.share_mut() {
            *own = share;
        }
        self
    }

    /// With which others a scalar is one.
    pub fn share(&self) -> Share {
        match self {
            Self::Plain(plain) => plain.share,
            Self::String(text) => text.share,
            Self::Null(_) | Self::Array(_) | Self::Object(_) => Share::default(),
        }
    }

    fn share_mut(&mut self) -> Option<&mut Share> {
        match self {
            Self::Plain(plain) => Some(&mut plain.share),
            Self::String(text) => Some(&mut text.share),
            Self::Null(_) | Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// Writes a scalar over this one: it stays shared with the same scalars, which are updated later.
    pub fn write(&mut self, new: Self) {
        let (share, is_bare) = (self.share().written(), new.is_bare());
        *self = new.shared(share);
        if is_bare {
            *self = self.take().bare();
        }
    }

    /// The same scalar, whose type from now on follows from its text, also after the text is replaced: kustomize has written
    /// it without a type. Quotes make it a text.
    #[must_use]
    pub fn bare(mut self) -> Self {
        if !self.is_quoted()
            && let Some(share) = self.share_mut()
        {
            share.0 |= BARE;
        }
        self
    }

    /// Whether the type of a scalar follows from its text.
    pub fn is_bare(&self) -> bool {
        self.share().0 & BARE != 0
    }

    /// Whether this is a text in quotes.
    pub fn is_quoted(&self) -> bool {
        matches!(self, Self::String(Str { is_quoted: true, .. }))
    }

    /// An empty map.
    pub fn object() -> Self {
        Self::Object(Map::new())
    }

    /// Whether this is nothing.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null(_))
    }

    /// Whether this is a map.
    pub fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// Whether this is a list.
    pub fn is_array(&self) -> bool {
        matches!(self, Self::Array(_))
    }

    /// Whether this is a text.
    pub fn is_string(&self) -> bool {
        matches!(self, Self::String(_))
    }

    /// Whether this is neither a map nor a list.
    pub fn is_scalar(&self) -> bool {
        !self.is_object() && !self.is_array()
    }

    /// The text, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The map, if this is one.
    pub fn as_object(&self) -> Option<&Map> {
        match self {
            Self::Object(map) => Some(map),
            _ => None,
        }
    }

    /// The map, if this is one.
    pub fn as_object_mut(&mut self) -> Option<&mut Map> {
        match self {
            Self::Object(map) => Some(map),
            _ => None,
        }
    }

    /// The list, if this is one.
    pub fn as_array(&self) -> Option<&Vec<Node>> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The list, if this is one.
    pub fn as_array_mut(&mut self) -> Option<&mut Vec<Node>> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// A scalar as it is spelled; none for maps and lists.
    pub fn scalar(&self) -> Option<&str> {
        match self {
            Self::Null(Null::Word) => Some("null"),
            Self::Null(Null::Tilde) => Some("~"),
            Self::Null(Null::Empty | Null::FlowEmpty) => Some(""),
            Self::Null(Null::Capitalized) => Some("Null"),
            Self::Null(Null::Shouted) => Some("NULL"),
            Self::Plain(plain) => Some(&plain.text),
            Self::String(text) => Some(text),
            Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// The value of a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_object().and_then(|map| map.get(key))
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.as_object_mut().and_then(|map| map.get_mut(key))
    }

    /// The value under a path of keys.
    pub fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The same, to change it.
    pub fn at_mut(&mut self, path: &[&str]) -> Option<&mut Node> {
        path.iter().try_fold(self, |node, key| node.get_mut(key))
    }

    /// The map; replaces any other value.
    pub fn make_object(&mut self) -> &mut Map {
        if !self.is_object() {
            *self = Self::object();
        }
        match self {
            Self::Object(map) => map,
            _ => unreachable!("made a map three lines above"),
        }
    }

    /// Leaves nothing and gives what was here.
    #[must_use]
    pub fn take(&mut self) -> Node {
        std::mem::take(self)
    }

    /// What the value is in JSON: numbers in the form that Go gives them, times as texts. The nesting is limited by
    /// the parser, and so is this recursion.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Null(_) => Value::Null,
            Self::Plain(plain) => plain.to_json(),
            Self::String(text) => Value::String(text.meaning().into_owned()),
            Self::Array(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Self::Object(map) => {
                Value::Object(map.iter().map(|(key, node)| (key.to_owned(), node.to_json())).collect())
            }
        }
    }

    /// Maps, lists and scalars in the value, itself included.
    pub fn count(&self) -> usize {
        match self {
            Self::Array(items) => 1 + items.iter().map(Self::count).sum::<usize>(),
            Self::Object(map) => 1 + map.values().map(Self::count).sum::<usize>(),
            Self::Null(_) | Self::Plain(_) | Self::String(_) => 1,
        }
    }

    /// Bytes of all keys and of all scalars as they are spelled.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Array(items) => items.iter().map(Self::bytes).sum(),
            Self::Object(map) => map.iter().map(|(key, node)| key.len() + node.bytes()).sum(),
            Self::Null(_) | Self::Plain(_) | Self::String(_) => self.scalar().map_or(0, str::len),
        }
    }

    /// What the value is, for messages.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Null(_) => "nothing",
            Self::Plain(Plain { kind: PlainKind::Bool, .. }) => "a boolean",
            Self::Plain(Plain { kind: PlainKind::Integer | PlainKind::Float, .. }) => "a number",
            Self::Plain(Plain { kind: PlainKind::Time, .. }) => "a time",
            Self::String(_) => "a text",
            Self::Array(_) => "a list",
            Self::Object(_) => "a map",
        }
    }
}

/// The value of a missing node.
static NOTHING: Node = Node::NULL;

impl Index<&str> for Node {
    type Output = Node;

    /// The value of a key; nothing where there is none.
    fn index(&self, key: &str) -> &Node {
        self.get(key).unwrap_or(&NOTHING)
    }
}

impl Index<usize> for Node {
    type Output = Node;

    /// An item of a list; nothing where there is none.
    fn index(&self, index: usize) -> &Node {
        self.as_array().and_then(|items| items.get(index)).unwrap_or(&NOTHING)
    }
}

impl PartialEq<Value> for Node {
    /// Whether the value is this one in JSON.
    fn eq(&self, other: &Value) -> bool {
        self.to_json() == *other
    }
}

impl From<Map> for Node {
    fn from(map: Map) -> Self {
        Self::Object(map)
    }
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        Self::from(&value)
    }
}

impl From<&Value> for Node {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(flag) => Self::from(*flag),
            Value::Number(number) => Self::Plain(match number.as_f64() {
                Some(float) if number.is_f64() => Plain::new(PlainKind::Float, print_float(float)),
                _ => Plain::new(PlainKind::Integer, compact_str::format_compact!("{number}")),
            }),
            Value::String(text) => Self::text(text),
            Value::Array(items) => Self::Array(items.iter().map(Self::from).collect()),
            Value::Object(map) => {
                Self::Object(map.iter().map(|(key, value)| (Text::from(key), Self::from(value))).collect())
            }
        }
    }
}

impl From<bool> for Node {
    fn from(flag: bool) -> Self {
        let text = Text::const_new(if flag { "true" } else { "false" });
        Self::Plain(Plain::new(PlainKind::Bool, text))
    }
}

impl From<i64> for Node {
    fn from(number: i64) -> Self {
        Self::Plain(Plain::new(PlainKind::Integer, compact_str::format_compact!("{number}")))
    }
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Node {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<Text> for Node {
    fn from(text: Text) -> Self {
        Self::text(text)
    }
}

/// A map with keys in the order of their bytes: small, and quick to search.
#[derive(Clone, PartialEq, Default)]
pub struct Map {
    entries: Vec<(Text, Node)>,
}

impl Map {
    /// Nothing.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Takes entries whose keys are in order and different.
    pub(super) fn from_sorted(entries: Vec<(Text, Node)>) -> Self {
        debug_assert!(entries.is_sorted_by(|(left, _), (right, _)| left < right), "keys in order, each once");
        Self { entries }
    }

    fn position(&self, key: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|(own, _)| own.as_str().cmp(key))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.position(key).ok().map(|index| &self.entries[index].1)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.position(key).ok().map(|index| &mut self.entries[index].1)
    }

    /// Whether a key is there.
    pub fn contains_key(&self, key: &str) -> bool {
        self.position(key).is_ok()
    }

    /// Sets a value and gives the one that was there.
    pub fn insert(&mut self, key: impl Into<Text>, node: impl Into<Node>) -> Option<Node> {
        let (key, node) = (key.into(), node.into());
        match self.position(&key) {
            Ok(index) => Some(std::mem::replace(&mut self.entries[index].1, node)),
            Err(index) => {
                self.entries.insert(index, (key, node));
                None
            }
        }
    }

    /// The value of a key, made by `node` if it is not there.
    pub fn entry_or(&mut self, key: &str, node: impl FnOnce() -> Node) -> &mut Node {
        let index = match self.position(key) {
            Ok(index) => index,
            Err(index) => {
                self.entries.insert(index, (key.into(), node()));
                index
            }
        };
        &mut self.entries[index].1
    }

    /// Removes a key and gives its value.
    pub fn remove(&mut self, key: &str) -> Option<Node> {
        self.position(key).ok().map(|index| self.entries.remove(index).1)
    }

    /// Keeps what fits.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&str, &mut Node) -> bool) {
        self.entries.retain_mut(|(key, node)| is_kept(key, node));
    }

    /// Keys and values, in the order of the keys' bytes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Node)> {
        self.entries.iter().map(|(key, node)| (key.as_str(), node))
    }

    /// The same, to change the values.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (&str, &mut Node)> {
        self.entries.iter_mut().map(|(key, node)| (key.as_str(), node))
    }

    /// The keys in the order of their bytes.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.iter().map(|(key, _)| key)
    }

    /// The values in the order of their keys.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &Node> {
        self.iter().map(|(_, node)| node)
    }

    /// The same, to change them.
    pub fn values_mut(&mut self) -> impl ExactSizeIterator<Item = &mut Node> {
        self.iter_mut().map(|(_, node)| node)
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl IntoIterator for Map {
    type Item = (Text, Node);
    type IntoIter = std::vec::IntoIter<(Text, Node)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl FromIterator<(Text, Node)> for Map {
    /// The last value of a repeated key wins.
    fn from_iter<I: IntoIterator<Item = (Text, Node)>>(entries: I) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        if !entries.is_sorted_by(|(left, _), (right, _)| left < right) {
            entries.reverse();
            entries.sort_by(|(left, _), (right, _)| left.cmp(right));
            entries.dedup_by(|(later, _), (first, _)| later == first);
        }
        Self { entries }
    }
}

impl Extend<(Text, Node)> for Map {
    fn extend<I: IntoIterator<Item = (Text, Node)>>(&mut self, entries: I) {
        // Each insertion moves all that follows, so many at once are put in order at once.
        const FEW: usize = 8;
        let entries: Vec<_> = entries.into_iter().collect();
        if entries.len() > FEW {
            *self = std::mem::take(self).into_iter().chain(entries).collect();
        } else {
            for (key, node) in entries {
                self.insert(key, node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(keys: &[(&str, i64)]) -> Map {
        keys.iter().map(|&(key, number)| (Text::from(key), Node::from(number))).collect()
    }

    #[test]
    fn keys_are_stored_in_order_and_once() {
        let mut map = map(&[("b", 1), ("a", 2), ("b", 3)]);
        assert_eq!(Node::Object(map.clone()).to_json(), json!({"a": 2, "b": 3}));
        assert_eq!(map.insert("a", "new"), Some(Node::from(2)));
        assert_eq!(map.insert("aa", "between"), None);
        assert_eq!(map.keys().collect::<Vec<_>>(), ["a", "aa", "b"]);
        assert_eq!(map.remove("aa"), Some("between".into()));
        assert_eq!(map.remove("aa"), None);
    }

    #[track_caller]
    fn check(kind: PlainKind, text: &str, expect: &Value) {
        assert_eq!(&Plain::new(kind, text).to_json(), expect);
    }

    #[test]
    fn spellings_become_json_as_go_does_it() {
        check(PlainKind::Integer, "0x1F", &json!(31));
        check(PlainKind::Integer, "017", &json!(15));
        check(PlainKind::Integer, "-12", &json!(-12));
        check(PlainKind::Integer, "18446744073709551615", &json!(u64::MAX));
        check(PlainKind::Float, "1.10", &json!(1.1));
        check(PlainKind::Float, "1e3", &json!(1000));
        check(PlainKind::Bool, "True", &json!(true));
        check(PlainKind::Bool, "off", &json!(false));
        check(PlainKind::Time, "2020-1-2", &json!("2020-01-02T00:00:00Z"));
    }

    #[test]
    fn json_survives_the_way_through_a_node() {
        let value = json!({"a": [1, -2, 1.5, 1e30, true, null, "x"], "b": {"c": {}}});
        assert_eq!(Node::from(&value).to_json(), value);
        assert_eq!(Node::from(&value).count(), 11);
    }

    #[test]
    fn whole_numbers_in_canonical_form_are_recognized() {
        let is = |text: &str| Plain::new(PlainKind::Integer, text).is_canonical_integer();
        assert!(["0", "8080", "-1", "123456789012345678"].into_iter().all(is));
        assert!(!["-0", "00", "017", "+1", "1_0", "0x1", "1234567890123456789", ""].into_iter().any(is));
    }
}
