//! What clients hear: from whom, whether it is theirs to hear, how often, and in which order.

use bytes::Bytes;
use switchboard_engine::Frame;

use super::{Last, Spec, duties::kind_of, is_stored, pair};
use crate::{
    check::{Check, ConnKey, MessageKey, Route, Said},
    wire::{self, View},
};

/// What a frame is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Heard {
    Message(MessageKey),
    Welcome {
        user: u16,
    },
    /// What the servers have said, by its place, and whether it names this user or nobody as its recipient.
    Notice {
        place: u32,
        to: Option<u16>,
    },
    Answer,
}

/// Frames that were read a moment ago: who else hears the same one hears the same bytes.
#[derive(Clone, Debug)]
pub(super) struct Recent(Vec<Option<(Bytes, Heard)>>);

impl Default for Recent {
    fn default() -> Self {
        Self(vec![None; 64])
    }
}

impl Recent {
    fn place(bytes: &Bytes) -> usize {
        let address = bytes.as_ptr().addr();
        ((address >> 4) ^ (address >> 10)) & 63
    }

    fn find(&self, bytes: &Bytes) -> Option<Heard> {
        match &self.0[Self::place(bytes)] {
            // It is kept, so that no other bytes can be where it is.
            Some((known, heard)) if known.as_ptr() == bytes.as_ptr() && known.len() == bytes.len() => {
                Some(*heard)
            }
            Some(_) | None => None,
        }
    }

    pub(super) fn keep(&mut self, bytes: &Bytes, heard: Heard) {
        self.0[Self::place(bytes)] = Some((bytes.clone(), heard));
    }
}

impl Spec {
    /// A client hears a frame.
    pub(crate) fn hears(&mut self, conn: ConnKey, frame: &Frame, check: &Check) {
        if !self.is_on {
            return;
        }
        self.takes_up_time(conn, frame);
        let Frame::Message(bytes) = frame else { return };
        self.is_lenient = self.is_of_before(Some(conn));
        self.hears_message_frame(conn, bytes, check);
        self.is_lenient = false;
    }

    fn hears_message_frame(&mut self, conn: ConnKey, bytes: &Bytes, check: &Check) {
        if self.is_session(conn) {
            return self.hears_frame(conn, bytes, check);
        }
        let heard = match self.recent.find(bytes) {
            Some(heard) => heard,
            None => {
                let Some(heard) = self.read(conn, bytes, check) else { return };
                self.recent.keep(bytes, heard);
                heard
            }
        };
        match heard {
            Heard::Message(key) => self.hears_message(conn, key, &check.said[key as usize]),
            Heard::Answer => {
                let line = &mut self.lines[conn as usize];
                line.answered += 1;
                if line.answered > line.asked {
                    self.fail("exactly-once", |spec| {
                        format!("{} hears more answers than it sent heartbeats", spec.name(conn))
                    });
                }
            }
            Heard::Notice { place, to } => self.hears_notice(conn, place, to),
            Heard::Welcome { user } => {
                if user != self.lines[conn as usize].user {
                    self.fail("no-leak", |spec| format!("{} is welcomed as u{user}", spec.name(conn)));
                }
                self.welcomed(conn);
            }
        }
    }

    /// What a frame is, if it is anything that somebody said.
    fn read(&mut self, conn: ConnKey, bytes: &Bytes, check: &Check) -> Option<Heard> {
        if self.garbage.contains(bytes) {
            self.fail("no-leak", |spec| format!("{} hears garbage that somebody has sent", spec.name(conn)));
            return None;
        }
        let Some(view) = View::read(bytes) else {
            self.fail("no-spoof", |spec| format!("{} hears bytes that nobody has sent", spec.name(conn)));
            return None;
        };
        if view.kind == wire::HEARTBEAT && view.content == "pong" && view.token().is_none() {
            return Some(Heard::Answer);
        }
        if view.from == "System" && view.content == "welcome!" {
            return wire::index(view.to).map(|user| Heard::Welcome { user });
        }
        if view.from == "System" && view.token().is_none() {
            let place = self.notice(conn, view.content)?;
            return Some(Heard::Notice { place, to: wire::index(view.to) });
        }
        let known = view.token().and_then(|token| check.message(token));
        let Some(key) = known.filter(|key| (*key as usize) < self.words.len()) else {
            self.fail("no-spoof", |spec| format!("{} hears what nobody said", spec.name(conn)));
            return None;
        };
        // What was edited is sent again in the edit's words.
        let key = self.edited_by(&check.said[key as usize]).unwrap_or(key);
        let said = &check.said[key as usize];
        // What is sent again is made from the log, which has not everything that a classic client says.
        let is_again = self.resend.is_on && is_stored(said.route);
        if let Some((check, what)) = misquoted(&view, bytes, said)
            && !(is_again && check == "no-spoof" && self.is_of_log(conn, key, &view, said))
        {
            self.fail(check, |spec| format!("{} hears {} {what}", spec.name(conn), kind_of(said)));
        }
        Some(Heard::Message(key))
    }

