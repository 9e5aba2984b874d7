//! The files, wherever they are kept.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use data_url::DataUrl;
use switchboard_engine::{Denial, FileKind, FileSource, UserId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::disk::{Disk, disk, present};
use super::kind;
use super::objects::{Chunk, Listed, Objects};
use super::part::PartFile;
use super::thumbnails::{self, PictureError};
use crate::accounts::Pool;
use crate::store::{DataFolder, FileBooks, FoundFile, OpenError};

/// The name of the media folder in the data folder.
pub const MEDIA_FOLDER: &str = "media";

/// What ends the name of a file that is not yet whole.
pub(super) const PART: &str = "part";

/// Hex digits of a name: 128 bits.
const NAME_DIGITS: usize = 32;

/// Bytes that are read at a time, and asked for at a time where the files are elsewhere.
pub const CHUNK_BYTES: usize = 1 << 20;

/// Files that are downloaded from elsewhere at once: each has a few chunks in memory.
const READERS: usize = 128;

/// The files, by name; cheap to clone. Its calls block on the disk, or on the server that has the files.
#[derive(Clone, Debug)]
pub struct Files {
    /// The folder in which files are until they are whole.
    spool: PathBuf,
    objects: Arc<dyn Objects>,
    /// None once the server has stopped.
    books: Arc<Mutex<Option<FileBooks>>>,
    allowance: Allowance,
    /// Threads that unpack pictures.
    images: Arc<Pool<()>>,
    /// Places for those who download files that are elsewhere.
    readers: Arc<Semaphore>,
}

/// What users may have, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    /// Bytes of all files of one user; 0: there is no limit.
    pub(super) user_bytes: u64,
    /// How long a file may be there without anything that refers to it.
    pub(super) unused: Duration,
    /// Whether files that nobody knows of can be nobody else's.
    pub(super) is_ours: bool,
}

/// A file that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Its name: one path component, safe in a URL.
    pub name: Box<str>,
    /// What it is by its first bytes, else by its suffix.
    pub kind: FileKind,
}

/// What a file is by its name. So that no browser takes it for something else, it has to go out with
/// `X-Content-Type-Options: nosniff`, and with `Content-Disposition: attachment` if it is [`FileKind::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedType {
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// What it is.
    pub kind: FileKind,
}

/// A file to be read from its begin to its end.
#[derive(Debug)]
pub struct MediaFile {
    objects: Arc<dyn Objects>,
    name: String,
    chunk: Chunk,
    /// What was read of the chunk.
    taken: usize,
    /// Where the chunk ends in the file.
    at: u64,
}

/// Why a file was not stored, or not found out about.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// There is nothing in it.
    #[error("the file is empty")]
    Empty,
    /// It is of a kind that is not wanted.
    #[error("the file is of another kind than is wanted here")]
    WrongKind,
    /// The `data:` URL is none (RFC 2397).
    #[error("the data: URL is malformed")]
    MalformedDataUrl,
    /// With it, its owner's files would have more bytes than they may.
    #[error("{0}")]
    Quota(Denial),
    /// It is no picture that can be unpacked.
    #[error("{0}")]
    Picture(#[from] PictureError),
    /// As many pictures wait to be unpacked as may.
    #[error("too many pictures wait already")]
    Busy,
    /// The books on files cannot be read or written.
    #[error("cannot keep the books on files")]
    Books(#[from] rusqlite::Error),
    /// The server stops.
    #[error("the server stops")]
    Stopped,
    /// The system gave no random bytes for a name.
    #[error("cannot make up a name for a file")]
    Name(#[source] getrandom::Error),
    /// The disk failed.
    #[error("cannot {doing} {}", .path.display())]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The server that keeps the files failed, or does not do what it is asked.
    #[error("cannot {doing} {what}")]
    Bucket {
        /// What was being done.
        doing: &'static str,
        /// To what.
        what: String,
        /// Why it was not done.
        source: super::s3::Trouble,
    },
}

impl MediaError {
    /// Whether the file itself is at fault, so that trying again is of no use.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::Empty | Self::WrongKind | Self::MalformedDataUrl | Self::Quota(_) | Self::Picture(_) => {
                true
            }
            Self::Name(_)
            | Self::Disk { .. }
            | Self::Bucket { .. }
            | Self::Books(_)
            | Self::Stopped
            | Self::Busy => false,
        }
    }

    /// Whether another try may go well although nobody has changed anything.
    pub(crate) const fn is_passing(&self) -> bool {
        match self {
            Self::Bucket { source, .. } => source.is_passing(),
            Self::Empty
            | Self::WrongKind
            | Self::MalformedDataUrl
            | Self::Quota(_)
            | Self::Name(_)
            | Self::Disk { .. }
            | Self::Books(_)
            | Self::Stopped
            | Self::Picture(_)
            | Self::Busy => false,
        }
    }
}

