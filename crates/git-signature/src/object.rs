//! Which bytes of a commit or tag are signed: the object as Git hashes it, less its signature. An object that programs read in
//! different ways is rejected rather than interpreted.

use crate::{armor::BEGINS, error::ObjectError};

/// Bytes of a signature, at most. The longest that are in use, of RSA keys with 16384 bits, have 3 KiB.
pub const SIGNATURE_BYTES_MAX: usize = 64 << 10;

const SHA1_HEADER: &str = "gpgsig";
const SHA256_HEADER: &str = "gpgsig-sha256";

/// The hash function of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectFormat {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

/// An object in two parts: what is signed, and the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedObject {
    payload: Vec<u8>,
    signature: String,
}

impl SignedObject {
    /// A commit. Its signature is in a header; that of the other object format, which a repository that is being converted has, is
    /// left out like Git leaves it out.
    pub fn commit(raw: &[u8], format: ObjectFormat) -> Result<Self, ObjectError> {
        let own = match format {
            ObjectFormat::Sha1 => SHA1_HEADER,
            ObjectFormat::Sha256 => SHA256_HEADER,
        };
        let (payload, signature) = split_headers(raw, &COMMIT, Some(own))?;
        Self::new(payload, &signature, COMMIT.kind)
    }

    /// A tag. Its signature is at its end: from the last line on that begins one.
    pub fn tag(raw: &[u8]) -> Result<Self, ObjectError> {
        let (signed, signature) = raw.split_at(signature_start(raw));
        let (payload, _) = split_headers(signed, &TAG, None)?;
        Self::new(payload, signature, TAG.kind)
    }

    fn new(payload: Vec<u8>, signature: &[u8], kind: &'static str) -> Result<Self, ObjectError> {
        if signature.len() > SIGNATURE_BYTES_MAX {
            return Err(ObjectError::TooLarge { kind, max: SIGNATURE_BYTES_MAX });
        }
        let signature = String::from_utf8(signature.to_vec())
            .map_err(|_| ObjectError::Malformed { kind, problem: "its signature is not text" })?;
        Ok(Self { payload, signature })
    }

    /// The bytes that are signed.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The name of a tag, by its one `tag` header; none where there is not exactly one.
    pub fn tag_name(&self) -> Option<&[u8]> {
        let lines = self.payload.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
        let mut names = lines.filter_map(|line| line.strip_prefix(b"tag "));
        names.next().filter(|_| names.next().is_none())
    }

    /// The signature with its armor; empty where there is none.
    pub fn signature(&self) -> &str {
        &self.signature
    }
}

/// What is expected of the headers of an object.
struct Shape {
    kind: &'static str,
    first: &'static str,
    /// Signature headers come after this one: before it, they could hide what the object is about.
    last: &'static str,
}

const COMMIT: Shape = Shape { kind: "commit", first: "tree", last: "committer" };
const TAG: Shape = Shape { kind: "tag", first: "object", last: "tag" };

/// What the lines that continue a header belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    Kept,
    OwnSignature,
    OtherSignature,
}

/// The object without its signature headers, and the value of the one that counts.
fn split_headers(
    raw: &[u8],
    shape: &Shape,
    own: Option<&'static str>,
) -> Result<(Vec<u8>, Vec<u8>), ObjectError> {
    let malformed = |problem| ObjectError::Malformed { kind: shape.kind, problem };
    let mut payload = Vec::with_capacity(raw.len());
    let (mut signature, mut seen) = (Vec::new(), Vec::new());
    let (mut header, mut is_signable) = (None, false);
    let mut rest = raw;
    while !rest.is_empty() && !rest.starts_with(b"\n") {
        let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
        let (line, after) = rest.split_at(length);
        rest = after;
        if let Some(continued) = line.strip_prefix(b" ") {
            match header.ok_or_else(|| malformed("it begins with a space"))? {
                Header::Kept => payload.extend_from_slice(line),
                Header::OwnSignature => signature.extend_from_slice(continued),
                Header::OtherSignature => {}
            }
            continue;
        }
        let name_length = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let (name, value) = line.split_at(name_length);
        if header.is_none() && name != shape.first.as_bytes() {
            return Err(malformed("it begins with another header"));
        }
        let Some(known) = signature_header(name, shape.kind)? else {
            is_signable |= name == shape.last.as_bytes();
            header = Some(Header::Kept);
            payload.extend_from_slice(line);
            continue;
        };
        if !is_signable {
            return Err(malformed("a signature stands before the other headers"));
        }
        if seen.contains(&known) {
            return Err(ObjectError::Repeated { kind: shape.kind, header: known });
        }
        seen.push(known);
        header = Some(if own == Some(known) { Header::OwnSignature } else { Header::OtherSignature });
        if own == Some(known) {
            signature.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
        }
    }
    payload.extend_from_slice(rest);
    Ok((payload, signature))
}

