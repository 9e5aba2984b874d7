//! The rounds, as they were run: now, or before, when their report was written.

use std::error::Error as _;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Measure, Peer, PeersOptions, Scenario};
use crate::load::LoadReport;
use crate::{BenchError, Latency};

/// One run of one load against one peer.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Run {
    /// What was measured.
    pub value: Option<f64>,
    /// Messages delivered per second.
    pub delivered_per_second: Option<f64>,
    /// How long they took.
    pub latency: Option<Latency>,
    /// What was asked for and not reached, in words; empty after a good run.
    pub shortfalls: Vec<String>,
}

impl Run {
    pub(super) fn of(value: Option<f64>, shortfalls: &[String]) -> Self {
        Self { value, shortfalls: shortfalls.to_vec(), ..Self::default() }
    }

    /// A run that has no result.
    pub(super) fn failed(error: &BenchError) -> Self {
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            why = format!("{why}: {cause}");
            source = cause.source();
        }
        Self::of(None, &[why])
    }

    /// What was measured, if the run did what was asked for.
    pub(super) fn cost(&self) -> Option<f64> {
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

/// All runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    pages: Vec<Page>,
}

/// One measure of one load.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Page {
    pub(super) scenario: Scenario,
    pub(super) measure: Measure,
    #[serde(rename = "cells")]
    pub(super) columns: Vec<Column>,
    /// Rounds before the one that is open.
    #[serde(skip)]
    rounds_closed: usize,
}

impl Page {
    #[cfg(test)]
    pub(super) const fn new(scenario: Scenario, measure: Measure, columns: Vec<Column>) -> Self {
        Self { scenario, measure, columns, rounds_closed: 0 }
    }
}

/// One peer's, round by round.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Column {
    pub(super) peer: Peer,
    pub(super) runs: Vec<Run>,
}

/// What is read of a report.
#[derive(Deserialize)]
struct Earlier {
    options: Value,
    sections: Vec<Page>,
}

impl Book {
    /// What a peer did in the round that is open.
    pub(super) fn enter(&mut self, scenario: Scenario, measure: Measure, peer: Peer, run: Run) {
        let is_it = |page: &Page| (page.scenario, page.measure) == (scenario, measure);
        let place = self.pages.iter().position(is_it).unwrap_or_else(|| {
            self.pages.push(Page { scenario, measure, columns: Vec::new(), rounds_closed: 0 });
            self.pages.len() - 1
        });
        let Some(page) = self.pages.get_mut(place) else { return };
        let rounds = page.rounds_closed;
        let place = page.columns.iter().position(|column| column.peer == peer).unwrap_or_else(|| {
            page.columns.push(Column { peer, runs: Vec::new() });
            page.columns.len() - 1
        });
        if let Some(Column { runs, .. }) = page.columns.get_mut(place) {
            // It was not in all rounds before this one.
            runs.resize(rounds, Run::default());
            runs.push(run);
        }
    }

    pub(super) fn close_round(&mut self) {
        for page in &mut self.pages {
            page.rounds_closed =
                page.columns.iter().map(|column| column.runs.len()).max().unwrap_or_default();
            for column in &mut page.columns {
                column.runs.resize(page.rounds_closed, Run::default());
            }
        }
    }

    /// Takes in the rounds of a report that was written before.
    pub(super) fn take_in(&mut self, file: &Path, options: &PeersOptions) -> Result<(), BenchError> {
        let failed = |what: String| BenchError::Earlier { path: file.to_owned(), what };
        let text = fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
        let earlier: Earlier = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
        let own = serde_json::to_value(options).map_err(|error| failed(error.to_string()))?;
        if let Some(option) = differs(&own, &earlier.options) {
            return Err(failed(format!("it was measured with another {option}")));
        }
        let rounds = |page: &Page| page.columns.iter().map(|column| column.runs.len()).max();
        let rounds = earlier.sections.iter().filter_map(rounds).max().unwrap_or_default();
        for round in 0..rounds {
            for Page { scenario, measure, columns, .. } in &earlier.sections {
                for Column { peer, runs } in columns {
                    if let Some(run) = runs.get(round) {
                        self.enter(*scenario, *measure, *peer, run.clone());
                    }
                }
            }
            self.close_round();
        }
        Ok(())
    }

    /// All of it, in the order of the report.
    pub(super) fn into_pages(mut self) -> Vec<Page> {
        self.pages.sort_by_key(|page| (page.scenario, page.measure));
        for page in &mut self.pages {
            page.columns.sort_by_key(|column| Peer::ALL.iter().position(|peer| *peer == column.peer));
        }
        self.pages
    }
}

/// The name of an option by which rounds cannot be compared.
fn differs(own: &Value, other: &Value) -> Option<String> {
    /// What may be another in each report.
    const FREE: [&str; 4] = ["peers", "loads", "runs", "connect_seconds"];
    let mut names = own.as_object()?.keys().filter(|name| !FREE.contains(&name.as_str()));
    names.find(|name| own.get(name.as_str()) != other.get(name.as_str())).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::PeersReport;

    const SCENARIO: (Scenario, Measure) = (Scenario::Broadcast { in_flight: 1 }, Measure::Cpu);

    fn enter(book: &mut Book, peer: Peer, value: f64) {
        book.enter(SCENARIO.0, SCENARIO.1, peer, Run::of(Some(value), &[]));
    }

    fn values(book: Book, peer: Peer) -> Vec<Option<f64>> {
        let mut pages = book.into_pages();
        let columns = pages.remove(0).columns.into_iter();
        columns
            .filter(|column| column.peer == peer)
            .flat_map(|column| column.runs)
            .map(|run| run.value)
            .collect()
    }

    #[test]
    fn a_peer_that_was_not_in_all_rounds_stays_beside_those_of_its_own() {
        let mut book = Book::default();
        enter(&mut book, Peer::Floor, 1.0);
        book.close_round();
        enter(&mut book, Peer::Switchboard, 4.0);
        enter(&mut book, Peer::Floor, 2.0);
        book.close_round();
        enter(&mut book, Peer::Floor, 3.0);
        book.close_round();
        assert_eq!(values(book, Peer::Switchboard), [None, Some(4.0), None]);
    }

    #[test]
    fn rounds_of_a_report_are_taken_in_and_those_of_other_options_are_not() {
        let mut book = Book::default();
        enter(&mut book, Peer::Switchboard, 4.0);
        enter(&mut book, Peer::Floor, 2.0);
        book.close_round();
        let options = PeersOptions::default();
        let report = PeersReport::of(options.clone(), book.into_pages(), Vec::new());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("peers.json");
        fs::write(&file, serde_json::to_vec(&report).unwrap()).unwrap();

        let mut book = Book::default();
        let runs = PeersOptions { runs: 2, ..options.clone() };
        book.take_in(&file, &runs).unwrap();
        book.take_in(&file, &runs).unwrap();
        assert_eq!(values(book, Peer::Switchboard), [Some(4.0), Some(4.0)]);
        let larger = PeersOptions { payload_bytes: 1024, ..options };
        let error = Book::default().take_in(&file, &larger).unwrap_err().to_string();
        assert!(error.ends_with("it was measured with another payload_bytes"), "{error}");
        fs::write(&file, "no report").unwrap();
        assert!(Book::default().take_in(&file, &larger).is_err());
    }
}
