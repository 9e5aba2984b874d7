//! Changes of groups: who may make them, what they change, and what is read of them.

use switchboard_engine::DirectoryChangeKind::{Joined, Left};
use switchboard_engine::{Answer, Denial, GroupChange, Role, Subject};

use super::bench::Bench;
use super::reads::{head, seqs, whole};
use super::sides::Strangers;
use super::store::Open;
use super::{change_of, group, message, to_group, to_user, user};

const MUTED: Denial = Denial::Muted { until_ms: i64::MAX };

pub(super) const fn denied(why: Denial) -> Answer {
    Answer::Denied(why)
}

fn create(invite_only: bool) -> GroupChange {
    GroupChange::Create { name: "The club".into(), invite_only }
}

fn invite(who: &str) -> GroupChange {
    GroupChange::Invite(user(who))
}

fn kick(who: &str) -> GroupChange {
    GroupChange::Kick(user(who))
}

fn make(who: &str, role: Role) -> GroupChange {
    GroupChange::SetRole(user(who), role)
}

fn mute(who: &str, until_ms: i64) -> GroupChange {
    GroupChange::Mute(user(who), until_ms)
}

/// Makes a change with this id, and gives its place.
fn done(store: &mut Bench, sender: &str, id: u8, to: &str, change: GroupChange) -> u64 {
    let what = format!("{change:?}");
    let answer = store.ask(change_of(sender, id, to, change));
    let Answer::MessageStored(place) = answer else { panic!("{what} of {sender}: {answer:?}") };
    place.seq
}

/// The changes of a group that a reader reads, with their places.
fn changes(store: &mut Bench, reader: &str, of: &str) -> Vec<(u64, String)> {
    let part = store.read(whole(reader, to_group(of))).expect("a reader");
    let change = |subject: &Subject| {
        if let Subject::Change(change) = subject { Some(format!("{change:?}")) } else { None }
    };
    part.messages.iter().filter_map(|entry| Some((entry.seq, change(&entry.subject)?))).collect()
}

pub(super) fn a_group_begins_with_its_creation_and_its_creator_owns_it(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert_eq!(done(&mut store, "carol", 1, "club", create(true)), 1);
    assert_eq!(store.heads("carol"), [head(to_group("club"), 1, 1, 1)]);
    assert_eq!(store.load("carol").groups, [group("club")]);
    assert_eq!(
        store.ask(change_of("carol", 2, "club", make("carol", Role::Admin))),
        denied(Denial::LastOwner)
    );
    assert_eq!(done(&mut store, "carol", 3, "club", GroupChange::Rename("Ours".into())), 2);
}

pub(super) fn an_id_that_is_taken_reveals_nothing_but_to_who_has_created_it(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert_eq!(done(&mut store, "carol", 1, "club", create(false)), 1);
    for sender in ["alice", "carol"] {
        assert_eq!(store.ask(change_of(sender, 7, "club", create(false))), Answer::Refused);
    }
    let again = store.ask(change_of("carol", 1, "club", create(false)));
    assert!(matches!(again, Answer::StoredEarlier(place) if place.seq == 1), "{again:?}");
    assert_eq!(store.ask(change_of("alice", 8, "nowhere", GroupChange::Join)), Answer::Refused);
    assert_eq!(store.ask(change_of("stranger", 1, "nowhere", create(false))), Answer::Refused);
    assert_eq!(changes(&mut store, "carol", "club").len(), 1);
}

pub(super) fn open_groups_are_joined_and_closed_ones_by_invitation(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert_eq!(store.ask(change_of("carol", 1, "go", GroupChange::Join)), Answer::Refused);
    assert_eq!(done(&mut store, "carol", 1, "chess", GroupChange::Join), 2);
    assert_eq!(store.ask(change_of("carol", 2, "chess", GroupChange::Join)), denied(Denial::Joined));
    assert_eq!(done(&mut store, "carol", 3, "chess", invite("bob")), 3);
    assert_eq!(store.ask(change_of("carol", 4, "chess", invite("bob"))), denied(Denial::AlreadyMember));
    assert_eq!(store.ask(change_of("carol", 5, "chess", invite("stranger"))), denied(Denial::NoUser));
    assert_eq!(done(&mut store, "bob", 1, "go", invite("carol")), 2);
    assert_eq!(
        store.ask(change_of("carol", 6, "go", invite("alice"))),
        denied(Denial::NeedsRole(Role::Admin))
    );
    assert_eq!(store.say("carol", 7, to_group("go"), "hello"), 3);
    assert_eq!(seqs(&mut store, whole("carol", to_group("go"))), Some(vec![2, 3]));
}

