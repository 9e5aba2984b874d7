//! Recordings: what the engines of the shards are told, written down as it happens.
//!
//! ```text
//!   shard-0 ── Tape ── steps ──┐  bounded         ┌─► files, one after the other
//!                              ├─────────► Writer ─┤       or
//!   shard-1 ── Tape ── steps ──┘          zstd     └─► the newest of them in memory ──► files, when somebody asks
//! ```
//!
//! A shard encodes what its engine is told, and hands it over at the end of a turn, twice a second or when it is much. Everything else is
//! done on a thread of its own: [`Writer`](writer::Writer). If that falls behind, the shard waits for nothing: it leaves out what
//! there is no room for, and begins a new file with its engine's state. So each file is whole by itself.
//!
//! With stand-ins for what was said, the thread has an engine of its own beside each ([`shadow`]), and needs no state of theirs.
//!
//! What is in a file is in `switchboard_engine::recording`, and in `docs/recording.md`.

mod folder;
mod redact;
mod shadow;
mod shelf;
mod tape;
mod writer;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
        mpsc::{self, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use switchboard_engine::recording::Header;

pub(crate) use self::tape::{Sitting, Tape};
use self::{folder::Folder, writer::Writer};

/// Pieces that may wait for the thread, from all shards together: some MiB.
const WAITING: usize = 64;

/// Buffers of each shard that are kept to be filled again, and the largest of them.
const SPARE: usize = 2;
const SPARE_BYTES: usize = 2 << 20;

/// How long somebody waits for what is in memory to be written.
const DUMP_TIME: Duration = Duration::from_secs(30);

/// Where recordings go, and how much of them is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecorderOptions {
    /// The folder of the files.
    pub(crate) folder: PathBuf,
    /// The size at which another file is begun.
    pub(crate) file_bytes: u64,
    /// The most that the files have together: older ones are deleted.
    pub(crate) total_bytes: u64,
    /// Nothing is written until somebody asks; so much of each shard is kept in memory, the newest.
    pub(crate) in_memory: Option<u64>,
    /// What was said is replaced by stand-ins that follow from this key.
    pub(crate) redact: Option<[u64; 2]>,
}

/// Why a recorder cannot start.
#[derive(Debug, thiserror::Error)]
#[error("cannot record in the folder {}: check that it is a folder that this account may write, or set record.folder to \"off\"", .folder.display())]
pub struct RecorderError {
    folder: PathBuf,
    source: io::Error,
}

/// What a shard has for the thread.
enum Piece {
    /// A file begins.
    Begin { header: Box<Header>, state: Option<Vec<u8>> },
    /// Steps of the file that has begun.
    Steps(Vec<u8>),
    /// The engine has stopped: the file is at its end.
    End,
}

enum Order {
    Piece {
        shard: usize,
        piece: Piece,
    },
    /// What is in memory is to be written, for this reason.
    Dump {
        reason: &'static str,
        done: mpsc::Sender<io::Result<Vec<PathBuf>>>,
    },
    /// All shards have ended.
    Stop,
}

/// What shards and the thread know of each other.
#[derive(Debug, Default)]
struct Common {
    /// Of each shard, whether it is to begin another file: one of [`Wanted`]'s.
    wanted: Vec<AtomicU8>,
    /// Buffers that are written, to be filled again: new ones cost a page fault every 4 KiB.
    spare: Mutex<Vec<Vec<u8>>>,
    figures: RecorderFigures,
}

/// Why a shard is to begin another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// The one that it has is as large as it may be.
    Full = 1,
    /// Not all of it could be written.
    Torn = 2,
}

/// What was recorded.
#[derive(Debug, Default)]
pub(crate) struct RecorderFigures {
    /// Bytes of steps, before they were compressed.
    pub(crate) raw_bytes: AtomicU64,
    /// Bytes of files, or of what would be files.
    pub(crate) written_bytes: AtomicU64,
    /// Files that were begun because something had been left out.
    pub(crate) gaps: AtomicU64,
    /// Writes that failed.
    pub(crate) failures: AtomicU64,
}

/// The thread that writes recordings.
#[derive(Debug)]
pub(crate) struct Recorder {
    desk: RecorderDesk,
    thread: JoinHandle<()>,
}

