//! One file of a recording, read block by block: what is before a damaged place is given, and then what is wrong and where.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use switchboard_engine::Instant;
use switchboard_engine::recording::{
    Decoder, Header, State, Step,
    file::{Codec, Fault, FileError, HEAD_BYTES, Head, Kind, MAGIC, PREFIX_BYTES, check_prefix},
};

/// Why a recording cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system does not give it.
    #[error("reading {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is no recording, damaged, cut off, or of a newer version.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        source: FileError,
    },
    /// It ends before anything that was told is in it.
    #[error("{path}: at byte {offset}: {what}")]
    Beginning {
        /// The file.
        path: PathBuf,
        /// Where it ends.
        offset: u64,
        /// What is not there.
        what: &'static str,
    },
    /// A block has something else in it than it should.
    #[error("{path}: at byte {offset}: {what}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Where the block begins.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A file of the recording is missing.
    #[error("{path}: part {expected} of this engine's files is missing, part {found} is here")]
    PartMissing {
        /// The file that is here.
        path: PathBuf,
        /// The part that should be.
        expected: u32,
        /// The one that is.
        found: u32,
    },
    /// There is no recording in a folder.
    #[error("there is no recording of a server in {path}")]
    Empty {
        /// The folder.
        path: PathBuf,
    },
}

impl ReadError {
    /// Whether the file was cut off, by a crash or for want of room.
    #[must_use]
    pub const fn is_cut_off(&self) -> bool {
        match self {
            Self::File { source, .. } => matches!(source.fault, Fault::Cut),
            Self::Beginning { .. } => true,
            Self::Io { .. } | Self::Content { .. } | Self::PartMissing { .. } | Self::Empty { .. } => false,
        }
    }
}

/// The state that a file begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedState {
    /// The build whose state it is.
    pub build: String,
    /// The state.
    pub bytes: Vec<u8>,
}

/// A step, and where it is.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Its time.
    pub at: Instant,
    /// Where its block begins, in the file.
    pub offset: u64,
    /// The step.
    pub step: Step,
}

/// A place between two steps of a file, from which it can be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Where a block begins, and its number.
    offset: u64,
    number: u32,
    /// The time of the last step before the block.
    now: Instant,
    /// Steps of the block that are before the place.
    steps: u32,
}

/// Whether a file begins like a recording.
#[must_use]
pub fn is_recording(path: &Path) -> bool {
    let mut begin = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut begin));
    read.is_ok() && begin == MAGIC
}

/// A file that is being read.
pub struct Reader {
    path: PathBuf,
    input: Box<dyn Read + Send>,
    header: Header,
    state: Option<SavedState>,
    /// Where the next block begins.
    offset: u64,
    number: u32,
    decoder: Decoder,
    /// Where the block begins that is being decoded.
    block_offset: u64,
    mark: Mark,
    has_ended: bool,
}

impl core::fmt::Debug for Reader {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Reader")
            .field("path", &self.path)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

/// A block with its payload as it was before it was compressed.
struct Block {
    kind: Kind,
    offset: u64,
    payload: Vec<u8>,
}

impl Reader {
    /// Opens a file and reads what it begins with.
    ///
    /// # Errors
    /// If it cannot be read, is no recording, or damaged at its beginning.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
        Self::of(path, Box::new(BufReader::new(file)))
    }

