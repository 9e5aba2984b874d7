//! Many connections that say nothing.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::crew::{CONNECTIONS_LIMIT, Count, Crew, Processes, Share};
use crate::load::{as_seconds, check};
use crate::plot::{Paint, Panel};
use crate::report::{row, shortfall_rows};
use crate::server::{self, Target};
use crate::{BenchError, Process, Progress, Protocol, Report, Spread, Used};

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
    /// After how much time memory is read, in ascending order; the last one counts.
    #[serde(rename = "settle_seconds", serialize_with = "all_as_seconds")]
    pub settle: Vec<Duration>,
    /// The generator's processes.
    #[serde(skip)]
    pub processes: Processes,
}

impl Default for IdleOptions {
    fn default() -> Self {
        Self {
            protocol: Protocol::Classic,
            connections: 10_000,
            connect_limit: Duration::from_secs(120),
            // At first the allocator still has what the handshakes took: that is the price of a storm. Later it has given it back.
            settle: vec![Duration::from_secs(2), Duration::from_secs(15)],
            processes: Processes::default(),
        }
    }
}

pub(crate) fn all_as_seconds<S: serde::Serializer>(
    durations: &[Duration],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(durations.iter().map(Duration::as_secs_f64))
}

/// Memory at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Settled {
    /// How long the connections had been idle, in seconds.
    pub after_seconds: f64,
    /// Memory of all servers, in KiB, if their processes are known.
    pub server_rss_kib: Option<u64>,
    /// What of it came with the connections, for each of them, in KiB.
    pub kib_per_connection: Option<f64>,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IdleReport {
    /// What was asked for.
    pub options: IdleOptions,
    /// Connections that were open and welcomed when memory was read for the last time.
    pub open: usize,
    /// Servers that they were dealt out to.
    pub servers: usize,
    /// Processes of the generator that held them.
    pub generator_processes: usize,
    /// How long it took to open them, in seconds.
    pub connect_seconds: f64,
    /// Memory, each time that it was read.
    pub settled: Vec<Settled>,
    /// What the servers used from before the first connection until memory was read for the last time, if their processes are known.
    pub server: Option<Used>,
    /// Memory that came with the connections, for each of them, in KiB, when it was read for the last time.
    pub kib_per_connection: Option<f64>,
    /// What this generator used, all its processes together.
    pub generator: Used,
    /// What was asked for and not reached, in words; empty after a good run.
    pub shortfalls: Vec<String>,
}

/// Opens the connections, and ends by itself: opening has its limit.
///
/// # Errors
/// Wrong options, or no client could connect. All else that goes wrong is in the report's `shortfalls`.
#[allow(clippy::cast_precision_loss, reason = "connections and KiB are far below 2^52")]
pub fn run(
    options: &IdleOptions,
    targets: &[Target],
    progress: &mut Progress,
) -> Result<IdleReport, BenchError> {
    let IdleOptions { protocol, connections, connect_limit, .. } = *options;
    let limit = Duration::from_secs(3600);
    check([
        ("--connections", "between 1 and 400000", (1..=CONNECTIONS_LIMIT).contains(&connections)),
        ("--connect-seconds", "at most 3600", connect_limit <= limit),
        ("--settle-seconds", "at most 3600 each", options.settle.iter().all(|settle| *settle <= limit)),
        ("--settle-seconds", "in ascending order", options.settle.is_sorted() && !options.settle.is_empty()),
    ])?;
    let own_before = Process::this()?.usage()?;
    let before = server::usage_of(targets);
    let start = Instant::now();
    let addresses = targets.iter().map(|target| target.address).collect();
    let share = Share { targets: addresses, protocol, count: connections, limit: connect_limit };
    let mut crew = Crew::open(share, &options.processes, progress)?;
    let connect_seconds = start.elapsed().as_secs_f64();
    let opened = Instant::now();
    let mut settled = Vec::new();
    let mut server = None;
    for settle in &options.settle {
        crew.rest(opened + *settle, progress)?;
        let after = server::usage_of(targets);
        let open = crew.count(progress)?.ready;
        server = before.zip(after).map(|(before, after)| Used::between(before, after));
        let per_connection =
            |used: Used| (used.rss_kib_after as f64 - used.rss_kib_before as f64) / open as f64;
        settled.push(Settled {
            after_seconds: settle.as_secs_f64(),
            server_rss_kib: after.map(|after| after.rss_kib),
            kib_per_connection: server.filter(|_| open > 0).map(per_connection),
        });
    }
    let Count { ready: open, complaints, usage } = crew.count(progress)?;
    progress.clear();
    let mut shortfalls = server::troubles_of(targets);
    if open < connections {
        shortfalls.push(format!("{open} of {connections} connections are open"));
        shortfalls.extend(server::files_of(targets));
    }
    shortfalls.extend(complaints.into_iter().map(|(why, count)| format!("{count} clients: {why}")));
    Ok(IdleReport {
        options: options.clone(),
        open,
        servers: targets.len(),
        generator_processes: crew.processes(),
        connect_seconds,
        kib_per_connection: settled.last().and_then(|last| last.kib_per_connection),
        settled,
        server,
        generator: Used::between(own_before, usage),
        shortfalls,
    })
}

