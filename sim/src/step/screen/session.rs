//! A user at the screen: keys come in, the run is moved, files are written, and other runs are begun.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::draw::{Scene, draw, places};
use super::{Ask, Command, Pane, Press, Screen, Stage, beginning, command};
use crate::canaries::{Bug, Planted};
use crate::schedule::Schedule;
use crate::script::{Script, text::is_script};
use crate::step::script::ScriptCourse;
use crate::step::world::WorldCourse;
use crate::step::{Branch, Forked, Keep, Sought, Timeline, Walk};

/// How a run was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Out of the debugger.
    Quit,
    /// Back to the run that this one had left.
    Back,
}

/// Runs that leave runs, one in the other.
const FORKS_LIMIT: usize = 16;

/// A way that takes longer is told about.
const SOON: Duration = Duration::from_millis(300);

/// A user at a screen.
pub struct Session<'a> {
    /// Where it is drawn.
    pub stage: &'a mut dyn Stage,
    /// What other runs are stepped through with.
    pub bug: Option<Bug>,
    /// Which copies of machines are kept.
    pub keep: Keep,
    /// What names of files begin with.
    pub stem: String,
    /// The folder that files are written to.
    pub folder: PathBuf,
    /// The file that was written last.
    pub written: Option<PathBuf>,
}

impl core::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Session").field("stem", &self.stem).finish_non_exhaustive()
    }
}

