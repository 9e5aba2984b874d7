//! The events on their way to the application: a queue whose limits slow down who fills it, and lose nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_core::Stream;
use switchboard_engine::Recipient;
use tokio::sync::Notify;

use super::event::Event;

/// How many events may wait, and how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueueLimits {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    room: Notify,
    /// The application has taken something.
    progress: Notify,
    limits: QueueLimits,
}

#[derive(Debug, Default)]
struct Inner {
    events: VecDeque<Event>,
    bytes: usize,
    /// How far its conversation is taken when the event that was given last is.
    given: Option<(Recipient, (u64, u64))>,
    /// Epoch and place up to which each conversation was taken since this was asked for last.
    taken: BTreeMap<Recipient, (u64, u64)>,
    /// The task that waits for an event.
    reader: Option<Waker>,
    /// Nobody will read any more.
    unread: bool,
    /// Nobody will write any more.
    ended: bool,
}

impl Inner {
    /// What was given last is taken. Returns whether that is worth keeping.
    fn take_given(&mut self) -> bool {
        let given = self.given.take();
        let is_news = given.is_some();
        self.taken.extend(given);
        is_news
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's events, in order. [`Events::next`] and the [`Stream`] give the same ones. Whoever asks for the next one has
/// taken the one before.
///
/// They wait in a queue of bounded length and size. When it is full the client reads nothing more from its
/// connection ([`Event::Stalled`]), so whoever has this reads it, or drops it: without it, events are thrown
/// away, and what they would have told is in the store.
#[derive(Debug)]
pub struct Events(Arc<Shared>);

/// The end of the queue into which events are put.
#[derive(Debug)]
pub(super) struct EventSender(Arc<Shared>);

pub(super) fn queue(limits: QueueLimits) -> (EventSender, Events) {
    let shared =
        Arc::new(Shared { inner: Mutex::default(), room: Notify::new(), progress: Notify::new(), limits });
    (EventSender(Arc::clone(&shared)), Events(shared))
}

impl EventSender {
    /// Puts an event into the queue, whether it is full or not: whoever calls this sees to it that
    /// [`EventSender::is_full`] is heeded.
    pub(super) fn push(&self, event: Event) {
        let mut inner = self.0.lock();
        if inner.unread {
            return;
        }
        if matches!(event, Event::State(_))
            && let Some(last @ Event::State(_)) = inner.events.back_mut()
        {
            *last = event;
        } else {
            inner.bytes += event.bytes();
            inner.events.push_back(event);
        }
        let reader = inner.reader.take();
        drop(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Whether nobody will read any more.
    pub(super) fn is_unread(&self) -> bool {
        self.0.lock().unread
    }

    /// How far conversations were taken since this was asked last.
    pub(super) fn taken(&self) -> BTreeMap<Recipient, (u64, u64)> {
        std::mem::take(&mut self.0.lock().taken)
    }

    /// The application says that it has done what it wants with what it was given.
    pub(super) fn take_given(&self) {
        self.0.lock().take_given();
    }

    /// Waits until something was taken. Cancel-safe.
    pub(super) async fn progress(&self) {
        self.0.progress.notified().await;
    }

    pub(super) fn is_full(&self) -> bool {
        let inner = self.0.lock();
        inner.events.len() >= self.0.limits.events || inner.bytes >= self.0.limits.bytes
    }

    /// Waits until the queue is not full. Cancel-safe.
    pub(super) async fn room(&self) {
        // The reader leaves a permit behind when nobody waits, so nothing is missed in between.
        while self.is_full() {
            self.0.room.notified().await;
        }
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.ended = true;
        let reader = inner.reader.take();
        drop(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Events {
    /// The next event; none after the last one of a client that has ended. Cancel-safe: what is not given stays.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    /// The next event, if there is one without waiting.
    pub fn try_next(&mut self) -> Option<Event> {
        let mut inner = self.0.lock();
        if inner.take_given() {
            self.0.progress.notify_one();
        }
        let event = inner.events.pop_front()?;
        inner.bytes -= event.bytes();
        inner.given = event.progress();
        drop(inner);
        self.0.room.notify_one();
        Some(event)
    }

    fn poll(&mut self, context: &Context<'_>) -> Poll<Option<Event>> {
        if let Some(event) = self.try_next() {
            return Poll::Ready(Some(event));
        }
        let mut inner = self.0.lock();
        // Something may have come since.
        if !inner.events.is_empty() {
            drop(inner);
            return Poll::Ready(self.try_next());
        }
        if inner.ended {
            return Poll::Ready(None);
        }
        inner.reader = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll(context)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.unread = true;
        let events = std::mem::take(&mut inner.events);
        inner.bytes = 0;
        drop(inner);
        drop(events);
        self.0.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::State;

    fn connecting(failures: u32) -> Event {
        Event::State(State::Connecting { failures })
    }

    #[tokio::test]
    async fn a_full_queue_has_room_again_when_somebody_has_read_or_nobody_will() {
        let (sender, mut events) = queue(QueueLimits { events: 2, bytes: 1 << 20 });
        sender.push(Event::CaughtUp);
        sender.room().await;
        sender.push(Event::CaughtUp);
        assert!(sender.is_full());
        let (_, event) = tokio::join!(sender.room(), events.next());
        assert!(matches!(event, Some(Event::CaughtUp)));
        sender.push(Event::CaughtUp);
        assert!(sender.is_full());
        drop(events);
        sender.room().await;
        sender.push(Event::CaughtUp);
        assert!(!sender.is_full());
    }

    #[tokio::test]
    async fn a_state_that_nobody_has_read_is_replaced_by_the_next_one() {
        let (sender, mut events) = queue(QueueLimits { events: 2, bytes: 1 << 20 });
        for failures in 0..5 {
            sender.push(connecting(failures));
        }
        sender.push(Event::CaughtUp);
        drop(sender);
        assert!(matches!(events.next().await, Some(Event::State(State::Connecting { failures: 4 }))));
        assert!(matches!(events.next().await, Some(Event::CaughtUp)));
        assert!(events.next().await.is_none());
    }

    #[tokio::test]
    async fn the_queue_is_full_by_size_as_well() {
        let size = Event::CaughtUp.bytes();
        let (sender, mut events) = queue(QueueLimits { events: 100, bytes: 2 * size });
        sender.push(Event::CaughtUp);
        assert!(!sender.is_full());
        sender.push(Event::CaughtUp);
        assert!(sender.is_full());
        events.next().await;
        assert!(!sender.is_full());
    }
}
