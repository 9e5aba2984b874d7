//! How far conversations have arrived at users' classic clients, as stores keep it.

use switchboard_engine::{Answer, Received, Recipient, Request};

use super::bench::Bench;
use super::sides::Strangers;
use super::store::Open;
use super::{to_group, to_user, user};

/// What is told of the log with this number among those that the bench has met; 0 is none of them.
pub(super) fn arrives(
    store: &mut Bench,
    who: &str,
    of: Recipient,
    log: u64,
    seq: u64,
    beyond: &[u64],
) -> Answer {
    let (user, epoch) = (user(who), store.real_epoch(log));
    let told = Received { user, conversation: of, epoch, seq, beyond: beyond.to_vec() };
    store.ask(Request::StoreReceived(Box::new(told)))
}

/// What a user comes with a classic client for: of each conversation the place up to which everything has arrived,
/// and the head.
pub(super) fn lacks(store: &mut Bench, who: &str) -> Vec<(Recipient, u64, u64)> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let answer = store.ask(Request::LoadUnreceived { user: user(who), after });
        let Answer::UnreceivedLoaded { unreceived, next } = answer else { panic!("{who} lacks {answer:?}") };
        for (head, received) in unreceived {
            assert_eq!(received.user, user(who));
            assert_eq!((&received.conversation, received.epoch), (&head.conversation, head.epoch));
            assert!(received.beyond.is_empty());
            all.push((head.conversation, received.seq, head.seq));
        }
        let Some(next) = next else { break };
        assert!(next != 0 && next != after, "what {who} lacks goes on where it was");
        after = next;
    }
    all.sort();
    all
}

fn say_to_bob(store: &mut Bench, ids: std::ops::RangeInclusive<u8>) {
    for id in ids {
        store.say("alice", id, to_user("bob"), "hello");
    }
}

fn say_to_chess(store: &mut Bench, ids: std::ops::RangeInclusive<u8>) {
    for id in ids {
        store.say("alice", id, to_group("chess"), "e4");
    }
}

pub(super) fn nothing_of_before_a_user_comes_with_a_classic_client_is_missing(open: &Open) {
    let mut store = open(Strangers::Refused);
    say_to_bob(&mut store, 1..=2);
    assert_eq!(lacks(&mut store, "bob"), []);
    assert_eq!(lacks(&mut store, "bob"), []);
    say_to_bob(&mut store, 3..=3);
    store.say("carol", 1, to_user("bob"), "hello");
    let missing = [(to_user("alice"), 2, 3), (to_user("carol"), 0, 1)];
    assert_eq!(lacks(&mut store, "bob"), missing);
    store.crash();
    assert_eq!(lacks(&mut store, "bob"), missing);
    let stranger = Request::LoadUnreceived { user: user("stranger"), after: 0 };
    assert_eq!(store.ask(stranger), Answer::Refused);
}

pub(super) fn what_has_arrived_counts_up_to_what_has_not(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert_eq!(lacks(&mut store, "bob"), []);
    say_to_bob(&mut store, 1..=6);
    let place = |store: &mut Bench, beyond: &[u64]| {
        assert_eq!(arrives(store, "bob", to_user("alice"), 1, 0, beyond), Answer::ReceivedStored);
        lacks(store, "bob").first().map(|(_, seq, _)| *seq)
    };
    assert_eq!(place(&mut store, &[1, 2]), Some(2));
    assert_eq!(place(&mut store, &[4, 5]), Some(2), "the third has not");
    assert_eq!(place(&mut store, &[1]), Some(2), "it never moves backwards");
    assert_eq!(place(&mut store, &[]), Some(2));
    assert_eq!(place(&mut store, &[3]), Some(3), "what was told before of later ones is not remembered");
    store.crash();
    assert_eq!(place(&mut store, &[2, 3, 4, 6]), Some(4));
    assert_eq!(place(&mut store, &[4, 5, 6, 99]), None);
    say_to_bob(&mut store, 7..=7);
    assert_eq!(lacks(&mut store, "bob"), [(to_user("alice"), 6, 7)], "nobody has what was not said");
    assert_eq!(lacks(&mut store, "alice"), []);
}

