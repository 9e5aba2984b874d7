//! How other threads wake a shard that has nothing to do.

use std::{
    io,
    sync::atomic::{AtomicU8, Ordering},
};

use mio::{Registry, Token, Waker};

/// The event by which a poll ends when the bell has woken it. No connection has this number.
pub(super) const DOORBELL: Token = Token(usize::MAX);

/// The shard is at work, and will look at the bell before it waits.
const AWAKE: u8 = 0;
/// Somebody has left something for the shard.
const RUNG: u8 = 1;
/// The shard waits for its sockets, or is about to.
const ASLEEP: u8 = 2;

/// A shard's bell. Whoever has left something for the shard rings; only for one that is asleep that takes a system call.
///
/// ```text
///             ring                      ring: the poll is woken
///   Awake ───────────▶ Rung ◀────────────────────── Asleep
///     ▲ │                │                           ▲  │
///     │ └────────────────┼───────── lie_down ────────┘  │
///     └────── answer ────┴──────────── answer ──────────┘
/// ```
#[derive(Debug)]
pub(super) struct Doorbell {
    state: AtomicU8,
    waker: Waker,
}

impl Doorbell {
    /// The bell of the shard that waits with this poll.
    pub(super) fn new(registry: &Registry) -> io::Result<Self> {
        Ok(Self { state: AtomicU8::new(AWAKE), waker: Waker::new(registry, DOORBELL)? })
    }

    /// Says that there is something; to be called after it was left where the shard finds it.
    pub(super) fn ring(&self) {
        if self.state.swap(RUNG, Ordering::AcqRel) == ASLEEP
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "cannot wake a shard");
        }
    }

    /// The shard's: whether it may wait, because nobody has rung.
    pub(super) fn lie_down(&self) -> bool {
        self.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The shard's: whether somebody has rung since the last time that it was asked. What was left is there.
    pub(super) fn answer(&self) -> bool {
        self.state.swap(AWAKE, Ordering::AcqRel) == RUNG
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread, time::Duration};

    use mio::{Events, Poll};

    use super::*;

    #[test]
    fn a_shard_that_is_rung_for_does_not_lie_down_until_it_has_answered() {
        let poll = Poll::new().unwrap();
        let bell = Doorbell::new(poll.registry()).unwrap();
        assert!(!bell.answer());
        bell.ring();
        assert!(!bell.lie_down());
        assert!(bell.answer());
        assert!(!bell.answer());
        assert!(bell.lie_down());
        assert!(!bell.answer());
    }

    #[test]
    fn a_shard_that_is_asleep_is_woken_each_time() {
        let mut poll = Poll::new().unwrap();
        let bell = Arc::new(Doorbell::new(poll.registry()).unwrap());
        let mut events = Events::with_capacity(8);
        for _ in 0..100 {
            let visitor = Arc::clone(&bell);
            let visit = thread::spawn(move || visitor.ring());
            while !bell.answer() {
                if bell.lie_down() {
                    // Without the bell it would end here, far too late.
                    poll.poll(&mut events, Some(Duration::from_secs(60))).unwrap();
                    assert!(events.iter().all(|event| event.token() == DOORBELL));
                }
            }
            visit.join().unwrap();
        }
    }
}
