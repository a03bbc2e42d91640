//! Post-build substitution: variables put into the YAML of each object, in the dialect of Flux.
//!
//! The text is substituted, not the values: `${n}` can become a number. No message repeats the value of a variable.

mod evaluate;
mod glob;
mod locate;
mod template;

use std::collections::{BTreeMap, BTreeSet};

use plumb_api::meta::{DISABLED, SUBSTITUTE};
use plumb_manifests::{Object, yaml};

use crate::error::{Refused, RenderError};
use crate::spec::{RenderSpec, When};
use crate::{Built, Options};
use evaluate::Variables;
pub use locate::Retyped;

/// Objects that one error names.
const OBJECTS_MAX: usize = 20;
/// Retyped texts of all objects, beyond which no further object is checked.
const RETYPED_MAX: usize = 1000;
/// Recorded objects for each variable, at most.
const USERS_MAX: usize = 20;

/// What became of the variables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Substituted {
    /// The variables that were found in the manifests, by name.
    pub variables: BTreeMap<String, Usage>,
    /// Texts that are none any more.
    pub retyped: Vec<Retyped>,
}

/// Where a variable is used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// Whether it has a value.
    pub is_set: bool,
    /// The objects that use it; the first ones.
    pub objects: Vec<String>,
    /// Those of them in which it has neither a value nor a default, and was replaced by nothing.
    pub missed_in: Vec<String>,
}

/// Puts variables into all objects that do not opt out. All objects that fail are named.
pub(crate) fn all(
    objects: Vec<Built>,
    spec: &RenderSpec,
    vars: &BTreeMap<String, String>,
    options: &Options,
) -> Result<(Vec<Built>, Substituted), RenderError> {
    let values = variables(spec, vars);
    let is_run = match spec.when {
        When::Never => false,
        When::WithVariables => !values.is_empty(),
        When::Always => true,
    };
    if !is_run {
        return Ok((objects, Substituted::default()));
    }
    if let Some(name) = values.keys().find(|name| !is_name(name)) {
        return Err(RenderError::VariableName { name: name.clone() });
    }
    let variables = Variables::new(values, options.unset);
    let (mut done, mut rejected, mut more) = (Vec::with_capacity(objects.len()), Vec::new(), 0);
    let mut substituted = Substituted::default();
    for built in objects {
        options.build.limits.interrupt.check().map_err(RenderError::Build)?;
        match one(built, &variables, &mut substituted) {
            Ok(built) => done.push(built),
            Err(error) if rejected.len() < OBJECTS_MAX => rejected.push(error),
            Err(_) => more += 1,
        }
    }
    if rejected.is_empty() {
        Ok((done, substituted))
    } else {
        Err(RenderError::Substitute { rejected, more })
    }
}

/// Inline values win over referenced ones; line breaks are not part of a value.
fn variables(spec: &RenderSpec, vars: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let all = vars.iter().chain(&spec.substitute);
    all.map(|(name, value)| (name.clone(), value.replace('\n', ""))).collect()
}

fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|c| c == '_' || c.is_ascii_alphabetic())
        && characters.all(|c| c == '_' || c.is_ascii_alphanumeric())
}

fn one(built: Built, variables: &Variables, substituted: &mut Substituted) -> Result<Built, Refused> {
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
    let reject = |message: String| Refused {
        object: object.id().to_string(),
        file: origin.clone(),
        message: format!("envsubst error: {message}"),
    };
    let failed = |message: String| {
        let mut fields = locate::failures(object.value(), variables).into_iter();
        let told = match fields.next() {
            // It spans several texts, or is one of all objects together.
            None => message,
            Some(first) => {
                let others = fields.map(|other| format!("; {}: {}", other.field, other.message));
                format!("{} in {}{}", first.message, first.field, others.collect::<String>())
            }
        };
        reject(format!("variable substitution failed: {told}"))
    };
    let parts = template::parse(&text).map_err(failed)?;
    let done = evaluate::evaluate(&parts, variables).map_err(failed)?;
    variables.admit(&done).map_err(failed)?;
    note(&parts, variables, &object, substituted);
    // The parser's message may quote the value of a variable, so only the line and its template are reported.
    let value = yaml::parse_settings(&done, &yaml::Limits::default())
        .map_err(|error| reject(not_yaml(&object, variables, error.line)))?;
    if substituted.retyped.len() < RETYPED_MAX {
        substituted.retyped.extend(locate::retyped(&object.id().to_string(), object.value(), &value));
    }
    let object = Object::new(value).map_err(|error| reject(format!("the result is no object: {error}")))?;
    Ok(Built { object, origin })
}

fn note(parts: &[template::Part], variables: &Variables, object: &Object, substituted: &mut Substituted) {
    let (mut names, missed) = (BTreeSet::new(), variables.take_missed());
    template::names(parts, &mut names);
    for name in names {
        let is_set = variables.knows(&name);
        let is_missed = missed.contains(&name);
        let usage = substituted.variables.entry(name).or_default();
        usage.is_set = is_set;
        if usage.objects.len() < USERS_MAX {
            usage.objects.push(object.id().to_string());
        }
        if is_missed && usage.missed_in.len() < USERS_MAX {
            usage.missed_in.push(object.id().to_string());
        }
    }
}

/// A result that is not YAML: the texts that are none by themselves, else the line where the parser stopped.
fn not_yaml(object: &Object, variables: &Variables, line: usize) -> String {
    let fields = locate::unreadable(object.value(), variables);
    if fields.is_empty() {
        return format!("the result is not YAML: line {line} of the object");
    }
    let told = fields.iter().map(|(field, names)| {
        let names: Vec<String> = names.iter().map(|name| format!("${{{name}}}")).collect();
        format!("{field} with the value of {}", names.join(" and "))
    });
    format!(
        "the result is not YAML: {}: put quotes into the value, as in '\"value\"'",
        told.collect::<Vec<_>>().join("; ")
    )
}
