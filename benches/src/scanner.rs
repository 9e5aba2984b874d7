//! Finds frames in what a server sends by reading their headers alone.

/// What the scanner has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed<'a> {
    /// The end of a data message, with its first byte: what kind of frame it is, in the session protocol.
    Message(Option<u8>),
    /// A Ping, to be answered with the same payload.
    Ping(&'a [u8]),
    /// A Close, with its payload: code and reason.
    Close(&'a [u8]),
}

/// Where a connection's stream of frames stands.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    /// What has arrived of a header: two bytes and at most eight of a length; servers do not mask.
    header: Vec<u8>,
    /// Bytes of the payload that are to come.
    left: u64,
    /// The first byte of the data message that is arriving.
    tag: Option<u8>,
    /// The payload of a control frame, as far as it has arrived.
    control: Vec<u8>,
}

/// A server's frame that no client can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BrokenFrame;

impl Scanner {
    /// Passes over `input`, all that has arrived since the last call.
    pub(crate) fn scan(
        &mut self,
        mut input: &[u8],
        mut passed: impl FnMut(Passed<'_>),
    ) -> Result<(), BrokenFrame> {
        loop {
            if self.left == 0 {
                let Some(rest) = self.header(input)? else { return Ok(()) };
                input = rest;
            }
            let first = self.header.first().copied().unwrap_or_default();
            let here = usize::try_from(self.left).map_or(input.len(), |left| left.min(input.len()));
            let (payload, rest) = input.split_at_checked(here).unwrap_or((input, &[]));
            input = rest;
            // usize has at most 64 bits on every platform of Rust.
            self.left -= u64::try_from(here).unwrap_or(self.left);
            if first & 0x08 != 0 {
                self.control.extend_from_slice(payload);
            } else {
                self.tag = self.tag.or(payload.first().copied());
            }
            if self.left > 0 {
                return Ok(());
            }
            self.header.clear();
            match first {
                0x80..=0x82 => passed(Passed::Message(self.tag.take())),
                0x88 => passed(Passed::Close(&self.control)),
                0x89 => passed(Passed::Ping(&self.control)),
                // Pongs, and fragments that are not the last of their message.
                _ => {}
            }
            self.control.clear();
        }
    }

    /// Takes a header off the front of `input` and gives the rest; `None` when it goes on beyond the input.
    fn header<'a>(&mut self, mut input: &'a [u8]) -> Result<Option<&'a [u8]>, BrokenFrame> {
        while let Some((byte, rest)) = input.split_first() {
            input = rest;
            self.header.push(*byte);
            let (&[first, second], long) = self.header.split_first_chunk().unwrap_or((&[0, 0], &[]));
            if self.header.len() < 2 {
                continue;
            }
            let control = first & 0x08 != 0;
            if first & 0x70 != 0 || second & 0x80 != 0 || (control && (second > 125 || first & 0x80 == 0)) {
                return Err(BrokenFrame);
            }
            self.left = match (second, long.len()) {
                (126, 2) | (127, 8) => long.iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
                (126 | 127, _) => continue,
                (short, _) => u64::from(short),
            };
            return Ok(Some(input));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<String>, BrokenFrame> {
        let mut scanner = Scanner::default();
        let mut found = Vec::new();
        for piece in pieces {
            scanner.scan(piece, |passed| found.push(format!("{passed:?}")))?;
        }
        Ok(found)
    }

    #[test]
    fn frames_of_every_length_are_counted_however_they_arrive() {
        let mut bytes = vec![0x82, 3, 1, 2, 3, 0x89, 2, 7, 8, 0x02, 1, 9, 0x8a, 0, 0x80, 0];
        bytes.extend([0x82, 126, 1, 0]);
        bytes.extend([5; 256]);
        bytes.extend([0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        bytes.extend([5; 65_536]);
        bytes.extend([0x88, 2, 3, 0xe8]);
        let expected = [
            "Message(Some(1))",
            "Ping([7, 8])",
            "Message(Some(9))",
            "Message(Some(5))",
            "Message(Some(5))",
            "Close([3, 232])",
        ];
        assert_eq!(scan([&*bytes]).unwrap(), expected);
        assert_eq!(scan(bytes.chunks(1)).unwrap(), expected);
        assert_eq!(scan(bytes.chunks(7)).unwrap(), expected);
    }

    #[test]
    fn what_no_client_can_take_is_broken() {
        for bytes in [[0x82, 0x80], [0xc2, 0], [0x89, 126], [0x09, 0]] {
            assert_eq!(scan([&bytes[..]]), Err(BrokenFrame), "{bytes:?}");
        }
    }
}
