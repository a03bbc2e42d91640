//! From a configuration to its fields, with the liberties of Go's YAML library: keys in any case, unknown keys passed
//! over, and numbers or truth values where a text is meant.

use plumb_manifests::yaml::{self, Node};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::BuildError;

/// What a field holds.
pub(super) enum Shape {
    /// Accepted unchanged; another type is rejected.
    Strict,
    /// A text; other scalars are written as one.
    Text,
    /// Texts under the user's own keys.
    Texts,
    /// The same, and nothing else in their place.
    StrictTexts,
    List(&'static Shape),
    Record(Fields),
}

pub(super) type Fields = &'static [(&'static str, Shape)];

/// How keys are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    AnyCase,
    Exact,
}

/// Which fields are written to. Group, version and kind take no numbers in kustomize.
pub(super) const FIELD_SPECS: Shape = Shape::List(&Shape::Record(&[
    ("group", Shape::Strict),
    ("version", Shape::Strict),
    ("kind", Shape::Strict),
    ("path", Shape::Text),
    ("create", Shape::Strict),
]));

/// The target of a patch or a value.
pub(super) const SELECTOR: Shape = Shape::Record(&[
    ("group", Shape::Strict),
    ("version", Shape::Strict),
    ("kind", Shape::Strict),
    ("name", Shape::Strict),
    ("namespace", Shape::Strict),
    ("annotationSelector", Shape::Text),
    ("labelSelector", Shape::Text),
]);

/// Reads the fields of a configuration.
pub(super) fn decode<T: DeserializeOwned>(
    config: &Value,
    fields: Fields,
    keys: Keys,
) -> Result<T, BuildError> {
    let fitted = fit(config.clone(), &Shape::Record(fields), keys);
    serde_json::from_value(fitted)
        .map_err(|error| BuildError::invalid(format!("fails configuration: {error}")))
}

/// The nesting of shapes is fixed, and so is this recursion.
fn fit(value: Value, shape: &Shape, keys: Keys) -> Value {
    match (shape, value) {
        (Shape::Text, value @ (Value::Bool(_) | Value::Number(_))) => Value::String(text(&value, keys)),
        (Shape::Texts | Shape::StrictTexts, Value::Object(map)) => {
            let inner = if matches!(shape, Shape::Texts) { &Shape::Text } else { &Shape::Strict };
            let texts = map.into_iter().map(|(key, value)| match value {
                Value::Null => (key, Value::String(String::new())),
                other => (key, fit(other, inner, keys)),
            });
            Value::Object(texts.collect())
        }
        (Shape::List(inner), Value::Array(items)) => {
            Value::Array(items.into_iter().map(|item| fit(item, inner, keys)).collect())
        }
        (Shape::Record(fields), Value::Object(map)) => {
            let mut fitted = Map::new();
            for (key, value) in map.into_iter().filter(|(_, value)| !value.is_null()) {
                let known = fields.iter().find(|(name, _)| match keys {
                    Keys::AnyCase => name.eq_ignore_ascii_case(&key),
                    Keys::Exact => *name == key,
                });
                if let Some((name, inner)) = known {
                    fitted.insert((*name).to_owned(), fit(value, inner, keys));
                }
            }
            Value::Object(fitted)
        }
        (_, value) => value,
    }
}

/// A scalar as a text.
fn text(value: &Value, keys: Keys) -> String {
    match value {
        Value::Number(number) if number.is_f64() && keys == Keys::AnyCase => {
            number.as_f64().map_or_else(|| number.to_string(), short_float)
        }
        other => yaml::to_string(&Node::from(other)).trim_end().to_owned(),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
        const FIELDS: Fields = &[("newTag", Shape::Text), ("count", Shape::Strict)];
        let config = json!({"NEWTAG": true, "count": 5, "other": {}});
        let read = |keys| decode::<Value>(&config, FIELDS, keys).unwrap();
        assert_eq!(read(Keys::AnyCase), json!({"newTag": "true", "count": 5}));
        assert_eq!(read(Keys::Exact), json!({"count": 5}));
    }
}
