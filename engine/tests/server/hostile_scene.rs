//! A chat that goes on while somebody says what is wrong: it hears nothing of it, and the server is where it would be if
//! nothing had been said.

use std::collections::BTreeMap;

use bytes::Bytes;
use switchboard_engine::ConnId;
use switchboard_proto::v1::{Heartbeat, call::Kind, client_frame::Body};

use crate::{
    harness::World,
    session_words::{call, encode, hello_of, mark, signal, typing, watch},
};

/// Alice and Bob talk, and watch each other; they and Carol are in the crew, where something was said, too. A call of Alice
/// with Carol is over. Mallory has nothing to do with anybody. There are other servers.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) alice: ConnId,
    pub(crate) laptop: ConnId,
    pub(crate) bob: ConnId,
    pub(crate) browser: ConnId,
    pub(crate) carol: ConnId,
    pub(crate) mallory: ConnId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Alice,
    Laptop,
    Bob,
    Carol,
    Mallory,
}

pub(crate) fn signs_in_as(world: &mut World, name: &str, device: u8) -> ConnId {
    let conn = world.dials(name);
    world.frame(conn, hello_of(device));
    conn
}

impl Scene {
    pub(crate) fn new() -> Self {
        let mut world = World::with(|config| (config.presence, config.peers) = (true, true));
        world.found("crew", &["alice", "bob", "carol"]);
        let (alice, laptop) = (signs_in_as(&mut world, "alice", 1), signs_in_as(&mut world, "alice", 2));
        let (bob, browser) = (signs_in_as(&mut world, "bob", 3), world.arrives("bob"));
        let (carol, mallory) = (signs_in_as(&mut world, "carol", 4), signs_in_as(&mut world, "mallory", 5));
        (1..=2).for_each(|id| world.submits(bob, id, "alice", "hi"));
        world.submits(carol, 1, "#crew", "all");
        world.frame(alice, mark("bob", 1, 1));
        world.frame(alice, watch(&["bob"]));
        world.frame(bob, watch(&["alice"]));
        world.frame(alice, call(Kind::Ring, 2, "carol"));
        world.frame(carol, call(Kind::Decline, 2, "alice"));
        world.frame(alice, call(Kind::Ring, 1, "bob"));
        world.frame(bob, call(Kind::Accept, 1, "alice"));
        let mut scene = Self { world, alice, laptop, bob, browser, carol, mallory };
        assert_eq!(scene.world.server().gauges().calls, 2, "Alice and Bob are in a call");
        scene.hush();
        scene
    }

    pub(crate) const fn conn(&self, who: Who) -> ConnId {
        match who {
            Who::Alice => self.alice,
            Who::Laptop => self.laptop,
            Who::Bob => self.bob,
            Who::Carol => self.carol,
            Who::Mallory => self.mallory,
        }
    }

    const fn conns(&self) -> [ConnId; 6] {
        [self.alice, self.laptop, self.bob, self.browser, self.carol, self.mallory]
    }

    /// Everything that was told is read.
    pub(crate) fn hush(&mut self) {
        self.conns().iter().for_each(|conn| drop(self.world.frames(*conn)));
        self.world.told.clear();
        self.world.published.clear();
    }

    /// Nobody but this connection has heard anything, here or at other servers.
    pub(crate) fn is_quiet_but_for(&mut self, speaker: ConnId, what: &str) {
        for conn in self.conns().into_iter().filter(|conn| *conn != speaker) {
            assert_eq!(self.world.frames(conn), [], "{conn} hears of {what}");
        }
        assert_eq!(self.world.told, [], "other servers hear of {what}");
        assert_eq!(self.world.published, [], "other servers hear of {what}");
    }

    /// The talk goes on, marks and typing are told, and who leaves is missed.
    pub(crate) fn goes_on(&mut self) {
        let world = &mut self.world;
        world.frame(self.alice, signal(1, "offer"));
        world.frame(self.bob, signal(1, "answer"));
        world.frame(self.alice, typing("#crew", true));
        world.frame(self.alice, mark("bob", 2, 2));
        assert_eq!(world.sees(self.alice), ["call 1 with bob: signal answer"]);
        let expected =
            ["call 1 with alice: signal offer", "#crew: alice types", "alice: alice has 2, read 2"];
        assert_eq!(world.sees(self.bob), expected);
        assert_eq!(world.sees(self.carol), ["#crew: alice types"]);
        assert_eq!(world.sees(self.laptop), ["bob: alice has 2, read 2"]);
    }
}

/// A frame of this length that changes nothing: a heartbeat, and a field that nobody knows.
fn idle_frame(len: usize) -> Bytes {
    let heartbeat = encode(Body::Heartbeat(Heartbeat::default()));
    let padded = |padding: usize| {
        let mut frame = heartbeat.to_vec();
        // Field 15, whose type has a length: a number of seven bits a byte.
        frame.push(15 << 3 | 2);
        let mut left = padding;
        while left > 0x7f {
            frame.push(left as u8 | 0x80);
            left >>= 7;
        }
        frame.push(left as u8);
        frame.resize(frame.len() + padding, 0);
        frame
    };
    let mut frames = core::iter::once(heartbeat.to_vec()).chain((0..len).map(padded));
    frames.find(|frame| frame.len() == len).expect("a frame can have this length").into()
}

/// The counters of what was not done, with what they have counted.
fn reasons(world: &World) -> BTreeMap<&'static str, u64> {
    let is_reason = |name: &str| {
        let endings = ["_refused", "_failed", "_dropped", "_unmoved", "_repeated", "_passed_over"];
        name.starts_with("refused_") || endings.iter().any(|end| name.ends_with(end)) || name == "undecodable"
    };
    world.stats().iter().filter(|(name, _)| is_reason(name)).collect()
}

/// What says this frame is answered so and counted as this, or as nothing, and leads to nothing else: the server is
/// where it would be if nothing had been said.
pub(crate) fn leads_to_nothing(who: Who, frame: Body, sees: &[&str], counter: Option<&'static str>) {
    let what = format!("{frame:?} of {who:?}");
    let (mut scene, mut idle) = (Scene::new(), Scene::new());
    let (speaker, bytes) = (scene.conn(who), encode(frame));
    let before = reasons(&scene.world);
    idle.world.sends(speaker, idle_frame(bytes.len()));
    scene.world.sends(speaker, bytes);
    assert_eq!(scene.world.sees(speaker), sees, "{what}");
    let mut after = reasons(&scene.world);
    after.retain(|name, count| before[name] != *count);
    assert_eq!(after.into_keys().collect::<Vec<_>>(), Vec::from_iter(counter), "{what}");
    scene.is_quiet_but_for(speaker, &what);
    assert_eq!(scene.world.server().state_digest(), idle.world.server().state_digest(), "{what}");
    assert_eq!(scene.world.closed(speaker), None, "{what}");
    scene.goes_on();
}
