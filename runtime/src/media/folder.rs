//! The folder that files are in.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use data_url::DataUrl;
use switchboard_engine::{FileKind, FileSource};

use super::kind;

/// The name of the media folder in the data folder.
pub const MEDIA_FOLDER: &str = "media";

/// What ends the name of a file that is not yet whole.
const PART: &str = "part";

/// What a failure's probe writes, in bytes.
const PROBE_BYTES: usize = 64 << 10;

/// Hex digits of a name: 128 bits.
const NAME_DIGITS: usize = 32;

/// The files, by name; cheap to clone. Its calls block on the disk.
#[derive(Clone, Debug)]
pub struct MediaFolder {
    path: PathBuf,
}

/// A file that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Its name: one path component, safe in a URL.
    pub name: Box<str>,
    /// What it is by its first bytes, else by its suffix.
    pub kind: FileKind,
}

/// A file to be served. So that no browser takes it for something else, it has to go out with
/// `X-Content-Type-Options: nosniff`, and with `Content-Disposition: attachment` if it is
/// [`FileKind::Other`].
#[derive(Debug)]
pub struct MediaFile {
    /// Its contents, from the start.
    pub file: File,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// What it is.
    pub kind: FileKind,
}

/// Why a file was not stored.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// There is nothing in it.
    #[error("the file is empty")]
    Empty,
    /// The `data:` URL is none (RFC 2397).
    #[error("the data: URL is malformed")]
    MalformedDataUrl,
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
}

/// Whether this is a file that is not yet whole.
pub(crate) fn is_part(path: &Path) -> bool {
    path.extension() == Some(OsStr::new(PART))
}

impl MediaError {
    /// Whether the file itself is at fault, so that trying again is of no use.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::Empty | Self::MalformedDataUrl => true,
            Self::Name(_) | Self::Disk { .. } => false,
        }
    }
}

impl MediaFolder {
    /// Creates the folder if it is missing, and removes what a crash has left half-written in it.
    pub(super) fn open(data_folder: &Path) -> io::Result<Self> {
        let path = data_folder.join(MEDIA_FOLDER);
        fs::create_dir_all(&path)?;
        for entry in fs::read_dir(&path)? {
            let entry = entry?.path();
            if is_part(&entry) {
                fs::remove_file(entry)?;
            }
        }
        Ok(Self { path })
    }

    /// Stores a file under a name of its own. Whatever the suffix says, the name is harmless.
    ///
    /// # Errors
    /// If the file is refused (see [`MediaError::is_refusal`]), or the disk fails; then nothing is left of it.
    pub fn store(&self, source: &FileSource, suffix: &str) -> Result<StoredFile, MediaError> {
        let decoded;
        let contents = match source {
            FileSource::Bytes(bytes) => bytes.as_ref(),
            FileSource::DataUrl(url) => {
                decoded = decode(url)?;
                decoded.as_slice()
            }
        };
        if contents.is_empty() {
            return Err(MediaError::Empty);
        }
        let file_type = kind::classify(contents, suffix);
        let stem = random_name()?;
        let name = format!("{stem}.{}", file_type.extension);
        let part = self.path.join(format!("{stem}.{PART}"));
        let whole = self.path.join(&name);
        let written = write_part(&part, contents)
            .and_then(|()| fs::rename(&part, &whole).map_err(disk("rename", &part)))
            .and_then(|()| self.sync());
        if let Err(error) = written {
            // Nothing refers to it, so what cannot be removed does no harm beyond its space.
            let _ = (fs::remove_file(&part), fs::remove_file(&whole));
            return Err(error);
        }
        Ok(StoredFile { name: name.into(), kind: file_type.kind })
    }

    /// Opens a file by the name that it was stored under; none if that is no such name, or there is no such
    /// file. No name leads out of the folder.
    ///
    /// # Errors
    /// If there is such a file and it cannot be opened.
    pub fn open_file(&self, name: &str) -> io::Result<Option<MediaFile>> {
        let Some((stem, extension)) = name.split_once('.') else { return Ok(None) };
        let ours = stem.len() == NAME_DIGITS && stem.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let (true, Some(file_type)) = (ours, kind::by_extension(extension)) else { return Ok(None) };
        let file = match File::open(self.path.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let size_bytes = file.metadata()?.len();
        Ok(Some(MediaFile { file, size_bytes, content_type: file_type.content_type, kind: file_type.kind }))
    }

    /// Writes something, and takes it away again.
    pub(super) fn probe(&self) -> Result<(), MediaError> {
        let part = self.path.join(format!("probe.{PART}"));
        let _ = fs::remove_file(&part);
        let written = write_part(&part, &[0; PROBE_BYTES]);
        let removed = fs::remove_file(&part).map_err(disk("remove", &part));
        written.and(removed)
    }

    /// Makes the names in the folder durable.
    fn sync(&self) -> Result<(), MediaError> {
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(disk("sync", &self.path))
    }
}

fn write_part(part: &Path, contents: &[u8]) -> Result<(), MediaError> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).open(part).map_err(disk("create", part))?;
    file.write_all(contents).map_err(disk("write", part))?;
    file.sync_all().map_err(disk("sync", part))
}

fn disk(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MediaError {
    move |source| MediaError::Disk { doing, path: path.to_owned(), source }
}

fn decode(url: &str) -> Result<Vec<u8>, MediaError> {
    let url = DataUrl::process(url).map_err(|_| MediaError::MalformedDataUrl)?;
    url.decode_to_vec().map(|(contents, _)| contents).map_err(|_| MediaError::MalformedDataUrl)
}

fn random_name() -> Result<String, MediaError> {
    let mut random = [0; NAME_DIGITS / 2];
    getrandom::fill(&mut random).map_err(MediaError::Name)?;
    Ok(random.iter().fold(String::with_capacity(NAME_DIGITS), |mut name, byte| {
        // Writing to a string does not fail.
        let _ = write!(name, "{byte:02x}");
        name
    }))
}
