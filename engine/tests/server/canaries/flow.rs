//! Bugs in what keeps storms and greedy users within bounds.

use switchboard_engine::{Canary, Event, ServerConfig};

use super::{Trial, chat::Chat};
use crate::{
    harness::{secs, shout, text},
    session_words::{hello_of, submit},
};

/// One connection a second, and one at once.
fn one_by_one(config: &mut ServerConfig) {
    (config.limits.admissions_per_second, config.limits.admission_burst) = (1, 1);
}

/// Two messages of a user at once, and then one a second.
fn two_of_a_user(config: &mut ServerConfig) {
    (config.limits.user_messages_per_second, config.limits.user_message_burst) = (1, 2);
}

/// Alice says three things over two connections.
fn says_three(chat: &mut Chat) -> String {
    chat.with(two_of_a_user);
    let conns = [chat.arrives("alice"), chat.arrives("alice")];
    [0, 1, 1].into_iter().for_each(|which: usize| chat.says(conns[which], shout("hi")));
    format!("{} {}", chat.closed(conns[0]), chat.closed(conns[1]))
}

pub(super) const TRIALS: &[Trial] = &[
    Trial { canary: Canary::UserRateUnlimited, chat: says_three, healthy: "- TooManyMessages", sick: "- -" },
    Trial {
        canary: Canary::UserRatePerConnection,
        chat: |chat| {
            chat.with(|config| {
                (config.limits.user_bytes_per_second, config.limits.user_byte_burst) = (1, 1_024);
                config.limits.message_bytes = 1_024;
            });
            let conns = [chat.arrives("alice"), chat.arrives("alice")];
            conns.iter().for_each(|conn| chat.says(*conn, shout(&"x".repeat(600))));
            format!("{} {}", chat.closed(conns[0]), chat.closed(conns[1]))
        },
        healthy: "- TooManyBytes",
        sick: "- -",
    },
    Trial {
        canary: Canary::DeviceNotReplaced,
        chat: |chat| {
            let (old, new) = (chat.dials("alice"), chat.dials("alice"));
            chat.frame(old, hello_of(1));
            chat.frame(new, hello_of(1));
            format!("{} {}", chat.closed(old), chat.closed(new))
        },
        healthy: "TakenOver -",
        sick: "- -",
    },
    Trial {
        canary: Canary::DeviceReplacedAny,
        chat: |chat| {
            let (phone, laptop) = (chat.dials("alice"), chat.dials("alice"));
            chat.frame(phone, hello_of(1));
            chat.frame(laptop, hello_of(2));
            format!("{} {}", chat.closed(phone), chat.closed(laptop))
        },
        healthy: "- -",
        sick: "TakenOver -",
    },
    Trial {
        canary: Canary::LateHelloTakesOver,
        chat: |chat| {
            let (given_up, new) = (chat.dials("alice"), chat.dials("alice"));
            chat.frame(new, hello_of(1));
            chat.frame(given_up, hello_of(1));
            format!("{} {}", chat.closed(given_up), chat.closed(new))
        },
        healthy: "TakenOver -",
        sick: "- TakenOver",
    },
    Trial {
        canary: Canary::AdmissionUnlimited,
        chat: |chat| {
            chat.with(one_by_one);
            let conns = [chat.arrives("alice"), chat.arrives("bob")];
            format!("{} {}, {} asked", chat.closed(conns[0]), chat.closed(conns[1]), chat.store.asked)
        },
        healthy: "- NotAdmitted, 1 asked",
        sick: "- -, 2 asked",
    },
    Trial {
        canary: Canary::AdmissionSamePlace,
        chat: |chat| {
            chat.with(one_by_one);
            chat.arrives("alice");
            let conns = [chat.dials("bob"), chat.dials("carol")];
            format!("{}; {}", chat.sees(conns[0]), chat.sees(conns[1]))
        },
        healthy: "goodbye, 1000 ms; goodbye, 2000 ms",
        sick: "goodbye, 1000 ms; goodbye, 1000 ms",
    },
    Trial {
        canary: Canary::DrainAtOnce,
        chat: |chat| {
            chat.with(|config| config.drain_time = secs(20));
            let conns = [chat.arrives("alice"), chat.arrives("bob")];
            chat.happens(Event::Shutdown);
            format!("{} {}", chat.closed(conns[0]), chat.closed(conns[1]))
        },
        healthy: "GoingAway -",
        sick: "GoingAway GoingAway",
    },
    Trial {
        canary: Canary::EarlierDeliveredAgain,
        chat: |chat| {
            let (alice, bob) = (chat.signs_in("alice"), chat.arrives("bob"));
            (0..2).for_each(|_| chat.frame(alice, submit(1, "bob", "hi")));
            format!("{}; bob: {}", chat.sees(alice), chat.hears(bob))
        },
        healthy: "accepted 1 as bob/1; accepted 1 as bob/1; bob: hi",
        sick: "accepted 1 as bob/1; accepted 1 as bob/1; bob: hi, hi",
    },
    Trial {
        canary: Canary::EarlierNotTold,
        chat: |chat| {
            let alice = chat.signs_in("alice");
            chat.frame(alice, submit(1, "bob", "hi"));
            let bob = chat.signs_in("bob");
            chat.frame(alice, submit(1, "bob", "hi"));
            chat.sees(bob)
        },
        healthy: "heads alice/1",
        sick: "",
    },
];

/// A storm that is so long that nobody is promised a place at its end.
pub(super) fn a_storm(chat: &mut Chat) {
    chat.with(one_by_one);
    for number in 0..400 {
        chat.connects(&format!("user-{number}"));
    }
}

/// All three rates of a user.
pub(super) fn a_greedy_user(chat: &mut Chat) {
    chat.with(two_of_a_user);
    let alice = chat.arrives("alice");
    (0..3).for_each(|_| chat.says(alice, text("bob", "hi")));
}
