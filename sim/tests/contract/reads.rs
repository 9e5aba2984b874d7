//! What sessions read: how far conversations are, and parts of their logs.

use switchboard_engine::{Head, Messages, Range, Recipient};

use super::bench::Bench;
use super::sides::Strangers;
use super::store::Open;
use super::{message, message_id, to_group, to_user, user};

/// All of a log, forwards.
pub(super) fn whole(reader: &str, conversation: Recipient) -> Range {
    Range {
        reader: user(reader),
        conversation,
        from_seq: 1,
        backwards: false,
        limit: u32::MAX,
        limit_bytes: u64::MAX,
    }
}

pub(super) fn head(conversation: Recipient, epoch: u64, seq: u64, first_seq: u64) -> Head {
    Head {
        conversation,
        epoch,
        seq,
        first_seq,
        own: switchboard_engine::Marks::default(),
        peer: switchboard_engine::Marks::default(),
    }
}

/// The places of what was read; none if the reader takes no part.
pub(super) fn seqs(store: &mut Bench, range: Range) -> Option<Vec<u64>> {
    store.read(range).map(|part| part.messages.iter().map(|message| message.seq).collect())
}

pub(super) fn heads_name_every_conversation_in_which_something_was_said(open: &Open) {
    let mut store = open(Strangers::Provisioned);
    assert_eq!(store.heads("nobody-yet"), []);
    store.say("alice", 1, to_user("bob"), "hello");
    store.say("bob", 1, to_user("alice"), "hello yourself");
    store.say("alice", 2, to_user("alice"), "milk");
    store.say("alice", 3, to_group("chess"), "e4");
    store.say("zoe", 1, to_user("alice"), "hello");
    store.say("bob", 2, to_user("carol"), "not for alice");
    store.say("bob", 3, to_group("go"), "nor this");
    let expected = [
        head(to_user("alice"), 2, 1, 1),
        head(to_user("bob"), 1, 2, 1),
        head(to_user("zoe"), 4, 1, 1),
        head(to_group("chess"), 3, 2, 1),
    ];
    assert_eq!(store.heads("alice"), expected);
    let expected =
        [head(to_user("alice"), 1, 2, 1), head(to_user("carol"), 5, 1, 1), head(to_group("go"), 6, 2, 1)];
    assert_eq!(store.heads("bob"), expected);
}

pub(super) fn heads_come_in_pages_of_which_none_is_left_out(open: &Open) {
    let mut store = open(Strangers::Provisioned);
    // More than any store gives at once: one-to-one with a lesser id and with a greater one.
    let others: Vec<_> = (0..600).map(|n| format!("{}{n:03}", if n % 2 == 0 { 'a' } else { 'z' })).collect();
    for (n, other) in others.iter().enumerate() {
        let (sender, to) = if n % 3 == 0 { ("me", &**other) } else { (&**other, "me") };
        let id = u8::try_from(n / 3 % 256).unwrap();
        store.say(sender, id, to_user(to), "hello");
    }
    let heads = store.heads("me");
    let mut expected: Vec<_> = others.iter().map(|other| to_user(other)).collect();
    expected.sort();
    assert!(heads.iter().map(|head| &head.conversation).eq(&expected), "{heads:?}");
    assert!(heads.iter().all(|head| (head.seq, head.first_seq) == (1, 1)));
}

pub(super) fn heads_and_logs_of_a_group_are_for_its_members(open: &Open) {
    let mut store = open(Strangers::Refused);
    store.say("alice", 1, to_group("chess"), "e4");
    assert_eq!(store.heads("carol"), []);
    for nowhere in ["chess", "nowhere"] {
        assert_eq!(store.read(whole("bob", to_group(nowhere))), None);
        assert_eq!(store.read(whole("stranger", to_group(nowhere))), None);
    }
    assert!(store.set_member("chess", "bob", true));
    store.say("alice", 2, to_group("chess"), "d4");
    assert_eq!(seqs(&mut store, whole("bob", to_group("chess"))), Some(vec![3, 4]));
}

pub(super) fn a_member_reads_from_its_last_joining_on(open: &Open) {
    let mut store = open(Strangers::Refused);
    let chess = || to_group("chess");
    assert!(store.set_member("chess", "carol", true));
    store.say("alice", 1, chess(), "e4");
    store.say("alice", 2, chess(), "d4");
    assert!(store.set_member("chess", "bob", true));
    // The entry of its joining is the first that it reads.
    assert_eq!(store.heads("carol"), [head(chess(), 1, 5, 2)]);
    assert_eq!(seqs(&mut store, whole("bob", chess())), Some(vec![5]));
    let backwards = Range { from_seq: 0, backwards: true, ..whole("bob", chess()) };
    assert_eq!(seqs(&mut store, backwards.clone()), Some(vec![5]));
    store.say("bob", 1, chess(), "e5");
    assert_eq!(seqs(&mut store, whole("bob", chess())), Some(vec![5, 6]));
    assert_eq!(seqs(&mut store, Range { from_seq: 4, ..backwards.clone() }), Some(vec![]));
    assert!(store.set_member("chess", "bob", false));
    store.say("alice", 4, chess(), "c4");
    assert!(store.set_member("chess", "bob", true));
    store.crash();
    store.say("alice", 5, chess(), "f4");
    assert_eq!(seqs(&mut store, backwards), Some(vec![9, 10]));
    assert_eq!(seqs(&mut store, whole("carol", chess())), Some((2..=10).collect()));
    assert_eq!(seqs(&mut store, whole("alice", chess())), Some((1..=10).collect()));
}

