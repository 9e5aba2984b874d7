//! What people may write about themselves.

use super::AccountError;

/// A text of a person, trimmed: at most so many bytes, without control characters and without those that turn the
/// direction of what follows (Unicode TR 9), which make one name look like another.
pub(crate) fn check(what: &'static str, text: &str, limit_bytes: u32) -> Result<String, AccountError> {
    let text = text.trim();
    let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
    if text.len() > limit {
        return Err(AccountError::TooLong { what, bytes: text.len(), limit_bytes });
    }
    if text.chars().any(|c| c.is_control() || is_direction(c)) {
        return Err(AccountError::ControlCharacter { what });
    }
    Ok(text.to_owned())
}

/// As [`check`], for what cannot be left out.
pub(crate) fn check_present(
    what: &'static str,
    text: &str,
    limit_bytes: u32,
) -> Result<String, AccountError> {
    let text = check(what, text, limit_bytes)?;
    if text.is_empty() { Err(AccountError::Missing { what }) } else { Ok(text) }
}

/// As [`check_present`], for what tells people apart: without characters that nobody sees (Unicode's Default_Ignorable_Code_Point), by which one
/// name looks like another.
pub(crate) fn check_name(what: &'static str, text: &str, limit_bytes: u32) -> Result<String, AccountError> {
    let text = check_present(what, text, limit_bytes)?;
    if text.chars().any(is_invisible) { Err(AccountError::Invisible { what }) } else { Ok(text) }
}

const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

const fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_nothing_in_it_that_nobody_sees() {
        for wrong in ["ali\u{ad}ce", "\u{feff}alice", "alice\u{34f}", "a\u{200b}lice", "alice\u{fe0f}"] {
            assert!(check_name("user name", wrong, 64).is_err(), "{wrong:?}");
            assert!(check("nickname", wrong, 64).is_ok(), "emoji have some of them");
        }
        assert_eq!(check_name("user name", " Jürgen 李 ", 64).unwrap(), "Jürgen 李");
    }

    #[test]
    fn texts_are_trimmed_and_limited_in_bytes() {
        assert_eq!(check("name", "  Jürgen Müller \n", 64).unwrap(), "Jürgen Müller");
        assert!(check("name", &"é".repeat(32), 64).is_ok());
        let error = check("name", &"x".repeat(1_000_000), 64).unwrap_err().to_string();
        assert_eq!(error, "the name has 1000000 bytes; at most 64 are taken");
        for wrong in ["a\nb", "a\0", "\u{202e}ecila", "a\u{85}b"] {
            assert!(check("name", wrong, 64).is_err(), "{wrong:?}");
        }
        assert!(check("name", "", 64).is_ok());
        assert!(check_present("name", " \t ", 64).is_err());
    }
}
