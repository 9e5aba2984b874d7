//! The text form of schedules: what is written is read again as the same, and what is wrong is refused.

use proptest::prelude::*;
use switchboard_sim::generate::{PROFILES, Sources, from_sources};
use switchboard_sim::schedule::Schedule;
use switchboard_sim::text::ParseError;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_printed_is_read_as_the_same(bytes in prop::collection::vec(any::<u8>(), 0..600), seed: u64, place in 0..PROFILES.len()) {
        let schedule = from_sources(Sources::from_bytes(&bytes), seed, PROFILES[place].0);
        prop_assert_eq!(schedule.to_string().parse::<Schedule>(), Ok(schedule));
    }
}

#[test]
fn another_version_is_refused_by_its_number() {
    let found = "switchboard-schedule 2\nseed 1\n".parse::<Schedule>();
    assert_eq!(found, Err(ParseError::Version { found: "2".to_owned() }));
    assert_eq!("hello".parse::<Schedule>(), Err(ParseError::NotASchedule));
    assert_eq!("".parse::<Schedule>(), Err(ParseError::NotASchedule));
}

#[test]
fn an_error_names_the_line_and_what_is_wrong() {
    let error = |line: &str| {
        let text = format!("switchboard-schedule 1\nclient c0 u0 raw\n{line}\n");
        text.parse::<Schedule>().unwrap_err().to_string()
    };
    assert_eq!(error("1 1 jump c0"), "line 3: jump is no verb of this format");
    assert_eq!(error("1 1 send c0 u1"), "line 3: send: bytes is missing");
    assert_eq!(error("1 1 send c0 x1 5"), "line 3: send: x1 is no to");
    assert_eq!(error("1 1 send c0 u1 5 6"), "line 3: send: 6 is one word too many");
    assert_eq!(error("set colour 3"), "line 3: colour is no setting");
    assert_eq!(error("client c2 u0 raw"), "line 3: c2 is out of order: clients are c0, c1, ...");
    assert_eq!(error("1 1 pause c7"), "line 3: step 1: there is no c7 in this world");
    assert_eq!(error("set nodes 99"), "line 3: nodes is 99, and must be from 1 to 16");
}

#[test]
fn numbers_that_no_world_can_carry_out_are_refused() {
    for line in [
        "set net_jitter_us 18446744073709551615",
        "set answer_jitter_us 500001",
        "18446744073709551615 1 connect c0 n0",
        "0 1 send c0 u1 4294967295",
        "0 1 burst c0 u1 10 4294967295",
        "0 1 pictures c0 u1 9 4294967295 0",
        "0 1 store 0 1001 0 0",
        "0 1 net all 18446744073709551615 0",
        "0 1 clock n0 -9223372036854775808",
        "0 1 rolling 18446744073709551615",
    ] {
        let text = format!("switchboard-schedule 1\nclient c0 u0 raw\n{line}\n");
        let error = text.parse::<Schedule>().unwrap_err().to_string();
        assert!(error.contains("must be"), "{line}: {error}");
    }
}
