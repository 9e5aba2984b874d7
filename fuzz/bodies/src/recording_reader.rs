//! Recordings, whole, damaged and cut off.

use std::io::Cursor;
use std::path::Path;

use arbitrary::{Result, Unstructured};
use switchboard_engine::Instant;
use switchboard_engine::recording::{
    Decoder, Encoder, Header, Step,
    file::{Block, Blocks, Codec, FileError, Kind, MAGIC, prefix},
};
use switchboard_sim::recording::file::{ReadError, Reader};

/// What can be read of a file.
struct Found {
    header: Option<Header>,
    /// Times, steps and the places of their blocks, as they are shown.
    steps: Vec<String>,
    ended: bool,
    error: Option<ReadError>,
}

/// A reader gives what is whole, and then says what is wrong and where, in the words of the frame's own reader; of a file that was cut
/// off it gives the same up to there; what it has read is the same once it was written and read again.
pub fn recording_reader(data: &[u8]) {
    let (file, cut) = if data.starts_with(&MAGIC) {
        let cut = data.len() / 2 + usize::from(data.last().copied().unwrap_or_default()) * data.len() / 512;
        (data.to_vec(), cut)
    } else {
        written(&mut Unstructured::new(data)).unwrap_or_default()
    };
    let whole = read(&file);
    let (right, fault) = frames(&file);
    if let Some(error) = &whole.error {
        let offset = offset(error);
        assert!(offset <= file.len() as u64, "{error} of a file of {} bytes", file.len());
        if let ReadError::File { source, .. } = error {
            assert_eq!(Some(source), fault.as_ref(), "the two readers differ");
            assert_eq!(right, source.offset, "something before what is wrong is not read");
        }
    } else {
        // Behind its end, a recording may have anything.
        assert!(fault.is_none() || whole.ended, "{fault:?} is passed over");
    }
    let part = read(file.get(..cut.min(file.len())).unwrap_or_default());
    assert!(whole.steps.starts_with(&part.steps), "cut off, it has other steps");
    if part.header.is_some() {
        assert_eq!(part.header, whole.header);
    }
    if let Some(error) = &part.error {
        assert!(offset(error) <= cut as u64);
    }
}

fn read(file: &[u8]) -> Found {
    let mut found = Found { header: None, steps: Vec::new(), ended: false, error: None };
    let mut reader = match Reader::of(Path::new("it"), Box::new(Cursor::new(file.to_vec()))) {
        Ok(reader) => reader,
        Err(error) => return Found { error: Some(error), ..found },
    };
    let header = reader.header().clone();
    let again = Header::decode(&header.encode());
    assert_eq!(again.as_ref(), Ok(&header), "written and read again, the header is another one");
    let mut last = header.started_at;
    found.header = Some(header);
    loop {
        match reader.next_step() {
            Ok(Some(placed)) => {
                assert!(placed.at >= last, "time goes backwards");
                same_again(last, placed.at, &placed.step);
                last = placed.at;
                found.steps.push(format!("{:?} {} {:?}", placed.at, placed.offset, placed.step));
            }
            Ok(None) => break,
            Err(error) => {
                found.error = Some(error);
                assert!(matches!(reader.next_step(), Ok(None)), "something is read behind what is wrong");
                break;
            }
        }
    }
    found.ended = reader.has_ended();
    found
}

fn same_again(last: Instant, at: Instant, step: &Step) {
    let mut encoder = Encoder::new(last);
    match step {
        Step::Event(event) => encoder.event(at, event),
        Step::Timeout => encoder.timeout(at),
        Step::Acted(acted) => encoder.acted(*acted),
        Step::Digests(digests) => encoder.digests(*digests),
    }
    let mut decoder = Decoder::new(last);
    decoder.feed(encoder.take().into());
    let again = decoder.step();
    let Ok(Some((time, again))) = again else { panic!("{again:?}, of {step:?}") };
    assert_eq!(format!("{again:?}"), format!("{step:?}"));
    // Of these two the time is that of the step before.
    if matches!(step, Step::Event(_) | Step::Timeout) {
        assert_eq!(time, at);
    }
    assert_eq!(decoder.left_bytes(), 0);
}

