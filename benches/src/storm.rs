//! All clients reconnect at once, while others go on talking.

use std::fmt;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::crew::{CONNECTIONS_LIMIT, Count, Crew, Processes, Share};
use crate::direct::{self, DirectOptions, Kind};
use crate::fleet::most_connections;
use crate::load::{LoadReport, Pace, Signals, Timing, as_seconds, check};
use crate::plot::{Paint, Panel};
use crate::report::{latency_row, row, shortfall_rows};
use crate::server::{self, Target};
use crate::{BenchError, Latency, Progress, Protocol, Report, Spread, Used};

/// Numbers of the clients that stay: beyond those of all that reconnect. Even, so that neighbours are neighbours.
pub(crate) const FIRST_STAYING: usize = 500_000;

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StormOptions {
    /// What those who reconnect speak.
    pub protocol: Protocol,
    /// Clients that reconnect.
    pub clients: usize,
    /// Clients that stay, and relay messages to each other; even.
    pub staying: usize,
    /// Messages per second of all that stay, sent when they are due.
    pub rate_per_second: u64,
    /// Time that all may take to be welcomed, each time.
    #[serde(rename = "connect_seconds", serialize_with = "as_seconds")]
    pub connect_limit: Duration,
    /// The generator's processes.
    #[serde(skip)]
    pub processes: Processes,
}

