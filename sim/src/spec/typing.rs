//! Who is typing: heard from who has said so, in time, by those whom it is for and by nobody else, and never by who has
//! said it; and the applications above sessions forget it in time.

use std::collections::BTreeMap;

use switchboard_engine::FRAME_COST_BYTES;
use switchboard_proto::v1;

use super::{Spec, duties::Duty};
use crate::{
    check::ConnKey,
    wire::{self, session::Peer},
    world::TYPING_TIMEOUT_US,
};

/// What a frame about it has at the most.
const TYPING_BYTES: u64 = 96;

/// The share of what may wait for a session that does not lag that may do so for one that is told who types.
const TYPING_LAG_SHARE: u64 = 4;

/// What somebody says of itself: in which conversation, as the one who types names it, and whether it does or has
/// stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sign {
    user: u16,
    to: Peer,
    types: bool,
}

/// A sign that has reached a server.
#[derive(Clone, Copy, Debug)]
struct Given {
    sign: Sign,
    conn: ConnKey,
    at_us: u64,
}

/// What a session has heard of somebody's typing: what last, and when; and when last that it goes on.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    types: bool,
    at_us: u64,
    typed_us: u64,
}

/// All that was said of typing, and what applications believe.
#[derive(Clone, Debug, Default)]
pub(super) struct Typing {
    given: Vec<Given>,
    by_sign: BTreeMap<Sign, Vec<u32>>,
    /// By application, conversation and user: what its session has heard last.
    heard: BTreeMap<(u16, Peer, u16), Heard>,
    /// Those of whom applications were told that they type, and when.
    typists: BTreeMap<(u16, Peer, u16), u64>,
}

/// What a session's connection has heard of each sign: when last, and how often.
pub(super) type SignsHeard = BTreeMap<Sign, (u64, u32)>;

impl Spec {
    /// A session says that its user types, or has stopped.
    pub(super) fn says_typing(&mut self, conn: ConnKey, typing: &v1::Typing) {
        let Some(to) = Peer::read(typing.conversation.as_ref()) else { return };
        let sign = Sign { user: self.lines[conn as usize].user, to, types: typing.typing };
        let place = self.typing.given.len() as u32;
        self.typing.given.push(Given { sign, conn, at_us: self.now_us });
        self.typing.by_sign.entry(sign).or_default().push(place);
        self.due.push_back((self.now_us + self.limits.bound_us, Duty::Typing { place }));
    }

    /// A session hears that somebody types, or has stopped.
    pub(super) fn hears_typing(&mut self, conn: ConnKey, typing: &v1::Typing) {
        let user = self.lines[conn as usize].user;
        let (peer, from) = (Peer::read(typing.conversation.as_ref()), wire::index(&typing.user));
        let (Some(peer), Some(from)) = (peer, from) else {
            return self.fail("protocol", |spec| format!("{} hears {typing:?} of nobody", spec.name(conn)));
        };
        let to = match peer {
            Peer::User(other) if other == from => Peer::User(user),
            Peer::User(_) => {
                return self.fail("no-spoof", |spec| {
                    format!("{} hears that u{from} types, as if that were {peer}", spec.name(conn))
                });
            }
            Peer::Group(_) => peer,
        };
        if from == user {
            return self.fail("no-leak", |spec| format!("{} hears that itself types", spec.name(conn)));
        }
        let sign = Sign { user: from, to, types: typing.typing };
        self.judge_sign(conn, sign);
        let now_us = self.now_us;
        let client = self.lines[conn as usize].client;
        let Some(talk) = self.talk(conn) else { return };
        let (last_us, count) = talk.typing.entry(sign).or_default();
        (*last_us, *count) = (now_us, *count + 1);
        let count = *count as usize;
        let heard = self.typing.heard.entry((client, peer, from)).or_default();
        (heard.types, heard.at_us) = (sign.types, now_us);
        if sign.types {
            heard.typed_us = now_us;
            let duty = Duty::TypistForgotten { client, peer, user: from, since_us: now_us };
            self.due_then(now_us + TYPING_TIMEOUT_US + 1000, duty);
        }
        let given = self.typing.by_sign.get(&sign).map_or(&[][..], Vec::as_slice);
        let first_us = given.first().map_or(0, |place| self.typing.given[*place as usize].at_us);
        if count > given.len() && self.health.bus_was_well(first_us) {
            self.fail("exactly-once", |spec| format!("{} hears {sign:?} too often", spec.name(conn)));
        }
    }

    /// Whoever is heard to have said something has stopped to type it.
    pub(super) fn hears_said(&mut self, conn: ConnKey, peer: Peer, from: &str) {
        if let Some(from) = wire::index(from) {
            let client = self.lines[conn as usize].client;
            let now_us = self.now_us;
            let heard = self.typing.heard.entry((client, peer, from)).or_default();
            (heard.types, heard.at_us) = (false, now_us);
        }
    }

