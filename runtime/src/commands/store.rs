//! `switchboard store`: what an operator does with a store that no server runs on.

use std::path::Path;

use super::folder::{self, NoDatabase};
use crate::{
    cli::StoreCommand,
    store::{DataFolder, OpenError, rebuild_search, renew_epochs},
};

/// Why a store command failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store could not be opened; [`OpenError::InUse`] if a server runs on it.
    #[error("cannot open the store")]
    Open(#[from] OpenError),
    /// There is nothing in the data folder.
    #[error(transparent)]
    NoDatabase(#[from] NoDatabase),
}

/// Carries out a store command on a data folder; gives the text to print.
///
/// # Errors
/// If there is no database, a server runs on it, or it cannot be opened or written.
pub fn store(data: &Path, command: &StoreCommand) -> Result<String, StoreError> {
    folder::check(data)?;
    match command {
        StoreCommand::NewEpochs => {
            let conversations = renew_epochs(&DataFolder::lock(data)?)?;
            Ok(format!("new epochs: {conversations}; clients will fetch these conversations again\n"))
        }
        StoreCommand::RebuildSearch => {
            let messages = rebuild_search(&DataFolder::lock(data)?)?;
            Ok(format!("the index for searching is new; messages in it: {messages}\n"))
        }
    }
}
