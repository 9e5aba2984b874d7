//! Connections as the checks see them.

use std::collections::VecDeque;

use switchboard_engine::{CloseReason, ConnId, FRAME_COST_BYTES, Topic};

use super::{
    CatchUp, Check, ConnKey, Instance, MessageKey, Payload, Use, rates::Bucket, sessions::SessionSeen,
};
use crate::wire;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not welcomed yet.
    Loading,
    /// Welcomed.
    Online,
    /// The engine has asked to close it.
    Closing,
    /// The engine has asked to cut it off.
    Aborted,
    /// It is gone.
    Gone,
}

/// Live pictures of one sender and kind at one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamSeen {
    pub(crate) sender: u16,
    pub(crate) kind: i32,
    pub(crate) offered: MessageKey,
    pub(crate) sent: Option<MessageKey>,
    /// There may have been no room for the newest one.
    pub(crate) uncertain: bool,
}

impl StreamSeen {
    pub(crate) fn waits(&self) -> bool {
        self.sent != Some(self.offered)
    }
}

/// One connection, from its first event to its last.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) shard: u16,
    pub(crate) user: u16,
    pub(crate) id: ConnId,
    pub(crate) phase: Phase,
    pub(crate) early: Vec<Payload>,
    pub(crate) pipeline: VecDeque<Instance>,
    pub(crate) frames: u64,
    /// All frames that it was ever sent.
    pub(crate) position: u64,
    pub(crate) messages: Bucket,
    pub(crate) bytes: Bucket,
    pub(crate) cost_bytes: u64,
    pub(crate) streams: Vec<StreamSeen>,
    pub(crate) heard_ns: u64,
    /// The event that led to its welcome.
    pub(crate) welcomed_by: u64,
    /// Stamp of the last fan-out that it was part of.
    pub(crate) stamp: u64,
    /// What it has missed, if it is a classic one.
    pub(crate) catch_up: CatchUp,
    /// What there is to a session beyond that.
    pub(crate) session: Option<Box<SessionSeen>>,
}

impl Check {
    /// A connection is told to an engine.
    pub(crate) fn connected(&mut self, shard: usize, id: ConnId, user: u16, is_session: bool) -> ConnKey {
        let key = self.seats.len() as ConnKey;
        let watch = &mut self.watches[shard];
        self.seats.push(Seat {
            shard: shard as u16,
            user,
            id,
            phase: Phase::Loading,
            early: Vec::new(),
            pipeline: VecDeque::new(),
            frames: 0,
            position: 0,
            messages: Bucket::default(),
            bytes: Bucket::default(),
            cost_bytes: 0,
            streams: Vec::new(),
            heard_ns: watch.now_ns,
            welcomed_by: 0,
            stamp: 0,
            catch_up: CatchUp::InStep,
            session: is_session.then(|| Box::new(SessionSeen::new(watch.now_ns))),
        });
        if !self.is_on {
            return key;
        }
        let slot = id.slot() as usize;
        if watch.slots.len() <= slot {
            watch.slots.resize(slot + 1, None);
        }
        watch.slots[slot] = Some(key);
        watch.connections += 1;
        watch.told[user as usize].seats.push(key);
        self.admit_connection(shard);
        self.cause.conn = Some(key);
        self.cause.arrived = true;
        self.cause.users.push(user);
        key
    }

    /// Frames of a connection were written.
    pub(crate) fn flushed(&mut self, conn: ConnKey, frames: u64, payload_bytes: u64) {
        if !self.is_on {
            return;
        }
        let seat = &mut self.seats[conn as usize];
        seat.frames -= frames;
        seat.cost_bytes -= payload_bytes + frames * FRAME_COST_BYTES;
        let watch = &mut self.watches[seat.shard as usize];
        watch.unflushed -= frames;
        watch.flushed += frames;
        self.cause.conn = Some(conn);
        self.cause.flushed = true;
        self.drained(conn);
    }

    /// A connection is gone.
    pub(crate) fn disconnected(&mut self, conn: ConnKey) {
        if !self.is_on {
            return;
        }
        self.vacate(conn, Phase::Gone);
        let seat = &mut self.seats[conn as usize];
        let watch = &mut self.watches[seat.shard as usize];
        watch.unflushed -= seat.frames;
        (seat.frames, seat.cost_bytes) = (0, 0);
        watch.slots[seat.id.slot() as usize] = None;
        watch.connections -= 1;
        self.cause.conn = Some(conn);
    }

