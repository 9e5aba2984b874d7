//! A store and directory in memory, whose answers the test can hold back.

use std::collections::{BTreeMap, BTreeSet};

use switchboard_engine::{
    Answer, Denial, DirectoryChange, DirectoryChangeKind, FileKind, FileUpload, GroupChange, GroupId, Head,
    Marks, MessageId, Messages, NewMarks, NewMessage, Place, Range, Received, Recipient, Request,
    StoredMarks, StoredMessage, Subject, Ticket, UserId, UserProfile,
};

/// What a test knows of the store, and tells it.
#[derive(Debug, Default)]
pub(crate) struct Store {
    profiles: BTreeMap<String, UserProfile>,
    pub(crate) revision: u64,
    /// The messages, in the order of their commits.
    pub(crate) log: Vec<NewMessage>,
    pub(crate) files: Vec<FileUpload>,
    /// Of whom it knows that they were here.
    pub(crate) seen: BTreeSet<String>,
    /// By the user and the conversation as the user sees it.
    pub(crate) marks: BTreeMap<(UserId, Recipient), Marks>,
    /// How many heads it gives at a time; all, if none.
    pub(crate) heads_per_page: Option<usize>,
    /// Up to where everything has arrived at the classic clients of users.
    received: BTreeMap<(String, Recipient), u64>,
    /// Who has come with a classic client.
    classic: BTreeSet<String>,
    /// How often it was told what has arrived.
    pub(crate) told_received: usize,
    /// How often it was asked anything.
    pub(crate) asked: usize,
    /// Whether answers are held back.
    pub(crate) holds: bool,
    /// Requests that are not answered yet, oldest first.
    pub(crate) held: Vec<(Ticket, Request)>,
    /// Changes of the directory that the server is to be told before the next answer.
    pub(crate) changes: Vec<DirectoryChange>,
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
                if self.is_elsewhere(message) {
                    return Answer::Denied(Denial::OtherConversation);
                }
                let before = self.log.len();
                let place = place(self.keep(message));
                let is_new = self.log.len() > before;
                if is_new { Answer::MessageStored(place) } else { Answer::StoredEarlier(place) }
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
            Request::LoadHeads { user, after } => self.heads(user, *after as usize),
            Request::LoadMessages(range) => self.part(range),
            Request::StoreMarks(new) => self.move_marks(new),
            Request::StoreSeen(user) => {
                self.seen.insert(user.as_str().to_owned());
                Answer::Seen { at_ms: Some(SEEN_AT_MS) }
            }
            Request::LoadSeen { watcher, user } => self.seen(watcher, user),
            Request::StoreReceived(told) => self.receive(told),
            Request::LoadUnreceived { user, .. } => self.unreceived(user),
        }
    }

    /// Whether the sender has said something in another conversation under this id.
    fn is_elsewhere(&self, message: &NewMessage) -> bool {
        let is_same = |other: &&NewMessage| {
            (&other.sender, other.id) == (&message.sender, message.id) && !is_nobodys(message.id)
        };
        let name = conversation(message);
        self.log.iter().find(is_same).is_some_and(|other| conversation(other) != name)
    }

    /// Gives a message its place, the same one as before if it has one. Ids of zeros are nobody's.
    fn keep(&mut self, message: &NewMessage) -> u64 {
        let name = conversation(message);
        let log: Vec<_> = self.log.iter().filter(|other| conversation(other) == name).collect();
        let is_same = |other: &&NewMessage| {
            (&other.sender, other.id) == (&message.sender, message.id) && !is_nobodys(message.id)
        };
        if let Some(place) = log.iter().position(is_same) {
            return place as u64 + 1;
        }
        let seq = log.len() as u64 + 1;
        self.log.push(message.clone());
        if let (Subject::Change(change), Recipient::Group(group)) = (&message.subject, &message.recipient) {
            self.change(&message.sender, change, group);
        }
        seq
    }

    /// Moves marks forwards, and not beyond the head.
    fn move_marks(&mut self, new: &NewMarks) -> Answer {
        let Answer::HeadsLoaded { heads, .. } = self.heads(&new.user, 0) else { unreachable!() };
        let is_it = |head: &&Head| head.conversation == new.conversation && head.epoch == new.epoch;
        let Some(head) = heads.iter().find(is_it) else { return Answer::Refused };
        let known = self.marks.entry((new.user.clone(), new.conversation.clone())).or_default();
        let before = *known;
        let Marks { delivered, read } = known.max_of(new.marks);
        *known = Marks { delivered: delivered.min(head.seq), read: read.min(head.seq) };
        Answer::MarksStored(StoredMarks { marks: *known, has_moved: *known != before })
    }

    fn marks_of(&self, user: &UserId, conversation: &Recipient) -> Marks {
        self.marks.get(&(user.clone(), conversation.clone())).copied().unwrap_or_default()
    }

    /// Changes who belongs to a group; whether the sender may, no test of the engine asks.
    fn change(&mut self, sender: &UserId, change: &GroupChange, to: &GroupId) {
        let (user, kind) = match change {
            GroupChange::Create { .. } | GroupChange::Join => {
                (sender, DirectoryChangeKind::Joined(to.clone()))
            }
            GroupChange::Invite(user) => (user, DirectoryChangeKind::Joined(to.clone())),
            GroupChange::Leave => (sender, DirectoryChangeKind::Left(to.clone())),
            GroupChange::Kick(user) => (user, DirectoryChangeKind::Left(to.clone())),
            GroupChange::SetRole(..) | GroupChange::Mute(..) | GroupChange::Rename(_) => return,
        };
        self.revision += 1;
        if let DirectoryChangeKind::Joined(_) = kind {
            self.add_member(user.as_str(), to.as_str());
        } else {
            self.profile(user.as_str()).groups.retain(|group| group != to);
        }
        self.changes.push(DirectoryChange { revision: self.revision, user: user.clone(), kind });
    }

    /// Moves the place up to which everything has arrived at a user's classic clients over what has.
    fn receive(&mut self, told: &Received) -> Answer {
        self.told_received += 1;
        let of = (told.user.as_str().to_owned(), told.conversation.clone());
        let log = self.log_of(&told.user, &told.conversation);
        let mut seq = self.received.get(&of).copied().unwrap_or(0).max(told.seq);
        for message in log.iter().filter(|message| message.seq > seq).collect::<Vec<_>>() {
            let is_wanted = message.sender != told.user && message.content_type <= 5;
            if is_wanted && !told.beyond.contains(&message.seq) {
                break;
            }
            seq = message.seq;
        }
        self.received.insert(of, seq);
        Answer::ReceivedStored
    }

    /// What has not arrived at a user's classic clients; everything has at those of who comes for the first time.
    fn unreceived(&mut self, user: &UserId) -> Answer {
        let Answer::HeadsLoaded { heads, .. } = self.heads(user, 0) else { unreachable!() };
        let is_first = self.classic.insert(user.as_str().to_owned());
        let mut unreceived = Vec::new();
        for head in heads {
            let of = (user.as_str().to_owned(), head.conversation.clone());
            if is_first {
                self.received.insert(of, head.seq);
                continue;
            }
            let seq = self.received.get(&of).copied().unwrap_or(0);
            let log = self.log_of(user, &head.conversation);
            if log.iter().any(|message| message.seq > seq && message.sender != *user) {
                let conversation = head.conversation.clone();
                let (user, beyond) = (user.clone(), Vec::new());
                unreceived.push((head, Received { user, conversation, epoch: EPOCH, seq, beyond }));
            }
        }
        Answer::UnreceivedLoaded { unreceived, next: None }
    }

    /// Up to where everything has arrived at the classic clients of a user.
    pub(crate) fn received(&self, user: &str, of: &Recipient) -> u64 {
        self.received.get(&(user.to_owned(), of.clone())).copied().unwrap_or(0)
    }

    fn log_of(&self, reader: &UserId, of: &Recipient) -> Vec<StoredMessage> {
        let probe = NewMessage { sender: reader.clone(), recipient: of.clone(), ..nothing(reader) };
        let name = conversation(&probe);
        let log = self.log.iter().filter(|message| conversation(message) == name);
        log.enumerate().map(|(index, message)| kept(index as u64 + 1, message)).collect()
    }

    /// The heads of a user's conversations, a page at a time, in the order in which they began.
    fn heads(&self, user: &UserId, after: usize) -> Answer {
        let mut heads: Vec<Head> = Vec::new();
        for message in self.log.iter().filter(|message| self.is_participant(user, message)) {
            let of = match &message.recipient {
                Recipient::User(other) if other == user => Recipient::User(message.sender.clone()),
                Recipient::User(_) | Recipient::Group(_) => message.recipient.clone(),
            };
            match heads.iter_mut().find(|head| head.conversation == of) {
                Some(head) => head.seq += 1,
                None => heads.push(Head {
                    own: self.marks_of(user, &of),
                    peer: match &of {
                        Recipient::User(other) if other != user => {
                            self.marks_of(other, &Recipient::User(user.clone()))
                        }
                        Recipient::User(_) | Recipient::Group(_) => Marks::default(),
                    },
                    conversation: of,
                    epoch: EPOCH,
                    seq: 1,
                    first_seq: 1,
                }),
            }
        }
        let page = self.heads_per_page.unwrap_or(usize::MAX - after);
        let rest = heads.split_off(after.min(heads.len()));
        let next = (rest.len() > page).then_some((after + page) as u64);
        Answer::HeadsLoaded { heads: rest.into_iter().take(page).collect(), next }
    }

    /// When a user was last here, for who has something in common with it.
    fn seen(&self, watcher: &UserId, user: &UserId) -> Answer {
        let groups = self.profiles.get(user.as_str()).map(|profile| profile.groups.as_slice());
        let both = |message: &&NewMessage| match &message.recipient {
            Recipient::User(to) => {
                [&message.sender, to] == [watcher, user] || [to, &message.sender] == [watcher, user]
            }
            Recipient::Group(_) => false,
        };
        let know = groups.into_iter().flatten().any(|group| self.is_member(watcher, group))
            || self.log.iter().any(|message| both(&message))
            || watcher == user;
        match know {
            true => Answer::Seen { at_ms: self.seen.contains(user.as_str()).then_some(SEEN_AT_MS) },
            false => Answer::Refused,
        }
    }

    fn is_participant(&self, user: &UserId, message: &NewMessage) -> bool {
        match &message.recipient {
            Recipient::User(other) => other == user || message.sender == *user,
            Recipient::Group(group) => self.is_member(user, group),
        }
    }

    fn is_member(&self, user: &UserId, group: &GroupId) -> bool {
        self.profiles.get(user.as_str()).is_some_and(|profile| profile.groups.contains(group))
    }

    fn part(&self, range: &Range) -> Answer {
        let Range { reader, conversation: of, from_seq, backwards, limit, .. } = range;
        if let Recipient::Group(group) = of
            && !self.is_member(reader, group)
        {
            return Answer::Refused;
        }
        let probe = NewMessage { sender: reader.clone(), recipient: of.clone(), ..nothing(reader) };
        let name = conversation(&probe);
        let log = self.log.iter().filter(|message| conversation(message) == name);
        let log: Vec<_> = log.enumerate().map(|(index, message)| kept(index as u64 + 1, message)).collect();
        let head_seq = log.len() as u64;
        let limit = *limit as usize;
        let mut messages: Vec<_> = if *backwards {
            let from = if *from_seq == 0 { head_seq } else { *from_seq };
            log.into_iter().rev().filter(|message| message.seq <= from).take(limit).collect()
        } else {
            log.into_iter().filter(|message| message.seq >= *from_seq).take(limit).collect()
        };
        messages.sort_by_key(|message| message.seq);
        let epoch = if head_seq == 0 { 0 } else { EPOCH };
        Answer::MessagesLoaded(Messages { epoch, head_seq, first_seq: 1, messages, group_name: "".into() })
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

fn is_nobodys(id: MessageId) -> bool {
    id.0 == [0; 16]
}

fn nothing(sender: &UserId) -> NewMessage {
    NewMessage {
        sender: sender.clone(),
        id: MessageId([0; 16]),
        recipient: Recipient::User(sender.clone()),
        content_type: 1,
        content: "".into(),
        sender_name: "".into(),
        url: "".into(),
        file_suffix: "".into(),
        subject: Subject::Message,
    }
}

/// A message as the log has it at this place.
fn kept(seq: u64, message: &NewMessage) -> StoredMessage {
    StoredMessage {
        seq,
        id: message.id,
        sender: message.sender.clone(),
        sender_name: message.sender_name.clone(),
        avatar: Box::default(),
        content_type: message.content_type,
        content: message.content.clone(),
        url: message.url.clone(),
        stored_at_ms: STORED_AT_MS,
        subject: message.subject.clone(),
        changed_seq: 0,
        is_recalled: false,
    }
}

/// The epoch of every log.
pub(crate) const EPOCH: u64 = 77;

/// When everything was stored.
pub(crate) const STORED_AT_MS: i64 = 5_000;

/// When everybody was last here who has gone.
pub(crate) const SEEN_AT_MS: i64 = 9_000;

/// The place of that number in every log.
pub(crate) const fn place(seq: u64) -> Place {
    Place { epoch: EPOCH, seq, stored_at_ms: STORED_AT_MS }
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
