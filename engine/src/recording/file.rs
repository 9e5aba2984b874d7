//! What is around the steps of a recording on a disk: blocks that each say how long they are and what their bytes add up to.
//!
//! ```text
//! file  = magic, version: u32, block...
//! block = kind: u8, codec: u8, 0: u16, number: u32, len: u32, raw_len: u32, crc: u32, payload
//! ```
//!
//! Numbers are little-endian. Blocks are numbered from 0; the first one is the header, and a file that goes on where another one has
//! ended has the engine's state behind it. `crc` is CRC-32 (IEEE 802.3) over the rest of the
//! block's head and the payload; `raw_len` is the payload's length before it was compressed. A file that a crash has cut
//! off is whole up to the last block that is.

use core::fmt;

/// The first bytes of a file. Like those of PNG, they break if somebody takes the file for text.
pub const MAGIC: [u8; 8] = *b"\x89SWR\r\n\x1a\n";

/// The version of the frame that this module reads and writes.
pub const VERSION: u32 = 1;

/// Bytes of a file before its first block.
pub const PREFIX_BYTES: usize = MAGIC.len() + size_of::<u32>();

/// Bytes of a block before its payload.
pub const HEAD_BYTES: usize = 20;

/// The most bytes that a block may have, before and after it was compressed.
pub const BLOCK_LIMIT_BYTES: u32 = 1 << 30;

/// What a block has in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A [`Header`](super::Header). The first block, and no other one.
    Header,
    /// The [`State`](super::State) in which the steps behind it find the engine. The second block of a file that goes on where another
    /// one has ended, and of no other one.
    State,
    /// Steps, as an [`Encoder`](super::Encoder) gives them. No step is cut in two.
    Steps,
    /// Nothing: the engine has stopped in order, and this is all.
    End,
}

/// How a payload was compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// It was not.
    None,
    /// As one frame of Zstandard (RFC 8878).
    Zstd,
}

/// What is wrong with a file, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileError {
    /// The byte at which what is wrong begins; all before it is right.
    pub offset: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// What can be wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no recording.
    Foreign,
    /// A newer version has written it.
    Newer(u32),
    /// It ends within a block.
    Cut,
    /// The bytes of a block are not those that were written.
    Damaged,
    /// A block is missing, or another one is here.
    OutOfOrder {
        /// The number of the block that should be here.
        expected: u32,
        /// The number of the one that is.
        found: u32,
    },
    /// A block of a kind, or compressed in a way, that this version does not know.
    Unknown(u8),
    /// A block is larger than any that is written.
    TooLarge(u32),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: ", self.offset)?;
        match self.fault {
            Fault::Foreign => f.write_str("this is no recording of a server"),
            Fault::Newer(version) => {
                write!(f, "a newer version has written this, in format {version}; this one reads {VERSION}")
            }
            Fault::Cut => f.write_str("the file ends within a block: its end was never written, or is lost"),
            Fault::Damaged => f.write_str("the block is damaged: its checksum is wrong"),
            Fault::OutOfOrder { expected, found } => {
                write!(f, "block {expected} is missing: block {found} follows")
            }
            Fault::Unknown(what) => write!(f, "a newer version has written this block, of kind {what}"),
            Fault::TooLarge(len) => {
                write!(f, "a block of {len} bytes, where at most {BLOCK_LIMIT_BYTES} are written")
            }
        }
    }
}

impl core::error::Error for FileError {}

/// What a file begins with.
#[must_use]
pub fn prefix() -> [u8; PREFIX_BYTES] {
    let mut prefix = [0; PREFIX_BYTES];
    let (magic, version) = prefix.split_at_mut(MAGIC.len());
    magic.copy_from_slice(&MAGIC);
    version.copy_from_slice(&VERSION.to_le_bytes());
    prefix
}

/// Whether a file that begins so is one of this version.
///
/// # Errors
/// If it is no recording, or of a newer version.
pub fn check_prefix(prefix: [u8; PREFIX_BYTES]) -> Result<(), FileError> {
    let fault = |fault| FileError { offset: 0, fault };
    let (magic, version) = prefix.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(fault(Fault::Foreign));
    }
    match version.first_chunk().map_or(0, |version| u32::from_le_bytes(*version)) {
        VERSION => Ok(()),
        newer => Err(fault(Fault::Newer(newer))),
    }
}

/// A block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// What it has in it.
    pub kind: Kind,
    /// How it was compressed.
    pub codec: Codec,
    /// Its place in the file, from 0.
    pub number: u32,
    /// Bytes of the payload before it was compressed.
    pub raw_len: u32,
    /// The payload.
    pub payload: &'a [u8],
}

