//! Entries of logs that are no messages: who is told of them, and over which ways.

use bytes::Bytes;
use switchboard_engine::{Answer, Denial, Event, GroupChange, MessageId, Note, Role, Subject, Topic};
use switchboard_proto::{
    Message as _,
    v1::{self, Content, NotedEntry, RejectCode, group_change::Kind, note, server_frame::Body},
};

use crate::{
    harness::World,
    session_words::{change, conversation, edit, entry, fetch},
    store::{EPOCH, STORED_AT_MS, group, user},
};

const NOTHING: [&str; 0] = [];

fn with_peers() -> World {
    World::with(|config| config.peers = true)
}

#[test]
fn an_entry_is_stored_and_reaches_sessions_and_no_classic_client() {
    let mut world = with_peers();
    world.found("crew", &["alice", "bob"]);
    let (alice, phone, bob) = (world.signs_in("alice"), world.signs_in("alice"), world.signs_in("bob"));
    let (old, bob_old) = (world.arrives("alice"), world.arrives("bob"));
    world.frame(alice, entry(1, "bob", edit(1, "hi!")));
    world.frame(alice, entry(2, "#crew", change(Kind::Invite, "carol")));
    assert_eq!(world.sees(alice), ["accepted 1 as bob/1", "accepted 2 as #crew/1"]);
    assert_eq!(world.sees(phone), ["bob/1 alice: edits 1: hi!", "#crew/1 alice: invites carol"]);
    assert_eq!(world.sees(bob), ["alice/1 alice: edits 1: hi!", "#crew/1 alice: invites carol"]);
    assert_eq!((world.frames(old), world.frames(bob_old)), (vec![], vec![]));
    assert_eq!(world.published, [], "what is for sessions alone is told in notes");
    let kept: Vec<_> = world.store.log.iter().map(|entry| (entry.content_type, &entry.subject)).collect();
    let invite = Subject::Change(Box::new(GroupChange::Invite(user("carol"))));
    assert_eq!(kept, [(21, &Subject::Edit { target_seq: 1 }), (23, &invite)]);
}

#[test]
fn a_page_says_what_its_entries_are() {
    let mut world = World::new();
    let alice = world.signs_in("alice");
    world.frame(alice, entry(1, "bob", edit(1, "hi!")));
    world.told(alice);
    world.frame(alice, fetch(1, "bob", 1));
    let Some(Body::Page(page)) = world.told(alice).pop() else { panic!("a page") };
    assert_eq!(page.messages[0].content, Some(edit(1, "hi!")));
}

#[test]
fn whom_a_change_concerns_is_told_with_the_members_and_once() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob"]);
    let (alice, bob, carol) = (world.signs_in("alice"), world.signs_in("bob"), world.signs_in("carol"));
    world.frame(alice, entry(1, "#crew", change(Kind::Invite, "carol")));
    world.frame(alice, entry(2, "#crew", change(Kind::Kick, "bob")));
    world.submits(alice, 3, "#crew", "among us");
    let both = ["#crew/1 alice: invites carol", "#crew/2 alice: kicks bob"];
    assert_eq!(world.sees(bob), both, "and nothing more");
    assert_eq!(world.sees(carol), [both[0], both[1], "#crew/3 alice: among us"]);
}

#[test]
fn who_leaves_is_told_on_its_other_devices() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob"]);
    let (phone, laptop, bob) = (world.signs_in("alice"), world.signs_in("alice"), world.signs_in("bob"));
    world.frame(phone, entry(1, "#crew", change(Kind::Leave, "")));
    assert_eq!(world.sees(phone), ["accepted 1 as #crew/1"]);
    assert_eq!(world.sees(laptop), ["#crew/1 alice: leaves"]);
    assert_eq!(world.sees(bob), ["#crew/1 alice: leaves"]);
}

#[test]
fn what_the_store_denies_is_rejected_with_its_reason_and_told_to_nobody() {
    let mut world = with_peers();
    world.found("crew", &["alice", "bob"]);
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.store_holds();
    for id in 1..=2 {
        world.frame(alice, entry(id, "#crew", change(Kind::Kick, "bob")));
    }
    world.store_says(0, Answer::Denied(Denial::NotBelow));
    world.store_says(0, Answer::Denied(Denial::NoMember));
    assert_eq!(world.sees(alice), ["rejected 1: forbidden", "rejected 2: conflict"]);
    assert_eq!((world.sees(bob), world.told.len()), (vec![], 0));
}

