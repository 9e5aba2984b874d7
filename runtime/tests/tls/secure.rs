//! A server with a certificate of its own making, and connections to it.

use std::{fs, path::Path, sync::Arc};

use futures_util::{SinkExt as _, StreamExt as _};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use switchboard::config::Config;
use switchboard_proto::{Message as _, classic::Message};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, client::IntoClientRequest as _, protocol::WebSocketConfig},
};

use crate::harness::{TestServer, soon};

/// Certificate and key in files of a folder of their own.
pub(crate) struct Files(tempfile::TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.issue("localhost");
        files
    }

    pub(crate) fn certificate(&self) -> std::path::PathBuf {
        self.0.path().join("cert.pem")
    }

    pub(crate) fn key(&self) -> std::path::PathBuf {
        self.0.path().join("key.pem")
    }

    /// Puts a new certificate of this subject in the place of what is there.
    pub(crate) fn issue(&self, subject: &str) {
        self.issue_for(subject, 2020, 2090);
    }

    pub(crate) fn issue_for(&self, subject: &str, from: i32, to: i32) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, subject);
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        let key = KeyPair::generate().unwrap();
        fs::write(self.certificate(), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(self.key(), key.serialize_pem()).unwrap();
    }

    pub(crate) fn configure(&self, config: &mut Config) {
        (config.tls_cert, config.tls_key) = (Some(self.certificate()), Some(self.key()));
    }

    /// A client that trusts this certificate.
    pub(crate) fn trusted(&self, versions: &[&'static SupportedProtocolVersion]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(der(&self.certificate())).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config).into()
    }
}

/// Puts a certificate into these files that is an authority's, as `openssl req -x509` makes them by itself.
pub(crate) fn issue_as_authority(certificate: &Path, key: &Path) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pair = KeyPair::generate().unwrap();
    fs::write(certificate, params.self_signed(&pair).unwrap().pem()).unwrap();
    fs::write(key, pair.serialize_pem()).unwrap();
}

pub(crate) fn der(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

/// A server that speaks TLS, and what it takes to connect to it.
pub(crate) struct Secure {
    pub(crate) server: TestServer,
    pub(crate) files: Files,
    pub(crate) connector: TlsConnector,
}

impl Secure {
    pub(crate) fn start(adjust: impl FnOnce(&mut Config)) -> Self {
        let files = Files::new();
        let server = TestServer::start(|config| {
            files.configure(config);
            adjust(config);
        });
        let connector = files.trusted(rustls::ALL_VERSIONS);
        Self { server, files, connector }
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        soon("connecting", TcpStream::connect(self.server.address)).await.unwrap()
    }

    pub(crate) async fn stream(&self) -> TlsStream<TcpStream> {
        connect(&self.connector, self.tcp().await).await
    }

    /// A welcomed classic client.
    pub(crate) async fn client(&self, user: &str) -> Client {
        let stream = self.stream().await;
        let url = format!("wss://localhost/socket.io?user={user}");
        let mut client = Client { user: user.to_owned(), socket: open(stream, &url, None).await };
        assert_eq!(client.recv().await.content, "welcome!");
        client
    }
}

pub(crate) async fn connect(connector: &TlsConnector, stream: TcpStream) -> TlsStream<TcpStream> {
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    soon("the TLS handshake", connector.connect(name, stream)).await.unwrap()
}

/// A WebSocket.
pub(crate) async fn open(
    stream: TlsStream<TcpStream>,
    url: &str,
    subprotocol: Option<&'static str>,
) -> WebSocketStream<TlsStream<TcpStream>> {
    let mut request = url.into_client_request().unwrap();
    if let Some(subprotocol) = subprotocol {
        request.headers_mut().insert("sec-websocket-protocol", subprotocol.parse().unwrap());
    }
    let config = WebSocketConfig::default().read_buffer_size(4 << 10).write_buffer_size(0);
    let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
    soon("the handshake", opened).await.unwrap().0
}

pub(crate) struct Client {
    pub(crate) user: String,
    pub(crate) socket: WebSocketStream<TlsStream<TcpStream>>,
}

impl Client {
    pub(crate) async fn send(&mut self, message: &Message) {
        let sent = self.socket.send(tungstenite::Message::Binary(message.encode_to_vec().into()));
        soon("sending", sent).await.unwrap();
    }

    pub(crate) async fn recv(&mut self) -> Message {
        let what = format!("a message for {}", self.user);
        loop {
            match soon(&what, self.socket.next()).await.unwrap().unwrap() {
                tungstenite::Message::Binary(bytes) => return Message::decode(bytes).unwrap(),
                tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_) => {}
                other @ (tungstenite::Message::Text(_)
                | tungstenite::Message::Close(_)
                | tungstenite::Message::Frame(_)) => panic!("{what}, and got {other:?}"),
            }
        }
    }
}
