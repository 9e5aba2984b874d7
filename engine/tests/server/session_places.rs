//! What is submitted under an id that the log has: its sender is told where it is, and sessions that may not have it.

use switchboard_engine::{Event, Note, Topic};
use switchboard_proto::{
    Message as _,
    v1::{self, NotedPlace, note},
};

use crate::{
    harness::World,
    session_words::{conversation, fetch, submit},
    store::{EPOCH, group, user},
};

#[test]
fn what_was_stored_earlier_is_accepted_again_and_no_classic_client_hears_it_twice() {
    let mut world = World::with(|config| config.peers = true);
    world.found("crew", &["alice", "bob", "carol"]);
    let (alice, bob, carol) = (world.signs_in("alice"), world.arrives("bob"), world.signs_in("carol"));
    for to in ["bob", "#crew"] {
        (0..2).for_each(|_| world.frame(alice, submit(to.len() as u8, to, "hi")));
        let accepted = format!("accepted {} as {to}/1", to.len());
        assert_eq!(world.sees(alice), [accepted.as_str(); 2]);
    }
    assert_eq!(world.hears(bob), ["hi", "hi"], "once from alice, and once from the crew");
    assert_eq!(world.sees(carol), ["#crew/1 alice: hi", "heads #crew/1"], "she is told where it is");
    assert_eq!(world.published.len(), 3, "to bob, to alice's other devices, and to the crew");
}

#[test]
fn what_comes_under_an_id_that_the_log_has_is_not_what_the_log_says_and_only_its_place_is_told() {
    let mut world = World::with(|config| config.peers = true);
    let phone = world.signs_in("alice");
    world.frame(phone, submit(1, "bob", "yes"));
    assert_eq!(world.sees(phone), ["accepted 1 as bob/1"]);
    let told = world.published.len();
    // Neither of these has what was said.
    let (laptop, bob, old) = (world.signs_in("alice"), world.signs_in("bob"), world.arrives("bob"));
    world.frame(laptop, submit(1, "bob", "no"));
    assert_eq!(world.sees(laptop), ["accepted 1 as bob/1"]);
    assert_eq!(
        (world.sees(phone), world.sees(bob)),
        (vec!["heads bob/1".into()], vec!["heads alice/1".into()])
    );
    assert_eq!((world.hears(old), world.published.len()), (vec![], told));
    // Bob asks for what he lacks.
    world.frame(bob, fetch(1, "alice", 1));
    assert_eq!(world.sees(bob), ["page 1 alice of 1: 1 yes"]);
}

#[test]
fn the_place_of_what_was_stored_earlier_reaches_the_sessions_of_other_engines() {
    let with_peers = || World::with(|config| config.peers = true);
    let (mut here, mut there) = (with_peers(), with_peers());
    [&mut here, &mut there].into_iter().for_each(|world| world.found("crew", &["alice", "bob", "carol"]));
    let alice = here.signs_in("alice");
    let (laptop, bob, carol) = (there.signs_in("alice"), there.signs_in("bob"), there.signs_in("carol"));
    for to in ["bob", "#crew"] {
        here.frame(alice, submit(to.len() as u8, to, "hi"));
        here.published.clear();
        here.told.clear();
        // What was published is lost on the way, and so is the answer.
        here.frame(alice, submit(to.len() as u8, to, "hi"));
        assert_eq!(here.published, []);
        here.told.drain(..).for_each(|note| there.happens(Event::Told(note)));
    }
    assert_eq!(there.sees(laptop), ["heads bob/1", "heads #crew/1"]);
    assert_eq!(there.sees(bob), ["heads alice/1", "heads #crew/1"]);
    assert_eq!(there.sees(carol), ["heads #crew/1"]);
    // What cannot be reaches nobody.
    let noted = |from: &str, to: &str, epoch, seq| {
        let conversation = Some(conversation(to));
        let place = NotedPlace { conversation, epoch, seq, from: from.into() };
        v1::Note { body: Some(note::Body::Place(place)) }.encode_to_vec()
    };
    let wrong = [
        (Topic::User(user("carol")), noted("alice", "bob", EPOCH, 2)),
        (Topic::User(user("bob")), noted("alice", "#crew", EPOCH, 2)),
        (Topic::Group(group("other")), noted("alice", "#crew", EPOCH, 2)),
        (Topic::Everyone, noted("alice", "#crew", EPOCH, 2)),
        (Topic::User(user("bob")), noted("alice", "bob", 0, 2)),
        (Topic::User(user("bob")), noted("alice", "bob", EPOCH, 0)),
        (Topic::User(user("bob")), noted("", "bob", EPOCH, 2)),
        (Topic::User(user("bob")), noted("alice", "", EPOCH, 2)),
    ];
    let count = wrong.len() as u64;
    for (topic, note) in wrong {
        there.happens(Event::Told(Note { topic, note: note.into() }));
    }
    assert_eq!(there.stats().notes_undecodable, count);
    assert_eq!((there.sees(bob), there.sees(carol)), (vec![], vec![]));
}

#[test]
fn an_id_that_was_used_in_another_conversation_is_a_conflict() {
    let mut world = World::new();
    let (alice, carol) = (world.signs_in("alice"), world.signs_in("carol"));
    world.frame(alice, submit(1, "bob", "hi"));
    world.frame(alice, submit(1, "carol", "hi"));
    assert_eq!(world.sees(alice), ["accepted 1 as bob/1", "rejected 1: conflict"]);
    assert_eq!((world.sees(carol), world.store.log.len()), (vec![], 1));
}
