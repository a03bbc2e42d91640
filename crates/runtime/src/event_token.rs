//! The token by which notification-controller distinguishes the controllers from others that post events. Read anew at each use, so
//! that a changed Secret that is mounted counts at once.

use std::io;
use std::path::Path;

use plumb_api::sealed::Sealed;
use tokio::io::AsyncReadExt as _;

/// A longer token is refused.
const TOKEN_BYTES_MAX: usize = 4096;

/// Reads the token of a file, without white space around it. An empty one is an error: it would let everyone in.
pub async fn read_event_token(file: &Path) -> io::Result<Sealed> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(TOKEN_BYTES_MAX).unwrap_or(u64::MAX);
    tokio::fs::File::open(file).await?.take(limit + 1).read_to_end(&mut bytes).await?;
    let token = bytes.trim_ascii();
    if token.is_empty() || bytes.len() > TOKEN_BYTES_MAX || !token.iter().all(u8::is_ascii_graphic) {
        let text = format!("it must hold 1 to {TOKEN_BYTES_MAX} bytes of printable ASCII");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(Sealed::new(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_trimmed_and_an_empty_or_odd_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, " t0ken\n").unwrap();
        assert!(read_event_token(&file).await.unwrap().matches(b"t0ken"));
        for text in ["", " \n", "a b", "a\nb", &"x".repeat(TOKEN_BYTES_MAX + 1)] {
            std::fs::write(&file, text).unwrap();
            assert!(read_event_token(&file).await.is_err(), "{text:.10}");
        }
        assert!(read_event_token(&folder.path().join("none")).await.is_err());
    }
}
