//! One connection: the task that dials and reads, and the writer.

use std::io;

use bytes::Bytes;
use switchboard_engine::{LinkId, UserId};
use tokio::{
    io::AsyncReadExt as _,
    sync::mpsc,
    task::{AbortHandle, JoinHandle},
};

use super::{
    address::ServerUrl,
    connect::{ConnectError, Connected, connect},
    reader::{Arrival, ReadError, Reader},
    stream::WriteSide,
    writer::{Flushed, Writer},
};
use crate::{accounts::Token, tls::ClientTls};

/// Messages that may be read ahead of the machine; then reading waits, and with it the server.
const READ_AHEAD: usize = 16;

/// The largest message taken from a server: its default limit for uploads, and room for what it adds.
const MESSAGE_LIMIT_BYTES: usize = 9 << 20;

/// Where to connect, and as whom.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) server: ServerUrl,
    pub(super) user: UserId,
    /// The WebSocket subprotocol to insist on; the classic protocol has none.
    pub(super) subprotocol: Option<&'static str>,
    /// The session at a server where users log in.
    pub(super) token: Option<Token>,
    /// Whom to believe, if TLS is spoken.
    pub(super) tls: Option<ClientTls>,
}

/// Why a link ended, in more detail than the machine needs.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It could not be opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It broke.
    #[error("the connection broke")]
    Read(#[from] ReadError),
    /// The server closed it.
    #[error("the server closed the connection: {} {text}", code.unwrap_or(1005))]
    Closed {
        /// The code of the close frame; none, which RFC 6455 section 7.1.5 calls 1005, if there was none.
        code: Option<u16>,
        /// The text of the close frame; the server's own, so not fit for a terminal as it is.
        text: String,
    },
    /// The task that read it has died: a defect of this library.
    #[error("the task that reads the connection has ended")]
    Task,
}

impl LinkError {
    /// Whether the next attempt will most likely fail as well: see [`ConnectError::is_permanent`].
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_permanent(),
            Self::Read(_) | Self::Closed { .. } | Self::Task => false,
        }
    }
}

/// What the task of a link says.
#[derive(Debug)]
enum FromTask {
    Opened(WriteSide),
    Arrived(Arrival),
    Failed(LinkError),
}

/// What has happened on a link.
#[derive(Debug)]
pub(super) enum Progress {
    Opened,
    Received(Bytes),
    Pinged(Bytes),
    Flushed(Flushed),
    /// The last.
    Ended(LinkError),
}

/// One attempt to connect, and the connection that comes of it. Ends at once when it is dropped.
#[derive(Debug)]
pub(super) struct Link {
    id: LinkId,
    from_task: mpsc::Receiver<FromTask>,
    writer: Option<Writer<WriteSide>>,
    task: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Begins to connect.
    pub(super) fn dial(id: LinkId, target: Target) -> Self {
        let (to_driver, from_task) = mpsc::channel(READ_AHEAD);
        let task: JoinHandle<()> = tokio::spawn(async move {
            if let Err(error) = run(&target, &to_driver).await {
                // Without a driver there is nobody to tell.
                let _ = to_driver.send(FromTask::Failed(error)).await;
            }
        });
        Self { id, from_task, writer: None, task: task.abort_handle() }
    }

    pub(super) const fn id(&self) -> LinkId {
        self.id
    }

    /// The writing side, while there is one.
    pub(super) const fn writer(&mut self) -> Option<&mut Writer<WriteSide>> {
        self.writer.as_mut()
    }

    /// Waits for the next thing to happen. Cancel-safe.
    pub(super) async fn next(&mut self) -> Progress {
        loop {
            let Self { from_task, writer, .. } = self;
            let written = async {
                match writer {
                    Some(writer) => writer.write().await,
                    None => std::future::pending::<io::Result<Flushed>>().await,
                }
            };
            tokio::select! {
                said = from_task.recv() => return self.said(said),
                written = written => match written {
                    Ok(flushed) => return Progress::Flushed(flushed),
                    // What the server said before it stopped reading may still be on its way in: the reading
                    // side tells the end.
                    Err(error) => {
                        tracing::debug!(link = self.id.0, %error, "cannot write");
                        self.writer = None;
                    }
                },
            }
        }
    }

    fn said(&mut self, said: Option<FromTask>) -> Progress {
        match said {
            Some(FromTask::Opened(stream)) => {
                self.writer = Some(Writer::new(stream));
                Progress::Opened
            }
            Some(FromTask::Arrived(Arrival::Message(message))) => Progress::Received(message),
            Some(FromTask::Arrived(Arrival::Ping(payload))) => Progress::Pinged(payload),
            Some(FromTask::Arrived(Arrival::Close { code, text })) => {
                if let Some(writer) = &mut self.writer {
                    writer.answer_close(code);
                }
                Progress::Ended(LinkError::Closed { code, text })
            }
            Some(FromTask::Failed(error)) => Progress::Ended(error),
            None => Progress::Ended(LinkError::Task),
        }
    }
}

/// Connects, then reads to the end.
async fn run(target: &Target, driver: &mpsc::Sender<FromTask>) -> Result<(), LinkError> {
    let Connected { stream, read_ahead } = connect(target).await?;
    let (read, write) = stream.split();
    if driver.send(FromTask::Opened(write)).await.is_err() {
        return Ok(());
    }
    let mut reader = Reader::new(io::Cursor::new(read_ahead).chain(read), MESSAGE_LIMIT_BYTES);
    loop {
        let arrival = reader.next().await?;
        let last = matches!(arrival, Arrival::Close { .. });
        if driver.send(FromTask::Arrived(arrival)).await.is_err() || last {
            return Ok(());
        }
    }
}
