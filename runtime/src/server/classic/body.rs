//! What requests bring with them.

use std::time::Duration;

use axum::{body::Body, extract::Query, extract::rejection::QueryRejection};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;

use super::{Desk, answer::Fault};

/// The pairs of a query.
pub(super) type Pairs = Result<Query<Vec<(String, String)>>, QueryRejection>;

impl Desk {
    /// A request's JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, body: Body) -> Result<T, Fault> {
        let limit_bytes = self.rules.http.body_bytes;
        let time = Duration::from_millis(self.rules.http.body_timeout_ms);
        let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
        let bytes = match tokio::time::timeout(time, collect(body, limit)).await {
            Ok(Ok(Some(bytes))) => bytes,
            Ok(Ok(None)) => {
                return Err(Fault::refused(format!("the request has more than {limit_bytes} bytes")));
            }
            Ok(Err(error)) => return Err(Fault::refused(format!("the request broke off: {error}"))),
            Err(_) => return Err(Fault::refused("the request took too long to come")),
        };
        serde_json::from_slice(&bytes).map_err(|error| {
            // What is wrong may be as long as the request.
            let error: String = error.to_string().chars().filter(|c| !c.is_control()).take(200).collect();
            Fault::refused(format!("the request's JSON cannot be read: {error}"))
        })
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

/// The value of a query's name, in whatever letters it is written; empty if it is missing.
pub(super) fn value(pairs: &[(String, String)], name: &str) -> Result<String, Fault> {
    let mut values = pairs.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
    match (values.next(), values.next()) {
        (None, _) => Ok(String::new()),
        (Some((_, value)), None) => Ok(value.clone()),
        (Some(_), Some(_)) => Err(Fault::refused(format!("the query has {name} more than once"))),
    }
}

/// The pairs of a query that can be read.
pub(super) fn pairs(query: Pairs) -> Result<Vec<(String, String)>, Fault> {
    match query {
        Ok(Query(pairs)) => Ok(pairs),
        Err(error) => Err(Fault::refused(format!("the query cannot be read: {error}"))),
    }
}
