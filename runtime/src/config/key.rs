//! The keys that can be set: their names, and which values each takes.

use std::fmt;

/// Milliseconds of a day: no time-out is longer.
const DAY_MS: i64 = 86_400_000;
const COUNT: Rule = Rule::Integer(1, u32::MAX as i64);
const ANY_COUNT: Rule = Rule::Integer(0, u32::MAX as i64);
const CURSORS: Rule = Rule::Integer(switchboard_engine::CURSORS_FLOOR as i64, u32::MAX as i64);
const SLOTS: Rule = Rule::Integer(1, 1 << 24);
const TIME_MS: Rule = Rule::Integer(1, DAY_MS);
const BYTES: Rule = Rule::Integer(1, 1 << 40);

/// One key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Its dotted name.
    pub(super) name: &'static str,
    /// The values it takes.
    pub(super) rule: Rule,
}

/// Which values a key takes, apart from what other keys demand of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Whole numbers between these two, both included.
    Integer(i64, i64),
    /// Text, described for an error message; what exactly is right, the field's type knows.
    Text(&'static str),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(least, most) => write!(f, "a whole number from {least} to {most}"),
            Self::Text(description) => f.write_str(description),
        }
    }
}

/// All keys, in the order of the sample file.
pub(super) const KEYS: &[Key] = &[
    key("listen", Rule::Text("an IP address and a port, like \"127.0.0.1:8888\" or \"[::1]:8888\"")),
    key("metrics_listen", Rule::Text("\"off\", or an IP address and a port, like \"127.0.0.1:9888\"")),
    key("tls_cert", Rule::Text("\"off\", or the path of a PEM file, like \"fullchain.pem\"")),
    key("tls_key", Rule::Text("\"off\", or the path of a PEM file, like \"privkey.pem\"")),
    key("data", Rule::Text("the path of a folder, like \"data\"")),
    key("shards", Rule::Integer(1, 64)),
    key("auth", Rule::Text("\"open\" or \"password\"")),
    key("allowed_origins", Rule::Text("origins like \"https://chat.example\", separated by blanks")),
    key("trusted_proxies", Rule::Text("addresses and networks like \"10.0.0.0/8 ::1\", separated by blanks")),
    key("static", Rule::Text("\"built-in\", \"off\", or the path of a folder, like \"dist\"")),
    key("devices", Rule::Text("\"all\" or \"newest-wins\"")),
    key("presence", Rule::Text("\"on\" or \"off\"")),
    key("log", Rule::Text("a log filter, like \"info\" or \"info,switchboard=debug\"")),
    key("log_format", Rule::Text("\"text\" or \"json\"")),
    key("shutdown_timeout_ms", Rule::Integer(0, DAY_MS)),
    key("shutdown_notice_ms", Rule::Integer(0, DAY_MS)),
    key("write_delay_ms", Rule::Integer(0, 1_000)),
    key("handshake.timeout_ms", TIME_MS),
    key("handshake.concurrent", COUNT),
    key("timeouts.ping_interval_ms", TIME_MS),
    key("timeouts.idle_timeout_ms", TIME_MS),
    key("timeouts.close_timeout_ms", TIME_MS),
    key("timeouts.request_timeout_ms", TIME_MS),
    key("timeouts.reload_interval_ms", TIME_MS),
    key("timeouts.ring_timeout_ms", TIME_MS),
    key("timeouts.hello_timeout_ms", TIME_MS),
    key("timeouts.heartbeat_interval_ms", TIME_MS),
    key("timeouts.resync_interval_ms", TIME_MS),
    key("timeouts.reconnect_after_ms", Rule::Integer(0, DAY_MS)),
    key("timeouts.reconnect_spread_ms", Rule::Integer(0, DAY_MS)),
    key("timeouts.presence_grace_ms", Rule::Integer(0, DAY_MS)),
    key("timeouts.presence_refresh_ms", TIME_MS),
    key("timeouts.peer_timeout_ms", TIME_MS),
    key("timeouts.call_grace_ms", TIME_MS),
    key("timeouts.drain_time_ms", Rule::Integer(0, DAY_MS)),
    key("timeouts.receipt_interval_ms", TIME_MS),
    key("limits.connections", SLOTS),
    key("limits.connections_per_user", COUNT),
    key("limits.groups_per_user", COUNT),
    key("limits.message_bytes", Rule::Integer(1_024, 1 << 30)),
    key("limits.messages_per_second", COUNT),
    key("limits.message_burst", COUNT),
    key("limits.bytes_per_second", BYTES),
    key("limits.byte_burst", BYTES),
    key("limits.user_messages_per_second", ANY_COUNT),
    key("limits.user_message_burst", COUNT),
    key("limits.user_bytes_per_second", Rule::Integer(0, 1 << 40)),
    key("limits.user_byte_burst", BYTES),
    key("limits.admissions_per_second", ANY_COUNT),
    key("limits.admission_burst", COUNT),
    key("limits.outbox_bytes", BYTES),
    key("limits.streams_per_connection", ANY_COUNT),
    key("limits.pending_per_connection", COUNT),
    key("limits.pending", COUNT),
    key("limits.pending_bytes", BYTES),
    key("limits.resend_messages", ANY_COUNT),
    key("limits.resend_conversations", COUNT),
    key("limits.resend_held_bytes", Rule::Integer(0, 1 << 40)),
    key("limits.receipts_per_connection", Rule::Integer(2, u32::MAX as i64)),
    key("limits.lag_bytes", BYTES),
    key("limits.fetches_per_connection", COUNT),
    key("limits.marks_per_connection", COUNT),
    key("limits.page_messages", COUNT),
    key("limits.page_bytes", BYTES),
    key("limits.cursors_per_hello", CURSORS),
    key("limits.heads_per_frame", COUNT),
    key("limits.watches", Rule::Integer(0, u32::MAX as i64)),
    key("limits.calls", Rule::Integer(0, u32::MAX as i64)),
    key("limits.receive_budget_bytes", BYTES),
    key("store.batch_messages", COUNT),
    key("store.batch_bytes", BYTES),
    key("store.commit_interval_us", Rule::Integer(0, 1_000_000)),
    key("store.max_database_bytes", Rule::Integer(0, 1 << 50)),
    key("bus.queue_records", SLOTS),
    key("accounts.threads", Rule::Integer(1, 64)),
    key("accounts.waiting", SLOTS),
    key("accounts.hashes", Rule::Integer(1, 64)),
    key("accounts.hashes_waiting", SLOTS),
    key("accounts.name_bytes", Rule::Integer(1, 1_024)),
    key("accounts.email_bytes", Rule::Integer(1, 1_024)),
    key("accounts.notice_bytes", Rule::Integer(1, 65_536)),
    key("accounts.password_least_bytes", Rule::Integer(1, 64)),
    key("accounts.password_bytes", Rule::Integer(64, 4_096)),
    key("accounts.friends", COUNT),
    key("accounts.session_hours", Rule::Integer(1, 87_600)),
    key("accounts.sessions_per_user", COUNT),
    key("accounts.login_burst", COUNT),
    key("accounts.login_interval_ms", TIME_MS),
    key("accounts.address_burst", COUNT),
    key("accounts.address_interval_ms", TIME_MS),
    key("accounts.login_entries", SLOTS),
    key("tokens.keys", Rule::Text("the path of a file, or nothing")),
    key("tokens.issuer", Rule::Text("a name, like \"https://chat.example\"")),
    key("tokens.audience", Rule::Text("a name, like \"https://chat.example\"")),
    key("tokens.lifetime_s", Rule::Integer(60, 31_536_000)),
    key("tokens.provision", Rule::Text("\"on\" or \"off\"")),
    key("http.body_bytes", Rule::Integer(1_024, 16 << 20)),
    key("http.body_timeout_ms", TIME_MS),
    key("http.upload_bytes", Rule::Integer(1, 1 << 30)),
    key("http.uploads", SLOTS),
    key("http.upload_timeout_ms", TIME_MS),
    key("http.calls_per_second", ANY_COUNT),
    key("http.call_burst", COUNT),
    key("http.members", COUNT),
    key("http.page_messages", COUNT),
    key("http.page_bytes", Rule::Integer(1, 1 << 30)),
    key("media.store", Rule::Text("\"disk\" or \"s3\"")),
    key("media.user_bytes", Rule::Integer(0, 1 << 50)),
    key("media.unused_minutes", Rule::Integer(1, 525_600)),
    key("media.s3_endpoint", Rule::Text("a URL like \"https://s3.example\", or nothing")),
    key("media.s3_region", Rule::Text("the name of a region, like \"us-east-1\"")),
    key("media.s3_bucket", Rule::Text("the name of a bucket")),
    key("media.s3_prefix", Rule::Text("what names begin with, like \"chat/\", or nothing")),
    key("media.s3_style", Rule::Text("\"path\" or \"virtual-host\"")),
    key("media.s3_credentials_file", Rule::Text("the path of a file, or nothing")),
    key("media.s3_timeout_ms", TIME_MS),
    key("media.s3_attempts", Rule::Integer(1, 10)),
    key("record.folder", Rule::Text("\"off\", or the path of a folder, like \"recordings\"")),
    key("record.mode", Rule::Text("\"always\" or \"on-demand\"")),
    key("record.redact", Rule::Text("\"on\" or \"off\"")),
    key("record.file_bytes", Rule::Integer(1 << 16, 1 << 40)),
    key("record.total_bytes", Rule::Integer(1 << 17, 1 << 50)),
    key("record.memory_bytes", Rule::Integer(1 << 20, 1 << 40)),
    key("telemetry.endpoint", Rule::Text("a URL like \"http://127.0.0.1:4318\", or nothing")),
    key("telemetry.service_name", Rule::Text("a name, like \"switchboard\"")),
    key("telemetry.sample_percent", Rule::Integer(0, 100)),
    key("telemetry.queue_spans", Rule::Integer(1, 1 << 20)),
    key("telemetry.interval_ms", TIME_MS),
    key("telemetry.timeout_ms", TIME_MS),
];

