//! Holds our definitions against those of Flux, field by field: type, format, default, enum, pattern, nullable, required, bounds,
//! list types, rules, columns, names, scope, subresources. Flux's definitions are read in place from `../shared`
//! (or `PLUMB_SHARED`); without them the tests say that they are skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;

use plumb_api::crd;
use serde::Deserialize;
use serde_json::{Value, json};

const DIFFERENCES: &str = include_str!("../crd-differences.toml");

/// Definitions that the reference lacks: source-watcher has a distribution of its own.
const NOT_IN_THE_REFERENCE: [&str; 1] = ["source.extensions.fluxcd.io_artifactgenerators.yaml"];

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

#[test]
fn our_definitions_are_those_of_flux_but_for_the_listed_differences() {
    let Some(reference) = reference() else { return };
    let mut found = BTreeMap::new();
    for (file, ours) in crd::all() {
        let Some(theirs) = reference.get(&file) else { continue };
        for (path, what) in differences(&ours, theirs) {
            found.insert((file.clone(), path), what);
        }
    }
    let allowed: Differences = toml::from_str(DIFFERENCES).unwrap();
    for Difference { file, path, reason } in allowed.difference {
        assert!(!reason.trim().is_empty(), "{file} {path}: a difference needs a reason");
        let is_one = found.remove(&(file.clone(), path.clone())).is_some();
        assert!(is_one, "{file} {path}: listed, but it is no difference");
    }
    let lines: Vec<String> =
        found.iter().map(|((file, path), what)| format!("{file} {path}: {what}")).collect();
    assert!(lines.is_empty(), "{} differences that are not listed:\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn every_kind_of_the_reference_is_there() {
    let Some(reference) = reference() else { return };
    let all = crd::all().into_iter().map(|(file, _)| file);
    let ours: Vec<String> = all.filter(|file| !NOT_IN_THE_REFERENCE.contains(&file.as_str())).collect();
    assert_eq!(ours, reference.into_keys().collect::<Vec<_>>());
}

#[test]
fn our_descriptions_are_our_own_words() {
    let Some(reference) = reference() else { return };
    let mut theirs = BTreeSet::new();
    for definition in reference.values() {
        descriptions(definition, "", &mut |_, text| {
            theirs.insert(text.to_lowercase());
        });
    }
    assert!(theirs.len() > 100, "{} descriptions are too few to be all", theirs.len());
    let mut taken = Vec::new();
    for (file, ours) in crd::all() {
        descriptions(&ours, "", &mut |path, text| {
            if theirs.contains(&text.to_lowercase()) {
                taken.push(format!("{file} {path}: {text:?}"));
            }
        });
    }
    assert!(taken.is_empty(), "words of Flux:\n{}", taken.join("\n"));
}

#[test]
fn every_field_is_described() {
    for (file, ours) in crd::all() {
        let root = &ours["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        for part in ["spec", "status"] {
            undescribed(&root[part], part, &mut |path| panic!("{file} {path} has no description"));
        }
    }
}

/// The comparison itself: each kind of change in a definition must show, once.
#[test]
fn a_changed_definition_is_told() {
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties";
    let git = "source.toolkit.fluxcd.io_gitrepositories.yaml";
    let receiver = "notification.toolkit.fluxcd.io_receivers.yaml";
    for (file, pointer, value) in [
        (git, "spec/properties/url/pattern", json!("^x$")),
        (git, "spec/properties/url/type", json!("integer")),
        (git, "spec/properties/timeout/default", json!("61s")),
        (git, "spec/properties/provider/enum/1", json!("x")),
        (git, "spec/required", json!(["url"])),
        (git, "spec/x-kubernetes-validations/0/rule", json!("true")),
        (git, "status/default", json!(null)),
        (git, "status/properties/conditions/items/properties/reason/minLength", json!(2)),
        (receiver, "spec/properties/oidcProviders/x-kubernetes-list-type", json!("set")),
        (receiver, "spec/properties/oidcProviders/x-kubernetes-list-map-keys/0", json!("x")),
        (
            "kustomize.toolkit.fluxcd.io_kustomizations.yaml",
            "spec/properties/namePrefix/maxLength",
            json!(201),
        ),
    ] {
        changed(file, &format!("{schema}/{pointer}"), value);
    }
    for (pointer, value) in [
        ("/spec/names/shortNames/0", json!("x")),
        ("/spec/names/categories", json!(["all"])),
        ("/spec/scope", json!("Cluster")),
        ("/spec/versions/0/subresources", json!({})),
        ("/spec/versions/0/additionalPrinterColumns/0/jsonPath", json!(".x")),
        ("/metadata/name", json!("x")),
    ] {
        changed(git, pointer, value);
    }
}

/// Fails unless exactly this change of one of our definitions is told.
#[track_caller]
fn changed(file: &str, pointer: &str, value: Value) {
    let (_, ours) = crd::all().into_iter().find(|(name, _)| name == file).expect("the kind is defined");
    let mut other = ours.clone();
    *other.pointer_mut(pointer).expect("the definition has this field") = value;
    assert_eq!(differences(&ours, &other).len(), 1, "{file} {pointer}");
}

#[test]
fn an_added_field_is_told_and_other_words_are_not() {
    let (_, ours) = crd::all().remove(0);
    let mut other = ours.clone();
    let spec = &mut other["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    spec["description"] = json!("other words");
    assert_eq!(differences(&ours, &other), []);
    let spec = &mut other["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    spec["nullable"] = json!(true);
    assert_eq!(differences(&ours, &other).len(), 1);
}

/// Flux's definitions by file name, where they are at hand.
fn reference() -> Option<BTreeMap<String, Value>> {
    let shared = std::env::var_os("PLUMB_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")),
        PathBuf::from,
    );
    let folder = shared.join("reference/crds");
    if !folder.is_dir() {
        skip("Flux's definitions are not here: set PLUMB_SHARED, or lay shared beside the workspace");
        return None;
    }
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).expect("the folder is there") {
        let name = entry.expect("the folder can be listed").file_name().to_string_lossy().into_owned();
        if name.contains("toolkit.fluxcd.io_") {
            let text = std::fs::read_to_string(folder.join(&name)).expect("the definition can be read");
            all.insert(name, serde_saphyr::from_str(&text).expect("the definition is YAML"));
        }
    }
    Some(all)
}

