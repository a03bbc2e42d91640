//! The archive of a chart: checked as Helm checks it when it loads a chart, without unpacking it. The bytes are never changed.

use std::{
    cell::Cell,
    io::{self, Read},
};

use flate2::read::MultiGzDecoder;
use plumb_memory::OverBudget;
use plumb_version::{Version, parse_loose};

use crate::entry::Entry;

/// Bytes of a chart, unpacked: Helm loads no larger one.
pub const UNPACKED_BYTES_MAX: u64 = 100 << 20;
/// Entries of an archive.
pub const ENTRIES_MAX: usize = 100_000;
/// Bytes of the headers of one entry, with those that extend them: long names, records of PAX.
const HEADERS_BYTES_MAX: u64 = 64 << 10;
/// Charts inside each other.
pub const CHARTS_DEPTH_MAX: usize = 16;
/// The file that makes an archive a chart.
const CHART_FILE: &str = "Chart.yaml";

/// What a chart says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChartMetadata {
    /// Its name.
    pub name: String,
    /// Its version, as it is written.
    pub version: String,
}

/// Why an archive is not the chart that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// It is not a gzipped tar, or it is cut off.
    #[error("the archive is damaged")]
    Damaged(#[source] io::Error),
    /// It unpacks to too much.
    #[error("the chart unpacks to more than {UNPACKED_BYTES_MAX} bytes")]
    TooLarge,
    /// It has too many entries.
    #[error("the archive has more than {ENTRIES_MAX} entries")]
    TooManyEntries,
    /// The headers of an entry are too large.
    #[error("the archive has an entry with more than {HEADERS_BYTES_MAX} bytes of headers")]
    Headers,
    /// A path leads out of the chart, or is not below one directory.
    #[error("chart illegally contains {problem}: {path:?}")]
    Path {
        /// Which.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is no `Chart.yaml`.
    #[error("no 'Chart.yaml' found")]
    NoChartFile,
    /// There is more than one.
    #[error("more than one 'Chart.yaml' found")]
    TwoChartFiles,
    /// It is too large.
    #[error("size of 'Chart.yaml' exceeds '{max}' bytes limit (--helm-chart-file-max-size)")]
    ChartFileTooLarge {
        /// The limit.
        max: u64,
    },
    /// A file with settings of the chart cannot be read.
    #[error("cannot load '{file}': {problem}")]
    ChartFile {
        /// Which.
        file: String,
        /// Why.
        problem: String,
    },
    /// The chart breaks a rule of Helm.
    #[error("validation: {problem}")]
    Invalid {
        /// Which.
        problem: String,
    },
    /// A file is too large.
    #[error(
        "cannot load file {path} as file size ({bytes}) exceeds limit ({max}) (--helm-chart-file-max-size)"
    )]
    FileTooLarge {
        /// The file.
        path: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The rules of `.helmignore` cannot be read.
    #[error("cannot load ignore rules for chart: {problem}")]
    IgnoreRules {
        /// Why.
        problem: String,
    },
    /// A chart below `charts/` cannot be loaded.
    #[error("error unpacking subchart {directory} in {chart}")]
    Subchart {
        /// The directory or archive.
        directory: String,
        /// The chart that has it.
        chart: String,
        /// Why.
        #[source]
        source: Box<ChartError>,
    },
    /// What has the name of an archive is a directory.
    #[error("it has the name of an archive and is a directory")]
    NoArchive,
    /// Charts are nested too deeply.
    #[error("more than {CHARTS_DEPTH_MAX} charts are inside each other")]
    TooDeep,
    /// The memory budget does not allow it.
    #[error("the chart needs more memory than there is")]
    OverBudget(#[source] OverBudget),
    /// It is the one of another chart.
    #[error(
        "the archive has chart '{name}' with version '{version}', not '{wanted_name}' with version '{wanted_version}'"
    )]
    Other {
        /// The name in the archive.
        name: String,
        /// The version in the archive.
        version: String,
        /// The name that was asked for.
        wanted_name: String,
        /// The version that was asked for.
        wanted_version: String,
    },
}

