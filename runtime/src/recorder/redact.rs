//! Stand-ins for what was said: of the same length, and the same for the same text.
//!
//! What is redacted is what the engine passes on and does not look at: texts and other contents of messages, calls and announcements, display names,
//! names of groups, and the names and contents of files. Who is who (ids of users, groups, messages, devices), lengths and times stay, as they
//! decide what the engine does.

use std::collections::HashMap;

use bytes::Bytes;
use switchboard_engine::recording::StepError;
use switchboard_proto::{
    DecodeError, Message as _, decode_length_delimiter, recording as wire,
    recording::{answered::Answer, directory_change::Kind, step::Body, stored_message::Subject},
};

/// What is done to a field.
enum Rule {
    /// A text gets a stand-in. What is no text stays none: whoever is told so refuses it.
    Text,
    /// Bytes get a stand-in.
    Bytes,
    /// A message, in which this is done.
    Within(&'static [Field]),
}

type Field = (u32, Rule);

/// Fields of `switchboard_proto::classic::Message`: picture, display name, text, file's name, file.
const CLASSIC: &[Field] =
    &[(1, Rule::Text), (2, Rule::Text), (5, Rule::Text), (9, Rule::Text), (11, Rule::Bytes)];
const CHANGE: &[Field] = &[(4, Rule::Text)];
const CONTENT: &[Field] = &[(2, Rule::Text), (3, Rule::Text), (5, Rule::Within(CHANGE))];
const SUBMIT: &[Field] = &[(3, Rule::Within(CONTENT))];
const CALL: &[Field] = &[(5, Rule::Bytes)];
/// Of a `ClientFrame`.
const SESSION: &[Field] = &[(2, Rule::Within(SUBMIT)), (9, Rule::Within(CALL))];
const NOTED_ENTRY: &[Field] = &[(6, Rule::Within(CONTENT))];
const NOTED_CALL: &[Field] = &[(2, Rule::Within(CALL))];
/// Of a `Note` between engines.
const NOTE: &[Field] = &[(1, Rule::Within(NOTED_ENTRY)), (5, Rule::Within(NOTED_CALL))];

/// Bytes that no decoder of ours takes: there is no field 0.
const GARBLED: u8 = 0;

/// Puts stand-ins into the steps of one engine.
#[derive(Debug)]
pub(super) struct Redactor {
    stand_ins: StandIns,
    /// The connections that there are, and whether they speak the session protocol.
    sessions: HashMap<(u32, u32), bool>,
}

impl Redactor {
    pub(super) fn new(key: [u64; 2]) -> Self {
        Self { stand_ins: StandIns { key }, sessions: HashMap::new() }
    }

    /// The same steps with stand-ins. `steps` are as an encoder gives them.
    ///
    /// # Errors
    /// If they are not.
    pub(super) fn redact(&mut self, steps: Vec<u8>, mut each: impl FnMut(Vec<u8>)) -> Result<(), StepError> {
        let mut rest = Bytes::from(steps);
        while !rest.is_empty() {
            let len = decode_length_delimiter(&mut rest).map_err(|_| StepError::Cut)?;
            if len > rest.len() {
                return Err(StepError::Cut);
            }
            let mut step = wire::Step::decode(rest.split_to(len)).map_err(|_| StepError::Garbled)?;
            if let Some(body) = &mut step.body {
                self.body(body);
            }
            each(step.encode_length_delimited_to_vec());
        }
        Ok(())
    }

    fn body(&mut self, body: &mut Body) {
        let stand_ins = &self.stand_ins;
        match body {
            Body::Connected(wire::Connected { conn, session, .. }) => {
                self.sessions.insert(key(conn.as_ref()), *session);
            }
            Body::Disconnected(conn) => {
                self.sessions.remove(&key(Some(conn)));
            }
            Body::Received(wire::Message { conn, payload }) => {
                let is_session = self.sessions.get(&key(conn.as_ref())).copied().unwrap_or(false);
                *payload = stand_ins.message(payload, if is_session { SESSION } else { CLASSIC });
            }
            Body::Published(record) => record.message = stand_ins.message(&record.message, CLASSIC),
            Body::Told(note) => note.note = stand_ins.message(&note.note, NOTE),
            Body::Announced(announced) => stand_ins.text(&mut announced.text),
            Body::DirectoryChanged(change) => match &mut change.kind {
                Some(Kind::Avatar(avatar)) => stand_ins.text(avatar),
                Some(Kind::Joined(_) | Kind::Left(_)) | None => {}
            },
            Body::Answered(answered) => {
                if let Some(answer) = &mut answered.answer {
                    self.answer(answer);
                }
            }
            Body::Ping(_)
            | Body::Pong(_)
            | Body::Misbehaved(_)
            | Body::PeerClosed(_)
            | Body::Flushed(_)
            | Body::Shutdown(_)
            | Body::Timeout(_)
            | Body::Digests(_)
            | Body::Acted(_)
            | Body::Revoked(_) => {}
        }
    }

