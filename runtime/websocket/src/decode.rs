//! From the bytes of a client to its messages.

use std::mem;

use bytes::Bytes;
use fastwebsockets::{CloseCode, OpCode, unmask};
use switchboard_engine::PeerFault;

/// What a client has sent, whole, unmasked and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A binary message, all its fragments in one.
    Message(Bytes),
    /// A text message, all its fragments in one: UTF-8.
    Text(Bytes),
    /// A Ping; at most 125 bytes.
    Ping(Bytes),
    /// A Pong; at most 125 bytes.
    Pong(Bytes),
    /// The client closes, with its reason if it gave one. Nothing follows.
    Close(Option<CloseFrame>),
}

/// Why a client closes, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// A code that may be on the wire: RFC 6455 section 7.4.1, IANA's registry, or 3000 to 4999.
    pub code: u16,
    /// Text of the client's choice, at most 123 bytes.
    pub reason: String,
}

/// What [`Decoder::pending_bytes`] may count beyond the message limit: the bookkeeping of an unfinished
/// message, and one unfinished control frame.
pub const OVERHEAD_BYTES: usize = size_of::<Partial>() + CONTROL_LIMIT_BYTES;

/// RFC 6455 section 5.5: "All control frames MUST have a payload length of 125 bytes or less".
const CONTROL_LIMIT_BYTES: usize = 125;

/// Fragments without a payload that one message may have.
const EMPTY_FRAGMENTS_LIMIT: u32 = 1024;

/// Two bytes, eight of a 64-bit length, four of a mask (RFC 6455 section 5.2).
const HEADER_LIMIT_BYTES: usize = 14;

/// The receiving half of one connection's framing; one per connection, and of a few bytes between messages.
///
/// ```text
///            part of a frame, or a fragment           Close, or a fault
///   Idle ─────────────────────────────────▶ Partial ───────────────────▶ Finished
///    ▲  ◀───────────────────────────────── (boxed)                          ▲
///    └ whole frames   the message is whole                                  │
///    └──────────────────────────────────────────────────────────────────────┘
/// ```
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Partial(Box<Partial>),
    Finished,
}

impl Decoder {
    /// Takes bytes off the front of `input` until a message or control frame is whole.
    ///
    /// `input` is what has arrived since the last call; it is changed in place. `Ok(None)` means that all of
    /// it is used up. To be called until then, with the same `message_limit_bytes` all along, which holds for
    /// the sum of a message's fragments.
    ///
    /// # Errors
    /// The rule that the peer broke, as soon as the bytes show it; a message's size is judged by its frames'
    /// headers. After that, and after [`Incoming::Close`], whatever comes is thrown away.
    pub fn next(
        &mut self,
        input: &mut &mut [u8],
        message_limit_bytes: u64,
    ) -> Result<Option<Incoming>, PeerFault> {
        let limit = usize::try_from(message_limit_bytes).unwrap_or(usize::MAX);
        let result = self.advance(input, limit);
        if matches!(result, Err(_) | Ok(Some(Incoming::Close(_)))) {
            self.state = State::Finished;
            *input = &mut [];
        }
        result
    }

    /// The memory held for what is unfinished, in bytes; 0 between messages. At most the message limit and
    /// [`OVERHEAD_BYTES`], and at most twice what has arrived and that.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        match &self.state {
            State::Idle | State::Finished => 0,
            State::Partial(partial) => {
                let message = partial.message.as_ref().map_or(0, |message| message.bytes.capacity());
                let control = match &partial.stage {
                    Stage::Header { .. } => 0,
                    Stage::Payload { control, .. } => control.capacity(),
                };
                size_of::<Partial>().saturating_add(message).saturating_add(control)
            }
        }
    }

    /// Throws away what is unfinished, and whatever comes from now on.
    pub fn finish(&mut self) {
        self.state = State::Finished;
    }

    fn advance(&mut self, input: &mut &mut [u8], limit: usize) -> Result<Option<Incoming>, PeerFault> {
        match &mut self.state {
            State::Finished => {
                *input = &mut [];
                Ok(None)
            }
            State::Idle if input.is_empty() => Ok(None),
            State::Idle => {
                if let Some((opcode, payload)) = whole_frame(input, limit)? {
                    return interpret(opcode, Bytes::copy_from_slice(payload)).map(Some);
                }
                let mut partial = Partial::default();
                let result = partial.advance(input, limit);
                if !partial.is_empty() {
                    self.state = State::Partial(Box::new(partial));
                }
                result
            }
            State::Partial(partial) => {
                let result = partial.advance(input, limit);
                if partial.is_empty() {
                    self.state = State::Idle;
                }
                result
            }
        }
    }
}

