//! Stored messages, from the connection that they came over to the store, and from there to delivery.

use bytes::Bytes;
use switchboard_engine::{Answer, FileUpload, NewMessage, Recipient, Record, Request, Stats, Topic};

use super::{Aside, Check, ConnKey, MessageKey, Phase, Route, Use, sessions::Fan};
use crate::{
    wire::{self, Token, View, is_own_copy, record_seq, stored_token},
    world,
};

/// How far a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Its file, or the store, is waited for.
    Waiting { filed: bool },
    /// The log has it.
    Stored { seq: u64 },
    /// The log has it not, as far as the engine knows.
    Failed,
}

/// One arrival of a message that is to be stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instance {
    pub(crate) message: MessageKey,
    /// Its place among all that were routed: what departed and what waited is routed in one event.
    pub(crate) number: u64,
    pub(crate) state: State,
    /// The request that it waits for.
    pub(crate) ticket: u64,
    /// It may have been refused.
    pub(crate) optional: bool,
    pub(crate) media: bool,
    /// Its file was handed on.
    pub(crate) uploading: bool,
    /// It was handed to the store.
    pub(crate) requested: bool,
    pub(crate) sent: bool,
    /// It was sent to the recipient's sessions.
    pub(crate) pushed: bool,
    /// It was sent to its sender's other sessions.
    pub(crate) pushed_to_own: bool,
    /// It was sent to the sessions of whom it concerns, who is no member.
    pub(crate) pushed_to_concerned: bool,
    pub(crate) published: bool,
    /// The sender's devices at other engines were told of it.
    pub(crate) copied: bool,
    /// A session submitted it, and waits for an answer.
    pub(crate) awaited: bool,
    /// The same message was delivered while this one waited.
    pub(crate) repeats: bool,
    /// Whether the log had it before this request: only its place is told, and it is no repeat's first.
    pub(crate) is_earlier: bool,
}

impl Instance {
    pub(crate) const fn new(
        message: MessageKey,
        number: u64,
        optional: bool,
        media: bool,
        awaited: bool,
    ) -> Self {
        Self {
            message,
            number,
            state: State::Waiting { filed: false },
            ticket: u64::MAX,
            optional,
            media,
            uploading: false,
            requested: false,
            sent: false,
            pushed: false,
            pushed_to_own: false,
            pushed_to_concerned: false,
            published: false,
            copied: false,
            awaited,
            repeats: false,
            is_earlier: false,
        }
    }

    pub(crate) const fn is_settled(&self) -> bool {
        matches!(self.state, State::Stored { .. } | State::Failed)
    }

    /// Whether what comes after it must wait for its file.
    const fn blocks(&self) -> bool {
        !self.is_settled() && self.uploading && !self.requested
    }

    /// Whether a later message may be handed to the store.
    const fn is_passed(&self) -> bool {
        self.requested || self.is_settled() || (self.optional && !self.uploading)
    }

    /// Whether a later message may be delivered: this one is nobody's to deliver.
    const fn is_void(&self) -> bool {
        self.repeats
            || matches!(self.state, State::Failed)
            || (self.optional && !self.uploading && !self.requested)
    }

    /// Whether it was sent to these.
    pub(crate) const fn reached(&self, fan: Fan) -> bool {
        match fan {
            Fan::Classic => self.sent,
            Fan::Sessions => self.pushed,
            Fan::Own => self.pushed_to_own,
            Fan::Concerned => self.pushed_to_concerned,
        }
    }

    pub(crate) const fn reach(&mut self, fan: Fan) {
        match fan {
            Fan::Classic => self.sent = true,
            Fan::Sessions => self.pushed = true,
            Fan::Own => self.pushed_to_own = true,
            Fan::Concerned => self.pushed_to_concerned = true,
        }
    }
}

