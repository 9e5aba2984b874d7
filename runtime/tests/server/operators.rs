//! What operators are told: figures, readiness, and the log of requests.

use std::{collections::BTreeMap, net::SocketAddr};

use switchboard_engine::{Gauges, Stats};
use tokio::io::AsyncReadExt as _;

use crate::{
    harness::{Client, TestServer, soon, text},
    process::Process,
    raw::{Raw, Response, get, upgrade_request},
};

const DASHBOARD: &str = include_str!("../../deploy/grafana-dashboard.json");

async fn request(address: SocketAddr, head: &str) -> Response {
    let mut raw = Raw::connect(address).await;
    raw.write(format!("{head}\r\nHost: localhost\r\n\r\n").as_bytes()).await;
    raw.response().await
}

/// The samples of a text of figures.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

async fn figures(address: SocketAddr) -> String {
    let response = get(address, "/metrics").await;
    assert_eq!(response.status, 200);
    response.body
}

/// Asks whether the server is ready until it says this.
async fn ready_becomes(address: SocketAddr, status: u16, reason: &str) {
    let asking = async {
        loop {
            let response = get(address, "/readyz").await;
            if response.status == status && response.body.contains(reason) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    soon(&format!("{status} and {reason:?}"), asking).await;
}

#[tokio::test]
async fn figures_tell_what_has_happened_on_each_shard() {
    let server = TestServer::with_shards(2);
    let [mut alice, mut bob] = server.clients(["alice", "bob"]).await;
    for n in 0..10 {
        alice.send(&text("bob", &n.to_string())).await;
        assert_eq!(bob.content().await, n.to_string());
    }
    let text = figures(server.address).await;
    let samples = samples(&text);
    let sum = |name: &str| {
        let of = |sample: &&str| sample.split('{').next() == Some(name);
        samples.iter().filter(|(sample, _)| of(sample)).map(|(_, value)| value).sum::<f64>()
    };
    assert_eq!(sum("switchboard_engine_received_total"), 10.0);
    assert_eq!(sum("switchboard_engine_stored_total"), 10.0);
    assert_eq!(sum("switchboard_connections"), 2.0);
    assert_eq!(sum("switchboard_shard_up"), 2.0);
    assert!(sum("switchboard_store_commits_total") >= 1.0);
    assert!(sum("switchboard_flush_seconds_count") >= 12.0, "{text}");
    assert!(sum("switchboard_store_answer_seconds_count") >= 12.0);
    assert_eq!(sum("switchboard_bus_records_total"), sum("switchboard_bus_seconds_count"));
    assert_eq!(samples["switchboard_http_requests_total{status=\"1xx\"}"], 2.0);
    for shard in 0..2 {
        for (name, _) in Stats::default().iter() {
            assert!(samples.contains_key(&*format!("switchboard_engine_{name}_total{{shard=\"{shard}\"}}")));
        }
        for (name, _) in Gauges::default().iter() {
            assert!(samples.contains_key(&*format!("switchboard_{name}{{shard=\"{shard}\"}}")), "{name}");
        }
    }
    if cfg!(target_os = "linux") {
        assert!(samples["process_open_fds"] > 2.0 && samples["process_resident_memory_bytes"] > 1e6);
        assert!(samples["process_start_time_seconds"] > 1.7e9 && samples["process_cpu_seconds_total"] >= 0.0);
    }
}

#[tokio::test]
async fn every_figure_has_a_meaning_and_a_kind_and_its_name_ends_in_its_unit() {
    let server = TestServer::with_shards(1);
    let text = figures(server.address).await;
    let mut kinds = BTreeMap::new();
    let mut helped = None;
    for line in text.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["#", "HELP", name, _, ..] => helped = Some(name),
            ["#", "TYPE", name, kind] => {
                assert_eq!(helped, Some(name), "the meaning comes before the kind");
                assert_eq!(kinds.insert(name, kind), None, "{name} comes twice");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            }
            _ => {
                let name = line.split(['{', ' ']).next().unwrap();
                let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                let family = family.filter(|family| kinds.get(family) == Some(&"histogram"));
                assert!(kinds.contains_key(family.unwrap_or(name)), "{line}");
            }
        }
    }
    for (name, kind) in kinds {
        let units = ["_seconds", "_requests"];
        assert!(kind != "histogram" || units.iter().any(|unit| name.ends_with(unit)), "{name}");
    }
}

#[tokio::test]
async fn who_asks_for_open_metrics_gets_them() {
    let server = TestServer::with_shards(1);
    let plain = get(server.address, "/metrics").await;
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let head = "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let open = request(server.address, head).await;
    let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.header("content-type"), Some(expected));
    assert!(open.body.ends_with("\n# EOF\n"));
    assert!(!plain.body.contains("# EOF"));
}

