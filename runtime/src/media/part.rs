//! Files on their way in.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use switchboard_engine::{Denial, FileKind, UserId};

use super::disk::{disk, present};
use super::files::{Allowance, Files, MediaError, PART, StoredFile, millis, random_name};
use super::kind;
use crate::accounts::Pool;
use crate::store::NewFile;

/// Bytes that say what a file is; the longest signature is within them.
const HEAD_BYTES: usize = 8 << 10;

/// A file that comes in parts. Dropped before it is finished, nothing is left of it. Its calls block on the disk.
#[derive(Debug)]
pub struct PartFile {
    files: Files,
    stem: String,
    path: PathBuf,
    file: File,
    /// The first bytes, which say what it is.
    head: Vec<u8>,
    bytes: u64,
}

impl PartFile {
    pub(super) fn begin(files: Files) -> Result<Self, MediaError> {
        let stem = random_name()?;
        let path = files.spool().join(format!("{stem}.{PART}"));
        let file =
            OpenOptions::new().write(true).create_new(true).open(&path).map_err(disk("create", &path))?;
        Ok(Self { files, stem, path, file, head: Vec::new(), bytes: 0 })
    }

    /// Appends to it.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn write(&mut self, part: &[u8]) -> Result<(), MediaError> {
        let missing = HEAD_BYTES.saturating_sub(self.head.len());
        self.head.extend(part.iter().take(missing));
        self.bytes = self.bytes.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
        self.file.write_all(part).map_err(disk("write", &self.path))
    }

    /// How many bytes it has by now.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn images(&self) -> Arc<Pool<()>> {
        self.files.images()
    }

    /// Whether its first bytes say that it is of this kind.
    pub(super) fn check_kind(&self, wanted: FileKind) -> Result<kind::FileType, MediaError> {
        // Without a suffix: what the client says of it does not count.
        let file_type = self.classify("")?;
        if file_type.kind == wanted { Ok(file_type) } else { Err(MediaError::WrongKind) }
    }

    fn classify(&self, suffix: &str) -> Result<kind::FileType, MediaError> {
        if self.head.is_empty() { Err(MediaError::Empty) } else { Ok(kind::classify(&self.head, suffix)) }
    }

    /// Makes it a user's file with a name, if its first bytes say that it is of this kind.
    ///
    /// # Errors
    /// If it is refused (see [`MediaError::is_refusal`]), or cannot be kept; then nothing is left of it.
    pub fn finish(self, wanted: FileKind, owner: &UserId) -> Result<StoredFile, MediaError> {
        let file_type = self.check_kind(wanted)?;
        self.keep(file_type, owner)
    }

    /// Makes it a user's file with a name, whatever it is by its first bytes, else by this suffix. Whatever the suffix says, the
    /// name is harmless.
    ///
    /// # Errors
    /// As [`PartFile::finish`].
    pub fn finish_any(self, suffix: &str, owner: &UserId) -> Result<StoredFile, MediaError> {
        let file_type = self.classify(suffix)?;
        self.keep(file_type, owner)
    }

    fn keep(self, file_type: kind::FileType, owner: &UserId) -> Result<StoredFile, MediaError> {
        let name = format!("{}.{}", self.stem, file_type.extension);
        let Allowance { user_bytes, unused, .. } = self.files.allowance();
        let new = NewFile {
            name: &name,
            owner,
            bytes: self.bytes,
            kind: file_type.kind,
            unused_ms: millis(unused),
            quota_bytes: user_bytes,
        };
        // Before the file is there: no crash leaves one that nobody knows of.
        if !self.files.with_books(|books| books.enter(&new))? {
            return Err(MediaError::Quota(Denial::FilesFull { limit_bytes: user_bytes }));
        }
        if let Err(error) = self.files.objects().keep(&name, &self.path) {
            self.files.discard(&name);
            return Err(error);
        }
        Ok(StoredFile { name: name.into(), kind: file_type.kind })
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // What was kept may have been moved away.
        if let Err(error) = present(fs::remove_file(&self.path)) {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove what is left of an upload");
        }
    }
}
