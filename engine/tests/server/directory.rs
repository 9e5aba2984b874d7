//! Users are loaded when they come; what changes afterwards, changes here.

use std::time::Duration;

use switchboard_engine::{Answer, DirectoryChangeKind};

use crate::{
    harness::{World, group_text, secs, text},
    store::group,
};

#[test]
fn a_user_is_loaded_once_for_all_its_connections() {
    let mut world = World::new();
    let phone = world.arrives("alice");
    world.arrives("alice");
    assert_eq!(world.store.asked, 1);
    world.leaves(phone);
    world.arrives("alice");
    assert_eq!(world.store.asked, 1, "one connection was there all the time");
}

#[test]
fn connections_that_come_during_the_load_are_welcomed_together() {
    let mut world = World::new();
    world.store_holds();
    let (phone, laptop) = (world.connects("alice"), world.connects("alice"));
    assert_eq!(world.store.held.len(), 1);
    world.store_resumes();
    assert_eq!((world.hears(phone), world.hears(laptop)), (vec!["welcome!".into()], vec!["welcome!".into()]));
}

#[test]
fn a_user_who_leaves_during_the_load_leaves_nothing_behind() {
    let mut world = World::new();
    world.store_holds();
    let alice = world.connects("alice");
    world.leaves(alice);
    world.store_resumes();
    assert_eq!(world.server().gauges(), switchboard_engine::Gauges::default());
    assert_eq!(world.stats().stale_events, 1, "the answer");
}

#[test]
fn what_a_user_sends_and_leaves_behind_before_it_is_loaded_is_delivered() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob"]);
    let bob = world.arrives("bob");
    world.store_holds();
    let alice = world.connects("alice");
    world.says(alice, text("bob", "one"));
    world.says(alice, group_text("crew", "two"));
    world.leaves(alice);
    world.store_resumes();
    assert_eq!(world.hears(bob), ["one", "two"]);
    world.leaves(bob);
    assert_eq!(world.server().gauges(), switchboard_engine::Gauges::default());
}

#[test]
fn a_failed_load_welcomes_all_the_same_and_is_tried_again() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob"]);
    let bob = world.arrives("bob");
    world.store_holds();
    let alice = world.connects("alice");
    world.store_says(0, Answer::Failed);
    assert_eq!(world.hears(alice), ["welcome!"]);
    world.says(bob, text("alice", "one to one works"));
    world.store_answers(0);
    assert_eq!(world.hears(alice), ["one to one works"]);
    assert_eq!(world.stats().load_failed, 1);

    world.passes(Duration::from_millis(999));
    assert_eq!(world.store.held.len(), 0);
    world.passes(Duration::from_millis(1));
    assert_eq!(world.store.held.len(), 1, "asked again");
    world.store_resumes();
    world.says(bob, group_text("crew", "so do groups now"));
    assert_eq!(world.hears(alice), ["so do groups now"], "and no second welcome");
}

#[test]
fn a_load_that_is_never_answered_fails_at_the_time_out() {
    let mut world = World::new();
    world.store_holds();
    let alice = world.connects("alice");
    world.passes(secs(10));
    assert_eq!(world.hears(alice), ["welcome!"]);
    world.store_answers(0);
    assert_eq!((world.stats().load_failed, world.stats().stale_events), (1, 1));
    world.passes(secs(1));
    assert_eq!(world.store.held.len(), 1);
}

#[test]
fn a_user_unknown_to_the_directory_belongs_to_no_group_and_is_not_asked_for_again() {
    let mut world = World::new();
    world.store_holds();
    let alice = world.connects("alice");
    world.store_says(0, Answer::Refused);
    assert_eq!(world.hears(alice), ["welcome!"]);
    world.passes(secs(20));
    assert_eq!(world.store.held.len(), 0);
}

#[test]
fn who_joins_a_group_hears_it_from_then_on_and_may_speak() {
    let mut world = World::new();
    world.found("crew", &["bob"]);
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.says(bob, group_text("crew", "before"));
    world.joins("alice", "crew");
    world.says(bob, group_text("crew", "after"));
    assert_eq!(world.hears(alice), ["after"]);
    world.says(alice, group_text("crew", "thanks"));
    assert_eq!(world.hears(bob), ["thanks"]);
}

#[test]
fn who_is_removed_from_a_group_hears_it_no_more_and_may_not_speak() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob"]);
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.is_removed_from("alice", "crew");
    world.says(bob, group_text("crew", "secret"));
    world.says(alice, group_text("crew", "let me back in"));
    assert_eq!((world.hears(alice), world.hears(bob)), (vec![], vec![]));
    assert_eq!(world.stats().refused_not_member, 1);
}

