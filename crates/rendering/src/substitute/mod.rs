//! Post-build substitution: variables put into the YAML of each object, in the dialect of Flux.
//!
//! The text is substituted, not the values: `${n}` can become a number. No message repeats the value of a variable.

mod evaluate;
mod glob;
mod template;

use std::collections::BTreeMap;

use plumb_api::meta::{DISABLED, SUBSTITUTE};
use plumb_manifests::{Object, yaml};

use crate::error::RenderError;
use crate::spec::{RenderSpec, When};
use crate::{Built, Options};
use evaluate::Variables;

/// Puts variables into all objects that do not opt out.
pub(crate) fn all(
    objects: Vec<Built>,
    spec: &RenderSpec,
    vars: &BTreeMap<String, String>,
    options: &Options,
) -> Result<Vec<Built>, RenderError> {
    let values = variables(spec, vars);
    let is_run = match spec.when {
        When::Never => false,
        When::WithVariables => !values.is_empty(),
        When::Always => true,
    };
    if !is_run {
        return Ok(objects);
    }
    let bad_name = values.keys().find(|name| !is_name(name)).cloned();
    let variables = Variables::new(values, options.unset);
    objects
        .into_iter()
        .map(|built| {
            options.build.limits.interrupt.check().map_err(RenderError::Build)?;
            let (id, file) = (built.object.id().to_string(), built.origin.clone());
            let result = match &bad_name {
                Some(name) => Err(format!(
                    "'{name}' var name is invalid, must match '^[_[:alpha:]][_[:alpha:][:digit:]]*$'"
                )),
                None => one(built, &variables),
            };
            result.map_err(|message| {
                let message = format!("envsubst error: {message}");
                RenderError::Substitute { object: id, file, message }
            })
        })
        .collect()
}

/// What the spec says wins over what was read; line breaks are not part of a value.
fn variables(spec: &RenderSpec, vars: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let all = vars.iter().chain(&spec.substitute);
    all.map(|(name, value)| (name.clone(), value.replace('\n', ""))).collect()
}

fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|c| c == '_' || c.is_ascii_alphabetic())
        && characters.all(|c| c == '_' || c.is_ascii_alphanumeric())
}

fn one(built: Built, variables: &Variables) -> Result<Built, String> {
    let Built { object, origin } = built;
    let is_out =
        object.label(SUBSTITUTE) == Some(DISABLED) || object.annotation(SUBSTITUTE) == Some(DISABLED);
    if is_out {
        return Ok(Built { object, origin });
    }
    let text = yaml::json_to_string(object.value());
    // Nothing else means anything to a template.
    if !text.contains("${") && !text.contains("$$") {
        return Ok(Built { object, origin });
    }
    let failed = |message: String| format!("variable substitution failed: {message}");
    let parts = template::parse(&text).map_err(failed)?;
    let substituted = evaluate::evaluate(&parts, variables).map_err(failed)?;
    variables.admit(&substituted).map_err(failed)?;
    // What the parser says may repeat the value of a variable, so only the line is told.
    let value = yaml::parse_settings(&substituted, &yaml::Limits::default())
        .map_err(|error| format!("the result is not YAML: line {} of the object", error.line))?;
    let object = Object::new(value).map_err(|error| format!("the result is no object: {error}"))?;
    Ok(Built { object, origin })
}