/// Whether this is a file that is not yet whole.
pub(crate) fn is_part(path: &Path) -> bool {
    path.extension() == Some(OsStr::new(PART))
}

/// What a file of this name is; none if that is no name that the server gives. No such name leads out of a folder.
#[must_use]
pub fn type_of(name: &str) -> Option<NamedType> {
    let (stem, extension) = name.split_once('.')?;
    let ours = stem.len() == NAME_DIGITS && stem.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let found = kind::by_extension(extension).filter(|_| ours)?;
    Some(NamedType { content_type: found.content_type, kind: found.kind })
}

impl Files {
    /// Creates the folder in which files are until they are whole if it is missing, and removes what a crash has left in it.
    /// Whole files are in it as well, if they are not elsewhere.
    pub(super) fn open(
        data_folder: &DataFolder,
        elsewhere: Option<Arc<dyn Objects>>,
        allowance: Allowance,
    ) -> Result<Self, OpenError> {
        let spool = data_folder.path().join(MEDIA_FOLDER);
        clear(&spool).map_err(|source| OpenError::Folder { folder: spool.clone(), source })?;
        let books = FileBooks::open(data_folder)?;
        Ok(Self {
            objects: elsewhere.unwrap_or_else(|| Arc::new(Disk::new(spool.clone()))),
            spool,
            books: Arc::new(Mutex::new(Some(books))),
            allowance,
            images: Arc::new(Self::start_images().map_err(OpenError::Thread)?),
            readers: Arc::new(Semaphore::new(READERS)),
        })
    }

    /// Has somebody look at the books.
    pub(super) fn with_books<T>(
        &self,
        code: impl FnOnce(&mut FileBooks) -> rusqlite::Result<T>,
    ) -> Result<T, MediaError> {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(code(books.as_mut().ok_or(MediaError::Stopped)?)?)
    }

    /// Closes the books: nothing is stored or removed any more.
    pub(super) fn close(&self) {
        self.images.stop();
        drop(self.books.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Enters those of the files that are not in the books.
    pub(super) fn adopt(&self, found: &[FoundFile]) -> Result<usize, MediaError> {
        let Allowance { is_ours, unused, .. } = self.allowance;
        self.with_books(|books| books.adopt(found, is_ours, millis(unused)))
    }

    /// Removes a file, whatever the books say. It is no failure if there is none.
    pub(super) fn remove_object(&self, name: &str) -> Result<(), MediaError> {
        // The file first: who finds it gone makes nothing of it any more.
        self.objects.remove(name)?;
        if type_of(name).is_some_and(|named| named.kind == FileKind::Image) {
            thumbnails::remove_all(&*self.objects, name)?;
        }
        Ok(())
    }

    pub(super) fn objects(&self) -> Arc<dyn Objects> {
        Arc::clone(&self.objects)
    }

    pub(super) fn images(&self) -> Arc<Pool<()>> {
        Arc::clone(&self.images)
    }

    /// Has something written to the disk, done with the file, and the file removed.
    pub(super) fn spooled(
        spool: &Path,
        bytes: &[u8],
        done: impl FnOnce(&Path) -> Result<(), MediaError>,
    ) -> Result<(), MediaError> {
        let path = spool.join(format!("{}.{PART}", random_name()?));
        let written = fs::write(&path, bytes).map_err(disk("write", &path)).and_then(|()| done(&path));
        // It may have been moved away.
        let removed = present(fs::remove_file(&path)).map_err(disk("remove", &path)).map(drop);
        written.and(removed)
    }

    pub(super) const fn allowance(&self) -> Allowance {
        self.allowance
    }

    pub(super) fn spool(&self) -> PathBuf {
        self.spool.clone()
    }

    /// Stores a file of a user under a name of its own. Whatever the suffix says, the name is harmless.
    ///
    /// # Errors
    /// If the file is refused (see [`MediaError::is_refusal`]), or cannot be kept; then nothing is left of it.
    pub fn store(&self, source: &FileSource, suffix: &str, owner: &UserId) -> Result<StoredFile, MediaError> {
        let decoded;
        let contents = match source {
            FileSource::Bytes(bytes) => bytes.as_ref(),
            FileSource::DataUrl(url) => {
                decoded = decode(url)?;
                decoded.as_slice()
            }
        };
        let mut part = self.begin()?;
        part.write(contents)?;
        part.finish_any(suffix, owner)
    }

    /// Begins a file that comes in parts.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn begin(&self) -> Result<PartFile, MediaError> {
        PartFile::begin(self.clone())
    }

    /// Where a file of this name is on this machine; none if files are elsewhere, or that is no such name. Whether there is
    /// such a file is not looked at.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        type_of(name).and_then(|_| self.objects.path(name))
    }