impl Check {
    /// The engine asks the store.
    pub(crate) fn requests(&mut self, shard: usize, ticket: u64, request: &Request) {
        let mut replaced_ns = None;
        let purpose = match request {
            Request::LoadUser(user) => {
                let user = wire::index(user.as_str()).unwrap_or(0);
                let now_ns = self.watches[shard].now_ns;
                let told = &mut self.watches[shard].told[user as usize];
                let pause_ns = self.settings.reload_interval_ms * 1_000_000;
                let hasty = told.failed_ns.take().is_some_and(|failed_ns| now_ns < failed_ns + pause_ns);
                if let Some(old) = told.ticket.replace(ticket) {
                    replaced_ns = self.watches[shard].tickets.remove(&old).map(|(_, expires_ns)| expires_ns);
                }
                if hasty {
                    self.fail("bounded", |_| format!("the load of u{user} is tried again too soon"));
                }
                Some(Use::Load(user))
            }
            Request::StoreMessage(new) => {
                self.stores(shard, ticket, new).map(|(conn, key)| Use::Store(conn, key))
            }
            Request::StoreFile(upload) => {
                self.uploads(shard, ticket, upload).map(|(conn, key)| Use::File(conn, key))
            }
            Request::LoadHeads { user, .. } => self.asks_heads(shard, ticket, user),
            Request::LoadMessages(range) => self.asks_messages(shard, ticket, range),
            Request::StoreMarks(new) => self.stores_marks(ticket, new),
            Request::StoreSeen(_) if self.settings.presence == 0 => {
                self.fail("protocol", |_| "when a user was here is kept, and nobody may know".to_owned());
                None
            }
            Request::LoadSeen { .. } | Request::StoreSeen(_) => {
                self.watches[shard].asides.insert(ticket, Aside::Other);
                None
            }
            Request::StoreReceived(_) | Request::LoadUnreceived { .. } if !self.resends() => {
                self.fail("protocol", |_| format!("nobody needs {request:?}"));
                None
            }
            Request::StoreReceived(_) => {
                self.watches[shard].asides.insert(ticket, Aside::Other);
                None
            }
            Request::LoadUnreceived { user, .. } => {
                self.asks_unreceived(shard, ticket, user);
                None
            }
        };
        let Some(purpose) = purpose else { return };
        let watch = &mut self.watches[shard];
        // What takes the place of an earlier request is waited for no longer than that.
        let timeout_ns = self.settings.request_timeout_ms * 1_000_000;
        let expires_ns = replaced_ns.unwrap_or(watch.now_ns + timeout_ns);
        watch.tickets.insert(ticket, (purpose, expires_ns));
        let place = watch.expiry.partition_point(|(_, other_ns)| *other_ns <= expires_ns);
        watch.expiry.insert(place, (ticket, expires_ns));
    }

