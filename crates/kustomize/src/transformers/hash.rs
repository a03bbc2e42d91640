//! The content hash in the name of a generated ConfigMap or Secret.

use data_encoding::HEXLOWER;
use plumb_manifests::yaml::Node;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::resource::Resource;
use crate::set::ResourceSet;

/// Appends the hash to the names of all objects that need it.
pub(crate) fn add(set: &mut ResourceSet) {
    for resource in set.iter_mut().filter(|resource| resource.needs_hash) {
        let name = format!("{}-{}", resource.name(), suffix(resource));
        resource.record_id();
        resource.set_name(&name);
    }
}

fn suffix(resource: &Resource) -> String {
    const LENGTH: usize = 10;
    let digest = Sha256::digest(encoded(&resource.value).as_bytes());
    // Letters and digits that could spell a word or be misread are replaced.
    let digits = HEXLOWER.encode(&digest);
    let readable = digits.chars().map(|digit| match digit {
        '0' => 'g',
        '1' => 'h',
        '3' => 'k',
        'a' => 'm',
        'e' => 't',
        other => other,
    });
    readable.take(LENGTH).collect()
}

/// What is hashed, as Go's JSON library writes it. The name is always empty there.
fn encoded(value: &Node) -> String {
    let field = |name: &str| value.get(name).map(Node::to_json);
    // A scalar is hashed as it is spelled, even null.
    let text_or_map = |name: &str| {
        let found = value.get(name);
        found.map_or_else(|| "".into(), |node| node.scalar().map_or_else(|| node.to_json(), Value::from))
    };
    let mut map = serde_json::Map::new();
    map.insert("data".to_owned(), text_or_map("data"));
    map.insert("kind".to_owned(), text_or_map("kind"));
    map.insert("name".to_owned(), "".into());
    let mut add_map = |name: &str| {
        if let Some(inner @ Value::Object(_)) = field(name) {
            map.insert(name.to_owned(), inner);
        }
    };
    match value.get("kind").and_then(Node::as_str) {
        Some("ConfigMap") => add_map("binaryData"),
        Some("Secret") => {
            add_map("stringData");
            map.insert("type".to_owned(), text_or_map("type"));
        }
        _ => return escape(&value.to_json().to_string()),
    }
    escape(&Value::Object(map).to_string())
}

/// Escapes what Go escapes in JSON and others do not. None of these occurs outside of a text.
fn escape(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut text, c| {
        match c {
            '<' => text.push_str("\\u003c"),
            '>' => text.push_str("\\u003e"),
            '&' => text.push_str("\\u0026"),
            '\u{2028}' => text.push_str("\\u2028"),
            '\u{2029}' => text.push_str("\\u2029"),
            other => text.push(other),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn suffixes_are_those_of_kustomize() {
        let suffix_of = |value: Value| suffix(&Resource::new(value, ""));
        assert_eq!(suffix_of(json!({"kind": "ConfigMap"})), "6ct58987ht");
        let secret = json!({"kind": "Secret", "type": "Opaque", "data": {"a": "Yg=="}});
        assert_eq!(suffix_of(secret), "k695gkmbtk");
    }
}
