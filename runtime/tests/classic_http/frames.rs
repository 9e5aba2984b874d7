//! Frames that name what is not their sender's: each is refused, or corrected, and nobody else hears of it.

use switchboard_proto::{
    classic::Message,
    v1::{
        Call, Content, Cursor, Fetch, GroupChange, Heads, Mark, Marks, RejectCode, Resync, Submit, Typing,
        Watch, call, client_frame::Body as Said, group_change::Kind, server_frame::Body,
    },
};

use crate::device::{Device, SUBPROTOCOL, hello, with_group as group, with_user as one};
use crate::harness::{Client, TestServer, create_group, group_text, heartbeat, text};
use crate::http::{Browser, with_passwords};

/// Alice and Bob, who talk and have a group, and Mallory, who has nothing to do with them.
struct Scene {
    server: TestServer,
    alice: Browser,
    bob: Browser,
    mallory: Browser,
}

impl Scene {
    async fn new() -> Self {
        let server = with_passwords();
        let alice = Browser::registered(&server, "alice").await;
        let bob = Browser::registered(&server, "bob").await;
        let mallory = Browser::registered(&server, "mallory").await;
        create_group(&server.data(), "crew", &[&alice.uuid, &bob.uuid]);
        Self { server, alice, bob, mallory }
    }
}

async fn device(of: &Browser) -> Device {
    let socket = of.try_socket(&of.uuid, &[("sec-websocket-protocol", SUBPROTOCOL)]).await.unwrap();
    let mut device = Device { user: of.uuid.clone(), socket };
    device.say(hello()).await;
    assert!(matches!(device.hear().await, Body::Welcome(_)));
    device.heads().await;
    device
}

#[tokio::test]
async fn no_classic_frame_speaks_as_somebody_else_or_into_a_group_of_others() {
    let scene = Scene::new().await;
    let (alice, bob, mallory) = (&scene.alice.uuid, &scene.bob.uuid, &scene.mallory.uuid);
    let mut listener = scene.bob.socket().await;
    let mut speaker = scene.mallory.socket().await;
    // Each kind of message to a user: text, file, pictures, sounds, films, calls, live pictures, dialling, signals.
    for content_type in (0..=20).chain([99]) {
        let forged = Message {
            from: alice.clone(),
            from_username: "alice".into(),
            content_type,
            ..text(bob, &format!("kind {content_type}"))
        };
        speaker.send(&forged).await;
        let heard = listener.recv().await;
        assert_eq!(heard.from, *mallory, "kind {content_type}: the sender is who is logged in");
    }
    // Stored ones to a group of others are dropped, whomever they claim to be from, and so are those to no group.
    for from in [mallory, alice, &"System".to_owned()] {
        for to in ["crew", "nowhere"] {
            speaker.send(&Message { from: from.clone(), ..group_text(to, "let me in") }).await;
        }
    }
    speaker.send(&Message { from: alice.clone(), ..heartbeat() }).await;
    assert_eq!(speaker.recv().await.content, "pong");
    listener.has_nothing_more().await;
    let mut reader = scene.alice.clone();
    let query = format!("Uuid={bob}&FriendUsername=alice&MessageType=1");
    let mut bob_asks = scene.bob.clone();
    assert_eq!(bob_asks.history(&query).await.len(), 0, "nothing is in a conversation of others");
    let query = "Uuid=crew&MessageType=2";
    assert_eq!(reader.history(query).await.len(), 0);
    drop(scene.server);
}

