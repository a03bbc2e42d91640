//! What is done to every event before anyone looks at it: strange metadata is dropped, a repetition is recognised.
//! Which Alerts it matches never enters.

use plumb_api::event::{Event, ObjectReference};
use plumb_api::meta::{DIGEST_KEY, EVENT_PREFIX, ORIGIN_REVISION_KEY, REVISION_KEY};
use sha2::{Digest, Sha256};

/// How many bytes an event may have on the wire.
pub const EVENT_BYTES_MAX: usize = 3 << 20;

/// Metadata of the object's group that never goes on.
const DROPPED: [&str; 2] = ["checksum", DIGEST_KEY];
/// Metadata that only distinguishes repetitions.
const TOKEN_KEY: &str = "token";

/// Drops metadata that is neither of the object's group nor meant for events, and what is only for machines.
pub fn clean(event: &mut Event) {
    let group = format!("{}/", event.involved_object.group());
    event.metadata.retain(|key, _| match key.strip_prefix(&group) {
        Some(word) => !DROPPED.contains(&word),
        None => key.starts_with(EVENT_PREFIX),
    });
}

/// Drops what served only to recognise repetitions: done before an event is sent on.
pub fn strip_internal(event: &mut Event) {
    let key = format!("{}/{TOKEN_KEY}", event.involved_object.group());
    event.metadata.remove(&key);
}

/// What two events have in common when the second only repeats the first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DedupKey(String);

impl DedupKey {
    /// The key of an event that is cleaned and still has its internal metadata.
    pub fn of(event: &Event) -> Self {
        let object = &event.involved_object;
        let mut parts = vec![
            "event".to_owned(),
            format!("name={}", object.name),
            format!("namespace={}", object.namespace),
            format!("kind={}", object.kind),
            format!("message={}", event.message),
        ];
        for key in [ORIGIN_REVISION_KEY, REVISION_KEY, TOKEN_KEY] {
            if let Some(value) = event.group_metadata(key) {
                parts.push(format!("{key}={value}"));
            }
        }
        Self(data_encoding::HEXLOWER.encode(&Sha256::digest(parts.join("/").as_bytes())))
    }

    /// The digest, in hexadecimal.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// About how many bytes of memory an event holds: every text of it, and what each entry costs beside its text.
pub fn event_bytes(event: &Event) -> u64 {
    /// The event itself, its queue entry and allocator overhead.
    const FIXED: usize = 512;
    /// A node of the map per entry of the metadata.
    const ENTRY: usize = 96;
    let Event {
        involved_object,
        severity: _,
        timestamp: _,
        message,
        reason,
        metadata,
        reporting_controller,
        reporting_instance,
    } = event;
    let ObjectReference { kind, namespace, name, uid, api_version, resource_version, field_path } =
        involved_object;
    let texts = [
        message,
        reason,
        reporting_controller,
        reporting_instance,
        kind,
        namespace,
        name,
        uid,
        api_version,
        resource_version,
        field_path,
    ];
    let texts: usize = texts.iter().map(|text| text.len()).sum();
    let metadata: usize = metadata.iter().map(|(key, value)| ENTRY + key.len() + value.len()).sum();
    u64::try_from(FIXED + texts + metadata).unwrap_or(u64::MAX)
}

/// `Kind/namespace/name`, as events and logs name the object of an event.
pub fn involved(event: &Event) -> String {
    let object = &event.involved_object;
    format!("{}/{}/{}", object.kind, object.namespace, object.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::event;

    #[track_caller]
    fn keys_after(clean_up: fn(&mut Event), keys: &[&str]) -> Vec<String> {
        let mut event = event();
        event.metadata = keys.iter().map(|key| ((*key).to_owned(), "x".to_owned())).collect();
        clean_up(&mut event);
        event.metadata.into_keys().collect()
    }

    #[test]
    fn only_metadata_of_the_group_and_for_events_is_kept() {
        let keys = [
            "kustomize.toolkit.fluxcd.io/revision",
            "kustomize.toolkit.fluxcd.io/checksum",
            "kustomize.toolkit.fluxcd.io/digest",
            "kustomize.toolkit.fluxcd.io.example.com/revision",
            "event.toolkit.fluxcd.io/env",
            "source.toolkit.fluxcd.io/revision",
            "revision",
        ];
        let kept = ["event.toolkit.fluxcd.io/env", "kustomize.toolkit.fluxcd.io/revision"];
        assert_eq!(keys_after(clean, &keys), kept);
    }

    #[test]
    fn the_token_is_dropped_before_the_event_goes_on() {
        let keys = ["kustomize.toolkit.fluxcd.io/token", "kustomize.toolkit.fluxcd.io/revision"];
        assert_eq!(keys_after(strip_internal, &keys), ["kustomize.toolkit.fluxcd.io/revision"]);
    }

    #[test]
    fn the_key_of_repetitions_is_the_one_of_flux() {
        let mut event = event();
        // printf 'event/name=apps/namespace=prod/kind=Kustomization/message=Applied/revision=main@sha1:1' | sha256sum
        let with_revision = "5891e6c831051d0fd3ffbbbdb8c2eb856178652a51ba8e7e3ab47fdbb940b6aa";
        assert_eq!(DedupKey::of(&event).as_str(), with_revision);
        event.metadata.insert("kustomize.toolkit.fluxcd.io/originRevision".into(), "o".into());
        event.metadata.insert("kustomize.toolkit.fluxcd.io/token".into(), "t".into());
        // …/message=Applied/originRevision=o/revision=main@sha1:1/token=t
        assert_eq!(
            DedupKey::of(&event).as_str(),
            "4fc1a810a116935d53b018d0a102ae9e006b32204a1919908f599f4f12ac8d95"
        );
    }

    #[test]
    fn every_text_of_an_event_is_weighed() {
        let least = event_bytes(&event());
        let long = || "x".repeat(1000);
        let fields: [fn(&mut Event) -> &mut String; 11] = [
            |event| &mut event.message,
            |event| &mut event.reason,
            |event| &mut event.reporting_controller,
            |event| &mut event.reporting_instance,
            |event| &mut event.involved_object.kind,
            |event| &mut event.involved_object.namespace,
            |event| &mut event.involved_object.name,
            |event| &mut event.involved_object.uid,
            |event| &mut event.involved_object.api_version,
            |event| &mut event.involved_object.resource_version,
            |event| &mut event.involved_object.field_path,
        ];
        for field in fields {
            let mut event = event();
            field(&mut event).push_str(&long());
            assert_eq!(event_bytes(&event), least + 1000);
        }
        let mut event = event();
        event.metadata.insert(long(), long());
        assert!(event_bytes(&event) > least + 2000);
    }

    #[test]
    fn the_object_is_named_with_its_namespace() {
        assert_eq!(involved(&event()), "Kustomization/prod/apps");
    }
}
