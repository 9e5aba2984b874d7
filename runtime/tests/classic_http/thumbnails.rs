//! Smaller pictures.

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use switchboard::config::FileStore;

use crate::bucket_server::{BUCKET, BucketServer, KEY_ID, SECRET, names};
use crate::files::stored;
use crate::harness::TestServer;
use crate::http::{Browser, passwords, with_passwords};

fn picture(width: u32, height: u32) -> Vec<u8> {
    let picture = RgbImage::from_fn(width, height, |x, y| Rgb([x.to_le_bytes()[0], y.to_le_bytes()[0], 9]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    DynamicImage::from(picture).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

async fn is_there_smaller(server: &TestServer, in_bucket: impl Fn() -> Vec<String>) {
    let mut alice = Browser::registered(server, "alice").await;
    let uuid = alice.uuid.clone();
    let name = alice.upload("me.png", &picture(600, 300), &uuid).await.data();
    let name = name.as_str().unwrap().to_owned();
    for _ in 0..2 {
        let reply = alice.get(&format!("/file/{name}?size=256")).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("content-type"), Some("image/jpeg"));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("content-disposition"), Some("inline"));
        let small = image::load_from_memory(&reply.body).unwrap();
        assert_eq!((small.width(), small.height()), (256, 128));
        assert_eq!(in_bucket(), [name.clone(), format!("{name}.256")], "it is kept, once");
    }
    // What is kept is no file of its own.
    assert_eq!(alice.get(&format!("/file/{name}.256")).await.status, 404);
    for size in ["0", "255", "100000", "-1", "large", ""] {
        let refusal = alice.get(&format!("/file/{name}?size={size}")).await.refusal();
        assert_eq!(refusal, "the size is one of [128, 256, 512]");
    }
    let gone = format!("/file/{}.png?size=128", "0".repeat(32));
    assert_eq!(alice.get(&gone).await.status, 404);
    let mut nobody = Browser::new(server);
    assert_eq!(nobody.get(&format!("/file/{name}?size=128")).await.status, 401);
}

#[tokio::test]
async fn a_picture_is_made_smaller_once_and_kept_beside_the_other_one() {
    let server = with_passwords();
    is_there_smaller(&server, || stored(&server)).await;
}

#[tokio::test]
async fn smaller_pictures_are_in_the_bucket_as_well() {
    let bucket = BucketServer::start();
    let keys = tempfile::NamedTempFile::new().unwrap();
    let text = format!("aws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n");
    std::fs::write(keys.path(), text).unwrap();
    let server = TestServer::start(|config| {
        passwords(config);
        config.media.store = FileStore::S3;
        config.media.s3_endpoint = format!("http://{}", bucket.address);
        config.media.s3_bucket = BUCKET.into();
        config.media.s3_credentials_file = keys.path().to_str().unwrap().into();
    });
    is_there_smaller(&server, || names(&bucket.path(""))).await;
}
