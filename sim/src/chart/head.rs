//! What stands above the lines: title, verdict, notes and legend.

use svg::node::element::{Definitions, Group, Path, Pattern};

use super::Chart;
use super::draw::{MARGIN, TIME_X, cross, line, look, rect, shaft, text};
use super::layout::Layout;
use super::places::{Places, STEP_X, clean, wrapped};
use crate::trace::{State, Via};

/// The hatchings of states.
pub(super) fn patterns() -> Definitions {
    let hatching = |id: &str, ground: &str, ink: &str| {
        Pattern::new()
            .set("id", id)
            .set("width", 6)
            .set("height", 6)
            .set("patternUnits", "userSpaceOnUse")
            .add(rect(0.0, 0.0, 6.0, 6.0, ground, "none"))
            .add(Path::new().set("d", "M-1,1 l2,-2 M0,6 l6,-6 M5,7 l2,-2").set("stroke", ink))
    };
    Definitions::new()
        .add(hatching("dead", "#fee2e2", "#dc2626"))
        .add(hatching("paused", "#fef3c7", "#d97706"))
}

/// Title, verdict, legend and notes; moves `y` below them.
pub(super) fn head(chart: &Chart<'_>, layout: &Layout<'_>, places: &Places, y: &mut f64) -> Group {
    let s = &chart.schedule.settings;
    let mut group = Group::new();
    *y += 18.0;
    group = group.add(text(MARGIN, *y, "sans title", "start", clean(chart.title)));
    *y += 22.0;
    group = group.add(match chart.violation {
        Some(violation) => {
            let found = format!("violates the check {}", violation.check);
            text(MARGIN, *y, "sans verdict", "start", found).set("style", "fill: #b91c1c")
        }
        None => text(MARGIN, *y, "sans verdict", "start", "everything holds").set("style", "fill: #15803d"),
    });
    let count = |number: u64, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let world = format!(
        "seed {}, profile {}: {}, {}, {} of {}. Time runs downwards in microseconds, one row an event and not \
         to scale; an arrow leaves its line when it is sent and has its head where it arrives.",
        chart.schedule.seed,
        clean(&chart.schedule.profile),
        count(chart.schedule.steps.len() as u64, "step"),
        count(chart.schedule.clients.len() as u64, "client"),
        count(s.nodes, "node"),
        count(s.shards, "shard"),
    );
    let mut notes = vec![world];
    if layout.left_out > 0 {
        notes.push(format!(
            "{} earlier rows are left out: this shows the last {}. For an earlier part, give --until a time.",
            layout.left_out, chart.rows
        ));
    }
    if !layout.quiet.is_empty() {
        let names: Vec<_> = layout.quiet.iter().map(ToString::to_string).collect();
        notes.push(format!("Left out, since nothing happens there: {}.", names.join(", ")));
    }
    for note in notes {
        for line in wrapped(&note, ((places.width - 2.0 * MARGIN) / 6.2) as usize) {
            *y += 16.0;
            group = group.add(text(MARGIN, *y, "sans small", "start", line));
        }
    }
    *y += 12.0;
    group = group.add(legend(places.width, y));
    *y += 14.0;
    group.add(text(TIME_X, *y + 24.0, "sans small", "end", "time (µs)")).add(text(
        STEP_X,
        *y + 24.0,
        "sans small",
        "start",
        "steps of the schedule",
    ))
}

/// A sample and what it means.
enum Sample {
    Arrow(Via),
    Lost,
    State(State),
    Step(bool),
}

fn legend(wide: f64, y: &mut f64) -> Group {
    let items = [
        (Sample::Step(false), "step"),
        (Sample::Step(true), "fault"),
        (Sample::Arrow(Via::Message), "message"),
        (Sample::Arrow(Via::Control), "connection, Ping"),
        (Sample::Arrow(Via::Store), "store"),
        (Sample::Arrow(Via::Bus), "bus record"),
        (Sample::Arrow(Via::Directory), "directory change"),
        (Sample::Lost, "never arrives"),
        (Sample::State(State::Connected), "believes it is connected"),
        (Sample::State(State::HalfOpen), "dead connection, not noticed"),
        (Sample::State(State::Paused), "does not read"),
        (Sample::State(State::Down), "node is down"),
    ];
    let mut group = Group::new();
    let mut x = MARGIN;
    for (sample, meaning) in items {
        let room = 44.0 + 6.2 * meaning.chars().count() as f64 + 14.0;
        if x + room > wide - MARGIN && x > MARGIN {
            x = MARGIN;
            *y += 20.0;
        }
        let mid = *y + 6.0;
        group = match sample {
            Sample::Arrow(via) => group.add(shaft(&[(x, mid - 3.0), (x + 12.0, mid), (x + 36.0, mid)], via)),
            Sample::Lost => group
                .add(line(x, mid, x + 28.0, mid).set("class", "arrow late").set("stroke", "#1d4ed8"))
                .add(cross(x + 28.0, mid)),
            Sample::State(state) => {
                let (fill, stroke, wide) = look(state);
                group.add(rect(x + 18.0 - wide / 2.0, mid - 7.0, wide, 14.0, fill, stroke))
            }
            Sample::Step(fault) => {
                let (fill, stroke) = step_look(fault);
                let sample = rect(x, mid - 8.0, 36.0, 16.0, fill, stroke).set("rx", 3);
                group.add(sample).add(text(x + 18.0, mid + 4.0, "", "middle", "#1"))
            }
        };
        group = group.add(text(x + 44.0, mid + 4.0, "sans small", "start", meaning));
        x += room;
    }
    *y += 20.0;
    group
}

pub(super) const fn step_look(fault: bool) -> (&'static str, &'static str) {
    if fault { ("#ffedd5", "#ea580c") } else { ("#f3f4f6", "#9ca3af") }
}
