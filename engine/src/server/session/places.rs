//! Entries that were stored earlier: sessions are told their places, and ask for what they lack.

use switchboard_proto::v1::{NotedPlace, note};

use super::frames;
use crate::{
    bus::Topic,
    id::{ConnId, UserId},
    probe::{Probe, Rule},
    server::{Server, delivery::Kind},
    storage::{Head, Marks, Place, Recipient},
};

impl<P: Probe> Server<P> {
    /// An entry was stored earlier, and perhaps nobody was told: the store's answer was lost, or came too late. What comes
    /// under its id now may say something else than the log, so that its place is told, and not what it says. Classic
    /// clients cannot ask, and may have been sent it: they are sent it again when they return, unless it has arrived.
    pub(in crate::server) fn tell_place(
        &mut self,
        sender: &UserId,
        recipient: &Recipient,
        place: Place,
        origin: ConnId,
    ) {
        self.probe.reached(Rule::PlaceTold);
        self.stats.places_told += 1;
        let noted = || NotedPlace {
            conversation: Some(frames::conversation(recipient)),
            epoch: place.epoch,
            seq: place.seq,
            from: sender.as_str().into(),
        };
        match recipient {
            Recipient::User(user) => {
                self.deliver_place(user, &Recipient::User(sender.clone()), place, Some(origin));
                self.tell(Topic::User(user.clone()), note::Body::Place(noted()));
                if user != sender {
                    self.deliver_place(sender, recipient, place, Some(origin));
                    self.tell(Topic::User(sender.clone()), note::Body::Place(noted()));
                }
            }
            Recipient::Group(group) => {
                self.deliver_place_to_group(sender, recipient, place, Some(origin));
                self.tell(Topic::Group(group.clone()), note::Body::Place(noted()));
            }
        }
    }

    /// Tells a user's sessions, to whom the conversation is this one.
    fn deliver_place(&mut self, user: &UserId, of: &Recipient, place: Place, origin: Option<ConnId>) {
        if self.users.by_id(user.as_str()).is_some_and(|user| user.sessions > 0) {
            let frame = frames::heads(&[head(of, place)], false);
            self.deliver_to_user(user.as_str(), frame, Kind::Delivery, origin);
        }
    }

    /// Tells the sessions of a group's members.
    fn deliver_place_to_group(
        &mut self,
        sender: &UserId,
        of: &Recipient,
        place: Place,
        origin: Option<ConnId>,
    ) {
        let Recipient::Group(group) = of else { return };
        if self.users.sessions() > 0 {
            let frame = frames::heads(&[head(of, place)], false);
            self.deliver_to_group(group.as_str(), frame, Kind::Delivery, sender, origin);
        }
    }

    /// Another engine tells the place of what was stored earlier. Returns false if what it says cannot be.
    pub(super) fn place_noted(&mut self, topic: &Topic, noted: &NotedPlace) -> bool {
        let conversation = frames::recipient(noted.conversation.as_ref());
        let (Some(of), Ok(sender)) = (conversation, UserId::new(&noted.from)) else { return false };
        let place = Place { epoch: noted.epoch, seq: noted.seq, stored_at_ms: 0 };
        if place.epoch == 0 || place.seq == 0 {
            return false;
        }
        match (topic, &of) {
            (Topic::Group(to), Recipient::Group(group)) if to == group => {
                self.deliver_place_to_group(&sender, &of, place, None);
            }
            (Topic::User(to), Recipient::User(other)) if to == other => {
                self.deliver_place(to, &Recipient::User(sender), place, None);
            }
            (Topic::User(to), Recipient::User(_)) if *to == sender => {
                self.deliver_place(to, &of, place, None);
            }
            (Topic::Everyone | Topic::User(_) | Topic::Group(_) | Topic::Presence(_), _) => return false,
        }
        self.probe.reached(Rule::PlaceNoted);
        true
    }
}

/// A head of which nothing is said but that there is something at this place.
fn head(of: &Recipient, place: Place) -> Head {
    let (own, peer) = (Marks::default(), Marks::default());
    Head { conversation: of.clone(), epoch: place.epoch, seq: place.seq, first_seq: 0, own, peer }
}
