//! A server's certificate and its key, from their files.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};
use x509_cert::der::Decode as _;

/// A certificate that ends sooner is to be replaced.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// Where they are, both in PEM (RFC 7468).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and behind it those that lead from it to an authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or nothing of its kind is in it.
    #[error("cannot read a {what} from {path:?}: it must be PEM, and readable for the server")]
    Read {
        /// What should be in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// The certificate is none, or of a kind that is not known.
    #[error("the certificate in {path:?} cannot be used")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: x509_cert::der::Error,
    },
    /// The key is of a kind that is not known, or another certificate's.
    #[error("the key in {:?} cannot be used with the certificate in {:?}: {advice}", files.key, files.certificate)]
    Key {
        /// The files of both.
        files: Box<CertificateFiles>,
        /// What would be right.
        advice: &'static str,
        /// What is wrong.
        source: Box<rustls::Error>,
    },
    /// The library does not take the configuration: a defect of this program.
    #[error("cannot set up TLS")]
    Setup(#[source] Box<rustls::Error>),
}

/// A certificate that can be used, with its key.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    subject: String,
    from: SystemTime,
    to: SystemTime,
}

/// How long a certificate is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    Good,
    Soon,
    NotYet,
    Over,
}

impl Certificate {
    pub(crate) fn load(files: &CertificateFiles) -> Result<Self, TlsError> {
        let CertificateFiles { certificate, key } = files;
        let chain = chain(certificate)?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::Read {
            what: "private key",
            path: key.clone(),
            source,
        })?;
        let first = chain.first().map(|first| first.as_ref()).unwrap_or_default();
        let parsed = x509_cert::Certificate::from_der(first)
            .map_err(|source| TlsError::Certificate { path: certificate.clone(), source })?;
        let parsed = parsed.tbs_certificate();
        let (subject, validity) = (parsed.subject().to_string(), *parsed.validity());
        let certified = CertifiedKey::from_der(chain, private, &super::provider()).map_err(|source| {
            let advice = if matches!(source, rustls::Error::InconsistentKeys(_)) {
                "it is another one's; name the key that belongs to it"
            } else {
                "it must be an RSA, ECDSA (P-256, P-384) or Ed25519 key in PKCS#8, PKCS#1 or SEC1"
            };
            TlsError::Key { files: Box::new(files.clone()), advice, source: Box::new(source) }
        })?;
        Ok(Self {
            key: Arc::new(certified),
            subject,
            from: validity.not_before.to_system_time(),
            to: validity.not_after.to_system_time(),
        })
    }

    pub(crate) fn validity(&self, now: SystemTime) -> Validity {
        if now < self.from {
            Validity::NotYet
        } else if now > self.to {
            Validity::Over
        } else if now + SOON > self.to {
            Validity::Soon
        } else {
            Validity::Good
        }
    }
}

/// For people: whose it is, and until when.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: SystemTime| jiff::Timestamp::try_from(time).map(|time| time.to_string());
        let (from, to) = (time(self.from).unwrap_or_default(), time(self.to).unwrap_or_default());
        write!(f, "{:?}, from {from} to {to}", self.subject)
    }
}

/// All certificates in a file: one at least.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::Read { what: "certificate", path: path.to_owned(), source };
    let chain: Vec<_> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(failed)?;
    if chain.is_empty() { Err(failed(pem::Error::NoItemsFound)) } else { Ok(chain) }
}
