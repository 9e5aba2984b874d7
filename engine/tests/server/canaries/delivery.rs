//! Bugs in who receives what, and in what the outboxes take.

use switchboard_engine::{Canary, ConnId, ServerConfig};

use super::{Trial, chat::Chat};
use crate::harness::{group_text, relayed, shout, signal, text};

const SCREEN: i32 = 9;
const DIAL: i32 = 12;

/// Room for two messages of 900 bytes, not for three.
fn narrow(config: &mut ServerConfig) {
    config.limits.message_bytes = 1024;
    crate::harness::narrows(config, 2048);
}

/// Alice, who has stopped reading, and Bob, who has sent everybody more than she has room for.
fn flooded(chat: &mut Chat) -> (ConnId, ConnId) {
    chat.with(narrow);
    let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
    chat.is_stuck(alice);
    (0..3).for_each(|_| chat.says(bob, shout(&"x".repeat(900))));
    (alice, bob)
}

/// Alice, who has stopped reading, has been sent three pictures; the first has now been written.
fn pictures(chat: &mut Chat) -> String {
    let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
    chat.is_stuck(alice);
    ["one", "two", "three"].into_iter().for_each(|content| chat.says(bob, relayed("alice", SCREEN, content)));
    chat.flushes(alice);
    chat.hears(alice)
}

/// Alice and Bob are members of a group and here.
fn crew(chat: &mut Chat) -> (ConnId, ConnId) {
    chat.found("crew", &["alice", "bob"]);
    (chat.arrives("alice"), chat.arrives("bob"))
}

