//! Files in a bucket of a server that speaks S3's API.
//!
//! What is asked is signed by `rusty-s3` (AWS Signature Version 4, in the URL) and sent by `ureq`, whose calls block, each for
//! a bounded time: one carries [`PART_BYTES`] at the most, so that a large file is uploaded in parts, and read in parts. Whatever
//! may have been bad luck is asked again, a bounded number of times; a clear answer is final.

mod ask;
mod options;

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusty_s3::actions::{
    AbortMultipartUpload, CompleteMultipartUpload, CompleteMultipartUploadResponse, CreateMultipartUpload,
    ListObjectsV2, ListObjectsV2Response, S3Action as _,
};
use rusty_s3::{Bucket, Credentials};
use ureq::SendBody;

pub use self::ask::Trouble;
use self::ask::{body, header, text};
pub use self::options::{S3Credentials, S3Error, S3Options, S3Style};
use super::disk::disk;
use super::files::{MediaError, type_of};
use super::objects::{Chunk, Listed, Objects};

/// Bytes of one upload; a larger file has several. S3 wants 5 MiB at least.
const PART_BYTES: u64 = 8 << 20;

/// How long a signature is good for: longer than any call takes, with clocks that are a little apart.
const SIGNED_FOR: Duration = Duration::from_secs(900);

/// Objects that are listed at a time; S3 gives no more.
const PAGE_OBJECTS: usize = 1_000;

/// The object that is written to see whether one can be.
const PROBE: &str = "probe";

/// A bucket, or what is in it below a prefix.
#[derive(Debug)]
pub(super) struct S3 {
    bucket: Bucket,
    credentials: Credentials,
    prefix: String,
    agent: ureq::Agent,
    attempts: u32,
}