/// What may be asked of a recorder.
#[derive(Clone, Debug)]
pub(crate) struct RecorderDesk {
    orders: SyncSender<Order>,
    common: Arc<Common>,
    is_on_demand: bool,
}

/// Why what is in memory was not written.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// There is none.
    #[error("nothing is recorded on demand: set record.folder, and record.mode to \"on-demand\"")]
    Off,
    /// The thread has other things to do, or has ended.
    #[error("the recorder does not answer; try again in a second")]
    Busy,
    /// A file cannot be written.
    #[error("the recording cannot be written")]
    Write(#[from] io::Error),
}

impl Common {
    /// A buffer to be filled.
    fn take_spare(&self) -> Vec<u8> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// A buffer is written. One that was large once is given back to the system.
    fn put_spare(&self, buffer: Vec<u8>) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.capacity() <= SPARE_BYTES && spare.len() < SPARE * self.wanted.len() {
            spare.push(buffer);
        }
    }

    fn want(&self, shard: usize, reason: Wanted) {
        if let Some(wanted) = self.wanted.get(shard) {
            wanted.store(reason as u8, Ordering::Relaxed);
        }
    }
}

impl Recorder {
    /// Starts the thread, and makes the folder if there is none.
    pub(crate) fn start(options: &RecorderOptions, shards: usize) -> Result<Self, RecorderError> {
        let path = options.folder.clone();
        let wrong = |source| RecorderError { folder: path.clone(), source };
        let folder = Folder::open(&options.folder, options.total_bytes).map_err(wrong)?;
        let common = Arc::new(Common {
            wanted: (0..shards).map(|_| AtomicU8::new(0)).collect(),
            spare: Mutex::default(),
            figures: RecorderFigures::default(),
        });
        let (orders, taken) = mpsc::sync_channel(WAITING);
        let writer = Writer::new(folder, options, Arc::clone(&common));
        let thread = thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || writer.run(&taken))
            .map_err(wrong)?;
        let is_on_demand = options.in_memory.is_some();
        Ok(Self { desk: RecorderDesk { orders, common, is_on_demand }, thread })
    }

    pub(crate) fn desk(&self) -> RecorderDesk {
        self.desk.clone()
    }

    /// Ends the thread once everything is written.
    pub(crate) fn stop(self) {
        let Self { desk, thread } = self;
        // It fails if the thread has ended.
        let _ = desk.orders.send(Order::Stop);
        if thread.join().is_err() {
            tracing::error!("the recorder has failed; what it had written is there");
        }
    }
}

impl RecorderDesk {
    /// A tape for the engine of a shard.
    pub(crate) fn tape(&self, sitting: Sitting) -> Tape {
        Tape::new(self.clone(), sitting)
    }

    pub(crate) fn figures(&self) -> &RecorderFigures {
        &self.common.figures
    }

    /// Has what is in memory written to files, and waits for it. Gives their paths.
    pub(crate) fn dump(&self, reason: &'static str) -> Result<Vec<PathBuf>, RecordingError> {
        if !self.is_on_demand {
            return Err(RecordingError::Off);
        }
        let (done, answer) = mpsc::channel();
        self.orders.send(Order::Dump { reason, done }).map_err(|_| RecordingError::Busy)?;
        let paths = answer.recv_timeout(DUMP_TIME).map_err(|_| RecordingError::Busy)?;
        Ok(paths?)
    }

    fn take_spare(&self) -> Vec<u8> {
        self.common.take_spare()
    }

    /// Hands a piece over if there is room for it.
    fn offer(&self, shard: usize, piece: Piece) -> bool {
        match self.orders.try_send(Order::Piece { shard, piece }) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// Hands a piece over, however long that takes.
    fn insist(&self, shard: usize, piece: Piece) {
        let _ = self.orders.send(Order::Piece { shard, piece });
    }

    /// Whether a shard is to begin another file; said once.
    fn take_wanted(&self, shard: usize) -> Option<Wanted> {
        let wanted = self.common.wanted.get(shard)?;
        // It is asked each turn, and looking costs less than changing.
        match if wanted.load(Ordering::Relaxed) == 0 { 0 } else { wanted.swap(0, Ordering::Relaxed) } {
            0 => None,
            full if full == Wanted::Full as u8 => Some(Wanted::Full),
            _ => Some(Wanted::Torn),
        }
    }
}
