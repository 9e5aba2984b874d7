//! Recordings: what an engine was told, and when, so that the same can be told to another one.
//!
//! An engine is a pure machine, so its seed, its configuration and its events are all that decides what it does. A recording has
//! these, a few bits of what came of each event, and from time to time digests of all of it: whoever replays it knows which event is
//! the first that another build treats in another way. [`Encoder`] and [`Decoder`] deal with the steps; [`file`](mod@file) with what is around them on a disk.

mod answer;
mod config;
mod digest;
mod event;
pub mod file;
mod state;

use alloc::{string::String, vec::Vec};
use core::{fmt, time::Duration};

use bytes::Bytes;
use switchboard_proto::{Message as _, recording as wire};

pub use self::{
    digest::{Acted, ActionDigest},
    state::{BUILD, State},
};
use crate::{config::ServerConfig, event::Event, time::Instant};

/// What a recording begins with: all that is needed to have the same engine again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Name and version of the program that has written it.
    pub program: String,
    /// Which engine it was ([`BUILD`]): the states of others cannot be compared.
    pub build: String,
    /// Which shard of its node.
    pub shard: u32,
    /// Of how many.
    pub shards: u32,
    /// The wall-clock time of `started_at`, in milliseconds since 1970-01-01T00:00:00Z.
    pub wall_ms: i64,
    /// The engine's time when the file begins: of its first file, the `now` of [`Server::new`](crate::Server::new); of another
    /// one, that of its [`State`].
    pub started_at: Instant,
    /// The seed that the engine was made with.
    pub seed: u64,
    /// Which of the engine's files this is, from 0.
    pub part: u32,
    /// The configuration.
    pub config: ServerConfig,
    /// Whether contents, names and files are stand-ins.
    pub is_redacted: bool,
}

impl Header {
    /// The header as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::Header {
            program: self.program.clone(),
            build: self.build.clone(),
            shard: self.shard,
            shards: self.shards,
            wall_ms: self.wall_ms,
            started_at_ns: self.started_at.as_nanos(),
            seed: self.seed,
            config: Some(config::wired(&self.config)),
            redacted: self.is_redacted,
            part: self.part,
        }
        .encode_to_vec()
    }

    /// A header from the bytes of [`Header::encode`].
    ///
    /// # Errors
    /// If they are others.
    pub fn decode(bytes: &[u8]) -> Result<Self, StepError> {
        let header = wire::Header::decode(bytes).map_err(|_| StepError::Garbled)?;
        Ok(Self {
            program: header.program,
            build: header.build,
            shard: header.shard,
            shards: header.shards,
            wall_ms: header.wall_ms,
            started_at: Instant::from_nanos(header.started_at_ns),
            seed: header.seed,
            part: header.part,
            config: config::read(&header.config.ok_or(StepError::Missing("the configuration"))?),
            is_redacted: header.redacted,
        })
    }
}

/// A step of a recording.
#[derive(Clone, Debug)]
pub enum Step {
    /// The engine was told this.
    Event(Event),
    /// The engine was told that its deadline had come.
    Timeout,
    /// What came of the step before, of which something did.
    Acted(Acted),
    /// What came of all steps before.
    Digests(Digests),
}

/// What came of all that an engine was told until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// Of all actions since the last digests ([`ActionDigest::finish`]).
    pub actions: u64,
    /// Of the state ([`Server::full_digest`](crate::Server::full_digest)).
    pub state: u64,
}

/// Why bytes are not the step of a recording that this version understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepError {
    /// They are no protobuf message of a recording.
    Garbled,
    /// They end within a step.
    Cut,
    /// It says what this version does not know: a newer one has written it.
    Unknown,
    /// This is not in it.
    Missing(&'static str),
    /// This is in it and cannot be.
    Wrong(&'static str),
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Garbled => f.write_str("these bytes are no step of a recording"),
            Self::Cut => f.write_str("the last step is not whole"),
            Self::Unknown => f.write_str(
                "the step is of a kind that this version does not know: it was written by a newer one",
            ),
            Self::Missing(what) => write!(f, "the step does not say {what}"),
            Self::Wrong(what) => write!(f, "the step has {what} that cannot be"),
        }
    }
}

