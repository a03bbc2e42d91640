//! Manifests: which layers an artifact has. An index leads to the manifest of one platform. A text that could be read as both is
//! rejected. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::digest::{Digest, DigestError};

/// Media types of manifests with layers.
const MANIFESTS: [&str; 3] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    ARTIFACT_MANIFEST,
];
/// A type of OCI 1.1's first drafts: its layers are called blobs.
const ARTIFACT_MANIFEST: &str = "application/vnd.oci.artifact.manifest.v1+json";
/// Media types of lists of manifests.
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
/// The header `Accept` of a request for a manifest.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.artifact.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json";
/// The platform that is taken from an index.
const PLATFORM: (&str, &str) = ("linux", "amd64");
/// Layers of a manifest, and manifests of an index.
const ENTRIES_MAX: usize = 1000;

/// What a digest leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The media type of the content.
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// The bytes of the content.
    pub size: u64,
    /// The annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A manifest with layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The layers, in their order.
    pub layers: Vec<Descriptor>,
    /// The annotations.
    pub annotations: BTreeMap<String, String>,
}

/// What a manifest's text is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Document {
    /// A manifest with layers.
    Manifest(Manifest),
    /// An index: the digest of the manifest for the platform.
    Index(Digest),
}

/// A text is not a manifest that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is not JSON of that shape.
    #[error("it is not the JSON of a manifest")]
    Malformed,
    /// Media type, header and content do not agree.
    #[error("it is ambiguous: {problem}")]
    Ambiguous {
        /// In what.
        problem: String,
    },
    /// A media type that is not known.
    #[error("its media type {media_type:?} is not supported")]
    MediaType {
        /// The media type.
        media_type: String,
    },
    /// Too much.
    #[error("it has more than {ENTRIES_MAX} {entries}")]
    TooMany {
        /// What.
        entries: &'static str,
    },
    /// No manifest for the platform.
    #[error("the index has no manifest for the platform {}/{}", PLATFORM.0, PLATFORM.1)]
    Platform,
    /// An index in an index in an index.
    #[error("its indexes are nested too deeply")]
    Nested,
    /// A digest in it.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u32>,
    media_type: Option<String>,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<Vec<RawDescriptor>>,
    blobs: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
    // Null stands for none.
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<RawPlatform>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
}

impl Document {
    /// Reads a manifest whose digest was checked. `content_type` is what the registry calls it.
    pub(crate) fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        let raw: Raw = serde_json::from_slice(bytes).map_err(|_| ManifestError::Malformed)?;
        let media_type = media_type(&raw, content_type)?;
        let is_index = INDEXES.contains(&media_type.as_str());
        let has_layers = raw.layers.is_some() || raw.blobs.is_some() || raw.config.is_some();
        if raw.manifests.is_some() && has_layers {
            let problem = "it has manifests and layers".to_owned();
            return Err(ManifestError::Ambiguous { problem });
        }
        if is_index {
            let manifests = raw.manifests.ok_or(ManifestError::Malformed)?;
            return Ok(Self::Index(for_platform(manifests)?));
        }
        if raw.manifests.is_some() {
            let problem = format!("it has manifests, and the media type {media_type:?}");
            return Err(ManifestError::Ambiguous { problem });
        }
        let is_artifact = media_type == ARTIFACT_MANIFEST;
        let layers = if is_artifact { raw.blobs } else { raw.layers }.unwrap_or_default();
        if layers.len() > ENTRIES_MAX {
            return Err(ManifestError::TooMany { entries: "layers" });
        }
        let layers = layers.into_iter().map(RawDescriptor::checked).collect::<Result<_, _>>()?;
        Ok(Self::Manifest(Manifest { layers, annotations: raw.annotations.unwrap_or_default() }))
    }
}

/// What the text says that it is, where the registry does not contradict.
fn media_type(raw: &Raw, content_type: Option<&str>) -> Result<String, ManifestError> {
    let known = |media_type: &str| MANIFESTS.contains(&media_type) || INDEXES.contains(&media_type);
    let header = content_type.and_then(|value| value.split(';').next()).map(str::trim);
    let header = header.filter(|value| known(value));
    match (raw.media_type.as_deref(), header) {
        (Some(own), Some(header)) if own != header => {
            let problem = format!("it calls itself {own:?}, and the registry calls it {header:?}");
            Err(ManifestError::Ambiguous { problem })
        }
        (Some(own), _) if known(own) => Ok(own.to_owned()),
        (Some(own), _) => Err(ManifestError::MediaType { media_type: own.to_owned() }),
        (None, Some(header)) => Ok(header.to_owned()),
        (None, None) if raw.schema_version == Some(2) && raw.manifests.is_some() => Ok(INDEXES[0].to_owned()),
        (None, None) if raw.schema_version == Some(2) => Ok(MANIFESTS[0].to_owned()),
        (None, None) => {
            Err(ManifestError::MediaType { media_type: content_type.unwrap_or_default().to_owned() })
        }
    }
}

/// The manifest for the platform. An entry that names none is for it.
fn for_platform(manifests: Vec<RawDescriptor>) -> Result<Digest, ManifestError> {
    if manifests.len() > ENTRIES_MAX {
        return Err(ManifestError::TooMany { entries: "manifests" });
    }
    let fits = |platform: &RawPlatform| (platform.os.as_str(), platform.architecture.as_str()) == PLATFORM;
    let found = manifests.into_iter().find(|entry| entry.platform.as_ref().is_none_or(fits));
    Ok(found.ok_or(ManifestError::Platform)?.checked()?.digest)
}

