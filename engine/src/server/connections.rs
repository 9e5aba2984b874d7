//! The connections of one engine, by slot.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use serde::{Deserialize, Serialize};

use bytes::Bytes;

use super::{
    outbox::Outbox,
    rate::Meter,
    receipts::{Entry, Receipts},
    session::Session,
    stage::Stage,
    users::{UserKey, Users},
};
use crate::{
    config::{Limits, to_usize},
    digest::Digest,
    id::ConnId,
    time::Instant,
};

/// One connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Connection {
    pub(super) id: ConnId,
    pub(super) phase: Phase,
    /// When anything last came from the peer.
    pub(super) received_at: Instant,
    pub(super) pinged_at: Instant,
    /// When it was welcomed, if it is a classic one that is sent again what has not arrived.
    pub(super) since: Option<Instant>,
    /// Whether it answers Pings, if it is a classic one.
    pub(super) answers: Answers,
    /// When the timers look at it next, if ever.
    pub(super) deadline: Option<Instant>,
    pub(super) messages: Meter,
    pub(super) bytes: Meter,
    pub(super) outbox: Outbox,
    /// Its messages that wait for the store, if there are any.
    pub(super) pipeline: Option<usize>,
    /// What only a session has; a classic connection has none, nor one that is closing.
    pub(super) session: Option<Box<Session>>,
    /// What a classic connection has been sent of logs and may not have, and what it is behind with, if there is any.
    pub(super) receipts: Option<Box<Receipts>>,
}

/// Whether a classic connection answers Pings, as browsers do by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answers {
    /// It was sent none.
    Unasked,
    /// It has answered none so far; this is when it was sent the first.
    NoneSince(Instant),
    /// It has answered one.
    Some,
}

impl Answers {
    fn fold(self, digest: &mut Digest<'_>) {
        match self {
            Self::Unasked => digest.word(0),
            Self::NoneSince(at) => {
                digest.word(1);
                digest.instant(at);
            }
            Self::Some => digest.word(2),
        }
    }
}

/// Where a connection is in its life.
///
/// ```text
///   Connected ──► Loading ──► Greeting ──► Online ──► Closing ──► Aborted ──► (slot free)
///                    │  │         │  (Hello) ▲         ▲   │                    ▲
///                    │  └─────────│──────────┘         │   └────────────────────┘
///                    │  (classic) │                    │
///                    └────────────┴────────────────────┘
/// ```
/// `Disconnected` leads from each of them to a free slot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Its user is being loaded; what it sends meanwhile is kept.
    Loading { user: UserKey, early: VecDeque<Bytes> },
    /// Its user is loaded; it is a session and has not said Hello.
    Greeting { user: UserKey },
    /// It has been welcomed.
    Online { user: UserKey },
    /// It has no user any more, and is sent nothing more than what was on its way and a close frame.
    Closing,
    /// It was cut off.
    Aborted,
}

impl Connection {
    pub(super) fn new(id: ConnId, phase: Phase, now: Instant, session: Option<Box<Session>>) -> Self {
        Self {
            id,
            phase,
            received_at: now,
            pinged_at: now,
            since: None,
            answers: Answers::Unasked,
            deadline: None,
            messages: Meter::default(),
            bytes: Meter::default(),
            outbox: Outbox::default(),
            pipeline: None,
            session,
            receipts: None,
        }
    }

    /// Something in a log is among the frames that it has been sent so far, or lies before what follows.
    pub(super) fn remember(&mut self, entry: Entry, limits: &Limits) -> bool {
        let position = self.outbox.position();
        let receipts = self.receipts.get_or_insert_with(|| Box::new(Receipts::new(Stage::InStep)));
        let (limit, limit_logs) = (limits.receipts_per_connection, limits.resend_conversations);
        receipts.remember(position, entry, to_usize(limit), to_usize(limit_logs))
    }

    /// Its user, unless it is closing.
    pub(super) const fn user(&self) -> Option<UserKey> {
        match self.phase {
            Phase::Loading { user, .. } | Phase::Greeting { user } | Phase::Online { user } => Some(user),
            Phase::Closing | Phase::Aborted => None,
        }
    }

    /// Until when a session must have sent its first frame, if it has not.
    pub(super) fn hello_by(&self) -> Option<Instant> {
        let session = self.session.as_ref()?;
        match &self.phase {
            Phase::Loading { early, .. } if early.is_empty() => Some(session.hello_by),
            Phase::Greeting { .. } => Some(session.hello_by),
            Phase::Loading { .. } | Phase::Online { .. } | Phase::Closing | Phase::Aborted => None,
        }
    }

    pub(super) const fn is_online(&self) -> bool {
        matches!(self.phase, Phase::Online { .. })
    }

    /// Its deadline is among the timers, its messages among the pipelines.
    fn fold(&self, digest: &mut Digest<'_>, users: &Users) {
        digest.conn(self.id);
        match &self.phase {
            Phase::Loading { user, early } => {
                digest.word(0);
                users.fold_name(digest, *user);
                digest.len(early.len());
                early.iter().for_each(|message| digest.bytes(message));
            }
            Phase::Online { user } => {
                digest.word(1);
                users.fold_name(digest, *user);
            }
            Phase::Closing => digest.word(2),
            Phase::Aborted => digest.word(3),
            Phase::Greeting { user } => {
                digest.word(4);
                users.fold_name(digest, *user);
            }
        }
        digest.instant(self.received_at);
        digest.instant(self.pinged_at);
        digest.instant_or_none(self.deadline);
        self.messages.fold(digest);
        self.bytes.fold(digest);
        self.outbox.fold(digest);
        digest.flag(self.pipeline.is_some());
        digest.instant_or_none(self.since);
        self.answers.fold(digest);
        digest.flag(self.receipts.is_some());
        if let Some(receipts) = &self.receipts {
            receipts.fold(digest, self.outbox.position());
        }
        digest.flag(self.session.is_some());
        if let Some(session) = &self.session {
            session.fold(digest);
        }
    }
}

/// The table of connections. A look-up with an old generation finds nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Connections {
    slots: Vec<Option<Connection>>,
    len: u32,
}

/// Why a connection cannot be added.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AddError {
    SlotTaken,
    SlotBeyondLimit,
}

impl Connections {
    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn add(&mut self, connection: Connection, limit: u32) -> Result<(), AddError> {
        if connection.id.slot() >= limit {
            return Err(AddError::SlotBeyondLimit);
        }
        let index = index(connection.id);
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        match self.slots.get_mut(index) {
            Some(slot @ None) => {
                *slot = Some(connection);
                self.len += 1;
                Ok(())
            }
            Some(Some(_)) | None => Err(AddError::SlotTaken),
        }
    }

    #[inline]
    pub(super) fn get(&self, id: ConnId) -> Option<&Connection> {
        self.slots.get(index(id))?.as_ref().filter(|connection| connection.id == id)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.slots.get_mut(index(id))?.as_mut().filter(|connection| connection.id == id)
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<Connection> {
        self.get(id)?;
        let removed = self.slots.get_mut(index(id))?.take();
        self.len -= u32::from(removed.is_some());
        while let Some(None) = self.slots.last() {
            self.slots.pop();
        }
        removed
    }

    /// All connections, in the order of their slots.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.slots.iter_mut().flatten()
    }

    /// All connections, in the order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.slots.iter().flatten()
    }

    pub(super) fn fold(&self, digest: &mut Digest<'_>, users: &Users) {
        digest.unordered(self.iter(), |digest, connection| connection.fold(digest, users));
    }
}

const fn index(id: ConnId) -> usize {
    id.slot() as usize
}
