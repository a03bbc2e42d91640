//! The real binary on real directories: what it prints, where, and its exit status.

#![expect(clippy::unwrap_used, reason = "a command that cannot be run fails the test")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const CONFIG_MAP: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {\"n\": \"1\", x: \"${who:=b}\"}\n";
const BUILT: &str =
    "apiVersion: v1\ndata:\n  \"n\": \"1\"\n  x: ${who:=b}\nkind: ConfigMap\nmetadata:\n  name: p-a\n";

/// A base and an overlay of it.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, "base/kustomization.yaml", "resources: [cm.yaml]\n");
    write(&folder, "base/cm.yaml", CONFIG_MAP);
    write(&folder, "overlays/prod/kustomization.yaml", "resources: [../../base]\nnamePrefix: p-\n");
    folder
}

fn write(folder: &TempDir, name: &str, content: &str) {
    let file = folder.path().join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, content).unwrap();
}

fn plumb(folder: &Path, words: &[&str]) -> Output {
    // Where a cluster is asked by mistake, there is none.
    let mut command = Command::new(env!("CARGO_BIN_EXE_plumb"));
    command.current_dir(folder).env("KUBECONFIG", "/dev/null").env_remove("FLUX_SYSTEM_NAMESPACE");
    command.args(words).output().unwrap()
}

#[track_caller]
fn prints(folder: &TempDir, words: &[&str], expect: &str) {
    let Output { status, stdout, stderr } = plumb(folder.path(), words);
    assert_eq!(String::from_utf8(stderr).unwrap(), "");
    assert_eq!(String::from_utf8(stdout).unwrap(), expect);
    assert_eq!(status.code(), Some(0));
}

/// `{}` in what is expected stands for the folder.
#[track_caller]
fn refuses(folder: &TempDir, words: &[&str], expect: &str) {
    let Output { status, stdout, stderr } = plumb(folder.path(), words);
    let root = fs::canonicalize(folder.path()).unwrap();
    let expect = expect.replace("{}", root.to_str().unwrap());
    let message = String::from_utf8(stderr).unwrap();
    assert!(message.starts_with("Error: ") && message.contains(&expect), "{message}\nlacks {expect}");
    assert!(stdout.is_empty());
    assert_eq!(status.code(), Some(1));
}

#[test]
fn an_overlay_is_printed_with_the_base_above_it() {
    let folder = folder();
    prints(&folder, &["build", "overlays/prod"], BUILT);
    let root = folder.path().join("overlays/prod");
    prints(&folder, &["build", root.to_str().unwrap()], BUILT);
    symlink("overlays/prod", folder.path().join("linked")).unwrap();
    prints(&folder, &["build", "linked/"], BUILT);
}

#[test]
fn without_a_directory_the_current_one_is_built() {
    let folder = folder();
    let output = plumb(&folder.path().join("overlays/prod"), &["build"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), BUILT);
}

#[test]
fn the_output_goes_to_a_file_or_to_one_file_for_each_object() {
    let folder = folder();
    prints(&folder, &["build", "overlays/prod", "-o", "all.yaml"], "");
    assert_eq!(fs::read_to_string(folder.path().join("all.yaml")).unwrap(), BUILT);
    fs::create_dir(folder.path().join("each")).unwrap();
    prints(&folder, &["build", "--output=each", "overlays/prod"], "");
    assert_eq!(fs::read_to_string(folder.path().join("each/v1_configmap_p-a.yaml")).unwrap(), BUILT);
    refuses(&folder, &["build", "base", "-o", "none/all.yaml"], "cannot write 'none/all.yaml'");
}

#[test]
fn warnings_go_to_standard_error() {
    let folder = folder();
    write(&folder, "old/kustomization.yaml", "resources: [../base]\ncommonLabels: {a: b}\n");
    let output = plumb(folder.path(), &["build", "old"]);
    let warnings = String::from_utf8(output.stderr).unwrap();
    assert!(
        warnings.starts_with("# Warning: ") && warnings.contains("'commonLabels' is deprecated"),
        "{warnings}"
    );
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("apiVersion: v1\n"));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn strict_treats_warnings_as_errors_and_prints_no_object() {
    let folder = folder();
    let patch = "patches: [{target: {name: none}, patch: '[{\"op\": \"remove\", \"path\": \"/x\"}]'}]\n";
    write(&folder, "idle/kustomization.yaml", &format!("resources: [../base]\n{patch}"));
    let lenient = plumb(folder.path(), &["build", "idle"]);
    assert_eq!(lenient.status.code(), Some(0));
    assert!(String::from_utf8(lenient.stdout).unwrap().starts_with("apiVersion: v1\n"));
    let strict = plumb(folder.path(), &["build", "idle", "--strict"]);
    assert_eq!((strict.status.code(), strict.stdout.len()), (Some(1), 0));
    let told = String::from_utf8(strict.stderr).unwrap();
    assert!(
        told.starts_with("# Warning: ") && told.contains("/idle/kustomization.yaml: patches[0]: "),
        "{told}"
    );
    assert!(told.contains("Error: warnings: 1, which --strict treats as errors"), "{told}");
    prints(&folder, &["build", "overlays/prod", "--strict"], BUILT);
}

