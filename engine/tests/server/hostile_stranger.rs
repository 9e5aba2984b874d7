//! Whatever a stranger says, right or wrong, in whatever order, those with whom it shares nothing hear nothing of it, and go
//! on as before; and the stranger learns nothing of them.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::select};
use switchboard_engine::{ConnId, Topic};
use switchboard_proto::v1::{
    self, Call, Content, Conversation, Cursor, Fetch, Heartbeat, Hello, Mark, Marks, Resync, Submit, Typing,
    Watch, call::Kind, client_frame::Body, conversation::Peer, server_frame,
};

use crate::{
    harness::{World, secs},
    session_words::{call, encode, hello_of, mark, signal, typing, watch},
    store::{EPOCH, group, user},
};

#[derive(Clone, Debug)]
enum Step {
    Dials,
    Says(Body),
    /// A frame of which so much is missing.
    Cut(Body, usize),
    Bytes(Vec<u8>),
    Leaves,
}

/// A user or group of the others', of the stranger's own, or of nobody's.
fn names() -> impl Strategy<Value = String> {
    let long = "x".repeat(129);
    let names = ["alice", "bob", "mallory", "zoe", "crew", "nowhere", "", "System", "a\nb", &long];
    select(names.map(String::from).to_vec())
}

/// The same without the others.
fn own_names() -> impl Strategy<Value = String> {
    names().prop_filter("it is somebody else's", |name| !matches!(name.as_str(), "alice" | "bob" | "crew"))
}

fn conversations() -> impl Strategy<Value = Option<Conversation>> {
    prop_oneof![
        4 => names().prop_map(|id| Some(Conversation { peer: Some(Peer::User(id)) })),
        4 => names().prop_map(|id| Some(Conversation { peer: Some(Peer::Group(id)) })),
        1 => Just(None),
        1 => Just(Some(Conversation { peer: None })),
    ]
}

/// Conversations where nobody but the stranger is spoken to: writing to a user anybody may.
fn own_conversations() -> impl Strategy<Value = Option<Conversation>> {
    conversations().prop_filter("it is somebody else's", is_own)
}

fn is_own(of: &Option<Conversation>) -> bool {
    match of.as_ref().and_then(|of| of.peer.as_ref()) {
        Some(Peer::User(id)) => !matches!(id.as_str(), "alice" | "bob"),
        Some(Peer::Group(id)) => id != "crew",
        None => true,
    }
}

fn ids() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => (0..4_u8).prop_map(|id| Bytes::from(vec![id; 16])),
        1 => (0..40_usize).prop_map(|len| Bytes::from(vec![1; len])),
    ]
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..4_u64, 1 => any::<u64>(), 1 => Just(EPOCH)]
}

fn marks() -> impl Strategy<Value = Option<Marks>> {
    let marks = (numbers(), numbers());
    prop::option::of(marks.prop_map(|(delivered_seq, read_seq)| Marks { delivered_seq, read_seq }))
}

fn cursors() -> impl Strategy<Value = Vec<Cursor>> {
    let cursor = (conversations(), numbers(), numbers(), marks(), marks())
        .prop_map(|(conversation, epoch, seq, own, peer)| Cursor { conversation, epoch, seq, own, peer });
    vec(cursor, 0..4)
}

fn contents() -> impl Strategy<Value = Content> {
    let kind = prop_oneof![4 => 0..6_u32, 4 => 20..25_u32, 1 => any::<u32>()];
    // Whom an entry concerns is told of it; whether it may be made, no store of these tests says.
    let change = (0..10_i32, own_names(), 0..5_i32, names(), any::<i64>(), any::<bool>());
    let change = change.prop_map(|(kind, user, role, name, until_ms, invite_only)| v1::GroupChange {
        kind,
        user,
        role,
        name,
        until_ms,
        invite_only,
    });
    (kind, names(), names(), numbers(), prop::option::of(change), any::<bool>()).prop_map(
        |(kind, text, file, target_seq, change, recalled)| Content {
            kind,
            text,
            file,
            target_seq,
            change,
            recalled,
            ..Content::default()
        },
    )
}

