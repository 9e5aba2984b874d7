//! The mark: how many commits there were, in a file beside the database.
//!
//! A database that counts fewer commits than the mark is an older one: somebody has put a copy in its place.
//! The mark follows what is durable and may lag behind it, by a second and by what a crash takes with it; it
//! is never ahead, or else a crash would look like a loss.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The mark's name in the data folder.
pub const MARK_FILE: &str = "switchboard.mark";

/// What the mark is called until it is whole.
const UNFINISHED: &str = "switchboard.mark.new";

/// The mark of a data folder that this process has locked.
#[derive(Debug)]
pub(crate) struct Mark {
    file: PathBuf,
    unfinished: PathBuf,
    /// What the file says; none if there is none, or it says nothing.
    commits: Option<i64>,
    tried: Instant,
    failing: bool,
}

impl Mark {
    /// Reads the mark. One that is missing or unreadable is none: whoever deletes it only loses the warning.
    pub(crate) fn open(folder: &Path) -> Self {
        let file = folder.join(MARK_FILE);
        let commits = read(&file).unwrap_or_else(|error| {
            tracing::warn!(file = %file.display(), %error, "cannot tell whether the database is an older one");
            None
        });
        let unfinished = folder.join(UNFINISHED);
        Self { file, unfinished, commits, tried: Instant::now(), failing: false }
    }

    /// The number of commits that it says there were.
    pub(crate) fn commits(&self) -> Option<i64> {
        self.commits
    }

    /// The time since the last attempt at writing.
    pub(crate) fn age(&self) -> Duration {
        self.tried.elapsed()
    }

    /// Moves the mark to this number, all of which must be durable. A failure is logged and harmless: the
    /// mark lags behind then.
    pub(crate) fn write(&mut self, commits: i64) {
        self.tried = Instant::now();
        if self.commits == Some(commits) {
            return;
        }
        match self.try_write(commits) {
            Ok(()) => {
                self.commits = Some(commits);
                self.failing = false;
            }
            Err(error) => {
                // Once, and not every second that a full disk stays full.
                if !self.failing {
                    tracing::warn!(file = %self.file.display(), %error, "cannot keep the mark of the database");
                }
                self.failing = true;
            }
        }
    }

    /// A crash leaves either the old mark or the new one: the new one is on the disk before it has its name.
    fn try_write(&self, commits: i64) -> io::Result<()> {
        let mut file = File::create(&self.unfinished)?;
        writeln!(file, "{commits}")?;
        file.sync_data()?;
        fs::rename(&self.unfinished, &self.file)
    }
}

fn read(file: &Path) -> io::Result<Option<i64>> {
    match fs::read_to_string(file) {
        Ok(text) => {
            text.trim().parse().map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut mark = Mark::open(folder.path());
        assert_eq!(mark.commits(), None);
        mark.write(7);
        mark.write(12);
        assert_eq!(Mark::open(folder.path()).commits(), Some(12));
        assert!(!folder.path().join(UNFINISHED).exists());
    }

    #[test]
    fn a_mark_that_says_nothing_is_none_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(MARK_FILE), "").unwrap();
        let mut mark = Mark::open(folder.path());
        assert_eq!(mark.commits(), None);
        mark.write(3);
        assert_eq!(Mark::open(folder.path()).commits(), Some(3));
    }

    #[test]
    fn a_mark_that_cannot_be_written_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut mark = Mark::open(folder.path());
        fs::create_dir(folder.path().join(UNFINISHED)).unwrap();
        mark.write(3);
        assert_eq!(mark.commits(), None);
        fs::remove_dir(folder.path().join(UNFINISHED)).unwrap();
        mark.write(3);
        assert_eq!(Mark::open(folder.path()).commits(), Some(3));
    }
}
