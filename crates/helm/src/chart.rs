//! A chart in memory, as Helm loads it: its files sorted into templates and others, the charts below it, and its default values.
//! Where the files come from is not known here.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use plumb_memory::MemoryReservation;
use serde_json::Value;

use crate::{
    archive::{CHARTS_DEPTH_MAX, ChartError, ENTRIES_MAX, Guard, UNPACKED_BYTES_MAX, path_in_chart, skip},
    entry::Dependency,
    metadata::{Lock, Metadata, V1, read},
    values::{TREE_FACTOR, VALUES_FILE, Values, ValuesError},
};

/// Memory of a file in addition to its content, in bytes.
const FILE_BYTES: u64 = 160;
/// What editors put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file of a chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChartFile {
    /// Its path below the directory of the chart.
    pub path: String,
    /// Its content.
    pub content: Bytes,
    /// When it was changed, in seconds since 1970.
    pub modified: u64,
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart {
    pub(crate) metadata: Metadata,
    /// When `Chart.yaml` was changed, in seconds since 1970.
    pub(crate) modified: u64,
    pub(crate) lock: Option<Lock>,
    pub(crate) values: Option<ChartFile>,
    pub(crate) schema: Option<ChartFile>,
    pub(crate) templates: Vec<ChartFile>,
    pub(crate) files: Vec<ChartFile>,
    pub(crate) dependencies: Vec<Chart>,
}

/// A chart that another one needs and does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingDependency {
    /// Its alias, or its name.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Its version, or a range of them.
    pub version: String,
    /// The URL of its repository; a path behind `file://`; or nothing.
    pub repository: String,
}

/// Reads charts within limits: all that one attempt reads counts together.
#[derive(Debug)]
pub struct ChartReader<'a> {
    unpacked_left: u64,
    entries_left: usize,
    file_bytes_max: u64,
    memory: &'a mut MemoryReservation,
}

impl<'a> ChartReader<'a> {
    /// A reader whose files may have `file_bytes_max` bytes each. All of them are charged to `memory`.
    pub fn new(file_bytes_max: u64, memory: &'a mut MemoryReservation) -> Self {
        Self { unpacked_left: UNPACKED_BYTES_MAX, entries_left: ENTRIES_MAX, file_bytes_max, memory }
    }

    /// Loads the chart in an archive.
    pub fn archive(&mut self, archive: &[u8]) -> Result<Chart, ChartError> {
        let files = self.unpack(archive)?;
        self.load(files, 0)
    }

    /// Loads the chart that files are, as they are in its directory.
    pub fn files(&mut self, files: Vec<ChartFile>) -> Result<Chart, ChartError> {
        for file in &files {
            self.admit(&file.path, file.content.len() as u64)?;
        }
        self.load(files, 0)
    }

    fn admit(&mut self, path: &str, bytes: u64) -> Result<(), ChartError> {
        if bytes > self.file_bytes_max {
            let (path, max) = (path.to_owned(), self.file_bytes_max);
            return Err(ChartError::FileTooLarge { path, bytes, max });
        }
        self.unpacked_left = self.unpacked_left.checked_sub(bytes).ok_or(ChartError::TooLarge)?;
        self.entries_left = self.entries_left.checked_sub(1).ok_or(ChartError::TooManyEntries)?;
        self.memory.try_grow(bytes + 2 * path.len() as u64 + FILE_BYTES).map_err(ChartError::OverBudget)
    }

    fn unpack(&mut self, archive: &[u8]) -> Result<Vec<ChartFile>, ChartError> {
        let guard = Guard::default();
        self.read_entries(&guard, guard.bounded(MultiGzDecoder::new(archive), self.unpacked_left))
            .map_err(|error| guard.explained(error))
    }

    fn read_entries(&mut self, guard: &Guard, reader: impl Read) -> Result<Vec<ChartFile>, ChartError> {
        let mut tar = tar::Archive::new(reader);
        let mut files = Vec::new();
        let mut entries = tar.entries().map_err(ChartError::Damaged)?;
        while let Some(entry) = guard.headers(|| entries.next()) {
            let mut entry = entry.map_err(ChartError::Damaged)?;
            let kind = entry.header().entry_type();
            if kind.is_dir() || kind.is_pax_global_extensions() || kind.is_pax_local_extensions() {
                self.entries_left = self.entries_left.checked_sub(1).ok_or(ChartError::TooManyEntries)?;
                skip(&mut entry)?;
                continue;
            }
            let path = path_in_chart(&String::from_utf8_lossy(&entry.path_bytes()))?;
            let size = entry.size();
            self.admit(&path, size)?;
            let modified = entry.header().mtime().map_err(ChartError::Damaged)?;
            let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
            entry.read_to_end(&mut content).map_err(ChartError::Damaged)?;
            files.push(ChartFile { path, content: Bytes::from(content), modified });
        }
        // The rest of the stream is read too: a checksum that is wrong at its very end is still found.
        io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(ChartError::Damaged)?;
        Ok(files)
    }

