//! The spec of a HelmChart, checked once: what is not supported is rejected by name, all fields at once, never ignored. Pure; whether
//! the chart exists is not checked here.

use plumb_api::source::{
    ChartReconcileStrategy, ChartSourceKind, HelmChartSpec, LocalHelmChartSourceReference,
};
use plumb_filetree::RelPath;
use plumb_helm::Wanted;
use plumb_status::{UnsupportedField, UnsupportedFields};

use super::error::HelmChartError;
use crate::oci_signature::{Method, chart_method};

/// The values file that every chart has: alone it changes nothing.
const VALUES_FILE: &str = "values.yaml";

/// A spec that this version supports in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Valid {
    /// Where the chart is from.
    pub source: ChartSource,
    /// The values files that are merged into the chart; empty where it keeps its own.
    pub values_files: Vec<String>,
    /// Whether those that do not exist are left out.
    pub ignore_missing: bool,
    /// How its signature is verified.
    pub verify: Option<Method>,
}

/// Where a chart is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChartSource {
    /// A HelmRepository.
    Repository {
        /// Its name.
        repository: String,
        /// The chart.
        chart: String,
        /// Which version.
        version: Wanted,
    },
    /// The artifact of another source.
    Files {
        /// The kind of the source.
        kind: ChartSourceKind,
        /// Its name.
        name: String,
        /// The directory or the archive of the chart.
        path: RelPath,
        /// What leads to a new artifact.
        strategy: ChartReconcileStrategy,
    },
}

/// Checks a spec. Every field is named, so that a new one is noticed.
pub fn validate(spec: &HelmChartSpec) -> Result<Valid, HelmChartError> {
    let HelmChartSpec {
        chart,
        ignore_missing_values_files,
        interval: _,
        reconcile_strategy,
        source_ref,
        suspend: _,
        values_files,
        verify,
        version,
    } = spec;
    let LocalHelmChartSourceReference { api_version: _, kind, name } = source_ref;
    let mut unsupported = Vec::new();
    if verify.is_some() && *kind != ChartSourceKind::HelmRepository {
        let field = UnsupportedField::new("spec.verify");
        unsupported.push(field.remedy("only charts of a HelmRepository have signatures"));
    }
    UnsupportedFields::reject(unsupported)?;
    let verify = verify.as_ref().map(chart_method).transpose().map_err(HelmChartError::Verify)?;
    let source = match kind {
        ChartSourceKind::HelmRepository => {
            if !is_chart_name(chart) {
                return Err(HelmChartError::Name { chart: chart.clone() });
            }
            let (repository, chart, version) = (name.clone(), chart.clone(), Wanted::new(version));
            ChartSource::Repository { repository, chart, version }
        }
        ChartSourceKind::GitRepository | ChartSourceKind::Bucket => {
            let (kind, name, path) = (*kind, name.clone(), path(chart)?);
            ChartSource::Files { kind, name, path, strategy: *reconcile_strategy }
        }
    };
    Ok(Valid {
        source,
        values_files: merged_values_files(values_files).to_vec(),
        ignore_missing: *ignore_missing_values_files,
        verify,
    })
}

/// The values files that change a chart: its own alone does not.
pub fn merged_values_files(files: &[String]) -> &[String] {
    if matches!(files, [file] if is_default(file)) { &[] } else { files }
}

/// The path of a chart in an artifact.
fn path(chart: &str) -> Result<RelPath, HelmChartError> {
    if chart.is_empty() {
        return Err(HelmChartError::Path("no path set for local chart reference"));
    }
    if chart.starts_with('/') {
        return Err(HelmChartError::Path("local chart reference path is expected to be relative"));
    }
    inside(&RelPath::root(), chart).ok_or(HelmChartError::Path("the path is too long, or has a NUL byte"))
}

/// Where a reference in a directory leads, as Flux joins paths: the root of the artifact is never left. None where it is no path.
pub fn inside(directory: &RelPath, reference: &str) -> Option<RelPath> {
    let mut parts: Vec<&str> = directory.components().collect();
    for part in reference.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    RelPath::parse(&parts.join("/")).ok()
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
            ("sourceRef", json!({ "kind": "GitRepository", "name": "x" })),
            ("sourceRef", json!({ "kind": "Bucket", "name": "x" })),
            ("valuesFiles", json!(["values.yaml", "prod.yaml"])),
        ] {
            assert!(checked(field, &value).is_ok(), "{field}");
        }
        let verify = json!({ "provider": "cosign", "secretRef": { "name": "keys" } });
        assert!(checked("verify", &verify).unwrap().verify.is_some());
        let error = checked("verify", &json!({ "provider": "notation" })).unwrap_err();
        assert_eq!((error.reason(), error.consequence()), (Reason::VerificationError, Consequence::Stall));
        let spec = json!({
            "chart": "app", "interval": "1m", "sourceRef": { "kind": "GitRepository", "name": "x" }, "verify": verify,
        });
        let error = validate(&serde_json::from_value(spec).unwrap()).unwrap_err();
        assert_eq!((error.reason(), error.consequence()), (Reason::UnsupportedField, Consequence::Stall));
        assert!(error.to_string().contains("spec.verify"), "{error}");
    }

    #[test]
    fn its_own_values_file_alone_changes_nothing() {
        for (files, expect) in [
            (&["values.yaml"][..], 0),
            (&["./values.yaml"], 0),
            (&["values.yaml", "values.yaml"], 2),
            (&["prod.yaml"], 1),
        ] {
            assert_eq!(
                checked("valuesFiles", &json!(files)).unwrap().values_files.len(),
                expect,
                "{files:?}"
            );
        }
    }

    #[test]
    fn a_path_never_leaves_the_artifact() {
        let directory = RelPath::parse("charts/app").unwrap();
        for (reference, expect) in [
            ("../db", "charts/db"),
            ("../../../../etc", "etc"),
            ("./a//b/", "charts/app/a/b"),
            ("/a", "charts/app/a"),
            ("", "charts/app"),
        ] {
            assert_eq!(inside(&directory, reference).unwrap().as_str(), expect);
        }
        for chart in ["", "/charts/app"] {
            let spec = json!({
                "chart": chart, "interval": "1m", "sourceRef": { "kind": "GitRepository", "name": "x" },
            });
            let error = validate(&serde_json::from_value(spec).unwrap()).unwrap_err();
            assert_eq!(
                (error.reason(), error.consequence()),
                (Reason::InvalidChartReference, Consequence::Stall)
            );
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
