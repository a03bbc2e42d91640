//! Names, tags and digests of images.

use plumb_manifests::yaml::Node;

use crate::error::BuildError;
use crate::field::{FieldSpec, Make, check_scalar, overwrite};
use crate::reading::Reader;
use crate::selector::Pattern;
use crate::set::ResourceSet;
use crate::settings::ImageEntry;

/// Replaces one image everywhere: in the containers of any object at any depth, then in the configured fields.
pub(crate) fn replace(
    set: &mut ResourceSet,
    entry: &ImageEntry,
    specs: &[FieldSpec],
    reader: &Reader<'_>,
) -> Result<(), BuildError> {
    let change = Change { entry, pattern: pattern(&entry.name)?, reader };
    reader.spend(change.pattern.cost_to_compile(), 0)?;
    for resource in set.iter_mut() {
        // A definition of a custom resource holds examples and schemas, not containers.
        if resource.kind() == "CustomResourceDefinition" {
            continue;
        }
        change.walk(&mut resource.value)?;
        for spec in specs {
            spec.visit_resource(resource, Make::Nothing, &mut |field| change.apply(field))?;
        }
    }
    Ok(())
}

struct Change<'e> {
    entry: &'e ImageEntry,
    pattern: Pattern,
    reader: &'e Reader<'e>,
}

/// The name is a pattern, as in kustomize; an invalid one is taken literally.
fn pattern(name: &str) -> Result<Pattern, BuildError> {
    let compile = |name: &str| {
        let rest = "(:[a-zA-Z0-9_.{}-]*)?(@sha256:[a-zA-Z0-9_.{}-]*)?";
        Pattern::compile(&format!("^{name}{rest}$"))
    };
    compile(name)
        .or_else(|_| compile(&regex::escape(name)))
        .map_err(|_| BuildError::over_limit(format!("image name {name:?} is too large a pattern")))
}

impl Change<'_> {
    /// The depth is limited by the reader, and so is this recursion.
    fn walk(&self, value: &mut Node) -> Result<(), BuildError> {
        match value {
            Node::Object(map) => {
                for (key, inner) in map.iter_mut() {
                    if let ("containers" | "initContainers", Node::Array(items)) = (key, &mut *inner) {
                        for item in items {
                            self.apply_to_container(item)?;
                            self.walk(item)?;
                        }
                    } else {
                        self.walk(inner)?;
                    }
                }
                Ok(())
            }
            Node::Array(items) => items.iter_mut().try_for_each(|item| self.walk(item)),
            Node::Null(_) | Node::Plain(_) | Node::String(_) => Ok(()),
        }
    }

    fn apply_to_container(&self, item: &mut Node) -> Result<(), BuildError> {
        match item {
            Node::Object(map) => map.get_mut("image").map_or(Ok(()), |image| self.apply(image)),
            Node::Null(_) => Ok(()),
            Node::Array(_) | Node::Plain(_) | Node::String(_) => {
                let noun = item.noun();
                Err(BuildError::invalid(format!(
                    "a container is {noun}, wrong node kind: expected MappingNode"
                )))
            }
        }
    }

    fn apply(&self, field: &mut Node) -> Result<(), BuildError> {
        match field {
            Node::String(image) if self.fits(image)? => {
                let changed = self.changed(image);
                overwrite(field, &changed);
            }
            Node::Plain(number) if self.fits(&number.text)? => {
                let changed = self.changed(&number.text);
                overwrite(field, &changed);
            }
            Node::String(_) | Node::Null(_) | Node::Plain(_) => {}
            Node::Array(_) | Node::Object(_) => return check_scalar(field),
        }
        Ok(())
    }

    fn fits(&self, image: &str) -> Result<bool, BuildError> {
        self.reader.spend(self.pattern.cost(), image.len())?;
        let is_match = self.pattern.is_match(image);
        if is_match {
            let ImageEntry { name: _, label: _, new_name, new_tag, tag_suffix, digest } = self.entry;
            let texts = [new_name, new_tag, tag_suffix, digest];
            self.reader.spend(1, texts.map(String::len).iter().sum())?;
        }
        Ok(is_match)
    }

    fn changed(&self, image: &str) -> String {
        let (name, tag, digest) = split(image);
        let ImageEntry { name: _, label: _, new_name, new_tag, tag_suffix, digest: new_digest } = self.entry;
        let name = if new_name.is_empty() { name } else { new_name };
        // A suffix goes behind the tag that is there, never behind a new one.
        let (tag, suffix, digest) = match (new_tag.as_str(), new_digest.as_str()) {
            ("", "") if tag_suffix.is_empty() => (tag, "", digest),
            ("", "") => (tag, tag_suffix.as_str(), ""),
            (tag, digest) => (tag, "", digest),
        };
        let tag = if tag.is_empty() && suffix.is_empty() { String::new() } else { format!(":{tag}{suffix}") };
        let digest = if digest.is_empty() { String::new() } else { format!("@{digest}") };
        format!("{name}{tag}{digest}")
    }
}

