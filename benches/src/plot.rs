//! Bars in SVG, for light and dark pages alike.

use svg::node::element::{Element, Group, Line, Rectangle, Style, Text};
use svg::{Document, Node};

use crate::{Latency, Report, Spread};

/// All lengths are in pixels.
const MARGIN: f64 = 16.0;
/// Width of a panel; two of them stand beside each other.
const PANEL: f64 = 420.0;
const TITLE_HEIGHT: f64 = 28.0;
const PANEL_TITLE_HEIGHT: f64 = 26.0;
const BAR_HEIGHT: f64 = 22.0;
/// Room for the names of bars.
const NAME_WIDTH: f64 = 92.0;
/// Length of the longest bar.
const BAR_WIDTH: f64 = 170.0;

const STYLE: &str = "
text { font-family: 'DejaVu Sans', Helvetica, Arial, sans-serif; font-size: 12px; fill: #1f2937; }
.title { font-size: 16px; font-weight: bold; }
.panel { font-weight: bold; }
.value { font-size: 11px; fill: #4b5563; }
.paper { fill: #ffffff; }
.own { fill: #2563eb; }
.yardstick { fill: #6b7280; }
.other { fill: #a8b0bd; }
.range { stroke: #111827; stroke-width: 1.5px; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.value { fill: #9aa4b2; }
.paper { fill: #0d1117; }
.own { fill: #5b93ff; }
.yardstick { fill: #9aa4b2; }
.other { fill: #565f6d; }
.range { stroke: #e6edf3; }
}
";

/// What a bar is painted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// What the chart is about.
    Own,
    /// What it is measured by.
    Yardstick,
    /// All else.
    Other,
}

/// One bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Its name.
    pub name: String,
    /// How it is painted.
    pub paint: Paint,
    /// How long it is, and from where to where the runs went.
    pub value: Option<Spread>,
    /// What stands there if there is no value, and why.
    pub instead: Option<(String, String)>,
}

/// Bars of one scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// What they show, with its unit.
    pub title: String,
    /// From top to bottom.
    pub bars: Vec<Bar>,
}

impl Panel {
    pub(crate) fn of_latency(title: &str, latency: &Latency) -> Self {
        let Latency { p50_us, p90_us, p99_us, p999_us, max_us, mean_us: _ } = *latency;
        let percentiles =
            [("p50", p50_us), ("p90", p90_us), ("p99", p99_us), ("p99.9", p999_us), ("max", max_us)];
        let bars = percentiles.map(|(name, us)| Bar {
            name: name.to_owned(),
            paint: Paint::Own,
            value: Some(Spread { median: us, min: us, max: us }),
            instead: None,
        });
        Self { title: title.to_owned(), bars: bars.to_vec() }
    }

    /// One bar for each name.
    pub(crate) fn of_values(
        title: &str,
        values: impl IntoIterator<Item = (String, Paint, Option<Spread>)>,
    ) -> Self {
        let bars = values.into_iter().map(|(name, paint, value)| {
            let instead = Some(("not measured".to_owned(), String::new()));
            Bar { name, paint, value, instead }
        });
        Self { title: title.to_owned(), bars: bars.collect() }
    }

    fn height(&self) -> f64 {
        self.bars.iter().fold(PANEL_TITLE_HEIGHT + MARGIN, |height, _| height + BAR_HEIGHT)
    }
}

/// Draws what a report has to show: a complete SVG document. Its title is the first line of the report.
#[must_use]
pub fn of(report: &impl Report) -> String {
    draw(report.to_string().lines().next().unwrap_or_default(), &report.panels())
}

/// Draws panels: a complete SVG document, with a background of its own.
#[must_use]
pub fn draw(title: &str, panels: &[Panel]) -> String {
    let mut body = Group::new().add(text(MARGIN, MARGIN + 14.0, "title", "start", title));
    let mut y = MARGIN + TITLE_HEIGHT;
    for row in panels.chunks(2) {
        let mut x = MARGIN;
        for panel in row {
            body = body.add(draw_panel(panel, x, y));
            x += PANEL;
        }
        y += row.iter().map(Panel::height).fold(0.0, f64::max);
    }
    // Titles are as long as two panels are wide, even if there is one.
    let (width, height) = (2.0 * (PANEL + MARGIN), y);
    Document::new()
        .set("viewBox", (0, 0, width, height))
        .set("width", width)
        .set("height", height)
        .add(Style::new(STYLE))
        .add(Rectangle::new().set("class", "paper").set("width", width).set("height", height))
        .add(body)
        .to_string()
}

fn draw_panel(panel: &Panel, x: f64, y: f64) -> Group {
    let mut group = Group::new().add(text(x, y + 14.0, "panel", "start", &panel.title));
    let longest =
        panel.bars.iter().filter_map(|bar| bar.value).fold(0.0, |longest, value| value.max.max(longest));
    let scale = |value: f64| if longest > 0.0 { value.max(0.0) / longest * BAR_WIDTH } else { 0.0 };
    let left = x + NAME_WIDTH;
    let mut top = y + PANEL_TITLE_HEIGHT;
    for bar in &panel.bars {
        let middle = top + BAR_HEIGHT / 2.0;
        group = group.add(text(left - 6.0, middle + 4.0, "name", "end", &bar.name));
        if let Some(Spread { median, min, max }) = bar.value {
            let class = match bar.paint {
                Paint::Own => "own",
                Paint::Yardstick => "yardstick",
                Paint::Other => "other",
            };
            // A bar of nothing would look like a bar that is missing.
            let rectangle = Rectangle::new().set("class", class).set("x", left).set("y", place(top + 3.0));
            group = group
                .add(rectangle.set("width", place(scale(median).max(1.0))).set("height", BAR_HEIGHT - 6.0));
            let mut value = number(median);
            if max > min {
                let line =
                    Line::new().set("class", "range").set("y1", place(middle)).set("y2", place(middle));
                group =
                    group.add(line.set("x1", place(left + scale(min))).set("x2", place(left + scale(max))));
                value = format!("{value} ({} to {})", number(min), number(max));
            }
            group =
                group.add(text(left + scale(max.max(median)) + 6.0, middle + 4.0, "value", "start", &value));
        } else if let Some((instead, why)) = &bar.instead {
            let mut title = Element::new("title");
            title.append(svg::node::Text::new(why));
            group =
                group.add(Group::new().add(title).add(text(left, middle + 4.0, "value", "start", instead)));
        }
        top += BAR_HEIGHT;
    }
    group
}

fn text(x: f64, y: f64, class: &str, anchor: &str, content: &str) -> Text {
    Text::new(content).set("x", place(x)).set("y", place(y)).set("class", class).set("text-anchor", anchor)
}

/// Tenths of pixels: finer is not seen, and costs bytes.
fn place(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Three digits or so.
fn number(value: f64) -> String {
    match value {
        large if large >= 100.0 => format!("{large:.0}"),
        middle if middle >= 10.0 => format!("{middle:.1}"),
        small => format!("{small:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values_and_what_is_missing_says_why() {
        let bar = |name: &str, value| Bar {
            name: name.to_owned(),
            paint: Paint::Other,
            value,
            instead: Some(("fell short".to_owned(), "<nobody> was served".to_owned())),
        };
        let spread = |median| Some(Spread { median, min: median, max: median });
        let bars = vec![bar("long", spread(8.0)), bar("short", spread(2.0)), bar("none", None)];
        let drawn = draw("All", &[Panel { title: "one".to_owned(), bars }]);
        let document = roxmltree::Document::parse(&drawn).unwrap();
        let widths: Vec<f64> = document
            .descendants()
            .filter(|node| node.has_tag_name("rect") && node.attribute("class") == Some("other"))
            .map(|node| node.attribute("width").unwrap().parse().unwrap())
            .collect();
        assert_eq!(widths, [BAR_WIDTH, BAR_WIDTH / 4.0]);
        let texts: Vec<&str> = document.descendants().filter_map(|node| node.text()).map(str::trim).collect();
        assert!(texts.contains(&"8.00") && texts.contains(&"2.00"), "{texts:?}");
        assert!(texts.contains(&"fell short") && texts.contains(&"<nobody> was served"), "{texts:?}");
    }
}
