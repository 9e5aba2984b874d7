//! `switchboard export` and `switchboard import`: all of a server's data, or one user's, as lines of JSON and files in a tar.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, BufWriter, IsTerminal as _, Read, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::folder::{self, NoDatabase};
use crate::{
    config::Config,
    media::{Kept, MediaError, MediaOpenError, S3Error, type_of},
    store::{
        DataFolder, ExportError, ExportOf, Imported, LineError, OpenError, Taking, give_lines, open_locked,
    },
};

/// The version of the format that is written, and the newest that is read.
const FORMAT: u32 = 1;

/// The parts of an export, in their order.
const MANIFEST: &str = "switchboard-export.json";
const LINES: &str = "data.jsonl";
const FILES: &str = "media/";
const END: &str = "end.json";

/// Bytes of the first and the last part, and of one line.
const PART_LIMIT_BYTES: u64 = 64 << 10;
const LINE_LIMIT_BYTES: u64 = 64 << 20;

/// How many lines or files lie between two words about them.
const PROGRESS: u64 = 1_000;

/// What an export says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    /// Whose data; none for everybody's.
    user: Option<String>,
    with_passwords: bool,
}

/// What it has, so that one that was cut off is noticed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    lines: u64,
    files: u64,
}

/// Why there is no export, or nothing was taken in.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// There is nothing in the data folder.
    #[error(transparent)]
    NoDatabase(#[from] NoDatabase),
    /// There is something already where the export is to be.
    #[error("{} exists, and nothing is overwritten: name a file that does not", .path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// The database cannot be exported.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The data folder cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The files cannot be reached.
    #[error(transparent)]
    Files(#[from] MediaOpenError),
    /// There is no key for the bucket.
    #[error(transparent)]
    Bucket(#[from] S3Error),
    /// A file cannot be read or kept.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The database fails.
    #[error("cannot write the database")]
    Database(#[from] rusqlite::Error),
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
    /// It is no export, or not a whole one.
    #[error("{} is no whole export: {reason}; nothing was taken in", .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It was written by a newer build.
    #[error("{} has format {found}, and this build reads formats up to {FORMAT}: use a newer build", .path.display())]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It is one user's, which is for reading.
    #[error("{} has the data of the user {user} alone, which is for reading: only a whole export is taken in", .path.display())]
    OneUsers {
        /// Which.
        path: PathBuf,
        /// Whose.
        user: String,
    },
    /// A line cannot be taken in.
    #[error("{}, line {number} of {LINES}: nothing was taken in", .path.display())]
    Line {
        /// In which export.
        path: PathBuf,
        /// Which.
        number: u64,
        /// Why.
        source: LineError,
    },
}

type Result<T> = std::result::Result<T, TransferError>;

fn disk(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TransferError {
    move |source| TransferError::Disk { doing, path: path.to_owned(), source }
}

/// Files that are removed when they are not wanted any more.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Renamed, if all went well.
        let _ = fs::remove_file(&self.0);
    }
}

impl Unfinished {
    /// A new file beside another one, its owner's alone.
    fn beside(target: &Path, suffix: &str) -> Result<(Self, File)> {
        let mut name = target.as_os_str().to_owned();
        name.push(suffix);
        let path = PathBuf::from(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(&path) {
            Ok(file) => Ok((Self(path), file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(TransferError::Exists { path }),
            Err(source) => Err(disk("create", &path)(source)),
        }
    }
}

/// Words about what is going on, on a terminal.
struct Progress {
    is_shown: bool,
    what: &'static str,
    count: u64,
}

impl Progress {
    fn of(what: &'static str) -> Self {
        Self { is_shown: io::stderr().is_terminal(), what, count: 0 }
    }

    fn step(&mut self) {
        self.count += 1;
        if self.is_shown && self.count.is_multiple_of(PROGRESS) {
            let _ = write!(io::stderr(), "\r{} {}", self.count, self.what);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown && self.count >= PROGRESS {
            let _ = writeln!(io::stderr(), "\r{} {}", self.count, self.what);
        }
    }
}

/// Writes an export to a file that does not exist; gives the text to print. A server may run meanwhile.
///
/// # Errors
/// If there is no database or user, the file exists, or something cannot be read or written. Nothing is left of an export that failed.
pub fn export(config: &Config, target: &Path, of: &ExportOf) -> Result<String> {
    folder::check(&config.data)?;
    if target.symlink_metadata().is_ok() {
        return Err(TransferError::Exists { path: target.to_owned() });
    }
    let bucket = config.media.bucket()?;
    let kept = Kept::open(&config.data, bucket.as_ref())?;
    let (lines_path, lines_file) = Unfinished::beside(target, ".lines")?;
    let (tar_path, tar_file) = Unfinished::beside(target, ".unfinished")?;
    let mut writer = BufWriter::new(lines_file);
    let (mut progress, mut lines) = (Progress::of("lines"), 0);
    let names = give_lines(&config.data, of, |line| {
        lines += 1;
        progress.step();
        writer.write_all(line.as_bytes())?;
        writer.write_all(b"\n")
    })?;
    drop(progress);
    writer.flush().map_err(disk("write", &lines_path.0))?;
    let failed = |source| disk("write", &tar_path.0)(source);
    let mut tar = tar::Builder::new(BufWriter::new(tar_file));
    let manifest = Manifest {
        format: FORMAT,
        user: of.user.as_ref().map(ToString::to_string),
        with_passwords: of.with_passwords,
    };
    append_json(&mut tar, MANIFEST, &manifest).map_err(failed)?;
    let lines_file = File::open(&lines_path.0).map_err(disk("read", &lines_path.0))?;
    let size = lines_file.metadata().map_err(disk("look at", &lines_path.0))?.len();
    append(&mut tar, LINES, size, lines_file).map_err(failed)?;
    let (mut progress, mut files, mut missing) = (Progress::of("files"), 0, 0);
    for name in names {
        match kept.open_file(&name)? {
            Some(file) => {
                append(&mut tar, &format!("{FILES}{name}"), file.size_bytes(), file).map_err(failed)?;
                files += 1;
            }
            None => missing += 1,
        }
        progress.step();
    }
    drop(progress);
    append_json(&mut tar, END, &End { lines, files }).map_err(failed)?;
    let written =
        tar.into_inner().and_then(|writer| writer.into_inner().map_err(io::IntoInnerError::into_error));
    written.and_then(|file| file.sync_all()).map_err(failed)?;
    fs::rename(&tar_path.0, target).map_err(disk("rename", &tar_path.0))?;
    let mut text = format!("exported {lines} lines and {files} files to {}\n", target.display());
    if missing > 0 {
        text +=
            &format!("{missing} files that the database knows of are not there: see `switchboard doctor`\n");
    }
    Ok(text)
}

fn append_json(
    tar: &mut tar::Builder<BufWriter<File>>,
    name: &str,
    value: &impl Serialize,
) -> io::Result<()> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    append(tar, name, u64::try_from(text.len()).unwrap_or(u64::MAX), text.as_slice())
}

/// With nothing in the header that is not of the data.
fn append(tar: &mut tar::Builder<BufWriter<File>>, name: &str, size: u64, from: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(0);
    // A file that has become shorter would leave all that follows out of step.
    let mut counted = from.take(size);
    tar.append_data(&mut header, name, &mut counted)?;
    if counted.limit() == 0 { Ok(()) } else { Err(io::Error::other(format!("{name} has become shorter"))) }
}

/// Takes an export into a data folder on which no server runs; gives the text to print. What is there already stays as it is.
///
/// # Errors
/// If it is no whole export, contradicts what is there, or cannot be written. Nothing was taken in then.
pub fn import(config: &Config, source: &Path) -> Result<String> {
    let file = File::open(source).map_err(disk("read", source))?;
    let bucket = config.media.bucket()?;
    let folder = DataFolder::lock(&config.data)?;
    let mut connection = open_locked(&folder)?;
    let kept = Kept::open(&config.data, bucket.as_ref())?;
    let mut new_files = Vec::new();
    let taking = Taking::begin(&mut connection)?;
    match take_all(source, file, taking, &kept, &mut new_files) {
        Ok((taken, files)) => Ok(format!(
            "imported {}: {} new lines and {files} new files; {} lines were here already\n",
            source.display(),
            taken.new,
            taken.known
        )),
        Err(error) => {
            for name in new_files {
                kept.remove(&name)?;
            }
            Err(error)
        }
    }
}

fn take_all(
    source: &Path,
    file: File,
    mut taking: Taking<'_>,
    kept: &Kept,
    new_files: &mut Vec<String>,
) -> Result<(Imported, usize)> {
    let damaged = |reason: String| TransferError::Damaged { path: source.to_owned(), reason };
    let broken = |error: io::Error| damaged(error.to_string());
    let mut archive = tar::Archive::new(BufReader::new(file));
    let (mut seen, mut end, mut part) = (End { lines: 0, files: 0 }, None, 0_u64);
    let mut progress = Progress::of("files");
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        match (part, name.as_str()) {
            (0, MANIFEST) => check_manifest(source, &json(&mut entry).map_err(broken)?)?,
            (0, _) => return Err(damaged(format!("it begins with {name:?}, not with {MANIFEST}"))),
            (1, LINES) => seen.lines = take_lines(source, &mut entry, &mut taking)?,
            (2.., END) if end.is_none() => end = Some(json::<End>(&mut entry).map_err(broken)?),
            (2.., _)
                if end.is_none() && name.strip_prefix(FILES).is_some_and(|name| type_of(name).is_some()) =>
            {
                let name = name.trim_start_matches(FILES);
                let size = entry.size();
                if kept.keep_if_new(name, &mut entry, size).map_err(TransferError::Media)? {
                    new_files.push(name.to_owned());
                }
                seen.files += 1;
                progress.step();
            }
            _ => return Err(damaged(format!("{name:?} does not belong there"))),
        }
        part += 1;
    }
    match end {
        Some(end) if end == seen => Ok((taking.finish()?, new_files.len())),
        Some(end) => Err(damaged(format!("it says that it has {end:?}, and has {seen:?}"))),
        None => Err(damaged("its end is missing".to_owned())),
    }
}

fn json<T: serde::de::DeserializeOwned>(entry: &mut impl Read) -> io::Result<T> {
    let mut text = Vec::new();
    entry.take(PART_LIMIT_BYTES).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn check_manifest(source: &Path, manifest: &Manifest) -> Result<()> {
    if manifest.format > FORMAT {
        return Err(TransferError::Newer { path: source.to_owned(), found: manifest.format });
    }
    match &manifest.user {
        Some(user) => Err(TransferError::OneUsers { path: source.to_owned(), user: user.clone() }),
        None => Ok(()),
    }
}

fn take_lines(source: &Path, entry: &mut impl Read, taking: &mut Taking<'_>) -> Result<u64> {
    let damaged = |reason: String| TransferError::Damaged { path: source.to_owned(), reason };
    let (mut reader, mut progress) = (BufReader::new(entry), Progress::of("lines"));
    let mut text = String::new();
    loop {
        text.clear();
        let read = (&mut reader).take(LINE_LIMIT_BYTES).read_line(&mut text);
        let bytes = read.map_err(|error| damaged(format!("line {}: {error}", progress.count + 1)))?;
        if bytes == 0 {
            return Ok(progress.count);
        }
        progress.step();
        let number = progress.count;
        if !text.ends_with('\n') {
            return Err(damaged(format!("line {number} has no end")));
        }
        taking.line(&text).map_err(|error| TransferError::Line {
            path: source.to_owned(),
            number,
            source: error,
        })?;
    }
}
