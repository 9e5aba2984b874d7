//! The bytes of one file, on a disk or in memory.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use switchboard_engine::recording::file::{Block, Codec, Kind, prefix};

/// Puts a file's blocks one behind the other.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    number: u32,
}

impl Blocks {
    /// The bytes of the next block, and of all that is before the first one.
    pub(super) fn next(
        &mut self,
        kind: Kind,
        raw: &[u8],
        compressor: &mut Compressor,
    ) -> io::Result<Vec<u8>> {
        let packed = compressor.0.compress(raw)?;
        let (codec, payload) =
            if packed.len() < raw.len() { (Codec::Zstd, packed.as_slice()) } else { (Codec::None, raw) };
        let raw_len = u32::try_from(raw.len()).map_err(|_| too_large())?;
        let head =
            Block { kind, codec, number: self.number, raw_len, payload }.head().ok_or_else(too_large)?;
        let mut bytes = Vec::with_capacity(head.len() + payload.len() + 16);
        if self.number == 0 {
            bytes.extend_from_slice(&prefix());
        }
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(payload);
        self.number += 1;
        Ok(bytes)
    }
}

/// Zstandard at its fastest level that still looks for matches.
pub(super) struct Compressor(zstd::bulk::Compressor<'static>);

impl Compressor {
    pub(super) fn new() -> io::Result<Self> {
        zstd::bulk::Compressor::new(1).map(Self)
    }
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "the state of the engine is larger than a block may be")
}

/// A file that is written to.
#[derive(Debug)]
pub(super) struct OpenFile {
    file: File,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    is_synced: bool,
}

impl OpenFile {
    /// A new file that nobody else can read: all that was said is in it.
    pub(super) fn create(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        sync_folder(&path)?;
        Ok(Self { file, path, bytes: 0, is_synced: true })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        self.is_synced = false;
        Ok(())
    }

    /// What is written is there after a crash.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if !self.is_synced {
            self.file.sync_data()?;
            self.is_synced = true;
        }
        Ok(())
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