const fn key(name: &'static str, rule: Rule) -> Key {
    Key { name, rule }
}

impl Key {
    /// The section it is in, if any, and its name there.
    pub(super) fn parts(&self) -> (Option<&'static str>, &'static str) {
        match self.name.split_once('.') {
            Some((section, field)) => (Some(section), field),
            None => (None, self.name),
        }
    }

    /// The environment variable that sets it.
    pub(super) fn variable(&self) -> String {
        format!("SWITCHBOARD_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }
}

/// What has taken the place of a key that there was.
pub(super) fn successor(name: &str) -> Option<&'static str> {
    match name {
        "proxy" => Some(
            "trusted_proxies, which names the addresses of the proxies to believe, like \"127.0.0.1 10.0.0.0/8\"",
        ),
        _ => None,
    }
}

/// The key with this dotted name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Whether there is such a section.
pub(super) fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.parts().0 == Some(name))
}

/// The key of a field of the engine's configuration; durations have their unit in the key.
pub(super) fn of_engine_field(field: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| {
        let (section, name) = key.parts();
        if matches!(section, Some("accounts" | "tokens" | "http" | "media" | "record" | "telemetry")) {
            return false;
        }
        name == field || name.strip_suffix("_ms") == Some(field)
    })
}

/// The known name that an unknown one most likely means. A right field in a wrong or missing section is as
/// likely as a slip in spelling; below a likeness of 0.7, a guess would be noise.
pub(super) fn nearest(unknown: &str) -> Option<&'static str> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    KEYS.iter()
        .flat_map(|key| [Some(key.name), key.parts().0])
        .flatten()
        .map(|name| {
            let whole = strsim::jaro_winkler(unknown, name);
            let field = strsim::jaro_winkler(&last(unknown), &last(name));
            (whole.max(field), whole, name)
        })
        .filter(|(likeness, _, _)| *likeness >= 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)))
        .map(|(_, _, name)| name)
}

