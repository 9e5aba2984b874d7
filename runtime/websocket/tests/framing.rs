//! The framing against RFC 6455, against every way to cut its input, and against tungstenite.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a panic is a failed test, and clippy's leave for tests ends at their bodies"
)]

use std::io::{self, Cursor, Read, Write};

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use switchboard_engine::{CloseReason, Frame, PeerFault};
use switchboard_websocket::{CloseFrame, Decoder, Incoming, OVERHEAD_BYTES, encode, encode_close};
use tokio_tungstenite::tungstenite::{
    Error, Message, WebSocket,
    protocol::{Role, WebSocketConfig},
};

const LIMIT_BYTES: u64 = 1 << 20;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CONTINUATION: u8 = 0;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FIN: u8 = 0x80;

/// How a frame says its payload's length.
#[derive(Clone, Copy)]
enum Length {
    Minimal,
    Bits16,
    Bits64,
}

/// A client's frame as RFC 6455 section 5.2 draws it, written without any code under test.
fn frame_as(first: u8, payload: &[u8], mask: [u8; 4], length: Length) -> Vec<u8> {
    let mut bytes = vec![first];
    match (length, payload.len()) {
        (Length::Minimal, len @ 0..=125) => bytes.push(0x80 | u8::try_from(len).unwrap()),
        (Length::Minimal, len @ 126..=0xffff) | (Length::Bits16, len) => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        (Length::Minimal | Length::Bits64, len) => {
            bytes.push(0x80 | 127);
            bytes.extend(u64::try_from(len).unwrap().to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    frame_as(first, payload, [0x12, 0x34, 0x56, 0x78], Length::Minimal)
}

/// All that comes out when the pieces arrive one after the other, up to and with the first fault.
fn decode_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Result<Incoming, PeerFault>> {
    let mut decoder = Decoder::default();
    let mut out = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut input = piece.as_mut_slice();
        while let Some(next) = decoder.next(&mut input, LIMIT_BYTES).transpose() {
            out.push(next);
        }
        assert!(input.is_empty(), "all of a piece is used up");
    }
    out
}

/// The same result in one piece and byte by byte, or the test fails.
fn decode(bytes: &[u8]) -> Vec<Result<Incoming, PeerFault>> {
    let whole = decode_pieces([bytes]);
    assert_eq!(whole, decode_pieces(bytes.chunks(1)), "byte by byte");
    whole
}

fn message(payload: &[u8]) -> Result<Incoming, PeerFault> {
    Ok(Incoming::Message(Bytes::copy_from_slice(payload)))
}

fn text(text: &str) -> Result<Incoming, PeerFault> {
    Ok(Incoming::Text(Bytes::copy_from_slice(text.as_bytes())))
}

fn close(payload: &[u8]) -> Vec<Result<Incoming, PeerFault>> {
    decode(&frame(FIN | CLOSE, payload))
}

const FRAMING: &[Result<Incoming, PeerFault>] = &[Err(PeerFault::Framing)];

#[test]
fn an_idle_decoder_is_small_and_holds_nothing() {
    assert!(size_of::<Decoder>() <= 48, "{} bytes", size_of::<Decoder>());
    let mut decoder = Decoder::default();
    assert_eq!(decoder.pending_bytes(), 0);
    let mut bytes = [frame(FIN | BINARY, b"whole"), frame(BINARY, b"be"), frame(FIN, b"gun")].concat();
    let mut input = bytes.as_mut_slice();
    for expected in [&b"whole"[..], b"begun"] {
        let got = decoder.next(&mut input, LIMIT_BYTES);
        assert_eq!(got, Ok(Some(Incoming::Message(Bytes::copy_from_slice(expected)))));
        assert_eq!(decoder.pending_bytes(), 0, "between messages");
    }
    let mut first_byte = [FIN | BINARY];
    assert_eq!(decoder.next(&mut first_byte.as_mut_slice(), LIMIT_BYTES), Ok(None));
    assert!(decoder.pending_bytes() > 0, "a part of a header is held");
}

#[test]
fn section_5_7_examples_are_read() {
    let ping = [0x89, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(decode(&ping), [Ok(Incoming::Ping(Bytes::from_static(b"Hello")))]);
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(decode(&hello), [text("Hello")]);
    let fragments = [frame(TEXT, b"Hel"), frame(FIN | CONTINUATION, b"lo")].concat();
    assert_eq!(decode(&fragments), [text("Hello")]);
}

#[test]
fn section_5_2_every_length_is_read_at_the_edges_of_its_encoding() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
        let payload: Vec<u8> = (0..len).map(|i: usize| i.to_le_bytes()[0]).collect();
        assert_eq!(decode(&frame(FIN | BINARY, &payload)), [message(&payload)], "{len} bytes");
    }
}

#[test]
fn section_5_2_a_length_that_is_not_minimal_is_refused() {
    for (len, length) in
        [(0, Length::Bits16), (125, Length::Bits16), (125, Length::Bits64), (65_535, Length::Bits64)]
    {
        assert_eq!(decode(&frame_as(FIN | BINARY, &vec![7; len], [1; 4], length)), FRAMING, "{len} bytes");
    }
}

#[test]
fn section_5_2_the_top_bit_of_a_64_bit_length_is_refused() {
    let header = [FIN | BINARY, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4];
    assert_eq!(decode(&header), FRAMING);
}

#[test]
fn section_5_1_an_unmasked_frame_is_refused_at_its_second_byte() {
    assert_eq!(decode(&[FIN | BINARY, 0]), FRAMING);
    assert_eq!(decode(&[FIN | PING, 3]), FRAMING);
}

#[test]
fn section_5_2_reserved_bits_and_unknown_opcodes_are_refused_at_their_first_byte() {
    for bit in [0x40, 0x20, 0x10] {
        assert_eq!(decode(&[FIN | bit | BINARY]), FRAMING, "bit {bit:#x}");
    }
    for opcode in (3..=7).chain(11..=15) {
        assert_eq!(decode(&[FIN | opcode]), FRAMING, "opcode {opcode}");
    }
}

#[test]
fn section_5_5_a_fragmented_control_frame_is_refused() {
    for opcode in [CLOSE, PING, PONG] {
        assert_eq!(decode(&[opcode]), FRAMING, "opcode {opcode}");
    }
}

#[test]
fn section_5_5_a_control_frame_carries_125_bytes_and_no_more() {
    assert_eq!(
        decode(&frame(FIN | PING, &[5; 125])),
        [Ok(Incoming::Ping(Bytes::copy_from_slice(&[5; 125])))]
    );
    for opcode in [CLOSE, PING, PONG] {
        assert_eq!(decode(&frame(FIN | opcode, &[5; 126])), FRAMING, "opcode {opcode}");
        assert_eq!(decode(&frame(FIN | opcode, &[5; 70_000])), FRAMING, "opcode {opcode}");
    }
}

#[test]
fn section_5_4_fragments_are_one_message() {
    let bytes = [frame(BINARY, b"a"), frame(CONTINUATION, b""), frame(FIN, b"bc")].concat();
    assert_eq!(decode(&bytes), [message(b"abc")]);
    let empty = [frame(BINARY, b""), frame(FIN, b""), frame(FIN | BINARY, b"next")].concat();
    assert_eq!(decode(&empty), [message(b""), message(b"next")]);
}

#[test]
fn section_5_4_fragments_without_a_payload_have_a_limit() {
    let message_of = |empty: usize| {
        [frame(BINARY, b"a"), frame(CONTINUATION, b"").repeat(empty), frame(FIN, b"b")].concat()
    };
    assert_eq!(decode(&message_of(1024)), [message(b"ab")]);
    assert_eq!(decode(&message_of(1025)), FRAMING);
}

#[test]
fn section_5_4_control_frames_come_between_fragments_at_once() {
    let bytes = [
        frame(BINARY, b"a"),
        frame(FIN | PING, b"i"),
        frame(CONTINUATION, b"b"),
        frame(FIN | PONG, b""),
        frame(FIN, b"c"),
    ];
    let expected =
        [Ok(Incoming::Ping(Bytes::from_static(b"i"))), Ok(Incoming::Pong(Bytes::new())), message(b"abc")];
    assert_eq!(decode(&bytes.concat()), expected);
}

#[test]
fn section_5_4_a_continuation_of_nothing_is_refused() {
    assert_eq!(decode(&frame(CONTINUATION, b"a")), FRAMING);
    assert_eq!(decode(&frame(FIN, b"a")), FRAMING);
    let after_a_message = [frame(FIN | BINARY, b"a"), frame(FIN, b"b")].concat();
    assert_eq!(decode(&after_a_message), [message(b"a"), Err(PeerFault::Framing)]);
}

#[test]
fn section_5_4_a_new_message_inside_a_fragmented_one_is_refused() {
    for opcode in [TEXT, BINARY, FIN | TEXT, FIN | BINARY] {
        assert_eq!(decode(&[frame(BINARY, b"a"), frame(opcode, b"b")].concat()), FRAMING);
    }
}

#[test]
fn section_5_5_1_a_close_frame_may_be_empty_or_carry_code_and_reason() {
    assert_eq!(close(b""), [Ok(Incoming::Close(None))]);
    let with = |code, reason: &str| [Ok(Incoming::Close(Some(CloseFrame { code, reason: reason.into() })))];
    assert_eq!(close(b"\x03\xe8"), with(1000, ""));
    assert_eq!(close("\x03\u{1}bye ☺".as_bytes()), FRAMING, "769 is no code");
    assert_eq!(close(b"\x0f\xa0bye \xe2\x98\xba"), with(4000, "bye ☺"));
}

#[test]
fn section_5_5_1_a_close_frame_of_one_byte_is_refused() {
    assert_eq!(close(b"\x03"), FRAMING);
}

#[test]
fn section_7_4_only_codes_that_may_be_sent_are_taken() {
    let allowed = |code| matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999);
    for code in 0..=u16::MAX {
        let taken = !matches!(decode_pieces([&*frame(FIN | CLOSE, &code.to_be_bytes())])[..], [Err(_)]);
        assert_eq!(taken, allowed(code), "code {code}");
    }
}

