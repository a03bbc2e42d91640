//! The text around a signature: its first and last line. One armor and nothing beside it.

use std::fmt;

use crate::error::VerifyError;

/// The kind of a signature, by its first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureFormat {
    /// OpenPGP.
    Pgp,
    /// SSH.
    Ssh,
    /// S/MIME.
    X509,
    /// Something else.
    Unknown,
    /// There is no signature.
    Empty,
}

impl fmt::Display for SignatureFormat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Pgp => "openpgp",
            Self::Ssh => "ssh",
            Self::X509 => "x509",
            Self::Unknown => "unknown",
            Self::Empty => "empty",
        })
    }
}

/// First lines by which Git finds a signature.
pub(crate) const BEGINS: [(&str, SignatureFormat); 4] = [
    ("-----BEGIN PGP SIGNATURE-----", SignatureFormat::Pgp),
    ("-----BEGIN PGP MESSAGE-----", SignatureFormat::Unknown),
    ("-----BEGIN SIGNED MESSAGE-----", SignatureFormat::X509),
    ("-----BEGIN SSH SIGNATURE-----", SignatureFormat::Ssh),
];

impl SignatureFormat {
    /// The kind of a signature.
    pub fn of(signature: &str) -> Self {
        let signature = signature.trim_start();
        if signature.is_empty() {
            return Self::Empty;
        }
        let found = BEGINS.iter().find(|(begin, _)| signature.starts_with(begin));
        found.map_or(Self::Unknown, |(_, format)| *format)
    }
}

/// The lines between `begin` and `end`. A second armor, or text beside the first one, is rejected: programs disagree on which counts.
pub(crate) fn inner<'a>(
    signature: &'a str,
    label: &str,
    format: &'static str,
) -> Result<Vec<&'a str>, VerifyError> {
    let broken = |problem: &str| VerifyError::Unreadable { format, problem: problem.to_owned() };
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let mut lines = signature.trim().lines().map(str::trim_end);
    if lines.next() != Some(&begin) {
        return Err(broken("the first line is another one"));
    }
    let mut inner: Vec<&str> = lines.collect();
    if inner.pop() != Some(&end) {
        return Err(broken("the last line is another one"));
    }
    if inner.iter().any(|line| line.starts_with("-----")) {
        return Err(broken("it is more than one signature"));
    }
    Ok(inner)
}
