//! What peers cost beside each other.

use std::fmt;
use std::thread;

use serde::Serialize;

use super::book::{Column, Page, Run};
use super::{Measure, Peer, PeersOptions, Scenario};
use crate::Spread;
use crate::report::row;

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PeersReport {
    /// What was asked for.
    pub options: PeersOptions,
    /// Each measure of each load, with all peers.
    pub sections: Vec<Section>,
    /// Peers that could not be built.
    pub left_out: Vec<LeftOut>,
    /// What is asked of Switchboard.
    pub bars: Vec<Bar>,
}

/// One measure of one load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Section {
    /// Which load.
    pub scenario: Scenario,
    /// What is measured of it.
    pub measure: Measure,
    /// The peers.
    pub cells: Vec<Cell>,
}

/// One peer under one load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// Which peer.
    pub peer: Peer,
    /// What was measured, of the runs that did not fall short.
    pub cost: Option<Spread>,
    /// That by the floor's of the same round.
    pub to_floor: Option<Spread>,
    /// That by axum's of the same round.
    pub to_axum: Option<Spread>,
    /// All runs, in their order; one of a round in which it took no part is empty.
    pub runs: Vec<Run>,
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
    /// How much.
    pub limit: Limit,
    /// Of the rounds, if all that it takes was measured; the median is judged.
    pub measured: Option<Spread>,
    /// Whether it holds; none if the runs were too short to be judged by.
    pub met: Option<bool>,
}

/// How much is asked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// No more.
    AtMost(f64),
    /// No less.
    AtLeast(f64),
}

impl Limit {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

impl Section {
    fn of(page: Page) -> Self {
        let Page { scenario, measure, columns, .. } = page;
        let runs_of = |peer| columns.iter().find(|column| column.peer == peer).map(|column| &column.runs);
        let (floor, axum) = (runs_of(Peer::Floor), runs_of(Peer::Axum));
        let ratio = |peer, runs: &[Run], other, others: Option<&Vec<Run>>| {
            others.filter(|_| peer != other).and_then(|others| ratio(runs, others, Run::cost))
        };
        let cells = columns.iter().map(|Column { peer, runs }| Cell {
            peer: *peer,
            cost: Spread::of(runs.iter().filter_map(Run::cost)),
            to_floor: ratio(*peer, runs, Peer::Floor, floor),
            to_axum: ratio(*peer, runs, Peer::Axum, axum),
            runs: runs.clone(),
        });
        Self { scenario, measure, cells: cells.collect() }
    }

    fn cell(&self, peer: Peer) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.peer == peer)
    }
}

/// Round by round, since the machine's pace changes more between rounds than within one.
fn ratio(runs: &[Run], others: &[Run], value: impl Fn(&Run) -> Option<f64>) -> Option<Spread> {
    let both = runs.iter().zip(others).filter_map(|(run, other)| value(run).zip(value(other)));
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
    pub(super) fn of(options: PeersOptions, pages: Vec<Page>, left_out: Vec<LeftOut>) -> Self {
        let sections: Vec<Section> = pages.into_iter().map(Section::of).collect();
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let bars = bars(&sections, options.judged, cores);
        Self { options, sections, left_out, bars }
    }

    /// Whether all bars are met that were judged, and Switchboard did all that was asked of it.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let ours = self.sections.iter().flat_map(|section| &section.cells);
        let mut ours = ours.filter(|cell| cell.peer == Peer::Switchboard);
        self.bars.iter().all(|bar| bar.met != Some(false)) && ours.all(|cell| cell.shortfalls().is_empty())
    }
}

/// Two shards, their clients and the store need so many cores, before two of them can do the work of two.
const CORES_OF_TWO_SHARDS: usize = 4;

