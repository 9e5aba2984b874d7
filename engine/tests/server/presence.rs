//! Who is told who is here, and when.

use std::time::Duration;

use switchboard_engine::{Answer, Event, Note, Request, Topic};
use switchboard_proto::{
    Message as _,
    v1::{self, NotedPresence, note},
};

use crate::{
    harness::{World, secs, text},
    session_words::watch,
    store::user,
};

const NOTHING: [&str; 0] = [];

/// Alice, Bob and Carol are in the crew; Mallory is not.
fn crew() -> World {
    with(|_| {})
}

fn with(configure: impl FnOnce(&mut switchboard_engine::ServerConfig)) -> World {
    let mut world = World::with(|config| {
        config.presence = true;
        configure(config);
    });
    world.found("crew", &["alice", "bob", "carol"]);
    world
}

/// Another engine says this of a user, or asks.
fn tells(world: &mut World, topic: Topic, noted: NotedPresence) {
    let note = v1::Note { body: Some(note::Body::Presence(noted)) }.encode_to_vec().into();
    world.happens(Event::Told(Note { topic, note }));
}

fn says(world: &mut World, who: &str, online: bool) {
    let last_seen_ms = if online { 0 } else { 7_000 };
    let noted = NotedPresence { user: who.into(), question: false, online, last_seen_ms };
    tells(world, Topic::Presence(user(who)), noted);
}

/// What the other engines were told since the last look, in short.
fn told(world: &mut World) -> Vec<String> {
    let short = |Note { topic, note }| {
        let body = v1::Note::decode(note).unwrap().body;
        let Some(note::Body::Presence(p)) = body else { panic!("{body:?}") };
        match p.question {
            true => format!("{topic:?}: is {} there?", p.user),
            false => format!("{topic:?}: {} {}", p.user, if p.online { "on" } else { "off" }),
        }
    };
    world.told.drain(..).map(short).collect()
}

#[test]
fn who_is_watched_is_told_at_the_beginning_and_at_every_change() {
    let mut world = crew();
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.frame(alice, watch(&["bob", "carol"]));
    assert_eq!(world.sees(alice), ["bob is here", "carol is not here"]);
    let carol = world.signs_in("carol");
    assert_eq!(world.sees(alice), ["carol is here"]);
    world.leaves(bob);
    world.leaves(carol);
    world.passes(secs(9));
    assert_eq!(world.sees(alice), NOTHING);
    world.passes(secs(1));
    assert_eq!(world.sees(alice), ["bob is here: false, last at 9000", "carol is here: false, last at 9000"]);
    world.signs_in("bob");
    assert_eq!(world.sees(alice), ["bob is here"]);
}

#[test]
fn who_comes_back_within_the_grace_was_never_gone() {
    let mut world = crew();
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.frame(alice, watch(&["bob"]));
    world.told(alice);
    world.leaves(bob);
    world.passes(secs(9));
    let bob = world.signs_in("bob");
    world.passes(secs(30));
    assert_eq!(world.sees(alice), NOTHING);
    assert!(world.store.seen.is_empty());
    // Also while the store keeps when it left.
    world.leaves(bob);
    world.store_holds();
    world.passes(secs(10));
    world.dials("bob");
    world.store_resumes();
    assert_eq!(world.sees(alice), ["bob is here: false, last at 9000"], "who has not said hello is not here");
}

#[test]
fn the_answer_about_a_leaving_that_came_to_nothing_is_ignored() {
    let mut world = crew();
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.frame(alice, watch(&["bob"]));
    world.told(alice);
    world.leaves(bob);
    world.passes(secs(9));
    world.store_holds();
    world.passes(secs(1));
    assert!(matches!(world.store.held[..], [(_, Request::StoreSeen(_))]));
    let phone = world.dials("bob");
    world.store_answers(1);
    world.frame(phone, crate::session_words::hello(&[]));
    world.store_resumes();
    assert_eq!(world.sees(alice), NOTHING);
    assert_eq!(world.stats().stale_events, 1);
}