#[test]
fn every_refusal_says_in_words_what_is_wrong() {
    use RejectCode::{Conflict, Forbidden, NoSuchConversation, Unavailable};
    let denied = |denial, code, text| ("#crew", Answer::Denied(denial), code, text);
    let muted = Denial::Muted { until_ms: 1_709_210_096_000 };
    let refusals = [
        ("bob", Answer::Refused, NoSuchConversation, "there is no such user"),
        ("#crew", Answer::Refused, NoSuchConversation, "no such group, or you are no member of it: ask one"),
        ("bob", Answer::Failed, Unavailable, "the server cannot store anything now"),
        ("bob", Answer::Full, Unavailable, "the server's disk is full"),
        denied(muted, Forbidden, "you are muted in this group until 2024-02-29 12:35 UTC"),
        denied(Denial::NeedsRole(Role::Admin), Forbidden, "only admins and owners of the group"),
        denied(Denial::NeedsRole(Role::Owner), Forbidden, "only owners of the group"),
        denied(Denial::NotBelow, Forbidden, "only to members whose role is below yours"),
        denied(Denial::OtherOwner, Forbidden, "an owner's role is its own to give up"),
        denied(Denial::EditOfOther, Forbidden, "only who has said a message edits it"),
        denied(Denial::RecallOfOther, Forbidden, "takes it back, and in a group its admins and owners"),
        denied(Denial::NoMessage, Conflict, "there is no message at this place"),
        denied(Denial::Recalled, Conflict, "the message was taken back"),
        denied(Denial::Joined, Conflict, "you are a member already"),
        denied(Denial::AlreadyMember, Conflict, "this user is a member already"),
        denied(Denial::NoMember, Conflict, "this user is no member of the group"),
        denied(Denial::NoUser, Conflict, "there is no such user"),
        denied(Denial::SameRole, Conflict, "this user has that role already"),
        denied(Denial::LastOwner, Conflict, "make another member an owner first"),
        denied(Denial::Oneself, Conflict, "leave the group instead"),
        denied(Denial::OtherConversation, Conflict, "in another conversation"),
        denied(Denial::NoFile, Conflict, "there is no such file: upload it"),
    ];
    let mut world = with_peers();
    world.found("crew", &["alice", "bob"]);
    let alice = world.signs_in("alice");
    world.store_holds();
    for (id, (to, answer, code, text)) in (1..).zip(refusals) {
        world.submits(alice, id, to, "hi");
        world.store_says(0, answer);
        let Some(Body::Rejected(rejected)) = world.told(alice).pop() else { panic!("a refusal: {text}") };
        assert_eq!(rejected.code(), code, "{text}");
        assert!(rejected.text.contains(text), "{}", rejected.text);
    }
    world.frame(alice, entry(99, "#crew", Content { change: None, ..change(Kind::Join, "") }));
    let Some(Body::Rejected(rejected)) = world.told(alice).pop() else { panic!("a refusal") };
    assert_eq!((rejected.code(), &*rejected.text), (RejectCode::Invalid, "content.change is missing"));
}

#[test]
fn an_entry_with_a_wrong_field_is_invalid_and_not_stored() {
    let mut world = World::new();
    let alice = world.signs_in("alice");
    let join = change(Kind::Join, "");
    let wrong = [
        ("bob", join.clone()),
        ("#crew", change(Kind::Join, "alice")),
        ("#crew", change(Kind::Kick, "")),
        ("#crew", change(Kind::Unspecified, "bob")),
        ("#crew", change(Kind::SetRole, "bob")),
        ("#crew", Content { change: None, ..join.clone() }),
        ("#crew", Content { text: "hi".into(), ..join.clone() }),
        ("#crew", Content { kind: 1, text: "hi".into(), ..join }),
        ("bob", edit(0, "hi")),
        ("bob", edit(1, "")),
        ("bob", Content { kind: 22, ..edit(1, "hi") }),
        ("bob", Content { kind: 1, ..edit(1, "hi") }),
        ("bob", Content { changed_seq: 1, ..edit(1, "hi") }),
        ("bob", Content { recalled: true, ..edit(1, "hi") }),
    ];
    for (to, content) in wrong {
        world.frame(alice, entry(1, to, content.clone()));
        assert_eq!(world.sees(alice), ["rejected 1: invalid"], "{content:?}");
    }
    assert_eq!(world.store.log, []);
}

/// What another engine tells of an entry.
fn noted(topic: Topic, from: &str, to: &str, content: Content) -> Event {
    told(topic, noted_entry(from, to, content))
}

fn noted_entry(from: &str, to: &str, content: Content) -> NotedEntry {
    NotedEntry {
        conversation: Some(conversation(to)),
        epoch: EPOCH,
        seq: 4,
        message_id: Bytes::from_static(&[9; 16]),
        from: from.into(),
        content: Some(content),
        stored_at_ms: STORED_AT_MS,
    }
}

fn told(topic: Topic, entry: NotedEntry) -> Event {
    let note = v1::Note { body: Some(note::Body::Entry(entry)) }.encode_to_vec().into();
    Event::Told(Note { topic, note })
}

