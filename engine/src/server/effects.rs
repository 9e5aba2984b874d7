//! What one event leads to, until the driver has taken it.

use alloc::{collections::VecDeque, vec::Vec};
use core::ops::Range;

use crate::{
    action::{Action, Frame},
    id::ConnId,
};

/// An action; a fan-out with its recipients by their place in a buffer that all fan-outs share.
#[derive(Debug)]
enum Effect {
    Send { to: Range<usize>, frame: Frame },
    Other(Action<'static>),
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
    /// Actions that the driver has not taken.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

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

    /// Adds anything but a fan-out.
    pub(super) fn push(&mut self, action: Action<'static>) {
        self.queue.push_back(Effect::Other(action));
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
            Effect::Other(action) => action,
        })
    }
}
