//! What the fields of files of settings and of configurations of plugins hold, and the check that they do: keys in any case, and no
//! other types, as Go's decoders have it. Which fields there are is said beside their users.

use plumb_manifests::yaml::{self, Node};
use serde_json::{Map, Value};

/// What a field holds.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A text.
    Text,
    /// A text; a number or a truth value is written as one.
    Printed,
    /// True or false.
    Flag,
    /// A whole number.
    Integer,
    /// Texts under the user's own keys.
    Texts,
    /// The same; numbers and truth values are written as texts.
    PrintedTexts,
    /// Any value: it is not read, or its reader checks it.
    Any,
    List(&'static Shape),
    Record(Fields),
}

/// The fields of a record, by name.
pub(crate) type Fields = &'static [(&'static str, Shape)];

/// A list of texts.
pub(crate) const TEXTS: Shape = Shape::List(&Shape::Text);

/// How a decoder of Go reads the keys of a map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub keys: Keys,
    pub unknown: Unknown,
}

/// How keys are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    AnyCase,
    Exact,
}

/// What is done with a field that is not declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    Reject,
    PassOver,
}

impl Reading {
    /// Files of settings.
    pub(crate) const SETTINGS: Self = Self { keys: Keys::AnyCase, unknown: Unknown::Reject };
}

/// What does not fit. No value is repeated, for it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Misfit {
    Unknown { field: String, inside: String },
    Type { found: &'static str, field: String, expected: &'static str },
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown { field, inside } => {
                write!(f, "json: unknown field {field:?}")?;
                if inside.is_empty() { Ok(()) } else { write!(f, " in {inside}") }
            }
            Self::Type { found, field, expected } => {
                write!(f, "json: cannot unmarshal {found} into Go struct field {field} of type {expected}")?;
                let is_unquoted = *expected == "string" && matches!(*found, "number" | "bool");
                if is_unquoted { write!(f, ": it needs quotes") } else { Ok(()) }
            }
        }
    }
}

/// Fits a map to the fields of a record: keys as they are declared, and without the fields that are null, which mean
/// the same as none.
pub(crate) fn fit(
    map: Map<String, Value>,
    fields: Fields,
    reading: Reading,
) -> Result<Map<String, Value>, Misfit> {
    reading.record(map, fields, "")
}

/// The nesting of shapes is fixed, and so is this recursion.
impl Reading {
    fn record(
        self,
        map: Map<String, Value>,
        fields: Fields,
        place: &str,
    ) -> Result<Map<String, Value>, Misfit> {
        let mut fitted = Map::new();
        for (key, value) in map {
            let known = fields.iter().find(|(name, _)| match self.keys {
                Keys::AnyCase => name.eq_ignore_ascii_case(&key),
                Keys::Exact => *name == key,
            });
            match (known, self.unknown) {
                (Some((name, shape)), _) if !value.is_null() => {
                    let place = if place.is_empty() { (*name).to_owned() } else { format!("{place}.{name}") };
                    fitted.insert((*name).to_owned(), self.value(value, shape, &place)?);
                }
                (Some(_), _) | (None, Unknown::PassOver) => {}
                (None, Unknown::Reject) => {
                    return Err(Misfit::Unknown { field: key, inside: place.to_owned() });
                }
            }
        }
        Ok(fitted)
    }

    fn value(self, value: Value, shape: &'static Shape, place: &str) -> Result<Value, Misfit> {
        match (shape, value) {
            (Shape::Any, value)
            | (Shape::Text | Shape::Printed, value @ Value::String(_))
            | (Shape::Flag, value @ Value::Bool(_)) => Ok(value),
            (Shape::Printed, value @ (Value::Bool(_) | Value::Number(_))) => {
                Ok(Value::String(self.print(&value)))
            }
            (Shape::Integer, Value::Number(number)) if number.is_i64() => Ok(Value::Number(number)),
            (Shape::Texts | Shape::PrintedTexts, Value::Object(map)) => {
                let inner = if matches!(shape, Shape::Texts) { &Shape::Text } else { &Shape::Printed };
                let text = |(key, value): (String, Value)| match value {
                    Value::Null => Ok((key, inner.nothing())),
                    value => self.value(value, inner, place).map(|value| (key, value)),
                };
                map.into_iter().map(text).collect::<Result<_, _>>().map(Value::Object)
            }
            (Shape::List(inner), Value::Array(items)) => {
                let item = |(index, value)| match value {
                    Value::Null => Ok(inner.nothing()),
                    value => self.value(value, inner, &format!("{place}[{index}]")),
                };
                items.into_iter().enumerate().map(item).collect::<Result<_, _>>().map(Value::Array)
            }
            (Shape::Record(fields), Value::Object(map)) => self.record(map, fields, place).map(Value::Object),
            (shape, value) => {
                Err(Misfit::Type { found: noun(&value), field: place.to_owned(), expected: shape.go_type() })
            }
        }
    }

    /// A scalar as a text.
    fn print(self, value: &Value) -> String {
        match value {
            Value::Number(number) if number.is_f64() && self.keys == Keys::AnyCase => {
                number.as_f64().map_or_else(|| number.to_string(), short_float)
            }
            other => yaml::to_string(&Node::from(other)).trim_end().to_owned(),
        }
    }
}

