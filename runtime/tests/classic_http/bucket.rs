//! Pictures in a bucket: what is seen over HTTP is as with files on the disk.

use bytes::Bytes;
use serde_json::json;
use switchboard::config::FileStore;

use crate::bucket_server::{BUCKET, BucketServer, KEY_ID, SECRET};
use crate::files::{PNG, stored};
use crate::harness::TestServer;
use crate::http::{Browser, passwords};

#[tokio::test]
async fn a_picture_in_a_bucket_is_served_whole_and_in_ranges() {
    let bucket = BucketServer::start();
    let keys = tempfile::NamedTempFile::new().unwrap();
    let text = format!("aws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n");
    std::fs::write(keys.path(), text).unwrap();
    let server = TestServer::start(|config| {
        passwords(config);
        config.media.store = FileStore::S3;
        config.media.s3_endpoint = format!("http://{}", bucket.address);
        config.media.s3_bucket = BUCKET.into();
        config.media.s3_prefix = "p/".into();
        config.media.s3_credentials_file = keys.path().to_str().unwrap().into();
    });
    let mut alice = Browser::registered(&server, "alice").await;
    let uuid = alice.uuid.clone();
    // More than is read at a time.
    let picture = [PNG, &vec![7; 3_000_018 - PNG.len()]].concat();
    let name = alice.upload("me.png", &picture, &uuid).await.data();
    let name = name.as_str().unwrap().to_owned();
    assert_eq!(bucket.names("p"), [name.as_str()]);
    assert_eq!(stored(&server), Vec::<String>::new());
    assert_eq!(alice.get(&format!("/user/{uuid}")).await.data()["avatar"], json!(name));
    let path = format!("/file/{name}");
    let reply = alice.get(&path).await;
    assert!(reply.status == 200 && reply.body[..] == picture, "{}", reply.status);
    for (header, value) in [
        ("content-type", "image/png"),
        ("content-length", "3000018"),
        ("x-content-type-options", "nosniff"),
        ("content-disposition", "inline"),
        ("accept-ranges", "bytes"),
    ] {
        assert_eq!(reply.header(header), Some(value));
    }
    let tag = reply.header("etag").unwrap().to_owned();
    for (headers, status, length, range) in [
        (&[("range", "bytes=1-3")][..], 206, 3, Some("bytes 1-3/3000018")),
        (&[("range", "bytes=-2000000")], 206, 2_000_000, Some("bytes 1000018-3000017/3000018")),
        (&[("range", "bytes=2999999-9999999")], 206, 19, Some("bytes 2999999-3000017/3000018")),
        (&[("range", "bytes=3000018-")], 416, 0, Some("bytes */3000018")),
        (&[("range", "bytes=0-1,4-5")], 200, 3_000_018, None),
        (&[("range", "bytes=1-3"), ("if-range", &tag)], 206, 3, Some("bytes 1-3/3000018")),
        (&[("range", "bytes=1-3"), ("if-range", "\"other\"")], 200, 3_000_018, None),
        (&[("if-none-match", &tag)], 304, 0, None),
    ] {
        let reply = alice.send("GET", &path, headers, Bytes::new()).await;
        assert_eq!((reply.status, reply.body.len()), (status, length), "{headers:?}");
        assert_eq!(reply.header("content-range"), range, "{headers:?}");
    }
    let head = alice.send("HEAD", &path, &[], Bytes::new()).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("3000018")));
    let gone = format!("/file/{}.png", "0".repeat(32));
    assert_eq!(alice.get(&gone).await.status, 404);
    assert_eq!(alice.send("HEAD", &gone, &[], Bytes::new()).await.status, 404);
    let refusal = alice.upload("me.png", b"no picture", &uuid).await.refusal();
    assert!(refusal.contains("no picture"), "{refusal}");
    assert_eq!(bucket.names("p"), [name.as_str()]);
}
