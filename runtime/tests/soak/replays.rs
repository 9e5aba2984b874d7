//! What was recorded of a server, replayed as `switchboard-sim replay` does.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use switchboard_engine::Shipped;
use switchboard_sim::recording::{
    file::Reader,
    files::Recording,
    replay::{Options, replay},
};

/// How the server ended whose recordings these are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) was_killed: bool,
    /// Then files are cut off, and others begun later.
    pub(crate) had_full_disk: bool,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Replayed {
    pub(crate) recordings: u64,
    pub(crate) files: u64,
    pub(crate) cut_off: u64,
    pub(crate) gaps: u64,
    pub(crate) steps: u64,
    pub(crate) recorded: Duration,
    pub(crate) took: Duration,
}

impl core::ops::AddAssign for Replayed {
    fn add_assign(&mut self, more: Self) {
        self.recordings += more.recordings;
        self.files += more.files;
        self.cut_off += more.cut_off;
        self.gaps += more.gaps;
        self.steps += more.steps;
        self.recorded += more.recorded;
        self.took += more.took;
    }
}

/// Replays all that is in a folder: it must be identical, and every check must hold.
pub(crate) fn replay_folder(folder: &Path, shards: u32, ending: Ending) -> Replayed {
    let mut replayed = Replayed::default();
    let mut engines = BTreeMap::<u32, Vec<(u32, PathBuf)>>::new();
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        match Reader::open(&path) {
            Ok(reader) => {
                let header = reader.header();
                engines.entry(header.shard).or_default().push((header.part, path));
            }
            // It had just been begun.
            Err(error) if error.is_cut_off() && (ending.was_killed || ending.had_full_disk) => {
                replayed.cut_off += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(
        engines.keys().copied().collect::<Vec<_>>(),
        (0..shards).collect::<Vec<_>>(),
        "{}",
        folder.display()
    );
    for parts in engines.into_values() {
        let mut stretches = Vec::<Vec<(u32, PathBuf)>>::new();
        for (part, path) in parts {
            match stretches.last_mut() {
                Some(stretch) if stretch.last().is_some_and(|(last, _)| last + 1 == part) => {
                    stretch.push((part, path));
                }
                Some(_) | None => stretches.push(vec![(part, path)]),
            }
        }
        let (last, gaps) = (stretches.len() - 1, stretches.len() as u64 - 1);
        assert!(gaps == 0 || ending.had_full_disk, "something is missing: {stretches:?}");
        replayed.recordings += 1;
        replayed.gaps += gaps;
        for (number, stretch) in stretches.into_iter().enumerate() {
            let may_be_cut = ending.had_full_disk || (ending.was_killed && number == last);
            let must_end = number == last && !ending.was_killed;
            let paths: Vec<_> = stretch.into_iter().map(|(_, path)| path).collect();
            replay_stretch(&paths, may_be_cut, must_end, &mut replayed);
        }
    }
    replayed
}

fn replay_stretch(paths: &[PathBuf], may_be_cut: bool, must_end: bool, replayed: &mut Replayed) {
    let mut recordings = Recording::open(paths).unwrap();
    assert_eq!(recordings.len(), 1, "{paths:?}");
    let begun = Instant::now();
    let report = replay(&mut recordings[0], &Shipped, &Options::default(), |_| ()).unwrap();
    replayed.took += begun.elapsed();
    replayed.files += paths.len() as u64;
    replayed.steps += report.steps;
    replayed.recorded += report.recorded;
    let what = || format!("{}: {report:#?}", paths[0].display());
    assert!(report.is_same_build && report.differing == 0, "it leads to something else: {}", what());
    assert!(report.violation.is_none(), "a check does not hold: {}", what());
    match &report.damage {
        None => {}
        Some(damage) if damage.is_cut_off() && may_be_cut => replayed.cut_off += 1,
        Some(_) => panic!("it cannot be read to its end: {}", what()),
    }
    assert!(
        report.has_ended || !must_end,
        "its server has stopped in order, and it does not say so: {}",
        what()
    );
}
