//! Figures as text: families of samples, written in either of the forms that Prometheus takes.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, prometheus_text, text},
    metrics::MetricType,
    registry::Registry,
};

use crate::histogram::Observed;

/// The media type of OpenMetrics, with what RFC 9110 has beside it.
const OPEN_METRICS: &str = "application/openmetrics-text";
const OPEN_METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All samples under one name.
#[derive(Clone, Debug)]
pub(super) struct Family {
    /// Without the `_total` that a counter's name has at its end: the encoder adds it.
    name: String,
    help: String,
    kind: MetricType,
    samples: Vec<(Labels, Value)>,
}

/// Names and values that tell the samples of a family apart.
pub(super) type Labels = Vec<(&'static str, String)>;

#[derive(Clone, Debug)]
enum Value {
    Counter(u64),
    Seconds(f64),
    Gauge(u64),
    GaugeSeconds(f64),
    Histogram(Observed),
}

/// What is to be shown, in its order.
#[derive(Clone, Debug, Default)]
pub(super) struct Families(Vec<Family>);

impl Families {
    fn sample(&mut self, kind: MetricType, name: &str, help: &str, labels: Labels, value: Value) {
        debug_assert!(help.ends_with('.') && !help.contains('\n'), "{name}: {help}");
        match self.0.last_mut().filter(|family| family.name == name) {
            Some(family) => family.samples.push((labels, value)),
            None => self.0.push(Family {
                name: name.to_owned(),
                help: help.to_owned(),
                kind,
                samples: vec![(labels, value)],
            }),
        }
    }

    /// A sample of a counter, without the `_total` of its name. Samples of one family follow each other.
    pub(super) fn counter(&mut self, name: &str, help: &str, labels: Labels, value: u64) {
        self.sample(MetricType::Counter, name, help, labels, Value::Counter(value));
    }

    /// The same of seconds.
    pub(super) fn seconds(&mut self, name: &str, help: &str, value: f64) {
        self.sample(MetricType::Counter, name, help, Vec::new(), Value::Seconds(value));
    }

    /// A sample of what goes up and down.
    pub(super) fn gauge(&mut self, name: &str, help: &str, labels: Labels, value: u64) {
        self.sample(MetricType::Gauge, name, help, labels, Value::Gauge(value));
    }

    /// A moment, in seconds since 1970.
    pub(super) fn moment(&mut self, name: &str, help: &str, value: f64) {
        self.sample(MetricType::Gauge, name, help, Vec::new(), Value::GaugeSeconds(value));
    }

    /// A sample of a histogram.
    pub(super) fn histogram(&mut self, name: &str, help: &str, labels: Labels, value: Observed) {
        self.sample(MetricType::Histogram, name, help, labels, Value::Histogram(value));
    }

    /// The text in the form that this `Accept` prefers, and its `Content-Type`.
    pub(super) fn encode(self, accept: Option<&str>) -> Result<(String, &'static str), fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut body = String::new();
        if prefers_open_metrics(accept.unwrap_or_default()) {
            text::encode(&mut body, &registry)?;
            return Ok((body, OPEN_METRICS_TYPE));
        }
        prometheus_text::encode(&mut body, &registry)?;
        Ok((body, prometheus_text::CONTENT_TYPE))
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { name, help, kind, samples } in &self.0 {
            let mut metric = encoder.encode_descriptor(name, help, None, *kind)?;
            for (labels, value) in samples {
                // Without labels there is no family, or the text has empty braces.
                if labels.is_empty() {
                    value.encode(&mut metric)?;
                } else {
                    value.encode(&mut metric.encode_family(labels)?)?;
                }
            }
        }
        Ok(())
    }
}

impl Value {
    fn encode(&self, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        type NoLabels = [(&'static str, &'static str); 0];
        match self {
            Self::Counter(value) => encoder.encode_counter::<NoLabels, _, u64>(value, None),
            Self::Seconds(value) => encoder.encode_counter::<NoLabels, _, f64>(value, None),
            Self::Gauge(value) => encoder.encode_gauge(value),
            Self::GaugeSeconds(value) => encoder.encode_gauge(value),
            Self::Histogram(Observed { sum, count, buckets }) => {
                encoder.encode_histogram::<NoLabels>(*sum, *count, buckets, None)
            }
        }
    }
}

/// Whether an `Accept` asks for OpenMetrics at least as much as for plain text (RFC 9110 section 12.5.1). Who does not name it
/// gets the older form, which everybody reads.
fn prefers_open_metrics(accept: &str) -> bool {
    let mut best = (0.0, 0.0);
    for part in accept.split(',') {
        let mut words = part.split(';').map(str::trim);
        let media_type = words.next().unwrap_or_default();
        let quality = words.find_map(|word| word.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
        let quality = quality.unwrap_or_default();
        if media_type.eq_ignore_ascii_case(OPEN_METRICS) {
            best.0 = quality.max(best.0);
        } else if media_type.eq_ignore_ascii_case("text/plain") {
            best.1 = quality.max(best.1);
        }
    }
    best.0 > 0.0 && best.0 >= best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_those_who_ask_for_it() {
        for (accept, expected) in [
            ("", false),
            ("*/*", false),
            ("text/html,application/xhtml+xml,*/*;q=0.8", false),
            ("application/openmetrics-text", true),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", true),
            ("text/plain;version=0.0.4;q=0.9,application/openmetrics-text;q=0.5", false),
            // Prometheus 2.
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1",
                true,
            ),
        ] {
            assert_eq!(prefers_open_metrics(accept), expected, "{accept}");
        }
    }

    #[test]
    fn both_forms_have_every_sample() {
        let mut families = Families::default();
        for shard in 0..2 {
            families.counter("a", "Counted.", vec![("shard", shard.to_string())], 7);
        }
        families.gauge("b", "There.", Vec::new(), 8);
        let (text, content_type) = families.clone().encode(None).unwrap();
        assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
        assert_eq!(
            text,
            "# HELP a_total Counted.\n# TYPE a_total counter\na_total{shard=\"0\"} 7\na_total{shard=\"1\"} 7\n\
             # HELP b There.\n# TYPE b gauge\nb 8\n"
        );
        let (text, content_type) = families.encode(Some(OPEN_METRICS)).unwrap();
        assert_eq!(content_type, OPEN_METRICS_TYPE);
        assert!(text.starts_with("# HELP a Counted.\n# TYPE a counter\na_total{shard=\"0\"} 7\n"), "{text}");
        assert!(text.ends_with("b 8\n# EOF\n"), "{text}");
    }
}
