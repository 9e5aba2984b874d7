//! The hub: the one task that owns the map, stores, looks groups up, and hands every message over.

use bytes::Bytes;
use switchboard_engine::{
    Answer, ConnId, FileSource, FileUpload, GroupId, MessageId, NewMessage, Recipient, Request, Ticket,
    UserId,
};
use switchboard_proto::classic::Message;

use super::{
    Effect, OriginalHub, Task,
    channel::{Panic, Received, Sent},
    client::Writer,
    wire,
};

/// What the hub waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Anything: a login, a logout, a message.
    Work,
    /// That this connection's write loop takes a message from it. Everybody else waits for the hub meanwhile.
    HandOver(ConnId),
    /// That the store answers. Everybody waits for the hub meanwhile.
    Store(Ticket),
}

/// What the hub has taken from one of its channels.
#[derive(Debug)]
pub(super) enum Mail {
    Register(ConnId),
    Unregister(ConnId),
    Broadcast(Bytes),
}

/// What the hub does in its next step.
///
/// ```text
/// Select ──► Mail ──► (store) FileKept ──► Stored ──► Select
///              │                             ├──► Members ──► ToMember ⇄ WithAvatar ──► Select
///              └──► Broadcast ──► Select
/// ```
#[derive(Debug, Default)]
enum Work {
    #[default]
    Select,
    Mail(Mail),
    /// The store has answered for the message's file.
    FileKept(Box<Message>),
    /// The store has answered for the message; whatever it said.
    Stored(Box<Message>),
    /// Looks for the group's members among the registered users.
    Members {
        message: Box<Message>,
        asked: Option<UserId>,
        left: Vec<UserId>,
        found: Vec<UserId>,
    },
    /// Goes through the members.
    ToMember {
        message: Box<Message>,
        left: Vec<UserId>,
    },
    /// The store has answered for the sender's picture.
    WithAvatar {
        message: Box<Message>,
        member: UserId,
        left: Vec<UserId>,
    },
    /// Goes through everybody.
    Broadcast {
        message: Bytes,
        left: Vec<UserId>,
    },
}

/// The hub's task.
#[derive(Debug, Default)]
pub(super) struct Hub {
    work: Work,
    waiting: Option<Waiting>,
    answer: Option<Answer>,
}

impl Hub {
    pub(super) const fn waiting(&self) -> Option<Waiting> {
        self.waiting
    }
}

impl OriginalHub {
    /// The hub waited in its `select`, and somebody has sent.
    pub(super) fn hub_takes(&mut self, mail: Mail) {
        self.register.forget_receiver(Task::Hub);
        self.unregister.forget_receiver(Task::Hub);
        self.broadcast.forget_receiver(Task::Hub);
        self.hub.waiting = None;
        self.hub.work = Work::Mail(mail);
        self.wake(Task::Hub);
    }

    pub(super) fn answered(&mut self, ticket: Ticket, answer: Answer) {
        if self.hub.waiting == Some(Waiting::Store(ticket)) {
            self.hub.answer = Some(answer);
            // One wake for one answer: a repeated one finds nobody who waits.
            self.hub.waiting = None;
            self.wake(Task::Hub);
        }
    }

    pub(super) fn hub_step(&mut self) -> Result<(), Panic> {
        self.hub.waiting = None;
        match core::mem::take(&mut self.hub.work) {
            Work::Select => self.select(),
            Work::Mail(Mail::Register(conn)) => return self.login(conn),
            Work::Mail(Mail::Unregister(conn)) => return self.logout(conn),
            Work::Mail(Mail::Broadcast(message)) => return self.route(message),
            Work::FileKept(message) => self.file_kept(message),
            Work::Stored(message) => return self.deliver(message),
            Work::Members { message, asked, left, found } => self.members(message, asked, left, found),
            Work::ToMember { message, left } => self.next_member(message, left),
            Work::WithAvatar { message, member, left } => return self.with_avatar(message, &member, left),
            Work::Broadcast { message, left } => return self.broadcast(message, left),
        }
        Ok(())
    }

    /// Goes on with this in the hub's next step.
    fn then(&mut self, work: Work) {
        self.hub.work = work;
        self.wake(Task::Hub);
    }

