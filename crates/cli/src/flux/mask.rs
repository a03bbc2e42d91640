//! Hides what SOPS has encrypted, as `flux build` does: the data of an encrypted Secret, single values that are encrypted
//! files, and what SOPS notes beside them. Secrets in the clear are printed as they are: they stand in the files already.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Stands where an encrypted value was.
const MASK: &str = "**SOPS**";
/// The same for a value that must be a JSON map.
const MASK_JSON: &str = "{\"mask\":\"**SOPS**\"}";
const DOCKER_CONFIG: &str = "kubernetes.io/dockerconfigjson";

/// Hides the encrypted parts of an object.
pub fn encrypted(object: &mut Value) {
    let Some(map) = object.as_object_mut() else { return };
    let notes = map.remove("sops");
    if map.get("kind").and_then(Value::as_str) != Some("Secret") {
        return;
    }
    let mac = notes.as_ref().and_then(|notes| notes.get("mac")).and_then(Value::as_str);
    let is_whole = mac.is_some_and(|mac| mac.starts_with("ENC["));
    let is_docker = map.get("type").and_then(Value::as_str) == Some(DOCKER_CONFIG);
    let mask = if is_whole && is_docker { MASK_JSON } else { MASK };
    let encoded = STANDARD.encode(mask);
    if let Some(Value::Object(data)) = map.get_mut("data") {
        for value in data.values_mut().filter(|value| is_whole || is_encrypted_file(&decoded(value))) {
            *value = encoded.clone().into();
        }
    }
    if let Some(Value::Object(data)) = map.get_mut("stringData") {
        // Flux writes the encoded mask where only the value is encrypted.
        let mask = if is_whole { mask.to_owned() } else { encoded };
        let of_text = |value: &Value| is_encrypted_file(value.as_str().unwrap_or_default().as_bytes());
        for value in data.values_mut().filter(|value| is_whole || of_text(value)) {
            *value = mask.clone().into();
        }
    }
}

/// What a value of `data` stands for; a value that is not base64 stands for itself.
fn decoded(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_default();
    let compact: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(compact).unwrap_or_else(|_| text.as_bytes().to_vec())
}

fn is_encrypted_file(content: &[u8]) -> bool {
    let has = |wanted: &[u8]| content.windows(wanted.len()).any(|window| window == wanted);
    has(b"sops") && has(b"ENC[")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(mut object: Value, expect: &Value) {
        encrypted(&mut object);
        assert_eq!(&object, expect);
    }

    #[test]
    fn an_encrypted_secret_keeps_its_keys_alone() {
        let notes = json!({"mac": "ENC[x]", "age": []});
        check(
            json!({"kind": "Secret", "data": {"a": "ENC[1]"}, "stringData": {"b": "ENC[2]"}, "sops": notes}),
            &json!({"kind": "Secret", "data": {"a": "KipTT1BTKio="}, "stringData": {"b": "**SOPS**"}}),
        );
        check(
            json!({"kind": "Secret", "type": DOCKER_CONFIG, "data": {".dockerconfigjson": "ENC[1]"}, "sops": notes}),
            &json!({"kind": "Secret", "type": DOCKER_CONFIG, "data": {".dockerconfigjson": "eyJtYXNrIjoiKipTT1BTKioifQ=="}}),
        );
    }

    #[test]
    fn a_value_that_is_an_encrypted_file_is_masked_and_its_neighbours_are_not() {
        let file = STANDARD.encode("{\"data\":\"ENC[AES]\",\"sops\":{}}");
        let (start, end) = file.split_at(7);
        check(
            json!({"kind": "Secret", "data": {"a": format!("{start}\n{end}\n"), "b": "eA=="}, "stringData": {"c": "x"}}),
            &json!({"kind": "Secret", "data": {"a": "KipTT1BTKio=", "b": "eA=="}, "stringData": {"c": "x"}}),
        );
    }

    #[test]
    fn other_kinds_lose_the_notes_alone() {
        check(
            json!({"kind": "HelmRelease", "spec": {"a": "ENC[1]"}, "sops": {"mac": "ENC[x]"}}),
            &json!({"kind": "HelmRelease", "spec": {"a": "ENC[1]"}}),
        );
    }
}
