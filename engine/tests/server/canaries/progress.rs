//! Bugs in marks and typing: who is told how far somebody is, and who is writing.

use switchboard_engine::{Canary, ConnId};
use switchboard_proto::v1::{Typing, client_frame::Body};

use super::{Trial, chat::Chat};
use crate::{
    harness::narrows,
    session_words::{conversation, mark, resync, typing},
};

/// Alice with two sessions, and Bob with one, who has said two things to her.
fn said(chat: &mut Chat) -> [ConnId; 3] {
    let conns = [chat.signs_in("alice"), chat.signs_in("alice"), chat.signs_in("bob")];
    (1..=2).for_each(|id| chat.submits(conns[2], id, "alice", "hi"));
    conns.iter().for_each(|conn| drop(chat.sees(*conn)));
    conns
}

/// What those three see when Alice has marked on the first.
fn marked(chat: &mut Chat) -> String {
    let [phone, laptop, bob] = said(chat);
    chat.frame(phone, mark("bob", 2, 1));
    format!("{}/{}/{}", chat.sees(phone), chat.sees(laptop), chat.sees(bob))
}

pub(super) const TRIALS: &[Trial] = &[
    Trial {
        canary: Canary::MarkToldBeforeStored,
        chat: |chat| {
            let [phone, _, bob] = said(chat);
            chat.store.holds = true;
            chat.frame(phone, mark("bob", 2, 1));
            chat.sees(bob)
        },
        healthy: "",
        sick: "alice: alice has 2, read 1",
    },
    Trial {
        canary: Canary::MarkEchoed,
        chat: marked,
        healthy: "/bob: alice has 2, read 1/alice: alice has 2, read 1",
        sick: "bob: alice has 2, read 1/bob: alice has 2, read 1/alice: alice has 2, read 1",
    },
    Trial {
        canary: Canary::MarksOwnDevicesLeftOut,
        chat: marked,
        healthy: "/bob: alice has 2, read 1/alice: alice has 2, read 1",
        sick: "//alice: alice has 2, read 1",
    },
    Trial {
        canary: Canary::MarksNotTold,
        chat: marked,
        healthy: "/bob: alice has 2, read 1/alice: alice has 2, read 1",
        sick: "/bob: alice has 2, read 1/",
    },
    Trial {
        canary: Canary::GroupMarksTold,
        chat: |chat| {
            chat.found("crew", &["alice", "bob"]);
            let [phone, _, bob] = said(chat);
            chat.submits(bob, 3, "#crew", "all");
            chat.sees(bob);
            chat.frame(phone, mark("#crew", 1, 1));
            chat.sees(bob)
        },
        healthy: "",
        sick: "#crew: alice has 1, read 1",
    },
    Trial {
        canary: Canary::WaitingMarkLost,
        chat: |chat| {
            let [phone, _, bob] = said(chat);
            chat.store.holds = true;
            (1..=2).for_each(|seq| chat.frame(phone, mark("bob", seq, 0)));
            chat.store_resumes();
            chat.sees(bob)
        },
        healthy: "alice: alice has 1, read 0; alice: alice has 2, read 0",
        sick: "alice: alice has 1, read 0",
    },
    Trial {
        canary: Canary::MarksUnlimited,
        chat: |chat| {
            chat.with(|config| config.limits.marks_per_connection = 1);
            let [phone, ..] = said(chat);
            chat.store.holds = true;
            ["bob", "carol"].iter().for_each(|of| chat.frame(phone, mark(of, 1, 0)));
            format!("{}, {}", chat.store.held.len(), chat.verdict())
        },
        healthy: "1, sound",
        sick: "2, bounded: marks of a session",
    },
    Trial {
        canary: Canary::MarksLeftOutOfHeads,
        chat: |chat| {
            let [phone, laptop, bob] = said(chat);
            chat.frame(phone, mark("bob", 2, 1));
            [laptop, bob].iter().for_each(|conn| drop(chat.sees(*conn)));
            chat.frame(bob, resync(&[("alice", 2)]));
            chat.sees(bob)
        },
        healthy: "heads alice/2 (peer has 2, read 1).",
        sick: "heads .",
    },
    Trial {
        canary: Canary::TypingUnchecked,
        chat: |chat| {
            chat.found("crew", &["alice", "bob"]);
            let (bob, mallory) = (chat.signs_in("bob"), chat.signs_in("mallory"));
            chat.frame(mallory, typing("#crew", true));
            chat.sees(bob)
        },
        healthy: "",
        sick: "#crew: mallory types",
    },
    Trial {
        canary: Canary::TypingBelieved,
        chat: |chat| {
            let (bob, mallory) = (chat.signs_in("bob"), chat.signs_in("mallory"));
            let conversation = Some(conversation("bob"));
            chat.frame(mallory, Body::Typing(Typing { conversation, typing: true, user: "alice".into() }));
            chat.sees(bob)
        },
        healthy: "mallory: mallory types",
        sick: "alice: alice types",
    },
    Trial {
        canary: Canary::TypingEchoed,
        chat: |chat| {
            chat.found("crew", &["alice", "bob"]);
            let [phone, laptop, _] = said(chat);
            chat.frame(phone, typing("#crew", true));
            chat.sees(laptop)
        },
        healthy: "",
        sick: "#crew: alice types",
    },
    Trial {
        canary: Canary::TypingMakesLag,
        chat: |chat| {
            chat.with(|config| {
                config.limits.message_bytes = 1024;
                narrows(config, 2048);
            });
            let [phone, _, bob] = said(chat);
            chat.is_stuck(bob);
            (0..20).for_each(|_| chat.frame(phone, typing("bob", true)));
            chat.server.gauges().lagging.to_string()
        },
        healthy: "0",
        sick: "1",
    },
];
