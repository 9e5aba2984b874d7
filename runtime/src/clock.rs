//! The engine's time, from the system's monotonic clock.

use std::time::Instant;

use switchboard_engine as engine;

/// A clock whose origin is its start; the shards of a server have one together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Now, in the engine's terms.
    pub(crate) fn now(self) -> engine::Instant {
        engine::Instant::from_nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The engine's instant in the system's terms.
    pub(crate) fn system(self, at: engine::Instant) -> tokio::time::Instant {
        (self.origin + std::time::Duration::from_nanos(at.as_nanos())).into()
    }
}
