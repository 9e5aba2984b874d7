//! Where whole files are kept, by name: a folder, or a bucket.

use std::fmt;
use std::path::{Path, PathBuf};

use super::MediaError;

/// A place for files. A file is kept whole, never changed, and known by a name that is never used twice. The calls block: on the
/// disk, or on another server, for a bounded time.
pub(super) trait Objects: fmt::Debug + Send + Sync {
    /// Keeps what is in the file at `from`, which may be moved away for it. It is durable, and whole, when this returns; after
    /// a failure nothing of it is there to be found, or all.
    fn keep(&self, name: &str, from: &Path) -> Result<(), MediaError>;

    /// At most `most` bytes from a place on, which is within the file; none if there is no such file.
    fn read(&self, name: &str, at: u64, most: usize) -> Result<Option<Chunk>, MediaError>;

    /// How large a file is, in bytes; none if there is no such file.
    fn size(&self, name: &str) -> Result<Option<u64>, MediaError>;

    /// Removes a file. It is no failure if there is none.
    fn remove(&self, name: &str) -> Result<(), MediaError>;

    /// Tells of every file, in any order.
    fn list(&self, each: &mut dyn FnMut(Listed)) -> Result<(), MediaError>;

    /// Whether files can be kept: keeps something, and removes it.
    fn probe(&self) -> Result<(), MediaError>;

    /// Where a file of this name is on this machine; none if it would be elsewhere.
    fn path(&self, name: &str) -> Option<PathBuf>;
}

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The bytes, not empty.
    pub bytes: Vec<u8>,
    /// The size of the whole file.
    pub size_bytes: u64,
}

/// A file as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// When it was written, in milliseconds since 1970, as far as that is known.
    pub written_at_ms: Option<i64>,
}
