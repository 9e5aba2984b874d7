//! `switchboard backup`: a copy of a data folder, whether a server runs on it or not.

use std::{
    fs::{self, DirBuilder, File},
    io,
    path::{Path, PathBuf},
};

use super::folder::{self, NoDatabase};
use crate::{
    media::{MEDIA_FOLDER, is_part},
    store::{DATABASE_FILE, Inspector, OpenError},
};

/// What a backup is called until it is whole.
const UNFINISHED: &str = "unfinished";

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is nothing in the data folder.
    #[error(transparent)]
    NoDatabase(#[from] NoDatabase),
    /// There is something already where the backup is to be.
    #[error("{} exists, and nothing is overwritten: name a folder that does not", .path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// The database could not be read, or its copy not be written.
    #[error("cannot copy the database")]
    Database(#[from] OpenError),
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

/// Copies the database, as of one moment, and the uploaded files of a data folder to a folder that does not exist; gives the text to
/// print. The folder has its name once all of it is whole and on the disk.
///
/// # Errors
/// If there is no database, the folder exists, or something cannot be read or written. Nothing is left of a copy that failed.
pub fn backup(data: &Path, target: &Path) -> Result<String, BackupError> {
    folder::check(data)?;
    let mut name = target.as_os_str().to_owned();
    name.push(format!(".{UNFINISHED}"));
    let unfinished = PathBuf::from(name);
    for path in [target, &unfinished] {
        if path.symlink_metadata().is_ok() {
            return Err(BackupError::Exists { path: path.to_owned() });
        }
    }
    create_folder(&unfinished)?;
    let done = fill(data, &unfinished).and_then(|files| {
        fs::rename(&unfinished, target).map_err(disk("rename", &unfinished)).map(|()| files)
    });
    let files = match done {
        Ok(files) => files,
        Err(error) => {
            // Without its name it is no backup, so what cannot be removed does no harm beyond its space.
            let _ = fs::remove_dir_all(&unfinished);
            return Err(error);
        }
    };
    sync(target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
    Ok(explain(data, target, files))
}

/// The database first: the files that its messages name are older than they are. Gives the number of files.
fn fill(data: &Path, folder: &Path) -> Result<u64, BackupError> {
    let database = folder.join(DATABASE_FILE);
    Inspector::open(data)?.copy_to(&database)?;
    sync(&database)?;
    let files = copy_media(&data.join(MEDIA_FOLDER), &folder.join(MEDIA_FOLDER))?;
    sync(folder)?;
    Ok(files)
}

fn copy_media(from: &Path, to: &Path) -> Result<u64, BackupError> {
    create_folder(to)?;
    let entries = match fs::read_dir(from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(source) => return Err(disk("read", from)(source)),
    };
    let mut files = 0;
    for entry in entries {
        let entry = entry.map_err(disk("read", from))?;
        let path = entry.path();
        // What is being written has no message yet.
        if is_part(&path) || !entry.file_type().map_err(disk("look at", &path))?.is_file() {
            continue;
        }
        let copy = to.join(entry.file_name());
        match fs::copy(&path, &copy) {
            Ok(_) => {}
            // Its message was recalled meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(disk("copy", &path)(source)),
        }
        sync(&copy)?;
        files += 1;
    }
    sync(to)?;
    Ok(files)
}

/// It has what people have said to each other, so it is its owner's alone.
fn create_folder(path: &Path) -> Result<(), BackupError> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(disk("create", path))
}

/// A folder's names are durable when the folder is synced.
fn sync(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(disk("sync", path))
}

fn disk(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    move |source| BackupError::Disk { doing, path: path.to_owned(), source }
}

fn explain(data: &Path, target: &Path, files: u64) -> String {
    let (data, target) = (data.display(), target.display());
    format!(
        "backed up {data} to {target}: the database and {files} uploaded files\n\
         To restore it: stop the server, move {data} away, copy {target} to {data}, and before the server starts run\n  \
         switchboard store new-epochs --data {data}\n\
         so that clients fetch again what they have of conversations that have lost something.\n"
    )
}
