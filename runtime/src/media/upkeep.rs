//! What becomes of files that nothing refers to.
//!
//! A thread looks, every second, for files whose time has come: those that were sent a while ago, and those whose message was
//! recalled or whose user has another picture. What a message or a user refers to stays; the rest is removed. At the start and once a
//! day it lists what is there, and enters what is not in the books: files of an older build, or of a restored copy.

use std::mem;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::files::{Files, MediaError, type_of};
use super::objects::Listed;
use crate::store::FoundFile;

/// How often the thread looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often it lists all that is there.
const LIST_INTERVAL: Duration = Duration::from_secs(24 * 3_600);

/// Files of one transaction.
const BATCH: u32 = 256;

/// When one that could not be removed is tried again.
const RETRY_MS: i64 = 60_000;

/// How often a long listing is told of.
const PROGRESS: usize = 100_000;

/// Works until whoever holds the other end drops it.
pub(super) fn run(files: &Files, stop: &Receiver<()>) {
    let mut listed: Option<Instant> = None;
    loop {
        if listed.is_none_or(|at| at.elapsed() >= LIST_INTERVAL) {
            listed = Some(Instant::now());
            if let Err(error) = adopt_all(files) {
                tracing::warn!(error = %super::cause("listing the files", &error), "some may not be in the books");
            }
        }
        loop {
            match sweep(files) {
                Ok(seen) if seen == usize::try_from(BATCH).unwrap_or_default() => {}
                Ok(_) => break,
                Err(error) => {
                    let error = super::cause("looking for files that are not used", &error);
                    tracing::warn!(error, "it is tried again");
                    break;
                }
            }
        }
        match stop.recv_timeout(INTERVAL) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Looks at some of the files whose time has come, and removes those that nothing refers to. Gives how many it has looked at.
fn sweep(files: &Files) -> Result<usize, MediaError> {
    let due = files.with_books(|books| books.due(BATCH))?;
    let mut removed = Vec::new();
    for name in &due.unused {
        match files.remove_object(name) {
            Ok(()) => removed.push(name.as_str()),
            Err(error) => {
                tracing::warn!(error = %super::cause("removing a file", &error), "it is tried again in a minute");
                files.with_books(|books| books.postpone(name, RETRY_MS))?;
            }
        }
    }
    if !removed.is_empty() {
        tracing::info!(files = removed.len(), "removed, as nothing refers to them any more");
        files.with_books(|books| books.strike(removed))?;
    }
    Ok(due.seen)
}

/// Enters all files that are not in the books.
fn adopt_all(files: &Files) -> Result<(), MediaError> {
    let (mut batch, mut seen, mut adopted) = (Vec::new(), 0_usize, 0_usize);
    let mut failed = None;
    let full = usize::try_from(BATCH).unwrap_or_default();
    let mut enter = |batch: &mut Vec<FoundFile>| match files.adopt(&mem::take(batch)) {
        Ok(count) => adopted += count,
        Err(error) => failed = Some(error),
    };
    files.list(|Listed { name, size_bytes, written_at_ms }| {
        let Some(named) = type_of(&name) else { return };
        let written_at_ms = written_at_ms.unwrap_or_default();
        batch.push(FoundFile { name, bytes: size_bytes, kind: named.kind, written_at_ms });
        seen += 1;
        if seen.is_multiple_of(PROGRESS) {
            tracing::info!(files = seen, "listing what is there");
        }
        if batch.len() == full {
            enter(&mut batch);
        }
    })?;
    enter(&mut batch);
    if adopted > 0 {
        tracing::info!(files = seen, adopted, "files that were not in the books are now");
    }
    failed.map_or(Ok(()), Err)
}
