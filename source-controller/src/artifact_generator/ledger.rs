//! What an attempt has made true so far: the ExternalArtifacts that exist, and the sources that they were generated from.

use plumb_api::source::{ArtifactGenerator, ArtifactGeneratorCondition, GeneratedArtifact};
use plumb_status::{EventDraft, Ledger};
use serde_json::{Map, Value, json};

/// What is true now.
#[derive(Clone, Debug, Default)]
pub struct GeneratorLedger {
    /// Every ExternalArtifact that may exist because of the object, by name.
    pub inventory: Vec<GeneratedArtifact>,
    /// The digest of the sources that all of them were generated from.
    pub sources_digest: Option<String>,
    /// What the attempt is doing.
    pub progress: Option<String>,
    /// What happened.
    pub events: Vec<EventDraft>,
}

impl GeneratorLedger {
    /// What the status knows.
    pub fn of(object: &ArtifactGenerator) -> Self {
        let status = object.status.clone().unwrap_or_default();
        Self {
            inventory: status.inventory,
            sources_digest: status.observed_sources_digest,
            ..Self::default()
        }
    }

    /// Notes an ExternalArtifact. A digest that is empty says that it is about to be created.
    pub fn note(&mut self, generated: GeneratedArtifact) {
        self.inventory.retain(|entry| !is_same(entry, &generated));
        self.inventory.push(generated);
    }

    /// Forgets an ExternalArtifact that is gone.
    pub fn forget(&mut self, gone: &GeneratedArtifact) {
        self.inventory.retain(|entry| !is_same(entry, gone));
    }

    /// The fields of the status, as a merge patch.
    pub fn status(&self) -> Map<String, Value> {
        let mut patch = Map::new();
        patch.insert("inventory".to_owned(), json!(self.inventory));
        patch.insert("observedSourcesDigest".to_owned(), json!(self.sources_digest));
        patch
    }
}

fn is_same(a: &GeneratedArtifact, b: &GeneratedArtifact) -> bool {
    (&a.namespace, &a.name) == (&b.namespace, &b.name)
}

impl Ledger for GeneratorLedger {
    type Condition = ArtifactGeneratorCondition;

    fn progress(&self) -> Option<String> {
        self.progress.clone()
    }

    fn events(&self) -> Vec<EventDraft> {
        self.events.clone()
    }
}
