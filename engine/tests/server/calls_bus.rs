//! Calls between sessions of several engines.

use switchboard_engine::{ConnId, Event, Note};
use switchboard_proto::v1::call::Kind;

use crate::{
    harness::{World, secs},
    session_words::{call, hello_of, signal},
};

const NOTHING: [&str; 0] = [];

/// Engines, and a bus between them that carries notes when it is told to.
struct Cluster {
    engines: Vec<World>,
    /// How often each note arrives.
    copies: usize,
}

impl Cluster {
    fn of(engines: usize) -> Self {
        let engine = |place: usize| {
            let mut world = World::with(|config| config.peers = true);
            world.found("crew", &["alice", "bob", "carol"]);
            // All have the same seed, and are not to draw the same numbers.
            for _ in 0..place {
                let conn = world.signs_in("zoe");
                world.leaves(conn);
            }
            world
        };
        Self { engines: (0..engines).map(engine).collect(), copies: 1 }
    }

    fn device(&mut self, engine: usize, name: &str) -> ConnId {
        let conn = self.engines[engine].dials(name);
        self.engines[engine].frame(conn, hello_of(engine as u8 + 1));
        self.engines[engine].told(conn);
        conn
    }

    /// What the engines have told each other since the last time arrives, and what follows from it.
    fn carry(&mut self) {
        loop {
            let notes: Vec<(usize, Note)> = self
                .engines
                .iter_mut()
                .enumerate()
                .flat_map(|(from, engine)| {
                    engine.told.drain(..).map(move |note| (from, note)).collect::<Vec<_>>()
                })
                .collect();
            if notes.is_empty() {
                return;
            }
            for (from, note) in notes {
                self.arrives(from, &note);
            }
        }
    }

    fn arrives(&mut self, from: usize, note: &Note) {
        let topic = format!("{:?}", note.topic);
        for (to, engine) in self.engines.iter_mut().enumerate() {
            if to != from && engine.subscriptions().contains(&topic) {
                (0..self.copies).for_each(|_| engine.happens(Event::Told(note.clone())));
            }
        }
    }

    fn says(&mut self, (engine, conn): (usize, ConnId), kind: Kind, id: u8, user: &str) {
        self.engines[engine].frame(conn, call(kind, id, user));
    }

    fn sees(&mut self, (engine, conn): (usize, ConnId)) -> Vec<String> {
        self.engines[engine].sees(conn)
    }

    fn passes(&mut self, secs_passed: u64) {
        for _ in 0..secs_passed {
            self.engines.iter_mut().for_each(|engine| engine.passes(secs(1)));
            self.carry();
        }
    }

    fn calls(&self) -> Vec<u64> {
        self.engines.iter().map(|engine| engine.server().gauges().calls).collect()
    }
}

/// Alice at the first engine, and Bob with a device at each of two others.
fn three() -> (Cluster, [(usize, ConnId); 3]) {
    let mut cluster = Cluster::of(3);
    let (alice, phone, laptop) =
        (cluster.device(0, "alice"), cluster.device(1, "bob"), cluster.device(2, "bob"));
    (cluster, [(0, alice), (1, phone), (2, laptop)])
}

/// Alice and Bob, who has taken it with his phone.
fn talking() -> (Cluster, [(usize, ConnId); 3]) {
    let (mut cluster, all) = three();
    let [alice, phone, laptop] = all;
    cluster.says(alice, Kind::Ring, 1, "bob");
    cluster.carry();
    cluster.says(phone, Kind::Accept, 1, "alice");
    cluster.carry();
    assert_eq!(cluster.sees(alice), ["call 1 with bob: accept"]);
    assert_eq!(cluster.sees(phone), ["call 1 with alice: ring", "call 1 with alice: accept"]);
    assert_eq!(cluster.sees(laptop), ["call 1 with alice: ring", "call 1 with alice: over: elsewhere"]);
    (cluster, all)
}

