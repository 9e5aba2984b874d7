//! The text form of what an engine is told.

use switchboard_sim::script::Script;

/// What can be read is the same once it is written and read again.
pub fn script_text(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    match text.parse::<Script>() {
        Ok(script) => {
            let written = script.to_string();
            let again = written.parse::<Script>();
            let again = again.unwrap_or_else(|error| panic!("{error}, of what was written:\n{written}"));
            // Events cannot be compared; all that is in them is shown.
            assert_eq!(format!("{again:?}"), format!("{script:?}"), "{written}");
            assert_eq!(again.to_string(), written);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