#[test]
fn every_connection_that_is_welcomed_counts_of_either_protocol() {
    let mut world = crew();
    let alice = world.signs_in("alice");
    world.frame(alice, watch(&["bob"]));
    assert_eq!(world.sees(alice), ["bob is not here"]);
    let phone = world.dials("bob");
    assert_eq!(world.sees(alice), NOTHING, "a session is here once it has said hello");
    let browser = world.arrives("bob");
    assert_eq!(world.sees(alice), ["bob is here"]);
    let laptop = world.signs_in("bob");
    world.leaves(browser);
    world.leaves(phone);
    world.passes(secs(11));
    assert_eq!(world.sees(alice), NOTHING);
    world.leaves(laptop);
    world.passes(secs(10));
    assert_eq!(world.sees(alice), ["bob is here: false, last at 9000"]);
}

#[test]
fn strangers_and_unknown_users_are_told_apart_by_nobody() {
    let mut world = crew();
    let (mallory, bob) = (world.signs_in("mallory"), world.signs_in("bob"));
    world.frame(mallory, watch(&["bob", "nobody"]));
    assert_eq!(world.sees(mallory), ["bob is not here", "nobody is not here"]);
    world.leaves(bob);
    world.passes(secs(10));
    world.signs_in("bob");
    assert_eq!(world.sees(mallory), NOTHING);
}

#[test]
fn who_has_written_to_somebody_may_watch_from_the_next_watch_on() {
    let mut world = crew();
    let (mallory, bob) = (world.signs_in("mallory"), world.signs_in("bob"));
    world.frame(mallory, watch(&["bob"]));
    world.submits(bob, 1, "mallory", "hello");
    world.told(mallory);
    world.frame(mallory, watch(&["bob"]));
    assert_eq!(world.sees(mallory), ["bob is here"]);
    world.frame(mallory, watch(&["bob"]));
    assert_eq!(world.sees(mallory), NOTHING, "it knows that");
}

#[test]
fn who_may_not_know_any_more_is_told_that_the_user_is_not_here() {
    let mut world = crew();
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.frame(alice, watch(&["bob"]));
    world.is_removed_from("bob", "crew");
    world.frame(alice, watch(&["bob"]));
    world.leaves(bob);
    world.passes(secs(10));
    assert_eq!(world.sees(alice), ["bob is here", "bob is not here"]);
}

#[test]
fn a_watch_replaces_the_one_before_it() {
    let mut world = crew();
    let alice = world.signs_in("alice");
    world.frame(alice, watch(&["bob", "bob"]));
    world.frame(alice, watch(&["carol"]));
    assert_eq!(world.sees(alice), ["bob is not here", "carol is not here"]);
    assert_eq!((world.server().gauges().watches, world.server().gauges().watched), (1, 1));
    world.signs_in("bob");
    world.signs_in("carol");
    assert_eq!(world.sees(alice), ["carol is here"]);
    world.frame(alice, watch(&[]));
    assert_eq!(world.server().gauges().watched, 0);
}

#[test]
fn users_beyond_the_limit_and_such_as_cannot_be_are_passed_over() {
    let mut world = with(|config| config.limits.watches = 2);
    let alice = world.signs_in("alice");
    world.frame(alice, watch(&["", "bob", "carol", "alice"]));
    assert_eq!(world.sees(alice), ["bob is not here"]);
    assert_eq!(world.stats().watches_passed_over, 3);
}

#[test]
fn a_few_questions_to_the_store_at_a_time_and_those_that_fail_again() {
    let mut world = crew();
    let alice = world.signs_in("alice");
    world.store_holds();
    world.frame(alice, watch(&["bob", "carol", "dave", "eve", "frank", "grace"]));
    assert_eq!(world.store.held.len(), 4);
    world.store_says(0, Answer::Failed);
    assert_eq!(world.store.held.len(), 4, "the next one");
    world.store_resumes();
    // The store answers at once again when the first answer has made room for the last question.
    let others = ["carol", "grace", "dave", "eve", "frank"].map(|who| format!("{who} is not here"));
    assert_eq!(world.sees(alice), others);
    world.passes(secs(1));
    assert_eq!(world.sees(alice), ["bob is not here"]);
    assert_eq!(world.stats().seen_failed, 1);
}

