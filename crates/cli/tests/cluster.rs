//! `plumb build kustomization` with the real binary and an API server that knows four objects.

#![expect(clippy::unwrap_used, reason = "a command that cannot be run fails the test")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};

use tempfile::TempDir;

const KUSTOMIZATIONS: &str = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/prod/kustomizations";

/// Answers until the test ends; whoever asks for anything else is told that it is not there.
fn serve(references: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap(), references);
        }
    });
    port
}

fn answer(mut stream: TcpStream, references: &str) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let request = lines.next().unwrap().unwrap();
    while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
    let path = request.split(' ').nth(1).unwrap();
    let kustomization = format!(
        "{{\"apiVersion\": \"kustomize.toolkit.fluxcd.io/v1\", \"kind\": \"Kustomization\", \"metadata\": \
         {{\"name\": \"apps\", \"namespace\": \"prod\"}}, \"spec\": {{\"interval\": \"5m\", \"prune\": true, \
         \"sourceRef\": {{\"kind\": \"GitRepository\", \"name\": \"r\"}}, \"namePrefix\": \"live-\", \
         \"postBuild\": {{\"substituteFrom\": {references}}}}}}}"
    );
    let known = [
        (format!("{KUSTOMIZATIONS}/apps"), kustomization),
        (
            "/api/v1/namespaces/prod/configmaps/vars".to_owned(),
            "{\"metadata\": {\"name\": \"vars\"}, \"data\": {\"who\": \"map\", \"only\": \"one\"}}"
                .to_owned(),
        ),
        (
            "/api/v1/namespaces/prod/secrets/vars".to_owned(),
            "{\"metadata\": {\"name\": \"vars\"}, \"data\": {\"who\": \"c2VjcmV0\"}}".to_owned(),
        ),
        (
            "/api/v1/namespaces/prod/secrets/binary".to_owned(),
            "{\"metadata\": {\"name\": \"binary\"}, \"data\": {\"who\": \"/////w==\"}}".to_owned(),
        ),
    ];
    let source = "{\"apiVersion\": \"source.toolkit.fluxcd.io/v1\", \"kind\": \"GitRepository\", \"metadata\": {\"name\": \
                  \"r\"}, \"spec\": {\"ignore\": \"/broken.yaml\"}}";
    let sources = "/apis/source.toolkit.fluxcd.io/v1/namespaces/prod/gitrepositories/r";
    let known = [&known[..], &[(sources.to_owned(), source.to_owned())]].concat();
    let found = known.iter().find(|(known, _)| known == path);
    let missing =
        "{\"kind\": \"Status\", \"code\": 404, \"reason\": \"NotFound\", \"message\": \"it is not there\"}";
    let (status, body) = found.map_or(("404 Not Found", missing), |(_, body)| ("200 OK", body));
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close"
    );
    write!(stream, "{head}\r\n\r\n{body}").unwrap();
}

fn folder(port: u16) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("manifests")).unwrap();
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: \"${who}-${only}\"}\n";
    fs::write(folder.path().join("manifests/cm.yaml"), manifest).unwrap();
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: it\nclusters: [{{name: it, cluster: {{server: \
         'http://127.0.0.1:{port}'}}}}]\nusers: [{{name: it, user: {{}}}}]\ncontexts: [{{name: it, context: {{cluster: \
         it, user: it}}}}]\n"
    );
    fs::write(folder.path().join("config"), config).unwrap();
    folder
}

