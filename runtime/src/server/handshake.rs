//! What a handshake must be, and the one that nearly all clients make, without an HTTP layer.
//!
//! After a restart thousands of clients come at once, each with the same few lines in one piece. Such a request is read and
//! answered here. Whatever is unusual about one, wrong or only rare, is left to the HTTP layer, which begins with its first byte
//! and has the words for it ([`check`]). So nothing may be taken here that would be refused there.

use axum::{
    extract::Query,
    http::{Request, Version, header},
};
use data_encoding::BASE64;
use serde::Deserialize;
use sha1::{Digest as _, Sha1};
use switchboard_engine::{Protocol, UserId};
use switchboard_websocket::SESSION_SUBPROTOCOL;

use super::query;

/// Headers of a usual request at the most; browsers send about 15.
const HEADERS_LIMIT: usize = 32;

/// What a usual request begins with.
const TARGET: &str = "/socket.io?user=";

/// What is hashed behind the client's key (RFC 6455 section 1.3).
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A usual request for a WebSocket, in which nothing is wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Usual {
    /// Where it ends.
    pub head_bytes: usize,
    /// Who connects.
    pub user: UserId,
    /// What is to be spoken.
    pub protocol: Protocol,
    /// What proves that it was read (RFC 6455 section 4.2.2).
    accept: String,
}

/// Reads a request. None if all of it is not there, and for every other one that is not usual.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Usual> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_LIMIT];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(head_bytes)) = request.parse(bytes) else { return None };
    if request.method != Some("GET") || request.version != Some(1) {
        return None;
    }
    let user = request.path?.strip_prefix(TARGET)?;
    if !user.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')) {
        return None;
    }
    let user = UserId::new(user).ok()?;
    let Asked { host, upgrade, connection, version, key, subprotocols } = Asked::of(request.headers)?;
    let mut connection = connection?.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let is_right = host.is_some()
        && upgrade?.eq_ignore_ascii_case(b"websocket")
        && connection.any(|token| token.eq_ignore_ascii_case(b"upgrade"))
        && version? == b"13";
    let key = key.filter(|key| is_right && is_key(key))?;
    let protocol = offered(subprotocols.and_then(|list| str::from_utf8(list).ok()).into_iter());
    Some(Usual { head_bytes, user, protocol, accept: accept(key) })
}

/// The headers that matter. Each is there once, or not at all.
#[derive(Debug, Default)]
struct Asked<'a> {
    host: Option<&'a [u8]>,
    upgrade: Option<&'a [u8]>,
    connection: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    subprotocols: Option<&'a [u8]>,
}

impl<'a> Asked<'a> {
    /// None if one comes twice, or there is one of a body.
    fn of(headers: &[httparse::Header<'a>]) -> Option<Self> {
        let mut asked = Self::default();
        for httparse::Header { name, value } in headers {
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            let place = if is("host") {
                &mut asked.host
            } else if is("upgrade") {
                &mut asked.upgrade
            } else if is("connection") {
                &mut asked.connection
            } else if is("sec-websocket-version") {
                &mut asked.version
            } else if is("sec-websocket-key") {
                &mut asked.key
            } else if is("sec-websocket-protocol") {
                &mut asked.subprotocols
            } else if is("content-length") || is("transfer-encoding") || is("expect") {
                return None;
            } else {
                continue;
            };
            if place.replace(value).is_some() {
                return None;
            }
        }
        Some(asked)
    }
}

/// The protocol to speak: sessions', if it is among the subprotocols offered, in one header or several.
fn offered<'a>(mut lists: impl Iterator<Item = &'a str>) -> Protocol {
    let is_offered = lists.any(|list| list.split(',').any(|name| name.trim() == SESSION_SUBPROTOCOL));
    if is_offered { Protocol::Session } else { Protocol::Classic }
}

/// Whether it is sixteen bytes in base64: 22 characters and two signs of padding (RFC 4648 section 4).
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.strip_suffix(b"==").is_some_and(|digits| digits.len() == 22 && digits.iter().all(is_digit))
}

#[derive(Debug, Deserialize)]
struct SocketQuery {
    #[serde(default)]
    user: String,
}

/// Who wants a WebSocket, and of which protocol, by a request that the HTTP layer has read.
///
/// # Errors
/// If something is wrong with it that fastwebsockets does not look at: what that is.
pub fn check<B>(request: &Request<B>) -> Result<(UserId, Protocol), String> {
    let user = match Query::try_from_uri(request.uri()) {
        Ok(Query(SocketQuery { user })) => user,
        Err(error) => return Err(format!("the query cannot be read: {error}")),
    };
    if !query::is_utf8(request.uri()) {
        return Err("the query cannot be read: the user is not UTF-8".into());
    }
    if user.is_empty() {
        return Err("the query must name the user who connects: /socket.io?user=ID".into());
    }
    let user = UserId::new(&user).map_err(|error| format!("the query's user cannot connect: {error}"))?;
    if !fastwebsockets::upgrade::is_upgrade_request(request) {
        return Err("this address speaks WebSocket: the request asks for no upgrade to it".into());
    }
    check_headers(request)?;
    let subprotocols = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    Ok((user, offered(subprotocols.iter().filter_map(|list| list.to_str().ok()))))
}