    fn answer(&self, answer: &mut Answer) {
        let stand_ins = &self.stand_ins;
        match answer {
            Answer::UserLoaded(profile) => stand_ins.text(&mut profile.avatar),
            Answer::FileStored(file) => stand_ins.text(&mut file.name),
            Answer::MessagesLoaded(page) => {
                stand_ins.text(&mut page.group_name);
                for message in &mut page.messages {
                    stand_ins.text(&mut message.sender_name);
                    stand_ins.text(&mut message.avatar);
                    stand_ins.text(&mut message.content);
                    stand_ins.text(&mut message.url);
                    if let Some(Subject::Change(change)) = &mut message.subject {
                        *change = stand_ins.message(change, CHANGE);
                    }
                }
            }
            Answer::MessageStored(_)
            | Answer::StoredEarlier(_)
            | Answer::HeadsLoaded(_)
            | Answer::MarksStored(_)
            | Answer::Seen(_)
            | Answer::ReceivedStored(_)
            | Answer::UnreceivedLoaded(_)
            | Answer::Denied(_)
            | Answer::Refused(_)
            | Answer::Failed(_)
            | Answer::Full(_) => {}
        }
    }
}

fn key(conn: Option<&wire::Conn>) -> (u32, u32) {
    conn.map_or((0, 0), |conn| (conn.slot, conn.generation))
}

/// Texts that stand for others. Without the key nobody can tell which, but for the shortest, of which there are few.
#[derive(Debug)]
struct StandIns {
    key: [u64; 2],
}

impl StandIns {
    fn text(&self, text: &mut String) {
        if let Some(bytes) = self.of_text(text.as_bytes())
            && let Ok(stand_in) = String::from_utf8(bytes)
        {
            *text = stand_in;
        }
    }

    /// None for what stays: the scheme of a `data:` URL is what makes it one, and blanks are nothing to read.
    fn of_text(&self, text: &[u8]) -> Option<Vec<u8>> {
        if text.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        let scheme = text.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case(b"data:")).unwrap_or_default();
        let mut stand_in = self.letters(text);
        if let Some(begin) = stand_in.get_mut(..scheme.len()) {
            begin.copy_from_slice(scheme);
        }
        Some(stand_in)
    }

    /// As many letters as there are bytes.
    fn letters(&self, bytes: &[u8]) -> Vec<u8> {
        let mut numbers = Numbers::of(self.key, bytes);
        bytes.iter().map(|_| b'a' + numbers.below(26)).collect()
    }

    /// A message with stand-ins in these fields; what is none becomes bytes that are none either.
    fn message(&self, bytes: &Bytes, fields: &[Field]) -> Bytes {
        let mut redacted = bytes.to_vec();
        if self.within(&mut redacted, fields).is_err() {
            redacted.fill(GARBLED);
        }
        redacted.into()
    }

    fn within(&self, message: &mut [u8], fields: &[Field]) -> Result<(), DecodeError> {
        let mut at = 0;
        while let Some(rest) = message.get_mut(at..).filter(|rest| !rest.is_empty()) {
            let field = next_field(rest)?;
            let rule = fields.iter().find(|(number, _)| *number == field.number).map(|(_, rule)| rule);
            if let (Some(rule), Some(value)) = (rule, field.value.and_then(|value| rest.get_mut(value))) {
                match rule {
                    Rule::Text if std::str::from_utf8(value).is_err() => value.fill(0xff),
                    Rule::Text => {
                        if let Some(stand_in) = self.of_text(value) {
                            value.copy_from_slice(&stand_in);
                        }
                    }
                    Rule::Bytes => {
                        let stand_in = self.letters(value);
                        value.copy_from_slice(&stand_in);
                    }
                    Rule::Within(fields) => self.within(value, fields)?,
                }
            }
            at += field.len;
        }
        Ok(())
    }
}

/// One field of a message.
struct NextField {
    number: u32,
    /// Where its bytes are, if it has any.
    value: Option<std::ops::Range<usize>>,
    len: usize,
}

fn next_field(message: &[u8]) -> Result<NextField, DecodeError> {
    use switchboard_proto::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
    let mut rest = message;
    let (number, wire_type) = decode_key(&mut rest)?;
    if wire_type == WireType::LengthDelimited {
        let mut ahead = rest;
        let len = decode_varint(&mut ahead)?;
        skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
        let end = message.len() - rest.len();
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        return Ok(NextField { number, value: Some(end.saturating_sub(len)..end), len: end });
    }
    skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
    Ok(NextField { number, value: None, len: message.len() - rest.len() })
}

/// Numbers that follow from a key and bytes (SplitMix64 from a hash of both).
struct Numbers(u64);

