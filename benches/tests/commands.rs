//! The commands, as they are typed, against the real server in this process.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is a failed test, and clippy's leave for tests ends at their bodies"
)]

mod server;

use std::fs;
use std::process::{Command, Output};

use self::server::TestServer;

fn run(arguments: &str) -> Output {
    let program = env!("CARGO_BIN_EXE_switchboard-bench");
    Command::new(program).args(arguments.split_whitespace()).output().unwrap()
}

#[test]
fn every_load_gives_a_table_json_and_a_chart() {
    let server = TestServer::start();
    let (target, pid) = (server.target.address, std::process::id());
    let folder = tempfile::tempdir().unwrap();
    let files = ["json", "svg"].map(|name| folder.path().join(name));
    for (command, first_words, key) in [
        ("direct --clients 2 --rate 50 --seconds 0.2", "direct, relay: 2 clients", "latency"),
        ("broadcast --clients 3 --rate 50 --seconds 0.2", "broadcast: one sends to 3", "latency"),
        ("group --groups 1 --members 2 --rate 50 --seconds 0.2", "group, classic: 1 groups", "latency"),
        ("durable --runs 1 --clients 2 --in-flight 1 --seconds 0.2", "durable: 2 clients", "durable"),
        ("stall --runs 1 --clients 2 --stalled 1 --rate 50 --seconds 0.2", "stall: one sends to 2", "ratio"),
        ("storm --clients 5 --staying 2 --rate 50", "storm, classic: 5 clients", "storm_seconds"),
        (
            "mixed --users 20 --couples 2 --peak 50 --couples-rate 20 --seconds 1",
            "mixed: a day of 20",
            "hours",
        ),
        ("resume --messages 20 --conversations 2 --runs 1", "resume: texts", "parts"),
        ("idle --connections 5 --settle-seconds 0.01,0.02", "idle, classic: 5", "settled"),
    ] {
        let [json, svg] = files.each_ref().map(|file| file.display());
        let warmup = if command.ends_with("--seconds 0.2") { "--warmup-seconds 0.01" } else { "" };
        let output =
            run(&format!("{command} {warmup} --target {target} --pid {pid} --json {json} --svg {svg}"));
        let (text, errors) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
        // A machine that is busy elsewhere may fall behind a rate, and says so.
        assert!(matches!(output.status.code(), Some(0 | 1)) && errors.is_empty(), "{command}: {errors}");
        assert!(text.starts_with(first_words), "{command}: {text}");
        let report: serde_json::Value = serde_json::from_slice(&fs::read(&files[0]).unwrap()).unwrap();
        assert!(report.get(key).is_some(), "{command}: {report}");
        let chart = fs::read_to_string(&files[1]).unwrap();
        let chart = roxmltree::Document::parse(&chart).unwrap();
        let bars = chart.descendants().filter(|node| node.has_tag_name("rect")).count();
        assert!(bars > 1, "{command}: an empty chart");
        files.iter().for_each(|file| fs::remove_file(file).unwrap());
    }
}

#[test]
fn wrong_usage_is_said_with_its_own_exit_code() {
    for (arguments, words) in [
        ("direct --clients 3 --target 127.0.0.1:1", "--clients must be even and at least 2"),
        ("direct --target 127.0.0.1:1,127.0.0.1:2", "--target must be one address for this load"),
        ("idle --target 192.0.2.1:80", "192.0.2.1:80 is not a loopback address"),
        ("idle --servers 0", "--servers must be between 1 and 64"),
        ("idle --settle-seconds 3,1 --target 127.0.0.1:1", "--settle-seconds must be in ascending order"),
        ("direct --set write_delay_ms", "KEY=VALUE"),
        ("peers --runs 0", "--runs must be at least 1, or reports of earlier rounds"),
        ("peers --seconds 0", "--seconds must be above 0"),
        ("peers --connections 0", "--connections must be between 1 and 400000"),
    ] {
        let output = run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && errors.contains(words), "{arguments}: {errors}");
    }
}

#[test]
fn what_is_wrong_with_the_server_itself_is_said_of_a_failure() {
    let output = run("group --server /bin/false");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.starts_with("switchboard-bench: /bin/false does not listen on "), "{errors}");
    assert_eq!(output.status.code(), Some(1));
}