#[test]
fn section_8_1_a_close_reason_that_is_not_utf_8_is_refused() {
    assert_eq!(close(b"\x03\xe8\xff"), [Err(PeerFault::InvalidUtf8)]);
}

#[test]
fn section_8_1_text_is_utf_8_over_all_its_fragments_together() {
    let cut_inside_a_character = [frame(TEXT, b"\xe2\x98"), frame(FIN, b"\xba")].concat();
    assert_eq!(decode(&cut_inside_a_character), [text("☺")]);
    let cut_everywhere = "κόσμε €\u{10ffff}";
    let mut fragments = frame(TEXT, b"");
    cut_everywhere.bytes().for_each(|byte| fragments.extend(frame(CONTINUATION, &[byte])));
    fragments.extend(frame(FIN | CONTINUATION, b""));
    assert_eq!(decode(&fragments), [text(cut_everywhere)]);
    assert_eq!(decode(&frame(FIN | TEXT, b"")), [text("")]);
    let never_completed = [frame(TEXT, b"\xe2\x98"), frame(FIN, b"a")].concat();
    assert_eq!(decode(&never_completed), [Err(PeerFault::InvalidUtf8)]);
    let ends_inside_a_character = [frame(TEXT, b"a"), frame(FIN, b"\xe2\x98")].concat();
    assert_eq!(decode(&ends_inside_a_character), [Err(PeerFault::InvalidUtf8)]);
    assert_eq!(decode(&frame(FIN | TEXT, b"\xe2\x98")), [Err(PeerFault::InvalidUtf8)]);
}

