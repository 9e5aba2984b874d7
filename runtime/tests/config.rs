//! The configuration: its layers, its errors, and the sample file.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic like tests")]

use std::io::Write as _;
use std::time::Duration;

use switchboard::cli::report;
use switchboard::config::{AuthMode, Config, Devices, Layers, Loaded, LogFormat, Origin, load};
use switchboard_engine as engine;

const SAMPLE: &str = include_str!("../switchboard.toml");

/// The sample file with every setting switched on: prose has a space after its `#`.
fn sample_settings() -> String {
    let on = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting.to_owned(),
        _ => line.to_owned(),
    };
    SAMPLE.lines().map(|line| on(line) + "\n").collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn load_all(
    text: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Result<Loaded, String> {
    let file = file(text);
    let layers = Layers {
        file: Some(file.path().to_owned()),
        environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        flags: flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
    };
    // The file's name is random: errors are compared without it.
    load(&layers).map_err(|errors| report(&errors).replace(&file.path().display().to_string(), "FILE"))
}

#[track_caller]
fn assert_error(result: Result<Loaded, String>, text: &str) {
    assert_eq!(result.map(|loaded| loaded.config), Err(format!("{text}\n")));
}

fn error_of_file(text: &str) -> Result<Loaded, String> {
    load_all(text, &[], &[])
}

#[test]
fn without_layers_the_defaults_hold() {
    let loaded = load(&Layers::default()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.origin("listen"), Origin::Default);
    assert_eq!(loaded.config.listen.to_string(), "127.0.0.1:8888");
    assert!(loaded.warnings().is_empty());
}

#[test]
fn the_defaults_of_the_engine_are_the_engines() {
    // Shards are chosen by users.
    let expected = engine::ServerConfig { one_home: true, ..engine::ServerConfig::default() };
    assert_eq!(Config::default().engine(), expected);
}

#[test]
fn each_layer_overrides_the_ones_below_it() {
    let text = "shards = 2\n[limits]\npending = 7";
    let variables = [("SWITCHBOARD_SHARDS", "3"), ("PATH", "/bin"), ("switchboard_shards", "9")];
    let flags = [("shards", "4")];

    let of_file = load_all(text, &[], &[]).unwrap();
    assert_eq!(of_file.config.shards, 2);
    assert!(matches!(of_file.origin("shards"), Origin::File(_, 1)));
    assert!(matches!(of_file.origin("limits.pending"), Origin::File(_, 3)));

    let of_variable = load_all(text, &variables, &[]).unwrap();
    assert_eq!(of_variable.config.shards, 3);
    assert_eq!(of_variable.origin("shards"), Origin::Variable("SWITCHBOARD_SHARDS".to_owned()));

    let of_flag = load_all(text, &variables, &flags).unwrap();
    assert_eq!(of_flag.config.shards, 4);
    assert_eq!(of_flag.origin("shards"), Origin::Flag("shards".to_owned()));
    assert_eq!(of_flag.config.limits.pending, 7, "a layer leaves alone what it does not name");
}

#[test]
fn the_flag_for_the_file_goes_before_the_variable() {
    let (two, three) = (file("shards = 2"), file("shards = 3"));
    let mut layers =
        Layers { environment: vec![("SWITCHBOARD_CONFIG".into(), two.path().into())], ..Layers::default() };
    assert_eq!(load(&layers).unwrap().config.shards, 2);
    layers.file = Some(three.path().to_owned());
    assert_eq!(load(&layers).unwrap().config.shards, 3);
}

#[test]
fn every_key_can_be_set_by_its_variable() {
    let table: toml::Table = sample_settings().parse().unwrap();
    let mut names = 0;
    for (name, value) in &table {
        let fields = match value.as_table() {
            Some(section) => {
                section.iter().map(|(field, value)| (format!("{name}.{field}"), value)).collect()
            }
            None => vec![(name.clone(), value)],
        };
        for (key, value) in fields {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let variable = format!("SWITCHBOARD_{}", key.replace('.', "_").to_uppercase());
            let loaded = load_all("", &[(&variable, &text)], &[]).unwrap();
            assert_eq!(loaded.config, Config::default(), "{key}");
            assert_eq!(loaded.origin(&key), Origin::Variable(variable));
            names += 1;
        }
    }
    assert_eq!(names, 123);
}

#[test]
fn values_reach_the_engine() {
    let text = "shards = 2\ndevices = \"newest-wins\"\npresence = \"off\"\n\
                [timeouts]\nping_interval_ms = 1\nidle_timeout_ms = 2\nclose_timeout_ms = 3\n\
                request_timeout_ms = 4\nreload_interval_ms = 5\nring_timeout_ms = 6\n\
                hello_timeout_ms = 7\nheartbeat_interval_ms = 1\nresync_interval_ms = 8\n\
                reconnect_after_ms = 9\nreconnect_spread_ms = 0\ndrain_time_ms = 10\nreceipt_interval_ms = 31\n\
                presence_grace_ms = 31\npresence_refresh_ms = 32\npeer_timeout_ms = 33\ncall_grace_ms = 35\n\
                [limits]\nconnections = 11\nconnections_per_user = 12\ngroups_per_user = 13\n\
                message_bytes = 2_000\nmessages_per_second = 15\nmessage_burst = 16\nbytes_per_second = 17\n\
                byte_burst = 0x1000\nuser_messages_per_second = 25\nuser_message_burst = 26\n\
                user_bytes_per_second = 27\nuser_byte_burst = 28000\nadmissions_per_second = 29\n\
                admission_burst = 30\noutbox_bytes = 4000\nstreams_per_connection = 20\n\
                pending_per_connection = 21\npending = 22\npending_bytes = 5000\n\
                resend_messages = 32\nresend_conversations = 33\nresend_held_bytes = 37\nreceipts_per_connection = 34\n\
                lag_bytes = 3000\nfetches_per_connection = 23\nmarks_per_connection = 25\npage_messages = 3\npage_bytes = 2400\n\
                cursors_per_hello = 257\nheads_per_frame = 24\nwatches = 34\ncalls = 36\n";
    let engine = error_of_file(text).unwrap().config.engine();
    let expected = engine::ServerConfig {
        devices: engine::DevicePolicy::NewestWins,
        ping_interval: Duration::from_millis(1),
        idle_timeout: Duration::from_millis(2),
        close_timeout: Duration::from_millis(3),
        request_timeout: Duration::from_millis(4),
        reload_interval: Duration::from_millis(5),
        ring_timeout: Duration::from_millis(6),
        hello_timeout: Duration::from_millis(7),
        heartbeat_interval: Duration::from_millis(1),
        resync_interval: Duration::from_millis(8),
        reconnect_after: Duration::from_millis(9),
        reconnect_spread: Duration::ZERO,
        one_home: true,
        presence: false,
        presence_grace: Duration::from_millis(31),
        presence_refresh: Duration::from_millis(32),
        peer_timeout: Duration::from_millis(33),
        call_grace: Duration::from_millis(35),
        drain_time: Duration::from_millis(10),
        receipt_interval: Duration::from_millis(31),
        peers: true,
        limits: engine::Limits {
            connections: 11,
            connections_per_user: 12,
            groups_per_user: 13,
            message_bytes: 2_000,
            messages_per_second: 15,
            message_burst: 16,
            bytes_per_second: 17,
            byte_burst: 4_096,
            user_messages_per_second: 25,
            user_message_burst: 26,
            user_bytes_per_second: 27,
            user_byte_burst: 28_000,
            admissions_per_second: 29,
            admission_burst: 30,
            outbox_bytes: 4_000,
            streams_per_connection: 20,
            pending_per_connection: 21,
            pending: 22,
            pending_bytes: 5_000,
            resend_messages: 32,
            resend_conversations: 33,
            resend_held_bytes: 37,
            receipts_per_connection: 34,
            lag_bytes: 3_000,
            fetches_per_connection: 23,
            marks_per_connection: 25,
            page_messages: 3,
            page_bytes: 2_400,
            cursors_per_hello: 257,
            heads_per_frame: 24,
            watches: 34,
            calls: 36,
        },
    };
    assert_eq!(engine, expected);
}

#[test]
fn the_sample_file_sets_nothing() {
    let loaded = error_of_file(SAMPLE).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(!loaded.to_toml().contains("line"), "{}", loaded.to_toml());
}

#[test]
fn the_sample_file_shows_every_key_with_its_default() {
    let settings = sample_settings();
    let expected = toml::Table::try_from(Config::default()).unwrap();
    assert_eq!(settings.parse::<toml::Table>().unwrap(), expected);
    assert_eq!(error_of_file(&settings).unwrap().config, Config::default());
}

#[test]
fn an_unknown_key_suggests_the_nearest() {
    for (text, error) in [
        ("\nlisten_ = \"\"", "unknown key listen_ (FILE, line 2): did you mean listen?"),
        (
            "[limits]\nmesage_bytes = 1",
            "unknown key limits.mesage_bytes (FILE, line 2): did you mean limits.message_bytes?",
        ),
        ("message_bytes = 1", "unknown key message_bytes (FILE, line 1): did you mean limits.message_bytes?"),
        ("[limts]\npending = 1", "unknown key limts (FILE, line 1): did you mean limits?"),
        (
            "[limits]\npending.x.y = 1",
            "limits.pending = a section (FILE, line 2) must be a whole number from 1 to 4294967295",
        ),
        (
            "\"limits.pending\" = 1",
            "unknown key \"limits.pending\" (FILE, line 1): did you mean limits.pending?",
        ),
        ("zzzz = 1", "unknown key zzzz (FILE, line 1)"),
    ] {
        assert_error(error_of_file(text), &format!("error: {error}"));
    }
}

#[test]
fn an_unknown_variable_suggests_the_nearest() {
    assert_error(
        load_all("", &[("SWITCHBOARD_LIMITS_MESAGE_BYTES", "1")], &[]),
        "error: unknown environment variable SWITCHBOARD_LIMITS_MESAGE_BYTES: did you mean \
         SWITCHBOARD_LIMITS_MESSAGE_BYTES?",
    );
    assert_error(
        load_all("", &[("SWITCHBOARD_", "")], &[]),
        "error: unknown environment variable SWITCHBOARD_",
    );
}

#[test]
fn the_standard_variable_of_a_collectors_address_is_one_more_below_our_own() {
    let standard = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://one:4318");
    let loaded = load_all("[telemetry]\nendpoint = \"http://none\"", &[standard], &[]).unwrap();
    assert_eq!(loaded.config.telemetry.endpoint, "http://one:4318");
    assert_eq!(loaded.origin("telemetry.endpoint"), Origin::Variable(standard.0.to_owned()));
    let own = ("SWITCHBOARD_TELEMETRY_ENDPOINT", "http://two:4318");
    let loaded = load_all("", &[own, standard], &[]).unwrap();
    assert_eq!(loaded.config.telemetry.endpoint, "http://two:4318");
    let loaded = load_all("", &[own, standard], &[("telemetry.endpoint", "")]).unwrap();
    assert_eq!(loaded.config.telemetry.endpoint, "");
    for wrong in ["one:4318", "http://", "https://user:secret@one", "grpc://one", "http://one/?a"] {
        let error = load_all("", &[(standard.0, wrong)], &[]).unwrap_err();
        let expected = "must be a URL like \"http://127.0.0.1:4318\", or nothing";
        assert!(error.contains(expected) && error.contains(standard.0), "{error}");
    }
}

#[test]
fn an_unknown_flag_names_no_key() {
    assert_error(
        load_all("", &[], &[("shard", "1")]),
        "error: unknown key shard (flag --shard): did you mean shards?",
    );
}

#[test]
fn a_wrong_type_names_the_key_the_place_the_value_and_what_is_right() {
    let shards = "must be a whole number from 1 to 64";
    for value in ["\"2\"", "1.5", "true", "[2]", "99999999999999999999"] {
        let error = format!("error: shards = {value} (FILE, line 2) {shards}");
        assert_error(error_of_file(&format!("\nshards = {value}")), &error);
    }
    for value in ["", "two", "0x10", "1 "] {
        assert_error(
            load_all("", &[("SWITCHBOARD_SHARDS", value)], &[]),
            &format!("error: shards = {value:?} (environment variable SWITCHBOARD_SHARDS) {shards}"),
        );
        assert_error(
            load_all("", &[], &[("shards", value)]),
            &format!("error: shards = {value:?} (flag --shards) {shards}"),
        );
    }
    for text in ["\nshards = { a = 1 }", "\n[shards]\na = 1"] {
        assert_error(error_of_file(text), &format!("error: shards = a section (FILE, line 2) {shards}"));
    }
    assert_error(
        error_of_file("limits = 5"),
        "error: limits = 5 (FILE, line 1) must be a section: [limits], and its keys on the lines below",
    );
    assert_error(
        error_of_file("data = 5"),
        "error: data = 5 (FILE, line 1) must be the path of a folder, like \"data\"",
    );
}

#[test]
fn the_ends_of_every_range_are_right_and_what_lies_beyond_is_wrong() {
    let wrong = |name: &str, value: i64| {
        let variable = format!("SWITCHBOARD_{}", name.to_uppercase());
        load_all("", &[(&variable, &value.to_string())], &[]).unwrap_err()
    };
    let right = |name: &str, value: i64| {
        let variable = format!("SWITCHBOARD_{}", name.to_uppercase());
        load_all("", &[(&variable, &value.to_string())], &[]).map(|_| ()).unwrap();
    };
    for (name, least, most) in [
        ("shards", 1, 64),
        ("shutdown_timeout_ms", 0, 86_400_000),
        ("write_delay_ms", 0, 1_000),
        ("handshake_timeout_ms", 1, 86_400_000),
        ("handshake_concurrent", 1, 4_294_967_295),
        ("limits_streams_per_connection", 0, 4_294_967_295),
        ("limits_connections", 1, 16_777_216),
        ("limits_bytes_per_second", 1, 1 << 40),
        ("store_commit_interval_us", 0, 1_000_000),
        ("store_max_database_bytes", 0, 1 << 50),
        ("bus_queue_records", 1, 16_777_216),
    ] {
        right(name, least);
        right(name, most);
        let rule = format!("must be a whole number from {least} to {most}\n");
        assert!(wrong(name, least - 1).ends_with(&rule), "{name}");
        assert!(wrong(name, most + 1).ends_with(&rule), "{name}");
    }
}

#[test]
fn wrong_text_says_what_is_right_and_why() {
    for (key, value, expected, cause) in [
        (
            "listen",
            "localhost",
            "an IP address and a port, like \"127.0.0.1:8888\" or \"[::1]:8888\"",
            "invalid socket address syntax in `listen`",
        ),
        ("data", "", "the path of a folder, like \"data\"", "the path is empty in `data`"),
        (
            "allowed_origins",
            "https://a.example/",
            "origins like \"https://chat.example\", separated by blanks",
            "\"https://a.example/\" is not like https://chat.example in `allowed_origins`",
        ),
        (
            "trusted_proxies",
            "::1 10.0.0.0/33",
            "addresses and networks like \"10.0.0.0/8 ::1\", separated by blanks",
            "\"10.0.0.0/33\" is not like 10.0.0.0/8 or ::1 in `trusted_proxies`",
        ),
        (
            "auth",
            "opne",
            "\"open\" or \"password\"",
            "unknown variant `opne`, expected `open` or `password` in `auth`",
        ),
        (
            "devices",
            "newest",
            "\"all\" or \"newest-wins\"",
            "unknown variant `newest`, expected `all` or `newest-wins` in `devices`",
        ),
        (
            "log",
            "inof",
            "a log filter, like \"info\" or \"info,switchboard=debug\"",
            "\"inof\" is not a level (off, error, warn, info, debug, trace), and not TARGET=LEVEL in `log`",
        ),
    ] {
        assert_error(
            load_all("", &[], &[(key, value)]),
            &format!(
                "error: {key} = {value:?} (flag --{}) must be {expected}\n  caused by: {cause}",
                key.replace('_', "-")
            ),
        );
    }
    let error = load_all("log = \"switchboard=loud\"", &[], &[]).unwrap_err();
    assert!(
        error.starts_with("error: log = \"switchboard=loud\" (FILE, line 1) must be a log filter"),
        "{error}"
    );
    assert!(error.contains("  caused by: the log filter \"switchboard=loud\" cannot be read"), "{error}");
}

#[test]
fn text_values_are_taken() {
    let text = "auth = \"open\"\ndevices = \"newest-wins\"\nlog_format = \"json\"\nlog = \"warn,a::b=debug,c[d{e}]=5\"";
    let config = error_of_file(text).unwrap().config;
    assert_eq!((config.auth, config.devices), (AuthMode::Open, Devices::NewestWins));
    assert_eq!(config.log_format, LogFormat::Json);
}

#[test]
fn a_value_that_a_higher_layer_overrides_is_still_checked() {
    assert_error(
        load_all("shards = 0", &[], &[("shards", "2")]),
        "error: shards = 0 (FILE, line 1) must be a whole number from 1 to 64",
    );
}

#[test]
fn all_errors_of_all_layers_are_told_at_once() {
    assert_error(
        load_all("shards = 0\nlisen = 1\nzzzz = 1", &[("SWITCHBOARD_AUTH", "x")], &[("devices", "y")]),
        "error: shards = 0 (FILE, line 1) must be a whole number from 1 to 64\n\
         error: unknown key lisen (FILE, line 2): did you mean listen?\n\
         error: unknown key zzzz (FILE, line 3)\n\
         error: auth = \"x\" (environment variable SWITCHBOARD_AUTH) must be \"open\" or \"password\"\n  \
         caused by: unknown variant `x`, expected `open` or `password` in `auth`\n\
         error: devices = \"y\" (flag --devices) must be \"all\" or \"newest-wins\"\n  \
         caused by: unknown variant `y`, expected `all` or `newest-wins` in `devices`",
    );
}

#[test]
fn contradictory_values_are_told_with_both_origins() {
    for (text, error) in [
        (
            "[limits]\nmessage_bytes = 67108864",
            "limits.byte_burst = 33554432 (default) must be at least limits.message_bytes = 67108864 (FILE, line 2)",
        ),
        (
            "[timeouts]\nidle_timeout_ms = 25000",
            "timeouts.idle_timeout_ms = 25000 (FILE, line 2) must be longer than \
             timeouts.ping_interval_ms = 25000 (default)",
        ),
        (
            "[limits]\noutbox_bytes = 8388608",
            "limits.outbox_bytes = 8388608 (FILE, line 2) must be at least \
             limits.message_bytes = 8388608 (default) and 1024 more",
        ),
        (
            "[limits]\nmessage_bytes = 65536\noutbox_bytes = 262144",
            "limits.lag_bytes = 1048576 (default) must be less than limits.outbox_bytes = 262144 (FILE, line 3)",
        ),
        (
            "[limits]\nmessage_bytes = 65536\noutbox_bytes = 262144\nlag_bytes = 65536",
            "limits.page_bytes = 262144 (default) must be at least 1, and with 512 for each of \
             limits.page_messages = 200 (default) at most limits.outbox_bytes = 262144 (FILE, line 3)",
        ),
        (
            "[timeouts]\nidle_timeout_ms = 20000\nping_interval_ms = 10000",
            "timeouts.heartbeat_interval_ms = 20000 (default) must be shorter than \
             timeouts.idle_timeout_ms = 20000 (FILE, line 2)",
        ),
        (
            "[limits]\npending_bytes = 5",
            "limits.pending_bytes = 5 (FILE, line 2) must be at least \
             limits.message_bytes = 8388608 (default) and 1024 more",
        ),
        (
            "[limits]\nreceive_budget_bytes = 5",
            "limits.receive_budget_bytes = 5 (FILE, line 2) must be at least \
             limits.message_bytes = 8388608 (default) and 1024 more",
        ),
    ] {
        assert_error(error_of_file(text), &format!("error: {error}"));
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_with_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.toml");
    let by_flag = Layers { file: Some(path.clone()), ..Layers::default() };
    let by_variable =
        Layers { environment: vec![("SWITCHBOARD_CONFIG".into(), path.clone().into())], ..Layers::default() };
    for (layers, named_by) in
        [(by_flag, "flag --config"), (by_variable, "environment variable SWITCHBOARD_CONFIG")]
    {
        let text = report(&load(&layers).unwrap_err());
        let expected = format!(
            "error: cannot read the configuration file {path:?} (named by {named_by})\n  caused by: "
        );
        assert!(text.starts_with(&expected), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    }
}

#[test]
fn a_file_that_is_not_toml_is_an_error_at_its_line() {
    for (text, line) in [("shards = 1\nlisten = ", 2), ("shards = 1\nshards = 2\n", 2), ("\n\n[limits", 3)] {
        let error = error_of_file(text).unwrap_err();
        assert!(error.starts_with(&format!("error: FILE, line {line} is not valid TOML: ")), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf_8_is_an_error() {
    use std::os::unix::ffi::OsStringExt as _;
    let value = std::ffi::OsString::from_vec(vec![0xff]);
    let layers = Layers { environment: vec![("SWITCHBOARD_DATA".into(), value)], ..Layers::default() };
    assert_eq!(
        report(&load(&layers).unwrap_err()),
        "error: data = \"\\xFF\" (environment variable SWITCHBOARD_DATA) must be the path of a folder, like \
         \"data\"\n"
    );
}

#[test]
fn open_authentication_is_the_default_on_loopback_addresses() {
    for listen in ["127.0.0.1:8888", "127.8.9.1:0", "[::1]:8888", "[::ffff:127.0.0.1]:8888"] {
        let loaded = load_all("", &[], &[("listen", listen)]).unwrap();
        assert_eq!(loaded.config.auth, AuthMode::Open);
        assert!(loaded.warnings().is_empty(), "{listen}");
    }
}

#[test]
fn elsewhere_open_authentication_must_be_asked_for_by_name() {
    for listen in ["0.0.0.0:8888", "[::]:8888", "192.0.2.1:1", "[::ffff:192.0.2.1]:1", "[2001:db8::1]:1"] {
        assert_error(
            load_all("", &[], &[("listen", listen)]),
            &format!(
                "error: listen = {listen} (flag --listen) can be reached from other machines, but auth is not \
                 set, and without it anybody can be any user with `?user=`: have users log in with \
                 auth = \"password\" (--auth password), listen on a loopback address such as 127.0.0.1:8888, or, if \
                 all who can reach {listen} are trusted, ask for it with auth = \"open\" (--auth open, \
                 SWITCHBOARD_AUTH=open)"
            ),
        );
        let asked = [
            load_all("auth = \"open\"", &[], &[("listen", listen)]),
            load_all("", &[("SWITCHBOARD_AUTH", "open")], &[("listen", listen)]),
            load_all("", &[], &[("listen", listen), ("auth", "open")]),
        ];
        for loaded in asked {
            let [warning] = loaded.unwrap().warnings().try_into().unwrap();
            assert!(
                warning.contains(&format!("anybody who can reach {listen} can be any user")),
                "{warning}"
            );
        }
    }
}

#[test]
fn passwords_without_tls_are_warned_of_unless_a_proxy_may_speak_it() {
    let warnings = |text: &str| {
        let text = format!("listen = \"192.0.2.1:1\"\nauth = \"password\"\n{text}");
        load_all(&text, &[], &[]).unwrap().warnings()
    };
    assert!(
        warnings("")[0].starts_with("passwords come to 192.0.2.1:1 without TLS: set tls_cert and tls_key")
    );
    assert!(warnings("tls_cert = \"a.pem\"\ntls_key = \"b.pem\"").is_empty());
    assert!(warnings("trusted_proxies = \"192.0.2.2\"").is_empty());
}

#[test]
fn a_certificate_and_its_key_are_named_together() {
    let config = error_of_file("tls_cert = \"a.pem\"\ntls_key = \"b.pem\"").unwrap().config;
    assert_eq!((config.tls_cert, config.tls_key), (Some("a.pem".into()), Some("b.pem".into())));
    assert_eq!(error_of_file("tls_cert = \"off\"").unwrap().config.tls_cert, None);
    assert_error(
        error_of_file("tls_cert = \"a.pem\""),
        "error: tls_key = \"off\" (default) must be the file of the key that belongs to tls_cert = \"a.pem\" \
         (FILE, line 1)",
    );
    assert_error(
        load_all("", &[], &[("tls_key", "b.pem")]),
        "error: tls_cert = \"off\" (default) must be the file of the certificate that belongs to tls_key = \
         \"b.pem\" (flag --tls-key)",
    );
}

#[test]
fn the_proxy_of_older_configurations_is_told_what_has_taken_its_place() {
    let expected = "is not a setting any more: use trusted_proxies, which names the addresses of the proxies to believe, like \
                    \"127.0.0.1 10.0.0.0/8\"";
    assert_error(error_of_file("proxy = \"trusted\""), &format!("error: proxy (FILE, line 1) {expected}"));
    assert_error(
        load_all("", &[("SWITCHBOARD_PROXY", "none")], &[]),
        &format!("error: proxy (environment variable SWITCHBOARD_PROXY) {expected}"),
    );
}

#[test]
fn the_address_for_figures_is_off_or_any_address() {
    for (text, expected) in [("off", None), ("192.0.2.1:9", Some(([192, 0, 2, 1], 9).into()))] {
        let loaded = error_of_file(&format!("metrics_listen = \"{text}\"")).unwrap();
        assert_eq!(loaded.config.metrics_listen, expected);
        assert_eq!(error_of_file(&loaded.to_toml()).unwrap().config, loaded.config);
    }
    let error = error_of_file("metrics_listen = \"9888\"").map(|loaded| loaded.config).unwrap_err();
    assert!(error.contains("must be \"off\", or an IP address and a port"), "{error}");
}

#[test]
fn the_printed_configuration_loads_as_itself() {
    let text = "listen = \"0.0.0.0:1\"\nauth = \"open\"\ndata = 'a\"b\\c#'\n[limits]\nmessage_bytes = 2048";
    let loaded = load_all(text, &[("SWITCHBOARD_LOG", "warn")], &[("shards", "3")]).unwrap();
    let printed = loaded.to_toml();
    for line in [
        "shards = 3 # flag --shards\n",
        "log = \"warn\" # environment variable SWITCHBOARD_LOG\n",
        "timeout_ms = 10000 # default\n",
        ".toml, line 5\n",
    ] {
        assert!(printed.contains(line), "{printed}");
    }
    assert_eq!(error_of_file(&printed).unwrap().config, loaded.config);
}

#[test]
fn a_printed_configuration_does_not_choose_open_authentication_by_itself() {
    let printed = load(&Layers::default()).unwrap().to_toml();
    assert!(printed.contains("#auth = \"open\" # default\n"), "{printed}");
    assert!(load_all(&printed, &[], &[("listen", "0.0.0.0:1")]).is_err());
}