impl Default for StormOptions {
    fn default() -> Self {
        Self {
            protocol: Protocol::Classic,
            clients: 10_000,
            staying: 100,
            rate_per_second: 1000,
            connect_limit: Duration::from_secs(60),
            processes: Processes::default(),
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StormReport {
    /// What was asked for.
    pub options: StormOptions,
    /// Servers that the clients were dealt out to; those that stayed were at the first one.
    pub servers: usize,
    /// Processes of the generator that the clients were in.
    pub generator_processes: usize,
    /// Clients that were welcomed again.
    pub welcomed: usize,
    /// From when all connections were cut until the last of them was welcomed again, in seconds.
    pub storm_seconds: f64,
    /// Of the messages among those that stayed, during the storm; from when they were due.
    pub staying_latency: Latency,
    /// The same in the second before.
    pub calm_latency: Latency,
    /// What the servers used during the storm, if their processes are known.
    pub server: Option<Used>,
    /// CPU time of the servers for each client that was welcomed again, in microseconds; without what the messages take.
    pub server_cpu_us_per_client: Option<f64>,
    /// What was asked for and not reached, in words; empty after a good run.
    pub shortfalls: Vec<String>,
}

/// How long messages among those who stay are measured before the storm, and at least during it.
const CALM: Duration = Duration::from_secs(1);

/// Connects all, cuts all, and connects them again; ends by itself.
///
/// # Errors
/// Wrong options, or no client could connect. All else that goes wrong is in the report's `shortfalls`.
pub fn run(
    options: &StormOptions,
    targets: &[Target],
    progress: &mut Progress,
) -> Result<StormReport, BenchError> {
    let StormOptions { protocol, clients, staying, rate_per_second, connect_limit, .. } = *options;
    check([
        ("--clients", "between 1 and 400000", (1..=CONNECTIONS_LIMIT).contains(&clients)),
        ("--staying", "even and at least 2", staying >= 2 && staying.is_multiple_of(2)),
        ("--rate", "between 1 and 1000000", (1..=1_000_000).contains(&rate_per_second)),
        ("--connect-seconds", "at most 3600", connect_limit <= Duration::from_secs(3600)),
    ])?;
    let Some(target) = targets.first() else {
        return Err(BenchError::Option { option: "--target", rule: "at least one address" });
    };
    let talk = |duration| DirectOptions {
        kind: Kind::Relay,
        clients: staying,
        pace: Pace::PerSecond(rate_per_second),
        timing: Timing { connect_limit, warmup: Duration::from_millis(500), duration },
        ..DirectOptions::default()
    };
    let addresses = targets.iter().map(|target| target.address).collect();
    let share = Share { targets: addresses, protocol, count: clients, limit: connect_limit };
    let processes = beside(staying, &options.processes)?;
    let mut crew = Crew::open(share, &processes, progress)?;
    let calm = direct::run_among(&talk(CALM), FIRST_STAYING, None, target, progress)?;
    let signals = Signals::default();
    let (storming, during) = thread::scope(|scope| {
        let during = scope.spawn(|| {
            direct::run_among(
                // Longer than a storm can take, which ends it.
                &talk((connect_limit + Duration::from_secs(60)).min(Duration::from_secs(3600))),
                FIRST_STAYING,
                Some(&signals),
                target,
                &mut Progress::silent(),
            )
        });
        while !signals.measuring.load(Ordering::Acquire) && !during.is_finished() {
            thread::sleep(Duration::from_millis(1));
        }
        // Without those who stay there is nothing to say of them.
        let storming = (!during.is_finished()).then(|| storm(targets, &mut crew, progress));
        signals.enough.store(true, Ordering::Release);
        (storming, during.join())
    });
    progress.clear();
    #[allow(clippy::expect_used, reason = "a panic of the load is a panic of the run")]
    let during = during.expect("the load of those who stay does not panic")?;
    let Storming { seconds, server } =
        storming.transpose()?.unwrap_or(Storming { seconds: 0.0, server: None });
    let count = crew.count(progress)?;
    let mut report = report(options, &count, seconds, server, &calm.load, &during.load);
    let troubles = server::troubles_of(targets);
    if report.welcomed < clients {
        report.shortfalls.extend(server::files_of(targets));
    }
    // It comes first: the others follow from it.
    report.shortfalls.retain(|line| !troubles.iter().any(|trouble| line.ends_with(trouble)));
    report.shortfalls.splice(0..0, troubles);
    Ok(StormReport { servers: targets.len(), generator_processes: crew.processes(), ..report })
}

/// Those that stay are connections of this process too: if not all fit, the others are in processes of their own.
fn beside(staying: usize, processes: &Processes) -> Result<Processes, BenchError> {
    let most = most_connections()?.saturating_sub(staying);
    let each = processes.connections_each.map_or(most, |each| each.min(most));
    Ok(Processes { connections_each: Some(each), ..processes.clone() })
}

struct Storming {
    seconds: f64,
    server: Option<Used>,
}

/// Cuts all connections and opens as many again, without waiting for any.
fn storm(targets: &[Target], crew: &mut Crew, progress: &mut Progress) -> Result<Storming, BenchError> {
    let before = server::usage_of(targets);
    let start = Instant::now();
    crew.again(progress)?;
    let seconds = start.elapsed().as_secs_f64();
    let server = before.zip(server::usage_of(targets)).map(|(before, after)| Used::between(before, after));
    Ok(Storming { seconds, server })
}

#[allow(clippy::cast_precision_loss, reason = "counts of clients are far below 2^52")]
fn report(
    options: &StormOptions,
    count: &Count,
    storm_seconds: f64,
    server: Option<Used>,
    calm: &LoadReport,
    during: &LoadReport,
) -> StormReport {
    let Count { ready: welcomed, complaints, .. } = count;
    let welcomed = *welcomed;
    let mut shortfalls = Vec::new();
    if welcomed < options.clients {
        shortfalls.push(format!("{welcomed} of {} clients were welcomed again", options.clients));
    }
    shortfalls.extend(complaints.iter().map(|(why, count)| format!("{count} clients: {why}")));
    // How fast the storm lets them be is the measurement.
    for load in [calm, during] {
        let lost = load.shortfalls.iter().filter(|line| !load.late.contains(line));
        shortfalls.extend(lost.map(|line| format!("of those that stayed: {line}")));
    }
    let per_client = |used: Used| {
        let talk_us = calm.server_cpu_us_per_message.unwrap_or_default() * during.delivered as f64;
        (used.cpu_seconds * 1e6 - talk_us) / welcomed as f64
    };
    StormReport {
        options: options.clone(),
        servers: 1,
        generator_processes: 1,
        welcomed,
        storm_seconds,
        staying_latency: during.latency,
        calm_latency: calm.latency,
        server_cpu_us_per_client: server.filter(|_| welcomed > 0).map(per_client),
        server,
        shortfalls,
    }
}

impl Report for StormReport {
    fn shortfalls(&self) -> &[String] {
        &self.shortfalls
    }

    fn panels(&self) -> Vec<Panel> {
        let seconds = Some(Spread::single(self.storm_seconds));
        let cpu = self.server_cpu_us_per_client.map(Spread::single);
        vec![
            Panel::of_latency("those that stay, us", &self.staying_latency),
            Panel::of_latency("the same before, us", &self.calm_latency),
            Panel::of_values("until all were welcomed, s", [("storm".to_owned(), Paint::Own, seconds)]),
            Panel::of_values("server CPU for each, us", [("storm".to_owned(), Paint::Own, cpu)]),
        ]
    }
}

impl fmt::Display for StormReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StormOptions { protocol, clients, staying, rate_per_second, .. } = &self.options;
        let protocol = format!("{protocol:?}").to_lowercase();
        writeln!(
            f,
            "storm, {protocol}: {clients} clients reconnect at once; {staying} stay, {rate_per_second} messages/s"
        )?;
        if (self.servers, self.generator_processes) != (1, 1) {
            let (servers, processes) = (self.servers, self.generator_processes);
            row(f, "processes", format_args!("{servers} of servers, {processes} of the generator"))?;
        }
        row(f, "welcomed", format_args!("{} in {:.2} s", self.welcomed, self.storm_seconds))?;
        latency_row(f, "those that stay, us", &self.staying_latency)?;
        latency_row(f, "the same before, us", &self.calm_latency)?;
        match self.server_cpu_us_per_client {
            Some(us) => row(f, "server CPU, us/client", format_args!("{us:.1}"))?,
            None => row(f, "server", format_args!("not measured: its process is not known or has ended"))?,
        }
        shortfall_rows(f, &self.shortfalls)
    }
}
