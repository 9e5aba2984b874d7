//! Section `media`: where files are kept.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::media::{S3Credentials, S3Error, S3Options, S3Style};

/// Section `media`: files that users have sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// Where files are kept. Default `disk`.
    pub store: FileStore,
    /// Bytes of all files of one user. Default 0, without a limit; at most 1 PiB.
    pub user_bytes: u64,
    /// How long a file may be there without a message or a user that refers to it, in minutes. Default 60; 1 to 525,600.
    pub unused_minutes: u32,
    /// URL of the server that has the bucket. Default empty: Amazon's in the region.
    #[serde(deserialize_with = "endpoint")]
    pub s3_endpoint: String,
    /// The bucket's region. Default `us-east-1`, which is what servers take that have none.
    pub s3_region: String,
    /// The bucket's name. No default.
    pub s3_bucket: String,
    /// What the names of all files in the bucket begin with, like `chat/`. Default empty. No two servers have the same.
    #[serde(deserialize_with = "prefix")]
    pub s3_prefix: String,
    /// How the bucket is named in a URL. Default `path`.
    pub s3_style: BucketStyle,
    /// File with the key, in the form of `~/.aws/credentials`. Default empty: `AWS_ACCESS_KEY_ID` and
    /// `AWS_SECRET_ACCESS_KEY` of the environment.
    pub s3_credentials_file: String,
    /// How long one call to the server may take, in milliseconds. Default 30,000; 1 to a day.
    pub s3_timeout_ms: u64,
    /// How often one thing is asked of the server at the most, where another try may go well. Default 3; 1 to 10.
    pub s3_attempts: u32,
}

/// Where files are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileStore {
    /// In the data folder.
    Disk,
    /// In a bucket of a server that speaks S3's API.
    S3,
}

/// How a bucket is named in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BucketStyle {
    /// `https://HOST/BUCKET/NAME`.
    Path,
    /// `https://BUCKET.HOST/NAME`.
    VirtualHost,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            store: FileStore::Disk,
            user_bytes: 0,
            unused_minutes: 60,
            s3_endpoint: String::new(),
            s3_region: "us-east-1".to_owned(),
            s3_bucket: String::new(),
            s3_prefix: String::new(),
            s3_style: BucketStyle::Path,
            s3_credentials_file: String::new(),
            s3_timeout_ms: 30_000,
            s3_attempts: 3,
        }
    }
}

impl Media {
    /// The bucket that files are in, with its key from where the settings say; none if they are in the data folder.
    ///
    /// # Errors
    /// If there is no key.
    pub fn bucket(&self) -> Result<Option<S3Options>, S3Error> {
        match self.store {
            FileStore::Disk => return Ok(None),
            FileStore::S3 => {}
        }
        let file = Some(Path::new(&self.s3_credentials_file)).filter(|path| !path.as_os_str().is_empty());
        Ok(Some(S3Options {
            endpoint: self.s3_endpoint.clone(),
            region: self.s3_region.clone(),
            bucket: self.s3_bucket.clone(),
            prefix: self.s3_prefix.clone(),
            style: match self.s3_style {
                BucketStyle::Path => S3Style::Path,
                BucketStyle::VirtualHost => S3Style::VirtualHost,
            },
            credentials: S3Credentials::find(file, |name| std::env::var(name).ok())?,
            timeout: Duration::from_millis(self.s3_timeout_ms),
            attempts: self.s3_attempts,
        }))
    }
}

/// Takes a URL without a name and a password in it, which would be shown wherever settings are.
fn endpoint<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.contains(['@', '?', '#']) => Ok(text),
        None if text.is_empty() => Ok(text),
        Some(_) | None => Err(serde::de::Error::custom("it is not like https://s3.example")),
    }
}

/// Takes what a name in a bucket can begin with.
fn prefix<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
    let odd = text.starts_with('/')
        || text.contains("//")
        || text.split('/').any(|part| part == "." || part == "..");
    if plain && !odd && text.len() <= 512 {
        Ok(text)
    } else {
        Err(serde::de::Error::custom("it is not like chat/ or chat-"))
    }
}
