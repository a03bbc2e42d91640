//! The bytes of an artifact: the archive of a chart as it was published, or packaged anew.

use bytes::Bytes;
use plumb_helm::{Chart, ChartReader, package};
use plumb_memory::{Limit, MemoryPool, MemoryReservation};

use super::{
    error::{HelmChartError, ValuesFilesError},
    validate::Valid,
};
use crate::artifact::on_thread;

/// What one chart may take in memory while it is packaged, its dependencies included.
pub const CHART_MEMORY: Limit = Limit { name: "Helm chart in memory", bytes_max: 512 << 20 };

/// The archive of a chart.
#[derive(Debug)]
pub struct Built {
    /// Its bytes.
    pub bytes: Bytes,
    /// Held as long as the bytes are.
    pub memory: MemoryReservation,
    /// Whether it was packaged here.
    pub is_packaged: bool,
    /// The values files that were merged into it.
    pub values_files: Vec<String>,
}

/// Merges the chart's own files into its default values.
pub async fn with_values(
    pool: &MemoryPool,
    namespace: &str,
    (archive, held): (Bytes, MemoryReservation),
    valid: &Valid,
    (version, file_bytes_max): (&str, u64),
) -> Result<Built, HelmChartError> {
    let mut memory = pool.reservation(namespace, CHART_MEMORY);
    let mut values = pool.reservation(namespace, CHART_MEMORY);
    let (valid, version) = (valid.clone(), version.to_owned());
    let work = move || -> Result<_, HelmChartError> {
        let chart = ChartReader::new(file_bytes_max, &mut memory).archive(&archive);
        let mut chart = chart.map_err(HelmChartError::Load)?;
        drop(archive);
        drop(held);
        chart.set_version(&version);
        let merged = chart.merge_own_values(&valid.values_files, valid.ignore_missing, &mut values);
        let merged = merged.map_err(|error| HelmChartError::Values(ValuesFilesError::OfChart(error)))?;
        Ok((chart, memory, merged))
    };
    let (chart, memory, merged) = on_thread(work).await??;
    packaged(chart, memory, merged).await
}

/// Packages a chart, which is charged to `memory`.
pub async fn packaged(
    chart: Chart,
    mut memory: MemoryReservation,
    values_files: Vec<String>,
) -> Result<Built, HelmChartError> {
    let work = move || -> Result<_, HelmChartError> {
        let charged = memory.bytes();
        // It is not larger than its files.
        memory.try_grow(charged).map_err(HelmChartError::OverBudget)?;
        let archive = package(&chart).map_err(HelmChartError::Package)?;
        drop(chart);
        memory.shrink(memory.bytes().saturating_sub(archive.len() as u64));
        Ok((Bytes::from(archive), memory))
    };
    let (bytes, memory) = on_thread(work).await??;
    Ok(Built { bytes, memory, is_packaged: true, values_files })
}
