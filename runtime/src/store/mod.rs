//! The embedded store: an SQLite database in the data folder, on threads of its own: one writes, one reads.
//!
//! [`Store::open`] starts the threads. Shards ask with [`StoreHandle::submit`], which never waits, and find
//! the answers where their [`Completions`] puts them. Everything that arrives while the writer commits goes
//! into its next transaction, so that one `fsync` carries many messages (group commit); an answer is handed
//! over strictly after the commit of its batch. If a batch cannot be committed, all of it is rolled back and
//! answered [`Answer::Failed`](switchboard_engine::Answer::Failed), and [`StoreHealth`] says why until a
//! write succeeds again, which the thread tries every second.
//!
//! Clients' reading (heads of conversations, parts of their logs) is done by the other thread, which delays no
//! commit. It answers from a state that has in it whatever was answered before it was asked.
//!
//! Users and groups are changed through [`Directory`], in this process or in another one: the writer sees
//! what others have committed, within a second, and tells every shard.
//!
//! Each conversation's log has an *epoch*, a random number. If the database is older than the mark beside it
//! ([`MARK_FILE`]), it was restored from a copy and has lost messages: opening it gives every log a new epoch
//! then, by which clients notice. A copy of the whole folder has its mark in it: whoever restores one says so
//! with [`renew_epochs`].
//!
//! ```no_run
//! use std::sync::mpsc;
//! use switchboard::store::{DataFolder, Store, StoreEvent, StoreOptions};
//! use switchboard_engine::{Request, Ticket, UserId};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (events, shard_0) = mpsc::channel();
//! let folder = DataFolder::lock("data".as_ref())?;
//! let sink = move |_shard: usize, event: StoreEvent| drop(events.send(event));
//! let store = Store::open(&folder, &StoreOptions::default(), 1, Box::new(sink))?;
//! store.handle().submit(0, Ticket(1), Request::LoadUser(UserId::new("alice")?));
//! println!("{:?}", shard_0.recv()?);
//! store.stop();
//! # Ok(())
//! # }
//! ```

mod directory;
mod epochs;
mod files;
mod groups;
mod handle;
mod health;
mod inspect;
mod log;
mod mark;
mod open;
mod queue;
mod reader;
mod reads;
mod seen;
mod transfer;
mod words;
mod worker;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;

pub use directory::{
    Account, AccountChange, AccountRole, Ban, Conversation, ConversationInfo, Credentials, Directory,
    DirectoryError, Ended, EndedLogins, Excerpt, Friend, Group, Member, NewAccount, NewGroup, NewSession,
    NewUser, Overview, PageOf, PastMessage, SEARCH_WORDS, Search, SeenGroup, SessionId, SessionUser,
    SignedIn, Standing, StoredMessage, TokenHash, Totals, User, search_words, session_id,
};
pub use epochs::renew_epochs;
pub use handle::{Completions, StoreEvent, StoreHandle};
pub use health::{Failure, StoreHealth};
pub use inspect::Inspector;
pub use mark::MARK_FILE;
pub use open::{DATABASE_FILE, DataFolder, LOCK_FILE, OpenError};
pub use switchboard_engine::Role;
pub use transfer::{ExportError, ExportOf, Imported, LineError};

pub use reads::HEADS_AT_A_TIME;

pub(crate) use files::{FileBooks, FoundFile, NewFile};
pub(crate) use handle::{Job, Shared};
pub(crate) use open::open_locked;
pub(crate) use queue::{Load, Taken};
use reader::Reader;
use reads::Reads;
pub(crate) use transfer::{Taking, give as give_lines};
use worker::{Pace, Worker};

use crate::telemetry::Telemetry;