impl S3 {
    pub(super) fn new(options: &S3Options) -> Result<Self, S3Error> {
        let S3Credentials { key_id, secret, token } = &options.credentials;
        let credentials = match token {
            Some(token) => Credentials::new_with_token(key_id, secret, token),
            None => Credentials::new(key_id, secret),
        };
        Ok(Self {
            bucket: options.bucket()?,
            credentials,
            prefix: options.prefix.clone(),
            agent: ask::agent(options.timeout),
            attempts: options.attempts.max(1),
        })
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// What is asked about, for an error message.
    fn object(&self, name: &str) -> String {
        if name.is_empty() {
            format!("the bucket {}", self.bucket.name())
        } else {
            format!("{}{name} of the bucket {}", self.prefix, self.bucket.name())
        }
    }

    /// Asks, and asks again if it may have been bad luck.
    fn ask<T>(
        &self,
        doing: &'static str,
        name: &str,
        attempt: impl FnMut() -> Result<T, Trouble>,
    ) -> Result<T, MediaError> {
        let failed = |source| MediaError::Bucket { doing, what: self.object(name), source };
        ask::again(self.attempts, attempt).map_err(failed)
    }

    /// Whether the bucket is there, and can be read.
    pub(super) fn look(&self) -> Result<(), MediaError> {
        self.page(None, 1).map(drop)
    }

    /// A part of the list of all objects, after the one that a token stands for.
    fn page(&self, after: Option<&str>, most: usize) -> Result<ListObjectsV2Response, MediaError> {
        self.ask("list", "", || {
            let mut action = self.bucket.list_objects_v2(Some(&self.credentials));
            action.with_prefix(self.prefix.as_str());
            action.with_max_keys(most);
            if let Some(token) = after {
                action.with_continuation_token(token);
            }
            let mut response = self.agent.get(action.sign(SIGNED_FOR).as_str()).call()?;
            match response.status().as_u16() {
                200 => {
                    ListObjectsV2::parse_response(&text(&mut response)?).map_err(|error| Trouble::odd(&error))
                }
                _ => Err(Trouble::answered(&mut response)),
            }
        })
    }

    fn put(&self, name: &str, from: &Path, size: u64) -> Result<(), MediaError> {
        let key = self.key(name);
        let url = || self.bucket.put_object(Some(&self.credentials), &key).sign(SIGNED_FOR).into();
        self.send_part("write", name, from, (0, size), url).map(drop)
    }

    /// Sends a part of a file, and gives its entity tag.
    fn send_part(
        &self,
        doing: &'static str,
        name: &str,
        from: &Path,
        (at, size): (u64, u64),
        url: impl Fn() -> String,
    ) -> Result<String, MediaError> {
        let mut file = File::open(from).map_err(disk("open", from))?;
        let content_type = type_of(name).map_or("application/octet-stream", |named| named.content_type);
        self.ask(doing, name, || {
            file.seek(SeekFrom::Start(at)).map_err(|error| Trouble::here(&error))?;
            let mut part = (&mut file).take(size);
            let request = self.agent.put(url()).header("content-type", content_type);
            let request = request.header("content-length", size);
            let mut response = request.send(SendBody::from_reader(&mut part))?;
            match response.status().as_u16() {
                200 => Ok(header(&response, "etag").unwrap_or_default().to_owned()),
                _ => Err(Trouble::answered(&mut response)),
            }
        })
    }

    fn put_in_parts(&self, name: &str, from: &Path, size: u64) -> Result<(), MediaError> {
        let key = self.key(name);
        let id = self.ask("begin to write", name, || {
            let action = self.bucket.create_multipart_upload(Some(&self.credentials), &key);
            let mut response = self.agent.post(action.sign(SIGNED_FOR).as_str()).send_empty()?;
            match response.status().as_u16() {
                200 => CreateMultipartUpload::parse_response(&text(&mut response)?)
                    .map(|begun| begun.upload_id().to_owned())
                    .map_err(|error| Trouble::odd(&error)),
                _ => Err(Trouble::answered(&mut response)),
            }
        })?;
        let sent = self.send_parts(name, from, size, &id);
        if sent.is_err() {
            // Its parts take space until somebody ends it; what cannot be ended is left to the bucket's rules.
            let action = AbortMultipartUpload::new(&self.bucket, Some(&self.credentials), &key, &id);
            let _ = self.agent.delete(action.sign(SIGNED_FOR).as_str()).call();
        }
        sent
    }

    fn send_parts(&self, name: &str, from: &Path, size: u64, id: &str) -> Result<(), MediaError> {
        let key = self.key(name);
        let (mut at, mut number, mut tags) = (0, 1_u16, Vec::new());
        while at < size {
            let part = PART_BYTES.min(size - at);
            let url = || {
                let action = self.bucket.upload_part(Some(&self.credentials), &key, number, id);
                action.sign(SIGNED_FOR).into()
            };
            tags.push(self.send_part("write a part of", name, from, (at, part), url)?);
            (at, number) = (at + part, number.saturating_add(1));
        }
        let done = self.ask("end the parts of", name, || {
            let tags = tags.iter().map(String::as_str);
            let action = CompleteMultipartUpload::new(&self.bucket, Some(&self.credentials), &key, id, tags);
            let url = action.sign(SIGNED_FOR);
            let mut response = self.agent.post(url.as_str()).send(action.body())?;
            match response.status().as_u16() {
                // It may have begun to answer before it knew.
                200 => CompleteMultipartUploadResponse::parse(&text(&mut response)?)
                    .map(drop)
                    .map_err(|error| Trouble::odd(&error)),
                _ => Err(Trouble::answered(&mut response)),
            }
        });
        // An answer that was lost leaves nothing to be ended the next time, and the file whole.
        done.or_else(|error| if self.size(name)? == Some(size) { Ok(()) } else { Err(error) })
    }

    fn delete(&self, name: &str) -> Result<(), MediaError> {
        let key = self.key(name);
        self.ask("remove", name, || {
            let action = self.bucket.delete_object(Some(&self.credentials), &key);
            let mut response = self.agent.delete(action.sign(SIGNED_FOR).as_str()).call()?;
            match response.status().as_u16() {
                200 | 204 => Ok(()),
                404 if !Trouble::answered(&mut response).is_about_the_bucket() => Ok(()),
                _ => Err(Trouble::answered(&mut response)),
            }
        })
    }
}

impl Objects for S3 {
    fn keep(&self, name: &str, from: &Path) -> Result<(), MediaError> {
        let size = std::fs::metadata(from).map_err(disk("look at", from))?.len();
        if size <= PART_BYTES { self.put(name, from, size) } else { self.put_in_parts(name, from, size) }
    }

