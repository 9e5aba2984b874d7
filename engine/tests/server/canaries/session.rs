//! Bugs in what sessions are told, and in what they may ask for.

use switchboard_engine::{Answer, Canary, ConnId, Denial, Event, Note, Topic};
use switchboard_proto::v1::{client_frame::Body, group_change::Kind};

use super::{Trial, chat::Chat};
use crate::{
    harness::narrows,
    session_words::{change, edit, entry, fetch, resync, submit},
    store::user,
};

fn to(name: &str) -> Topic {
    Topic::User(user(name))
}

/// Alice with two sessions and a classic connection, and Bob with a session; one of hers has said something to him.
fn said(chat: &mut Chat) -> [ConnId; 4] {
    let conns = [chat.signs_in("alice"), chat.signs_in("alice"), chat.arrives("alice"), chat.signs_in("bob")];
    chat.submits(conns[0], 1, "bob", "hi");
    conns
}

pub(super) const TRIALS: &[Trial] = &[
    Trial {
        canary: Canary::HelloNotRequired,
        chat: |chat| {
            let alice = chat.dials("alice");
            chat.submits(alice, 1, "bob", "hi");
            format!("{}, {}", chat.sees(alice), chat.closed(alice))
        },
        healthy: ", OutOfTurn",
        sick: "accepted 1 as bob/1, -",
    },
    Trial {
        canary: Canary::AckBeforeCommit,
        chat: |chat| {
            let alice = chat.signs_in("alice");
            chat.store.holds = true;
            chat.frame(alice, submit(1, "bob", "hi"));
            chat.sees(alice)
        },
        healthy: "",
        sick: "accepted 1 as bob/0 in epoch 0",
    },
    Trial {
        canary: Canary::AckForgotten,
        chat: |chat| {
            let [alice, ..] = said(chat);
            chat.sees(alice)
        },
        healthy: "accepted 1 as bob/1",
        sick: "",
    },
    Trial {
        canary: Canary::DeliverySeqOffByOne,
        chat: |chat| {
            let [.., bob] = said(chat);
            chat.sees(bob)
        },
        healthy: "alice/1 alice: hi",
        sick: "alice/2 alice: hi",
    },
    Trial {
        canary: Canary::EpochNotTold,
        chat: |chat| {
            let [.., bob] = said(chat);
            chat.sees(bob)
        },
        healthy: "alice/1 alice: hi",
        sick: "alice/1 in epoch 0 alice: hi",
    },
    Trial {
        canary: Canary::OwnDevicesLeftOut,
        chat: |chat| {
            chat.found("crew", &["alice", "bob"]);
            let [phone, laptop, _, bob] = said(chat);
            chat.submits(phone, 2, "#crew", "all");
            format!("alice: {}; bob: {}", chat.sees(laptop), chat.sees(bob))
        },
        healthy: "alice: bob/1 alice: hi; #crew/1 alice: all; bob: alice/1 alice: hi; #crew/1 alice: all",
        sick: "alice: ; bob: alice/1 alice: hi; #crew/1 alice: all",
    },
    Trial {
        canary: Canary::OwnCopyToClassic,
        chat: |chat| {
            let [_, _, classic, _] = said(chat);
            chat.hears(classic)
        },
        healthy: "",
        sick: "hi",
    },
    Trial {
        canary: Canary::HeadsForgottenAfterLag,
        chat: |chat| {
            chat.with(|config| {
                config.limits.message_bytes = 1024;
                narrows(config, 2048);
            });
            let (alice, bob) = (chat.signs_in("alice"), chat.signs_in("bob"));
            chat.is_stuck(alice);
            (1..=2).for_each(|id| chat.submits(bob, id, "alice", &"x".repeat(700)));
            chat.sees(alice);
            chat.flushes(alice);
            chat.sees(alice)
        },
        healthy: "heads bob/2.",
        sick: "",
    },
    Trial {
        canary: Canary::EpochIgnored,
        chat: |chat| {
            let [.., bob] = said(chat);
            chat.sees(bob);
            let mut question = resync(&[("alice", 1)]);
            if let Body::Resync(resync) = &mut question {
                resync.cursors.iter_mut().for_each(|cursor| cursor.epoch += 1);
            }
            chat.frame(bob, question);
            chat.sees(bob)
        },
        healthy: "heads alice/1.",
        sick: "heads .",
    },
    Trial {
        canary: Canary::ResyncIgnored,
        chat: |chat| {
            let [.., bob] = said(chat);
            chat.sees(bob);
            chat.frame(bob, resync(&[]));
            chat.sees(bob)
        },
        healthy: "heads alice/1.",
        sick: "",
    },
    Trial {
        canary: Canary::PageOfOtherConversation,
        chat: |chat| {
            let (alice, mallory) = (chat.signs_in("alice"), chat.signs_in("mallory"));
            chat.submits(alice, 1, "alice", "my secret");
            chat.frame(mallory, fetch(1, "alice", 1));
            chat.sees(mallory)
        },
        healthy: "page 1 alice of 0: ",
        sick: "page 1 alice of 1: 1 my secret",
    },
    Trial {
        canary: Canary::EntryToClassic,
        chat: |chat| {
            let [alice, ..] = said(chat);
            let bob = chat.arrives("bob");
            chat.frame(alice, entry(2, "bob", edit(1, "hi!")));
            chat.hears(bob)
        },
        healthy: "",
        sick: "hi!",
    },
    Trial {
        canary: Canary::ConcernedLeftOut,
        chat: |chat| {
            chat.found("crew", &["alice", "bob"]);
            let (alice, bob) = (chat.signs_in("alice"), chat.signs_in("bob"));
            chat.frame(alice, entry(1, "#crew", change(Kind::Kick, "bob")));
            chat.sees(bob)
        },
        healthy: "#crew/1 alice: kicks bob",
        sick: "",
    },
    Trial {
        canary: Canary::DenialTransient,
        chat: |chat| {
            let alice = chat.signs_in("alice");
            chat.store.holds = true;
            chat.frame(alice, entry(1, "#crew", change(Kind::Kick, "bob")));
            chat.store_says(0, Answer::Denied(Denial::NotBelow));
            chat.sees(alice)
        },
        healthy: "rejected 1: forbidden",
        sick: "rejected 1: unavailable",
    },
    Trial {
        canary: Canary::NoteBelieved,
        chat: |chat| {
            chat.found("crew", &["alice"]);
            let (alice, mallory) = (chat.signs_in("alice"), chat.signs_in("mallory"));
            chat.frame(alice, entry(1, "#crew", change(Kind::Kick, "bob")));
            let misled =
                core::mem::take(&mut chat.told).into_iter().map(|note| Note { topic: to("mallory"), ..note });
            misled.for_each(|note| chat.happens(Event::Told(note)));
            chat.sees(mallory)
        },
        healthy: "",
        sick: "#crew/1 alice: kicks bob; #crew/1 alice: kicks bob",
    },
    Trial {
        canary: Canary::NoteForgotten,
        chat: |chat| {
            chat.found("crew", &["alice"]);
            let alice = chat.signs_in("alice");
            chat.frame(alice, entry(1, "#crew", change(Kind::Leave, "")));
            let topic = |note: &switchboard_engine::Note| format!("{:?}", note.topic);
            chat.told.iter().map(topic).collect::<Vec<_>>().join(", ")
        },
        healthy: r#"Group("crew"), User("alice")"#,
        sick: "",
    },
];
