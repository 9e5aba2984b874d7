//! From frames to bytes, and how far they have left.

use std::{collections::VecDeque, future, io};

use bytes::{Buf as _, BytesMut};
use fastwebsockets::{OpCode, Payload};
use switchboard_engine::Frame;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::stream::WriteSide;

/// A frame's header is at most this long (RFC 6455 section 5.2): flags, length, mask.
const HEADER_LIMIT_BYTES: usize = 14;

/// Frames that have left entirely.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flushed {
    pub(super) frames: u32,
    pub(super) payload_bytes: u64,
}

/// The writing side of a link. What waits here is bounded by the machine: it hands over no more than its window.
#[derive(Debug)]
pub(super) struct Writer<W> {
    stream: W,
    /// Encoded and not written.
    unwritten: BytesMut,
    /// Taken by the stream, which may have encrypted it and not written yet.
    unflushed: usize,
    /// Bytes to be written before each frame has left, counted from the frame before; and its payload's length.
    frames: VecDeque<(usize, u64)>,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(super) fn new(stream: W) -> Self {
        Self { stream, unwritten: BytesMut::new(), unflushed: 0, frames: VecDeque::new() }
    }

    /// Puts a frame behind those before it.
    pub(super) fn push(&mut self, frame: &Frame) {
        let opcode = match frame {
            Frame::Message(_) => OpCode::Binary,
            Frame::Ping(_) => OpCode::Ping,
            Frame::Pong(_) => OpCode::Pong,
        };
        let payload = frame.payload();
        let bytes = self.encode(opcode, payload);
        self.frames.push_back((bytes, payload.len() as u64));
    }

    /// Puts a close frame behind the frames so far; it is not counted as flushed.
    pub(super) fn push_close(&mut self, code: u16) {
        self.encode(OpCode::Close, &code.to_be_bytes());
    }

    fn encode(&mut self, opcode: OpCode, payload: &[u8]) -> usize {
        let mut frame = fastwebsockets::Frame::new(true, opcode, None, Payload::Borrowed(payload));
        frame.mask();
        let mut header = [0; HEADER_LIMIT_BYTES];
        let header_len = frame.fmt_head(&mut header);
        let before = self.unwritten.len();
        self.unwritten.extend_from_slice(header.get(..header_len).unwrap_or(&header));
        self.unwritten.extend_from_slice(&frame.payload);
        self.unwritten.len() - before
    }

    /// Writes once, as soon as there is something to write and the socket takes it. Cancel-safe.
    pub(super) async fn write(&mut self) -> io::Result<Flushed> {
        if self.unflushed == 0 {
            if self.unwritten.is_empty() {
                return future::pending().await;
            }
            let written = self.stream.write(&self.unwritten).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.unwritten.advance(written);
            self.unflushed = written;
        }
        self.stream.flush().await?;
        let flushed = std::mem::take(&mut self.unflushed);
        Ok(self.advance(flushed))
    }

    fn advance(&mut self, mut written: usize) -> Flushed {
        let mut flushed = Flushed::default();
        while let Some((left, payload_bytes)) = self.frames.front_mut() {
            if *left > written {
                *left -= written;
                break;
            }
            written -= *left;
            flushed.frames = flushed.frames.saturating_add(1);
            flushed.payload_bytes = flushed.payload_bytes.saturating_add(*payload_bytes);
            self.frames.pop_front();
        }
        flushed
    }
}

impl Writer<WriteSide> {
    /// Answers a close frame, behind what was to be written, if the socket takes all that at once: the
    /// connection is over whether it does or not.
    pub(super) fn answer_close(&mut self, code: Option<u16>) {
        // A frame without a code is answered with "normal closure" (RFC 6455 section 7.4.1).
        self.push_close(code.unwrap_or(1000));
        self.stream.try_write(&self.unwritten);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[tokio::test]
    async fn a_frame_counts_as_flushed_when_its_last_byte_has_left() {
        // The pipe takes 10 bytes at a time: masked frames of 2 + 4 + 3 and 2 + 4 + 8 bytes.
        let (near, mut far) = tokio::io::duplex(10);
        let mut writer = Writer::new(near);
        writer.push(&Frame::Message("abc".into()));
        writer.push(&Frame::Pong("12345678".into()));
        assert_eq!(writer.write().await.unwrap(), Flushed { frames: 1, payload_bytes: 3 });
        let mut bytes = [0; 10];
        far.read_exact(&mut bytes).await.unwrap();
        assert_eq!(writer.write().await.unwrap(), Flushed { frames: 0, payload_bytes: 0 });
        far.read_exact(&mut bytes).await.unwrap();
        assert_eq!(writer.write().await.unwrap(), Flushed { frames: 1, payload_bytes: 8 });
        assert!(writer.frames.is_empty() && writer.unwritten.is_empty());
    }

    #[tokio::test]
    async fn frames_are_masked_and_read_as_what_they_were() {
        let (near, far) = tokio::io::duplex(1024);
        let mut writer = Writer::new(near);
        writer.push(&Frame::Message("a message".into()));
        writer.push_close(1000);
        // A close frame is not one of the machine's frames.
        assert_eq!(writer.write().await.unwrap(), Flushed { frames: 1, payload_bytes: 9 });
        let mut server = fastwebsockets::WebSocket::after_handshake(far, fastwebsockets::Role::Server);
        assert_eq!(server.read_frame().await.unwrap().payload, b"a message");
        assert_eq!(server.read_frame().await.unwrap().payload, &1000_u16.to_be_bytes());
    }
}