#[tokio::test]
async fn no_session_frame_reaches_into_what_is_not_its_users() {
    let scene = Scene::new().await;
    let (alice, bob) = (scene.alice.uuid.clone(), scene.bob.uuid.clone());
    let (mut alices, mut bobs) = (device(&scene.alice).await, device(&scene.bob).await);
    let mut stranger = device(&scene.mallory).await;
    let said = alices.submit(1, &one(&bob), "between us").await;
    assert_eq!(bobs.delivery().await.from, alice);
    alices.submit(2, &group("crew"), "among us").await;
    assert_eq!(bobs.delivery().await.from, alice);

    // What it submits to a group of others, messages and whatever else has an entry in its log.
    let change = |kind: Kind, user: &str| Content {
        kind: 23,
        change: Some(GroupChange {
            kind: kind.into(),
            user: user.into(),
            name: "mine".into(),
            ..GroupChange::default()
        }),
        ..Content::default()
    };
    let contents = [
        Content { kind: 1, text: "let me in".into(), ..Content::default() },
        Content { kind: 21, target_seq: 1, text: "I said so".into(), ..Content::default() },
        Content { kind: 22, target_seq: 1, ..Content::default() },
        change(Kind::Join, ""),
        change(Kind::Leave, ""),
        change(Kind::Invite, &scene.mallory.uuid),
        change(Kind::Kick, &bob),
        change(Kind::SetRole, &scene.mallory.uuid),
        change(Kind::Mute, &bob),
        change(Kind::Rename, ""),
        change(Kind::Create, ""),
    ];
    for (number, content) in (10..).zip(contents) {
        let kind = content.clone();
        let message_id = vec![number; 16].into();
        stranger
            .say(Said::Submit(Submit {
                message_id,
                conversation: Some(group("crew")),
                content: Some(content),
            }))
            .await;
        let Body::Rejected(rejected) = stranger.hear().await else { panic!("{kind:?} is not refused") };
        let codes = [
            RejectCode::NoSuchConversation,
            RejectCode::Forbidden,
            RejectCode::Conflict,
            RejectCode::Invalid,
        ];
        assert!(codes.contains(&rejected.code()), "{kind:?}: {rejected:?}");
    }
    // Of its own conversation with Alice, in which it has said nothing, it can take nothing back.
    let recall = Content { kind: 22, target_seq: said.seq, ..Content::default() };
    let submit =
        Submit { message_id: vec![40; 16].into(), conversation: Some(one(&alice)), content: Some(recall) };
    stranger.say(Said::Submit(submit)).await;
    assert!(matches!(stranger.hear().await, Body::Rejected(_)));

    // What it asks for: logs, heads, who is here, a call.
    stranger
        .say(Said::Fetch(Fetch {
            fetch_id: 1,
            conversation: Some(group("crew")),
            from_seq: 1,
            ..Fetch::default()
        }))
        .await;
    assert!(matches!(stranger.hear().await, Body::Unfetched(_)), "a group's log is its members'");
    stranger
        .say(Said::Fetch(Fetch {
            fetch_id: 2,
            conversation: Some(one(&bob)),
            from_seq: 1,
            ..Fetch::default()
        }))
        .await;
    let Body::Page(page) = stranger.hear().await else { panic!("a page is next") };
    assert_eq!((page.messages.len(), page.head_seq), (0, 0), "its own conversation with Bob, not Alice's");
    let cursors = [group("crew"), one(&bob)].map(|of| Cursor { conversation: Some(of), ..Cursor::default() });
    stranger.say(Said::Resync(Resync { cursors: cursors.into() })).await;
    let Body::Heads(Heads { heads, last: true }) = stranger.hear().await else { panic!("heads are next") };
    assert_eq!(heads, []);
    stranger.say(Said::Watch(Watch { users: vec![alice.clone()] })).await;
    let Body::Presence(presence) = stranger.hear().await else { panic!("presence is next") };
    assert!(!presence.online && presence.last_seen_ms == 0, "a stranger learns nothing");
    let ring = Call {
        call_id: vec![9; 16].into(),
        user: alice.clone(),
        kind: call::Kind::Ring.into(),
        ..Call::default()
    };
    stranger.say(Said::Call(ring)).await;
    assert!(
        matches!(stranger.hear().await, Body::Call(call) if call.end != 0),
        "a stranger's ring is over at once"
    );

    // What is not answered: marks and signs of typing of others.
    for of in [group("crew"), one(&bob)] {
        let marks = Some(Marks { delivered_seq: 1, read_seq: 1 });
        stranger.say(Said::Mark(Mark { conversation: Some(of), epoch: said.epoch, marks })).await;
    }
    stranger
        .say(Said::Typing(Typing { conversation: Some(group("crew")), typing: true, user: alice.clone() }))
        .await;
    stranger.has_nothing_more().await;
    alices.has_nothing_more().await;
    bobs.has_nothing_more().await;
    // A sign of typing to a user names who types, whatever it says.
    stranger.say(Said::Typing(Typing { conversation: Some(one(&bob)), typing: true, user: alice })).await;
    let Body::Typing(typing) = bobs.hear().await else { panic!("a sign of typing is next") };
    assert_eq!(typing.user, scene.mallory.uuid);
    drop(scene.server);
}

/// A socket is its user's whatever its frames say: the handshake alone decides.
#[tokio::test]
async fn nobody_opens_a_socket_as_somebody_else() {
    let scene = Scene::new().await;
    for (browser, user) in [(&scene.mallory, &scene.alice), (&scene.alice, &scene.bob)] {
        assert_eq!(browser.socket_status(&user.uuid, &[]).await, 401);
        assert_eq!(browser.socket_status(&user.uuid, &[("sec-websocket-protocol", SUBPROTOCOL)]).await, 401);
    }
    let mut own: Client = scene.mallory.socket().await;
    own.has_nothing_more().await;
}
