//! TCP and the WebSocket handshake.
//!
//! The handshake is hyper's and not `fastwebsockets::handshake::client`: that one keeps of a refusal nothing but
//! the status, and prints on the standard error.

use std::{fmt, io};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{
        AUTHORIZATION, CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
        UPGRADE,
    },
};
use hyper_util::rt::TokioIo;
use rustls::CertificateError;
use tokio::net::TcpStream;

use super::{link::Target, stream::Stream};

/// So much of a refusal's text is read.
const REFUSAL_LIMIT_BYTES: usize = 4096;

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No TCP connection.
    #[error("cannot connect to {address}")]
    Tcp {
        /// Where.
        address: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// TLS failed: the other side does not speak it, or its certificate is not trusted, over, or another one's.
    #[error("cannot speak TLS with {address}{}", advice(source))]
    Tls {
        /// With whom.
        address: String,
        /// What went wrong.
        source: io::Error,
    },
    /// The HTTP conversation broke off, or the other side does not speak HTTP.
    #[error("the WebSocket handshake with {address} failed")]
    Handshake {
        /// With whom.
        address: String,
        /// What went wrong.
        source: hyper::Error,
    },
    /// The server answered, and does not want this connection.
    #[error("the server refused the connection: {}", Refusal(*status, text))]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The text that came with it, trimmed; the server's own, so not fit for a terminal as it is.
        text: String,
    },
    /// The server switched to a protocol that is not WebSocket.
    #[error("{address} switches to something that is not WebSocket")]
    NotWebSocket {
        /// Who.
        address: String,
    },
    /// The server speaks WebSocket, and not the protocol that was asked for.
    #[error("{address} does not speak {subprotocol}: it is another kind of server, or an older one")]
    NoSubprotocol {
        /// Who.
        address: String,
        /// The WebSocket subprotocol that was offered.
        subprotocol: &'static str,
    },
    /// The request cannot be made from this URL.
    #[error("cannot make a request for {address}")]
    Request {
        /// To whom.
        address: String,
        /// What is wrong with it.
        source: hyper::http::Error,
    },
}

impl ConnectError {
    /// Whether another try with the same request is pointless: the server says that the request is at fault, or
    /// is of another kind.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Refused { status, .. } => {
                // 408, 425 and 429 ask for another try.
                status.is_client_error() && !matches!(status.as_u16(), 408 | 425 | 429)
            }
            Self::Request { .. } | Self::NoSubprotocol { .. } => true,
            Self::Tcp { .. } | Self::Tls { .. } | Self::Handshake { .. } | Self::NotWebSocket { .. } => false,
        }
    }
}

/// What to do about a certificate that a server must not have; the library's words for it are its own.
fn advice(source: &io::Error) -> &'static str {
    let error = source.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) = error else { return "" };
    if format!("{other:?}").contains("CaUsedAsEndEntity") {
        ": its certificate is an authority's (CA:TRUE), as `openssl req -x509` makes them; a server's is made with \
         `-addext basicConstraints=critical,CA:FALSE`"
    } else {
        ""
    }
}

struct Refusal<'a>(StatusCode, &'a str);

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(status, text) = self;
        if text.is_empty() { write!(f, "{status}") } else { write!(f, "{}: {text}", status.as_u16()) }
    }
}

/// An open connection, and what was read beyond the handshake.
pub(super) struct Connected {
    pub(super) stream: Stream,
    pub(super) read_ahead: Bytes,
}

/// Opens a WebSocket. Takes as long as the network does: the caller sets the time limit.
pub(super) async fn connect(target: &Target) -> Result<Connected, ConnectError> {
    let Target { server, user, subprotocol, token, tls } = target;
    let address = server.authority();
    let handshake_failed =
        |source: hyper::Error| ConnectError::Handshake { address: server.authority(), source };

    let tcp_failed = |source: io::Error| ConnectError::Tcp { address: server.authority(), source };
    let stream = TcpStream::connect(&address).await.map_err(tcp_failed)?;
    // A chat's frames are small and should leave at once; a failure only makes them slower.
    let _ = stream.set_nodelay(true);
    let tls_failed = |source: io::Error| ConnectError::Tls { address: server.authority(), source };
    let stream = match (tls, server.certified()) {
        (None, _) if server.is_tls() => {
            return Err(tls_failed(io::Error::new(io::ErrorKind::InvalidInput, "nobody is trusted")));
        }
        (None, _) => Stream::Plain(stream),
        (Some(tls), Some(name)) => {
            Stream::Tls(Box::new(tls.connector().connect(name, stream).await.map_err(tls_failed)?))
        }
        (Some(_), None) => {
            return Err(tls_failed(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no certificate has such a name",
            )));
        }
    };

    let mut request = Request::get(server.socket_of(user))
        .header(HOST, &address)
        .header(UPGRADE, "websocket")
        .header(CONNECTION, "Upgrade")
        .header(SEC_WEBSOCKET_KEY, fastwebsockets::handshake::generate_key())
        .header(SEC_WEBSOCKET_VERSION, "13");
    if let Some(subprotocol) = subprotocol {
        request = request.header(SEC_WEBSOCKET_PROTOCOL, *subprotocol);
    }
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, token.bearer());
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|source| ConnectError::Request { address: address.clone(), source })?;

    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(handshake_failed)?;
    // Ends with the handshake: at the upgrade, or when the sender and the answer's body are dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a handshake's connection ended");
        }
    });
    let response = sender.send_request(request).await.map_err(handshake_failed)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refusal(response).await);
    }
    let not_websocket = || ConnectError::NotWebSocket { address: address.clone() };
    let upgrade = response.headers().get(UPGRADE).ok_or_else(not_websocket)?;
    if !upgrade.as_bytes().eq_ignore_ascii_case(b"websocket") {
        return Err(not_websocket());
    }
    if let Some(subprotocol) = subprotocol {
        let chosen = response.headers().get(SEC_WEBSOCKET_PROTOCOL);
        if chosen.is_none_or(|chosen| chosen != subprotocol) {
            return Err(ConnectError::NoSubprotocol { address, subprotocol });
        }
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(handshake_failed)?;
    let parts = upgraded.downcast::<TokioIo<Stream>>().map_err(|_| not_websocket())?;
    Ok(Connected { stream: parts.io.into_inner(), read_ahead: parts.read_buf })
}

async fn refusal(response: Response<Incoming>) -> ConnectError {
    let status = response.status();
    // A text that is too long or breaks off is left out: the status says enough.
    let text = match Limited::new(response.into_body(), REFUSAL_LIMIT_BYTES).collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).trim().to_owned(),
        Err(_) => String::new(),
    };
    ConnectError::Refused { status, text }
}