pub(super) fn roles_decide_who_changes_what(open: &Open) {
    let mut store = open(Strangers::Refused);
    done(&mut store, "alice", 1, "chess", invite("bob"));
    done(&mut store, "alice", 2, "chess", invite("carol"));
    let rename = || GroupChange::Rename("Go".into());
    let (admin, owner) = (Denial::NeedsRole(Role::Admin), Denial::NeedsRole(Role::Owner));
    let changes = [
        (kick("carol"), admin),
        (mute("carol", 1), admin),
        (rename(), admin),
        (make("bob", Role::Admin), owner),
        // Who is not there, and oneself: a role comes first.
        (kick("nobody"), admin),
        (kick("bob"), admin),
    ];
    for (n, (change, why)) in (10..).zip(changes) {
        assert_eq!(store.ask(change_of("bob", n, "chess", change)), denied(why));
    }
    done(&mut store, "alice", 3, "chess", make("bob", Role::Admin));
    let changes = [
        (kick("alice"), Denial::NotBelow),
        (mute("alice", 1), Denial::NotBelow),
        (kick("bob"), Denial::Oneself),
        (kick("nobody"), Denial::NoMember),
        (make("carol", Role::Admin), owner),
    ];
    for (n, (change, why)) in (20..).zip(changes) {
        assert_eq!(store.ask(change_of("bob", n, "chess", change)), denied(why));
    }
    for (n, (who, role, why)) in
        (25..).zip([("bob", Role::Admin, Denial::SameRole), ("nobody", Role::Admin, Denial::NoMember)])
    {
        assert_eq!(store.ask(change_of("alice", n, "chess", make(who, role))), denied(why));
    }
    assert_eq!(done(&mut store, "bob", 30, "chess", rename()), 5);
    assert_eq!(done(&mut store, "bob", 31, "chess", mute("carol", 1)), 6);
    assert_eq!(done(&mut store, "bob", 32, "chess", kick("carol")), 7);
    assert_eq!(store.ask(change_of("bob", 33, "chess", kick("carol"))), denied(Denial::NoMember));
    assert_eq!(done(&mut store, "alice", 34, "chess", make("bob", Role::Member)), 8);
    assert_eq!(store.ask(change_of("bob", 35, "chess", rename())), denied(Denial::NeedsRole(Role::Admin)));
}

pub(super) fn members_are_told_what_the_group_is_called_now(open: &Open) {
    let mut store = open(Strangers::Refused);
    let name = |store: &mut Bench, who: &str| store.read(whole(who, to_group("chess"))).unwrap().group_name;
    done(&mut store, "alice", 1, "chess", invite("bob"));
    assert_eq!(&*name(&mut store, "bob"), "chess");
    done(&mut store, "alice", 2, "chess", GroupChange::Rename("Go".into()));
    assert_eq!(&*name(&mut store, "bob"), "Go");
    done(&mut store, "alice", 3, "chess", kick("bob"));
    done(&mut store, "alice", 4, "chess", GroupChange::Rename("Shogi".into()));
    assert_eq!(&*name(&mut store, "bob"), "", "what it is called by now is nothing to who has left");
    store.crash();
    assert_eq!(&*name(&mut store, "alice"), "Shogi");
    store.say("alice", 5, to_user("bob"), "hello");
    assert_eq!(&*store.read(whole("bob", to_user("alice"))).unwrap().group_name, "");
}

pub(super) fn the_last_owner_stays_and_the_last_member_may_leave(open: &Open) {
    let mut store = open(Strangers::Refused);
    done(&mut store, "alice", 1, "chess", invite("bob"));
    for (n, change) in (10..).zip([GroupChange::Leave, make("alice", Role::Admin)]) {
        assert_eq!(store.ask(change_of("alice", n, "chess", change)), denied(Denial::LastOwner));
    }
    done(&mut store, "alice", 2, "chess", make("bob", Role::Owner));
    assert_eq!(store.ask(change_of("alice", 3, "chess", kick("bob"))), denied(Denial::NotBelow));
    assert_eq!(done(&mut store, "alice", 4, "chess", GroupChange::Leave), 4);
    assert_eq!(store.ask(change_of("bob", 1, "chess", make("bob", Role::Member))), denied(Denial::LastOwner));
    assert_eq!(done(&mut store, "bob", 2, "chess", GroupChange::Leave), 5);
    // It is no more, though it was open.
    assert_eq!(store.ask(change_of("alice", 5, "chess", GroupChange::Join)), Answer::Refused);
}

