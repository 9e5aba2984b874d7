//! What every store has to do, as cases that are each run against both.

use std::panic::{AssertUnwindSafe, catch_unwind};

use switchboard_engine::DirectoryChangeKind::{Avatar, Joined, Left};
use switchboard_engine::{
    Answer, Denial, DirectoryChange, DirectoryChangeKind, FileKind, FileSource, NewMessage, Place, Request,
    Ticket, UserProfile,
};
use switchboard_sim::store::StoreCanary;

use super::amend::*;
use super::bench::{Bench, model};
use super::groups::*;
use super::marks::*;
use super::reads::*;
use super::received::*;
use super::seen::*;
use super::sides::{Sqlite, Strangers};
use super::{change, file, group, load, message, message_id, to_group, to_user, user};

/// Opens a store for a case.
pub(super) type Open = dyn Fn(Strangers) -> Bench;

/// Runs every case against both stores, and lists them all.
macro_rules! cases {
    ($($name:ident)*) => {
        const CASES: &[(&str, fn(&Open))] = &[$((stringify!($name), $name)),*];

        mod model {
            use super::*;
            $(#[test] fn $name() { super::$name(&|strangers| model(strangers, None)); })*
        }

        mod sqlite {
            use super::*;
            $(#[test] fn $name() { super::$name(&|strangers| Bench::new(Box::new(Sqlite::open(strangers)))); })*
        }
    };
}

cases! {
    places_are_gapless_from_one_in_each_conversation
    both_directions_of_a_direct_conversation_share_a_log
    a_message_to_oneself_has_a_log_of_its_own
    a_user_and_a_group_of_one_name_have_a_log_each
    an_answer_has_the_ticket_and_the_place_of_its_own_message
    a_message_that_is_sent_again_keeps_its_place_and_its_first_content
    a_message_that_is_sent_again_is_answered_as_one_that_was_stored_earlier
    a_message_under_the_id_of_one_that_is_elsewhere_is_a_conflict
    what_was_stored_stays_stored_when_its_sender_has_left
    the_same_id_of_another_sender_is_another_message
    only_members_write_to_a_group_at_the_time_of_the_commit
    a_refused_message_takes_no_place
    who_is_refused_may_send_the_same_message_later
    strangers_are_refused_where_users_are_created_by_hand
    strangers_come_into_being_where_they_may
    a_load_has_picture_groups_and_revision
    revisions_increase_over_the_changes_of_all_users
    changes_are_announced_whole_and_in_order
    what_changes_nothing_is_not_announced
    who_is_told_of_a_change_finds_it_in_what_is_loaded
    a_file_is_given_a_name_of_its_own
    a_file_is_what_its_first_bytes_say_else_its_suffix
    what_is_no_file_is_refused
    a_message_names_only_a_file_that_is_there
    what_was_answered_survives_a_crash
    what_was_not_answered_is_stored_once_or_not_at_all
    the_directory_survives_a_crash
    heads_name_every_conversation_in_which_something_was_said
    heads_come_in_pages_of_which_none_is_left_out
    heads_and_logs_of_a_group_are_for_its_members
    a_member_reads_from_its_last_joining_on
    a_log_is_read_from_any_place_in_either_direction
    a_part_ends_at_its_limits_and_has_one_message_at_least
    what_nobody_has_begun_is_empty_and_has_no_epoch
    every_log_has_an_epoch_of_its_own_that_outlives_crashes
    a_message_is_read_as_it_was_stored_first
    nothing_of_before_a_user_comes_with_a_classic_client_is_missing
    what_has_arrived_counts_up_to_what_has_not
    own_messages_need_not_arrive
    what_has_arrived_of_another_log_or_ones_that_are_none_changes_nothing
    what_is_given_up_counts_as_arrived
    a_member_lacks_nothing_of_before_its_joining
    logs_that_are_behind_come_in_pages_of_which_none_is_left_out
    a_group_begins_with_its_creation_and_its_creator_owns_it
    an_id_that_is_taken_reveals_nothing_but_to_who_has_created_it
    open_groups_are_joined_and_closed_ones_by_invitation
    roles_decide_who_changes_what
    members_are_told_what_the_group_is_called_now
    the_last_owner_stays_and_the_last_member_may_leave
    who_is_muted_may_not_write_and_a_new_joining_does_not_change_that
    a_change_is_made_once_however_often_it_is_sent
    what_is_denied_changes_nothing_and_takes_no_place
    who_has_left_reads_up_to_that_and_no_further
    changes_are_told_before_their_answers
    what_the_directory_changes_is_in_the_log
    groups_survive_a_crash
    invited_strangers_come_into_being_where_they_may
    when_a_user_was_last_here_is_kept
    who_has_something_in_common_with_a_user_may_know_when_it_was_here
    of_users_who_are_not_there_nothing_is_kept_or_told
    marks_only_move_forwards_and_say_whether_they_have
    nobody_has_what_was_not_said
    heads_have_the_marks_of_both_sides
    of_a_group_and_of_oneself_the_heads_have_only_ones_own_marks
    marks_are_refused_of_what_is_not_ones_own_log
    a_new_joining_begins_without_marks
    who_has_left_has_seen_what_is_theirs_to_read_and_no_more
    a_message_says_what_its_last_edit_says
    of_what_was_recalled_nothing_is_left_to_read
    only_messages_that_are_there_are_changed_and_by_who_has_sent_them
    an_edit_is_made_once_however_often_it_is_sent
    admins_recall_what_members_have_said_and_edit_nothing_of_it
    who_may_not_read_or_write_changes_nothing
    who_has_left_reads_no_later_edits_and_nothing_that_was_recalled
    a_file_may_have_another_text_and_goes_with_a_recall
}

/// The answer about a message with this place in the log that the bench has met first.
fn stored(seq: u64) -> Answer {
    Answer::MessageStored(Place { epoch: 1, seq, stored_at_ms: 0 })
}

fn places_are_gapless_from_one_in_each_conversation(open: &Open) {
    let mut store = open(Strangers::Refused);
    for n in 1..=10 {
        assert_eq!(store.say("alice", n, to_user("bob"), "hello"), u64::from(n));
        // The group's creation is the first entry.
        assert_eq!(store.say("alice", 100 + n, to_group("chess"), "e4"), u64::from(n) + 1);
    }
    let expected: Vec<(u64, u8)> = (1..=10).map(|n| (u64::from(n), n)).collect();
    assert_eq!(store.places("alice", &to_user("bob")), expected);
    let expected: Vec<(u64, u8)> = (1..=10).map(|n| (u64::from(n) + 1, 100 + n)).collect();
    assert_eq!(store.places("alice", &to_group("chess")), expected);
}

fn both_directions_of_a_direct_conversation_share_a_log(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert_eq!(store.say("alice", 1, to_user("bob"), "hello"), 1);
    assert_eq!(store.say("bob", 2, to_user("alice"), "hello yourself"), 2);
    assert_eq!(store.say("alice", 3, to_user("bob"), "bye"), 3);
    assert_eq!(store.places("alice", &to_user("bob")), [(1, 1), (2, 2), (3, 3)]);
    assert_eq!(store.places("bob", &to_user("alice")), [(1, 1), (2, 2), (3, 3)]);
}

fn a_message_to_oneself_has_a_log_of_its_own(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert_eq!(store.say("alice", 1, to_user("alice"), "milk"), 1);
    assert_eq!(store.say("alice", 2, to_user("bob"), "hello"), 1);
    assert_eq!(store.say("alice", 3, to_user("alice"), "bread"), 2);
    assert_eq!(store.places("alice", &to_user("alice")), [(1, 1), (2, 3)]);
}

fn a_user_and_a_group_of_one_name_have_a_log_each(open: &Open) {
    let mut store = open(Strangers::Provisioned);
    assert_eq!(store.say("alice", 1, to_group("chess"), "to the group"), 2);
    assert_eq!(store.say("alice", 2, to_user("chess"), "to the user"), 1);
    assert_eq!(store.places("alice", &to_group("chess")), [(2, 1)]);
    assert_eq!(store.places("alice", &to_user("chess")), [(1, 2)]);
}

fn an_answer_has_the_ticket_and_the_place_of_its_own_message(open: &Open) {
    let mut store = open(Strangers::Refused);
    // So that neighbours are never given the same place.
    let route = [("bob", 1), ("bob", 2), ("carol", 1), ("bob", 3), ("alice", 1), ("bob", 4), ("carol", 2)];
    let sent: Vec<(Ticket, u64)> = (1..)
        .zip(route)
        .map(|(id, (to, seq))| {
            let ticket = store.submit(message("alice", id, to_user(to), "hello"));
            (ticket, seq)
        })
        .collect();
    let place = |(ticket, answer)| {
        let Answer::MessageStored(place) = answer else { panic!("{ticket:?}: {answer:?}") };
        (ticket, place.seq)
    };
    let answered: Vec<_> = sent.iter().map(|_| place(store.answer())).collect();
    assert_eq!(answered, sent);
}

fn a_message_that_is_sent_again_keeps_its_place_and_its_first_content(open: &Open) {
    let mut store = open(Strangers::Refused);
    for n in 1..=4 {
        assert_eq!(store.say("alice", n, to_user("bob"), "first"), u64::from(n));
    }
    assert_eq!(store.say("alice", 2, to_user("bob"), "first"), 2);
    assert_eq!(store.say("alice", 2, to_user("bob"), "another"), 2);
    store.crash();
    assert_eq!(store.say("alice", 2, to_user("bob"), "first"), 2);
    assert_eq!(store.say("alice", 4, to_user("bob"), "another"), 4);
    let found = store.history("alice", &to_user("bob"));
    let first = |n: u8| (u64::from(n), user("alice"), message_id(n).0, "first".into());
    assert_eq!(found, [first(1), first(2), first(3), first(4)]);
    assert_eq!(store.say("alice", 5, to_user("bob"), "next"), 5);
}

fn a_message_that_is_sent_again_is_answered_as_one_that_was_stored_earlier(open: &Open) {
    let mut store = open(Strangers::Refused);
    let earlier = |seq| Answer::StoredEarlier(Place { epoch: 1, seq, stored_at_ms: 0 });
    assert_eq!(store.ask(message("alice", 1, to_group("chess"), "e4")), stored(2));
    assert_eq!(store.ask(message("alice", 1, to_group("chess"), "e4")), earlier(2));
    store.crash();
    assert_eq!(store.ask(message("alice", 1, to_group("chess"), "e4")), earlier(2));
    // It stays stored, whatever its sender may do now.
    store.set_member("chess", "alice", false);
    assert_eq!(store.ask(message("alice", 1, to_group("chess"), "e4")), earlier(2));
}

fn a_message_under_the_id_of_one_that_is_elsewhere_is_a_conflict(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert_eq!(store.say("alice", 1, to_user("bob"), "hello"), 1);
    assert_eq!(store.say("alice", 2, to_user("bob"), "hello"), 2);
    let conflict = Answer::Denied(Denial::OtherConversation);
    assert_eq!(store.ask(message("alice", 2, to_user("carol"), "hello")), conflict);
    assert_eq!(store.ask(message("alice", 2, to_group("chess"), "hello")), conflict);
    assert_eq!(store.say("alice", 2, to_user("bob"), "what else"), 2);
    assert_eq!(store.places("alice", &to_user("carol")), []);
    assert_eq!(store.places("alice", &to_group("chess")), []);
    assert_eq!(store.say("alice", 3, to_user("carol"), "hello"), 1);
}

fn what_was_stored_stays_stored_when_its_sender_has_left(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert_eq!(store.say("alice", 1, to_group("chess"), "e4"), 2);
    assert!(store.set_member("chess", "alice", false));
    assert_eq!(store.say("alice", 1, to_group("chess"), "e4"), 2);
    let conflict = Answer::Denied(Denial::OtherConversation);
    assert_eq!(store.ask(message("alice", 1, to_user("stranger"), "e4")), conflict);
    assert_eq!(store.places("alice", &to_group("chess")), [(2, 1)]);
}

fn the_same_id_of_another_sender_is_another_message(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert_eq!(store.say("alice", 1, to_user("bob"), "hello"), 1);
    assert_eq!(store.say("bob", 1, to_user("alice"), "hello"), 2);
    assert_eq!(store.say("carol", 1, to_user("alice"), "hello"), 1);
    assert_eq!(store.places("alice", &to_user("bob")), [(1, 1), (2, 1)]);
}

fn only_members_write_to_a_group_at_the_time_of_the_commit(open: &Open) {
    let mut store = open(Strangers::Refused);
    let hello = |n| message("bob", n, to_group("chess"), "hello");
    assert_eq!(store.ask(hello(1)), Answer::Refused);
    assert!(store.set_member("chess", "bob", true));
    assert_eq!(store.ask(hello(2)), stored(3));
    assert!(store.set_member("chess", "bob", false));
    assert_eq!(store.ask(hello(3)), Answer::Refused);
    assert!(store.set_member("chess", "bob", true));
    assert_eq!(store.ask(hello(4)), stored(6));
    assert_eq!(store.ask(message("bob", 5, to_group("nowhere"), "hello")), Answer::Refused);
    assert_eq!(store.places("bob", &to_group("chess")), [(3, 2), (6, 4)]);
}

fn a_refused_message_takes_no_place(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert_eq!(store.say("alice", 1, to_group("chess"), "e4"), 2);
    assert_eq!(store.ask(message("bob", 2, to_group("chess"), "e5")), Answer::Refused);
    assert_eq!(store.say("alice", 3, to_group("chess"), "d4"), 3);
    assert_eq!(store.places("alice", &to_group("chess")), [(2, 1), (3, 3)]);
}

fn who_is_refused_may_send_the_same_message_later(open: &Open) {
    let mut store = open(Strangers::Refused);
    let hello = message("bob", 1, to_group("chess"), "hello");
    assert_eq!(store.ask(hello.clone()), Answer::Refused);
    assert!(store.set_member("chess", "bob", true));
    assert_eq!(store.ask(hello), stored(3));
}

fn strangers_are_refused_where_users_are_created_by_hand(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert_eq!(store.ask(load("stranger")), Answer::Refused);
    assert_eq!(store.ask(message("stranger", 1, to_user("bob"), "hello")), Answer::Refused);
    assert_eq!(store.ask(message("alice", 1, to_user("stranger"), "hello")), Answer::Refused);
    assert_eq!(store.ask(message("stranger", 2, to_group("chess"), "hello")), Answer::Refused);
    assert!(!store.set_member("chess", "stranger", true));
    assert!(!store.set_avatar("stranger", "stranger.png"));
    assert_eq!(store.ask(load("stranger")), Answer::Refused);
    assert_eq!(store.announced(), []);
}

fn strangers_come_into_being_where_they_may(open: &Open) {
    let mut store = open(Strangers::Provisioned);
    assert!(!store.set_avatar("loaded", "early.png"));
    assert_eq!(store.ask(load("loaded")), Answer::UserLoaded(UserProfile::default()));
    assert!(store.set_avatar("loaded", "loaded.png"));
    assert_eq!(store.say("sender", 1, to_user("recipient"), "hello"), 1);
    assert!(store.set_avatar("sender", "sender.png"));
    assert!(store.set_member("chess", "recipient", true));
    let named = |change: &DirectoryChange| (change.user.clone(), change.kind.clone());
    let expected = [
        (user("loaded"), Avatar("loaded.png".into())),
        (user("sender"), Avatar("sender.png".into())),
        (user("recipient"), Joined(group("chess"))),
    ];
    assert_eq!(store.announced().iter().map(named).collect::<Vec<_>>(), expected);
    assert_eq!(store.ask(message("sender", 2, to_group("chess"), "hello")), Answer::Refused);
    assert_eq!(store.say("recipient", 1, to_group("chess"), "hello"), 3);
}

fn a_load_has_picture_groups_and_revision(open: &Open) {
    let mut store = open(Strangers::Refused);
    let chess = UserProfile { groups: vec![group("chess")], ..UserProfile::default() };
    assert_eq!(store.load("alice"), chess);
    assert_eq!(store.load("carol"), UserProfile::default());
    assert!(store.set_member("go", "alice", true));
    assert!(store.set_avatar("alice", "alice.png"));
    let both = vec![group("chess"), group("go")];
    let found = store.load("alice");
    assert_eq!((&*found.avatar, &found.groups), ("alice.png", &both));
    assert!(store.set_member("chess", "alice", false));
    let later = store.load("alice");
    assert_eq!((&*later.avatar, later.groups), ("alice.png", vec![group("go")]));
    assert!(later.revision > found.revision && found.revision > 0);
}

/// Six changes, of two users.
fn change_everything(store: &mut Bench) -> Vec<(&'static str, DirectoryChangeKind)> {
    assert!(store.set_member("chess", "bob", true));
    assert!(store.set_avatar("alice", "alice.png"));
    assert!(store.set_avatar("bob", "bob.png"));
    assert!(store.set_member("chess", "alice", false));
    assert!(store.set_member("chess", "bob", false));
    assert!(store.set_member("go", "alice", true));
    vec![
        ("bob", Joined(group("chess"))),
        ("alice", Avatar("alice.png".into())),
        ("bob", Avatar("bob.png".into())),
        ("alice", Left(group("chess"))),
        ("bob", Left(group("chess"))),
        ("alice", Joined(group("go"))),
    ]
}

fn revisions_increase_over_the_changes_of_all_users(open: &Open) {
    let mut store = open(Strangers::Refused);
    let mut revisions = vec![store.load("alice").revision];
    let mut changed = |store: &mut Bench, changed: bool| {
        assert!(changed);
        // Whoever is loaded: the revision is the whole directory's.
        let (alice, carol) = (store.load("alice").revision, store.load("carol").revision);
        assert_eq!(alice, carol);
        revisions.push(alice);
    };
    for round in 0..3 {
        for (who, to) in [("alice", "go"), ("bob", "chess"), ("carol", "go")] {
            let done = store.set_member(to, who, round % 2 == 0);
            changed(&mut store, done);
            let done = store.set_avatar(who, &format!("{who}.{round}"));
            changed(&mut store, done);
        }
    }
    assert!(revisions.is_sorted_by(|one, next| one < next), "{revisions:?}");
}

fn changes_are_announced_whole_and_in_order(open: &Open) {
    let mut store = open(Strangers::Refused);
    let expected = change_everything(&mut store);
    let found = store.announced();
    let revisions: Vec<u64> = found.iter().map(|change| change.revision).collect();
    let expected: Vec<_> = expected
        .into_iter()
        .zip(&revisions)
        .map(|((who, kind), revision)| change(*revision, who, kind))
        .collect();
    assert_eq!(found, expected);
    assert!(revisions.is_sorted_by(|one, next| one < next), "{revisions:?}");
}

fn what_changes_nothing_is_not_announced(open: &Open) {
    let mut store = open(Strangers::Refused);
    change_everything(&mut store);
    store.announced();
    let before = store.load("alice").revision;
    assert!(!store.set_member("go", "bob", true));
    assert!(!store.set_member("chess", "carol", false));
    assert!(!store.set_avatar("bob", "bob.png"));
    assert!(!store.set_avatar("carol", ""));
    assert!(!store.set_member("nowhere", "bob", true));
    assert!(!store.set_member("nowhere", "bob", false));
    assert_eq!(store.load("alice").revision, before);
    assert_eq!(store.announced(), []);
}

fn who_is_told_of_a_change_finds_it_in_what_is_loaded(open: &Open) {
    let mut store = open(Strangers::Refused);
    for round in 0..6 {
        let member = round % 2 == 0;
        assert!(store.set_member("go", "carol", member));
        while store.changes.is_empty() {
            assert_eq!(store.next(), None, "answers to no question");
        }
        let told = store.changes.remove(0);
        let found = store.load("carol");
        assert!(found.revision >= told.revision, "{found:?} after {told:?}");
        assert_eq!(found.groups.contains(&group("go")), member);
    }
}

pub(super) const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and so on";

pub(super) fn kept(store: &mut Bench, source: FileSource, suffix: &str) -> (Box<str>, FileKind) {
    let answer = store.ask(file(source, suffix));
    let Answer::FileStored { name, kind } = answer else { panic!("a file with suffix {suffix}: {answer:?}") };
    (name, kind)
}

fn a_file_is_given_a_name_of_its_own(open: &Open) {
    let mut store = open(Strangers::Refused);
    let mut names = std::collections::BTreeSet::new();
    for suffix in ["png", "png", "txt", "", "../../etc/passwd", "a b?c#d%e", "..", "."] {
        let source = || FileSource::Bytes(PNG.into());
        for (name, _) in [kept(&mut store, source(), suffix), kept(&mut store, source(), suffix)] {
            let safe = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter);
            assert!(name.chars().all(safe) && !name.starts_with('.') && !name.is_empty(), "{name}");
            assert!(names.insert(name.clone()), "{name} is given twice");
        }
        store.crash();
    }
}

fn a_file_is_what_its_first_bytes_say_else_its_suffix(open: &Open) {
    let mut store = open(Strangers::Refused);
    let mut kind =
        |bytes: &'static [u8], suffix: &str| kept(&mut store, FileSource::Bytes(bytes.into()), suffix).1;
    assert_eq!(kind(PNG, "mp3"), FileKind::Image);
    assert_eq!(kind(b"ID3\x03 mp3", "exe"), FileKind::Audio);
    assert_eq!(kind(b"nothing that anybody knows", "MP4"), FileKind::Video);
    assert_eq!(kind(b"nothing that anybody knows", ".ogg"), FileKind::Audio);
    assert_eq!(kind(b"nothing that anybody knows", "jpeg"), FileKind::Image);
    assert_eq!(kind(b"nothing that anybody knows", "unheard-of"), FileKind::Other);
    assert_eq!(kind(b"nothing that anybody knows", ""), FileKind::Other);
    assert_eq!(kind(b"<!DOCTYPE html><html></html>", "png"), FileKind::Other);
    let url = FileSource::DataUrl("data:text/plain;base64,iVBORw0KGgoAAAAASUhEUg==".into());
    assert_eq!(kept(&mut store, url, "txt").1, FileKind::Image);
}

fn a_message_names_only_a_file_that_is_there(open: &Open) {
    let mut store = open(Strangers::Refused);
    let (name, _) = kept(&mut store, FileSource::Bytes(PNG.into()), "png");
    let mut says = |number, content_type, url: &str| {
        let Request::StoreMessage(text) = message("alice", number, to_user("bob"), "look") else {
            unreachable!()
        };
        store.ask(Request::StoreMessage(Box::new(NewMessage { content_type, url: url.into(), ..*text })))
    };
    let missing = Answer::Denied(Denial::NoFile);
    assert!(matches!(says(1, 3, &name), Answer::MessageStored(_)));
    assert_eq!(says(2, 3, "gone-0.png"), missing);
    assert!(matches!(says(2, 3, &name), Answer::MessageStored(_)), "another try, with a file that is there");
    assert!(matches!(says(2, 3, "gone-0.png"), Answer::StoredEarlier(_)), "it was stored once");
    assert!(
        matches!(says(3, 3, "https://example.org/gone-0.png"), Answer::MessageStored(_)),
        "it is not ours"
    );
    assert!(matches!(says(4, 1, "gone-0.png"), Answer::MessageStored(_)), "a text has no file");
}

fn what_is_no_file_is_refused(open: &Open) {
    let mut store = open(Strangers::Refused);
    let mut refused = |source| assert_eq!(store.ask(file(source, "png")), Answer::Refused);
    refused(FileSource::Bytes(b"".as_slice().into()));
    refused(FileSource::DataUrl("".into()));
    refused(FileSource::DataUrl("data:;base64,".into()));
    refused(FileSource::DataUrl("no url".into()));
    refused(FileSource::DataUrl("data:;base64,not base64!".into()));
}

fn what_was_answered_survives_a_crash(open: &Open) {
    let mut store = open(Strangers::Refused);
    for n in 1..=9 {
        assert_eq!(store.say("alice", n, to_user("bob"), "hello"), u64::from(n));
        if n % 3 == 0 {
            store.crash();
        }
        let expected: Vec<(u64, u8)> = (1..=n).map(|n| (u64::from(n), n)).collect();
        assert_eq!(store.places("alice", &to_user("bob")), expected);
    }
    assert_eq!(store.say("bob", 1, to_user("alice"), "hello"), 10);
}

fn what_was_not_answered_is_stored_once_or_not_at_all(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert_eq!(store.say("alice", 1, to_user("bob"), "hello"), 1);
    for n in 2..=20 {
        store.submit(message("alice", n, to_user("bob"), "hello"));
    }
    store.crash();
    let kept = store.places("alice", &to_user("bob"));
    let whole: Vec<(u64, u8)> = (1..=20).map(|n| (u64::from(n), n)).collect();
    assert_eq!(kept, whole[..kept.len()]);
    for n in 1..=20 {
        assert_eq!(store.say("alice", n, to_user("bob"), "hello"), u64::from(n));
    }
    assert_eq!(store.places("alice", &to_user("bob")), whole);
}

fn the_directory_survives_a_crash(open: &Open) {
    let mut store = open(Strangers::Refused);
    change_everything(&mut store);
    let told = store.announced();
    let before = (store.load("alice"), store.load("bob"));
    store.crash();
    assert_eq!((store.load("alice"), store.load("bob")), before);
    assert!(told.last().is_some_and(|change| change.revision <= before.0.revision));
    assert!(store.set_avatar("alice", "new.png"));
    let later = store.announced();
    assert_eq!(later.len(), 1, "what was announced is not announced again: {later:?}");
    assert!(later[0].revision > before.0.revision);
}

/// The cases that a store with a bug fails.
fn failed_by(bug: StoreCanary) -> Vec<&'static str> {
    let fails = |case: fn(&Open)| {
        let run = || case(&move |strangers| model(strangers, Some(bug)));
        catch_unwind(AssertUnwindSafe(run)).is_err()
    };
    CASES.iter().filter(|(_, case)| fails(*case)).map(|(name, _)| *name).collect()
}