#[test]
fn a_call_rings_everywhere_is_taken_once_and_lasts() {
    let (mut cluster, [alice, phone, _]) = talking();
    cluster.passes(120);
    cluster.engines[0].frame(alice.1, signal(1, "offer"));
    cluster.engines[1].frame(phone.1, signal(1, "answer"));
    cluster.carry();
    assert_eq!(cluster.sees(alice).last().unwrap(), "call 1 with bob: signal answer");
    assert_eq!(cluster.sees(phone).last().unwrap(), "call 1 with alice: signal offer");
    cluster.says(phone, Kind::HangUp, 1, "alice");
    cluster.carry();
    assert_eq!(cluster.sees(alice), ["call 1 with bob: over: hung up"]);
    assert_eq!(
        (cluster.sees(phone), cluster.calls()),
        (vec!["call 1 with alice: over: hung up".into()], vec![0; 3])
    );
}

#[test]
fn of_two_devices_that_take_it_at_the_same_time_one_has_it() {
    let (mut cluster, [alice, phone, laptop]) = three();
    cluster.says(alice, Kind::Ring, 1, "bob");
    cluster.carry();
    cluster.says(phone, Kind::Accept, 1, "alice");
    cluster.says(laptop, Kind::Accept, 1, "alice");
    cluster.engines[1].frame(phone.1, signal(1, "too early: nobody has confirmed it"));
    cluster.carry();
    assert_eq!(cluster.sees(alice), ["call 1 with bob: accept"]);
    let phone_saw = cluster.sees(phone);
    assert_eq!(phone_saw[2..], ["call 1 with alice: accept"]);
    assert_eq!(cluster.sees(laptop), ["call 1 with alice: ring", "call 1 with alice: over: elsewhere"]);
    assert_eq!(cluster.calls(), [1, 1, 0]);
    cluster.engines[0].frame(alice.1, signal(1, "hello"));
    cluster.carry();
    assert_eq!(
        (cluster.sees(phone), cluster.sees(laptop)),
        (vec!["call 1 with alice: signal hello".into()], vec![])
    );
}

#[test]
fn who_has_no_session_anywhere_is_not_reached() {
    let mut cluster = Cluster::of(2);
    let alice = (0, cluster.device(0, "alice"));
    let browser = cluster.engines[1].arrives("bob");
    cluster.says(alice, Kind::Ring, 1, "bob");
    cluster.carry();
    cluster.passes(1);
    assert_eq!(cluster.sees(alice), NOTHING);
    cluster.passes(1);
    assert_eq!(cluster.sees(alice), ["call 1 with bob: over: unreachable"]);
    assert_eq!(cluster.engines[1].frames(browser).len(), 0);
}

#[test]
fn a_call_that_rings_elsewhere_ends_for_both_at_the_same_time() {
    let (mut cluster, [alice, phone, laptop]) = three();
    cluster.says(alice, Kind::Ring, 1, "bob");
    cluster.carry();
    cluster.passes(59);
    assert_eq!(cluster.sees(alice), NOTHING);
    cluster.passes(1);
    assert_eq!(cluster.sees(alice), ["call 1 with bob: over: timed out"]);
    for device in [phone, laptop] {
        assert_eq!(cluster.sees(device), ["call 1 with alice: ring", "call 1 with alice: over: timed out"]);
    }
}

#[test]
fn what_is_declined_at_one_engine_rings_at_no_other() {
    let (mut cluster, [alice, phone, laptop]) = three();
    cluster.says(alice, Kind::Ring, 1, "bob");
    cluster.carry();
    cluster.says(laptop, Kind::Decline, 1, "alice");
    cluster.carry();
    assert_eq!(cluster.sees(alice), ["call 1 with bob: over: declined"]);
    assert_eq!(cluster.sees(phone)[1..], ["call 1 with alice: over: elsewhere"]);
    assert_eq!(cluster.sees(laptop)[1..], ["call 1 with alice: over: declined"]);
}

#[test]
fn of_two_who_ring_each_other_from_different_engines_one_call_lives() {
    let mut cluster = Cluster::of(2);
    let (alice, bob) = ((0, cluster.device(0, "alice")), (1, cluster.device(1, "bob")));
    cluster.says(alice, Kind::Ring, 2, "bob");
    cluster.says(bob, Kind::Ring, 1, "alice");
    cluster.carry();
    assert_eq!(cluster.sees(alice), ["call 2 with bob: over: busy", "call 1 with bob: ring"]);
    assert_eq!(cluster.sees(bob), NOTHING);
    cluster.says(alice, Kind::Accept, 1, "bob");
    cluster.carry();
    assert_eq!(cluster.sees(bob), ["call 1 with alice: accept"]);
    assert_eq!(cluster.calls(), [1, 1]);
}

