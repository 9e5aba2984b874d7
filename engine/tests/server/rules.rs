//! What a server of the classic protocol must do, rule by rule.

use bytes::Bytes;
use switchboard_engine::{FileKind, FileSource, Recipient};
use switchboard_proto::{Message as _, classic::Message};

use crate::{
    harness::{World, group_text, heartbeat, relayed, shout, text, upload},
    store::{group, user},
};

#[test]
fn the_first_frame_to_a_new_client_is_the_welcome() {
    let mut world = World::new();
    let alice = world.connects("alice");
    let welcome = Message {
        from: "System".into(),
        to: "alice".into(),
        content: "welcome!".into(),
        ..Message::default()
    };
    assert_eq!(world.reads(alice), [welcome]);
}

#[test]
fn nothing_comes_before_the_welcome() {
    let mut world = World::new();
    let bob = world.arrives("bob");
    world.store_holds();
    let alice = world.connects("alice");
    world.says(bob, shout("too early for alice"));
    world.says(bob, relayed("alice", 12, "so is this"));
    assert_eq!(world.frames(alice), []);
    world.store_resumes();
    assert_eq!(world.hears(alice), ["welcome!"]);
}

#[test]
fn a_heartbeat_is_answered_with_a_pong_and_routed_to_nobody() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.says(alice, Message { to: "bob".into(), content_type: 1, ..heartbeat() });
    let pong = Message { r#type: "heatbeat".into(), content: "pong".into(), ..Message::default() };
    assert_eq!(world.reads(alice), [pong]);
    assert_eq!(world.reads(bob), []);
    assert_eq!(world.store.log, []);
}

#[test]
fn a_text_is_stored_and_then_delivered_with_its_sender() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.store_holds();
    let said = Message { from_username: "Alice A.".into(), avatar: "me.png".into(), ..text("bob", "hi") };
    world.says(alice, said.clone());
    assert_eq!(world.reads(bob), [], "it is not stored yet");
    world.store_answers(0);
    assert_eq!(world.reads(bob), [Message { from: "alice".into(), ..said }]);
    let stored = &world.store.log[0];
    assert_eq!((stored.sender.as_str(), &*stored.content, stored.content_type), ("alice", "hi", 1));
    assert_eq!((&*stored.sender_name, &stored.recipient), ("Alice A.", &Recipient::User(user("bob"))));
}

#[test]
fn every_stored_message_has_an_id_of_its_own() {
    let mut world = World::new();
    let alice = world.arrives("alice");
    (0..3).for_each(|_| world.says(alice, text("bob", "again")));
    let ids: std::collections::BTreeSet<_> = world.store.log.iter().map(|message| message.id).collect();
    assert_eq!(ids.len(), 3);
}

#[test]
fn all_five_stored_kinds_are_stored() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    (1..=5).for_each(|kind| world.says(alice, relayed("bob", kind, "stored")));
    assert_eq!(world.store.log.iter().map(|m| m.content_type).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(world.reads(bob).len(), 5);
}

#[test]
fn a_group_message_reads_like_a_chat_with_the_group() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob", "carol"]);
    world.store.profile("alice").avatar = "alice.png".into();
    let (alice, bob, carol) = (world.arrives("alice"), world.arrives("bob"), world.arrives("carol"));
    let dave = world.arrives("dave");
    let said = Message {
        from_username: "Alice A.".into(),
        avatar: "somebody-else.png".into(),
        url: "kept".into(),
        file_suffix: "gone".into(),
        ..group_text("crew", "ahoy")
    };
    world.says(alice, said.clone());
    let read = Message {
        from: "crew".into(),
        to: "alice".into(),
        avatar: "alice.png".into(),
        file_suffix: String::new(),
        ..said
    };
    assert_eq!(world.reads(bob), std::slice::from_ref(&read));
    assert_eq!(world.reads(carol), [read]);
    assert_eq!(world.reads(alice), [], "the sender gets no echo");
    assert_eq!(world.reads(dave), [], "dave is no member");
    assert_eq!(world.store.log[0].recipient, Recipient::Group(group("crew")));
}

