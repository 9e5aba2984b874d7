//! What an engine is given, and what has to follow by the rules.

use switchboard_engine::{Action, Answer, ConnId, Frame, Stats};

use super::{
    Check, ConnKey, Instance, MessageKey, Owed, Payload, Phase, Route, Use, calls, pipelines::State,
    rates::Verdict,
};
use crate::wire::{self, Token, View, stored_token};

impl Check {
    /// An engine's clock and counters before an event; to be called first.
    pub(crate) fn begin(&mut self, shard: usize, now_us: u64, engine_ns: u64, stats: &Stats) {
        if !self.is_on {
            return;
        }
        self.now_us = now_us;
        self.event += 1;
        let watch = &mut self.watches[shard];
        watch.now_ns = watch.now_ns.max(engine_ns);
        watch.stats = *stats;
        let cause = &mut self.cause;
        (cause.conn, cause.stale, cause.published) = (None, false, None);
        (cause.flushed, cause.received, cause.garbage, cause.pongs) = (false, false, false, 0);
        (cause.verdict, cause.kept_early, cause.arrived) = (Verdict::Admitted, false, false);
        cause.admission = Verdict::Admitted;
        cause.given_up.clear();
        cause.owed.clear();
        cause.missing.clear();
        cause.touched.clear();
        cause.users.clear();
        cause.heads.clear();
        cause.fetches.clear();
        cause.answering.clear();
        cause.goodbyes.clear();
        cause.marking.clear();
        cause.tellings.clear();
        cause.notings.clear();
        cause.asking.clear();
        (cause.resends, cause.catching_up) = (false, None);
        (cause.signs, cause.placed) = (false, false);
        (cause.heads_maybe, cause.told_heads) = (None, None);
        (cause.out_of_turn, cause.undecodable) = (None, None);
        cause.authority.clear();
    }

    /// A late event of a connection that is gone: nothing may follow.
    pub(crate) fn late(&mut self, shard: usize, id: ConnId) {
        if !self.is_on {
            return;
        }
        debug_assert!(self.seat(shard, id).is_none(), "a late event is one of a dead connection");
        self.cause.stale = true;
    }

    /// Something has come from a connection's peer.
    pub(crate) fn heard(&mut self, conn: ConnKey) {
        if !self.is_on {
            return;
        }
        let seat = &mut self.seats[conn as usize];
        seat.heard_ns = self.watches[seat.shard as usize].now_ns;
        self.cause.conn = Some(conn);
        self.cause.stale = !matches!(seat.phase, Phase::Loading | Phase::Online);
    }

    /// The peer has sent a Ping, which is answered whether the connection is welcomed or not.
    pub(crate) fn pinged(&mut self, conn: ConnKey, len: usize) {
        if !self.is_on {
            return;
        }
        self.heard(conn);
        let admitted = self.admit(conn, len);
        self.cause.pongs = u32::from(!self.cause.stale && admitted);
    }

    /// A message has arrived over a connection.
    pub(crate) fn received(&mut self, conn: ConnKey, payload: Payload, len: usize) {
        if !self.is_on {
            return;
        }
        self.heard(conn);
        self.cause.received = true;
        if !self.admit(conn, len) {
            return;
        }
        if let Payload::Said(message) = payload {
            self.said[message as usize].conns.push(conn);
        }
        let seat = &mut self.seats[conn as usize];
        // Who is told to stop accepts nothing more.
        if self.watches[seat.shard as usize].stopping {
            return;
        }
        match seat.phase {
            Phase::Loading => {
                seat.early.push(payload);
                self.cause.kept_early = true;
                self.cause.touched.push(conn);
            }
            Phase::Online => self.route(conn, payload),
            Phase::Closing | Phase::Aborted | Phase::Gone => {}
        }
    }

