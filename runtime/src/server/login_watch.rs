//! Notices logins that have ended, whichever process has ended them, and has their connections closed.

use std::{
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::authority::Authority;
use crate::store::{Directory, DirectoryError};

/// How often it looks: one look-up in an index each.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Logins that one look takes; the rest follows at once.
const LOOK_LIMIT: u32 = 256;

/// Why it cannot be looked.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginWatchError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("cannot start the thread that looks which logins have ended")]
    Thread(#[from] io::Error),
}

/// The thread that looks. Without it, the looking ends.
#[derive(Debug)]
pub(super) struct LoginWatch {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LoginWatch {
    /// Starts looking for what ends from now on: of before, no connection is left.
    pub(super) fn start(directory: Directory, authority: Authority) -> Result<Self, LoginWatchError> {
        let mut seen = directory.last_ended()?;
        let (stop, stopped) = sync_channel(0);
        let thread = thread::Builder::new()
            .name("logins".to_owned())
            .spawn(move || watch(&directory, &authority, &mut seen, &stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Ends the thread, and closes its connection to the database; blocks until then.
    pub(super) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of it was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for LoginWatch {
    fn drop(&mut self) {
        self.stop();
    }
}

fn watch(directory: &Directory, authority: &Authority, seen: &mut i64, stopped: &Receiver<()>) {
    let mut is_failing = false;
    while stopped.recv_timeout(LOOK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
        match look(directory, authority, seen) {
            Ok(()) => is_failing = false,
            // The same every fifth of a second would bury the log.
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(%error, "cannot see which logins have ended; trying again");
                }
            }
        }
    }
}

/// Has everything done that is new. What a shard has no room for is left for the next look.
fn look(directory: &Directory, authority: &Authority, seen: &mut i64) -> Result<(), DirectoryError> {
    loop {
        let ended = directory.ended_after(*seen, LOOK_LIMIT)?;
        for logins in &ended {
            if authority.logins_ended(logins).is_err() {
                return Ok(());
            }
            *seen = logins.revision;
        }
        if ended.is_empty() {
            return Ok(());
        }
    }
}
