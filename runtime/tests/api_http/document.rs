//! The OpenAPI document.

use std::path::Path;

use serde_json::Value;

use crate::client::{Api, with_passwords};

/// All operations: path, method, and what the document says of each.
pub(crate) fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.push((path.clone(), method.to_uppercase(), operation.clone()));
        }
    }
    operations
}

pub(crate) fn document() -> Value {
    serde_json::from_str(&switchboard::commands::openapi()).unwrap()
}

/// The committed document is what the code says. `UPDATE_GENERATED=1` writes it anew.
#[test]
fn the_committed_document_is_the_codes() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let made = switchboard::commands::openapi();
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&file, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == made,
        "docs/openapi.json is not what the code says: UPDATE_GENERATED=1 cargo test writes it"
    );
}

#[tokio::test]
async fn the_server_serves_it() {
    let server = with_passwords();
    let reply = Api::nobody(&server).get("/api/v1/openapi.json").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json(), document());
    assert_eq!(document()["openapi"], "3.1.0");
}

#[test]
fn every_call_says_what_it_is_and_what_it_answers() {
    let document = document();
    let mut names = Vec::new();
    for (path, method, operation) in operations(&document) {
        let call = format!("{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{call}: no summary");
        assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{call}: one tag");
        assert!(operation["security"].is_array(), "{call}: whether a session is needed");
        names.push(operation["operationId"].as_str().unwrap().to_owned());
        let answers = operation["responses"].as_object().unwrap();
        assert!(answers.keys().any(|status| status.starts_with('2')), "{call}: no success");
        for (status, answer) in answers {
            let types: Vec<_> =
                answer["content"].as_object().map(|content| content.keys().collect()).unwrap_or_default();
            if !status.starts_with('2') {
                assert_eq!(types, ["application/problem+json"], "{call}: {status}");
            }
            let has_body = status != "204";
            assert_eq!(!types.is_empty(), has_body, "{call}: {status}");
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let schema = &parameter["schema"];
            let limits = ["maxLength", "maximum", "pattern", "enum", "$ref", "format"];
            let is_boolean = schema["type"] == "boolean";
            assert!(
                is_boolean || limits.iter().any(|limit| !schema[limit].is_null()),
                "{call}: {} has no limit",
                parameter["name"]
            );
            assert!(parameter["description"].is_string(), "{call}: {} is not described", parameter["name"]);
        }
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "operation ids are unique");
}
