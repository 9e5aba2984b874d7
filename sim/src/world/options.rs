//! How a run is to be executed, and what came of it.

use crate::{
    check::Violation,
    counts::{Reached, Tally},
    trace::Mark,
};

/// How a run is to be executed.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Engine events between two full sweeps of an engine; 1: after every event.
    pub sweep_every: u32,
    /// Note what happens, for tables and charts.
    pub trace: bool,
    /// Stop at this virtual time, in microseconds, and skip the healed phase.
    pub until_us: Option<u64>,
    /// What stands in the shards.
    pub target: Target,
    /// Shadow each engine event by event, where the target can be shadowed; without, only the specification judges.
    pub shadow: bool,
    /// Judge by what people see.
    pub specification: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sweep_every: 64,
            trace: false,
            until_us: None,
            target: Target::Shipped,
            shadow: true,
            specification: true,
        }
    }
}

/// What stands in the shards of a world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// The engine as it is shipped.
    #[default]
    Shipped,
    /// The model of the server that the classic front-end was written for.
    Original,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What did not hold, if anything.
    pub violation: Option<Violation>,
    /// A digest of all actions of all servers in order, and of the states of all engines, servers and clients,
    /// when the faults end and at the end.
    pub digest: u64,
    /// Calls of engines, servers' and clients'.
    pub events: u64,
    /// Virtual time that passed, in microseconds.
    pub virtual_us: u64,
    /// How often each verb of the schedule was met, in the order of [`What::VERBS`](crate::schedule::What::VERBS).
    pub met: Vec<u64>,
    /// How often each fault happened.
    pub tally: Tally,
    /// How often each rule of the engines was reached.
    pub reached: Reached,
    /// What happened, if it was wanted.
    pub trace: Vec<Mark>,
}
