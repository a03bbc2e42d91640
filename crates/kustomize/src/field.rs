//! A field specification: which field of which kinds, and the walk to it.

use serde_json::{Map, Value};

use crate::error::BuildError;
use crate::identity::Gvk;
use crate::resource::Resource;

/// Which field of which kinds a transformer writes to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FieldSpec {
    /// Empty parts mean any.
    pub gvk: Gvk,
    /// As written: `spec/template/metadata/labels`.
    pub path: String,
    /// Whether missing maps on the way are made.
    pub create: bool,
}

/// What is made at the end of a path that leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    Nothing,
    Scalar,
    Map,
}

/// Longer paths than this lead to no field of a manifest.
const PATH_STEPS_MAX: usize = 100;

type Visit<'v> = dyn FnMut(&mut Value) -> Result<(), BuildError> + 'v;

impl FieldSpec {
    /// Calls `visit` with every field that the path leads to, if the specification is about this kind.
    pub(crate) fn visit(
        &self,
        value: &mut Value,
        gvk: &Gvk,
        make: Make,
        visit: &mut Visit<'_>,
    ) -> Result<(), BuildError> {
        if !gvk.is_selected_by(&self.gvk) {
            return Ok(());
        }
        let steps = steps(&self.path);
        if steps.len() > PATH_STEPS_MAX {
            let message = format!("a field path has more than {PATH_STEPS_MAX} steps");
            return Err(BuildError::over_limit(message));
        }
        let walk = Walk { create: self.create && make != Make::Nothing, make };
        walk.go(value, &steps, visit)
    }

    /// The same for a resource, naming field and object in errors.
    pub(crate) fn visit_resource(
        &self,
        resource: &mut Resource,
        make: Make,
        visit: &mut Visit<'_>,
    ) -> Result<(), BuildError> {
        let gvk = resource.gvk();
        let result = self.visit(&mut resource.value, &gvk, make, visit);
        result.map_err(|error| {
            error.while_doing(format!(
                "considering field '{}' of object {}",
                self.path,
                resource.current_id()
            ))
        })
    }
}

struct Walk {
    create: bool,
    make: Make,
}

impl Walk {
    /// The depth of lists is limited by the reader, and so is this recursion.
    fn go(&self, value: &mut Value, steps: &[String], visit: &mut Visit<'_>) -> Result<(), BuildError> {
        let Some((step, rest)) = steps.split_first() else {
            return visit(value);
        };
        match value {
            Value::Null => Ok(()),
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.go(item, steps, visit)),
            Value::Object(map) => {
                let (name, is_list) = match step.strip_suffix("[]") {
                    Some(name) => (name, true),
                    None => (step.as_str(), false),
                };
                match map.get_mut(name) {
                    Some(Value::Null) | None if self.create && !is_list => {
                        let made = if rest.is_empty() && self.make == Make::Scalar {
                            Value::Null
                        } else {
                            Value::Object(Map::new())
                        };
                        map.insert(name.to_owned(), made);
                        match map.get_mut(name) {
                            Some(field) => self.go(field, rest, visit),
                            None => Ok(()),
                        }
                    }
                    Some(field) => self.go(field, rest, visit),
                    None => Ok(()),
                }
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                Err(BuildError::invalid("expected sequence or mapping node"))
            }
        }
    }
}

/// Cuts a path at its slashes; `\/` stands for a slash in a name.
pub(crate) fn steps(path: &str) -> Vec<String> {
    let mut steps = vec![String::new()];
    let mut characters = path.chars().peekable();
    while let Some(c) = characters.next() {
        match (c, steps.last_mut()) {
            ('\\', Some(last)) if characters.peek() == Some(&'/') => {
                last.push('/');
                characters.next();
            }
            ('/', _) => steps.push(String::new()),
            (_, Some(last)) => last.push(c),
            (_, None) => {}
        }
    }
    steps.retain(|step| !step.is_empty());
    steps
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(path: &str, create: bool, make: Make, before: Value, expect: &Value) {
        let spec = FieldSpec { gvk: Gvk::default(), path: path.to_owned(), create };
        let mut value = before;
        spec.visit(&mut value, &Gvk::default(), make, &mut |field| {
            *field = "new".into();
            Ok(())
        })
        .unwrap();
        assert_eq!(&value, expect);
    }

    #[test]
    fn lists_are_walked_through_whether_marked_or_not() {
        let before = json!({"a": [{"b": 1}, {"c": 1}]});
        check("a/b", false, Make::Scalar, before.clone(), &json!({"a": [{"b": "new"}, {"c": 1}]}));
        check("a[]/b", false, Make::Scalar, before, &json!({"a": [{"b": "new"}, {"c": 1}]}));
    }

    #[test]
    fn missing_maps_are_made_only_where_asked() {
        check("a/b", true, Make::Scalar, json!({}), &json!({"a": {"b": "new"}}));
        check("a/b", true, Make::Scalar, json!({"a": null}), &json!({"a": {"b": "new"}}));
        check("a/b", true, Make::Nothing, json!({}), &json!({}));
        check("a[]/b", true, Make::Scalar, json!({}), &json!({}));
        check("a/b", false, Make::Scalar, json!({}), &json!({}));
    }

    #[test]
    fn slashes_in_names_are_escaped() {
        assert_eq!(steps("a/b\\/c"), ["a", "b/c"]);
    }
}
