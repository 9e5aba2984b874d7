//! Who is typing: passed on, never stored, and the first thing that is left out.

use switchboard_proto::v1::{NotedTyping, Typing, note};

use super::frames;
use crate::{
    bus::Topic,
    id::UserId,
    probe::{Canary, Probe, Rule},
    server::{Server, delivery::Kind, users::UserKey},
    storage::Recipient,
};

impl<P: Probe> Server<P> {
    /// A session says that its user types, or has stopped. Whoever the frame names as its user, it is that one.
    pub(super) fn typing(&mut self, user: UserKey, typing: &Typing) {
        let Some(sender) = self.users.get(user).map(|user| user.id.clone()) else { return };
        let conversation = frames::recipient(typing.conversation.as_ref());
        let unchecked = self.probe.canary(Canary::TypingUnchecked);
        let allowed = |of: &Recipient| unchecked || self.may_send(user, of);
        let Some(conversation) = conversation.filter(allowed) else {
            self.probe.reached(Rule::TypingRefused);
            self.stats.refused_typing += 1;
            return;
        };
        self.probe.reached(Rule::TypingTold);
        self.stats.typing += 1;
        let believed = UserId::new(&typing.user).ok().filter(|_| self.probe.canary(Canary::TypingBelieved));
        let sender = believed.unwrap_or(sender);
        self.deliver_typing(&sender, &conversation, typing.typing);
        let topic = match &conversation {
            Recipient::User(other) => Topic::User(other.clone()),
            Recipient::Group(group) => Topic::Group(group.clone()),
        };
        let noted = NotedTyping {
            conversation: Some(frames::conversation(&conversation)),
            typing: typing.typing,
            user: sender.as_str().into(),
        };
        self.tell(topic, note::Body::Typing(noted));
    }

    /// Tells the sessions of the other user, or of a group's other members.
    fn deliver_typing(&mut self, sender: &UserId, conversation: &Recipient, typing: bool) {
        match conversation {
            Recipient::User(other) if other != sender => {
                if self.users.by_id(other.as_str()).is_some_and(|user| user.sessions > 0) {
                    let frame = frames::typing(&Recipient::User(sender.clone()), typing, sender);
                    self.deliver_to_user(other.as_str(), frame, Kind::Typing, None);
                }
            }
            // Who types to oneself knows.
            Recipient::User(_) => {}
            Recipient::Group(group) => {
                if self.users.sessions() > 0 {
                    let frame = frames::typing(conversation, typing, sender);
                    self.deliver_to_group(group.as_str(), frame, Kind::Typing, sender, None);
                }
            }
        }
    }

    /// Another engine tells that somebody types. Returns false if what it says cannot be.
    pub(super) fn typing_noted(&mut self, topic: &Topic, noted: &NotedTyping) -> bool {
        let conversation = frames::recipient(noted.conversation.as_ref());
        let (Some(of), Ok(user)) = (conversation, UserId::new(&noted.user)) else { return false };
        let is_right = match (topic, &of) {
            (Topic::User(to), Recipient::User(other)) => to == other,
            (Topic::Group(to), Recipient::Group(group)) => to == group,
            (Topic::Everyone | Topic::User(_) | Topic::Group(_) | Topic::Presence(_), _) => false,
        };
        if is_right {
            self.probe.reached(Rule::BusTyping);
            self.deliver_typing(&user, &of, noted.typing);
        }
        is_right
    }
}