/// Takes an unfragmented frame off the front of `input`, if all of it is there; otherwise takes nothing.
fn whole_frame<'a>(input: &mut &'a mut [u8], limit: usize) -> Result<Option<(OpCode, &'a [u8])>, PeerFault> {
    let Some(header) = Header::parse(input)? else { return Ok(None) };
    header.check(None, limit)?;
    if !header.fin {
        return Ok(None);
    }
    let frame = input.split_off_mut(..header.len.saturating_add(header.payload_len));
    let Some(payload) = frame.and_then(|frame| frame.get_mut(header.len..)) else { return Ok(None) };
    unmask(payload, header.mask);
    Ok(Some((header.opcode, payload)))
}

/// What is kept while a frame or a fragmented message is unfinished.
#[derive(Debug, Default)]
struct Partial {
    stage: Stage,
    /// The data message that has begun; control frames may come in between (RFC 6455 section 5.4).
    message: Option<Assembly>,
}

#[derive(Debug)]
enum Stage {
    /// The first `len` bytes of a header have arrived.
    Header { bytes: [u8; HEADER_LIMIT_BYTES], len: usize },
    /// `left` bytes of the payload have not arrived. `control` has what came of a control frame; what came of
    /// a data frame is in `Partial::message`. The header's mask is rotated so that the next byte's comes first.
    Payload { header: Header, left: usize, control: Vec<u8> },
}

impl Default for Stage {
    fn default() -> Self {
        Self::Header { bytes: [0; HEADER_LIMIT_BYTES], len: 0 }
    }
}

impl Partial {
    const fn is_empty(&self) -> bool {
        self.message.is_none() && matches!(self.stage, Stage::Header { len: 0, .. })
    }

    fn advance(&mut self, input: &mut &mut [u8], limit: usize) -> Result<Option<Incoming>, PeerFault> {
        loop {
            match &mut self.stage {
                Stage::Header { bytes, len } => {
                    let Some(header) = read_header(bytes, len, input)? else { return Ok(None) };
                    header.check(self.message.as_ref(), limit)?;
                    if header.opcode == OpCode::Text || header.opcode == OpCode::Binary {
                        self.message = Some(Assembly::new(header.opcode));
                    }
                    if let Some(message) = self.message.as_mut().filter(|_| header.is_empty_fragment()) {
                        message.count_empty_fragment()?;
                    }
                    self.stage = Stage::Payload { header, left: header.payload_len, control: Vec::new() };
                }
                Stage::Payload { header, left, control } => {
                    let arrived = input.len().min(*left);
                    // None is impossible: the length is the smaller of the two.
                    let Some(piece) = input.split_off_mut(..arrived) else { return Ok(None) };
                    unmask(piece, header.mask);
                    header.mask.rotate_left(arrived % 4);
                    match &mut self.message {
                        Some(message) if !header.is_control() => {
                            let held = message.bytes.len();
                            // What is known of the whole message's size: nothing until its last frame.
                            let end = if header.fin { held.saturating_add(*left) } else { limit };
                            message.extend(piece, end);
                            message.check_text()?;
                        }
                        _ => {
                            control.reserve_exact(*left);
                            control.extend_from_slice(piece);
                        }
                    }
                    *left -= arrived;
                    if *left > 0 {
                        return Ok(None);
                    }
                    let (header, control) = (*header, mem::take(control));
                    self.stage = Stage::default();
                    if header.is_control() {
                        return interpret(header.opcode, Bytes::from(control)).map(Some);
                    }
                    if let Some(message) = self.message.take_if(|_| header.fin) {
                        return message.finish().map(Some);
                    }
                }
            }
        }
    }
}

