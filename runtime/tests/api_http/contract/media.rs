//! Files.

use crate::client::{Api, PNG, with_passwords};

#[tokio::test]
async fn a_file_is_given_whole_and_in_ranges() {
    let server = with_passwords();
    let alice = Api::registered(&server, "alice").await;
    let name = alice.picture().await;
    assert_eq!(alice.get("/api/v1/accounts/me").await.data()["avatar"], name.as_str());
    let path = format!("/api/v1/media/{name}");
    let reply = alice.get(&path).await;
    assert_eq!((reply.status, &reply.body[..]), (200, PNG));
    for (header, value) in [
        ("content-type", "image/png"),
        ("content-disposition", "inline"),
        ("x-content-type-options", "nosniff"),
        ("accept-ranges", "bytes"),
    ] {
        assert_eq!(reply.header(header), Some(value));
    }
    let part = alice.send("GET", &path, &[("range", "bytes=1-3")], "").await;
    assert_eq!((part.status, &part.body[..]), (206, &PNG[1..=3]));
    let part = alice.send("GET", &path, &[("range", "bytes=1000-")], "").await;
    assert_eq!(part.problem(416).0, "range");
    assert_eq!(part.header("content-range"), Some(format!("bytes */{}", PNG.len()).as_str()));
    for wrong in
        ["x", "..%2Fswitchboard.db", "%2e%2e", "0123456789abcdef0123456789abcdef.png", "%00", "a.html"]
    {
        assert_eq!(alice.get(&format!("/api/v1/media/{wrong}")).await.problem(404).0, "not-found", "{wrong}");
    }
    assert_eq!(Api::nobody(&server).get(&path).await.problem(401).0, "unauthenticated");
}
