//! The debugger's screen: what is typed moves through a run, and what is there then is drawn. What it is drawn on, and where keys come from,
//! is somebody else's ([`Stage`]).

mod draw;
mod keys;
mod session;

use std::collections::BTreeMap;
use std::io;

use ratatui::Frame;
use ratatui::crossterm::event::KeyEvent;

pub use self::keys::{Ask, Command, HELP, command};
pub use self::session::{Exit, Session};
use super::Sought;
use super::view::{Changed, Row};

/// A terminal, or what takes its place in tests.
pub trait Stage {
    /// Draws one picture.
    ///
    /// # Errors
    /// If the terminal does not take it.
    fn draw(&mut self, picture: &mut dyn FnMut(&mut Frame<'_>)) -> io::Result<()>;

    /// Waits for what comes next.
    ///
    /// # Errors
    /// If the terminal gives nothing any more.
    fn next(&mut self) -> io::Result<Press>;

    /// Whether somebody has pressed a key, which is taken away.
    fn is_impatient(&mut self) -> bool;
}

/// What comes from a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Press {
    /// A key.
    Key(KeyEvent),
    /// It is to be drawn anew.
    Resize,
    /// The process is to end.
    Stop,
}

/// A part of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pane {
    Steps,
    Story,
    /// The table with this number.
    Table(usize),
}

/// What the screen is like, besides the run.
#[derive(Clone, Debug)]
pub(crate) struct Screen {
    focus: Pane,
    /// The table that is shown where there is room for one.
    table: usize,
    scroll: BTreeMap<Pane, usize>,
    /// Whether a table has moved to what has changed, since the step is another one.
    followed: BTreeMap<Pane, bool>,
    input: Option<(Ask, String)>,
    sought: Option<Sought>,
    message: String,
    is_help: bool,
    is_zoomed: bool,
    /// How often another run was begun from a run.
    forks: usize,
    list_rows: usize,
}

impl Screen {
    fn new(forks: usize) -> Self {
        Self {
            focus: Pane::Steps,
            table: 0,
            scroll: BTreeMap::new(),
            followed: BTreeMap::new(),
            input: None,
            sought: None,
            message: String::new(),
            is_help: false,
            is_zoomed: false,
            forks,
            list_rows: 0,
        }
    }

    /// The first line of a pane that is shown, so that no room is left empty.
    fn scroll_of(&mut self, pane: Pane, lines: usize, height: usize) -> usize {
        let scroll = self.scroll.entry(pane).or_insert(0);
        *scroll = (*scroll).min(lines.saturating_sub(height));
        *scroll
    }

    /// Shows what has changed, once for each step.
    fn follow(&mut self, pane: Pane, changed: &Changed, height: usize) {
        if core::mem::replace(self.followed.entry(pane).or_insert(false), true) {
            return;
        }
        let scroll = self.scroll.entry(pane).or_insert(0);
        if let Some(row) = changed.first_row()
            && !(*scroll..*scroll + height).contains(&row)
        {
            *scroll = row.saturating_sub(1);
        }
    }

    /// The step is another one.
    fn moved(&mut self) {
        self.followed.clear();
        self.scroll.remove(&Pane::Story);
    }

    fn focus_on(&mut self, forwards: bool, tables: usize) {
        let all: Vec<_> =
            [Pane::Steps, Pane::Story].into_iter().chain((0..tables).map(Pane::Table)).collect();
        let at = all.iter().position(|pane| *pane == self.focus).unwrap_or(0);
        let next = if forwards { at + 1 } else { at + all.len() - 1 } % all.len();
        self.focus = all.get(next).copied().unwrap_or(Pane::Steps);
        if let Pane::Table(table) = self.focus {
            self.table = table;
        }
    }
}

/// What is asked for.
const fn prompt(ask: Ask) -> &'static str {
    match ask {
        Ask::Step => "to step: ",
        Ask::Text => "text: ",
        Ask::Whom => "user, client or connection: ",
        Ask::Fork => "fork: l other luck with the same steps, s other steps, w write what leads to here ",
        Ask::Luck => "the same steps with the luck of seed: ",
        Ask::Steps => "other steps, of seed: ",
        Ask::File => "write what leads to here to: ",
        Ask::WholeFile => "write the whole run to: ",
    }
}

/// The first row of the list: before the first step.
fn beginning() -> Row {
    Row::default()
}