/// Moves bytes from `input` to `bytes` until they are a header; `None` when the input ends before.
fn read_header(
    bytes: &mut [u8; HEADER_LIMIT_BYTES],
    len: &mut usize,
    input: &mut &mut [u8],
) -> Result<Option<Header>, PeerFault> {
    while let Some(next) = bytes.get_mut(*len) {
        let Some(byte) = input.split_off_first_mut() else { break };
        *next = *byte;
        *len += 1;
        if let Some(header) = Header::parse(bytes.get(..*len).unwrap_or_default())? {
            return Ok(Some(header));
        }
    }
    Ok(None)
}

/// The payload of a data message, as far as it has arrived.
#[derive(Debug)]
struct Assembly {
    /// Of the first frame: binary or text.
    opcode: OpCode,
    bytes: Vec<u8>,
    /// Of text: how many of the bytes are whole characters. Those behind them begin one.
    checked: usize,
    empty_fragments: u32,
}

impl Assembly {
    const fn new(opcode: OpCode) -> Self {
        Self { opcode, bytes: Vec::new(), checked: 0, empty_fragments: 0 }
    }

    /// Fragments without a payload are allowed (RFC 6455 section 5.4), but without end they are work that no
    /// limit on messages or bytes would see.
    const fn count_empty_fragment(&mut self) -> Result<(), PeerFault> {
        self.empty_fragments += 1;
        if self.empty_fragments > EMPTY_FRAGMENTS_LIMIT { Err(PeerFault::Framing) } else { Ok(()) }
    }

