//! Calls of sessions, between users who are on different shards.

use switchboard::config::Config;
use switchboard_proto::v1::{
    Call,
    call::{End, Kind},
    client_frame as said,
    server_frame::Body,
};

use crate::{
    device::{Device, hello_of},
    harness::{TestServer, create_group},
    raw::health_becomes,
    shards::{People, people},
};

/// A server with two shards where all but Dave are in a group. Alice and Carol are on one shard, Bob and Dave on the other.
async fn crew(adjust: impl FnOnce(&mut Config)) -> (TestServer, &'static People) {
    let people = people().await;
    let server = TestServer::start(|config| {
        config.shards = 2;
        adjust(config);
    });
    create_group(&server.data(), "crew", &[&people.alice, &people.bob, &people.carol]);
    (server, people)
}

/// Something of the call whose id is this number.
fn call(kind: Kind, number: u8, user: &str) -> Call {
    Call { call_id: vec![number; 16].into(), user: user.to_owned(), kind: kind.into(), ..Call::default() }
}

fn over(end: End, number: u8, user: &str) -> Call {
    Call { end: end.into(), ..call(Kind::HangUp, number, user) }
}

fn signal(number: u8, user: &str, payload: &str) -> Call {
    Call { payload: payload.as_bytes().to_vec().into(), ..call(Kind::Signal, number, user) }
}

impl Device {
    async fn calls(&mut self, call: Call) {
        self.say(said::Body::Call(call)).await;
    }

    /// What it is told of a call, which comes next.
    async fn call(&mut self) -> Call {
        let said = self.hear().await;
        let Body::Call(call) = said else { panic!("{} expected a call and got {said:?}", self.user) };
        call
    }

    /// It says who it is, and is told of the call 1 with this user before its heads.
    async fn has_its_call_again(&mut self, number: u8, with: &str) {
        self.say(hello_of(number)).await;
        assert!(matches!(self.hear().await, Body::Welcome(_)));
        self.is_told(call(Kind::Accept, 1, with)).await;
        self.heads().await;
    }

    /// Exactly this comes next.
    async fn is_told(&mut self, expected: Call) {
        assert_eq!(self.call().await, expected, "{}", self.user);
    }
}

/// They are in the call of this number, which the first one has begun.
async fn talk(number: u8, caller: &mut Device, callee: &mut Device) {
    let (from, to) = (caller.user.clone(), callee.user.clone());
    caller.calls(call(Kind::Ring, number, &to)).await;
    callee.is_told(call(Kind::Ring, number, &from)).await;
    callee.calls(call(Kind::Accept, number, &from)).await;
    callee.is_told(call(Kind::Accept, number, &from)).await;
    caller.is_told(call(Kind::Accept, number, &to)).await;
}

/// Each hears what the other one signals, in order.
async fn signals_pass(number: u8, one: &mut Device, other: &mut Device) {
    let (first, second) = (one.user.clone(), other.user.clone());
    for word in ["offer", "candidate 1", "candidate 2"] {
        one.calls(signal(number, &second, word)).await;
        other.calls(signal(number, &first, word)).await;
    }
    for word in ["offer", "candidate 1", "candidate 2"] {
        one.is_told(signal(number, &second, word)).await;
        other.is_told(signal(number, &first, word)).await;
    }
}

#[tokio::test]
async fn a_call_rings_at_all_devices_is_taken_by_one_carries_signals_and_ends_for_both() {
    let (server, People { alice, bob, .. }) = crew(|_| {}).await;
    let mut hers = Device::sign_in_as(server.address, alice, 1).await;
    let mut other = Device::sign_in_as(server.address, alice, 2).await;
    let mut phone = Device::sign_in_as(server.address, bob, 3).await;
    let mut laptop = Device::sign_in_as(server.address, bob, 4).await;
    let mut browser = server.client(bob).await;
    let ring = Call { video: true, ..call(Kind::Ring, 1, bob) };
    hers.calls(ring.clone()).await;
    let mut late = Device::dial(server.address, bob).await;
    for device in [&mut phone, &mut laptop] {
        device.is_told(Call { user: alice.clone(), ..ring.clone() }).await;
    }
    // Who comes while it rings is rung before it is told its heads.
    late.say(hello_of(5)).await;
    assert!(matches!(late.hear().await, Body::Welcome(_)));
    late.is_told(Call { user: alice.clone(), ..ring }).await;
    late.heads().await;
    let with_pictures = |call: Call| Call { video: true, ..call };
    laptop.calls(call(Kind::Accept, 1, alice)).await;
    laptop.is_told(with_pictures(call(Kind::Accept, 1, alice))).await;
    hers.is_told(with_pictures(call(Kind::Accept, 1, bob))).await;
    for device in [&mut phone, &mut late] {
        device.is_told(with_pictures(over(End::Elsewhere, 1, alice))).await;
    }
    for word in ["offer", "candidate"] {
        hers.calls(signal(1, bob, word)).await;
        laptop.is_told(with_pictures(signal(1, alice, word))).await;
        laptop.calls(signal(1, alice, word)).await;
        hers.is_told(with_pictures(signal(1, bob, word))).await;
    }
    laptop.calls(call(Kind::HangUp, 1, alice)).await;
    laptop.is_told(with_pictures(over(End::HungUp, 1, alice))).await;
    hers.is_told(with_pictures(over(End::HungUp, 1, bob))).await;
    for device in [&mut hers, &mut other, &mut phone, &mut laptop, &mut late] {
        device.has_nothing_more().await;
    }
    browser.has_nothing_more().await;
}