#[test]
fn a_session_that_ends_is_not_waited_for() {
    let mut world = with(|config| config.peers = true);
    let alice = world.signs_in("alice");
    world.store_holds();
    world.frame(alice, watch(&["bob", "carol"]));
    world.store_says(0, Answer::Failed);
    world.frame(alice, watch(&["bob"]));
    world.leaves(alice);
    let gauges = world.server().gauges();
    assert_eq!((gauges.watches, gauges.watched, gauges.requests, gauges.timers), (0, 0, 0, 1), "its grace");
    assert_eq!(world.subscriptions(), [r#"User("alice")"#], "she may come back");
}

#[test]
fn who_lags_is_told_what_is_true_when_it_reads_again() {
    let mut world = with(|config| config.limits.lag_bytes = 1_024);
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.frame(alice, watch(&["bob", "carol"]));
    world.told(alice);
    world.stops_reading(alice);
    (1..9).for_each(|id| world.submits(bob, id, "alice", &"x".repeat(500)));
    world.told(alice);
    world.signs_in("carol");
    world.leaves(bob);
    world.passes(secs(10));
    assert_eq!(world.sees(alice), NOTHING);
    world.reads_again(alice);
    assert_eq!(world.sees(alice), ["bob is here: false, last at 9000", "carol is here", "heads bob/8."]);
}

#[test]
fn a_store_that_fails_keeps_nobody_here() {
    let mut world = crew();
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.frame(alice, watch(&["bob"]));
    world.told(alice);
    world.leaves(bob);
    world.passes(secs(9));
    world.store_holds();
    world.passes(secs(11));
    assert_eq!((world.sees(alice), world.stats().seen_failed), (vec!["bob is not here".into()], 1));
}

#[test]
fn with_presence_turned_off_nobody_is_here_and_the_store_is_not_asked() {
    let mut world = with(|config| (config.presence, config.peers) = (false, true));
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.frame(alice, watch(&["bob"]));
    world.leaves(bob);
    world.passes(secs(20));
    assert_eq!(world.sees(alice), ["bob is not here"]);
    assert_eq!((told(&mut world), world.store.seen.len()), (vec![], 0));
}

#[test]
fn a_shutdown_keeps_when_its_users_were_last_here() {
    let mut world = crew();
    let (alice, bob) = (world.signs_in("alice"), world.arrives("bob"));
    world.leaves(bob);
    world.stops_reading(alice);
    world.store_holds();
    world.happens(Event::Shutdown);
    world.leaves(alice);
    assert!(!world.stopped());
    world.store_resumes();
    assert!(world.stopped());
    assert_eq!(world.store.seen.iter().collect::<Vec<_>>(), ["alice", "bob"]);
}

#[test]
fn other_engines_are_told_and_asked() {
    let mut world = with(|config| config.peers = true);
    let alice = world.signs_in("alice");
    assert_eq!(told(&mut world), [r#"Presence("alice"): alice on"#]);
    world.frame(alice, watch(&["bob", "alice"]));
    assert_eq!(told(&mut world), [r#"User("bob"): is bob there?"#]);
    let subscriptions =
        [r#"User("alice")"#, r#"Group("crew")"#, r#"Presence("alice")"#, r#"Presence("bob")"#];
    assert_eq!(world.subscriptions(), subscriptions);
    assert_eq!(world.sees(alice), ["alice is here"], "bob may be somewhere");
    says(&mut world, "bob", true);
    says(&mut world, "bob", true);
    assert_eq!(world.sees(alice), ["bob is here"]);
    let question = NotedPresence { user: "alice".into(), question: true, ..NotedPresence::default() };
    tells(&mut world, Topic::User(user("alice")), question.clone());
    assert_eq!(told(&mut world), [r#"Presence("alice"): alice on"#]);
    world.leaves(alice);
    // Until the grace is over she is here for whoever asks, and the engine listens for that.
    assert!(world.subscriptions().contains(&r#"User("alice")"#.to_owned()));
    tells(&mut world, Topic::User(user("alice")), question.clone());
    assert_eq!(told(&mut world), [r#"Presence("alice"): alice on"#]);
    world.passes(secs(10));
    assert_eq!(told(&mut world), [r#"Presence("alice"): alice off"#]);
    assert!(!world.subscriptions().contains(&r#"User("alice")"#.to_owned()));
    tells(&mut world, Topic::User(user("alice")), question);
    assert_eq!(told(&mut world), NOTHING);
}

#[test]
fn who_does_not_answer_at_the_beginning_is_nowhere() {
    let mut world = with(|config| config.peers = true);
    let alice = world.signs_in("alice");
    world.frame(alice, watch(&["bob"]));
    world.passes(Duration::from_millis(1_999));
    assert_eq!(world.sees(alice), NOTHING);
    world.passes(Duration::from_millis(1));
    assert_eq!(world.sees(alice), ["bob is not here"]);
    // What was lost heals.
    told(&mut world);
    world.passes(secs(60));
    assert_eq!(told(&mut world), [r#"User("bob"): is bob there?"#]);
    says(&mut world, "bob", true);
    assert_eq!(world.sees(alice), ["bob is here"]);
}

#[test]
fn a_user_who_leaves_one_engine_may_be_at_another() {
    let mut world = with(|config| config.peers = true);
    let alice = world.signs_in("alice");
    world.frame(alice, watch(&["bob"]));
    says(&mut world, "bob", true);
    world.told(alice);
    told(&mut world);
    for answers in [true, false] {
        says(&mut world, "bob", false);
        assert_eq!(told(&mut world), [r#"User("bob"): is bob there?"#]);
        if answers {
            says(&mut world, "bob", true);
        }
        world.passes(secs(3));
        let expected = if answers { vec![] } else { vec!["bob is here: false, last at 7000"] };
        assert_eq!(world.sees(alice), expected);
    }
    let bob = world.signs_in("bob");
    told(&mut world);
    says(&mut world, "bob", false);
    world.leaves(bob);
    world.passes(secs(10));
    assert_eq!(
        told(&mut world),
        [r#"Presence("bob"): bob off"#, r#"User("bob"): is bob there?"#],
        "here it was certain"
    );
    says(&mut world, "bob", true);
    world.passes(secs(3));
    assert_eq!(world.sees(alice), ["bob is here"]);
}

#[test]
fn a_user_of_an_engine_that_has_died_is_gone_after_two_questions() {
    let mut world = with(|config| config.peers = true);
    let alice = world.signs_in("alice");
    world.frame(alice, watch(&["bob"]));
    says(&mut world, "bob", true);
    world.told(alice);
    told(&mut world);
    world.passes(secs(60));
    says(&mut world, "bob", true);
    assert_eq!(told(&mut world).len(), 1);
    world.passes(secs(120));
    assert_eq!((told(&mut world).len(), world.sees(alice)), (2, vec![]));
    world.passes(secs(2));
    assert_eq!(world.sees(alice), ["bob is not here"]);
}

#[test]
fn notes_that_are_not_for_this_or_make_no_sense_change_nothing() {
    let mut world = with(|config| config.peers = true);
    let alice = world.signs_in("alice");
    world.frame(alice, watch(&["bob"]));
    world.passes(secs(3));
    world.told(alice);
    told(&mut world);
    let online = NotedPresence { user: "bob".into(), online: true, ..NotedPresence::default() };
    tells(&mut world, Topic::User(user("bob")), online.clone());
    tells(&mut world, Topic::Presence(user("carol")), online.clone());
    tells(&mut world, Topic::Everyone, NotedPresence { question: true, ..online.clone() });
    tells(&mut world, Topic::Presence(user("bob")), NotedPresence { user: String::new(), ..online });
    assert_eq!(world.stats().notes_undecodable, 4);
    says(&mut world, "alice", false);
    says(&mut world, "eve", true);
    assert_eq!((world.sees(alice), told(&mut world)), (vec![], vec![]));
    let classic = world.arrives("dave");
    world.says(classic, text("alice", "hello"));
    world.leaves(alice);
    says(&mut world, "bob", true);
}
