//! What peers cost beside each other.

use std::error::Error as _;
use std::fmt;

use serde::Serialize;

use super::{Peer, PeersOptions, Scenario};
use crate::load::LoadReport;
use crate::report::row;
use crate::{BenchError, Latency, Spread};

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PeersReport {
    /// What was asked for.
    pub options: PeersOptions,
    /// Each load with all peers.
    pub scenarios: Vec<ScenarioReport>,
    /// Peers that could not be built.
    pub left_out: Vec<LeftOut>,
    /// What is asked of Switchboard.
    pub bars: Vec<Bar>,
}

/// One load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScenarioReport {
    /// Which.
    pub scenario: Scenario,
    /// The peers, in the order in which they were asked for.
    pub cells: Vec<Cell>,
}

/// One peer under one load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// Which peer.
    pub peer: Peer,
    /// CPU time of the server for each delivered message in microseconds, or its memory for each connection in KiB; of
    /// the runs that did not fall short.
    pub cost: Option<Spread>,
    /// That cost by the floor's of the same round.
    pub to_floor: Option<Spread>,
    /// That cost by axum's of the same round.
    pub to_axum: Option<Spread>,
    /// All runs, in their order.
    pub runs: Vec<Run>,
}

/// One run of one load against one peer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// What it cost.
    pub value: Option<f64>,
    /// Messages delivered per second.
    pub delivered_per_second: Option<f64>,
    /// How long they took.
    pub latency: Option<Latency>,
    /// What was asked for and not reached, in words; empty after a good run.
    pub shortfalls: Vec<String>,
}

/// A peer that could not be built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Which.
    pub peer: Peer,
    /// Why.
    pub why: String,
}

/// Something that is asked of Switchboard.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bar {
    /// What of, in words.
    pub what: String,
    /// At most this.
    pub limit: f64,
    /// The median of the rounds, if all that it takes was measured.
    pub measured: Option<f64>,
    /// Whether it holds; none if the runs were too short to be judged by.
    pub met: Option<bool>,
}

impl Run {
    /// A run that has no result.
    pub(super) fn failed(error: &BenchError) -> Self {
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            why = format!("{why}: {cause}");
            source = cause.source();
        }
        Self { value: None, delivered_per_second: None, latency: None, shortfalls: vec![why] }
    }

    /// What it cost, if it did what was asked for.
    fn cost(&self) -> Option<f64> {
        self.value.filter(|_| self.shortfalls.is_empty())
    }
}

impl From<LoadReport> for Run {
    fn from(load: LoadReport) -> Self {
        let LoadReport { server_cpu_us_per_message: value, latency, shortfalls, .. } = load;
        let delivered_per_second = Some(load.delivered_per_second);
        Self { value, delivered_per_second, latency: Some(latency), shortfalls }
    }
}

impl ScenarioReport {
    /// From the runs of each peer.
    pub(super) fn of(scenario: Scenario, peers: &[Peer], runs: &[Vec<Run>]) -> Self {
        let runs_of = |peer| peers.iter().position(|other| *other == peer).and_then(|place| runs.get(place));
        let (floor, axum) = (runs_of(Peer::Floor), runs_of(Peer::Axum));
        let cells = peers.iter().zip(runs).map(|(&peer, runs)| Cell {
            peer,
            cost: Spread::of(runs.iter().filter_map(Run::cost)),
            to_floor: floor.filter(|_| peer != Peer::Floor).and_then(|floor| ratio(runs, floor)),
            to_axum: axum.filter(|_| peer != Peer::Axum).and_then(|axum| ratio(runs, axum)),
            runs: runs.clone(),
        });
        Self { scenario, cells: cells.collect() }
    }
}

/// Round by round, since the machine's pace changes more between rounds than within one.
fn ratio(runs: &[Run], others: &[Run]) -> Option<Spread> {
    let both = runs.iter().zip(others).filter_map(|(run, other)| run.cost().zip(other.cost()));
    Spread::of(both.filter(|(_, other)| *other > 0.0).map(|(cost, other)| cost / other))
}

