//! What engines send: to whom, in which form, and who was left out.

use bytes::Bytes;
use switchboard_engine::{CloseReason, ConnId, FRAME_COST_BYTES, Frame, Stats};

use super::{Check, ConnKey, MessageKey, PING, Payload, Phase, Route, sessions::Fan};
use crate::wire::{self, View};

impl Check {
    /// The engine sends a frame.
    pub(crate) fn sends(&mut self, shard: usize, to: &[ConnId], frame: &Frame) {
        self.stamp += 1;
        let len = frame.payload().len() as u64;
        let first = to.first().and_then(|id| self.seat(shard, *id));
        let is_session = first.is_some_and(|conn| self.is_session(conn));
        let others = to.iter().filter_map(|id| self.seat(shard, *id));
        if others.into_iter().any(|conn| self.is_session(conn) != is_session) {
            self.fail("protocol", |_| "one frame is sent to connections of two protocols".to_owned());
        }
        match frame {
            Frame::Message(bytes) if is_session => self.sends_frame(shard, to, bytes),
            Frame::Message(bytes) => self.sends_message(shard, to, bytes),
            Frame::Ping(_) | Frame::Pong(_) => {
                if to.len() != 1 {
                    self.fail("protocol", |_| format!("one control frame to {} connections", to.len()));
                }
                match frame {
                    Frame::Ping(position) => self.check_position(shard, to, position),
                    Frame::Pong(payload) if **payload != *PING => {
                        self.fail("protocol", |_| format!("a Pong carries {payload:?}"));
                    }
                    Frame::Pong(_) | Frame::Message(_) => self.answers(shard, to),
                }
            }
        }
        for id in to {
            let Some(conn) = self.seat(shard, *id) else {
                return self.fail("takeover", |_| format!("a frame is sent to {id}, which is not there"));
            };
            self.sent_to(shard, conn, len, !matches!(frame, Frame::Message(_)));
        }
    }

    /// A Ping says how many frames were sent before it.
    fn check_position(&mut self, shard: usize, to: &[ConnId], position: &[u8]) {
        let sent =
            to.first().and_then(|id| self.seat(shard, *id)).map(|conn| self.seats[conn as usize].position);
        if sent.is_some_and(|sent| *position != sent.to_be_bytes()) {
            self.fail("protocol", |_| format!("a Ping after {sent:?} frames carries {position:?}"));
        }
    }

    fn sent_to(&mut self, shard: usize, conn: ConnKey, len: u64, is_control: bool) {
        let limit = self.settings.outbox_bytes;
        let watch = &mut self.watches[shard];
        let seat = &mut self.seats[conn as usize];
        seat.frames += 1;
        seat.position += 1;
        seat.cost_bytes += len + FRAME_COST_BYTES;
        watch.unflushed += 1;
        watch.sent += 1;
        let goodbye = self.cause.goodbyes.contains(&conn);
        let online = seat.phase == Phase::Online || ((is_control || goodbye) && seat.phase == Phase::Loading);
        let cost_bytes = seat.cost_bytes;
        if !online {
            self.fail("takeover", |check| {
                format!("a frame is sent to {}, which is not online", check.name(conn))
            });
        } else if cost_bytes > limit {
            self.fail("bounded", |check| {
                format!("{cost_bytes} bytes wait for {}, and {limit} may", check.name(conn))
            });
        }
    }

    fn sends_message(&mut self, shard: usize, to: &[ConnId], bytes: &Bytes) {
        let Some(view) = View::read(bytes) else {
            return self.fail("protocol", |_| "a frame is sent that is no message".to_owned());
        };
        if view.kind == wire::HEARTBEAT {
            if view.content != "pong" {
                self.fail("protocol", |_| format!("a heartbeat is answered with {view:?}"));
            }
            return self.answers(shard, to);
        }
        if view.from == "System" && view.content == "welcome!" {
            return self.welcomes(shard, to, &view);
        }
        if view.from == "System" && view.token().is_none() {
            return self.tells_classic_notice(shard, to, &view);
        }
        match view.token().and_then(|token| self.message(token)) {
            Some(key) => self.delivers(shard, to, key, &view, bytes),
            None => self.fail("no-spoof", |_| format!("what nobody said is sent: {view:?}")),
        }
    }