    /// What has to become of a message of a connection that is online.
    pub(crate) fn route(&mut self, conn: ConnKey, payload: Payload) {
        let message = match payload {
            Payload::Said(message) => message,
            Payload::Heartbeat => return self.cause.pongs += 1,
            Payload::Garbage => return self.cause.garbage = true,
            Payload::Nowhere => return,
            Payload::Invalid => return self.owes_answer(conn),
            Payload::Mark(mark) => return self.marks(conn, mark),
            Payload::BadMark => return,
            Payload::Sign => {
                (self.cause.signs, self.is_signalling) = (true, true);
                return;
            }
            Payload::Hello { .. } => return self.cause.out_of_turn = Some(conn),
            Payload::Resync => return self.cause.heads.push((conn, "protocol")),
            Payload::Fetch { of } => return self.fetches(conn, of),
        };
        let (shard, user) = (self.seats[conn as usize].shard as usize, self.seats[conn as usize].user);
        let said = &self.said[message as usize];
        let (content_type, is_call) = (said.content_type, said.is_call);
        match said.route {
            Route::User(_) => self.expect_stored(conn, message, false),
            Route::Group(_) if self.seats[conn as usize].session.is_some() => {
                let floor = self.avatar_floor(shard, user);
                let said = &mut self.said[message as usize];
                said.avatar_floor = said.avatar_floor.min(floor);
                self.expect_stored(conn, message, false);
            }
            Route::Group(group) => {
                let certain = self.must_know(shard, group, user);
                let floor = self.avatar_floor(shard, user);
                let said = &mut self.said[message as usize];
                said.avatar_floor = said.avatar_floor.min(floor);
                if self.may(shard, group, user) {
                    self.expect_stored(conn, message, !certain);
                }
            }
            Route::Relay(to) => self.expect_relayed(conn, message, to, calls::ends(content_type, is_call)),
            Route::Call => {
                let call = self.watches[shard].told[user as usize].call;
                let ring_ns = self.settings.ring_timeout_ms * 1_000_000;
                let peer = calls::peer(call, self.watches[shard].now_ns, ring_ns);
                self.said[message as usize].call_peer = peer;
                if let Some(peer) = peer {
                    self.expect_relayed(conn, message, peer, calls::ends(content_type, is_call));
                }
            }
            Route::Everyone => self.owe(Some(conn), message),
        }
    }

    fn expect_stored(&mut self, conn: ConnKey, message: MessageKey, optional: bool) {
        self.cause.touched.push(conn);
        let media = self.said[message as usize].media;
        if self.is_busy(conn) {
            return;
        }
        let awaited = self.seats[conn as usize].session.is_some();
        self.routed += 1;
        let instance = Instance::new(message, self.routed, optional, media, awaited);
        self.seats[conn as usize].pipeline.push_back(instance);
    }

    fn expect_relayed(&mut self, conn: ConnKey, message: MessageKey, to: u16, ends: Option<bool>) {
        let (shard, user) = (self.seats[conn as usize].shard as usize, self.seats[conn as usize].user);
        if let Some(ends) = ends {
            self.signalled(shard, user, to, ends);
        }
        self.owe(Some(conn), message);
    }

    /// A shard has taken a user's signal to another.
    fn signalled(&mut self, shard: usize, from: u16, to: u16, ends: bool) {
        let watch = &mut self.watches[shard];
        let here = |told: &super::Told| told.is_here();
        if let Some(told) = watch.told.get_mut(from as usize).filter(|told| here(told)) {
            calls::sent(&mut told.call, to, ends);
        }
        if let Some(told) = watch.told.get_mut(to as usize).filter(|told| here(told)) {
            calls::received(&mut told.call, from, ends, watch.now_ns);
        }
    }

    fn owe(&mut self, conn: Option<ConnKey>, message: MessageKey) {
        let published = conn.is_none();
        self.cause.owed.push(Owed {
            message,
            conn,
            sent: false,
            pushed: false,
            is_copy: false,
            is_concerned: false,
            published,
            optional: false,
        });
    }

    /// A record that is a copy for its sender's sessions has come over the bus.
    pub(crate) fn copied(&mut self, message: MessageKey) {
        if !self.is_on {
            return;
        }
        self.cause.published = Some(message);
        self.owe(None, message);
        self.cause.owed.iter_mut().for_each(|owed| owed.is_copy = true);
    }

    /// A record has come over the bus.
    pub(crate) fn published(&mut self, shard: usize, message: MessageKey) {
        if !self.is_on {
            return;
        }
        self.cause.published = Some(message);
        let said = &self.said[message as usize];
        let (from, content_type) = (said.sender, said.content_type);
        let to = match said.route {
            Route::Relay(to) => Some(to),
            Route::Call => said.call_peer,
            Route::User(_) | Route::Group(_) | Route::Everyone => None,
        };
        if let (Some(to), Some(ends)) = (to, calls::ends(content_type, said.is_call)) {
            let watch = &mut self.watches[shard];
            if let Some(told) = watch.told.get_mut(to as usize).filter(|told| told.is_here()) {
                calls::received(&mut told.call, from, ends, watch.now_ns);
            }
        }
        self.owe(None, message);
    }