fn plumb(folder: &TempDir, words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plumb"));
    command.current_dir(folder.path()).env("KUBECONFIG", "config").args([
        "build",
        "ks",
        "--path",
        "manifests",
    ]);
    let Output { status, stdout, stderr } = command.args(["-n", "prod"]).args(words).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

const BOTH: &str = "[{\"kind\": \"ConfigMap\", \"name\": \"vars\"}, {\"kind\": \"Secret\", \"name\": \"vars\"}, {\"kind\": \
                    \"ConfigMap\", \"name\": \"gone\", \"optional\": true}]";

#[test]
fn the_kustomization_and_its_variables_come_from_the_cluster() {
    let folder = folder(serve(BOTH));
    let (status, output, message) = plumb(&folder, &["apps"]);
    assert_eq!((status, message.as_str()), (Some(0), ""));
    assert!(output.contains("  name: live-a\n") && output.contains("  x: secret-one\n"), "{output}");
    let (status, output, _) = plumb(&folder, &["apps", "--kubeconfig", "config", "--context", "it"]);
    assert!(status == Some(0) && output.contains("live-a"), "{output}");
}

#[test]
fn spec_ignore_of_the_source_and_the_references_of_variables_are_known() {
    let folder = folder(serve(BOTH));
    fs::write(folder.path().join("manifests/broken.yaml"), "no: manifest\n").unwrap();
    let (status, output, message) = plumb(&folder, &["apps", "--list-variables"]);
    assert_eq!((status, message.as_str()), (Some(0), ""));
    let expect = "NAME  VALUE FROM      OBJECTS\n\
                  only  ConfigMap/vars  ConfigMap/live-a\n\
                  who   Secret/vars     ConfigMap/live-a\n";
    assert_eq!(output, expect);
}

#[test]
fn a_file_wins_over_what_is_in_the_cluster() {
    let folder = folder(serve("[]"));
    let text = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: apps}\nspec: {interval: \
                1m, prune: true, sourceRef: {kind: Bucket, name: b}, nameSuffix: -file, postBuild: {substitute: {who: \
                me}, substituteFrom: [{kind: ConfigMap, name: vars}]}}\n";
    fs::write(folder.path().join("apps.yaml"), text).unwrap();
    let (status, output, message) = plumb(&folder, &["apps", "--kustomization-file", "apps.yaml"]);
    let told = "# Warning: Bucket 'prod/b' is not found: its spec.ignore is not known\n";
    assert_eq!((status, message.as_str()), (Some(0), told));
    assert!(output.contains("  name: a-file\n") && output.contains("  x: me-one\n"), "{output}");
}

#[test]
fn the_cause_of_a_cluster_that_is_not_there_is_said_once() {
    // The port is free again: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let closed = folder(port);
    let (status, _, message) = plumb(&closed, &["apps"]);
    let expect = format!(
        "Error: cannot get Kustomization 'prod/apps' from http://127.0.0.1:{port}/: tcp connect error: Connection refused (os \
         error 111)\n"
    );
    assert_eq!((status, message), (Some(1), expect));
    let (_, _, message) = plumb(&closed, &["apps", "--kubeconfig", "gone"]);
    assert_eq!(message, "Error: kubeconfig 'gone' does not exist: correct --kubeconfig\n");
    fs::write(closed.path().join("config"), "apiVersion: v1\nkind: Config\n").unwrap();
    let (_, _, message) = plumb(&closed, &["apps"]);
    let expect = "Error: cannot find a cluster: failed to determine current context (set --kubeconfig, or use \
                  --kustomization-file with --dry-run)\n";
    assert_eq!(message, expect);
}

#[test]
fn what_is_not_there_is_named_and_no_value_is_told() {
    let folder_of = |references| folder(serve(references));
    let (status, _, message) = plumb(&folder_of("[]"), &["other"]);
    assert_eq!(status, Some(1));
    assert!(message.starts_with("Error: cannot get Kustomization 'prod/other'"), "{message}");
    let gone = "[{\"kind\": \"Secret\", \"name\": \"gone\"}]";
    let (_, _, message) = plumb(&folder_of(gone), &["apps"]);
    assert_eq!(
        message,
        "Error: substitute from 'Secret/gone' error: secrets \"gone\" not found in namespace 'prod'\n"
    );
    let binary = "[{\"kind\": \"Secret\", \"name\": \"binary\"}]";
    let (_, _, message) = plumb(&folder_of(binary), &["apps"]);
    assert_eq!(
        message,
        "Error: substitute from 'Secret/binary' error: the value of key 'who' is not UTF-8\n"
    );
}