impl core::error::Error for StepError {}

/// Turns steps into bytes, each after its length, in the order of their times.
#[derive(Clone, Debug)]
pub struct Encoder {
    last: Instant,
    bytes: Vec<u8>,
}

impl Encoder {
    /// An encoder of the steps after this time.
    #[must_use]
    pub const fn new(started_at: Instant) -> Self {
        Self { last: started_at, bytes: Vec::new() }
    }

    /// The engine is told an event.
    pub fn event(&mut self, now: Instant, event: &Event) {
        let after_ns = self.pass(now);
        if !event::encode_frequent(after_ns, event, &mut self.bytes) {
            self.push(after_ns, event::wired(event));
        }
    }

    /// The engine is told that its deadline has come.
    pub fn timeout(&mut self, now: Instant) {
        let after_ns = self.pass(now);
        self.push(after_ns, wire::step::Body::Timeout(wire::Empty {}));
    }

    /// What came of the step before, if anything did.
    pub fn acted(&mut self, acted: Acted) {
        event::encode_acted(acted, &mut self.bytes);
    }

    /// What came of all steps before.
    pub fn digests(&mut self, digests: Digests) {
        let Digests { actions, state } = digests;
        self.push(0, wire::step::Body::Digests(wire::Digests { actions, state }));
    }

    /// The bytes of all steps since the last time that they were taken.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        self.exchange(Vec::new())
    }

    /// The same, and where the next ones are put.
    #[must_use]
    pub fn exchange(&mut self, mut buffer: Vec<u8>) -> Vec<u8> {
        buffer.clear();
        core::mem::replace(&mut self.bytes, buffer)
    }

    /// How many bytes there are to take.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn pass(&mut self, now: Instant) -> u64 {
        let after = now.saturating_since(self.last);
        self.last = self.last.max(now);
        u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)
    }

    fn push(&mut self, after_ns: u64, body: wire::step::Body) {
        let step = wire::Step { after_ns, body: Some(body) };
        // It fails where there is no room in a buffer, and a vector grows.
        let _ = step.encode_length_delimited(&mut self.bytes);
    }
}

/// Turns the bytes of an [`Encoder`] into steps again.
#[derive(Clone, Debug)]
pub struct Decoder {
    now: Instant,
    rest: Bytes,
}

impl Decoder {
    /// A decoder of the steps after this time.
    #[must_use]
    pub const fn new(started_at: Instant) -> Self {
        Self { now: started_at, rest: Bytes::new() }
    }

    /// Goes on with these bytes, which follow those before.
    pub fn feed(&mut self, bytes: Bytes) {
        self.rest = bytes;
    }

    /// The time of the last step.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// How many bytes are not decoded yet.
    #[must_use]
    pub fn left_bytes(&self) -> usize {
        self.rest.len()
    }

    /// The next step and its time; none if there is no more.
    ///
    /// # Errors
    /// If what follows is no step. The bytes of it, and all behind it, are left.
    pub fn step(&mut self) -> Result<Option<(Instant, Step)>, StepError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut ahead = self.rest.clone();
        let len = switchboard_proto::decode_length_delimiter(&mut ahead).map_err(|_| StepError::Cut)?;
        if len > ahead.len() {
            return Err(StepError::Cut);
        }
        let step = wire::Step::decode(ahead.split_to(len)).map_err(|_| StepError::Garbled)?;
        let at = self.now + Duration::from_nanos(step.after_ns);
        let step = event::read(step.body.ok_or(StepError::Unknown)?)?;
        (self.now, self.rest) = (at, ahead);
        Ok(Some((at, step)))
    }
}
