//! The classic protocol as a client speaks it: one `protocol.Message` per binary WebSocket message.

use alloc::{boxed::Box, string::String};

use bytes::Bytes;
use switchboard_proto::{DecodeError, Message as _, classic::Message};

use super::{config::ClientConfig, length};
use crate::{
    digest::Digest,
    id::{GroupId, UserId},
};

/// `type` of a heartbeat and of its answer, as the wire spells it.
const HEARTBEAT: &str = "heatbeat";
/// `type` of call signals.
const CALL: &str = "webrtc";
/// `from` and `content` of the greeting.
const GREETING: (&str, &str) = ("System", "welcome!");

const ONE_TO_ONE: i32 = 1;
const GROUP: i32 = 2;

const TEXT: i32 = 1;
/// Of an upload, whatever it is: the server looks at the file and says.
const UPLOAD: i32 = 3;

/// Something to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// A message. Waits while there is no connection, and is sent again if the link is lost before it was
    /// flushed: it is not lost on this side, but may arrive twice.
    Message {
        /// To whom.
        to: Target,
        /// What.
        body: Body,
    },
    /// A signal of a call. Accepted only while online and dropped when the link is lost: a call's signals are
    /// worse than useless when they come late.
    Signal {
        /// To whom; none: to the other side of the active call, which the server knows.
        to: Option<UserId>,
        /// Which.
        kind: SignalKind,
        /// Session description, ICE candidate or picture, as the front-end encodes it; may be empty.
        content: Box<str>,
    },
}

/// Whom a message goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One user.
    User(UserId),
    /// The members of a group.
    Group(GroupId),
    /// Every connected user, the sender too. Servers do not store it.
    Everyone,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Text.
    Text(Box<str>),
    /// A file. The server finds out what it is, keeps it, and passes on its name.
    Upload {
        /// A text to go with it, by custom the file's name; may be empty.
        caption: Box<str>,
        /// The file's suffix without a dot.
        suffix: Box<str>,
        /// Its contents.
        file: Bytes,
    },
}

/// What a call signal is; the numbers are the wire's `contentType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignalKind {
    /// 0: a session description or an ICE candidate.
    Session,
    /// 6: a voice call.
    VoiceCall,
    /// 7: a video call.
    VideoCall,
    /// 8: a picture of the camera. Of those that wait to be handed over, only the newest is kept.
    CameraFrame,
    /// 9: a picture of the screen. Of those that wait to be handed over, only the newest is kept.
    ScreenFrame,
    /// 10 to 20: dialling, taking up, hanging up, refusing.
    Dialling(i32),
    /// Any other number, of a message that says that it belongs to a call.
    Other(i32),
}

impl SignalKind {
    /// The wire's `contentType`.
    #[must_use]
    pub const fn content_type(self) -> i32 {
        match self {
            Self::Session => 0,
            Self::VoiceCall => 6,
            Self::VideoCall => 7,
            Self::CameraFrame => 8,
            Self::ScreenFrame => 9,
            Self::Dialling(number) | Self::Other(number) => number,
        }
    }

    const fn from_content_type(number: i32) -> Self {
        match number {
            0 => Self::Session,
            6 => Self::VoiceCall,
            7 => Self::VideoCall,
            8 => Self::CameraFrame,
            9 => Self::ScreenFrame,
            10..=20 => Self::Dialling(number),
            other => Self::Other(other),
        }
    }

    /// Whether a newer one makes an older one worthless.
    const fn is_live_picture(self) -> bool {
        matches!(self.content_type(), 8 | 9)
    }
}

/// A message that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The sender; of a message to a group, the group. See [`Incoming::sender`] and [`Incoming::group`].
    pub from: String,
    /// The recipient; of a message to a group, the sender; empty for everyone.
    pub to: String,
    /// To how many it went.
    pub scope: Scope,
    /// The sender's display name, as the sender's client gave it.
    pub username: String,
    /// The file name of the sender's picture; may be empty.
    pub avatar: String,
    /// What it says.
    pub kind: IncomingKind,
}

/// To how many a message went, as far as the wire tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// To this user.
    Direct,
    /// To a group.
    Group,
    /// To everyone.
    Everyone,
}

/// What a message that has arrived says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IncomingKind {
    /// Text.
    Text(String),
    /// A file that is neither of the next three.
    File(Media),
    /// A picture.
    Image(Media),
    /// Sound.
    Audio(Media),
    /// Moving pictures.
    Video(Media),
    /// A signal of a call.
    Signal {
        /// Which.
        kind: SignalKind,
        /// Session description, ICE candidate or picture, as the front-end encodes it.
        content: String,
    },
    /// A content type that the protocol does not define.
    Other {
        /// The number.
        content_type: i32,
        /// The text that came with it.
        content: String,
    },
}

/// A file that came with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// The text that came with it, by custom the file's name; may be empty.
    pub caption: String,
    /// The name under which the server keeps it: GET /file/name.
    pub url: String,
    /// Its suffix as the sender gave it, without a dot; empty in groups.
    pub suffix: String,
    /// Its contents, if a server passes them on; usually empty.
    pub file: Bytes,
}

impl Incoming {
    /// Who sent it.
    #[must_use]
    pub fn sender(&self) -> &str {
        match self.scope {
            Scope::Direct | Scope::Everyone => &self.from,
            Scope::Group => &self.to,
        }
    }

