//! A configuration as TOML that says where its values came from.

use std::fmt::Write as _;

use super::key::{KEYS, Key};
use super::load::{Loaded, Origin};

/// The value of a key as TOML.
pub(super) fn value(loaded: &Loaded, key: &Key) -> String {
    // Every value came from text and integers of TOML or from a default, so each can be written as such.
    let table = toml::Table::try_from(&loaded.config).unwrap_or_default();
    let (section, field) = key.parts();
    let value = match section {
        Some(section) => table.get(section).and_then(|section| section.get(field)),
        None => table.get(field),
    };
    value.map(ToString::to_string).unwrap_or_default()
}

pub(super) fn to_toml(loaded: &Loaded) -> String {
    let mut text = String::new();
    let mut current = None;
    for key in KEYS {
        let (section, field) = key.parts();
        if let Some(section) = section.filter(|_| section != current) {
            let _ = writeln!(text, "\n[{section}]");
        }
        current = section;
        let origin = loaded.origin(key.name);
        // As a setting it would read as chosen by name, and open any address.
        let off = if key.name == "auth" && origin == Origin::Default { "#" } else { "" };
        let _ = writeln!(text, "{off}{field} = {} # {origin}", value(loaded, key));
    }
    text
}
