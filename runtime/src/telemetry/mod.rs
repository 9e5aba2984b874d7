//! Traces by OpenTelemetry, if they are asked for: spans of HTTP requests, of the store's commits, of the start and of the shutdown, sent
//! to a collector by OTLP over HTTP.
//!
//! They are a server's and not the process's, and are made where they are: where none are wanted there is no [`Telemetry`], and all that is
//! paid is to see that. No message has a span, and no span has names, queries or contents in it. What waits to be sent is bounded
//! ([`gate`]), and what was not sent is counted; a collector that is slow or dead disturbs nobody.

mod client;
mod gate;

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use hyper::{HeaderMap, Method};
use opentelemetry::{
    Array, Context, KeyValue, StringValue, Value,
    propagation::TextMapPropagator as _,
    trace::{Span as _, SpanBuilder, SpanKind, Status, Tracer as _, TracerProvider as _},
};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{ExporterBuildError, Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracer, SdkTracerProvider},
};

use self::{client::Client, gate::Tally};
use crate::config;

/// What is added to the collector's URL (OTLP 1.0, "OTLP/HTTP Request").
const TRACES_PATH: &str = "/v1/traces";

/// Makes spans, and has them sent; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Telemetry {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
    tally: Arc<Tally>,
    timeout: Duration,
}

/// What has become of spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpanFigures {
    /// Those that wait, or are being sent.
    pub(crate) waiting: u64,
    /// The collector has taken them.
    pub(crate) sent: u64,
    /// It could not be reached, or did not take them.
    pub(crate) failed: u64,
    /// There were too many that waited.
    pub(crate) dropped: u64,
}

impl Telemetry {
    /// Begins to send, if there is a collector; nothing is asked of it yet.
    ///
    /// # Errors
    /// If the standard variables of OpenTelemetry (`OTEL_EXPORTER_OTLP_...`) say what cannot be done here.
    pub(crate) fn start(config: &config::Telemetry) -> Result<Option<Self>, ExporterBuildError> {
        if config.endpoint.is_empty() {
            return Ok(None);
        }
        let timeout = Duration::from_millis(config.timeout_ms);
        let tally = Arc::new(Tally::new(u64::from(config.queue_spans)));
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(timeout, Arc::clone(&tally)))
            .with_endpoint(format!("{}{TRACES_PATH}", config.endpoint.trim_end_matches('/')))
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(timeout)
            .build()?;
        let interval = Duration::from_millis(config.interval_ms);
        let sampler = Sampler::TraceIdRatioBased(f64::from(config.sample_percent) / 100.0);
        let provider = SdkTracerProvider::builder()
            .with_resource(resource(config))
            .with_sampler(Sampler::ParentBased(Box::new(sampler)))
            .with_span_processor(gate::gate(exporter, Arc::clone(&tally), interval))
            .build();
        Ok(Some(Self { tracer: provider.tracer("switchboard"), provider, tally, timeout }))
    }

    /// An HTTP request has come.
    pub(crate) fn request(&self, request: &Request<'_>) -> RequestSpan {
        let Request { method, route, scheme, passed_on } = *request;
        // Any text may be a method, and whoever counts by it wants few.
        let known = [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::CONNECT,
            Method::OPTIONS,
            Method::TRACE,
            Method::PATCH,
        ];
        let method = known.iter().find(|known| *known == method).map(|method| method.as_str().to_owned());
        let (shown, method) = match method {
            Some(method) => (method.clone(), method),
            None => ("HTTP".to_owned(), "_OTHER".to_owned()),
        };
        let mut attributes =
            vec![KeyValue::new("http.request.method", method), KeyValue::new("url.scheme", scheme)];
        let name = match route {
            Some(route) => {
                attributes.push(KeyValue::new("http.route", route.to_owned()));
                Cow::Owned(format!("{shown} {route}"))
            }
            None => Cow::Owned(shown),
        };
        let before = passed_on.map_or_else(Context::new, |headers| {
            TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers))
        });
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Server).with_attributes(attributes);
        RequestSpan(self.tracer.build_with_context(builder, &before))
    }

    /// The store has committed so many requests at once, or could not.
    pub(crate) fn committed(&self, took: Duration, requests: usize, is_committed: bool) {
        let size = i64::try_from(requests).unwrap_or(i64::MAX);
        let attributes = vec![
            KeyValue::new("db.system.name", "sqlite"),
            KeyValue::new("db.operation.name", "COMMIT"),
            KeyValue::new("db.operation.batch.size", size),
        ];
        self.past("store commit", SpanKind::Client, took, attributes, is_committed);
    }

    /// The server has started, or stopped.
    pub(crate) fn phase(&self, name: &'static str, took: Duration, is_well: bool) {
        self.past(name, SpanKind::Internal, took, Vec::new(), is_well);
    }

    /// A span of what has just ended.
    fn past(
        &self,
        name: &'static str,
        kind: SpanKind,
        took: Duration,
        attributes: Vec<KeyValue>,
        is_well: bool,
    ) {
        let now = SystemTime::now();
        let builder = SpanBuilder::from_name(name)
            .with_kind(kind)
            .with_start_time(now.checked_sub(took).unwrap_or(now))
            .with_attributes(attributes);
        let mut span = self.tracer.build_with_context(builder, &Context::new());
        if !is_well {
            span.set_status(Status::error(""));
        }
        span.end_with_timestamp(now);
    }

    pub(crate) fn figures(&self) -> SpanFigures {
        self.tally.figures()
    }

    /// Sends what waits, for as long as one sending may take, and ends. Blocks.
    pub(crate) fn stop(&self) {
        let sent = self.provider.shutdown_with_timeout(self.timeout);
        let SpanFigures { waiting, failed, dropped, .. } = self.figures();
        if sent.is_err() || waiting + failed + dropped > 0 {
            tracing::warn!(waiting, failed, dropped, "spans that were not sent to the collector");
        }
    }
}

/// What is said of a request: nothing that its sender has written, but the name of the method.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a Method,
    /// The path with names in place of what is in it: `/api/v1/users/{id}`.
    pub(crate) route: Option<&'a str>,
    pub(crate) scheme: &'static str,
    /// The headers of a request that a trusted proxy passes on: its trace goes on here (W3C Trace Context).
    pub(crate) passed_on: Option<&'a HeaderMap>,
}

/// A request that is being answered. Its span ends with it.
#[derive(Debug)]
pub(crate) struct RequestSpan(opentelemetry_sdk::trace::Span);

impl RequestSpan {
    /// The trace that it is in, if that is kept.
    pub(crate) fn trace_id(&self) -> Option<String> {
        self.0.is_recording().then(|| self.0.span_context().trace_id().to_string())
    }

    /// It is answered.
    pub(crate) fn answered(mut self, status: u16, id: &str) {
        self.0.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        let ids = Array::String(vec![StringValue::from(id.to_owned())]);
        self.0.set_attribute(KeyValue::new("http.response.header.x-request-id", Value::Array(ids)));
        if status >= 500 {
            self.0.set_attribute(KeyValue::new("error.type", status.to_string()));
            self.0.set_status(Status::error(""));
        }
        self.0.end();
    }
}

/// Who sends: the name that was chosen, this version, and this run. `OTEL_RESOURCE_ATTRIBUTES` may add to it.
fn resource(config: &config::Telemetry) -> Resource {
    // A name and no secret: without randomness it is one still.
    let run = getrandom::u64().unwrap_or_default();
    Resource::builder()
        .with_service_name(config.service_name.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", format!("{run:016x}")))
        .build()
}