#[test]
fn other_engines_are_told_of_an_entry_by_its_topics_and_tell_their_sessions() {
    let mut here = with_peers();
    here.found("crew", &["alice", "bob"]);
    let alice = here.signs_in("alice");
    here.frame(alice, entry(1, "bob", edit(1, "hi!")));
    here.frame(alice, entry(2, "#crew", change(Kind::Kick, "bob")));
    let topics: Vec<_> = here.told.iter().map(|note| note.topic.clone()).collect();
    let (bob, crew) = (Topic::User(user("bob")), Topic::Group(group("crew")));
    assert_eq!(topics, [bob.clone(), Topic::User(user("alice")), crew, bob]);

    let mut there = with_peers();
    there.found("crew", &["alice", "carol"]);
    let (alice, bob, carol) = (there.signs_in("alice"), there.signs_in("bob"), there.signs_in("carol"));
    let classic = there.arrives("bob");
    here.told.drain(..).for_each(|note| there.happens(Event::Told(note)));
    assert_eq!(there.sees(alice), ["bob/1 alice: edits 1: hi!", "#crew/1 alice: kicks bob"]);
    assert_eq!(there.sees(bob), ["alice/1 alice: edits 1: hi!", "#crew/1 alice: kicks bob"]);
    assert_eq!(there.sees(carol), ["#crew/1 alice: kicks bob"]);
    assert_eq!((there.frames(classic), there.told.len()), (vec![], 0), "nothing is passed on");
}

#[test]
fn a_note_says_everything_that_the_log_has() {
    let mut world = with_peers();
    world.found("crew", &["bob"]);
    let bob = world.signs_in("bob");
    let rename = Content {
        kind: 23,
        change: Some(v1::GroupChange {
            kind: Kind::Rename.into(),
            name: "Us".into(),
            ..v1::GroupChange::default()
        }),
        ..Content::default()
    };
    world.happens(noted(Topic::Group(group("crew")), "alice", "#crew", rename.clone()));
    let Some(Body::Delivery(delivery)) = world.told(bob).pop() else { panic!("a delivery") };
    assert_eq!((delivery.epoch, delivery.seq, delivery.stored_at_ms), (EPOCH, 4, STORED_AT_MS));
    assert_eq!(delivery.message_id, MessageId([9; 16]).0[..]);
    assert_eq!((&*delivery.from, delivery.content), ("alice", Some(rename)));
}

#[test]
fn a_note_that_is_misled_or_cannot_be_right_reaches_nobody() {
    let mut world = with_peers();
    world.found("crew", &["bob"]);
    let bob = world.signs_in("bob");
    let (to_bob, to_crew) = (Topic::User(user("bob")), Topic::Group(group("crew")));
    let kick = || change(Kind::Kick, "carol");
    let right = || noted_entry("alice", "#crew", kick());
    let wrong = [
        noted(to_bob.clone(), "alice", "#crew", kick()),
        noted(to_bob.clone(), "alice", "carol", edit(1, "hi")),
        noted(to_crew.clone(), "alice", "#club", kick()),
        noted(to_crew.clone(), "alice", "bob", edit(1, "hi")),
        noted(Topic::Everyone, "alice", "#crew", kick()),
        noted(Topic::Presence(user("bob")), "alice", "bob", edit(1, "hi")),
        noted(to_crew.clone(), "", "#crew", kick()),
        noted(to_crew.clone(), "alice", "#crew", edit(0, "hi")),
        noted(to_bob, "alice", "bob", Content { kind: 1, text: "a message".into(), ..Content::default() }),
        told(to_crew.clone(), NotedEntry { seq: 0, ..right() }),
        told(to_crew.clone(), NotedEntry { epoch: 0, ..right() }),
        told(to_crew.clone(), NotedEntry { message_id: Bytes::from_static(b"short"), ..right() }),
        told(to_crew.clone(), NotedEntry { conversation: None, ..right() }),
        told(to_crew.clone(), NotedEntry { content: None, ..right() }),
    ];
    let count = wrong.len() as u64;
    wrong.into_iter().for_each(|event| world.happens(event));
    assert_eq!((world.sees(bob), world.stats().notes_undecodable), (NOTHING.map(String::from).into(), count));
    world.happens(told(to_crew, right()));
    assert_eq!(world.sees(bob), ["#crew/4 alice: kicks carol"]);
}

#[test]
fn of_an_entry_that_is_submitted_again_only_the_place_is_told_whatever_it_says_now() {
    let mut world = with_peers();
    world.found("crew", &["alice", "bob"]);
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.frame(alice, entry(1, "#crew", change(Kind::Invite, "carol")));
    assert_eq!(world.sees(bob), ["#crew/1 alice: invites carol"]);
    world.told.clear();
    world.frame(alice, entry(1, "#crew", change(Kind::Kick, "bob")));
    assert_eq!(world.sees(alice), ["accepted 1 as #crew/1", "accepted 1 as #crew/1"]);
    assert_eq!((world.sees(bob), world.told.len()), (vec!["heads #crew/1".into()], 1));
}