/// What RFC 6455 section 4.2.1 demands of a handshake and the library does not look at.
fn check_headers<B>(request: &Request<B>) -> Result<(), &'static str> {
    if request.version() != Version::HTTP_11 {
        return Err("the WebSocket handshake is wrong: it must be HTTP/1.1");
    }
    if !request.headers().contains_key(header::HOST) {
        return Err("the WebSocket handshake is wrong: there is no Host header");
    }
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).map(|key| key.as_bytes());
    if !key.is_some_and(is_key) {
        return Err("the WebSocket handshake is wrong: Sec-WebSocket-Key must be 16 bytes in base64");
    }
    Ok(())
}

fn accept(key: &[u8]) -> String {
    BASE64.encode(&Sha1::new().chain_update(key).chain_update(MAGIC).finalize())
}

impl Usual {
    /// What it is answered with. The subprotocol is named if one is spoken.
    #[must_use]
    pub fn answer(&self, request_id: &str) -> String {
        let (begin, name, end) = match self.protocol {
            Protocol::Session => ("sec-websocket-protocol: ", SESSION_SUBPROTOCOL, "\r\n"),
            Protocol::Classic => ("", "", ""),
        };
        let accept = &self.accept;
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {accept}\r\n{begin}{name}{end}x-request-id: {request_id}\r\n\r\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "GET /socket.io?user=alice HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\n\
        Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    #[test]
    fn the_example_of_the_rfc_is_answered() {
        let usual = read(&[REQUEST.as_bytes(), b"more"].concat()).unwrap();
        let Usual { head_bytes, user, protocol, .. } = &usual;
        assert_eq!((*head_bytes, user.as_str(), *protocol), (REQUEST.len(), "alice", Protocol::Classic));
        let expected = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nx-request-id: 7\r\n\r\n";
        assert_eq!(usual.answer("7"), expected);
    }

    #[test]
    fn a_session_is_told_its_subprotocol() {
        let offer = format!("Sec-WebSocket-Protocol: chat, {SESSION_SUBPROTOCOL}\r\n\r\n");
        let usual = read(REQUEST.replace("\r\n\r\n", &format!("\r\n{offer}")).as_bytes()).unwrap();
        assert_eq!(usual.protocol, Protocol::Session);
        let named = format!("\r\nsec-websocket-protocol: {SESSION_SUBPROTOCOL}\r\n");
        assert!(usual.answer("7").contains(&named));
    }

    #[test]
    fn no_part_of_a_request_is_taken_for_one() {
        for end in 0..REQUEST.len() {
            assert_eq!(read(&REQUEST.as_bytes()[..end]), None, "{end}");
        }
    }

    #[test]
    fn whatever_is_unusual_is_left_to_others() {
        for (usual, unusual) in [
            ("GET", "HEAD"),
            ("GET", "POST"),
            ("HTTP/1.1", "HTTP/1.0"),
            ("/socket.io", "/healthz"),
            ("?user=alice", ""),
            ("?user=alice", "?user="),
            ("?user=alice", "?user=System"),
            ("?user=alice", "?user=a%20b"),
            ("?user=alice", "?user=a+b"),
            ("?user=alice", "?user=alice&other=1"),
            ("?user=alice", &*format!("?user={}", "x".repeat(129))),
            ("Host: localhost\r\n", ""),
            ("Host: localhost\r\n", "Host: localhost\r\nHost: localhost\r\n"),
            ("Host: localhost\r\n", "Host: localhost\r\nContent-Length: 3\r\n"),
            ("Host: localhost\r\n", "Host: localhost\r\nTransfer-Encoding: chunked\r\n"),
            ("keep-alive, Upgrade", "keep-alive"),
            ("Upgrade: WebSocket\r\n", ""),
            ("Upgrade: WebSocket", "Upgrade: h2c, websocket"),
            ("Version: 13", "Version: 8"),
            ("Sec-WebSocket-Version: 13\r\n", ""),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZ!=="),
            ("dGhlIHNhbXBsZSBub25jZQ==", "x"),
            ("Sec-WebSocket-Key", "Sec-Key"),
        ] {
            assert!(REQUEST.contains(usual));
            assert_eq!(read(REQUEST.replacen(usual, unusual, 1).as_bytes()), None, "{unusual}");
        }
    }
}