    /// Takes a connection from its user, if it has one still.
    fn vacate(&mut self, conn: ConnKey, phase: Phase) {
        let seat = &mut self.seats[conn as usize];
        let before = core::mem::replace(&mut seat.phase, phase);
        if !matches!(before, Phase::Loading | Phase::Online) {
            return;
        }
        let mut early = core::mem::take(&mut seat.early);
        if seat.session.is_some() {
            // What is behind a Hello is done although the session has gone; without one it is out of turn.
            early = if matches!(early.first(), Some(Payload::Hello { .. })) {
                early.split_off(1)
            } else {
                Vec::new()
            };
        }
        let user = seat.user;
        self.end_session(conn);
        let seat = &mut self.seats[conn as usize];
        let watch = &mut self.watches[seat.shard as usize];
        watch.online -= u32::from(before == Phase::Online);
        let waiting = seat.streams.iter().filter(|stream| stream.waits()).count() as u64;
        watch.waiting_pictures -= waiting;
        seat.streams.clear();
        seat.pipeline.iter_mut().filter(|instance| !instance.requested).for_each(|i| i.optional = true);
        let unsent = self.cause.owed.iter_mut().filter(|owed| owed.conn == Some(conn) && !owed.sent);
        unsent.for_each(|owed| owed.optional = true);
        self.cause.touched.push(conn);
        self.cause.users.push(user);
        let told = &mut watch.told[user as usize];
        told.seats.retain(|other| *other != conn);
        if before == Phase::Loading {
            let room = (self.settings.pending_per_connection as usize).saturating_sub(told.departed.len());
            told.departed.extend(early.into_iter().take(room).map(|payload| (conn, payload)));
        }
        told.lingers = !told.departed.is_empty();
        if !told.is_here() {
            if let Some(ticket) = told.ticket.take() {
                watch.tickets.remove(&ticket);
            }
            told.forget();
        }
    }

    /// The engine closes a connection.
    pub(crate) fn closes(&mut self, shard: usize, id: ConnId, reason: CloseReason) {
        let open = self
            .seat(shard, id)
            .filter(|key| matches!(self.seats[*key as usize].phase, Phase::Loading | Phase::Online));
        let Some(conn) = open else {
            return self.fail("takeover", |_| format!("{id} is closed ({reason:?}) and was not open"));
        };
        self.check_reason(shard, conn, reason);
        self.cause.missing.retain(|(missing, _)| *missing != conn);
        self.cause.heads.retain(|(asking, _)| *asking != conn);
        self.cause.goodbyes.retain(|leaving| *leaving != conn);
        self.cause.fetches.retain(|(asking, _)| *asking != conn);
        self.cause.asking.retain(|asking| *asking != conn);
        self.cause.garbage &= self.cause.conn != Some(conn);
        if self.cause.kept_early && self.cause.conn == Some(conn) {
            // What leads to the closing of a connection that was not welcomed is not kept.
            self.seats[conn as usize].early.pop();
        }
        self.vacate(conn, Phase::Closing);
        let watch = &mut self.watches[shard];
        watch.closing.push_back((watch.now_ns + self.settings.close_timeout_ms * 1_000_000, conn));
    }

    /// Nobody is closed for a reason that is not there.
    fn check_reason(&mut self, shard: usize, conn: ConnKey, reason: CloseReason) {
        let seat = &self.seats[conn as usize];
        let watch = &self.watches[shard];
        let told = &watch.told[seat.user as usize];
        let (check, holds) = match reason {
            CloseReason::SlowReader => {
                let missing = self.cause.missing.iter().find(|(missing, _)| *missing == conn);
                let needed = missing.map_or_else(|| self.largest(), |(_, len)| *len) + FRAME_COST_BYTES;
                let held = seat.streams.len() as u64 * (self.settings.message_bytes + FRAME_COST_BYTES);
                ("isolation", seat.cost_bytes + held + needed > self.settings.outbox_bytes)
            }
            CloseReason::TakenOver => {
                let newer = self.settings.newest_wins == 1 && told.seats.last() != Some(&conn);
                ("takeover", newer || self.is_replaced(shard, conn))
            }
            CloseReason::TooManyDevices => (
                "takeover",
                told.seats.len() as u64 > self.settings.connections_per_user
                    && told.seats.first() == Some(&conn),
            ),
            CloseReason::Idle => {
                let silent_ns = watch.now_ns - seat.heard_ns;
                ("isolation", silent_ns >= self.settings.idle_timeout_ms * 1_000_000)
            }
            CloseReason::TooManyPending if seat.session.is_some() && seat.phase == Phase::Online => {
                ("isolation", false)
            }
            CloseReason::TooManyPending => {
                let waiting = seat.pipeline.len().saturating_sub(1).max(seat.early.len()) as u64;
                ("isolation", waiting >= self.settings.pending_per_connection)
            }
            CloseReason::GoingAway if self.cause.arrived => ("isolation", watch.stopping),
            CloseReason::GoingAway if !self.is_settled(shard) => ("accepted-is-durable", false),
            CloseReason::GoingAway => ("isolation", self.drains(shard)),
            CloseReason::Undecodable => ("isolation", seat.session.is_none()),
            CloseReason::NotAdmitted => ("isolation", self.is_not_admitted(conn)),
            CloseReason::UndecodableFrame => ("protocol", self.is_undecodable(conn)),
            CloseReason::OutOfTurn => ("protocol", self.is_out_of_turn(conn)),
            CloseReason::TextMessage
            | CloseReason::ProtocolError
            | CloseReason::MessageTooLarge
            | CloseReason::TooManyMessages
            | CloseReason::TooManyBytes
            | CloseReason::ServerFull => ("isolation", self.is_refused(conn, reason)),
            CloseReason::SignedOut | CloseReason::Banned | CloseReason::Administrator => {
                ("isolation", self.cause.authority.closes(conn, reason))
            }
            CloseReason::PeerClosed => ("isolation", self.cause.conn == Some(conn)),
        };
        if !holds {
            self.fail(check, |check| format!("{} is closed without cause: {reason:?}", check.name(conn)));
        }
    }

