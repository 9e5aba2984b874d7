//! Events in recordings.

use alloc::{string::String, vec::Vec};

use bytes::Bytes;
use switchboard_proto::recording as wire;

use super::{Acted, Digests, Step, StepError, answer};
use crate::{
    bus::{Note, Record, Topic},
    event::{Audience, Event, PeerFault, Protocol, Revocation, Whose},
    fields,
    id::{ConnId, GroupId, MessageId, Ticket, UserId},
    storage::{DirectoryChange, DirectoryChangeKind},
};

/// Numbers of fields of a `Step`, and of what is frequent in it.
mod tag {
    pub(super) const AFTER: u8 = 1;
    pub(super) const RECEIVED: u8 = 3;
    pub(super) const FLUSHED: u8 = 8;
    pub(super) const ACTED: u8 = 14;
    pub(super) const CONN: u8 = 1;
    pub(super) const PAYLOAD: u8 = 2;
    pub(super) const FRAMES: u8 = 2;
    pub(super) const PAYLOAD_BYTES: u8 = 3;
    pub(super) const SLOT: u8 = 1;
    pub(super) const GENERATION: u8 = 2;
}

/// Encodes what nearly all steps of a busy server are, with their lengths, and without a message in between. Whether it
/// was such a one.
pub(super) fn encode_frequent(after_ns: u64, event: &Event, into: &mut Vec<u8>) -> bool {
    match event {
        Event::Received { conn, message } => {
            let conn_len = conn_len(*conn);
            let body_len = fields::nested_len(conn_len) + fields::bytes_len(message.len());
            begin(after_ns, tag::RECEIVED, body_len, into);
            conn_field(*conn, conn_len, into);
            fields::bytes(tag::PAYLOAD, message, into);
            true
        }
        Event::Flushed { conn, frames, payload_bytes } => {
            let conn_len = conn_len(*conn);
            let (frames, payload_bytes) = (u64::from(*frames), *payload_bytes);
            let body_len =
                fields::nested_len(conn_len) + fields::uint_len(frames) + fields::uint_len(payload_bytes);
            begin(after_ns, tag::FLUSHED, body_len, into);
            conn_field(*conn, conn_len, into);
            fields::uint(tag::FRAMES, frames, into);
            fields::uint(tag::PAYLOAD_BYTES, payload_bytes, into);
            true
        }
        Event::Connected { .. }
        | Event::Ping { .. }
        | Event::Pong { .. }
        | Event::Misbehaved { .. }
        | Event::PeerClosed { .. }
        | Event::Disconnected { .. }
        | Event::Answered { .. }
        | Event::Published(_)
        | Event::Told(_)
        | Event::DirectoryChanged(_)
        | Event::Revoked { .. }
        | Event::Announced { .. }
        | Event::Shutdown => false,
    }
}

/// Encodes what came of a step, with its length: as frequent.
pub(super) fn encode_acted(acted: Acted, into: &mut Vec<u8>) {
    let number = acted.number().into();
    fields::varint(fields::uint_len(number) as u64, into);
    fields::uint(tag::ACTED, number, into);
}

/// The length of a step, its time, and the head of its body.
fn begin(after_ns: u64, tag: u8, body_len: usize, into: &mut Vec<u8>) {
    let len = fields::uint_len(after_ns) + fields::nested_len(body_len);
    into.reserve(fields::varint_len(len as u64) + len);
    fields::varint(len as u64, into);
    fields::uint(self::tag::AFTER, after_ns, into);
    fields::nested(tag, body_len, into);
}

const fn conn_len(conn: ConnId) -> usize {
    fields::uint_len(conn.slot() as u64) + fields::uint_len(conn.generation() as u64)
}

fn conn_field(conn: ConnId, len: usize, into: &mut Vec<u8>) {
    fields::nested(tag::CONN, len, into);
    fields::uint(tag::SLOT, conn.slot().into(), into);
    fields::uint(tag::GENERATION, conn.generation().into(), into);
}

