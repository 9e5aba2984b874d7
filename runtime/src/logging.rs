//! Logs: what is written, and how. They go to the standard error, which leaves the standard output to what a
//! command gives.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::LogFormat;

/// Why logs cannot be written as asked.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// A part of the filter that names no level, and no target with one: most likely a misspelt level.
    #[error("{0:?} is not a level (off, error, warn, info, debug, trace), and not TARGET=LEVEL")]
    NotALevel(String),
    /// The filter cannot be read.
    #[error("the log filter {filter:?} cannot be read")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Logs of this process go somewhere already.
    #[error("logging has been set up before")]
    Twice(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Reads a filter: levels and `TARGET=LEVEL`, separated by commas, as `tracing-subscriber` describes them.
///
/// # Errors
/// If it, or a part between commas, is empty or cannot be read. A lone word that is not a level is an error, although it would be a
/// target: `inof` would silence everything else.
pub fn parse_filter(filter: &str) -> Result<EnvFilter, LoggingError> {
    let mut words = filter.split(',').filter(|part| !part.contains(['=', '[']));
    // An empty text parses as a level too.
    if let Some(word) = words.find(|word| word.is_empty() || word.parse::<LevelFilter>().is_err()) {
        return Err(LoggingError::NotALevel(word.to_owned()));
    }
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| LoggingError::Filter { filter: filter.to_owned(), source })
}

/// Sends the logs of this process to the standard error, for the rest of its life.
///
/// # Errors
/// If the filter is wrong (see [`parse_filter`]), or if this has been called before.
pub fn init(filter: &str, format: LogFormat) -> Result<(), LoggingError> {
    let filter = parse_filter(filter)?;
    // Where nobody reads the log any more there is nobody to be told so, and telling them would panic.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    match format {
        LogFormat::Text => {
            // https://no-color.org: set and not empty.
            let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let colours = std::io::stderr().is_terminal() && !plain;
            tracing::subscriber::set_global_default(builder.with_ansi(colours).finish())?;
        }
        LogFormat::Json => tracing::subscriber::set_global_default(builder.json().finish())?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_targets_and_spans_are_filters() {
        for filter in ["info", "OFF", "0", "warn,a::b=debug", "a=off,[span]=trace", "a[span{field}]"] {
            assert!(parse_filter(filter).is_ok(), "{filter}");
        }
    }

    #[test]
    fn a_word_that_is_no_level_is_not_taken_for_a_target() {
        for (filter, word) in [
            ("inof", "inof"),
            ("info,switchboard", "switchboard"),
            ("", ""),
            ("info,", ""),
            ("info, warn", " warn"),
        ] {
            let error = parse_filter(filter).unwrap_err();
            assert!(
                matches!(error, LoggingError::NotALevel(ref found) if found == word),
                "{filter}: {error}"
            );
        }
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_an_error() {
        for filter in ["a=loud", "=info", "a=b=c"] {
            assert!(matches!(parse_filter(filter), Err(LoggingError::Filter { .. })), "{filter}");
        }
    }
}
