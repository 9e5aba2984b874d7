//! Bugs in who is told who is here.

use switchboard_engine::{Canary, ConnId, Topic};
use switchboard_proto::{
    Message as _,
    v1::{self, NotedPresence, note},
};

use super::{Trial, chat::Chat};
use crate::{session_words::watch, store::user};

/// Alice, who watches Bob of her crew, and Bob.
fn watched(chat: &mut Chat) -> [ConnId; 2] {
    chat.found("crew", &["alice", "bob"]);
    let conns = [chat.signs_in("alice"), chat.signs_in("bob")];
    chat.frame(conns[0], watch(&["bob"]));
    chat.sees(conns[0]);
    conns
}

/// Another engine says or asks this of a user.
pub(super) fn noted(chat: &mut Chat, topic: Topic, noted: NotedPresence) {
    let note = v1::Note { body: Some(note::Body::Presence(noted)) };
    chat.bus_tells(topic, note.encode_to_vec());
}

pub(super) fn says(chat: &mut Chat, who: &str, online: bool) {
    let topic = Topic::Presence(user(who));
    noted(chat, topic, NotedPresence { user: who.into(), online, ..NotedPresence::default() });
}

pub(super) const TRIALS: &[Trial] = &[
    Trial {
        canary: Canary::PresenceWithoutGrace,
        chat: |chat| {
            chat.with(|config| (config.presence, config.peers) = (true, false));
            let [alice, bob] = watched(chat);
            chat.leaves(bob);
            chat.passes(9);
            chat.sees(alice)
        },
        healthy: "",
        sick: "bob is here: false, last at 9000",
    },
    Trial {
        canary: Canary::PresenceBackIgnored,
        chat: |chat| {
            chat.with(|config| (config.presence, config.peers) = (true, false));
            let [alice, bob] = watched(chat);
            chat.leaves(bob);
            chat.passes(9);
            chat.signs_in("bob");
            chat.passes(9);
            chat.sees(alice)
        },
        healthy: "",
        sick: "bob is here: false, last at 9000",
    },
    Trial {
        canary: Canary::PresenceLeftForgotten,
        chat: |chat| {
            chat.with(|config| config.presence = true);
            let [alice, bob] = watched(chat);
            chat.leaves(bob);
            chat.passes(13);
            chat.sees(alice)
        },
        healthy: "bob is here: false, last at 9000",
        sick: "",
    },
    Trial {
        canary: Canary::PresenceToStrangers,
        chat: |chat| {
            chat.with(|config| config.presence = true);
            let (mallory, _) = (chat.signs_in("mallory"), chat.signs_in("bob"));
            chat.frame(mallory, watch(&["bob"]));
            chat.sees(mallory)
        },
        healthy: "bob is not here",
        sick: "bob is here",
    },
    Trial {
        canary: Canary::PresenceStaysSubscribed,
        chat: |chat| {
            chat.with(|config| config.presence = true);
            let [alice, _] = watched(chat);
            chat.frame(alice, watch(&[]));
            chat.topics()
        },
        healthy: r#"User("alice"), User("bob"), Group("crew")"#,
        sick: r#"User("alice"), User("bob"), Group("crew"), Presence("bob")"#,
    },
    Trial {
        canary: Canary::PresenceQuestionIgnored,
        chat: |chat| {
            chat.with(|config| config.presence = true);
            chat.signs_in("bob");
            chat.told.clear();
            let question = NotedPresence { user: "bob".into(), question: true, ..NotedPresence::default() };
            noted(chat, Topic::User(user("bob")), question);
            chat.told.len().to_string()
        },
        healthy: "1",
        sick: "0",
    },
    Trial {
        canary: Canary::PresenceHintBelieved,
        chat: |chat| {
            chat.with(|config| config.presence = true);
            chat.found("crew", &["alice", "bob"]);
            let alice = chat.signs_in("alice");
            chat.frame(alice, watch(&["bob"]));
            [true, false, true].into_iter().for_each(|online| says(chat, "bob", online));
            chat.sees(alice)
        },
        healthy: "bob is here",
        sick: "bob is here; bob is not here; bob is here",
    },
    Trial {
        canary: Canary::PresenceSilenceBelieved,
        chat: |chat| {
            chat.with(|config| config.presence = true);
            chat.found("crew", &["alice", "bob"]);
            let alice = chat.signs_in("alice");
            chat.frame(alice, watch(&["bob"]));
            says(chat, "bob", true);
            chat.passes(200);
            chat.sees(alice)
        },
        healthy: "bob is here; bob is not here",
        sick: "bob is here",
    },
    Trial {
        canary: Canary::PresenceLostInLag,
        chat: |chat| {
            chat.with(|config| (config.presence, config.limits.lag_bytes) = (true, 1_024));
            chat.found("crew", &["alice", "bob", "carol"]);
            let [alice, bob] = watched(chat);
            chat.frame(alice, watch(&["bob", "carol"]));
            chat.passes(3);
            chat.is_stuck(alice);
            (1..=2).for_each(|id| chat.submits(bob, id, "alice", &"x".repeat(700)));
            chat.sees(alice);
            chat.signs_in("carol");
            chat.flushes(alice);
            chat.sees(alice)
        },
        healthy: "carol is here; heads bob/2.",
        sick: "heads bob/2.",
    },
    Trial {
        canary: Canary::SeenNotStored,
        chat: |chat| {
            chat.with(|config| config.presence = true);
            let [_, bob] = watched(chat);
            chat.leaves(bob);
            chat.passes(10);
            format!("{:?}", chat.store.seen)
        },
        healthy: r#"{"bob"}"#,
        sick: "{}",
    },
    Trial {
        canary: Canary::WatchAdds,
        chat: |chat| {
            chat.with(|config| config.presence = true);
            let [alice, _] = watched(chat);
            chat.frame(alice, watch(&["carol"]));
            chat.server.gauges().watches.to_string()
        },
        healthy: "1",
        sick: "2",
    },
    Trial {
        canary: Canary::WatchUnlimited,
        chat: |chat| {
            chat.with(|config| (config.presence, config.limits.watches) = (true, 1));
            let alice = chat.signs_in("alice");
            chat.frame(alice, watch(&["bob", "carol"]));
            format!("{}, {}", chat.server.gauges().watches, chat.verdict())
        },
        healthy: "1, sound",
        sick: "2, bounded: users that a session watches",
    },
];