#[test]
fn other_content_types_are_relayed_byte_for_byte_and_never_stored() {
    let mut world = World::new();
    world.found("bob", &["alice", "carol"]);
    let (alice, bob, carol) = (world.arrives("alice"), world.arrives("bob"), world.arrives("carol"));
    for content_type in [0, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 99, -1] {
        let message = Message {
            from: "alice".into(),
            message_type: 2, // ignored: it still goes to the user
            file: Bytes::from_static(b"raw"),
            ..relayed("bob", content_type, "x")
        };
        // A field that the schema does not have: only the very bytes still carry it.
        let mut bytes = message.encode_to_vec();
        bytes.extend_from_slice(&[0xF8, 0x07, 0x01]);
        world.sends(alice, bytes.clone());
        let frames = world.frames(bob);
        assert_eq!(frames.len(), 1, "contentType {content_type}");
        assert_eq!(frames[0].payload(), &bytes, "contentType {content_type}");
    }
    assert_eq!(world.reads(alice), []);
    assert_eq!(world.reads(carol), [], "a member of the group that has the user's id");
    assert_eq!(world.store.log, []);
}

#[test]
fn a_message_without_a_recipient_goes_to_everybody_the_sender_too_and_is_not_stored() {
    let mut world = World::new();
    let everybody = [world.arrives("alice"), world.arrives("bob"), world.arrives("carol")];
    world.says(everybody[0], shout("fire!"));
    for conn in everybody {
        assert_eq!(world.hears(conn), ["fire!"]);
    }
    assert_eq!(world.store.log, []);
}

#[test]
fn the_sender_gets_no_echo_but_the_recipients_other_devices_get_a_copy() {
    let mut world = World::new();
    let (phone, laptop) = (world.arrives("alice"), world.arrives("alice"));
    let (bob_phone, bob_laptop) = (world.arrives("bob"), world.arrives("bob"));
    world.says(phone, text("bob", "hi"));
    assert_eq!(world.hears(bob_phone), ["hi"]);
    assert_eq!(world.hears(bob_laptop), ["hi"]);
    world.says(phone, text("alice", "note to self"));
    assert_eq!(world.hears(phone), Vec::<String>::new());
    assert_eq!(world.hears(laptop), ["note to self"]);
}

#[test]
fn an_upload_is_kept_emptied_named_and_typed_by_its_contents() {
    for (suffix, kind, content_type) in [
        ("bin", FileKind::Other, 2),
        ("png", FileKind::Image, 3),
        ("mp3", FileKind::Audio, 4),
        ("mp4", FileKind::Video, 5),
    ] {
        let mut world = World::new();
        let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
        world.says(alice, upload("bob", "look", suffix));
        let read = world.reads(bob);
        assert_eq!(read.len(), 1, "{kind:?}");
        assert_eq!((&*read[0].url, read[0].content_type), ("file-1", content_type), "{kind:?}");
        assert_eq!((&read[0].file, &*read[0].content), (&Bytes::new(), "look"), "{kind:?}");
        let stored = &world.store.log[0];
        assert_eq!((&*stored.url, i32::from(stored.content_type)), ("file-1", content_type));
        assert_eq!((&*stored.file_suffix, stored.sender.as_str()), (suffix, "alice"));
        let file = &world.store.files[0];
        assert_eq!((file.owner.as_str(), &*file.suffix), ("alice", suffix));
        assert_eq!(file.source, FileSource::Bytes(Bytes::from_static(b"file contents")));
    }
}

#[test]
fn a_data_url_is_a_file_and_its_content_is_emptied() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.says(alice, relayed("bob", 2, "Data:text/plain;base64,aGk="));
    let read = world.reads(bob);
    assert_eq!((&*read[0].url, &*read[0].content, read[0].content_type), ("file-1", "", 2));
    assert_eq!(world.store.files[0].source, FileSource::DataUrl("Data:text/plain;base64,aGk=".into()));
    assert_eq!(&*world.store.log[0].content, "");
}

#[test]
fn a_file_for_a_group_reaches_its_members_with_its_name_and_without_its_bytes() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob"]);
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.says(alice, Message { message_type: 2, ..upload("crew", "look", "png") });
    let read = world.reads(bob);
    assert_eq!((&*read[0].from, &*read[0].to, &*read[0].url), ("crew", "alice", "file-1"));
    assert_eq!((&read[0].file, &*read[0].file_suffix, read[0].content_type), (&Bytes::new(), "", 3));
}

#[test]
fn alice_goes_offline_bob_sends_three_and_all_three_are_in_the_log() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.leaves(alice);
    for content in ["one", "two", "three"] {
        world.says(bob, text("alice", content));
    }
    let alice = world.connects("alice");
    assert_eq!(world.store.texts(), ["one", "two", "three"]);
    assert_eq!(world.hears(alice), ["welcome!"], "a classic client fetches history over HTTP");
    world.says(bob, text("alice", "four"));
    assert_eq!(world.hears(alice), ["four"]);
}
