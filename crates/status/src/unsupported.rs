//! Fields of a spec that this version does not support: one error for all of them, in one text for every kind. Which fields these
//! are is decided by the validation of each kind.

use std::borrow::Cow;
use std::fmt;

use crate::{Classify, Consequence, Reason};

/// A field, or one value of a field, that is not supported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedField {
    field: String,
    value: Option<String>,
    remedy: Option<Cow<'static, str>>,
}

impl UnsupportedField {
    /// A field that is not supported at all: `"spec.verify"`.
    pub fn new(field: impl Into<String>) -> Self {
        Self { field: field.into(), value: None, remedy: None }
    }

    /// A field of which this value is not supported. Not for values that can be secret.
    pub fn with_value(field: impl Into<String>, value: impl Into<String>) -> Self {
        Self { value: Some(value.into()), ..Self::new(field) }
    }

    /// The remedy where removing the field does not help, for a required one: `"use an http or https URL"`.
    #[must_use]
    pub fn remedy(self, remedy: impl Into<Cow<'static, str>>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

impl fmt::Display for UnsupportedField {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(out, "{} {value:?}", self.field),
            None => out.write_str(&self.field),
        }
    }
}

/// All unsupported fields of an object, never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedFields(Vec<UnsupportedField>);

impl UnsupportedFields {
    /// An error if there is an unsupported field.
    pub fn reject(fields: Vec<UnsupportedField>) -> Result<(), Self> {
        if fields.is_empty() { Ok(()) } else { Err(Self(fields)) }
    }
}

impl fmt::Display for UnsupportedFields {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, field) in self.0.iter().enumerate() {
            match at {
                0 => {}
                last if last + 1 == self.0.len() => out.write_str(" and ")?,
                _ => out.write_str(", ")?,
            }
            field.fmt(out)?;
        }
        let verb = if self.0.len() == 1 { "is" } else { "are" };
        write!(out, " {verb} not supported by this version of Plumb")
    }
}

impl std::error::Error for UnsupportedFields {}

impl Classify for UnsupportedFields {
    fn reason(&self) -> Reason {
        Reason::UnsupportedField
    }

    fn consequence(&self) -> Consequence {
        Consequence::Stall
    }

    fn hint(&self) -> Option<String> {
        let removable: Vec<_> = self.0.iter().filter(|field| field.remedy.is_none()).collect();
        let mut remedies = Vec::new();
        match removable.as_slice() {
            [] => {}
            [_] if self.0.len() == 1 => remedies.push("remove the field".to_owned()),
            _ if removable.len() == self.0.len() => remedies.push("remove the fields".to_owned()),
            some => {
                let names: Vec<_> = some.iter().map(|field| field.field.as_str()).collect();
                remedies.push(format!("remove {}", names.join(", ")));
            }
        }
        for field in &self.0 {
            if let Some(remedy) = &field.remedy {
                remedies.push(format!("{}: {remedy}", field.field));
            }
        }
        Some(remedies.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Detail;

    #[track_caller]
    fn check(fields: &[UnsupportedField], expect: &str) {
        let error = UnsupportedFields::reject(fields.to_vec()).unwrap_err();
        assert_eq!(Detail::of(&error).message, expect);
    }

    #[test]
    fn all_unsupported_fields_are_named_at_once_with_a_remedy_for_each() {
        let [verify, include] = ["spec.verify", "spec.include"].map(UnsupportedField::new);
        let provider = UnsupportedField::with_value("spec.provider", "azure");
        let url = UnsupportedField::with_value("spec.url", "ssh").remedy("use an http or https URL");
        let by = "not supported by this version of Plumb";
        check(std::slice::from_ref(&verify), &format!("spec.verify is {by} (remove the field)"));
        check(
            std::slice::from_ref(&provider),
            &format!("spec.provider \"azure\" is {by} (remove the field)"),
        );
        check(
            std::slice::from_ref(&url),
            &format!("spec.url \"ssh\" is {by} (spec.url: use an http or https URL)"),
        );
        check(
            &[include.clone(), verify.clone(), provider.clone()],
            &format!("spec.include, spec.verify and spec.provider \"azure\" are {by} (remove the fields)"),
        );
        check(
            &[verify, url, include],
            &format!(
                "spec.verify, spec.url \"ssh\" and spec.include are {by} \
                 (remove spec.verify, spec.include; spec.url: use an http or https URL)"
            ),
        );
        assert_eq!(UnsupportedFields::reject(Vec::new()), Ok(()));
    }
}
