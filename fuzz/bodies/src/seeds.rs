//! What a corpus begins with: inputs of what is kept for the simulator, and such as follow from numbers.

use std::fs;
use std::io;
use std::path::Path;

use bytes::Bytes;
use switchboard_engine::{Event, Frame, OwnedAction, Shipped};
use switchboard_sim::choice::{Choices, Stream};
use switchboard_sim::generate::generate;
use switchboard_sim::recording::files::Recording;
use switchboard_sim::recording::player::Cause;
use switchboard_sim::recording::replay::{Options, Until, replay};
use switchboard_sim::script::from::cut;

use crate::engine_events::any_message;

/// Steps of the scripts that are cut from recordings.
const SCRIPT_STEPS: u64 = 40;

/// The handshake of our clients, that of a browser, and some that are unusual.
const HANDSHAKES: &[&str] = &[
    "GET /socket.io?user=alice HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET /socket.io?user=alice HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
     sec-websocket-version: 13\r\nsec-websocket-protocol: chat, switchboard.v1\r\n\
     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\u{2}more",
    "GET /socket.io?user=a%20b HTTP/1.1\r\nHost: here\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\nOrigin: http://here\r\n\
     Connection: Upgrade\r\nSec-WebSocket-Extensions: permessage-deflate\r\nCookie: a=b\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET http://here/socket.io?user=alice HTTP/1.1\r\nHost: here\r\n\r\n",
    "GET /socket.io?user=alice HTTP/1.0\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
];

const QUERIES: &[&str] = &[
    "Uuid=alice&FriendUsername=bob&MessageType=1",
    "uuid=alice&UUID=bob",
    "name=a+b%20c%26d%3D%E2%82%AC",
    "name=%FF&=&a&%zz=%1&b==",
    "user=%EF%BF%BD",
];

/// The first byte is the size of pieces.
const FORMS: &[&str] = &[
    "\u{7}--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\nPNG\r\n\
     --X\r\nContent-Disposition: form-data; name=\"uuid\"\r\n\r\nalice\r\n--X--\r\n",
    "\u{3}--X\r\nContent-Disposition: form-data; name=uuid\r\n\r\n\r\n--X\r\ncontent-disposition: form-data; name=\"other\"\r\n\r\n\
     --X-\r\n--X--",
    "\u{1}--X--\r\n",
];

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// So many inputs that follow from numbers, and all that are made of what is below `sim`, the simulator's folder.
///
/// # Errors
/// If a file there cannot be read.
pub fn seeds(target: &str, sim: &Path, count: u64) -> io::Result<Vec<Vec<u8>>> {
    let numbers = 0..count;
    Ok(match target {
        "classic_decode" => {
            let mut seeds: Vec<_> =
                numbers.filter_map(|seed| any_message(&random(seed, 200), false)).collect();
            seeds.extend(recorded(sim)?.classic);
            seeds
        }
        "session_decode" => {
            let mut seeds: Vec<_> =
                numbers.filter_map(|seed| any_message(&random(seed, 200), true)).collect();
            seeds.extend(recorded(sim)?.session);
            seeds
        }
        "engine_events" => numbers.map(|seed| random(seed, 4_000)).collect(),
        "schedules" => numbers.map(|seed| random(seed, 6_000)).collect(),
        "recording_reader" => {
            let mut seeds: Vec<_> = numbers.map(|seed| random(seed, 300)).collect();
            for path in files(&sim.join("recordings"))? {
                seeds.push(fs::read(path)?);
            }
            seeds
        }
        "schedule_text" => {
            let made = numbers.filter_map(|seed| generate(seed, "small").map(|s| s.to_string().into_bytes()));
            let mut seeds: Vec<_> = made.collect();
            for path in files(&sim.join("regressions"))? {
                seeds.push(fs::read(path)?);
            }
            seeds
        }
        "script_text" => scripts(sim)?,
        "byte_by_byte" => {
            let mut seeds: Vec<_> = numbers.map(|seed| random(seed, 400)).collect();
            seeds.extend(recorded(sim)?.classic.iter().map(|message| masked(message)));
            seeds
        }
        "handshake" => texts(HANDSHAKES),
        "http_query" => texts(QUERIES),
        "upload_form" => {
            let mut seeds: Vec<_> = numbers.map(|seed| random(seed, 400)).collect();
            seeds.extend(texts(FORMS));
            seeds
        }
        _ => Vec::new(),
    })
}

/// Bytes that follow from a number, some of them small, as many as that at the most.
fn random(seed: u64, most: u64) -> Vec<u8> {
    let mut choices = Choices::from_seed(seed, Stream::Workload);
    let len = choices.between(most / 20, most);
    (0..len).map(|_| choices.below(256) as u8).collect()
}

fn files(folder: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Messages of both protocols, in both directions.
#[derive(Debug, Default)]
struct Recorded {
    classic: Vec<Vec<u8>>,
    session: Vec<Vec<u8>>,
}

fn recordings(sim: &Path) -> io::Result<Vec<Recording>> {
    let mut found = Vec::new();
    // One by one: some are of worlds with the same seed, whose engines have the same as well.
    for path in files(&sim.join("recordings"))? {
        found.extend(Recording::open(&[path]).map_err(io::Error::other)?);
    }
    Ok(found)
}

/// What was said in the recordings: of each kind and length one.
fn recorded(sim: &Path) -> io::Result<Recorded> {
    let mut found = Recorded::default();
    for mut recording in recordings(sim)? {
        let options = Options { all_differences: true, ..Options::default() };
        let report = replay(&mut recording, &Shipped, &options, |shown| {
            if let Cause::Event(Event::Received { conn, message }) = shown.cause {
                found.add(shown.player.judge().is_session(*conn), message);
            }
            for action in shown.player.actions() {
                match action {
                    OwnedAction::Send { to, frame: Frame::Message(frame) } => {
                        let is_session = to.iter().any(|conn| shown.player.judge().is_session(*conn));
                        found.add(is_session, frame);
                    }
                    OwnedAction::Tell(note) => found.add(true, &note.note),
                    OwnedAction::Send { .. }
                    | OwnedAction::Close { .. }
                    | OwnedAction::Abort { .. }
                    | OwnedAction::Request { .. }
                    | OwnedAction::Publish(_)
                    | OwnedAction::Subscribe(_)
                    | OwnedAction::Unsubscribe(_)
                    | OwnedAction::Stopped => {}
                }
            }
        });
        report.map_err(io::Error::other)?;
    }
    Ok(found)
}

impl Recorded {
    fn add(&mut self, is_session: bool, message: &Bytes) {
        let of = if is_session { &mut self.session } else { &mut self.classic };
        let is_like = |other: &Vec<u8>| other.len() == message.len() && other.first() == message.first();
        if !of.iter().any(is_like) {
            of.push(message.to_vec());
        }
    }
}

fn scripts(sim: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut scripts = Vec::new();
    for mut recording in recordings(sim)? {
        let cut = cut(&mut recording, &Shipped, None, Some(Until::Step(SCRIPT_STEPS)));
        scripts.push(cut.map_err(io::Error::other)?.script.to_string().into_bytes());
    }
    Ok(scripts)
}

/// An input of which the first byte is the size of pieces, and the rest a frame with this payload.
fn masked(payload: &[u8]) -> Vec<u8> {
    let payload = payload.get(..payload.len().min(100)).unwrap_or_default();
    let mut input = vec![3, 0x82, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    input.extend(payload);
    input
}