/// The known variable that an unknown one most likely means.
pub(super) fn nearest_variable(unknown: &str) -> Option<String> {
    let field = unknown.strip_prefix("SWITCHBOARD_").unwrap_or(unknown).to_ascii_lowercase();
    KEYS.iter()
        .map(|key| (strsim::jaro_winkler(&field, &key.name.replace('.', "_")), key))
        .filter(|(likeness, _)| *likeness >= 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, key)| key.variable())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_table_names_exactly_the_fields_of_the_configuration() {
        let table = toml::Table::try_from(Config::default()).unwrap();
        let mut fields = Vec::new();
        for (name, value) in &table {
            match value.as_table() {
                Some(section) => fields.extend(section.keys().map(|field| format!("{name}.{field}"))),
                None => fields.push(name.clone()),
            }
        }
        let mut names: Vec<_> = KEYS.iter().map(|key| key.name.to_owned()).collect();
        fields.sort();
        names.sort();
        assert_eq!(names, fields);
    }

    #[test]
    fn no_two_keys_share_a_variable() {
        let variables: std::collections::BTreeSet<_> = KEYS.iter().map(Key::variable).collect();
        assert_eq!(variables.len(), KEYS.len());
    }

    #[test]
    fn a_field_of_the_engine_has_one_key() {
        assert_eq!(of_engine_field("pending").map(|key| key.name), Some("limits.pending"));
        assert_eq!(of_engine_field("idle_timeout").map(|key| key.name), Some("timeouts.idle_timeout_ms"));
        assert_eq!(of_engine_field("and"), None);
    }
}
