//! Carries what HTTP calls have to say to their user's shard, as a session of that user.
//!
//! Each time there is a connection inside this process, which speaks the session protocol (docs/protocol.md) for a moment. So whatever
//! holds for sessions holds for calls: ids, order, rates, who may write where, one fate for each message, and nothing of it is
//! decided here. A user has one such connection at a time; further calls of the same user wait for it, in their order.

use std::{
    collections::BTreeMap,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as Pair},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use fastwebsockets::{Frame, OpCode, Payload, Role, WebSocket, WebSocketError};
use switchboard_engine::{Protocol, UserId};
use switchboard_proto::{
    Message as _,
    v1::{
        Accepted, ClientFrame, Content, Hello, Mark, RejectCode, ServerFrame, Submit, client_frame,
        server_frame,
    },
};
use tokio::{net::UnixStream, sync::Mutex as Turns};

use super::{
    access::Admitted,
    gateway::{Full, Shards},
    shard::NewConnection,
};

/// How long a call waits for its turn and its answer. An engine answers sooner, if only that the store does not.
const PATIENCE: Duration = Duration::from_secs(20);

/// Calls of one user that may wait for each other.
const WAITING: usize = 32;

/// The close code of who has done what it wanted (RFC 6455 section 7.4.1).
const NORMAL: u16 = 1_000;

/// The kind of a recall.
const RECALL: u32 = 22;

