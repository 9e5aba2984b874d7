//! `switchboard openapi`: the document of the JSON API.

use crate::server::api;

/// The OpenAPI document, as JSON.
#[must_use]
pub fn openapi() -> String {
    // Nothing in it is a map with keys that are no texts, or could fail in another way.
    let mut text = api::document().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}