pub(super) const TRIALS: &[Trial] = &[
    Trial {
        canary: Canary::OutboxUnlimited,
        chat: |chat| {
            let (alice, _) = flooded(chat);
            format!("{}, {}", chat.closed(alice), chat.verdict())
        },
        healthy: "SlowReader, sound",
        sick: "-, bounded: outbox",
    },
    Trial {
        canary: Canary::FullEndsFanOut,
        chat: |chat| {
            let (_, bob) = flooded(chat);
            chat.reads(bob).len().to_string()
        },
        healthy: "3",
        sick: "2",
    },
    Trial {
        canary: Canary::SlowReaderKept,
        chat: |chat| {
            let (alice, _) = flooded(chat);
            chat.closed(alice)
        },
        healthy: "SlowReader",
        sick: "-",
    },
    Trial {
        canary: Canary::FlushNotCounted,
        chat: |chat| {
            chat.with(narrow);
            let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
            (0..3).for_each(|_| chat.says(bob, relayed("alice", DIAL, &"x".repeat(900))));
            chat.closed(alice)
        },
        healthy: "-",
        sick: "SlowReader",
    },
    Trial { canary: Canary::HeldNeverReleased, chat: pictures, healthy: "one, three", sick: "one" },
    Trial { canary: Canary::OldestPictureWins, chat: pictures, healthy: "one, three", sick: "one, two" },
    Trial {
        canary: Canary::SecondDeviceTwice,
        chat: |chat| {
            let (_, laptop, bob) = (chat.arrives("alice"), chat.arrives("alice"), chat.arrives("bob"));
            chat.says(bob, text("alice", "hi"));
            chat.hears(laptop)
        },
        healthy: "hi",
        sick: "hi, hi",
    },
    Trial {
        canary: Canary::EchoToSender,
        chat: |chat| {
            let (alice, _) = crew(chat);
            chat.says(alice, group_text("crew", "hi"));
            chat.hears(alice)
        },
        healthy: "",
        sick: "hi",
    },
    Trial {
        canary: Canary::SenderLeftOut,
        chat: |chat| {
            let alice = chat.arrives("alice");
            chat.says(alice, shout("hi"));
            chat.hears(alice)
        },
        healthy: "hi",
        sick: "",
    },
    Trial {
        canary: Canary::GroupTakenForUser,
        chat: |chat| {
            let (alice, bob) = crew(chat);
            let namesake = chat.arrives("crew");
            chat.says(alice, group_text("crew", "hi"));
            format!("bob: {}; crew: {}", chat.hears(bob), chat.hears(namesake))
        },
        healthy: "bob: hi; crew: ",
        sick: "bob: ; crew: hi",
    },
    Trial {
        canary: Canary::FromBelieved,
        chat: |chat| {
            let (mallory, bob) = (chat.arrives("mallory"), chat.arrives("bob"));
            let mut forged = text("bob", "hi");
            forged.from = "alice".into();
            chat.says(mallory, forged);
            chat.reads(bob).into_iter().map(|message| message.from).collect()
        },
        healthy: "mallory",
        sick: "alice",
    },
    Trial {
        canary: Canary::AnyoneMaySend,
        chat: |chat| {
            let (_, bob) = crew(chat);
            let mallory = chat.arrives("mallory");
            chat.says(mallory, group_text("crew", "hi"));
            chat.hears(bob)
        },
        healthy: "",
        sick: "hi",
    },
    Trial {
        canary: Canary::GroupFormSkipped,
        chat: |chat| {
            let (alice, bob) = crew(chat);
            chat.says(alice, group_text("crew", "hi"));
            chat.reads(bob).into_iter().map(|message| message.from).collect()
        },
        healthy: "crew",
        sick: "alice",
    },
    Trial {
        canary: Canary::GroupFormKeepsFile,
        chat: |chat| {
            let (alice, bob) = crew(chat);
            let mut message = group_text("crew", "hi");
            message.file_suffix = "png".into();
            chat.says(alice, message);
            chat.reads(bob).into_iter().map(|message| message.file_suffix).collect()
        },
        healthy: "",
        sick: "png",
    },
    Trial {
        canary: Canary::SignalToEverybody,
        chat: |chat| {
            let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
            chat.says(alice, signal("", 0, "sdp"));
            chat.hears(bob)
        },
        healthy: "",
        sick: "sdp",
    },
    Trial {
        canary: Canary::CallHijacked,
        chat: |chat| {
            let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
            let mallory = chat.arrives("mallory");
            chat.says(alice, signal("bob", DIAL, "dial"));
            chat.says(bob, signal("alice", DIAL, "accept"));
            chat.says(mallory, signal("bob", DIAL, "dial"));
            chat.says(bob, signal("", 0, "secret"));
            format!("alice: {}; mallory: {}", chat.hears(alice), chat.hears(mallory))
        },
        healthy: "alice: accept, secret; mallory: ",
        sick: "alice: accept; mallory: secret",
    },
    Trial {
        canary: Canary::RingNeverEnds,
        chat: |chat| {
            let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
            chat.says(alice, signal("bob", DIAL, "dial"));
            chat.passes(61);
            chat.says(bob, signal("", 0, "late"));
            chat.hears(alice)
        },
        healthy: "",
        sick: "late",
    },
    Trial {
        canary: Canary::PublishForgotten,
        chat: |chat| {
            let alice = chat.arrives("alice");
            chat.says(alice, text("bob", "hi"));
            chat.published.len().to_string()
        },
        healthy: "2",
        sick: "0",
    },
    Trial {
        canary: Canary::OneHomeAssumed,
        chat: |chat| {
            let (alice, _) = (chat.arrives("alice"), chat.arrives("bob"));
            chat.says(alice, text("bob", "hi"));
            chat.says(alice, relayed("bob", 8, "camera"));
            chat.published.len().to_string()
        },
        healthy: "3",
        sick: "0",
    },
    Trial {
        canary: Canary::PublishedToEveryone,
        chat: |chat| {
            let alice = chat.arrives("alice");
            chat.says(alice, relayed("bob", 8, "camera"));
            chat.published.iter().map(|record| format!("{:?}", record.topic)).collect()
        },
        healthy: "User(\"bob\")",
        sick: "Everyone",
    },
    Trial {
        canary: Canary::OwnDeviceEchoed,
        chat: |chat| {
            let (phone, laptop) = (chat.arrives("alice"), chat.arrives("alice"));
            chat.says(phone, text("alice", "note"));
            format!("{}/{}", chat.hears(phone), chat.hears(laptop))
        },
        healthy: "/note",
        sick: "note/note",
    },
];
