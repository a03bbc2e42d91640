//! What the fields of a file of settings hold, and the check that they do: keys in any case, no other fields, no other
//! types, as Go's JSON decoder has it.

use serde_json::{Map, Value};

/// What a field holds.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A text.
    Text,
    /// True or false.
    Flag,
    /// A whole number.
    Integer,
    /// Texts under the user's own keys.
    Texts,
    /// Any value: it is not read.
    Any,
    List(&'static Shape),
    Record(Fields),
}

/// The fields of a record, by name.
pub(crate) type Fields = &'static [(&'static str, Shape)];

/// A list of texts.
pub(crate) const TEXTS: Shape = Shape::List(&Shape::Text);

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
pub(crate) fn fit(map: Map<String, Value>, fields: Fields) -> Result<Map<String, Value>, Misfit> {
    record(map, fields, "")
}

/// The nesting of shapes is fixed, and so is this recursion.
fn record(map: Map<String, Value>, fields: Fields, place: &str) -> Result<Map<String, Value>, Misfit> {
    let mut fitted = Map::new();
    for (key, value) in map {
        let Some((name, shape)) = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(&key)) else {
            return Err(Misfit::Unknown { field: key, inside: place.to_owned() });
        };
        if !value.is_null() {
            let place = if place.is_empty() { (*name).to_owned() } else { format!("{place}.{name}") };
            fitted.insert((*name).to_owned(), fitted_value(value, shape, &place)?);
        }
    }
    Ok(fitted)
}

fn fitted_value(value: Value, shape: &'static Shape, place: &str) -> Result<Value, Misfit> {
    match (shape, value) {
        (Shape::Any, value)
        | (Shape::Text, value @ Value::String(_))
        | (Shape::Flag, value @ Value::Bool(_)) => Ok(value),
        (Shape::Integer, Value::Number(number)) if number.is_i64() => Ok(Value::Number(number)),
        (Shape::Texts, Value::Object(map)) => {
            let text = |(key, value): (String, Value)| match value {
                Value::Null => Ok((key, Value::String(String::new()))),
                value => fitted_value(value, &Shape::Text, place).map(|value| (key, value)),
            };
            map.into_iter().map(text).collect::<Result<_, _>>().map(Value::Object)
        }
        (Shape::List(inner), Value::Array(items)) => {
            let item = |(index, value)| match value {
                Value::Null => Ok(inner.nothing()),
                value => fitted_value(value, inner, &format!("{place}[{index}]")),
            };
            items.into_iter().enumerate().map(item).collect::<Result<_, _>>().map(Value::Array)
        }
        (Shape::Record(fields), Value::Object(map)) => record(map, fields, place).map(Value::Object),
        (shape, value) => {
            Err(Misfit::Type { found: noun(&value), field: place.to_owned(), expected: shape.go_type() })
        }
    }
}

impl Shape {
    /// The value of a null where one is required.
    fn nothing(&self) -> Value {
        match self {
            Self::Text => Value::String(String::new()),
            Self::Flag => Value::Bool(false),
            Self::Integer => Value::from(0),
            Self::Texts | Self::Record(_) => Value::Object(Map::new()),
            Self::List(_) => Value::Array(Vec::new()),
            Self::Any => Value::Null,
        }
    }

    fn go_type(&self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Flag => "bool",
            Self::Integer => "int64",
            Self::Texts => "map[string]string",
            Self::List(Self::Text) => "[]string",
            Self::List(_) => "list",
            Self::Record(_) => "map",
            Self::Any => "anything",
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
        fit(map, FIELDS).map(Value::Object)
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
}
