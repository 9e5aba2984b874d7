//! Runs that are like others up to a step.

use switchboard_sim::canaries::Planted;
use switchboard_sim::generate::generate;
use switchboard_sim::schedule::Schedule;
use switchboard_sim::script::Script;
use switchboard_sim::step::{Branch, Forked, Keep, Walk};
use switchboard_sim::world::{Options, execute};

use super::{ever, of_recording, of_schedule, of_script, recorded};

fn schedule_of(fork: Forked) -> Schedule {
    match fork {
        Forked::Schedule(schedule) => *schedule,
        Forked::Script(_) => panic!("a world is forked into a world"),
    }
}

/// A step in the middle of the schedule's time, and what happens until then.
fn middle(walk: &mut dyn Walk, schedule: &Schedule) -> u64 {
    let half_us = schedule.steps[schedule.steps.len() / 2].at_us;
    let rows = walk.rows(1, 4000);
    rows.iter().rev().find(|row| row.at.as_micros() <= u128::from(half_us)).unwrap().number
}

#[test]
fn a_fork_of_a_world_is_the_same_up_to_where_it_leaves_and_another_one_behind_it() {
    for (seed, profile) in [(3, "small"), (5, "default"), (4, "sessions")] {
        let schedule = generate(seed, profile).unwrap();
        let mut walk = of_schedule(&schedule, None, Keep::default());
        let step = middle(&mut *walk, &schedule);
        walk.seek(step, &mut ever);
        for branch in [Branch::Cut, Branch::Luck(77), Branch::Steps(77)] {
            let fork = walk.fork(branch).unwrap();
            let text = fork.text();
            let fork = schedule_of(fork);
            assert_eq!(fork.check(), Ok(()), "{profile} {seed} {branch:?}");
            assert_eq!(text.parse::<Schedule>().as_ref(), Ok(&fork), "it is read as it is written");
            assert_eq!(execute(&fork, Options::default()).violation, None, "{profile} {seed} {branch:?}");
            let mut other = of_schedule(&fork, None, Keep::default());
            assert_eq!(other.rows(1, step as usize), walk.rows(1, step as usize));
            other.seek(step, &mut ever);
            assert_eq!(other.view().digest, walk.view().digest);
            let behind = other.rows(step + 1, 200);
            assert_ne!(behind, walk.rows(step + 1, 200), "{profile} {seed} {branch:?}");
        }
    }
}

#[test]
fn the_luck_that_a_world_has_anyway_changes_nothing() {
    let schedule = generate(3, "small").unwrap();
    let mut walk = of_schedule(&schedule, None, Keep::default());
    walk.seek(60, &mut ever);
    let fork = schedule_of(walk.fork(Branch::Luck(schedule.seed)).unwrap());
    let (one, other) = (execute(&schedule, Options::default()), execute(&fork, Options::default()));
    assert_eq!((one.digest, one.events), (other.digest, other.events));
}

#[test]
fn behind_the_schedule_a_world_is_written_and_not_forked() {
    let schedule = generate(3, "small").unwrap();
    let mut walk = of_schedule(&schedule, None, Keep::default());
    walk.seek(u64::MAX, &mut ever);
    assert!(walk.fork(Branch::Luck(1)).unwrap_err().contains("the schedule has ended"));
    assert_eq!(schedule_of(walk.fork(Branch::Cut).unwrap()), schedule);
}

#[test]
fn what_leads_to_a_step_of_a_recording_is_a_script_that_leads_to_the_same() {
    let (_folder, path) = recorded(3, "small");
    let mut walk = of_recording(&path, Planted(None), Keep::default());
    walk.seek(40, &mut ever);
    assert!(walk.fork(Branch::Steps(1)).unwrap_err().contains("a recording has no world"));
    let Forked::Script(script) = walk.fork(Branch::Cut).unwrap() else { panic!("of one server") };
    assert_eq!(script.lines.len(), 40);
    let text = script.to_string();
    let mut other = of_script(&text.parse::<Script>().unwrap(), Planted(None), Keep::default());
    other.seek(40, &mut ever);
    assert_eq!(other.view().digest, walk.view().digest);
    assert_eq!(other.view().story, walk.view().story);
    other.seek(13, &mut ever);
    let Forked::Script(shorter) = other.fork(Branch::Cut).unwrap() else { panic!("of one server") };
    assert_eq!(shorter.lines.len(), 13);
}