#[test]
fn what_is_no_kustomization_directory_is_refused() {
    let folder = folder();
    fs::create_dir(folder.path().join("empty")).unwrap();
    refuses(&folder, &["build", "nosuch"], "must build at directory: not a valid directory: 'nosuch'");
    refuses(
        &folder,
        &["build", "base/cm.yaml"],
        "must build at directory: 'base/cm.yaml': file is not directory",
    );
    refuses(&folder, &["build", ""], "must build at directory: directory path cannot be empty");
    refuses(
        &folder,
        &["build", "empty"],
        "unable to find one of 'kustomization.yaml', 'kustomization.yml' or 'Kustomization' in directory '{}/empty'",
    );
    refuses(&folder, &["build", "https://example.invalid/x"], "is remote, and nothing is fetched");
}

#[test]
fn options_that_are_not_supported_are_refused_by_name() {
    let folder = folder();
    refuses(
        &folder,
        &["build", "base", "--enable-helm"],
        "--enable-helm is not supported: Plumb does not run Helm",
    );
    refuses(&folder, &["build", "--mount=x", "base"], "--mount is not supported");
    refuses(&folder, &["build", "base", "--nosuch"], "unexpected argument '--nosuch'");
    refuses(
        &folder,
        &["build", "base", "--load-restrictor", "none"],
        "LoadRestrictionsRootOnly, LoadRestrictionsNone",
    );
}

#[test]
fn files_outside_of_the_kustomization_need_a_word() {
    let folder = folder();
    write(&folder, "up/kustomization.yaml", "resources: [../base/cm.yaml]\nnamePrefix: p-\n");
    refuses(&folder, &["build", "up"], "security; file '{}/base/cm.yaml' is not in or below '{}/up'");
    prints(&folder, &["build", "up", "--load-restrictor", "LoadRestrictionsNone"], BUILT);
}

#[test]
fn links_are_followed_inside_the_kustomization_alone() {
    let folder = folder();
    write(&folder, "in/kustomization.yaml", "resources: [link.yaml]\nnamePrefix: p-\n");
    write(&folder, "in/data/cm.yaml", CONFIG_MAP);
    symlink("data/cm.yaml", folder.path().join("in/link.yaml")).unwrap();
    prints(&folder, &["build", "in"], BUILT);
    write(&folder, "out/kustomization.yaml", "resources: [link.yaml]\nnamePrefix: p-\n");
    symlink("../base/cm.yaml", folder.path().join("out/link.yaml")).unwrap();
    refuses(&folder, &["build", "out"], "security; file '{}/out/link.yaml' is not in or below '{}/out'");
    prints(&folder, &["build", "out", "--load-restrictor=LoadRestrictionsNone"], BUILT);
}

#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    let folder = folder();
    for (name, noun) in [("fifo", "a FIFO"), ("zero", "a device")] {
        let directory = folder.path().join(name);
        write(
            &folder,
            &format!("{name}/kustomization.yaml"),
            "configMapGenerator: [{name: a, files: [it]}]\n",
        );
        match name {
            "fifo" => assert!(Command::new("mkfifo").arg(directory.join("it")).status().unwrap().success()),
            _ => symlink("/dev/zero", directory.join("it")).unwrap(),
        }
        refuses(&folder, &["build", name, "--load-restrictor", "LoadRestrictionsNone"], noun);
    }
}

#[test]
fn help_does_not_name_the_bench() {
    let folder = folder();
    let output = plumb(folder.path(), &["--help"]);
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("build") && !help.contains("bench"), "{help}");
    let output = plumb(folder.path(), &["bench-build", "base", "2"]);
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(report.contains("\"objects\":1,") && report.contains("\"n\":2,"), "{report}");
}

#[test]
fn a_directory_may_have_the_name_of_a_command() {
    let folder = folder();
    for name in ["help", "kustomization"] {
        write(&folder, &format!("{name}/kustomization.yaml"), "resources: [../base]\nnamePrefix: p-\n");
    }
    prints(&folder, &["build", "help"], BUILT);
    prints(&folder, &["build", "./kustomization"], BUILT);
}
