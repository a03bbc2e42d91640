//! The index of a repository: read as YAML or JSON without holding it as a tree, and written as Flux stores it. Entries that Helm
//! leaves out are left out, versions are in the order of Helm: the highest first.

use std::{collections::BTreeMap, fmt, ops::Range};

use plumb_memory::{Limit, MemoryReservation, OverBudget};
use plumb_version::{Version, compare};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::{
    entry::{Entry, Time},
    json,
    text::{List, Table, Text},
};

/// What an index may take in memory beside its download. Written out it is a little larger than YAML, and up to a few times as large
/// as JSON without white space.
pub const INDEX_MEMORY: Limit = Limit { name: "index of a Helm repository in memory", bytes_max: 512 << 20 };
/// What is kept of each version while the index is read, in bytes, beside its text.
const VERSION_BYTES: usize = 96;
/// What is kept of each chart while the index is read, in bytes, beside its name.
const CHART_BYTES: usize = 160;
/// Room for one version: most take less. Without it the text would double when it is full.
const ROOM_BYTES: usize = 64 << 10;
/// Memory is charged in steps of this many bytes.
const CHARGE_STEP: u64 = 256 << 10;
/// Bytes of what a parser says that errors show.
const PROBLEM_BYTES_MAX: usize = 300;
/// How deep an index is nested, in YAML.
const YAML_DEPTH_MAX: usize = 32;
/// Anchors of one index and aliases of them: Helm writes none.
const YAML_ANCHORS_MAX: usize = 10_000;
/// Room for what is written beside the charts: more is possible, and then the text grows.
const HEAD_BYTES: usize = 64 << 10;
/// Depths of what is written.
const FIELD_DEPTH: usize = 1;
const VERSION_DEPTH: usize = 3;

/// An index as it was downloaded.
#[derive(Debug)]
pub struct Download {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Held as long as the bytes are.
    pub memory: MemoryReservation,
}

/// An index as it is stored.
#[derive(Debug)]
pub struct Index {
    /// JSON.
    pub json: Vec<u8>,
    /// Held as long as the JSON is.
    pub memory: MemoryReservation,
    /// How many versions were left out, as Helm leaves them out.
    pub skipped: usize,
}

/// Why a file is not the index of a repository.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// It is empty.
    #[error("empty index.yaml file")]
    Empty,
    /// It has no `apiVersion`.
    #[error("no API version specified")]
    NoApiVersion,
    /// It is neither YAML nor JSON, or has other fields than an index.
    #[error("the index cannot be read: {problem}")]
    Malformed {
        /// What is wrong with it.
        problem: String,
    },
    /// The memory budget does not allow it.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
}

/// Reads an index and writes it as it is stored. `memory` is for what is written, within [`INDEX_MEMORY`]; the download is given up
/// as soon as it has been read.
pub fn convert(download: Download, memory: MemoryReservation) -> Result<Index, IndexError> {
    if download.bytes.is_empty() {
        return Err(IndexError::Empty);
    }
    let text = std::str::from_utf8(&download.bytes);
    let text = text.map_err(|_| IndexError::Malformed { problem: "it is not UTF-8".to_owned() })?;
    let mut collected = Collected::new(text.len(), memory);
    collected.read(text)?;
    drop(download);
    collected.write()
}

/// What was read.
struct Collected {
    api_version: Text,
    generated: Time,
    public_keys: List<Text>,
    annotations: Table,
    /// The versions of each chart; none where the index has no `entries`.
    charts: Option<BTreeMap<String, Vec<Range<usize>>>>,
    /// The versions, written out, in the order of the file.
    text: Vec<u8>,
    versions: usize,
    /// Memory of the charts and their names, in bytes.
    chart_bytes: usize,
    skipped: usize,
    memory: MemoryReservation,
    over: Option<OverBudget>,
}

impl Collected {
    fn new(bytes: usize, memory: MemoryReservation) -> Self {
        Self {
            api_version: Text::default(),
            generated: Time::default(),
            public_keys: List::default(),
            annotations: Table::default(),
            charts: None,
            text: Vec::with_capacity(bytes),
            versions: 0,
            chart_bytes: 0,
            skipped: 0,
            memory,
            over: None,
        }
    }

