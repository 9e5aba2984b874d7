//! What has happened, for people.

use std::{collections::BTreeMap, time::Duration};

use crate::{fault::Fault, figures::Holds, replays::Replayed};

#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) faults: BTreeMap<Fault, u64>,
    /// Processes of the server.
    pub(crate) runs: u64,
    pub(crate) accepted: u64,
    /// Messages that devices were told of, each counted for each device.
    pub(crate) told: u64,
    /// Entries of all logs; who speaks the classic protocol is told of no acknowledgement.
    pub(crate) stored: u64,
    /// Uploaded, and named by a message each.
    pub(crate) files: u64,
    pub(crate) connections: u64,
    pub(crate) broken: u64,
    pub(crate) cut_off_devices: u64,
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) replayed: Replayed,
    /// Of the process that lives for half of the time: after its first round, at the most in the first half of its life, and at
    /// the end.
    pub(crate) holds: Vec<[Holds; 3]>,
    pub(crate) left_out: Vec<String>,
}

impl core::fmt::Display for Summary {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let faults = self.faults.iter().map(|(fault, count)| format!("{count} x {}", fault.name()));
        writeln!(f, "faults: {}", faults.collect::<Vec<_>>().join(", "))?;
        let Self { runs, accepted, told, stored, connections, broken, cut_off_devices, .. } = self;
        writeln!(
            f,
            "processes of the server: {runs}; connections: {connections}, of which {broken} were broken by the network; \
             devices cut off: {cut_off_devices}"
        )?;
        writeln!(
            f,
            "messages: {accepted} accepted, {stored} in the logs, each there once and in order; devices were told {told} times"
        )?;
        writeln!(f, "files: {} sent, each there and named by one message", self.files)?;
        for (why, count) in &self.refused {
            writeln!(f, "  {count} times refused, and tried again: {why}")?;
        }
        let Replayed { recordings, files, cut_off, gaps, steps, recorded, took } = &self.replayed;
        let seconds = took.max(&Duration::from_nanos(1)).as_secs_f64();
        writeln!(
            f,
            "recordings: {recordings} in {files} files, {cut_off} cut off, {gaps} gaps; {steps} steps, identical, and every check \
             holds; {:.0} s recorded, {:.0} times as fast, {:.0} steps a second",
            recorded.as_secs_f64(),
            recorded.as_secs_f64() / seconds,
            *steps as f64 / seconds
        )?;
        for [first, most, last] in &self.holds {
            writeln!(f, "a process without clients, after its first round: {first}")?;
            writeln!(f, "  at the most in the first half of its life: {most}")?;
            writeln!(f, "  at its end: {last}")?;
        }
        for what in &self.left_out {
            writeln!(f, "LEFT OUT on this machine: {what}")?;
        }
        Ok(())
    }
}
