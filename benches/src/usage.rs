//! What a process has used, from `/proc`.

use procfs::process::{self, MMapPath};
use serde::Serialize;

use crate::BenchError;

/// A process to be measured: the server, or this generator.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    process: process::Process,
}

/// CPU time and memory at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Usage {
    /// User and system time of all threads since the process began, in seconds; in steps of 10 ms.
    pub cpu_seconds: f64,
    /// Resident memory, in KiB.
    pub rss_kib: u64,
}

impl Process {
    /// The process with this id.
    ///
    /// # Errors
    /// [`BenchError::Proc`] if there is none, or it belongs to somebody else.
    pub fn new(pid: i32) -> Result<Self, BenchError> {
        let process = process::Process::new(pid).map_err(|source| BenchError::Proc { pid, source })?;
        Ok(Self { pid, process })
    }

    /// This process.
    ///
    /// # Errors
    /// [`BenchError::Proc`] if there is no `/proc`.
    pub fn this() -> Result<Self, BenchError> {
        let process = process::Process::myself().map_err(|source| BenchError::Proc { pid: 0, source })?;
        Ok(Self { pid: process.pid(), process })
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// [`BenchError::Proc`] if it has ended.
    pub fn usage(&self) -> Result<Usage, BenchError> {
        self.read().map_err(|source| BenchError::Proc { pid: self.pid, source })
    }

    #[allow(clippy::cast_precision_loss, reason = "ticks of a process that lives for minutes are few")]
    fn read(&self) -> procfs::ProcResult<Usage> {
        let stat = self.process.stat()?;
        let ticks = stat.utime.saturating_add(stat.stime);
        let cpu_seconds = ticks as f64 / procfs::ticks_per_second() as f64;
        // smaps_rollup walks the page tables; VmRSS lags by up to 64 pages for each thread.
        let rollup = self.process.smaps_rollup()?;
        let rss_bytes: u64 = rollup
            .memory_map_rollup
            .iter()
            .filter(|map| map.pathname == MMapPath::Rollup)
            .filter_map(|map| map.extension.map.get("Rss"))
            .sum();
        Ok(Usage { cpu_seconds, rss_kib: rss_bytes / 1024 })
    }
}
