//! The two stores that the suite is run against: the simulator's model, and the runtime's database.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use switchboard::media::{MEDIA_FOLDER, MediaOptions, MediaStore};
use switchboard::store::{
    DATABASE_FILE, DataFolder, Directory, MARK_FILE, NewGroup, NewUser, Store, StoreEvent, StoreOptions,
};
use switchboard_engine::{Answer, DirectoryChange, GroupId, Recipient, Request, Subject, Ticket, UserId};
use switchboard_sim::store::{Conversation, SimStore, StoreCanary};
use tempfile::TempDir;

use super::{group, user};

/// Longer than anything takes; only a test that fails waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who is there from the beginning; nobody belongs to a group but its owner.
pub(crate) const USERS: [&str; 4] = ["alice", "bob", "carol", "witness"];
/// The groups and their owners.
pub(crate) const GROUPS: [(&str, &str); 2] = [("chess", "alice"), ("go", "bob")];
/// The group that nobody joins uninvited.
pub(crate) const CLOSED: &str = "go";

/// Users who are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strangers {
    /// Are refused.
    Refused,
    /// Come into being.
    Provisioned,
}

/// What a store tells a shard.
#[derive(Debug)]
pub(crate) enum Told {
    Answer(Ticket, Answer),
    Change(DirectoryChange),
}

/// A message as a conversation's log has it; changes of groups are left out.
pub(crate) type Entry = (u64, UserId, [u8; 16], Box<str>);

/// What a store offers.
pub(crate) trait Side {
    fn submit(&mut self, ticket: Ticket, request: Request);
    /// The next thing that it tells.
    fn next(&mut self) -> Told;
    /// Returns whether that was a change.
    fn set_member(&mut self, group: &GroupId, user: &UserId, member: bool) -> bool;
    /// The same.
    fn set_avatar(&mut self, user: &UserId, avatar: &str) -> bool;
    /// Dies as it is, and is opened again. What it had to tell is lost.
    fn crash(&mut self);
    fn history(&self, sender: &UserId, recipient: &Recipient) -> Vec<Entry>;
}

/// The simulator's model.
pub(crate) struct Model {
    store: SimStore,
    asked: VecDeque<(Ticket, Request)>,
    told: VecDeque<Told>,
}

impl Model {
    pub(crate) fn open(strangers: Strangers, bug: Option<StoreCanary>) -> Self {
        let mut store = SimStore::new(strangers == Strangers::Provisioned);
        USERS.iter().for_each(|name| store.create_user(user(name)));
        for (name, owner) in GROUPS {
            store.found_group(&group(name), &user(owner), name, name == CLOSED);
        }
        store.plant(bug);
        Self { store, asked: VecDeque::new(), told: VecDeque::new() }
    }

    fn tell(&mut self, change: Option<DirectoryChange>) {
        self.told.extend(change.map(Told::Change));
    }
}

impl Side for Model {
    fn submit(&mut self, ticket: Ticket, request: Request) {
        self.asked.push_back((ticket, request));
    }

    fn next(&mut self) -> Told {
        if let Some(told) = self.told.pop_front() {
            return told;
        }
        let (ticket, request) = self.asked.pop_front().expect("there is something to tell");
        let answer = self.store.answer(request);
        self.told.extend(self.store.take_announcements().into_iter().map(Told::Change));
        self.told.push_back(Told::Answer(ticket, answer));
        self.next()
    }

    fn set_member(&mut self, group: &GroupId, user: &UserId, member: bool) -> bool {
        let before = self.store.is_member(group, user);
        let change = self.store.set_member(group, user, member);
        self.tell(change);
        self.store.is_member(group, user) != before
    }

    fn set_avatar(&mut self, user: &UserId, avatar: &str) -> bool {
        let change = self.store.set_avatar(user, avatar);
        let changed = change.is_some();
        self.tell(change);
        changed
    }

    fn crash(&mut self) {
        self.asked.clear();
        self.told.clear();
        self.store.crash();
    }

    fn history(&self, sender: &UserId, recipient: &Recipient) -> Vec<Entry> {
        let conversation = Conversation::of(sender, recipient);
        let stored = self.store.log().iter().filter(|stored| {
            stored.conversation == conversation && stored.message.subject == Subject::Message
        });
        let entry = |stored: &switchboard_sim::store::Stored| {
            let message = &stored.message;
            (stored.seq, message.sender.clone(), message.id.0, self.store.text_of(stored))
        };
        stored.map(entry).collect()
    }
}