    fn stores(&mut self, shard: usize, ticket: u64, new: &NewMessage) -> Option<(ConnKey, MessageKey)> {
        let token = stored_token(new);
        let Some(key) = token.and_then(|token| self.message(token)) else {
            self.fail("no-spoof", |_| format!("the store is asked to keep what nobody said: {new:?}"));
            return None;
        };
        let said = &mut self.said[key as usize];
        said.stored += 1;
        let (sender, route, token) = (said.sender, said.route, said.token);
        if wire::index(new.sender.as_str()) != Some(sender) {
            self.fail("no-spoof", |_| format!("{token} is stored as {}'s", new.sender));
        }
        let right = match (&new.recipient, route) {
            (Recipient::User(user), Route::User(to)) => wire::index(user.as_str()) == Some(to),
            (Recipient::Group(group), Route::Group(to)) => wire::index(group.as_str()) == Some(to),
            (Recipient::User(_) | Recipient::Group(_), _) => false,
        };
        if !right {
            self.fail("no-leak", |_| {
                format!("{token} is stored for {:?}, and is for {route:?}", new.recipient)
            });
        }
        let is_entry = self.said[key as usize].is_entry();
        if new.subject != self.said[key as usize].subject || (1..=5).contains(&new.content_type) == is_entry {
            self.fail("protocol", |_| format!("{token} is stored as contentType {}", new.content_type));
        }
        let found = self.next_to_store(shard, key);
        let Some((conn, place)) = found else {
            // What a member says is expected when it arrives; leaving the group later does not change that.
            if let Route::Group(group) = route
                && !self.may(shard, group, sender)
            {
                self.fail("no-leak", |_| format!("{token} to g{group} is taken from u{sender}, no member"));
            }
            self.fail("exactly-once", |_| format!("{token} is stored more often than it arrived"));
            return None;
        };
        let pipeline = &mut self.seats[conn as usize].pipeline;
        let in_order = pipeline.iter().take(place).all(Instance::is_passed);
        let instance = &mut pipeline[place];
        (instance.requested, instance.ticket) = (true, ticket);
        let filed = !instance.media || instance.state == (State::Waiting { filed: true });
        if !in_order {
            self.fail("one-order", |_| format!("{token} goes to the store before what was sent before it"));
        } else if !filed {
            self.fail("accepted-is-durable", |_| format!("{token} goes to the store without its file"));
        }
        Some((conn, key))
    }

    fn uploads(&mut self, shard: usize, ticket: u64, upload: &FileUpload) -> Option<(ConnKey, MessageKey)> {
        let Some(key) = Token::read(&upload.suffix).and_then(|token| self.message(token)) else {
            self.fail("no-spoof", |_| "the store is asked to keep a file that nobody sent".to_owned());
            return None;
        };
        let said = &self.said[key as usize];
        let (sender, token, route) = (said.sender, said.token, said.route);
        if wire::index(upload.owner.as_str()) != Some(sender) {
            self.fail("no-spoof", |_| format!("the file of {token} is kept as {}'s", upload.owner));
        }
        let Some((conn, place)) = self.instance(shard, key, |i| !i.uploading && !i.is_settled()) else {
            if let Route::Group(group) = route
                && !self.may(shard, group, sender)
            {
                self.fail("no-leak", |_| format!("{token} to g{group} is taken from u{sender}, no member"));
            }
            self.fail("exactly-once", |_| format!("the file of {token} is kept twice"));
            return None;
        };
        let pipeline = &mut self.seats[conn as usize].pipeline;
        let in_order = pipeline.iter().take(place).all(Instance::is_passed);
        (pipeline[place].uploading, pipeline[place].ticket) = (true, ticket);
        if !in_order {
            self.fail("one-order", |_| format!("the file of {token} is kept before what was sent before it"));
        }
        Some((conn, key))
    }

    /// The arrival of a message that goes to the store next: of several, the first that was routed of those that
    /// nothing is before.
    fn next_to_store(&self, shard: usize, key: MessageKey) -> Option<(ConnKey, usize)> {
        let waits = |instance: &Instance| !instance.requested && !instance.is_settled();
        let found = self.instance(shard, key, waits)?;
        let conns = &self.said[key as usize].conns;
        let first = |conn: &ConnKey| {
            let seat = &self.seats[*conn as usize];
            let place = seat.pipeline.iter().position(|i| i.message == key && waits(i))?;
            let is_next =
                usize::from(seat.shard) == shard && seat.pipeline.iter().take(place).all(Instance::is_passed);
            is_next.then_some((*conn, place))
        };
        // Most messages arrive once.
        if conns.len() == 1 {
            return Some(found);
        }
        let number = |(conn, place): &(ConnKey, usize)| self.seats[*conn as usize].pipeline[*place].number;
        conns.iter().filter_map(first).min_by_key(number).or(Some(found))
    }

