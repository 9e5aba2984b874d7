//! TLS of connections that are no WebSockets yet.

use std::{io, time::Duration};

use rustls::ServerConnection;
use tokio::io::AsyncWriteExt as _;

use super::write_timeout::WriteTimeout;

/// The type of the record in which a ClientHello comes (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// What whoever speaks plain HTTP is told.
const REFUSAL: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 52\r\n\
                       connection: close\r\n\r\nthis port speaks TLS: ask it by https:// or wss://\r\n";

/// Whether what a connection begins with may be a ClientHello.
pub(super) fn is_hello(ahead: &[u8]) -> bool {
    ahead.first() == Some(&HANDSHAKE)
}

/// Ends a connection that does not begin with TLS, and says why to who speaks HTTP, as all methods begin with a letter.
pub(super) async fn refuse(mut stream: WriteTimeout, timeout: Duration) -> io::Result<()> {
    if stream.ahead().first().is_some_and(u8::is_ascii_alphabetic) {
        let told = async {
            stream.write_all(REFUSAL.as_bytes()).await?;
            stream.shutdown().await
        };
        tokio::time::timeout(timeout, told).await??;
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak TLS"))
}

/// Has TLS take what was read from its socket by others.
pub(super) fn feed(tls: &mut ServerConnection, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        tls.read_tls(&mut bytes)?;
        tls.process_new_packets().map_err(io::Error::other)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_has_the_length_that_it_says() {
        let (head, body) = REFUSAL.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
    }
}
