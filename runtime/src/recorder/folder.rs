//! The folder of recordings: names, and how much is kept.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use switchboard_engine::recording::Header;

/// What the names of recordings end with.
const EXTENSION: &str = "swr";

/// The folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    total_bytes: u64,
    /// What the names of this run begin with: when it began.
    run: String,
}

impl Folder {
    /// Makes it if there is none.
    pub(super) fn open(path: &Path, total_bytes: u64) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let run = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S.%3fZ").to_string();
        let folder = Self { path: path.to_owned(), total_bytes, run };
        // Whether something can be written is known now, and not with the first message.
        let probe = folder.path.join(format!(".{}", folder.run));
        fs::write(&probe, [])?;
        fs::remove_file(&probe)?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the file with this header goes. Names sort by the begin of the run, the shard, and the part.
    pub(super) fn path_of(&self, header: &Header) -> PathBuf {
        let Header { shard, part, .. } = header;
        self.path.join(format!("{}-shard-{shard}-{part:06}.{EXTENSION}", self.run))
    }

    /// Deletes the oldest files until there is room for so much more; not those that are being written to.
    pub(super) fn make_room(&self, more_bytes: u64, open: &[&Path]) -> io::Result<()> {
        let mut files = Vec::new();
        let mut sum = more_bytes;
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != EXTENSION) {
                continue;
            }
            let about = match entry.metadata() {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                about => about?,
            };
            sum = sum.saturating_add(about.len());
            if !open.contains(&path.as_path()) {
                files.push((about.modified()?, path, about.len()));
            }
        }
        files.sort();
        for (_, path, len) in files {
            if sum <= self.total_bytes {
                break;
            }
            tracing::info!(file = %path.display(), "recordings have come to their limit: the oldest one is deleted");
            fs::remove_file(&path)?;
            sum -= len;
        }
        Ok(())
    }
}
