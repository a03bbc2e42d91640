//! Any bytes as a strategic merge patch, for the objects that it names and for all; behind a line `%%%`, as the object.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plumb_kustomize_fuzz::{OBJECTS, check, halves};

fuzz_target!(|bytes: &[u8]| {
    let (patch, object) = halves(bytes);
    let objects = object.unwrap_or(OBJECTS.as_bytes());
    for kustomization in [
        "resources: [a.yaml]\npatchesStrategicMerge: [p.yaml]\n",
        "resources: [a.yaml]\npatches:\n- path: p.yaml\n  target: {kind: .*}\n  options: {allowNameChange: true, allowKindChange: true}\n",
    ] {
        check(&[("kustomization.yaml", kustomization.as_bytes()), ("a.yaml", objects), ("p.yaml", patch)]);
    }
});
