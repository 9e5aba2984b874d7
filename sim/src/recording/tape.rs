//! Records one server of a world while its schedule runs.

use core::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use switchboard_engine::{
    Action, Event, Gauges, Instant, InvariantViolation, Probe, Server, ServerConfig, Stats,
    recording::{ActionDigest, BUILD, Digests, Encoder, Header},
};

use super::write::Writer;
use crate::counts::{Counts, Reached};
use crate::schedule::Schedule;
use crate::world::sut::{Engine, Machine, Sut};
use crate::world::{Options, Outcome, execute_sut};

/// Steps between two digests of everything.
const STEPS_PER_DIGEST: u32 = 256;

/// Executes a schedule and records one of its servers: the `which`-th that starts, from 0. First those of all shards start, then
/// those that replace others. None if so many do not start.
pub(crate) fn record<P: Probe + Counts + Clone + Debug>(
    schedule: &Schedule,
    options: Options,
    probe: &P,
    which: u32,
) -> (Outcome, Option<Vec<u8>>) {
    let shards = (schedule.settings.nodes * schedule.settings.shards) as u32;
    let reel = Reel { which, shards, started: 0, tape: None };
    let reel = Arc::new(Mutex::new(reel));
    let sut = Recorded { engine: Engine(probe.clone()), reel: Arc::clone(&reel) };
    let outcome = execute_sut(schedule, options, sut);
    let mut reel = reel.lock().unwrap_or_else(PoisonError::into_inner);
    (outcome, reel.tape.take().map(Tape::end))
}

/// What is recorded, and of which server.
#[derive(Debug)]
struct Reel {
    which: u32,
    shards: u32,
    started: u32,
    tape: Option<Tape>,
}

/// A recording in the making.
#[derive(Debug)]
struct Tape {
    writer: Writer,
    encoder: Encoder,
    digest: ActionDigest,
    steps: u32,
    /// Of the state after the last step.
    state: u64,
}

impl Tape {
    fn new(header: &Header) -> Self {
        Self {
            writer: Writer::new(header),
            encoder: Encoder::new(header.started_at),
            digest: ActionDigest::default(),
            steps: 0,
            state: 0,
        }
    }

    /// A step has led to all its actions.
    fn end_step(&mut self) {
        if let Some(acted) = self.digest.end_step() {
            self.encoder.acted(acted);
        }
        self.steps += 1;
        if self.steps >= STEPS_PER_DIGEST {
            self.digests();
            self.writer.steps(&mut self.encoder);
        }
    }

    fn digests(&mut self) {
        self.steps = 0;
        let digest = core::mem::take(&mut self.digest);
        self.encoder.digests(Digests { actions: digest.finish(), state: self.state });
    }

    fn end(mut self) -> Vec<u8> {
        if self.steps > 0 {
            self.digests();
        }
        self.writer.steps(&mut self.encoder);
        self.writer.end()
    }
}

#[derive(Clone, Debug)]
struct Recorded<P> {
    engine: Engine<P>,
    reel: Arc<Mutex<Reel>>,
}

/// A server, and where it is recorded, if it is.
#[derive(Debug)]
struct Taped<P: Probe> {
    server: Server<P>,
    reel: Option<Arc<Mutex<Reel>>>,
}

impl<P: Probe> Taped<P> {
    fn with_tape(&self, write: impl FnOnce(&mut Tape, &Server<P>)) {
        let Some(reel) = &self.reel else { return };
        let mut reel = reel.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tape) = &mut reel.tape {
            write(tape, &self.server);
        }
    }
}

impl<P: Probe + Counts + Clone + Debug> Sut for Recorded<P> {
    type Machine = Taped<P>;

    const IS_SHADOWED: bool = true;
    const SLACK_US: u64 = 0;
    const REFUSES_FILES: bool = true;

    fn start(&self, config: ServerConfig, seed: u64, now: Instant) -> Taped<P> {
        let mut reel = self.reel.lock().unwrap_or_else(PoisonError::into_inner);
        let number = reel.started;
        reel.started += 1;
        let is_recorded = number == reel.which;
        if is_recorded {
            let header = Header {
                program: concat!("switchboard-sim ", env!("CARGO_PKG_VERSION")).to_owned(),
                build: BUILD.to_owned(),
                shard: number % reel.shards.max(1),
                shards: reel.shards,
                wall_ms: 0,
                started_at: now,
                seed,
                part: 0,
                config: config.clone(),
                is_redacted: false,
            };
            reel.tape = Some(Tape::new(&header));
        }
        let server = self.engine.start(config, seed, now);
        Taped { server, reel: is_recorded.then(|| Arc::clone(&self.reel)) }
    }
}

impl<P: Probe + Counts + Clone + Debug> Machine for Taped<P> {
    fn handle(&mut self, now: Instant, event: Event) {
        self.with_tape(|tape, _| tape.encoder.event(now, &event));
        self.server.handle(now, event);
    }

    fn poll_action(&mut self) -> Option<Action<'_>> {
        let action = self.server.poll_action();
        let mut reel = self.reel.as_ref().map(|reel| reel.lock().unwrap_or_else(PoisonError::into_inner));
        if let (Some(action), Some(tape)) = (&action, reel.as_mut().and_then(|reel| reel.tape.as_mut())) {
            tape.digest.add(action);
        }
        action
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.server.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.with_tape(|tape, _| tape.encoder.timeout(now));
        self.server.handle_timeout(now);
    }

    fn has_acted(&mut self) {
        self.with_tape(|tape, server| {
            // The server may be gone when the recording ends.
            tape.state = server.full_digest();
            tape.end_step();
        });
    }

    fn stats(&self) -> &Stats {
        self.server.stats()
    }

    fn gauges(&self) -> Gauges {
        self.server.gauges()
    }

    fn check_invariants(&self) -> Result<(), InvariantViolation> {
        self.server.check_invariants()
    }

    fn reached(&self) -> Reached {
        self.server.probe().reached()
    }

    fn full_digest(&self) -> u64 {
        self.server.full_digest()
    }
}
