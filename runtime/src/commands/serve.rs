//! `switchboard serve`: the server, from the command line to the signal that ends it.

use std::{
    io::{self, IsTerminal as _},
    process,
    time::{Duration, Instant},
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    config::Config,
    server::{Authority, ReloadHandle, Server, ServerError, StopHandle},
};

/// Signals within this time after the first are the same event: a terminal that is closed tells its processes so, and so
/// does its shell; `timeout` signals its child, and then its group.
const REPEAT_TIME: Duration = Duration::from_secs(1);

/// Runs a server until SIGTERM or SIGINT, or until its terminal is closed. A second signal, a second later or more, ends the process
/// at once. SIGHUP has the certificate read again, SIGUSR1 has written what was recorded on demand.
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
        let watcher =
            tokio::spawn(signals.watch(server.stop_handle(), server.reload_handle(), server.authority()));
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

/// The signals that a server heeds.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    record: Signal,
    /// It was started in a terminal.
    has_terminal: bool,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            record: signal(SignalKind::user_defined1())?,
            has_terminal: is_in_terminal(),
        })
    }

    /// Waits for a signal to end.
    async fn end(&mut self, reload: &ReloadHandle, authority: &Authority) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => {}
                _ = self.record.recv() => {
                    // What is written is in the log.
                    if let Err(error) = authority.write_recording("SIGUSR1").await {
                        let reason = crate::cli::reason(&error);
                        tracing::error!(reason, "SIGUSR1: no recording is written");
                    }
                    continue;
                }
            }
            // Both somebody who has a new certificate and a terminal that is closed send this one.
            if self.has_terminal && !is_in_terminal() {
                return;
            }
            match reload.reload() {
                Ok(true) => {}
                Ok(false) => tracing::info!("SIGHUP: there is no certificate to be read again"),
                Err(error) => {
                    let reason = crate::cli::reason(&error);
                    tracing::error!(reason, "SIGHUP: the certificate stays as it was");
                }
            }
        }
    }

    async fn watch(mut self, stop: StopHandle, reload: ReloadHandle, authority: Authority) {
        self.end(&reload, &authority).await;
        let first = Instant::now();
        tracing::info!(
            "stopping: connections are closed and what was accepted is stored; signal again to cut off"
        );
        stop.stop();
        loop {
            self.end(&reload, &authority).await;
            if !is_repeat(first, Instant::now()) {
                break;
            }
        }
        tracing::warn!("cut off by a second signal");
        process::exit(1);
    }
}

/// Whether there is a terminal: none once it was closed.
fn is_in_terminal() -> bool {
    io::stdin().is_terminal() || io::stderr().is_terminal()
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
