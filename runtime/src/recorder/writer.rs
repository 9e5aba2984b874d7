//! The thread that has everything else to do with recordings: packing, writing, and keeping to the limits.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use switchboard_engine::recording::{Header, State, file::Kind};

use super::{
    Common, Order, Piece, RecorderOptions, Wanted,
    folder::Folder,
    shadow::Shadow,
    shelf::{Blocks, Compressor, OpenFile},
    tape::wall_ms,
};

/// What was written is on the disk after this time.
const SYNC_INTERVAL: Duration = Duration::from_millis(500);

/// How long after a write that has failed another one is tried.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Of how many pieces what is kept in memory is made: the oldest one goes when a new one begins.
const RINGS: u64 = 8;

pub(super) struct Writer {
    folder: Folder,
    common: Arc<Common>,
    file_bytes: u64,
    in_memory: Option<u64>,
    compressor: Option<Compressor>,
    shards: Vec<Shelf>,
    /// The key of stand-ins, if there are to be any.
    redact: Option<[u64; 2]>,
    shadows: Vec<Option<Shadow>>,
    synced: Instant,
}

/// Where what comes from one shard goes.
#[derive(Default)]
enum Shelf {
    /// Nothing has begun, or nothing can be written for now.
    #[default]
    None,
    File {
        blocks: Blocks,
        file: OpenFile,
    },
    Memory(Ring),
    /// It failed then.
    Failed(Instant),
}

/// The newest files of a shard, of which each is whole by itself.
#[derive(Default)]
struct Ring {
    blocks: Blocks,
    files: VecDeque<InMemory>,
}

struct InMemory {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new(folder: Folder, options: &RecorderOptions, common: Arc<Common>) -> Self {
        let shards: Vec<_> = common.wanted.iter().map(|_| Shelf::None).collect();
        Self {
            folder,
            common,
            file_bytes: options.in_memory.map_or(options.file_bytes, |bytes| bytes / RINGS),
            in_memory: options.in_memory,
            compressor: None,
            redact: options.redact,
            shadows: shards.iter().map(|_| None).collect(),
            shards,
            synced: Instant::now(),
        }
    }

