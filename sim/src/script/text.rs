//! The text form of a [`Script`]: one line a thing.
//!
//! ```text
//! switchboard-events 1
//! seed 42
//! start 0                                 the engine's time when it is made, in nanoseconds
//! config {"limits":{"message_bytes":512}} what is not the default
//! state BUILD HEX                         only if it begins in the middle
//! 1000 1 connect 0v1 "alice" classic      time in nanoseconds, id, verb, what belongs to it
//! 2000 2 answer 1.0 {"UserLoaded":{"avatar":"","groups":[],"revision":0}}
//! 3000 3 receive 0v1 "\u001a\u0005alice"
//! ```
//! What is in quotes, braces or brackets is JSON; bytes are a text whose characters are their numbers, U+0000 to U+00FF. `answer 1.0` is the
//! answer to the first request that line 1 leads to, `answer @7` that to the request with ticket 7 from before the script. Empty lines and what
//! follows a `;` behind the last word are ignored.

use core::fmt;
use core::str::FromStr;

use bytes::Bytes;
use serde_json::{Map, Value};
use switchboard_engine::{ConnId, Event, Note, PeerFault, Protocol, Record, ServerConfig};

use super::{Ask, Line, Script, What};
use crate::recording::file::SavedState;
use crate::recording::name;

/// The version of the format that this program reads and writes.
pub const VERSION: u32 = 1;

const MAGIC: &str = "switchboard-events";

/// Whether a text begins like a script.
#[must_use]
pub fn is_script(text: &str) -> bool {
    text.starts_with(MAGIC)
}

/// Why a text is no script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The first line is not that of a script.
    #[error("no script of events: the first line must be \"{MAGIC} {VERSION}\"")]
    NotAScript,
    /// It is a script of another version.
    #[error("the script of events has version {found}, and this program reads version {VERSION} only")]
    Version {
        /// The version that it names.
        found: String,
    },
    /// A line is wrong.
    #[error("line {line}: {what}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{MAGIC} {VERSION}\nseed {}\nstart {}", self.seed, self.start_ns)?;
        let (config, default) = (json(&self.config), json(&ServerConfig::default()));
        if let Some(changed) = changed(&config, &default) {
            writeln!(f, "config {changed}")?;
        }
        if let Some(SavedState { build, bytes }) = &self.state {
            write!(f, "state {build} ")?;
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
            writeln!(f)?;
        }
        let is_session = |conn: Option<ConnId>| {
            self.lines.iter().any(|line| {
                matches!(&line.what, What::Event(Event::Connected { conn: of, protocol: Protocol::Session, .. }) if Some(*of) == conn)
            })
        };
        for line in &self.lines {
            write!(f, "{} {} {}", line.at_ns, line.id, line.what)?;
            if let What::Event(event @ Event::Received { .. }) = &line.what {
                write!(f, "  ; {}", name::event(event, is_session(line.conn())))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of { line, nth } => write!(f, "{line}.{nth}"),
            Self::Before(ticket) => write!(f, "@{ticket}"),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = match self {
            Self::Timeout => return f.write_str("timeout"),
            Self::Answer { to, answer } => return write!(f, "answer {to} {}", json(answer)),
            Self::Event(event) => event,
        };
        match event {
            Event::Connected { conn, user, protocol } => {
                let protocol = match protocol {
                    Protocol::Classic => "classic",
                    Protocol::Session => "session",
                };
                write!(f, "connect {conn} {} {protocol}", json(user))
            }
            Event::Received { conn, message } => write!(f, "receive {conn} {}", text_of(message)),
            Event::Ping { conn, payload } => write!(f, "ping {conn} {}", text_of(payload)),
            Event::Pong { conn, payload } => write!(f, "pong {conn} {}", text_of(payload)),
            Event::Misbehaved { conn, fault } => write!(f, "misbehave {conn} {}", json(fault)),
            Event::PeerClosed { conn } => write!(f, "close {conn}"),
            Event::Flushed { conn, frames, payload_bytes } => {
                write!(f, "flush {conn} {frames} {payload_bytes}")
            }
            Event::Disconnected { conn } => write!(f, "gone {conn}"),
            Event::Answered { ticket, answer } => {
                write!(f, "answer {} {}", Ask::Before(ticket.0), json(answer))
            }
            Event::Published(Record { topic, stored, message }) => {
                write!(f, "publish {} {} {}", json(topic), json(stored), text_of(message))
            }
            Event::Told(Note { topic, note }) => write!(f, "tell {} {}", json(topic), text_of(note)),
            Event::DirectoryChanged(change) => write!(f, "directory {}", json(change)),
            Event::Revoked { whose, why } => write!(f, "revoke {} {}", json(whose), json(why)),
            Event::Announced { to, text } => write!(f, "announce {} {}", json(to), json(text)),
            Event::Shutdown => f.write_str("shutdown"),
        }
    }
}

/// What a value is in JSON. Everything that is written here can be.
fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// Bytes as a text of characters with their numbers.
fn text_of(bytes: &[u8]) -> Value {
    Value::String(bytes.iter().map(|byte| char::from(*byte)).collect())
}

