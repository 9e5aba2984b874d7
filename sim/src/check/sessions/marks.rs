//! Marks, which sessions say and are told: of one conversation of a session, one at a time is on its way into the store,
//! and what comes meanwhile waits, as one. What the store has moved is told to the user's other sessions and to the other
//! user of a one-to-one conversation, and to the other engines for theirs.

use switchboard_engine::{Answer, ConnId, FRAME_COST_BYTES, Marks, NewMarks, Note, StoredMarks, Topic};
use switchboard_proto::v1::{Marked, NotedMarks};

use super::pushes::Lag;
use crate::{
    check::{Check, ConnKey, Phase, Use},
    wire::{
        self,
        session::{Peer, marks_of},
    },
    world::lag_bytes,
};

/// What a frame that tells marks has at the most.
const MARKED_BYTES: u64 = 192;

/// What a session says of how far its user is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) of: Peer,
    pub(crate) epoch: u64,
    pub(crate) marks: Marks,
}

/// Marks of one conversation on their way into the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct MarkSeen {
    /// None: to be asked for in this event.
    ticket: Option<u64>,
    mark: Mark,
    next: Option<Mark>,
}

impl MarkSeen {
    pub(super) const fn ticket(&self) -> Option<u64> {
        self.ticket
    }
}

/// Marks that have to be told in an event, if anybody is here whom they are for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Telling {
    to: u16,
    whose: u16,
    /// As `to` sees it.
    mark: Mark,
    except: Option<ConnKey>,
    done: bool,
}

/// What other engines have to be told in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Noting {
    to: u16,
    whose: u16,
    mark: Mark,
}

impl Check {
    /// What has to become of a mark.
    pub(crate) fn marks(&mut self, conn: ConnKey, mark: Mark) {
        let limit = self.settings.marks_per_connection as usize;
        let Some(session) = self.session(conn) else { return };
        if let Some(open) = session.marks.iter_mut().find(|open| open.mark.of == mark.of) {
            // The newest log is what counts, and of one log the larger of each.
            let earlier = open.next.filter(|next| next.epoch == mark.epoch).map(|next| next.marks);
            let marks = earlier.unwrap_or_default().max_of(mark.marks);
            open.next = Some(Mark { marks, ..mark });
        } else if session.marks.len() < limit {
            self.expect_marks(conn, mark);
        }
    }

    fn expect_marks(&mut self, conn: ConnKey, mark: Mark) {
        if let Some(session) = self.session(conn) {
            session.marks.push(MarkSeen { ticket: None, mark, next: None });
            self.cause.marking.push((conn, mark));
        }
    }

    /// The engine has marks of a user stored: those that a session has said.
    pub(crate) fn stores_marks(&mut self, ticket: u64, new: &NewMarks) -> Option<Use> {
        let user = wire::index(new.user.as_str());
        let mark = Mark { of: Peer::of(&new.conversation), epoch: new.epoch, marks: new.marks };
        let said =
            |(conn, said): &(ConnKey, Mark)| Some(self.seats[*conn as usize].user) == user && *said == mark;
        let Some(place) = self.cause.marking.iter().position(said) else {
            self.fail("protocol", |_| format!("marks are stored that nobody has said: {new:?}"));
            return None;
        };
        let (conn, _) = self.cause.marking.remove(place);
        let open = self.session(conn)?.marks.iter_mut();
        open.filter(|open| open.mark.of == mark.of).for_each(|open| open.ticket = Some(ticket));
        Some(Use::Marks(conn))
    }

    pub(crate) fn marks_answered(&mut self, conn: ConnKey, ticket: u64, answer: &Answer) {
        let user = self.seats[conn as usize].user;
        let Some(session) = self.session(conn) else { return };
        let Some(place) = session.marks.iter().position(|open| open.ticket == Some(ticket)) else { return };
        let MarkSeen { mark, next, .. } = session.marks.remove(place);
        if let Answer::MarksStored(StoredMarks { marks, has_moved: true }) = answer {
            self.owes_marks(conn, user, Mark { marks: *marks, ..mark });
        }
        // What has come meanwhile is stored next.
        if let Some(next) = next {
            self.expect_marks(conn, next);
        }
    }

    fn owes_marks(&mut self, conn: ConnKey, user: u16, mark: Mark) {
        let own = Telling { to: user, whose: user, mark, except: Some(conn), done: false };
        let noting = Noting { to: user, whose: user, mark };
        self.cause.tellings.push(own);
        let peers = self.peers;
        self.cause.notings.extend(peers.then_some(noting));
        if let Peer::User(other) = mark.of
            && other != user
        {
            let seen = Mark { of: Peer::User(user), ..mark };
            self.cause.tellings.push(Telling { to: other, mark: seen, except: None, ..own });
            self.cause.notings.extend(peers.then_some(Noting { to: other, ..noting }));
        }
    }

    /// The engine tells the others marks.
    pub(crate) fn tells_noted_marks(&mut self, topic: &Topic, noted: &NotedMarks) {
        let told = noting(topic, noted);
        let place = self.cause.notings.iter().position(|due| Some(*due) == told);
        match place {
            Some(place) => drop(self.cause.notings.remove(place)),
            None => self
                .fail("no-leak", |_| format!("marks are noted to {topic:?} that are not for it: {noted:?}")),
        }
    }