impl RawDescriptor {
    fn checked(self) -> Result<Descriptor, ManifestError> {
        let Self { media_type, digest, size, platform: _, annotations } = self;
        let annotations = annotations.unwrap_or_default();
        Ok(Descriptor { media_type, digest: Digest::parse(&digest)?, size, annotations })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const IMAGE: &str = MANIFESTS[0];
    const DOCKER: &str = MANIFESTS[1];

    fn parse(value: &Value, content_type: Option<&str>) -> Result<Document, ManifestError> {
        Document::parse(value.to_string().as_bytes(), content_type)
    }

    fn descriptor(media_type: &str, content: &[u8]) -> Value {
        json!({ "mediaType": media_type, "digest": Digest::of(content).as_str(), "size": content.len() })
    }

    fn layers(document: Result<Document, ManifestError>) -> Vec<(String, u64)> {
        let Document::Manifest(manifest) = document.unwrap() else { panic!("it is an index") };
        manifest.layers.into_iter().map(|layer| (layer.media_type, layer.size)).collect()
    }

    #[test]
    fn layers_and_annotations_of_each_kind_of_manifest_are_read() {
        let layer = descriptor("application/vnd.cncf.flux.content.v1.tar+gzip", b"abc");
        let expect = vec![("application/vnd.cncf.flux.content.v1.tar+gzip".to_owned(), 3)];
        let image = json!({
            "schemaVersion": 2, "mediaType": IMAGE, "config": descriptor("x", b""), "layers": [layer],
            "annotations": { "org.opencontainers.image.revision": "main@sha1:1" },
        });
        assert_eq!(layers(parse(&image, Some(IMAGE))), expect);
        assert_eq!(layers(parse(&image, Some(&format!("{IMAGE}; charset=utf-8")))), expect);
        assert_eq!(layers(parse(&image, Some("application/json"))), expect);
        let Document::Manifest(manifest) = parse(&image, None).unwrap() else { panic!("it is an index") };
        assert_eq!(manifest.annotations["org.opencontainers.image.revision"], "main@sha1:1");
        // OCI 1.0 leaves the media type out of the text.
        let bare = json!({ "schemaVersion": 2, "config": {}, "layers": [layer], "annotations": null });
        assert_eq!(layers(parse(&bare, Some(IMAGE))), expect);
        assert_eq!(layers(parse(&bare, Some(DOCKER))), expect);
        assert_eq!(layers(parse(&bare, None)), expect);
        let artifact = json!({ "mediaType": ARTIFACT_MANIFEST, "blobs": [layer] });
        assert_eq!(layers(parse(&artifact, Some(ARTIFACT_MANIFEST))), expect);
        assert_eq!(layers(parse(&json!({ "schemaVersion": 2, "mediaType": IMAGE }), None)), vec![]);
    }

    #[test]
    fn an_index_leads_to_the_manifest_of_the_platform() {
        let entry = |content: &[u8], platform: Value| {
            let mut entry = descriptor(IMAGE, content);
            entry["platform"] = platform;
            entry
        };
        let index = |manifests: Vec<Value>| {
            parse(&json!({ "schemaVersion": 2, "mediaType": INDEXES[0], "manifests": manifests }), None)
        };
        let arm = entry(b"arm", json!({ "os": "linux", "architecture": "arm64" }));
        let amd = entry(b"amd", json!({ "os": "linux", "architecture": "amd64", "variant": "v2" }));
        assert_eq!(index(vec![arm.clone(), amd]), Ok(Document::Index(Digest::of(b"amd"))));
        assert_eq!(index(vec![descriptor(IMAGE, b"one")]), Ok(Document::Index(Digest::of(b"one"))));
        assert_eq!(index(vec![arm]), Err(ManifestError::Platform));
        assert_eq!(index(vec![]), Err(ManifestError::Platform));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_rejected() {
        let layer = descriptor("x", b"abc");
        for (value, content_type, expect) in [
            (json!({ "mediaType": IMAGE, "layers": [] }), Some(INDEXES[0]), "the registry calls it"),
            (json!({ "mediaType": IMAGE, "layers": [], "manifests": [] }), None, "manifests and layers"),
            (json!({ "mediaType": INDEXES[0], "layers": [], "manifests": [] }), None, "manifests and layers"),
            (json!({ "mediaType": INDEXES[0], "config": {}, "manifests": [] }), None, "manifests and layers"),
            (json!({ "mediaType": IMAGE, "manifests": [layer] }), None, "ambiguous"),
            (
                json!({ "mediaType": "application/x", "layers": [] }),
                None,
                "\"application/x\" is not supported",
            ),
            (json!({ "schemaVersion": 1, "fsLayers": [] }), Some("text/x"), "\"text/x\" is not supported"),
            (json!({ "mediaType": INDEXES[0] }), None, "not the JSON of a manifest"),
            (json!([1]), None, "not the JSON of a manifest"),
            (json!({ "mediaType": IMAGE, "layers": [{ "digest": "x" }] }), None, "not the JSON"),
            (
                json!({ "mediaType": IMAGE, "layers": [{ "mediaType": "x", "digest": "md5:1", "size": 1 }] }),
                None,
                "digest \"md5:1\" is not",
            ),
            (
                json!({ "mediaType": IMAGE, "layers": vec![layer; ENTRIES_MAX + 1] }),
                None,
                "more than 1000 layers",
            ),
        ] {
            let error = parse(&value, content_type).unwrap_err().to_string();
            assert!(error.contains(expect), "{expect}: {error}");
        }
    }
}
