//! WebSocket frames, in whatever pieces they come.

use arbitrary::{Result, Unstructured};
use switchboard_engine::PeerFault;
use switchboard_websocket::{Decoder, Incoming, OVERHEAD_BYTES};

/// Bytes of a message at the most: small, so that the limit is met.
const LIMIT_BYTES: u64 = 300;

/// What a client has sent, up to its fault if there is one.
type Heard = (Vec<Incoming>, Option<PeerFault>);

/// A stream of bytes means the same in one piece, byte by byte, and in pieces between; and a message means the same whole and in
/// fragments, with control frames between them.
pub fn byte_by_byte(data: &[u8]) {
    let Some((first, stream)) = data.split_first() else { return };
    let whole = hear(stream, stream.len().max(1));
    assert_eq!(hear(stream, 1), whole, "byte by byte it means something else");
    let piece = usize::from(*first).max(2);
    assert_eq!(hear(stream, piece), whole, "in pieces of {piece} bytes it means something else");
    // What cannot be read to its end is left out.
    let _ = fragments(&mut Unstructured::new(stream));
}

fn hear(stream: &[u8], piece: usize) -> Heard {
    let (mut decoder, mut heard) = (Decoder::default(), Vec::new());
    let mut arrived = 0;
    for bytes in stream.chunks(piece) {
        arrived += bytes.len();
        let mut bytes = bytes.to_vec();
        let mut input = &mut *bytes;
        loop {
            let next = decoder.next(&mut input, LIMIT_BYTES);
            let held = decoder.pending_bytes();
            assert!(held <= LIMIT_BYTES as usize + OVERHEAD_BYTES && held <= 2 * arrived + OVERHEAD_BYTES);
            match next {
                Ok(Some(incoming)) => heard.push(incoming),
                Ok(None) => break,
                Err(fault) => return (heard, Some(fault)),
            }
        }
        assert!(input.is_empty(), "something is left of a piece");
    }
    (heard, None)
}

/// Sends a message in one frame and in many, with Pings between them.
fn fragments(u: &mut Unstructured<'_>) -> Result<()> {
    let is_text = u.ratio(1_u8, 8)?;
    let opcode = if is_text { 1 } else { 2 };
    let len = usize::from(u.arbitrary::<u16>()?) % (LIMIT_BYTES as usize + 20);
    let message: Vec<u8> = u.bytes(len.min(u.len()))?.to_vec();
    let mut whole = Vec::new();
    frame(0x80 | opcode, u.arbitrary()?, &message, &mut whole);

    let (mut pieces, mut pings, mut rest) = (Vec::new(), Vec::new(), &*message);
    let mut is_first = true;
    for number in 0_u32.. {
        let len = usize::from(u.int_in_range(0..=9_u8)?).min(rest.len());
        // Too many without a payload are refused.
        let is_enough = u.is_empty() || number > 1000;
        let len = if is_enough { rest.len() } else { len };
        let (piece, after) = rest.split_at(len);
        rest = after;
        let is_last = rest.is_empty() && (is_enough || u.ratio(3_u8, 4)?);
        let opcode = if core::mem::take(&mut is_first) { opcode } else { 0 };
        frame(u8::from(is_last) << 7 | opcode, u.arbitrary()?, piece, &mut pieces);
        if is_last {
            break;
        }
        if u.ratio(1_u8, 4)? {
            let len = usize::from(u.int_in_range(0..=4_u8)?).min(u.len());
            let payload = u.bytes(len)?.to_vec();
            frame(0x89, u.arbitrary()?, &payload, &mut pieces);
            pings.push(Incoming::Ping(payload.into()));
        }
    }
    let (heard, fault) = hear(&whole, whole.len());
    let (mut expected, mut expected_fault) = hear(&pieces, 1);
    // The head of a frame says that it is too large, and fragments with too much in them may show before that they are not UTF-8.
    if is_text && fault == Some(PeerFault::MessageTooLarge) && expected_fault == Some(PeerFault::InvalidUtf8)
    {
        expected_fault = fault;
    }
    let before: Vec<_> = expected.extract_if(.., |incoming| matches!(incoming, Incoming::Ping(_))).collect();
    assert_eq!((&expected, expected_fault), (&heard, fault), "in fragments, it means something else");
    assert!(pings.starts_with(&before), "other Pings than were sent");
    assert!(fault.is_some() || before == pings);
    Ok(())
}

/// Appends a client's frame (RFC 6455 section 5.2): masked, its length in as few bytes as there can be.
fn frame(first: u8, mask: [u8; 4], payload: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    match u8::try_from(payload.len()) {
        Ok(len @ ..126) => out.push(0x80 | len),
        Ok(_) | Err(_) => {
            out.push(0x80 | 126);
            out.extend((payload.len() as u16).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}
