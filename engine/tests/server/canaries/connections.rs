//! Bugs in how connections begin and end.

use bytes::Bytes;
use switchboard_engine::{Canary, ConnId, DevicePolicy, Event};

use super::Trial;
use crate::harness::{heartbeat, relayed, shout, text};

pub(super) const TRIALS: &[Trial] = &[
    Trial {
        canary: Canary::StaleDisconnect,
        chat: |chat| {
            let bob = chat.arrives("bob");
            let (old, new) = (ConnId::new(9, 1), ConnId::new(9, 2));
            chat.connects_as("alice", old);
            chat.leaves(old);
            chat.connects_as("alice", new);
            chat.leaves(old);
            chat.says(bob, text("alice", "hi"));
            chat.hears(new)
        },
        healthy: "welcome!, hi",
        sick: "welcome!",
    },
    Trial {
        canary: Canary::DetachByUser,
        chat: |chat| {
            let (phone, laptop, bob) = (chat.arrives("alice"), chat.arrives("alice"), chat.arrives("bob"));
            chat.leaves(phone);
            chat.says(bob, text("alice", "hi"));
            chat.hears(laptop)
        },
        healthy: "hi",
        sick: "",
    },
    Trial {
        canary: Canary::TakeoverClosesNewest,
        chat: |chat| {
            chat.with(|config| config.devices = DevicePolicy::NewestWins);
            let (old, new) = (chat.arrives("alice"), chat.arrives("alice"));
            format!("{} {}", chat.closed(old), chat.closed(new))
        },
        healthy: "TakenOver -",
        sick: "- TakenOver",
    },
    Trial {
        canary: Canary::TakeoverForgotten,
        chat: |chat| {
            chat.with(|config| config.limits.connections_per_user = 1);
            let (old, new) = (chat.arrives("alice"), chat.arrives("alice"));
            format!("{} {}", chat.closed(old), chat.closed(new))
        },
        healthy: "TooManyDevices -",
        sick: "- -",
    },
    Trial {
        canary: Canary::WelcomeBeforeLoad,
        chat: |chat| {
            chat.store.holds = true;
            let alice = chat.connects("alice");
            chat.hears(alice)
        },
        healthy: "",
        sick: "welcome!",
    },
    Trial {
        canary: Canary::EarlyReversed,
        chat: |chat| {
            chat.store.holds = true;
            let alice = chat.connects("alice");
            chat.says(alice, shout("one"));
            chat.says(alice, shout("two"));
            chat.store_resumes();
            chat.hears(alice)
        },
        healthy: "welcome!, one, two",
        sick: "welcome!, two, one",
    },
    Trial {
        canary: Canary::EarlyLost,
        chat: |chat| {
            let bob = chat.arrives("bob");
            chat.store.holds = true;
            let alice = chat.connects("alice");
            chat.says(alice, text("bob", "hi"));
            chat.leaves(alice);
            chat.store_resumes();
            chat.hears(bob)
        },
        healthy: "hi",
        sick: "",
    },
    Trial {
        canary: Canary::IdleNeverReaped,
        chat: |chat| {
            let alice = chat.arrives("alice");
            chat.is_stuck(alice);
            chat.passes(600);
            chat.closed(alice)
        },
        healthy: "Idle",
        sick: "-",
    },
    Trial {
        canary: Canary::PongIsNoLife,
        chat: |chat| {
            let alice = chat.arrives("alice");
            chat.passes(600);
            chat.closed(alice)
        },
        healthy: "-",
        sick: "Idle",
    },
    Trial {
        canary: Canary::DeadlineLeaked,
        chat: |chat| {
            let alice = chat.arrives("alice");
            chat.leaves(alice);
            chat.verdict()
        },
        healthy: "sound",
        sick: "bounded: timers belong to something",
    },
    Trial {
        canary: Canary::AbortForgotten,
        chat: |chat| {
            let alice = chat.arrives("alice");
            chat.is_stuck(alice);
            chat.babbles(alice);
            chat.passes(5);
            chat.aborted(alice)
        },
        healthy: "true",
        sick: "false",
    },
    Trial {
        canary: Canary::DetachForgotten,
        chat: |chat| {
            let alice = chat.arrives("alice");
            chat.is_stuck(alice);
            chat.babbles(alice);
            chat.verdict()
        },
        healthy: "sound",
        sick: "takeover: a user's connections are open",
    },
    Trial {
        canary: Canary::HeldAfterClose,
        chat: |chat| {
            let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
            chat.is_stuck(alice);
            chat.says(bob, relayed("alice", 9, "one"));
            chat.says(bob, relayed("alice", 9, "two"));
            chat.babbles(alice);
            chat.flushes(alice);
            chat.hears(alice)
        },
        healthy: "one",
        sick: "one, two",
    },
    Trial {
        canary: Canary::MembershipKept,
        chat: |chat| {
            chat.found("crew", &["alice"]);
            let alice = chat.arrives("alice");
            chat.leaves(alice);
            chat.verdict()
        },
        healthy: "sound",
        sick: "no-leak: a group's members belong to it",
    },
    Trial {
        canary: Canary::StoppedEarly,
        chat: |chat| {
            let alice = chat.arrives("alice");
            chat.store.holds = true;
            chat.says(alice, text("bob", "hi"));
            chat.happens(Event::Shutdown);
            let early = chat.stopped;
            chat.store_resumes();
            format!("{early} {}", chat.stopped)
        },
        healthy: "false true",
        sick: "true true",
    },
    Trial {
        canary: Canary::RateUnlimited,
        chat: |chat| {
            chat.with(|config| config.limits.message_burst = 2);
            let alice = chat.arrives("alice");
            (0..3).for_each(|_| chat.says(alice, heartbeat()));
            chat.closed(alice)
        },
        healthy: "TooManyMessages",
        sick: "-",
    },
    Trial {
        canary: Canary::PingsUnlimited,
        chat: |chat| {
            chat.with(|config| config.limits.message_burst = 2);
            let alice = chat.arrives("alice");
            let ping = || Event::Ping { conn: alice, payload: Bytes::new() };
            (0..3).for_each(|_| chat.happens(ping()));
            chat.closed(alice)
        },
        healthy: "TooManyMessages",
        sick: "-",
    },
    Trial {
        canary: Canary::RateNeverRecovers,
        chat: |chat| {
            chat.with(|config| config.limits.message_burst = 2);
            let alice = chat.arrives("alice");
            for _ in 0..3 {
                chat.says(alice, heartbeat());
                chat.passes(1);
            }
            chat.closed(alice)
        },
        healthy: "-",
        sick: "TooManyMessages",
    },
    Trial {
        canary: Canary::PingPositionWrong,
        chat: |chat| {
            let alice = chat.arrives("alice");
            chat.passes(30);
            format!("{:?}", chat.pings(alice))
        },
        healthy: "[1]",
        sick: "[2]",
    },
    Trial {
        canary: Canary::AbortedAtOnce,
        chat: |chat| {
            let alice = chat.arrives("alice");
            chat.is_stuck(alice);
            chat.babbles(alice);
            chat.passes(4);
            chat.aborted(alice)
        },
        healthy: "false",
        sick: "true",
    },
    Trial {
        canary: Canary::AcceptsWhileStopping,
        chat: |chat| {
            let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
            chat.store.holds = true;
            chat.says(alice, text("bob", "before"));
            chat.happens(Event::Shutdown);
            chat.says(alice, text("bob", "after"));
            chat.store_resumes();
            chat.hears(bob)
        },
        healthy: "before",
        sick: "before, after",
    },
    Trial {
        canary: Canary::ClosedBeforeSettled,
        chat: |chat| {
            let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
            chat.store.holds = true;
            chat.says(alice, text("bob", "hi"));
            chat.happens(Event::Shutdown);
            chat.store_resumes();
            chat.hears(bob)
        },
        healthy: "hi",
        sick: "",
    },
];
