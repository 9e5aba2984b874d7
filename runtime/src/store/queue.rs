//! The bounded queue between the shards and a store's thread.

use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Many push without waiting, one takes everything at once.
///
/// Its limits count what is outstanding: what waits and what was taken but is not yet answered. A standard
/// channel would hand over one by one, allocate its whole capacity up front, and count no bytes.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    limit: Load,
}

/// How much there is, or may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) requests: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct State<T> {
    waiting: Vec<T>,
    outstanding: Load,
    taker_sleeps: bool,
    /// The taker sleeps until so many items are waiting.
    enough: Option<usize>,
    poked: bool,
    closed: bool,
}

/// Why [`Queue::take`] returned, beside what it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Somebody asked for attention.
    pub(crate) poked: bool,
    /// Nothing is waiting, and nothing will come.
    pub(crate) finished: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new(limit: Load) -> Self {
        let state = State {
            waiting: Vec::new(),
            outstanding: Load::default(),
            taker_sleeps: false,
            enough: None,
            poked: false,
            closed: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), limit }
    }

    /// Adds an item of so many bytes; gives it back if a limit would be exceeded or the queue is closed.
    pub(crate) fn push(&self, item: T, bytes: usize) -> Result<(), T> {
        let mut state = self.lock();
        let load = Load {
            requests: state.outstanding.requests.saturating_add(1),
            bytes: state.outstanding.bytes.saturating_add(bytes),
        };
        if state.closed || load.requests > self.limit.requests || load.bytes > self.limit.bytes {
            return Err(item);
        }
        state.outstanding = load;
        state.waiting.push(item);
        self.wake(state);
        Ok(())
    }

    /// What waits, and what was taken and is not answered.
    pub(crate) fn outstanding(&self) -> Load {
        self.lock().outstanding
    }

    /// Makes the taker look around, even if nothing is waiting.
    pub(crate) fn poke(&self) {
        let mut state = self.lock();
        state.poked = true;
        self.wake(state);
    }

    /// Refuses everything from now on. What was pushed before can still be taken.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.wake(state);
    }

    /// Waits until a time, unless so many items are there earlier, or the queue is closed.
    pub(crate) fn gather(&self, enough: usize, until: Instant) {
        let mut state = self.lock();
        while state.waiting.len() < enough && !state.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state.enough = Some(enough);
            state =
                self.changed.wait_timeout(state, left).map_or_else(|e| e.into_inner().0, |(state, _)| state);
        }
        state.enough = None;
    }

    /// Takes all that is waiting, after at most `patience` if there is nothing. `items` has to be empty.
    pub(crate) fn take(&self, items: &mut Vec<T>, patience: Duration) -> Taken {
        debug_assert!(items.is_empty(), "what was taken last must be done with");
        let mut state = self.lock();
        if state.waiting.is_empty() && !state.poked && !state.closed {
            state.taker_sleeps = true;
            // A spurious end of the wait looks like its time-out, which does no harm.
            state = self
                .changed
                .wait_timeout(state, patience)
                .map_or_else(|e| e.into_inner().0, |(state, _)| state);
            state.taker_sleeps = false;
        }
        mem::swap(&mut state.waiting, items);
        Taken { poked: mem::take(&mut state.poked), finished: state.closed && items.is_empty() }
    }

    /// What was taken has been answered.
    pub(crate) fn done(&self, load: Load) {
        let mut state = self.lock();
        state.outstanding.requests = state.outstanding.requests.saturating_sub(load.requests);
        state.outstanding.bytes = state.outstanding.bytes.saturating_sub(load.bytes);
    }

    /// Waking costs a system call, so only a taker that sleeps is woken.
    fn wake(&self, state: MutexGuard<'_, State<T>>) {
        let gathered = |enough| state.waiting.len() >= enough || state.closed;
        let asleep = state.taker_sleeps || state.enough.is_some_and(gathered);
        drop(state);
        if asleep {
            self.changed.notify_one();
        }
    }

    /// No code that can panic runs under the lock except allocation, before anything is changed.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue<u32> {
        Queue::new(Load { requests: 2, bytes: 100 })
    }

    #[test]
    fn what_is_taken_counts_until_it_is_done() {
        let queue = queue();
        assert_eq!(queue.push(1, 10), Ok(()));
        assert_eq!(queue.push(2, 10), Ok(()));
        assert_eq!(queue.push(3, 10), Err(3));
        let mut items = Vec::new();
        assert_eq!(queue.take(&mut items, Duration::ZERO), Taken { poked: false, finished: false });
        assert_eq!(items, [1, 2]);
        assert_eq!(queue.push(3, 10), Err(3));
        queue.done(Load { requests: 1, bytes: 10 });
        assert_eq!(queue.push(3, 10), Ok(()));
    }

    #[test]
    fn bytes_are_limited() {
        let queue = queue();
        assert_eq!(queue.push(1, 101), Err(1));
        assert_eq!(queue.push(1, 100), Ok(()));
        assert_eq!(queue.push(2, 1), Err(2));
    }

    #[test]
    fn a_closed_queue_takes_nothing_and_gives_what_it_has() {
        let queue = queue();
        queue.push(1, 1).unwrap();
        queue.close();
        assert_eq!(queue.push(2, 1), Err(2));
        let mut items = Vec::new();
        assert!(!queue.take(&mut items, Duration::MAX).finished);
        assert_eq!(items, [1]);
        items.clear();
        assert!(queue.take(&mut items, Duration::MAX).finished);
    }

    #[test]
    fn gathering_ends_in_time_or_when_there_is_enough_or_no_more_to_come() {
        let queue = queue();
        let never = Instant::now() + Duration::from_secs(3600);
        queue.push(1, 1).unwrap();
        queue.gather(2, Instant::now() + Duration::from_millis(1));
        std::thread::scope(|scope| {
            scope.spawn(|| queue.push(2, 1).unwrap());
            queue.gather(2, never);
        });
        std::thread::scope(|scope| {
            scope.spawn(|| queue.close());
            queue.gather(3, never);
        });
        let mut items = Vec::new();
        queue.take(&mut items, Duration::ZERO);
        assert_eq!(items, [1, 2]);
    }

    #[test]
    fn a_poke_ends_the_wait_once() {
        let queue = queue();
        queue.poke();
        let mut items = Vec::new();
        assert!(queue.take(&mut items, Duration::MAX).poked);
        assert!(!queue.take(&mut items, Duration::ZERO).poked);
    }

    #[test]
    fn a_sleeping_taker_is_woken() {
        let queue = queue();
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| {
                let mut items = Vec::new();
                while items.is_empty() {
                    queue.take(&mut items, Duration::from_secs(3600));
                }
                items
            });
            queue.push(7, 1).unwrap();
            assert_eq!(taker.join().unwrap(), [7]);
        });
    }
}