/// Why something was not carried, or not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Uncarried {
    /// The engine has said no.
    #[error("{text}")]
    Rejected { code: RejectCode, text: String },
    /// The engine has closed the connection before it has answered.
    #[error("{text}")]
    Closed { code: u16, text: String },
    #[error("too many calls of yours wait for each other; try again in a second")]
    Waiting,
    #[error("the server has no room for another connection; try again in a second")]
    Full,
    #[error("the server cannot say in time what has become of it; try again with the same id")]
    TooSlow,
    #[error("cannot talk to a shard: {0}")]
    Io(#[from] io::Error),
    #[error("cannot talk to a shard: {0}")]
    WebSocket(#[from] WebSocketError),
    #[error("a shard does not speak the protocol: {0}")]
    Frame(#[from] switchboard_proto::DecodeError),
}

impl From<Full> for Uncarried {
    fn from(Full: Full) -> Self {
        Self::Full
    }
}

/// Whose calls are under way.
type Queues = Mutex<BTreeMap<UserId, Arc<Turns<()>>>>;

/// See the module; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Courier {
    shards: Arc<Shards>,
    queues: Arc<Queues>,
}

impl Courier {
    pub(super) fn new(shards: Arc<Shards>) -> Self {
        Self { shards, queues: Arc::default() }
    }

    /// Submits a message; gives its place, which is the same each time that it is submitted.
    pub(super) async fn submit(&self, user: &Admitted, submit: Submit) -> Result<Accepted, Uncarried> {
        let id = submit.message_id.clone();
        self.carry(user, vec![client_frame::Body::Submit(submit)], id).await
    }

    /// Marks how far a user is; returns when the store has answered.
    pub(super) async fn mark(&self, user: &Admitted, mark: Mark) -> Result<(), Uncarried> {
        // Marks are not answered, but what is for the store is done in its order, and this is: nobody can take back what is at this place.
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(io::Error::other)?;
        let nothing = Submit {
            message_id: Bytes::copy_from_slice(&id),
            conversation: mark.conversation.clone(),
            content: Some(Content { kind: RECALL, target_seq: u64::MAX, ..Content::default() }),
        };
        let id = nothing.message_id.clone();
        let frames = vec![client_frame::Body::Mark(mark), client_frame::Body::Submit(nothing)];
        match self.carry(user, frames, id).await {
            Err(Uncarried::Rejected { code: RejectCode::Unavailable | RejectCode::Busy, text }) => {
                Err(Uncarried::Rejected { code: RejectCode::Unavailable, text })
            }
            Ok(_) | Err(Uncarried::Rejected { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Says all of it, and waits for the answer to what has this id.
    async fn carry(
        &self,
        user: &Admitted,
        frames: Vec<client_frame::Body>,
        id: Bytes,
    ) -> Result<Accepted, Uncarried> {
        let queue = Queue::join(&self.queues, user.user()).ok_or(Uncarried::Waiting)?;
        let talk = async {
            let _turn = queue.turns.lock().await;
            let mut socket = self.connect(user)?;
            // Without a device's id no device's session is closed for it.
            let hello = client_frame::Body::Hello(Hello::default());
            for body in std::iter::once(hello).chain(frames) {
                let payload = ClientFrame { body: Some(body) }.encode_to_vec();
                socket.write_frame(Frame::binary(Payload::Owned(payload))).await?;
            }
            let answered = answer(&mut socket, &id).await;
            close(&mut socket).await;
            answered
        };
        tokio::time::timeout(PATIENCE, talk).await.unwrap_or(Err(Uncarried::TooSlow))
    }

    /// A connection to the user's shard, which has a place there as any other.
    fn connect(&self, user: &Admitted) -> Result<WebSocket<UnixStream>, Uncarried> {
        let (seat, (ours, theirs)) = (self.shards.seat(user)?, Pair::pair()?);
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        seat.take(|place| NewConnection {
            // To a shard a socket is what it reads from and writes to, whatever its kind.
            stream: OwnedFd::from(theirs).into(),
            tls: None,
            user: user.user().clone(),
            protocol: Protocol::Session,
            read_ahead: Bytes::new(),
            login: user.login(),
            place,
        });
        Ok(WebSocket::after_handshake(UnixStream::from_std(ours)?, Role::Client))
    }
}

/// Reads until there is the answer, and passes over what else a session is told.
async fn answer(socket: &mut WebSocket<UnixStream>, id: &Bytes) -> Result<Accepted, Uncarried> {
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Binary => {}
            OpCode::Close => return Err(closed(&frame.payload)),
            OpCode::Text | OpCode::Continuation | OpCode::Ping | OpCode::Pong => continue,
        }
        match ServerFrame::decode(&*frame.payload)?.body {
            Some(server_frame::Body::Accepted(accepted)) if accepted.message_id == *id => {
                return Ok(accepted);
            }
            Some(server_frame::Body::Rejected(rejected)) if rejected.message_id == *id => {
                return Err(Uncarried::Rejected { code: rejected.code(), text: rejected.text });
            }
            Some(_) | None => {}
        }
    }
}

/// Leaves, and waits until that was noticed: who comes next must not find this one among the user's connections.
async fn close(socket: &mut WebSocket<UnixStream>) {
    if socket.write_frame(Frame::close(NORMAL, &[])).await.is_err() {
        return;
    }
    while let Ok(frame) = socket.read_frame().await {
        if frame.opcode == OpCode::Close {
            return;
        }
    }
}

/// A close frame's code and text (RFC 6455 section 5.5.1).
fn closed(payload: &[u8]) -> Uncarried {
    let (code, text) = payload.split_first_chunk().unwrap_or((&[0x03, 0xed], &[]));
    Uncarried::Closed { code: u16::from_be_bytes(*code), text: String::from_utf8_lossy(text).into_owned() }
}

/// A call among those of its user.
struct Queue<'q> {
    queues: &'q Queues,
    user: UserId,
    turns: Arc<Turns<()>>,
}

impl<'q> Queue<'q> {
    /// Waits with the others; none if that are too many.
    fn join(queues: &'q Queues, user: &UserId) -> Option<Self> {
        let mut all = queues.lock().unwrap_or_else(PoisonError::into_inner);
        let turns = Arc::clone(all.entry(user.clone()).or_default());
        drop(all);
        let queue = Self { queues, user: user.clone(), turns };
        // The table has one as well.
        (Arc::strong_count(&queue.turns) <= WAITING.saturating_add(1)).then_some(queue)
    }
}

impl Drop for Queue<'_> {
    fn drop(&mut self) {
        let mut all = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody joins meanwhile, so who finds the table's and its own alone is the last.
        if Arc::strong_count(&self.turns) <= 2 {
            all.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_calls_of_a_user_wait_and_nothing_is_left_of_them() {
        let (queues, alice) = (Queues::default(), UserId::new("alice").unwrap());
        let mut waiting: Vec<_> = (0..WAITING).map(|_| Queue::join(&queues, &alice).unwrap()).collect();
        assert!(Queue::join(&queues, &alice).is_none());
        let bob = Queue::join(&queues, &UserId::new("bob").unwrap()).unwrap();
        waiting.pop();
        waiting.push(Queue::join(&queues, &alice).unwrap());
        drop(waiting);
        assert_eq!(queues.lock().unwrap().len(), 1);
        drop(bob);
        assert!(queues.lock().unwrap().is_empty());
    }

    #[test]
    fn a_close_frame_says_why_or_nothing() {
        for (payload, expected) in [(&b"\x03\xf0words"[..], (1008, "words")), (b"", (1005, ""))] {
            let Uncarried::Closed { code, text } = closed(payload) else { panic!() };
            assert_eq!((code, text.as_str()), expected);
        }
    }
}