pub(super) fn a_log_is_read_from_any_place_in_either_direction(open: &Open) {
    let mut store = open(Strangers::Refused);
    for n in 1..=6 {
        store.say(
            if n % 2 == 0 { "bob" } else { "alice" },
            n,
            to_user(if n % 2 == 0 { "alice" } else { "bob" }),
            "hello",
        );
    }
    for (reader, other) in [("alice", "bob"), ("bob", "alice")] {
        for limit in [1, 2, 5, 6, 7] {
            for from_seq in 0..=8 {
                let range = |backwards| Range { from_seq, backwards, limit, ..whole(reader, to_user(other)) };
                let forwards = seqs(&mut store, range(false)).unwrap();
                let first = from_seq.max(1);
                let expected: Vec<_> = (first..=6).take(limit as usize).collect();
                assert_eq!(forwards, expected, "from {from_seq}, {limit} at most");
                let backwards = seqs(&mut store, range(true)).unwrap();
                let last = if from_seq == 0 { 6 } else { from_seq.min(6) };
                let expected: Vec<_> = ((last + 1).saturating_sub(limit.into()).max(1)..=last).collect();
                assert_eq!(backwards, expected, "back from {from_seq}, {limit} at most");
            }
        }
        let far = Range { from_seq: u64::MAX, ..whole(reader, to_user(other)) };
        let part = store.read(far.clone()).unwrap();
        assert_eq!((part.head_seq, part.first_seq, part.messages.len()), (6, 1, 0));
        assert_eq!(seqs(&mut store, Range { backwards: true, limit: 2, ..far }), Some(vec![5, 6]));
    }
}

pub(super) fn a_part_ends_at_its_limits_and_has_one_message_at_least(open: &Open) {
    let mut store = open(Strangers::Refused);
    for (n, length) in (1..).zip([10, 10, 30, 10, 10]) {
        store.say("alice", n, to_user("bob"), &"x".repeat(length));
    }
    for (from_seq, backwards, limit_bytes, expected) in [
        (1, false, 20, &[1, 2][..]),
        (1, false, 19, &[1]),
        (1, false, 49, &[1, 2]),
        (1, false, 50, &[1, 2, 3]),
        (3, false, 5, &[3]),
        (3, false, 0, &[3]),
        (0, true, 20, &[4, 5]),
        (0, true, 49, &[4, 5]),
        (0, true, 50, &[3, 4, 5]),
        (3, true, 1, &[3]),
        (0, true, 0, &[5]),
    ] {
        let range = Range { from_seq, backwards, limit_bytes, ..whole("bob", to_user("alice")) };
        assert_eq!(
            seqs(&mut store, range).as_deref(),
            Some(expected),
            "{from_seq} {backwards} {limit_bytes}"
        );
    }
}

pub(super) fn what_nobody_has_begun_is_empty_and_has_no_epoch(open: &Open) {
    let mut store = open(Strangers::Refused);
    let nothing =
        Messages { epoch: 0, head_seq: 0, first_seq: 1, messages: Vec::new(), group_name: "".into() };
    let nothing = Some(nothing);
    for conversation in [to_user("bob"), to_user("alice"), to_user("stranger")] {
        assert_eq!(store.read(whole("alice", conversation.clone())), nothing);
        let backwards = Range { from_seq: 0, backwards: true, ..whole("alice", conversation) };
        assert_eq!(store.read(backwards), nothing);
    }
    assert_eq!(store.heads("carol"), []);
}

pub(super) fn every_log_has_an_epoch_of_its_own_that_outlives_crashes(open: &Open) {
    let mut store = open(Strangers::Refused);
    let logs = [to_user("bob"), to_user("carol"), to_user("alice"), to_group("chess")];
    for (n, log) in (1..).zip(&logs) {
        store.say("alice", n, log.clone(), "hello");
        store.crash();
    }
    for round in 1..=2 {
        for (n, log) in (1..).zip(&logs) {
            let part = store.read(whole("alice", log.clone())).unwrap();
            let created = u64::from(*log == to_group("chess"));
            assert_eq!((part.epoch, part.head_seq), (n, round + created), "{log:?}");
        }
        for (n, log) in (11..).zip(&logs).filter(|_| round == 1) {
            store.say("alice", n, log.clone(), "again");
        }
        store.crash();
    }
}

pub(super) fn a_message_is_read_as_it_was_stored_first(open: &Open) {
    let mut store = open(Strangers::Refused);
    store.say("alice", 1, to_user("bob"), "first");
    store.say("bob", 1, to_user("alice"), "second");
    store.say("alice", 1, to_user("bob"), "another");
    store.ask(message("alice", 1, to_user("carol"), "elsewhere"));
    let part = store.read(whole("bob", to_user("alice"))).unwrap();
    let read = |m: &switchboard_engine::StoredMessage| {
        (m.seq, m.id, m.sender.clone(), m.content_type, m.content.clone())
    };
    let expected = [
        (1, message_id(1), user("alice"), 1, "first".into()),
        (2, message_id(1), user("bob"), 1, "second".into()),
    ];
    assert_eq!(part.messages.iter().map(read).collect::<Vec<_>>(), expected);
    assert_eq!(store.read(whole("alice", to_user("bob"))), Some(part));
}
