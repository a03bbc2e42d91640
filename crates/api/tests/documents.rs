//! Holds docs/spec and config/samples against the types: each page has a row for each field of its kind's spec and
//! names its conditions; each sample is read by its type without a word lost.

use std::path::PathBuf;

use plumb_api::{crd, kustomize, notification, source};
use plumb_status::ConditionType;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

#[track_caller]
fn read(path: &str) -> String {
    let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path);
    std::fs::read_to_string(file).expect("the file is part of the repository")
}

/// The fields that the rows of a table name: the words in backticks of each first cell.
fn rows(page: &str) -> Vec<&str> {
    let cells = page.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn each_page_has_one_row_for_each_field_of_the_spec() {
    for kind in [
        "GitRepository",
        "Kustomization",
        "Alert",
        "Provider",
        "Receiver",
        "ExternalArtifact",
        "ArtifactGenerator",
    ] {
        let page = read(&format!("docs/spec/{}.md", kind.to_lowercase()));
        let (_, crd) = crd::all()
            .into_iter()
            .find(|(_, crd)| crd["spec"]["names"]["kind"] == kind)
            .unwrap_or_else(|| panic!("{kind} is not defined"));
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let rows = rows(&page);
        let fields = schema["properties"]["spec"]["properties"].as_object().unwrap();
        for field in fields.keys() {
            assert_eq!(rows.iter().filter(|row| *row == field).count(), 1, "{kind}: rows of {field}");
        }
    }
}

#[test]
fn the_pages_name_every_condition() {
    fn check<C: ConditionType>(page: &str) {
        let text = read(page);
        for type_ in C::ALL {
            assert!(rows(&text).contains(&type_.as_str()), "{page} lacks {}", type_.as_str());
        }
    }
    check::<source::GitRepositoryCondition>("docs/spec/gitrepository.md");
    check::<kustomize::KustomizationCondition>("docs/spec/kustomization.md");
}

#[test]
fn every_reason_on_the_pages_is_one() {
    for kind in [
        "gitrepository",
        "kustomization",
        "alert",
        "provider",
        "receiver",
        "externalartifact",
        "artifactgenerator",
    ] {
        let page = read(&format!("docs/spec/{kind}.md"));
        let tables = page.split("| Reason |").nth(1).unwrap_or_default();
        for word in rows(tables) {
            let known = plumb_status::Reason::ALL.iter().any(|reason| reason.as_str() == word);
            assert!(known, "{kind}: {word} is no reason");
        }
    }
}

#[test]
fn each_sample_is_read_by_its_type_without_a_word_lost() {
    fn check<K: DeserializeOwned + Serialize>(sample: &str) {
        let text = read(&format!("config/samples/{sample}.yaml"));
        let written: Value = serde_saphyr::from_str(text.split("---\n").last().unwrap()).unwrap();
        let typed: K =
            serde_json::from_value(written.clone()).unwrap_or_else(|error| panic!("{sample}: {error}"));
        lost(sample, &written, &serde_json::to_value(typed).unwrap());
    }
    check::<source::GitRepository>("gitrepository");
    check::<source::GitRepository>("gitrepository-ssh");
    check::<source::ArtifactGenerator>("artifactgenerator");
    check::<source::ExternalArtifact>("externalartifact");
    check::<kustomize::Kustomization>("kustomization");
    check::<kustomize::Kustomization>("kustomization-warn");
    check::<notification::Alert>("alert");
    check::<notification::Provider>("provider");
    check::<notification::Receiver>("receiver");
}

/// Fails on what was written and did not come back. Defaults may be added; durations keep their value.
#[track_caller]
fn lost(path: &str, written: &Value, read: &Value) {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            for (key, value) in written {
                // What is false is the same as what is not said.
                let none = if value == false { value } else { &Value::Null };
                lost(&format!("{path}.{key}"), value, read.get(key).unwrap_or(none));
            }
        }
        (Value::Array(written), Value::Array(read)) if written.len() == read.len() => {
            for (at, (written, read)) in written.iter().zip(read).enumerate() {
                lost(&format!("{path}[{at}]"), written, read);
            }
        }
        (Value::String(written), Value::String(read)) if written != read => {
            let both = (written.parse::<plumb_api::meta::GoDuration>(), read.parse());
            assert!(matches!(&both, (Ok(a), Ok(b)) if a == b), "{path}: {written} became {read}");
        }
        _ => assert_eq!(written, read, "{path}"),
    }
}
