//! A recording: the files of one engine, one after the other.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use switchboard_engine::recording::Header;

use super::file::{Placed, ReadError, Reader, SavedState, is_recording};

/// A part of a recording.
#[derive(Debug)]
pub enum Piece {
    /// A file begins.
    Begin {
        /// Which.
        path: PathBuf,
        /// What it begins with.
        header: Box<Header>,
        /// The engine's state, if it is not the engine's first file.
        state: Option<SavedState>,
    },
    /// A step.
    Step(Placed),
}

/// The files of one engine, in their order.
#[derive(Debug)]
pub struct Recording {
    header: Header,
    rest: VecDeque<PathBuf>,
    current: Option<Reader>,
    is_begun: bool,
    next_part: u32,
    has_ended: bool,
}

impl Recording {
    /// The recordings in these files, and in the files of these folders: one for each engine, in the order of their
    /// shards and times.
    ///
    /// # Errors
    /// If a file cannot be read, is no recording, or is damaged at its beginning; if a folder has none in it. A file of a folder
    /// that is no recording is passed over, and one that was cut off before there was a step in it.
    pub fn open(paths: &[PathBuf]) -> Result<Vec<Self>, ReadError> {
        let mut engines = BTreeMap::<_, Vec<(u32, PathBuf)>>::new();
        for path in paths {
            let is_folder = path.is_dir();
            let mut cut_off = None;
            for file in files(path)? {
                match Reader::open(&file) {
                    Ok(reader) => {
                        let Header { shard, seed, part, .. } = *reader.header();
                        // An engine's seed names it: it is from the system's randomness.
                        engines.entry((shard, seed)).or_default().push((part, file));
                    }
                    Err(error) if is_folder && error.is_cut_off() => cut_off = Some(error),
                    Err(error) => return Err(error),
                }
            }
            // What the folder has in it, if that is all.
            if let Some(error) = cut_off.filter(|_| engines.is_empty()) {
                return Err(error);
            }
        }
        let mut recordings = Vec::new();
        for mut parts in engines.into_values() {
            parts.sort();
            let (first, path) = parts.remove(0);
            let current = Reader::open(&path)?;
            let rest = parts.into_iter().map(|(_, path)| path).collect();
            recordings.push(Self {
                header: current.header().clone(),
                rest,
                current: Some(current),
                is_begun: false,
                next_part: first,
                has_ended: false,
            });
        }
        recordings.sort_by_key(|recording| (recording.header.wall_ms, recording.header.shard));
        Ok(recordings)
    }

    /// What its first file begins with.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Its files, in their order, as long as nothing was read of it.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let first = self.current.as_ref().map(|reader| reader.path().to_owned());
        first.into_iter().chain(self.rest.iter().cloned()).collect()
    }

    /// Whether the end was read that an engine writes that has stopped in order.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The next part; none at the end.
    ///
    /// # Errors
    /// What is wrong with what follows. Nothing behind it is read, as the engine is not what it was then any more.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, ReadError> {
        loop {
            let Some(reader) = &mut self.current else {
                let Some(path) = self.rest.pop_front() else { return Ok(None) };
                self.current = Some(self.stopped_by(|| Reader::open(&path))?);
                self.is_begun = false;
                continue;
            };
            if !self.is_begun {
                let (path, found) = (reader.path().to_owned(), reader.header().part);
                if found != self.next_part {
                    let expected = self.next_part;
                    return self.stopped_by(|| Err(ReadError::PartMissing { path, expected, found }));
                }
                (self.is_begun, self.next_part) = (true, found + 1);
                let (header, state) = (Box::new(reader.header().clone()), reader.take_state());
                return Ok(Some(Piece::Begin { path, header, state }));
            }
            match reader.next_step() {
                Ok(Some(placed)) => return Ok(Some(Piece::Step(placed))),
                Ok(None) => {
                    self.has_ended = reader.has_ended();
                    self.current = None;
                }
                Err(error) => return self.stopped_by(|| Err(error)),
            }
        }
    }

    /// Reads nothing more if this fails.
    fn stopped_by<T>(&mut self, read: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
        let read = read();
        if read.is_err() {
            self.rest.clear();
            self.current = None;
        }
        read
    }
}

/// The files that a path means, in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>, ReadError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let io = |source| ReadError::Io { path: path.to_owned(), source };
    let entries = std::fs::read_dir(path).map_err(io)?.collect::<Result<Vec<_>, _>>().map_err(io)?;
    let mut files: Vec<_> =
        entries.into_iter().map(|entry| entry.path()).filter(|path| is_recording(path)).collect();
    files.sort();
    if files.is_empty() {
        return Err(ReadError::Empty { path: path.to_owned() });
    }
    Ok(files)
}