impl Numbers {
    fn of([one, other]: [u64; 2], bytes: &[u8]) -> Self {
        use std::hash::Hasher as _;
        let mut hasher = siphasher::sip::SipHasher13::new_with_keys(one, other);
        hasher.write(bytes);
        Self(hasher.finish())
    }

    fn below(&mut self, limit: u8) -> u8 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u8::try_from((mixed >> 33) % u64::from(limit)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use switchboard_proto::{classic, v1};

    use super::*;

    fn redactor() -> Redactor {
        Redactor::new([1, 2])
    }

    /// What becomes of what a connection says.
    fn said(redactor: &mut Redactor, is_session: bool, payload: &[u8]) -> Vec<u8> {
        let conn = Some(wire::Conn { slot: 1, generation: 1 });
        let connected = wire::Connected { conn, user: "alice".into(), session: is_session };
        let received = wire::Message { conn, payload: Bytes::copy_from_slice(payload) };
        let mut steps = Vec::new();
        for body in [Body::Connected(connected), Body::Received(received)] {
            let step = wire::Step { after_ns: 7, body: Some(body) };
            step.encode_length_delimited(&mut steps).unwrap();
        }
        let before = steps.len();
        let mut redacted = Vec::new();
        redactor.redact(steps, |step| redacted.push(step)).unwrap();
        assert_eq!(redacted.iter().map(Vec::len).sum::<usize>(), before, "everything has its length");
        let step = wire::Step::decode_length_delimited(redacted[1].as_slice()).unwrap();
        match step.body {
            Some(Body::Received(received)) => received.payload.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_said_is_replaced_and_who_said_it_is_not() {
        let message = classic::Message {
            from_username: "Alice A.".into(),
            to: "bob".into(),
            content: "meet me at noon".into(),
            content_type: 1,
            message_type: 1,
            file: b"\xff\x00picture".to_vec().into(),
            ..classic::Message::default()
        };
        let mut redactor = redactor();
        let payload = said(&mut redactor, false, &message.encode_to_vec());
        let found = classic::Message::decode(payload.as_slice()).unwrap();
        assert_eq!((&*found.to, found.content_type, found.message_type), ("bob", 1, 1));
        assert_eq!((found.content.len(), found.file.len()), (message.content.len(), message.file.len()));
        assert_ne!(found.content, message.content);
        assert_ne!(found.from_username, message.from_username);
        assert_ne!(found.file, message.file);
        assert_eq!(payload, said(&mut redactor, false, &message.encode_to_vec()), "the same for the same");
        let other = Redactor::new([1, 3]).stand_ins.letters(message.content.as_bytes());
        assert_ne!(other, found.content.as_bytes(), "another key, another stand-in");
    }

    #[test]
    fn a_session_is_redacted_as_a_session() {
        let content = v1::Content {
            kind: 1,
            text: "meet me at noon".into(),
            change: Some(v1::GroupChange {
                user: "carol".into(),
                name: "The plan".into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let submit = v1::Submit {
            message_id: vec![9; 16].into(),
            content: Some(content.clone()),
            ..Default::default()
        };
        let frame = v1::ClientFrame { body: Some(v1::client_frame::Body::Submit(submit.clone())) };
        let payload = said(&mut redactor(), true, &frame.encode_to_vec());
        let Some(v1::client_frame::Body::Submit(found)) =
            v1::ClientFrame::decode(payload.as_slice()).unwrap().body
        else {
            panic!("another frame")
        };
        let found_content = found.content.unwrap();
        assert_eq!(found.message_id, submit.message_id);
        assert_ne!(found_content.text, content.text);
        let (change, before) = (found_content.change.unwrap(), content.change.unwrap());
        assert_eq!(change.user, before.user);
        assert_ne!(change.name, before.name);
    }

    #[test]
    fn what_is_refused_is_refused_still() {
        let mut redactor = redactor();
        for garbled in [&b"\xff\xff\xff"[..], b"\x2a\x50short"] {
            assert!(classic::Message::decode(garbled).is_err());
            let payload = said(&mut redactor, false, garbled);
            assert!(classic::Message::decode(payload.as_slice()).is_err(), "{payload:?}");
        }
        let no_text = [0x2a, 2, 0xc3, 0x28];
        let payload = said(&mut redactor, false, &no_text);
        assert!(classic::Message::decode(payload.as_slice()).is_err(), "{payload:?}");
        assert_eq!(said(&mut redactor, false, b""), b"");
    }

    #[test]
    fn what_decides_something_stays() {
        let stand_ins = redactor().stand_ins;
        let url = stand_ins.of_text(b"DATA:text/plain,secret").unwrap();
        assert!(url.starts_with(b"DATA:") && !url.ends_with(b"secret"), "{url:?}");
        assert_eq!(stand_ins.of_text(b" \n"), None);
    }
}
