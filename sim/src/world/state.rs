//! The state of a world as one number: engines, connections, what is on its way, the store, the bus, and what
//! the checks know. Two worlds with the same number do the same from here on, and the same is demanded of them.
//!
//! Names that only history gives are replaced: a connection is called by its client and its place among that
//! client's connections that something can still come of, a ticket by what was asked for, a message by its
//! token. Times are distances from now. In it are also the slots of the connections and the order in which free
//! ones are taken, as an engine does in that order what falls due at one instant.
//!
//! Left out: what the network would draw next (nothing waits for its time here), timers that are set (they
//! follow from the engines' deadlines), messages that nothing can come of any more (a new one may have the token
//! of such a one), the ids of messages (each is new, so the store is never asked twice about one), and statistics.

use core::hash::{Hash as _, Hasher as _};
use std::hash::DefaultHasher;

use switchboard_engine::{Answer, Carried, ConnId, Instant, Probe, Recipient, Request, Topic};

use super::{
    Happening, World,
    links::Conn,
    queue::{Life, Up},
    sut::Engine,
};
use crate::{
    check::{ConnKey, Payload},
    choice::keyed,
    counts::Counts,
    schedule::ClientNo,
    wire::record_seq,
};

/// What folds states: SipHash-1-3 with fixed keys.
fn hasher() -> DefaultHasher {
    DefaultHasher::new()
}

impl<P: Probe + Counts + Clone + core::fmt::Debug> World<'_, Engine<P>> {
    /// See the module's documentation.
    pub(crate) fn state(&self) -> u64 {
        let names = self.conn_names();
        let name = |conn: ConnKey| names[conn as usize];
        let now_ns = self.now_us * 1000;
        let mut hash = hasher();
        for node in &self.nodes {
            (node.up, node.stopping).hash(&mut hash);
        }
        for number in 0..self.shards.len() {
            let shard = &self.shards[number];
            for (conn, _) in &shard.slots {
                conn.and_then(name).hash(&mut hash);
            }
            shard.free.hash(&mut hash);
            (shard.stopped, shard.engine_ns > now_ns).hash(&mut hash);
            if self.nodes[self.node_of(number)].up {
                let named = |id: ConnId| self.conn_of(number, id).and_then(name).unwrap_or(0);
                hash.write_u64(shard.server.state_digest_as(Instant::from_nanos(now_ns), &named));
            }
        }
        for (conn, name) in self.conns.iter().zip(&names) {
            if let Some(name) = name {
                hash.write_u64(*name);
                fold_conn(conn, &mut hash);
            }
        }
        for device in &self.devices {
            let conn = device.conn.filter(|conn| !self.conns[*conn as usize].severed).and_then(name);
            (conn, device.dialling, device.paused).hash(&mut hash);
        }
        for client in (0..self.devices.len() as u16).map(ClientNo) {
            // Whose end can be told again, and about which slot.
            let slot = self.departed(client).map(|conn| {
                let conn = &self.conns[conn as usize];
                (conn.shard, conn.id.slot())
            });
            slot.hash(&mut hash);
        }
        hash.write_u64(self.on_its_way(&name));
        self.store.fold(&mut hash);
        self.bus.fold(&mut hash);
        let mut live = self.live_messages();
        // By token, as two orders of saying the same are one.
        live.sort_unstable_by_key(|key| self.check.token(*key));
        live.dedup();
        self.check.fold(&mut hash, now_ns, &name, &live);
        hash.finish()
    }

    /// Names for the connections that something can still come of.
    fn conn_names(&self) -> Vec<Option<u64>> {
        let mut next = vec![0_u64; self.devices.len()];
        let departed = |key: ConnKey| {
            let told = self.check.watches.iter().flat_map(|watch| &watch.told);
            told.flat_map(|told| &told.departed).any(|(conn, _)| *conn == key)
        };
        let name = |(key, conn): (usize, &Conn)| {
            let held = self.devices[conn.client.index()].conn == Some(key as ConnKey) && !conn.severed;
            let waits = !self.check.seats[key].pipeline.is_empty();
            if !(conn.server_open || held || waits || departed(key as ConnKey)) {
                return None;
            }
            let place = &mut next[conn.client.index()];
            *place += 1;
            Some(u64::from(conn.client.0) << 32 | *place)
        };
        self.conns.iter().enumerate().map(name).collect()
    }

    /// The connection that an engine's id names, gone or not.
    fn conn_of(&self, shard: usize, id: ConnId) -> Option<ConnKey> {
        let same = |conn: &Conn| conn.shard == shard && conn.id == id;
        self.conns.iter().position(same).map(|key| key as ConnKey)
    }

    /// What is on its way: the order counts within each way, and not between them.
    fn on_its_way(&self, name: &dyn Fn(ConnKey) -> Option<u64>) -> u64 {
        let mut ways: Vec<(u64, u64)> = Vec::new();
        let mut alone = 0_u64;
        for (_, _, what) in self.queue.entries() {
            let mut hash = hasher();
            let Some(way) = self.fold_happening(what, name, &mut hash) else { continue };
            let content = hash.finish();
            match way {
                None => alone = alone.wrapping_add(keyed(content, 0, 0)),
                Some(way) => match ways.iter_mut().find(|(other, _)| *other == way) {
                    Some((_, sum)) => *sum = keyed(*sum, content, 1),
                    None => ways.push((way, keyed(way, content, 1))),
                },
            }
        }
        ways.iter().fold(alone, |sum, (way, content)| sum.wrapping_add(keyed(*way, *content, 2)))
    }

    /// None for timers; else the way that it goes, if it shares one, with what it is in the hasher.
    #[allow(clippy::option_option, reason = "two questions: whether it is on its way at all, and on which")]
    fn fold_happening(
        &self,
        what: &Happening,
        name: &dyn Fn(ConnKey) -> Option<u64>,
        hash: &mut DefaultHasher,
    ) -> Option<Option<u64>> {
        core::mem::discriminant(what).hash(hash);
        match what {
            Happening::ToServer { conn, up } => {
                self.fold_up(up, hash);
                Some(Some(keyed(name(*conn).unwrap_or(0), 0, 1)))
            }
            Happening::ServerLost { conn } => {
                name(*conn).hash(hash);
                Some(None)
            }
            Happening::Commit { life, ticket, request, .. } => {
                self.fold_ticket(*life, *ticket, name, hash);
                fold_request(request, hash);
                Some(None)
            }
            Happening::Answer { life, ticket, answer } => {
                self.fold_ticket(*life, *ticket, name, hash);
                fold_answer(answer, hash);
                Some(None)
            }
            Happening::Record { from, life, record } => {
                match record {
                    Carried::Record(record) => {
                        (&record.topic, record_seq(record), &record.message[..]).hash(hash);
                    }
                    Carried::Note(note) => (&note.topic, &note.note[..]).hash(hash),
                }
                Some(Some(keyed((from << 16 | life.shard) as u64, 0, 2)))
            }
            Happening::Directory { life, change } => {
                (change.revision, format!("{change:?}")).hash(hash);
                Some(Some(keyed(life.shard as u64, 0, 3)))
            }
            Happening::Start { node, .. } => {
                node.hash(hash);
                Some(None)
            }
            Happening::Timeout { .. } | Happening::ClientTimeout { .. } | Happening::Step(_) => None,
            // Not left waiting where events are chosen; strictly told apart if they are.
            other @ (Happening::Open { .. }
            | Happening::Opened { .. }
            | Happening::Failed { .. }
            | Happening::ToClient { .. }
            | Happening::ClientLost { .. }
            | Happening::Say { .. }
            | Happening::Redial { .. }
            | Happening::Revive { .. }
            | Happening::Stop { .. }) => {
                format!("{other:?}").hash(hash);
                Some(Some(0))
            }
        }
    }

    fn fold_up(&self, up: &Up, hash: &mut DefaultHasher) {
        match up {
            Up::Message { payload: Payload::Said(message), .. } => self.check.token(*message).hash(hash),
            Up::Message {
                payload:
                    Payload::Heartbeat
                    | Payload::Garbage
                    | Payload::Nowhere
                    | Payload::Hello { .. }
                    | Payload::Resync
                    | Payload::Fetch { .. }
                    | Payload::Mark(_)
                    | Payload::BadMark
                    | Payload::Sign
                    | Payload::Invalid,
                bytes,
            } => bytes[..].hash(hash),
            Up::Ping => hash.write_u8(1),
            // What a Pong carries is not read; how long it is counts against the rates.
            Up::Pong(payload) => (2, payload.len()).hash(hash),
            Up::Close => hash.write_u8(3),
            Up::Wrong(how) => how.to_string().hash(hash),
        }
    }

    /// What a ticket is waited for, if it is.
    fn fold_ticket(
        &self,
        life: Life,
        ticket: u64,
        name: &dyn Fn(ConnKey) -> Option<u64>,
        hash: &mut DefaultHasher,
    ) {
        let purpose = self.check.watches[life.shard].tickets.get(&ticket);
        (life.shard, purpose.map(|(purpose, _)| self.check.purpose(*purpose, name))).hash(hash);
    }
}

