//! Which layer of an artifact, and what of its files is left out. Pure.

use plumb_oci::{Descriptor, Manifest};

use super::{error::LayerError, validate::LayerSelector};

/// The layer of the selector: the first one of its media type, or the first one.
pub fn select<'a>(manifest: &'a Manifest, selector: &LayerSelector) -> Result<&'a Descriptor, LayerError> {
    let first = manifest.layers.first().ok_or(LayerError::None)?;
    let Some(media_type) = &selector.media_type else { return Ok(first) };
    manifest.layers.iter().find(|layer| layer.media_type == *media_type).ok_or_else(|| LayerError::Missing {
        media_type: media_type.clone(),
        found: manifest.layers.iter().map(|layer| layer.media_type.clone()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use plumb_oci::Digest;

    use super::*;

    fn manifest(media_types: &[&str]) -> Manifest {
        let layer = |media_type: &&str| Descriptor {
            media_type: (*media_type).to_owned(),
            digest: Digest::of(media_type.as_bytes()),
            size: 1,
            annotations: [].into(),
        };
        Manifest { layers: media_types.iter().map(layer).collect(), annotations: [].into() }
    }

    #[test]
    fn the_first_layer_of_the_media_type_is_taken() {
        let selector = |media_type: Option<&str>| LayerSelector {
            media_type: media_type.map(str::to_owned),
            copies: false,
        };
        let two = manifest(&["a", "b"]);
        assert_eq!(select(&two, &selector(None)).unwrap().media_type, "a");
        assert_eq!(select(&two, &selector(Some("b"))).unwrap().media_type, "b");
        let error = select(&two, &selector(Some("c"))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to find layer with media type 'c' in artifact; it has layers of \"a\", \"b\""
        );
        let error = select(&manifest(&[]), &selector(None)).unwrap_err();
        assert_eq!(error.to_string(), "no layers found in artifact");
    }
}
