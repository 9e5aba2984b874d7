//! The media store: files in the data folder, or in a bucket of a server for objects, written on threads of their own.
//!
//! It is asked and answers like [`crate::store`], through the same types, so that a shard passes
//! [`StoreFile`](switchboard_engine::Request::StoreFile) here and everything else there. The HTTP side reads and writes files through
//! [`Files`] itself.
//!
//! Wherever files are kept, they come in through the data folder: what they are and how large they are is known before
//! anything leaves this machine.

mod disk;
mod files;
mod kept;
mod kind;
mod objects;
mod part;
mod s3;
mod thumbnails;
mod upkeep;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use switchboard_engine::{Answer, FileUpload};

pub(crate) use files::is_part;
pub use files::{CHUNK_BYTES, Files, MEDIA_FOLDER, MediaError, MediaFile, NamedType, StoredFile, type_of};
pub(crate) use kept::Kept;
pub use objects::{Chunk, Listed};
pub use part::PartFile;
pub use s3::{S3Credentials, S3Error, S3Options, S3Style, Trouble};
pub use thumbnails::{PictureError, THUMBNAIL_SIZES, Thumbnail, is_shrunk};

use crate::store::{
    Completions, DataFolder, Job, Load, OpenError, Shared, StoreEvent, StoreHandle, StoreHealth, Taken,
};
use files::Allowance;
use objects::Objects;
use s3::S3;

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
    /// The bucket that files are in; none for the data folder.
    pub bucket: Option<S3Options>,
    /// Bytes of all files of one user; 0: there is no limit.
    pub user_bytes: u64,
    /// How long a file may be there without a message or a user that refers to it.
    pub unused: Duration,
}

/// Why a media store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum MediaOpenError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] OpenError),
    /// The bucket cannot be used as it is named.
    #[error(transparent)]
    Bucket(#[from] S3Error),
    /// The server of the bucket says clearly that files cannot be kept there.
    #[error("the bucket that is named cannot be used")]
    Refused(#[source] MediaError),
}

impl Default for MediaOptions {
    fn default() -> Self {
        Self {
            queue_requests: 1 << 20,
            queue_bytes: 1 << 30,
            bucket: None,
            user_bytes: 0,
            unused: Duration::from_secs(3_600),
        }
    }
}

/// Files that are sent to a bucket at once. Each waits for the server most of the time.
const SENDERS: usize = 8;

/// A running media store. Dropping it stops it as [`stop`](Self::stop) does.
pub struct MediaStore {
    shared: Arc<Shared>,
    files: Files,
    thread: Option<JoinHandle<()>>,
    /// The thread that removes what nothing refers to, and what ends it when it is dropped.
    upkeep: Option<(JoinHandle<()>, mpsc::Sender<()>)>,
    /// Keeps other servers from clearing away what this one is writing.
    _lock: DataFolder,
}

impl std::fmt::Debug for MediaStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MediaStore").field("files", &self.files).finish_non_exhaustive()
    }
}