    /// A Pong or the answer to a heartbeat goes to who asked.
    pub(crate) fn answers(&mut self, shard: usize, to: &[ConnId]) {
        let asked = match to {
            [id] => self.cause.conn.is_none() || self.seat(shard, *id) == self.cause.conn,
            _ => false,
        };
        let owed = self.cause.pongs > 0;
        self.cause.pongs = self.cause.pongs.saturating_sub(1);
        if !asked || !owed {
            self.fail("protocol", |_| format!("an answer that {to:?} did not ask for"));
        }
    }

    fn welcomes(&mut self, shard: usize, to: &[ConnId], view: &View<'_>) {
        let conn = match to {
            [id] => self.seat(shard, *id),
            _ => None,
        };
        let loading = conn.filter(|conn| self.seats[*conn as usize].phase == Phase::Loading);
        let Some(conn) = loading else {
            return self.fail("protocol", |_| format!("{to:?} is welcomed, and not as one new connection"));
        };
        let user = self.seats[conn as usize].user;
        if wire::index(view.to) != Some(user) {
            self.fail("no-leak", |check| format!("{} is welcomed as {}", check.name(conn), view.to));
        }
        let watch = &mut self.watches[shard];
        watch.online += 1;
        if watch.told[user as usize].ticket.is_some() {
            self.fail("protocol", |check| format!("{} is welcomed before it is loaded", check.name(conn)));
        }
        let seat = &mut self.seats[conn as usize];
        (seat.phase, seat.welcomed_by) = (Phase::Online, self.event);
        for payload in core::mem::take(&mut seat.early) {
            // Garbage makes the engine close the connection, and later ones are not taken.
            if payload == Payload::Garbage {
                break;
            }
            self.route(conn, payload);
        }
        self.begins_to_catch_up(conn);
        let newest = self.seats[conn as usize].pipeline.iter_mut();
        newest.for_each(|instance| instance.optional = true);
    }

    /// A message leaves: it must be its turn, go to the right connections, and have the right form.
    fn delivers(&mut self, shard: usize, to: &[ConnId], key: MessageKey, view: &View<'_>, bytes: &Bytes) {
        let route = self.said[key as usize].route;
        if self.cause.resends && matches!(route, Route::User(_) | Route::Group(_)) {
            return self.sends_again(shard, to, key);
        }
        let stream = self.said[key as usize].is_stream();
        if self.cause.flushed && stream {
            self.check_form(key, view, bytes);
            return self.releases(shard, to, key);
        }
        let origin = if self.cause.published == Some(key) {
            if !self.owed_is_sent(key) {
                return;
            }
            None
        } else {
            match self.said[key as usize].route {
                Route::User(_) | Route::Group(_) => self.take_turn(shard, key, Fan::Classic),
                Route::Relay(_) | Route::Call | Route::Everyone => {
                    let conn =
                        self.cause.owed.iter().find(|o| o.message == key && !o.sent).and_then(|o| o.conn);
                    if !self.owed_is_sent(key) {
                        return;
                    }
                    conn
                }
            }
        };
        self.check_form(key, view, bytes);
        self.recipients(shard, key, origin, Fan::Classic);
        self.mark(shard, to, key, bytes.len() as u64);
        if stream {
            self.offered(shard, key, to, false);
        }
    }

    fn owed_is_sent(&mut self, key: MessageKey) -> bool {
        let owed = self.cause.owed.iter_mut().find(|owed| owed.message == key && !owed.sent);
        let found = owed.map(|owed| owed.sent = true).is_some();
        if !found {
            self.fail("exactly-once", |check| format!("{} is sent again", check.said[key as usize].token));
        }
        found
    }

