//! What requests have behind their path.

use switchboard::server::query::{QueryError, pairs, value};

/// A query that is taken says the same once it is written anew, no two names become one, and a value is given only where there is one.
pub fn http_query(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    let Ok(uri) = format!("/message?{text}").parse() else { return };
    let Ok(found) = pairs(&uri) else { return };
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let written: Vec<_> =
        found.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    let written = format!("/message?{}", written.join("&"));
    match written.parse() {
        Ok(uri) => assert_eq!(pairs(&uri).as_ref(), Ok(&found), "{written}"),
        // Three times as long, it may be longer than any.
        Err(error) => assert!(written.len() > 60_000, "{error}, of {written}"),
    }
    for (name, first) in &found {
        let alike = found.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).count();
        let expected = if alike == 1 { Ok(first.clone()) } else { Err(QueryError::Twice(name.clone())) };
        assert_eq!(value(&found, name), expected);
    }
    let has_user = found.iter().any(|(name, _)| name.eq_ignore_ascii_case("uuid"));
    assert!(has_user || value(&found, "Uuid") == Ok(String::new()));
}
