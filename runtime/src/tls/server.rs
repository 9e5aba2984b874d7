//! What a server shows of itself to those who connect.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

use super::{
    certificate::{Certificate, CertificateFiles, TlsError, Validity},
    provider,
};

/// HTTP/1.1, the only one that is spoken (RFC 7301).
const ALPN: &[u8] = b"http/1.1";

/// A server's side of TLS. Its certificate can be replaced while it runs.
#[derive(Clone, Debug)]
pub(crate) struct ServerTls {
    files: Arc<CertificateFiles>,
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
}

/// The certificate that is shown to whoever connects next.
#[derive(Debug)]
struct Shown(Mutex<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl ServerTls {
    /// Begins with the certificate that is there now.
    pub(crate) fn start(files: CertificateFiles) -> Result<Self, TlsError> {
        let certificate = Certificate::load(&files)?;
        tell(&certificate);
        let shown = Arc::new(Shown(Mutex::new(certificate.key)));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Setup(Box::new(error)))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Who comes back resumes without the key's work. The server keeps nothing for it: the ticket has all.
        config.ticketer =
            rustls::crypto::ring::Ticketer::new().map_err(|error| TlsError::Setup(Box::new(error)))?;
        config.send_tls13_tickets = 1;
        Ok(Self { files: Arc::new(files), config: Arc::new(config), shown })
    }

    /// Reads the files again. Who connects from now on is shown what is there; if that cannot be used, nothing changes.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let certificate = Certificate::load(&self.files)?;
        tell(&certificate);
        *self.shown.0.lock().unwrap_or_else(PoisonError::into_inner) = certificate.key;
        Ok(())
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

fn tell(certificate: &Certificate) {
    let complaint = match certificate.validity(SystemTime::now()) {
        Validity::Good => return tracing::info!(%certificate, "TLS"),
        Validity::Soon => "it ends soon",
        Validity::NotYet => "it is not valid yet, and clients refuse it",
        Validity::Over => "it is over, and clients refuse it",
    };
    tracing::warn!(%certificate, "TLS: {complaint}");
}
