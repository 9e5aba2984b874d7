//! Files in a folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::files::{MediaError, PART, is_part};
use super::objects::{Chunk, Listed, Objects};

/// What a failure's probe writes, in bytes.
const PROBE_BYTES: usize = 64 << 10;

/// A folder in which each file has its name.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
}

impl Disk {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }
}

impl Objects for Disk {
    fn keep(&self, name: &str, from: &Path) -> Result<(), MediaError> {
        File::open(from).and_then(|file| file.sync_all()).map_err(disk("sync", from))?;
        let whole = self.folder.join(name);
        fs::rename(from, &whole).map_err(disk("rename", from))?;
        if let Err(error) = sync(&self.folder) {
            // Nobody is told of it, so what cannot be removed does no harm beyond its space.
            let _ = fs::remove_file(&whole);
            return Err(error);
        }
        Ok(())
    }

    fn read(&self, name: &str, at: u64, most: usize) -> Result<Option<Chunk>, MediaError> {
        let path = self.folder.join(name);
        let Some(mut file) = present(File::open(&path)).map_err(disk("open", &path))? else {
            return Ok(None);
        };
        let mut read = || {
            let size_bytes = file.metadata()?.len();
            file.seek(SeekFrom::Start(at))?;
            let mut bytes = Vec::new();
            let most = u64::try_from(most).unwrap_or(u64::MAX);
            Read::take(&mut file, most).read_to_end(&mut bytes)?;
            Ok(Chunk { bytes, size_bytes })
        };
        read().map(Some).map_err(disk("read", &path))
    }

    fn size(&self, name: &str) -> Result<Option<u64>, MediaError> {
        let path = self.folder.join(name);
        let found = present(fs::metadata(&path)).map_err(disk("look at", &path))?;
        Ok(found.map(|metadata| metadata.len()))
    }

    fn remove(&self, name: &str) -> Result<(), MediaError> {
        let path = self.folder.join(name);
        present(fs::remove_file(&path)).map_err(disk("remove", &path)).map(drop)
    }

    fn list(&self, each: &mut dyn FnMut(Listed)) -> Result<(), MediaError> {
        let failed = |source| disk("read", &self.folder)(source);
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (Ok(name), path) = (entry.file_name().into_string(), entry.path()) else { continue };
            // It may have gone meanwhile.
            let Some(metadata) = present(entry.metadata()).map_err(disk("look at", &path))? else { continue };
            if !metadata.is_file() || is_part(&path) {
                continue;
            }
            let written = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let written_at_ms = written.and_then(|since| i64::try_from(since.as_millis()).ok());
            each(Listed { name, size_bytes: metadata.len(), written_at_ms });
        }
        Ok(())
    }

    fn probe(&self) -> Result<(), MediaError> {
        let part = self.folder.join(format!("probe.{PART}"));
        let _ = fs::remove_file(&part);
        let written = write(&part, &[0; PROBE_BYTES]);
        let removed = present(fs::remove_file(&part)).map_err(disk("remove", &part)).map(drop);
        written.and(removed)
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.join(name))
    }
}

fn write(part: &Path, contents: &[u8]) -> Result<(), MediaError> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).open(part).map_err(disk("create", part))?;
    file.write_all(contents).map_err(disk("write", part))?;
    file.sync_all().map_err(disk("sync", part))
}

/// Makes the names in a folder durable.
fn sync(folder: &Path) -> Result<(), MediaError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(disk("sync", folder))
}

/// What was found; none if there is no such file.
pub(super) fn present<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn disk(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MediaError {
    move |source| MediaError::Disk { doing, path: path.to_owned(), source }
}