fn fold_conn(conn: &Conn, hash: &mut DefaultHasher) {
    (conn.client, conn.node, conn.shard, conn.id.slot()).hash(hash);
    (conn.server_open, conn.client_open, conn.severed).hash(hash);
    conn.closing.map(|reason| reason.code()).hash(hash);
    (conn.outbox.len(), conn.on_the_wire()).hash(hash);
}

fn fold_request(request: &Request, hash: &mut DefaultHasher) {
    match request {
        Request::LoadUser(user) => user.as_str().hash(hash),
        Request::StoreMessage(new) => {
            let recipient = match &new.recipient {
                Recipient::User(user) => Topic::User(user.clone()),
                Recipient::Group(group) => Topic::Group(group.clone()),
            };
            (new.sender.as_str(), recipient, new.content_type, &new.content).hash(hash);
        }
        Request::StoreFile(upload) => upload.suffix.hash(hash),
        Request::LoadHeads { .. }
        | Request::LoadMessages(_)
        | Request::StoreMarks(_)
        | Request::StoreSeen(_)
        | Request::LoadSeen { .. }
        | Request::StoreReceived(_)
        | Request::LoadUnreceived { .. } => format!("{request:?}").hash(hash),
    }
}

fn fold_answer(answer: &Answer, hash: &mut DefaultHasher) {
    match answer {
        Answer::UserLoaded(profile) => (0, profile.revision, &profile.groups, &profile.avatar).hash(hash),
        Answer::MessageStored(place) => (1, place.seq).hash(hash),
        Answer::FileStored { name, kind } => (2, name, kind).hash(hash),
        Answer::Refused => hash.write_u8(3),
        Answer::Failed => hash.write_u8(4),
        Answer::Full => hash.write_u8(7),
        Answer::StoredEarlier(place) => (6, place.seq).hash(hash),
        Answer::HeadsLoaded { .. }
        | Answer::MessagesLoaded(_)
        | Answer::MarksStored(_)
        | Answer::Seen { .. }
        | Answer::ReceivedStored
        | Answer::UnreceivedLoaded { .. }
        | Answer::Denied(_) => (5, format!("{answer:?}")).hash(hash),
    }
}