/// The runtime's store, and its media store, as a shard has them.
pub(crate) struct Sqlite {
    strangers: Strangers,
    directory: Directory,
    store: Store,
    media: MediaStore,
    events: Receiver<(usize, StoreEvent)>,
    told: VecDeque<Told>,
    /// Changes that another shard was told of, and shard 0 not yet.
    elsewhere: VecDeque<DirectoryChange>,
    folder: TempDir,
}

impl Sqlite {
    pub(crate) fn open(strangers: Strangers) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut directory = Directory::open(folder.path()).unwrap();
        for name in USERS {
            directory.create_user(&NewUser::new(user(name), name)).unwrap();
        }
        for (name, owner) in GROUPS {
            let (id, owner) = (group(name), user(owner));
            let new =
                NewGroup { id, name: name.into(), notice: String::new(), owner, invite_only: name == CLOSED };
            directory.create_group(&new).unwrap();
        }
        drop(directory);
        Self::start(folder, strangers)
    }

    fn start(folder: TempDir, strangers: Strangers) -> Self {
        let (sender, events) = mpsc::channel();
        let sink = || {
            let sender = sender.clone();
            Box::new(move |shard: usize, event: StoreEvent| drop(sender.send((shard, event))))
        };
        let lock = DataFolder::lock(folder.path()).unwrap();
        let options =
            StoreOptions { provision: strangers == Strangers::Provisioned, ..StoreOptions::default() };
        let store = Store::open(&lock, &options, 2, sink()).unwrap();
        let media = MediaStore::open(&lock, &MediaOptions::default(), 2, sink()).unwrap();
        let directory = store.directory().unwrap();
        Self {
            strangers,
            directory,
            store,
            media,
            events,
            told: VecDeque::new(),
            elsewhere: VecDeque::new(),
            folder,
        }
    }
}

impl Side for Sqlite {
    fn submit(&mut self, ticket: Ticket, request: Request) {
        let store = if request.file().is_some() { self.media.handle() } else { self.store.handle() };
        store.submit(0, ticket, request);
    }

    fn next(&mut self) -> Told {
        loop {
            if let Some(told) = self.told.pop_front() {
                return told;
            }
            match self.events.recv_timeout(PATIENCE).expect("the store tells something") {
                (_, StoreEvent::Answers(answers)) => {
                    self.told
                        .extend(answers.into_iter().map(|(ticket, answer)| Told::Answer(ticket, answer)));
                }
                (0, StoreEvent::Directory(changes)) => {
                    let elsewhere: Vec<_> = self.elsewhere.drain(..).collect();
                    assert_eq!(changes, elsewhere, "every shard is told the same");
                    self.told.extend(changes.into_iter().map(Told::Change));
                }
                (_, StoreEvent::Directory(changes)) => self.elsewhere.extend(changes),
            }
        }
    }

    fn set_member(&mut self, group: &GroupId, user: &UserId, member: bool) -> bool {
        let done = if member { self.directory.join(group, user) } else { self.directory.leave(group, user) };
        done.unwrap_or(false)
    }

    fn set_avatar(&mut self, user: &UserId, avatar: &str) -> bool {
        self.directory.set_avatar(user, avatar).unwrap_or(false)
    }

    /// Goes on with a copy of the files as they are at this moment: what a process leaves that is killed. The
    /// database is not written to before its log is too long, so copying it before the log gives no mixture.
    fn crash(&mut self) {
        let folder = tempfile::tempdir().unwrap();
        let copy = |name: &Path| {
            let from = self.folder.path().join(name);
            from.exists().then(|| fs::copy(&from, folder.path().join(name)).unwrap());
        };
        // First, as it is written after the commits that it counts: a mark ahead of them is a loss.
        copy(Path::new(MARK_FILE));
        copy(Path::new(DATABASE_FILE));
        copy(Path::new(&format!("{DATABASE_FILE}-wal")));
        fs::create_dir(folder.path().join(MEDIA_FOLDER)).unwrap();
        for entry in fs::read_dir(self.folder.path().join(MEDIA_FOLDER)).unwrap() {
            copy(&Path::new(MEDIA_FOLDER).join(entry.unwrap().file_name()));
        }
        *self = Self::start(folder, self.strangers);
    }

    fn history(&self, sender: &UserId, recipient: &Recipient) -> Vec<Entry> {
        use switchboard::store::Conversation;
        let conversation = match recipient {
            Recipient::User(user) => Conversation::Direct(sender.clone(), user.clone()),
            Recipient::Group(group) => Conversation::Group(group.clone()),
        };
        let found = self.directory.history(&conversation, 1..=u64::MAX, u32::MAX).unwrap();
        let messages = found.into_iter().filter(|entry| entry.subject == Subject::Message);
        messages.map(|m| (m.seq, m.sender, m.id.0, m.content)).collect()
    }
}
