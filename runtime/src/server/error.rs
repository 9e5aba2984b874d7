//! What keeps a server from starting, and what ends one.

use std::{io, net::SocketAddr};

use super::{FrontEndError, RecorderError, login_watch::LoginWatchError};
use crate::{
    accounts::StartError, media::MediaOpenError, store::OpenError, tls::TlsError, tokens::KeyFileError,
};

/// Why a server could not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The store could not be opened.
    #[error("cannot open the store")]
    Store(#[from] OpenError),
    /// The files' store could not be opened.
    #[error("cannot open the store of the files")]
    Media(#[from] MediaOpenError),
    /// The keys of signed tokens cannot be used.
    #[error("cannot read the keys of tokens")]
    Keys(#[from] KeyFileError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: check that no other program uses the port and that this one may")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("cannot speak TLS (tls_cert, tls_key)")]
    Tls(#[from] TlsError),
    /// There is no front-end where one is said to be.
    #[error("cannot serve a front-end (static)")]
    FrontEnd(#[from] FrontEndError),
    /// Recordings cannot be written where they are to be.
    #[error("cannot record (record.folder)")]
    Record(#[from] RecorderError),
    /// The system refused something that a server needs.
    #[error("cannot {doing}")]
    System {
        /// What it was needed for.
        doing: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Traces cannot be sent as the standard variables of OpenTelemetry say.
    #[error("cannot send traces as the variables OTEL_EXPORTER_OTLP_... say")]
    Telemetry(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A shard ended although nobody asked for it: a bug. What was stored is safe.
    #[error("shard {shard} has failed; the log above says why")]
    ShardFailed {
        /// Which.
        shard: usize,
    },
}

impl From<opentelemetry_otlp::ExporterBuildError> for ServerError {
    fn from(error: opentelemetry_otlp::ExporterBuildError) -> Self {
        Self::Telemetry(error.into())
    }
}

impl From<LoginWatchError> for ServerError {
    fn from(error: LoginWatchError) -> Self {
        let doing = "look which logins have ended";
        match error {
            LoginWatchError::Directory(error) => Self::System { doing, source: io::Error::other(error) },
            LoginWatchError::Thread(source) => Self::System { doing, source },
        }
    }
}

impl From<StartError> for ServerError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Open(error) => Self::Store(error),
            StartError::Keys(error) => Self::Keys(error),
            StartError::Thread(source) => {
                Self::System { doing: "start the threads for users and passwords", source }
            }
        }
    }
}
