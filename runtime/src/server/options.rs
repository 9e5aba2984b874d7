//! What the configuration says, in the words of those who do it.

use std::{io, time::Duration};

use switchboard_engine as engine;

use super::ServerError;
use crate::{
    config::{AuthMode, Config, Record, RecordMode, Redact},
    media::{MediaOpenError, MediaOptions},
    recorder::RecorderOptions,
    store::StoreOptions,
};

/// What is to be recorded, and where.
pub(super) fn recorder(record: &Record) -> Result<Option<RecorderOptions>, ServerError> {
    let Record { folder, mode, redact, file_bytes, total_bytes, memory_bytes } = record;
    let Some(folder) = folder.clone() else { return Ok(None) };
    let random = || {
        let wrong = |source: getrandom::Error| ServerError::System {
            doing: "have a key for stand-ins",
            source: io::Error::other(source.to_string()),
        };
        getrandom::u64().map_err(wrong)
    };
    Ok(Some(RecorderOptions {
        folder,
        file_bytes: *file_bytes,
        total_bytes: *total_bytes,
        in_memory: match mode {
            RecordMode::Always => None,
            RecordMode::OnDemand => Some(*memory_bytes),
        },
        redact: match redact {
            Redact::On => Some([random()?, random()?]),
            Redact::Off => None,
        },
    }))
}

/// Queues that hold whatever the engines may have outstanding: messages, files, and a profile per connection.
pub(super) fn store_options(config: &Config, shards: usize) -> StoreOptions {
    let engine::Limits { pending, pending_bytes, connections, .. } = config.engine().limits;
    let requests = to_usize(pending).saturating_add(to_usize(connections)).saturating_mul(shards);
    StoreOptions {
        provision: match config.auth {
            AuthMode::Open => true,
            // Who is written to must have registered.
            AuthMode::Password => false,
        },
        max_database_bytes: Some(config.store.max_database_bytes).filter(|bytes| *bytes > 0),
        queue_requests: requests,
        queue_bytes: queue_bytes(requests, pending_bytes, shards),
        batch_requests: to_usize(config.store.batch_messages),
        commit_interval: Duration::from_micros(config.store.commit_interval_us.into()),
        batch_bytes: usize::try_from(config.store.batch_bytes).unwrap_or(usize::MAX),
        ..StoreOptions::default()
    }
}

pub(super) fn media_options(config: &Config, shards: usize) -> Result<MediaOptions, MediaOpenError> {
    let engine::Limits { pending, pending_bytes, .. } = config.engine().limits;
    let requests = to_usize(pending).saturating_mul(shards);
    Ok(MediaOptions {
        queue_requests: requests,
        queue_bytes: queue_bytes(requests, pending_bytes, shards),
        bucket: config.media.bucket()?,
        user_bytes: config.media.user_bytes,
        unused: Duration::from_secs(u64::from(config.media.unused_minutes) * 60),
    })
}

/// Bytes for so many requests, each with some bookkeeping beside what the engines count.
fn queue_bytes(requests: usize, pending_bytes: u64, shards: usize) -> usize {
    const BOOKKEEPING_BYTES: usize = 256;
    let contents = usize::try_from(pending_bytes).unwrap_or(usize::MAX).saturating_mul(shards);
    contents.saturating_add(requests.saturating_mul(BOOKKEEPING_BYTES))
}

pub(super) fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
