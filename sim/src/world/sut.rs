//! What stands in each shard of a world: something that takes the engine's events and gives its actions.

use core::{fmt::Debug, time::Duration};

use switchboard_engine::{
    Action, Event, Gauges, Instant, InvariantViolation, Probe, Server, ServerConfig, Stats,
};

use crate::counts::{Counts, Reached};
use crate::original::OriginalHub;

/// The system under test: how the machine of each shard is made.
pub(crate) trait Sut: Clone + Debug {
    /// The machine of one shard.
    type Machine: Machine;

    /// Whether [`crate::check::Check`] can say what has to leave in which event.
    const IS_SHADOWED: bool;

    /// How much longer than its requests take the machine may need for a message, in microseconds.
    const SLACK_US: u64;

    /// Whether its store looks at files before it keeps them.
    const REFUSES_FILES: bool;

    /// A machine as it is after its process has started.
    fn start(&self, config: ServerConfig, seed: u64, now: Instant) -> Self::Machine;
}

/// The machine of one shard, with the engine's contract.
pub(crate) trait Machine: Debug {
    fn handle(&mut self, now: Instant, event: Event);
    fn poll_action(&mut self) -> Option<Action<'_>>;
    fn poll_timeout(&self) -> Option<Instant>;
    fn handle_timeout(&mut self, now: Instant);
    /// All actions of a step were taken.
    fn has_acted(&mut self) {}
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

    /// Goes on as another machine that has read its state from bytes. Whether that is in the same state; always, for a
    /// machine whose state cannot be had.
    fn resumes_from_bytes(&mut self) -> bool {
        true
    }

    /// What has ended the process, if something has.
    fn died(&self) -> Option<&str> {
        None
    }
}

/// The engine's server, with a probe.
#[derive(Clone, Debug)]
pub(crate) struct Engine<P>(pub(crate) P);

impl<P: Probe + Counts + Clone + Debug> Sut for Engine<P> {
    type Machine = Server<P>;

    const IS_SHADOWED: bool = true;
    const SLACK_US: u64 = 0;
    const REFUSES_FILES: bool = true;

    fn start(&self, config: ServerConfig, seed: u64, now: Instant) -> Server<P> {
        Server::with_probe(config, seed, now, self.0.clone())
    }
}

impl<P: Probe + Counts + Clone + Debug> Machine for Server<P> {
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

    fn resumes_from_bytes(&mut self) -> bool {
        let Ok(bytes) = self.snapshot() else { return false };
        let digest = self.full_digest();
        let Ok(resumed) = Self::restore_with_probe(&bytes, self.probe().clone()) else { return false };
        *self = resumed;
        self.full_digest() == digest
    }
}

/// The model of the original server: one process a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Original;

/// Its process, and the counters that it does not have.
#[derive(Debug)]
pub(crate) struct Process {
    hub: OriginalHub,
    stats: Stats,
}

impl Sut for Original {
    type Machine = Process;

    const IS_SHADOWED: bool = false;
    /// It asks the store several times for each message and each member, one thing after the other.
    const SLACK_US: u64 = 1_000_000;
    /// It writes whatever it is given to its own disk.
    const REFUSES_FILES: bool = false;

    fn start(&self, config: ServerConfig, seed: u64, now: Instant) -> Process {
        // The links of the world are the kernel's buffers.
        let hub = OriginalHub::new(seed, now).socket_bytes(0);
        Process { hub: if config.peers { hub.on_bus() } else { hub }, stats: Stats::default() }
    }
}

impl Machine for Process {
    fn handle(&mut self, now: Instant, event: Event) {
        self.hub.handle(now, event);
    }

    fn poll_action(&mut self) -> Option<Action<'_>> {
        self.hub.poll_action()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.hub.poll_timeout()
    }

    /// Several steps of its tasks fit into a microsecond, which is the world's unit of time.
    fn handle_timeout(&mut self, now: Instant) {
        let end = now + Duration::from_micros(1);
        while let Some(at) = self.hub.poll_timeout().filter(|at| *at <= end) {
            self.hub.handle_timeout(at);
        }
    }

    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn gauges(&self) -> Gauges {
        Gauges::default()
    }

    fn check_invariants(&self) -> Result<(), InvariantViolation> {
        Ok(())
    }

    fn died(&self) -> Option<&str> {
        self.hub.died()
    }
}
