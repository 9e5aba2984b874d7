//! A server of objects on a thread of its own, which keeps them in a folder and checks every signature; and one that answers
//! as a test says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use switchboard::media::{S3Credentials, S3Options, S3Style};
use tempfile::TempDir;

pub(crate) const BUCKET: &str = "chat";
pub(crate) const KEY_ID: &str = "AKIDEXAMPLE";
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// A server that has the bucket `chat`, until the process ends.
pub(crate) struct BucketServer {
    pub(crate) address: SocketAddr,
    folder: TempDir,
}

impl BucketServer {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        let service = builder.build();
        let (sender, started) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
                sender.send(listener.local_addr().unwrap()).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let served = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service.clone());
                    tokio::spawn(served);
                }
            });
        });
        Self { address: started.recv().unwrap(), folder }
    }

    pub(crate) fn options(&self) -> S3Options {
        options(self.address)
    }

    /// Where an object is.
    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.folder.path().join(BUCKET).join(key)
    }

    /// The names of all objects below a prefix that is a folder.
    pub(crate) fn names(&self, prefix: &str) -> Vec<String> {
        names(&self.path(prefix))
    }
}

/// The names of the files in a folder, but for those that a server keeps for itself.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

/// The bucket of a server at this address.
pub(crate) fn options(address: SocketAddr) -> S3Options {
    S3Options {
        endpoint: format!("http://{address}"),
        region: "us-east-1".into(),
        bucket: BUCKET.into(),
        prefix: "files/".into(),
        style: S3Style::Path,
        credentials: S3Credentials { key_id: KEY_ID.into(), secret: SECRET.into(), token: None },
        timeout: Duration::from_secs(30),
        attempts: 3,
    }
}

/// What a server does with one request.
pub(crate) enum Act {
    /// Sends these bytes, and ends the connection.
    Say(Vec<u8>),
    /// Says nothing until whoever asks goes.
    Hang,
    /// Ends the connection.
    HangUp,
}

/// A server that does with the requests, which it gives by method and path, what a test says, one after the other.
pub(crate) fn odd_server(mut act: impl FnMut(&str) -> Act + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let Some(line) = read_request(&stream) else { continue };
            match act(&line) {
                Act::Say(bytes) => drop(stream.write_all(&bytes)),
                // It goes on being connected for as long as the test runs.
                Act::Hang => std::mem::forget(stream),
                Act::HangUp => {}
            }
        }
    });
    address
}

/// Reads a request with its body, and gives its method and path.
fn read_request(stream: &TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split('?').next()?.trim().to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok().filter(|bytes| *bytes > 0)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).ok()?;
    Some(path)
}

/// An answer with a body.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}