    /// The arrival of a message at a shard that a condition holds for.
    pub(crate) fn instance(
        &self,
        shard: usize,
        key: MessageKey,
        holds: impl Fn(&Instance) -> bool,
    ) -> Option<(ConnKey, usize)> {
        let find = |conn: &ConnKey| {
            let seat = &self.seats[*conn as usize];
            let place = || seat.pipeline.iter().position(|i| i.message == key && holds(i));
            (usize::from(seat.shard) == shard).then(place).flatten().map(|place| (*conn, place))
        };
        let conns = &self.said[key as usize].conns;
        // What was submitted over several connections moves where the event has moved something.
        let touched = || conns.iter().filter(|conn| self.cause.touched.contains(conn));
        let moved = if conns.len() > 1 { touched().find_map(find) } else { None };
        moved.or_else(|| conns.iter().find_map(find))
    }

    /// A stored message is about to be delivered where it was stored: it must be its turn. Gives the
    /// connection that it came from.
    pub(crate) fn take_turn(&mut self, shard: usize, key: MessageKey, fan: Fan) -> Option<ConnKey> {
        let turn = |i: &Instance| {
            matches!(i.state, State::Stored { .. }) && !i.reached(fan) && !i.repeats && !i.is_earlier
        };
        let token = self.said[key as usize].token;
        let Some((conn, place)) = self.instance(shard, key, turn) else {
            let again = self.instance(shard, key, |i| i.reached(fan) || i.repeats || i.is_earlier).is_some();
            let check = if again { "exactly-once" } else { "accepted-is-durable" };
            self.fail(check, |_| match again {
                true => format!("{token} is delivered again"),
                false => format!("{token} is delivered and not stored"),
            });
            return None;
        };
        let mut in_order = true;
        for earlier in 0..place {
            let instance = self.seats[conn as usize].pipeline[earlier];
            in_order &= instance.is_void() || self.is_through(shard, conn, earlier);
        }
        self.seats[conn as usize].pipeline[place].reach(fan);
        self.mark_repeats(conn, place);
        if !in_order {
            self.fail("one-order", |_| format!("{token} is delivered before what was sent before it"));
        }
        Some(conn)
    }

    /// Whether a stored message has reached everybody who is here.
    fn is_through(&mut self, shard: usize, conn: ConnKey, place: usize) -> bool {
        let instance = self.seats[conn as usize].pipeline[place];
        if !matches!(instance.state, State::Stored { .. })
            || (self.must_publish(shard, instance.message) && !instance.published)
        {
            return false;
        }
        for fan in Fan::ALL {
            if !instance.reached(fan) {
                if self.left_out(shard, instance.message, Some(conn), fan) > 0 {
                    return false;
                }
                // Its turn is over, though nobody was there to receive it.
                self.seats[conn as usize].pipeline[place].reach(fan);
            }
        }
        true
    }

    /// What a session has submitted again while it waited is not delivered again.
    pub(crate) fn mark_repeats(&mut self, conn: ConnKey, place: usize) {
        let pipeline = &mut self.seats[conn as usize].pipeline;
        let message = pipeline[place].message;
        let later = pipeline.iter_mut().skip(place + 1);
        later.filter(|i| i.message == message && i.awaited).for_each(|i| i.repeats = true);
    }

    /// Whether others than this shard may have connections of a user.
    pub(crate) fn may_be_elsewhere(&self, shard: usize, user: u16) -> bool {
        let s = &self.settings;
        self.peers && (s.nodes > 1 || world::home(user, s.shards) != shard)
    }

    /// Whether a shard has to tell the others of a message.
    pub(crate) fn must_publish(&self, shard: usize, key: MessageKey) -> bool {
        let said = &self.said[key as usize];
        match said.route {
            Route::User(to) | Route::Relay(to) => self.may_be_elsewhere(shard, to),
            Route::Call => said.call_peer.is_none_or(|to| self.may_be_elsewhere(shard, to)) && self.peers,
            Route::Group(_) | Route::Everyone => self.peers,
        }
    }

