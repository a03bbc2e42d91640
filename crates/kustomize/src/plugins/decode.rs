//! From the configuration of a plugin to its fields: keys that are not known are passed over, and numbers and truth values are taken
//! where kustomize takes them for a text.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::BuildError;
use crate::shape::{Fields, Keys, Reading, Shape, Unknown, fit, noun};

/// Which fields are written to. Group, version and kind take no numbers in kustomize.
pub(super) const FIELD_SPECS: Shape = Shape::List(&Shape::Record(&[
    ("group", Shape::Text),
    ("version", Shape::Text),
    ("kind", Shape::Text),
    ("path", Shape::Printed),
    ("create", Shape::Flag),
]));

/// The target of a patch or a value.
pub(super) const SELECTOR: Shape = Shape::Record(&[
    ("group", Shape::Text),
    ("version", Shape::Text),
    ("kind", Shape::Text),
    ("name", Shape::Text),
    ("namespace", Shape::Text),
    ("annotationSelector", Shape::Printed),
    ("labelSelector", Shape::Printed),
]);

/// Reads the fields of a configuration.
pub(super) fn decode<T: DeserializeOwned>(
    config: &Value,
    fields: Fields,
    keys: Keys,
) -> Result<T, BuildError> {
    let reject = |problem: String| BuildError::invalid(format!("fails configuration: {problem}"));
    let Value::Object(map) = config else {
        return Err(reject(format!("json: cannot unmarshal {} into a map", noun(config))));
    };
    let reading = Reading { keys, unknown: Unknown::PassOver };
    let fitted = fit(map.clone(), fields, reading).map_err(|misfit| reject(misfit.to_string()))?;
    serde_json::from_value(Value::Object(fitted)).map_err(|error| reject(error.to_string()))
}