/// Checks that an archive is a chart of this name and version. Its `Chart.yaml` may have `file_bytes_max` bytes.
pub fn check_chart(archive: &[u8], name: &str, version: &str, file_bytes_max: u64) -> Result<(), ChartError> {
    let ChartMetadata { name: found_name, version: found_version } = read_metadata(archive, file_bytes_max)?;
    let same_version =
        |a: &str, b: &str| a == b || parse_loose(a).is_some_and(|a: Version| Some(a) == parse_loose(b));
    if found_name == name && same_version(&found_version, version) {
        return Ok(());
    }
    Err(ChartError::Other {
        name: found_name,
        version: found_version,
        wanted_name: name.to_owned(),
        wanted_version: version.to_owned(),
    })
}

/// What the chart in an archive says of itself. All of the archive is read: one that is cut off is none.
pub fn read_metadata(archive: &[u8], file_bytes_max: u64) -> Result<ChartMetadata, ChartError> {
    let guard = Guard::default();
    let reader = guard.bounded(MultiGzDecoder::new(archive), UNPACKED_BYTES_MAX);
    read_entries(&guard, reader, file_bytes_max).map_err(|error| guard.explained(error))
}

fn read_entries(guard: &Guard, reader: impl Read, file_bytes_max: u64) -> Result<ChartMetadata, ChartError> {
    let mut tar = tar::Archive::new(reader);
    let mut found = None;
    let mut entries = tar.entries().map_err(ChartError::Damaged)?;
    for index in 0.. {
        let Some(entry) = guard.headers(|| entries.next()) else { break };
        if index == ENTRIES_MAX {
            return Err(ChartError::TooManyEntries);
        }
        let mut entry = entry.map_err(ChartError::Damaged)?;
        let kind = entry.header().entry_type();
        let is_other = kind.is_dir() || kind.is_pax_global_extensions() || kind.is_pax_local_extensions();
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if is_other || !is_chart_file(&path)? {
            skip(&mut entry)?;
            continue;
        }
        if found.is_some() {
            return Err(ChartError::TwoChartFiles);
        }
        if entry.size() > file_bytes_max {
            return Err(ChartError::ChartFileTooLarge { max: file_bytes_max });
        }
        let mut text = Vec::new();
        entry.read_to_end(&mut text).map_err(ChartError::Damaged)?;
        found = Some(parse(&text)?);
    }
    // The rest of the stream is read too: a checksum that is wrong at its very end is still found.
    io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(ChartError::Damaged)?;
    found.ok_or(ChartError::NoChartFile)
}

/// Whether a file is `Chart.yaml` in the directory of the chart.
fn is_chart_file(path: &str) -> Result<bool, ChartError> {
    let inside = path_in_chart(path)?;
    // As Helm has it: only where it is written in full.
    Ok(inside == CHART_FILE && path.split(separator(path)).nth(1) == Some(CHART_FILE))
}

/// An archive that was made on Windows may have its separator.
fn separator(path: &str) -> char {
    if path.contains('\\') { '\\' } else { '/' }
}

/// The path of a file below the directory of its chart, without what leads nowhere. One that Helm does not take rejects the archive.
pub fn path_in_chart(path: &str) -> Result<String, ChartError> {
    let illegal = |problem| ChartError::Path { path: path.to_owned(), problem };
    let separator = separator(path);
    let Some((_, below)) = path.split_once(separator) else {
        return Err(illegal("content outside the base directory"));
    };
    let below = below.replace(separator, "/");
    if below.starts_with('/') {
        return Err(illegal("absolute paths"));
    }
    let mut parts = Vec::new();
    for part in below.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(|| illegal("references to a parent directory"))?;
            }
            name => parts.push(name),
        }
    }
    if parts.is_empty() {
        return Err(illegal("content outside the base directory"));
    }
    if below.get(1..3) == Some(":/") && below.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return Err(illegal("illegally named files"));
    }
    Ok(parts.join("/"))
}