    /// JSON if it is JSON, else YAML: as Helm tries them.
    fn read(&mut self, text: &str) -> Result<(), IndexError> {
        let malformed = |problem: String| IndexError::Malformed { problem: excerpt(&problem) };
        if text.trim_start().starts_with('{') {
            let mut json = serde_json::Deserializer::from_str(text);
            match (&mut *self).deserialize(&mut json).and_then(|()| json.end()) {
                Ok(()) => return Ok(()),
                Err(error) if error.is_data() => return Err(self.failed(malformed(error.to_string()))),
                Err(_) => self.restart(),
            }
        }
        let read =
            serde_saphyr::with_deserializer_from_str_with_options(text, yaml_options(text.len()), |yaml| {
                (&mut *self).deserialize(yaml)
            });
        read.map_err(|error| self.failed(malformed(error.without_snippet().to_string())))
    }

    fn restart(&mut self) {
        self.charts = None;
        self.text.clear();
        (self.versions, self.chart_bytes, self.skipped) = (0, 0, 0);
    }

    fn failed(&mut self, error: IndexError) -> IndexError {
        self.over.take().map_or(error, IndexError::OverBudget)
    }

    /// Takes one version of a chart; none if it is left out.
    fn take(&mut self, entry: Option<Entry>) -> Result<Option<(Version, Range<usize>)>, String> {
        let Some((entry, version)) = entry.and_then(Entry::checked) else {
            self.skipped += 1;
            return Ok(None);
        };
        let start = self.text.len();
        if self.text.capacity() - start < ROOM_BYTES {
            self.text.reserve_exact(ROOM_BYTES + start / 8);
        }
        json::append(&mut self.text, VERSION_DEPTH, &entry).map_err(|error| error.to_string())?;
        self.versions += 1;
        self.charge_all()?;
        Ok(Some((version, start..self.text.len())))
    }

    /// Notes a chart before it is held.
    fn note_chart(&mut self, name: &str) -> Result<(), String> {
        self.chart_bytes += CHART_BYTES + name.len();
        self.charge_all()
    }

    fn charge_all(&mut self) -> Result<(), String> {
        self.charge(self.text.capacity() + self.versions * VERSION_BYTES + self.chart_bytes)
    }

    fn charge(&mut self, bytes: usize) -> Result<(), String> {
        let missing = (bytes as u64).saturating_sub(self.memory.bytes());
        if missing == 0 {
            return Ok(());
        }
        self.memory.try_grow(missing.max(CHARGE_STEP)).map_err(|over| {
            let text = over.to_string();
            self.over = Some(over);
            text
        })
    }

    /// Writes the index.
    fn write(mut self) -> Result<Index, IndexError> {
        if self.api_version.is_empty() {
            return Err(IndexError::NoApiVersion);
        }
        // Of each version only its place is left.
        let kept = self.text.capacity() + self.versions * size_of::<Range<usize>>() + self.chart_bytes;
        self.memory.shrink(self.memory.bytes().saturating_sub(kept as u64));
        let around =
            self.charts.iter().flatten().map(|(name, versions)| 6 * name.len() + 12 * versions.len() + 32);
        let bytes = self.text.len() + around.sum::<usize>() + HEAD_BYTES;
        self.memory.try_grow(bytes as u64)?;
        let mut json = Vec::with_capacity(bytes);
        self.write_to(&mut json).map_err(|error| IndexError::Malformed { problem: error.to_string() })?;
        let Self { text, charts, skipped, mut memory, .. } = self;
        drop((text, charts));
        json.shrink_to_fit();
        memory.shrink(memory.bytes().saturating_sub(json.len() as u64));
        Ok(Index { json, memory, skipped })
    }

    fn write_to(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        out.extend_from_slice(b"{");
        field(out, FIELD_DEPTH, "apiVersion", true)?;
        json::append(out, FIELD_DEPTH, &self.api_version)?;
        field(out, FIELD_DEPTH, "generated", false)?;
        json::append(out, FIELD_DEPTH, &self.generated)?;
        field(out, FIELD_DEPTH, "entries", false)?;
        match &self.charts {
            None => out.extend_from_slice(b"null"),
            Some(charts) if charts.is_empty() => out.extend_from_slice(b"{}"),
            Some(charts) => self.write_charts(out, charts)?,
        }
        if !self.public_keys.is_empty() {
            field(out, FIELD_DEPTH, "publicKeys", false)?;
            json::append(out, FIELD_DEPTH, &self.public_keys)?;
        }
        if !self.annotations.is_empty() {
            field(out, FIELD_DEPTH, "annotations", false)?;
            json::append(out, FIELD_DEPTH, &self.annotations)?;
        }
        out.extend_from_slice(b"\n}");
        Ok(())
    }

