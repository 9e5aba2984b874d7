//! What a shard writes down of its engine.

use std::{
    sync::atomic::Ordering,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use switchboard_engine::{
    Action, Event, Instant, Probe, Server, ServerConfig,
    recording::{ActionDigest, BUILD, Digests, Encoder, Header},
};

use super::{Piece, RecorderDesk, RecordingError, Wanted};

/// What has been written down for this long is handed over. With the second that the thread may take, that is what a crash loses.
const HAND_OVER_INTERVAL: Duration = Duration::from_millis(500);

/// As soon as it is so much, it is handed over.
const HAND_OVER_BYTES: usize = 256 << 10;

/// Time from one look at the engine's whole state to the next. It takes some milliseconds where there are many connections.
const DIGEST_INTERVAL: Duration = Duration::from_secs(10);

/// Which engine is recorded.
#[derive(Clone, Debug)]
pub(crate) struct Sitting {
    pub(crate) shard: usize,
    pub(crate) shards: usize,
    /// What is to be known of it besides.
    pub(crate) note: String,
    /// The seed, the configuration and the time that the engine was made with.
    pub(crate) seed: u64,
    pub(crate) config: ServerConfig,
    pub(crate) started_at: Instant,
}

/// What is written down of one engine.
pub(crate) struct Tape {
    desk: RecorderDesk,
    sitting: Sitting,
    encoder: Encoder,
    digest: ActionDigest,
    part: u32,
    handed_at: Instant,
    digested_at: Instant,
    /// Something was left out, as there was no room for it: the file is of no more use.
    is_torn: bool,
    /// Then another one is begun, if there is room: an engine's state is not had for nothing.
    begin_at: Instant,
    has_ended: bool,
}

impl Tape {
    /// For an engine that has just been made.
    pub(super) fn new(desk: RecorderDesk, sitting: Sitting) -> Self {
        let now = sitting.started_at;
        let tape = Self {
            desk,
            encoder: Encoder::new(now),
            digest: ActionDigest::default(),
            part: 0,
            handed_at: now,
            digested_at: now,
            is_torn: false,
            begin_at: now,
            has_ended: false,
            sitting,
        };
        tape.desk.insist(tape.sitting.shard, tape.beginning(now, None));
        tape
    }

    /// The engine is told an event.
    pub(crate) fn event(&mut self, now: Instant, event: &Event) {
        self.encoder.event(now, event);
    }

    /// The engine is told that its deadline has come.
    pub(crate) fn timeout(&mut self, now: Instant) {
        self.encoder.timeout(now);
    }

    /// The engine wants this done.
    pub(crate) fn action(&mut self, action: &Action<'_>) {
        self.digest.add(action);
    }

    /// The engine wants nothing more.
    pub(crate) fn end_step(&mut self) {
        if let Some(acted) = self.digest.end_step() {
            self.encoder.acted(acted);
        }
    }

    /// When there is something to do, if nothing happens until then.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        if self.is_torn {
            return Some(self.begin_at);
        }
        (self.encoder.len_bytes() > 0).then(|| self.handed_at + HAND_OVER_INTERVAL)
    }

    /// Hands over what is to be handed over by now.
    pub(crate) fn end_turn<P: Probe>(&mut self, now: Instant, engine: &mut Server<P>) {
        let is_due = self.due_at().is_some_and(|at| at <= now);
        if is_due || self.encoder.len_bytes() >= HAND_OVER_BYTES {
            if now.saturating_since(self.digested_at) >= DIGEST_INTERVAL {
                self.digested_at = now;
                self.write_digests(engine);
            }
            self.hand_over(now);
        }
        let wanted = self.desk.take_wanted(self.sitting.shard);
        self.is_torn |= wanted == Some(Wanted::Torn);
        if wanted.is_some() || (self.is_torn && self.begin_at <= now) {
            self.begin(now, engine);
        }
    }

    /// The engine has stopped in order.
    pub(crate) fn end<P: Probe>(mut self, now: Instant, engine: &Server<P>) {
        self.write_digests(engine);
        self.hand_over(now);
        if !self.is_torn {
            self.desk.insist(self.sitting.shard, Piece::End);
        }
        self.has_ended = true;
    }

    fn write_digests<P: Probe>(&mut self, engine: &Server<P>) {
        let actions = std::mem::take(&mut self.digest).finish();
        self.encoder.digests(Digests { actions, state: engine.full_digest() });
    }

    fn hand_over(&mut self, now: Instant) {
        self.handed_at = now;
        let steps = self.encoder.exchange(self.desk.take_spare());
        self.is_torn = self.is_torn || !self.desk.offer(self.sitting.shard, Piece::Steps(steps));
    }

    /// Begins another file, which needs none of those before it.
    fn begin<P: Probe>(&mut self, now: Instant, engine: &mut Server<P>) {
        if !self.is_torn && self.encoder.len_bytes() > 0 {
            self.hand_over(now);
        }
        // Of what an engine says of its state, all that was told before is part: what is not handed over is not missed.
        let Ok(state) = engine.snapshot() else { return };
        let encoder = std::mem::replace(&mut self.encoder, Encoder::new(now));
        // A number that nobody has says that something is missing.
        let part = self.part.saturating_add(1 + u32::from(self.is_torn));
        let before = std::mem::replace(&mut self.part, part);
        if self.desk.offer(self.sitting.shard, self.beginning(now, Some(state))) {
            if self.is_torn {
                self.desk.figures().gaps.fetch_add(1, Ordering::Relaxed);
            }
            self.digest = ActionDigest::default();
            (self.handed_at, self.digested_at, self.is_torn) = (now, now, false);
        } else {
            (self.part, self.encoder, self.is_torn) = (before, encoder, true);
            self.begin_at = now + HAND_OVER_INTERVAL;
        }
    }

    fn beginning(&self, now: Instant, state: Option<Vec<u8>>) -> Piece {
        let Sitting { shard, shards, note, seed, config, .. } = &self.sitting;
        let number = |of: usize| u32::try_from(of).unwrap_or(u32::MAX);
        let header = Header {
            program: format!("switchboard {}{note}", env!("CARGO_PKG_VERSION")),
            shard: number(*shard),
            shards: number(*shards),
            wall_ms: wall_ms(),
            started_at: now,
            build: BUILD.to_owned(),
            seed: *seed,
            part: self.part,
            config: config.clone(),
            is_redacted: false,
        };
        Piece::Begin { header: Box::new(header), state }
    }
}

