//! The chart as SVG. Labels are in a monospaced font, so their widths are known without measuring.

use svg::node::element::{Element, Group, Line, Path, Polygon, Rectangle, Style, Text};
use svg::{Document, Node};

use super::Chart;
use super::head::{head, patterns, step_look};
use super::layout::{Arrow, Fate, Label, Layout};
use super::places::{
    CHAR, Places, SLANT, STEP_X, UNDERWAY, clean, duration, grouped, label_gap, short, step_text, width,
    wrapped,
};
use crate::check::Violation;
use crate::schedule::Schedule;
use crate::trace::{Lane, State, Via};

/// Right edge of the times, in pixels.
pub(super) const TIME_X: f64 = 96.0;
/// Margin on all sides, in pixels.
pub(super) const MARGIN: f64 = 16.0;
/// Height of the boxes that name the lines, in pixels.
const BOX: f64 = 38.0;

const STYLE: &str = "
text { font-family: 'DejaVu Sans Mono', Menlo, Consolas, monospace; font-size: 11px; fill: #1f2937; }
.sans { font-family: 'DejaVu Sans', Helvetica, Arial, sans-serif; }
.title { font-size: 18px; font-weight: bold; }
.verdict { font-size: 13px; font-weight: bold; }
.small { font-size: 11px; fill: #4b5563; }
.time { fill: #6b7280; }
.name { font-size: 13px; font-weight: bold; }
.halo { stroke: #ffffff; stroke-width: 3.5px; stroke-linejoin: round; paint-order: stroke; }
.lifeline { stroke: #9ca3af; stroke-width: 1px; stroke-dasharray: 3 3; }
.arrow { fill: none; stroke-width: 1.5px; }
.late { stroke-dasharray: 5 3; }
.cross { stroke: #dc2626; stroke-width: 2.5px; fill: none; }
.why { fill: #b91c1c; }
.leader { stroke-width: 1px; stroke-dasharray: 1 3; }
";

/// Colours of what travels, with their names in the legend; all have a contrast of 4.5 or more on white.
const fn colour(via: Via) -> &'static str {
    match via {
        Via::Message => "#1d4ed8",
        Via::Control => "#6b7280",
        Via::Store => "#7e22ce",
        Via::Bus => "#0f766e",
        Via::Directory => "#92400e",
    }
}

/// Fill, edge and width, in pixels, of a state.
pub(super) const fn look(state: State) -> (&'static str, &'static str, f64) {
    match state {
        State::Connected => ("#bfdbfe", "#60a5fa", 7.0),
        State::HalfOpen => ("url(#dead)", "#dc2626", 13.0),
        State::Paused => ("url(#paused)", "#d97706", 19.0),
        State::Down => ("#9ca3af", "#4b5563", 26.0),
    }
}

pub(super) fn text(x: f64, y: f64, class: &str, anchor: &str, content: impl Into<String>) -> Text {
    let content: String = content.into();
    Text::new(content).set("x", place(x)).set("y", place(y)).set("class", class).set("text-anchor", anchor)
}

/// Tenths of pixels: finer is not seen, and costs bytes.
fn place(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn tooltip(content: &str) -> Element {
    let mut title = Element::new("title");
    title.append(svg::node::Text::new(clean(content)));
    title
}

pub(super) fn rect(x: f64, y: f64, width: f64, height: f64, fill: &str, stroke: &str) -> Rectangle {
    let rect = Rectangle::new().set("x", place(x)).set("y", place(y)).set("width", place(width));
    rect.set("height", place(height)).set("fill", fill).set("stroke", stroke)
}

pub(super) fn line(x1: f64, y1: f64, x2: f64, y2: f64) -> Line {
    Line::new().set("x1", place(x1)).set("y1", place(y1)).set("x2", place(x2)).set("y2", place(y2))
}

pub(super) fn draw(chart: &Chart<'_>, layout: &Layout<'_>) -> String {
    let places = Places::of(layout);
    let mut top = MARGIN;
    let head = head(chart, layout, &places, &mut top);
    let names_y = top;
    top += BOX;
    let bottom = top + layout.height;
    let mut body = Group::new();
    for (y, passed_us) in &layout.pauses {
        body = body.add(pause(&places, top + y, *passed_us));
    }
    for (lane, (_, x)) in &places.lanes {
        let lifeline = line(*x, names_y + BOX, *x, bottom + 8.0).set("class", "lifeline");
        body = body.add(lifeline.set("id", format!("lifeline-{}", lane.to_string().replace('/', "-"))));
    }
    for span in &layout.spans {
        if let Some(x) = places.x(span.lane) {
            let (fill, stroke, wide) = look(span.state);
            let (from, until) = (top + span.from_y, top + span.until_y.min(layout.height));
            body = body.add(rect(x - wide / 2.0, from, wide, (until - from).max(2.0), fill, stroke));
        }
    }
    for (y, at_us) in &layout.times {
        body = body.add(text(TIME_X, top + y + 4.0, "time", "end", grouped(*at_us)));
    }
    for arrow in &layout.arrows {
        body = body.add(draw_arrow(arrow, &places, top));
    }
    for (y, label) in &layout.labels {
        body = body.add(draw_label(label, &places, top + y));
    }
    for y in [names_y, bottom + 8.0] {
        for (lane, (_, x)) in &places.lanes {
            body = body.add(name_box(*lane, *x, y, chart.schedule));
        }
    }
    let end_y = bottom + 8.0 + BOX + 14.0;
    let (verdict, end_y) = verdict(chart.violation, places.width, end_y);
    let (width, height) = (places.width.ceil(), end_y.ceil() + MARGIN);
    let document = Document::new()
        .set("viewBox", (0, 0, width, height))
        .set("width", width)
        .set("height", height)
        .add(Style::new(STYLE))
        .add(patterns())
        .add(rect(0.0, 0.0, width, height, "#ffffff", "none"))
        .add(head)
        .add(body)
        .add(verdict);
    document.to_string()
}

fn name_box(lane: Lane, x: f64, y: f64, schedule: &Schedule) -> Group {
    let (fill, stroke, below) = match lane {
        Lane::Client(client) => {
            let spec = schedule.clients.get(usize::from(client));
            (
                "#dbeafe",
                "#1d4ed8",
                spec.map_or_else(String::new, |spec| format!("{} {}", spec.user, spec.kind)),
            )
        }
        Lane::Shard(..) => ("#d1fae5", "#047857", "server".to_owned()),
        Lane::Store => ("#f3e8ff", "#7e22ce", "database".to_owned()),
        Lane::World => ("#f3f4f6", "#6b7280", String::new()),
    };
    Group::new()
        .add(rect(x - 42.0, y, 84.0, BOX - 4.0, fill, stroke).set("rx", 4))
        .add(text(x, y + 15.0, "name", "middle", lane.to_string()))
        .add(text(x, y + 28.0, "sans small", "middle", below))
}

fn pause(places: &Places, y: f64, passed_us: u64) -> Group {
    let label = format!("{} pass", duration(passed_us));
    Group::new().add(rect(MARGIN, y - 1.0, places.width - 2.0 * MARGIN, 14.0, "#f3f4f6", "none")).add(text(
        TIME_X,
        y + 9.5,
        "sans small",
        "end",
        label,
    ))
}

/// A line with an arrow's head at its end.
pub(super) fn shaft(points: &[(f64, f64)], via: Via) -> Group {
    let Some((x, y)) = points.last().copied() else { return Group::new() };
    let back = points.first().map_or(x, |(first, _)| if *first < x { x - 8.0 } else { x + 8.0 });
    Group::new().add(trail(points, via)).add(
        Polygon::new()
            .set("points", format!("{x:.1},{y:.1} {back:.1},{:.1} {back:.1},{:.1}", y - 4.0, y + 4.0))
            .set("fill", colour(via)),
    )
}

fn trail(points: &[(f64, f64)], via: Via) -> Path {
    let mut data = String::new();
    for (place, (x, y)) in points.iter().enumerate() {
        data += &format!("{}{x:.1},{y:.1} ", if place == 0 { "M" } else { "L" });
    }
    Path::new().set("d", data.trim_end()).set("class", "arrow").set("stroke", colour(via))
}

pub(super) fn cross(x: f64, y: f64) -> Path {
    let data = format!("M{:.1},{:.1} l10,10 m0,-10 l-10,10", x - 5.0, y - 5.0);
    Path::new().set("d", data).set("class", "cross")
}

fn draw_arrow(arrow: &Arrow<'_>, places: &Places, top: f64) -> Group {
    let (Some((from, from_x)), Some((to, to_x))) =
        (places.lanes.get(&arrow.from).copied(), places.lanes.get(&arrow.to).copied())
    else {
        return Group::new();
    };
    let (left_y, end_y) = (top + arrow.left_y, top + arrow.end_y);
    let way = if from < to { 1.0 } else { -1.0 };
    let gap = label_gap(from, to, arrow.fate);
    let gap_left = if gap == 0 { STEP_X + places.step_width } else { places.xs[gap - 1] };
    let gap_right = places.xs.get(gap).copied().unwrap_or(places.width);
    let middle = f64::midpoint(gap_left, gap_right);
    let turn = (from_x + way * SLANT, end_y);
    let label = text(middle, end_y - 5.0, "halo", "middle", short(arrow.text)).set("fill", colour(arrow.via));
    let label = label.set("style", format!("fill: {}", colour(arrow.via)));
    let times = format!("sent by {} at {} us", arrow.from, arrow.left_us);
    let below = |why: &str| text(middle, end_y + 12.0, "halo", "middle", why).set("style", "fill: #b91c1c");
    match arrow.fate {
        Fate::Arrived => Group::new()
            .add(tooltip(&format!("{}: {times}, reaches {} at {} us", arrow.text, arrow.to, arrow.end_us)))
            .add(shaft(&[(from_x, left_y), turn, (to_x - way * 3.0, end_y)], arrow.via))
            .add(label),
        Fate::Lost(why) => {
            let stop = if way > 0.0 { gap_right - SLANT + 8.0 } else { gap_left + SLANT - 8.0 };
            Group::new()
                .set("class", "lost")
                .add(tooltip(&format!("{}: {times}, never reaches {}: {why}", arrow.text, arrow.to)))
                .add(trail(&[(from_x, left_y), turn, (stop, end_y)], arrow.via).set("class", "arrow late"))
                .add(cross(stop, end_y))
                .add(label)
                .add(below(why))
        }
        Fate::Underway => {
            let stop = if way > 0.0 { gap_right - SLANT } else { gap_left + SLANT };
            Group::new()
                .add(tooltip(&format!("{}: {times} to {}, still on its way", arrow.text, arrow.to)))
                .add(trail(&[(from_x, left_y), turn, (stop, end_y)], arrow.via).set("class", "arrow late"))
                .add(label)
                .add(below(UNDERWAY).set("style", "fill: #4b5563"))
        }
    }
}

fn draw_label(label: &Label<'_>, places: &Places, y: f64) -> Group {
    match label {
        Label::Step { id, text: step, fault, about } => {
            let (fill, stroke) = step_look(*fault);
            let shown = step_text(*id, step);
            let wide = width(&shown) + 12.0;
            let mut group = Group::new().add(tooltip(&format!("step {id}: {step}")));
            let far = about.iter().filter_map(|lane| places.x(*lane)).fold(0.0, f64::max);
            if far > 0.0 {
                let leader = line(STEP_X + wide, y, far, y).set("class", "leader").set("stroke", stroke);
                group = group.add(leader);
            }
            for x in about.iter().filter_map(|lane| places.x(*lane)) {
                let points = format!(
                    "{x:.1},{:.1} {:.1},{y:.1} {x:.1},{:.1} {:.1},{y:.1}",
                    y - 6.0,
                    x + 6.0,
                    y + 6.0,
                    x - 6.0
                );
                group =
                    group.add(Polygon::new().set("points", points).set("fill", fill).set("stroke", stroke));
            }
            group.add(rect(STEP_X, y - 9.0, wide, 18.0, fill, stroke).set("rx", 3)).add(text(
                STEP_X + 6.0,
                y + 4.0,
                "",
                "start",
                shown,
            ))
        }
        Label::Note { lane: Lane::World, text: note } => {
            Group::new().add(text(STEP_X, y + 4.0, "halo", "start", clean(note)))
        }
        Label::Note { lane, text: note } => {
            let Some(x) = places.x(*lane) else { return Group::new() };
            let shown = short(note);
            let wide = width(&shown) + 12.0;
            Group::new()
                .add(tooltip(note))
                .add(rect(x - wide / 2.0, y - 9.0, wide, 18.0, "#ffffff", "#6b7280").set("rx", 9))
                .add(text(x, y + 4.0, "", "middle", shown))
        }
    }
}

/// The violation as a bar across, or that there is none; and where it ends.
fn verdict(violation: Option<&Violation>, wide: f64, y: f64) -> (Group, f64) {
    let (fill, first, lines) = match violation {
        Some(violation) => {
            let first = format!("✗ {} does not hold, at {} µs", violation.check, grouped(violation.at_us));
            let chars = ((wide - 4.0 * MARGIN) / CHAR) as usize;
            ("#b91c1c", first, wrapped(&violation.what, chars))
        }
        None => ("#15803d", "✓ everything holds".to_owned(), Vec::new()),
    };
    let height = 26.0 + 15.0 * lines.len() as f64;
    let white = "fill: #ffffff";
    let mut group = Group::new()
        .set("id", "verdict")
        .add(rect(MARGIN, y, wide - 2.0 * MARGIN, height, fill, "none").set("rx", 4))
        .add(text(2.0 * MARGIN, y + 18.0, "sans verdict", "start", first).set("style", white));
    for (number, line) in lines.iter().enumerate() {
        let y = y + 34.0 + 15.0 * number as f64;
        group = group.add(text(2.0 * MARGIN, y, "", "start", line.as_str()).set("style", white));
    }
    (group, y + height)
}
