//! Traces: what a collector gets, and what is none of its business.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use switchboard_proto::Message as _;

use crate::{
    harness::{PATIENCE, TestServer, soon, text},
    raw::{Raw, get},
};

/// Takes what comes to it as a collector does.
struct Collector {
    address: SocketAddr,
    requests: mpsc::Receiver<(String, ExportTraceServiceRequest)>,
}

impl Collector {
    /// Answers each request with this.
    fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::channel();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                while let Some((head, body)) = request(&mut stream) {
                    let spans = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
                    stream.write_all(answer.as_bytes()).unwrap();
                    // The test may be over.
                    if sender.send((head, spans)).is_err() {
                        return;
                    }
                }
            }
        });
        Self { address, requests }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans, once the server has ended.
    fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for (head, request) in self.requests.try_iter() {
            assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
            assert!(head.to_lowercase().contains("content-type: application/x-protobuf"), "{head}");
            for resource in request.resource_spans {
                let of = resource.resource.unwrap();
                let name = of.attributes.iter().find(|of| of.key == "service.name").unwrap();
                assert_eq!(value(name.value.as_ref()), "switchboard");
                spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
        spans
    }
}

const TAKEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A request's head and body; none at the end of the connection.
fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.to_lowercase().split_once("content-length: ").unwrap().1.to_owned();
    let mut body = vec![0; length.split("\r\n").next().unwrap().parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    Some((head, body))
}

fn value(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.clone()) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::ArrayValue(array)) => {
            array.values.iter().map(|of| self::value(Some(of))).collect::<Vec<_>>().join(",")
        }
        other => format!("{other:?}"),
    }
}

