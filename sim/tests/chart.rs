//! Sequence charts: they are well-formed, show everybody and everything that is lost, and keep their bound; and
//! what is only watched does not change.

use std::collections::BTreeSet;

use switchboard_sim::canaries::{Bug, StoreCanary, WithBug};
use switchboard_sim::chart::{Chart, render};
use switchboard_sim::check::Violation;
use switchboard_sim::generate::{PROFILES, generate};
use switchboard_sim::runner::execute_caught;
use switchboard_sim::schedule::{ClientNo, Schedule, What};
use switchboard_sim::trace::{Kind, Lane, Mark, Via};
use switchboard_sim::world::{Options, Outcome, Target};

const TRACED: Options = Options {
    sweep_every: 1,
    trace: true,
    until_us: None,
    target: Target::Shipped,
    shadow: true,
    specification: true,
};

/// Two nodes, three clients, and most ways in which something gets lost.
const FAULTS: &str = "switchboard-schedule 1
seed 5
set nodes 2
set users 3
client c0 u0 raw
client c1 u1 raw
client c2 u2 engine
group g0 u0 u1 u2
0 1 connect c0 n0
10 2 connect c1 n1
20 3 connect c2 n0
20000 5 bus 0 1000 0 0
21000 6 send c0 g0 0
30000 7 bus 0 0 0 0
30100 8 partition n0 n1 both
31000 9 send c1 g0 0
40000 10 rejoin
41000 11 store 0 0 1000 0
42000 12 send c1 u0 0
50000 13 store 0 0 0 0
51000 14 pause c1
52000 15 send c0 u1 100
60000 16 resume c1
70000 19 cut c0 nobody 40000
71000 20 send c0 u1 0
150000 22 crash n1 100000
150500 23 send c1 u0 0
400000 25 connect c1 n1
";

fn faults() -> Schedule {
    FAULTS.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn until(until_us: u64) -> Options {
    Options { until_us: Some(until_us), ..TRACED }
}

/// All text that a chart shows, tool-tips included.
fn shown(svg: &roxmltree::Document<'_>) -> Vec<String> {
    svg.descendants()
        .filter(|node| node.is_text())
        .filter_map(|node| node.text())
        .map(|text| text.trim().to_owned())
        .collect()
}

/// How many elements have this class.
fn of_class(svg: &roxmltree::Document<'_>, class: &str) -> usize {
    svg.descendants()
        .filter(|node| node.attribute("class").is_some_and(|found| found.split(' ').any(|c| c == class)))
        .count()
}

fn losses(outcome: &Outcome) -> Vec<&'static str> {
    let why = |mark: &Mark| if let Kind::Lost { why, .. } = mark.kind { Some(why) } else { None };
    outcome.trace.iter().filter_map(why).collect()
}

#[test]
fn a_chart_is_well_formed_and_has_one_lifeline_for_each_who_takes_part() {
    let schedule = faults();
    let outcome = execute_caught(&schedule, until(500_000));
    let text = render(&Chart::of("faults", &schedule, &outcome));
    let svg = roxmltree::Document::parse(&text).unwrap();
    let ids: Vec<_> = svg
        .descendants()
        .filter(|node| node.attribute("class") == Some("lifeline"))
        .filter_map(|node| node.attribute("id"))
        .collect();
    let expected = ["c0", "c1", "c2", "n0-0", "n1-0", "store"].map(|lane| format!("lifeline-{lane}"));
    assert_eq!(ids, expected);
    let words = shown(&svg);
    for step in &schedule.steps {
        let label = format!("#{} {}", step.id, step.what);
        assert!(words.contains(&label), "{label} is not shown");
    }
}

#[test]
fn everything_that_is_lost_ends_in_a_cross_and_says_why() {
    let schedule = faults();
    let outcome = execute_caught(&schedule, until(500_000));
    let losses = losses(&outcome);
    let reasons: BTreeSet<_> = losses.iter().copied().collect();
    for why in ["lost on the bus", "partitioned", "done, not answered", "the connection is dead"] {
        assert!(reasons.contains(why), "{why} is not among {reasons:?}");
    }
    let text = render(&Chart::of("faults", &schedule, &outcome));
    let svg = roxmltree::Document::parse(&text).unwrap();
    assert_eq!(of_class(&svg, "lost"), losses.len());
    // One more is in the legend.
    assert_eq!(of_class(&svg, "cross"), losses.len() + 1);
    let words = shown(&svg);
    assert!(reasons.iter().all(|why| words.iter().any(|text| text == why)));
}

#[test]
fn the_trace_says_when_what_arrives_has_left() {
    let outcome = execute_caught(&faults(), until(500_000));
    let sent = |mark: &Mark| {
        if let Kind::Sent { transfer, text, via: Via::Message, to: Lane::Client(1), .. } = &mark.kind
            && text == "m15.0 u0→u1"
        {
            return Some((*transfer, mark.at_us));
        }
        None
    };
    let (transfer, left_us) = outcome.trace.iter().find_map(sent).unwrap();
    let arrived = outcome.trace.iter().find(|mark| mark.kind == Kind::Arrived { transfer }).unwrap();
    // Its client does not read until then.
    assert_eq!(arrived.at_us, 60_000);
    assert!((52_000..60_000).contains(&left_us), "{left_us}");
}