/// Says that the running test proves nothing; `cargo xtask test` counts the lines of the file that it names.
fn skip(why: &str) {
    let line = format!("skipped: {}: {why}\n", std::thread::current().name().unwrap_or("a test"));
    eprint!("{line}");
    if let Some(file) = std::env::var_os("PLUMB_SKIPS") {
        let opened = std::fs::File::options().append(true).create(true).open(file);
        let written = opened.and_then(|mut file| file.write_all(line.as_bytes()));
        written.expect("the file that counts skipped tests can be written");
    }
}

/// Every leaf that differs, with what it is. Labels are the installer's.
fn differences(ours: &Value, theirs: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let report = &mut |path: &str, what: String| found.push((path.to_owned(), what));
    compare("spec", &ours["spec"], &theirs["spec"], report);
    for key in ["name", "annotations"] {
        compare(&format!("metadata.{key}"), &ours["metadata"][key], &theirs["metadata"][key], report);
    }
    found
}

/// Descriptions are our own words; order counts only where it has a meaning.
fn compare(path: &str, ours: &Value, theirs: &Value, report: &mut dyn FnMut(&str, String)) {
    match (ours, theirs) {
        (Value::Object(our), Value::Object(their)) => {
            let is_map_of_fields = path.ends_with(".properties");
            let keys: BTreeSet<&String> = our.keys().chain(their.keys()).collect();
            for key in keys.into_iter().filter(|key| *key != "description" || is_map_of_fields) {
                let (our, their) = (our.get(key), their.get(key));
                if our.is_none() != their.is_none() {
                    report(&format!("{path}.{key}"), format!("ours {our:?}, Flux {their:?}"));
                    continue;
                }
                compare(&format!("{path}.{key}"), &ours[key], &theirs[key], report);
            }
        }
        (Value::Array(our), Value::Array(their)) if our.len() == their.len() => {
            let order = |values: &[Value]| {
                let mut values = values.to_vec();
                if path.ends_with(".required") {
                    values.sort_by_key(ToString::to_string);
                }
                values
            };
            for (at, (our, their)) in order(our).iter().zip(&order(their)).enumerate() {
                compare(&format!("{path}[{at}]"), our, their, report);
            }
        }
        _ if ours == theirs => {}
        _ if ours.as_f64().is_some() && ours.as_f64() == theirs.as_f64() => {}
        _ => report(path, format!("ours {ours}, Flux {theirs}")),
    }
}

/// Visits every description, its white space made even.
fn descriptions(value: &Value, path: &str, visit: &mut dyn FnMut(&str, &str)) {
    for (key, inner) in value.as_object().into_iter().flatten() {
        match inner {
            Value::String(text) if key == "description" => {
                visit(path, &text.split_whitespace().collect::<Vec<_>>().join(" "));
            }
            _ => descriptions(inner, &format!("{path}.{key}"), visit),
        }
    }
    for (at, inner) in value.as_array().into_iter().flatten().enumerate() {
        descriptions(inner, &format!("{path}[{at}]"), visit);
    }
}

/// Visits every field of a schema that does not say what it is.
fn undescribed(schema: &Value, path: &str, visit: &mut dyn FnMut(&str)) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if field["description"].as_str().is_none_or(str::is_empty) {
            visit(&path);
        }
        undescribed(field, &path, visit);
        undescribed(&field["items"], &path, visit);
    }
}
