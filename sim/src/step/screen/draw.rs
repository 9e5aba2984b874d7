//! Views, drawn.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

use super::keys::HELP;
use super::{Pane, Screen};
use crate::step::view::{Changed, Row, Table, View, seconds};

/// What is drawn besides the screen's own state.
pub(super) struct Scene<'a> {
    pub(super) title: &'a str,
    pub(super) view: &'a View,
    pub(super) last: Option<u64>,
    pub(super) end: Option<&'a str>,
    pub(super) rows: &'a [Row],
}

/// Where everything is.
pub(super) struct Places {
    title: Option<Rect>,
    failure: Option<Rect>,
    panes: Vec<(Pane, Rect)>,
    status: Option<Rect>,
}

impl Places {
    /// How many steps the list has room for.
    pub(super) fn list_rows(&self) -> usize {
        let list = self.panes.iter().find(|(pane, _)| *pane == Pane::Steps);
        list.map_or(0, |(_, area)| usize::from(inner(*area).height))
    }
}

const CHANGED: Style = Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD);
const FAILED: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);

/// Where everything goes on an area: all panes on a large one, the one with the focus on a small one.
pub(super) fn places(area: Rect, screen: &Screen, view: &View) -> Places {
    let has_title = area.height >= 6;
    let has_status = area.height >= 2;
    let failure_chars = view.failure.as_ref().map_or(0, |failure| failure.chars().count() + 2);
    let failure_rows = match (failure_chars, area.height) {
        (0, _) | (_, 0..6) => 0,
        (_, 6..20) => 1,
        (chars, _) => 1 + u16::from(chars > usize::from(area.width)),
    };
    let [title, failure, body, status] = Layout::vertical([
        Constraint::Length(u16::from(has_title)),
        Constraint::Length(failure_rows),
        Constraint::Min(0),
        Constraint::Length(u16::from(has_status)),
    ])
    .areas(area);
    Places {
        title: has_title.then_some(title),
        failure: (failure_rows > 0).then_some(failure),
        panes: panes(body, screen, view.tables.len()),
        status: has_status.then_some(status),
    }
}

fn panes(area: Rect, screen: &Screen, tables: usize) -> Vec<(Pane, Rect)> {
    if screen.is_zoomed || area.width < 40 || area.height < 12 {
        return vec![(screen.focus, area)];
    }
    if area.width < 110 || area.height < 26 {
        let [list, story, table] =
            Layout::vertical([Constraint::Fill(4), Constraint::Fill(3), Constraint::Fill(3)]).areas(area);
        return vec![(Pane::Steps, list), (Pane::Story, story), (Pane::Table(screen.table), table)];
    }
    let [left, right] =
        Layout::horizontal([Constraint::Percentage(48), Constraint::Percentage(52)]).areas(area);
    let [list, story] = Layout::vertical([Constraint::Fill(6), Constraint::Fill(4)]).areas(left);
    let mut panes = vec![(Pane::Steps, list), (Pane::Story, story)];
    // The last ones are narrow, and share a row.
    let alone = tables.saturating_sub(if tables > 4 { 3 } else { 2 }).max(1);
    let heights = (0..=alone).map(|table| Constraint::Fill(if table == 0 { 4 } else { 3 }));
    let rows = Layout::vertical(heights).split(right);
    panes.extend((0..alone.min(tables)).zip(rows.iter()).map(|(table, area)| (Pane::Table(table), *area)));
    if let Some(last) = rows.last().filter(|_| tables > alone) {
        let shared = Layout::horizontal((alone..tables).map(|_| Constraint::Fill(1))).split(*last);
        panes.extend((alone..tables).zip(shared.iter()).map(|(table, area)| (Pane::Table(table), *area)));
    }
    panes
}

/// What is left inside a border, if there is room for one.
fn inner(area: Rect) -> Rect {
    if area.height < 5 || area.width < 12 { area } else { Block::bordered().inner(area) }
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, places: &Places, screen: &mut Screen, scene: &Scene<'_>) {
    if let Some(area) = places.title {
        frame.render_widget(title(screen, scene), area);
    }
    if let (Some(area), Some(failure)) = (places.failure, &scene.view.failure) {
        let text = Paragraph::new(format!("✗ {failure}")).style(FAILED).wrap(Wrap { trim: true });
        frame.render_widget(text, area);
    }
    for (pane, area) in &places.panes {
        draw_pane(frame, *pane, *area, screen, scene);
    }
    if let Some(area) = places.status {
        frame.render_widget(status(screen), area);
    }
    if screen.is_help {
        draw_help(frame);
    }
}

fn title<'a>(screen: &'a Screen, scene: &'a Scene<'_>) -> Paragraph<'a> {
    let View { number, at, digest, .. } = scene.view;
    let last = scene.last.map_or_else(|| "?".to_owned(), |last| last.to_string());
    let forks = if screen.forks > 0 { format!("  fork {}", screen.forks) } else { String::new() };
    Paragraph::new(Line::from(vec![
        Span::styled(scene.title.to_owned(), Style::new().add_modifier(Modifier::BOLD)),
        Span::styled(forks, CHANGED),
        Span::raw(format!("  step {number} of {last}  {} s  ", seconds(*at))),
        Span::styled(format!("{digest:016x}"), DIM),
    ]))
}