    /// Works until it is told to stop.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        match Compressor::new() {
            Ok(compressor) => self.compressor = Some(compressor),
            Err(error) => return tracing::error!(%error, "nothing can be recorded"),
        }
        loop {
            match orders.recv_timeout(SYNC_INTERVAL) {
                Ok(Order::Piece { shard, piece }) => self.take(shard, piece),
                Ok(Order::Dump { reason, done }) => {
                    let _ = done.send(self.dump(reason));
                }
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.synced.elapsed() >= SYNC_INTERVAL {
                self.sync();
            }
        }
        self.sync();
    }

    fn take(&mut self, shard: usize, piece: Piece) {
        let Some(piece) = self.redacted(shard, piece) else { return };
        if let Some(wanted) = self.take_as_it_is(shard, piece) {
            match self.shadows.get_mut(shard) {
                Some(Some(shadow)) => {
                    if let Some((header, state)) = shadow.next_part(wall_ms(), wanted == Wanted::Torn) {
                        let piece = Piece::Begin { header: Box::new(header), state: Some(state) };
                        self.take_as_it_is(shard, piece);
                    }
                }
                Some(None) | None => self.common.want(shard, wanted),
            }
        }
    }

    /// The piece with stand-ins, if there are to be any; none if it has nothing for a file.
    fn redacted(&mut self, shard: usize, piece: Piece) -> Option<Piece> {
        let Some(key) = self.redact else { return Some(piece) };
        let shadow = self.shadows.get_mut(shard)?;
        let outcome = match (piece, &mut *shadow) {
            (Piece::Begin { header, state: None }, shadow) => {
                let new = shadow.insert(Shadow::new(*header, key));
                return Some(Piece::Begin { header: Box::new(new.header().clone()), state: None });
            }
            (Piece::Steps(steps), Some(shadow)) => {
                let had_strayed = shadow.has_strayed;
                let told = shadow.tell(steps);
                if shadow.has_strayed && !had_strayed {
                    tracing::warn!(
                        shard,
                        "with stand-ins an engine does something else: the recording may not show what happened"
                    );
                }
                told.map(Piece::Steps).map_err(|error| error.to_string())
            }
            (Piece::End, Some(_)) => Ok(Piece::End),
            // What is missing was told to nobody, and the state of the other engine has in it what was really said.
            (Piece::Begin { state: Some(_), .. }, Some(_)) => {
                Err("there was no room for something".to_owned())
            }
            (Piece::Begin { state: Some(_), .. } | Piece::Steps(_) | Piece::End, None) => return None,
        };
        match outcome {
            Ok(piece) => Some(piece),
            Err(error) => {
                tracing::error!(
                    shard,
                    error,
                    "the recording with stand-ins cannot go on: it ends until the server starts anew"
                );
                *shadow = None;
                if let Some(shelf) = self.shards.get_mut(shard) {
                    *shelf = Shelf::None;
                }
                None
            }
        }
    }

    /// Puts a piece where it belongs; gives why another file is to begin, if it is.
    fn take_as_it_is(&mut self, shard: usize, piece: Piece) -> Option<Wanted> {
        let shelf = self.shards.get_mut(shard)?;
        let shelf = std::mem::take(shelf);
        let files_before = shelf.bytes() / self.file_bytes;
        let next = match self.put(shelf, piece) {
            Ok(shelf) => shelf,
            Err(error) => {
                self.common.figures.failures.fetch_add(1, Ordering::Relaxed);
                let seconds = RETRY_INTERVAL.as_secs();
                tracing::error!(shard, %error, "cannot record; what was written is there, and another file is tried in {seconds} s");
                Shelf::Failed(Instant::now())
            }
        };
        // What was on its way when another file was asked for fills this one, too: that is no reason for one more.
        let is_filled = next.bytes() / self.file_bytes > files_before;
        let wanted = match &next {
            Shelf::File { .. } | Shelf::Memory(_) if is_filled => Some(Wanted::Full),
            Shelf::Failed(at) if at.elapsed() >= RETRY_INTERVAL => Some(Wanted::Torn),
            Shelf::File { .. } | Shelf::Memory(_) | Shelf::Failed(_) | Shelf::None => None,
        };
        if let Some(shelf) = self.shards.get_mut(shard) {
            *shelf = next;
        }
        wanted
    }

    fn put(&mut self, shelf: Shelf, piece: Piece) -> io::Result<Shelf> {
        match (piece, shelf) {
            (Piece::Begin { header, state }, shelf) => self.begin(shelf, &header, state.as_deref()),
            (Piece::Steps(steps), shelf) => {
                count(&self.common.figures.raw_bytes, steps.len());
                let shelf = self.append(shelf, Kind::Steps, &steps);
                self.common.put_spare(steps);
                shelf
            }
            (Piece::End, shelf) => match self.append(shelf, Kind::End, &[])? {
                Shelf::File { mut file, .. } => {
                    file.sync()?;
                    Ok(Shelf::None)
                }
                shelf @ (Shelf::None | Shelf::Memory(_) | Shelf::Failed(_)) => Ok(shelf),
            },
        }
    }

    fn begin(&mut self, shelf: Shelf, header: &Header, state: Option<&[u8]>) -> io::Result<Shelf> {
        let path = self.folder.path_of(header);
        let shelf = match (self.in_memory, shelf) {
            (Some(limit_bytes), Shelf::Memory(mut ring)) => {
                ring.make_room(limit_bytes);
                ring.begin(path);
                Shelf::Memory(ring)
            }
            (Some(_), Shelf::None | Shelf::File { .. } | Shelf::Failed(_)) => {
                let mut ring = Ring::default();
                ring.begin(path);
                Shelf::Memory(ring)
            }
            (None, shelf) => {
                if let Shelf::File { mut file, .. } = shelf {
                    file.sync()?;
                }
                self.make_room(self.file_bytes)?;
                Shelf::File { blocks: Blocks::default(), file: OpenFile::create(path)? }
            }
        };
        let begun = shelf.path().map(Path::to_owned);
        let with_header = self.append(shelf, Kind::Header, &header.encode());
        let beginning = match (with_header, state) {
            (Ok(shelf), Some(state)) => {
                self.append(shelf, Kind::State, &State::of_this_build(state).encode())
            }
            (with_header, _) => with_header,
        };
        if let (Err(_), Some(path)) = (&beginning, begun) {
            // Nothing can be replayed from it.
            let _ = std::fs::remove_file(path);
        }
        beginning
    }

    fn make_room(&self, more_bytes: u64) -> io::Result<()> {
        let open: Vec<&Path> = self.shards.iter().filter_map(Shelf::path).collect();
        self.folder.make_room(more_bytes, &open)
    }

    fn append(&mut self, mut shelf: Shelf, kind: Kind, raw: &[u8]) -> io::Result<Shelf> {
        let Some(compressor) = &mut self.compressor else { return Ok(shelf) };
        let written = match &mut shelf {
            Shelf::File { blocks, file } => {
                let bytes = blocks.next(kind, raw, compressor)?;
                file.write(&bytes)?;
                bytes.len()
            }
            Shelf::Memory(ring) => ring.append(kind, raw, compressor)?,
            Shelf::None | Shelf::Failed(_) => 0,
        };
        count(&self.common.figures.written_bytes, written);
        Ok(shelf)
    }

    /// Writes what is in memory to files.
    fn dump(&self, reason: &str) -> io::Result<Vec<PathBuf>> {
        let mut written = Vec::new();
        for shelf in &self.shards {
            let Shelf::Memory(ring) = shelf else { continue };
            for kept in &ring.files {
                let more_bytes = u64::try_from(kept.bytes.len()).unwrap_or(u64::MAX);
                self.folder.make_room(more_bytes, &[])?;
                match std::fs::remove_file(&kept.path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    // It was written before, and is longer now.
                    Ok(()) | Err(_) => {}
                }
                let mut file = OpenFile::create(kept.path.clone())?;
                file.write(&kept.bytes)?;
                file.sync()?;
                written.push(file.path);
            }
        }
        let files = written.len();
        tracing::info!(reason, files, folder = %self.folder.path().display(), "what was recorded in memory is written");
        Ok(written)
    }

    fn sync(&mut self) {
        self.synced = Instant::now();
        for (shard, shelf) in self.shards.iter_mut().enumerate() {
            let Shelf::File { file, .. } = shelf else { continue };
            if let Err(error) = file.sync() {
                self.common.figures.failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!(shard, %error, "cannot record");
                *shelf = Shelf::Failed(Instant::now());
            }
        }
    }
}