    /// The store has answered.
    pub(crate) fn answered(&mut self, shard: usize, ticket: u64, answer: &Answer) {
        if !self.is_on {
            return;
        }
        let watch = &mut self.watches[shard];
        if let Some(aside) = watch.asides.remove(&ticket) {
            return self.aside_answered(shard, aside, answer);
        }
        let Some((purpose, expires_ns)) = watch.tickets.remove(&ticket) else {
            self.cause.stale = true;
            return;
        };
        match purpose {
            Use::Load(user) => {
                let has_sessions =
                    watch.told[user as usize].seats.iter().any(|c| self.seats[*c as usize].session.is_some());
                if has_sessions {
                    self.awaits_hello(shard, user);
                }
                let watch = &mut self.watches[shard];
                let told = &mut watch.told[user as usize];
                told.ticket = None;
                let in_time = watch.now_ns < expires_ns;
                let is_failure = matches!(answer, Answer::Failed | Answer::Full) || !in_time;
                told.failed_ns = is_failure.then_some(watch.now_ns);
                told.loaded =
                    answer.clone().into_user().ok().filter(|_| in_time).map(|profile| profile.revision);
                self.route_departed(shard, user);
            }
            Use::File(conn, _) => {
                let is_filed = matches!(answer, Answer::FileStored { .. });
                let state = if is_filed { State::Waiting { filed: true } } else { State::Failed };
                self.settle(conn, ticket, state);
            }
            Use::Store(conn, message) => match answer.place() {
                Some((place, is_earlier)) => {
                    let seq = &place.seq;
                    if is_earlier {
                        self.settle_earlier(conn, ticket);
                    }
                    self.settle(conn, ticket, State::Stored { seq: *seq });
                    if !self.said[message as usize].seqs.contains(seq) {
                        self.fail("accepted-is-durable", |check| {
                            let token = check.said[message as usize].token;
                            format!("{token} is acknowledged as {seq}, and the log has it not there")
                        });
                    }
                }
                None => self.settle(conn, ticket, State::Failed),
            },
            Use::Heads(conn) => self.heads_answered(conn, answer),
            Use::Fetch(conn) => self.fetch_answered(conn, ticket),
            Use::Marks(conn) => self.marks_answered(conn, ticket, answer),
        }
    }

    /// The same for users whose load has timed out, all that are left.
    pub(crate) fn route_given_up(&mut self, shard: usize) {
        for user in core::mem::take(&mut self.cause.given_up) {
            self.route_departed(shard, user);
        }
    }

    /// The same as far as the engine has come. It gives loads up one after the other, and for each user first
    /// routes what departed, then welcomes who is there: so an action of one user's shows that those before are
    /// through.
    pub(crate) fn route_given_up_until(&mut self, shard: usize, action: &Action<'_>) {
        let user = match action {
            Action::Send { frame: Frame::Message(bytes), .. } => match View::read(bytes) {
                Some(view) if view.from == "System" => wire::index(view.to),
                _ => self.departed_sender(shard, self.known_message(bytes)),
            },
            Action::Publish(record) => self.departed_sender(shard, self.known_message(&record.message)),
            Action::Request { request, .. } => {
                let of_file = request.file().and_then(|upload| Token::read(&upload.suffix));
                let token = request.message().and_then(stored_token).or(of_file);
                self.departed_sender(shard, token.and_then(|token| self.message(token)))
            }
            Action::Tell(note) => self.departed_sender(shard, self.noted_entry(note)),
            Action::Send { .. }
            | Action::Close { .. }
            | Action::Abort { .. }
            | Action::Subscribe(_)
            | Action::Unsubscribe(_)
            | Action::Stopped => None,
        };
        let place = self.cause.given_up.iter().position(|waiting| Some(*waiting) == user);
        for _ in 0..place.map_or(0, |place| place + 1) {
            let user = self.cause.given_up.remove(0);
            self.route_departed(shard, user);
        }
    }

    /// Who has sent a message, if that is one of those that departed.
    fn departed_sender(&self, shard: usize, message: Option<MessageKey>) -> Option<u16> {
        let sender = self.said[message? as usize].sender;
        let departed = &self.watches[shard].told[sender as usize].departed;
        departed
            .iter()
            .any(|(_, payload)| matches!(payload, Payload::Said(said) if Some(*said) == message))
            .then_some(sender)
    }

    /// What came over connections that are gone is routed once the user is loaded, or is not.
    fn route_departed(&mut self, shard: usize, user: u16) {
        self.cause.users.push(user);
        for (conn, payload) in core::mem::take(&mut self.watches[shard].told[user as usize].departed) {
            if let Payload::Said(_) = payload {
                self.route(conn, payload);
            }
        }
    }

    fn settle(&mut self, conn: ConnKey, ticket: u64, state: State) {
        self.cause.touched.push(conn);
        let pipeline = &mut self.seats[conn as usize].pipeline;
        if let Some(instance) = pipeline.iter_mut().find(|i| i.ticket == ticket && !i.is_settled()) {
            instance.state = state;
        }
    }

    /// A message was stored by an earlier request: nobody is sent it again, and sessions are told its place.
    fn settle_earlier(&mut self, conn: ConnKey, ticket: u64) {
        let pipeline = &mut self.seats[conn as usize].pipeline;
        if let Some(instance) = pipeline.iter_mut().find(|i| i.ticket == ticket && !i.is_settled()) {
            (instance.sent, instance.published, instance.copied) = (true, true, true);
            instance.pushed_to_concerned = true;
            instance.is_earlier = true;
        }
    }