/// How a [`Store`] behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Whether users that nobody has created come into being when they connect, write or are written to, as
    /// with open authentication.
    pub provision: bool,
    /// The most that the database file may grow to, in bytes; none for what the disk holds. At the limit,
    /// messages fail. The write-ahead log beside it, usually up to 128 MiB, does not count.
    pub max_database_bytes: Option<u64>,
    /// Requests that may be outstanding, without those that read. Should not be below the sum of the engines'
    /// limits.
    pub queue_requests: usize,
    /// Bytes of requests that may be outstanding; as above.
    pub queue_bytes: usize,
    /// Requests that one transaction carries at the most. Bounds how long a request waits for others, at
    /// about 20 us each (measured with `store_rate`).
    pub batch_requests: usize,
    /// Bytes of requests that one transaction carries at the most; a larger request goes alone.
    pub batch_bytes: usize,
    /// Time from the begin of one transaction to that of the next, at least, unless a whole batch is waiting:
    /// under load, one transaction carries more then. What comes after a pause does not wait.
    pub commit_interval: Duration,
    /// Reading requests that may be outstanding: heads of conversations, and parts of their logs.
    pub queue_reads: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            provision: false,
            max_database_bytes: None,
            queue_requests: 1 << 20,
            queue_bytes: 1 << 30,
            batch_requests: 8_192,
            batch_bytes: 16 << 20,
            commit_interval: Duration::ZERO,
            queue_reads: 1 << 16,
        }
    }
}

/// A running store. Dropping it stops it as [`stop`](Self::stop) does.
pub struct Store {
    shared: Arc<Shared>,
    reader: Arc<Shared>,
    folder: DataFolder,
    max_database_bytes: Arc<AtomicU64>,
    /// Those that run, in the order in which they are waited for.
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("folder", &self.folder)
            .field("health", &self.shared.health)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database of a data folder, creating it or bringing its schema up to date if need be, and
    /// starts the store's threads for shards 0 to `shards - 1`.
    ///
    /// # Errors
    /// If the database cannot be opened, is damaged, not ours or of a newer build; each says what to do.
    pub fn open(
        folder: &DataFolder,
        options: &StoreOptions,
        shards: usize,
        sink: Box<dyn Completions>,
    ) -> Result<Self, OpenError> {
        let failed = |source| open::classify(folder.path().join(DATABASE_FILE), source);
        let mut connection = open::open_locked(folder)?;
        let mark = epochs::settle(&mut connection, folder).map_err(failed)?;
        let reading = open::open_for_reading(folder)?;
        let queue_limit = Load { requests: options.queue_requests, bytes: options.queue_bytes };
        // Requests that read are small and all alike: to count them is enough.
        let read_limit = Load { requests: options.queue_reads, bytes: usize::MAX };
        let (shared, reader) = Shared::pair(shards, queue_limit, read_limit, sink);
        let max_database_bytes = Arc::new(AtomicU64::new(options.max_database_bytes.unwrap_or(u64::MAX)));
        let batch_limit = Load { requests: options.batch_requests.max(1), bytes: options.batch_bytes };
        let pace = Pace { batch_limit, commit_interval: options.commit_interval };
        let worker = Worker::new(Arc::clone(&shared), Arc::clone(&max_database_bytes), pace, mark);
        let provision = options.provision;
        let mut store =
            Self { shared, reader, folder: folder.clone(), max_database_bytes, threads: Vec::new() };
        // An error from here on drops the store, which stops what has been started.
        let shared = Arc::clone(&store.reader);
        store.start("store-reader", move |ready| serve_reads(&shared, reading, ready))?;
        store.start("store", move |ready| serve(worker, connection, provision, ready))?;
        Ok(store)
    }

    /// Starts a thread, and waits until it says that it is ready or why it cannot be.
    fn start(
        &mut self,
        name: &str,
        life: impl FnOnce(&mpsc::SyncSender<rusqlite::Result<()>>) + Send + 'static,
    ) -> Result<(), OpenError> {
        let (ready, started) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name(name.into())
            .spawn(move || life(&ready))
            .map_err(OpenError::Thread)?;
        self.threads.push(thread);
        // A thread always reports before it ends, so a lost report can only mean that it panicked.
        let report = started.recv().unwrap_or(Err(rusqlite::Error::InvalidQuery));
        report.map_err(|source| open::classify(self.folder.path().join(DATABASE_FILE), source))
    }