    /// Reads what another source gives; `path` is what errors call it.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn of(path: &Path, mut input: Box<dyn Read + Send>) -> Result<Self, ReadError> {
        let file_error =
            |fault| ReadError::File { path: path.to_owned(), source: FileError { offset: 0, fault } };
        let begin = take(&mut *input, PREFIX_BYTES as u64)
            .map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
        let prefix = begin.as_slice().try_into().map_err(|_| {
            let is_ours = begin.starts_with(&MAGIC);
            file_error(if is_ours { Fault::Cut } else { Fault::Foreign })
        })?;
        check_prefix(prefix).map_err(|source| ReadError::File { path: path.to_owned(), source })?;
        let offset = PREFIX_BYTES as u64;
        let mut reader = Self::from(path, input, Mark { offset, number: 0, now: Instant::ZERO, steps: 0 });
        reader.read_beginning()?;
        Ok(reader)
    }

    /// Opens a file that was read up to there, and goes on; what it begins with is not read again.
    ///
    /// # Errors
    /// If it cannot be read, or is another file by now.
    pub fn open_at(path: &Path, mark: &Mark) -> Result<Self, ReadError> {
        let io = |source| ReadError::Io { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(io)?;
        file.seek(SeekFrom::Start(mark.offset)).map_err(io)?;
        let mut reader = Self::from(path, Box::new(BufReader::new(file)), Mark { steps: 0, ..*mark });
        for _ in 0..mark.steps {
            reader.next_step()?;
        }
        Ok(reader)
    }

    fn from(path: &Path, input: Box<dyn Read + Send>, mark: Mark) -> Self {
        Self {
            path: path.to_owned(),
            input,
            header: nothing(),
            state: None,
            offset: mark.offset,
            number: mark.number,
            decoder: Decoder::new(mark.now),
            block_offset: 0,
            mark,
            has_ended: false,
        }
    }

    /// Where the next step is.
    #[must_use]
    pub const fn mark(&self) -> Mark {
        self.mark
    }

    fn read_beginning(&mut self) -> Result<(), ReadError> {
        let Some(block) = self.next_block()? else {
            return Err(self.beginning("nothing follows"));
        };
        if block.kind != Kind::Header {
            return Err(self.content(block.offset, "the first block is not the header"));
        }
        self.header =
            Header::decode(&block.payload).map_err(|error| self.content(block.offset, &error.to_string()))?;
        self.decoder = Decoder::new(self.header.started_at);
        if self.header.part > 0 {
            let Some(block) = self.next_block()? else {
                return Err(self.beginning("the engine's state is missing"));
            };
            if block.kind != Kind::State {
                return Err(self.content(block.offset, "the engine's state is not behind the header"));
            }
            let state = State::decode(&block.payload)
                .map_err(|error| self.content(block.offset, &error.to_string()))?;
            self.state = Some(SavedState { build: state.build.to_owned(), bytes: state.bytes.to_vec() });
        }
        self.mark = self.mark_here();
        Ok(())
    }

    /// Where the next block begins.
    const fn mark_here(&self) -> Mark {
        Mark { offset: self.offset, number: self.number, now: self.decoder.now(), steps: 0 }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file begins with.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Takes the state that it begins with, if it is not the engine's first file.
    pub const fn take_state(&mut self) -> Option<SavedState> {
        self.state.take()
    }

    /// Whether the end was read that an engine writes that has stopped in order.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The next step; none at the end of the file.
    ///
    /// # Errors
    /// What is wrong with what follows. Nothing behind it is read.
    pub fn next_step(&mut self) -> Result<Option<Placed>, ReadError> {
        loop {
            let offset = self.block_offset;
            match self.decoder.step() {
                Ok(Some((at, step))) => {
                    self.mark.steps += 1;
                    return Ok(Some(Placed { at, offset, step }));
                }
                Ok(None) => {}
                Err(error) => {
                    self.decoder.feed(bytes::Bytes::new());
                    self.has_ended = true;
                    return Err(self.content(offset, &error.to_string()));
                }
            }
            if self.has_ended {
                return Ok(None);
            }
            let mark = self.mark_here();
            let Some(block) = self.next_block()? else { return Ok(None) };
            match block.kind {
                Kind::Steps => {
                    self.mark = mark;
                    self.block_offset = block.offset;
                    self.decoder.feed(block.payload.into());
                }
                Kind::End => self.has_ended = true,
                Kind::Header | Kind::State => {
                    self.has_ended = true;
                    return Err(
                        self.content(block.offset, "a file has one beginning, and this is another one")
                    );
                }
            }
        }
    }

    fn next_block(&mut self) -> Result<Option<Block>, ReadError> {
        let read = self.read_block();
        if read.is_err() {
            // Nothing behind it can be told from garbage.
            self.has_ended = true;
        }
        read
    }

    fn read_block(&mut self) -> Result<Option<Block>, ReadError> {
        let (path, offset) = (self.path.clone(), self.offset);
        let io = |source| ReadError::Io { path: path.clone(), source };
        let fault = |fault| ReadError::File { path: path.clone(), source: FileError { offset, fault } };
        let head = take(&mut *self.input, HEAD_BYTES as u64).map_err(io)?;
        if head.is_empty() {
            return Ok(None);
        }
        let head = head.as_slice().try_into().map_err(|_| fault(Fault::Cut))?;
        let head = Head::read(head).map_err(fault)?;
        let payload = take(&mut *self.input, head.len_bytes() as u64).map_err(io)?;
        if payload.len() < head.len_bytes() {
            return Err(fault(Fault::Cut));
        }
        let block = head.block(self.number, &payload).map_err(fault)?;
        let (kind, codec, raw_len) = (block.kind, block.codec, block.raw_len as usize);
        let payload = match codec {
            Codec::None => payload,
            // It is not believed how long it becomes, before it has.
            Codec::Zstd => {
                zstd::bulk::decompress(&payload, raw_len.min(decompressed_limit(payload.len())))
                    .map_err(|error| self.content(offset, &format!("cannot be decompressed: {error}")))?
            }
        };
        if payload.len() != raw_len {
            return Err(self.content(offset, "is not as long as it says"));
        }
        self.offset += (HEAD_BYTES + head.len_bytes()) as u64;
        self.number += 1;
        Ok(Some(Block { kind, offset, payload }))
    }

    fn beginning(&self, what: &'static str) -> ReadError {
        ReadError::Beginning { path: self.path.clone(), offset: self.offset, what }
    }

    fn content(&self, offset: u64, what: &str) -> ReadError {
        ReadError::Content { path: self.path.clone(), offset, what: what.to_owned() }
    }
}

/// The most bytes that so many compressed ones can become: blocks of 128 KiB, each of which takes four bytes at least (RFC 8878
/// sections 3.1.1.2.2 and 3.1.1.2.4).
const fn decompressed_limit(len: usize) -> usize {
    (len / 4 + 1).saturating_mul(128 << 10)
}

/// As many bytes as that, or as there are; never more room than for those that there are.
fn take(input: &mut dyn Read, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Until the real one is read.
fn nothing() -> Header {
    Header {
        program: String::new(),
        build: String::new(),
        shard: 0,
        shards: 0,
        wall_ms: 0,
        started_at: Instant::ZERO,
        seed: 0,
        part: 0,
        config: switchboard_engine::ServerConfig::default(),
        is_redacted: false,
    }
}
