//! Who is typing: what this user says of itself, again and again while it lasts, and what it is told of others until
//! that is too old.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::{SessionConfig, event::SessionNotification, log::Teller, submits::fold_conversation, wire};
use crate::{client::length, digest::Digest, id::UserId, storage::Recipient, time::Instant};

/// The user types in this conversation, or has stopped and that is still to be said.
#[derive(Clone, Debug)]
struct Sign {
    conversation: Recipient,
    types: bool,
    /// Whether the server was told that it types.
    is_told: bool,
    due: Instant,
}

/// Somebody who types.
#[derive(Clone, Debug)]
struct Typist {
    conversation: Recipient,
    user: UserId,
    forget_at: Instant,
}

#[derive(Clone, Debug)]
pub(super) struct Typing {
    interval: Duration,
    timeout: Duration,
    signs_limit: u64,
    typists_limit: u64,
    signs: Vec<Sign>,
    /// In the order in which they are forgotten.
    typists: Vec<Typist>,
}

impl Typing {
    pub(super) const fn new(config: &SessionConfig) -> Self {
        Self {
            interval: config.typing_interval,
            timeout: config.typing_timeout,
            signs_limit: config.limits.typing as u64,
            typists_limit: config.limits.typists as u64,
            signs: Vec::new(),
            typists: Vec::new(),
        }
    }

    /// The user types in a conversation, or has stopped. False if it types in too many.
    pub(super) fn set(&mut self, now: Instant, conversation: Recipient, types: bool) -> bool {
        let place = self.signs.iter().position(|sign| sign.conversation == conversation);
        let count = length(self.signs.len());
        match (place.and_then(|place| self.signs.get_mut(place)), types) {
            (Some(sign), true) if sign.types => true,
            (Some(sign), true) => {
                (sign.types, sign.due) = (true, now);
                true
            }
            (Some(sign), false) if sign.is_told => {
                (sign.types, sign.due) = (false, now);
                true
            }
            (Some(_), false) => {
                self.forget_own(&conversation);
                true
            }
            (None, false) => true,
            (None, true) if count >= self.signs_limit => false,
            (None, true) => {
                self.signs.push(Sign { conversation, types, is_told: false, due: now });
                true
            }
        }
    }

    /// The user types no more in a conversation, and nobody needs to be told: a message says it, or nobody is there.
    pub(super) fn forget_own(&mut self, conversation: &Recipient) {
        self.signs.retain(|sign| sign.conversation != *conversation);
    }

    /// Nobody sees any more that the user types.
    pub(super) fn link_lost(&mut self) {
        self.signs.clear();
    }

    /// Whether [`Typing::next_sign`] would give one.
    pub(super) fn has_sign(&self, now: Instant) -> bool {
        self.signs.iter().any(|sign| sign.due <= now)
    }

    /// The next sign to send. It counts as sent.
    pub(super) fn next_sign(&mut self, now: Instant) -> Option<Bytes> {
        let place = self.signs.iter().position(|sign| sign.due <= now)?;
        let sign = self.signs.get_mut(place)?;
        let frame = wire::typing(&sign.conversation, sign.types);
        if sign.types {
            (sign.is_told, sign.due) = (true, now + self.interval);
        } else {
            self.signs.remove(place);
        }
        Some(frame)
    }

    /// When a sign is to be repeated.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        self.signs.iter().map(|sign| sign.due).filter(|due| *due > now).min()
    }

    /// Somebody else types, or has stopped.
    pub(super) fn told(
        &mut self,
        now: Instant,
        conversation: Recipient,
        user: UserId,
        types: bool,
        teller: &mut Teller<'_>,
    ) {
        let known =
            self.typists.iter().position(|typist| typist.user == user && typist.conversation == conversation);
        if known.is_none() && types && length(self.typists.len()) >= self.typists_limit {
            teller.stats.typists_dropped += 1;
            return;
        }
        if let Some(place) = known {
            self.typists.remove(place);
        }
        if types {
            let forget_at = now + self.timeout;
            self.typists.push(Typist { conversation: conversation.clone(), user: user.clone(), forget_at });
        }
        if known.is_some() != types {
            teller.tell(SessionNotification::Typing { conversation, user, types });
        }
    }

    /// Forgets those of whom nothing was heard for too long.
    pub(super) fn forget(&mut self, now: Instant, teller: &mut Teller<'_>) {
        let over = self.typists.iter().take_while(|typist| typist.forget_at <= now).count();
        for Typist { conversation, user, .. } in self.typists.drain(..over) {
            teller.tell(SessionNotification::Typing { conversation, user, types: false });
        }
    }

    /// When the next one is forgotten.
    pub(super) fn next_forgotten(&self) -> Option<Instant> {
        self.typists.first().map(|typist| typist.forget_at)
    }

    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        digest.len(self.signs.len());
        for Sign { conversation, types, is_told, due } in &self.signs {
            fold_conversation(conversation, digest);
            digest.flag(*types);
            digest.flag(*is_told);
            digest.instant(*due);
        }
        digest.len(self.typists.len());
        for Typist { conversation, user, forget_at } in &self.typists {
            fold_conversation(conversation, digest);
            digest.text(user.as_str());
            digest.instant(*forget_at);
        }
    }
}
