//! Files as they are kept, for who copies them: nothing is written in the books.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::MediaOpenError;
use super::disk::{Disk, disk, present};
use super::files::{MEDIA_FOLDER, MediaError, MediaFile, PART};
use super::objects::Objects;
use super::s3::{S3, S3Options};

/// The files of a data folder, or of a bucket.
#[derive(Debug)]
pub(crate) struct Kept {
    objects: Arc<dyn Objects>,
    spool: PathBuf,
}

impl Kept {
    pub(crate) fn open(data: &Path, bucket: Option<&S3Options>) -> Result<Self, MediaOpenError> {
        let spool = data.join(MEDIA_FOLDER);
        let objects: Arc<dyn Objects> = match bucket {
            Some(bucket) => Arc::new(S3::new(bucket)?),
            None => Arc::new(Disk::new(spool.clone())),
        };
        Ok(Self { objects, spool })
    }

    /// Tells of every file.
    pub(super) fn objects(&self) -> &dyn Objects {
        &*self.objects
    }

    /// A file, to be read from its begin; none if there is no such file.
    pub(crate) fn open_file(&self, name: &str) -> Result<Option<MediaFile>, MediaError> {
        MediaFile::open(&self.objects, name)
    }

    /// Keeps a file of this size, unless there is one of this name already; says whether it has.
    pub(crate) fn keep_if_new(
        &self,
        name: &str,
        from: &mut impl Read,
        size: u64,
    ) -> Result<bool, MediaError> {
        if self.objects.size(name)?.is_some() {
            return Ok(false);
        }
        fs::create_dir_all(&self.spool).map_err(disk("create", &self.spool))?;
        let path = self.spool.join(format!("{name}.{PART}"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(disk("create", &path))?;
        let copied = io::copy(from, &mut file).and_then(|bytes| {
            if bytes == size { Ok(()) } else { Err(io::Error::other("it ends too early")) }
        });
        let kept = copied.map_err(disk("write", &path)).and_then(|()| self.objects.keep(name, &path));
        // It may have been moved away.
        let removed = present(fs::remove_file(&path)).map_err(disk("remove", &path)).map(drop);
        kept.and(removed).map(|()| true)
    }

    /// Removes a file. It is no failure if there is none.
    pub(crate) fn remove(&self, name: &str) -> Result<(), MediaError> {
        self.objects.remove(name)
    }
}