fn status(screen: &Screen) -> Paragraph<'_> {
    match &screen.input {
        Some((ask, typed)) => Paragraph::new(Line::from(vec![
            Span::styled(super::prompt(*ask), Style::new().add_modifier(Modifier::BOLD)),
            Span::raw(typed.as_str()),
            Span::styled("█", DIM),
        ])),
        None if screen.message.is_empty() => {
            Paragraph::new("? keys  q out  j k steps  e failure  / search  c concerning  f fork").style(DIM)
        }
        None => Paragraph::new(screen.message.as_str()),
    }
}

fn draw_pane(frame: &mut Frame<'_>, pane: Pane, area: Rect, screen: &mut Screen, scene: &Scene<'_>) {
    let inside = inner(area);
    if inside != area {
        let name = match pane {
            Pane::Steps => "steps",
            Pane::Story => "what came of it",
            Pane::Table(table) => scene.view.tables.get(table).map_or("", |table| table.name),
        };
        let style = if pane == screen.focus { Style::new().fg(Color::Cyan) } else { DIM };
        frame.render_widget(Block::bordered().border_style(style).title(name), area);
    }
    let height = usize::from(inside.height);
    match pane {
        Pane::Steps => {
            let lines: Vec<_> = scene.rows.iter().map(|row| step(row, scene.view.number)).collect();
            frame.render_widget(Paragraph::new(lines), inside);
        }
        Pane::Story => {
            let mut lines: Vec<_> = scene.view.story.iter().map(|line| story_line(line)).collect();
            if scene.last == Some(scene.view.number)
                && let Some(end) = scene.end
            {
                lines.push(Line::styled(end.to_owned(), FAILED));
            }
            let scroll = screen.scroll_of(pane, lines.len(), height);
            let text = Paragraph::new(lines).wrap(Wrap { trim: false });
            frame.render_widget(text.scroll((u16::try_from(scroll).unwrap_or(u16::MAX), 0)), inside);
        }
        Pane::Table(number) => {
            if let Some(table) = scene.view.tables.get(number) {
                let nothing = Changed::default();
                let changed = scene.view.changed.get(number).unwrap_or(&nothing);
                screen.follow(pane, changed, height.saturating_sub(1));
                let all = table.rows.len() + changed.gone.len() + 1;
                let from = screen.scroll_of(pane, all, height);
                frame.render_widget(Paragraph::new(table_lines(table, changed, from, height)), inside);
            }
        }
    }
}

fn step(row: &Row, selected: u64) -> Line<'_> {
    let style = match (&row.failure, row.is_fault) {
        (Some(_), _) => FAILED,
        (None, true) => Style::new().fg(Color::Magenta),
        (None, false) => Style::new(),
    };
    let style = if row.number == selected { style.add_modifier(Modifier::REVERSED) } else { style };
    if row.number == 0 {
        return Line::styled("      0  before the first step", style);
    }
    let mark = if row.failure.is_some() { "✗" } else { " " };
    let actions = if row.actions > 0 { format!("→{}", row.actions) } else { String::new() };
    let (number, who, told) = (row.number, &row.who, &row.told);
    Line::styled(format!("{mark}{number:>6} {:>11} {actions:<4}{who:<6} {told}", seconds(row.at)), style)
}

fn story_line(line: &str) -> Line<'_> {
    if line.starts_with("  -> ") { Line::raw(line) } else { Line::styled(line, CHANGED) }
}

/// The head, and as many rows as there is room for.
fn table_lines<'a>(table: &'a Table, changed: &'a Changed, from: usize, height: usize) -> Vec<Line<'a>> {
    let is_changed = |row: usize, word: usize| {
        changed.words.get(row).and_then(|row| row.get(word)).copied().unwrap_or(false)
    };
    let shown = height.saturating_sub(1);
    let rows = table.rows.iter().enumerate().skip(from).take(shown);
    let gone = changed.gone.iter().skip(from.saturating_sub(table.rows.len()));
    let gone: Vec<_> = gone.take(shown.saturating_sub(rows.len())).collect();
    let mut widths: Vec<usize> = table.head.iter().map(|word| word.chars().count()).collect();
    for row in rows.clone().map(|(_, row)| row).chain(gone.iter().copied()) {
        for (width, word) in widths.iter_mut().zip(row) {
            *width = (*width).max(word.chars().count());
        }
    }
    let line = |words: &mut dyn Iterator<Item = (&str, Style)>| {
        let spans =
            words.zip(&widths).map(|((word, style), width)| Span::styled(format!("{word:<width$} "), style));
        Line::from(spans.collect::<Vec<_>>())
    };
    let head = line(&mut table.head.iter().map(|word| (*word, DIM)));
    let rows = rows.map(|(number, row)| {
        let words = row.iter().enumerate();
        line(&mut words.map(|(place, word)| {
            (word.as_str(), if is_changed(number, place) { CHANGED } else { Style::new() })
        }))
    });
    let gone = gone.iter().map(|row| line(&mut row.iter().map(|word| (word.as_str(), GONE))));
    core::iter::once(head).chain(rows).chain(gone).collect()
}

const GONE: Style = Style::new().fg(Color::Red).add_modifier(Modifier::CROSSED_OUT);

fn draw_help(frame: &mut Frame<'_>) {
    let area = frame.area();
    let (width, height) = (area.width.min(80), area.height.min(HELP.len() as u16 + 2));
    let (x, y) = (area.x + (area.width - width) / 2, area.y + (area.height - height) / 2);
    let area = Rect { x, y, width, height };
    let lines = HELP.iter().map(|(keys, what)| Line::raw(format!("{keys:<19} {what}")));
    let text = Paragraph::new(lines.collect::<Vec<_>>());
    frame.render_widget(Clear, area);
    frame.render_widget(text.block(Block::bordered().title("keys; any closes this")), area);
}
