//! The debugger: what is seen at a step does not depend on the way there, and what is typed does what the help says.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a panic is a failed test, and clippy's leave for tests ends at their bodies"
)]

mod forks;
mod screen;
mod timeline;

use std::fs;
use std::path::Path;

use switchboard_sim::canaries::Planted;
use switchboard_sim::recording::files::Recording;
use switchboard_sim::recording::record;
use switchboard_sim::schedule::Schedule;
use switchboard_sim::script::{Script, from::cut};
use switchboard_sim::step::recording::RecordingCourse;
use switchboard_sim::step::script::ScriptCourse;
use switchboard_sim::step::world::WorldCourse;
use switchboard_sim::step::{Keep, Timeline, Walk};
use switchboard_sim::{canaries::Bug, generate::generate, world};

/// Few copies, so that there are many ways to each step.
const FEW: Keep = Keep { every: 7, limit: 3 };

fn of_schedule<'s>(schedule: &'s Schedule, bug: Option<Bug>, keep: Keep) -> Box<dyn Walk + 's> {
    Box::new(Timeline::new(WorldCourse::new(schedule, "a schedule".to_owned(), bug), keep))
}

fn one(path: &Path) -> Recording {
    Recording::open(&[path.to_owned()]).unwrap().remove(0)
}

fn of_recording(path: &Path, probe: Planted, keep: Keep) -> Box<dyn Walk> {
    Box::new(Timeline::new(RecordingCourse::new(&one(path), probe).unwrap(), keep))
}

fn of_script(script: &Script, probe: Planted, keep: Keep) -> Box<dyn Walk> {
    let course = ScriptCourse::new(script.clone(), "a script".to_owned(), probe).unwrap();
    Box::new(Timeline::new(course, keep))
}

/// A recording of a world's first server, made without a bug.
fn recorded(seed: u64, profile: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let schedule = generate(seed, profile).unwrap();
    let file = record(&schedule, world::Options::default(), None, 0).1.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.swr");
    fs::write(&path, file).unwrap();
    (folder, path)
}

fn scripted(path: &Path) -> Script {
    cut(&mut one(path), &Planted(None), None, None).unwrap().script
}

/// Whoever has patience.
fn ever(_: u64) -> bool {
    true
}