fn attribute(span: &Span, name: &str) -> Option<String> {
    span.attributes.iter().find(|of| of.key == name).map(|of| value(of.value.as_ref()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

async fn ask(address: SocketAddr, path: &str, headers: &str) -> String {
    let mut raw = Raw::connect(address).await;
    raw.write(format!("GET {path} HTTP/1.1\r\nHost: here\r\n{headers}\r\n").as_bytes()).await;
    let response = raw.response().await;
    response.header("x-request-id").unwrap().to_owned()
}

#[tokio::test]
async fn a_request_a_commit_the_start_and_the_end_are_spans_and_nothing_secret_is_in_them() {
    let collector = Collector::start(TAKEN);
    let mut server = TestServer::start(|config| config.telemetry.endpoint = collector.url());
    let secrets = "Cookie: switchboard_session=hidden\r\nAuthorization: Bearer hidden\r\ntraceparent: ";
    let headers = format!("{secrets}{PARENT}\r\n");
    let id = ask(server.address, "/user?uuid=alice-hidden&token=hidden", &headers).await;
    ask(server.address, "/hidden/path", "").await;
    {
        let [mut alice, mut bob] = server.clients(["alice-hidden", "bob-hidden"]).await;
        alice.send(&text("bob-hidden", "hidden")).await;
        assert_eq!(bob.recv().await.content, "hidden");
    }
    server.stop();
    server.ended();
    let spans = collector.spans();
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let [user] = named("GET /user")[..] else { panic!("{spans:#?}") };
    assert_eq!(user.kind, SpanKind::Server as i32);
    for (name, expected) in [
        ("http.request.method", "GET"),
        ("http.route", "/user"),
        ("http.response.status_code", "200"),
        ("url.scheme", "http"),
        ("http.response.header.x-request-id", &id),
    ] {
        assert_eq!(attribute(user, name).as_deref(), Some(expected), "{name}");
    }
    assert_ne!(hex(&user.trace_id), &PARENT[3..35], "nobody is a trusted proxy");
    assert!(user.parent_span_id.is_empty());
    let [lost] = named("GET")[..] else { panic!("{spans:#?}") };
    assert_eq!(attribute(lost, "http.response.status_code").as_deref(), Some("404"));
    assert_eq!(attribute(lost, "http.route"), None);
    assert_eq!(named("GET /socket.io").len(), 2);
    let commits = named("store commit");
    // What comes while a commit goes on is in the next one together.
    let size =
        |span: &&Span| attribute(span, "db.operation.batch.size").and_then(|size| size.parse::<u32>().ok());
    assert!(!commits.is_empty() && commits.iter().all(|span| size(span).is_some_and(|size| size > 0)));
    assert!(commits.iter().all(|span| span.end_time_unix_nano > span.start_time_unix_nano));
    assert_eq!((named("start").len(), named("stop").len()), (1, 1));
    let known = ["GET", "GET /user", "GET /socket.io", "store commit", "start", "stop"];
    assert!(spans.iter().all(|span| known.contains(&span.name.as_str())), "no message has a span");
    assert!(!format!("{spans:?}").contains("hidden"));
}

#[tokio::test]
async fn a_trusted_proxys_trace_goes_on_here_and_its_decision_holds() {
    let collector = Collector::start(TAKEN);
    let mut server = TestServer::start(|config| {
        config.telemetry.endpoint = format!("{}/", collector.url());
        config.trusted_proxies = "127.0.0.1".into();
    });
    for (path, parent) in [
        ("/healthz", PARENT.to_owned()),
        ("/readyz", PARENT.replace("-01", "-00")),
        ("/metrics", "00-nonsense".to_owned()),
    ] {
        ask(server.address, path, &format!("traceparent: {parent}\r\nX-Forwarded-Proto: https\r\n")).await;
    }
    server.stop();
    server.ended();
    let spans = collector.spans();
    let named = |name: &str| spans.iter().find(|span| span.name == name);
    let health = named("GET /healthz").unwrap();
    assert_eq!(hex(&health.trace_id), &PARENT[3..35]);
    assert_eq!(hex(&health.parent_span_id), &PARENT[36..52]);
    assert_eq!(attribute(health, "url.scheme").as_deref(), Some("https"));
    assert!(named("GET /readyz").is_none(), "the proxy does not keep this trace");
    assert!(named("GET /metrics").unwrap().parent_span_id.is_empty(), "what is no parent is none");
}

#[tokio::test]
async fn a_failure_of_the_server_is_one_in_its_span() {
    let collector = Collector::start(TAKEN);
    let mut server = TestServer::start(|config| {
        config.telemetry.endpoint = collector.url();
        config.shutdown_notice_ms = 500;
    });
    server.stop();
    assert_eq!(get(server.address, "/readyz").await.status, 503);
    server.ended();
    let spans = collector.spans();
    let span = spans.iter().find(|span| span.name == "GET /readyz").unwrap();
    assert_eq!(attribute(span, "error.type").as_deref(), Some("503"));
    assert_eq!(span.status.as_ref().unwrap().code, StatusCode::Error as i32);
}

/// Once with nobody there, and once with one who takes nothing.
#[tokio::test]
async fn a_collector_that_fails_disturbs_nobody_and_what_it_did_not_take_is_counted() {
    let gone = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let refusing = Collector::start("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    for endpoint in [format!("http://{gone}"), refusing.url()] {
        let mut server = TestServer::start(|config| {
            config.telemetry.endpoint = endpoint;
            config.telemetry.interval_ms = 20;
            config.telemetry.timeout_ms = 200;
        });
        let [mut alice, mut bob] = server.clients(["alice", "bob"]).await;
        alice.send(&text("bob", "hello")).await;
        assert_eq!(bob.recv().await.content, "hello");
        soon("spans are lost", async {
            let lost = |figures: &str| {
                let line = figures.lines().find(|line| line.starts_with("switchboard_spans_failed_total "));
                line.unwrap().split(' ').nth(1).unwrap() != "0"
            };
            while !lost(&get(server.address, "/metrics").await.body) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        drop((alice, bob));
        server.stop();
        server.ended();
    }
}

/// It takes the connection and says nothing: what is left at the end is waited for no longer than is said.
#[tokio::test]
async fn a_collector_that_hangs_does_not_keep_a_server_from_ending() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut server = TestServer::start(|config| {
        config.telemetry.endpoint = format!("http://{}", silent.local_addr().unwrap());
        config.telemetry.timeout_ms = 100;
    });
    assert_eq!(get(server.address, "/healthz").await.status, 200);
    server.stop();
    server.ended();
}

#[tokio::test]
async fn without_a_collector_there_are_no_figures_of_spans() {
    let server = TestServer::with_shards(1);
    assert!(!get(server.address, "/metrics").await.body.contains("switchboard_spans"));
}
