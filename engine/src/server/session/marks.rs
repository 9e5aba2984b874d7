//! How far the users of sessions are with their conversations: stored first, then told.

use alloc::boxed::Box;
use serde::{Deserialize, Serialize};

use switchboard_proto::v1::{Mark, NotedMarks, note};

use super::frames;
use crate::{
    answer::Undone,
    bus::Topic,
    config::to_usize,
    digest::Digest,
    id::{ConnId, Ticket, UserId},
    probe::{Canary, Probe, Rule},
    server::{Server, delivery::Kind, requests::Purpose, users::UserKey},
    storage::{Answer, Marks, NewMarks, Recipient, Request, StoredMarks},
};

/// Marks of one conversation on their way into the store. What comes meanwhile waits, as one: the newest state wins.
///
/// ```text
///   Mark ──► asked ──► (told)
///    ▲         │
///    └─ next ──┘
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Marking {
    pub(super) ticket: Ticket,
    conversation: Recipient,
    epoch: u64,
    next: Option<(u64, Marks)>,
}

impl Marking {
    /// Which request that is, the requests tell.
    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        self.conversation.fold(digest);
        digest.word(self.epoch);
        digest.flag(self.next.is_some());
        if let Some((epoch, marks)) = &self.next {
            [*epoch, marks.delivered, marks.read].into_iter().for_each(|word| digest.word(word));
        }
    }

    /// Takes marks that came while others are on their way.
    fn wait(&mut self, epoch: u64, marks: Marks) {
        let earlier = self.next.filter(|(other, _)| *other == epoch).map(|(_, earlier)| earlier);
        self.next = Some((epoch, earlier.unwrap_or_default().max_of(marks)));
    }
}

impl<P: Probe> Server<P> {
    /// A session says how far its user is with a conversation.
    pub(super) fn mark(&mut self, conn: ConnId, user: UserKey, mark: &Mark) {
        let Some(user) = self.users.get(user).map(|user| user.id.clone()) else { return };
        let Some((conversation, marks)) = frames::marks_of(mark) else {
            self.probe.reached(Rule::MarkInvalid);
            self.stats.refused_marks += 1;
            return;
        };
        let limit = to_usize(self.config.limits.marks_per_connection);
        let Some(session) = self.connections.get_mut(conn).and_then(|c| c.session.as_mut()) else { return };
        if let Some(marking) = session.markings.iter_mut().find(|other| other.conversation == conversation) {
            self.probe.reached(Rule::MarkWaits);
            self.stats.marks_coalesced += 1;
            if !self.probe.canary(Canary::WaitingMarkLost) {
                marking.wait(mark.epoch, marks);
            }
            return;
        }
        if session.markings.len() >= limit && !self.probe.canary(Canary::MarksUnlimited) {
            self.probe.reached(Rule::MarksFull);
            self.stats.marks_dropped += 1;
            return;
        }
        if self.probe.canary(Canary::MarkToldBeforeStored) {
            self.tell_marks(conn, &user, &conversation, mark.epoch, marks);
        }
        self.store_marks(conn, user, conversation, mark.epoch, marks);
    }

    fn store_marks(&mut self, conn: ConnId, user: UserId, conversation: Recipient, epoch: u64, marks: Marks) {
        self.probe.reached(Rule::MarksRequested);
        self.stats.marks += 1;
        let new = NewMarks { user, conversation: conversation.clone(), epoch, marks };
        let ticket = self.request(Purpose::Marks(conn), Request::StoreMarks(Box::new(new)));
        if let Some(session) = self.connections.get_mut(conn).and_then(|c| c.session.as_mut()) {
            session.markings.push(Marking { ticket, conversation, epoch, next: None });
        }
    }

