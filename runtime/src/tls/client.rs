//! Whom a client trusts.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::{
    certificate::{TlsError, chain},
    provider,
};

/// HTTP/1.1, in which WebSockets are asked for (RFC 6455).
const ALPN: &[u8] = b"http/1.1";

/// Why a client can trust nobody.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file of an authority cannot be read.
    #[error(transparent)]
    File(#[from] TlsError),
    /// What is in it cannot be an authority.
    #[error("the certificate in {path:?} cannot be trusted as an authority")]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<rustls::Error>,
    },
    /// The system has no authorities.
    #[error(
        "this system trusts no authority: install its certificates (ca-certificates), or name one (--ca)"
    )]
    None,
    /// The library does not take the configuration: a defect of this program.
    #[error("cannot set up TLS")]
    Setup(#[source] Box<rustls::Error>),
}

/// A client's side of TLS: whose servers it believes to be who they say. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClientTls(Arc<ClientConfig>);

impl ClientTls {
    /// Trusts the authorities that this system trusts.
    ///
    /// # Errors
    /// If there are none.
    pub fn system() -> Result<Self, TrustError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // A system's store may have some that cannot be used.
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(TrustError::None);
        }
        Self::trusting(roots)
    }

    /// Trusts the authorities in this PEM file and no others: a private one's, or a server's own certificate.
    ///
    /// # Errors
    /// If there is none in it.
    pub fn authority(path: &Path) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        for certificate in chain(path)? {
            roots.add(certificate).map_err(|source| TrustError::Authority {
                path: path.to_owned(),
                source: Box::new(source),
            })?;
        }
        Self::trusting(roots)
    }

    fn trusting(roots: RootCertStore) -> Result<Self, TrustError> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TrustError::Setup(Box::new(error)))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::clone(&self.0))
    }
}