    fn load(&mut self, mut files: Vec<ChartFile>, depth: usize) -> Result<Chart, ChartError> {
        if depth > CHARTS_DEPTH_MAX {
            return Err(ChartError::TooDeep);
        }
        for file in &mut files {
            if file.content.starts_with(BYTE_ORDER_MARK) {
                file.content = file.content.slice(BYTE_ORDER_MARK.len()..);
            }
        }
        let trees = TREE_FACTOR
            * files
                .iter()
                .filter(|file| is_read(&file.path))
                .map(|file| file.content.len() as u64)
                .sum::<u64>();
        self.memory.try_grow(trees).map_err(ChartError::OverBudget)?;
        let sorted = Chart::sorted(files);
        self.memory.shrink(trees);
        let (mut chart, below) = sorted?;
        for (directory, files) in below {
            let outer = chart.metadata.name.0.clone();
            let failed = |source| ChartError::Subchart {
                directory: directory.clone(),
                chart: outer.clone(),
                source: Box::new(source),
            };
            chart.dependencies.push(self.subchart(&directory, files, depth).map_err(failed)?);
        }
        Ok(chart)
    }

    /// Loads one directory or archive of `charts/`.
    fn subchart(
        &mut self,
        directory: &str,
        files: Vec<ChartFile>,
        depth: usize,
    ) -> Result<Chart, ChartError> {
        let is_archive = directory.rsplit_once('.').is_some_and(|(_, extension)| extension == "tgz");
        if !is_archive {
            let inner = files.into_iter().filter_map(|file| {
                let (_, path) = file.path.split_once('/')?;
                Some(ChartFile { path: path.to_owned(), ..file })
            });
            return self.load(inner.collect(), depth + 1);
        }
        match files.first() {
            Some(file) if file.path == directory => {
                let unpacked = self.unpack(&file.content)?;
                self.load(unpacked, depth + 1)
            }
            _ => Err(ChartError::NoArchive),
        }
    }
}

/// What lies below `charts/`, by the name of its directory or archive.
type Below = BTreeMap<String, Vec<ChartFile>>;

