//! From what the engine sends to the bytes on the wire.

use fastwebsockets::{OpCode, Payload};
use switchboard_engine::{CloseReason, Frame};

/// Two bytes, and eight of a 64-bit length; servers do not mask (RFC 6455 sections 5.1 and 5.2).
const HEADER_LIMIT_BYTES: usize = 10;

/// Appends header and payload of one unfragmented, unmasked frame, ready to be written to every recipient.
pub fn encode(frame: &Frame, out: &mut Vec<u8>) {
    let opcode = match frame {
        Frame::Message(_) => OpCode::Binary,
        Frame::Ping(_) => OpCode::Ping,
        Frame::Pong(_) => OpCode::Pong,
    };
    encode_payload(opcode, frame.payload(), out);
}

/// Appends the close frame with the reason's code and text (RFC 6455 section 5.5.1).
pub fn encode_close(reason: CloseReason, out: &mut Vec<u8>) {
    let mut payload = reason.code().to_be_bytes().to_vec();
    payload.extend_from_slice(reason.text().as_bytes());
    encode_payload(OpCode::Close, &payload, out);
}

/// Appends the close frame that answers a client's: with the client's code, which RFC 6455 section 5.5.1 calls
/// typical, or that of a normal end (1000) if the client gave none. Its text is not repeated.
pub fn encode_close_answer(code: Option<u16>, out: &mut Vec<u8>) {
    encode_payload(OpCode::Close, &code.unwrap_or(CloseReason::PeerClosed.code()).to_be_bytes(), out);
}

/// Appends header and payload of a text message, which is UTF-8. No protocol of ours has any; an echo has.
pub fn encode_text(text: &[u8], out: &mut Vec<u8>) {
    encode_payload(OpCode::Text, text, out);
}

fn encode_payload(opcode: OpCode, payload: &[u8], out: &mut Vec<u8>) {
    // RFC 6455 section 5.5; the engine promises it, and a test holds for every CloseReason.
    debug_assert!(!is_control(opcode) || payload.len() <= 125, "a control frame of {} bytes", payload.len());
    let mut header = [0; HEADER_LIMIT_BYTES];
    let header_len =
        fastwebsockets::Frame::new(true, opcode, None, Payload::Borrowed(payload)).fmt_head(&mut header);
    out.reserve(header_len.saturating_add(payload.len()));
    out.extend_from_slice(header.get(..header_len).unwrap_or_default());
    out.extend_from_slice(payload);
}

const fn is_control(opcode: OpCode) -> bool {
    matches!(opcode, OpCode::Close | OpCode::Ping | OpCode::Pong)
}
