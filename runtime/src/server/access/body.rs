//! JSON that requests bring with them.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;

use super::Desk;

/// Why a request's JSON was not taken.
#[derive(Debug, thiserror::Error)]
pub(in crate::server) enum BodyError {
    #[error("the request has more than {limit_bytes} bytes")]
    TooLarge { limit_bytes: u32 },
    #[error("the request took too long to come")]
    TooSlow,
    #[error("the request broke off: {0}")]
    Broken(#[from] axum::Error),
    /// It is no JSON.
    #[error("the request's JSON cannot be read: {0}")]
    Syntax(String),
    /// It is JSON, of something else.
    #[error("the request's JSON cannot be read: {0}")]
    Data(String),
}

impl Desk {
    /// A request's JSON.
    pub(in crate::server) async fn json<T: DeserializeOwned>(&self, body: Body) -> Result<T, BodyError> {
        let limit_bytes = self.rules.http.body_bytes;
        let time = Duration::from_millis(self.rules.http.body_timeout_ms);
        let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
        let collected = tokio::time::timeout(time, collect(body, limit)).await;
        let bytes = collected.map_err(|_| BodyError::TooSlow)??.ok_or(BodyError::TooLarge { limit_bytes })?;
        let value = serde_json::from_slice(&bytes).map_err(|error| {
            // What is wrong may be as long as the request.
            let text = error.to_string().chars().filter(|c| !c.is_control()).take(200).collect();
            if error.is_data() { BodyError::Data(text) } else { BodyError::Syntax(text) }
        })?;
        // A list of the fields' values in their order would do as well for serde.
        let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        if first == Some(&b'{') {
            Ok(value)
        } else {
            Err(BodyError::Data("invalid type: not an object".into()))
        }
    }
}

/// How many times its limit of a body is read, when it has more: who still sends when the connection ends may
/// not see the answer.
const PATIENCE: usize = 4;

/// A body of at most so many bytes; none if it has more.
async fn collect(mut body: Body, limit: usize) -> Result<Option<Vec<u8>>, axum::Error> {
    let (mut bytes, mut count) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        // Trailers are of no interest.
        let Ok(data) = frame?.into_data() else { continue };
        count = count.saturating_add(data.len());
        if count <= limit {
            bytes.extend_from_slice(&data);
        } else if count > limit.saturating_mul(PATIENCE) {
            break;
        }
    }
    Ok(Some(bytes).filter(|_| count <= limit))
}
