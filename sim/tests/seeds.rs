//! A fixed set of seeds of every profile, and every schedule that was kept.

use std::fs;
use std::path::Path;

use switchboard_sim::generate::{PROFILES, generate};
use switchboard_sim::runner::examine;
use switchboard_sim::schedule::Schedule;
use switchboard_sim::world::Options;

#[test]
fn every_invariant_holds_for_the_fixed_seeds_of_every_profile() {
    for (profile, _) in PROFILES.iter().filter(|(profile, _)| !profile.starts_with("bench")) {
        for seed in 0..40 {
            let schedule = generate(seed, profile).unwrap();
            let outcome = examine(&schedule, Options::default(), seed % 8 == 0);
            assert_eq!(outcome.violation, None, "seed {seed} of {profile}");
        }
    }
}

#[test]
fn every_kept_schedule_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    // Folders in it are for schedules that something else must not survive.
    files.retain(|path| path.is_file());
    files.sort();
    assert!(!files.is_empty(), "there are schedules to replay");
    for path in files {
        let schedule: Schedule = fs::read_to_string(&path).unwrap().parse().unwrap();
        let options = Options { sweep_every: 1, ..Options::default() };
        assert_eq!(examine(&schedule, options, true).violation, None, "{}", path.display());
    }
}

#[test]
fn a_seed_that_is_run_again_does_the_same_and_another_one_does_not() {
    let run = |seed| examine(&generate(seed, "default").unwrap(), Options::default(), false).digest;
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