#[test]
fn who_is_in_a_call_at_another_engine_is_busy() {
    let (mut cluster, _) = talking();
    let carol = (0, cluster.device(0, "carol"));
    cluster.says(carol, Kind::Ring, 5, "bob");
    cluster.carry();
    assert_eq!(cluster.sees(carol), ["call 5 with bob: over: busy"]);
    assert_eq!(cluster.calls(), [1, 1, 0]);
}

#[test]
fn an_engine_that_waits_for_a_device_hears_the_other_side_meanwhile() {
    let (mut cluster, [alice, phone, _]) = talking();
    cluster.passes(4);
    cluster.engines[1].leaves(phone.1);
    cluster.passes(14);
    assert_eq!(cluster.sees(alice), NOTHING);
    let phone = (1, cluster.device(1, "bob"));
    cluster.says(phone, Kind::HangUp, 1, "alice");
    cluster.carry();
    assert_eq!(cluster.sees(alice), ["call 1 with bob: over: hung up"]);
    cluster.engines[1].leaves(phone.1);
    assert!(!cluster.engines[1].subscriptions().contains(&r#"User("bob")"#.to_owned()));
}

#[test]
fn an_engine_that_dies_ends_its_calls_at_the_others() {
    let (mut cluster, [alice, phone, _]) = talking();
    // The first engine hears and says nothing any more.
    for _ in 0..15 {
        cluster.engines.iter_mut().for_each(|engine| engine.passes(secs(1)));
        cluster.engines.iter_mut().for_each(|engine| engine.told.clear());
    }
    assert_eq!(cluster.sees(alice), ["call 1 with bob: over: peer gone"]);
    assert_eq!(cluster.sees(phone), ["call 1 with alice: over: peer gone"]);
    assert_eq!(cluster.calls(), [0; 3]);
}

#[test]
fn an_engine_that_dies_while_it_rings_ends_that_too() {
    let (mut cluster, [alice, phone, _]) = three();
    cluster.says(alice, Kind::Ring, 1, "bob");
    cluster.carry();
    cluster.engines[0].told.clear();
    for _ in 0..15 {
        cluster.engines[1].passes(secs(1));
    }
    assert_eq!(cluster.sees(phone), ["call 1 with alice: ring", "call 1 with alice: over: peer gone"]);
}

#[test]
fn notes_that_come_twice_or_late_change_nothing() {
    let (mut cluster, [alice, phone, laptop]) = three();
    cluster.copies = 3;
    cluster.says(alice, Kind::Ring, 1, "bob");
    let ring = cluster.engines[0].told[0].clone();
    cluster.carry();
    cluster.says(phone, Kind::Accept, 1, "alice");
    let accept = cluster.engines[1].told[0].clone();
    cluster.carry();
    assert_eq!(cluster.sees(alice), ["call 1 with bob: accept"]);
    assert_eq!(cluster.sees(phone), ["call 1 with alice: ring", "call 1 with alice: accept"]);
    assert_eq!(cluster.sees(laptop), ["call 1 with alice: ring", "call 1 with alice: over: elsewhere"]);
    cluster.arrives(0, &ring);
    cluster.carry();
    assert_eq!((cluster.sees(phone), cluster.sees(laptop)), (vec![], vec![]), "it does not ring again");
    cluster.says(alice, Kind::HangUp, 1, "bob");
    cluster.carry();
    cluster.arrives(0, &ring);
    cluster.arrives(1, &accept);
    cluster.carry();
    assert_eq!(cluster.sees(alice), ["call 1 with bob: over: hung up"]);
    assert_eq!(cluster.sees(phone), ["call 1 with alice: over: hung up"]);
    assert_eq!((cluster.sees(laptop), cluster.calls()), (vec![], vec![0; 3]));
}

#[test]
fn a_confirmation_that_is_lost_is_repeated() {
    let (mut cluster, [alice, phone, _]) = three();
    cluster.says(alice, Kind::Ring, 1, "bob");
    cluster.carry();
    cluster.says(phone, Kind::Accept, 1, "alice");
    cluster.engines[1].told.clear();
    cluster.passes(6);
    assert_eq!(cluster.sees(alice), ["call 1 with bob: accept"]);
    assert_eq!(cluster.sees(phone), ["call 1 with alice: ring", "call 1 with alice: accept"]);
}
