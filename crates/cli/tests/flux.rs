//! `plumb build kustomization` with the real binary, without a cluster.

#![expect(clippy::unwrap_used, reason = "a command that cannot be run fails the test")]

use std::fs;
use std::process::{Command, Output};

use tempfile::TempDir;

const KUSTOMIZATION: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: apps}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: prod}
spec:
  interval: 5m
  path: ./not/looked/at
  prune: true
  sourceRef: {kind: GitRepository, name: repo}
  targetNamespace: shop
  commonMetadata: {labels: {team: t}}
  postBuild:
    substitute: {who: me}
    substituteFrom: [{kind: Secret, name: not-asked}]
";

const BUILT: &str = "apiVersion: v1
data:
  x: me
  \"y\": v
kind: ConfigMap
metadata:
  labels:
    kustomize.toolkit.fluxcd.io/name: apps
    kustomize.toolkit.fluxcd.io/namespace: prod
    team: t
  name: a
  namespace: shop
---
";

/// What is said of the one variable that has no value.
const UNSET: &str = "# Warning: variable \"nobody\" has no value and no default, and is replaced by nothing in ConfigMap/shop/a; \
                     Secret/not-asked is not read with --dry-run: set it in spec.postBuild.substitute, or write a default as \
                     in ${nobody:=default}, or $${nobody} where the text is meant\n";

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, "apps.yaml", KUSTOMIZATION);
    write(
        &folder,
        "manifests/deep/cm.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: \"${who}\", y: \"v${nobody}\"}\n",
    );
    folder
}

fn write(folder: &TempDir, name: &str, content: &str) {
    let file = folder.path().join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, content).unwrap();
}

