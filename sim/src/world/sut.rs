//! What stands in each shard of a world: something that takes the engine's events and gives its actions.

use core::fmt::Debug;

use switchboard_engine::{
    Action, Event, Gauges, Instant, InvariantViolation, Probe, Server, ServerConfig, Stats,
};

use crate::counts::{Counts, Reached};

/// The system under test: how the machine of each shard is made.
pub(crate) trait Sut: Clone + Debug {
    /// The machine of one shard.
    type Machine: Machine;

    /// A machine as it is after its process has started.
    fn start(&self, config: ServerConfig, seed: u64, now: Instant) -> Self::Machine;
}

/// The machine of one shard, with the engine's contract.
pub(crate) trait Machine: Debug {
    fn handle(&mut self, now: Instant, event: Event);
    fn poll_action(&mut self) -> Option<Action<'_>>;
    fn poll_timeout(&self) -> Option<Instant>;
    fn handle_timeout(&mut self, now: Instant);
    fn stats(&self) -> &Stats;
    fn gauges(&self) -> Gauges;
    fn check_invariants(&self) -> Result<(), InvariantViolation>;

    /// How often each of the engine's rules was reached, if that is counted.
    fn reached(&self) -> Reached {
        Reached::default()
    }

    /// A digest of the whole state, for comparing runs; a machine without one is compared by its actions.
    fn full_digest(&self) -> u64 {
        0
    }
}

/// The engine's server, with a probe.
#[derive(Clone, Debug)]
pub(crate) struct Engine<P>(pub(crate) P);

impl<P: Probe + Counts + Clone + Debug> Sut for Engine<P> {
    type Machine = Server<P>;

    fn start(&self, config: ServerConfig, seed: u64, now: Instant) -> Server<P> {
        Server::with_probe(config, seed, now, self.0.clone())
    }
}

impl<P: Probe + Counts + Debug> Machine for Server<P> {
    fn handle(&mut self, now: Instant, event: Event) {
        self.handle(now, event);
    }

    fn poll_action(&mut self) -> Option<Action<'_>> {
        self.poll_action()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.handle_timeout(now);
    }

    fn stats(&self) -> &Stats {
        self.stats()
    }

    fn gauges(&self) -> Gauges {
        self.gauges()
    }

    fn check_invariants(&self) -> Result<(), InvariantViolation> {
        self.check_invariants()
    }

    fn reached(&self) -> Reached {
        self.probe().reached()
    }

    fn full_digest(&self) -> u64 {
        self.full_digest()
    }
}
