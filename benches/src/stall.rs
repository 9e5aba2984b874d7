//! What clients that read nothing cost the others: the same broadcast with and without them, in turns.

use std::fmt;

use serde::Serialize;

use crate::broadcast::{self, BroadcastOptions, BroadcastReport};
use crate::load::{Pace, Timing, check};
use crate::plot::{Paint, Panel};
use crate::report::{Spread, latency_row, row, shortfall_rows};
use crate::{BenchError, Progress, Report, Target};

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StallOptions {
    /// Runs of each kind.
    pub runs: usize,
    /// Clients that read.
    pub clients: usize,
    /// Clients besides that read nothing, in the runs with them.
    pub stalled: usize,
    /// When the sender sends.
    pub pace: Pace,
    /// Size of a message as it stands in its WebSocket frame, in bytes.
    pub payload_bytes: usize,
    /// How long each run takes.
    #[serde(flatten)]
    pub timing: Timing,
}

impl Default for StallOptions {
    fn default() -> Self {
        Self {
            runs: 5,
            clients: 900,
            stalled: 100,
            pace: Pace::InFlight(16),
            payload_bytes: 1024,
            timing: Timing::default(),
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StallReport {
    /// What was asked for.
    pub options: StallOptions,
    /// Messages delivered per second to those who read, if all do.
    pub without_per_second: Option<Spread>,
    /// The same beside those that do not.
    pub with_per_second: Option<Spread>,
    /// The second by the first, each of the same turn.
    pub ratio: Option<Spread>,
    /// The runs without, in their order.
    pub without: Vec<BroadcastReport>,
    /// The runs with, each after the one of the same place above.
    pub with: Vec<BroadcastReport>,
    /// What was asked for and not reached, in words; empty after good runs.
    pub shortfalls: Vec<String>,
}

/// Runs both in turns, each against a target of its own: what nobody reads stays in the server for a while.
///
/// # Errors
/// As [`broadcast::run`].
pub fn run(
    options: &StallOptions,
    mut target: impl FnMut() -> Result<Target, BenchError>,
    progress: &mut Progress,
) -> Result<StallReport, BenchError> {
    check([("--runs", "at least 1", options.runs > 0), ("--stalled", "at least 1", options.stalled > 0)])?;
    let StallOptions { clients, pace, payload_bytes, timing, .. } = *options;
    let all = BroadcastOptions { clients, stalled: 0, pace, payload_bytes, timing };
    let some = BroadcastOptions { stalled: options.stalled, ..all.clone() };
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for turn in 0..options.runs {
        // Neither always comes first.
        if turn.is_multiple_of(2) {
            without.push(broadcast::run(&all, &target()?, progress)?);
            with.push(broadcast::run(&some, &target()?, progress)?);
        } else {
            with.push(broadcast::run(&some, &target()?, progress)?);
            without.push(broadcast::run(&all, &target()?, progress)?);
        }
    }
    let rate = |run: &BroadcastReport| run.load.delivered_per_second;
    let rates = |runs: &[BroadcastReport]| Spread::of(runs.iter().map(rate));
    let (without_per_second, with_per_second) = (rates(&without), rates(&with));
    // The machine's pace changes more from turn to turn than within one.
    let pairs = without.iter().zip(&with).filter(|(without, _)| rate(without) > 0.0);
    let ratio = Spread::of(pairs.map(|(without, with)| rate(with) / rate(without)));
    let shortfalls = without.iter().chain(&with).flat_map(|run| run.load.shortfalls.clone()).collect();
    Ok(StallReport {
        options: options.clone(),
        without_per_second,
        with_per_second,
        ratio,
        without,
        with,
        shortfalls,
    })
}

impl Report for StallReport {
    fn shortfalls(&self) -> &[String] {
        &self.shortfalls
    }

    fn panels(&self) -> Vec<Panel> {
        let rates = [
            ("all read".to_owned(), Paint::Yardstick, self.without_per_second),
            ("some do not".to_owned(), Paint::Own, self.with_per_second),
        ];
        let latency = |title, runs: &[BroadcastReport]| {
            runs.last().map(|run| Panel::of_latency(title, &run.load.latency))
        };
        let latencies = [latency("last without, us", &self.without), latency("last with, us", &self.with)];
        let rates = Panel::of_values("delivered per second to those who read", rates);
        std::iter::once(rates).chain(latencies.into_iter().flatten()).collect()
    }
}

impl fmt::Display for StallReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StallOptions { runs, clients, stalled, pace, payload_bytes, .. } = &self.options;
        writeln!(
            f,
            "stall: one sends to {clients} clients, and to {stalled} that read nothing; {payload_bytes} bytes, {pace}, \
             {runs} runs each"
        )?;
        if let (Some(without), Some(with), Some(ratio)) =
            (self.without_per_second, self.with_per_second, self.ratio)
        {
            row(f, "all read, messages/s", format_args!("{without:.0}"))?;
            row(f, "some do not, messages/s", format_args!("{with:.0}"))?;
            row(f, "ratio of a turn", format_args!("{ratio:.3}"))?;
        }
        for (name, runs) in [("last without, us", &self.without), ("last with, us", &self.with)] {
            if let Some(last) = runs.last() {
                latency_row(f, name, &last.load.latency)?;
            }
        }
        shortfall_rows(f, &self.shortfalls)
    }
}