pub(super) fn wired(event: &Event) -> wire::step::Body {
    use wire::step::Body;
    let message = |conn: &ConnId, payload: &Bytes| wire::Message {
        conn: Some(wired_conn(*conn)),
        payload: payload.clone(),
    };
    match event {
        Event::Connected { conn, user, protocol } => Body::Connected(wire::Connected {
            conn: Some(wired_conn(*conn)),
            user: user.as_str().into(),
            session: *protocol == Protocol::Session,
        }),
        Event::Received { conn, message: payload } => Body::Received(message(conn, payload)),
        Event::Ping { conn, payload } => Body::Ping(message(conn, payload)),
        Event::Pong { conn, payload } => Body::Pong(message(conn, payload)),
        Event::Misbehaved { conn, fault } => Body::Misbehaved(wire::Misbehaved {
            conn: Some(wired_conn(*conn)),
            fault: wired_fault(*fault).into(),
        }),
        Event::PeerClosed { conn } => Body::PeerClosed(wired_conn(*conn)),
        Event::Flushed { conn, frames, payload_bytes } => Body::Flushed(wire::Flushed {
            conn: Some(wired_conn(*conn)),
            frames: *frames,
            payload_bytes: *payload_bytes,
        }),
        Event::Disconnected { conn } => Body::Disconnected(wired_conn(*conn)),
        Event::Answered { ticket, answer } => {
            Body::Answered(wire::Answered { ticket: ticket.0, answer: Some(answer::wired(answer)) })
        }
        Event::Published(Record { topic, stored, message }) => Body::Published(wire::Record {
            topic: Some(wired_topic(topic)),
            message_id: stored.map(|(id, _)| Bytes::copy_from_slice(&id.0)).unwrap_or_default(),
            place: stored.map(|(_, place)| answer::wired_place(place)),
            message: message.clone(),
        }),
        Event::Told(Note { topic, note }) => {
            Body::Told(wire::Note { topic: Some(wired_topic(topic)), note: note.clone() })
        }
        Event::DirectoryChanged(DirectoryChange { revision, user, kind }) => {
            use wire::directory_change::Kind;
            Body::DirectoryChanged(wire::DirectoryChange {
                revision: *revision,
                user: user.as_str().into(),
                kind: Some(match kind {
                    DirectoryChangeKind::Joined(group) => Kind::Joined(group.as_str().into()),
                    DirectoryChangeKind::Left(group) => Kind::Left(group.as_str().into()),
                    DirectoryChangeKind::Avatar(name) => Kind::Avatar(String::from(&**name)),
                }),
            })
        }
        Event::Revoked { whose, why } => Body::Revoked(wire::Revoked {
            whose: Some(match whose {
                Whose::Connection(conn) => wire::revoked::Whose::Conn(wired_conn(*conn)),
                Whose::User(user) => wire::revoked::Whose::User(user.as_str().into()),
            }),
            why: wired_revocation(*why).into(),
        }),
        Event::Announced { to, text } => Body::Announced(wire::Announced {
            user: match to {
                Audience::User(user) => user.as_str().into(),
                Audience::Everyone => String::new(),
            },
            text: String::from(&**text),
        }),
        Event::Shutdown => Body::Shutdown(wire::Empty {}),
    }
}

const fn wired_fault(fault: PeerFault) -> wire::PeerFault {
    match fault {
        PeerFault::Framing => wire::PeerFault::Framing,
        PeerFault::TextMessage => wire::PeerFault::TextMessage,
        PeerFault::InvalidUtf8 => wire::PeerFault::InvalidUtf8,
        PeerFault::MessageTooLarge => wire::PeerFault::MessageTooLarge,
        PeerFault::ReceiveBudget => wire::PeerFault::ReceiveBudget,
    }
}

const fn wired_revocation(why: Revocation) -> wire::Revocation {
    match why {
        Revocation::SignedOut => wire::Revocation::SignedOut,
        Revocation::Banned => wire::Revocation::Banned,
        Revocation::Administrator => wire::Revocation::Administrator,
    }
}

const fn wired_conn(conn: ConnId) -> wire::Conn {
    wire::Conn { slot: conn.slot(), generation: conn.generation() }
}

fn wired_topic(topic: &Topic) -> wire::Topic {
    use wire::topic::Of;
    wire::Topic {
        of: Some(match topic {
            Topic::Everyone => Of::Everyone(wire::Empty {}),
            Topic::User(user) => Of::User(user.as_str().into()),
            Topic::Group(group) => Of::Group(group.as_str().into()),
            Topic::Presence(user) => Of::Presence(user.as_str().into()),
        }),
    }
}

