//! The report as a chart.

use super::{Cell, Peer, PeersReport, Section};
use crate::plot::{self, Bar, Paint, Panel};

impl PeersReport {
    /// Bars of all loads: a complete SVG document.
    #[must_use]
    pub fn chart(&self) -> String {
        let panels: Vec<Panel> = self.sections.iter().map(panel).collect();
        plot::draw("What a message costs the server, and what a connection", &panels)
    }
}

fn panel(section: &Section) -> Panel {
    let Section { scenario, measure, cells } = section;
    Panel { title: format!("{scenario}: {measure}"), bars: cells.iter().map(bar).collect() }
}

fn bar(cell: &Cell) -> Bar {
    let paint = match cell.peer {
        Peer::Switchboard | Peer::TwoShards => Paint::Own,
        Peer::Floor => Paint::Yardstick,
        Peer::Axum | Peer::Node | Peer::Go | Peer::GoBuffered => Paint::Other,
    };
    let instead = Some(("fell short".to_owned(), cell.shortfalls().join("; ")));
    Bar { name: cell.peer.name().to_owned(), paint, value: cell.cost, instead }
}