pub(super) fn own_messages_need_not_arrive(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert_eq!(lacks(&mut store, "bob"), []);
    assert_eq!(lacks(&mut store, "alice"), []);
    say_to_bob(&mut store, 1..=1);
    store.say("bob", 1, to_user("alice"), "mine");
    store.say("bob", 2, to_user("bob"), "to myself");
    say_to_bob(&mut store, 2..=2);
    store.say("bob", 3, to_user("alice"), "mine");
    assert_eq!(arrives(&mut store, "bob", to_user("alice"), 1, 0, &[1]), Answer::ReceivedStored);
    assert_eq!(lacks(&mut store, "bob").len(), 1);
    assert_eq!(arrives(&mut store, "bob", to_user("alice"), 1, 0, &[3]), Answer::ReceivedStored);
    assert_eq!(lacks(&mut store, "bob"), []);
    store.say("bob", 4, to_user("alice"), "mine");
    assert_eq!(lacks(&mut store, "bob"), []);
    let missing = lacks(&mut store, "alice");
    assert_eq!(missing, [(to_user("bob"), 0, 5)]);
}

pub(super) fn what_has_arrived_of_another_log_or_ones_that_are_none_changes_nothing(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert_eq!(lacks(&mut store, "bob"), []);
    say_to_bob(&mut store, 1..=1);
    store.say("alice", 9, to_group("chess"), "e4");
    for (who, of, log) in [
        ("bob", to_user("alice"), 2),
        ("bob", to_user("alice"), 0),
        ("bob", to_user("carol"), 1),
        ("bob", to_user("stranger"), 1),
        ("stranger", to_user("alice"), 1),
        ("bob", to_group("chess"), 2),
        ("bob", to_group("nowhere"), 2),
    ] {
        assert_eq!(arrives(&mut store, who, of, log, 1, &[1]), Answer::Refused);
    }
    assert_eq!(lacks(&mut store, "bob"), [(to_user("alice"), 0, 1)]);
}

pub(super) fn what_is_given_up_counts_as_arrived(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert_eq!(lacks(&mut store, "bob"), []);
    say_to_bob(&mut store, 1..=5);
    assert_eq!(arrives(&mut store, "bob", to_user("alice"), 1, 3, &[]), Answer::ReceivedStored);
    assert_eq!(lacks(&mut store, "bob"), [(to_user("alice"), 3, 5)]);
    assert_eq!(arrives(&mut store, "bob", to_user("alice"), 1, 2, &[4]), Answer::ReceivedStored);
    assert_eq!(lacks(&mut store, "bob"), [(to_user("alice"), 4, 5)]);
    assert_eq!(arrives(&mut store, "bob", to_user("alice"), 1, 99, &[]), Answer::ReceivedStored);
    assert_eq!(lacks(&mut store, "bob"), []);
    say_to_bob(&mut store, 6..=6);
    assert_eq!(lacks(&mut store, "bob"), [(to_user("alice"), 5, 6)]);
}

pub(super) fn a_member_lacks_nothing_of_before_its_joining(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert_eq!(lacks(&mut store, "bob"), []);
    say_to_chess(&mut store, 1..=2);
    assert_eq!(lacks(&mut store, "bob"), []);
    store.set_member("chess", "bob", true);
    assert_eq!(lacks(&mut store, "bob"), []);
    say_to_chess(&mut store, 3..=4);
    // Places after the entry of its joining, which need not arrive.
    assert_eq!(lacks(&mut store, "bob"), [(to_group("chess"), 4, 6)]);
    assert_eq!(arrives(&mut store, "bob", to_group("chess"), 1, 0, &[5]), Answer::ReceivedStored);
    assert_eq!(lacks(&mut store, "bob"), [(to_group("chess"), 5, 6)]);
    store.set_member("chess", "bob", false);
    assert_eq!(lacks(&mut store, "bob"), []);
    store.set_member("chess", "bob", true);
    assert_eq!(lacks(&mut store, "bob"), [], "it has joined anew");
}

pub(super) fn logs_that_are_behind_come_in_pages_of_which_none_is_left_out(open: &Open) {
    let mut store = open(Strangers::Provisioned);
    assert_eq!(lacks(&mut store, "bob"), []);
    let names: Vec<_> = (0..600).map(|number| format!("user-{number:03}")).collect();
    for name in &names {
        store.say(name, 1, to_user("bob"), "hello");
    }
    let expected: Vec<_> = names.iter().map(|name| (to_user(name), 0, 1)).collect();
    assert_eq!(lacks(&mut store, "bob"), expected);
}
