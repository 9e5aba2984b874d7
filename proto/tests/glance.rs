//! A glance at a message takes exactly the bytes that its decoder takes, and sees the same.

use proptest::{collection::vec, prelude::*, string::string_regex};
use switchboard_proto::{Glance, Message as _, classic::Message};

fn text() -> impl Strategy<Value = String> {
    string_regex("[a-zé\u{10348}]{0,12}").unwrap_or_else(|_| unreachable!("a valid pattern"))
}

fn message() -> impl Strategy<Value = Message> {
    let texts = (text(), text(), text(), text(), text(), text());
    let rest = (text(), text(), any::<i32>(), any::<i32>(), vec(any::<u8>(), 0..20));
    (texts, rest).prop_map(|((avatar, from_username, from, to, content, url), rest)| {
        let (file_suffix, r#type, content_type, message_type, file) = rest;
        let file = file.into();
        Message {
            avatar,
            from_username,
            from,
            to,
            content,
            content_type,
            r#type,
            message_type,
            url,
            file_suffix,
            file,
        }
    })
}

/// Where a message is damaged: its place, of 2^16, and what stands there then.
fn damages() -> impl Strategy<Value = Vec<(u16, u8)>> {
    vec((any::<u16>(), any::<u8>()), 0..4)
}

fn same(bytes: &[u8]) -> Result<(), TestCaseError> {
    let decoded = Message::decode(bytes);
    match (Glance::of(bytes), &decoded) {
        (Some(glance), Ok(message)) => prop_assert_eq!(glance, Glance::from(message)),
        (None, Err(_)) => {}
        (glance, decoded) => prop_assert!(false, "{glance:?} beside {decoded:?}"),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn of_messages_whole_damaged_cut_and_one_behind_the_other(
        first in message(),
        second in message(),
        damages in damages(),
        cut in any::<u16>(),
    ) {
        let mut bytes = first.encode_to_vec();
        same(&bytes)?;
        second.encode(&mut bytes).unwrap_or_default();
        same(&bytes)?;
        for (place, byte) in damages {
            let place = usize::from(place) * bytes.len() / (1 << 16);
            if let Some(there) = bytes.get_mut(place) {
                *there = byte;
            }
            same(&bytes)?;
        }
        bytes.truncate(usize::from(cut) * bytes.len() / (1 << 16));
        same(&bytes)?;
    }

    #[test]
    fn of_anything(bytes in vec(any::<u8>(), 0..64)) {
        same(&bytes)?;
    }

    /// Few keys and lengths, so that fields of all wire types and unknown ones are met.
    #[test]
    fn of_what_looks_like_fields(bytes in vec(prop_oneof![0_u8..16, Just(0x5a), 0x18_u8..0x70, any::<u8>()], 0..32)) {
        same(&bytes)?;
    }
}