impl Shape {
    /// The value of a null where one is required.
    fn nothing(&self) -> Value {
        match self {
            Self::Text | Self::Printed => Value::String(String::new()),
            Self::Flag => Value::Bool(false),
            Self::Integer => Value::from(0),
            Self::Texts | Self::PrintedTexts | Self::Record(_) => Value::Object(Map::new()),
            Self::List(_) => Value::Array(Vec::new()),
            Self::Any => Value::Null,
        }
    }

    fn go_type(&self) -> &'static str {
        match self {
            Self::Text | Self::Printed => "string",
            Self::Flag => "bool",
            Self::Integer => "int64",
            Self::Texts | Self::PrintedTexts => "map[string]string",
            Self::List(Self::Text | Self::Printed) => "[]string",
            Self::List(_) => "list",
            Self::Record(_) => "map",
            Self::Any => "anything",
        }
    }
}

/// The shortest text that identifies a float of 32 bits, with an exponent where Go writes one: the digits of a
/// number in a text field.
#[expect(clippy::cast_possible_truncation, reason = "kustomize drops the digits, too")]
fn short_float(number: f64) -> String {
    let single = number as f32;
    let scientific = format!("{single:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    match exponent.parse::<i32>() {
        Ok(-4..=5) | Err(_) => format!("{single}"),
        Ok(exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
    }
}

/// What Go's decoder calls a value.
pub(crate) fn noun(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FIELDS: Fields = &[
        ("name", Shape::Text),
        ("isOn", Shape::Flag),
        ("count", Shape::Integer),
        ("labels", Shape::Texts),
        ("items", Shape::List(&Shape::Record(&[("name", Shape::Text)]))),
        ("texts", TEXTS),
    ];

    fn fitted(value: Value) -> Result<Value, Misfit> {
        let Value::Object(map) = value else { return Ok(Value::Null) };
        fit(map, FIELDS, Reading::SETTINGS).map(Value::Object)
    }

    #[test]
    fn keys_are_spelled_as_declared_and_nulls_are_nothing() {
        let value = json!({"NAME": "a", "IsOn": true, "count": 3, "labels": {"Name": null}, "items": null,
            "texts": [null, "x"]});
        let expect =
            json!({"name": "a", "isOn": true, "count": 3, "labels": {"Name": ""}, "texts": ["", "x"]});
        assert_eq!(fitted(value), Ok(expect));
        assert_eq!(fitted(json!({"items": [null, {"Name": null}]})), Ok(json!({"items": [{}, {}]})));
    }

    #[track_caller]
    fn reject(value: Value, expect: &str) {
        assert_eq!(fitted(value).unwrap_err().to_string(), expect);
    }

    #[test]
    fn other_fields_and_other_types_are_rejected_by_name() {
        reject(json!({"odd": null}), "json: unknown field \"odd\"");
        reject(json!({"items": [{}, {"odd": null}]}), "json: unknown field \"odd\" in items[1]");
        let into = "json: cannot unmarshal";
        let check = |value, rest: &str| reject(value, &format!("{into} {rest}"));
        check(json!({"name": 1}), "number into Go struct field name of type string: it needs quotes");
        check(
            json!({"labels": {"a": 1}}),
            "number into Go struct field labels of type string: it needs quotes",
        );
        check(json!({"count": 1.5}), "number into Go struct field count of type int64");
        check(json!({"count": "1"}), "string into Go struct field count of type int64");
        check(json!({"isOn": "true"}), "string into Go struct field isOn of type bool");
        check(json!({"items": [[]]}), "array into Go struct field items[0] of type map");
        check(json!({"items": {}}), "object into Go struct field items of type list");
        check(json!({"texts": "a"}), "string into Go struct field texts of type []string");
    }

    #[test]
    fn numbers_in_the_place_of_texts_lose_what_go_loses() {
        for (number, expect) in [
            (12_345_678.5, "1.2345678e+07"),
            (1.1, "1.1"),
            (1e21, "1e+21"),
            (-0.000_001, "-1e-06"),
            (0.5, "0.5"),
            (100_000.5, "100000.5"),
        ] {
            assert_eq!(short_float(number), expect);
        }
    }

    #[test]
    fn keys_are_known_in_any_case_or_only_as_they_are_spelled() {
        const FIELDS: Fields =
            &[("newTag", Shape::Printed), ("count", Shape::Integer), ("all", Shape::PrintedTexts)];
        let config = json!({"NEWTAG": true, "count": 5, "other": {}, "all": {"a": 1.5, "b": null}});
        let read = |keys| {
            let Value::Object(map) = config.clone() else { return Value::Null };
            Value::Object(fit(map, FIELDS, Reading { keys, unknown: Unknown::PassOver }).unwrap())
        };
        let all = json!({"a": "1.5", "b": ""});
        assert_eq!(read(Keys::AnyCase), json!({"newTag": "true", "count": 5, "all": all}));
        assert_eq!(read(Keys::Exact), json!({"count": 5, "all": all}));
    }
}