#[tokio::test]
async fn figures_and_readiness_are_read_with_get_and_head_alone() {
    let server = TestServer::with_shards(1);
    for path in ["/metrics", "/readyz"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let response = request(server.address, &format!("{method} {path} HTTP/1.1")).await;
            assert_eq!(
                (response.status, response.header("allow")),
                (405, Some("GET,HEAD")),
                "{method} {path}"
            );
        }
        let mut raw = Raw::connect(server.address).await;
        let head = format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        raw.write(head.as_bytes()).await;
        let mut answer = String::new();
        soon("the answer", raw.stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn an_address_for_figures_shows_them_and_the_other_one_does_not() {
    let server = TestServer::start(|config| config.metrics_listen = Some(([127, 0, 0, 1], 0).into()));
    let operators = server.metrics.unwrap();
    assert!(figures(operators).await.contains("switchboard_connections"));
    assert_eq!(get(operators, "/readyz").await.status, 200);
    assert_eq!(get(operators, "/healthz").await.status, 200);
    let response = request(operators, upgrade_request("alice").trim_end()).await;
    assert_eq!(response.status, 404, "nobody chats there");
    let response = get(server.address, "/metrics").await;
    assert_eq!(response.status, 404);
    assert!(response.body.contains("metrics_listen"), "{}", response.body);
    assert_eq!(get(server.address, "/readyz").await.status, 200);
}

#[tokio::test]
async fn what_a_proxy_passes_on_is_not_shown_figures() {
    let server = TestServer::with_shards(1);
    for header in
        ["X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1", "Via: 1.1 proxy", "X-Real-IP: 192.0.2.1"]
    {
        let response = request(server.address, &format!("GET /metrics HTTP/1.1\r\n{header}")).await;
        assert_eq!(response.status, 404, "{header}");
    }
}

#[tokio::test]
async fn an_address_open_to_others_shows_no_figures() {
    let server = TestServer::start(|config| config.listen = ([0, 0, 0, 0], 0).into());
    let address = SocketAddr::from(([127, 0, 0, 1], server.address.port()));
    assert_eq!(get(address, "/metrics").await.status, 404);
    assert_eq!(get(address, "/readyz").await.status, 200);
}

#[tokio::test]
async fn a_server_without_room_is_not_ready_until_there_is_some() {
    let server = TestServer::start(|config| config.limits.connections = 1);
    ready_becomes(server.address, 200, "ready").await;
    let alice = server.client("alice").await;
    ready_becomes(server.address, 503, "no room").await;
    drop(alice);
    ready_becomes(server.address, 200, "ready").await;
}

#[tokio::test]
async fn a_server_says_that_it_stops_before_anything_else_follows() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), &[("SWITCHBOARD_SHUTDOWN_NOTICE_MS", "3600000")]);
    let mut alice = Client::connect(process.address, "alice").await;
    process.signal("TERM");
    ready_becomes(process.address, 503, "stopping").await;
    alice.has_nothing_more().await;
    let mut bob = Client::connect(process.address, "bob").await;
    alice.send(&text("bob", "still here")).await;
    assert_eq!(bob.content().await, "still here");
}

#[tokio::test]
async fn a_server_that_closes_its_connections_is_not_ready_and_takes_no_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("SWITCHBOARD_TIMEOUTS_CLOSE_TIMEOUT_MS", "3600000"),
        ("SWITCHBOARD_SHUTDOWN_TIMEOUT_MS", "3600000"),
    ];
    let process = Process::start(folder.path(), &settings);
    // It answers nothing, not even a close, so the server waits for it.
    let mut stalled = Raw::welcomed(process.address, "stalled").await;
    process.signal("TERM");
    assert_eq!(stalled.close_frame().await.0, 1001);
    ready_becomes(process.address, 503, "stopping").await;
    let mut raw = Raw::connect(process.address).await;
    raw.write(upgrade_request("late").as_bytes()).await;
    assert_eq!(raw.response().await.status, 503);
}

#[tokio::test]
async fn each_request_has_an_id_in_its_answer_and_in_the_log_without_its_query() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), &[("SWITCHBOARD_LOG", "warn,switchboard=debug")]);
    let forged = "GET /socket.io?token=secret HTTP/1.1\r\nX-Request-Id: forged\r\nCookie: a=secret";
    let [first, second] = [request(process.address, forged).await, request(process.address, forged).await];
    let id = |response: &Response| response.header("x-request-id").unwrap().to_owned();
    assert_ne!(id(&first), id(&second));
    assert_ne!(id(&first), "forged");
    let line = process.logs("answered a request");
    for part in [&*id(&first), "method=GET", "/socket.io", "status=400", "duration_us="] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!line.contains("secret") && !line.contains("forged"), "{line}");
    assert!(process.logs("answered a request").contains(&id(&second)));
}

#[tokio::test]
async fn the_dashboard_shows_figures_that_there_are() {
    let server = TestServer::with_shards(1);
    let text = figures(server.address).await;
    let known: Vec<&str> = samples(&text).into_keys().map(|name| name.split('{').next().unwrap()).collect();
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut named = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for word in words.filter(|word| word.starts_with("switchboard_") || word.starts_with("process_"))
            {
                assert!(known.contains(&word), "{word} of {} is not exported", panel["title"]);
                named += 1;
            }
        }
    }
    assert!(named > 20, "the dashboard has its panels");
}