/// What is asked of Switchboard.
fn bars(sections: &[Section], judged: bool, cores: usize) -> Vec<Bar> {
    let find = |scenario, is_it: fn(Measure) -> bool| {
        // Of several times at which memory was read, the last one counts.
        sections.iter().rfind(|section| section.scenario == scenario && is_it(section.measure))
    };
    let bar = |what: String, limit: Limit, measured: Option<Spread>| {
        let met = measured.filter(|_| judged).map(|measured| limit.holds(measured.median));
        Bar { what, limit, measured, met }
    };
    let cpu = |scenario| find(scenario, |measure| measure == Measure::Cpu);
    let ours = |section: Option<&Section>, of: fn(&Cell) -> Option<Spread>| {
        section.and_then(|section| of(section.cell(Peer::Switchboard)?))
    };
    let broadcast = |in_flight| Scenario::Broadcast { in_flight };
    let direct = |in_flight| Scenario::Direct { in_flight };
    let mut bars = Vec::new();
    let floors = [(broadcast(1), 1.10), (broadcast(16), 1.10), (direct(1), 1.15), (direct(16), 1.15)];
    for (scenario, limit) in floors {
        let what = format!("switchboard / floor, CPU, {scenario}");
        bars.push(bar(what, Limit::AtMost(limit), ours(cpu(scenario), |cell| cell.to_floor)));
    }
    for (scenario, limit) in [(broadcast(16), 0.15), (direct(1), 0.60)] {
        let what = format!("switchboard / axum, CPU, {scenario}");
        bars.push(bar(what, Limit::AtMost(limit), ours(cpu(scenario), |cell| cell.to_axum)));
    }
    let memory = find(Scenario::Idle, |measure| matches!(measure, Measure::Memory { .. }));
    bars.push(bar(
        "idle, KiB of a connection".to_owned(),
        Limit::AtMost(2.0),
        ours(memory, |cell| cell.cost),
    ));
    let welcomed = find(Scenario::Storm, |measure| measure == Measure::Welcomed);
    let what = "switchboard / floor, storm, until all are welcomed".to_owned();
    bars.push(bar(what, Limit::AtMost(1.5), ours(welcomed, |cell| cell.to_floor)));
    let staying = find(Scenario::Storm, |measure| measure == Measure::Staying);
    let what = "storm, p99 of those that stay, ms".to_owned();
    bars.push(bar(what, Limit::AtMost(50.0), ours(staying, |cell| cell.cost)));
    let share = find(Scenario::Stall, |measure| measure == Measure::Share);
    let what = "stall, throughput with / without those that do not read".to_owned();
    bars.push(bar(what, Limit::AtLeast(0.95), ours(share, |cell| cell.cost)));
    for scenario in [broadcast(16), direct(16)] {
        let both = cpu(scenario).and_then(|section| {
            Some((&section.cell(Peer::TwoShards)?.runs, &section.cell(Peer::Switchboard)?.runs))
        });
        let what = format!("two shards / one, CPU, {scenario}");
        let measured = both.and_then(|(two, one)| ratio(two, one, Run::cost));
        bars.push(bar(what, Limit::AtMost(1.1), measured));
        if cores >= CORES_OF_TWO_SHARDS {
            let what = format!("two shards / one, messages per second, {scenario}");
            let rate = |run: &Run| run.cost().and(run.delivered_per_second);
            bars.push(bar(what, Limit::AtLeast(1.8), both.and_then(|(two, one)| ratio(two, one, rate))));
        }
    }
    bars
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broadcast { in_flight } => write!(f, "broadcast, {in_flight} in flight"),
            Self::Direct { in_flight } => write!(f, "direct, {in_flight} in flight"),
            Self::Idle => f.write_str("idle"),
            Self::Storm => f.write_str("storm"),
            Self::Stall => f.write_str("stall"),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("CPU us/message"),
            #[allow(clippy::cast_precision_loss, reason = "milliseconds of an hour are far below 2^52")]
            Self::Memory { after_ms } => {
                write!(f, "KiB/connection after {} s", *after_ms as f64 / 1e3)
            }
            Self::Welcomed => f.write_str("s until all are welcomed"),
            Self::Staying => f.write_str("p99 of those that stay, ms"),
            Self::Share => f.write_str("throughput with / without"),
        }
    }
}

impl fmt::Display for PeersReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PeersOptions { recipients, clients, connections, storming, stalled, payload_bytes, .. } =
            self.options;
        writeln!(
            f,
            "peers: broadcast to {recipients}, direct among {clients}, {payload_bytes} bytes; {connections} idle; a storm \
             of {storming}; {stalled} of {recipients} that do not read"
        )?;
        writeln!(f, "median (smallest to largest) of the rounds; ratios are of the same round")?;
        for Section { scenario, measure, cells } in &self.sections {
            let rounds = cells.iter().map(|cell| cell.runs.len()).max().unwrap_or_default();
            writeln!(f, "\n{scenario}: {measure}; rounds: {rounds}")?;
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
        self.bars.iter().try_for_each(|bar| self.bar(bar, f))
    }
}

