//! What those who run a server do to it while it runs.

use switchboard_engine::{Audience, Revocation};
use switchboard_proto::v1::server_frame::Body;

use crate::{
    device::Device,
    harness::{TestServer, soon, user},
};

#[tokio::test]
async fn an_announcement_reaches_everybody_on_all_shards_in_the_words_of_each_protocol() {
    let server = TestServer::with_shards(3);
    let users = ["ann", "ben", "cat", "dan", "eve", "fay"];
    let mut clients = server.clients(users).await;
    let (mut device, ..) = Device::sign_in(server.address, "gus").await;
    let told = server.authority.announce(Audience::Everyone, "we close at ten");
    assert_eq!(soon("the announcement", told).await, Ok(7));
    for client in &mut clients {
        let notice = client.recv().await;
        assert_eq!((notice.from.as_str(), notice.content.as_str()), ("System", "we close at ten"));
        assert_eq!((notice.to.as_str(), notice.content_type), ("", 1));
    }
    let Body::Notice(notice) = device.hear().await else { panic!("a notice is next") };
    assert_eq!(notice.text, "we close at ten");
}

#[tokio::test]
async fn an_announcement_to_one_user_reaches_nobody_else() {
    let server = TestServer::with_shards(2);
    let [mut ann, mut ben] = server.clients(["ann", "ben"]).await;
    let told = server.authority.announce(Audience::User(user("ann")), "mind the gap").await;
    assert_eq!((told, ann.content().await), (Ok(1), "mind the gap".to_owned()));
    ben.has_nothing_more().await;
    let nobody = server.authority.announce(Audience::User(user("zoe")), "hello?").await;
    assert_eq!(nobody, Ok(0));
    for text in ["", &"x".repeat(4097)] {
        let refused = server.authority.announce(Audience::Everyone, text).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("the text has {} bytes; 1 to 4096 are taken", text.len()));
    }
    ben.has_nothing_more().await;
}

#[tokio::test]
async fn a_user_is_disconnected_on_all_devices_and_may_come_back() {
    let server = TestServer::with_shards(2);
    let [mut ann, mut ben] = server.clients(["ann", "ben"]).await;
    let mut phone = server.client("ann").await;
    let closed = server.authority.disconnect(&user("ann"), Revocation::Administrator).await;
    assert_eq!(closed, Ok(2));
    for client in [&mut ann, &mut phone] {
        let (code, text) = client.closed().await;
        assert_eq!(
            (code, text.as_str()),
            (4006, "an administrator has closed the connection; reconnect later")
        );
    }
    ben.has_nothing_more().await;
    server.client("ann").await.has_nothing_more().await;
    assert_eq!(server.authority.disconnect(&user("zoe"), Revocation::Administrator).await, Ok(0));
}

#[tokio::test]
async fn a_server_that_has_ended_says_that_it_cannot() {
    let mut server = TestServer::with_shards(1);
    server.stop();
    server.ended();
    assert!(server.authority.disconnect(&user("ann"), Revocation::Administrator).await.is_err());
    assert!(server.authority.announce(Audience::Everyone, "hello?").await.is_err());
}