    /// Compares the recipients with those in `must`: nobody too many, nobody twice, nobody left out.
    fn mark(&mut self, shard: usize, to: &[ConnId], key: MessageKey, len: u64) {
        // `must` are stamped with this fan-out's number, its recipients with the next one.
        let expected = self.stamp;
        self.stamp += 1;
        let must = core::mem::take(&mut self.must);
        let may = must.iter().chain(&self.perhaps);
        may.for_each(|conn| self.seats[*conn as usize].stamp = expected);
        for id in to {
            let Some(conn) = self.seat(shard, *id) else { continue };
            let stamp = core::mem::replace(&mut self.seats[conn as usize].stamp, self.stamp);
            let token = self.said[key as usize].token;
            if stamp == self.stamp {
                self.fail("exactly-once", |check| format!("{} is sent {token} twice", check.name(conn)));
            } else if stamp != expected && !self.is_tolerated(shard, conn, key) {
                self.fail("no-leak", |check| {
                    let route = check.said[key as usize].route;
                    format!("{} is sent {token}, which is for {route:?}", check.name(conn))
                });
            }
        }
        for conn in &must {
            if self.seats[*conn as usize].stamp == expected && !self.said[key as usize].is_stream() {
                self.cause.missing.push((*conn, len));
            }
        }
        self.must = must;
    }

    /// Members whose leaving, or joining, the shard does not have to know yet.
    pub(crate) fn is_tolerated(&self, shard: usize, conn: ConnKey, key: MessageKey) -> bool {
        let (said, user) = (&self.said[key as usize], self.seats[conn as usize].user);
        let other = user != said.sender || self.is_session(conn);
        let is_member = |group| other && self.may(shard, group, user);
        matches!(said.route, Route::Group(group) if is_member(group) || said.concerns() == Some(user))
    }

    /// Collects in `must` the connections that a message has to be sent to, and in `perhaps` the sessions that may be
    /// taken for members. Gives the number of the former.
    pub(crate) fn recipients(
        &mut self,
        shard: usize,
        key: MessageKey,
        origin: Option<ConnKey>,
        fan: Fan,
    ) -> usize {
        let (mut must, mut perhaps) = (core::mem::take(&mut self.must), core::mem::take(&mut self.perhaps));
        must.clear();
        perhaps.clear();
        let said = &self.said[key as usize];
        let watch = &self.watches[shard];
        let is_session = fan != Fan::Classic;
        let online = |conn: &ConnKey| {
            let seat = &self.seats[*conn as usize];
            seat.phase == Phase::Online && seat.session.is_some() == is_session
        };
        let of_user = |user: u16| {
            let seats = watch.told.get(user as usize).map(|told| told.seats.as_slice()).unwrap_or_default();
            seats.iter().copied().filter(|conn| online(conn) && Some(*conn) != origin)
        };
        match said.route {
            Route::User(user) if fan == Fan::Own => {
                must.extend(Some(said.sender).filter(|sender| *sender != user).into_iter().flat_map(of_user));
            }
            // What only sessions understand.
            _ if said.is_entry() && fan == Fan::Classic => {}
            // Sessions are sent what is stored, and have it in one piece.
            Route::Group(_) if fan == Fan::Own => {}
            // Who is a member is sent it as one, and perhaps once more.
            Route::Group(group) if fan == Fan::Concerned => {
                let member = said.concerns().is_some_and(|user| self.may(shard, group, user));
                let conns = if member { &mut perhaps } else { &mut must };
                conns.extend(said.concerns().into_iter().flat_map(of_user));
            }
            Route::User(_) if fan == Fan::Concerned => {}
            Route::Relay(_) | Route::Call | Route::Everyone if is_session => {}
            Route::User(user) | Route::Relay(user) => must.extend(of_user(user)),
            Route::Call => must.extend(said.call_peer.into_iter().flat_map(of_user)),
            Route::Group(group) => {
                for user in 0..watch.told.len() as u16 {
                    let other = user != said.sender || is_session;
                    let here = watch.told[user as usize].is_here() && other;
                    if here && self.must_know(shard, group, user) {
                        must.extend(of_user(user));
                    } else if here && (is_session || self.resends()) && self.may(shard, group, user) {
                        perhaps.extend(of_user(user));
                    }
                }
            }
            Route::Everyone => must.extend(watch.slots.iter().flatten().copied().filter(online)),
        }
        let may_wait =
            !is_session && self.resends() && matches!(said.route, Route::User(_) | Route::Group(_));
        (self.must, self.perhaps) = (must, perhaps);
        if may_wait {
            self.withhold();
        }
        self.must.len()
    }

