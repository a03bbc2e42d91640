//! Archives as fixtures.

use std::io::Write as _;

/// A `tar.gz` of files: path, content, mode. Paths are of at most 100 bytes and written as they are.
///
/// # Panics
/// If a path is longer.
pub fn tar_gz(files: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content, mode) in files {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().expect("the header is a GNU one").name[..path.len()]
            .copy_from_slice(path.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        tar.append(&header, *content).expect("memory takes every write");
    }
    let tar = tar.into_inner().expect("memory takes every write");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&tar).expect("memory takes every write");
    gzip.finish().expect("memory takes every write")
}
