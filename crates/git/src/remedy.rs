//! What helps against an error of a repository, in terms of the fields that a user sets. Pure.

use plumb_transport::ConnectionError;

use crate::{
    credential::CredentialOrigin,
    error::GitError,
    ssh::{HostKeyError, SshFault},
    submodule::SubmoduleError,
};

/// The remedy; none where the text of the error already contains it, or where only the server's operator can help.
pub(crate) fn of(error: &GitError) -> Option<String> {
    Some(match error {
        GitError::Endpoint { .. } => "correct spec.url".to_owned(),
        GitError::Range { .. } => "correct spec.ref.semver".to_owned(),
        GitError::CommitId { .. } => "set spec.ref.commit to the full id of a commit".to_owned(),
        GitError::CommitNotFound { .. } => "correct spec.ref.commit".to_owned(),
        GitError::NotOnBranch { .. } => "correct spec.ref.commit or spec.ref.branch".to_owned(),
        GitError::Empty { .. } => "push a commit".to_owned(),
        GitError::Unauthenticated { sent, .. } | GitError::Forbidden { sent, .. } => {
            credentials(*sent).to_owned()
        }
        GitError::RepositoryNotFound { sent: CredentialOrigin::None, .. } => {
            "correct spec.url, or set spec.secretRef if the repository is private".to_owned()
        }
        GitError::RepositoryNotFound { sent, .. } => format!("correct spec.url, or {}", credentials(*sent)),
        GitError::ReferenceNotFound { field, default_branch, .. } => {
            reference(*field, default_branch.as_deref())
        }
        GitError::NoVersion { highest: Some(highest), .. } => {
            format!("correct spec.ref.semver: the highest version among the tags is {highest}")
        }
        GitError::NoVersion { highest: None, .. } => {
            "no tag of the repository is a version: set another field of spec.ref, or push a tag".to_owned()
        }
        GitError::NoShallow { .. } => {
            "use a server of Git's protocol version 2, or let the server offer the capability shallow".to_owned()
        }
        GitError::OtherRepository { .. } | GitError::NotGit { .. } => {
            "correct spec.url: it must be the URL that git clone takes".to_owned()
        }
        GitError::TimedOut { .. } => "raise spec.timeout if the server needs longer".to_owned(),
        GitError::Connection { source, .. } => return connection(source).map(str::to_owned),
        GitError::Ssh { source, .. } => return ssh(source).map(str::to_owned),
        GitError::SparseCheckout { .. } => {
            "correct spec.sparseCheckout: a directory is given from the root of the repository, without a leading '/'".to_owned()
        }
        GitError::Submodule { source, .. } => return submodule(source).map(str::to_owned),
        GitError::Client { .. }
        | GitError::TooManyReferences { .. }
        | GitError::Address { .. }
        | GitError::NoSlot { .. }
        | GitError::OverBudget { .. }
        | GitError::ObjectTooLarge { .. }
        | GitError::PackTooLarge { .. }
        | GitError::NotACommit { .. }
        | GitError::OtherCommit { .. }
        | GitError::Transport { .. }
        | GitError::Status { .. }
        | GitError::Mirror { .. }
        | GitError::Object { .. }
        | GitError::FileName { .. }
        | GitError::Path { .. }
        | GitError::TooLarge { .. }
        | GitError::Output { .. }
        | GitError::Previous { .. }
        | GitError::Ignore { .. }
        | GitError::Interrupted { .. } => return None,
    })
}

fn credentials(sent: CredentialOrigin) -> &'static str {
    match sent {
        CredentialOrigin::None => {
            "set spec.secretRef to a Secret with the keys username and password, or bearerToken"
        }
        CredentialOrigin::Url => "set spec.secretRef in place of the credentials in spec.url",
        CredentialOrigin::Given => "correct the Secret of spec.secretRef",
    }
}

fn reference(field: Option<&'static str>, default_branch: Option<&str>) -> String {
    let advice = match field {
        Some(field) => format!("correct {field}"),
        None => "spec.ref is not set, which means the branch master: set spec.ref.branch".to_owned(),
    };
    match default_branch {
        Some(branch) => format!("{advice}; the default branch of the repository is {branch}"),
        None => advice,
    }
}

fn submodule(error: &SubmoduleError) -> Option<&'static str> {
    match error {
        SubmoduleError::File { .. } | SubmoduleError::Endpoint { .. } | SubmoduleError::Escapes { .. } => {
            Some("correct the file .gitmodules of the repository that has the submodule")
        }
        SubmoduleError::NoKey { .. } => Some(
            "set the URL in .gitmodules to a relative one, or to one over HTTPS that is read without credentials",
        ),
        SubmoduleError::TooMany { .. } | SubmoduleError::TooDeep { .. } => {
            Some("raise the flag of source-controller if the repository needs more")
        }
        SubmoduleError::Git(source) => match source.as_ref() {
            GitError::Unauthenticated { .. }
            | GitError::Forbidden { .. }
            | GitError::RepositoryNotFound { .. } => Some(
                "check the URL in .gitmodules; the credentials of spec.secretRef are sent to the server of spec.url only",
            ),
            GitError::CommitNotFound { .. } => Some("push the commit to the repository of the submodule"),
            _ => None,
        },
    }
}

fn ssh(fault: &SshFault) -> Option<&'static str> {
    match fault {
        SshFault::HostKey(HostKeyError::Unknown { .. }) => Some(
            "compare the fingerprint with the one that the server's operator publishes, and add the host key to the key known_hosts \
             in the Secret of spec.secretRef",
        ),
        SshFault::HostKey(HostKeyError::Mismatch { .. }) => Some(
            "ask the server's operator whether the host key was replaced; only then replace it in the key known_hosts in the \
             Secret of spec.secretRef",
        ),
        SshFault::HostKey(HostKeyError::Revoked { .. } | HostKeyError::Certificate { .. }) => Some(
            "ask the server's operator for its host key, and correct the key known_hosts in the Secret of spec.secretRef",
        ),
        SshFault::Rejected { .. } => Some(
            "add the public key to the repository on the server, or correct the key identity in the Secret of spec.secretRef or the \
             user in spec.url",
        ),
        SshFault::WeakSignature => {
            Some("set the key identity in the Secret of spec.secretRef to an ed25519 key")
        }
        SshFault::Handshake { .. } | SshFault::Command { .. } | SshFault::RepositoryNotFound => None,
    }
}

fn connection(error: &ConnectionError) -> Option<&'static str> {
    match error {
        ConnectionError::UnknownAuthority => {
            Some("set the key ca.crt in the Secret of spec.secretRef to the CA certificate of the server")
        }
        ConnectionError::Unresolved(_) => Some("correct spec.url, or check the DNS of the cluster"),
        ConnectionError::Refused | ConnectionError::Unreachable | ConnectionError::TimedOut => {
            Some("check spec.url, the server and the network policies between")
        }
        ConnectionError::Tls { .. } => Some("use the http:// URL if the server has no TLS"),
        ConnectionError::Redirect(_) => Some("set spec.url to the URL that the server redirects to"),
        ConnectionError::Certificate { .. }
        | ConnectionError::Address(_)
        | ConnectionError::Scheme { .. }
        | ConnectionError::Reset
        | ConnectionError::Truncated
        | ConnectionError::Malformed
        | ConnectionError::Other(_) => None,
    }
}
