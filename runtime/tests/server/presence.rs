//! Who is told who is here, of users who are on different shards.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use switchboard::config::Config;
use switchboard_proto::v1::{Presence, Watch, client_frame as said, server_frame::Body};

use crate::{
    device::{Device, with_user},
    harness::{TestServer, create_group},
    process::Process,
    raw::health_becomes,
    shards::{People, people},
};

/// Times so short that they are met. What the tests hear does not depend on them: nobody asks the other shard while
/// the answer matters.
fn quick(config: &mut Config) {
    config.shards = 2;
    config.timeouts.presence_grace_ms = 200;
    config.timeouts.peer_timeout_ms = 200;
}

/// A server where Alice and Bob, who are on different shards, are in a group.
async fn crew(adjust: impl FnOnce(&mut Config)) -> (TestServer, &'static People) {
    let people = people().await;
    let server = TestServer::start(adjust);
    create_group(&server.data(), "crew", &[&people.alice, &people.bob]);
    (server, people)
}

fn watch(user: &str) -> said::Body {
    said::Body::Watch(Watch { users: vec![user.to_owned()] })
}

fn is_here(user: &str) -> Presence {
    Presence { user: user.to_owned(), online: true, last_seen_ms: 0 }
}

fn was_never_here(user: &str) -> Presence {
    Presence { online: false, ..is_here(user) }
}

impl Device {
    async fn presence(&mut self) -> Presence {
        let Body::Presence(presence) = self.hear().await else { panic!("{} is told who is here", self.user) };
        presence
    }

    /// Hears that a user has gone, and gives the time when it was last here.
    async fn hears_gone(&mut self, user: &str) -> i64 {
        let presence = self.presence().await;
        assert_eq!((&*presence.user, presence.online), (user, false));
        presence.last_seen_ms
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap()
}

#[tokio::test]
async fn who_watches_is_told_that_somebody_at_another_shard_comes_and_goes_and_when_it_was_last_here() {
    let (server, People { alice, bob, .. }) = crew(quick).await;
    let (mut watcher, ..) = Device::sign_in(server.address, alice).await;
    watcher.say(watch(bob)).await;
    assert_eq!(watcher.presence().await, was_never_here(bob));
    let mut earlier_ms = now_ms();
    for _ in 0..2 {
        let (phone, ..) = Device::sign_in(server.address, bob).await;
        assert_eq!(watcher.presence().await, is_here(bob));
        drop(phone);
        let last_seen_ms = watcher.hears_gone(bob).await;
        assert!((earlier_ms..=now_ms()).contains(&last_seen_ms), "{last_seen_ms}");
        earlier_ms = last_seen_ms;
    }
    // Who watches later is told the same.
    let (mut laptop, ..) = Device::sign_in(server.address, alice).await;
    laptop.say(watch(bob)).await;
    assert_eq!(laptop.hears_gone(bob).await, earlier_ms);
    let browser = server.client(bob).await;
    for device in [&mut watcher, &mut laptop] {
        assert_eq!(device.presence().await, is_here(bob), "a classic client is somebody too");
        device.has_nothing_more().await;
    }
    drop(browser);
}

#[tokio::test]
async fn two_users_of_different_shards_watch_each_other_and_are_told_at_once() {
    // Nobody has to wait for an answer that never comes, so nothing may depend on the time for that.
    let (server, People { alice, bob, .. }) = crew(|config| {
        config.shards = 2;
        config.timeouts.peer_timeout_ms = 60_000;
    })
    .await;
    let (mut hers, ..) = Device::sign_in(server.address, alice).await;
    let (mut his, ..) = Device::sign_in(server.address, bob).await;
    for (device, other) in [(&mut hers, bob), (&mut his, alice)] {
        device.say(watch(other)).await;
        assert_eq!(device.presence().await, is_here(other));
    }
    hers.has_nothing_more().await;
    his.has_nothing_more().await;
}

#[tokio::test]
async fn who_comes_back_within_the_grace_was_never_gone() {
    let (server, People { alice, bob, .. }) = crew(|config| {
        quick(config);
        config.timeouts.presence_grace_ms = 60_000;
    })
    .await;
    let (mut watcher, ..) = Device::sign_in(server.address, alice).await;
    watcher.say(watch(bob)).await;
    assert_eq!(watcher.presence().await, was_never_here(bob));
    let (phone, ..) = Device::sign_in(server.address, bob).await;
    assert_eq!(watcher.presence().await, is_here(bob));
    drop(phone);
    health_becomes(server.address, "Bob has gone", |_, body| body["connections"] == 1).await;
    let (mut phone, ..) = Device::sign_in(server.address, bob).await;
    phone.submit(1, &with_user(alice), "here I am").await;
    // What one shard tells the other one arrives in order: anything about Bob's absence would have come first.
    assert_eq!(watcher.delivery().await.from, *bob);
    watcher.has_nothing_more().await;
}

#[tokio::test]
async fn strangers_are_told_nothing_until_something_was_said_between_them() {
    let (server, People { alice, bob, carol, dave }) = crew(quick).await;
    let (mut watcher, ..) = Device::sign_in(server.address, alice).await;
    // One stranger is where Alice is, the other one where Bob is.
    let (mut near, ..) = Device::sign_in(server.address, carol).await;
    let (mut far, ..) = Device::sign_in(server.address, dave).await;
    for device in [&mut watcher, &mut near, &mut far] {
        device.say(watch(bob)).await;
        assert_eq!(device.presence().await, was_never_here(bob));
    }
    near.say(watch("nobody")).await;
    assert_eq!(near.presence().await, was_never_here("nobody"), "who is not told from who may not be known");
    near.say(watch(bob)).await;
    assert_eq!(near.presence().await, was_never_here(bob));
    for _ in 0..2 {
        let (phone, ..) = Device::sign_in(server.address, bob).await;
        assert_eq!(watcher.presence().await, is_here(bob));
        drop(phone);
        watcher.hears_gone(bob).await;
        near.has_nothing_more().await;
        far.has_nothing_more().await;
    }
    let (_phone, ..) = Device::sign_in(server.address, bob).await;
    assert_eq!(watcher.presence().await, is_here(bob));
    for device in [&mut near, &mut far] {
        device.submit(1, &with_user(bob), "hello").await;
        device.has_nothing_more().await;
        device.say(watch(bob)).await;
        assert_eq!(device.presence().await, is_here(bob), "something was said, and it has asked again");
    }
}

#[tokio::test]
async fn when_somebody_was_last_here_outlives_a_crash() {
    let People { alice, bob, .. } = people().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("SWITCHBOARD_SHARDS", "2"),
        ("SWITCHBOARD_TIMEOUTS_PRESENCE_GRACE_MS", "200"),
        ("SWITCHBOARD_TIMEOUTS_PEER_TIMEOUT_MS", "200"),
    ];
    let process = Process::start(folder.path(), &settings);
    create_group(folder.path(), "crew", &[alice, bob]);
    let (mut watcher, ..) = Device::sign_in(process.address, alice).await;
    watcher.say(watch(bob)).await;
    assert_eq!(watcher.presence().await, was_never_here(bob));
    let phone = Device::sign_in(process.address, bob).await;
    assert_eq!(watcher.presence().await, is_here(bob));
    drop(phone);
    let last_seen_ms = watcher.hears_gone(bob).await;
    assert!(last_seen_ms > 0);
    process.kill();
    let process = Process::start(folder.path(), &settings);
    let (mut watcher, ..) = Device::sign_in(process.address, alice).await;
    watcher.say(watch(bob)).await;
    assert_eq!(watcher.hears_gone(bob).await, last_seen_ms);
}