impl Drop for Tape {
    /// Of a shard that has failed, everything until then.
    fn drop(&mut self) {
        if !self.has_ended && !self.is_torn {
            self.desk.insist(self.sitting.shard, Piece::Steps(self.encoder.take()));
            if thread::panicking() {
                match self.desk.dump("a shard has failed") {
                    // What is not kept in memory is in a file.
                    Ok(_) | Err(RecordingError::Off) => {}
                    Err(error @ (RecordingError::Busy | RecordingError::Write(_))) => {
                        tracing::error!(%error, "what was recorded of the failure is lost");
                    }
                }
            }
        }
    }
}

pub(super) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicU8, mpsc};

    use switchboard_engine::{ConnId, Protocol, UserId, recording::Decoder, recording::Step};

    use super::*;
    use crate::recorder::{Common, Order, RecorderFigures};

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    /// The header's part, and whether there is a state, of what is a beginning.
    fn beginning(order: &Order) -> Option<(u32, bool)> {
        match order {
            Order::Piece { piece: Piece::Begin { header, state }, .. } => {
                Some((header.part, state.is_some()))
            }
            Order::Piece { piece: Piece::Steps(_) | Piece::End, .. } | Order::Dump { .. } | Order::Stop => {
                None
            }
        }
    }

    /// One that hands over to whoever has the receiver, an engine for it, and an event that leads to something.
    fn taped(room: usize) -> (Tape, Server, mpsc::Receiver<Order>) {
        let (orders, taken) = mpsc::sync_channel(room);
        let common = Common {
            wanted: vec![AtomicU8::new(0)],
            spare: std::sync::Mutex::default(),
            figures: RecorderFigures::default(),
        };
        let desk = RecorderDesk { orders, common: Arc::new(common), is_on_demand: false };
        let config = ServerConfig::default();
        let engine = Server::new(config.clone(), 7, at(0));
        let sitting =
            Sitting { shard: 0, shards: 1, note: String::new(), seed: 7, config, started_at: at(0) };
        (desk.tape(sitting), engine, taken)
    }

    #[test]
    fn digests_are_of_the_actions_since_those_before_as_whoever_replays_it_expects() {
        let (mut tape, mut engine, taken) = taped(64);
        for second in 1..=25_u32 {
            let event = Event::Connected {
                conn: ConnId::new(second, 1),
                user: UserId::new("alice").unwrap(),
                protocol: Protocol::Classic,
            };
            let now = at(u64::from(second) * 1_000);
            tape.event(now, &event);
            engine.handle(now, event);
            while let Some(action) = engine.poll_action() {
                tape.action(&action);
            }
            tape.end_step();
            tape.end_turn(now, &mut engine);
        }
        let mut engine = Server::new(engine.config().clone(), 7, at(0));
        let (mut decoder, mut digest, mut compared) = (Decoder::new(at(0)), ActionDigest::default(), 0);
        for order in taken.try_iter() {
            let Order::Piece { piece: Piece::Steps(steps), .. } = order else { continue };
            decoder.feed(steps.into());
            while let Some((now, step)) = decoder.step().unwrap() {
                match step {
                    Step::Event(event) => engine.handle(now, event),
                    Step::Timeout => engine.handle_timeout(now),
                    Step::Acted(_) => continue,
                    Step::Digests(digests) => {
                        let actions = std::mem::take(&mut digest).finish();
                        assert_eq!(digests, Digests { actions, state: engine.full_digest() });
                        compared += 1;
                        continue;
                    }
                }
                while let Some(action) = engine.poll_action() {
                    digest.add(&action);
                }
                digest.end_step();
            }
        }
        assert_eq!(compared, 2);
        tape.has_ended = true;
    }

    #[test]
    fn after_a_gap_another_file_begins_as_soon_as_there_is_room_and_not_at_every_turn() {
        let (mut tape, mut engine, taken) = taped(1);
        let step = |tape: &mut Tape, engine: &mut Server, ms| {
            let event = Event::Disconnected { conn: ConnId::new(1, 1) };
            tape.event(at(ms), &event);
            engine.handle(at(ms), event);
            while engine.poll_action().is_some() {}
            tape.end_turn(at(ms), engine);
        };
        // The beginning fills the queue, so the first steps are left out.
        step(&mut tape, &mut engine, 1_000);
        assert!(tape.is_torn);
        assert_eq!(taken.try_iter().filter_map(|order| beginning(&order)).collect::<Vec<_>>(), [(0, false)]);
        // There is room again, but it was tried a moment ago.
        step(&mut tape, &mut engine, 1_100);
        assert!(taken.try_recv().is_err());
        assert_eq!(tape.due_at(), Some(at(1_500)));
        step(&mut tape, &mut engine, 1_500);
        assert_eq!(taken.try_iter().filter_map(|order| beginning(&order)).collect::<Vec<_>>(), [(2, true)]);
        assert_eq!(tape.desk.figures().gaps.load(Ordering::Relaxed), 1);
        step(&mut tape, &mut engine, 2_100);
        let steps = taken.try_recv().unwrap();
        assert!(matches!(steps, Order::Piece { piece: Piece::Steps(steps), .. } if !steps.is_empty()));
        drop(taken);
        tape.end(at(2_200), &engine);
    }
}