impl PeersReport {
    fn bar(&self, bar: &Bar, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bar { what, limit, measured, met } = bar;
        let measured = measured.map_or_else(|| "-".to_owned(), |value| value.to_string());
        let limit = match limit {
            Limit::AtMost(limit) => format!("at most {limit:.2}"),
            Limit::AtLeast(limit) => format!("at least {limit:.2}"),
        };
        let verdict = match met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None if self.options.judged => "not measured",
            None => "too short to judge",
        };
        writeln!(f, "  {what:<56} {measured:>22}, {limit}: {verdict}")
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
        let good = self.runs.iter().filter(|run| run.cost().is_some()).count();
        let ran = self.runs.iter().filter(|run| **run != Run::default()).count();
        row(f, "", format_args!("of {good} of {ran} runs; fell short: {short}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: (Scenario, Measure) = (Scenario::Broadcast { in_flight: 1 }, Measure::Cpu);

    fn runs(values: &[f64]) -> Vec<Run> {
        values.iter().map(|value| Run::of(Some(*value), &[])).collect()
    }

    fn page((scenario, measure): (Scenario, Measure), columns: Vec<(Peer, Vec<Run>)>) -> Page {
        let columns = columns.into_iter().map(|(peer, runs)| Column { peer, runs });
        Page::new(scenario, measure, columns.collect())
    }

    fn report(judged: bool, columns: Vec<(Peer, Vec<Run>)>) -> PeersReport {
        let left_out = vec![LeftOut { peer: Peer::Go, why: "go is not installed".to_owned() }];
        PeersReport::of(
            PeersOptions { judged, ..PeersOptions::default() },
            vec![page(CPU, columns)],
            left_out,
        )
    }

    #[test]
    fn ratios_are_those_of_one_round() {
        // The machine becomes slower and slower, for both of them.
        let ours = (Peer::Switchboard, runs(&[10.5, 21.0, 31.5]));
        let report = report(true, vec![ours, (Peer::Floor, runs(&[10.0, 20.0, 30.0]))]);
        let cell = &report.sections[0].cells[0];
        assert_eq!(cell.cost, Some(Spread { median: 21.0, min: 10.5, max: 31.5 }));
        assert!((cell.to_floor.unwrap().max - 1.05).abs() < 1e-9);
        assert_eq!(cell.to_axum, None);
        let bar = &report.bars[0];
        let what = "switchboard / floor, CPU, broadcast, 1 in flight";
        assert_eq!((bar.what.as_str(), bar.met), (what, Some(true)));
        assert!(report.is_good());
        let text = report.to_string();
        assert!(text.contains("21.00 (10.50 to 31.50)") && text.contains("1.05 x floor"), "{text}");
        assert!(text.contains("left out\n  go                       go is not installed"), "{text}");
    }

    #[test]
    fn a_bar_that_is_missed_is_said_and_a_quick_run_judges_none() {
        let columns = || vec![(Peer::Switchboard, runs(&[2.0])), (Peer::Floor, runs(&[1.0]))];
        let missed = report(true, columns());
        assert_eq!(missed.bars[0].met, Some(false));
        assert!(
            missed.to_string().contains("2.00 (2.00 to 2.00), at most 1.10: MISSED") && !missed.is_good()
        );
        let quick = report(false, columns());
        assert_eq!((quick.bars[0].measured, quick.bars[0].met), (Some(Spread::single(2.0)), None));
        assert!(quick.to_string().contains("too short to judge") && quick.is_good());
    }

    #[test]
    fn runs_that_fell_short_do_not_count() {
        let mut half = runs(&[9.0, 3.0]);
        half[0].shortfalls.push("15 clients: closed".to_owned());
        let mut none = runs(&[9.0, 9.0]);
        none.iter_mut().for_each(|run| run.shortfalls.push("all clients: closed".to_owned()));
        let (ours, floor) = ((Peer::Switchboard, runs(&[2.0, 2.0])), (Peer::Floor, runs(&[1.0, 2.0])));
        let report = report(true, vec![ours, floor, (Peer::GoBuffered, half), (Peer::Node, none)]);
        let cells = &report.sections[0].cells;
        assert_eq!(cells[2].cost.map(|cost| cost.max), Some(3.0));
        assert_eq!(cells[2].to_floor.map(|ratio| ratio.median), Some(1.5));
        let text = report.to_string();
        assert!(text.contains("of 1 of 2 runs; fell short: 15 clients: closed"), "{text}");
        assert!(text.contains("node                     fell short: all clients: closed\n"), "{text}");
        assert!(report.chart().contains("all clients: closed"));
    }

    #[test]
    fn every_bar_is_judged_by_its_own_measure() {
        let ours = |value| (Peer::Switchboard, runs(&[value]));
        let floor = |value| (Peer::Floor, runs(&[value]));
        let rated = |cpu, rate| vec![Run { delivered_per_second: Some(rate), ..Run::of(Some(cpu), &[]) }];
        let memory = |after_ms| (Scenario::Idle, Measure::Memory { after_ms });
        let direct = (Scenario::Direct { in_flight: 16 }, Measure::Cpu);
        let both = vec![(Peer::Switchboard, rated(2.0, 100.0)), (Peer::TwoShards, rated(2.4, 190.0))];
        let pages = [
            page(direct, both),
            page(memory(2000), vec![ours(2.5)]),
            page(memory(15_000), vec![ours(1.9)]),
            page((Scenario::Storm, Measure::Welcomed), vec![ours(1.4), floor(1.0)]),
            page((Scenario::Storm, Measure::Staying), vec![ours(60.0), floor(1.0)]),
            page((Scenario::Stall, Measure::Share), vec![ours(0.96)]),
        ];
        let sections: Vec<Section> = pages.into_iter().map(Section::of).collect();
        let met = |cores| {
            let bars = bars(&sections, true, cores).into_iter();
            bars.filter_map(|bar| Some((bar.what, bar.met?))).collect::<Vec<_>>()
        };
        let here = [
            ("idle, KiB of a connection", true),
            ("switchboard / floor, storm, until all are welcomed", true),
            ("storm, p99 of those that stay, ms", false),
            ("stall, throughput with / without those that do not read", true),
            ("two shards / one, CPU, direct, 16 in flight", false),
        ];
        let here: Vec<(String, bool)> = here.map(|(what, met)| (what.to_owned(), met)).to_vec();
        assert_eq!(met(2), here);
        let there = met(8);
        let more = ("two shards / one, messages per second, direct, 16 in flight".to_owned(), true);
        assert_eq!((there.len(), there.last()), (here.len() + 1, Some(&more)));
    }
}
