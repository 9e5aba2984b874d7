//! The words of a chat for sessions: what they send, and what they are told, in short.

use bytes::Bytes;
use switchboard_engine::{CURSORS_FLOOR, ConnId, Frame, Protocol};
use switchboard_proto::{
    Message as _,
    v1::{
        Call, ClientFrame, Content, Conversation, Cursor, Delivery, Fetch, GroupChange, Head, Hello, Mark,
        Marks, RejectCode, Resync, ServerFrame, Submit, Typing, Watch,
        call::{End, Kind},
        client_frame,
        conversation::Peer,
        group_change,
        server_frame::Body,
    },
};

use crate::{harness::World, store::EPOCH};

impl World {
    /// The user's device connects with the session protocol, says Hello without cursors, and has read what follows.
    pub(crate) fn signs_in(&mut self, name: &str) -> ConnId {
        let conn = self.dials(name);
        self.frame(conn, hello(&[]));
        self.told(conn);
        conn
    }

    /// The user's device connects with the session protocol, and says nothing yet.
    pub(crate) fn dials(&mut self, name: &str) -> ConnId {
        let conn = self.next_conn();
        self.opens(name, conn, Protocol::Session)
    }

    /// A session sends a frame.
    pub(crate) fn frame(&mut self, conn: ConnId, body: client_frame::Body) {
        self.sends(conn, encode(body));
    }

    /// A session submits a text whose id is this number.
    pub(crate) fn submits(&mut self, conn: ConnId, id: u8, to: &str, content: &str) {
        self.frame(conn, submit(id, to, content));
    }

    /// What a session has been told since the last look.
    pub(crate) fn told(&mut self, conn: ConnId) -> Vec<Body> {
        self.frames(conn).iter().filter_map(told).collect()
    }

    /// The same in short.
    pub(crate) fn sees(&mut self, conn: ConnId) -> Vec<String> {
        self.told(conn).iter().map(short).collect()
    }
}

/// A client's frame.
pub(crate) fn encode(body: client_frame::Body) -> Bytes {
    ClientFrame { body: Some(body) }.encode_to_vec().into()
}

/// What a frame tells a session, if it is not a Ping or Pong.
pub(crate) fn told(frame: &Frame) -> Option<Body> {
    match frame {
        Frame::Message(bytes) => {
            let frame = ServerFrame::decode(bytes.clone()).expect("the server sends frames");
            Some(frame.body.expect("a frame says something"))
        }
        Frame::Ping(_) | Frame::Pong(_) => None,
    }
}

/// `bob`, or `#crew`.
fn peer(conversation: Option<&Conversation>) -> String {
    match conversation.and_then(|conversation| conversation.peer.as_ref()) {
        Some(Peer::User(user)) => user.clone(),
        Some(Peer::Group(group)) => format!("#{group}"),
        None => "?".to_owned(),
    }
}

/// `has 3, read 2`.
fn marks(marks: Option<&Marks>) -> String {
    let marks = marks.copied().unwrap_or_default();
    format!("has {}, read {}", marks.delivered_seq, marks.read_seq)
}

