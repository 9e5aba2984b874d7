//! Section `telemetry`: traces for a collector.

use serde::{Deserialize, Serialize};

/// The variable that all programs with OpenTelemetry take the collector's address from.
pub(super) const ENDPOINT_VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Section `telemetry`: traces, sent to a collector by OTLP over HTTP (OpenTelemetry).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// URL of the collector, without the `/v1/traces` that is added. Default empty: nothing is sent, or noted.
    #[serde(deserialize_with = "endpoint")]
    pub endpoint: String,
    /// What the server is called there: `service.name`. Default `switchboard`.
    #[serde(deserialize_with = "super::tokens::name")]
    pub service_name: String,
    /// How many traces of a hundred are kept, of those that do not come with a decision of a trusted proxy's. Default 100; 0 to 100.
    pub sample_percent: u32,
    /// Spans that wait to be sent; more are dropped, and counted. Default 2,048; 1 to 1,048,576.
    pub queue_spans: u32,
    /// How often what waits is sent, in milliseconds; 512 spans are sent at once. Default 5,000.
    pub interval_ms: u64,
    /// How long one sending may take, and at a shutdown all that is left; in milliseconds. Default 5,000.
    pub timeout_ms: u64,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            service_name: "switchboard".to_owned(),
            sample_percent: 100,
            queue_spans: 2_048,
            interval_ms: 5_000,
            timeout_ms: 5_000,
        }
    }
}

/// Takes a URL without a name and a password in it, which would be shown wherever settings are.
fn endpoint<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_uri = text.parse::<hyper::Uri>().is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    let has_scheme = text.starts_with("https://") || text.starts_with("http://");
    let is_plain = !text.contains(['@', '?', '#']);
    if text.is_empty() || is_uri && has_scheme && is_plain {
        Ok(text)
    } else {
        Err(serde::de::Error::custom("it is not like http://127.0.0.1:4318"))
    }
}