fn parse(text: &[u8]) -> Result<ChartMetadata, ChartError> {
    let bad = |problem: String| ChartError::ChartFile {
        file: CHART_FILE.to_owned(),
        problem: crate::index::excerpt(&problem),
    };
    let entry: Entry = serde_saphyr::from_slice_with_options(text, crate::index::yaml_options(text.len()))
        .map_err(|error| bad(error.without_snippet().to_string()))?;
    let (name, version) = entry.identity().map_err(|problem| bad(problem.to_owned()))?;
    Ok(ChartMetadata { name, version })
}

/// Reads the rest of an entry. What is left of it would count as a part of the next entry's headers.
pub fn skip(entry: &mut impl Read) -> Result<(), ChartError> {
    io::copy(entry, &mut io::sink()).map(|_| ()).map_err(ChartError::Damaged)
}

/// Tells a bomb from a damaged archive.
#[derive(Default)]
pub struct Guard {
    over: Cell<bool>,
    /// How much of the headers of an entry may still be read; none within the content of one.
    headers: Cell<Option<u64>>,
}

impl Guard {
    /// A reader that stops after so many bytes.
    pub fn bounded<R: Read>(&self, inner: R, left: u64) -> impl Read {
        Bounded { inner, left, guard: self }
    }

    /// Reads the headers of an entry: they are in memory as a whole, before their size is known.
    pub fn headers<T>(&self, read: impl FnOnce() -> T) -> T {
        self.headers.set(Some(HEADERS_BYTES_MAX));
        let done = read();
        if self.headers.get() != Some(0) {
            self.headers.set(None);
        }
        done
    }

    /// What an error in reading means.
    pub fn explained(&self, error: ChartError) -> ChartError {
        match error {
            ChartError::Damaged(_) if self.over.get() => ChartError::TooLarge,
            ChartError::Damaged(_) if self.headers.get() == Some(0) => ChartError::Headers,
            other => other,
        }
    }
}