    fn hears_message(&mut self, conn: ConnKey, key: MessageKey, said: &Said) {
        let word = self.words[key as usize];
        let user = self.lines[conn as usize].user;
        let since_us = word.received_us;
        let own = conn == word.conn && word.received == 1;
        let is_theirs = match said.route {
            // What people send to themselves is nobody else's, wherever they hear it.
            Route::User(to) | Route::Relay(to) => user == to && (!own || to == said.sender),
            Route::Group(group) => {
                user != said.sender && self.health.may_be_member(group, user, word.first_us)
            }
            Route::Call => !own && self.signalled.contains_key(&pair(said.sender, user)),
            Route::Everyone => true,
        };
        if !is_theirs {
            self.fail("no-leak", |spec| {
                format!("{} hears {}, which is not for it", spec.name(conn), kind_of(said))
            });
        }
        if let Route::Group(group) = said.route
            && !self.health.may_be_member(group, said.sender, word.first_us)
        {
            self.fail("no-leak", |spec| {
                format!("{} hears {} of somebody who is no member", spec.name(conn), kind_of(said))
            });
        }
        if is_stored(said.route) && word.commits == 0 {
            self.fail("accepted-is-durable", |spec| {
                format!("{} hears {}, which no log has", spec.name(conn), kind_of(said))
            });
        }
        let repeated = self.note_heard(self.lines[conn as usize].client, key);
        if self.resend.is_on && is_stored(said.route) {
            return self.hears_stored(conn, key, said);
        }
        if word.received == 1 && !said.is_stream() && self.is_reached(word.conn, conn, since_us) {
            self.in_order(conn, key, said, repeated);
        }
    }

    /// Whether a message is heard as the log has it.
    fn is_of_log(&self, conn: ConnKey, key: MessageKey, view: &View<'_>, said: &Said) -> bool {
        let own = View::read(&said.bytes).unwrap_or_default();
        let is =
            |id: &str, letter: char, number: u16| id.starts_with(letter) && wire::index(id) == Some(number);
        let from_sender = match said.route {
            Route::Group(group) => is(view.from, 'g', group) && is(view.to, 'u', said.sender),
            Route::User(_) | Route::Relay(_) | Route::Call | Route::Everyone => {
                is(view.from, 'u', said.sender) && view.to == own.to
            }
        };
        let text = view.content == own.content
            || (said.media && view.content.is_empty())
            || self.was_edited_to(conn, key, said, view.content);
        let file = if said.media {
            view.file.is_empty() && !view.url.is_empty() && (2..=5).contains(&view.content_type)
        } else {
            view.url == own.url && view.content_type == own.content_type
        };
        from_sender && text && file && view.username == own.username
    }

    /// What a connection hears of another one is new, and comes in the order in which that one said it.
    pub(super) fn in_order(&mut self, conn: ConnKey, key: MessageKey, said: &Said, repeated: bool) {
        let word = self.words[key as usize];
        let from = self.lines[word.conn as usize].client as usize;
        let clients = self.clients;
        let line = &mut self.lines[conn as usize];
        if line.last.is_empty() {
            line.last = vec![Last::default(); clients];
        }
        let last = &mut line.last[from];
        if word.conn < last.conn {
            // The rest of an older connection, which is not compared with the newer one.
            return;
        }
        if word.conn > last.conn {
            *last = Last { conn: word.conn, numbers: [0; 2] };
        }
        let number = &mut last.numbers[usize::from(is_stored(said.route))];
        let before = core::mem::replace(number, word.number.max(*number));
        if before == word.number || (before > word.number && repeated) {
            self.fail("exactly-once", |spec| format!("{} hears {} again", spec.name(conn), kind_of(said)));
        } else if before > word.number {
            self.fail("one-order", |spec| {
                format!(
                    "{} hears {} after a later one of the same connection",
                    spec.name(conn),
                    kind_of(said)
                )
            });
        }
    }

    /// Notes that a client has heard a message; true if it had before.
    pub(super) fn note_heard(&mut self, client: u16, key: MessageKey) -> bool {
        let (place, bit) = self.heard_at(client, key);
        let before = self.heard[place];
        self.heard[place] = before | bit;
        before & bit != 0
    }

    pub(super) fn has_heard(&self, client: u16, key: MessageKey) -> bool {
        let (place, bit) = self.heard_at(client, key);
        self.heard[place] & bit != 0
    }

    const fn heard_at(&self, client: u16, key: MessageKey) -> (usize, u64) {
        (key as usize * self.stride + client as usize / 64, 1 << (client % 64))
    }
}

/// What is wrong about a message as it is heard, compared with what was said: which check, and in words.
fn misquoted(view: &View<'_>, bytes: &Bytes, said: &Said) -> Option<(&'static str, &'static str)> {
    let is = |id: &str, letter: char, number: u16| id.starts_with(letter) && wire::index(id) == Some(number);
    let own = View::read(&said.bytes)?;
    let from_sender = match said.route {
        Route::Group(group) => is(view.from, 'g', group) && is(view.to, 'u', said.sender),
        Route::User(_) | Route::Relay(_) | Route::Call | Route::Everyone => {
            is(view.from, 'u', said.sender) && view.to == own.to
        }
    };
    if !from_sender {
        return Some(("no-spoof", "under another name than the sender's"));
    }
    let group = matches!(said.route, Route::Group(_));
    if !group && !said.media && said.honest && !said.is_session {
        return (said.bytes != *bytes).then_some(("no-spoof", "otherwise than it was said"));
    }
    let filed = said.media && is_stored(said.route);
    if filed && view.url.is_empty() {
        return Some(("no-spoof", "without its file"));
    }
    let text = view.content == own.content || (filed && own.file.is_empty() && view.content.is_empty());
    let file = if filed {
        view.file.is_empty() && (2..=5).contains(&view.content_type)
    } else {
        view.file == own.file && view.url == own.url && view.content_type == own.content_type
    };
    let suffix = if group { view.suffix.is_empty() } else { view.suffix == own.suffix };
    let same = text && file && suffix && view.username == own.username && view.kind == own.kind;
    // Sessions name no picture: the sender's goes with what they say.
    let picture = group || said.is_session || view.avatar == own.avatar;
    (!same || !picture || view.message_type != own.message_type)
        .then_some(("no-spoof", "otherwise than it was said"))
}
