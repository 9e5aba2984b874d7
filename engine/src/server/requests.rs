//! Requests to the store that are waited for.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;
use serde::{Deserialize, Serialize};

use super::{calls::LegKey, pipeline::PipelineKey, presence::AwayKey, users::UserKey};
use crate::{
    digest::Digest,
    id::{ConnId, Ticket},
    storage::Answer,
    time::Instant,
};

/// What an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// The profile of a user.
    Load(UserKey),
    /// A message, or its file, of a pipeline.
    Message(PipelineKey),
    /// The heads that a session is told.
    Heads(ConnId),
    /// A part of a log that a session has asked for.
    Fetch(ConnId),
    /// What a classic connection is behind with.
    Unreceived(ConnId),
    /// A part of a log that a classic connection is behind with.
    Missed(ConnId),
    /// What has arrived at a classic connection.
    Received(ConnId),
    /// Marks of a session.
    Marks(ConnId),
    /// When a user who has left was here.
    Seen(AwayKey),
    /// Whether a session may watch a user.
    Watch(ConnId),
    /// Whether a user may ring another one.
    Ring(LegKey),
}

impl Purpose {
    /// Whether an answer is one to what was asked.
    pub(super) const fn takes(self, answer: &Answer) -> bool {
        let is_done = match self {
            Self::Load(_) => matches!(answer, Answer::UserLoaded(_)),
            Self::Message(_) => {
                answer.place().is_some() || matches!(answer, Answer::FileStored { .. } | Answer::Denied(_))
            }
            Self::Heads(_) => matches!(answer, Answer::HeadsLoaded { .. }),
            Self::Fetch(_) | Self::Missed(_) => matches!(answer, Answer::MessagesLoaded(_)),
            Self::Unreceived(_) => matches!(answer, Answer::UnreceivedLoaded { .. }),
            Self::Received(_) => matches!(answer, Answer::ReceivedStored),
            Self::Marks(_) => matches!(answer, Answer::MarksStored(_)),
            Self::Seen(_) | Self::Watch(_) | Self::Ring(_) => matches!(answer, Answer::Seen { .. }),
        };
        is_done || matches!(answer, Answer::Refused | Answer::Failed | Answer::Full)
    }
}

/// The open tickets. But for those that took the place of others all wait equally long, so the lowest ticket is the
/// first to expire.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Requests {
    last: u64,
    open: BTreeMap<Ticket, (Instant, Purpose)>,
    /// Those that took the place of others, by the time at which they expire.
    again: BTreeSet<(Instant, Ticket)>,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Those about who was here, and who may know that or ring somebody, and about what classic clients have missed.
    pub(super) fn asides(&self) -> usize {
        let is_aside = |purpose: &Purpose| match purpose {
            Purpose::Seen(_)
            | Purpose::Watch(_)
            | Purpose::Ring(_)
            | Purpose::Unreceived(_)
            | Purpose::Missed(_)
            | Purpose::Received(_) => true,
            Purpose::Load(_)
            | Purpose::Message(_)
            | Purpose::Heads(_)
            | Purpose::Fetch(_)
            | Purpose::Marks(_) => false,
        };
        self.open.values().filter(|(_, purpose)| is_aside(purpose)).count()
    }

    pub(super) fn open(&mut self, now: Instant, timeout: Duration, purpose: Purpose) -> Ticket {
        self.insert(now + timeout, purpose)
    }

    /// A request that takes the place of an open one: whoever waits for that waits no longer for this.
    pub(super) fn open_again(&mut self, former: Ticket) -> Option<Ticket> {
        let (expires_at, purpose) = self.remove(former)?;
        let ticket = self.insert(expires_at, purpose);
        self.again.insert((expires_at, ticket));
        Some(ticket)
    }

    pub(super) fn close(&mut self, ticket: Ticket) -> Option<Purpose> {
        self.remove(ticket).map(|(_, purpose)| purpose)
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.first().map(|(expires_at, _)| expires_at)
    }

    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<(Ticket, Purpose)> {
        let (_, ticket) = self.first().filter(|(expires_at, _)| *expires_at <= now)?;
        self.close(ticket).map(|purpose| (ticket, purpose))
    }

    fn insert(&mut self, expires_at: Instant, purpose: Purpose) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        self.open.insert(ticket, (expires_at, purpose));
        ticket
    }

    fn remove(&mut self, ticket: Ticket) -> Option<(Instant, Purpose)> {
        let (expires_at, purpose) = self.open.remove(&ticket)?;
        if !self.again.is_empty() {
            self.again.remove(&(expires_at, ticket));
        }
        Some((expires_at, purpose))
    }

    /// The one that expires first.
    fn first(&self) -> Option<(Instant, Ticket)> {
        let lowest = self.open.first_key_value().map(|(ticket, (expires_at, _))| (*expires_at, *ticket));
        [lowest, self.again.first().copied()].into_iter().flatten().min()
    }

    /// Each with what `name` folds in place of its number.
    pub(super) fn fold(&self, digest: &mut Digest<'_>, name: impl Fn(&mut Digest<'_>, Ticket, Purpose)) {
        if digest.is_everything() {
            digest.word(self.last);
        }
        for (ticket, (expires_at, purpose)) in &self.open {
            if digest.is_everything() {
                digest.word(ticket.0);
            }
            digest.instant(*expires_at);
            name(digest, *ticket, *purpose);
        }
    }
}
