//! Entries of logs that are no messages, between engines: edits, recalls, changes of groups.

use switchboard_proto::v1::{NotedEntry, note};

use super::frames;
use crate::{
    bus::Topic,
    entry,
    id::UserId,
    probe::{Canary, Probe, Rule},
    server::{
        Server,
        letter::{Form, Letter},
    },
    storage::{Place, Recipient, Subject},
};

impl<P: Probe> Server<P> {
    /// Tells the other engines of an entry: those with sessions of who takes part, and of whom it concerns.
    pub(in crate::server) fn tell_entry(&mut self, letter: &Letter<'_>) {
        if !self.config.peers {
            return;
        }
        let (first, second) = match letter.recipient {
            Recipient::User(user) => {
                let own_copy = user != letter.sender;
                (Topic::User(user.clone()), own_copy.then_some(letter.sender))
            }
            Recipient::Group(group) => (Topic::Group(group.clone()), letter.concerns()),
        };
        self.tell(first, note::Body::Entry(letter.note()));
        if let Some(user) = second {
            self.tell(Topic::User(user.clone()), note::Body::Entry(letter.note()));
        }
    }

    /// Another engine has stored an entry. What it is told as is checked: a note that is misled reaches nobody.
    pub(super) fn entry_noted(&mut self, topic: Topic, noted: NotedEntry) {
        let NotedEntry { conversation, epoch, seq, message_id, from, content, stored_at_ms } = noted;
        let (Some(recipient), Some(id), Ok(sender)) =
            (frames::recipient(conversation.as_ref()), frames::message_id(&message_id), UserId::new(&from))
        else {
            return self.refuse_note();
        };
        let subject = match entry::subject(content.as_ref(), &recipient) {
            Ok(subject) if subject != Subject::Message && epoch > 0 && seq > 0 => subject,
            Ok(_) | Err(_) => return self.refuse_note(),
        };
        let text = content.map(|content| content.text).unwrap_or_default().into();
        let form = Form::Entry { text, subject };
        let place = Place { epoch, seq, stored_at_ms };
        let letter = Letter { sender: &sender, recipient: &recipient, id, place, form: &form, is_new: true };
        match (topic, &recipient) {
            (Topic::Group(group), Recipient::Group(of)) if group == *of => {
                self.probe.reached(Rule::EntryNotedToGroup);
                self.deliver(&letter, None);
            }
            (Topic::User(user), Recipient::Group(_))
                if letter.concerns() == Some(&user) || self.probe.canary(Canary::NoteBelieved) =>
            {
                self.probe.reached(Rule::EntryNotedToConcerned);
                // Members here may have been told already: who that is may change between the two notes.
                self.deliver_to_devices(&user, &letter, &recipient, None);
            }
            (Topic::User(user), Recipient::User(to)) if user == *to => {
                self.probe.reached(Rule::EntryNotedToUser);
                self.deliver(&letter, None);
            }
            (Topic::User(user), Recipient::User(_)) if user == sender => {
                self.probe.reached(Rule::EntryNotedToUser);
                self.deliver_to_own_devices(&letter, None);
            }
            (Topic::Everyone | Topic::User(_) | Topic::Group(_) | Topic::Presence(_), _) => {
                self.refuse_note();
            }
        }
    }
}