fn plumb(folder: &TempDir, more: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plumb"));
    command.current_dir(folder.path()).env("KUBECONFIG", "/dev/null").env_remove("FLUX_SYSTEM_NAMESPACE");
    command.args(["build", "kustomization", "--path", "manifests"]).args(more);
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

const DRY: [&str; 6] = ["apps", "--kustomization-file", "apps.yaml", "--dry-run", "-n", "prod"];

#[track_caller]
fn refuses(folder: &TempDir, words: &[&str], expect: &str) {
    let (status, output, message) = plumb(folder, words);
    assert!(message.starts_with("Error: ") && message.contains(expect), "{message}\nlacks {expect}");
    assert_eq!((status, output.as_str()), (Some(1), ""));
}

#[test]
fn a_dry_run_renders_a_directory_as_the_spec_says() {
    let folder = folder();
    assert_eq!(plumb(&folder, &DRY), (Some(0), BUILT.to_owned(), UNSET.to_owned()));
    assert!(
        !folder.path().join("manifests/kustomization.yaml").exists(),
        "nothing is written beside the manifests"
    );
}

#[test]
fn a_strict_dry_run_refuses_variables_without_a_value() {
    let folder = folder();
    let words = [&DRY[..], &["--strict-substitute"]].concat();
    refuses(
        &folder,
        &words,
        "variable not set (strict mode): \"nobody\" in data.y\n  set the variable in spec.postBuild",
    );
}

#[test]
fn a_kustomization_file_that_does_not_exist_is_reported_so() {
    let folder = folder();
    let expect = "cannot read kustomization file 'none.yaml': No such file or directory";
    refuses(&folder, &["apps", "--kustomization-file", "none.yaml", "--dry-run"], expect);
    let expect = "invalid kustomization file 'manifests': it is not a regular file";
    refuses(&folder, &["apps", "--kustomization-file", "manifests", "--dry-run"], expect);
}

#[test]
fn ignored_files_are_left_out_of_the_scan() {
    let folder = folder();
    write(&folder, "manifests/broken.yaml", "no: manifest\n");
    write(&folder, "manifests/tests/broken.yml", "no: manifest\n");
    refuses(&folder, &DRY, "/manifests/broken.yaml");
    let words = [&DRY[..], &["--ignore-paths", "/broken.yaml,tests/"]].concat();
    assert_eq!(plumb(&folder, &words), (Some(0), BUILT.to_owned(), UNSET.to_owned()));
}

/// As the source-controller leaves them out of the artifact: a file that is no manifest is no reason to fail.
#[test]
fn files_that_the_artifact_lacks_are_left_out() {
    let folder = folder();
    write(&folder, ".git/HEAD", "");
    write(&folder, "manifests/.sops.yaml", "creation_rules: []\n");
    assert_eq!(plumb(&folder, &DRY), (Some(0), BUILT.to_owned(), UNSET.to_owned()), "by the defaults");
    write(&folder, "manifests/deep/broken.yaml", "no: manifest\n");
    refuses(&folder, &DRY, "/manifests/deep/broken.yaml");
    for (file, text) in [
        (".sourceignore", "broken.yaml\n.sops.yaml\n"),
        (".sourceignore", "/*\n!/manifests\n/manifests/deep/broken.yaml\n.sops.yaml\n"),
        ("manifests/deep/.sourceignore", "/broken.yaml\n"),
    ] {
        write(&folder, file, text);
        if file != ".sourceignore" {
            // A pattern anywhere takes the place of the defaults.
            refuses(&folder, &DRY, "/manifests/.sops.yaml");
            fs::remove_file(folder.path().join("manifests/.sops.yaml")).unwrap();
        }
        assert_eq!(plumb(&folder, &DRY), (Some(0), BUILT.to_owned(), UNSET.to_owned()), "{file}: {text}");
        fs::remove_file(folder.path().join(file)).unwrap();
    }
}

#[test]
fn a_file_that_is_named_and_that_the_artifact_lacks_is_missing_as_in_the_cluster() {
    let folder = folder();
    write(&folder, "manifests/kustomization.yaml", "resources: [deep/cm.yaml]\n");
    write(&folder, ".sourceignore", "deep/\n");
    // Without a repository, the directory is the root, and what is above it says nothing.
    assert_eq!(plumb(&folder, &DRY).0, Some(0));
    let words = [&DRY[..], &["--source-root", "."]].concat();
    refuses(&folder, &words, "no such file or directory: ");
    refuses(&folder, &words, "/manifests/deep/cm.yaml' is left out of the artifact: by .sourceignore in");
    refuses(&folder, &[&DRY[..], &["--source-root", "manifests/deep"]].concat(), "is not in the source root");
}

#[test]
fn variables_are_listed_without_their_values() {
    let folder = folder();
    write(
        &folder,
        "manifests/other.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {x: \"${who}\", y: \"${size:=1}\"}\n",
    );
    let words = [&DRY[..], &["--list-variables"]].concat();
    let expect = "NAME    VALUE FROM                 OBJECTS\n\
                  nobody  not set                    ConfigMap/shop/a\n\
                  size    default                    ConfigMap/shop/b\n\
                  who     spec.postBuild.substitute  ConfigMap/shop/a, ConfigMap/shop/b\n";
    assert_eq!(plumb(&folder, &words), (Some(0), expect.to_owned(), UNSET.to_owned()));
}

#[test]
fn references_that_are_not_read_are_told_where_nothing_else_is_known() {
    let folder = folder();
    write(&folder, "apps.yaml", &KUSTOMIZATION.replace("    substitute: {who: me}\n", ""));
    let (status, output, message) = plumb(&folder, &DRY);
    assert!(status == Some(0) && output.contains("x: ${who}"), "{output}");
    assert_eq!(
        message,
        "# Warning: no variable has a value, so none is substituted: Secret/not-asked is not read with --dry-run\n"
    );
    let (status, output, _) = plumb(&folder, &[&DRY[..], &["--strict"]].concat());
    assert_eq!((status, output.as_str()), (Some(1), ""));
}

#[test]
fn encrypted_secrets_are_masked() {
    let folder = folder();
    write(
        &folder,
        "manifests/deep/cm.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {x: 'ENC[AES256_GCM,data:q]'}\n\
         sops: {mac: 'ENC[AES256_GCM,data:r]'}\n",
    );
    let (status, output, message) = plumb(&folder, &DRY);
    assert_eq!((status, message.as_str()), (Some(0), ""));
    assert!(
        output.contains("  x: KipTT1BTKio=\n") && !output.contains("ENC[") && !output.contains("sops"),
        "{output}"
    );
}

#[test]
fn what_is_missing_is_named() {
    let folder = folder();
    refuses(&folder, &["apps", "--dry-run"], "--kustomization-file");
    refuses(
        &folder,
        &["other", "--kustomization-file", "apps.yaml", "--dry-run", "-n", "prod"],
        "no Kustomization with name 'other' and namespace 'prod' in file 'apps.yaml'",
    );
    refuses(&folder, &["apps", "--kustomization-file", "gone.yaml", "--dry-run"], "'gone.yaml'");
    refuses(&folder, &["apps", "--recursive"], "--recursive and --local-sources are not supported");
    refuses(&folder, &["apps"], "cannot find a cluster");
}
