//! The server's half of the handshake (RFC 6455 section 4.2).

use data_encoding::BASE64;
use sha1::{Digest as _, Sha1};

/// What is hashed behind the client's key (RFC 6455 section 1.3).
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Headers of a request at the most.
const HEADERS: usize = 32;

/// Size of a request's head at the most.
const HEAD_LIMIT_BYTES: usize = 16 << 10;

/// What has been read of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    /// Its head has no end yet.
    Unfinished,
    /// It asks for what there is.
    Upgrade {
        /// Size of its head, in bytes.
        head_bytes: usize,
        user: &'a str,
        /// The answer.
        response: String,
    },
    /// Anything else.
    Refused,
}

/// What a request is answered with that asks for anything else.
pub(crate) const REFUSAL: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Reads a request for `/socket.io?user=NAME`.
pub(crate) fn read(input: &[u8]) -> Request<'_> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head_bytes = match request.parse(input) {
        Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
        Ok(httparse::Status::Partial) if input.len() < HEAD_LIMIT_BYTES => return Request::Unfinished,
        Ok(httparse::Status::Partial) | Err(_) => return Request::Refused,
    };
    let user = request
        .path
        .and_then(|path| path.strip_prefix("/socket.io?"))
        .and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("user=")));
    let key = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("sec-websocket-key"));
    match (request.method, user, key) {
        (Some("GET"), Some(user), Some(key)) if !user.is_empty() => Request::Upgrade {
            head_bytes,
            user,
            response: format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {}\r\n\r\n",
                accept(key.value)
            ),
        },
        _ => Request::Refused,
    }
}

fn accept(key: &[u8]) -> String {
    BASE64.encode(&Sha1::new().chain_update(key).chain_update(MAGIC).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_answered() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_request_may_come_in_pieces() {
        let head = "GET /socket.io?user=bench-000007 HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Key: a\r\n\r\n";
        assert_eq!(read(&head.as_bytes()[..head.len() - 1]), Request::Unfinished);
        let input = [head.as_bytes(), b"more"].concat();
        let Request::Upgrade { head_bytes, user, .. } = read(&input) else { panic!("refused") };
        assert_eq!((head_bytes, user), (head.len(), "bench-000007"));
    }

    #[test]
    fn what_asks_for_anything_else_is_refused() {
        for head in [
            "GET / HTTP/1.1\r\nSec-WebSocket-Key: a\r\n\r\n",
            "GET /socket.io?user= HTTP/1.1\r\nSec-WebSocket-Key: a\r\n\r\n",
            "GET /socket.io?user=a HTTP/1.1\r\n\r\n",
            "POST /socket.io?user=a HTTP/1.1\r\nSec-WebSocket-Key: a\r\n\r\n",
            "what is this?\r\n\r\n",
        ] {
            assert_eq!(read(head.as_bytes()), Request::Refused, "{head}");
        }
        assert_eq!(read(&[b'G'; HEAD_LIMIT_BYTES]), Request::Refused);
    }
}