    /// Appends; the memory doubles as bytes arrive and never goes beyond `end`, so that announcing a large
    /// message costs a peer as much as it costs the server.
    fn extend(&mut self, piece: &[u8], end: usize) {
        let needed = self.bytes.len().saturating_add(piece.len());
        if needed > self.bytes.capacity() {
            let capacity = self.bytes.capacity().saturating_mul(2).min(end).max(needed);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
    }

    /// Text is refused as soon as nothing that could follow would make it UTF-8 (RFC 6455 section 8.1). Each byte is looked at
    /// once, but for those of a character that has come in part.
    fn check_text(&mut self) -> Result<(), PeerFault> {
        if self.opcode == OpCode::Text {
            self.checked += match str::from_utf8(self.bytes.get(self.checked..).unwrap_or_default()) {
                Ok(text) => text.len(),
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                Err(_) => return Err(PeerFault::InvalidUtf8),
            };
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Incoming, PeerFault> {
        let is_text = self.opcode == OpCode::Text;
        if is_text && self.checked < self.bytes.len() {
            return Err(PeerFault::InvalidUtf8);
        }
        self.bytes.shrink_to_fit();
        let payload = Bytes::from(self.bytes);
        Ok(if is_text { Incoming::Text(payload) } else { Incoming::Message(payload) })
    }
}

/// Says what a frame means that is not a part of something, by its whole payload.
fn interpret(opcode: OpCode, payload: Bytes) -> Result<Incoming, PeerFault> {
    match opcode {
        OpCode::Binary => Ok(Incoming::Message(payload)),
        OpCode::Ping => Ok(Incoming::Ping(payload)),
        OpCode::Pong => Ok(Incoming::Pong(payload)),
        OpCode::Close => close_frame(&payload).map(Incoming::Close),
        OpCode::Text if str::from_utf8(&payload).is_err() => Err(PeerFault::InvalidUtf8),
        OpCode::Text => Ok(Incoming::Text(payload)),
        OpCode::Continuation => Err(PeerFault::Framing),
    }
}

/// RFC 6455 sections 5.5.1 and 7.4.
fn close_frame(payload: &[u8]) -> Result<Option<CloseFrame>, PeerFault> {
    if payload.is_empty() {
        return Ok(None);
    }
    let (code, reason) = payload.split_first_chunk::<2>().ok_or(PeerFault::Framing)?;
    let code = u16::from_be_bytes(*code);
    if !CloseCode::from(code).is_allowed() {
        return Err(PeerFault::Framing);
    }
    let reason = str::from_utf8(reason).map_err(|_| PeerFault::InvalidUtf8)?;
    Ok(Some(CloseFrame { code, reason: reason.to_owned() }))
}

/// The header of a client's frame (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug)]
struct Header {
    fin: bool,
    opcode: OpCode,
    mask: [u8; 4],
    /// Length of the header itself.
    len: usize,
    payload_len: usize,
}

impl Header {
    /// Reads a header from the front of `bytes`; `None` when it goes on beyond them.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, PeerFault> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (fin, reserved) = (first & 0x80 != 0, first & 0x70);
        let opcode = OpCode::try_from(first & 0x0f).map_err(|_| PeerFault::Framing)?;
        let control = matches!(opcode, OpCode::Close | OpCode::Ping | OpCode::Pong);
        if reserved != 0 || (control && !fin) {
            return Err(PeerFault::Framing);
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let (masked, short_len) = (second & 0x80 != 0, second & 0x7f);
        if !masked || (control && usize::from(short_len) > CONTROL_LIMIT_BYTES) {
            return Err(PeerFault::Framing);
        }
        let rest = bytes.get(2..).unwrap_or_default();
        // "the minimal number of bytes MUST be used to encode the length", "the most significant bit MUST be 0"
        let (payload_len, rest, len) = match short_len {
            126 => {
                let Some((long, rest)) = rest.split_first_chunk() else { return Ok(None) };
                let long = u16::from_be_bytes(*long);
                if long < 126 {
                    return Err(PeerFault::Framing);
                }
                (usize::from(long), rest, 8)
            }
            127 => {
                let Some((long, rest)) = rest.split_first_chunk() else { return Ok(None) };
                let long = u64::from_be_bytes(*long);
                if long <= u64::from(u16::MAX) || i64::try_from(long).is_err() {
                    return Err(PeerFault::Framing);
                }
                let long = usize::try_from(long).map_err(|_| PeerFault::MessageTooLarge)?;
                (long, rest, 14)
            }
            short => (usize::from(short), rest, 6),
        };
        let Some(&mask) = rest.first_chunk() else { return Ok(None) };
        Ok(Some(Self { fin, opcode, mask, len, payload_len }))
    }

    /// Whether the frame may come now (RFC 6455 section 5.4), and its message still fits the limit.
    fn check(&self, begun: Option<&Assembly>, limit: usize) -> Result<(), PeerFault> {
        let held = match (self.opcode, begun) {
            (OpCode::Close | OpCode::Ping | OpCode::Pong, _) => return Ok(()),
            (OpCode::Continuation, Some(begun)) => begun.bytes.len(),
            (OpCode::Text | OpCode::Binary, None) => 0,
            (OpCode::Continuation, None) | (OpCode::Text | OpCode::Binary, Some(_)) => {
                return Err(PeerFault::Framing);
            }
        };
        if held.saturating_add(self.payload_len) > limit {
            return Err(PeerFault::MessageTooLarge);
        }
        Ok(())
    }

    /// Whether it is part of a message, not the last one, and has nothing in it.
    const fn is_empty_fragment(&self) -> bool {
        !self.fin && self.payload_len == 0
    }

    const fn is_control(&self) -> bool {
        matches!(self.opcode, OpCode::Close | OpCode::Ping | OpCode::Pong)
    }
}
