//! From bytes to WebSocket messages, for the task that reads a link.

use bytes::Bytes;
use fastwebsockets::{Frame, OpCode, Role, WebSocket, WebSocketError};
use tokio::io::{AsyncRead, Join, Sink};

/// Why reading has ended without a close frame.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The connection broke, or its bytes do not follow RFC 6455.
    #[error("reading from the server")]
    Frame(#[source] WebSocketError),
    /// The server sent a message larger than the limit.
    #[error("the server sent a message of more than {limit_bytes} bytes")]
    TooLarge {
        /// How large one may be.
        limit_bytes: usize,
    },
    /// The server sent a text message, which the protocol does not have.
    #[error("the server sent a text message where only binary ones are understood")]
    Text,
    /// The fragments of a message are not in the order of RFC 6455 section 5.4.
    #[error("the server's fragments make no message")]
    Fragments,
}

/// What arrives over a link.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// A binary message, whole.
    Message(Bytes),
    /// A Ping.
    Ping(Bytes),
    /// The server closes the connection.
    Close { code: Option<u16>, text: String },
}

/// Reads messages. Its reads are not cancel-safe, so it belongs to one task.
pub(super) struct Reader<R> {
    frames: WebSocket<Join<R, Sink>>,
    /// Of the message whose last fragment has not come yet.
    fragments: Option<Vec<u8>>,
    limit_bytes: usize,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads from a connection after its handshake; messages may have up to `limit_bytes`.
    pub(super) fn new(read: R, limit_bytes: usize) -> Self {
        // fastwebsockets wants a stream that can be written to, although it writes nothing of its own accord
        // without these two.
        let mut frames = WebSocket::after_handshake(tokio::io::join(read, tokio::io::sink()), Role::Client);
        frames.set_auto_close(false);
        frames.set_auto_pong(false);
        // It refuses payloads that have as many bytes.
        frames.set_max_message_size(limit_bytes.saturating_add(1));
        Self { frames, fragments: None, limit_bytes }
    }

    /// The next arrival.
    pub(super) async fn next(&mut self) -> Result<Arrival, ReadError> {
        loop {
            let frame = self.frames.read_frame().await.map_err(|error| {
                if matches!(error, WebSocketError::FrameTooLarge) {
                    ReadError::TooLarge { limit_bytes: self.limit_bytes }
                } else {
                    ReadError::Frame(error)
                }
            })?;
            match frame.opcode {
                OpCode::Binary | OpCode::Continuation => {
                    if let Some(message) = self.assemble(frame)? {
                        return Ok(Arrival::Message(message));
                    }
                }
                OpCode::Text => return Err(ReadError::Text),
                OpCode::Ping => return Ok(Arrival::Ping(Bytes::from(Vec::from(frame.payload)))),
                OpCode::Pong => {}
                OpCode::Close => return Ok(close(&frame.payload)),
            }
        }
    }

    /// Takes a frame of a message; gives the message with its last frame.
    fn assemble(&mut self, frame: Frame<'_>) -> Result<Option<Bytes>, ReadError> {
        let message = match (frame.opcode, self.fragments.take()) {
            (OpCode::Binary, None) => Vec::from(frame.payload),
            (OpCode::Continuation, Some(mut fragments)) => {
                if fragments.len().saturating_add(frame.payload.len()) > self.limit_bytes {
                    return Err(ReadError::TooLarge { limit_bytes: self.limit_bytes });
                }
                fragments.extend_from_slice(&frame.payload);
                fragments
            }
            _ => return Err(ReadError::Fragments),
        };
        if frame.fin {
            return Ok(Some(Bytes::from(message)));
        }
        self.fragments = Some(message);
        Ok(None)
    }
}

fn close(payload: &[u8]) -> Arrival {
    match payload.split_first_chunk() {
        Some((code, text)) => Arrival::Close {
            code: Some(u16::from_be_bytes(*code)),
            text: String::from_utf8_lossy(text).into_owned(),
        },
        None => Arrival::Close { code: None, text: String::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> Vec<Result<Arrival, String>> {
        let mut reader = Reader::new(bytes, 5);
        let mut arrivals = Vec::new();
        loop {
            match reader.next().await {
                Ok(arrival) => arrivals.push(Ok(arrival)),
                Err(error) => {
                    arrivals.push(Err(error.to_string()));
                    return arrivals;
                }
            }
        }
    }

    fn message(text: &'static str) -> Result<Arrival, String> {
        Ok(Arrival::Message(Bytes::from(text)))
    }

    const END: &str = "reading from the server";

    #[tokio::test]
    async fn fragments_become_one_message_with_a_ping_between_them() {
        let bytes = b"\x02\x02ab\x89\x01p\x80\x03cde\x82\x01x";
        let ping = Ok(Arrival::Ping(Bytes::from("p")));
        assert_eq!(read(bytes).await, [ping, message("abcde"), message("x"), Err(END.to_owned())]);
    }

    #[tokio::test]
    async fn the_limit_holds_for_one_frame_and_for_the_sum_of_fragments() {
        let too_large = || Err("the server sent a message of more than 5 bytes".to_owned());
        assert_eq!(read(b"\x82\x05abcde\x82\x06abcdef").await, [message("abcde"), too_large()]);
        assert_eq!(read(b"\x02\x03abc\x80\x03def").await, [too_large()]);
    }

    #[tokio::test]
    async fn a_close_frame_gives_its_code_and_text() {
        let close = |code, text: &str| Ok(Arrival::Close { code, text: text.to_owned() });
        assert_eq!(read(b"\x88\x04\x0f\xa0by").await, [close(Some(4000), "by"), Err(END.to_owned())]);
        assert_eq!(read(b"\x88\x00").await, [close(None, ""), Err(END.to_owned())]);
    }

    #[tokio::test]
    async fn texts_and_fragments_out_of_order_end_the_reading() {
        assert_eq!(read(b"\x81\x01a").await, [Err(ReadError::Text.to_string())]);
        assert_eq!(read(b"\x80\x01a").await, [Err(ReadError::Fragments.to_string())]);
        assert_eq!(read(b"\x02\x01a\x82\x01b").await, [Err(ReadError::Fragments.to_string())]);
    }
}
