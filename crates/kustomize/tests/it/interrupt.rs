//! How a build is canceled from outside, and how it reserves memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use plumb_filetree::{MemoryTree, RelPath, TreeLimits};
use plumb_kustomize::{Build, BuildError, Charge, ErrorKind, Interrupt, Limits, Options, build};

/// A kustomization of so many ConfigMaps, each in a file of its own.
fn built(maps: usize, limits: Limits) -> Result<Build, BuildError> {
    let mut tree = MemoryTree::builder(TreeLimits::default());
    let names: Vec<String> = (0..maps).map(|number| format!("map{number}.yaml")).collect();
    let mut file = |name: &str, text: String| {
        let path = RelPath::parse(name).expect("a plain name");
        tree.file(&path, text.into_bytes().into(), false).expect("within the limits");
    };
    file("kustomization.yaml", format!("resources: [{}]", names.join(", ")));
    for name in &names {
        let id = name.trim_end_matches(".yaml");
        file(name, format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {id}}}}}"));
    }
    build(&tree.build(), &RelPath::root(), &Options { limits, ..Options::default() })
}

#[test]
fn a_canceled_build_ends_at_its_next_step() {
    let interrupt = Interrupt::default();
    let (requested, calls) = (interrupt.clone(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&calls);
    let charge = Charge::new(move |_| {
        if counted.fetch_add(1, Ordering::Relaxed) == 2 {
            requested.set();
        }
        Ok(())
    });
    let error = built(100, Limits { interrupt, charge, ..Limits::default() }).unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Interrupted, "the build was interrupted"));
    assert_eq!(calls.load(Ordering::Relaxed), 3, "no object was taken in after it");
}

#[test]
fn a_build_reserves_its_memory_and_ends_where_that_is_rejected() {
    let all = |maps| {
        let bytes = Arc::new(AtomicU64::new(0));
        let sum = Arc::clone(&bytes);
        let charge = Charge::new(move |more| {
            sum.fetch_add(more, Ordering::Relaxed);
            Ok(())
        });
        built(maps, Limits { charge, ..Limits::default() }).unwrap();
        bytes.load(Ordering::Relaxed)
    };
    let (one, ten) = (all(1), all(10));
    assert!(one > 100 && ten > 9 * one && ten < 11 * one, "{one} {ten}");
    let left = Mutex::new(3 * one);
    let charge = Charge::new(move |more| {
        let mut left = left.lock().unwrap();
        *left = left.checked_sub(more).ok_or("objects of a Kustomization exceed the limit of 3 bytes")?;
        Ok(())
    });
    let error = built(10, Limits { charge, ..Limits::default() }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OverLimit);
    assert!(error.message().ends_with("objects of a Kustomization exceed the limit of 3 bytes"), "{error}");
}
