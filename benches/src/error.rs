//! What stops a measurement before it has a result.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a measurement has no result. What merely fell short of what was asked for is in the report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The generator sends to its own machine only.
    #[error("{0} is not a loopback address: load is sent to this machine only")]
    NotLoopback(SocketAddr),
    /// An option that cannot be.
    #[error("{option} must be {rule}")]
    Option {
        /// Its name on the command line.
        option: &'static str,
        /// What would be right.
        rule: &'static str,
    },
    /// More sockets than this process may have.
    #[error(
        "{wanted} connections in one process need more open files than its limit of {limit}: raise it (ulimit -n), or ask \
         for fewer; idle and storm spread theirs over several processes by themselves"
    )]
    OpenFiles {
        /// How many connections were asked for.
        wanted: usize,
        /// How many files this process may have open.
        limit: u64,
    },
    /// The limit of open files can be neither read nor raised.
    #[error("raising the limit of open files")]
    Rlimit(#[source] io::Error),
    /// The server's program is not there, or does not run.
    #[error("starting {}{hint}", .path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// What to do about it, in brackets; empty where nothing is known.
        hint: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The server ended, or did not listen in time.
    #[error("{} does not listen on {address}: {what}", .path.display())]
    NotListening {
        /// The program.
        path: PathBuf,
        /// Where it was told to listen.
        address: SocketAddr,
        /// What happened instead.
        what: String,
    },
    /// A temporary folder, a port or a poll is not to be had.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// No client got a connection and a welcome.
    #[error("no client was welcomed by {target} within {seconds} s: {why}")]
    NobodyConnected {
        /// The server.
        target: SocketAddr,
        /// The time limit.
        seconds: f64,
        /// What the clients met, most frequent first.
        why: String,
    },
    /// `/proc` of a process cannot be read.
    #[error("reading /proc/{pid}")]
    Proc {
        /// The process.
        pid: i32,
        /// What the system says.
        source: procfs::ProcError,
    },
    /// The CPU time of a process cannot be had.
    #[error("reading the CPU clock of process {pid}")]
    Clock {
        /// The process.
        pid: i32,
        /// What the system says.
        source: nix::errno::Errno,
    },
    /// A report of earlier rounds cannot be taken in.
    #[error("taking in {}: {what}", .path.display())]
    Earlier {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// A process of the generator did not do what it was told.
    #[error("another process of the generator: {what}")]
    Crew {
        /// What it did instead.
        what: String,
    },
    /// The server did not do what the session protocol says.
    #[error("a session of {user}: {what}")]
    Session {
        /// Whose.
        user: String,
        /// What happened instead.
        what: String,
    },
}

impl BenchError {
    /// For `map_err`: an [`io::Error`] with what was being done.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}
