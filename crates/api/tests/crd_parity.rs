//! Holds our definitions against those of Flux, field by field: type, format, default, enum, pattern, required, bounds,
//! list types, rules, columns, names, scope and subresources. Flux's definitions are read in place from `../shared`
//! (or `PLUMB_SHARED`); without them the test says that it is skipped.

use std::collections::BTreeMap;
use std::path::PathBuf;

use plumb_api::crd;
use serde::Deserialize;
use serde_json::Value;

const DIFFERENCES: &str = include_str!("../crd-differences.toml");

/// An allowed difference.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    file: String,
    path: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Differences {
    difference: Vec<Difference>,
}

/// A difference that was found, as `(file, path)` with what it is.
type Found = BTreeMap<(String, String), String>;

#[test]
fn our_definitions_are_those_of_flux_but_for_the_listed_differences() {
    let Some(folder) = reference() else {
        println!("skipped: Flux's definitions are not here (set PLUMB_SHARED, or lay shared beside the workspace)");
        return;
    };
    let mut found = Found::new();
    for (file, ours) in crd::all() {
        let text = std::fs::read_to_string(folder.join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let theirs: Value = serde_saphyr::from_str(&text).unwrap();
        let compare = &mut |path: &str, what: String| {
            found.insert((file.clone(), path.to_owned()), what);
        };
        compare_values("spec", &ours["spec"], &theirs["spec"], compare);
        for key in ["name", "annotations"] {
            compare_values(&format!("metadata.{key}"), &ours["metadata"][key], &theirs["metadata"][key], compare);
        }
    }
    let allowed: Differences = toml::from_str(DIFFERENCES).unwrap();
    for Difference { file, path, reason } in allowed.difference {
        assert!(!reason.trim().is_empty(), "{file} {path}: a difference needs a reason");
        assert!(found.remove(&(file.clone(), path.clone())).is_some(), "{file} {path}: listed, but it is no difference");
    }
    let lines: Vec<String> = found.iter().map(|((file, path), what)| format!("{file} {path}: {what}")).collect();
    assert!(lines.is_empty(), "{} differences that are not listed:\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn every_kind_of_the_reference_is_there() {
    let Some(folder) = reference() else { return };
    let mut theirs: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| std::path::Path::new(name).extension().is_some_and(|ending| ending == "yaml"))
        .collect();
    theirs.sort();
    let ours: Vec<String> = crd::all().into_iter().map(|(file, _)| file).collect();
    assert_eq!(ours, theirs);
}

fn reference() -> Option<PathBuf> {
    let shared = std::env::var_os("PLUMB_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")), PathBuf::from);
    let folder = shared.join("reference/crds");
    folder.is_dir().then_some(folder)
}

/// Reports every leaf that differs. Descriptions are our own words; order counts only where it has a meaning.
fn compare_values(path: &str, ours: &Value, theirs: &Value, report: &mut dyn FnMut(&str, String)) {
    match (ours, theirs) {
        (Value::Object(our), Value::Object(their)) => {
            let in_properties = path.ends_with(".properties");
            let keys: std::collections::BTreeSet<&String> = our.keys().chain(their.keys()).collect();
            for key in keys {
                if key == "description" && !in_properties {
                    continue;
                }
                let inner = format!("{path}.{key}");
                compare_values(&inner, our.get(key).unwrap_or(&Value::Null), their.get(key).unwrap_or(&Value::Null), report);
            }
        }
        (Value::Array(our), Value::Array(their)) if our.len() == their.len() => {
            let (our, their) = if path.ends_with(".required") { (sorted(our), sorted(their)) } else { (our.clone(), their.clone()) };
            for (at, (our, their)) in our.iter().zip(&their).enumerate() {
                compare_values(&format!("{path}[{at}]"), our, their, report);
            }
        }
        _ if ours == theirs => {}
        _ if ours.as_f64().is_some() && ours.as_f64() == theirs.as_f64() => {}
        _ => report(path, format!("ours {ours}, Flux {theirs}")),
    }
}

fn sorted(values: &[Value]) -> Vec<Value> {
    let mut values = values.to_vec();
    values.sort_by_key(ToString::to_string);
    values
}
