//! Frames: clients' without their masks (RFC 6455 section 5).

/// Size of a message at the most.
const MESSAGE_LIMIT_BYTES: usize = 1 << 20;

/// What no client should have sent: unmasked, in fragments, too large, or not a frame at all. A repeater
/// has no use for the finer points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unfit;

/// What a read had in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Bytes of whole frames.
    pub(crate) bytes: usize,
    /// The last of these frames is the client's last.
    pub(crate) closed: bool,
}

/// Appends each message in `input` to `messages`, in a server's frame, and what must be answered to `answers`.
pub(crate) fn repeat(input: &[u8], messages: &mut Vec<u8>, answers: &mut Vec<u8>) -> Result<Passed, Unfit> {
    let mut passed = Passed::default();
    while let Some(frame) = input.get(passed.bytes..).map_or(Ok(None), Frame::first)? {
        passed.bytes += frame.bytes;
        match frame.opcode {
            0x1 | 0x2 => frame.append_to(messages, frame.opcode),
            0x8 => {
                frame.append_to(answers, 0x8);
                passed.closed = true;
                break;
            }
            0x9 => frame.append_to(answers, 0xa),
            0xa => {}
            _ => return Err(Unfit),
        }
    }
    Ok(passed)
}

/// A client's frame.
struct Frame<'a> {
    opcode: u8,
    mask: [u8; 4],
    payload: &'a [u8],
    /// Its size, header included.
    bytes: usize,
}

impl<'a> Frame<'a> {
    /// The first frame of the input, if all of it is there.
    fn first(input: &'a [u8]) -> Result<Option<Self>, Unfit> {
        let Some((&[first, second], rest)) = input.split_first_chunk() else { return Ok(None) };
        // The last and only fragment, no extension, masked.
        if first & 0xf0 != 0x80 || second & 0x80 == 0 {
            return Err(Unfit);
        }
        let length = match second & 0x7f {
            126 => {
                rest.split_first_chunk().map(|(length, rest)| (u64::from(u16::from_be_bytes(*length)), rest))
            }
            127 => rest.split_first_chunk().map(|(length, rest)| (u64::from_be_bytes(*length), rest)),
            short => Some((u64::from(short), rest)),
        };
        let Some((length, rest)) = length else { return Ok(None) };
        let length =
            usize::try_from(length).ok().filter(|length| *length <= MESSAGE_LIMIT_BYTES).ok_or(Unfit)?;
        let Some((mask, rest)) = rest.split_first_chunk() else { return Ok(None) };
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let bytes = input.len() - rest.len() + length;
        Ok(Some(Self { opcode: first & 0x0f, mask: *mask, payload, bytes }))
    }

    /// Appends its payload, without the mask, in a frame of a server.
    fn append_to(&self, out: &mut Vec<u8>, opcode: u8) {
        out.push(0x80 | opcode);
        match (u8::try_from(self.payload.len()), u16::try_from(self.payload.len())) {
            (Ok(short @ 0..=125), _) => out.push(short),
            (_, Ok(length)) => {
                out.push(126);
                out.extend(length.to_be_bytes());
            }
            _ => {
                out.push(127);
                // usize has at most 64 bits on every platform of Rust.
                out.extend(u64::try_from(self.payload.len()).unwrap_or(u64::MAX).to_be_bytes());
            }
        }
        let start = out.len();
        out.extend_from_slice(self.payload);
        // Words of four bytes, which the compiler turns into wider ones.
        let (words, rest) = out.get_mut(start..).unwrap_or_default().as_chunks_mut();
        let mask = u32::from_ne_bytes(self.mask);
        for word in words {
            *word = (u32::from_ne_bytes(*word) ^ mask).to_ne_bytes();
        }
        rest.iter_mut().zip(self.mask).for_each(|(byte, mask)| *byte ^= mask);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            length @ 0..=125 => frame.push(0x80 | u8::try_from(length).unwrap()),
            length @ 126..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend(u64::try_from(length).unwrap().to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    #[test]
    fn messages_of_every_length_are_repeated_without_their_masks() {
        for (length, header) in [
            (0, vec![0x82, 0]),
            (3, vec![0x82, 3]),
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (65_536, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let payload: Vec<u8> = (0..=255).cycle().take(length).collect();
            let input = masked(2, &payload);
            let mut messages = Vec::new();
            let passed = repeat(&input, &mut messages, &mut Vec::new()).unwrap();
            assert_eq!(passed, Passed { bytes: input.len(), closed: false });
            assert_eq!(messages, [header, payload].concat(), "{length} bytes");
        }
    }

    #[test]
    fn what_is_not_whole_waits() {
        let input = [masked(2, b"one"), masked(1, &[7; 200])].concat();
        let first = masked(2, b"one").len();
        for end in first..input.len() {
            let mut messages = Vec::new();
            let passed = repeat(&input[..end], &mut messages, &mut Vec::new()).unwrap();
            assert_eq!((passed.bytes, messages.len()), (first, 5), "{end} bytes");
        }
    }

    #[test]
    fn a_ping_is_answered_and_after_a_close_nothing_counts() {
        let input =
            [masked(9, b"there?"), masked(10, b""), masked(8, &[3, 232]), masked(2, b"late")].concat();
        let (mut messages, mut answers) = (Vec::new(), Vec::new());
        let passed = repeat(&input, &mut messages, &mut answers).unwrap();
        assert!(passed.closed && messages.is_empty());
        assert_eq!(answers, b"\x8a\x06there?\x88\x02\x03\xe8");
    }

    #[test]
    fn what_no_client_should_send_is_unfit() {
        let (fragment, extension, unmasked, reserved) = ([2, 0x80], [0xc2, 0x80], [0x82, 0], [0x83, 0x80]);
        for header in [fragment, extension, unmasked, reserved] {
            let input = [&header[..], &[0; 4]].concat();
            assert_eq!(repeat(&input, &mut Vec::new(), &mut Vec::new()), Err(Unfit), "{header:x?}");
        }
        let large = [0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(repeat(&large, &mut Vec::new(), &mut Vec::new()), Err(Unfit));
    }
}
