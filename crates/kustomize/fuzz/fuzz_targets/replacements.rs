//! Any bytes as a file of replacements; behind a line `%%%`, as the object.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plumb_kustomize_fuzz::{OBJECTS, check, halves};

fuzz_target!(|bytes: &[u8]| {
    let (entries, object) = halves(bytes);
    let objects = object.unwrap_or(OBJECTS.as_bytes());
    let kustomization = b"resources: [a.yaml]\nreplacements: [{path: r.yaml}]\n";
    check(&[("kustomization.yaml", kustomization), ("a.yaml", objects), ("r.yaml", entries)]);
});
