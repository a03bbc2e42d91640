//! PEM: the blocks of a file. Text around them, and headers in them, are skipped.

use base64::{Engine as _, prelude::BASE64_STANDARD};

/// A block that a file has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    /// What it is: `PUBLIC KEY`.
    pub label: &'a str,
    /// Its content.
    pub der: Vec<u8>,
}

/// The blocks of a file, in their order; one that is not base64, or does not end, is left out.
pub(crate) fn blocks(text: &[u8]) -> impl Iterator<Item = Block<'_>> {
    let mut rest = str::from_utf8(text).unwrap_or_default();
    std::iter::from_fn(move || {
        loop {
            let (label, after) = rest.split_once("-----BEGIN ")?.1.split_once("-----")?;
            let Some((body, next)) = after.split_once(&format!("-----END {label}-----")) else {
                rest = after;
                continue;
            };
            rest = next;
            let lines = body.lines().filter(|line| !line.contains(':')).map(str::trim);
            if let Ok(der) = BASE64_STANDARD.decode(lines.collect::<String>()) {
                return Some(Block { label, der });
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blocks_of_a_file_are_read() {
        let text = "a note\n-----BEGIN A B-----\nQUJD\r\nREVG\r\n-----END A B-----\n\
            -----BEGIN C-----\n%\n-----END C-----\n-----BEGIN D-----\nK: v\n\nQQ==\n-----END D-----\n-----BEGIN E-----\nQQ==";
        let found: Vec<_> = blocks(text.as_bytes()).map(|block| (block.label, block.der)).collect();
        assert_eq!(found, [("A B", b"ABCDEF".to_vec()), ("D", b"A".to_vec())]);
        assert_eq!(blocks(b"\xff").count() + blocks(b"").count() + blocks(b"-----BEGIN ").count(), 0);
    }
}