#[tokio::test]
async fn of_two_devices_that_take_a_call_at_the_same_time_one_has_it() {
    let (server, People { alice, bob, .. }) = crew(|_| {}).await;
    let mut hers = Device::sign_in_as(server.address, alice, 1).await;
    let mut phone = Device::sign_in_as(server.address, bob, 2).await;
    let mut laptop = Device::sign_in_as(server.address, bob, 3).await;
    for number in 1..=5 {
        hers.calls(call(Kind::Ring, number, bob)).await;
        for device in [&mut phone, &mut laptop] {
            device.is_told(call(Kind::Ring, number, alice)).await;
        }
        let accept = call(Kind::Accept, number, alice);
        tokio::join!(phone.calls(accept.clone()), laptop.calls(accept.clone()));
        hers.is_told(call(Kind::Accept, number, bob)).await;
        let (of_phone, of_laptop) = (phone.call().await, laptop.call().await);
        let (mut winner, mut loser) = (&mut phone, &mut laptop);
        if of_laptop == accept {
            (winner, loser) = (loser, winner);
        }
        let both = [of_phone, of_laptop];
        assert!(both.contains(&accept) && both.contains(&over(End::Elsewhere, number, alice)), "{both:?}");
        // What it has said came too late.
        loser.is_told(over(End::NoSuchCall, number, alice)).await;
        signals_pass(number, &mut hers, winner).await;
        hers.calls(call(Kind::HangUp, number, bob)).await;
        hers.is_told(over(End::HungUp, number, bob)).await;
        winner.is_told(over(End::HungUp, number, alice)).await;
        loser.has_nothing_more().await;
    }
}

#[tokio::test]
async fn what_one_device_declines_rings_at_no_other() {
    let (server, People { alice, bob, .. }) = crew(|_| {}).await;
    let mut hers = Device::sign_in_as(server.address, alice, 1).await;
    let mut phone = Device::sign_in_as(server.address, bob, 2).await;
    let mut laptop = Device::sign_in_as(server.address, bob, 3).await;
    for (number, kind) in [(1, Kind::Decline), (2, Kind::HangUp)] {
        hers.calls(call(Kind::Ring, number, bob)).await;
        for device in [&mut phone, &mut laptop] {
            device.is_told(call(Kind::Ring, number, alice)).await;
        }
        phone.calls(call(kind, number, alice)).await;
        phone.is_told(over(End::Declined, number, alice)).await;
        laptop.is_told(over(End::Elsewhere, number, alice)).await;
        hers.is_told(over(End::Declined, number, bob)).await;
    }
    // The caller thinks better of it.
    hers.calls(call(Kind::Ring, 3, bob)).await;
    phone.is_told(call(Kind::Ring, 3, alice)).await;
    laptop.is_told(call(Kind::Ring, 3, alice)).await;
    hers.calls(call(Kind::HangUp, 3, bob)).await;
    hers.is_told(over(End::HungUp, 3, bob)).await;
    for device in [&mut phone, &mut laptop] {
        device.is_told(over(End::HungUp, 3, alice)).await;
        device.has_nothing_more().await;
    }
    hers.has_nothing_more().await;
}

