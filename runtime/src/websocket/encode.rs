//! From what the engine sends to the bytes on the wire.

use bytes::Bytes;
use fastwebsockets::{OpCode, Payload};
use switchboard_engine::{CloseReason, Frame};

/// Two bytes, and eight of a 64-bit length; servers do not mask (RFC 6455 sections 5.1 and 5.2).
const HEADER_LIMIT_BYTES: usize = 10;

/// Gives header and payload of one unfragmented, unmasked frame, ready to be written to every recipient.
///
/// The result owns exactly the bytes of the frame: the payload is copied once, however many receive it.
#[must_use]
pub fn encode(frame: &Frame) -> Bytes {
    let opcode = match frame {
        Frame::Message(_) => OpCode::Binary,
        Frame::Ping(_) => OpCode::Ping,
        Frame::Pong(_) => OpCode::Pong,
    };
    encode_payload(opcode, frame.payload())
}

/// Gives the close frame with the reason's code and text (RFC 6455 section 5.5.1).
#[must_use]
pub fn encode_close(reason: CloseReason) -> Bytes {
    let mut payload = reason.code().to_be_bytes().to_vec();
    payload.extend_from_slice(reason.text().as_bytes());
    encode_payload(OpCode::Close, &payload)
}

/// Gives the close frame that answers a client's: with the client's code, which RFC 6455 section 5.5.1 calls
/// typical, or that of a normal end (1000) if the client gave none. Its text is not repeated.
#[must_use]
pub fn encode_close_answer(code: Option<u16>) -> Bytes {
    encode_payload(OpCode::Close, &code.unwrap_or(CloseReason::PeerClosed.code()).to_be_bytes())
}

fn encode_payload(opcode: OpCode, payload: &[u8]) -> Bytes {
    // RFC 6455 section 5.5; the engine promises it, and a test holds for every CloseReason.
    debug_assert!(!is_control(opcode) || payload.len() <= 125, "a control frame of {} bytes", payload.len());
    let mut header = [0; HEADER_LIMIT_BYTES];
    let header_len =
        fastwebsockets::Frame::new(true, opcode, None, Payload::Borrowed(payload)).fmt_head(&mut header);
    let mut bytes = Vec::with_capacity(header_len.saturating_add(payload.len()));
    bytes.extend(header.iter().take(header_len));
    bytes.extend_from_slice(payload);
    Bytes::from(bytes)
}

const fn is_control(opcode: OpCode) -> bool {
    matches!(opcode, OpCode::Close | OpCode::Ping | OpCode::Pong)
}