/// What a session is told, in a few words.
pub(crate) fn short(body: &Body) -> String {
    let code = |code: i32| {
        let name = RejectCode::try_from(code).expect("a code of ours").as_str_name();
        name["REJECT_CODE_".len()..].to_lowercase()
    };
    let id = |id: &Bytes| id.first().copied().unwrap_or_default();
    let text = |d: &Delivery| d.content.as_ref().map_or("?".to_owned(), saying);
    let in_epoch = |epoch: u64| if epoch == EPOCH { String::new() } else { format!(" in epoch {epoch}") };
    match body {
        Body::Welcome(welcome) => format!("welcome {}", welcome.user),
        Body::Marked(m) => {
            let place = format!("{}{}", peer(m.conversation.as_ref()), in_epoch(m.epoch));
            format!("{place}: {} {}", m.user, marks(m.marks.as_ref()))
        }
        Body::Typing(t) => {
            let does = if t.typing { "types" } else { "stops" };
            format!("{}: {} {does}", peer(t.conversation.as_ref()), t.user)
        }
        Body::Presence(p) => match (p.online, p.last_seen_ms) {
            (true, 0) => format!("{} is here", p.user),
            (false, 0) => format!("{} is not here", p.user),
            (online, at) => format!("{} is here: {online}, last at {at}", p.user),
        },
        Body::Call(call) => {
            let words = |name: &str, prefix: &str| name[prefix.len()..].to_lowercase().replace('_', " ");
            let what = if call.end() == End::Unspecified {
                words(call.kind().as_str_name(), "KIND_")
            } else {
                format!("over: {}", words(call.end().as_str_name(), "END_"))
            };
            let video = if call.video && call.kind() == Kind::Ring { " with pictures" } else { "" };
            let payload = String::from_utf8_lossy(&call.payload);
            let payload = if payload.is_empty() { String::new() } else { format!(" {payload}") };
            format!("call {} with {}: {what}{video}{payload}", id(&call.call_id), call.user)
        }
        Body::Accepted(a) => {
            let place = format!("{}/{}{}", peer(a.conversation.as_ref()), a.seq, in_epoch(a.epoch));
            format!("accepted {} as {place}", id(&a.message_id))
        }
        Body::Rejected(r) => format!("rejected {}: {}", id(&r.message_id), code(r.code)),
        Body::Delivery(d) => {
            let place = format!("{}/{}{}", peer(d.conversation.as_ref()), d.seq, in_epoch(d.epoch));
            format!("{place} {}: {}", d.from, text(d))
        }
        Body::Page(p) => {
            let texts: Vec<_> = p.messages.iter().map(|d| format!("{} {}", d.seq, text(d))).collect();
            let of = peer(p.conversation.as_ref());
            format!("page {} {of} of {}: {}", p.fetch_id, p.head_seq, texts.join(", "))
        }
        Body::Heartbeat(heartbeat) => format!("heartbeat {}", heartbeat.nonce),
        Body::Notice(notice) => format!("the server says: {}", notice.text),
        Body::Goodbye(goodbye) => format!("goodbye, {} ms", goodbye.reconnect_after_ms),
        Body::Heads(heads) => {
            let mark = |whose: &str, of: Option<&Marks>| {
                of.map_or_else(String::new, |of| format!(" ({whose} {})", marks(Some(of))))
            };
            let head = |head: &Head| {
                let place = format!("{}/{}", peer(head.conversation.as_ref()), head.seq);
                format!("{place}{}{}", mark("own", head.own.as_ref()), mark("peer", head.peer.as_ref()))
            };
            let all: Vec<_> = heads.heads.iter().map(head).collect();
            format!("heads {}{}", all.join(" "), if heads.last { "." } else { "" })
        }
        Body::Unfetched(u) => format!("unfetched {}: {}", u.fetch_id, code(u.code)),
    }
}

/// What an entry says.
fn saying(content: &Content) -> String {
    let change = || content.change.clone().unwrap_or_default();
    match content.kind {
        21 => format!("edits {}: {}", content.target_seq, content.text),
        22 => format!("recalls {}", content.target_seq),
        23 => {
            let GroupChange { user, name, until_ms, .. } = change();
            match change().kind() {
                group_change::Kind::Unspecified => "?".to_owned(),
                group_change::Kind::Create => format!("creates {name}"),
                group_change::Kind::Join => "joins".to_owned(),
                group_change::Kind::Leave => "leaves".to_owned(),
                group_change::Kind::Invite => format!("invites {user}"),
                group_change::Kind::Kick => format!("kicks {user}"),
                group_change::Kind::SetRole => format!("makes {user} {:?}", change().role()),
                group_change::Kind::Mute => format!("mutes {user} until {until_ms}"),
                group_change::Kind::Rename => format!("renames to {name}"),
            }
        }
        _ => content.text.clone(),
    }
}

/// A conversation: with `bob`, or of `#crew`.
pub(crate) fn conversation(with: &str) -> Conversation {
    let peer = match with.strip_prefix('#') {
        Some(group) => Peer::Group(group.into()),
        None => Peer::User(with.into()),
    };
    Conversation { peer: Some(peer) }
}

/// An entry for `bob` or `#crew`.
pub(crate) fn entry(id: u8, to: &str, content: Content) -> client_frame::Body {
    client_frame::Body::Submit(Submit {
        message_id: Bytes::from(vec![id; 16]),
        conversation: Some(conversation(to)),
        content: Some(content),
    })
}