impl Block<'_> {
    /// The bytes to write before the payload; none if the block is too large.
    #[must_use]
    pub fn head(&self) -> Option<[u8; HEAD_BYTES]> {
        let len = u32::try_from(self.payload.len()).ok().filter(|len| *len <= BLOCK_LIMIT_BYTES)?;
        let kind = match self.kind {
            Kind::Header => 1,
            Kind::Steps => 2,
            Kind::End => 3,
            Kind::State => 4,
        };
        let codec = match self.codec {
            Codec::None => 0,
            Codec::Zstd => 1,
        };
        let mut head = [0; HEAD_BYTES];
        let (rest, crc) = head.split_at_mut(HEAD_BYTES - size_of::<u32>());
        for (place, byte) in rest.iter_mut().zip(
            [kind, codec, 0, 0]
                .into_iter()
                .chain(self.number.to_le_bytes())
                .chain(len.to_le_bytes())
                .chain(self.raw_len.to_le_bytes()),
        ) {
            *place = byte;
        }
        crc.copy_from_slice(&checksum(rest, self.payload).to_le_bytes());
        Some(head)
    }
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

/// The blocks of a file, one after the other, until its end or to where something is wrong.
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    file: &'a [u8],
    offset: usize,
    number: u32,
}

impl<'a> Blocks<'a> {
    /// The blocks of the file with these bytes.
    ///
    /// # Errors
    /// If it is no recording, or of a newer version.
    pub fn of(file: &'a [u8]) -> Result<Self, FileError> {
        let fault = |fault| FileError { offset: 0, fault };
        if !file.starts_with(&MAGIC) {
            return Err(fault(Fault::Foreign));
        }
        let Some(prefix) = file.first_chunk() else { return Err(fault(Fault::Cut)) };
        check_prefix(*prefix)?;
        Ok(Self { file, offset: PREFIX_BYTES, number: 0 })
    }

    /// Where the next block begins.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The next block; none at the end of the file.
    ///
    /// # Errors
    /// If what follows is no whole block, or not the one that belongs here.
    pub fn next_block(&mut self) -> Result<Option<Block<'a>>, FileError> {
        let offset = u64::try_from(self.offset).unwrap_or(u64::MAX);
        let fault = |fault| FileError { offset, fault };
        let rest = self.file.get(self.offset..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let Some((head, rest)) = rest.split_first_chunk() else { return Err(fault(Fault::Cut)) };
        let head = Head::read(*head).map_err(fault)?;
        let Some(payload) = rest.get(..head.len_bytes()) else { return Err(fault(Fault::Cut)) };
        let block = head.block(self.number, payload).map_err(fault)?;
        self.offset += HEAD_BYTES + payload.len();
        self.number += 1;
        Ok(Some(block))
    }
}

/// What is before a block's payload: for who reads a file piece by piece.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    bytes: [u8; HEAD_BYTES],
    len: u32,
}

impl Head {
    /// The head with these bytes. Whether they are right, [`Head::block`] says.
    ///
    /// # Errors
    /// If no block is as large as it says.
    pub fn read(bytes: [u8; HEAD_BYTES]) -> Result<Self, Fault> {
        let head = Self { bytes, len: word(&bytes, 8) };
        let large = [head.len, head.raw_len()].into_iter().find(|len| *len > BLOCK_LIMIT_BYTES);
        large.map_or(Ok(head), |len| Err(Fault::TooLarge(len)))
    }

    /// Bytes of the payload, which follows.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        usize::try_from(self.len).unwrap_or(usize::MAX)
    }

    fn raw_len(&self) -> u32 {
        word(&self.bytes, 12)
    }

    /// The block with this payload, which has to be the one of this number.
    ///
    /// # Errors
    /// If it is damaged, another one, or of a newer version.
    pub fn block<'a>(&self, expected: u32, payload: &'a [u8]) -> Result<Block<'a>, Fault> {
        let (covered, _) = self.bytes.split_at(HEAD_BYTES - size_of::<u32>());
        if checksum(covered, payload) != word(&self.bytes, 16) {
            return Err(Fault::Damaged);
        }
        let number = word(&self.bytes, 4);
        if number != expected {
            return Err(Fault::OutOfOrder { expected, found: number });
        }
        let [kind, codec, ..] = self.bytes;
        let kind = match kind {
            1 => Kind::Header,
            2 => Kind::Steps,
            3 => Kind::End,
            4 => Kind::State,
            other => return Err(Fault::Unknown(other)),
        };
        let codec = match codec {
            0 => Codec::None,
            1 => Codec::Zstd,
            other => return Err(Fault::Unknown(other)),
        };
        Ok(Block { kind, codec, number, raw_len: self.raw_len(), payload })
    }
}

/// The little-endian number at this place.
fn word(bytes: &[u8; HEAD_BYTES], at: usize) -> u32 {
    let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
