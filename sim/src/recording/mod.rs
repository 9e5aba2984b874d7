//! Recordings of servers: what an engine was told and when, told to the engine of this build.
//!
//! [`files`] reads them, [`player`] tells an engine, [`judge`] says what must hold of any server, [`replay`] compares what this build
//! does with what was recorded. `tape` makes recordings of the simulator's own servers. What is to be made small, or edited by
//! hand, becomes a [`Script`](crate::script::Script).

pub mod accept;
pub mod chart;
pub mod file;
pub mod files;
pub mod judge;
pub mod name;
pub mod player;
pub mod replay;
pub(crate) mod tape;
pub mod write;

use switchboard_engine::Canary;

use crate::canaries::Planted;
use crate::schedule::Schedule;
use crate::world::{Options, Outcome};

/// Executes a schedule and records one of its servers, the `which`-th that starts, from 0: first those of all shards start, then those
/// that replace others. With it what came of the run; no recording if so many servers do not start.
#[must_use]
pub fn record(
    schedule: &Schedule,
    options: Options,
    bug: Option<Canary>,
    which: u32,
) -> (Outcome, Option<Vec<u8>>) {
    tape::record(schedule, options, &Planted(bug), which)
}
