//! Writes a recording of one file: what the simulator's own servers were told.

use switchboard_engine::recording::{
    Encoder, Header,
    file::{Block, Codec, Kind, prefix},
};

/// Level of the compression: these files are small, and kept.
const LEVEL: i32 = 19;

/// A file in memory.
#[derive(Clone, Debug)]
pub struct Writer {
    bytes: Vec<u8>,
    number: u32,
}

impl Writer {
    /// A file that begins so.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        let mut writer = Self { bytes: prefix().to_vec(), number: 0 };
        writer.block(Kind::Header, header.encode());
        writer
    }

    /// Adds what the encoder has.
    pub fn steps(&mut self, encoder: &mut Encoder) {
        let steps = encoder.take();
        if !steps.is_empty() {
            self.block(Kind::Steps, steps);
        }
    }

    /// Adds the end, and gives the file.
    #[must_use]
    pub fn end(mut self) -> Vec<u8> {
        self.block(Kind::End, Vec::new());
        self.bytes
    }

    /// Adds a block, compressed where that makes it smaller.
    pub fn block(&mut self, kind: Kind, raw: Vec<u8>) {
        let raw_len = raw.len() as u32;
        let compressed = zstd::bulk::compress(&raw, LEVEL).ok().filter(|smaller| smaller.len() < raw.len());
        let (codec, payload) = compressed.map_or((Codec::None, raw), |payload| (Codec::Zstd, payload));
        let block = Block { kind, codec, number: self.number, raw_len, payload: &payload };
        // The blocks of a run are nowhere near the limit.
        if let Some(head) = block.head() {
            self.bytes.extend(head);
            self.bytes.extend(&payload);
            self.number += 1;
        }
    }
}
