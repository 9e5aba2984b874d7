//! The two frames that every stored message costs, written without making their parts first: prost would have each id and
//! text in an allocation of its own. A test holds both to what prost writes.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::{
    fields::{self, bytes_len, fixed_len, nested_len, uint_len},
    id::{MessageId, UserId},
    storage::{Place, Recipient},
};

/// What a message says, as it stands in a `Content`.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Said<'a> {
    pub(in crate::server) kind: u32,
    pub(in crate::server) text: &'a str,
    pub(in crate::server) file: &'a str,
}

/// A message that stands in a log at `place`, pushed to a reader of this conversation.
pub(in crate::server) fn delivery(
    to: &Recipient,
    place: Place,
    id: MessageId,
    from: &UserId,
    said: Said<'_>,
) -> Bytes {
    let stored_at = place.stored_at_ms.cast_unsigned();
    let conversation_len = conversation_len(to);
    let said_len = uint_len(said.kind.into()) + bytes_len(said.text.len()) + bytes_len(said.file.len());
    let body_len = nested_len(conversation_len)
        + fixed_len(place.epoch)
        + uint_len(place.seq)
        + bytes_len(id.0.len())
        + bytes_len(from.as_str().len())
        + nested_len(said_len)
        + uint_len(stored_at);
    let mut frame = Frame::new(4, body_len);
    frame.conversation(1, to, conversation_len);
    frame.fixed(2, place.epoch);
    frame.uint(3, place.seq);
    frame.bytes(4, &id.0);
    frame.bytes(5, from.as_str().as_bytes());
    frame.nested(6, said_len);
    frame.uint(1, said.kind.into());
    frame.bytes(2, said.text.as_bytes());
    frame.bytes(3, said.file.as_bytes());
    frame.uint(7, stored_at);
    frame.done()
}

/// A message has got its place in this conversation's log.
pub(super) fn accepted(id: MessageId, to: &Recipient, place: Place) -> Bytes {
    let stored_at = place.stored_at_ms.cast_unsigned();
    let conversation_len = conversation_len(to);
    let body_len = bytes_len(id.0.len())
        + nested_len(conversation_len)
        + fixed_len(place.epoch)
        + uint_len(place.seq)
        + uint_len(stored_at);
    let mut frame = Frame::new(2, body_len);
    frame.bytes(1, &id.0);
    frame.conversation(2, to, conversation_len);
    frame.fixed(3, place.epoch);
    frame.uint(4, place.seq);
    frame.uint(5, stored_at);
    frame.done()
}

/// A `ServerFrame` that is being written.
struct Frame(Vec<u8>);

impl Frame {
    /// Begins with the body, whose number and length are these.
    fn new(field: u8, body_len: usize) -> Self {
        let mut frame = Vec::with_capacity(nested_len(body_len));
        fields::nested(field, body_len, &mut frame);
        Self(frame)
    }

    fn nested(&mut self, field: u8, len: usize) {
        fields::nested(field, len, &mut self.0);
    }

    fn bytes(&mut self, field: u8, bytes: &[u8]) {
        fields::bytes(field, bytes, &mut self.0);
    }

    fn uint(&mut self, field: u8, value: u64) {
        fields::uint(field, value, &mut self.0);
    }

    fn fixed(&mut self, field: u8, value: u64) {
        fields::fixed(field, value, &mut self.0);
    }

    fn conversation(&mut self, field: u8, of: &Recipient, len: usize) {
        self.nested(field, len);
        // Ids are never empty, so none is left out.
        match of {
            Recipient::User(user) => self.bytes(1, user.as_str().as_bytes()),
            Recipient::Group(group) => self.bytes(2, group.as_str().as_bytes()),
        }
    }

    fn done(self) -> Bytes {
        debug_assert_eq!(self.0.len(), self.0.capacity(), "the lengths are those of what was written");
        self.0.into()
    }
}

fn conversation_len(of: &Recipient) -> usize {
    bytes_len(match of {
        Recipient::User(user) => user.as_str().len(),
        Recipient::Group(group) => group.as_str().len(),
    })
}

#[cfg(test)]
mod tests {
    use alloc::{borrow::ToOwned as _, string::String};

    use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};
    use switchboard_proto::{
        Message as _,
        v1::{Accepted, Content, ServerFrame, server_frame::Body},
    };

    use super::{Said, accepted, delivery};
    use crate::{
        id::{GroupId, MessageId, UserId},
        server::session::frames,
        storage::{Place, Recipient},
    };

    fn recipients() -> impl Strategy<Value = Recipient> {
        prop_oneof![
            "[a-zé]{1,60}".prop_map(|id| Recipient::User(UserId::new(&id).unwrap())),
            "[a-z]{1,128}".prop_map(|id| Recipient::Group(GroupId::new(&id).unwrap())),
        ]
    }

    /// Numbers of all lengths, 0 among them.
    fn numbers() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0_u32..=64).prop_map(|(bits, shift)| bits.checked_shr(shift).unwrap_or(0))
    }

    fn places() -> impl Strategy<Value = Place> {
        (numbers(), numbers(), numbers()).prop_map(|(epoch, seq, at)| Place {
            epoch,
            seq,
            stored_at_ms: at.cast_signed(),
        })
    }

    proptest! {
        #[test]
        fn a_delivery_is_what_prost_writes(
            to in recipients(), place in places(), id in any::<[u8; 16]>(), from in "[a-z]{1,128}",
            kind in any::<u32>(), text in ".{0,300}", file in "[a-z]{0,9}",
        ) {
            let (id, from) = (MessageId(id), UserId::new(&from).unwrap());
            let content = Content { kind, text: text.clone(), file: file.clone(), ..Content::default() };
            let direct = delivery(&to, place, id, &from, Said { kind, text: &text, file: &file });
            prop_assert_eq!(direct, frames::delivery(&to, place, id, &from, content));
        }

        #[test]
        fn an_acceptance_is_what_prost_writes(
            to in recipients(), place in places(), id in any::<[u8; 16]>(),
        ) {
            let id = MessageId(id);
            let body = Body::Accepted(Accepted {
                message_id: id.0.to_vec().into(),
                conversation: Some(frames::conversation(&to)),
                epoch: place.epoch,
                seq: place.seq,
                stored_at_ms: place.stored_at_ms,
            });
            let by_prost = ServerFrame { body: Some(body) }.encode_to_vec();
            prop_assert_eq!(&accepted(id, &to, place)[..], &by_prost[..]);
        }
    }

    #[test]
    fn a_long_text_has_its_length() {
        let (to, from) = (Recipient::User(UserId::new("bob").unwrap()), UserId::new("alice").unwrap());
        let place = Place { epoch: 1, seq: 1, stored_at_ms: 1 };
        let text = "x".repeat(1 << 20);
        let said = Said { kind: 1, text: &text, file: "" };
        let content = Content { kind: 1, text: text.to_owned(), file: String::new(), ..Content::default() };
        let id = MessageId([7; 16]);
        assert_eq!(delivery(&to, place, id, &from, said), frames::delivery(&to, place, id, &from, content));
    }
}
