//! `step`: a debugger on the terminal.

use std::io::{self, IsTerminal as _};
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::{cursor, execute, terminal};
use ratatui::{Frame, Terminal, backend::CrosstermBackend};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use switchboard_sim::canaries::{Bug, Planted};
use switchboard_sim::step::recording::RecordingCourse;
use switchboard_sim::step::screen::{Press, Session, Stage};
use switchboard_sim::step::script::ScriptCourse;
use switchboard_sim::step::world::WorldCourse;
use switchboard_sim::step::{Keep, Timeline, Walk};

use super::{CliError, load_schedule, recorded, scripts};

/// What `step` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct StepArgs {
    /// A seed; a schedule; a script of events; or a recording: a file, or the folder of an engine's files.
    #[arg(value_name = "SEED-or-FILE")]
    subject: String,
    /// Of a recording, more files.
    #[arg(value_name = "FILE")]
    more: Vec<PathBuf>,
    /// The profile that the seed is of.
    #[arg(long, default_value = "default")]
    profile: String,
    /// With this deliberate bug.
    #[arg(long, value_name = "NAME", value_parser = parse_bug)]
    canary: Option<Bug>,
    /// Begin behind this step; by default at the one that fails, or before the first if none does.
    #[arg(long, value_name = "STEP")]
    at: Option<u64>,
    /// Keep a copy of the machines every so many steps, from which is gone on when one goes back; twice as many when too many are kept.
    #[arg(long, value_name = "STEPS", default_value_t = Keep::default().every, value_parser = clap::value_parser!(u64).range(1..))]
    snapshot_every: u64,
}

fn parse_bug(name: &str) -> Result<Bug, String> {
    let found = Bug::all().into_iter().find(|bug| bug.name() == name);
    found.ok_or_else(|| format!("there is no deliberate bug {name}; `canaries` lists them"))
}

/// Walks through the subject; true, as whoever looks has seen what fails.
pub(crate) fn step(args: &StepArgs) -> Result<bool, CliError> {
    let path = Path::new(&args.subject);
    let keep = Keep { every: args.snapshot_every, ..Keep::default() };
    let planted = args.canary.map(|bug| format!(", with {}", bug.name())).unwrap_or_default();
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let is_seed = args.subject.parse::<u64>().is_ok();
    if !is_seed && scripts::is_script_or_recording(path) {
        let engine = args.canary.map(|bug| bug.engine().ok_or(CliError::NotOfEngines(bug.name())));
        let probe = Planted(engine.transpose()?);
        if recorded::is_recorded(path) {
            let paths: Vec<_> = core::iter::once(path.to_owned()).chain(args.more.iter().cloned()).collect();
            let recording = scripts::one_of(&paths)?;
            let course = RecordingCourse::new(&recording, probe)?;
            return show(args, &mut Timeline::new(course, keep), keep, stem);
        }
        alone(args)?;
        let title = format!("{}{planted}", path.display());
        let course = ScriptCourse::new(scripts::read(path)?, title, probe)
            .map_err(|source| CliError::Run { path: path.to_owned(), source })?;
        return show(args, &mut Timeline::new(course, keep), keep, stem);
    }
    alone(args)?;
    let schedule = load_schedule(&args.subject, &args.profile)?;
    let (title, stem) = match is_seed {
        true => (
            format!("seed {} of {}{planted}", args.subject, args.profile),
            format!("{}-{}", args.profile, args.subject),
        ),
        false => (format!("{}{planted}", path.display()), stem),
    };
    let course = WorldCourse::new(&schedule, title, args.canary);
    show(args, &mut Timeline::new(course, keep), keep, stem)
}

/// Of recordings alone there may be several files.
fn alone(args: &StepArgs) -> Result<(), CliError> {
    args.more.first().map_or(Ok(()), |more| Err(CliError::NoRecording(more.clone())))
}

/// Opens the terminal, and puts it right again whatever happens.
fn show(args: &StepArgs, walk: &mut dyn Walk, keep: Keep, stem: String) -> Result<bool, CliError> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(CliError::NoTerminal);
    }
    // Panics of engines are caught, and shown as what fails. What they would write, and that of ours, waits until the screen is closed.
    let words = Arc::new(Mutex::new(None));
    let hook = panic::take_hook();
    panic::set_hook(Box::new({
        let words = Arc::clone(&words);
        move |panic| *words.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic.to_string())
    }));
    let walked = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        let mut tty = Tty::open()?;
        let (stage, folder) = (&mut tty as &mut dyn Stage, PathBuf::new());
        Session { stage, bug: args.canary, keep, stem, folder, written: None }.run(walk, args.at)
    }));
    panic::set_hook(hook);
    match walked {
        Ok(left) => left.map(|_| true).map_err(CliError::Terminal),
        Err(panic) => {
            if let Some(words) = words.lock().unwrap_or_else(PoisonError::into_inner).take() {
                eprintln!("{words}");
            }
            panic::resume_unwind(panic)
        }
    }
}

/// The terminal, as it is while something is drawn on it.
struct Tty {
    terminal: Terminal<CrosstermBackend<io::Stdout>>,
    /// Whether the process was told to end.
    is_stopped: Arc<AtomicBool>,
}

/// How often it is looked whether the process was told to end.
const LOOK: Duration = Duration::from_millis(200);

impl Tty {
    fn open() -> io::Result<Self> {
        let is_stopped = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&is_stopped))?;
        }
        terminal::enable_raw_mode()?;
        // From here on it is put right when this is dropped.
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout())).inspect_err(|_| restore())?;
        let tty = Self { terminal, is_stopped };
        execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide)?;
        Ok(tty)
    }
}

/// As it was. What fails of it cannot be helped.
fn restore() {
    let _ = terminal::disable_raw_mode();
    let _ = execute!(io::stdout(), terminal::LeaveAlternateScreen, cursor::Show);
}

impl Drop for Tty {
    fn drop(&mut self) {
        restore();
    }
}

impl Stage for Tty {
    fn draw(&mut self, picture: &mut dyn FnMut(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(|frame| picture(frame)).map(|_| ())
    }

    fn next(&mut self) -> io::Result<Press> {
        loop {
            if self.is_stopped.load(Ordering::Relaxed) {
                return Ok(Press::Stop);
            }
            if !event::poll(LOOK)? {
                continue;
            }
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => return Ok(Press::Key(key)),
                Event::Resize(..) => return Ok(Press::Resize),
                Event::Key(_) | Event::FocusGained | Event::FocusLost | Event::Mouse(_) | Event::Paste(_) => {
                }
            }
        }
    }

    fn is_impatient(&mut self) -> bool {
        if self.is_stopped.load(Ordering::Relaxed) {
            return true;
        }
        let is_there = event::poll(Duration::ZERO).unwrap_or(false);
        let Some(Event::Key(key)) = is_there.then(|| event::read().ok()).flatten() else { return false };
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            self.is_stopped.store(true, Ordering::Relaxed);
        }
        true
    }
}
