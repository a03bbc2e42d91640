//! Any bytes as a JSON patch of all objects; behind a line `%%%`, as the object.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plumb_kustomize_fuzz::{OBJECTS, check, halves};

fuzz_target!(|bytes: &[u8]| {
    let (patch, object) = halves(bytes);
    let objects = object.unwrap_or(OBJECTS.as_bytes());
    for kustomization in [
        "resources: [a.yaml]\npatches:\n- path: p.yaml\n  target: {kind: Deployment|Own|X}\n",
        "resources: [a.yaml]\npatchesJson6902:\n- path: p.yaml\n  target: {name: web|x, kind: Service|X, version: v1}\n",
    ] {
        check(&[("kustomization.yaml", kustomization.as_bytes()), ("a.yaml", objects), ("p.yaml", patch)]);
    }
});
