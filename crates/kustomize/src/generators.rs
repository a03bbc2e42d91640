//! ConfigMaps and Secrets made from literals, files and env files.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plumb_filetree::RelPath;
use plumb_manifests::yaml::{Map, Node, Text};

use crate::accumulate::Assembly;
use crate::error::BuildError;
use crate::field::{check_key, made_text};
use crate::resource::{Behavior, Resource};
use crate::settings::{GeneratorEntry, GeneratorOptions, Settings};

/// What is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GeneratorKind {
    ConfigMap,
    Secret,
}

impl GeneratorKind {
    fn field(self) -> &'static str {
        match self {
            Self::ConfigMap => "configMapGenerator",
            Self::Secret => "secretGenerator",
        }
    }
}

/// Creates all objects of the generators of a kustomization.
pub(crate) fn run(
    assembly: &Assembly<'_>,
    directory: &RelPath,
    settings: &Settings,
) -> Result<Vec<Resource>, BuildError> {
    let config_maps = settings.config_maps.iter().map(|entry| (GeneratorKind::ConfigMap, entry));
    let secrets = settings.secrets.iter().map(|entry| (GeneratorKind::Secret, entry));
    let generated = config_maps.chain(secrets).map(|(kind, entry)| {
        make(assembly, directory, kind, entry, &settings.generator_options)
            .map_err(|error| error.while_doing(format!("{} {:?}", kind.field(), entry.name)))
    });
    generated.collect()
}

/// Makes one object.
pub(crate) fn make(
    assembly: &Assembly<'_>,
    directory: &RelPath,
    kind: GeneratorKind,
    entry: &GeneratorEntry,
    shared: &GeneratorOptions,
) -> Result<Resource, BuildError> {
    Generator { assembly, directory, kind, entry }.run(shared)
}

struct Generator<'g> {
    assembly: &'g Assembly<'g>,
    directory: &'g RelPath,
    kind: GeneratorKind,
    entry: &'g GeneratorEntry,
}

type Data = BTreeMap<String, Vec<u8>>;

impl Generator<'_> {
    fn run(&self, shared: &GeneratorOptions) -> Result<Resource, BuildError> {
        let entry = self.entry;
        if entry.name.is_empty() {
            return Err(BuildError::invalid("a generator needs a name"));
        }
        let mut data = Data::new();
        for reference in &entry.envs {
            self.add_env_file(reference, &mut data)?;
        }
        for literal in &entry.literals {
            let (key, value) = parse_literal(literal)?;
            self.add(key, value.as_bytes().to_vec(), &mut data)?;
        }
        for source in &entry.files {
            let (key, reference) = parse_file_source(source)?;
            let file = self.assembly.file(self.directory, reference)?;
            let content = self.assembly.reader.bytes(&file)?;
            self.add(key, content, &mut data)?;
        }
        let mut value = match self.kind {
            GeneratorKind::ConfigMap => config_map(data),
            GeneratorKind::Secret => secret(data, &entry.secret_type),
        };
        let options = merged(shared, entry.options.as_ref());
        let texts = options.labels.iter().chain(&options.annotations);
        self.assembly.reader.spend(1, texts.map(|(key, text)| key.len() + text.len()).sum())?;
        if options.immutable {
            value.insert("immutable", true);
        }
        let name = (Text::const_new("name"), Node::text(&entry.name));
        value.insert("metadata", Map::from_iter([name]));
        let mut resource = Resource::new(value, &format!("/{}", self.directory));
        resource.set_namespace(&entry.namespace);
        for (field, texts) in [("labels", options.labels), ("annotations", options.annotations)] {
            if !texts.is_empty() {
                texts.keys().try_for_each(|key| check_key(key))?;
                resource.set_metadata_texts(field, texts);
            }
        }
        resource.needs_hash = !options.disable_name_suffix_hash;
        resource.is_generated = true;
        resource.behavior = match entry.behavior.as_str() {
            "merge" => Behavior::Merge,
            "replace" => Behavior::Replace,
            "" | "create" => Behavior::Create,
            other => {
                let message = format!("behavior {other:?} of {:?} is taken as create", entry.name);
                self.assembly.warnings.silent_at(format_args!("/{}", self.directory), message);
                Behavior::Create
            }
        };
        Ok(resource)
    }

    fn add(&self, key: &str, value: Vec<u8>, data: &mut Data) -> Result<(), BuildError> {
        // The API server validates keys, as with kustomize.
        if key.is_empty() {
            return Err(BuildError::invalid("a key is empty"));
        }
        check_key(key)?;
        if data.insert(key.to_owned(), value).is_some() {
            let message = format!("configmap {} illegally repeats the key `{key}`", self.entry.name);
            return Err(BuildError::invalid(message));
        }
        Ok(())
    }

    fn add_env_file(&self, reference: &str, data: &mut Data) -> Result<(), BuildError> {
        let file = self.assembly.file(self.directory, reference)?;
        let text = self.assembly.reader.text(&file)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // Neither the key nor the value is trimmed at its end, as in kustomize; but the last line may end in half a
            // line break.
            let line = line.strip_suffix('\r').unwrap_or(line);
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            if key.is_empty() {
                let place = format!("/{file}:{}", index + 1);
                self.assembly
                    .warnings
                    .silent_at(place, "kustomize leaves out a line whose key is empty: write KEY=VALUE");
                continue;
            }
            self.add(key, value.as_bytes().to_vec(), data)
                .map_err(|error| error.at_line(&file, index + 1))?;
        }
        Ok(())
    }
}

