//! TLS (RFC 8446, RFC 5246): the server's certificate, and whom a client trusts.

mod certificate;
mod client;
mod local;
mod server;

pub(crate) use self::{
    certificate::{Certificate, Validity},
    local::local,
    server::ServerTls,
};
pub use self::{
    certificate::{CertificateFiles, TlsError},
    client::{ClientTls, TrustError},
};

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// What is computed with: ring, which is built with nothing but a C compiler.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