fn calls() -> impl Strategy<Value = Call> {
    (ids(), names(), -1..7_i32, any::<bool>(), 0..99_usize, -1..10_i32).prop_map(
        |(call_id, user, kind, flag, payload, end)| Call {
            call_id,
            user,
            kind,
            video: flag,
            payload: vec![b'x'; payload].into(),
            end,
            outgoing: flag,
        },
    )
}

fn frames() -> impl Strategy<Value = Body> {
    let hello = (ids(), cursors()).prop_map(|(device_id, cursors)| Body::Hello(Hello { device_id, cursors }));
    let submit = (ids(), own_conversations(), prop::option::of(contents()));
    let fetch = (numbers(), conversations(), numbers(), any::<bool>(), any::<u32>());
    let typing = (own_conversations(), any::<bool>(), names());
    prop_oneof![
        1 => hello,
        4 => submit.prop_map(|(message_id, conversation, content)| {
            Body::Submit(Submit { message_id, conversation, content })
        }),
        4 => fetch.prop_map(|(fetch_id, conversation, from_seq, backwards, limit)| {
            Body::Fetch(Fetch { fetch_id, conversation, from_seq, backwards, limit })
        }),
        1 => any::<u64>().prop_map(|nonce| Body::Heartbeat(Heartbeat { nonce })),
        2 => cursors().prop_map(|cursors| Body::Resync(Resync { cursors })),
        4 => (conversations(), numbers(), marks()).prop_map(|(conversation, epoch, marks)| {
            Body::Mark(Mark { conversation, epoch, marks })
        }),
        4 => typing.prop_map(|(conversation, typing, user)| Body::Typing(Typing { conversation, typing, user })),
        2 => vec(names(), 0..9).prop_map(|users| Body::Watch(Watch { users })),
        8 => calls().prop_map(Body::Call),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => Just(Step::Dials),
        40 => frames().prop_map(Step::Says),
        1 => (frames(), 1..9_usize).prop_map(|(frame, cut)| Step::Cut(frame, cut)),
        1 => vec(any::<u8>(), 0..20).prop_map(Step::Bytes),
        1 => Just(Step::Leaves),
    ];
    vec(step, 1..60)
}

struct Scene {
    world: World,
    alice: ConnId,
    bob: ConnId,
    browser: ConnId,
    /// The stranger's newest connection.
    mallory: Option<ConnId>,
}

impl Scene {
    /// Alice and Bob talk, have written to each other and in the crew, and watch each other.
    fn new(peers: bool) -> Self {
        let mut world = World::with(|config| {
            (config.presence, config.peers) = (true, peers);
            config.limits.calls = 8;
        });
        world.found("crew", &["alice", "bob"]);
        let (alice, bob, browser) = (world.dials("alice"), world.dials("bob"), world.arrives("bob"));
        world.frame(alice, hello_of(1));
        world.frame(bob, hello_of(2));
        (1..=2).for_each(|id| world.submits(bob, id, "alice", "secret"));
        world.submits(bob, 3, "#crew", "secret");
        world.frame(alice, mark("bob", 1, 1));
        world.frame(alice, watch(&["bob"]));
        world.frame(bob, watch(&["alice"]));
        world.frame(alice, call(Kind::Ring, 1, "bob"));
        world.frame(bob, call(Kind::Accept, 1, "alice"));
        [alice, bob, browser].iter().for_each(|conn| drop(world.frames(*conn)));
        world.told.clear();
        world.published.clear();
        Self { world, alice, bob, browser, mallory: None }
    }