fn parse_literal(literal: &str) -> Result<(&str, &str), BuildError> {
    match literal.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            let unquoted = ['"', '\'']
                .iter()
                .find_map(|&quote| value.strip_prefix(quote).and_then(|inner| inner.strip_suffix(quote)));
            Ok((key, unquoted.unwrap_or(value)))
        }
        // The literal may be a secret, so the message does not repeat it.
        _ => Err(BuildError::invalid("invalid literal source, expected key=value")),
    }
}

fn parse_file_source(source: &str) -> Result<(&str, &str), BuildError> {
    match source.split('=').collect::<Vec<_>>()[..] {
        [path] => Ok((path.rsplit('/').next().unwrap_or(path), path)),
        [key, path] if !key.is_empty() && !path.is_empty() => Ok((key, path)),
        [_, _] => Err(BuildError::invalid(format!("file source {source:?} lacks a key or a path"))),
        _ => Err(BuildError::invalid(format!("file source {source:?} has more than one '='"))),
    }
}

fn merged(shared: &GeneratorOptions, own: Option<&GeneratorOptions>) -> GeneratorOptions {
    let mut options = shared.clone();
    if let Some(GeneratorOptions { labels, annotations, disable_name_suffix_hash, immutable }) = own {
        options.labels.extend(labels.clone());
        options.annotations.extend(annotations.clone());
        options.disable_name_suffix_hash |= disable_name_suffix_hash;
        options.immutable |= immutable;
    }
    options
}

fn config_map(data: Data) -> Map {
    let (mut texts, mut binaries) = (Map::new(), Map::new());
    for (key, content) in data {
        match String::from_utf8(content) {
            Ok(text) => texts.insert(key, made_text(text)),
            Err(error) => binaries.insert(key, made_text(folded_base64(error.as_bytes()))),
        };
    }
    let mut object = typed("ConfigMap");
    for (field, map) in [("data", texts), ("binaryData", binaries)] {
        if !map.is_empty() {
            object.insert(field, map);
        }
    }
    object
}

fn secret(data: Data, secret_type: &str) -> Map {
    let secret_type = if secret_type.is_empty() { "Opaque" } else { secret_type };
    let encoded: Map =
        data.into_iter().map(|(key, content)| (key.into(), made_text(folded_base64(&content)))).collect();
    let mut object = typed("Secret");
    object.insert("type", secret_type);
    object.insert("data", encoded);
    object
}

fn typed(kind: &str) -> Map {
    let mut object = Map::new();
    object.insert("apiVersion", "v1");
    object.insert("kind", kind);
    object
}

/// Base64; what is longer than a line is folded, with a line break behind each line.
fn folded_base64(content: &[u8]) -> String {
    const LINE_LENGTH: usize = 70;
    let encoded = STANDARD.encode(content);
    if encoded.len() < LINE_LENGTH {
        return encoded;
    }
    let mut folded = String::with_capacity(encoded.len() + encoded.len() / LINE_LENGTH + 1);
    for (index, c) in encoded.chars().enumerate() {
        if index > 0 && index % LINE_LENGTH == 0 {
            folded.push('\n');
        }
        folded.push(c);
    }
    folded.push('\n');
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_lose_one_pair_of_quotes() {
        for (literal, expect) in [
            ("a=b", ("a", "b")),
            ("a='b\"'", ("a", "b\"")),
            ("a=", ("a", "")),
            ("a=b=c", ("a", "b=c")),
            ("a=\"", ("a", "\"")),
        ] {
            assert_eq!(parse_literal(literal).unwrap(), expect);
        }
        assert!(parse_literal("a").is_err() && parse_literal("=a").is_err());
    }

    #[test]
    fn a_rejected_literal_is_not_repeated() {
        assert!(!parse_literal("secret").unwrap_err().to_string().contains("secret"));
    }

    #[test]
    fn files_are_named_by_their_last_part_unless_a_key_is_given() {
        assert_eq!(parse_file_source("dir/a.txt").unwrap(), ("a.txt", "dir/a.txt"));
        assert_eq!(parse_file_source("k=dir/a.txt").unwrap(), ("k", "dir/a.txt"));
        for source in ["a=b=c", "=a", "a="] {
            assert!(parse_file_source(source).is_err(), "{source}");
        }
    }

    #[test]
    fn long_base64_is_folded() {
        assert_eq!(folded_base64(b"ab"), "YWI=");
        let folded = folded_base64(&[0; 60]);
        assert_eq!(folded.lines().map(str::len).collect::<Vec<_>>(), [70, 10]);
        assert!(folded.ends_with('\n'));
    }

    #[test]
    fn content_that_is_no_text_is_binary_data() {
        let data = Data::from([("t".to_owned(), b"x".to_vec()), ("b".to_owned(), vec![0xff])]);
        let object = Node::Object(config_map(data));
        assert_eq!(object["data"]["t"].as_str(), Some("x"));
        assert_eq!(object["binaryData"]["b"].as_str(), Some("/w=="));
    }
}