    /// A part of a file, from a place on that is within it, of at most [`CHUNK_BYTES`]; none if there is no such file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self, name: &str, at: u64, most: usize) -> Result<Option<Chunk>, MediaError> {
        match type_of(name) {
            Some(_) => self.objects.read(name, at, most.clamp(1, CHUNK_BYTES)),
            None => Ok(None),
        }
    }

    /// A file, to be read from its begin; none if there is no such file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open_file(&self, name: &str) -> Result<Option<MediaFile>, MediaError> {
        match type_of(name) {
            Some(_) => MediaFile::open(&self.objects, name),
            None => Ok(None),
        }
    }

    /// How large a file is; none if there is no such file.
    ///
    /// # Errors
    /// If that cannot be found out.
    pub fn size(&self, name: &str) -> Result<Option<u64>, MediaError> {
        match type_of(name) {
            Some(_) => self.objects.size(name),
            None => Ok(None),
        }
    }

    /// Has a file removed that nobody was told of.
    pub fn discard(&self, name: &str) {
        // What cannot be noted now is noticed when its time has come.
        if let Err(error) = self.with_books(|books| books.postpone(name, 0)) {
            tracing::warn!(%error, name, "a file that nobody was told of is removed later");
        }
    }

    /// Tells of every file that has a name of the server's, in any order.
    ///
    /// # Errors
    /// If they cannot be listed; some may have been told then.
    pub fn list(&self, mut each: impl FnMut(Listed)) -> Result<(), MediaError> {
        self.objects.list(&mut |listed| {
            if type_of(&listed.name).is_some() {
                each(listed);
            }
        })
    }

    /// A place for somebody who downloads a file that is elsewhere; none if there is no room for more.
    pub(crate) fn reader_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.readers).try_acquire_owned().ok()
    }

    /// Whether files can be kept: keeps something, and removes it.
    pub(crate) fn probe(&self) -> Result<(), MediaError> {
        self.objects.probe()
    }
}

impl MediaFile {
    pub(super) fn open(objects: &Arc<dyn Objects>, name: &str) -> Result<Option<Self>, MediaError> {
        let found = objects.read(name, 0, CHUNK_BYTES)?;
        Ok(found.map(|chunk| {
            let at = u64::try_from(chunk.bytes.len()).unwrap_or(u64::MAX);
            Self { objects: Arc::clone(objects), name: name.to_owned(), chunk, taken: 0, at }
        }))
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.chunk.size_bytes
    }
}

impl Read for MediaFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.chunk.bytes.len() {
            if self.at >= self.chunk.size_bytes {
                return Ok(0);
            }
            let next = self.objects.read(&self.name, self.at, CHUNK_BYTES).map_err(io::Error::other)?;
            let next = next.filter(|chunk| !chunk.bytes.is_empty());
            self.chunk = next.ok_or_else(|| io::Error::other("the file has gone, or has become shorter"))?;
            self.taken = 0;
            self.at += u64::try_from(self.chunk.bytes.len()).unwrap_or(u64::MAX);
        }
        let rest = self.chunk.bytes.get(self.taken..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
        }
        self.taken += count;
        Ok(count)
    }
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Makes a folder if it is missing, and removes what is half-written in it.
fn clear(spool: &Path) -> io::Result<()> {
    fs::create_dir_all(spool)?;
    for entry in fs::read_dir(spool)? {
        let entry = entry?.path();
        if is_part(&entry) {
            fs::remove_file(entry)?;
        }
    }
    Ok(())
}

fn decode(url: &str) -> Result<Vec<u8>, MediaError> {
    let url = DataUrl::process(url).map_err(|_| MediaError::MalformedDataUrl)?;
    url.decode_to_vec().map(|(contents, _)| contents).map_err(|_| MediaError::MalformedDataUrl)
}

pub(super) fn random_name() -> Result<String, MediaError> {
    let mut random = [0; NAME_DIGITS / 2];
    getrandom::fill(&mut random).map_err(MediaError::Name)?;
    Ok(random.iter().fold(String::with_capacity(NAME_DIGITS), |mut name, byte| {
        // Writing to a string does not fail.
        let _ = write!(name, "{byte:02x}");
        name
    }))
}