    /// The same once an event is over: who was welcomed by it may have come too late for the message.
    pub(crate) fn left_out(
        &mut self,
        shard: usize,
        key: MessageKey,
        origin: Option<ConnKey>,
        fan: Fan,
    ) -> usize {
        self.recipients(shard, key, origin, fan);
        let Self { must, perhaps, seats, event, .. } = self;
        let is_early = |conn: &ConnKey| seats[*conn as usize].welcomed_by != *event;
        perhaps.extend(must.iter().filter(|conn| !is_early(conn)));
        must.retain(is_early);
        if fan == Fan::Classic { self.must.len() } else { self.excuse_lagging(key) }
    }

    /// The form in which a message is to be sent.
    fn check_form(&mut self, key: MessageKey, view: &View<'_>, bytes: &Bytes) {
        let said = &self.said[key as usize];
        let (sender, token) = (said.sender, said.token);
        let number = wire::index;
        let (check, holds) = match said.route {
            Route::Group(group) => {
                let avatar = view.avatar.strip_prefix('a').and_then(|rest| rest.split('.').next());
                let own = view.avatar.is_empty() || avatar.and_then(wire::number) == Some(u32::from(sender));
                let version =
                    view.avatar.split_once('.').and_then(|(_, rest)| wire::number(rest)).unwrap_or(0);
                let own = own && version >= if said.avatar_floor == u32::MAX { 0 } else { said.avatar_floor };
                let form = number(view.from) == Some(group) && number(view.to) == Some(sender);
                let file = view.file.is_empty() && view.suffix.is_empty();
                let letters = view.from.starts_with('g') && view.to.starts_with('u');
                ("protocol", own && form && file && letters && self.is_filed(key, view))
            }
            Route::User(to) => {
                let form = number(view.from) == Some(sender) && number(view.to) == Some(to);
                let own = View::read(&said.bytes).unwrap_or_default();
                let same = if said.is_session {
                    // With the sender's picture, which the session has not named.
                    View { avatar: "", ..*view } == own
                } else {
                    said.media || !said.honest || said.bytes == *bytes
                };
                let check = if number(view.from) == Some(sender) { "protocol" } else { "no-spoof" };
                (check, form && same && self.is_filed(key, view))
            }
            Route::Relay(_) | Route::Call | Route::Everyone => {
                let check = if number(view.from) == Some(sender) { "protocol" } else { "no-spoof" };
                (check, number(view.from) == Some(sender) && (!said.honest || said.bytes == *bytes))
            }
        };
        if !holds {
            self.fail(check, |_| format!("{token} is sent in the wrong form: {view:?}"));
        }
    }

    /// A file's message carries the file's name and kind, and not the file.
    fn is_filed(&self, key: MessageKey, view: &View<'_>) -> bool {
        let kind = (2..=5).contains(&view.content_type);
        !self.said[key as usize].media || (view.file.is_empty() && !view.url.is_empty() && kind)
    }

    /// Whoever had to be sent something was, or was closed for lack of room.
    pub(crate) fn end_deliveries(&mut self, shard: usize) {
        if let Some((conn, _)) = self.cause.missing.first().copied() {
            self.fail("delivery", |check| format!("{} is left out", check.name(conn)));
        }
        if self.cause.garbage {
            self.fail("protocol", |_| "garbage does not close its connection".to_owned());
        }
        if self.cause.pongs > 0 && self.cause.conn.is_some_and(|conn| self.is_online(conn)) {
            self.fail("protocol", |_| "a heartbeat or Ping is not answered".to_owned());
        }
        for place in 0..self.cause.owed.len() {
            let owed = self.cause.owed[place];
            let key = owed.message;
            if owed.optional {
                if !owed.sent && self.said[key as usize].is_stream() {
                    self.recipients(shard, key, owed.conn, Fan::Classic);
                    self.offered(shard, key, &[], true);
                }
                continue;
            }
            let token = self.said[key as usize].token;
            if owed.is_copy {
                if !owed.pushed && self.left_out(shard, key, None, Fan::Own) > 0 {
                    self.fail("delivery", |_| format!("{token} does not reach its sender's sessions"));
                }
                continue;
            }
            if owed.is_concerned {
                if !owed.pushed && self.left_out(shard, key, None, Fan::Concerned) > 0 {
                    self.fail("delivery", |_| format!("{token} does not reach whom it concerns"));
                }
                continue;
            }
            if !owed.pushed && self.left_out(shard, key, owed.conn, Fan::Sessions) > 0 {
                self.fail("delivery", |_| format!("{token} is not pushed to sessions"));
            }
            if !owed.published && self.must_publish(shard, key) {
                self.fail("delivery", |_| format!("{token} is not published"));
            }
            if !owed.sent && self.said[key as usize].is_stream() {
                self.recipients(shard, key, owed.conn, Fan::Classic);
                // Of several that one event routes, those that are sent were looked at before these.
                let several = self.cause.owed.len() > 1;
                self.offered(shard, key, &[], several);
            } else if !owed.sent && self.left_out(shard, key, owed.conn, Fan::Classic) > 0 {
                self.fail("delivery", |_| format!("{token} is not delivered"));
            }
        }
    }