/// The signature header of this name, if it is one. Git drops whatever begins like one from what is signed; a header that only
/// begins so is rejected.
fn signature_header(name: &[u8], kind: &'static str) -> Result<Option<&'static str>, ObjectError> {
    if !name.starts_with(SHA1_HEADER.as_bytes()) {
        return Ok(None);
    }
    let known = [SHA1_HEADER, SHA256_HEADER].into_iter().find(|header| header.as_bytes() == name);
    let problem = "it has a signature header of an unknown kind";
    known.map(Some).ok_or(ObjectError::Malformed { kind, problem })
}

/// Where the signature of a tag begins; at its end where it has none.
fn signature_start(raw: &[u8]) -> usize {
    let (mut start, mut offset) = (raw.len(), 0);
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        if BEGINS.iter().any(|(begin, _)| line.starts_with(begin.as_bytes())) {
            start = offset;
        }
        offset += line.len();
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: &str = "tree 1\nparent 2\nauthor a\ncommitter c\n";

    fn commit(headers: &str) -> Result<(String, String), ObjectError> {
        let raw = format!("{HEADERS}{headers}\nSubject\n\ngpgsig in the text\n");
        let signed = SignedObject::commit(raw.as_bytes(), ObjectFormat::Sha1)?;
        Ok((String::from_utf8(signed.payload).unwrap(), signed.signature))
    }

    #[test]
    fn the_header_with_the_signature_is_left_out_and_nothing_else() {
        let rest = "\nSubject\n\ngpgsig in the text\n";
        for (headers, payload, signature) in [
            ("", "", ""),
            ("gpgsig one\n two\n  three\n", "", "one\ntwo\n three\n"),
            (
                "encoding x\ngpgsig one\nmergetag y\n gpgsig z\n",
                "encoding x\nmergetag y\n gpgsig z\n",
                "one\n",
            ),
            ("gpgsig one\ngpgsig-sha256 other\n of it\nx y\n", "x y\n", "one\n"),
            ("gpgsig one\r\n two\r\n", "", "one\r\ntwo\r\n"),
        ] {
            let expect = (format!("{HEADERS}{payload}{rest}"), signature.to_owned());
            assert_eq!(commit(headers), Ok(expect), "{headers:?}");
        }
    }

    #[test]
    fn each_object_format_has_its_header() {
        let raw = format!("{HEADERS}gpgsig one\ngpgsig-sha256 two\n\nSubject\n");
        let signed = SignedObject::commit(raw.as_bytes(), ObjectFormat::Sha256).unwrap();
        assert_eq!(signed.signature(), "two\n");
        assert_eq!(signed.payload(), format!("{HEADERS}\nSubject\n").as_bytes());
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_rejected() {
        let kind = "commit";
        let malformed = |problem| ObjectError::Malformed { kind, problem };
        let repeated = |header| ObjectError::Repeated { kind, header };
        for (headers, expect) in [
            ("gpgsig one\ngpgsig two\n", repeated("gpgsig")),
            ("gpgsig one\nx y\ngpgsig two\n", repeated("gpgsig")),
            ("gpgsig-sha256 one\ngpgsig-sha256 two\n", repeated("gpgsig-sha256")),
            ("gpgsig-sha512 one\n", malformed("it has a signature header of an unknown kind")),
            ("gpgsig\n one\n", malformed("it has a signature header of an unknown kind")),
        ] {
            assert_eq!(commit(headers), Err(expect), "{headers:?}");
        }
        for (raw, problem) in [
            ("gpgsig x\ntree 1\ncommitter c\n\n", "it begins with another header"),
            ("tree 1\ngpgsig x\n tree 2\ncommitter c\n\n", "a signature stands before the other headers"),
            (" x\n", "it begins with a space"),
            ("object 1\n\n", "it begins with another header"),
        ] {
            let actual = SignedObject::commit(raw.as_bytes(), ObjectFormat::Sha1);
            assert_eq!(actual, Err(malformed(problem)), "{raw:?}");
        }
    }

    #[test]
    fn the_last_signature_of_a_tag_counts_and_covers_what_stands_before_it() {
        let headers = "object 1\ntype commit\ntag v1\ntagger t\n";
        let pgp = "-----BEGIN PGP SIGNATURE-----\nx\n";
        let ssh = "-----BEGIN SSH SIGNATURE-----\ny\n";
        for (text, payload, signature) in [
            ("\nv1\n".to_owned(), "\nv1\n".to_owned(), String::new()),
            (format!("\nv1\n{pgp}"), "\nv1\n".to_owned(), pgp.to_owned()),
            (format!("\nv1\n{pgp}{ssh}"), format!("\nv1\n{pgp}"), ssh.to_owned()),
            (format!("\n not at the begin: {pgp}"), format!("\n not at the begin: {pgp}"), String::new()),
            (format!("gpgsig-sha256 z\n\nv1\n{ssh}"), "\nv1\n".to_owned(), ssh.to_owned()),
        ] {
            let signed = SignedObject::tag(format!("{headers}{text}").as_bytes()).unwrap();
            let expect = (format!("{headers}{payload}"), signature);
            assert_eq!((String::from_utf8(signed.payload).unwrap(), signed.signature), expect, "{text:?}");
        }
    }

    #[test]
    fn a_tag_has_one_name() {
        for (raw, name) in [
            ("object 1\ntype commit\ntag v1\ntagger t\n\ntag v2\n", Some("v1")),
            ("object 1\ntag v1\ntag v2\n\n", None),
            ("object 1\ntype commit\n\ntag v1\n", None),
            ("object 1\ntag \n\n", Some("")),
            ("object 1\nx y\n tag v1\n\n", None),
        ] {
            let tag = SignedObject::tag(raw.as_bytes()).unwrap();
            assert_eq!(tag.tag_name(), name.map(str::as_bytes), "{raw:?}");
        }
    }

    #[test]
    fn a_signature_over_the_limit_or_of_bytes_is_rejected() {
        let long = format!("gpgsig {}\n", "x".repeat(SIGNATURE_BYTES_MAX));
        assert_eq!(commit(&long), Err(ObjectError::TooLarge { kind: "commit", max: SIGNATURE_BYTES_MAX }));
        let raw = [HEADERS.as_bytes(), b"gpgsig \xff\n\n"].concat();
        let problem = "its signature is not text";
        assert_eq!(
            SignedObject::commit(&raw, ObjectFormat::Sha1),
            Err(ObjectError::Malformed { kind: "commit", problem })
        );
    }
}