    fn write_charts(
        &self,
        out: &mut Vec<u8>,
        charts: &BTreeMap<String, Vec<Range<usize>>>,
    ) -> Result<(), serde_json::Error> {
        out.extend_from_slice(b"{");
        for (place, (name, versions)) in charts.iter().enumerate() {
            field(out, FIELD_DEPTH + 1, name, place == 0)?;
            out.extend_from_slice(b"[");
            for (place, version) in versions.iter().enumerate() {
                new_line(out, VERSION_DEPTH, place == 0);
                out.extend_from_slice(self.text.get(version.clone()).unwrap_or_default());
            }
            if !versions.is_empty() {
                new_line(out, FIELD_DEPTH + 1, true);
            }
            out.extend_from_slice(b"]");
        }
        new_line(out, FIELD_DEPTH, true);
        out.extend_from_slice(b"}");
        Ok(())
    }
}

fn field(out: &mut Vec<u8>, depth: usize, name: &str, is_first: bool) -> Result<(), serde_json::Error> {
    new_line(out, depth, is_first);
    json::append(out, depth, &name)?;
    out.extend_from_slice(b": ");
    Ok(())
}

fn new_line(out: &mut Vec<u8>, depth: usize, is_first: bool) {
    out.extend_from_slice(if is_first { b"\n" } else { b",\n" });
    for _ in 0..depth {
        out.extend_from_slice(b"  ");
    }
}

/// An index is long, and has no anchors.
pub fn yaml_options(bytes: usize) -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: bytes.saturating_mul(2),
            max_nodes: bytes.saturating_mul(2),
            max_total_scalar_bytes: bytes.saturating_mul(2),
            max_depth: YAML_DEPTH_MAX,
            max_documents: 1,
            max_anchors: YAML_ANCHORS_MAX,
            max_aliases: YAML_ANCHORS_MAX,
            max_recorded_anchor_bytes: 1 << 20,
        },
        with_snippet: false,
    }
}

pub fn excerpt(problem: &str) -> String {
    let line = problem.lines().next().unwrap_or_default();
    let end = (0..=PROBLEM_BYTES_MAX.min(line.len())).rev().find(|end| line.is_char_boundary(*end));
    line.get(..end.unwrap_or_default()).unwrap_or_default().to_owned()
}

impl<'de> DeserializeSeed<'de> for &mut Collected {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Collected {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the index of a Helm repository")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        while let Some(Text(key)) = access.next_key()? {
            match key.as_str() {
                "apiVersion" => self.api_version = access.next_value()?,
                "generated" => self.generated = access.next_value()?,
                "publicKeys" => self.public_keys = access.next_value()?,
                "annotations" => self.annotations = access.next_value()?,
                "entries" => access.next_value_seed(Charts(&mut *self))?,
                _ => drop(access.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// The map from names of charts to their versions.
struct Charts<'c>(&'c mut Collected);

impl<'de> DeserializeSeed<'de> for Charts<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Charts<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a map from names of charts to their versions")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let collected = self.0;
        let mut charts = BTreeMap::new();
        while let Some(Text(name)) = access.next_key()? {
            collected.note_chart(&name).map_err(A::Error::custom)?;
            let mut versions = Vec::new();
            access.next_value_seed(Versions { collected: &mut *collected, versions: &mut versions })?;
            // Equal versions stay in the order of the file.
            versions.sort_by(|(a, _), (b, _)| compare(b, a));
            charts.insert(name, versions.into_iter().map(|(_, text)| text).collect());
        }
        collected.charts = Some(charts);
        Ok(())
    }
}

/// The versions of one chart.
struct Versions<'c, 'v> {
    collected: &'c mut Collected,
    versions: &'v mut Vec<(Version, Range<usize>)>,
}

impl<'de> DeserializeSeed<'de> for Versions<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Versions<'_, '_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list of versions of a chart")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        while let Some(entry) = access.next_element()? {
            self.versions.extend(self.collected.take(entry).map_err(A::Error::custom)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