    /// The engine tells the others of a message.
    pub(crate) fn publishes(&mut self, shard: usize, record: &Record) {
        let Some((view, key)) = self.known(&record.message) else {
            return self.fail("no-spoof", |_| format!("what nobody said is published: {record:?}"));
        };
        let said = &self.said[key as usize];
        let (token, route, sender, call_peer) = (said.token, said.route, said.sender, said.call_peer);
        if wire::index(view.from) != Some(sender) {
            self.fail("no-spoof", |_| format!("{token} is published as from {}", view.from));
        }
        let number = |id: &str| wire::index(id);
        let is_copy = is_own_copy(record, &view);
        let right = match (&record.topic, route) {
            (Topic::User(_), Route::User(_)) if is_copy => true,
            (Topic::User(user), Route::User(to) | Route::Relay(to)) => number(user.as_str()) == Some(to),
            (Topic::User(user), Route::Call) => number(user.as_str()) == call_peer,
            (Topic::Group(group), Route::Group(to)) => number(group.as_str()) == Some(to),
            (Topic::Everyone, Route::Everyone) => true,
            (Topic::User(_) | Topic::Group(_) | Topic::Everyone | Topic::Presence(_), _) => false,
        };
        if !right || !self.peers {
            self.fail("no-leak", |_| format!("{token} for {route:?} is published to {:?}", record.topic));
        }
        let must_publish = self.must_publish(shard, key);
        match route {
            Route::User(_) | Route::Group(_) => {
                // The copy follows what it is a copy of.
                let turn = |i: &Instance| {
                    let due =
                        if is_copy { (i.published || !must_publish) && !i.copied } else { !i.published };
                    matches!(i.state, State::Stored { .. }) && due && !i.repeats
                };
                let Some((conn, place)) = self.instance(shard, key, turn) else {
                    return self
                        .fail("accepted-is-durable", |_| format!("{token} is published and not stored"));
                };
                let instance = &mut self.seats[conn as usize].pipeline[place];
                instance.published = true;
                instance.copied |= is_copy;
                let instance = *instance;
                self.mark_repeats(conn, place);
                if !matches!(instance.state, State::Stored { seq } if record_seq(record) == Some(seq)) {
                    self.fail("one-order", |_| format!("{token} is published as {:?}", record.stored));
                }
            }
            Route::Relay(_) | Route::Call | Route::Everyone => {
                let owed = self.cause.owed.iter_mut().find(|owed| owed.message == key && !owed.published);
                match owed {
                    Some(owed) => owed.published = true,
                    None => self.fail("exactly-once", |_| format!("{token} is published again")),
                }
            }
        }
    }

    /// The message that a frame is.
    pub(crate) fn known_message(&self, bytes: &[u8]) -> Option<MessageKey> {
        self.message(View::token_of(bytes)?)
    }

