//! kustomize, natively: what `kustomize build` 5.8.1 prints for a directory of a tree, byte for byte, or why it cannot.
//!
//! The crate is pure: the tree is a value that the caller brings along, nothing else is read, nothing is executed, and
//! no state is shared between two builds. Any number of builds may run at once.
//!
//! # A build
//!
//! ```
//! use bytes::Bytes;
//! use plumb_filetree::{MemoryTree, RelPath, TreeLimits};
//! use plumb_kustomize::{Options, build};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut tree = MemoryTree::builder(TreeLimits::DEFAULT);
//! for (path, text) in [
//!     ("base/kustomization.yaml", "resources: [cm.yaml]\n"),
//!     ("base/cm.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"),
//!     ("prod/kustomization.yaml", "resources: [../base]\nnamePrefix: prod-\n"),
//! ] {
//!     tree.file(&RelPath::parse(path)?, Bytes::from(text), false)?;
//! }
//! let built = build(&tree.build(), &RelPath::parse("prod")?, &Options::default())?;
//! assert_eq!(built.to_yaml(), "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: prod-a\n");
//! assert_eq!(built.objects[0].origin, "/base/cm.yaml");
//! assert_eq!(built.objects[0].transformers[0].kind, "PrefixTransformer");
//! # Ok(())
//! # }
//! ```
//!
//! A tree is any implementation of [`FileTree`](plumb_filetree::FileTree): a tarball in memory, or a directory that is read
//! on demand. Paths in errors and origins begin with a slash at the tree's root.
//!
//! # What a result depends on
//!
//! [`Build::reads`] lists every path that was read and what was there, including missing paths. As long as
//! [`ReadSet::holds_in`] a newer tree, the same build gives the same result, and need not be done.
//!
//! ```
//! # use bytes::Bytes;
//! # use plumb_filetree::{MemoryTree, RelPath, TreeLimits};
//! # use plumb_kustomize::{Options, build};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tree = |note: &'static str| -> Result<_, Box<dyn std::error::Error>> {
//!     let mut tree = MemoryTree::builder(TreeLimits::DEFAULT);
//!     let object = "kind: ConfigMap\nmetadata: {name: a}\n";
//!     for (path, text) in [("kustomization.yaml", "resources: [a.yaml]\n"), ("a.yaml", object), ("notes.md", note)] {
//!         tree.file(&RelPath::parse(path)?, Bytes::from(text), false)?;
//!     }
//!     Ok(tree.build())
//! };
//! let built = build(&tree("old")?, &RelPath::root(), &Options::default())?;
//! assert!(built.reads.holds_in(&tree("new")?));
//! # Ok(())
//! # }
//! ```
//!
//! # What is rejected
//!
//! [`BuildError`] names file, line where it is known, object and field. [`BuildError::kind`] distinguishes what is wrong in the
//! input from what this engine does not do and from what is over a [limit](Limits):
//!
//! ```
//! # use bytes::Bytes;
//! # use plumb_filetree::{MemoryTree, RelPath, TreeLimits};
//! # use plumb_kustomize::{Options, ErrorKind, build};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut tree = MemoryTree::builder(TreeLimits::DEFAULT);
//! tree.file(&RelPath::parse("kustomization.yaml")?, Bytes::from("resources: [gone.yaml]\n"), false)?;
//! let error = build(&tree.build(), &RelPath::root(), &Options::default()).unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::Invalid);
//! assert!(error.to_string().starts_with("/kustomization.yaml: accumulating resources from 'gone.yaml'"));
//! # Ok(())
//! # }
//! ```
//!
//! Not executed, and rejected by name: exec and container functions, Go plugins, Helm charts, bases at a URL.
//!
//! # Where kustomize loses something
//!
//! kustomize drops list items whose keys are missing or repeated, changes selectors through values that it shares, and
//! more. The bytes are the same here, and [`Build::warnings`] reports it. Remaining differences are listed in
//! `EXCEPTIONS.md` of this crate.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod accumulate;
mod build;
mod config;
mod error;
mod field;
mod generators;
mod identity;
mod interrupt;
mod limits;
mod load;
mod order;
mod passage;
mod patches;
mod plugins;
mod provenance;
mod reading;
mod references;
mod reordered;
mod replacements;
mod resource;
mod schema;
mod selector;
mod set;
mod settings;
mod shape;
mod shares;
mod transformers;
mod vars;
mod warning;

pub use build::{Additions, Build, Built, Named, Options, Order, Reach, build, build_with};
pub use error::{BuildError, ErrorKind};
pub use interrupt::{Charge, Interrupt};
pub use limits::Limits;
pub use provenance::Transformation;
pub use reading::{ReadSet, Seen};
pub use settings::{Blank, FILE_NAMES, ImageEntry as Image, PatchEntry as Patch, SelectorEntry as Selector};
pub use warning::{Warning, WarningKind};