#[test]
fn section_8_1_text_is_refused_at_the_first_byte_that_cannot_be_utf_8() {
    // Each of them ends with that byte: no such lead byte, too long a form, a surrogate, beyond U+10FFFF, no continuation.
    for broken in [
        &b"\xc0"[..],
        b"\xc1",
        b"\xf5",
        b"\xff",
        b"\x80",
        b"\xe0\x80",
        b"\xf0\x80",
        b"\xed\xa0",
        b"\xf4\x90",
        b"\xc3\x28",
    ] {
        let mut payload = "κ".as_bytes().to_vec();
        payload.extend(broken);
        let announced = frame(FIN | TEXT, &[&payload[..], &[b'a'; 100]].concat());
        let (before, at) = announced.split_at(6 + payload.len() - 1);
        assert!(decode(before).is_empty(), "{broken:x?}");
        assert_eq!(decode(&[before, &at[..1]].concat()), [Err(PeerFault::InvalidUtf8)], "{broken:x?}");
        let unfinished = [frame(TEXT, &payload[..1]), frame(CONTINUATION, &payload[1..])].concat();
        assert_eq!(decode(&unfinished), [Err(PeerFault::InvalidUtf8)], "{broken:x?} in a fragment");
    }
}

#[test]
fn section_5_6_what_is_binary_need_not_be_utf_8() {
    let bytes = [frame(BINARY, b"\xff"), frame(FIN, b"\xc0")].concat();
    assert_eq!(decode(&bytes), [message(b"\xff\xc0")]);
}