impl Cell {
    /// What it fell short of, each thing once.
    pub(super) fn shortfalls(&self) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for why in self.runs.iter().flat_map(|run| &run.shortfalls) {
            if !all.contains(&why.as_str()) {
                all.push(why);
            }
        }
        all
    }
}

impl PeersReport {
    pub(super) fn of(options: PeersOptions, scenarios: Vec<ScenarioReport>, left_out: Vec<LeftOut>) -> Self {
        let bars = bars(&scenarios, options.judged);
        Self { options, scenarios, left_out, bars }
    }

    /// Whether all bars are met that were judged, and Switchboard did all that was asked of it.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let ours = self.scenarios.iter().flat_map(|scenario| &scenario.cells);
        let mut ours = ours.filter(|cell| cell.peer == Peer::Switchboard);
        self.bars.iter().all(|bar| bar.met != Some(false)) && ours.all(|cell| cell.shortfalls().is_empty())
    }
}

/// What is asked of Switchboard; of what was not measured there is no bar.
fn bars(scenarios: &[ScenarioReport], judged: bool) -> Vec<Bar> {
    let bar = |what: &str, scenario: Scenario, limit: f64, of: fn(&Cell) -> Option<Spread>| {
        let cells = scenarios.iter().find(|report| report.scenario == scenario).map(|report| &report.cells);
        let cell = cells.and_then(|cells| cells.iter().find(|cell| cell.peer == Peer::Switchboard));
        let measured = cell.and_then(of).map(|spread| spread.median);
        let met = measured.filter(|_| judged).map(|measured| measured <= limit);
        Bar { what: format!("{what}, {scenario}"), limit, measured, met }
    };
    let broadcast = |in_flight| Scenario::Broadcast { in_flight };
    let direct = |in_flight| Scenario::Direct { in_flight };
    vec![
        bar("switchboard / floor", broadcast(1), 1.10, |cell| cell.to_floor),
        bar("switchboard / floor", broadcast(16), 1.10, |cell| cell.to_floor),
        bar("switchboard / floor", direct(1), 1.15, |cell| cell.to_floor),
        bar("switchboard / floor", direct(16), 1.15, |cell| cell.to_floor),
        bar("switchboard / axum", broadcast(16), 0.15, |cell| cell.to_axum),
        bar("switchboard / axum", direct(1), 0.60, |cell| cell.to_axum),
        bar("KiB of a connection", Scenario::Idle, 2.0, |cell| cell.cost),
    ]
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broadcast { in_flight } => write!(f, "broadcast, {in_flight} in flight"),
            Self::Direct { in_flight } => write!(f, "direct, {in_flight} in flight"),
            Self::Idle => f.write_str("idle"),
        }
    }
}

