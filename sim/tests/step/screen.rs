//! What is typed, and what is drawn then.

use std::collections::VecDeque;
use std::io;

use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{Frame, Terminal};
use switchboard_engine::Canary;
use switchboard_sim::canaries::{Bug, Planted, WithBug};
use switchboard_sim::generate::generate;
use switchboard_sim::step::screen::{Exit, Press, Session, Stage};
use switchboard_sim::step::{Keep, Walk};
use switchboard_sim::world;

use super::{of_recording, of_schedule, recorded};

/// A terminal of which somebody has thought what will be typed.
struct Script {
    terminal: Terminal<TestBackend>,
    keys: VecDeque<KeyCode>,
    pictures: Vec<String>,
}

impl Script {
    fn new(width: u16, height: u16, keys: impl IntoIterator<Item = KeyCode>) -> Self {
        let terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        Self { terminal, keys: keys.into_iter().collect(), pictures: Vec::new() }
    }

    fn last(&self) -> &str {
        self.pictures.last().map_or("", String::as_str)
    }
}

impl Stage for Script {
    fn draw(&mut self, picture: &mut dyn FnMut(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(|frame| picture(frame)).unwrap();
        let buffer = self.terminal.backend().buffer();
        let width = usize::from(buffer.area.width).max(1);
        let lines = buffer.content.chunks(width);
        let lines = lines.map(|line| line.iter().map(ratatui::buffer::Cell::symbol).collect::<String>());
        self.pictures.push(lines.collect::<Vec<_>>().join("\n"));
        Ok(())
    }

    fn next(&mut self) -> io::Result<Press> {
        Ok(match self.keys.pop_front() {
            Some(code) => Press::Key(KeyEvent::new(code, KeyModifiers::NONE)),
            None => Press::Stop,
        })
    }

    fn is_impatient(&mut self) -> bool {
        false
    }
}

fn typed(text: &str) -> impl Iterator<Item = KeyCode> {
    text.chars().map(|letter| match letter {
        '\n' => KeyCode::Enter,
        '\t' => KeyCode::Tab,
        letter => KeyCode::Char(letter),
    })
}

fn play(walk: &mut dyn Walk, size: (u16, u16), keys: &str, folder: &std::path::Path) -> (Script, Exit) {
    let mut stage = Script::new(size.0, size.1, typed(keys));
    let exit = Session {
        stage: &mut stage,
        bug: None,
        keep: Keep::default(),
        stem: "small-3".to_owned(),
        folder: folder.to_owned(),
        written: None,
    }
    .run(walk, Some(1))
    .unwrap();
    (stage, exit)
}

const LARGE: (u16, u16) = (150, 44);

#[test]
fn every_size_of_terminal_shows_something_and_none_panics() {
    let schedule = generate(3, "small").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sizes =
        [(150, 44), (100, 30), (80, 24), (40, 12), (20, 5), (20, 1), (3, 3), (1, 1), (1, 40), (300, 6)];
    for size in sizes {
        let mut walk = of_schedule(&schedule, None, Keep::default());
        let (stage, _) = play(&mut *walk, size, "jjJ\t\tdduu?x\t\t\tzzGk?", folder.path());
        assert!(stage.pictures.iter().any(|picture| picture.trim() != ""), "{size:?}");
    }
    let mut walk = of_schedule(&schedule, None, Keep::default());
    let (stage, _) = play(&mut *walk, (20, 5), "jj", folder.path());
    assert!(stage.last().contains("      3"), "{}", stage.last());
}

#[test]
fn a_large_terminal_shows_steps_what_came_of_them_and_what_everything_is_like() {
    let schedule = generate(3, "small").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut walk = of_schedule(&schedule, None, Keep::default());
    let (stage, exit) = play(&mut *walk, LARGE, "JJJ", folder.path());
    let picture = stage.last();
    for part in [
        "steps",
        "what came of it",
        "connections",
        "clients",
        "on the way",
        "places",
        "counters",
        "step 31 of ?",
    ] {
        assert!(picture.contains(part), "{part} is not in\n{picture}");
    }
    assert_eq!(exit, Exit::Quit, "a terminal that gives nothing any more is left");
    let (stage, _) = play(&mut *walk, LARGE, "?", folder.path());
    assert!(stage.last().contains("another run that is like this one up to here"), "{}", stage.last());
}

#[test]
fn what_is_typed_moves() {
    let (_folder, path) = recorded(3, "small");
    let folder = tempfile::tempdir().unwrap();
    let mut walk = of_recording(&path, Planted(None), Keep::default());
    for (keys, step) in [
        (":17\n", 17),
        ("jjjk", 19),
        ("K", 9),
        ("g", 0),
        ("k", 0),
        (":12\n:nothing\n", 12),
        ("/the STORE answers\nN", 12),
        ("q", 12),
    ] {
        let mut stage = Script::new(LARGE.0, LARGE.1, typed(keys));
        let at = Some(walk.view().number);
        Session {
            stage: &mut stage,
            bug: None,
            keep: Keep::default(),
            stem: String::new(),
            folder: folder.path().to_owned(),
            written: None,
        }
        .run(&mut *walk, at)
        .unwrap();
        if keys.starts_with('/') {
            assert!(stage.pictures.iter().any(|picture| picture.contains("the store answers")));
            walk.seek(step, &mut |_| true);
        }
        assert_eq!(walk.view().number, step, "{keys:?}\n{}", stage.last());
    }
    let (stage, _) = play(&mut *walk, LARGE, "/nobody says this\n", folder.path());
    assert!(stage.last().contains("nobody says this is in no step"), "{}", stage.last());
}

#[test]
fn a_failing_run_opens_at_the_step_that_fails_with_the_check() {
    let canary = Canary::ALL.iter().copied().find(|canary| canary.name() == "second-device-twice").unwrap();
    let bug = Bug::Engine(canary);
    let options = world::Options { sweep_every: 1, ..world::Options::default() };
    let (violation, schedule) = (0..400)
        .find_map(|seed| {
            let schedule = generate(seed, "small")?;
            Some((WithBug(bug).execute(&schedule, options).violation?, schedule))
        })
        .unwrap();
    let mut walk = of_schedule(&schedule, Some(bug), Keep::default());
    let mut stage = Script::new(LARGE.0, LARGE.1, []);
    let (keep, folder) = (Keep::default(), std::path::PathBuf::new());
    Session { stage: &mut stage, bug: Some(bug), keep, stem: String::new(), folder, written: None }
        .run(&mut *walk, None)
        .unwrap();
    assert_eq!(walk.view().failure, Some(violation.to_string()));
    assert!(stage.last().contains(&format!("✗ {}", violation.check)), "{}", stage.last());
}

#[test]
fn what_leads_to_a_step_is_written_opened_and_left_and_no_file_is_written_over() {
    let schedule = generate(3, "small").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut walk = of_schedule(&schedule, None, Keep::default());
    let (stage, _) = play(&mut *walk, LARGE, ":40\nw\no", folder.path());
    let path = folder.path().join("small-3-step-40.schedule");
    assert!(path.exists());
    assert!(stage.last().contains("fork 1"), "{}", stage.last());
    let (stage, _) = play(&mut *walk, LARGE, ":40\nw\nob", folder.path());
    assert!(stage.pictures.iter().any(|picture| picture.contains("there is a file")));
    assert!(stage.last().contains("has left no other one"), "nothing was written, so nothing is opened");
    let (stage, _) = play(&mut *walk, LARGE, "b", folder.path());
    assert!(stage.last().contains("has left no other one"));
}

#[test]
fn a_fork_is_walked_written_and_left() {
    let schedule = generate(3, "small").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut walk = of_schedule(&schedule, None, Keep::default());
    let (stage, _) = play(&mut *walk, LARGE, ":40\nfl2\njjW\n", folder.path());
    assert!(stage.last().contains("fork 1") && stage.last().contains("step 42"), "{}", stage.last());
    assert!(folder.path().join("small-3-fork.schedule").exists(), "{}", stage.last());
    assert!(stage.last().contains("written: "), "{}", stage.last());
    let (stage, _) = play(&mut *walk, LARGE, ":40\nfs5\nJb", folder.path());
    assert!(!stage.last().contains("fork 1") && stage.last().contains("step 40"), "{}", stage.last());
}
