//! What one event leads to, until the driver has taken it.

use alloc::{collections::VecDeque, vec::Vec};
use core::ops::Range;

use crate::{
    action::{Action, Frame},
    bus::{Record, Topic},
    close::CloseReason,
    id::{ConnId, Ticket},
    storage::Request,
};

/// An action, with its recipients by their place in a buffer that all fan-outs share.
#[derive(Debug)]
enum Effect {
    Send { to: Range<usize>, frame: Frame },
    Close { conn: ConnId, reason: CloseReason },
    Abort { conn: ConnId },
    Request { ticket: Ticket, request: Request },
    Publish(Record),
    Subscribe(Topic),
    Unsubscribe(Topic),
    Stopped,
}

/// The queue of actions. Both buffers are reused, so a fan-out allocates nothing once they have grown.
#[derive(Debug, Default)]
pub(super) struct Effects {
    queue: VecDeque<Effect>,
    recipients: Vec<ConnId>,
}

/// Recipients that the buffer keeps room for when it is not needed.
const RECIPIENTS_KEPT: usize = 4096;

impl Effects {
    /// Adds a recipient of the fan-out that [`Effects::send`] ends.
    #[inline]
    pub(super) fn recipient(&mut self, conn: ConnId) {
        self.recipients.push(conn);
    }

    /// Where the next fan-out's recipients begin.
    #[inline]
    pub(super) fn mark(&self) -> usize {
        self.recipients.len()
    }

    /// Sends a frame to the recipients added since the mark.
    #[inline]
    pub(super) fn send(&mut self, mark: usize, frame: Frame) {
        let to = mark..self.recipients.len();
        if !to.is_empty() {
            self.queue.push_back(Effect::Send { to, frame });
        }
    }

    pub(super) fn close(&mut self, conn: ConnId, reason: CloseReason) {
        self.queue.push_back(Effect::Close { conn, reason });
    }

    pub(super) fn abort(&mut self, conn: ConnId) {
        self.queue.push_back(Effect::Abort { conn });
    }

    pub(super) fn request(&mut self, ticket: Ticket, request: Request) {
        self.queue.push_back(Effect::Request { ticket, request });
    }

    pub(super) fn publish(&mut self, record: Record) {
        self.queue.push_back(Effect::Publish(record));
    }

    pub(super) fn subscribe(&mut self, topic: Topic) {
        self.queue.push_back(Effect::Subscribe(topic));
    }

    pub(super) fn unsubscribe(&mut self, topic: Topic) {
        self.queue.push_back(Effect::Unsubscribe(topic));
    }

    pub(super) fn stopped(&mut self) {
        self.queue.push_back(Effect::Stopped);
    }

    #[inline]
    pub(super) fn poll(&mut self) -> Option<Action<'_>> {
        let Some(effect) = self.queue.pop_front() else {
            self.recipients.clear();
            self.recipients.shrink_to(RECIPIENTS_KEPT);
            return None;
        };
        Some(match effect {
            Effect::Send { to, frame } => {
                Action::Send { to: self.recipients.get(to).unwrap_or_default(), frame }
            }
            Effect::Close { conn, reason } => Action::Close { conn, reason },
            Effect::Abort { conn } => Action::Abort { conn },
            Effect::Request { ticket, request } => Action::Request { ticket, request },
            Effect::Publish(record) => Action::Publish(record),
            Effect::Subscribe(topic) => Action::Subscribe(topic),
            Effect::Unsubscribe(topic) => Action::Unsubscribe(topic),
            Effect::Stopped => Action::Stopped,
        })
    }
}
