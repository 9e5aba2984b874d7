//! Which bucket, and with which key.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusty_s3::{Bucket, BucketError, UrlStyle};

/// Names in the environment, and in the file, as other programs for S3 have them.
const KEY_ID: &str = "aws_access_key_id";
const SECRET: &str = "aws_secret_access_key";
const TOKEN: &str = "aws_session_token";

/// A file of credentials is not larger than this.
const FILE_LIMIT_BYTES: u64 = 64 << 10;

/// A bucket of a server that speaks S3's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Options {
    /// The server's URL; empty for Amazon's in the region.
    pub endpoint: String,
    /// The bucket's region.
    pub region: String,
    /// The bucket's name.
    pub bucket: String,
    /// What all names in it begin with; may be empty.
    pub prefix: String,
    /// How the bucket is named in a URL.
    pub style: S3Style,
    /// Who asks.
    pub credentials: S3Credentials,
    /// How long one call may take.
    pub timeout: Duration,
    /// How often one thing is asked at the most.
    pub attempts: u32,
}

/// How a bucket is named in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum S3Style {
    /// `https://HOST/BUCKET/NAME`.
    Path,
    /// `https://BUCKET.HOST/NAME`.
    VirtualHost,
}

/// A key and its secret. What is secret of it is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Credentials {
    /// The key's name.
    pub key_id: String,
    /// What requests are signed with.
    pub secret: String,
    /// What goes with a key for a while.
    pub token: Option<String>,
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Credentials").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// Why a bucket cannot be used as it is named.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// There is no name.
    #[error("media.store is \"s3\", and media.s3_bucket names no bucket")]
    NoBucket,
    /// The URL is none.
    #[error("media.s3_endpoint = {url:?} must be a URL like \"https://s3.example\": {reason}")]
    Endpoint {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no key.
    #[error(
        "media.store is \"s3\", and there is no key for it: set the environment variables AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY, or name a file that has them with media.s3_credentials_file"
    )]
    NoCredentials,
    /// The file with the key cannot be read.
    #[error("cannot read the credentials for S3 in {}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file has no key.
    #[error("{} has no lines aws_access_key_id = ... and aws_secret_access_key = ...", .path.display())]
    FileWithout {
        /// Which.
        path: PathBuf,
    },
}

impl S3Options {
    pub(super) fn bucket(&self) -> Result<Bucket, S3Error> {
        if self.bucket.is_empty() {
            return Err(S3Error::NoBucket);
        }
        let url = if self.endpoint.is_empty() {
            format!("https://s3.{}.amazonaws.com", self.region)
        } else {
            self.endpoint.clone()
        };
        let wrong = |reason: String| S3Error::Endpoint { url: url.clone(), reason };
        let endpoint = url.parse().map_err(|error| wrong(format!("{error}")))?;
        let style = match self.style {
            S3Style::Path => UrlStyle::Path,
            S3Style::VirtualHost => UrlStyle::VirtualHost,
        };
        Bucket::new(endpoint, style, self.bucket.clone(), self.region.clone()).map_err(|error| {
            wrong(match error {
                BucketError::UnsupportedScheme => "it is neither http nor https".to_owned(),
                BucketError::MissingHost => "it has no host".to_owned(),
                BucketError::ParseError(error) => format!("with the bucket {}: {error}", self.bucket),
            })
        })
    }
}

