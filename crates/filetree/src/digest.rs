//! Digests of files: by which algorithm, in one go or piece by piece, as lowercase hexadecimal. No I/O.

use std::fmt::{self, Display};
use std::str::FromStr;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// An algorithm whose digests tell files apart also where somebody wants two files of one digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// BLAKE3, 256 bits.
    Blake3,
}

/// A name that is not one of a supported algorithm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("algorithm {name:?} is not supported: use sha256, sha384, sha512 or blake3")]
pub struct DigestAlgorithmError {
    /// The name.
    pub name: String,
}

impl DigestAlgorithm {
    /// The name, as digests begin with it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Blake3 => "blake3",
        }
    }

    /// How many hexadecimal digits a digest has.
    fn digits(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake3 => 64,
            Self::Sha384 => 96,
            Self::Sha512 => 128,
        }
    }
}

impl FromStr for DigestAlgorithm {
    type Err = DigestAlgorithmError;

    fn from_str(name: &str) -> Result<Self, DigestAlgorithmError> {
        let all = [Self::Sha256, Self::Sha384, Self::Sha512, Self::Blake3];
        let found = all.into_iter().find(|algorithm| algorithm.as_str() == name);
        found.ok_or_else(|| DigestAlgorithmError { name: name.to_owned() })
    }
}

impl Display for DigestAlgorithm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The digest of a file, written `algorithm:hex`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDigest {
    algorithm: DigestAlgorithm,
    text: String,
}

/// A text that is not the digest of a file by a supported algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a digest of sha256, sha384, sha512 or blake3 in hexadecimal digits")]
pub struct FileDigestError;

impl FileDigest {
    /// By which algorithm.
    pub fn algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    /// The hexadecimal digits.
    pub fn hex(&self) -> &str {
        self.text.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn new(algorithm: DigestAlgorithm, hex: &str) -> Self {
        Self { algorithm, text: format!("{algorithm}:{hex}") }
    }

    /// Of some bytes.
    pub fn of(algorithm: DigestAlgorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }
}

impl FromStr for FileDigest {
    type Err = FileDigestError;

    fn from_str(text: &str) -> Result<Self, FileDigestError> {
        let (name, hex) = text.split_once(':').ok_or(FileDigestError)?;
        let algorithm: DigestAlgorithm = name.parse().map_err(|_| FileDigestError)?;
        let is_hex = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hex.len() != algorithm.digits() || !is_hex {
            return Err(FileDigestError);
        }
        Ok(Self::new(algorithm, hex))
    }
}

impl Display for FileDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// The hexadecimal SHA-256 of some bytes.
pub fn sha256_hex(bytes: &[u8]) -> String {
    FileDigest::of(DigestAlgorithm::Sha256, bytes).hex().to_owned()
}

/// A digest that is fed piece by piece, by SHA-256 unless another algorithm is named.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
    /// 2 KiB.
    Blake3(Box<blake3::Hasher>),
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new(DigestAlgorithm::Sha256)
    }
}

impl Hasher {
    /// By an algorithm.
    pub fn new(algorithm: DigestAlgorithm) -> Self {
        Self(match algorithm {
            DigestAlgorithm::Sha256 => State::Sha256(Sha256::new()),
            DigestAlgorithm::Sha384 => State::Sha384(Sha384::new()),
            DigestAlgorithm::Sha512 => State::Sha512(Sha512::new()),
            DigestAlgorithm::Blake3 => State::Blake3(Box::default()),
        })
    }

    /// Feeds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha384(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
            State::Blake3(state) => {
                state.update(bytes);
            }
        }
    }

    /// The digest of all that was fed.
    pub fn finish(self) -> FileDigest {
        let (algorithm, hex) = match self.0 {
            State::Sha256(state) => (DigestAlgorithm::Sha256, HEXLOWER.encode(&state.finalize())),
            State::Sha384(state) => (DigestAlgorithm::Sha384, HEXLOWER.encode(&state.finalize())),
            State::Sha512(state) => (DigestAlgorithm::Sha512, HEXLOWER.encode(&state.finalize())),
            State::Blake3(state) => (DigestAlgorithm::Blake3, HEXLOWER.encode(state.finalize().as_bytes())),
        };
        FileDigest::new(algorithm, &hex)
    }

    /// The hexadecimal digits of the digest of all that was fed.
    pub fn finish_hex(self) -> String {
        self.finish().hex().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `printf abc | <algorithm>sum` prints.
    const ABC: [(DigestAlgorithm, &str); 4] = [
        (DigestAlgorithm::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            DigestAlgorithm::Sha384,
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
        ),
        (
            DigestAlgorithm::Sha512,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
        (DigestAlgorithm::Blake3, "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
    ];

    #[test]
    fn digest_of_pieces_equals_digest_of_the_whole() {
        for (algorithm, expect) in ABC {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"ab");
            hasher.update(b"c");
            assert_eq!(hasher.finish_hex(), expect);
            let whole = FileDigest::of(algorithm, b"abc");
            assert_eq!(whole.to_string(), format!("{algorithm}:{expect}"));
            assert_eq!(whole.to_string().parse(), Ok(whole));
        }
        assert_eq!(sha256_hex(b"abc"), ABC[0].1);
    }

    #[test]
    fn other_algorithms_and_lengths_are_rejected() {
        let hex = ABC[0].1;
        for bad in [
            "",
            "sha256:",
            "sha256",
            hex,
            &format!("sha256:{hex}0"),
            &format!("sha512:{hex}"),
            &format!("sha1:{}", &hex[..40]),
            &format!("md5:{}", &hex[..32]),
            &format!("SHA256:{hex}"),
            &format!("sha256:{}", hex.to_uppercase()),
            &format!("sha256: {}", &hex[1..]),
        ] {
            assert_eq!(bad.parse::<FileDigest>(), Err(FileDigestError), "{bad}");
        }
        let error = "sha1".parse::<DigestAlgorithm>().unwrap_err().to_string();
        assert!(error.contains("\"sha1\" is not supported: use sha256"), "{error}");
    }
}