    /// A frame's fields and the message that it is.
    pub(crate) fn known<'a>(&self, bytes: &'a Bytes) -> Option<(View<'a>, MessageKey)> {
        let view = View::read(bytes)?;
        let key = self.message(view.token()?)?;
        Some((view, key))
    }

    /// All that followed from an event was seen: nothing that had to may be missing.
    pub(crate) fn end(&mut self, shard: usize, stats: &Stats) {
        if !self.is_on {
            return;
        }
        self.route_given_up(shard);
        let touched = core::mem::take(&mut self.cause.touched);
        touched.iter().for_each(|conn| self.settle_pipeline(shard, *conn));
        self.cause.touched = touched;
        self.end_deliveries(shard);
        self.end_sessions(shard);
        self.end_asking();
        self.end_interest(shard);
        self.end_intake();
        self.end_admission();
        self.end_authority(shard, stats);
        self.end_accounts(shard, stats);
    }

    fn settle_pipeline(&mut self, shard: usize, conn: ConnKey) {
        let mut blocked = false;
        for place in 0..self.seats[conn as usize].pipeline.len() {
            let instance = self.seats[conn as usize].pipeline[place];
            let missed = !instance.requested && !instance.uploading && !instance.is_settled();
            if missed && !instance.optional && !blocked {
                let token = self.said[instance.message as usize].token;
                self.fail("delivery", |_| format!("{token} is neither stored nor refused"));
            }
            blocked |= instance.blocks() || (missed && blocked);
        }
        let taken = self.seats[conn as usize].pipeline.iter().filter(|i| i.requested || i.uploading);
        if taken.count() as u64 > self.settings.pending_per_connection {
            self.fail("bounded", |check| format!("too much of {} waits for the store", check.name(conn)));
        }
        while let Some(instance) = self.seats[conn as usize].pipeline.front().copied() {
            match instance.state {
                State::Waiting { .. } if instance.requested || instance.uploading => return,
                State::Waiting { .. } | State::Failed => {}
                State::Stored { .. } => {
                    if !instance.is_earlier {
                        self.mark_repeats(conn, 0);
                    }
                    self.check_delivered(shard, conn, instance);
                }
            }
            if instance.awaited && self.is_online(conn) {
                let token = self.said[instance.message as usize].token;
                self.fail("protocol", |check| format!("{} is not answered about {token}", check.name(conn)));
            }
            self.seats[conn as usize].pipeline.pop_front();
        }
    }

    /// A stored message whose turn has come must have left.
    fn check_delivered(&mut self, shard: usize, conn: ConnKey, instance: Instance) {
        if instance.repeats {
            return;
        }
        let token = self.said[instance.message as usize].token;
        if self.must_publish(shard, instance.message) && !instance.published {
            self.fail("delivery", |_| format!("{token} is stored and not published"));
        }
        let said = &self.said[instance.message as usize];
        let copied_for = match said.route {
            Route::User(to) => (to != said.sender).then_some(said.sender),
            Route::Group(_) | Route::Relay(_) | Route::Call | Route::Everyone => said.concerns(),
        };
        if copied_for.is_some_and(|user| self.may_be_elsewhere(shard, user)) && !instance.copied {
            self.fail("delivery", |_| {
                format!("{token} is not published for its sender's devices, or whom it concerns")
            });
        }
        for fan in Fan::ALL {
            if !instance.reached(fan) && self.left_out(shard, instance.message, Some(conn), fan) > 0 {
                self.fail("delivery", |_| format!("{token} is stored and not delivered: {fan:?}"));
            }
        }
    }

    /// Whether a connection is one that is sent messages.
    pub(crate) fn is_online(&self, conn: ConnKey) -> bool {
        self.seats[conn as usize].phase == Phase::Online
    }
}

/// The name of the answer's kind, for traces.
pub(crate) fn answer_name(answer: &Answer) -> String {
    match answer {
        Answer::UserLoaded(profile) => format!("loaded at revision {}", profile.revision),
        Answer::MessageStored(place) => format!("stored as {}", place.seq),
        Answer::HeadsLoaded { heads, .. } => format!("{} heads", heads.len()),
        Answer::MessagesLoaded(part) => format!("{} messages", part.messages.len()),
        Answer::FileStored { name, .. } => format!("file kept as {name}"),
        Answer::StoredEarlier(place) => format!("stored earlier as {}", place.seq),
        Answer::MarksStored(stored) => {
            let moved = if stored.has_moved { "" } else { " already" };
            format!("marks are {} and {}{moved}", stored.marks.delivered, stored.marks.read)
        }
        Answer::Seen { at_ms } => format!("seen at {at_ms:?}"),
        Answer::ReceivedStored => "kept".to_owned(),
        Answer::UnreceivedLoaded { unreceived, .. } => format!("{} unreceived", unreceived.len()),
        Answer::Denied(denial) => format!("denied: {denial:?}"),
        Answer::Refused => "refused".to_owned(),
        Answer::Failed => "failed".to_owned(),
        Answer::Full => "full".to_owned(),
    }
}
