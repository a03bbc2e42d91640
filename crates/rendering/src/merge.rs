//! The fields of a Kustomization's spec in the words of kustomize.

use plumb_api::kustomize;
use plumb_filetree::{EntryKind, FileTree, RelPath};
use plumb_kustomize::{Additions, Blank, Image, Patch, ReadSet, Selector};

use crate::spec::{MissingComponents, RenderSpec};

/// What the spec adds to the kustomization of a directory.
pub(crate) fn additions(
    tree: &dyn FileTree,
    directory: &RelPath,
    spec: &RenderSpec,
    generated: Option<Vec<String>>,
    reads: &mut ReadSet,
) -> Additions {
    let mut is_there = |component: &&String| {
        let path = directory.resolve(component);
        path.is_ok_and(|path| reads.kind(tree, &path) == Some(EntryKind::Dir))
    };
    let components = spec.components.iter();
    let components = match spec.missing_components {
        MissingComponents::Refused => components.cloned().collect(),
        MissingComponents::Ignored => components.filter(&mut is_there).cloned().collect(),
    };
    Additions {
        blank: Blank::Allowed,
        generated,
        namespace: spec.target_namespace.clone(),
        name_prefix: spec.name_prefix.clone(),
        name_suffix: spec.name_suffix.clone(),
        images: spec.images.iter().map(image).collect(),
        patches: spec.patches.iter().enumerate().map(|(index, entry)| patch(entry, index)).collect(),
        components,
        build_metadata: spec.build_metadata.clone(),
    }
}

fn image(image: &kustomize::Image) -> Image {
    let kustomize::Image { digest, name, new_name, new_tag } = image;
    Image {
        name: name.clone(),
        new_name: new_name.clone().unwrap_or_default(),
        new_tag: new_tag.clone().unwrap_or_default(),
        tag_suffix: String::new(),
        digest: digest.clone().unwrap_or_default(),
    }
}

fn patch(entry: &kustomize::Patch, index: usize) -> Patch {
    let kustomize::Patch { patch, target } = entry;
    Patch {
        patch: patch.clone(),
        target: target.as_ref().map(selector),
        label: format!("spec.patches[{index}]"),
        ..Patch::default()
    }
}

fn selector(selector: &kustomize::Selector) -> Selector {
    let kustomize::Selector { annotation_selector, group, kind, label_selector, name, namespace, version } =
        selector.clone();
    Selector {
        group: group.unwrap_or_default(),
        version: version.unwrap_or_default(),
        kind: kind.unwrap_or_default(),
        name: name.unwrap_or_default(),
        namespace: namespace.unwrap_or_default(),
        label_selector: label_selector.unwrap_or_default(),
        annotation_selector: annotation_selector.unwrap_or_default(),
    }
}
