//! `spec.sparseCheckout` and `spec.recurseSubmodules`: the files of the artifact, and the fields of the status that note them.

use std::io::Read as _;

use super::{include::files, *};

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_has_the_sparse_directories_only() {
    let (server, repository) = served(&GitServerOptions::default());
    repository.write("apps/a.yaml", "a").unwrap();
    repository.write("infra/b.yaml", "b").unwrap();
    repository.push("More").unwrap();
    let mut fixture = source_at(&server.url("app"));
    fixture.attempt().await;
    let before = fixture.artifact().clone();
    fixture.set("sparseCheckout", json!(["./apps"])).attempt().await;
    assert_eq!(files(&fixture), ["apps/a.yaml=a"]);
    assert_eq!(fixture.object["status"]["observedSparseCheckout"], json!(["./apps"]));
    assert_eq!(fixture.artifact()["revision"], before["revision"]);
    assert_ne!(fixture.artifact()["path"], before["path"]);
    fixture.set("sparseCheckout", json!([])).attempt().await;
    assert_eq!(*fixture.artifact(), before, "the artifact of all files is found again");
    assert_eq!(fixture.object["status"]["observedSparseCheckout"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sparse_directory_that_does_not_exist_keeps_the_artifact() {
    let (server, _repository) = served(&GitServerOptions::default());
    let mut fixture = source_at(&server.url("app"));
    fixture.attempt().await;
    let before = fixture.artifact().clone();
    let summary = fixture.set("sparseCheckout", json!(["nope"])).attempt().await;
    let (status, reason, message) = ready(&summary);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "GitOperationFailed"));
    assert_eq!(
        message,
        "failed to sparse checkout directories : sparse checkout dir 'nope' does not exist in repository (correct \
         spec.sparseCheckout: a directory is given from the root of the repository, without a leading '/')"
    );
    assert_eq!(condition(&summary, "FetchFailed").unwrap(), "True GitOperationFailed");
    assert_eq!(*fixture.artifact(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_has_the_files_of_submodules() {
    let (server, repository) = served(&GitServerOptions::default());
    let library = server.repository("library").unwrap();
    library.write("lib.yaml", "lib").unwrap();
    let commit = library.push("Library").unwrap();
    repository.write(".gitmodules", "[submodule \"l\"]\n\tpath = lib\n\turl = ../library.git\n").unwrap();
    repository.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},lib")]).unwrap();
    repository.git(&["add", ".gitmodules"]).unwrap();
    repository.git(&["commit", "--quiet", "--message", "Link"]).unwrap();
    repository.git(&["push", "--quiet", "origin", "main"]).unwrap();
    let mut fixture = source_at(&server.url("app"));
    fixture.attempt().await;
    assert_eq!(files(&fixture), ["app.yaml=one\n"]);
    fixture.set("recurseSubmodules", json!(true)).attempt().await;
    assert_eq!(files(&fixture), ["app.yaml=one\n", "lib/lib.yaml=lib"]);
    assert_eq!(fixture.object["status"]["observedRecurseSubmodules"], true);
    fixture.set("recurseSubmodules", json!(false)).attempt().await;
    assert_eq!(files(&fixture), ["app.yaml=one\n"]);
    assert_eq!(fixture.object["status"]["observedRecurseSubmodules"], Value::Null);
}

/// Path, whether it is executable, and content of the files of a tar archive.
fn listed(tar: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
    let mut archive = tar::Archive::new(tar);
    let mut files = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let (path, mode) = (entry.path().unwrap().display().to_string(), entry.header().mode().unwrap());
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.push((path, mode & 0o100, content));
        }
    }
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_has_what_git_archives_less_what_flux_leaves_out() {
    let (server, repository) = served(&GitServerOptions::default());
    let kept =
        ["deploy/ünïcödé.yaml", "deploy/with space", "-rf", "deep/er/run.sh", "a/deep/.helmignore", "x.JPG"];
    let left_out = [
        ".gitignore",
        ".github/workflow.yaml",
        "deep/.gitattributes",
        "logo.png",
        "deep/photo.jpg",
        "a.zip",
        "b.tar.gz",
        ".goreleaser.yml",
        ".sops.yaml",
        "movie.flv",
    ];
    for path in kept.iter().chain(&left_out) {
        repository.write(path, &format!("# {path}")).unwrap();
    }
    let script = repository.folder().join("deep/er/run.sh");
    std::fs::set_permissions(script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("../app.yaml", repository.folder().join("deploy/link")).unwrap();
    std::fs::create_dir(repository.folder().join("empty")).unwrap();
    repository.push("All").unwrap();
    let mut fixture = source_at(&server.url("app"));
    fixture.attempt().await;
    let gzip = std::fs::read(fixture.stored()).unwrap();
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(&*gzip).read_to_end(&mut tar).unwrap();
    let archive = repository.folder().with_file_name("archive.tar");
    repository.git(&["archive", "--format=tar", "--output", archive.to_str().unwrap(), "HEAD"]).unwrap();
    let mut expect = listed(&std::fs::read(archive).unwrap());
    let all = expect.len();
    expect.retain(|(path, ..)| !left_out.contains(&path.as_str()));
    assert_eq!(all - expect.len(), left_out.len());
    assert_eq!(listed(&tar), expect);
}
