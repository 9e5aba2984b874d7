//! The data folder that a command is about.

use std::path::{Path, PathBuf};

use crate::store::DATABASE_FILE;

/// There is no database in a data folder.
#[derive(Debug, thiserror::Error)]
#[error("there is no database in the data folder {}: name the server's folder with --data", .folder.display())]
pub struct NoDatabase {
    /// Which.
    pub folder: PathBuf,
}

/// Looks whether a server has had this folder: a command that is about what is there makes no new one.
pub(super) fn check(data: &Path) -> Result<(), NoDatabase> {
    if data.join(DATABASE_FILE).exists() { Ok(()) } else { Err(NoDatabase { folder: data.to_owned() }) }
}