    fn select(&mut self) {
        let waiting = [self.register.has_sender(), self.unregister.has_sender(), self.broadcast.has_sender()];
        let count = waiting.iter().filter(|has| **has).count();
        if count == 0 {
            self.hub.waiting = Some(Waiting::Work);
            // They find no sender, so the hub waits at all three.
            let _parked = self.register.receive(Task::Hub);
            let _parked = self.unregister.receive(Task::Hub);
            let _parked = self.broadcast.receive(Task::Hub);
            return;
        }
        let nth = self.draw(count);
        let chosen = waiting.iter().enumerate().filter(|(_, has)| **has).nth(nth).map(|(at, _)| at);
        let (from, mail) = match chosen {
            Some(0) => taken(self.register.receive(Task::Hub), Mail::Register),
            Some(1) => taken(self.unregister.receive(Task::Hub), Mail::Unregister),
            _ => taken(self.broadcast.receive(Task::Hub), Mail::Broadcast),
        }
        .unzip();
        if let Some(from) = from {
            self.wake(from);
        }
        self.then(mail.map_or(Work::Select, Work::Mail));
    }

    fn login(&mut self, conn: ConnId) -> Result<(), Panic> {
        let Some(client) = self.clients.get(&conn) else { return Ok(()) };
        let welcome = wire::welcome(&client.name);
        self.registered.insert(client.name.clone(), conn);
        self.hand_over(conn, welcome, Work::Select)
    }

    /// Looks in the map by name, and closes the channel of whoever unregisters: not the same, if the user has
    /// logged in again.
    fn logout(&mut self, conn: ConnId) -> Result<(), Panic> {
        let known = self.clients.get(&conn).is_some_and(|client| self.registered.contains_key(&client.name));
        if known {
            self.evict(conn)?;
        }
        self.then(Work::Select);
        Ok(())
    }

    fn evict(&mut self, conn: ConnId) -> Result<(), Panic> {
        let Some(client) = self.clients.get_mut(&conn) else { return Ok(()) };
        let waiting = client.send.close()?;
        self.registered.remove(&client.name);
        for task in waiting {
            client.writer = Writer::Closing;
            debug_assert_eq!(
                task,
                Task::Writer(conn),
                "only its write loop receives from a client's channel"
            );
            self.ready.push(task);
        }
        Ok(())
    }

    /// Sends to a client's channel, and goes on when its write loop has taken the message: if ever.
    fn hand_over(&mut self, conn: ConnId, message: Bytes, after: Work) -> Result<(), Panic> {
        let Some(client) = self.clients.get_mut(&conn) else {
            self.then(after);
            return Ok(());
        };
        match client.send.send(Task::Hub, message)? {
            Sent::Taken { by, value } => {
                client.writer = Writer::Holding(value);
                self.wake(by);
                self.then(after);
            }
            Sent::Parked => {
                self.hub.waiting = Some(Waiting::HandOver(conn));
                self.hub.work = after;
            }
        }
        Ok(())
    }

    fn ask(&mut self, request: Request, after: Work) {
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        self.effects.push_back(Effect::Request { ticket, request });
        self.hub.waiting = Some(Waiting::Store(ticket));
        self.hub.work = after;
    }

    fn route(&mut self, bytes: Bytes) -> Result<(), Panic> {
        let message = wire::read(&bytes);
        if message.to.is_empty() {
            let mut left: Vec<UserId> = self.registered.keys().cloned().collect();
            // Go goes through a map in an order that it draws anew each time.
            for end in (1..left.len()).rev() {
                let with = self.draw(end + 1);
                left.swap(end, with);
            }
            self.then(Work::Broadcast { message: bytes, left });
            Ok(())
        } else if wire::STORED.contains(&message.content_type) {
            self.store(Box::new(message))
        } else if let Some(conn) = self.registered.get(message.to.as_str()) {
            self.hand_over(*conn, bytes, Work::Select)
        } else {
            self.then(Work::Select);
            Ok(())
        }
    }

    /// Stores the message if the user that it names as its sender is registered here.
    fn store(&mut self, message: Box<Message>) -> Result<(), Panic> {
        let Some((owner, _)) = self.registered.get_key_value(message.from.as_str()) else {
            self.then(Work::Stored(message));
            return Ok(());
        };
        let source = match message.content_type {
            wire::FILE if wire::cuts_past_the_end(&message.content) => {
                return Err(Panic("slice bounds out of range"));
            }
            wire::FILE => FileSource::DataUrl(message.content.as_str().into()),
            wire::IMAGE => FileSource::Bytes(message.file.clone()),
            _ => {
                self.store_message(message);
                return Ok(());
            }
        };
        let upload = FileUpload { owner: owner.clone(), suffix: message.file_suffix.as_str().into(), source };
        self.ask(Request::StoreFile(upload), Work::FileKept(message));
        Ok(())
    }

    fn file_kept(&mut self, mut message: Box<Message>) {
        // Whatever goes wrong with the file, the message is not stored, and goes out as it came.
        let Some(Answer::FileStored { name, kind }) = self.hub.answer.take() else {
            self.then(Work::Stored(message));
            return;
        };
        message.url = name.into_string();
        if message.content_type == wire::FILE {
            message.content.clear();
        } else {
            message.file = Bytes::new();
            message.content_type = wire::content_type(kind);
        }
        self.store_message(message);
    }