fn bytes_of(value: &Value) -> Result<Bytes, String> {
    let Value::String(text) = value else { return Err(format!("{value} are no bytes: a text is wanted")) };
    text.chars()
        .map(|c| u8::try_from(c).map_err(|_| format!("{c:?} is no byte: characters up to U+00FF are")))
        .collect::<Result<Vec<_>, _>>()
        .map(Bytes::from)
}

/// The configuration with one setting at a time as it is by default, for each that is not.
pub(super) fn with_one_default(config: &ServerConfig) -> Vec<ServerConfig> {
    let default = json(&ServerConfig::default());
    let mut simpler = Vec::new();
    for group in ["", "/limits"] {
        let (mine, defaults) = (json(config), default.pointer(group).and_then(Value::as_object));
        for (name, value) in defaults.into_iter().flatten().filter(|(name, _)| *name != "limits") {
            let mut candidate = mine.clone();
            let place = format!("{group}/{name}");
            let Some(field) = candidate.pointer_mut(&place).filter(|field| *field != value) else { continue };
            *field = value.clone();
            simpler.extend(serde_json::from_value::<ServerConfig>(candidate));
        }
    }
    simpler
}

/// What of a value is not as in another one.
fn changed(value: &Value, default: &Value) -> Option<Value> {
    let (Value::Object(fields), Value::Object(defaults)) = (value, default) else {
        return (value != default).then(|| value.clone());
    };
    let different = fields.iter().filter_map(|(name, value)| {
        let default = defaults.get(name).unwrap_or(&Value::Null);
        // A time is one thing, and has two fields.
        let is_time = value.get("nanos").is_some();
        let different =
            if is_time { (value != default).then(|| value.clone()) } else { changed(value, default) };
        different.map(|different| (name.clone(), different))
    });
    let different: Map<_, _> = different.collect();
    (!different.is_empty()).then_some(Value::Object(different))
}

/// Puts what is given in place of what is there; nothing may be given that is not there.
fn put(into: &mut Value, given: &Value) -> Result<(), String> {
    let (Value::Object(fields), Value::Object(given)) = (&mut *into, given) else {
        *into = given.clone();
        return Ok(());
    };
    for (name, value) in given {
        let field = fields.get_mut(name).ok_or_else(|| format!("{name} is no setting"))?;
        put(field, value)?;
    }
    Ok(())
}

impl FromStr for Script {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
        let first: Vec<&str> =
            lines.next().map(|(_, line)| line.split_whitespace().collect()).unwrap_or_default();
        match first.as_slice() {
            [MAGIC, version] if version.parse() == Ok(VERSION) => {}
            [MAGIC, version] => return Err(ParseError::Version { found: (*version).to_owned() }),
            _ => return Err(ParseError::NotAScript),
        }
        let config = ServerConfig::default();
        let mut script = Self { seed: 0, start_ns: 0, config, state: None, lines: Vec::new() };
        for (number, line) in lines {
            let wrong = |what| ParseError::Line { line: number, what };
            if !line.is_empty() && !line.starts_with(';') {
                script.read_line(line).map_err(wrong)?;
            }
        }
        script.check().map_err(|what| ParseError::Line { line: text.lines().count(), what })?;
        Ok(script)
    }
}

/// The first word, and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
}

fn number<T: FromStr>(word: &str, what: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("{word} is no {what}"))
}

impl Script {
    fn read_line(&mut self, line: &str) -> Result<(), String> {
        let (first, rest) = word(line);
        match first {
            "seed" => self.seed = number(word(rest).0, "seed")?,
            "start" => self.start_ns = number(word(rest).0, "time in nanoseconds")?,
            "config" => {
                let [given] = values(rest)?;
                let mut config = json(&ServerConfig::default());
                put(&mut config, &given)?;
                self.config = serde_json::from_value(config).map_err(|error| error.to_string())?;
            }
            "state" => {
                let (build, rest) = word(rest);
                let hex = word(rest).0;
                let bytes = hex.as_bytes().chunks(2).map(|pair| {
                    let pair = core::str::from_utf8(pair).unwrap_or_default();
                    u8::from_str_radix(pair, 16)
                        .map_err(|_| format!("{pair} is no byte in two hexadecimal digits"))
                });
                self.state =
                    Some(SavedState { build: build.to_owned(), bytes: bytes.collect::<Result<_, _>>()? });
            }
            at if at.starts_with(|c: char| c.is_ascii_digit()) => {
                let at_ns = number(at, "time in nanoseconds")?;
                let (id, rest) = word(rest);
                let (verb, rest) = word(rest);
                self.lines.push(Line {
                    id: number(id, "id of a line")?,
                    at_ns,
                    what: What::read(verb, rest)?,
                });
            }
            other => return Err(format!("{other} does not begin a line of this format")),
        }
        Ok(())
    }