/// Where the frames of a file end, and what is wrong there.
fn frames(file: &[u8]) -> (u64, Option<FileError>) {
    let mut blocks = match Blocks::of(file) {
        Ok(blocks) => blocks,
        Err(error) => return (error.offset, Some(error)),
    };
    loop {
        match blocks.next_block() {
            Ok(Some(_)) => {}
            Ok(None) => return (blocks.offset() as u64, None),
            Err(error) => return (blocks.offset() as u64, Some(error)),
        }
    }
}

fn offset(error: &ReadError) -> u64 {
    match error {
        ReadError::File { source, .. } => source.offset,
        ReadError::Beginning { offset, .. } | ReadError::Content { offset, .. } => *offset,
        ReadError::Io { .. } | ReadError::PartMissing { .. } | ReadError::Empty { .. } => {
            panic!("{error}, of bytes that are there")
        }
    }
}

/// A file of blocks whose checksums are right, perhaps damaged afterwards, and where to cut it.
fn written(u: &mut Unstructured<'_>) -> Result<(Vec<u8>, usize)> {
    let damages: u8 = u.int_in_range(0..=2)?;
    let damages = (0..damages).map(|_| u.arbitrary()).collect::<Result<Vec<(u16, u8)>>>()?;
    let cut: u16 = u.arbitrary()?;
    let mut file = prefix().to_vec();
    let mut number = 0_u32;
    while !u.is_empty() {
        let kind = match u.int_in_range(0..=9)? {
            // Most files begin as they should.
            0..=4 if number == 0 => Kind::Header,
            5 => Kind::Header,
            6 => Kind::State,
            7 => Kind::End,
            _ => Kind::Steps,
        };
        let how: u8 = u.arbitrary()?;
        let len = usize::from(u.arbitrary::<u16>()?).min(u.len());
        let raw =
            if kind == Kind::Header && how & 4 != 0 { header(u)?.encode() } else { u.bytes(len)?.to_vec() };
        // Now and then it is shorter or longer than it says, is not compressed though it says so, or is out of order.
        let raw_len = raw.len() as u32 + u32::from(how & 0xf0 == 0x10) * u32::from(how) * 0x40_0000;
        let payload = match how & 3 {
            0 => zstd(&raw),
            _ => raw,
        };
        let codec = if how & 3 <= 1 { Codec::Zstd } else { Codec::None };
        number += u32::from(how == 0xee);
        let block = Block { kind, codec, number, raw_len, payload: &payload };
        file.extend(block.head().unwrap_or_default());
        file.extend(&payload);
        number += 1;
    }
    for (at, byte) in damages {
        let at = (usize::from(at) * file.len()) >> 16;
        if let Some(place) = file.get_mut(at) {
            *place ^= byte;
        }
    }
    let cut = (usize::from(cut) * file.len()) >> 16;
    Ok((file, cut))
}

fn header(u: &mut Unstructured<'_>) -> Result<Header> {
    Ok(Header {
        program: "fuzz".to_owned(),
        build: "0".to_owned(),
        shard: 0,
        shards: 1,
        wall_ms: u.arbitrary()?,
        started_at: Instant::from_nanos(u.arbitrary()?),
        seed: u.arbitrary()?,
        part: u.int_in_range(0..=1)?,
        config: switchboard_engine::ServerConfig::default(),
        is_redacted: u.arbitrary()?,
    })
}

/// A frame of Zstandard with these bytes as they are (RFC 8878 sections 3.1.1.1 and 3.1.1.2): one segment, raw blocks.
fn zstd(raw: &[u8]) -> Vec<u8> {
    // A magic number; a descriptor that says: one segment, of which the length follows in four bytes.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    frame.extend((raw.len() as u32).to_le_bytes());
    let last = raw.len().div_ceil(BLOCK).saturating_sub(1);
    let empty: [&[u8]; 1] = [&[]];
    let blocks = raw.chunks(BLOCK).chain(empty.into_iter().take(usize::from(raw.is_empty())));
    for (number, block) in blocks.enumerate() {
        let head = (block.len() as u32) << 3 | u32::from(number == last);
        frame.extend(head.to_le_bytes().into_iter().take(3));
        frame.extend(block);
    }
    frame
}

/// Bytes of a block of Zstandard; fewer than it may have.
const BLOCK: usize = 64 << 10;
