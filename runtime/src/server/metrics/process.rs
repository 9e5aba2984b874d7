//! What the process uses, under the names that Prometheus' own clients give it.

use super::family::Families;

/// Nothing where the system has no `/proc`, or does not let it be read.
#[cfg(target_os = "linux")]
pub(super) fn process(families: &mut Families) {
    if let Err(error) = read(families) {
        tracing::debug!(%error, "cannot read what the process uses");
    }
}

/// Elsewhere nothing is known.
#[cfg(not(target_os = "linux"))]
pub(super) fn process(_families: &mut Families) {}

#[cfg(target_os = "linux")]
fn read(families: &mut Families) -> procfs::ProcResult<()> {
    use procfs::process::{LimitValue, Process};

    let process = Process::myself()?;
    let stat = process.stat()?;
    let ticks = |ticks: u64| seconds(ticks) / seconds(procfs::ticks_per_second());
    families.seconds(
        "process_cpu_seconds",
        "CPU time of all threads since the start, in user and kernel mode, in seconds.",
        ticks(stat.utime.saturating_add(stat.stime)),
    );
    families.moment(
        "process_start_time_seconds",
        "When the process was started, in seconds since 1970.",
        seconds(procfs::boot_time_secs()?) + ticks(stat.starttime),
    );
    let resident = stat.rss.saturating_mul(procfs::page_size());
    families.gauge(
        "process_resident_memory_bytes",
        "Memory of the process that is not paged out.",
        Vec::new(),
        resident,
    );
    families.gauge(
        "process_virtual_memory_bytes",
        "Addresses that the process has taken.",
        Vec::new(),
        stat.vsize,
    );
    let open = process.fd_count()? as u64;
    families.gauge("process_open_fds", "Files that are open; each connection is one.", Vec::new(), open);
    if let LimitValue::Value(limit) = process.limits()?.max_open_files.soft_limit {
        families.gauge("process_max_fds", "How many files may be open.", Vec::new(), limit);
    }
    families.gauge(
        "process_threads",
        "Threads of the process.",
        Vec::new(),
        u64::try_from(stat.num_threads).unwrap_or_default(),
    );
    Ok(())
}

#[cfg(target_os = "linux")]
#[allow(clippy::cast_precision_loss, reason = "times are far below 2^53")]
const fn seconds(count: u64) -> f64 {
    count as f64
}
