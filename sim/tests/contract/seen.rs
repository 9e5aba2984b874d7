//! When users were last here.

use switchboard_engine::{Answer, Request};

use super::bench::Bench;
use super::sides::Strangers;
use super::store::Open;
use super::{to_group, to_user, user};

const SEEN: Answer = Answer::Seen { at_ms: Some(0) };
const NEVER_SEEN: Answer = Answer::Seen { at_ms: None };

fn leaves(store: &mut Bench, who: &str) -> Answer {
    store.ask(Request::StoreSeen(user(who)))
}

fn asks(store: &mut Bench, watcher: &str, about: &str) -> Answer {
    store.ask(Request::LoadSeen { watcher: user(watcher), user: user(about) })
}

pub(super) fn when_a_user_was_last_here_is_kept(open: &Open) {
    let mut store = open(Strangers::Refused);
    assert_eq!(asks(&mut store, "alice", "alice"), NEVER_SEEN);
    assert_eq!(leaves(&mut store, "alice"), SEEN);
    assert_eq!(asks(&mut store, "alice", "alice"), SEEN);
    store.crash();
    assert_eq!(asks(&mut store, "alice", "alice"), SEEN);
    assert_eq!(leaves(&mut store, "alice"), SEEN);
    let times = &store.seen_at_ms;
    assert_eq!((times.len(), times[0], times[1]), (4, times[1], times[2]), "{times:?}");
    assert!(times[3] >= times[2], "{times:?}");
}

pub(super) fn who_has_something_in_common_with_a_user_may_know_when_it_was_here(open: &Open) {
    let mut store = open(Strangers::Refused);
    leaves(&mut store, "alice");
    for watcher in ["bob", "carol"] {
        assert_eq!(asks(&mut store, watcher, "alice"), Answer::Refused);
    }
    // They have talked, in whichever direction.
    store.say("alice", 1, to_user("bob"), "hello");
    assert_eq!(asks(&mut store, "bob", "alice"), SEEN);
    assert_eq!(asks(&mut store, "alice", "bob"), NEVER_SEEN);
    // They are in a group together, and as long as they are.
    store.say("carol", 1, to_user("carol"), "a note to myself");
    store.say("alice", 2, to_group("chess"), "e4");
    assert_eq!(asks(&mut store, "carol", "alice"), Answer::Refused);
    assert!(store.set_member("chess", "carol", true));
    assert_eq!(asks(&mut store, "carol", "alice"), SEEN);
    assert_eq!(asks(&mut store, "alice", "carol"), NEVER_SEEN);
    assert_eq!(asks(&mut store, "carol", "bob"), Answer::Refused);
    assert!(store.set_member("chess", "carol", false));
    assert_eq!(asks(&mut store, "carol", "alice"), Answer::Refused);
}

pub(super) fn of_users_who_are_not_there_nothing_is_kept_or_told(open: &Open) {
    for strangers in [Strangers::Refused, Strangers::Provisioned] {
        let mut store = open(strangers);
        assert_eq!(leaves(&mut store, "nobody"), Answer::Refused);
        assert_eq!(asks(&mut store, "alice", "nobody"), Answer::Refused);
        assert_eq!(asks(&mut store, "nobody", "alice"), Answer::Refused);
        assert_eq!(asks(&mut store, "nobody", "nobody"), Answer::Refused);
    }
}
