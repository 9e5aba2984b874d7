//! How far users are with their conversations, as stores keep it.

use switchboard_engine::{Answer, Head, Marks, NewMarks, Recipient, Request, StoredMarks};

use super::bench::Bench;
use super::sides::Strangers;
use super::store::Open;
use super::{to_group, to_user, user};

pub(super) const fn at(delivered: u64, read: u64) -> Marks {
    Marks { delivered, read }
}

const NONE: Marks = at(0, 0);

/// Marks of the log with this number among those that the bench has met; 0 is none of them.
pub(super) fn mark(store: &mut Bench, who: &str, of: Recipient, log: u64, marks: Marks) -> Answer {
    let epoch = store.real_epoch(log);
    store.ask(Request::StoreMarks(Box::new(NewMarks { user: user(who), conversation: of, epoch, marks })))
}

fn moved(delivered: u64, read: u64) -> Answer {
    Answer::MarksStored(StoredMarks { marks: at(delivered, read), has_moved: true })
}

fn unmoved(delivered: u64, read: u64) -> Answer {
    Answer::MarksStored(StoredMarks { marks: at(delivered, read), has_moved: false })
}

fn say_to_bob(store: &mut Bench, count: u8) {
    for n in 1..=count {
        store.say("alice", n, to_user("bob"), "hello");
    }
}

/// Own marks and those of the other side, in the heads.
fn marks_in_heads(store: &mut Bench, who: &str, of: &Recipient) -> (Marks, Marks) {
    let heads = store.heads(who);
    let Head { own, peer, .. } = heads.into_iter().find(|head| head.conversation == *of).unwrap();
    (own, peer)
}

pub(super) fn marks_only_move_forwards_and_say_whether_they_have(open: &Open) {
    let mut store = open(Strangers::Refused);
    say_to_bob(&mut store, 5);
    for (marks, answer) in [
        (at(2, 1), moved(2, 1)),
        (at(2, 1), unmoved(2, 1)),
        (at(1, 0), unmoved(2, 1)),
        (at(4, 0), moved(4, 1)),
        (at(3, 3), moved(4, 3)),
        (NONE, unmoved(4, 3)),
    ] {
        assert_eq!(mark(&mut store, "bob", to_user("alice"), 1, marks), answer, "{marks:?}");
    }
}

pub(super) fn nobody_has_what_was_not_said(open: &Open) {
    let mut store = open(Strangers::Refused);
    say_to_bob(&mut store, 2);
    assert_eq!(mark(&mut store, "bob", to_user("alice"), 1, at(u64::MAX, u64::MAX)), moved(2, 2));
    assert_eq!(mark(&mut store, "bob", to_user("alice"), 1, at(3, 3)), unmoved(2, 2));
    store.say("alice", 3, to_user("bob"), "hello");
    assert_eq!(mark(&mut store, "bob", to_user("alice"), 1, at(3, 0)), moved(3, 2));
}

pub(super) fn heads_have_the_marks_of_both_sides(open: &Open) {
    let mut store = open(Strangers::Refused);
    say_to_bob(&mut store, 3);
    assert_eq!(marks_in_heads(&mut store, "alice", &to_user("bob")), (NONE, NONE));
    mark(&mut store, "alice", to_user("bob"), 1, at(3, 3));
    mark(&mut store, "bob", to_user("alice"), 1, at(2, 1));
    assert_eq!(marks_in_heads(&mut store, "alice", &to_user("bob")), (at(3, 3), at(2, 1)));
    assert_eq!(marks_in_heads(&mut store, "bob", &to_user("alice")), (at(2, 1), at(3, 3)));
    store.crash();
    assert_eq!(marks_in_heads(&mut store, "bob", &to_user("alice")), (at(2, 1), at(3, 3)));
}

pub(super) fn of_a_group_and_of_oneself_the_heads_have_only_ones_own_marks(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert!(store.set_member("chess", "bob", true));
    store.say("alice", 1, to_group("chess"), "e4");
    store.say("alice", 2, to_user("alice"), "milk");
    mark(&mut store, "alice", to_group("chess"), 1, at(1, 0));
    assert_eq!(mark(&mut store, "alice", to_user("alice"), 2, at(1, 1)), moved(1, 1));
    assert_eq!(marks_in_heads(&mut store, "alice", &to_group("chess")), (at(1, 0), NONE));
    assert_eq!(marks_in_heads(&mut store, "bob", &to_group("chess")), (NONE, NONE));
    assert_eq!(marks_in_heads(&mut store, "alice", &to_user("alice")), (at(1, 1), NONE));
}

pub(super) fn marks_are_refused_of_what_is_not_ones_own_log(open: &Open) {
    let mut store = open(Strangers::Provisioned);
    store.say("alice", 1, to_user("bob"), "hello");
    store.say("alice", 2, to_group("chess"), "e4");
    for (who, of, log) in [
        ("bob", to_user("alice"), 2),
        ("bob", to_user("alice"), 0),
        ("bob", to_group("chess"), 2),
        ("bob", to_group("nowhere"), 2),
        ("bob", to_group("go"), 2),
        ("carol", to_user("alice"), 1),
        ("alice", to_user("nobody-yet"), 1),
        ("stranger", to_user("alice"), 1),
    ] {
        assert_eq!(mark(&mut store, who, of.clone(), log, at(1, 1)), Answer::Refused, "{who} {of:?} {log}");
    }
    assert_eq!(marks_in_heads(&mut store, "bob", &to_user("alice")), (NONE, NONE));
    assert_eq!(mark(&mut store, "bob", to_user("alice"), 1, at(1, 1)), moved(1, 1));
}

pub(super) fn a_new_joining_begins_without_marks(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert!(store.set_member("chess", "bob", true));
    store.say("alice", 1, to_group("chess"), "e4");
    assert_eq!(mark(&mut store, "bob", to_group("chess"), 1, at(1, 1)), moved(1, 1));
    assert!(store.set_member("chess", "bob", false));
    assert!(store.set_member("chess", "bob", true));
    assert_eq!(marks_in_heads(&mut store, "bob", &to_group("chess")), (NONE, NONE));
}

pub(super) fn who_has_left_has_seen_what_is_theirs_to_read_and_no_more(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert!(store.set_member("chess", "bob", true));
    store.say("alice", 1, to_group("chess"), "e4");
    assert!(store.set_member("chess", "bob", false));
    store.say("alice", 2, to_group("chess"), "e5");
    let last =
        store.heads("bob").into_iter().find(|head| head.conversation == to_group("chess")).unwrap().seq;
    assert_eq!(mark(&mut store, "bob", to_group("chess"), 1, at(last + 1, 1)), moved(last, 1));
    assert_eq!(mark(&mut store, "bob", to_group("chess"), 1, at(last + 1, last + 1)), moved(last, last));
    assert_eq!(marks_in_heads(&mut store, "bob", &to_group("chess")), (at(last, last), NONE));
    assert_eq!(mark(&mut store, "carol", to_group("chess"), 1, at(1, 1)), Answer::Refused);
}
