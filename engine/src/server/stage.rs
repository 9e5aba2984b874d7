//! How far a classic connection is with what it has missed.

use crate::{digest::Digest, id::Ticket, time::Instant};
use serde::{Deserialize, Serialize};

/// How far a connection is with catching up.
///
/// ```text
///   Asking ◄──► AskedInVain
///     │
///     ▼
///   Reading ◄──► Draining ──► InStep ──► (Reading)
///     ▲  ▼
///   ReadInVain
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// Which logs it is behind with is asked for. Nothing of any log is sent meanwhile.
    Asking { ticket: Ticket, after: u64 },
    /// That could not be had; it is asked again then.
    AskedInVain { retry_at: Instant, after: u64 },
    /// The first of the logs is being read.
    Reading { ticket: Ticket },
    /// That could not be had; it is read again then.
    ReadInVain { retry_at: Instant },
    /// What was read is on its way, and goes on when all of it is written.
    Draining,
    /// It is behind with nothing.
    InStep,
}

impl Stage {
    pub(super) fn fold(self, digest: &mut Digest<'_>) {
        match self {
            Self::Asking { after, .. } => {
                digest.word(0);
                digest.word(after);
            }
            Self::AskedInVain { retry_at, after } => {
                digest.word(1);
                digest.instant(retry_at);
                digest.word(after);
            }
            Self::Reading { .. } => digest.word(2),
            Self::ReadInVain { retry_at } => {
                digest.word(3);
                digest.instant(retry_at);
            }
            Self::Draining => digest.word(4),
            Self::InStep => digest.word(5),
        }
    }
}
