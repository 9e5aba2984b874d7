//! Bugs in what classic clients that return are sent again.

use switchboard_engine::{Answer, Canary, ConnId, Event};

use super::{Trial, chat::Chat};
use crate::harness::{group_text, heartbeat, narrows, text};

/// Alice is there, and bob has been with a classic client; what has not arrived is sent again.
fn alice(chat: &mut Chat) -> ConnId {
    chat.with(|config| config.limits.resend_messages = 10);
    let bob = chat.connects("bob");
    chat.leaves(bob);
    chat.arrives("alice")
}

fn says(chat: &mut Chat, alice: ConnId, contents: &[&str]) {
    contents.iter().for_each(|content| chat.says(alice, text("bob", content)));
}

pub(super) const TRIALS: &[Trial] = &[
    Trial {
        canary: Canary::ResendForgotten,
        chat: |chat| {
            let alice = alice(chat);
            says(chat, alice, &["one", "two"]);
            let bob = chat.connects("bob");
            chat.hears(bob)
        },
        healthy: "welcome!, one, two",
        sick: "welcome!",
    },
    Trial {
        canary: Canary::ResendsOwn,
        chat: |chat| {
            let alice = alice(chat);
            let bob = chat.connects("bob");
            says(chat, alice, &["one"]);
            chat.says(bob, text("alice", "two"));
            chat.leaves(bob);
            let bob = chat.connects("bob");
            chat.hears(bob)
        },
        healthy: "welcome!, one",
        sick: "welcome!, one, two",
    },
    Trial {
        canary: Canary::PongCountsTooMuch,
        chat: |chat| {
            let alice = alice(chat);
            let bob = chat.arrives("bob");
            says(chat, alice, &["one"]);
            chat.is_deaf(bob);
            chat.passes(10);
            says(chat, alice, &["two"]);
            chat.pongs(bob);
            chat.leaves(bob);
            let bob = chat.connects("bob");
            chat.hears(bob)
        },
        healthy: "welcome!, two",
        sick: "welcome!",
    },
    Trial {
        canary: Canary::OneDeviceIsEnough,
        chat: |chat| {
            let alice = alice(chat);
            let (phone, _laptop) = (chat.connects("bob"), chat.connects("bob"));
            chat.passes(25);
            chat.is_stuck(phone);
            says(chat, alice, &["one"]);
            chat.passes(10);
            chat.leaves(phone);
            let phone = chat.connects("bob");
            chat.hears(phone)
        },
        healthy: "welcome!, one",
        sick: "welcome!",
    },
    Trial {
        canary: Canary::LossForgotten,
        chat: |chat| {
            let alice = alice(chat);
            let (phone, _laptop) = (chat.connects("bob"), chat.connects("bob"));
            chat.passes(25);
            chat.is_stuck(phone);
            says(chat, alice, &["one"]);
            chat.leaves(phone);
            chat.passes(10);
            let phone = chat.connects("bob");
            chat.hears(phone)
        },
        healthy: "welcome!, one",
        sick: "welcome!",
    },
    Trial {
        canary: Canary::LaterLossForgotten,
        chat: |chat| {
            let alice = alice(chat);
            let (phone, laptop) = (chat.connects("bob"), chat.connects("bob"));
            chat.passes(25);
            chat.is_stuck(phone);
            chat.is_stuck(laptop);
            says(chat, alice, &["one"]);
            chat.leaves(laptop);
            chat.store.holds = true;
            let _laptop = chat.connects("bob");
            // The phone leaves while the laptop has not been sent anything yet.
            chat.leaves(phone);
            chat.store_resumes();
            chat.passes(10);
            let phone = chat.connects("bob");
            chat.hears(phone)
        },
        healthy: "welcome!, one",
        sick: "welcome!",
    },
    Trial {
        canary: Canary::FirstTakenForRead,
        chat: |chat| {
            chat.with(|config| {
                (config.limits.resend_messages, config.limits.resend_held_bytes) = (10, 0);
            });
            let bob = chat.connects("bob");
            chat.leaves(bob);
            let (laptop, phone) = (chat.arrives("alice"), chat.arrives("alice"));
            chat.store.holds = true;
            let bob = chat.connects("bob");
            chat.store_answers(0);
            let Some((ticket, request)) = chat.store.held.pop() else { return String::new() };
            let nothing_missed = Event::Answered { ticket, answer: chat.store.answer(&request) };
            chat.says(laptop, text("bob", "first"));
            chat.says(phone, text("bob", "second"));
            // The second is answered first, and is all that is read of the log.
            if chat.store.held.is_empty() {
                return String::new();
            }
            let (ticket, request) = chat.store.held.remove(0);
            let first_stored = Event::Answered { ticket, answer: chat.store.answer(&request) };
            chat.store_answers(0);
            chat.happens(nothing_missed);
            chat.happens(first_stored);
            chat.store_resumes();
            chat.hears(bob)
        },
        healthy: "welcome!, first, second",
        sick: "welcome!, second",
    },
    Trial {
        canary: Canary::LiveOvertakes,
        chat: |chat| {
            let alice = alice(chat);
            says(chat, alice, &["one"]);
            chat.store.holds = true;
            let bob = chat.connects("bob");
            chat.store_answers(0);
            says(chat, alice, &["two"]);
            chat.store_answers(1);
            chat.store_resumes();
            chat.hears(bob)
        },
        healthy: "welcome!, one, two",
        sick: "welcome!, two, one, two",
    },
    Trial {
        canary: Canary::CaughtUpTwice,
        chat: |chat| {
            let alice = alice(chat);
            says(chat, alice, &["one"]);
            chat.store.holds = true;
            let bob = chat.connects("bob");
            chat.store_answers(0);
            says(chat, alice, &["two"]);
            // It is stored and read from the log before the engine is told that it is stored.
            let Some((ticket, request)) = chat.store.held.pop() else { return String::new() };
            let answer = chat.store.answer(&request);
            chat.store_resumes();
            chat.happens(Event::Answered { ticket, answer });
            chat.hears(bob)
        },
        healthy: "welcome!, one, two",
        sick: "welcome!, one, two, two",
    },
    Trial {
        canary: Canary::ResendNotRetried,
        chat: |chat| {
            let alice = alice(chat);
            says(chat, alice, &["one"]);
            chat.store.holds = true;
            let bob = chat.connects("bob");
            chat.store_answers(0);
            chat.store_says(0, Answer::Failed);
            chat.store.holds = false;
            chat.passes(1);
            chat.hears(bob)
        },
        healthy: "welcome!, one",
        sick: "welcome!",
    },
];

