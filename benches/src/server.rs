//! The server under test: one that runs already, or one that is started for the run.

use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::fleet::raise_open_files;
use crate::{BenchError, Process, Usage, random};

/// How long a started server may take to listen.
const START_LIMIT: Duration = Duration::from_secs(15);

/// Ports of servers are these, below those that Linux gives to whoever asks for any: among thousands of connections that come
/// and go, one of those would be somebody's before a slow program has come to listen at it.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 12_000;

/// Ports that are tried before there is none.
const PORT_TRIES: usize = 100;

/// Its limits on what one client may send, lifted: the load is the measurement, not an abuse. And nothing is sent again to classic
/// clients that return: loads of both protocols take turns as the same users.
const LIFTED_LIMITS: [(&str, &str); 5] = [
    ("SWITCHBOARD_LIMITS_MESSAGES_PER_SECOND", "100000000"),
    ("SWITCHBOARD_LIMITS_MESSAGE_BURST", "100000000"),
    ("SWITCHBOARD_LIMITS_BYTES_PER_SECOND", "100000000000"),
    ("SWITCHBOARD_LIMITS_BYTE_BURST", "100000000000"),
    ("SWITCHBOARD_LIMITS_RESEND_MESSAGES", "0"),
];

/// What is measured.
#[derive(Debug)]
pub struct Target {
    /// Where it listens; always a loopback address.
    pub address: SocketAddr,
    /// The process whose CPU time and memory are read, if it is known.
    pub process: Option<Process>,
    /// Stops the server when the target goes.
    _server: Option<Server>,
}

impl Target {
    /// A server that runs already, and its process if that is known.
    ///
    /// # Errors
    /// [`BenchError::NotLoopback`] if it is on another machine.
    pub fn running(address: SocketAddr, process: Option<Process>) -> Result<Self, BenchError> {
        if !address.ip().is_loopback() {
            return Err(BenchError::NotLoopback(address));
        }
        Ok(Self { address, process, _server: None })
    }

    /// A server that is started now, and stopped when this value is dropped.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn started(program: &Path, settings: &Settings) -> Result<Self, BenchError> {
        Self::own(Server::start(program, settings)?)
    }

    /// Another program that is started now, and stopped when this value is dropped.
    ///
    /// # Errors
    /// As [`Server::start_other`].
    pub fn other(program: &Path, arguments: &[OsString]) -> Result<Self, BenchError> {
        Self::own(Server::start_other(program, arguments)?)
    }

    fn own(server: Server) -> Result<Self, BenchError> {
        let process = Process::new(server.pid())?;
        Ok(Self { address: server.address, process: Some(process), _server: Some(server) })
    }

    /// What is wrong with the server itself, as a shortfall; none if it lives, or its process is not known.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.process.as_ref()?.trouble()?;
        Some(format!("the server does not answer: {trouble}"))
    }
}

/// What all of some servers have used together, if their processes are known and live.
pub(crate) fn usage_of(targets: &[Target]) -> Option<Usage> {
    let usage = |target: &Target| target.process.as_ref()?.usage().ok();
    let all: Option<Vec<Usage>> = targets.iter().map(usage).collect();
    all.map(|all| Usage {
        cpu_seconds: all.iter().map(|usage| usage.cpu_seconds).sum(),
        rss_kib: all.iter().map(|usage| usage.rss_kib).sum(),
    })
}

/// What is wrong with them.
pub(crate) fn troubles_of(targets: &[Target]) -> Vec<String> {
    targets.iter().filter_map(Target::trouble).collect()
}

/// How many files they may have open: why connections may be missing.
pub(crate) fn files_of(targets: &[Target]) -> Option<String> {
    let files = |target: &Target| target.process.as_ref()?.open_files_limit();
    let least = targets.iter().filter_map(files).min()?;
    Some(format!("a server may have {least} files open, and each connection is one of them"))
}