/// A change of a group.
pub(crate) fn change(kind: group_change::Kind, user: &str) -> Content {
    let change = GroupChange { kind: kind.into(), user: user.into(), ..GroupChange::default() };
    Content { kind: 23, change: Some(change), ..Content::default() }
}

/// New text for an earlier message.
pub(crate) fn edit(target_seq: u64, text: &str) -> Content {
    Content { kind: 21, target_seq, text: text.into(), ..Content::default() }
}

/// A Hello of a device that does not say which it is, and is this far with these conversations.
pub(crate) fn hello(at: &[(&str, u64)]) -> client_frame::Body {
    client_frame::Body::Hello(Hello { device_id: Bytes::new(), cursors: cursors(at) })
}

/// A Hello of the device of this number.
pub(crate) fn hello_of(device: u8) -> client_frame::Body {
    client_frame::Body::Hello(Hello { device_id: Bytes::from(vec![device; 16]), cursors: Vec::new() })
}

pub(crate) fn resync(at: &[(&str, u64)]) -> client_frame::Body {
    client_frame::Body::Resync(Resync { cursors: cursors(at) })
}

fn cursors(at: &[(&str, u64)]) -> Vec<Cursor> {
    let cursor = |(with, seq): &(&str, u64)| {
        let conversation = Some(conversation(with));
        Cursor { conversation, epoch: EPOCH, seq: *seq, ..Cursor::default() }
    };
    at.iter().map(cursor).collect()
}

/// As many cursors of nobody, before some others, as the least limit takes but `left`.
pub(crate) fn crowded(left: usize, mut of: client_frame::Body) -> client_frame::Body {
    let cursors = if let client_frame::Body::Hello(hello) = &mut of {
        &mut hello.cursors
    } else if let client_frame::Body::Resync(resync) = &mut of {
        &mut resync.cursors
    } else {
        panic!("cursors come with a Hello or a Resync");
    };
    let crowd = CURSORS_FLOOR as usize - left;
    cursors.splice(..0, std::iter::repeat_n(Cursor::default(), crowd));
    of
}

/// A text to `bob` or `#crew`.
pub(crate) fn submit(id: u8, to: &str, content: &str) -> client_frame::Body {
    client_frame::Body::Submit(Submit {
        message_id: vec![id; 16].into(),
        conversation: Some(conversation(to)),
        content: Some(Content { kind: 1, text: content.into(), file: String::new(), ..Content::default() }),
    })
}

/// Says how far the user is with a conversation.
pub(crate) fn mark(of: &str, delivered_seq: u64, read_seq: u64) -> client_frame::Body {
    let marks = Some(Marks { delivered_seq, read_seq });
    client_frame::Body::Mark(Mark { conversation: Some(conversation(of)), epoch: EPOCH, marks })
}

/// Says that the user types, or has stopped.
pub(crate) fn typing(to: &str, typing: bool) -> client_frame::Body {
    client_frame::Body::Typing(Typing { conversation: Some(conversation(to)), typing, user: String::new() })
}

/// Something of the call whose id is this number.
pub(crate) fn call(kind: Kind, id: u8, user: &str) -> client_frame::Body {
    let (call_id, kind) = (vec![id; 16].into(), kind.into());
    client_frame::Body::Call(Call { call_id, user: user.into(), kind, ..Call::default() })
}

/// A signal of the call whose id is this number.
pub(crate) fn signal(id: u8, payload: &str) -> client_frame::Body {
    let (call_id, payload) = (vec![id; 16].into(), payload.as_bytes().to_vec().into());
    client_frame::Body::Call(Call { call_id, kind: Kind::Signal.into(), payload, ..Call::default() })
}

/// Names the users who are watched.
pub(crate) fn watch(users: &[&str]) -> client_frame::Body {
    client_frame::Body::Watch(Watch { users: users.iter().map(|user| (*user).to_owned()).collect() })
}

/// Asks for a conversation from a place on.
pub(crate) fn fetch(fetch_id: u64, of: &str, from_seq: u64) -> client_frame::Body {
    let conversation = Some(conversation(of));
    client_frame::Body::Fetch(Fetch { fetch_id, conversation, from_seq, ..Fetch::default() })
}
