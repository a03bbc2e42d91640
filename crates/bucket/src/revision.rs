//! The revision of a bucket: a digest over the keys and ETags of its objects. It is written as Flux writes it, so that a change from
//! one controller to the other is no new revision. Pure.

use plumb_filetree::digest::Hasher;

use crate::listing::Object;

/// `sha256:` and the digest of a line per object, in the order of their keys: the key, a space, the ETag.
pub fn revision<'a>(objects: impl IntoIterator<Item = &'a Object>) -> String {
    let mut sorted: Vec<&Object> = objects.into_iter().collect();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    let mut hasher = Hasher::default();
    for Object { key, etag, .. } in sorted {
        hasher.update(format!("{key} {etag}\n").as_bytes());
    }
    format!("sha256:{}", hasher.finish_hex())
}

#[cfg(test)]
mod tests {
    use plumb_filetree::digest::sha256_hex;

    use super::*;

    fn object(key: &str, etag: &str) -> Object {
        Object { key: key.to_owned(), etag: etag.to_owned(), size: Some(0), generation: None, modified: None }
    }

    #[test]
    fn keys_are_sorted_and_each_has_a_line() {
        let objects = [object("b.yaml", "2"), object("a/b", "\"0x1\""), object("a", "1")];
        let text = "a 1\na/b \"0x1\"\nb.yaml 2\n";
        assert_eq!(revision(&objects), format!("sha256:{}", sha256_hex(text.as_bytes())));
        // `sha256sum </dev/null`: what Flux writes for an empty bucket.
        assert_eq!(revision(&[]), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
