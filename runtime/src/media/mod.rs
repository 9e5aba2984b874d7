//! The media store: files in the data folder, written on a thread of their own.
//!
//! It is asked and answers like [`crate::store`], through the same types, so that a shard passes
//! [`Request::StoreFile`] here and everything else there. The HTTP side reads and writes files through
//! [`MediaFolder`] itself.

mod folder;
mod kind;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use switchboard_engine::{Answer, FileUpload, Request};

pub(crate) use folder::is_part;
pub use folder::{MEDIA_FOLDER, MediaError, MediaFile, MediaFolder, StoredFile};

use crate::store::{Completions, DataFolder, Load, OpenError, Shared, StoreEvent, StoreHandle, StoreHealth};

/// How often a store that fails tries whether it works again.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// How long a store that works waits for requests at a time.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// The limits of a [`MediaStore`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaOptions {
    /// Files that may be outstanding. Should not be below the sum of the engines' limits.
    pub queue_requests: usize,
    /// Bytes of files that may be outstanding; as above.
    pub queue_bytes: usize,
}

impl Default for MediaOptions {
    fn default() -> Self {
        Self { queue_requests: 1 << 20, queue_bytes: 1 << 30 }
    }
}

/// A running media store. Dropping it stops it as [`stop`](Self::stop) does.
pub struct MediaStore {
    shared: Arc<Shared>,
    folder: MediaFolder,
    thread: Option<JoinHandle<()>>,
    /// Keeps other servers from clearing away what this one is writing.
    _lock: DataFolder,
}

impl std::fmt::Debug for MediaStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MediaStore").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl MediaStore {
    /// Opens the media folder of a data folder, removes what a crash has left half-written, and starts the
    /// thread for shards 0 to `shards - 1`.
    ///
    /// # Errors
    /// If the folder cannot be created or used, or the thread not started.
    pub fn open(
        data_folder: &DataFolder,
        options: &MediaOptions,
        shards: usize,
        sink: Box<dyn Completions>,
    ) -> Result<Self, OpenError> {
        let folder = MediaFolder::open(data_folder.path())
            .map_err(|source| OpenError::Folder { folder: data_folder.path().join(MEDIA_FOLDER), source })?;
        let limit = Load { requests: options.queue_requests, bytes: options.queue_bytes };
        let shared = Arc::new(Shared::new(shards, limit, sink));
        let thread = {
            let (shared, folder) = (Arc::clone(&shared), folder.clone());
            thread::Builder::new()
                .name("media".into())
                .spawn(move || {
                    let _ = shared.guard("running the media store", || run(&shared, &folder));
                    shared.abandon();
                })
                .map_err(OpenError::Thread)?
        };
        Ok(Self { shared, folder, thread: Some(thread), _lock: data_folder.clone() })
    }

    /// A way for shards to ask this store.
    #[must_use]
    pub fn handle(&self) -> StoreHandle {
        StoreHandle::new(Arc::clone(&self.shared))
    }

    /// What the thread shares with those who ask.
    pub(crate) fn part(&self) -> (&'static str, Arc<Shared>) {
        ("media", Arc::clone(&self.shared))
    }

    /// The files, for whoever may block.
    #[must_use]
    pub fn folder(&self) -> MediaFolder {
        self.folder.clone()
    }

    /// Whether the store works.
    #[must_use]
    pub fn health(&self) -> Arc<StoreHealth> {
        Arc::clone(&self.shared.health)
    }

    /// Stores all that was submitted and ends the thread. Blocks until that is done. Requests submitted
    /// later fail.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.queue.close();
        if let Some(thread) = self.thread.take() {
            // The thread catches its panics and tells of them in the health.
            let _ = thread.join();
        }
    }
}

impl Drop for MediaStore {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(shared: &Shared, folder: &MediaFolder) {
    let mut jobs = Vec::new();
    loop {
        let patience = if shared.health.is_ok() { PATIENCE } else { PROBE_INTERVAL };
        let finished = shared.queue.take(&mut jobs, patience).finished;
        if jobs.is_empty() && !finished && !shared.health.is_ok() {
            report(shared, "writing a probe", || folder.probe());
        }
        for job in jobs.drain(..) {
            let answer = match &job.request {
                Request::StoreFile(upload) => store(shared, folder, upload),
                // The other store's.
                Request::LoadUser(_)
                | Request::StoreMessage(_)
                | Request::LoadHeads { .. }
                | Request::LoadMessages(_)
                | Request::StoreMarks(_)
                | Request::StoreSeen(_)
                | Request::LoadSeen { .. }
                | Request::StoreReceived(_)
                | Request::LoadUnreceived { .. } => Answer::Failed,
            };
            shared.figures.answered(std::iter::once((&job, &answer)));
            // Before the shard knows: what it asks next must find its place in the queue.
            shared.queue.done(Load { requests: 1, bytes: job.bytes });
            shared.complete(job.shard, StoreEvent::Answers(vec![(job.ticket, answer)]));
        }
        if finished {
            return;
        }
    }
}

fn store(shared: &Shared, folder: &MediaFolder, upload: &FileUpload) -> Answer {
    match report(shared, "storing a file", || folder.store(&upload.source, &upload.suffix)) {
        Some(Ok(StoredFile { name, kind })) => Answer::FileStored { name, kind },
        Some(Err(error)) if error.is_refusal() => Answer::Refused,
        Some(Err(_)) | None => Answer::Failed,
    }
}

/// Does something on the disk, and keeps the health up to date with how it went.
fn report<T>(
    shared: &Shared,
    doing: &str,
    code: impl FnOnce() -> Result<T, MediaError>,
) -> Option<Result<T, MediaError>> {
    let done = shared.guard(doing, code);
    match &done {
        Some(Ok(_)) => shared.health.recover(),
        Some(Err(error)) if !error.is_refusal() => {
            let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            shared.health.fail(format!("{doing}: {error}: {cause}"));
        }
        // A refusal says nothing about the disk; of a panic the health knows already.
        Some(Err(_)) | None => {}
    }
    done
}
