//! A small pack whose deltas need 160 MiB while they are resolved: each object is the base of the next one and of a further one, so
//! that all bases are held until the end of the chain. Harmless by its size; the test lowers the budget of the guard below it.

use std::io::Write as _;

use flate2::{Compression, write::ZlibEncoder};
use plumb_testkit::hostile::{GIT_RESULT, HostileServer, Hostility, git_handshake, packet};

/// Bytes of each object.
const OBJECT_BYTES: usize = 2 << 20;
/// Objects that are the base of others.
const LEVELS: u32 = 320;
const BLOB: u8 = 3;
const OFS_DELTA: u8 = 6;
/// The longest content of a packet of a side band.
const BAND_BYTES: usize = 60_000;

/// A Git server whose only commit comes in such a pack.
pub fn server() -> HostileServer {
    let pack = pack();
    HostileServer::scripted(move |line, body| {
        let asks = |command: &str| body.windows(command.len()).any(|window| window == command.as_bytes());
        let body = match () {
            () if line.starts_with("GET ") => return git_handshake(),
            () if asks("command=ls-refs") => {
                [packet(&format!("{} refs/heads/main\n", "1".repeat(40))), b"0000".to_vec()].concat()
            }
            () => [packet("packfile\n"), side_band(&pack), b"0000".to_vec()].concat(),
        };
        Hostility::Whole { status: 200, headers: Vec::new(), content_type: GIT_RESULT, body }
    })
    .unwrap()
}

fn side_band(bytes: &[u8]) -> Vec<u8> {
    let chunk = |bytes: &[u8]| [format!("{:04x}\u{1}", bytes.len() + 5).as_bytes(), bytes].concat();
    bytes.chunks(BAND_BYTES).flat_map(chunk).collect()
}

fn pack() -> Vec<u8> {
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    pack.extend((1 + 2 * LEVELS).to_be_bytes());
    let mut base = pack.len();
    entry(&mut pack, BLOB, OBJECT_BYTES, &[], &vec![0; OBJECT_BYTES]);
    for level in 0..LEVELS {
        // The one that ends here comes first: of two, the later one is resolved first.
        for is_next in [false, true] {
            let at = pack.len();
            let delta = delta(&[&level.to_be_bytes()[..], &[u8::from(is_next)]].concat());
            let offset = offset(at - base);
            entry(&mut pack, OFS_DELTA, delta.len(), &offset, &delta);
            if is_next {
                base = at;
            }
        }
    }
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(&pack);
    let id = hasher.try_finalize().unwrap();
    pack.extend_from_slice(id.as_slice());
    pack
}

/// The base with its first bytes replaced.
fn delta(first: &[u8]) -> Vec<u8> {
    let (mut delta, rest) = (Vec::new(), OBJECT_BYTES - first.len());
    for _ in ["size of the base", "size of the result"] {
        varint(&mut delta, OBJECT_BYTES);
    }
    delta.push(u8::try_from(first.len()).unwrap());
    delta.extend_from_slice(first);
    // Copy, with one byte of the offset and three of the size.
    delta.extend([0xf1, u8::try_from(first.len()).unwrap()]);
    delta.extend_from_slice(&u32::try_from(rest).unwrap().to_le_bytes()[..3]);
    delta
}

fn varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
}

/// The offset of a base, as a pack encodes it.
fn offset(mut distance: usize) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(distance & 0x7f).unwrap()];
    while distance >= 0x80 {
        distance = (distance >> 7) - 1;
        bytes.insert(0, u8::try_from(distance & 0x7f).unwrap() | 0x80);
    }
    bytes
}

fn entry(pack: &mut Vec<u8>, kind: u8, size: usize, base: &[u8], content: &[u8]) {
    let first = (kind << 4) | u8::try_from(size & 0xf).unwrap();
    if size >= 16 {
        pack.push(first | 0x80);
        varint(pack, size >> 4);
    } else {
        pack.push(first);
    }
    pack.extend_from_slice(base);
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    pack.extend(encoder.finish().unwrap());
}