#[test]
fn section_7_1_7_nothing_is_read_after_a_fault_or_a_close() {
    let more = frame(FIN | BINARY, b"more");
    assert_eq!(decode(&[frame(FIN | CLOSE, b""), more.clone()].concat()), [Ok(Incoming::Close(None))]);
    assert_eq!(decode(&[frame(FIN | TEXT, b"\xff"), more.clone()].concat()), [Err(PeerFault::InvalidUtf8)]);
    let inside_a_message = [frame(BINARY, b"held"), frame(FIN | CLOSE, b""), more].concat();
    let mut decoder = Decoder::default();
    let mut bytes = inside_a_message;
    let mut input = bytes.as_mut_slice();
    assert_eq!(decoder.next(&mut input, LIMIT_BYTES), Ok(Some(Incoming::Close(None))));
    assert_eq!((input.len(), decoder.pending_bytes()), (0, 0), "and nothing is held");
}

#[test]
fn a_message_at_the_limit_is_read_and_one_beyond_it_is_refused_by_its_header() {
    let limit = usize::try_from(LIMIT_BYTES).unwrap();
    let at = vec![1; limit];
    assert_eq!(decode(&frame(FIN | BINARY, &at)), [message(&at)]);
    let beyond = frame(FIN | BINARY, &vec![1; limit + 1]);
    assert_eq!(decode(&beyond[..14]), [Err(PeerFault::MessageTooLarge)]);
    let announced = [FIN | BINARY, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4];
    assert_eq!(decode(&announced), [Err(PeerFault::MessageTooLarge)]);
}

#[test]
fn the_limit_holds_for_all_fragments_together() {
    let limit = usize::try_from(LIMIT_BYTES).unwrap();
    let begin = frame(BINARY, &vec![1; limit - 1]);
    assert_eq!(decode(&[begin.clone(), frame(FIN, b"a")].concat()).len(), 1);
    let beyond = frame(FIN, b"ab");
    assert_eq!(decode(&[begin, beyond[..6].to_vec()].concat()), [Err(PeerFault::MessageTooLarge)]);
}

#[test]
fn memory_grows_with_what_arrives_and_not_with_what_is_announced() {
    let bytes = frame(FIN | BINARY, &vec![1; 1 << 20]);
    let mut decoder = Decoder::default();
    let mut arrived = 0;
    for piece in bytes.chunks(1000) {
        let mut piece = piece.to_vec();
        let mut input = piece.as_mut_slice();
        arrived += input.len();
        if let Some(incoming) = decoder.next(&mut input, LIMIT_BYTES).unwrap() {
            assert_eq!(incoming, Incoming::Message(Bytes::from(vec![1; 1 << 20])));
        }
        assert!(decoder.pending_bytes() <= 2 * arrived + OVERHEAD_BYTES, "{arrived} bytes arrived");
    }
    assert_eq!((arrived, decoder.pending_bytes()), (bytes.len(), 0));
}