impl fmt::Display for PeersReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PeersOptions { runs, recipients, clients, connections, payload_bytes, .. } = self.options;
        writeln!(
            f,
            "peers: broadcast to {recipients}, direct among {clients}, {payload_bytes} bytes; {connections} idle; rounds: {runs}"
        )?;
        writeln!(f, "median (smallest to largest); ratios are of the same round")?;
        for ScenarioReport { scenario, cells } in &self.scenarios {
            writeln!(f, "\n{scenario}: {}", scenario.measure())?;
            for cell in cells {
                cell.fmt(f)?;
            }
        }
        if !self.left_out.is_empty() {
            writeln!(f, "\nleft out")?;
        }
        for LeftOut { peer, why } in &self.left_out {
            row(f, peer.name(), format_args!("{why}"))?;
        }
        writeln!(f, "\nbars")?;
        for Bar { what, limit, measured, met } in &self.bars {
            let measured = measured.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
            let verdict = match met {
                Some(true) => "met",
                Some(false) => "MISSED",
                None if self.options.judged => "not measured",
                None => "too short to judge",
            };
            writeln!(f, "  {what:<44} {measured:>6}, at most {limit:.2}: {verdict}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The others follow from the first, and are in the runs.
        let short = self.shortfalls().first().copied();
        let Some(cost) = self.cost else {
            let why = short.unwrap_or("its process has ended");
            return row(f, self.peer.name(), format_args!("fell short: {why}"));
        };
        let ratio = |of: Option<Spread>, name: &str| {
            of.map_or_else(String::new, |ratio| format!("{:.2} x {name}", ratio.median))
        };
        let (floor, axum) = (ratio(self.to_floor, "floor"), ratio(self.to_axum, "axum"));
        let line = format!("{:<28} {floor:<14} {axum}", cost.to_string());
        row(f, self.peer.name(), format_args!("{}", line.trim_end()))?;
        let Some(short) = short else { return Ok(()) };
        let good = self.runs.iter().filter(|run| run.shortfalls.is_empty()).count();
        row(f, "", format_args!("of {good} of {} runs; fell short: {short}", self.runs.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(values: &[f64]) -> Vec<Run> {
        let run = |value: &f64| Run {
            value: Some(*value),
            delivered_per_second: None,
            latency: None,
            shortfalls: Vec::new(),
        };
        values.iter().map(run).collect()
    }

    fn report(judged: bool, peers: &[Peer], values: &[Vec<Run>]) -> PeersReport {
        let scenarios = vec![ScenarioReport::of(Scenario::Broadcast { in_flight: 1 }, peers, values)];
        let left_out = vec![LeftOut { peer: Peer::Go, why: "go is not installed".to_owned() }];
        PeersReport::of(PeersOptions { judged, runs: 3, ..PeersOptions::default() }, scenarios, left_out)
    }

    #[test]
    fn ratios_are_those_of_one_round() {
        let peers = [Peer::Switchboard, Peer::Floor];
        // The machine becomes slower and slower, for both of them.
        let report = report(true, &peers, &[runs(&[10.5, 21.0, 31.5]), runs(&[10.0, 20.0, 30.0])]);
        let cell = &report.scenarios[0].cells[0];
        assert_eq!(cell.cost, Some(Spread { median: 21.0, min: 10.5, max: 31.5 }));
        assert!((cell.to_floor.unwrap().max - 1.05).abs() < 1e-9);
        assert_eq!(cell.to_axum, None);
        let bar = &report.bars[0];
        assert_eq!((bar.what.as_str(), bar.met), ("switchboard / floor, broadcast, 1 in flight", Some(true)));
        assert!(report.is_good());
        let text = report.to_string();
        assert!(text.contains("21.00 (10.50 to 31.50)") && text.contains("1.05 x floor"), "{text}");
        assert!(text.contains("left out\n  go                       go is not installed"), "{text}");
    }

    #[test]
    fn a_bar_that_is_missed_is_said_and_a_quick_run_judges_none() {
        let peers = [Peer::Switchboard, Peer::Floor];
        let values = || [runs(&[2.0]), runs(&[1.0])];
        let missed = report(true, &peers, &values());
        assert_eq!(missed.bars[0].met, Some(false));
        assert!(missed.to_string().contains("2.00, at most 1.10: MISSED") && !missed.is_good());
        let quick = report(false, &peers, &values());
        assert_eq!((quick.bars[0].measured, quick.bars[0].met), (Some(2.0), None));
        assert!(quick.to_string().contains("too short to judge") && quick.is_good());
    }

    #[test]
    fn runs_that_fell_short_do_not_count() {
        let peers = [Peer::Switchboard, Peer::Floor, Peer::GoBuffered, Peer::Node];
        let mut half = runs(&[9.0, 3.0]);
        half[0].shortfalls.push("15 clients: closed".to_owned());
        let mut none = runs(&[9.0, 9.0]);
        none.iter_mut().for_each(|run| run.shortfalls.push("all clients: closed".to_owned()));
        let report = report(true, &peers, &[runs(&[2.0, 2.0]), runs(&[1.0, 2.0]), half, none]);
        let cells = &report.scenarios[0].cells;
        assert_eq!(cells[2].cost.map(|cost| cost.max), Some(3.0));
        assert_eq!(cells[2].to_floor.map(|ratio| ratio.median), Some(1.5));
        let text = report.to_string();
        assert!(text.contains("of 1 of 2 runs; fell short: 15 clients: closed"), "{text}");
        assert!(text.contains("node                     fell short: all clients: closed\n"), "{text}");
        assert!(report.chart().contains("all clients: closed"));
    }
}