    /// Whether a stopping engine has nothing to wait for any more, or has waited long enough.
    fn is_settled(&self, shard: usize) -> bool {
        let watch = &self.watches[shard];
        let waits = |purpose: &Use| matches!(purpose, Use::File(..) | Use::Store(..));
        let waiting = watch.tickets.values().any(|(purpose, _)| waits(purpose));
        watch.stopping && (!waiting || watch.now_ns >= watch.settle_by_ns)
    }

    /// A size that no frame exceeds which the current event can lead to.
    fn largest(&self) -> u64 {
        let pipelines = self.cause.touched.iter().flat_map(|conn| &self.seats[*conn as usize].pipeline);
        let stored = pipelines.map(|instance| instance.message);
        let messages = stored.chain(self.cause.owed.iter().map(|owed| owed.message));
        let longest = messages.map(|message| self.said[message as usize].bytes.len() as u64).max();
        // So may the signals of a call.
        let signals = if self.cause.signs { self.settings.message_bytes } else { 0 };
        // Pings, Pongs and the answers to heartbeats find no room either; a file's name and a picture's name
        // make a message longer, and heads are not longer than that.
        longest.unwrap_or(0).max(signals).max(self.cause.authority.largest()) + 256
    }

    /// The engine cuts a connection off.
    pub(crate) fn aborts(&mut self, shard: usize, id: ConnId) {
        let Some(conn) = self.seat(shard, id) else {
            return self.fail("takeover", |_| format!("{id} is cut off and is not there"));
        };
        if self.seats[conn as usize].phase != Phase::Closing {
            return self.fail("protocol", |check| format!("{} is cut off unclosed", check.name(conn)));
        }
        let watch = &self.watches[shard];
        let until_ns =
            watch.closing.iter().find(|(_, closing)| *closing == conn).map_or(0, |(until, _)| *until);
        if watch.now_ns < until_ns {
            self.fail("isolation", |check| format!("{} is cut off before its time", check.name(conn)));
        }
        self.seats[conn as usize].phase = Phase::Aborted;
    }

    /// The engine changes its interest.
    pub(crate) fn subscribes(&mut self, shard: usize, topic: &Topic, on: bool) {
        let watch = &mut self.watches[shard];
        let flag = match topic {
            Topic::User(user) => wire::index(user.as_str())
                .and_then(|user| watch.told.get_mut(user as usize))
                .map(|told| &mut told.subscribed),
            Topic::Group(group) => {
                wire::index(group.as_str()).and_then(|group| watch.group_subs.get_mut(group as usize))
            }
            Topic::Presence(user) => {
                let changed =
                    if on { watch.listens.insert(user.clone()) } else { watch.listens.remove(user) };
                if !changed {
                    self.fail("accounting", |_| format!("listening for {user}: it is {on} already"));
                }
                return;
            }
            Topic::Everyone => None,
        };
        let changed = flag.is_some_and(|flag| core::mem::replace(flag, on) != on);
        if !changed {
            self.fail("accounting", |_| format!("subscribing to {topic:?}: it is {on} already"));
        }
        if let Topic::Group(group) = topic
            && let Some(group) = wire::index(group.as_str())
            && on
        {
            let here = |user: &u16| self.watches[shard].told[*user as usize].is_here();
            let member =
                (0..self.settings.users as u16).filter(here).any(|user| self.may(shard, group, user));
            if !member {
                self.fail("no-leak", |_| format!("shard {shard} subscribes to g{group} without a member"));
            }
        }
    }

    /// The engine says that it has stopped.
    pub(crate) fn stops(&mut self, shard: usize) {
        let watch = &mut self.watches[shard];
        let early = watch.connections > 0 || !watch.stopping || watch.stopped;
        let waiting = watch.tickets.len();
        watch.stopped = true;
        if early || waiting > 0 {
            self.fail("accepted-is-durable", |_| format!("stopped with {waiting} requests open"));
        }
    }

    /// What reports call a connection.
    pub(crate) fn name(&self, conn: ConnKey) -> String {
        let seat = &self.seats[conn as usize];
        format!("u{}'s connection {} at shard {}", seat.user, seat.id, seat.shard)
    }
}