    /// A deadline has come: requests that waited too long have failed.
    pub(crate) fn timed_out(&mut self, shard: usize) {
        if !self.is_on {
            return;
        }
        let now_ns = self.watches[shard].now_ns;
        while let Some((ticket, expires_ns)) = self.watches[shard].expiry.front().copied() {
            if expires_ns > now_ns {
                return;
            }
            let watch = &mut self.watches[shard];
            watch.expiry.pop_front();
            match watch.tickets.remove(&ticket) {
                Some((Use::Load(user), _)) => {
                    watch.told[user as usize].ticket = None;
                    watch.told[user as usize].failed_ns = Some(now_ns);
                    self.awaits_hello(shard, user);
                    self.cause.given_up.push(user);
                }
                Some((Use::File(conn, _) | Use::Store(conn, _), _)) => {
                    self.settle(conn, ticket, State::Failed);
                }
                Some((Use::Heads(conn), _)) => self.heads_answered(conn, &Answer::Failed),
                Some((Use::Fetch(conn), _)) => self.fetch_answered(conn, ticket),
                Some((Use::Marks(conn), _)) => self.marks_answered(conn, ticket, &Answer::Failed),
                None => {}
            }
        }
    }

    /// A shard is told of a change of the directory.
    pub(crate) fn announced(&mut self, shard: usize, revision: u64) {
        if !self.is_on {
            return;
        }
        let watch = &mut self.watches[shard];
        watch.seen_revision = watch.seen_revision.max(revision);
    }

    /// The directory has changed.
    pub(crate) fn member(&mut self, group: u16, user: u16, member: bool, revision: u64) {
        self.members[group as usize][user as usize] = (member, revision);
        self.revision = revision;
        self.look_at_limit(user);
    }

    /// The store has committed an entry that is no message, which has its place like any other.
    pub(crate) fn entered(&mut self, log: (u32, u32), seq: u64) {
        if !self.is_on {
            return;
        }
        let head = self.heads.entry(log).or_insert(0);
        *head += 1;
        let expected = *head;
        if seq != expected {
            self.fail("one-order", |_| format!("a change is given seq {seq}, and {expected} is next"));
        }
    }

    /// The store has committed a message. In which conversation it has to be follows from what was said.
    pub(crate) fn committed(&mut self, message: MessageKey, seq: u64) {
        if !self.is_on {
            return;
        }
        let said = &self.said[message as usize];
        let (token, sender, route) = (said.token, said.sender, said.route);
        // Who makes a group or joins one is no member yet.
        let is_first = said.concerns() == Some(sender);
        let conversation = match route {
            Route::User(to) => (u32::from(sender.min(to)), u32::from(sender.max(to))),
            Route::Group(group) => (u32::MAX, u32::from(group)),
            // What is never stored: that the store was asked has failed already.
            Route::Relay(_) | Route::Call | Route::Everyone => (u32::MAX, u32::MAX),
        };
        if let Route::Group(group) = route
            && !self.members[group as usize][sender as usize].0
            && !is_first
        {
            self.fail("no-leak", |_| format!("{token} to g{group} is stored for u{sender}, no member"));
        }
        let head = self.heads.entry(conversation).or_insert(0);
        *head += 1;
        let (expected, said) = (*head, &mut self.said[message as usize]);
        said.seqs.push(seq);
        let (stored, arrived) = (said.seqs.len(), said.conns.len());
        if seq != expected {
            self.fail("one-order", |_| format!("{token} is given seq {seq}, and {expected} is next"));
        }
        let said = &self.said[message as usize];
        if stored > if said.is_session { 1 } else { arrived } {
            self.fail("exactly-once", |_| {
                format!("{token} is stored {stored} times and arrived {arrived} times")
            });
        }
    }

    /// An engine is told to stop.
    pub(crate) fn shutdown(&mut self, shard: usize) {
        if !self.is_on {
            return;
        }
        let watch = &mut self.watches[shard];
        watch.stopping = true;
        watch.settle_by_ns = watch.now_ns + self.settings.close_timeout_ms * 1_000_000;
    }

    /// A node has died with its engine, or has come back with a new one.
    pub(crate) fn replaced(&mut self, shard: usize) {
        if !self.is_on {
            return;
        }
        for key in 0..self.watches[shard].slots.len() {
            if let Some(conn) = self.watches[shard].slots[key] {
                self.seats[conn as usize].phase = Phase::Gone;
                self.seats[conn as usize].pipeline.clear();
            }
        }
        self.watches[shard] = self.watch();
    }
}