pub(super) fn read(body: wire::step::Body) -> Result<Step, StepError> {
    use wire::step::Body;
    Ok(Step::Event(match body {
        Body::Timeout(wire::Empty {}) => return Ok(Step::Timeout),
        Body::Acted(number) => {
            let acted = u16::try_from(number).ok().and_then(Acted::from_number);
            return acted.map(Step::Acted).ok_or(StepError::Wrong("a digest of actions"));
        }
        Body::Digests(wire::Digests { actions, state }) => {
            return Ok(Step::Digests(Digests { actions, state }));
        }
        Body::Connected(connected) => Event::Connected {
            conn: conn(connected.conn)?,
            user: user(&connected.user)?,
            protocol: if connected.session { Protocol::Session } else { Protocol::Classic },
        },
        Body::Received(message) => Event::Received { conn: conn(message.conn)?, message: message.payload },
        Body::Ping(message) => Event::Ping { conn: conn(message.conn)?, payload: message.payload },
        Body::Pong(message) => Event::Pong { conn: conn(message.conn)?, payload: message.payload },
        Body::Misbehaved(misbehaved) => {
            Event::Misbehaved { conn: conn(misbehaved.conn)?, fault: fault(misbehaved.fault())? }
        }
        Body::PeerClosed(closed) => Event::PeerClosed { conn: conn(Some(closed))? },
        Body::Flushed(flushed) => Event::Flushed {
            conn: conn(flushed.conn)?,
            frames: flushed.frames,
            payload_bytes: flushed.payload_bytes,
        },
        Body::Disconnected(gone) => Event::Disconnected { conn: conn(Some(gone))? },
        Body::Answered(answered) => Event::Answered {
            ticket: Ticket(answered.ticket),
            answer: answer::read(answered.answer.ok_or(StepError::Unknown)?)?,
        },
        Body::Published(record) => Event::Published(Record {
            topic: topic(record.topic)?,
            stored: match record.place {
                Some(place) => Some((message_id(&record.message_id)?, answer::place(place))),
                None => None,
            },
            message: record.message,
        }),
        Body::Told(note) => Event::Told(Note { topic: topic(note.topic)?, note: note.note }),
        Body::DirectoryChanged(change) => {
            use wire::directory_change::Kind;
            Event::DirectoryChanged(DirectoryChange {
                revision: change.revision,
                user: user(&change.user)?,
                kind: match change.kind.ok_or(StepError::Unknown)? {
                    Kind::Joined(id) => DirectoryChangeKind::Joined(group(&id)?),
                    Kind::Left(id) => DirectoryChangeKind::Left(group(&id)?),
                    Kind::Avatar(name) => DirectoryChangeKind::Avatar(name.into()),
                },
            })
        }
        Body::Revoked(revoked) => Event::Revoked {
            why: revocation(revoked.why())?,
            whose: match revoked.whose.ok_or(StepError::Unknown)? {
                wire::revoked::Whose::Conn(of) => Whose::Connection(conn(Some(of))?),
                wire::revoked::Whose::User(id) => Whose::User(user(&id)?),
            },
        },
        Body::Announced(announced) => Event::Announced {
            to: if announced.user.is_empty() {
                Audience::Everyone
            } else {
                Audience::User(user(&announced.user)?)
            },
            text: announced.text.into(),
        },
        Body::Shutdown(wire::Empty {}) => Event::Shutdown,
    }))
}

fn fault(fault: wire::PeerFault) -> Result<PeerFault, StepError> {
    Ok(match fault {
        wire::PeerFault::Unspecified => return Err(StepError::Unknown),
        wire::PeerFault::Framing => PeerFault::Framing,
        wire::PeerFault::TextMessage => PeerFault::TextMessage,
        wire::PeerFault::InvalidUtf8 => PeerFault::InvalidUtf8,
        wire::PeerFault::MessageTooLarge => PeerFault::MessageTooLarge,
        wire::PeerFault::ReceiveBudget => PeerFault::ReceiveBudget,
    })
}

fn revocation(why: wire::Revocation) -> Result<Revocation, StepError> {
    Ok(match why {
        wire::Revocation::Unspecified => return Err(StepError::Unknown),
        wire::Revocation::SignedOut => Revocation::SignedOut,
        wire::Revocation::Banned => Revocation::Banned,
        wire::Revocation::Administrator => Revocation::Administrator,
    })
}

fn conn(conn: Option<wire::Conn>) -> Result<ConnId, StepError> {
    conn.map(|conn| ConnId::new(conn.slot, conn.generation)).ok_or(StepError::Missing("which connection"))
}

fn topic(topic: Option<wire::Topic>) -> Result<Topic, StepError> {
    use wire::topic::Of;
    Ok(match topic.and_then(|topic| topic.of).ok_or(StepError::Missing("whom it concerns"))? {
        Of::Everyone(wire::Empty {}) => Topic::Everyone,
        Of::User(id) => Topic::User(user(&id)?),
        Of::Group(id) => Topic::Group(group(&id)?),
        Of::Presence(id) => Topic::Presence(user(&id)?),
    })
}

pub(super) fn user(id: &str) -> Result<UserId, StepError> {
    UserId::new(id).map_err(|_| StepError::Wrong("the id of a user"))
}

pub(super) fn group(id: &str) -> Result<GroupId, StepError> {
    GroupId::new(id).map_err(|_| StepError::Wrong("the id of a group"))
}

pub(super) fn message_id(bytes: &[u8]) -> Result<MessageId, StepError> {
    bytes.try_into().map(MessageId).map_err(|_| StepError::Wrong("the id of a message"))
}