    /// A way for shards to ask this store.
    #[must_use]
    pub fn handle(&self) -> StoreHandle {
        StoreHandle::with_reader(Arc::clone(&self.shared), Arc::clone(&self.reader))
    }

    /// Whether the store works.
    #[must_use]
    pub fn health(&self) -> Arc<StoreHealth> {
        Arc::clone(&self.shared.health)
    }

    /// Has commits from now on told to a collector of traces, for as long as the store runs.
    pub(crate) fn trace(&self, telemetry: Telemetry) {
        // Whoever was named first stays.
        let _ = self.shared.figures.telemetry.set(telemetry);
    }

    /// What the threads share with those who ask, by name: for those who watch the store.
    pub(crate) fn parts(&self) -> [(&'static str, Arc<Shared>); 2] {
        [("writer", Arc::clone(&self.shared)), ("reader", Arc::clone(&self.reader))]
    }

    /// Opens the directory on a connection of its own; its changes reach the shards at once.
    ///
    /// # Errors
    /// If the database cannot be opened once more.
    pub fn directory(&self) -> Result<Directory, OpenError> {
        let connection = open::open_shared(self.folder.path())?;
        Ok(Directory::new(connection, Some(Arc::clone(&self.shared))))
    }

    /// Changes [`StoreOptions::max_database_bytes`] from the next batch on.
    pub fn set_max_database_bytes(&self, limit: Option<u64>) {
        self.max_database_bytes.store(limit.unwrap_or(u64::MAX), Ordering::Relaxed);
        self.shared.queue.poke();
    }

    /// Does all that was submitted, carries the write-ahead log over into the database, closes it, and ends
    /// the threads. Blocks until that is done. Requests submitted later fail.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.reader.queue.close();
        self.shared.queue.close();
        // The reader first: the write-ahead log cannot be taken away while somebody reads.
        for thread in self.threads.drain(..) {
            // The threads catch their panics and tell of them in the health.
            let _ = thread.join();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.end();
    }
}

/// The whole life of the thread that reads.
fn serve_reads(shared: &Arc<Shared>, connection: Connection, ready: &mpsc::SyncSender<rusqlite::Result<()>>) {
    let _ = shared.guard("running the store's reader", || match Reads::new(&connection) {
        Ok(mut reads) => {
            let _ = ready.send(Ok(()));
            Reader::new(Arc::clone(shared)).run(&mut reads);
        }
        Err(error) => drop(ready.send(Err(error))),
    });
    shared.abandon();
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, "cannot close the database after reading");
    }
}

/// The whole life of the thread that writes.
fn serve(
    mut worker: Worker,
    connection: Connection,
    provision: bool,
    ready: &mpsc::SyncSender<rusqlite::Result<()>>,
) {
    let shared = Arc::clone(&worker.shared);
    let ran = shared.guard("running the store", || match worker.prepare(&connection, provision) {
        Ok(mut log) => {
            let _ = ready.send(Ok(()));
            worker.run(&mut log);
        }
        Err(error) => drop(ready.send(Err(error))),
    });
    shared.abandon();
    if ran.is_some() {
        close(connection);
    }
}

/// Closes the database so that all of it is in one file. A failure loses nothing: the next start does it.
fn close(connection: Connection) {
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
        tracing::warn!(%error, "cannot carry over the write-ahead log at the end");
    }
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, "cannot close the database");
    }
}

impl Directory {
    /// Opens the directory of a data folder, whether a server runs on it or not. A server notices the
    /// changes within a second.
    ///
    /// # Errors
    /// As [`Store::open`]; a database of an older schema is brought up to date unless a server runs on it.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        open::open_shared(folder).map(|connection| Self::new(connection, None))
    }
}