    /// The group that it was sent to, if it was.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        match self.scope {
            Scope::Direct | Scope::Everyone => None,
            Scope::Group => Some(&self.from),
        }
    }
}

/// What losing the link means for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// It goes out again.
    Stored,
    /// It is dropped.
    Signal,
    /// It is dropped, and so is one that waits when the next of the same kind to the same user comes.
    LivePicture { content_type: i32, to: Option<UserId> },
}

/// What a message from the server is to the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    Heartbeat,
    Greeting,
    Message(Box<Incoming>),
}

/// One side of a conversation with a server.
#[derive(Debug)]
pub(super) struct Classic {
    user: UserId,
    username: Box<str>,
    avatar: Box<str>,
    /// The next message is the link's first one. A user may be named like the greeter, so only that counts.
    greeting_due: bool,
}

impl Classic {
    pub(super) fn new(config: &ClientConfig) -> Self {
        Self {
            user: config.user.clone(),
            username: config.username.clone(),
            avatar: config.avatar.clone(),
            greeting_due: false,
        }
    }

    /// The names are of the configuration.
    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        digest.flag(self.greeting_due);
    }

    pub(super) const fn link_opened(&mut self) {
        self.greeting_due = true;
    }

    /// A heartbeat, encoded.
    pub(super) fn heartbeat() -> Bytes {
        let message = Message { r#type: HEARTBEAT.into(), content: "ping".into(), ..Message::default() };
        message.encode_to_vec().into()
    }

    /// The message, encoded, and what losing the link means for it; its encoded size if that is above the limit.
    pub(super) fn encode(&self, outgoing: &Outgoing, limit_bytes: u64) -> Result<(Bytes, Class), u64> {
        let (message, class) = self.message(outgoing);
        let bytes = length(message.encoded_len());
        if bytes > limit_bytes { Err(bytes) } else { Ok((message.encode_to_vec().into(), class)) }
    }

    /// What has arrived on the current link.
    pub(super) fn decode(&mut self, message: Bytes) -> Result<Received, DecodeError> {
        let first = core::mem::take(&mut self.greeting_due);
        let message = Message::decode(message)?;
        Ok(if message.r#type == HEARTBEAT {
            Received::Heartbeat
        } else if first && (message.from.as_str(), message.content.as_str()) == GREETING {
            Received::Greeting
        } else {
            Received::Message(Box::new(incoming(message)))
        })
    }

    fn message(&self, outgoing: &Outgoing) -> (Message, Class) {
        let mut message = Message {
            avatar: String::from(&*self.avatar),
            from_username: String::from(&*self.username),
            from: self.user.as_str().into(),
            message_type: ONE_TO_ONE,
            ..Message::default()
        };
        let class = match outgoing {
            Outgoing::Message { to, body } => {
                match to {
                    Target::User(user) => message.to = user.as_str().into(),
                    Target::Group(group) => {
                        message.to = group.as_str().into();
                        message.message_type = GROUP;
                    }
                    Target::Everyone => {}
                }
                match body {
                    Body::Text(text) => {
                        message.content_type = TEXT;
                        message.content = String::from(&**text);
                    }
                    Body::Upload { caption, suffix, file } => {
                        message.content_type = UPLOAD;
                        message.content = String::from(&**caption);
                        message.file_suffix = String::from(&**suffix);
                        message.file = file.clone();
                    }
                }
                Class::Stored
            }
            Outgoing::Signal { to, kind, content } => {
                message.to = to.as_ref().map(|user| String::from(user.as_str())).unwrap_or_default();
                message.content_type = kind.content_type();
                message.r#type = CALL.into();
                message.content = String::from(&**content);
                if kind.is_live_picture() {
                    Class::LivePicture { content_type: kind.content_type(), to: to.clone() }
                } else {
                    Class::Signal
                }
            }
        };
        (message, class)
    }
}

fn incoming(message: Message) -> Incoming {
    let Message { avatar, from_username, from, to, content, content_type, r#type, message_type, .. } =
        message;
    let scope = match (to.is_empty(), message_type) {
        (true, _) => Scope::Everyone,
        (false, GROUP) => Scope::Group,
        (false, _) => Scope::Direct,
    };
    let media =
        |caption| Media { caption, url: message.url, suffix: message.file_suffix, file: message.file };
    let kind = match content_type {
        number if r#type == CALL => {
            IncomingKind::Signal { kind: SignalKind::from_content_type(number), content }
        }
        number @ (0 | 6..=20) => {
            IncomingKind::Signal { kind: SignalKind::from_content_type(number), content }
        }
        TEXT => IncomingKind::Text(content),
        2 => IncomingKind::File(media(content)),
        3 => IncomingKind::Image(media(content)),
        4 => IncomingKind::Audio(media(content)),
        5 => IncomingKind::Video(media(content)),
        content_type => IncomingKind::Other { content_type, content },
    };
    // Call signals go to one user whatever their `messageType` says, and keep the sender in `from`.
    let scope = match (&kind, scope) {
        (IncomingKind::Signal { .. }, Scope::Group) => Scope::Direct,
        (_, scope) => scope,
    };
    Incoming { from, to, scope, username: from_username, avatar, kind }
}