    /// The store has answered about marks, or has not in time.
    pub(in crate::server) fn marks_answered(&mut self, conn: ConnId, ticket: Ticket, answer: Answer) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let user = connection.user().and_then(|user| self.users.get(user)).map(|user| user.id.clone());
        let (Some(session), Some(user)) = (connection.session.as_mut(), user) else { return };
        let Some(place) = session.marking_place(ticket) else { return };
        let Marking { conversation, epoch, next, .. } = session.markings.remove(place);
        if session.markings.is_empty() {
            session.markings = alloc::vec::Vec::new();
        }
        match answer.into_marks() {
            Ok(StoredMarks { marks, has_moved: true }) => {
                self.probe.reached(Rule::MarksStored);
                self.tell_marks(conn, &user, &conversation, epoch, marks);
            }
            Ok(StoredMarks { has_moved: false, .. }) => {
                self.probe.reached(Rule::MarksUnmoved);
                self.stats.marks_unmoved += 1;
            }
            Err(Undone::Refused) => {
                self.probe.reached(Rule::MarksRefused);
                self.stats.marks_refused += 1;
            }
            // The client finds out by the next heads, and marks again.
            Err(Undone::Failed) => {
                self.probe.reached(Rule::MarksFailed);
                self.stats.marks_failed += 1;
            }
        }
        if let Some((epoch, marks)) = next {
            self.store_marks(conn, user, conversation, epoch, marks);
        }
    }

    /// Tells marks to the user's other sessions, and to the other user of a one-to-one conversation.
    fn tell_marks(&mut self, conn: ConnId, user: &UserId, of: &Recipient, epoch: u64, marks: Marks) {
        let origin = Some(conn).filter(|_| !self.probe.canary(Canary::MarkEchoed));
        if !self.probe.canary(Canary::MarksOwnDevicesLeftOut) {
            self.deliver_marks(user, user, of, epoch, marks, origin);
        }
        let noted = NotedMarks {
            conversation: Some(frames::conversation(of)),
            epoch,
            user: user.as_str().into(),
            marks: Some(frames::wired(marks)),
        };
        self.tell(Topic::User(user.clone()), note::Body::Marks(noted.clone()));
        match of {
            Recipient::User(other) if other != user => {
                if !self.probe.canary(Canary::MarksNotTold) {
                    let own = Recipient::User(user.clone());
                    self.deliver_marks(other, user, &own, epoch, marks, None);
                }
                self.tell(Topic::User(other.clone()), note::Body::Marks(noted));
            }
            Recipient::Group(group) if self.probe.canary(Canary::GroupMarksTold) => {
                let frame = frames::marked(of, epoch, user, marks);
                self.deliver_to_group(group.as_str(), frame, Kind::Delivery, user, origin);
            }
            Recipient::User(_) | Recipient::Group(_) => {}
        }
    }

    /// Tells `to` the marks of `whose`, in the conversation as `to` sees it.
    fn deliver_marks(
        &mut self,
        to: &UserId,
        whose: &UserId,
        conversation: &Recipient,
        epoch: u64,
        marks: Marks,
        except: Option<ConnId>,
    ) {
        let has_others = self.users.by_id(to.as_str()).is_some_and(|user| {
            user.sessions > 0 && !(user.conns.len() == 1 && user.conns.first() == except.as_ref())
        });
        if has_others {
            self.probe.reached(if to == whose { Rule::MarksToOwnDevices } else { Rule::MarksToPeer });
            let frame = frames::marked(conversation, epoch, whose, marks);
            self.deliver_to_user(to.as_str(), frame, Kind::Delivery, except);
        }
    }

    /// Another engine tells the marks of a user. Returns false if what it says cannot be.
    pub(super) fn marks_noted(&mut self, topic: &Topic, noted: &NotedMarks) -> bool {
        let conversation = frames::recipient(noted.conversation.as_ref());
        let (Some(of), Ok(user)) = (conversation, UserId::new(&noted.user)) else { return false };
        let marks = frames::unwired(noted.marks);
        match (topic, &of) {
            (Topic::User(to), _) if *to == user => {
                self.probe.reached(Rule::BusOwnMarks);
                self.deliver_marks(to, &user, &of, noted.epoch, marks, None);
                true
            }
            (Topic::User(to), Recipient::User(other)) if to == other => {
                self.probe.reached(Rule::BusPeerMarks);
                let own = Recipient::User(user.clone());
                self.deliver_marks(to, &user, &own, noted.epoch, marks, None);
                true
            }
            (Topic::Everyone | Topic::User(_) | Topic::Group(_) | Topic::Presence(_), _) => false,
        }
    }
}