/// Stops a bomb at its limit.
struct Bounded<'a, R> {
    inner: R,
    left: u64,
    guard: &'a Guard,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let over = || io::Error::other("over a limit");
        if let Some(headers) = self.guard.headers.get() {
            let left = headers.saturating_sub(read as u64);
            self.guard.headers.set(Some(left));
            if left == 0 {
                return Err(over());
            }
        }
        let Some(left) = self.left.checked_sub(read as u64) else {
            self.guard.over.set(true);
            return Err(over());
        };
        self.left = left;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const MAX: u64 = 5 << 20;

    fn tar_gz(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar =
            tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(content.len() as u64);
            header.set_entry_type(tar::EntryType::Regular);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append(&header, *content).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    const CHART: &[u8] = b"apiVersion: v2\nname: app\nversion: 1.2.0\nappVersion: 1.10\n";

    #[track_caller]
    fn rejected(archive: &[u8], expect: &str) {
        let error = check_chart(archive, "app", "1.2.0", MAX).unwrap_err();
        assert!(error.to_string().contains(expect), "{error}");
    }

    #[test]
    fn the_chart_that_was_asked_for_is_taken() {
        let archive = tar_gz(&[
            ("app/templates/x.yaml", b"x"),
            ("app/Chart.yaml", CHART),
            ("app/charts/sub/Chart.yaml", b"name: sub"),
        ]);
        check_chart(&archive, "app", "1.2.0", MAX).unwrap();
        check_chart(&archive, "app", "v1.2.0", MAX).unwrap();
        check_chart(&tar_gz(&[("app\\Chart.yaml", CHART)]), "app", "1.2.0", MAX).unwrap();
        for (name, version) in [("other", "1.2.0"), ("app", "1.2.1"), ("app", "1.2.0+b")] {
            let error = check_chart(&archive, name, version, MAX).unwrap_err();
            assert!(
                error.to_string().starts_with("the archive has chart 'app' with version '1.2.0', not"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_no_chart_is_rejected() {
        rejected(b"no archive", "the archive is damaged");
        rejected(&tar_gz(&[]), "no 'Chart.yaml' found");
        rejected(&tar_gz(&[("./app/Chart.yaml", CHART)]), "no 'Chart.yaml' found");
        rejected(&tar_gz(&[("Chart.yaml", CHART)]), "content outside the base directory");
        rejected(&tar_gz(&[("app/Chart.yaml", CHART), ("app/Chart.yaml", CHART)]), "more than one");
        rejected(
            &tar_gz(&[("app/Chart.yaml", b"name: app")]),
            "cannot load 'Chart.yaml': chart.metadata.version",
        );
        rejected(&tar_gz(&[("app/Chart.yaml", b"version: 1.2.0")]), "chart.metadata.name is required");
        rejected(
            &tar_gz(&[("app/Chart.yaml", b"name: app\nversion: x")]),
            "chart.metadata.version is invalid",
        );
        rejected(&tar_gz(&[("app/Chart.yaml", b": [")]), "cannot load 'Chart.yaml'");
        let archive = tar_gz(&[("app/Chart.yaml", CHART)]);
        rejected(&archive[..archive.len() - 9], "the archive is damaged");
        let error = check_chart(&archive, "app", "1.2.0", 10).unwrap_err();
        assert!(error.to_string().contains("'10' bytes limit (--helm-chart-file-max-size)"));
    }

    #[test]
    fn hostile_paths_reject_the_archive() {
        for path in ["app/../../etc/passwd", "app//etc/passwd", "app/..", "app/.", "app/c:/x", "x"] {
            rejected(&tar_gz(&[("app/Chart.yaml", CHART), (path, b"x")]), "chart illegally contains");
        }
    }

    #[test]
    fn a_bomb_stops_at_its_limit() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut header = tar::Header::new_gnu();
        header.set_path("app/zeros").unwrap();
        header.set_size(UNPACKED_BYTES_MAX + (1 << 20));
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        gzip.write_all(header.as_bytes()).unwrap();
        let zeros = vec![0; 1 << 20];
        for _ in 0..=UNPACKED_BYTES_MAX >> 20 {
            gzip.write_all(&zeros).unwrap();
        }
        rejected(&gzip.finish().unwrap(), "the chart unpacks to more than");
    }

    /// An archive whose entry has a name of so many bytes, in a header of its own.
    fn with_name(bytes: usize) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let name = format!("app/{}", "a/".repeat(bytes / 2 - 2));
        let mut long = tar::Header::new_gnu();
        long.set_path("././@LongLink").unwrap();
        long.set_entry_type(tar::EntryType::GNULongName);
        long.set_size(name.len() as u64);
        long.set_cksum();
        gzip.write_all(long.as_bytes()).unwrap();
        gzip.write_all(name.as_bytes()).unwrap();
        gzip.write_all(&vec![0; name.len().next_multiple_of(512) - name.len()]).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_path("app/x").unwrap();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(0);
        header.set_cksum();
        gzip.write_all(header.as_bytes()).unwrap();
        gzip.write_all(&[0; 1024]).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn a_name_without_end_is_not_read() {
        rejected(&with_name(1 << 20), "the archive has an entry with more than 65536 bytes of headers");
        rejected(&with_name(1 << 10), "no 'Chart.yaml' found");
        let pool = plumb_memory::MemoryPool::new(1 << 30);
        let mut memory = pool.reservation("apps", crate::index::INDEX_MEMORY);
        let mut reader = crate::ChartReader::new(MAX, &mut memory);
        let error = reader.archive(&with_name(1 << 20)).unwrap_err();
        assert!(matches!(error, ChartError::Headers), "{error}");
    }
}