impl Shelf {
    /// Of the newest file.
    fn bytes(&self) -> u64 {
        match self {
            Self::File { file, .. } => file.bytes,
            Self::Memory(ring) => ring.newest_bytes(),
            Self::None | Self::Failed(_) => 0,
        }
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Self::File { file, .. } => Some(&file.path),
            Self::None | Self::Memory(_) | Self::Failed(_) => None,
        }
    }
}

impl Ring {
    fn begin(&mut self, path: PathBuf) {
        self.blocks = Blocks::default();
        self.files.push_back(InMemory { path, bytes: Vec::new() });
    }

    /// Forgets the oldest files, so that there is room for one more.
    fn make_room(&mut self, limit_bytes: u64) {
        let limit_bytes = limit_bytes - limit_bytes / RINGS;
        while self.bytes() > limit_bytes && self.files.len() > 1 {
            self.files.pop_front();
        }
    }

    fn append(&mut self, kind: Kind, raw: &[u8], compressor: &mut Compressor) -> io::Result<usize> {
        let bytes = self.blocks.next(kind, raw, compressor)?;
        if let Some(newest) = self.files.back_mut() {
            newest.bytes.extend_from_slice(&bytes);
        }
        Ok(bytes.len())
    }

    fn newest_bytes(&self) -> u64 {
        self.files.back().map_or(0, |file| file.bytes.len() as u64)
    }

    fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes.len() as u64).sum()
    }
}

fn count(figure: &AtomicU64, bytes: usize) {
    figure.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
}