#[test]
fn every_planted_bug_fails_the_case_that_is_there_for_it() {
    use StoreCanary::*;
    for bug in StoreCanary::ALL {
        let expected = match bug {
            SeqSkips | SeqRepeats | StoresTwice => "places_are_gapless_from_one_in_each_conversation",
            RefusedTakesSeq => "a_refused_message_takes_no_place",
            ForgetsIds => "a_message_that_is_sent_again_keeps_its_place_and_its_first_content",
            AnswersUncommitted | AnswersEarly => "what_was_answered_survives_a_crash",
            AnswersSwapped => "an_answer_has_the_ticket_and_the_place_of_its_own_message",
            SplitsDirections => "both_directions_of_a_direct_conversation_share_a_log",
            MembershipUnchecked => "only_members_write_to_a_group_at_the_time_of_the_commit",
            ChangeUnannounced => "changes_are_announced_whole_and_in_order",
            RevisionRepeats => "revisions_increase_over_the_changes_of_all_users",
            ReceivedOverGaps => "what_has_arrived_counts_up_to_what_has_not",
            EditsOfOthers => "only_messages_that_are_there_are_changed_and_by_who_has_sent_them",
            RecalledIsEdited | RecallKeepsText => "of_what_was_recalled_nothing_is_left_to_read",
            EditNotShown => "a_message_says_what_its_last_edit_says",
            MarksBackwards => "marks_only_move_forwards_and_say_whether_they_have",
            MarksBeyondHead => "nobody_has_what_was_not_said",
            MarksOfEveryLog => "marks_are_refused_of_what_is_not_ones_own_log",
            MarksOutliveMembers => "a_new_joining_begins_without_marks",
            StaleSnapshot => "a_load_has_picture_groups_and_revision",
            RolesUnchecked => "roles_decide_who_changes_what",
            KickKeepsMember | FormerReadsOn => "who_has_left_reads_up_to_that_and_no_further",
            MutedMayWrite => "who_is_muted_may_not_write_and_a_new_joining_does_not_change_that",
        };
        let failed = failed_by(*bug);
        assert!(failed.contains(&expected), "{}: {failed:?}", bug.name());
    }
}
