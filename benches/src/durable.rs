//! What a durable, acknowledged message costs beside a relayed one: the same load, alternately.

use std::fmt;

use serde::Serialize;

use crate::direct::{self, DirectOptions, DirectReport, Kind};
use crate::load::{Pace, Timing};
use crate::plot::{Paint, Panel};
use crate::report::{Spread, latency_row, row, shortfall_rows};
use crate::{BenchError, Progress, Report, Target};

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DurableOptions {
    /// Runs of each kind.
    pub runs: usize,
    /// When they send.
    pub pace: Pace,
    /// Clients; even, each sends to its neighbour.
    pub clients: usize,
    /// Size of a message as it stands in its WebSocket frame, in bytes.
    pub payload_bytes: usize,
    /// How long each run takes.
    #[serde(flatten)]
    pub timing: Timing,
}

impl Default for DurableOptions {
    fn default() -> Self {
        let DirectOptions { clients, payload_bytes, timing, .. } = DirectOptions::default();
        Self { runs: 5, pace: Pace::PerSecond(10_000), clients, payload_bytes, timing }
    }
}

impl DurableOptions {
    fn of(&self, kind: Kind) -> DirectOptions {
        DirectOptions {
            kind,
            clients: self.clients,
            pace: self.pace,
            payload_bytes: self.payload_bytes,
            timing: self.timing,
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DurableReport {
    /// What was asked for.
    pub options: DurableOptions,
    /// CPU time of the server for each relayed message, in microseconds.
    pub relayed_us: Option<Spread>,
    /// CPU time of the server for each durable message, in microseconds.
    pub durable_us: Option<Spread>,
    /// The second median by the first.
    pub ratio: Option<f64>,
    /// The runs with relayed messages, in their order.
    pub relayed: Vec<DirectReport>,
    /// The runs with durable messages, each after the one of the same place above.
    pub durable: Vec<DirectReport>,
    /// What was asked for and not reached, in words; empty after good runs.
    pub shortfalls: Vec<String>,
}

/// Runs both loads in turns against one server, whose log grows with each.
///
/// # Errors
/// As [`direct::run`].
pub fn run(
    options: &DurableOptions,
    target: &Target,
    progress: &mut Progress,
) -> Result<DurableReport, BenchError> {
    if options.runs == 0 {
        return Err(BenchError::Option { option: "--runs", rule: "at least 1" });
    }
    let (mut relayed, mut durable) = (Vec::new(), Vec::new());
    for _ in 0..options.runs {
        relayed.push(direct::run(&options.of(Kind::Relay), target, progress)?);
        durable.push(direct::run(&options.of(Kind::Session), target, progress)?);
    }
    let cpu =
        |runs: &[DirectReport]| Spread::of(runs.iter().filter_map(|run| run.load.server_cpu_us_per_message));
    let (relayed_us, durable_us) = (cpu(&relayed), cpu(&durable));
    let shortfalls = relayed.iter().chain(&durable).flat_map(|run| run.load.shortfalls.clone()).collect();
    Ok(DurableReport {
        options: options.clone(),
        relayed_us,
        durable_us,
        ratio: relayed_us.zip(durable_us).map(|(relayed, durable)| durable.median / relayed.median),
        relayed,
        durable,
        shortfalls,
    })
}

impl Report for DurableReport {
    fn shortfalls(&self) -> &[String] {
        &self.shortfalls
    }

    fn panels(&self) -> Vec<Panel> {
        let costs = [
            ("relayed".to_owned(), Paint::Yardstick, self.relayed_us),
            ("durable".to_owned(), Paint::Own, self.durable_us),
        ];
        let mut panels = vec![Panel::of_values("server CPU us/message", costs)];
        if let Some(relayed) = self.relayed.last() {
            panels.push(Panel::of_latency("last relayed, until delivered, us", &relayed.load.latency));
        }
        panels.extend(self.durable.last().map(|durable| durable.load.panels()).into_iter().flatten());
        panels
    }
}

impl fmt::Display for DurableReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DurableOptions { runs, pace, clients, payload_bytes, .. } = &self.options;
        writeln!(f, "durable: {clients} clients, {payload_bytes} bytes, {pace}, {runs} runs each")?;
        match (self.relayed_us, self.durable_us, self.ratio) {
            (Some(relayed), Some(durable), Some(ratio)) => {
                row(f, "relayed, CPU us/message", format_args!("{relayed}"))?;
                row(f, "durable, CPU us/message", format_args!("{durable}"))?;
                row(f, "ratio of the medians", format_args!("{ratio:.2}"))?;
            }
            _ => row(f, "server", format_args!("not measured: its process is not known or has ended"))?,
        }
        if let (Some(relayed), Some(durable)) = (self.relayed.last(), self.durable.last()) {
            latency_row(f, "last relayed, us", &relayed.load.latency)?;
            latency_row(f, "last durable, us", &durable.load.latency)?;
            if let Some(acknowledged) = &durable.load.acknowledged {
                latency_row(f, "until accepted, us", &acknowledged.latency)?;
            }
        }
        shortfall_rows(f, &self.shortfalls)
    }
}
