//! A few threads for calls that block.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::{fmt, io};

use tokio::sync::oneshot;

/// Why a call was not made, or gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PoolError {
    /// As many calls as may wait do.
    #[error("too many calls wait already")]
    Busy,
    /// The call panicked.
    #[error("the call was not carried out")]
    Failed,
    /// The server stops.
    #[error("the server stops; try again in a second")]
    Stopped,
}

type Job<T> = Box<dyn FnOnce(&mut T) + Send>;

/// Threads, each with something of its own to work with, and a bounded queue of calls before them. Dropping it does
/// what waits, and ends them.
pub(crate) struct Pool<T> {
    jobs: Mutex<Option<SyncSender<Job<T>>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl<T> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Pool<T> {
    /// Starts a thread for each of the tools; `waiting` calls wait for them at the most.
    pub(crate) fn start(name: &str, tools: Vec<T>, waiting: usize) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(waiting);
        let receiver = Arc::new(Mutex::new(receiver));
        let mut threads = Vec::new();
        for (index, tool) in tools.into_iter().enumerate() {
            let receiver = Arc::clone(&receiver);
            let builder = thread::Builder::new().name(format!("{name}-{index}"));
            threads.push(builder.spawn(move || work(&receiver, tool))?);
        }
        Ok(Self { jobs: Mutex::new(Some(sender)), threads: Mutex::new(threads) })
    }

    /// Has one of the threads make a call, and waits for what it gives. A call that nobody waits for any more is made
    /// all the same, once it is in the queue.
    pub(crate) async fn run<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, PoolError> {
        let (sender, answer) = oneshot::channel();
        let job: Job<T> = Box::new(move |tool| drop(sender.send(call(tool))));
        {
            let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            let jobs = jobs.as_ref().ok_or(PoolError::Stopped)?;
            jobs.try_send(job).map_err(|error| match error {
                TrySendError::Full(_) => PoolError::Busy,
                TrySendError::Disconnected(_) => PoolError::Stopped,
            })?;
        }
        answer.await.map_err(|_| PoolError::Failed)
    }
}

impl<T> Pool<T> {
    /// Does what waits, and ends the threads. Blocks until that is done; calls made later are not made.
    pub(crate) fn stop(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // Panics of calls are caught where they are made.
            let _ = thread.join();
        }
    }
}

impl<T> Drop for Pool<T> {
    fn drop(&mut self) {
        self.stop();
    }
}

fn work<T>(jobs: &Mutex<Receiver<Job<T>>>, mut tool: T) {
    loop {
        // The lock is held while waiting: whoever has it takes the next call, and the others wait for the lock.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // A transaction that a panic leaves is rolled back as it is dropped.
        if catch_unwind(AssertUnwindSafe(|| job(&mut tool))).is_err() {
            tracing::error!("a call has panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_are_answered_and_a_panic_is_one_calls_alone() {
        let pool = Pool::start("test", vec![1_u32], 4).unwrap();
        assert_eq!(pool.run(|number| *number + 1).await, Ok(2));
        assert_eq!(pool.run(|_| -> u32 { panic!("on purpose") }).await, Err(PoolError::Failed));
        assert_eq!(pool.run(|number| *number + 2).await, Ok(3));
        pool.stop();
        assert_eq!(pool.run(|number| *number).await, Err(PoolError::Stopped));
    }

    #[tokio::test]
    async fn more_than_may_wait_are_refused() {
        let pool = Arc::new(Pool::start("test", vec![()], 1).unwrap());
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let (begun, begins) = std::sync::mpsc::channel();
        let first = {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move {
                pool.run(move |()| {
                    begun.send(()).unwrap();
                    gate.recv().unwrap();
                })
                .await
            })
        };
        tokio::task::spawn_blocking(move || begins.recv().unwrap()).await.unwrap();
        let second = {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move { pool.run(|()| 2).await })
        };
        // The second one is in the queue once it has been polled.
        tokio::task::yield_now().await;
        assert_eq!(pool.run(|()| 3).await, Err(PoolError::Busy));
        go.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(()));
        assert_eq!(second.await.unwrap(), Ok(2));
    }
}
