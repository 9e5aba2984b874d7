//! Where everything of a chart goes: which lines there are, and at which height each mark is.
//!
//! Whatever has a label has a row of its own, so no two labels meet. What has none, such as the moment at which
//! something leaves, is at the height of the row that it happens in.

use std::collections::{BTreeMap, BTreeSet};

use super::Chart;
use crate::schedule::Schedule;
use crate::trace::{Kind, Lane, State, Via};

/// Height of a row, in pixels.
const ROW: f64 = 24.0;
/// What a row without a label needs.
const TICK: f64 = 18.0;
/// What a second line of a label needs.
const SECOND_LINE: f64 = 13.0;
/// What the mark for time that passes needs.
const PAUSE: f64 = 24.0;
/// From which time without an event on this is marked, in microseconds: several times what a frame travels.
const PAUSE_US: u64 = 20_000;
/// Lines up to which those on which nothing happens are drawn too.
const QUIET_LANES: usize = 12;
/// Things still on their way at the end that are drawn.
const UNDERWAY: usize = 8;

/// How something that was sent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Arrived,
    Lost(&'static str),
    /// The log ends before it does.
    Underway,
}

/// Something that travels.
#[derive(Clone, Debug)]
pub(super) struct Arrow<'a> {
    pub(super) from: Lane,
    pub(super) to: Lane,
    pub(super) via: Via,
    pub(super) text: &'a str,
    pub(super) fate: Fate,
    pub(super) left_us: u64,
    pub(super) end_us: u64,
    pub(super) left_y: f64,
    pub(super) end_y: f64,
}

/// A state that lasts.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) lane: Lane,
    pub(super) state: State,
    pub(super) from_y: f64,
    pub(super) until_y: f64,
}

/// What stands in a row, besides an arrow's end.
#[derive(Clone, Debug)]
pub(super) enum Label<'a> {
    Step { id: u32, text: &'a str, fault: bool, about: &'a [Lane] },
    Note { lane: Lane, text: &'a str },
}

/// What a chart is made of, with heights in pixels below the chart's head.
#[derive(Debug, Default)]
pub(super) struct Layout<'a> {
    pub(super) lanes: Vec<Lane>,
    /// Lines that are left out because nothing happens on them.
    pub(super) quiet: Vec<Lane>,
    pub(super) arrows: Vec<Arrow<'a>>,
    pub(super) spans: Vec<Span>,
    pub(super) labels: Vec<(f64, Label<'a>)>,
    pub(super) times: Vec<(f64, u64)>,
    /// Where nothing happens for long: height and time, in microseconds.
    pub(super) pauses: Vec<(f64, u64)>,
    /// Rows left out before the first that is shown.
    pub(super) left_out: usize,
    pub(super) height: f64,
}

/// What is sent and what lasts, with the places of their ends in the log.
#[derive(Debug, Default)]
struct Ends {
    /// By number: the places where it begins and ends.
    of: BTreeMap<u32, (usize, Option<usize>)>,
}

impl Ends {
    fn of(chart: &Chart<'_>) -> Self {
        let mut ends = Self::default();
        for (place, mark) in chart.trace.iter().enumerate() {
            match &mark.kind {
                Kind::Sent { transfer: name, .. } | Kind::Began { span: name, .. } => {
                    ends.of.insert(*name, (place, None));
                }
                Kind::Arrived { transfer: name }
                | Kind::Lost { transfer: name, .. }
                | Kind::Ended { span: name } => {
                    if let Some((_, end)) = ends.of.get_mut(name) {
                        *end = Some(place);
                    }
                }
                Kind::Step { .. } | Kind::Note { .. } => {}
            }
        }
        ends
    }

    /// The mark that a span or transfer began with.
    fn first<'a>(&self, chart: &Chart<'a>, name: u32) -> Option<&'a Kind> {
        self.of.get(&name).map(|(place, _)| &chart.trace[*place].kind)
    }

    /// Whether a state lasts at all.
    fn lasts(&self, chart: &Chart<'_>, span: u32) -> bool {
        match self.of.get(&span) {
            Some((from, Some(until))) => chart.trace[*from].at_us < chart.trace[*until].at_us,
            Some((_, None)) => true,
            None => false,
        }
    }

    /// The height of the row that a mark needs; zero if it needs none.
    fn row(&self, chart: &Chart<'_>, place: usize) -> f64 {
        match &chart.trace[place].kind {
            Kind::Step { .. } | Kind::Note { .. } => ROW,
            Kind::Arrived { transfer } if self.of.contains_key(transfer) => ROW,
            Kind::Lost { transfer, .. } if self.of.contains_key(transfer) => ROW + SECOND_LINE,
            Kind::Began { span, text, .. } if !text.is_empty() && self.lasts(chart, *span) => ROW,
            Kind::Ended { span } if self.lasts(chart, *span) => match self.first(chart, *span) {
                Some(Kind::Began { state: State::Down, .. }) => ROW,
                _ => 0.0,
            },
            Kind::Arrived { .. }
            | Kind::Lost { .. }
            | Kind::Began { .. }
            | Kind::Ended { .. }
            | Kind::Sent { .. } => 0.0,
        }
    }
}

impl<'a> Layout<'a> {
    pub(super) fn of(chart: &Chart<'a>) -> Self {
        let ends = Ends::of(chart);
        let rows: Vec<_> = (0..chart.trace.len()).filter(|place| ends.row(chart, *place) > 0.0).collect();
        let mut layout = Self { left_out: rows.len().saturating_sub(chart.rows), ..Self::default() };
        let first = if layout.left_out > 0 { rows[layout.left_out] } else { 0 };
        let heights = layout.place_rows(chart, &ends, first);
        layout.place_labels(chart, &ends, first, &heights);
        layout.place_ends(chart, &ends, first, &heights);
        layout.choose_lanes(chart.schedule);
        layout
    }

