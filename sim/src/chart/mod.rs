//! A run as a sequence chart in SVG: one line a client, an engine and the store, time downwards, what travels as
//! arrows from the moment of sending to the moment of arrival.
//!
//! ```
//! use switchboard_sim::{chart::{self, Chart}, generate::generate, world};
//!
//! let schedule = generate(7, "small").expect("a profile of this name");
//! let options = world::Options { trace: true, ..world::Options::default() };
//! let outcome = world::execute(&schedule, options);
//! let svg = chart::render(&Chart::of("seed 7 of profile small", &schedule, &outcome));
//! assert!(svg.starts_with("<svg"));
//! ```

mod draw;
mod head;
mod layout;
mod places;

use crate::check::Violation;
use crate::schedule::Schedule;
use crate::trace::Mark;
use crate::world::Outcome;

/// Rows that a chart has at the most, unless told otherwise: about ten screens.
pub const ROWS: usize = 300;

/// What a chart is to show.
#[derive(Clone, Copy, Debug)]
pub struct Chart<'a> {
    /// What it is: a seed with its profile, a file's name.
    pub title: &'a str,
    /// The schedule that was run; its clients, nodes and shards are the chart's lines.
    pub schedule: &'a Schedule,
    /// The log of the run.
    pub trace: &'a [Mark],
    /// What did not hold, if anything.
    pub violation: Option<&'a Violation>,
    /// Rows at the most; of a longer log the last are shown.
    pub rows: usize,
}

impl<'a> Chart<'a> {
    /// The chart of a run that was executed with [`crate::world::Options::trace`] set.
    #[must_use]
    pub fn of(title: &'a str, schedule: &'a Schedule, outcome: &'a Outcome) -> Self {
        Self { title, schedule, trace: &outcome.trace, violation: outcome.violation.as_ref(), rows: ROWS }
    }
}

/// Draws a chart: a complete SVG document, with a background of its own.
#[must_use]
pub fn render(chart: &Chart<'_>) -> String {
    draw::draw(chart, &layout::Layout::of(chart))
}