impl Session<'_> {
    /// Walks through a run until the user leaves. It begins at a step, or at the one that fails.
    ///
    /// # Errors
    /// If the terminal fails.
    pub fn run(&mut self, walk: &mut dyn Walk, at: Option<u64>) -> io::Result<Exit> {
        let mut screen = Screen::new(0);
        match at {
            Some(at) => self.seek(walk, &mut screen, at),
            None => {
                self.find(walk, &mut screen, &Sought::Failure, true);
                if walk.view().failure.is_none() && walk.last().is_some() {
                    let end = walk.end().unwrap_or_else(|| "everything holds".to_owned());
                    screen.message = format!("{} steps: {end}", walk.last().unwrap_or(0));
                }
            }
        }
        self.keys(walk, &mut screen, None)
    }

    fn keys(&mut self, walk: &mut dyn Walk, screen: &mut Screen, whole: Option<&Forked>) -> io::Result<Exit> {
        loop {
            self.show(walk, screen)?;
            let key = match self.stage.next()? {
                Press::Key(key) => key,
                Press::Resize => continue,
                Press::Stop => return Ok(Exit::Quit),
            };
            let is_out = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if is_out {
                return Ok(Exit::Quit);
            }
            if core::mem::take(&mut screen.is_help) {
                continue;
            }
            let exit = if screen.input.is_some() {
                self.typed(walk, screen, whole, key)?
            } else {
                screen.message.clear();
                self.obey(walk, screen, whole, command(key))?
            };
            if let Some(exit) = exit {
                return Ok(exit);
            }
        }
    }

    fn show(&mut self, walk: &mut dyn Walk, screen: &mut Screen) -> io::Result<()> {
        let (title, end) = (walk.title(), walk.end());
        self.stage.draw(&mut |frame| {
            let places = places(frame.area(), screen, walk.view());
            screen.list_rows = places.list_rows();
            let (number, count) = (walk.view().number, screen.list_rows);
            let from = number.saturating_sub(count as u64 / 2);
            let mut rows = walk.rows(from, count);
            if from == 0 {
                rows.insert(0, beginning());
            }
            let (view, last, end) = (walk.view(), walk.last(), end.as_deref());
            draw(frame, &places, screen, &Scene { title: &title, view, last, end, rows: &rows });
        })
    }

    fn obey(
        &mut self,
        walk: &mut dyn Walk,
        screen: &mut Screen,
        whole: Option<&Forked>,
        command: Command,
    ) -> io::Result<Option<Exit>> {
        let number = walk.view().number;
        let page = screen.list_rows.saturating_sub(1).max(1) as i64;
        match command {
            Command::Go(steps) => self.seek(walk, screen, number.saturating_add_signed(steps)),
            Command::Page(pages) => self.seek(walk, screen, number.saturating_add_signed(pages * page)),
            Command::Begin => self.seek(walk, screen, 0),
            Command::End => self.seek(walk, screen, u64::MAX),
            Command::Failure(forwards) => self.find(walk, screen, &Sought::Failure, forwards),
            Command::Again(forwards) => match screen.sought.clone() {
                Some(what) => self.find(walk, screen, &what, forwards),
                None => "nothing is sought: / and c ask for something".clone_into(&mut screen.message),
            },
            Command::Ask(ask) => screen.input = Some((ask, self.suggestion(ask, walk, whole))),
            Command::Focus(forwards) => screen.focus_on(forwards, walk.view().tables.len()),
            Command::Scroll(lines) => {
                let pane = if screen.focus == Pane::Steps { Pane::Story } else { screen.focus };
                let scroll = screen.scroll.entry(pane).or_insert(0);
                *scroll = scroll.saturating_add_signed(lines as isize);
            }
            Command::Zoom => screen.is_zoomed = !screen.is_zoomed,
            Command::Help => screen.is_help = true,
            Command::Fork => screen.input = Some((Ask::Fork, String::new())),
            Command::WriteAll => match whole {
                Some(_) => {
                    screen.input = Some((Ask::WholeFile, self.suggestion(Ask::WholeFile, walk, whole)));
                }
                None => "this run is a seed or a file already".clone_into(&mut screen.message),
            },
            Command::Open => return self.open(screen),
            Command::Back if screen.forks > 0 => return Ok(Some(Exit::Back)),
            Command::Back => "this run has left no other one".clone_into(&mut screen.message),
            Command::Quit => return Ok(Some(Exit::Quit)),
            Command::Nothing => {}
        }
        Ok(None)
    }

    /// What is there already where something is typed.
    fn suggestion(&self, ask: Ask, walk: &dyn Walk, whole: Option<&Forked>) -> String {
        let number = walk.view().number;
        let fork = |ending: &str| format!("{}-fork.{ending}", self.stem);
        match ask {
            Ask::Step | Ask::Text | Ask::Whom | Ask::Fork => String::new(),
            Ask::Luck | Ask::Steps => "1".to_owned(),
            Ask::File => format!("{}-step-{number}", self.stem),
            Ask::WholeFile => whole.map_or_else(String::new, |whole| fork(whole.ending())),
        }
    }

    /// A key while something is typed.
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "terminals have many more keys, and those mean nothing"
    )]
    fn typed(
        &mut self,
        walk: &mut dyn Walk,
        screen: &mut Screen,
        whole: Option<&Forked>,
        key: KeyEvent,
    ) -> io::Result<Option<Exit>> {
        let Some((ask, mut text)) = screen.input.take() else { return Ok(None) };
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        // What is pasted, or sent by a program, may have ends of lines that are no Enter.
        let is_end = is_control && matches!(key.code, KeyCode::Char('j' | 'm'));
        match if is_end { KeyCode::Enter } else { key.code } {
            KeyCode::Esc => return Ok(None),
            KeyCode::Enter if ask != Ask::Fork => return self.answer(walk, screen, whole, ask, text.trim()),
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Char(which) if ask == Ask::Fork => {
                let ask = match which {
                    'l' => Ask::Luck,
                    's' => Ask::Steps,
                    'w' => Ask::File,
                    _ => return Ok(None),
                };
                text = self.suggestion(ask, walk, whole);
                screen.input = Some((ask, text));
                return Ok(None);
            }
            KeyCode::Char('u') if is_control => text.clear(),
            KeyCode::Char(_) if is_control => {}
            KeyCode::Char(letter) => text.push(letter),
            _ => {}
        }
        screen.input = Some((ask, text));
        Ok(None)
    }

    fn answer(
        &mut self,
        walk: &mut dyn Walk,
        screen: &mut Screen,
        whole: Option<&Forked>,
        ask: Ask,
        text: &str,
    ) -> io::Result<Option<Exit>> {
        screen.message.clear();
        if text.is_empty() {
            return Ok(None);
        }
        match ask {
            Ask::Step => match text.parse() {
                Ok(step) => self.seek(walk, screen, step),
                Err(_) => screen.message = format!("{text} is no number of a step"),
            },
            Ask::Text => self.seek_for(walk, screen, Sought::Text(text.to_lowercase())),
            Ask::Whom => self.seek_for(walk, screen, Sought::Whom(text.to_owned())),
            Ask::Luck | Ask::Steps => match text.parse() {
                Ok(seed) if ask == Ask::Luck => return self.branch(walk, screen, Branch::Luck(seed)),
                Ok(seed) => return self.branch(walk, screen, Branch::Steps(seed)),
                Err(_) => screen.message = format!("{text} is no seed: a number is"),
            },
            Ask::File => match walk.fork(Branch::Cut) {
                Ok(fork) => self.write(screen, &fork, text),
                Err(why) => screen.message = why,
            },
            Ask::WholeFile => {
                if let Some(whole) = whole {
                    self.write(screen, whole, text);
                }
            }
            Ask::Fork => {}
        }
        Ok(None)
    }

    fn seek_for(&mut self, walk: &mut dyn Walk, screen: &mut Screen, what: Sought) {
        self.find(walk, screen, &what, true);
        screen.sought = Some(what);
    }

    fn seek(&mut self, walk: &mut dyn Walk, screen: &mut Screen, step: u64) {
        let mut patience = patience(self.stage, "to the step");
        walk.seek(step, &mut patience);
        screen.moved();
    }

    fn find(&mut self, walk: &mut dyn Walk, screen: &mut Screen, what: &Sought, forwards: bool) {
        let found = walk.find(what, forwards, &mut patience(self.stage, "looking"));
        match found {
            Some(step) => self.seek(walk, screen, step),
            None => {
                let way = if forwards { "behind this" } else { "before this" };
                screen.message = match what {
                    Sought::Failure => format!("nothing fails in what was looked at {way}"),
                    Sought::Text(text) => format!("{text} is in no step that was looked at {way}"),
                    Sought::Whom(whom) => format!("no step that was looked at {way} concerns {whom}"),
                };
            }
        }
    }

    /// Writes a run to a file that must not be there yet.
    fn write(&mut self, screen: &mut Screen, fork: &Forked, name: &str) {
        let mut path = self.folder.join(name);
        if path.extension().is_none_or(|ending| ending != fork.ending()) {
            path.as_mut_os_string().push(format!(".{}", fork.ending()));
        }
        let text = fork.text();
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let shown = path.display();
        screen.message = match file.and_then(|mut file| file.write_all(text.as_bytes())) {
            Ok(()) => format!("written: {shown}, {} lines. o opens it here", text.lines().count()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                format!("not written: there is a file {shown} already; give another name")
            }
            Err(error) => format!("not written: {shown}: {error}"),
        };
        if screen.message.starts_with("written") {
            self.written = Some(path);
        }
    }

    /// Begins another run where this one is.
    fn branch(
        &mut self,
        walk: &mut dyn Walk,
        screen: &mut Screen,
        branch: Branch,
    ) -> io::Result<Option<Exit>> {
        match walk.fork(branch) {
            Ok(fork) => {
                let how = match branch {
                    Branch::Cut => "up to here".to_owned(),
                    Branch::Luck(seed) => format!("the luck of seed {seed} from step {}", walk.view().number),
                    Branch::Steps(seed) => format!("steps of seed {seed} from step {}", walk.view().number),
                };
                let title = format!("{}, {how}", walk.title());
                self.enter(screen, &fork, title, walk.view().number)
            }
            Err(why) => {
                screen.message = why;
                Ok(None)
            }
        }
    }

    /// Opens the file that was written last, as it is by now.
    fn open(&mut self, screen: &mut Screen) -> io::Result<Option<Exit>> {
        let Some(path) = self.written.clone() else {
            "nothing was written yet".clone_into(&mut screen.message);
            return Ok(None);
        };
        match read(&path) {
            Ok(run) => self.enter(screen, &run, path.display().to_string(), u64::MAX),
            Err(why) => {
                screen.message = format!("{}: {why}", path.display());
                Ok(None)
            }
        }
    }

    /// Walks through another run, and then comes back.
    fn enter(
        &mut self,
        screen: &mut Screen,
        run: &Forked,
        title: String,
        at: u64,
    ) -> io::Result<Option<Exit>> {
        if screen.forks >= FORKS_LIMIT {
            screen.message = format!("{FORKS_LIMIT} runs are one in the other: go back first");
            return Ok(None);
        }
        let mut inner = Screen::new(screen.forks + 1);
        "b goes back to the run that this one has left".clone_into(&mut inner.message);
        let exit = match run {
            Forked::Schedule(schedule) => {
                let mut walk = Timeline::new(WorldCourse::new(schedule, title, self.bug), self.keep);
                self.seek(&mut walk, &mut inner, at);
                self.keys(&mut walk, &mut inner, Some(run))?
            }
            Forked::Script(script) => {
                let probe = Planted(self.bug.and_then(Bug::engine));
                match ScriptCourse::new((**script).clone(), title, probe) {
                    Ok(course) => {
                        let mut walk = Timeline::new(course, self.keep);
                        self.seek(&mut walk, &mut inner, at);
                        self.keys(&mut walk, &mut inner, Some(run))?
                    }
                    Err(error) => {
                        screen.message = error.to_string();
                        return Ok(None);
                    }
                }
            }
        };
        "back in the run that was left".clone_into(&mut screen.message);
        Ok((exit == Exit::Quit).then_some(Exit::Quit))
    }
}

/// Asks a user on a long way whether to go on, and tells how far it is.
fn patience<'s>(stage: &'s mut dyn Stage, what: &'static str) -> impl FnMut(u64) -> bool + 's {
    let mut told = Instant::now();
    move |step| {
        if stage.is_impatient() {
            return false;
        }
        if told.elapsed() > SOON {
            told = Instant::now();
            let text = format!("{what}: {step} … any key stops");
            // What cannot be drawn is no reason to stop.
            let _ = stage.draw(&mut |frame| {
                frame.render_widget(Paragraph::new(Line::raw(text.as_str())), frame.area());
            });
        }
        true
    }
}

/// A schedule or a script.
fn read(path: &Path) -> Result<Forked, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    if is_script(&text) {
        let script: Script = text.parse().map_err(|error| format!("{error}"))?;
        return Ok(Forked::Script(Box::new(script)));
    }
    let schedule: Schedule = text.parse().map_err(|error| format!("{error}"))?;
    Ok(Forked::Schedule(Box::new(schedule)))
}
