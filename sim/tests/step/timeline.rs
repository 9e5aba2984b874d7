//! Both ways.

use proptest::prelude::*;
use switchboard_engine::Canary;
use switchboard_sim::canaries::{Bug, Planted, WithBug};
use switchboard_sim::generate::generate;
use switchboard_sim::recording::replay::{Options, replay};
use switchboard_sim::schedule::Schedule;
use switchboard_sim::step::view::View;
use switchboard_sim::step::{Keep, Sought, Walk};
use switchboard_sim::{runner, script, world};

use super::{FEW, ever, of_recording, of_schedule, of_script, one, recorded, scripted};

/// What is seen at every step, when one comes from the beginning.
fn forwards(walk: &mut dyn Walk) -> Vec<View> {
    let mut views = vec![walk.view().clone()];
    loop {
        walk.seek(views.len() as u64, &mut ever);
        if walk.view().number + 1 == views.len() as u64 {
            assert_eq!(walk.last(), Some(walk.view().number));
            return views;
        }
        views.push(walk.view().clone());
    }
}

/// The same is seen backwards, and after long ways in both directions.
fn same_backwards(walk: &mut dyn Walk, views: &[View]) {
    for view in views.iter().rev() {
        walk.seek(view.number, &mut ever);
        assert_eq!(walk.view(), view, "backwards");
    }
    let count = views.len() as u64;
    for far in 0..40 {
        let step = far * 7919 % count;
        walk.seek(step, &mut ever);
        assert_eq!(walk.view(), &views[step as usize], "from far away");
    }
    walk.seek(u64::MAX, &mut ever);
    assert_eq!(walk.view(), &views[views.len() - 1], "at the end");
}

#[test]
fn a_world_is_the_same_whichever_way_one_comes() {
    for (seed, profile) in [(3, "small"), (4, "sessions"), (2, "storm"), (4, "bus")] {
        let schedule = generate(seed, profile).unwrap();
        let views = forwards_in_a_world(&schedule);
        let mut walk = of_schedule(&schedule, None, FEW);
        walk.seek(u64::MAX, &mut ever);
        assert_eq!(Some(walk.view()), views.last(), "{profile} {seed}: at the end");
        for view in views.iter().rev().chain(views.iter().step_by(9)) {
            walk.seek(view.number, &mut ever);
            assert_eq!(walk.view(), view, "{profile} {seed}");
        }
    }
}

/// What is seen when one comes from the beginning: at all of the first steps, and then at some. The healed phase is run anew for each step of it.
fn forwards_in_a_world(schedule: &Schedule) -> Vec<View> {
    let mut end = of_schedule(schedule, None, Keep::default());
    end.seek(u64::MAX, &mut ever);
    let last = end.last().unwrap();
    let steps = (0..last.min(120)).chain((120..last).step_by(1 + last as usize / 25)).chain([last]);
    let mut walk = of_schedule(schedule, None, Keep::default());
    let views = steps.map(|step| {
        walk.seek(step, &mut ever);
        walk.view().clone()
    });
    views.collect()
}

#[test]
fn a_recording_is_the_same_whichever_way_one_comes() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings");
    for name in ["small-3.swr", "sessions-4.swr", "readers-4.swr"] {
        let path = folder.join(name);
        let views = forwards(&mut *of_recording(&path, Planted(None), Keep::default()));
        let report = replay(&mut one(&path), &Planted(None), &Options::default(), |_| {}).unwrap();
        assert_eq!(views.len() as u64, report.steps + 1, "{name}");
        same_backwards(&mut *of_recording(&path, Planted(None), FEW), &views);
    }
}

#[test]
fn a_script_is_the_same_whichever_way_one_comes() {
    let (_folder, path) = recorded(3, "small");
    let script = scripted(&path);
    let views = forwards(&mut *of_script(&script, Planted(None), Keep::default()));
    assert_eq!(views.len(), script.lines.len() + 1);
    same_backwards(&mut *of_script(&script, Planted(None), FEW), &views);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn any_way_leads_to_the_same(every in 1..40_u64, limit in 1..6_usize, steps in prop::collection::vec(any::<u16>(), 1..20)) {
        let keep = Keep { every, limit };
        let schedule = generate(1, "small").unwrap();
        let (_folder, path) = recorded(1, "small");
        let of_world = forwards_in_a_world(&schedule);
        let of_server = forwards(&mut *of_recording(&path, Planted(None), Keep::default()));
        for (mut walk, views) in [
            (of_schedule(&schedule, None, keep), of_world),
            (of_recording(&path, Planted(None), keep), of_server),
        ] {
            for step in &steps {
                let view = &views[usize::from(*step) % views.len()];
                walk.seek(view.number, &mut ever);
                prop_assert_eq!(walk.view(), view);
            }
        }
    }
}

