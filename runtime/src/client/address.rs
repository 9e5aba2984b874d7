//! Where a server is, and what a client asks it for.

use std::str::FromStr;

use hyper::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::ServerName;
use switchboard_engine::UserId;

/// The ports of `ws` and `wss` URLs that name none (RFC 6455 section 3).
const DEFAULT_PORT: u16 = 80;
const DEFAULT_TLS_PORT: u16 = 443;

/// All but the unreserved characters of RFC 3986 section 2.3.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why a URL names no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It does not begin with `ws://` or `wss://`.
    #[error("the URL must begin with ws://, or with wss:// for TLS")]
    Scheme,
    /// There is no host in it.
    #[error("the URL must name a host, like ws://HOST:PORT")]
    Host,
    /// It names a user's socket, whose address is made from the server's.
    #[error("give the server's URL without /socket.io and ?user=, which are added: ws://HOST:PORT")]
    Socket,
    /// It is no URL.
    #[error("not a URL: it must be like ws://HOST:PORT")]
    Syntax,
}

/// A server's URL: host, port, and the folder under which its addresses are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    is_tls: bool,
    /// An IPv6 address in brackets, as in the URL.
    host: String,
    port: u16,
    /// Without a slash at its end.
    folder: String,
    query: Option<String>,
}

impl ServerUrl {
    /// The server of `ws://HOST[:PORT][/FOLDER][?QUERY]`, or of `wss://...`, with TLS. The default ports are 80 and 443.
    ///
    /// # Errors
    /// If the scheme is another one, there is no host, or it is the address of a socket already.
    pub fn new(url: &Uri) -> Result<Self, UrlError> {
        let is_tls = match url.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(UrlError::Scheme),
        };
        let host = url.host().filter(|host| !host.is_empty()).ok_or(UrlError::Host)?;
        let names_user = |query: &str| query.split('&').any(|part| part.starts_with("user="));
        if url.path().trim_end_matches('/').ends_with("/socket.io") || url.query().is_some_and(names_user) {
            return Err(UrlError::Socket);
        }
        let default = if is_tls { DEFAULT_TLS_PORT } else { DEFAULT_PORT };
        Ok(Self {
            is_tls,
            host: host.to_owned(),
            port: url.port_u16().unwrap_or(default),
            folder: url.path().trim_end_matches('/').to_owned(),
            query: url.query().filter(|query| !query.is_empty()).map(str::to_owned),
        })
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The name or address that the server's certificate must have.
    pub(super) fn certified(&self) -> Option<ServerName<'static>> {
        let host = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&self.host);
        ServerName::try_from(host.to_owned()).ok()
    }

    /// `ws://HOST:PORT` or `wss://HOST:PORT`, for people.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.is_tls { "wss" } else { "ws" }, self.authority())
    }

    /// `HOST:PORT`, to dial, for the Host header, and for people.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The request target of a user's WebSocket: `/socket.io?user=ID` in the server's folder, with the id
    /// percent-encoded, after the query that the URL has.
    #[must_use]
    pub fn socket_of(&self, user: &UserId) -> String {
        let Self { folder, query, .. } = self;
        let user = utf8_percent_encode(user.as_str(), ENCODED);
        match query {
            Some(query) => format!("{folder}/socket.io?{query}&user={user}"),
            None => format!("{folder}/socket.io?user={user}"),
        }
    }
}

impl FromStr for ServerUrl {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        Self::new(&url.parse().map_err(|_| UrlError::Syntax)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Result<ServerUrl, UrlError> {
        ServerUrl::new(&url.parse().unwrap())
    }

    #[test]
    fn the_socket_is_under_the_folder_of_the_url_and_keeps_its_query() {
        let alice = UserId::new("alice").unwrap();
        for (url, authority, socket) in [
            ("ws://localhost", "localhost:80", "/socket.io?user=alice"),
            ("ws://127.0.0.1:8888/", "127.0.0.1:8888", "/socket.io?user=alice"),
            ("ws://[::1]:9/x/", "[::1]:9", "/x/socket.io?user=alice"),
            ("wss://localhost", "localhost:443", "/socket.io?user=alice"),
            ("wss://[::1]:9/x", "[::1]:9", "/x/socket.io?user=alice"),
            ("ws://h:1/x?key=1", "h:1", "/x/socket.io?key=1&user=alice"),
        ] {
            let server = server(url).unwrap();
            assert_eq!((server.authority().as_str(), server.socket_of(&alice).as_str()), (authority, socket));
        }
    }

    #[test]
    fn what_a_url_would_read_otherwise_in_a_user_is_percent_encoded() {
        let server = server("ws://h").unwrap();
        for (user, encoded) in [
            ("a&b=c#d?e/f", "a%26b%3Dc%23d%3Fe%2Ff"),
            ("Zoë +%", "Zo%C3%AB%20%2B%25"),
            ("a-b.c_d~", "a-b.c_d~"),
        ] {
            let user = UserId::new(user).unwrap();
            assert_eq!(server.socket_of(&user), format!("/socket.io?user={encoded}"));
        }
    }

    #[test]
    fn other_schemes_are_refused() {
        assert_eq!(server("https://h"), Err(UrlError::Scheme));
        assert_eq!(server("http://h"), Err(UrlError::Scheme));
        assert_eq!(server("/x"), Err(UrlError::Scheme));
    }

    #[test]
    fn the_address_of_a_users_socket_is_no_servers() {
        for url in ["ws://h/socket.io?user=eve", "ws://h/x/socket.io", "ws://h?key=1&user=eve"] {
            assert_eq!(server(url), Err(UrlError::Socket), "{url}");
        }
        assert!(server("ws://h/socket.io-behind-this/x?superuser=1").is_ok());
    }
}