    /// Whether ids are unique, and times in order.
    fn check(&self) -> Result<(), String> {
        let mut ids = std::collections::BTreeSet::new();
        if let Some(twice) = self.lines.iter().find(|line| !ids.insert(line.id)) {
            return Err(format!("two lines have the id {}", twice.id));
        }
        let back = self.lines.windows(2).find(|pair| pair[1].at_ns < pair[0].at_ns);
        back.map_or(Ok(()), |pair| Err(format!("line {} is before the one before it", pair[1].id)))
    }
}

/// The first JSON value, and what follows it.
fn first_value(text: &str) -> Result<(Value, &str), String> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    match stream.next() {
        Some(Ok(value)) => Ok((value, &text[stream.byte_offset()..])),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("a text in quotation marks is wanted".to_owned()),
    }
}

/// So many JSON values, and nothing behind them but a comment.
fn values<const N: usize>(text: &str) -> Result<[Value; N], String> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut found = Vec::new();
    while found.len() < N {
        match stream.next() {
            Some(Ok(value)) => found.push(value),
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err(format!("{N} things are wanted, and there are {}", found.len())),
        }
    }
    nothing_behind(&text[stream.byte_offset()..])?;
    found.try_into().map_err(|_| String::new())
}

fn nothing_behind(rest: &str) -> Result<(), String> {
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with(';') { Ok(()) } else { Err(format!("too much: {rest}")) }
}

fn value<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

impl FromStr for Ask {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(ticket) = text.strip_prefix('@') {
            return number(ticket, "ticket").map(Self::Before);
        }
        let (line, nth) = text
            .split_once('.')
            .ok_or_else(|| format!("{text} names no request: 7.0 does, the first of line 7"))?;
        Ok(Self::Of { line: number(line, "id of a line")?, nth: number(nth, "number of a request")? })
    }
}

fn conn(text: &str) -> Result<ConnId, String> {
    let (slot, generation) =
        text.split_once('v').ok_or_else(|| format!("{text} is no connection: 0v1 is"))?;
    Ok(ConnId::new(number(slot, "slot")?, number(generation, "generation")?))
}

impl What {
    fn read(verb: &str, rest: &str) -> Result<Self, String> {
        let of_conn = || {
            let (name, rest) = word(rest);
            conn(name).map(|conn| (conn, rest))
        };
        let event = match verb {
            "timeout" => {
                nothing_behind(rest)?;
                return Ok(Self::Timeout);
            }
            "answer" => {
                let (to, rest) = word(rest);
                let [answer] = values(rest)?;
                return Ok(Self::Answer { to: to.parse()?, answer: value(answer)? });
            }
            "connect" => {
                let (conn, rest) = of_conn()?;
                let (user, rest) = first_value(rest)?;
                let (protocol, rest) = word(rest);
                nothing_behind(rest)?;
                let protocol = match protocol {
                    "classic" => Protocol::Classic,
                    "session" => Protocol::Session,
                    other => return Err(format!("{other} is no protocol: classic and session are")),
                };
                Event::Connected { conn, user: value(user)?, protocol }
            }
            "receive" | "ping" | "pong" => {
                let (conn, rest) = of_conn()?;
                let [payload] = values(rest)?;
                let payload = bytes_of(&payload)?;
                match verb {
                    "receive" => Event::Received { conn, message: payload },
                    "ping" => Event::Ping { conn, payload },
                    _ => Event::Pong { conn, payload },
                }
            }
            "misbehave" => {
                let (conn, rest) = of_conn()?;
                let [fault] = values(rest)?;
                Event::Misbehaved { conn, fault: value::<PeerFault>(fault)? }
            }
            "flush" => {
                let (conn, rest) = of_conn()?;
                let (frames, rest) = word(rest);
                let (bytes, rest) = word(rest);
                nothing_behind(rest)?;
                Event::Flushed {
                    conn,
                    frames: number(frames, "number of frames")?,
                    payload_bytes: number(bytes, "number of bytes")?,
                }
            }
            "close" | "gone" => {
                let (conn, rest) = of_conn()?;
                nothing_behind(rest)?;
                if verb == "close" { Event::PeerClosed { conn } } else { Event::Disconnected { conn } }
            }
            "publish" => {
                let [topic, stored, message] = values(rest)?;
                Event::Published(Record {
                    topic: value(topic)?,
                    stored: value(stored)?,
                    message: bytes_of(&message)?,
                })
            }
            "tell" => {
                let [topic, note] = values(rest)?;
                Event::Told(Note { topic: value(topic)?, note: bytes_of(&note)? })
            }
            "directory" => {
                let [change] = values(rest)?;
                Event::DirectoryChanged(value(change)?)
            }
            "revoke" => {
                let [whose, why] = values(rest)?;
                Event::Revoked { whose: value(whose)?, why: value(why)? }
            }
            "announce" => {
                let [to, text] = values(rest)?;
                Event::Announced { to: value(to)?, text: value(text)? }
            }
            "shutdown" => {
                nothing_behind(rest)?;
                Event::Shutdown
            }
            other => return Err(format!("{other} is no verb")),
        };
        Ok(Self::Event(event))
    }
}