    /// The engine is subscribed to its users, and to nobody else.
    pub(crate) fn end_interest(&mut self, shard: usize) {
        for place in 0..self.cause.users.len() {
            let user = self.cause.users[place];
            let told = &mut self.watches[shard].told[user as usize];
            told.lingers &= !told.departed.is_empty();
            let (here, devices) = (told.is_here(), told.seats.len() as u64);
            let s = &self.settings;
            let limit = if s.newest_wins == 1 { 1 } else { s.connections_per_user };
            if !here {
                told.forget();
            }
            let subscribed = told.subscribed;
            if devices > limit {
                self.fail("takeover", |_| format!("u{user} has {devices} connections, and may have {limit}"));
            }
            // A call that waits for its device, and a user who may come back, are listened for without a connection.
            let outlives = subscribed && self.is_signalling;
            if self.peers && subscribed != here && !outlives {
                self.fail("takeover", |_| {
                    format!("u{user} is here: {here}, and shard {shard} is subscribed: {}", !here)
                });
            }
        }
    }

    /// Every push is flushed, dropped for a counted reason, or still there.
    pub(crate) fn end_accounts(&mut self, shard: usize, stats: &Stats) {
        let watch = &self.watches[shard];
        let (before, unflushed) = (watch.stats, watch.unflushed);
        let dropped = stats.pushes_dropped_full
            + stats.pushes_dropped_superseded
            + stats.pushes_dropped_closed
            + stats.pushes_dropped_lagging
            + stats.pushes_dropped_typing;
        let held = stats.pushes.checked_sub(stats.pushes_flushed + dropped + unflushed);
        let (flushed, waiting) = (watch.flushed, watch.waiting_pictures);
        if stats.pushes_dropped_full > before.pushes_dropped_full {
            self.doubt_pictures(shard);
        }
        if self.cause.stale {
            let expected = Stats { stale_events: before.stale_events + 1, ..before };
            if *stats != expected {
                self.fail("takeover", |_| "a late event changes more than its counter".to_owned());
            }
        }
        if stats.driver_faults > 0 {
            self.fail("accounting", |_| "the engine takes the driver's events for wrong".to_owned());
        }
        if stats.pushes_flushed != flushed {
            self.fail("accounting", |_| {
                format!("{flushed} frames were flushed, and {} are counted", stats.pushes_flushed)
            });
        }
        if held.is_none_or(|held| held > waiting) {
            self.fail("accounting", |_| {
                format!("pushes do not balance: {held:?} frames left over, {waiting} may be held; {stats:?}")
            });
        }
        self.end_pictures();
        self.end_closing(shard);
    }

    /// What is closing is cut off in time.
    fn end_closing(&mut self, shard: usize) {
        while let Some((deadline_ns, conn)) = self.watches[shard].closing.front().copied() {
            let closing = self.seats[conn as usize].phase == Phase::Closing;
            if closing && self.watches[shard].now_ns > deadline_ns + 100_000_000 {
                self.fail("bounded", |check| format!("{} does not end", check.name(conn)));
            }
            if closing {
                return;
            }
            self.watches[shard].closing.pop_front();
        }
    }
}

/// The name of a reason, for traces.
pub(crate) fn reason_name(reason: CloseReason) -> String {
    format!("{reason:?} ({})", reason.code())
}