    fn store_message(&mut self, message: Box<Message>) {
        let recipient = match message.message_type {
            wire::ONE_TO_ONE => UserId::new(&message.to).ok().map(Recipient::User),
            wire::GROUP => GroupId::new(&message.to).ok().map(Recipient::Group),
            _ => None,
        };
        // Without either, it would be stored where nobody finds it, and handed to nobody.
        let (Some(recipient), Ok(sender)) = (recipient, UserId::new(&message.from)) else {
            self.then(Work::Stored(message));
            return;
        };
        self.messages += 1;
        let stored = NewMessage {
            sender,
            id: MessageId((u128::from(self.process) << 64 | u128::from(self.messages)).to_be_bytes()),
            recipient,
            content_type: u8::try_from(message.content_type).unwrap_or_default(),
            content: message.content.as_str().into(),
            sender_name: message.from_username.as_str().into(),
            url: message.url.as_str().into(),
            file_suffix: message.file_suffix.as_str().into(),
            subject: switchboard_engine::Subject::Message,
        };
        self.ask(Request::StoreMessage(Box::new(stored)), Work::Stored(message));
    }

    /// Hands a message over that was to be stored: whether it was or not.
    fn deliver(&mut self, message: Box<Message>) -> Result<(), Panic> {
        self.hub.answer = None;
        match message.message_type {
            wire::ONE_TO_ONE => {
                if let Some(conn) = self.registered.get(message.to.as_str()) {
                    return self.hand_over(*conn, wire::write(&message), Work::Select);
                }
                self.then(Work::Select);
            }
            wire::GROUP => {
                let left = self.registered.keys().rev().cloned().collect();
                self.then(Work::Members { message, asked: None, left, found: Vec::new() });
            }
            _ => self.then(Work::Select),
        }
        Ok(())
    }

    fn members(
        &mut self,
        message: Box<Message>,
        asked: Option<UserId>,
        mut left: Vec<UserId>,
        mut found: Vec<UserId>,
    ) {
        if let (Some(user), Some(Answer::UserLoaded(profile))) = (asked, self.hub.answer.take())
            && profile.groups.iter().any(|group| group.as_str() == message.to)
        {
            found.push(user);
        }
        match left.pop() {
            Some(user) => {
                let request = Request::LoadUser(user.clone());
                self.ask(request, Work::Members { message, asked: Some(user), left, found });
            }
            None => {
                found.reverse();
                self.then(Work::ToMember { message, left: found });
            }
        }
    }

    /// Asks for the sender's picture, once for every member.
    fn next_member(&mut self, message: Box<Message>, mut left: Vec<UserId>) {
        let Some(member) = left.pop() else { return self.then(Work::Select) };
        if member.as_str() == message.from {
            return self.then(Work::ToMember { message, left });
        }
        match UserId::new(&message.from) {
            Ok(sender) => self.ask(Request::LoadUser(sender), Work::WithAvatar { message, member, left }),
            Err(_) => self.then(Work::WithAvatar { message, member, left }),
        }
    }

    fn with_avatar(
        &mut self,
        message: Box<Message>,
        member: &UserId,
        left: Vec<UserId>,
    ) -> Result<(), Panic> {
        let avatar = match self.hub.answer.take() {
            Some(Answer::UserLoaded(profile)) => profile.avatar,
            _ => Box::default(),
        };
        let frame = wire::group_form(&message, &avatar);
        let after = Work::ToMember { message, left };
        match self.registered.get(member) {
            Some(conn) => self.hand_over(*conn, frame, after),
            None => {
                self.then(after);
                Ok(())
            }
        }
    }

    /// Hands the bytes to the next one, or throws it out if its write loop does not happen to wait.
    fn broadcast(&mut self, message: Bytes, mut left: Vec<UserId>) -> Result<(), Panic> {
        let Some(user) = left.pop() else {
            self.then(Work::Select);
            return Ok(());
        };
        let conn = self.registered.get(&user).copied();
        if let Some((conn, client)) = conn.and_then(|conn| Some((conn, self.clients.get_mut(&conn)?))) {
            match client.send.try_send()? {
                Some(task) => {
                    client.writer = Writer::Holding(message.clone());
                    self.wake(task);
                }
                None => self.evict(conn)?,
            }
        }
        self.then(Work::Broadcast { message, left });
        Ok(())
    }
}

fn taken<T>(received: Received<T>, mail: impl FnOnce(T) -> Mail) -> Option<(Task, Mail)> {
    match received {
        Received::Value { from, value } => Some((from, mail(value))),
        Received::Closed | Received::Parked => None,
    }
}
