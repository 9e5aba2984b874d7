//! Bugs in calls between sessions.

use switchboard_engine::{Canary, ConnId, Topic};
use switchboard_proto::{
    Message as _,
    v1::{self, NotedCall, call::Kind, note},
};

use super::{Trial, chat::Chat};
use crate::{
    session_words::{call, hello_of, signal},
    store::user,
};

/// A device of this number signs in.
pub(super) fn device(chat: &mut Chat, name: &str, number: u8) -> ConnId {
    let conn = chat.dials(name);
    chat.frame(conn, hello_of(number));
    chat.sees(conn);
    conn
}

/// Alice, Bob with two devices, and Carol, all of one crew.
pub(super) fn crew(chat: &mut Chat) -> [ConnId; 4] {
    chat.with(|config| config.peers = false);
    chat.found("crew", &["alice", "bob", "carol"]);
    [("alice", 1), ("bob", 2), ("bob", 3), ("carol", 4)].map(|(name, number)| device(chat, name, number))
}

/// Alice and Bob's first device talk.
fn talking(chat: &mut Chat) -> [ConnId; 4] {
    let all = crew(chat);
    chat.frame(all[0], call(Kind::Ring, 1, "bob"));
    chat.frame(all[1], call(Kind::Accept, 1, "alice"));
    all.iter().for_each(|conn| drop(chat.sees(*conn)));
    all
}

/// Another engine says this of the call of this number to a user.
pub(super) fn noted(chat: &mut Chat, kind: Kind, id: u8, from: &str, to: &str, taken_by: &'static [u8]) {
    let (call_id, kind) = (vec![id; 16].into(), kind.into());
    let signal = v1::Call { call_id, user: to.into(), kind, ..v1::Call::default() };
    let noted = NotedCall { from: from.into(), call: Some(signal), taken_by: taken_by.into(), alive: false };
    let note = v1::Note { body: Some(note::Body::Call(noted)) };
    chat.bus_tells(Topic::User(user(to)), note.encode_to_vec());
}

pub(super) const TRIALS: &[Trial] = &[
    Trial {
        canary: Canary::AnybodyRings,
        chat: |chat| {
            chat.with(|config| config.peers = false);
            let (mallory, bob) = (chat.signs_in("mallory"), chat.signs_in("bob"));
            chat.frame(mallory, call(Kind::Ring, 1, "bob"));
            format!("{}, {}", chat.sees(mallory), chat.sees(bob))
        },
        healthy: "call 1 with bob: over: unreachable, ",
        sick: ", call 1 with mallory: ring",
    },
    Trial {
        canary: Canary::OneDeviceRings,
        chat: |chat| {
            let [alice, _, laptop, _] = crew(chat);
            chat.frame(alice, call(Kind::Ring, 1, "bob"));
            chat.sees(laptop)
        },
        healthy: "call 1 with alice: ring",
        sick: "",
    },
    Trial {
        canary: Canary::EveryDeviceTakes,
        chat: |chat| {
            let [alice, phone, laptop, _] = crew(chat);
            chat.frame(alice, call(Kind::Ring, 1, "bob"));
            chat.frame(phone, call(Kind::Accept, 1, "alice"));
            chat.sees(laptop)
        },
        healthy: "call 1 with alice: ring; call 1 with alice: over: elsewhere",
        sick: "call 1 with alice: ring",
    },
    Trial {
        canary: Canary::BusyIgnored,
        chat: |chat| {
            let [alice, _, _, carol] = talking(chat);
            chat.frame(carol, call(Kind::Ring, 2, "bob"));
            format!("{}, {}", chat.sees(alice), chat.sees(carol))
        },
        healthy: ", call 2 with bob: over: busy",
        sick: "call 1 with bob: over: busy, ",
    },
    Trial {
        canary: Canary::GlareLargerWins,
        chat: |chat| {
            let [alice, bob, _, _] = crew(chat);
            chat.frame(alice, call(Kind::Ring, 1, "bob"));
            chat.sees(bob);
            chat.frame(bob, call(Kind::Ring, 2, "alice"));
            format!("{}, {}", chat.sees(alice), chat.sees(bob))
        },
        healthy: ", call 2 with alice: over: busy",
        sick: "call 1 with bob: over: busy; call 2 with bob: ring, call 1 with alice: over: busy",
    },
    Trial {
        canary: Canary::SignalBeforeAccept,
        chat: |chat| {
            let [_, phone, laptop, _] = talking(chat);
            let alice = device(chat, "alice", 8);
            chat.frame(alice, signal(1, "not mine"));
            format!("{}, {}{}", chat.sees(alice), chat.sees(phone), chat.sees(laptop))
        },
        healthy: "call 1 with : over: no such call, ",
        sick: ", call 1 with alice: signal not mine",
    },
    Trial {
        canary: Canary::CallRingsForEver,
        chat: |chat| {
            let [alice, ..] = crew(chat);
            chat.frame(alice, call(Kind::Ring, 1, "bob"));
            chat.passes(65);
            chat.sees(alice)
        },
        healthy: "call 1 with bob: over: timed out",
        sick: "",
    },
    Trial {
        canary: Canary::CallWithoutGrace,
        chat: |chat| {
            let [alice, phone, ..] = talking(chat);
            chat.leaves(phone);
            chat.sees(alice)
        },
        healthy: "",
        sick: "call 1 with bob: over: peer gone",
    },
    Trial {
        canary: Canary::CallNotResumed,
        chat: |chat| {
            let [_, phone, ..] = talking(chat);
            chat.leaves(phone);
            let phone = chat.dials("bob");
            chat.frame(phone, hello_of(2));
            chat.sees(phone)
        },
        healthy: "welcome bob; call 1 with alice: accept; heads .",
        sick: "welcome bob; heads .",
    },
    Trial {
        canary: Canary::CallSilenceIgnored,
        chat: |chat| {
            chat.found("crew", &["alice", "bob"]);
            let bob = device(chat, "bob", 1);
            noted(chat, Kind::Ring, 1, "alice", "bob", b"");
            chat.passes(30);
            chat.sees(bob)
        },
        healthy: "call 1 with alice: ring; call 1 with alice: over: peer gone",
        sick: "call 1 with alice: ring",
    },
    Trial {
        canary: Canary::CallNotNoted,
        chat: |chat| {
            chat.found("crew", &["alice", "bob"]);
            let alice = chat.signs_in("alice");
            chat.frame(alice, call(Kind::Ring, 1, "bob"));
            chat.told.len().to_string()
        },
        healthy: "1",
        sick: "0",
    },
];
