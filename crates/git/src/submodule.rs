//! Which submodules a repository declares in `.gitmodules`, and where each is. Pure: nothing is fetched here, and of the file's
//! settings only path and URL are read.

use std::collections::BTreeMap;

use gix::{bstr::ByteSlice, config::File};
use url::Url;

use crate::{credential::EndpointError, error::GitError};

/// The file with the submodules of a repository, at its root.
pub(crate) const MODULES_FILE: &str = ".gitmodules";
/// A file with submodules larger than this is rejected.
pub(crate) const MODULES_BYTES_MAX: u64 = 1 << 20;

/// A submodule cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SubmoduleError {
    /// The file that declares it cannot be read.
    #[error("the file .gitmodules cannot be read: {problem}")]
    File {
        /// Why.
        problem: String,
    },
    /// Its URL is not one of a repository that can be read.
    #[error("{source}")]
    Endpoint {
        /// Why.
        source: EndpointError,
    },
    /// Its URL leads above the root of the server.
    #[error("its URL '{url}' leads out of '{base}'")]
    Escapes {
        /// The URL, as declared.
        url: String,
        /// The repository that declares it.
        base: String,
    },
    /// It is over SSH at a host for which there is no key.
    #[error(
        "it is at '{url}', and there is no key for this host: credentials are used for the host of spec.url only"
    )]
    NoKey {
        /// The URL.
        url: String,
    },
    /// There are too many.
    #[error("the repository has more than {max} submodules, which is the limit of --git-submodules-max")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// Submodules of submodules, too many times.
    #[error("it is nested deeper than {max} levels, which is the limit of --git-submodules-max-depth")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// Its commit cannot be fetched or read.
    #[error(transparent)]
    Git(Box<GitError>),
}

/// The URL of each declared submodule, by its path. Of several with one path the last one counts.
pub(crate) fn declared(file: &[u8]) -> Result<BTreeMap<String, String>, SubmoduleError> {
    let unreadable = |problem: String| SubmoduleError::File { problem };
    let options = gix::config::file::init::Options::default();
    let file = File::from_bytes_no_includes(file, gix::config::file::Metadata::api(), options)
        .map_err(|error| unreadable(error.to_string()))?;
    let mut declared = BTreeMap::new();
    for section in file.sections_by_name("submodule").into_iter().flatten() {
        let text = |key: &str| section.value(key).map(|value| value.to_str_lossy().into_owned());
        if let (Some(path), Some(url)) = (text("path"), text("url")) {
            declared.insert(path, url);
        }
    }
    Ok(declared)
}

/// The URL of a submodule of a repository: relative ones are resolved, and `user@host:path` is one over SSH.
pub(crate) fn absolute(url: &str, base: &Url) -> Result<String, SubmoduleError> {
    if url.starts_with("./") || url.starts_with("../") {
        return relative(url, base);
    }
    if url.contains("://") {
        return Ok(url.to_owned());
    }
    Ok(match url.split_once(':') {
        // With two colons it is the name of a program that git would run.
        Some((host, path)) if !host.is_empty() && !host.contains('/') && !path.starts_with(':') => {
            format!("ssh://{host}/{}", path.trim_start_matches('/'))
        }
        _ => url.to_owned(),
    })
}

fn relative(url: &str, base: &Url) -> Result<String, SubmoduleError> {
    let mut parts: Vec<&str> = base.path().split('/').filter(|part| !part.is_empty()).collect();
    for part in url.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                let escapes = || SubmoduleError::Escapes { url: url.to_owned(), base: base.to_string() };
                parts.pop().ok_or_else(escapes)?;
            }
            name => parts.push(name),
        }
    }
    let mut absolute = base.clone();
    absolute.set_path(&parts.join("/"));
    Ok(absolute.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_url_of_each_submodule_are_read() {
        let file = "[submodule \"a\"]\n\tpath = lib/a\n\turl = ../a.git\n\tupdate = !touch x\n\
                    [core]\n\tpath = x\n\turl = y\n\
                    [submodule \"b\"]\n\tpath = b\n[submodule \"c\"]\n\tpath = \"with space\"\n\turl = https://h/c\n";
        let declared = declared(file.as_bytes()).unwrap();
        let expect = [("lib/a", "../a.git"), ("with space", "https://h/c")];
        assert_eq!(declared, expect.map(|(path, url)| (path.to_owned(), url.to_owned())).into());
        assert!(super::declared(b"[submodule").is_err());
    }

    #[test]
    fn urls_are_resolved_as_git_resolves_them() {
        let http = Url::parse("https://host:8443/org/app.git").unwrap();
        let ssh = Url::parse("ssh://me@host:2222/org/app.git/").unwrap();
        for (base, url, expect) in [
            (&http, "../lib.git", "https://host:8443/org/lib.git"),
            (&http, "../../other/lib", "https://host:8443/other/lib"),
            (&http, "./sub.git", "https://host:8443/org/app.git/sub.git"),
            (&ssh, "../lib.git", "ssh://me@host:2222/org/lib.git"),
            (&http, "https://else/x.git", "https://else/x.git"),
            (&http, "git@host:org/lib.git", "ssh://git@host/org/lib.git"),
            (&http, "/srv/git/lib.git", "/srv/git/lib.git"),
            (&http, "a/b:c", "a/b:c"),
            (&http, "ext::sh -c x", "ext::sh -c x"),
        ] {
            assert_eq!(absolute(url, base).unwrap(), expect);
        }
        let error = absolute("../../../x", &http).unwrap_err();
        assert_eq!(error.to_string(), "its URL '../../../x' leads out of 'https://host:8443/org/app.git'");
    }
}
