//! What requests have behind their path.

use axum::{extract::Query, http::Uri};

/// Why a query is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It is none.
    #[error("the query cannot be read: {0}")]
    Malformed(String),
    /// It is not UTF-8 once it is decoded. What is not would come as one and the same character, and two names must not become one.
    #[error("the query cannot be read: it is not UTF-8")]
    NotUtf8,
    /// A name that may be there once is there more often.
    #[error("the query has {0} more than once")]
    Twice(String),
}

/// The names and values of a query, decoded, in their order.
///
/// # Errors
/// If it cannot be read.
pub fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, QueryError> {
    if !is_utf8(uri) {
        return Err(QueryError::NotUtf8);
    }
    match Query::try_from_uri(uri) {
        Ok(Query(pairs)) => Ok(pairs),
        Err(error) => Err(QueryError::Malformed(error.to_string())),
    }
}

/// The value of a name, in whatever letters that is written; empty if it is missing.
///
/// # Errors
/// If it is there more than once.
pub fn value(pairs: &[(String, String)], name: &str) -> Result<String, QueryError> {
    let mut values = pairs.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
    match (values.next(), values.next()) {
        (None, _) => Ok(String::new()),
        (Some((_, value)), None) => Ok(value.clone()),
        (Some(_), Some(_)) => Err(QueryError::Twice(name.to_owned())),
    }
}

/// Whether a query is UTF-8 once it is decoded.
pub(super) fn is_utf8(uri: &Uri) -> bool {
    uri.query().is_none_or(|query| percent_encoding::percent_decode_str(query).decode_utf8().is_ok())
}