pub(super) fn who_is_muted_may_not_write_and_a_new_joining_does_not_change_that(open: &Open) {
    let mut store = open(Strangers::Refused);
    done(&mut store, "bob", 1, "chess", GroupChange::Join);
    assert_eq!(store.say("bob", 2, to_group("chess"), "e5"), 3);
    done(&mut store, "alice", 1, "chess", mute("bob", i64::MAX));
    let hello = |id| message("bob", id, to_group("chess"), "hello");
    assert_eq!(store.ask(hello(3)), denied(MUTED));
    assert_eq!(store.say("bob", 2, to_group("chess"), "e5"), 3, "what was stored stays stored");
    done(&mut store, "bob", 4, "chess", GroupChange::Leave);
    done(&mut store, "bob", 5, "chess", GroupChange::Join);
    store.crash();
    assert_eq!(store.ask(hello(6)), denied(MUTED));
    done(&mut store, "alice", 2, "chess", mute("bob", 1));
    assert_eq!(store.say("bob", 7, to_group("chess"), "long ago"), 8);
    done(&mut store, "alice", 3, "chess", mute("bob", i64::MAX));
    done(&mut store, "alice", 4, "chess", mute("bob", 0));
    assert_eq!(store.say("bob", 8, to_group("chess"), "again"), 11);
}

pub(super) fn a_change_is_made_once_however_often_it_is_sent(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert_eq!(done(&mut store, "bob", 1, "chess", GroupChange::Join), 2);
    assert_eq!(done(&mut store, "bob", 2, "chess", GroupChange::Leave), 3);
    store.announced();
    for change in [GroupChange::Join, GroupChange::Rename("something else".into())] {
        let again = store.ask(change_of("bob", 1, "chess", change));
        assert!(matches!(again, Answer::StoredEarlier(place) if place.seq == 2), "{again:?}");
    }
    assert_eq!(store.load("bob").groups, [group("go")]);
    assert_eq!(store.announced(), []);
    assert_eq!(changes(&mut store, "alice", "chess").len(), 3);
}

pub(super) fn what_is_denied_changes_nothing_and_takes_no_place(open: &Open) {
    let mut store = open(Strangers::Refused);
    done(&mut store, "bob", 1, "chess", GroupChange::Join);
    store.announced();
    assert_eq!(
        store.ask(change_of("bob", 2, "chess", kick("alice"))),
        denied(Denial::NeedsRole(Role::Admin))
    );
    assert_eq!(store.ask(change_of("alice", 1, "chess", GroupChange::Leave)), denied(Denial::LastOwner));
    assert_eq!(store.ask(change_of("carol", 1, "chess", kick("alice"))), Answer::Refused);
    assert_eq!(store.announced(), []);
    assert_eq!(store.say("alice", 2, to_group("chess"), "e4"), 3);
    // The ids are free for what can be done.
    assert_eq!(done(&mut store, "bob", 2, "chess", GroupChange::Leave), 4);
}