/// Name, tag and digest. A colon before the first slash belongs to a port.
fn split(image: &str) -> (&str, &str, &str) {
    let (image, digest) = match image.split_once('@') {
        Some((image, digest)) => (image, digest),
        None => (image, ""),
    };
    let path_start = image.find('/').map_or(0, |index| index + 1);
    match image[path_start..].find(':') {
        Some(index) => (&image[..path_start + index], &image[path_start + index + 1..], digest),
        None => (image, "", digest),
    }
}

#[cfg(test)]
mod tests {
    use plumb_filetree::{MemoryTree, TreeLimits};

    use super::*;
    use crate::limits::Limits;

    #[track_caller]
    fn change(entry: &ImageEntry, field: &mut Node) {
        let (tree, limits) = (MemoryTree::builder(TreeLimits::DEFAULT).build(), Limits::default());
        let (pattern, reader) = (pattern(&entry.name).unwrap(), &Reader::new(&tree, &limits));
        Change { entry, pattern, reader }.apply(field).unwrap();
    }

    #[track_caller]
    fn check(entry: &ImageEntry, image: &str, expect: &str) {
        let mut field = Node::from(image);
        change(entry, &mut field);
        assert_eq!(field.as_str(), Some(expect));
    }

    fn entry(name: &str, new_name: &str, new_tag: &str, digest: &str) -> ImageEntry {
        let own = str::to_owned;
        ImageEntry {
            name: own(name),
            new_name: own(new_name),
            new_tag: own(new_tag),
            tag_suffix: String::new(),
            digest: own(digest),
            label: String::new(),
        }
    }

    #[test]
    fn tag_and_digest_replace_each_other() {
        check(&entry("nginx", "", "2", ""), "nginx:1", "nginx:2");
        check(&entry("nginx", "", "2", ""), "nginx@sha256:ab", "nginx:2");
        check(&entry("nginx", "", "", "sha256:cd"), "nginx:1", "nginx@sha256:cd");
        check(&entry("nginx", "", "2", "sha256:cd"), "nginx", "nginx:2@sha256:cd");
        check(&entry("nginx", "other", "", ""), "nginx:1@sha256:ab", "other:1@sha256:ab");
    }

    #[test]
    fn a_number_in_the_place_of_an_image_is_one() {
        let mut field = Node::from(5);
        let entry = entry("5", "", "2", "");
        change(&entry, &mut field);
        assert_eq!(field.as_str(), Some("5:2"));
    }

    #[test]
    fn names_are_matched_whole_and_as_patterns() {
        check(&entry("nginx", "", "2", ""), "my/nginx:1", "my/nginx:1");
        check(&entry("host:5000/a", "", "2", ""), "host:5000/a:1", "host:5000/a:2");
        check(&entry("a.b", "", "2", ""), "aXb:1", "aXb:2");
        check(&entry("[", "x", "", ""), "[:1", "x:1");
    }
}
