//! A script as a Rust test that fails as long as the bug is there.

use super::Script;
use super::run::Outcome;

/// A file for the tests of a crate that depends on `switchboard-sim`; `name` becomes the test's.
#[must_use]
pub fn test(name: &str, script: &Script, outcome: &Outcome) -> String {
    let text = script.to_string();
    // As many as no text in it has behind a quotation mark.
    let hashes = (1..).map(|count| "#".repeat(count)).find(|hashes| !text.contains(&format!("\"{hashes}")));
    let hashes = hashes.unwrap_or_default();
    let violation = outcome.violation.as_ref().map(ToString::to_string).unwrap_or_default();
    let story: String = outcome.story.iter().map(|line| format!("//! {line}\n")).collect();
    format!(
        "//! Made small from a recording by `switchboard-sim shrink`. Without the mending it fails:\n\
         //! {}\n//!\n//! ```text\n{}//! ```\n\n\
         #[test]\nfn {}() {{\n    switchboard_sim::script::holds(\n        r{hashes}\"{text}\"{hashes},\n    );\n}}\n",
        clean(&violation),
        clean_lines(&story),
        identifier(name),
    )
}

/// A name as Rust has them.
fn identifier(name: &str) -> String {
    let mut identifier: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    if !identifier.starts_with(|c: char| c.is_ascii_alphabetic()) {
        identifier.insert_str(0, "recorded_");
    }
    identifier
}

/// On one line.
fn clean(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

fn clean_lines(text: &str) -> String {
    text.replace('\r', " ")
}