#[test]
fn every_frame_of_the_engine_is_written_as_section_5_2_says() {
    let written = |frame: &Frame| {
        let mut bytes = b"what stands there already".to_vec();
        let begin = bytes.len();
        encode(frame, &mut bytes);
        bytes.split_off(begin)
    };
    assert_eq!(written(&Frame::Ping(Bytes::from_static(b"Hello"))), b"\x89\x05Hello");
    assert_eq!(written(&Frame::Pong(Bytes::new())), b"\x8a\x00");
    for (len, header) in [
        (125, &[0x82, 125][..]),
        (126, &[0x82, 126, 0, 126]),
        (65_535, &[0x82, 126, 0xff, 0xff]),
        (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let payload = vec![9; len];
        let frame = Frame::Message(Bytes::from(payload.clone()));
        assert_eq!(written(&frame), [header, &payload].concat(), "{len} bytes");
    }
}

const REASONS: [CloseReason; 14] = [
    CloseReason::GoingAway,
    CloseReason::ProtocolError,
    CloseReason::TextMessage,
    CloseReason::Undecodable,
    CloseReason::MessageTooLarge,
    CloseReason::TooManyMessages,
    CloseReason::TooManyBytes,
    CloseReason::SlowReader,
    CloseReason::TooManyPending,
    CloseReason::ServerFull,
    CloseReason::TakenOver,
    CloseReason::TooManyDevices,
    CloseReason::Idle,
    CloseReason::PeerClosed,
];

#[test]
fn every_close_reason_fits_a_close_frame_that_a_client_understands() {
    for reason in REASONS {
        let mut bytes = Vec::new();
        encode_close(reason, &mut bytes);
        assert!(bytes.len() <= 2 + 125, "{reason}");
        let mut client = tungstenite(Role::Client, bytes);
        let Ok(Message::Close(Some(close))) = client.read() else { panic!("{reason}: no close frame") };
        assert_eq!((u16::from(close.code), close.reason.as_str()), (reason.code(), reason.text()));
    }
}

/// What the client has sent, to be read; what is written is kept aside.
struct Wire {
    incoming: Cursor<Vec<u8>>,
    written: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.incoming.read(buf)
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.written.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn tungstenite(role: Role, incoming: Vec<u8>) -> WebSocket<Wire> {
    let limit = Some(usize::try_from(LIMIT_BYTES).unwrap());
    let config = WebSocketConfig::default().max_message_size(limit).max_frame_size(limit);
    WebSocket::from_raw_socket(
        Wire { incoming: Cursor::new(incoming), written: Vec::new() },
        role,
        Some(config),
    )
}

/// What tungstenite's server reads from the bytes, up to the first fault or the end.
fn read_by_tungstenite(bytes: &[u8]) -> Vec<Incoming> {
    let mut server = tungstenite(Role::Server, bytes.to_vec());
    let mut out = Vec::new();
    loop {
        match server.read() {
            Ok(Message::Binary(payload)) => out.push(Incoming::Message(payload)),
            Ok(Message::Text(text)) => out.push(Incoming::Text(text.into())),
            Ok(Message::Ping(payload)) => out.push(Incoming::Ping(payload)),
            Ok(Message::Pong(payload)) => out.push(Incoming::Pong(payload)),
            Ok(Message::Close(frame)) => out.push(Incoming::Close(frame.map(|frame| CloseFrame {
                code: frame.code.into(),
                reason: frame.reason.as_str().to_owned(),
            }))),
            Ok(Message::Frame(_)) | Err(_) => return out,
        }
    }
}

/// What a client may send, before it is cut into frames.
#[derive(Clone, Debug)]
enum Sent {
    /// A binary message; its fragments, each followed by a Ping if there is one.
    Binary(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    /// A text message in two fragments, the first of so many bytes, modulo the length.
    Text(String, usize),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let size = prop_oneof![8 => 0..20usize, 2 => 120..130usize, 1 => 65_530..65_540usize];
    (size, any::<u8>()).prop_map(|(len, first)| (0..len).map(|i| first ^ i.to_le_bytes()[0]).collect())
}

fn sent() -> impl Strategy<Value = Sent> {
    let control = || vec(any::<u8>(), 0..=125);
    prop_oneof![
        3 => vec((payload(), proptest::option::of(control())), 1..4).prop_map(Sent::Binary),
        1 => (any::<String>(), any::<usize>()).prop_map(|(text, cut_at)| Sent::Text(text, cut_at)),
        1 => control().prop_map(Sent::Ping),
        1 => control().prop_map(Sent::Pong),
    ]
}

/// The frames of what is sent, and what must be read from them.
fn on_the_wire(sent: &[Sent], mask: [u8; 4]) -> (Vec<u8>, Vec<Incoming>) {
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    let mut push = |first, payload: &[u8]| bytes.extend(frame_as(first, payload, mask, Length::Minimal));
    for sent in sent {
        match sent {
            Sent::Text(text, cut_at) => {
                let (begin, end) = text.as_bytes().split_at(cut_at % (text.len() + 1));
                push(TEXT, begin);
                push(FIN | CONTINUATION, end);
                expected.push(Incoming::Text(text.clone().into()));
            }
            Sent::Ping(payload) => {
                push(FIN | PING, payload);
                expected.push(Incoming::Ping(payload.clone().into()));
            }
            Sent::Pong(payload) => {
                push(FIN | PONG, payload);
                expected.push(Incoming::Pong(payload.clone().into()));
            }
            Sent::Binary(fragments) => {
                let mut whole = Vec::new();
                for (i, (payload, ping)) in fragments.iter().enumerate() {
                    let last = i + 1 == fragments.len();
                    push(if i == 0 { BINARY } else { CONTINUATION } | if last { FIN } else { 0 }, payload);
                    whole.extend(payload);
                    if last {
                        expected.push(Incoming::Message(whole.clone().into()));
                    }
                    if let Some(ping) = ping {
                        push(FIN | PING, ping);
                        expected.push(Incoming::Ping(ping.clone().into()));
                    }
                }
            }
        }
    }
    (bytes, expected)
}

/// Cuts `bytes` at the given places, each taken modulo the length.
fn cut<'a>(bytes: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place % (bytes.len() + 1)).collect();
    places.sort_unstable();
    let mut pieces = Vec::new();
    let mut from = 0;
    for to in places {
        pieces.push(&bytes[from..to]);
        from = to;
    }
    pieces.push(&bytes[from..]);
    pieces
}

proptest! {
    #[test]
    fn valid_frames_give_the_same_messages_however_they_are_cut(
        sent in vec(sent(), 0..6), mask: [u8; 4], places in vec(any::<usize>(), 0..20),
    ) {
        let (bytes, expected) = on_the_wire(&sent, mask);
        let expected: Vec<_> = expected.into_iter().map(Ok).collect();
        prop_assert_eq!(&decode_pieces(cut(&bytes, &places)), &expected);
        prop_assert_eq!(&decode_pieces(bytes.chunks(1)), &expected);
    }

    #[test]
    fn valid_frames_give_the_messages_that_tungstenite_reads(sent in vec(sent(), 0..6), mask: [u8; 4]) {
        let (bytes, _) = on_the_wire(&sent, mask);
        let ours: Vec<_> = decode_pieces([&*bytes]).into_iter().map(Result::unwrap).collect();
        prop_assert_eq!(ours, read_by_tungstenite(&bytes));
    }

    #[test]
    fn what_a_tungstenite_client_writes_is_read(payloads in vec(payload(), 0..6)) {
        let mut client = tungstenite(Role::Client, Vec::new());
        for payload in &payloads {
            client.write(Message::binary(payload.clone())).unwrap();
        }
        match client.close(None) {
            Ok(()) | Err(Error::Io(_)) => {}
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
        let mut expected: Vec<_> = payloads.iter().map(|payload| message(payload)).collect();
        expected.push(Ok(Incoming::Close(None)));
        prop_assert_eq!(decode_pieces([&*client.get_ref().written]), expected);
    }

    /// We are the stricter one: up to our first fault, tungstenite reads the same from damaged streams.
    #[test]
    fn whatever_is_taken_from_a_damaged_stream_tungstenite_takes_too(
        sent in vec(sent(), 1..4), mask: [u8; 4], place: usize, value: u8, cut_at in vec(any::<usize>(), 0..4),
    ) {
        let (mut bytes, _) = on_the_wire(&sent, mask);
        let place = place % bytes.len().min(200);
        bytes[place] = value;
        let ours: Vec<_> = decode_pieces(cut(&bytes, &cut_at)).into_iter().map_while(Result::ok).collect();
        let theirs = read_by_tungstenite(&bytes);
        prop_assert!(theirs.starts_with(&ours), "{ours:?} against {theirs:?}");
    }

    #[test]
    fn arbitrary_bytes_never_hold_more_than_the_limit(
        pieces in vec(prop_oneof![
            vec(any::<u8>(), 0..40),
            (0..16u8, any::<bool>(), vec(any::<u8>(), 0..300), any::<[u8; 4]>())
                .prop_map(|(op, fin, payload, mask)| {
                    frame_as(if fin { FIN | op } else { op }, &payload, mask, Length::Minimal)
                }),
            vec(any::<u8>(), 0..300).prop_map(|payload| frame(CONTINUATION, &payload)),
        ], 0..40),
        begins in any::<bool>(),
        limit in 0..2000u64,
    ) {
        let mut decoder = Decoder::default();
        let begin = if begins { frame(BINARY, b"") } else { Vec::new() };
        for mut piece in std::iter::once(begin).chain(pieces) {
            let mut input = piece.as_mut_slice();
            while let Ok(Some(incoming)) = decoder.next(&mut input, limit) {
                if let Incoming::Message(message) | Incoming::Text(message) = incoming {
                    prop_assert!(message.len() as u64 <= limit);
                }
            }
            let held = decoder.pending_bytes();
            prop_assert!(held as u64 <= limit + OVERHEAD_BYTES as u64, "{held} bytes");
        }
    }
}
