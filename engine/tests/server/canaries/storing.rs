//! Bugs on the way through the store.

use std::collections::BTreeSet;

use switchboard_engine::{Answer, Canary, ConnId};

use super::{Trial, chat::Chat};
use crate::{
    harness::{text, upload},
    store::stored,
};

/// Alice has sent Bob texts that the store has not answered for.
fn unanswered(chat: &mut Chat, texts: &[&str]) -> (ConnId, ConnId) {
    let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
    chat.store.holds = true;
    texts.iter().for_each(|content| chat.says(alice, text("bob", content)));
    (alice, bob)
}

/// The store answers for the second of two texts first.
fn answered_in_reverse(chat: &mut Chat) -> String {
    let (_, bob) = unanswered(chat, &["one", "two"]);
    chat.store_says(1, stored(2));
    chat.store_says(0, stored(1));
    chat.hears(bob)
}

pub(super) const TRIALS: &[Trial] = &[
    Trial {
        canary: Canary::FailedSaveDelivered,
        chat: |chat| {
            let (_, bob) = unanswered(chat, &["hi"]);
            chat.store_says(0, Answer::Failed);
            chat.hears(bob)
        },
        healthy: "",
        sick: "hi",
    },
    Trial {
        canary: Canary::DeliveredBeforeStored,
        chat: |chat| {
            let (_, bob) = unanswered(chat, &["hi"]);
            chat.hears(bob)
        },
        healthy: "",
        sick: "hi",
    },
    Trial {
        canary: Canary::PendingUnlimited,
        chat: |chat| {
            chat.with(|config| config.limits.pending_per_connection = 1);
            let (alice, _) = unanswered(chat, &["one", "two"]);
            chat.closed(alice)
        },
        healthy: "TooManyPending",
        sick: "-",
    },
    Trial { canary: Canary::AnswerOrder, chat: answered_in_reverse, healthy: "one, two", sick: "two, one" },
    Trial { canary: Canary::BatchLosesLast, chat: answered_in_reverse, healthy: "one, two", sick: "one" },
    Trial {
        canary: Canary::PipelineDiesWithSender,
        chat: |chat| {
            let (alice, bob) = unanswered(chat, &["hi"]);
            chat.leaves(alice);
            chat.store_resumes();
            chat.hears(bob)
        },
        healthy: "hi",
        sick: "",
    },
    Trial {
        canary: Canary::FileOvertaken,
        chat: |chat| {
            let (alice, _) = unanswered(chat, &[]);
            chat.says(alice, upload("bob", "one", "png"));
            chat.says(alice, text("bob", "two"));
            // The file, unless the text has overtaken it; then all in the order in which it was asked.
            chat.store_answers(chat.store.held.len() - 1);
            chat.store_resumes();
            chat.store.texts().join(", ")
        },
        healthy: "one, two",
        sick: "two, one",
    },
    Trial {
        canary: Canary::MessageIdReused,
        chat: |chat| {
            let alice = chat.arrives("alice");
            (0..3).for_each(|_| chat.says(alice, text("bob", "again")));
            let ids: BTreeSet<_> = chat.store.log.iter().map(|message| message.id).collect();
            ids.len().to_string()
        },
        healthy: "3",
        sick: "1",
    },
    Trial {
        canary: Canary::RequestTimeoutForgotten,
        chat: |chat| {
            let (_, bob) = unanswered(chat, &["one", "two"]);
            chat.store_says(1, stored(2));
            chat.passes(60);
            chat.hears(bob)
        },
        healthy: "two",
        sick: "",
    },
];