    /// Marks have come over the bus.
    pub(crate) fn marks_noted(&mut self, note: &Note, noted: &NotedMarks) {
        let Some(Noting { to, whose, mark }) = noting(&note.topic, noted) else { return };
        let of = match mark.of {
            of if to == whose => of,
            Peer::User(other) if other == to => Peer::User(whose),
            // It is nothing of theirs.
            Peer::User(_) | Peer::Group(_) => return,
        };
        let mark = Mark { of, ..mark };
        self.cause.tellings.push(Telling { to, whose, mark, except: None, done: false });
    }

    /// The sessions that marks are to be told to.
    fn told_to(&self, shard: usize, telling: &Telling) -> Vec<ConnKey> {
        let seats = self.watches[shard].told.get(usize::from(telling.to)).map(|told| told.seats.as_slice());
        let is_theirs = |conn: &ConnKey| {
            let seat = &self.seats[*conn as usize];
            seat.phase == Phase::Online && seat.session.is_some() && Some(*conn) != telling.except
        };
        seats.unwrap_or_default().iter().copied().filter(is_theirs).collect()
    }

    /// Marks are told to sessions: to all whom they are for, but those that lag.
    pub(super) fn tells_marks(&mut self, shard: usize, to: &[ConnId], marked: &Marked, len: u64) {
        let conns: Vec<ConnKey> = to.iter().filter_map(|id| self.seat(shard, *id)).collect();
        let told = Mark {
            of: Peer::read(marked.conversation.as_ref()).unwrap_or(Peer::User(wire::session::NOBODY)),
            epoch: marked.epoch,
            marks: marks_of(marked.marks),
        };
        let whose = wire::index(&marked.user);
        let is_due = |telling: &Telling| {
            let users = conns.iter().all(|conn| self.seats[*conn as usize].user == telling.to);
            !telling.done && telling.mark == told && Some(telling.whose) == whose && users
        };
        let Some(place) = self.cause.tellings.iter().position(is_due) else {
            return self
                .fail("protocol", |_| format!("marks are told to {to:?} that nobody has moved: {marked:?}"));
        };
        self.cause.tellings[place].done = true;
        let must = self.told_to(shard, &self.cause.tellings[place]);
        let lag_bytes = lag_bytes(&self.settings);
        for (place, conn) in conns.iter().enumerate() {
            let seat = &self.seats[*conn as usize];
            let lags = seat.session.as_ref().is_some_and(|session| session.lag == Lag::Yes);
            if !must.contains(conn) || conns[..place].contains(conn) {
                self.fail("no-leak", |check| format!("{} is told marks too many", check.name(*conn)));
            } else if lags || (seat.frames > 0 && seat.cost_bytes + len + FRAME_COST_BYTES > lag_bytes) {
                self.fail("bounded", |check| format!("{} lags, and is told marks", check.name(*conn)));
            }
        }
        for conn in must.iter().filter(|conn| !conns.contains(conn)) {
            self.excuse_untold(*conn, len, len);
        }
    }

    /// A session is not told marks: it lags, or does so from now on. They have between so many and so many bytes.
    fn excuse_untold(&mut self, conn: ConnKey, least: u64, most: u64) {
        let lag_bytes = lag_bytes(&self.settings);
        let seat = &mut self.seats[conn as usize];
        let (waits, cost_bytes) = (seat.frames > 0, seat.cost_bytes + FRAME_COST_BYTES);
        let (might, surely) =
            (waits && cost_bytes + most > lag_bytes, waits && cost_bytes + least > lag_bytes);
        let Some(session) = &mut seat.session else { return };
        if might {
            session.lag = session.lag.max(if surely { Lag::Yes } else { Lag::Maybe });
        } else if session.lag == Lag::No {
            self.fail("delivery", |check| format!("{} is not told marks", check.name(conn)));
        }
    }

    /// Everything about marks that had to happen in an event has.
    pub(super) fn end_marks(&mut self, shard: usize) {
        if let Some((conn, mark)) = self.cause.marking.first().copied() {
            self.fail("protocol", |check| {
                format!("{} marks {mark:?}, and nobody is asked", check.name(conn))
            });
        }
        let due = self.cause.notings.iter().copied().find(|noting| self.may_be_elsewhere(shard, noting.to));
        if let Some(noting) = due {
            self.fail("delivery", |_| format!("other engines are not told marks: {noting:?}"));
        }
        for telling in core::mem::take(&mut self.cause.tellings).iter().filter(|telling| !telling.done) {
            for conn in self.told_to(shard, telling) {
                if self.seats[conn as usize].welcomed_by != self.event {
                    self.excuse_untold(conn, 0, MARKED_BYTES);
                }
            }
        }
    }
}

/// What a note of marks tells, if it is one.
fn noting(topic: &Topic, noted: &NotedMarks) -> Option<Noting> {
    let Topic::User(to) = topic else { return None };
    let of = Peer::read(noted.conversation.as_ref())?;
    let mark = Mark { of, epoch: noted.epoch, marks: marks_of(noted.marks) };
    Some(Noting { to: wire::index(to.as_str())?, whose: wire::index(&noted.user)?, mark })
}
