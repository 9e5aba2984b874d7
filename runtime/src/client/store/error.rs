//! What goes wrong with a client's store.

use std::{error::Error, path::PathBuf};

use switchboard_engine::UserId;

/// Why a store cannot be opened, read or written. The message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another client has the file open.
    #[error("the client's store {} is in use by another client: close that one, or use another file", .file.display())]
    InUse {
        /// Which.
        file: PathBuf,
    },
    /// The file is not an SQLite database.
    #[error("{} is not a client's store: use another file", .file.display())]
    NotADatabase {
        /// Which.
        file: PathBuf,
    },
    /// The file is a database of some other program.
    #[error("{} is a database of another program: use another file", .file.display())]
    Foreign {
        /// Which.
        file: PathBuf,
    },
    /// The store was written by a newer version of this program.
    #[error(
        "the client's store {} has version {found}, and this program knows versions up to {known}: \
         use a newer program, or another file",
        .file.display()
    )]
    Newer {
        /// Which.
        file: PathBuf,
        /// Its version.
        found: i32,
        /// The newest version that this build knows.
        known: i32,
    },
    /// The store belongs to another user.
    #[error("this store is {owner}'s, and not {user}'s: each user needs one of their own")]
    OtherUser {
        /// Whose it is.
        owner: UserId,
        /// Who wants it.
        user: UserId,
    },
    /// The database is damaged.
    #[error(
        "the client's store {} is damaged: move it away; a new one fetches everything from the server again, \
         but messages that waited to be sent are lost",
        .file.display()
    )]
    Damaged {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The store's thread has ended: it could not be started, or the store has panicked.
    #[error("the thread of the client's store has ended")]
    Thread,
    /// Anything else.
    #[error("cannot {doing} the client's store")]
    Failed {
        /// What was being done to it.
        doing: &'static str,
        /// What went wrong.
        source: Box<dyn Error + Send + Sync>,
    },
}