    /// The height of every mark from `first` on; also the times and pauses.
    fn place_rows(&mut self, chart: &Chart<'a>, ends: &Ends, first: usize) -> Vec<f64> {
        let mut heights = Vec::with_capacity(chart.trace.len() - first);
        let (mut y, mut below, mut now_us) = (0.0, 0.0, None);
        for place in first..chart.trace.len() {
            let at_us = chart.trace[place].at_us;
            let row = ends.row(chart, place);
            let shown = row > 0.0 || matches!(chart.trace[place].kind, Kind::Sent { .. });
            if now_us != Some(at_us) && shown {
                let passed_us = now_us.map_or(0, |now_us| at_us.saturating_sub(now_us));
                if passed_us >= PAUSE_US {
                    self.pauses.push((y + below + PAUSE / 2.0, passed_us));
                    below += PAUSE;
                }
                y += below + if row > 0.0 { ROW } else { TICK };
                self.times.push((y, at_us));
                below = (row - ROW).max(0.0);
                now_us = Some(at_us);
            } else if row > 0.0 {
                y += below + ROW;
                below = row - ROW;
            }
            heights.push(y);
        }
        self.height = y + below + TICK;
        heights
    }

    fn place_labels(&mut self, chart: &Chart<'a>, ends: &Ends, first: usize, heights: &[f64]) {
        for (mark, (place, y)) in chart.trace[first..].iter().zip((first..).zip(heights)) {
            let label = match &mark.kind {
                Kind::Step { id, text, fault, about } => Label::Step { id: *id, text, fault: *fault, about },
                Kind::Note { lane, text } => Label::Note { lane: *lane, text },
                Kind::Began { lane, text, .. } if ends.row(chart, place) > 0.0 => {
                    Label::Note { lane: *lane, text }
                }
                Kind::Ended { span } if ends.row(chart, place) > 0.0 => match ends.first(chart, *span) {
                    Some(Kind::Began { lane, .. }) => Label::Note { lane: *lane, text: "starts again" },
                    _ => continue,
                },
                Kind::Began { .. }
                | Kind::Ended { .. }
                | Kind::Sent { .. }
                | Kind::Arrived { .. }
                | Kind::Lost { .. } => continue,
            };
            self.labels.push((*y, label));
        }
    }

    /// Arrows and spans, of which at least the end is shown.
    fn place_ends(&mut self, chart: &Chart<'a>, ends: &Ends, first: usize, heights: &[f64]) {
        let height = |place: usize| place.checked_sub(first).map_or(0.0, |place| heights[place]);
        let last_us = chart.trace.last().map_or(0, |mark| mark.at_us);
        let underway = |kind: &Kind| matches!(kind, Kind::Sent { .. });
        let open = ends.of.values().filter(|(from, end)| end.is_none() && underway(&chart.trace[*from].kind));
        let mut passed_over = open.count().saturating_sub(UNDERWAY);
        for (from, end) in ends.of.values() {
            if end.is_some_and(|end| end < first) {
                continue;
            }
            let begun = &chart.trace[*from];
            let (left_us, left_y) = (begun.at_us, height(*from));
            match &begun.kind {
                Kind::Sent { from, to, via, text, .. } => {
                    let (fate, end_us, end_y) = match end.map(|end| (&chart.trace[end], height(end))) {
                        Some((mark, y)) => {
                            let lost = if let Kind::Lost { why, .. } = mark.kind { Some(why) } else { None };
                            (lost.map_or(Fate::Arrived, Fate::Lost), mark.at_us, y)
                        }
                        None if passed_over > 0 => {
                            passed_over -= 1;
                            continue;
                        }
                        None => {
                            self.height += ROW + SECOND_LINE;
                            (Fate::Underway, last_us, self.height - SECOND_LINE - TICK)
                        }
                    };
                    let (from, to, via) = (*from, *to, *via);
                    self.arrows.push(Arrow { from, to, via, text, fate, left_us, end_us, left_y, end_y });
                }
                Kind::Began { span, lane, state, .. } if ends.lasts(chart, *span) => {
                    let until_y = end.map_or(f64::INFINITY, height);
                    self.spans.push(Span { lane: *lane, state: *state, from_y: left_y, until_y });
                }
                Kind::Step { .. }
                | Kind::Note { .. }
                | Kind::Arrived { .. }
                | Kind::Lost { .. }
                | Kind::Began { .. }
                | Kind::Ended { .. } => {}
            }
        }
    }

    /// All lines if they are few; otherwise those on which something happens.
    fn choose_lanes(&mut self, schedule: &Schedule) {
        let s = &schedule.settings;
        let clients = (0..schedule.clients.len() as u16).map(Lane::Client);
        let per_node = s.shards as u16;
        let shards = (0..s.nodes as u16).flat_map(|n| (0..per_node).map(move |shard| Lane::Shard(n, shard)));
        let all: Vec<_> = clients.chain(shards).chain([Lane::Store]).collect();
        let mut busy = BTreeSet::new();
        for arrow in &self.arrows {
            busy.extend([arrow.from, arrow.to]);
        }
        for (_, label) in &self.labels {
            match label {
                Label::Step { about, .. } => busy.extend(about.iter().copied()),
                Label::Note { lane, .. } => busy.extend([*lane]),
            }
        }
        if all.len() > QUIET_LANES {
            (self.lanes, self.quiet) = all.into_iter().partition(|lane| busy.contains(lane));
        } else {
            self.lanes = all;
        }
    }
}