    /// Somebody has said this, lately, and it is for whom it is heard by.
    fn judge_sign(&mut self, conn: ConnKey, sign: Sign) {
        let given = self.typing.by_sign.get(&sign).map_or(&[][..], Vec::as_slice);
        if given.is_empty() {
            return self.fail("no-spoof", |spec| {
                format!("{} hears {sign:?}, which nobody has said", spec.name(conn))
            });
        }
        let user = self.lines[conn as usize].user;
        let given: Vec<Given> = given.iter().map(|place| self.typing.given[*place as usize]).collect();
        if let Peer::Group(group) = sign.to {
            let is_for = |given: &Given| {
                let member = |user: u16| self.health.may_be_member(group, user, given.at_us);
                member(user) && member(sign.user)
            };
            if !given.iter().any(is_for) {
                return self.fail("no-leak", |spec| {
                    format!("{} hears {sign:?}, and not both are members", spec.name(conn))
                });
            }
        }
        if !given.iter().any(|given| self.may_be_new(conn, given)) {
            self.fail("delivery", |spec| format!("{} hears {sign:?} too late", spec.name(conn)));
        }
    }

    /// Whether what was said then may still be on its way to a session.
    fn may_be_new(&self, conn: ConnKey, given: &Given) -> bool {
        let origin = &self.lines[given.conn as usize];
        // Who is not welcomed yet is listened to then.
        let Some(welcomed_us) = origin.welcomed_us else { return true };
        let since_us = given.at_us.max(welcomed_us);
        let is_fast = self.is_served(conn, since_us) && self.is_reached(given.conn, conn, since_us);
        !is_fast || since_us + self.limits.bound_us >= self.now_us
    }

    /// Those whom a sign was for have heard it.
    pub(super) fn judge_typing(&mut self, place: u32) {
        let given = self.typing.given[place as usize];
        let Given { sign, conn, at_us } = given;
        let origin = &self.lines[conn as usize];
        let early = origin.welcomed_us.is_none_or(|welcomed_us| welcomed_us > at_us);
        if early || origin.refused || !self.health.node_was_well(origin.node, at_us) {
            return;
        }
        match sign.to {
            Peer::User(user) if user != sign.user => self.expect_typing(given, user),
            Peer::User(_) => {}
            Peer::Group(group) => {
                // Who belongs to it, servers know from the store.
                let known = self.health.store_was_well(at_us) && !self.limits.groups_are_limited;
                if !known || !self.health.was_member(group, sign.user, at_us) {
                    return;
                }
                for user in (0..self.present.len() as u16).filter(|user| *user != sign.user) {
                    if self.health.was_member(group, user, at_us) {
                        self.expect_typing(given, user);
                    }
                }
            }
        }
    }

    /// The sessions of a user for which not much waits have heard a sign.
    fn expect_typing(&mut self, given: Given, user: u16) {
        let Given { sign, conn: from, at_us } = given;
        let Some(present) = self.present.get(user as usize) else { return };
        let limit_bytes = self.limits.lag_bytes / TYPING_LAG_SHARE;
        let deaf = present.iter().copied().find(|conn| {
            let Some(talk) = &self.lines[*conn as usize].talk else { return false };
            let has_heard = talk.typing.get(&sign).is_some_and(|(last_us, _)| *last_us >= at_us);
            let has_room = talk.peak_bytes + TYPING_BYTES + FRAME_COST_BYTES <= limit_bytes;
            !has_heard && has_room && self.is_healthy(*conn, at_us) && self.is_reached(from, *conn, at_us)
        });
        if let Some(conn) = deaf {
            self.unheard(at_us, |spec| format!("{} does not hear {sign:?}", spec.name(conn)));
        }
    }
}

/// What applications are told.
impl Spec {
    /// An application is told that somebody types, or has stopped.
    pub(super) fn told_typing(&mut self, client: u16, peer: Peer, user: u16, types: bool) {
        let key = (client, peer, user);
        let now_us = self.now_us;
        let known = match types {
            true => self.typing.typists.insert(key, now_us),
            false => self.typing.typists.remove(&key),
        };
        if known.is_some() == types {
            self.fail("exactly-once", |_| {
                format!("c{client} is told again that u{user} in {peer} types: {types}")
            });
        }
        let heard = self.typing.heard.get(&key).copied();
        let holds = match heard {
            Some(heard) if heard.at_us == now_us => heard.types == types,
            // Nothing was heard for too long; what comes while a session closes its connection does not count.
            Some(_) => !types && known.is_some_and(|told_us| now_us >= told_us + TYPING_TIMEOUT_US),
            None => false,
        };
        if !holds {
            self.fail("protocol", |_| {
                format!("c{client} is told that u{user} in {peer} types: {types}, and heard {heard:?}")
            });
        }
    }

    /// An application does not believe for too long that somebody types.
    pub(super) fn judge_typist(&mut self, client: u16, peer: Peer, user: u16, since_us: u64) {
        let key = (client, peer, user);
        let is_believed = self.typing.typists.contains_key(&key);
        if is_believed && self.typing.heard.get(&key).is_some_and(|heard| heard.typed_us == since_us) {
            self.fail("protocol", |_| {
                format!("c{client} believes for too long that u{user} types in {peer}")
            });
        }
    }

    /// A process has died, and with it what its application believed.
    pub(super) fn forget_typists(&mut self, client: u16) {
        self.typing.typists.retain(|(of, _, _), _| *of != client);
    }
}
