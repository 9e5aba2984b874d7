//! `switchboard serve`: the server, from the command line to the signal that ends it.

use std::{
    io, process,
    time::{Duration, Instant},
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    config::Config,
    server::{Server, ServerError, StopHandle},
};

/// Signals within this time after the first are the same event: a terminal that is closed tells its processes so, and so
/// does its shell; `timeout` signals its child, and then its group.
const REPEAT_TIME: Duration = Duration::from_secs(1);

/// Runs a server until SIGTERM, SIGINT or SIGHUP. A second signal, a second later or more, ends the process at once.
///
/// # Errors
/// If the server cannot start, or a part of it fails.
pub fn serve(config: &Config) -> Result<(), ServerError> {
    raise_open_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| ServerError::System { doing: "start the event loop", source })?;
    runtime.block_on(async {
        let signals =
            Signals::new().map_err(|source| ServerError::System { doing: "listen for signals", source })?;
        let server = Server::start(config)?;
        let address = server.local_addr()?;
        tracing::info!(%address, data = %config.data.display(), shards = config.shards, "listening");
        let watcher = tokio::spawn(signals.watch(server.stop_handle()));
        let result = server.run().await;
        watcher.abort();
        tracing::info!("stopped");
        result
    })
}

/// A connection is an open file. The soft limit is usually far below what the system allows.
fn raise_open_file_limit() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "cannot raise the limit on open files"),
    }
}

/// The signals that end a server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Sent when the terminal is closed.
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }

    async fn watch(mut self, stop: StopHandle) {
        self.next().await;
        let first = Instant::now();
        tracing::info!(
            "stopping: connections are closed and what was accepted is stored; signal again to cut off"
        );
        stop.stop();
        loop {
            self.next().await;
            if !is_repeat(first, Instant::now()) {
                break;
            }
        }
        tracing::warn!("cut off by a second signal");
        process::exit(1);
    }
}

/// Whether a signal is the first one once more.
fn is_repeat(first: Instant, now: Instant) -> bool {
    now.duration_since(first) < REPEAT_TIME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_within_a_second_is_the_first_signal_once_more() {
        let first = Instant::now();
        let after = |ms| is_repeat(first, first + Duration::from_millis(ms));
        assert_eq!([0, 999, 1_000, 5_000].map(after), [true, true, false, false]);
    }
}