impl Chart {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.metadata.name.0
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.metadata.version.0
    }

    /// Gives it another version.
    pub fn set_version(&mut self, version: &str) {
        version.clone_into(&mut self.metadata.version.0);
    }

    /// Adds a chart below it.
    pub fn add_dependency(&mut self, chart: Self) {
        self.dependencies.push(chart);
    }

    /// The charts that it needs and does not have: those of its lock file, where it has one.
    pub fn missing_dependencies(&self) -> Vec<MissingDependency> {
        let needed = match &self.lock {
            Some(lock) => lock.dependencies.as_ref(),
            None => Some(&self.metadata.dependencies),
        };
        let needed: Vec<&Dependency<Value>> =
            needed.iter().flat_map(|list| list.0.iter().flatten()).collect();
        if needed.len() == self.dependencies.len() {
            return Vec::new();
        }
        let is_missing = |dependency: &&&Dependency<Value>| {
            !self.dependencies.iter().any(|chart| chart.name() == dependency.key())
        };
        let missing = needed.iter().filter(is_missing).map(|dependency| MissingDependency {
            key: dependency.key().to_owned(),
            name: dependency.name.0.clone(),
            version: dependency.version.0.clone(),
            repository: dependency.repository.0.clone(),
        });
        missing.collect()
    }

    /// Merges files of the chart itself into its default values. Returns those that were there.
    pub fn merge_own_values(
        &mut self,
        paths: &[String],
        ignore_missing: bool,
        memory: &mut MemoryReservation,
    ) -> Result<Vec<String>, ValuesError> {
        let mut values = Values::new(memory);
        let mut merged = Vec::new();
        for path in paths {
            let clean = clean(path);
            if clean == VALUES_FILE {
                if let Some(file) = &self.values {
                    values.merge_defaults(path, &file.content)?;
                }
            } else if let Some(file) = self.files.iter().find(|file| file.path == clean) {
                values.merge_file(path, &file.content)?;
            } else if ignore_missing {
                continue;
            } else {
                return Err(ValuesError::Missing { path: path.clone() });
            }
            merged.push(path.clone());
        }
        let text = values.to_yaml();
        self.set_values(text)?;
        Ok(merged)
    }

    /// Replaces its default values.
    pub fn set_values(&mut self, text: String) -> Result<(), ValuesError> {
        let file = self.values.as_mut().ok_or(ValuesError::NoDefaults)?;
        file.content = Bytes::from(text);
        Ok(())
    }

    /// Sorts files. Those below `charts/` are returned.
    fn sorted(files: Vec<ChartFile>) -> Result<(Self, Below), ChartError> {
        let bad = |file: &str, problem: String| ChartError::ChartFile {
            file: file.to_owned(),
            problem: crate::index::excerpt(&problem),
        };
        let found =
            files.iter().rev().find(|file| file.path == "Chart.yaml").ok_or(ChartError::NoChartFile)?;
        let metadata = Metadata::parse(&found.content).map_err(|problem| bad("Chart.yaml", problem))?;
        let mut chart = Self {
            metadata,
            modified: found.modified,
            lock: None,
            values: None,
            schema: None,
            templates: Vec::new(),
            files: Vec::new(),
            dependencies: Vec::new(),
        };
        let mut below = Below::new();
        for file in files {
            let is_v1 = chart.metadata.api_version.0 == V1;
            match file.path.as_str() {
                "Chart.yaml" => {}
                "Chart.lock" => {
                    chart.lock = read(&file.content).map(Some).map_err(|it| bad("Chart.lock", it))?;
                }
                VALUES_FILE => {
                    check_values(&file).map_err(|problem| bad(VALUES_FILE, problem))?;
                    chart.values = Some(file);
                }
                "values.schema.json" => chart.schema = Some(file),
                path @ ("requirements.yaml" | "requirements.lock") => {
                    let read = if path == "requirements.yaml" {
                        chart.metadata.add_requirements(&file.content)
                    } else {
                        read(&file.content).map(|lock| chart.lock = Some(lock))
                    };
                    read.map_err(|problem| bad(path, problem))?;
                    if is_v1 {
                        chart.files.push(file);
                    }
                }
                path if path.starts_with("templates/") => chart.templates.push(file),
                path if path.starts_with("charts/") && path.strip_suffix(".prov").is_none() => {
                    put_below(&mut below, file);
                }
                _ => chart.files.push(file),
            }
        }
        chart.metadata.validate().map_err(|problem| ChartError::Invalid { problem })?;
        Ok((chart, below))
    }
}

/// A file below `charts/`; one of a directory or archive that begins with `_` or `.` is no part of the chart.
fn put_below(below: &mut Below, file: ChartFile) {
    let path = file.path.strip_prefix("charts/").unwrap_or(&file.path).to_owned();
    let directory = path.split('/').next().unwrap_or(&path).to_owned();
    if !directory.starts_with(['_', '.']) {
        below.entry(directory).or_default().push(ChartFile { path, ..file });
    }
}

/// Whether a file is read as YAML when a chart is loaded.
fn is_read(path: &str) -> bool {
    matches!(path, "Chart.yaml" | "Chart.lock" | VALUES_FILE | "requirements.yaml" | "requirements.lock")
}

/// Whether default values can be read: Helm rejects the chart otherwise.
fn check_values(file: &ChartFile) -> Result<(), String> {
    let text = std::str::from_utf8(&file.content).map_err(|_| "it is not UTF-8".to_owned())?;
    let limits = crate::metadata::yaml_limits(text.len());
    let value = plumb_manifests::yaml::parse_settings(text, &limits).map_err(|error| error.to_string())?;
    if value.is_null() || value.is_object() { Ok(()) } else { Err("the file is not a map".to_owned()) }
}

/// A path without what leads nowhere: `./a//b/../c` is `a/c`. One that leads out keeps its `..` and is found nowhere.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let slash = if path.starts_with('/') { "/" } else { "" };
    format!("{slash}{}", parts.join("/"))
}

#[cfg(test)]
mod tests;
