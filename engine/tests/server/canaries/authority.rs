//! Bugs in what those who run the server do to connections, and say to users.

use switchboard_engine::{Audience, Canary, ConnId, Event, Revocation, Whose};

use super::{Trial, chat::Chat};
use crate::store::user;

fn revokes(chat: &mut Chat, whose: Whose, why: Revocation) {
    chat.happens(Event::Revoked { whose, why });
}

fn says(chat: &mut Chat, to: Audience) {
    chat.happens(Event::Announced { to, text: "soon".into() });
}

fn bans_bob(chat: &mut Chat) {
    revokes(chat, Whose::User(user("bob")), Revocation::Banned);
}

pub(super) const TRIALS: &[Trial] = &[
    Trial {
        canary: Canary::RevokedKeepsNewest,
        chat: |chat| {
            let (old, new) = (chat.arrives("bob"), chat.arrives("bob"));
            bans_bob(chat);
            format!("{} {}", chat.closed(old), chat.closed(new))
        },
        healthy: "Banned Banned",
        sick: "Banned -",
    },
    Trial {
        canary: Canary::RevokedTakesOthers,
        chat: |chat| {
            let (old, new) = (chat.arrives("bob"), chat.arrives("bob"));
            revokes(chat, Whose::Connection(old), Revocation::SignedOut);
            format!("{} {}", chat.closed(old), chat.closed(new))
        },
        healthy: "SignedOut -",
        sick: "SignedOut SignedOut",
    },
    Trial {
        canary: Canary::RevokedComesBack,
        chat: |chat| {
            let bob = chat.signs_in("bob");
            bans_bob(chat);
            chat.sees(bob)
        },
        healthy: "goodbye, 4294967295 ms",
        sick: "goodbye, 1000 ms",
    },
    Trial {
        canary: Canary::NoticeToStrangers,
        chat: |chat| {
            let (alice, _) = (chat.arrives("alice"), chat.arrives("bob"));
            says(chat, Audience::User(user("bob")));
            chat.hears(alice)
        },
        healthy: "",
        sick: "soon",
    },
    Trial {
        canary: Canary::NoticeToOneDevice,
        chat: |chat| {
            let (old, new) = (chat.arrives("bob"), chat.signs_in("bob"));
            says(chat, Audience::User(user("bob")));
            format!("{} {}", chat.hears(old), chat.sees(new))
        },
        healthy: "soon the server says: soon",
        sick: "soon ",
    },
];

pub(super) fn revocations(chat: &mut Chat) {
    let (alice, bob) = (chat.arrives("alice"), chat.signs_in("bob"));
    revokes(chat, Whose::Connection(alice), Revocation::SignedOut);
    bans_bob(chat);
    bans_bob(chat);
    revokes(chat, Whose::Connection(bob), Revocation::Administrator);
    let bob = chat.signs_in("bob");
    revokes(chat, Whose::Connection(bob), Revocation::Administrator);
    revokes(chat, Whose::Connection(ConnId::new(99, 1)), Revocation::Administrator);
}

pub(super) fn notices(chat: &mut Chat) {
    chat.with(|config| {
        config.limits.message_bytes = 1024;
        crate::harness::narrows(config, 4096);
    });
    chat.arrives("alice");
    let bob = chat.signs_in("bob");
    says(chat, Audience::User(user("bob")));
    chat.is_stuck(bob);
    chat.happens(Event::Announced { to: Audience::Everyone, text: "x".repeat(2_000).into() });
    chat.happens(Event::Announced { to: Audience::Everyone, text: "x".repeat(3_000).into() });
}
