//! A store and directory in memory, whose answers the test can hold back.

use std::collections::BTreeMap;

use switchboard_engine::{
    Answer, FileKind, FileUpload, GroupId, MessageId, NewMessage, Place, Recipient, Request, Ticket, UserId,
    UserProfile,
};

/// What a test knows of the store, and tells it.
#[derive(Debug, Default)]
pub(crate) struct Store {
    profiles: BTreeMap<String, UserProfile>,
    pub(crate) revision: u64,
    /// The messages, in the order of their commits.
    pub(crate) log: Vec<NewMessage>,
    pub(crate) files: Vec<FileUpload>,
    /// How often it was asked anything.
    pub(crate) asked: usize,
    /// Whether answers are held back.
    pub(crate) holds: bool,
    /// Requests that are not answered yet, oldest first.
    pub(crate) held: Vec<(Ticket, Request)>,
}

impl Store {
    pub(crate) fn profile(&mut self, user: &str) -> &mut UserProfile {
        self.profiles.entry(user.to_owned()).or_default()
    }

    pub(crate) fn add_member(&mut self, user: &str, group: &str) {
        let group = GroupId::new(group).unwrap();
        let groups = &mut self.profile(user).groups;
        if !groups.contains(&group) {
            groups.push(group);
        }
    }

    /// Does what is asked, and says so.
    pub(crate) fn answer(&mut self, request: &Request) -> Answer {
        match request {
            Request::LoadUser(user) => {
                let profile = self.profiles.get(user.as_str()).cloned().unwrap_or_default();
                Answer::UserLoaded(UserProfile { revision: self.revision, ..profile })
            }
            Request::StoreMessage(message) => {
                self.log.push((**message).clone());
                let conversation = conversation(message);
                let seq = self.log.iter().filter(|other| self::conversation(other) == conversation).count();
                stored(seq as u64)
            }
            Request::StoreFile(upload) => {
                self.files.push(upload.clone());
                let name = format!("file-{}", self.files.len()).into_boxed_str();
                let kind = match &*upload.suffix {
                    "png" | "jpg" => FileKind::Image,
                    "mp3" => FileKind::Audio,
                    "mp4" => FileKind::Video,
                    _ => FileKind::Other,
                };
                Answer::FileStored { name, kind }
            }
            Request::LoadHeads { .. } | Request::LoadMessages(_) => Answer::Failed,
        }
    }

    /// The texts in the log, in order.
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.log.iter().map(|message| &*message.content).collect()
    }
}

/// The conversation's name: the group, or both users in either direction.
fn conversation(message: &NewMessage) -> (bool, Vec<&str>) {
    match &message.recipient {
        Recipient::Group(group) => (true, vec![group.as_str()]),
        Recipient::User(user) => {
            let mut both = vec![user.as_str(), message.sender.as_str()];
            both.sort_unstable();
            (false, both)
        }
    }
}

/// The place of that number in the first log.
pub(crate) const fn place(seq: u64) -> Place {
    Place { epoch: 1, seq, stored_at_ms: 0 }
}

/// The answer that a message is stored at that place.
pub(crate) const fn stored(seq: u64) -> Answer {
    Answer::MessageStored(place(seq))
}

/// What a record carries of a message that is stored at that place, its id left out.
pub(crate) const fn stored_as(seq: u64) -> (MessageId, Place) {
    (MessageId([0; 16]), place(seq))
}

/// A user's id.
pub(crate) fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

/// A group's id.
pub(crate) fn group(id: &str) -> GroupId {
    GroupId::new(id).unwrap()
}
