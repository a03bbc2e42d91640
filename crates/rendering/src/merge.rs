//! The fields of a Kustomization's spec in the words of kustomize.

use plumb_api::kustomize;
use plumb_filetree::{EntryKind, FileTree, RelPath};
use plumb_kustomize::{Additions, Blank, Image, Named, Patch, ReadSet, Selector};

use crate::spec::{MissingComponents, RenderSpec};

/// What the spec adds to the kustomization of a directory.
pub(crate) fn additions(
    tree: &dyn FileTree,
    directory: &RelPath,
    spec: &RenderSpec,
    generated: Option<Vec<String>>,
    reads: &mut ReadSet,
) -> Additions {
    let mut is_there = |component: &Named| {
        let path = directory.resolve(&component.text);
        path.is_ok_and(|path| reads.kind(tree, &path) == Some(EntryKind::Dir))
    };
    let components = spec.components.iter().enumerate();
    let components = components.map(|(index, text)| named(text, format!("spec.components[{index}]")));
    let components = match spec.missing_components {
        MissingComponents::Refused => components.collect(),
        MissingComponents::Ignored => components.filter(&mut is_there).collect(),
    };
    let added = |text: &Option<String>, field: &str| text.as_ref().map(|text| named(text, field));
    Additions {
        blank: Blank::Allowed,
        generated,
        namespace: added(&spec.target_namespace, "spec.targetNamespace"),
        name_prefix: added(&spec.name_prefix, "spec.namePrefix"),
        name_suffix: added(&spec.name_suffix, "spec.nameSuffix"),
        images: spec.images.iter().enumerate().map(|(index, entry)| image(entry, index)).collect(),
        patches: spec.patches.iter().enumerate().map(|(index, entry)| patch(entry, index)).collect(),
        components,
        build_metadata: spec.build_metadata.clone(),
    }
}

fn named(text: &str, field: impl Into<String>) -> Named {
    Named { text: text.to_owned(), field: field.into() }
}

fn image(image: &kustomize::Image, index: usize) -> Image {
    let kustomize::Image { digest, name, new_name, new_tag } = image;
    Image {
        name: name.clone(),
        new_name: new_name.clone().unwrap_or_default(),
        new_tag: new_tag.clone().unwrap_or_default(),
        tag_suffix: String::new(),
        digest: digest.clone().unwrap_or_default(),
        label: format!("spec.images[{index}]"),
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