impl S3Credentials {
    /// The key in a file, of the form that other programs for S3 have; without a file, the one in the environment.
    ///
    /// # Errors
    /// If there is none, or the file cannot be read.
    pub fn find(file: Option<&Path>, variable: impl Fn(&str) -> Option<String>) -> Result<Self, S3Error> {
        let Some(path) = file else {
            let variable = |name: &str| variable(&name.to_ascii_uppercase()).filter(|text| !text.is_empty());
            let (Some(key_id), Some(secret)) = (variable(KEY_ID), variable(SECRET)) else {
                return Err(S3Error::NoCredentials);
            };
            return Ok(Self { key_id, secret, token: variable(TOKEN) });
        };
        let failed = |source| S3Error::File { path: path.to_owned(), source };
        let size = fs::metadata(path).map_err(failed)?.len();
        if size > FILE_LIMIT_BYTES {
            let text = format!("it has {size} bytes, which is no file of credentials");
            return Err(failed(io::Error::new(io::ErrorKind::InvalidData, text)));
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        Self::read(&text).ok_or_else(|| S3Error::FileWithout { path: path.to_owned() })
    }

    /// The key of the section `[default]`, or of a file without sections.
    fn read(text: &str) -> Option<Self> {
        let mut is_ours = true;
        let (mut key_id, mut secret, mut token) = (None, None, None);
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                is_ours = line == "[default]";
            }
            let Some((name, value)) = line.split_once('=').filter(|_| is_ours) else { continue };
            let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match name.trim() {
                KEY_ID => key_id = value,
                SECRET => secret = value,
                TOKEN => token = value,
                _ => {}
            }
        }
        Some(Self { key_id: key_id?, secret: secret?, token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(endpoint: &str, bucket: &str, style: S3Style) -> S3Options {
        S3Options {
            endpoint: endpoint.to_owned(),
            region: "eu-central-1".to_owned(),
            bucket: bucket.to_owned(),
            prefix: String::new(),
            style,
            credentials: S3Credentials { key_id: "id".into(), secret: "hush".into(), token: None },
            timeout: Duration::from_secs(1),
            attempts: 1,
        }
    }

    #[test]
    fn buckets_are_addressed_in_both_styles() {
        for (endpoint, style, url) in [
            ("", S3Style::VirtualHost, "https://chat.s3.eu-central-1.amazonaws.com/"),
            ("", S3Style::Path, "https://s3.eu-central-1.amazonaws.com/chat/"),
            ("http://127.0.0.1:9000", S3Style::Path, "http://127.0.0.1:9000/chat/"),
            ("https://s3.example/store", S3Style::VirtualHost, "https://chat.s3.example/store/"),
        ] {
            let bucket = options(endpoint, "chat", style).bucket().unwrap();
            assert_eq!(bucket.base_url().as_str(), url);
        }
    }

    #[test]
    fn what_is_no_bucket_is_said_to_be_none() {
        for (endpoint, bucket, style, text) in [
            ("", "", S3Style::Path, "media.s3_bucket names no bucket"),
            ("ftp://x", "chat", S3Style::Path, "neither http nor https"),
            ("nonsense", "chat", S3Style::Path, "relative URL"),
            ("http://127.0.0.1:1", "chat", S3Style::VirtualHost, "with the bucket chat"),
        ] {
            let error = options(endpoint, bucket, style).bucket().unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn credentials_are_found_in_the_environment_or_in_a_file() {
        let variable = |name: &str| match name {
            "AWS_ACCESS_KEY_ID" => Some("id".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some("hush".to_owned()),
            _ => None,
        };
        let found = S3Credentials::find(None, variable).unwrap();
        assert_eq!((&*found.key_id, &*found.secret, &found.token), ("id", "hush", &None));
        assert!(!format!("{found:?}").contains("hush"));
        assert!(matches!(S3Credentials::find(None, |_| None), Err(S3Error::NoCredentials)));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(
            &path,
            "# mine\n[default]\naws_access_key_id = a\naws_secret_access_key=b=\n[x]\naws_session_token=t",
        )
        .unwrap();
        let found = S3Credentials::find(Some(&path), |_| None).unwrap();
        assert_eq!((&*found.key_id, &*found.secret, &found.token), ("a", "b=", &None));
        fs::write(&path, "aws_access_key_id = a\naws_secret_access_key =\n").unwrap();
        assert!(matches!(S3Credentials::find(Some(&path), variable), Err(S3Error::FileWithout { .. })));
        assert!(matches!(S3Credentials::find(Some(folder.path()), variable), Err(S3Error::File { .. })));
    }
}