impl Report for IdleReport {
    fn shortfalls(&self) -> &[String] {
        &self.shortfalls
    }

    fn panels(&self) -> Vec<Panel> {
        let bar = |settled: &Settled| {
            let value = settled.kib_per_connection.map(Spread::single);
            (format!("after {} s", settled.after_seconds), Paint::Own, value)
        };
        vec![Panel::of_values("KiB per connection", self.settled.iter().map(bar))]
    }
}

impl fmt::Display for IdleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = format!("{:?}", self.options.protocol).to_lowercase();
        writeln!(f, "idle, {protocol}: {} connections, opened in {:.2} s", self.open, self.connect_seconds)?;
        if (self.servers, self.generator_processes) != (1, 1) {
            let (servers, processes) = (self.servers, self.generator_processes);
            row(f, "processes", format_args!("{servers} of servers, {processes} of the generator"))?;
        }
        match &self.server {
            Some(used) => {
                for Settled { after_seconds, kib_per_connection, .. } in &self.settled {
                    let kib = kib_per_connection.map_or("-".to_owned(), |kib| format!("{kib:.2}"));
                    row(f, "KiB per connection", format_args!("{kib} after {after_seconds} s"))?;
                }
                let (before, after) = (used.rss_kib_before, used.rss_kib_after);
                row(f, "server memory, KiB", format_args!("{before} before, {after} after"))?;
                row(f, "server CPU, s", format_args!("{:.2}", used.cpu_seconds))?;
            }
            None => row(f, "server", format_args!("not measured: its process is not known or has ended"))?,
        }
        row(f, "generator CPU, s", format_args!("{:.2}", self.generator.cpu_seconds))?;
        shortfall_rows(f, &self.shortfalls)
    }
}

/// Idle connections of both protocols, each with servers of its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IdlePair {
    /// The classic protocol's.
    pub classic: IdleReport,
    /// The session protocol's.
    pub session: IdleReport,
    /// What a session takes more than a classic connection, in KiB.
    pub difference_kib: Option<f64>,
    /// What was asked for and not reached by either.
    pub shortfalls: Vec<String>,
}

impl IdlePair {
    /// Compares two reports.
    #[must_use]
    pub fn of(classic: IdleReport, session: IdleReport) -> Self {
        let both = session.kib_per_connection.zip(classic.kib_per_connection);
        let shortfalls = [&*classic.shortfalls, &*session.shortfalls].concat();
        Self {
            classic,
            session,
            difference_kib: both.map(|(session, classic)| session - classic),
            shortfalls,
        }
    }
}

impl Report for IdlePair {
    fn shortfalls(&self) -> &[String] {
        &self.shortfalls
    }

    fn panels(&self) -> Vec<Panel> {
        let panel = |report: &IdleReport, name: &str| {
            let titled = |panel: Panel| Panel { title: format!("{name}, {}", panel.title), ..panel };
            report.panels().into_iter().map(titled).collect::<Vec<_>>()
        };
        [panel(&self.classic, "classic"), panel(&self.session, "session")].concat()
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
