//! What requests have behind their path.

use axum::extract::{Query, rejection::QueryRejection};

use super::answer::Fault;

/// The pairs of a query.
pub(super) type Pairs = Result<Query<Vec<(String, String)>>, QueryRejection>;

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
