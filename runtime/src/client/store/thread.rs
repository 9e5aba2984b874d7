//! The thread on which a store lives: what it does may block, and the tasks of an application must not.

use tokio::sync::{mpsc, oneshot};

use super::{Store, StoreError};

/// Calls that may wait; then callers wait.
const WAITING_CALLS: usize = 64;

type Call = Box<dyn FnOnce(&mut dyn Store) + Send>;

enum Job {
    Call(Call),
    /// The store is dropped before this is answered.
    Close(oneshot::Sender<()>),
}

/// The way to a store. The store is dropped when the last of these is, or when it is closed.
#[derive(Clone, Debug)]
pub(in crate::client) struct StoreThread {
    jobs: mpsc::Sender<Job>,
}

impl StoreThread {
    /// Starts the thread, to which the store then belongs.
    pub(in crate::client) fn start(mut store: impl Store) -> Result<Self, StoreError> {
        let (jobs, mut waiting) = mpsc::channel(WAITING_CALLS);
        let run = move || {
            while let Some(job) = waiting.blocking_recv() {
                match job {
                    Job::Call(call) => call(&mut store),
                    Job::Close(done) => {
                        drop(store);
                        // Whoever closes may have stopped waiting.
                        let _ = done.send(());
                        return;
                    }
                }
            }
        };
        std::thread::Builder::new()
            .name("client-store".to_owned())
            .spawn(run)
            .map_err(|source| StoreError::Failed { doing: "start a thread for", source: source.into() })?;
        Ok(Self { jobs })
    }

    /// Calls the store, after what was called before. A caller that stops waiting changes nothing.
    pub(in crate::client) async fn call<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut dyn Store) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job = Job::Call(Box::new(move |store| {
            let _ = answer.send(call(store));
        }));
        self.jobs.send(job).await.map_err(|_| StoreError::Thread)?;
        answered.await.unwrap_or(Err(StoreError::Thread))
    }

    /// Drops the store, after what was called before. Later calls fail.
    pub(in crate::client) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.jobs.send(Job::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }
}
