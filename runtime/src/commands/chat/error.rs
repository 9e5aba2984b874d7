//! Why a chat ends.

use std::{io, sync::Arc, time::Duration};

use super::{InputError, OutputClosed};
use crate::client::{LinkError, StartError, StoreError, TrustError, UrlError};

/// In a pipe: the server must be reached within this time.
pub(super) const REACH_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a chat ended otherwise than its user wanted.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The URL names no server.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The file with the authority to trust cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The operating system failed.
    #[error("cannot {doing}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// What it says.
        source: io::Error,
    },
    /// The client cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The store cannot be opened, or has failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store has failed on the way.
    #[error("the chat has ended")]
    StoreFailed(#[source] Arc<StoreError>),
    /// The server was never reached within the time that a pipe has for it.
    #[error("the server could not be reached within {} s", REACH_TIMEOUT.as_secs())]
    Unreachable(#[source] Option<Arc<LinkError>>),
    /// The server says that it never wants this connection.
    #[error("cannot chat")]
    Unwanted(#[source] Arc<LinkError>),
    /// Another connection of the user took the place of this one, which is a pipe's.
    #[error("{0}")]
    Displaced(&'static str),
    /// Messages were not accepted by the server, or not known to be.
    #[error("not everything was sent; messages that are missing, or may be: {0}")]
    Unsent(usize),
    /// The input cannot be read.
    #[error("cannot read what to send")]
    Input(#[from] InputError),
    /// There is nobody to tell anything.
    #[error(transparent)]
    Output(#[from] OutputClosed),
}