impl MediaStore {
    /// Opens the media folder of a data folder, removes what a crash has left half-written, and starts the
    /// threads for shards 0 to `shards - 1`. With a bucket, it is tried whether files can be kept there: one that does not answer
    /// makes the store unhealthy until it does, and no more.
    ///
    /// # Errors
    /// If the folder cannot be created or used, the bucket refuses files, or a thread cannot be started.
    pub fn open(
        data_folder: &DataFolder,
        options: &MediaOptions,
        shards: usize,
        sink: Box<dyn Completions>,
    ) -> Result<Self, MediaOpenError> {
        let files = open_files(data_folder, options)?;
        let limit = Load { requests: options.queue_requests, bytes: options.queue_bytes };
        let shared = Arc::new(Shared::new(shards, limit, sink));
        if options.bucket.is_some() {
            match files.probe() {
                Ok(()) => {}
                Err(error) if error.is_passing() => {
                    shared.health.fail(cause("looking at the bucket", &error));
                }
                Err(error) => return Err(MediaOpenError::Refused(error)),
            }
        }
        // On a disk one after the other is as fast as it gets.
        let threads = if options.bucket.is_some() { SENDERS } else { 1 };
        let thread = {
            let (shared, files) = (Arc::clone(&shared), files.clone());
            thread::Builder::new()
                .name("media".into())
                .spawn(move || {
                    let _ = shared.guard("running the media store", || run(&shared, &files, threads));
                    shared.abandon();
                })
                .map_err(OpenError::Thread)?
        };
        let mut store =
            Self { shared, files, thread: Some(thread), upkeep: None, _lock: data_folder.clone() };
        // An error from here on drops the store, which stops what has been started.
        let (sender, stop) = mpsc::channel();
        let files = store.files.clone();
        let upkeep = thread::Builder::new()
            .name("files".into())
            .spawn(move || upkeep::run(&files, &stop))
            .map_err(OpenError::Thread)?;
        store.upkeep = Some((upkeep, sender));
        Ok(store)
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
    pub fn files(&self) -> Files {
        self.files.clone()
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
        if let Some((thread, sender)) = self.upkeep.take() {
            drop(sender);
            if thread.join().is_err() {
                tracing::error!("the thread that looks after the files has panicked");
            }
        }
        if let Some(thread) = self.thread.take() {
            // The thread catches its panics and tells of them in the health.
            let _ = thread.join();
        }
        // The database's other connections close last.
        self.files.close();
    }
}

impl Drop for MediaStore {
    fn drop(&mut self) {
        self.end();
    }
}

/// The names of all files that are kept in a data folder, or in a bucket. Changes nothing.
///
/// # Errors
/// If the bucket cannot be used as it is named, or what is there cannot be listed.
pub fn names(data: &Path, bucket: Option<&S3Options>) -> Result<BTreeSet<String>, MediaOpenError> {
    let kept = Kept::open(data, bucket)?;
    let mut names = BTreeSet::new();
    let listed = kept.objects().list(&mut |file| {
        if type_of(&file.name).is_some() {
            names.insert(file.name);
        }
    });
    listed.map(|()| names).map_err(MediaOpenError::Refused)
}

/// The files of a data folder that this process has locked.
fn open_files(data_folder: &DataFolder, options: &MediaOptions) -> Result<Files, MediaOpenError> {
    let elsewhere = match &options.bucket {
        Some(bucket) => Some(Arc::new(S3::new(bucket)?) as Arc<dyn Objects>),
        None => None,
    };
    let allowance = Allowance {
        user_bytes: options.user_bytes,
        unused: options.unused,
        // Nobody else has the folder; a bucket may be somebody else's, too, by mistake.
        is_ours: elsewhere.is_none(),
    };
    Ok(Files::open(data_folder, elsewhere, allowance)?)
}

/// Stores what comes with so many threads, until the queue is closed and empty.
fn run(shared: &Shared, files: &Files, threads: usize) {
    let (sender, receiver) = mpsc::sync_channel::<Job>(0);
    let receiver = Mutex::new(receiver);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    // The lock is held while waiting: whoever has it takes the next one.
                    let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = job else { return };
                    serve(shared, files, &job);
                }
            });
        }
        let mut jobs = Vec::new();
        loop {
            let patience = if shared.health.is_ok() { PATIENCE } else { PROBE_INTERVAL };
            let Taken { poked, finished } = shared.queue.take(&mut jobs, patience);
            // What has just failed is tried again after a pause.
            if jobs.is_empty() && !finished && !poked && !shared.health.is_ok() {
                report(shared, "writing a probe", || files.probe());
            }
            for job in jobs.drain(..) {
                // Whoever takes them ends after this.
                let _ = sender.send(job);
            }
            if finished {
                drop(sender);
                return;
            }
        }
    });
}

/// Does one request, and hands the answer over.
fn serve(shared: &Shared, files: &Files, job: &Job) {
    // All else is the other store's.
    let answer = job.request.file().map_or(Answer::Failed, |upload| store(shared, files, upload));
    shared.figures.answered(std::iter::once((job, &answer)));
    if !shared.health.is_ok() {
        // Whoever hands out the work waits for long while all is well.
        shared.queue.poke();
    }
    // Before the shard knows: what it asks next must find its place in the queue.
    shared.queue.done(Load { requests: 1, bytes: job.bytes });
    shared.complete(job.shard, StoreEvent::Answers(vec![(job.ticket, answer)]));
}

fn store(shared: &Shared, files: &Files, upload: &FileUpload) -> Answer {
    match report(shared, "storing a file", || files.store(&upload.source, &upload.suffix, &upload.owner)) {
        Some(Ok(StoredFile { name, kind })) => Answer::FileStored { name, kind },
        Some(Err(MediaError::Quota(denial))) => Answer::Denied(denial),
        Some(Err(error)) if error.is_refusal() => Answer::Refused,
        Some(Err(_)) | None => Answer::Failed,
    }
}

/// Does something on the disk or with the bucket, and keeps the health up to date with how it went.
fn report<T>(
    shared: &Shared,
    doing: &str,
    code: impl FnOnce() -> Result<T, MediaError>,
) -> Option<Result<T, MediaError>> {
    let done = shared.guard(doing, code);
    match &done {
        Some(Ok(_)) => shared.health.recover(),
        Some(Err(error)) if !error.is_refusal() => shared.health.fail(cause(doing, error)),
        // A refusal says nothing about the disk; of a panic the health knows already.
        Some(Err(_)) | None => {}
    }
    done
}

/// What failed, and why, on one line.
fn cause(doing: &str, error: &MediaError) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{doing}: {error}: {cause}")
}
