//! Where a chart's lines are, how wide its labels are, and how they are written.

use std::collections::BTreeMap;

use super::layout::{Fate, Label, Layout};
use crate::trace::Lane;

/// Width of a character of a label, in pixels: 11 pixels high, 0.602 wide in the usual monospaced fonts.
pub(super) const CHAR: f64 = 6.65;
/// Characters of a label at the most; the whole is in its tool-tip.
const LABEL_CHARS: usize = 34;
/// How far from its line an arrow slants, in pixels; no label is nearer to a line than this.
pub(super) const SLANT: f64 = 36.0;
/// Left edge of the steps, in pixels.
pub(super) const STEP_X: f64 = 108.0;
/// Narrowest chart, in pixels: room for the legend.
const MIN_WIDTH: f64 = 980.0;
/// Where the lines are, and how wide the chart is.
pub(super) struct Places {
    pub(super) lanes: BTreeMap<Lane, (usize, f64)>,
    pub(super) xs: Vec<f64>,
    pub(super) step_width: f64,
    pub(super) width: f64,
}

impl Places {
    pub(super) fn of(layout: &Layout<'_>) -> Self {
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

    pub(super) fn x(&self, lane: Lane) -> Option<f64> {
        self.lanes.get(&lane).map(|(_, x)| *x)
    }
}

pub(super) const UNDERWAY: &str = "still on its way";

/// The gap between two lines that an arrow's label stands in: that before its head, or behind its tail if it
/// never arrives. Gap `n` is left of line `n`.
pub(super) const fn label_gap(from: usize, to: usize, fate: Fate) -> usize {
    match (fate, from < to) {
        (Fate::Arrived, true) => to,
        (Fate::Arrived, false) => to + 1,
        (Fate::Lost(_) | Fate::Underway, true) => from + 1,
        (Fate::Lost(_) | Fate::Underway, false) => from,
    }
}

pub(super) fn width(text: &str) -> f64 {
    CHAR * text.chars().count() as f64
}

/// A label as it is shown: not too long, and without characters that XML 1.0 does not allow.
pub(super) fn short(text: &str) -> String {
    let mut shown: String = clean(text).chars().take(LABEL_CHARS).collect();
    if text.chars().count() > LABEL_CHARS {
        shown.pop();
        shown.push('…');
    }
    shown
}

pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') { '\u{fffd}' } else { c })
        .collect()
}

pub(super) fn step_text(id: u32, text: &str) -> String {
    format!("#{id} {}", short(text))
}

/// A number with its digits in groups of three.
pub(super) fn grouped(number: u64) -> String {
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

pub(super) fn duration(us: u64) -> String {
    if us >= 1_000_000 { format!("{:.2} s", us as f64 / 1e6) } else { format!("{} ms", us / 1000) }
}

/// Lines of at most `chars` characters, broken at spaces where there are any.
pub(super) fn wrapped(text: &str, chars: usize) -> Vec<String> {
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