/// A schedule that fails with a bug, and does so where `replay` says.
#[test]
fn a_failing_schedule_is_found_to_fail_where_replay_says() {
    let bug = Bug::Engine(
        Canary::ALL.iter().copied().find(|canary| canary.name() == "second-device-twice").unwrap(),
    );
    let options = world::Options { sweep_every: 1, ..world::Options::default() };
    let failing = (0..400).find_map(|seed| {
        let schedule = generate(seed, "small")?;
        Some((WithBug(bug).execute(&schedule, options).violation?, schedule))
    });
    let (violation, schedule) = failing.unwrap();
    let mut walk = of_schedule(&schedule, Some(bug), FEW);
    let step = walk.find(&Sought::Failure, true, &mut ever).unwrap();
    walk.seek(step, &mut ever);
    assert_eq!(walk.view().failure, Some(violation.to_string()));
    assert_eq!(walk.view().at.as_micros(), u128::from(violation.at_us));
    walk.seek(u64::MAX, &mut ever);
    assert_eq!(walk.last(), Some(step), "nothing is behind a failure");
    walk.seek(0, &mut ever);
    assert_eq!(walk.find(&Sought::Failure, true, &mut ever), Some(step));
    let mut healthy = of_schedule(&schedule, None, FEW);
    assert_eq!(healthy.find(&Sought::Failure, true, &mut ever), None);
    assert_eq!(runner::execute_caught(&schedule, options).violation, None);
}

#[test]
fn a_failing_recording_and_its_script_are_found_to_fail_where_replay_says() {
    let canary = Canary::ALL.iter().copied().find(|canary| canary.name() == "second-device-twice").unwrap();
    let planted = Planted(Some(canary));
    let failing = (0..60).find_map(|seed| {
        let (folder, path) = recorded(seed, "small");
        let options = Options { all_differences: true, ..Options::default() };
        let report = replay(&mut one(&path), &planted, &options, |_| {}).unwrap();
        report.violation.map(|violation| (folder, path, violation))
    });
    let (_folder, path, (violation, step, _)) = failing.unwrap();
    let mut walk = of_recording(&path, planted, FEW);
    walk.seek(u64::MAX, &mut ever);
    assert_eq!(walk.last(), Some(step));
    assert_eq!(walk.view().failure, Some(violation.to_string()));

    let script = scripted(&path);
    let outcome = script::run::run(&script, planted).unwrap();
    let mut walk = of_script(&script, planted, FEW);
    let found = walk.find(&Sought::Failure, true, &mut ever).unwrap();
    assert_eq!(Some(script.lines[found as usize - 1].id), outcome.failed_at);
}

#[test]
fn what_is_sought_is_found_in_both_directions_and_beyond_what_was_seen() {
    let (_folder, path) = recorded(3, "small");
    let mut walk = of_recording(&path, Planted(None), FEW);
    walk.seek(u64::MAX, &mut ever);
    let last = walk.last().unwrap();
    walk.seek(0, &mut ever);
    let rows = walk.rows(1, last as usize);
    assert_eq!(rows.len() as u64, last);
    assert!(rows.iter().zip(1..).all(|(row, number)| row.number == number));
    let whom = rows.iter().find(|row| row.who.starts_with('u')).unwrap().who.clone();
    let what = Sought::Whom(whom.clone());
    let mut upwards = Vec::new();
    while let Some(step) = walk.find(&what, true, &mut ever) {
        walk.seek(step, &mut ever);
        upwards.push(step);
    }
    assert!(rows.iter().filter(|row| row.who == whom).all(|row| upwards.contains(&row.number)));
    assert!(upwards.len() < rows.len(), "not all steps concern {whom}");
    walk.seek(u64::MAX, &mut ever);
    let mut downwards: Vec<u64> = upwards.last().copied().filter(|step| *step == last).into_iter().collect();
    while let Some(step) = walk.find(&what, false, &mut ever) {
        walk.seek(step, &mut ever);
        downwards.push(step);
    }
    downwards.reverse();
    assert_eq!(upwards, downwards);
    let text = Sought::Text("the store answers".to_owned());
    walk.seek(0, &mut ever);
    let found = walk.find(&text, true, &mut ever).unwrap();
    assert!(rows[found as usize - 1].told.contains("the store answers"));
    assert_eq!(walk.find(&Sought::Text("nobody says this".to_owned()), true, &mut ever), None);
}

#[test]
fn who_loses_patience_stays_where_that_is() {
    let schedule = generate(0, "bench").unwrap();
    let mut walk = of_schedule(&schedule, None, Keep::default());
    walk.seek(u64::MAX, &mut |step| step < 1000);
    let number = walk.view().number;
    assert!((1000..2000).contains(&number), "{number}");
    assert_eq!(walk.last(), None);
    assert_eq!(walk.find(&Sought::Failure, true, &mut |_| false), None);
    walk.seek(3, &mut ever);
    assert_eq!(walk.view().number, 3);
}
