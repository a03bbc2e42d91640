//! Texts, lists and maps as Go reads them from YAML: a number or a boolean where a text is expected is its text, and null is as good
//! as nothing.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

/// Items of one list, and keys of one map: more are a mistake, and each takes more memory than its text.
const ITEMS_MAX: usize = 10_000;

/// A text.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Text(pub String);

impl Text {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// White space becomes a space, and what cannot be printed is left out.
    pub fn sanitize(&mut self) {
        let is_clean = |c: char| c == ' ' || !(c.is_whitespace() || is_unprintable(c));
        if self.0.chars().all(is_clean) {
            return;
        }
        let kept = self.0.chars().filter(|c| c.is_whitespace() || !is_unprintable(*c));
        self.0 = kept.map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    }
}

/// Control characters, and those that only change how their neighbours are shown.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{10ffff}')
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Text, E> {
        Ok(Text(text))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Text, E> {
        Ok(Text(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Text, E> {
        Ok(Text(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Text, E> {
        Ok(Text(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Text, E> {
        Ok(Text(float(value)))
    }

    fn visit_unit<E: Error>(self) -> Result<Text, E> {
        Ok(Text::default())
    }

    fn visit_none<E: Error>(self) -> Result<Text, E> {
        Ok(Text::default())
    }
}

/// A float with the fewest digits, and with an exponent where Go writes one.
fn float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..21).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// A boolean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Flag(pub bool);

/// Whether a value is left out.
pub fn is_unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<bool>::deserialize(deserializer).map(|value| Self(value.unwrap_or_default()))
    }
}

/// A list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct List<T>(pub Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> List<T> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<Items<T>>::deserialize(deserializer)
            .map(|items| Self(items.map(|it| it.0).unwrap_or_default()))
    }
}

struct Items<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Items<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ItemsVisitor(PhantomData))
    }
}

struct ItemsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ItemsVisitor<T> {
    type Value = Items<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Items<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            if items.len() == ITEMS_MAX {
                return Err(Error::custom(format_args!("a list has more than {ITEMS_MAX} items")));
            }
            items.push(item);
        }
        Ok(Items(items))
    }
}

/// A map of texts, in the order of its keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Table(pub BTreeMap<Text, Text>);

impl Table {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<Pairs>::deserialize(deserializer).map(|pairs| Self(pairs.map(|it| it.0).unwrap_or_default()))
    }
}

struct Pairs(BTreeMap<Text, Text>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a map of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Pairs, A::Error> {
        let mut pairs = BTreeMap::new();
        while let Some((key, value)) = access.next_entry()? {
            if pairs.len() == ITEMS_MAX {
                return Err(Error::custom(format_args!("a map has more than {ITEMS_MAX} keys")));
            }
            pairs.insert(key, value);
        }
        Ok(Pairs(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_becomes_one_as_in_go() {
        for (yaml, expect) in [
            ("1.10", "1.1"),
            ("1", "1"),
            ("-7", "-7"),
            ("true", "true"),
            ("~", ""),
            ("'1.10'", "1.10"),
            ("1.2.3", "1.2.3"),
            ("1e30", "1e+30"),
            ("2016-10-06T16:23:20Z", "2016-10-06T16:23:20Z"),
        ] {
            assert_eq!(serde_saphyr::from_str::<Text>(yaml).unwrap().0, expect, "{yaml}");
        }
    }

    #[test]
    fn texts_are_made_fit_to_be_shown() {
        for (raw, expect) in
            [("a\tb\u{a0}c", "a b c"), ("a\u{7}\u{202e}b", "ab"), ("tést – 日本", "tést – 日本")]
        {
            let mut text = Text(raw.to_owned());
            text.sanitize();
            assert_eq!(text.0, expect);
        }
    }

    #[test]
    fn null_is_as_good_as_nothing_and_lists_have_a_limit() {
        let list = |text: &str| serde_json::from_str::<List<Text>>(text);
        assert_eq!(list("null").unwrap(), List::default());
        assert_eq!(serde_json::from_str::<Table>("null").unwrap(), Table::default());
        assert_eq!(serde_json::from_str::<Flag>("null").unwrap(), Flag(false));
        let long = format!("[{}1]", "1,".repeat(ITEMS_MAX));
        assert!(list(&long).unwrap_err().to_string().contains("more than 10000 items"));
        let keys: Vec<String> = (0..=ITEMS_MAX).map(|key| format!("\"{key}\":1")).collect();
        let error = serde_json::from_str::<Table>(&format!("{{{}}}", keys.join(","))).unwrap_err();
        assert!(error.to_string().contains("more than 10000 keys"));
    }
}