/// Files that a server needs besides its connections.
const OTHER_FILES_OF_SERVER: u64 = 128;

/// How many servers it takes to hold so many connections, as far as open files go.
///
/// # Errors
/// [`BenchError::Rlimit`].
pub fn servers_for(connections: usize) -> Result<usize, BenchError> {
    let each = raise_open_files()?.saturating_sub(OTHER_FILES_OF_SERVER).max(1);
    Ok(connections.div_ceil(usize::try_from(each).unwrap_or(usize::MAX)).max(1))
}

/// How a server is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Threads that serve connections.
    pub shards: u16,
    /// What else is set: keys as the configuration file has them, with a dot behind the table, and values.
    pub set: Vec<(String, String)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { shards: 1, set: Vec::new() }
    }
}

/// A server of our own on a free port.
pub struct Server {
    child: Child,
    address: SocketAddr,
    /// Where it keeps its data; removed when the server is stopped.
    _data: Option<TempDir>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server {{ pid: {}, address: {} }}", self.child.id(), self.address)
    }
}

impl Server {
    /// Starts `program serve`, with a data folder that goes with it, and waits until it listens.
    ///
    /// # Errors
    /// [`BenchError::Start`] if it does not run, [`BenchError::NotListening`] if it ends or does not listen
    /// in time.
    pub fn start(program: &Path, settings: &Settings) -> Result<Self, BenchError> {
        let data = tempfile::tempdir().map_err(BenchError::io("making a data folder"))?;
        let mut command = Command::new(program);
        // The environment is a layer of the server's configuration: only what stands here may count.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SWITCHBOARD_") {
                command.env_remove(name);
            }
        }
        let shards = settings.shards.to_string();
        command.args(["serve", "--log", "warn", "--shards", &shards, "--data"]).arg(data.path());
        command.envs(LIFTED_LIMITS);
        for (key, value) in &settings.set {
            command.env(format!("SWITCHBOARD_{}", key.replace('.', "_").to_uppercase()), value);
        }
        Self::run(command, Some(data), " (build it first: cargo build --release -p switchboard)")
    }

    /// Starts `program ARGUMENTS --listen ADDRESS:PORT` and waits until it listens.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_other(program: &Path, arguments: &[OsString]) -> Result<Self, BenchError> {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::run(command, None, "")
    }

    fn run(mut command: Command, data: Option<TempDir>, hint: &'static str) -> Result<Self, BenchError> {
        // The server inherits the limit.
        raise_open_files()?;
        let address = free_port()?;
        let path = PathBuf::from(command.get_program());
        let child = command
            .args(["--listen", &address.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|source| BenchError::Start { path: path.clone(), hint, source })?;
        let mut server = Self { child, address, _data: data };
        server.wait_until_it_listens(path)?;
        Ok(server)
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or_default()
    }

    fn wait_until_it_listens(&mut self, path: PathBuf) -> Result<(), BenchError> {
        let deadline = Instant::now() + START_LIMIT;
        let what = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break format!("it ended with {status}"),
                Err(error) => break format!("it cannot be waited for: {error}"),
                Ok(None) => {}
            }
            match TcpStream::connect_timeout(&self.address, START_LIMIT) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    break format!("still \"{error}\" after {} s", START_LIMIT.as_secs());
                }
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        Err(BenchError::NotListening { path, address: self.address, what })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What was measured is over and the data is temporary: there is nothing to shut down in good order.
        // Both fail only if the server has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens at.
fn free_port() -> Result<SocketAddr, BenchError> {
    let bind = || {
        let offset = u16::try_from(random::id() % u64::from(PORTS)).unwrap_or_default();
        TcpListener::bind((Ipv4Addr::LOCALHOST, FIRST_PORT + offset)).and_then(|it| it.local_addr())
    };
    let mut found = bind();
    for _ in 1..PORT_TRIES {
        found = found.or_else(|_| bind());
    }
    found.map_err(BenchError::io("looking for a free port"))
}
