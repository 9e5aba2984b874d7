//! What the session protocol says, in both directions, and what engines tell each other of it.

use core::fmt::Debug;

use switchboard_engine::GroupChange;
use switchboard_proto::{
    Message,
    v1::{ClientFrame, Note, ServerFrame},
};

/// What can be decoded means the same once it is encoded again, and is encoded again to the same bytes.
pub fn session_decode(data: &[u8]) {
    same_again::<ClientFrame>(data);
    same_again::<ServerFrame>(data);
    same_again::<Note>(data);
    if let Some(change) = GroupChange::decode(data) {
        assert_eq!(GroupChange::decode(&change.encode()).as_ref(), Some(&change));
    }
}

fn same_again<T: Message + Default + PartialEq + Debug>(data: &[u8]) {
    let Ok(frame) = T::decode(data) else { return };
    let encoded = frame.encode_to_vec();
    assert_eq!(encoded.len(), frame.encoded_len());
    let again = T::decode(&*encoded);
    assert_eq!(again.as_ref(), Ok(&frame), "encoded, it means something else");
    assert_eq!(again.map(|frame| frame.encode_to_vec()), Ok(encoded));
}
