//! The text form of schedules.

use switchboard_sim::schedule::Schedule;

/// What can be read is the same once it is written and read again, and what is wrong has a line of its own.
pub fn schedule_text(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    match text.parse::<Schedule>() {
        Ok(schedule) => {
            let written = schedule.to_string();
            assert_eq!(written.parse().as_ref(), Ok(&schedule), "{written}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