#[tokio::test]
async fn who_is_in_a_call_or_is_rung_is_busy_and_hears_nothing_of_it() {
    let (server, People { alice, bob, carol, .. }) = crew(|_| {}).await;
    let mut hers = Device::sign_in_as(server.address, alice, 1).await;
    let mut his = Device::sign_in_as(server.address, bob, 2).await;
    let mut third = Device::sign_in_as(server.address, carol, 3).await;
    hers.calls(call(Kind::Ring, 1, bob)).await;
    his.is_told(call(Kind::Ring, 1, alice)).await;
    // One is on her shard, the other one on another.
    for (number, user) in [(2, alice), (3, bob)] {
        third.calls(call(Kind::Ring, number, user)).await;
        third.is_told(over(End::Busy, number, user)).await;
    }
    his.calls(call(Kind::Accept, 1, alice)).await;
    his.is_told(call(Kind::Accept, 1, alice)).await;
    hers.is_told(call(Kind::Accept, 1, bob)).await;
    for (number, user) in [(4, alice), (5, bob)] {
        third.calls(call(Kind::Ring, number, user)).await;
        third.is_told(over(End::Busy, number, user)).await;
    }
    his.calls(call(Kind::Ring, 6, carol)).await;
    his.is_told(over(End::Busy, 6, carol)).await;
    signals_pass(1, &mut hers, &mut his).await;
    for device in [&mut hers, &mut his, &mut third] {
        device.has_nothing_more().await;
    }
}

#[tokio::test]
async fn of_two_who_ring_each_other_at_the_same_time_the_smaller_id_lives() {
    let (server, People { alice, bob, .. }) = crew(|_| {}).await;
    let mut hers = Device::sign_in_as(server.address, alice, 1).await;
    let mut his = Device::sign_in_as(server.address, bob, 2).await;
    for first in [1, 3, 5, 7, 9] {
        let second = first + 1;
        tokio::join!(hers.calls(call(Kind::Ring, first, bob)), his.calls(call(Kind::Ring, second, alice)));
        // In either order: which of the two rings first nobody knows.
        let told = [his.call().await, his.call().await];
        assert!(told.contains(&call(Kind::Ring, first, alice)), "{told:?}");
        assert!(told.contains(&over(End::Busy, second, alice)), "{told:?}");
        his.calls(call(Kind::Accept, first, alice)).await;
        his.is_told(call(Kind::Accept, first, alice)).await;
        // If his came to her shard first, she has heard it ring and end.
        let mut told = hers.call().await;
        if told == call(Kind::Ring, second, bob) {
            hers.is_told(over(End::Busy, second, bob)).await;
            told = hers.call().await;
        }
        assert_eq!(told, call(Kind::Accept, first, bob));
        hers.calls(call(Kind::HangUp, first, bob)).await;
        hers.is_told(over(End::HungUp, first, bob)).await;
        his.is_told(over(End::HungUp, first, alice)).await;
    }
}

#[tokio::test]
async fn a_device_that_is_gone_ends_its_call_at_once_or_after_the_grace() {
    // A device without a name cannot come back, so nothing is waited for.
    let (server, People { alice, bob, .. }) = crew(|_| {}).await;
    let mut hers = Device::sign_in_as(server.address, alice, 1).await;
    let (mut his, ..) = Device::sign_in(server.address, bob).await;
    talk(1, &mut hers, &mut his).await;
    drop(his);
    hers.is_told(over(End::PeerGone, 1, bob)).await;
    // Nor for a nameless caller, while it rings and afterwards.
    for is_taken in [false, true] {
        let (mut his, ..) = Device::sign_in(server.address, bob).await;
        let number = 2 + u8::from(is_taken);
        his.calls(call(Kind::Ring, number, alice)).await;
        hers.is_told(call(Kind::Ring, number, bob)).await;
        if is_taken {
            hers.calls(call(Kind::Accept, number, bob)).await;
            hers.is_told(call(Kind::Accept, number, bob)).await;
        }
        drop(his);
        hers.is_told(over(End::PeerGone, number, bob)).await;
    }
    hers.has_nothing_more().await;

    let (server, _) = crew(|config| config.timeouts.call_grace_ms = 3_000).await;
    let mut hers = Device::sign_in_as(server.address, alice, 1).await;
    let mut his = Device::sign_in_as(server.address, bob, 2).await;
    talk(1, &mut hers, &mut his).await;
    drop(his);
    hers.is_told(over(End::PeerGone, 1, bob)).await;
    hers.has_nothing_more().await;
    // It is over for a device that comes back too late: the server does not speak of it any more.
    let mut his = Device::sign_in_as(server.address, bob, 2).await;
    his.calls(signal(1, alice, "anybody there?")).await;
    his.is_told(over(End::NoSuchCall, 1, alice)).await;
}

