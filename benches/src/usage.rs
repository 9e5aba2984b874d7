//! What a process has used, from `/proc`.

use std::thread;
use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::Pid;
use procfs::process::{self, LimitValue, MMapPath, ProcState};
use serde::{Deserialize, Serialize};

use crate::BenchError;

/// A process to be measured: the server, or this generator.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    process: process::Process,
    /// Counts the CPU time of all its threads.
    clock: ClockId,
}

/// CPU time and memory at one moment.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Usage {
    /// User and system time of all threads since the process began, in seconds.
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
        Self::with_clock(process)
    }

    /// This process.
    ///
    /// # Errors
    /// [`BenchError::Proc`] if there is no `/proc`.
    pub fn this() -> Result<Self, BenchError> {
        let process = process::Process::myself().map_err(|source| BenchError::Proc { pid: 0, source })?;
        Self::with_clock(process)
    }

    fn with_clock(process: process::Process) -> Result<Self, BenchError> {
        let pid = process.pid();
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid))
            .map_err(|source| BenchError::Clock { pid, source })?;
        Ok(Self { pid, process, clock })
    }

    /// The CPU time that it has used so far, in user and kernel mode, all threads together.
    ///
    /// # Errors
    /// [`BenchError::Clock`] if it has ended.
    pub fn cpu_time(&self) -> Result<Duration, BenchError> {
        self.clock.now().map(Duration::from).map_err(|source| BenchError::Clock { pid: self.pid, source })
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// [`BenchError::Proc`] if it has ended.
    pub fn usage(&self) -> Result<Usage, BenchError> {
        let cpu_seconds = self.cpu_time()?.as_secs_f64();
        let rss_kib = self.rss_kib().map_err(|source| BenchError::Proc { pid: self.pid, source })?;
        Ok(Usage { cpu_seconds, rss_kib })
    }

    /// What keeps it from answering, in words; none if nothing is known of that.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        // Of the kernel: it is about to end. Its sockets are closed then before its status is known.
        const EXITING: u32 = 4;
        let mut stat = self.process.stat();
        for _ in 0..100 {
            match &stat {
                Ok(it) if it.flags & EXITING != 0 && it.state().ok() != Some(ProcState::Zombie) => {
                    thread::sleep(Duration::from_millis(5));
                    stat = self.process.stat();
                }
                Ok(_) | Err(_) => break,
            }
        }
        let Ok(stat) = stat else { return Some("it has ended".to_owned()) };
        match stat.state().ok()? {
            ProcState::Stopped | ProcState::Tracing => Some("it is stopped".to_owned()),
            // Nobody has asked for its status yet.
            ProcState::Zombie | ProcState::Dead => Some(match stat.exit_code {
                Some(status) if status & 0x7f != 0 => format!("it was ended by signal {}", status & 0x7f),
                Some(status) => format!("it has ended with exit code {}", status >> 8),
                None => "it has ended".to_owned(),
            }),
            ProcState::Running
            | ProcState::Sleeping
            | ProcState::Waiting
            | ProcState::Wakekill
            | ProcState::Waking
            | ProcState::Parked
            | ProcState::Idle => None,
        }
    }

    /// How many files it may have open, if that is limited.
    #[must_use]
    pub fn open_files_limit(&self) -> Option<u64> {
        match self.process.limits().ok()?.max_open_files.soft_limit {
            LimitValue::Value(files) => Some(files),
            LimitValue::Unlimited => None,
        }
    }

    fn rss_kib(&self) -> procfs::ProcResult<u64> {
        // smaps_rollup walks the page tables; VmRSS lags by up to 64 pages for each thread.
        let rollup = self.process.smaps_rollup()?;
        let rss_bytes: u64 = rollup
            .memory_map_rollup
            .iter()
            .filter(|map| map.pathname == MMapPath::Rollup)
            .filter_map(|map| map.extension.map.get("Rss"))
            .sum();
        Ok(rss_bytes / 1024)
    }
}
