//! A chart as an archive, as `helm package` writes it: `Chart.yaml` and the lock file anew, then the default values, the schema, the
//! templates, the other files, and the charts below. The same chart has the same bytes: times are those of the files.

use std::{collections::BTreeSet, io::Write};

use flate2::{Compression, GzBuilder};
use serde::de::IgnoredAny;
use tar::{Builder, EntryType, Header};

use crate::{
    chart::{Chart, ChartFile},
    metadata::{V1, write},
};

/// Why a chart cannot be packaged.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// Its schema of values is not JSON.
    #[error("failed to package chart: invalid JSON in values.schema.json")]
    Schema,
    /// A path is too long, say.
    #[error("failed to package chart")]
    Archive(#[source] std::io::Error),
}

/// Packages a chart.
pub fn package(chart: &Chart) -> Result<Vec<u8>, PackageError> {
    let gzip = GzBuilder::new().comment("Helm").write(Vec::new(), Compression::default());
    let mut archive = Builder::new(gzip);
    add_chart(&mut archive, chart, chart.name())?;
    let gzip = archive.into_inner().map_err(PackageError::Archive)?;
    gzip.finish().map_err(PackageError::Archive)
}

fn add_chart<W: Write>(archive: &mut Builder<W>, chart: &Chart, base: &str) -> Result<(), PackageError> {
    let Chart { metadata, modified, lock, values, schema, templates, files, dependencies } = chart;
    add(archive, base, "Chart.yaml", metadata.to_yaml().as_bytes(), *modified)?;
    if let Some(lock) = lock
        && metadata.api_version.0 != V1
    {
        add(archive, base, "Chart.lock", write(lock).as_bytes(), *modified)?;
    }
    if let Some(schema) = schema {
        serde_json::from_slice::<IgnoredAny>(&schema.content).map_err(|_| PackageError::Schema)?;
    }
    for ChartFile { path, content, modified } in values.iter().chain(schema).chain(templates).chain(files) {
        add(archive, base, path, content, *modified)?;
    }
    let mut names = BTreeSet::new();
    for below in dependencies {
        let (name, version) = (below.name(), below.version());
        // Two charts of one name would overwrite each other: Helm does not mind how a directory is called.
        let is_first = names.range((name, "")..).next().is_none_or(|(known, _)| *known != name);
        if !names.insert((name, version)) {
            continue;
        }
        let directory = if is_first { name.to_owned() } else { format!("{name}-{version}") };
        add_chart(archive, below, &format!("{base}/charts/{directory}"))?;
    }
    Ok(())
}

fn add<W: Write>(
    archive: &mut Builder<W>,
    base: &str,
    path: &str,
    content: &[u8],
    modified: u64,
) -> Result<(), PackageError> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_mtime(modified);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, format!("{base}/{path}"), content).map_err(PackageError::Archive)
}
