//! The chart as SVG. Labels are in a monospaced font, so their widths are known without measuring.

use std::collections::BTreeMap;

use svg::node::element::{Definitions, Element, Group, Line, Path, Pattern, Polygon, Rectangle, Style, Text};
use svg::{Document, Node};

use super::Chart;
use super::layout::{Arrow, Fate, Label, Layout};
use crate::check::Violation;
use crate::schedule::Schedule;
use crate::trace::{Lane, State, Via};

/// Width of a character of a label, in pixels: 11 pixels high, 0.602 wide in the usual monospaced fonts.
const CHAR: f64 = 6.65;
/// Characters of a label at the most; the whole is in its tool-tip.
const LABEL_CHARS: usize = 34;
/// How far from its line an arrow slants, in pixels; no label is nearer to a line than this.
const SLANT: f64 = 36.0;
/// Right edge of the times, in pixels.
const TIME_X: f64 = 96.0;
/// Left edge of the steps, in pixels.
const STEP_X: f64 = 108.0;
/// Margin on all sides, in pixels.
const MARGIN: f64 = 16.0;
/// Narrowest chart, in pixels: room for the legend.
const MIN_WIDTH: f64 = 980.0;
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
const fn look(state: State) -> (&'static str, &'static str, f64) {
    match state {
        State::Connected => ("#bfdbfe", "#60a5fa", 7.0),
        State::HalfOpen => ("url(#dead)", "#dc2626", 13.0),
        State::Paused => ("url(#paused)", "#d97706", 19.0),
        State::Down => ("#9ca3af", "#4b5563", 26.0),
    }
}

/// Where the lines are, and how wide the chart is.
struct Places {
    lanes: BTreeMap<Lane, (usize, f64)>,
    xs: Vec<f64>,
    step_width: f64,
    width: f64,
}

impl Places {
    fn of(layout: &Layout<'_>) -> Self {
        let number: BTreeMap<_, _> =
            layout.lanes.iter().zip(0..).map(|(lane, number)| (*lane, number)).collect();
        let mut gaps = vec![96.0_f64; layout.lanes.len() + 1];
        let mut step_width = 120.0_f64;
        for arrow in &layout.arrows {
            if let (Some(from), Some(to)) = (number.get(&arrow.from), number.get(&arrow.to)) {
                let gap = label_gap(*from, *to, arrow.fate);
                let second = match arrow.fate {
                    Fate::Arrived => "",
                    Fate::Lost(why) => why,
                    Fate::Underway => UNDERWAY,
                };
                let wide = width(&short(arrow.text)).max(width(second));
                gaps[gap] = gaps[gap].max(wide + 2.0 * SLANT + 8.0);
            }
        }
        for (_, label) in &layout.labels {
            match label {
                Label::Step { text, id, .. } => {
                    step_width = step_width.max(width(&step_text(*id, text)) + 16.0);
                }
                Label::Note { lane: Lane::World, text } => step_width = step_width.max(width(text) + 8.0),
                Label::Note { lane, text } => {
                    if let Some(lane) = number.get(lane) {
                        let half = width(&short(text)) / 2.0 + 12.0;
                        gaps[*lane] = gaps[*lane].max(half);
                        gaps[*lane + 1] = gaps[*lane + 1].max(half);
                    }
                }
            }
        }
        let mut x = STEP_X + step_width;
        let mut xs = Vec::new();
        for gap in &gaps[..layout.lanes.len()] {
            x += gap;
            xs.push(x);
        }
        let right = gaps.last().copied().unwrap_or_default();
        let lanes = number.into_iter().map(|(lane, number)| (lane, (number, xs[number]))).collect();
        Self { lanes, width: (x + right).max(MIN_WIDTH), xs, step_width }
    }

    fn x(&self, lane: Lane) -> Option<f64> {
        self.lanes.get(&lane).map(|(_, x)| *x)
    }
}

const UNDERWAY: &str = "still on its way";

/// The gap between two lines that an arrow's label stands in: that before its head, or behind its tail if it
/// never arrives. Gap `n` is left of line `n`.
const fn label_gap(from: usize, to: usize, fate: Fate) -> usize {
    match (fate, from < to) {
        (Fate::Arrived, true) => to,
        (Fate::Arrived, false) => to + 1,
        (Fate::Lost(_) | Fate::Underway, true) => from + 1,
        (Fate::Lost(_) | Fate::Underway, false) => from,
    }
}

fn width(text: &str) -> f64 {
    CHAR * text.chars().count() as f64
}

/// A label as it is shown: not too long, and without characters that XML 1.0 does not allow.
fn short(text: &str) -> String {
    let mut shown: String = clean(text).chars().take(LABEL_CHARS).collect();
    if text.chars().count() > LABEL_CHARS {
        shown.pop();
        shown.push('…');
    }
    shown
}

fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') { '\u{fffd}' } else { c })
        .collect()
}

fn step_text(id: u32, text: &str) -> String {
    format!("#{id} {}", short(text))
}

/// A number with its digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push('\u{2009}');
        }
        out.push(digit);
    }
    out
}

fn duration(us: u64) -> String {
    if us >= 1_000_000 { format!("{:.2} s", us as f64 / 1e6) } else { format!("{} ms", us / 1000) }
}

/// Lines of at most `chars` characters, broken at spaces where there are any.
fn wrapped(text: &str, chars: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in clean(text).split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        loop {
            let line = lines.last_mut().map_or(0, |line| line.chars().count());
            if line > 0 && line + 1 + word.len().min(chars) > chars {
                lines.push(String::new());
                continue;
            }
            let taken: String = word.drain(..word.len().min(chars)).collect();
            if let Some(last) = lines.last_mut() {
                if line > 0 {
                    last.push(' ');
                }
                last.push_str(&taken);
            }
            if word.is_empty() {
                break;
            }
        }
    }
    lines
}

fn text(x: f64, y: f64, class: &str, anchor: &str, content: impl Into<String>) -> Text {
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

fn rect(x: f64, y: f64, width: f64, height: f64, fill: &str, stroke: &str) -> Rectangle {
    let rect = Rectangle::new().set("x", place(x)).set("y", place(y)).set("width", place(width));
    rect.set("height", place(height)).set("fill", fill).set("stroke", stroke)
}

fn line(x1: f64, y1: f64, x2: f64, y2: f64) -> Line {
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

/// The hatchings of states.
fn patterns() -> Definitions {
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
fn head(chart: &Chart<'_>, layout: &Layout<'_>, places: &Places, y: &mut f64) -> Group {
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

const fn step_look(fault: bool) -> (&'static str, &'static str) {
    if fault { ("#ffedd5", "#ea580c") } else { ("#f3f4f6", "#9ca3af") }
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
fn shaft(points: &[(f64, f64)], via: Via) -> Group {
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

fn cross(x: f64, y: f64) -> Path {
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
