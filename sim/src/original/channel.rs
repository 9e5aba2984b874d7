//! Go's unbuffered channels: a value goes from one task's hands into another's, or somebody waits.

use std::collections::VecDeque;

use super::Task;

/// What ends a Go process when nothing recovers from it; its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Panic(pub(super) &'static str);

const SEND_ON_CLOSED: Panic = Panic("send on closed channel");
const CLOSE_OF_CLOSED: Panic = Panic("close of closed channel");

/// What became of a send.
#[derive(Debug)]
pub(super) enum Sent<T> {
    /// The receiver waited already: it is to be given the value and woken.
    Taken { by: Task, value: T },
    /// Nobody waited: the sender waits now.
    Parked,
}

/// What became of a receive.
#[derive(Debug)]
pub(super) enum Received<T> {
    /// A sender waited already: it is to be woken.
    Value { from: Task, value: T },
    /// The channel is closed.
    Closed,
    /// Nobody waited: the receiver waits now.
    Parked,
}

/// An unbuffered channel. The queues are as long as there are tasks, at most.
#[derive(Debug)]
pub(super) struct Channel<T> {
    senders: VecDeque<(Task, T)>,
    receivers: VecDeque<Task>,
    closed: bool,
}

impl<T> Default for Channel<T> {
    fn default() -> Self {
        Self { senders: VecDeque::new(), receivers: VecDeque::new(), closed: false }
    }
}

impl<T> Channel<T> {
    pub(super) fn send(&mut self, from: Task, value: T) -> Result<Sent<T>, Panic> {
        if self.closed {
            return Err(SEND_ON_CLOSED);
        }
        Ok(match self.receivers.pop_front() {
            Some(by) => Sent::Taken { by, value },
            None => {
                self.senders.push_back((from, value));
                Sent::Parked
            }
        })
    }

    /// The send of a `select` with a default: none if nobody waits for a value.
    pub(super) fn try_send(&mut self) -> Result<Option<Task>, Panic> {
        if self.closed { Err(SEND_ON_CLOSED) } else { Ok(self.receivers.pop_front()) }
    }

    pub(super) fn receive(&mut self, by: Task) -> Received<T> {
        match self.senders.pop_front() {
            Some((from, value)) => Received::Value { from, value },
            None if self.closed => Received::Closed,
            None => {
                self.receivers.push_back(by);
                Received::Parked
            }
        }
    }

    /// Closes the channel; gives the receivers that waited.
    pub(super) fn close(&mut self) -> Result<VecDeque<Task>, Panic> {
        if self.closed {
            return Err(CLOSE_OF_CLOSED);
        }
        self.closed = true;
        Ok(core::mem::take(&mut self.receivers))
    }

    /// Whether a receive would find a sender.
    pub(super) fn has_sender(&self) -> bool {
        !self.senders.is_empty()
    }

    /// Ends the wait of a `select` that found another channel first.
    pub(super) fn forget_receiver(&mut self, task: Task) {
        self.receivers.retain(|waiting| *waiting != task);
    }
}