pub(super) fn who_has_left_reads_up_to_that_and_no_further(open: &Open) {
    let mut store = open(Strangers::Refused);
    store.say("alice", 1, to_group("chess"), "before");
    done(&mut store, "carol", 1, "chess", GroupChange::Join);
    store.say("alice", 2, to_group("chess"), "among us");
    done(&mut store, "alice", 3, "chess", kick("carol"));
    store.say("alice", 4, to_group("chess"), "among ourselves");
    assert_eq!(store.load("carol").groups, []);
    assert_eq!(store.ask(message("carol", 9, to_group("chess"), "hello?")), Answer::Refused);
    assert_eq!(store.heads("carol"), [head(to_group("chess"), 1, 5, 3)]);
    let part = store.read(whole("carol", to_group("chess"))).unwrap();
    assert_eq!((part.head_seq, part.first_seq), (5, 3));
    assert_eq!(seqs(&mut store, whole("carol", to_group("chess"))), Some(vec![3, 4, 5]));
    let mut backwards = whole("carol", to_group("chess"));
    (backwards.from_seq, backwards.backwards, backwards.limit) = (0, true, 2);
    assert_eq!(seqs(&mut store, backwards), Some(vec![4, 5]));
    let mut beyond = whole("carol", to_group("chess"));
    beyond.from_seq = 6;
    assert_eq!(seqs(&mut store, beyond), Some(vec![]));
    done(&mut store, "carol", 2, "chess", GroupChange::Join);
    assert_eq!(seqs(&mut store, whole("carol", to_group("chess"))), Some(vec![7]), "it begins anew");
    assert_eq!(seqs(&mut store, whole("alice", to_group("chess"))), Some((1..=7).collect()));
}

pub(super) fn changes_are_told_before_their_answers(open: &Open) {
    let mut store = open(Strangers::Refused);
    let steps = [
        ("carol", GroupChange::Join, Joined(group("chess")), "carol"),
        ("alice", invite("bob"), Joined(group("chess")), "bob"),
        ("alice", kick("bob"), Left(group("chess")), "bob"),
        ("carol", GroupChange::Leave, Left(group("chess")), "carol"),
    ];
    for (n, (sender, change, kind, who)) in (1..).zip(steps) {
        store.submit(change_of(sender, n, "chess", change));
        assert_eq!(store.next(), None, "the change comes first");
        let told = store.changes.remove(0);
        assert_eq!((told.user, told.kind), (user(who), kind));
        assert!(matches!(store.next(), Some((_, Answer::MessageStored(_)))));
    }
    for (n, change) in (10..).zip([GroupChange::Rename("x".into()), invite("bob"), mute("bob", 5)]) {
        done(&mut store, "alice", n, "chess", change);
    }
    assert_eq!(store.announced().len(), 1, "of who belongs to a group alone");
}

pub(super) fn what_the_directory_changes_is_in_the_log(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert!(store.set_member("chess", "bob", true));
    assert!(store.set_member("chess", "carol", true));
    assert!(store.set_member("chess", "alice", false));
    let expected = [
        (1, r#"Create { name: "chess", invite_only: false }"#),
        (2, "Join"),
        (3, "Join"),
        (4, r#"SetRole("bob", Owner)"#),
        (5, "Leave"),
    ];
    let found = changes(&mut store, "alice", "chess");
    let found: Vec<_> = found.iter().map(|(seq, change)| (*seq, &**change)).collect();
    assert_eq!(found, expected);
    assert_eq!(changes(&mut store, "carol", "chess").len(), 3);
    done(&mut store, "bob", 1, "chess", kick("carol"));
    assert!(store.set_member("chess", "bob", false));
    assert!(store.set_member("chess", "carol", true));
    assert_eq!(done(&mut store, "carol", 1, "chess", GroupChange::Rename("mine".into())), 10);
}

pub(super) fn groups_survive_a_crash(open: &Open) {
    let mut store = open(Strangers::Refused);
    done(&mut store, "carol", 1, "club", create(true));
    done(&mut store, "carol", 2, "club", invite("bob"));
    done(&mut store, "carol", 3, "club", make("bob", Role::Admin));
    store.crash();
    assert_eq!(done(&mut store, "bob", 1, "club", invite("alice")), 4);
    let again = store.ask(change_of("carol", 2, "club", invite("bob")));
    assert!(matches!(again, Answer::StoredEarlier(place) if place.seq == 2), "{again:?}");
    assert_eq!(store.load("alice").groups, [group("chess"), group("club")]);
    assert_eq!(changes(&mut store, "carol", "club").len(), 4);
}

pub(super) fn invited_strangers_come_into_being_where_they_may(open: &Open) {
    let mut store = open(Strangers::Provisioned);
    assert_eq!(done(&mut store, "zoe", 1, "club", create(false)), 1);
    assert_eq!(done(&mut store, "zoe", 2, "club", invite("yves")), 2);
    assert_eq!(done(&mut store, "xena", 1, "club", GroupChange::Join), 3);
    assert_eq!(store.load("yves").groups, [group("club")]);
    assert_eq!(store.say("yves", 1, to_group("club"), "hello"), 4);
}
