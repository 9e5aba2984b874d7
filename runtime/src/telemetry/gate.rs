//! The bounded way of spans to the collector: each that has ended is counted, and waits, or is dropped if too many do.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor},
};

use super::SpanFigures;

/// Spans that are sent in one request.
const BATCH_SPANS: u64 = 512;

/// Counts what becomes of spans.
#[derive(Debug)]
pub(super) struct Tally {
    /// Spans that may wait.
    limit: u64,
    waiting: AtomicU64,
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    /// Whether the last request went wrong: the log says so once.
    is_failing: AtomicBool,
    /// What went wrong last.
    trouble: Mutex<String>,
}

impl Tally {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            waiting: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
            trouble: Mutex::default(),
        }
    }

    /// Takes a place for a span that is to wait; none if all are taken.
    fn take_place(&self) -> bool {
        let more = |waiting| (waiting < self.limit).then_some(waiting + 1);
        let taken = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if !taken {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// What went wrong with a request.
    pub(super) fn note(&self, trouble: String) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// So many spans were sent, or were not.
    fn done(&self, spans: u64, result: &OTelSdkResult) {
        let of = if result.is_ok() { &self.sent } else { &self.failed };
        of.fetch_add(spans, Ordering::Relaxed);
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        let was_failing = self.is_failing.swap(result.is_err(), Ordering::Relaxed);
        match result {
            Err(error) if !was_failing => {
                let noted = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let reason = if noted.is_empty() { error.to_string() } else { noted };
                tracing::warn!(
                    spans,
                    reason,
                    "the collector does not take spans; they are lost until it does"
                );
            }
            Ok(()) if was_failing => tracing::info!("the collector takes spans again"),
            Ok(()) | Err(_) => {}
        }
    }

    pub(super) fn figures(&self) -> SpanFigures {
        let [waiting, sent, failed, dropped] =
            [&self.waiting, &self.sent, &self.failed, &self.dropped].map(|of| of.load(Ordering::Relaxed));
        SpanFigures { waiting, sent, failed, dropped }
    }
}

/// The way to an exporter, with a thread that sends in batches.
pub(super) fn gate<E: SpanExporter + 'static>(exporter: E, tally: Arc<Tally>, interval: Duration) -> Gate {
    let spans = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let config = BatchConfigBuilder::default()
        // Those that are being sent have left its queue, and are counted here still: it never is full.
        .with_max_queue_size(spans(tally.limit))
        .with_max_export_batch_size(spans(tally.limit.min(BATCH_SPANS)))
        .with_scheduled_delay(interval)
        .build();
    let exporter = Counted { exporter, tally: Arc::clone(&tally) };
    Gate { batches: BatchSpanProcessor::new(exporter, config), tally }
}

/// Lets spans through as long as few wait.
#[derive(Debug)]
pub(super) struct Gate {
    batches: BatchSpanProcessor,
    tally: Arc<Tally>,
}

impl SpanProcessor for Gate {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.tally.take_place() {
            self.batches.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// An exporter that says what became of what it was given.
#[derive(Debug)]
struct Counted<E> {
    exporter: E,
    tally: Arc<Tally>,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let result = self.exporter.export(batch).await;
        self.tally.done(spans, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Instant};

    use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::{error::OTelSdkError, trace::SdkTracerProvider};

    use super::*;

    /// Takes a batch when it is told to, and whether it takes it well.
    #[derive(Debug)]
    struct Held(Mutex<mpsc::Receiver<bool>>);

    impl SpanExporter for Held {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            let is_well = self.0.lock().unwrap().recv().unwrap_or(false);
            if is_well { Ok(()) } else { Err(OTelSdkError::InternalFailure("on purpose".into())) }
        }
    }

    #[test]
    fn no_more_spans_wait_than_may_and_each_is_counted_once() {
        let (tell, told) = mpsc::channel();
        let tally = Arc::new(Tally::new(4));
        let gate = gate(Held(Mutex::new(told)), Arc::clone(&tally), Duration::from_secs(3_600));
        let provider = SdkTracerProvider::builder().with_span_processor(gate).build();
        let tracer = provider.tracer("test");
        let end = |count| (0..count).for_each(|_| tracer.start("a").end());
        end(7);
        // Whether they wait or are being sent: there are four, and the rest is lost.
        let figures = tally.figures();
        assert_eq!((figures.waiting, figures.sent, figures.dropped), (4, 0, 3));
        tell.send(true).unwrap();
        let until = Instant::now() + Duration::from_secs(30);
        while tally.figures().waiting > 0 {
            assert!(Instant::now() < until, "nothing is sent");
            std::thread::yield_now();
        }
        assert_eq!(tally.figures(), SpanFigures { waiting: 0, sent: 4, failed: 0, dropped: 3 });
        end(2);
        tell.send(false).unwrap();
        provider.shutdown().unwrap();
        assert_eq!(tally.figures(), SpanFigures { waiting: 0, sent: 4, failed: 2, dropped: 3 });
    }
}