#[tokio::test]
async fn a_device_that_comes_back_in_time_has_its_call_still() {
    let (server, People { alice, bob, .. }) = crew(|config| config.timeouts.call_grace_ms = 60_000).await;
    let mut hers = Device::sign_in_as(server.address, alice, 1).await;
    let mut his = Device::sign_in_as(server.address, bob, 2).await;
    talk(1, &mut hers, &mut his).await;
    // The server has seen that his connection is gone.
    his = Device::dial(server.address, bob).await;
    health_becomes(server.address, "the old one is gone", |_, body| body["connections"] == 2).await;
    his.has_its_call_again(2, alice).await;
    signals_pass(1, &mut his, &mut hers).await;
    // It has not seen that hers is.
    let mut again = Device::dial(server.address, alice).await;
    again.has_its_call_again(1, bob).await;
    assert!(matches!(hers.hear().await, Body::Goodbye(_)));
    assert_eq!(hers.closed().await, 4000);
    hers = again;
    signals_pass(1, &mut hers, &mut his).await;
    hers.calls(call(Kind::HangUp, 1, bob)).await;
    hers.is_told(over(End::HungUp, 1, bob)).await;
    his.is_told(over(End::HungUp, 1, alice)).await;
}

#[tokio::test]
async fn nobody_takes_it_in_time() {
    let (server, People { alice, bob, .. }) = crew(|config| config.timeouts.ring_timeout_ms = 1_000).await;
    let mut hers = Device::sign_in_as(server.address, alice, 1).await;
    let mut phone = Device::sign_in_as(server.address, bob, 2).await;
    let mut laptop = Device::sign_in_as(server.address, bob, 3).await;
    hers.calls(call(Kind::Ring, 1, bob)).await;
    for device in [&mut phone, &mut laptop] {
        device.is_told(call(Kind::Ring, 1, alice)).await;
        device.is_told(over(End::TimedOut, 1, alice)).await;
    }
    hers.is_told(over(End::TimedOut, 1, bob)).await;
    phone.calls(call(Kind::Accept, 1, alice)).await;
    phone.is_told(over(End::NoSuchCall, 1, alice)).await;
    hers.has_nothing_more().await;
}

#[tokio::test]
async fn who_is_a_stranger_and_who_has_no_session_cannot_be_reached() {
    let (server, People { alice, bob, dave, .. }) =
        crew(|config| config.timeouts.peer_timeout_ms = 200).await;
    let mut hers = Device::sign_in_as(server.address, alice, 1).await;
    let mut browser = server.client(bob).await;
    for (number, user) in [(1, bob.as_str()), (2, "nobody")] {
        hers.calls(call(Kind::Ring, number, user)).await;
        hers.is_told(over(End::Unreachable, number, user)).await;
    }
    let mut his = Device::sign_in_as(server.address, bob, 2).await;
    let mut stranger = Device::sign_in_as(server.address, dave, 3).await;
    // At his shard and at another one.
    for (number, user) in [(3, bob), (4, alice)] {
        stranger.calls(call(Kind::Ring, number, user)).await;
        stranger.is_told(over(End::Unreachable, number, user)).await;
    }
    for device in [&mut hers, &mut his, &mut stranger] {
        device.has_nothing_more().await;
    }
    browser.has_nothing_more().await;
}

#[tokio::test]
async fn calls_between_the_same_shards_are_kept_apart() {
    let (server, People { alice, bob, carol, dave }) = crew(|_| {}).await;
    create_group(&server.data(), "others", &[carol, dave]);
    let mut hers = Device::sign_in_as(server.address, alice, 1).await;
    let mut his = Device::sign_in_as(server.address, bob, 2).await;
    let mut third = Device::sign_in_as(server.address, carol, 3).await;
    let mut fourth = Device::sign_in_as(server.address, dave, 4).await;
    talk(1, &mut hers, &mut his).await;
    talk(2, &mut fourth, &mut third).await;
    let (one, other) = (signals_pass(1, &mut hers, &mut his), signals_pass(2, &mut third, &mut fourth));
    tokio::join!(one, other);
    // Nobody has a say in the others' call.
    for kind in [Kind::Accept, Kind::Decline, Kind::HangUp, Kind::Signal] {
        for (device, user) in [(&mut third, bob), (&mut fourth, alice)] {
            device.calls(call(kind, 1, user)).await;
            device.is_told(over(End::NoSuchCall, 1, user)).await;
        }
    }
    signals_pass(1, &mut his, &mut hers).await;
    third.calls(call(Kind::HangUp, 2, dave)).await;
    third.is_told(over(End::HungUp, 2, dave)).await;
    fourth.is_told(over(End::HungUp, 2, carol)).await;
    signals_pass(1, &mut hers, &mut his).await;
    for device in [&mut hers, &mut his, &mut third, &mut fourth] {
        device.has_nothing_more().await;
    }
}