/// What is beyond the limits, what cannot be read any more, and what is not stored.
pub(super) fn what_is_not_sent_again(chat: &mut Chat) {
    chat.with(|config| {
        config.limits.message_bytes = 1_024;
        narrows(config, 2_048);
        (config.limits.resend_messages, config.limits.resend_conversations) = (2, 1);
        config.limits.receipts_per_connection = 2;
    });
    chat.found("crew", &["alice", "bob"]);
    let bob = chat.connects("bob");
    chat.leaves(bob);
    let (alice, carol) = (chat.arrives("alice"), chat.arrives("carol"));
    let long = "x".repeat(700);
    says(chat, alice, &[&long, &long, &long]);
    chat.says(carol, text("bob", "hello"));
    let bob = chat.connects("bob");
    chat.is_stuck(bob);
    says(chat, alice, &["one", "two", "three"]);
    chat.leaves(bob);
    // It is read and not written, and there is no room for the next.
    says(chat, alice, &[&long, &long]);
    chat.store.holds = true;
    let bob = chat.connects("bob");
    chat.is_stuck(bob);
    chat.store_resumes();
    (0..4).for_each(|_| chat.flushes(bob));
    chat.leaves(bob);
    let bob = chat.connects("bob");
    chat.passes(60);
    chat.leaves(bob);
    // The log is another's before it is read.
    chat.says(alice, group_text("crew", "all"));
    chat.store.holds = true;
    let _ = chat.connects("bob");
    chat.store_answers(0);
    chat.store_answers(0);
    chat.store_says(0, Answer::Refused);
    chat.store_resumes();
}

/// A connection that is dead, one that takes its place, and a store that does not keep what has arrived.
pub(super) fn what_is_replaced(chat: &mut Chat) {
    let alice = alice(chat);
    let dead = chat.connects("bob");
    chat.is_stuck(dead);
    says(chat, alice, &["one"]);
    chat.passes(1);
    let _ = chat.connects("bob");
    chat.store.holds = true;
    chat.passes(10);
    chat.leaves(dead);
    while !chat.store.held.is_empty() {
        chat.store_says(0, Answer::Failed);
    }
}

/// What is sent again and waits to be written.
pub(super) fn what_waits(chat: &mut Chat) {
    chat.with(|config| {
        config.limits.message_bytes = 1_024;
        narrows(config, 2_048);
        config.limits.resend_messages = 10;
    });
    let bob = chat.connects("bob");
    chat.leaves(bob);
    let alice = chat.arrives("alice");
    let long = "x".repeat(700);
    says(chat, alice, &[&long, &long]);
    chat.store.holds = true;
    let bob = chat.connects("bob");
    chat.is_stuck(bob);
    chat.store_resumes();
}

/// What is delivered while it is asked what was missed, and there is no room for.
pub(super) fn what_is_not_held(chat: &mut Chat) {
    chat.with(|config| {
        config.limits.resend_messages = 10;
        config.limits.resend_held_bytes = 0;
    });
    let bob = chat.connects("bob");
    chat.leaves(bob);
    let alice = chat.arrives("alice");
    chat.store.holds = true;
    let _ = chat.connects("bob");
    chat.store_answers(0);
    says(chat, alice, &["one"]);
    chat.store_answers(1);
    chat.store_resumes();
}

/// A client that lives, and answers no Pings.
pub(super) fn what_is_never_answered(chat: &mut Chat) {
    let alice = alice(chat);
    let bob = chat.connects("bob");
    chat.is_deaf(bob);
    says(chat, alice, &["one"]);
    for _ in 0..8 {
        chat.passes(10);
        chat.says(bob, heartbeat());
    }
}
