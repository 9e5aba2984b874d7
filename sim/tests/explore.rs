//! Exploration: what it finds, that it can be done again, and that cutting states off loses nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use switchboard_engine::Canary;
use switchboard_sim::canaries::{Bug, WithBug};
use switchboard_sim::explore::{ExploreError, Space, as_schedule, explore, explore_all, replay};
use switchboard_sim::schedule::Settings;
use switchboard_sim::world::Options;

fn space(clients: u16, users: u16, nodes: u64, depth: usize) -> Space {
    let space = Space::new(clients, depth);
    let settings = Settings { nodes, ..space.settings };
    Space { users, settings, jobs: 2, ..space }
}

fn without(space: &Space, kinds: &[&str]) -> Space {
    Space { without: kinds.iter().map(|kind| (*kind).to_owned()).collect(), ..space.clone() }
}

#[test]
fn everything_holds_in_all_orders_of_a_few_events() {
    for space in [space(2, 2, 1, 4), space(2, 1, 1, 4), space(2, 2, 2, 3), space(3, 3, 1, 3)] {
        let report = explore(&space, |_, _, _| {}).unwrap();
        assert_eq!(report.found, None, "{space:?}");
        assert!(report.distinct() > 200, "{report:?}");
        assert!(report.levels.iter().all(|level| level.distinct > 0), "{report:?}");
    }
}

/// Every state that is reached without taking any two for the same is reached with it, and no others.
#[test]
fn cutting_states_off_loses_none() {
    let few = |depth| without(&space(2, 2, 1, depth), &["stop", "fail", "late-end"]);
    for space in [space(2, 2, 1, 3), space(2, 1, 1, 3), space(2, 2, 2, 3), few(4)] {
        let cut = explore(&space, |_, _, _| {}).unwrap();
        let all = explore_all(&space).unwrap();
        assert_eq!(cut.states, all.states, "{space:?}");
        assert!(cut.visited() < all.visited(), "{} of {} states", cut.visited(), all.visited());
        assert_eq!((cut.found, all.found), (None, None));
    }
}

#[test]
fn the_threads_make_no_difference() {
    let explored = |jobs| {
        let report = explore(&Space { jobs, ..space(2, 2, 1, 5) }, |_, _, _| {}).unwrap();
        (report.levels, report.states, report.events)
    };
    assert_eq!(explored(1), explored(3));
}

/// Bugs, the spaces that show them, the checks that find them, and how few choices it takes.
fn planted() -> Vec<(Canary, Space, &'static str, usize)> {
    let quiet = ["crash", "stop", "time", "fail", "late", "cut", "close", "member", "call", "late-end"];
    vec![
        (Canary::StaleDisconnect, space(1, 1, 1, 8), "takeover", 4),
        (Canary::DeliveredBeforeStored, space(2, 2, 1, 8), "bounded", 4),
        (Canary::TakeoverForgotten, space(1, 1, 1, 8), "takeover", 5),
        (Canary::EarlyLost, space(2, 2, 1, 8), "accounting", 3),
        (Canary::LeftKeepsMember, without(&space(2, 2, 1, 8), &quiet[..5]), "no-leak", 5),
        (Canary::BatchLosesLast, without(&space(2, 1, 1, 8), &quiet), "delivery", 7),
        (Canary::PublishForgotten, without(&space(2, 2, 2, 8), &quiet[..7]), "delivery", 3),
    ]
}

#[test]
fn planted_bugs_are_found_by_the_fewest_choices_and_can_be_brought_about_again() {
    for (canary, space, check, choices) in planted() {
        let space = Space { bug: Some(Bug::Engine(canary)), ..space };
        let found = explore(&space, |_, _, _| {}).unwrap().found.unwrap();
        assert_eq!((found.violation.check, found.choices.len()), (check, choices), "{}", canary.name());
        let walk = replay(&space, &found.choices).unwrap();
        assert_eq!(walk.violation, Some(found.violation), "{}: {:?}", canary.name(), walk.steps);
        assert_eq!(walk.steps.len(), choices);
        let shipped = replay(&Space { bug: None, ..space }, &found.choices);
        // Without the bug there may be other choices in these places.
        assert!(shipped.is_err() || shipped.is_ok_and(|walk| walk.violation.is_none()), "{}", canary.name());
    }
}

#[test]
fn without_cutting_the_same_is_found() {
    for (canary, check, depth) in
        [(Canary::EarlyLost, "accounting", 3), (Canary::StaleDisconnect, "takeover", 4)]
    {
        let space = Space { bug: Some(Bug::Engine(canary)), ..space(1, 1, 1, depth) };
        let all = explore_all(&space).unwrap().found.unwrap();
        let cut = explore(&space, |_, _, _| {}).unwrap().found.unwrap();
        assert_eq!((all.violation.check, all.choices.len()), (check, depth));
        assert_eq!(cut, all);
    }
}

#[test]
fn what_is_found_becomes_a_schedule_if_times_can_bring_it_about() {
    let bug = Bug::Engine(Canary::TakeoverForgotten);
    let space = Space { bug: Some(bug), ..space(1, 1, 1, 8) };
    let found = explore(&space, |_, _, _| {}).unwrap().found.unwrap();
    let schedule = as_schedule(&space, &found).unwrap();
    let again = schedule.to_string().parse().unwrap();
    assert_eq!(schedule, again);
    let options = Options { sweep_every: 1, ..Options::default() };
    assert_eq!(WithBug(bug).execute(&again, options).violation.map(|found| found.check), Some("takeover"));
}

#[test]
fn more_states_than_may_be_kept_and_choices_that_are_not_there_are_told() {
    let few = Space { state_limit: 100, ..space(2, 2, 1, 6) };
    let error = explore(&few, |_, _, _| {}).unwrap_err();
    assert_eq!(error, ExploreError::TooManyStates { limit: 100, level: 3, whole: 2 });
    let error = replay(&space(2, 2, 1, 6), &[0, 999]).unwrap_err();
    assert!(matches!(error, ExploreError::NoSuchChoice { place: 1, choice: 999, .. }), "{error}");
    let error = explore(&without(&space(2, 2, 1, 2), &["coffee"]), |_, _, _| {}).unwrap_err();
    assert!(error.to_string().contains("there is no kind coffee"), "{error}");
}