    fn does(&mut self, step: &Step) {
        let bytes = match step {
            Step::Dials => {
                let conn = self.world.dials("mallory");
                self.world.frame(conn, hello_of(3));
                self.mallory = Some(conn);
                None
            }
            Step::Leaves => {
                self.mallory.take().into_iter().for_each(|conn| self.world.leaves(conn));
                None
            }
            Step::Says(frame) => Some(encode(frame.clone())),
            Step::Cut(frame, cut) => {
                let bytes = encode(frame.clone());
                Some(bytes.slice(..bytes.len().saturating_sub(*cut)))
            }
            Step::Bytes(bytes) => Some(bytes.clone().into()),
        };
        if let (Some(bytes), Some(conn)) = (bytes, self.mallory) {
            self.world.sends(conn, bytes);
        }
        let told: Vec<_> = self.mallory.iter().flat_map(|conn| self.world.told(*conn)).collect();
        told.iter().for_each(learns_nothing);
        self.mallory = self.mallory.filter(|conn| self.world.closed(*conn).is_none());
        for conn in [self.alice, self.bob, self.browser] {
            assert_eq!(self.world.frames(conn), [], "{conn} hears of {step:?}");
        }
        let theirs = [
            Topic::User(user("alice")),
            Topic::User(user("bob")),
            Topic::Group(group("crew")),
            Topic::Everyone,
        ];
        let published = self.world.published.iter().map(|record| &record.topic);
        let mut topics = self.world.told.iter().map(|note| &note.topic).chain(published);
        assert!(topics.all(|topic| !theirs.contains(topic)), "other servers hear of {step:?}");
    }
}

/// What a stranger may be told has nothing in it of what others have said or done.
fn learns_nothing(told: &server_frame::Body) {
    use server_frame::Body as Says;
    let is_fine = match told {
        Says::Welcome(welcome) => welcome.user == "mallory",
        Says::Accepted(accepted) => is_own(&accepted.conversation),
        Says::Delivery(delivery) => is_own(&delivery.conversation) && delivery.from == "mallory",
        Says::Page(page) => is_own(&page.conversation) || page.head_seq == 0 && page.messages.is_empty(),
        Says::Heads(heads) => heads.heads.iter().all(|head| is_own(&head.conversation)),
        Says::Marked(marked) => marked.user == "mallory",
        Says::Typing(typing) => typing.user == "mallory",
        Says::Presence(presence) => {
            presence.user == "mallory" || !presence.online && presence.last_seen_ms == 0
        }
        // Nobody answers.
        Says::Call(call) => call.kind() == Kind::HangUp && call.end != 0 && call.payload.is_empty(),
        // Nobody who runs the server says anything here.
        Says::Notice(_) => false,
        Says::Rejected(_) | Says::Unfetched(_) | Says::Heartbeat(_) | Says::Goodbye(_) => true,
    };
    assert!(is_fine, "a stranger is told {told:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_stranger_says_others_hear_nothing_and_go_on(peers in any::<bool>(), steps in steps()) {
        let mut scene = Scene::new(peers);
        scene.does(&Step::Dials);
        steps.iter().for_each(|step| scene.does(step));
        let Scene { mut world, alice, bob, mallory, .. } = scene;
        mallory.into_iter().for_each(|conn| world.leaves(conn));
        world.frame(alice, signal(1, "offer"));
        world.frame(bob, signal(1, "answer"));
        world.frame(alice, mark("bob", 2, 2));
        world.frame(alice, typing("#crew", true));
        prop_assert_eq!(world.sees(alice), ["call 1 with bob: signal answer"]);
        let expected =
            ["call 1 with alice: signal offer", "alice: alice has 2, read 2", "#crew: alice types"];
        prop_assert_eq!(world.sees(bob), expected);
        world.leaves(alice);
        world.passes(secs(15));
        let gone = ["alice is here: false, last at 9000", "call 1 with alice: over: peer gone"];
        prop_assert_eq!(world.sees(bob), gone);
    }
}
