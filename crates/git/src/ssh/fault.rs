//! What can go wrong with an SSH connection beyond the network. Texts of servers are shortened and hold printable characters only.

use crate::exchange::Fault;
use plumb_transport::ConnectionError;

use super::known_hosts::HostKeyError;

/// Characters of a server's text that an error shows.
const TEXT_CHARACTERS_MAX: usize = 400;

/// What can go wrong with an SSH connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SshFault {
    /// The host key is not one of known_hosts.
    #[error("ssh: handshake failed: {0}")]
    HostKey(HostKeyError),
    /// The server does not accept the key.
    #[error(
        "ssh: handshake failed: ssh: unable to authenticate, attempted methods [none publickey], no supported methods remain: the \
         server does not accept the {key} for user {user:?}"
    )]
    Rejected {
        /// The user.
        user: String,
        /// Type and fingerprint of the key.
        key: String,
    },
    /// The server accepts RSA keys with SHA-1 only.
    #[error(
        "ssh: handshake failed: the server accepts RSA keys with SHA-1 signatures only, which are not supported"
    )]
    WeakSignature,
    /// The protocol failed.
    #[error("ssh: handshake failed: {problem}")]
    Handshake {
        /// Why.
        problem: String,
    },
    /// The repository is not there, or not for this key.
    #[error("repository not found")]
    RepositoryNotFound,
    /// The program on the server ended.
    #[error("git-upload-pack on the server ended{}{}", ended(*.status), said(.text))]
    Command {
        /// Its status, if there is one.
        status: Option<u32>,
        /// What it wrote to standard error, shortened.
        text: String,
    },
}

fn ended(status: Option<u32>) -> String {
    status.map(|status| format!(" with status {status}")).unwrap_or_default()
}

fn said(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// The texts of servers for a repository that is missing or not for this key, in lower case.
const NOT_FOUND: [&str; 6] = [
    "repository not found",
    "repository does not exist",
    "does not appear to be a git repository",
    "the project you were looking for could not be found",
    "repository access denied",
    "no such repository",
];

impl SshFault {
    /// The program ended with a text on standard error.
    pub(crate) fn of_command(status: Option<u32>, stderr: &[u8]) -> Self {
        let text = printable(&String::from_utf8_lossy(stderr));
        let lower = text.to_lowercase();
        if NOT_FOUND.iter().any(|known| lower.contains(known)) {
            Self::RepositoryNotFound
        } else {
            Self::Command { status, text }
        }
    }
}

impl From<russh::Error> for Fault {
    fn from(error: russh::Error) -> Self {
        let problem = match error {
            russh::Error::IO(error) => return Self::Connection(ConnectionError::of_socket(&error)),
            russh::Error::Disconnect
            | russh::Error::HUP
            | russh::Error::SendError
            | russh::Error::RecvError => {
                return Self::Connection(ConnectionError::Reset);
            }
            russh::Error::KeepaliveTimeout | russh::Error::InactivityTimeout => {
                return Self::Connection(ConnectionError::TimedOut);
            }
            russh::Error::Version => "the server does not speak SSH 2.0".to_owned(),
            russh::Error::NoCommonAlgo { kind, ours, theirs } => format!(
                "ssh: no common algorithm for {}; client offered: [{}], server offered: [{}]",
                format!("{kind:?}").to_lowercase(),
                ours.join(" "),
                theirs.join(" ")
            ),
            russh::Error::WrongServerSig => "the signature of the server's host key is wrong".to_owned(),
            other => other.to_string(),
        };
        Self::Ssh(SshFault::Handshake { problem: printable(&problem) })
    }
}

/// A text of a server in one line, shortened, without control characters.
fn printable(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|letter| !letter.is_control()).take(TEXT_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_servers_are_read_shortened_and_made_printable() {
        for text in [
            "ERROR: Repository not found.\nfatal: Could not read from remote repository.",
            "fatal: '/x.git' does not appear to be a git repository",
            "remote: The project you were looking for could not be found or you don't have permission",
            "conq: repository does not exist.",
        ] {
            assert_eq!(
                SshFault::of_command(Some(128), text.as_bytes()),
                SshFault::RepositoryNotFound,
                "{text}"
            );
        }
        let long = format!("\x1b[31mred\x07\n\n{}", "x".repeat(5000));
        let SshFault::Command { text, .. } = SshFault::of_command(Some(1), long.as_bytes()) else { panic!() };
        assert!(text.starts_with("[31mred x") && text.chars().count() == TEXT_CHARACTERS_MAX);
        let ended = SshFault::of_command(Some(127), b"sh: not found").to_string();
        assert_eq!(ended, "git-upload-pack on the server ended with status 127: sh: not found");
        assert_eq!(SshFault::of_command(None, b"").to_string(), "git-upload-pack on the server ended");
    }
}
