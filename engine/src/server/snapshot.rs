//! The state of a server as bytes, so that another one goes on from there.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};
use slab::Slab;

use super::{
    Server, admission::Admissions, calls::Calls, classic, connections::Connections, effects::Effects,
    pipeline::Pipelines, presence::Presence, requests::Requests, shutdown::Stopping, timers::Timers,
    users::Users,
};
use crate::random::Xoshiro256PlusPlus;
use crate::{config::ServerConfig, probe::Probe, stats::Stats, time::Instant};

/// Why bytes are not the state of a server of this build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotError;

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is no state of a server of this version")
    }
}

impl core::error::Error for SnapshotError {}

/// All that decides what a server does. What is made anew for each event is not in it.
#[derive(Serialize)]
struct Kept<'a> {
    config: &'a ServerConfig,
    now: Instant,
    rng: &'a Xoshiro256PlusPlus,
    ids_from: u64,
    connections: &'a Connections,
    users: &'a Users,
    pipelines: &'a Pipelines,
    presence: &'a Presence,
    calls: &'a Calls,
    requests: &'a Requests,
    timers: &'a Timers,
    stats: &'a Stats,
    admissions: &'a Admissions,
    stopping: &'a Stopping,
    early_bytes: u64,
}

/// The same, as it is read.
#[derive(Deserialize)]
struct Read {
    config: ServerConfig,
    now: Instant,
    rng: Xoshiro256PlusPlus,
    ids_from: u64,
    connections: Connections,
    users: Users,
    pipelines: Pipelines,
    presence: Presence,
    calls: Calls,
    requests: Requests,
    timers: Timers,
    stats: Stats,
    admissions: Admissions,
    stopping: Stopping,
    early_bytes: u64,
}

impl<P: Probe> Server<P> {
    /// The state as bytes, for [`Server::restore`] of the same build. To be taken between events, when
    /// [`Server::poll_action`] has given `None`.
    ///
    /// It changes which of the free places in its tables are taken next: who is restored from these bytes takes the same. So two servers
    /// of which one was asked for its state may call things by other numbers, and send in another order within one action.
    ///
    /// # Errors
    /// If there is an action left to take.
    pub fn snapshot(&mut self) -> Result<Vec<u8>, SnapshotError> {
        if self.effects.len() > 0 {
            return Err(SnapshotError);
        }
        self.users.settle_places();
        self.pipelines.settle_places();
        self.presence.settle_places();
        self.calls.settle_places();
        let kept = Kept {
            config: &self.config,
            now: self.now,
            rng: &self.rng,
            ids_from: self.ids_from,
            connections: &self.connections,
            users: &self.users,
            pipelines: &self.pipelines,
            presence: &self.presence,
            calls: &self.calls,
            requests: &self.requests,
            timers: &self.timers,
            stats: &self.stats,
            admissions: &self.admissions,
            stopping: &self.stopping,
            early_bytes: self.early_bytes,
        };
        postcard::to_allocvec(&kept).map_err(|_| SnapshotError)
    }

    /// A server in the state of these bytes.
    ///
    /// # Errors
    /// If they are none of [`Server::snapshot`] of the same build. Bytes that somebody has chosen may give a server that does
    /// not keep its own rules.
    #[doc(hidden)]
    pub fn restore_with_probe(bytes: &[u8], probe: P) -> Result<Self, SnapshotError> {
        let read: Read = postcard::from_bytes(bytes).map_err(|_| SnapshotError)?;
        let Read { config, now, rng, ids_from, connections, users, pipelines, presence, calls, .. } = read;
        let Read { requests, timers, stats, admissions, stopping, early_bytes, .. } = read;
        Ok(Self {
            probe,
            config,
            now,
            rng,
            ids_from,
            connections,
            users,
            pipelines,
            presence,
            calls,
            requests,
            timers,
            effects: Effects::default(),
            stats,
            admissions,
            stopping,
            pong: classic::pong(),
            early_bytes,
            overfull: Vec::new(),
        })
    }
}

impl Server {
    /// A server in the state of these bytes.
    ///
    /// # Errors
    /// If they are none of [`Server::snapshot`] of the same build. Bytes that somebody has chosen may give a server that does
    /// not keep its own rules.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        Self::restore_with_probe(bytes, crate::probe::Shipped)
    }
}

/// Has the free places of a table be taken in the order in which they are when the table is read from its bytes: that depends
/// on nothing but which they are.
pub(super) fn settle<T>(table: &mut Slab<T>) {
    *table = core::mem::take(table).into_iter().collect();
}

/// A message of the classic protocol, in its own bytes.
pub(super) mod message {
    use alloc::{boxed::Box, vec::Vec};

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};
    use switchboard_proto::{Message as _, classic::Message};

    #[allow(clippy::borrowed_box, reason = "what serde asks for")]
    pub(in crate::server) fn serialize<S: Serializer>(
        message: &Box<Message>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        message.encode_to_vec().serialize(serializer)
    }

    pub(in crate::server) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Box<Message>, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        Message::decode(bytes.as_slice()).map(Box::new).map_err(D::Error::custom)
    }
}
