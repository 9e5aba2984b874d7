//! Many connections that say nothing.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::fleet::Fleet;
use crate::load::as_seconds;
use crate::report::{row, shortfall_rows};
use crate::{BenchError, Process, Progress, Protocol, Report, Target, Used};

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdleOptions {
    /// What they speak.
    pub protocol: Protocol,
    /// Connections to open.
    pub connections: usize,
    /// Time that all of them may take to be opened and welcomed; without those that are not, the run goes on.
    #[serde(rename = "connect_seconds", serialize_with = "as_seconds")]
    pub connect_limit: Duration,
    /// Time that they stay idle before memory is read.
    #[serde(rename = "settle_seconds", serialize_with = "as_seconds")]
    pub settle: Duration,
}

impl Default for IdleOptions {
    fn default() -> Self {
        Self {
            protocol: Protocol::Classic,
            connections: 10_000,
            connect_limit: Duration::from_secs(120),
            settle: Duration::from_secs(2),
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IdleReport {
    /// What was asked for.
    pub options: IdleOptions,
    /// Connections that were open and welcomed when memory was read.
    pub open: usize,
    /// How long it took to open them, in seconds.
    pub connect_seconds: f64,
    /// What the server used from before the first connection until memory was read, if its process is known.
    pub server: Option<Used>,
    /// The server's memory that came with the connections, for each of them, in KiB.
    pub kib_per_connection: Option<f64>,
    /// What this generator used.
    pub generator: Used,
    /// What was asked for and not reached, in words; empty after a good run.
    pub shortfalls: Vec<String>,
}

/// Opens the connections, and ends by itself: opening has its limit.
///
/// # Errors
/// Wrong options, more connections than open files, or no client could connect. All else that goes wrong is in
/// the report's `shortfalls`.
#[allow(clippy::cast_precision_loss, reason = "connections and KiB are far below 2^52")]
pub fn run(
    options: &IdleOptions,
    target: &Target,
    progress: &mut Progress,
) -> Result<IdleReport, BenchError> {
    if options.connections == 0 {
        return Err(BenchError::Option { option: "--connections", rule: "at least 1" });
    }
    for (option, time) in [("--connect-seconds", options.connect_limit), ("--settle-seconds", options.settle)]
    {
        if time > Duration::from_secs(3600) {
            return Err(BenchError::Option { option, rule: "at most 3600" });
        }
    }
    let generator = Process::this()?;
    let server_usage = || target.process.as_ref().map(Process::usage).transpose();
    let (before, own_before) = (server_usage()?, generator.usage()?);
    let start = Instant::now();
    let mut fleet =
        Fleet::open(target.address, options.protocol, options.connections, options.connect_limit, progress)?;
    let connect_seconds = start.elapsed().as_secs_f64();
    let settled = Instant::now() + options.settle;
    while Instant::now() < settled {
        fleet.turn(Some(settled.saturating_duration_since(Instant::now())), |_, _, _| {})?;
        progress.show(|| format!("{} connections are idle", options.connections));
    }
    // A server that has ended has no usage; that it ended is in the report.
    let after = server_usage().unwrap_or_default();
    let own_after = generator.usage()?;
    let open = fleet.ready();
    progress.clear();
    let mut shortfalls = Vec::new();
    if open < options.connections {
        shortfalls.push(format!("{open} of {} connections are open", options.connections));
    }
    shortfalls.extend(fleet.complaints().into_iter().map(|(why, count)| format!("{count} clients: {why}")));
    let server = before.zip(after).map(|(before, after)| Used::between(before, after));
    let per_connection = |used: Used| (used.rss_kib_after as f64 - used.rss_kib_before as f64) / open as f64;
    Ok(IdleReport {
        options: options.clone(),
        open,
        connect_seconds,
        server,
        kib_per_connection: server.filter(|_| open > 0).map(per_connection),
        generator: Used::between(own_before, own_after),
        shortfalls,
    })
}

impl Report for IdleReport {
    fn shortfalls(&self) -> &[String] {
        &self.shortfalls
    }
}

impl fmt::Display for IdleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = format!("{:?}", self.options.protocol).to_lowercase();
        writeln!(f, "idle, {protocol}: {} connections, opened in {:.2} s", self.open, self.connect_seconds)?;
        match (&self.server, self.kib_per_connection) {
            (Some(used), Some(kib)) => {
                row(f, "KiB per connection", format_args!("{kib:.2}"))?;
                let (before, after) = (used.rss_kib_before, used.rss_kib_after);
                row(f, "server memory, KiB", format_args!("{before} before, {after} after"))?;
                row(f, "server CPU, s", format_args!("{:.2}", used.cpu_seconds))?;
            }
            _ => row(f, "server", format_args!("not measured: its process is not known or has ended"))?,
        }
        row(f, "generator CPU, s", format_args!("{:.2}", self.generator.cpu_seconds))?;
        shortfall_rows(f, &self.shortfalls)
    }
}

/// Idle connections of both protocols, each with a server of its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IdlePair {
    /// The classic protocol's.
    pub classic: IdleReport,
    /// The session protocol's.
    pub session: IdleReport,
    /// What a session takes more than a classic connection, in KiB.
    pub difference_kib: Option<f64>,
}

impl IdlePair {
    /// Compares two reports.
    #[must_use]
    pub fn of(classic: IdleReport, session: IdleReport) -> Self {
        let both = session.kib_per_connection.zip(classic.kib_per_connection);
        Self { classic, session, difference_kib: both.map(|(session, classic)| session - classic) }
    }
}

impl Report for IdlePair {
    fn shortfalls(&self) -> &[String] {
        if self.classic.shortfalls.is_empty() { &self.session.shortfalls } else { &self.classic.shortfalls }
    }
}

impl fmt::Display for IdlePair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.classic, self.session)?;
        match self.difference_kib {
            Some(kib) => writeln!(f, "a session takes {kib:.2} KiB more than a classic connection"),
            None => Ok(()),
        }
    }
}