    fn read(&self, name: &str, at: u64, most: usize) -> Result<Option<Chunk>, MediaError> {
        let key = self.key(name);
        let most = u64::try_from(most).unwrap_or(u64::MAX).max(1);
        self.ask("read", name, || {
            let url = self.bucket.get_object(Some(&self.credentials), &key).sign(SIGNED_FOR);
            let range = format!("bytes={at}-{}", at.saturating_add(most - 1));
            let mut response = self.agent.get(url.as_str()).header("range", range).call()?;
            let size_bytes = match response.status().as_u16() {
                206 => header(&response, "content-range")
                    .and_then(|range| {
                        range.strip_prefix(&format!("bytes {at}-"))?.rsplit('/').next()?.parse::<u64>().ok()
                    })
                    .ok_or_else(|| {
                        Trouble::wrong("it answers with another range than the one that was asked for")
                    })?,
                404 => {
                    let trouble = Trouble::answered(&mut response);
                    return if trouble.is_about_the_bucket() { Err(trouble) } else { Ok(None) };
                }
                200 => return Err(Trouble::wrong("it gives a whole file where a part was asked for")),
                _ => return Err(Trouble::answered(&mut response)),
            };
            let bytes = body(&mut response, most)?;
            let whole = most.min(size_bytes.saturating_sub(at));
            if u64::try_from(bytes.len()) != Ok(whole) || whole == 0 {
                return Err(Trouble::cut(bytes.len(), whole));
            }
            Ok(Some(Chunk { bytes, size_bytes }))
        })
    }

    fn size(&self, name: &str) -> Result<Option<u64>, MediaError> {
        let key = self.key(name);
        self.ask("look at", name, || {
            let url = self.bucket.head_object(Some(&self.credentials), &key).sign(SIGNED_FOR);
            let mut response = self.agent.head(url.as_str()).call()?;
            match response.status().as_u16() {
                200 => header(&response, "content-length")
                    .and_then(|length| length.parse().ok())
                    .map(Some)
                    .ok_or_else(|| Trouble::wrong("it does not say how large the file is")),
                404 => Ok(None),
                _ => Err(Trouble::answered(&mut response)),
            }
        })
    }

    fn remove(&self, name: &str) -> Result<(), MediaError> {
        self.delete(name)
    }

    fn list(&self, each: &mut dyn FnMut(Listed)) -> Result<(), MediaError> {
        let mut next: Option<String> = None;
        loop {
            let page = self.page(next.as_deref(), PAGE_OBJECTS)?;
            for object in page.contents {
                let Some(name) = object.key.strip_prefix(&self.prefix) else { continue };
                let written = object.last_modified.and_then(|time| time.parse::<jiff::Timestamp>().ok());
                each(Listed {
                    name: name.to_owned(),
                    size_bytes: object.size.unwrap_or_default(),
                    written_at_ms: written.map(jiff::Timestamp::as_millisecond),
                });
            }
            // A server that gives the same token for ever would keep us here for ever.
            match page.next_continuation_token {
                Some(token) if next.as_ref() != Some(&token) => next = Some(token),
                Some(_) | None => return Ok(()),
            }
        }
    }

    fn probe(&self) -> Result<(), MediaError> {
        self.look()?;
        let key = self.key(PROBE);
        self.ask("write", PROBE, || {
            let url = self.bucket.put_object(Some(&self.credentials), &key).sign(SIGNED_FOR);
            let mut response = self.agent.put(url.as_str()).send("probe")?;
            match response.status().as_u16() {
                200 => Ok(()),
                _ => Err(Trouble::answered(&mut response)),
            }
        })?;
        self.delete(PROBE)
    }

    fn path(&self, _name: &str) -> Option<PathBuf> {
        None
    }
}