#[test]
fn each_transfer_and_each_state_ends_once_at_the_most() {
    for seed in 0..4 {
        let outcome = execute_caught(&generate(seed, "storm").unwrap(), TRACED);
        let (mut open, mut last_us) = (BTreeSet::new(), 0);
        for mark in &outcome.trace {
            assert!(mark.at_us >= last_us, "the log is in the order of time");
            last_us = mark.at_us;
            match mark.kind {
                Kind::Sent { transfer: name, .. } | Kind::Began { span: name, .. } => {
                    assert!(open.insert(name), "seed {seed}: {name} begins twice");
                }
                Kind::Arrived { transfer: name }
                | Kind::Lost { transfer: name, .. }
                | Kind::Ended { span: name } => assert!(open.remove(&name), "seed {seed}: {name} ends twice"),
                Kind::Step { .. } | Kind::Note { .. } => {}
            }
        }
    }
}

#[test]
fn a_chart_of_a_failing_run_ends_with_the_violation_and_nothing_that_comes_after_it() {
    let bug = WithBug(Bug::Store(StoreCanary::SeqSkips));
    let found = (0..200).find_map(|seed| {
        let schedule = generate(seed, "small").unwrap();
        let outcome = bug.execute(&schedule, TRACED);
        outcome.violation.is_some().then_some((schedule, outcome))
    });
    let (schedule, outcome) = found.unwrap();
    let violation = outcome.violation.clone().unwrap();
    let text = render(&Chart::of("planted", &schedule, &outcome));
    let svg = roxmltree::Document::parse(&text).unwrap();
    let bar = svg.descendants().find(|node| node.attribute("id") == Some("verdict")).unwrap();
    let words: Vec<_> = bar
        .descendants()
        .filter(|node| node.is_text())
        .filter_map(|node| node.text())
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .collect();
    assert!(words[0].contains(violation.check), "{words:?}");
    assert_eq!(words[1..].join(" "), violation.what);
    assert!(outcome.trace.last().is_some_and(|mark| mark.at_us <= outcome.virtual_us));
}

#[test]
fn what_was_seen_before_a_panic_is_kept_and_shown() {
    let mut schedule = faults();
    // A client that is not there: reading a schedule would refuse it, and the world panics.
    schedule.steps[5].what = What::Pause { client: ClientNo(99) };
    let outcome = execute_caught(&schedule, TRACED);
    assert_eq!(outcome.violation.as_ref().map(|violation| violation.check), Some("crash"));
    assert!(outcome.trace.len() > 5, "{:?}", outcome.trace);
    let text = render(&Chart::of("crash", &schedule, &outcome));
    assert!(shown(&roxmltree::Document::parse(&text).unwrap()).iter().any(|text| text.contains("crash")));
}

#[test]
fn a_chart_of_a_long_run_keeps_its_bound_and_says_what_it_leaves_out() {
    let schedule = generate(1, "bench").unwrap();
    let outcome = execute_caught(&schedule, Options { sweep_every: 64, ..until(2_000_000) });
    assert!(outcome.trace.len() > 3_000, "{}", outcome.trace.len());
    let text = render(&Chart::of("bench", &schedule, &outcome));
    assert!(text.len() < 1 << 20, "{} bytes", text.len());
    let svg = roxmltree::Document::parse(&text).unwrap();
    assert!(shown(&svg).iter().any(|text| text.contains("earlier rows are left out")));
    let shorter = render(&Chart { rows: 20, ..Chart::of("bench", &schedule, &outcome) });
    assert!(shorter.len() < text.len());
}

#[test]
fn whatever_a_text_contains_the_chart_is_well_formed_and_shows_it() {
    let schedule = faults();
    let hostile = "<&>\"'\u{1}]]>";
    let marks = [
        Mark { at_us: 0, kind: Kind::Note { lane: Lane::Client(0), text: hostile.to_owned() } },
        Mark {
            at_us: 1,
            kind: Kind::Sent {
                transfer: 1,
                from: Lane::Client(0),
                to: Lane::Shard(0, 0),
                via: Via::Message,
                text: hostile.to_owned(),
            },
        },
        Mark { at_us: 2, kind: Kind::Arrived { transfer: 1 } },
    ];
    let violation = Violation { check: "no-leak", what: hostile.repeat(40), at_us: 2 };
    let chart =
        Chart { title: hostile, schedule: &schedule, trace: &marks, violation: Some(&violation), rows: 10 };
    let text = render(&chart);
    let svg = roxmltree::Document::parse(&text).unwrap();
    let expected = hostile.replace('\u{1}', "\u{fffd}");
    assert!(shown(&svg).iter().filter(|text| **text == expected).count() >= 3);
}

#[test]
fn a_chart_of_nothing_is_a_chart() {
    let schedule = faults();
    let chart = Chart { title: "", schedule: &schedule, trace: &[], violation: None, rows: 0 };
    assert!(roxmltree::Document::parse(&render(&chart)).is_ok());
}

#[test]
fn being_watched_changes_nothing() {
    for (profile, _) in PROFILES.iter().filter(|(profile, _)| !profile.starts_with("bench")) {
        for seed in 0..6 {
            let schedule = generate(seed, profile).unwrap();
            let alone = execute_caught(&schedule, Options::default());
            let watched = execute_caught(&schedule, Options { trace: true, ..Options::default() });
            assert!(alone.trace.is_empty() && !watched.trace.is_empty());
            assert_eq!(
                (alone.digest, alone.events, alone.virtual_us, alone.violation),
                (watched.digest, watched.events, watched.virtual_us, watched.violation),
                "seed {seed} of {profile}"
            );
        }
    }
}
