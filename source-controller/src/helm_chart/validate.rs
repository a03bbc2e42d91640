//! The spec of a HelmChart, checked once: what is not supported is rejected by name, all fields at once, never ignored. Pure; whether
//! the chart exists is not checked here.

use plumb_api::source::{ChartSourceKind, HelmChartSpec, LocalHelmChartSourceReference};
use plumb_helm::Wanted;
use plumb_status::{UnsupportedField, UnsupportedFields};

use super::error::HelmChartError;

/// The values file that every chart has: alone it changes nothing.
const VALUES_FILE: &str = "values.yaml";

/// A spec that this version supports in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Valid {
    /// The HelmRepository.
    pub repository: String,
    /// The chart.
    pub chart: String,
    /// Which version.
    pub version: Wanted,
}

/// Checks a spec. Every field is named, so that a new one is noticed.
pub fn validate(spec: &HelmChartSpec) -> Result<Valid, HelmChartError> {
    let HelmChartSpec {
        chart,
        // Without effect where there are no values files.
        ignore_missing_values_files: _,
        interval: _,
        // For charts of other sources only, as with Flux.
        reconcile_strategy: _,
        source_ref,
        suspend: _,
        values_files,
        verify,
        version,
    } = spec;
    let LocalHelmChartSourceReference { api_version: _, kind, name } = source_ref;
    let mut unsupported = Vec::new();
    match kind {
        ChartSourceKind::HelmRepository => {}
        ChartSourceKind::GitRepository | ChartSourceKind::Bucket => {
            let field = UnsupportedField::with_value("spec.sourceRef.kind", kind.as_str());
            unsupported.push(field.remedy("push the chart to a Helm repository or a registry"));
        }
    }
    if !values_files.is_empty() && !matches!(&values_files[..], [file] if is_default(file)) {
        unsupported.push(UnsupportedField::new("spec.valuesFiles"));
    }
    if verify.is_some() {
        unsupported.push(UnsupportedField::new("spec.verify"));
    }
    UnsupportedFields::reject(unsupported)?;
    if !is_chart_name(chart) {
        return Err(HelmChartError::Name { chart: chart.clone() });
    }
    Ok(Valid { repository: name.clone(), chart: chart.clone(), version: Wanted::new(version) })
}

fn is_default(file: &str) -> bool {
    file.strip_prefix("./").unwrap_or(file) == VALUES_FILE
}

/// `([-a-z0-9]+/?\.?)+`: letters, digits and dashes, separated by a slash, a period, or both in this order.
fn is_chart_name(name: &str) -> bool {
    let mut before = '.';
    for c in name.chars() {
        let is_taken = match c {
            'a'..='z' | '0'..='9' | '-' => true,
            '/' => !matches!(before, '/' | '.'),
            '.' => before != '.',
            _ => false,
        };
        if !is_taken {
            return false;
        }
        before = c;
    }
    !name.is_empty()
}

#[cfg(test)]
mod tests {
    use plumb_status::{Classify, Consequence, Reason};
    use serde_json::{Value, json};

    use super::*;

    fn checked(field: &str, value: &Value) -> Result<Valid, HelmChartError> {
        let mut spec = json!({
            "chart": "app", "interval": "1m", "sourceRef": { "kind": "HelmRepository", "name": "charts" },
        });
        spec[field] = value.clone();
        validate(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn every_field_is_supported_or_rejected() {
        for (field, value) in [
            ("chart", json!("org/app.v2")),
            ("ignoreMissingValuesFiles", json!(true)),
            ("interval", json!("5m")),
            ("reconcileStrategy", json!("Revision")),
            ("suspend", json!(true)),
            ("valuesFiles", json!(["values.yaml"])),
            ("valuesFiles", json!(["./values.yaml"])),
            ("version", json!(">=1.0.0")),
        ] {
            assert!(checked(field, &value).is_ok(), "{field}");
        }
        for (field, value, named) in [
            (
                "sourceRef",
                json!({ "kind": "GitRepository", "name": "x" }),
                "spec.sourceRef.kind \"GitRepository\"",
            ),
            ("sourceRef", json!({ "kind": "Bucket", "name": "x" }), "spec.sourceRef.kind \"Bucket\""),
            ("valuesFiles", json!(["values.yaml", "prod.yaml"]), "spec.valuesFiles"),
            ("valuesFiles", json!(["prod.yaml"]), "spec.valuesFiles"),
            ("verify", json!({ "provider": "cosign" }), "spec.verify"),
        ] {
            let error = checked(field, &value).unwrap_err();
            assert_eq!((error.reason(), error.consequence()), (Reason::UnsupportedField, Consequence::Stall));
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn names_are_those_that_flux_takes() {
        for name in ["app", "my-app", "org/app", "a.b", "a/.b", "app/", "0"] {
            assert!(is_chart_name(name), "{name}");
        }
        for name in ["", "/app", ".app", "a//b", "a..b", "a./b", "App", "../app", "a b", "a_b"] {
            let error = checked("chart", &json!(name)).unwrap_err();
            assert_eq!(
                (error.reason(), error.consequence()),
                (Reason::InvalidChartReference, Consequence::Stall),
                "{name}"
            );
        }
    }
}