#[test]
fn a_message_that_is_stored_after_its_reader_was_removed_does_not_reach_that_reader() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob", "carol"]);
    let (alice, bob, carol) = (world.arrives("alice"), world.arrives("bob"), world.arrives("carol"));
    world.store_holds();
    world.says(bob, group_text("crew", "secret"));
    world.is_removed_from("alice", "crew");
    world.store_resumes();
    assert_eq!((world.hears(alice), world.hears(carol)), (vec![], vec!["secret".into()]));
}

#[test]
fn a_change_that_the_profile_already_has_in_it_is_ignored() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob"]);
    world.store.revision = 5;
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    for revision in [4, 5] {
        world.directory_says(revision, "alice", DirectoryChangeKind::Left(group("crew")));
    }
    world.says(bob, group_text("crew", "still here?"));
    assert_eq!(world.hears(alice), ["still here?"]);
    world.directory_says(6, "alice", DirectoryChangeKind::Left(group("crew")));
    world.directory_says(5, "alice", DirectoryChangeKind::Joined(group("crew")));
    world.says(bob, group_text("crew", "gone?"));
    assert_eq!(world.hears(alice), [""; 0]);
}

#[test]
fn a_change_during_the_load_asks_again_and_the_older_answer_is_not_believed() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob"]);
    let bob = world.arrives("bob");
    world.store_holds();
    let alice = world.connects("alice");
    let old = world.store.profile("alice").clone();
    world.is_removed_from("alice", "crew");
    assert_eq!(world.store.held.len(), 2, "asked again");
    world.store_says(0, Answer::UserLoaded(old));
    assert_eq!(world.hears(alice), [""; 0], "not welcomed yet");
    world.store_resumes();
    assert_eq!(world.hears(alice), ["welcome!"]);
    world.says(bob, group_text("crew", "secret"));
    assert_eq!(world.hears(alice), [""; 0]);
}

#[test]
fn changes_during_the_load_make_nobody_wait_longer() {
    let mut world = World::new();
    world.found("crew", &["bob"]);
    let bob = world.arrives("bob");
    world.store_holds();
    let alice = world.connects("alice");
    world.says(alice, text("bob", "hi"));
    for group in ["crew", "team", "club"] {
        world.passes(secs(3));
        world.joins("alice", group);
    }
    assert_eq!((world.store.asked, world.hears(alice)), (5, vec![]), "bob's, and alice's four times");
    world.passes(secs(1));
    assert_eq!((world.hears(alice), world.stats().load_failed), (vec!["welcome!".into()], 1));
    world.says(bob, group_text("crew", "what has changed is known"));
    world.store_answers(5);
    assert_eq!(world.hears(alice), ["what has changed is known"]);
}

#[test]
fn a_new_picture_is_in_the_next_group_message() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob"]);
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.directory("alice", DirectoryChangeKind::Avatar("new.png".into()));
    world.says(alice, group_text("crew", "look"));
    assert_eq!(world.reads(bob)[0].avatar, "new.png");
}

#[test]
fn a_change_of_somebody_who_is_not_here_changes_nothing() {
    let mut world = World::new();
    world.arrives("bob");
    let before = world.server().gauges();
    world.joins("alice", "crew");
    assert_eq!(world.server().gauges(), before);
}

#[test]
fn groups_beyond_the_limit_are_counted_and_left_out() {
    let mut world = World::with(|config| config.limits.groups_per_user = 1);
    world.found("crew", &["alice", "bob"]);
    world.found("club", &["alice"]);
    world.arrives("alice");
    world.joins("bob", "club");
    let bob = world.arrives("bob");
    assert_eq!((world.server().gauges().groups, world.stats().groups_over_limit), (1, 2));
    world.says(bob, group_text("crew", "within"));
    world.says(bob, group_text("club", "beyond"));
    assert_eq!(world.store.texts(), ["within"]);
}

#[test]
fn a_group_that_is_told_again_is_not_one_too_many() {
    let mut world = World::with(|config| config.limits.groups_per_user = 1);
    world.found("crew", &["alice"]);
    world.store_holds();
    world.connects("alice");
    world.store_says(0, Answer::Failed);
    world.directory_says(1, "alice", DirectoryChangeKind::Joined(group("crew")));
    world.passes(secs(1));
    world.store_resumes();
    assert_eq!((world.server().gauges().groups, world.stats().groups_over_limit), (1, 0));
}
