//! Merges the layers, checks every value, and remembers where each came from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::error::{ConfigError, ConfigErrors};
use super::key::{self, Key, Rule};
use super::telemetry::ENDPOINT_VARIABLE;
use super::{AuthMode, Config, show};

/// The variable that names the file if `--config` does not.
pub const CONFIG_VARIABLE: &str = "SWITCHBOARD_CONFIG";

/// The variable that has a client's session in it, and is no setting of a server.
pub const TOKEN_VARIABLE: &str = "SWITCHBOARD_TOKEN";

/// What every variable of ours begins with.
const PREFIX: &str = "SWITCHBOARD_";

/// The layers above the defaults.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The file that `--config` names. It goes before the one that [`CONFIG_VARIABLE`] names.
    pub file: Option<PathBuf>,
    /// The environment. Variables that do not begin with `SWITCHBOARD_` are passed over, but for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub environment: Vec<(OsString, OsString)>,
    /// The flags that set a key: the key's dotted name, and the value. The flag of `listen` is `--listen`.
    pub flags: Vec<(&'static str, String)>,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// No layer named it.
    Default,
    /// The file, at this line, counted from 1.
    File(PathBuf, usize),
    /// The environment variable of this name.
    Variable(String),
    /// The flag of this name, without its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => {
                write!(f, "{}, line {line}", printable(&path.display().to_string()))
            }
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

/// A configuration that has passed every check, and its history.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    origins: BTreeMap<&'static str, Origin>,
}

impl Loaded {
    /// Where the value of the key with this dotted name came from.
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// The keys that some layer has set, in the order of the sample file, with their values as TOML and where these came from.
    pub fn settings(&self) -> Vec<(&'static str, String, Origin)> {
        let set =
            |key: &'static Key| Some((key.name, show::value(self, key), self.origins.get(key.name)?.clone()));
        key::KEYS.iter().filter_map(set).collect()
    }

    /// What is allowed but should be known: one line each, for the log.
    pub fn warnings(&self) -> Vec<String> {
        let (listen, auth) = (self.config.listen, self.origin("auth"));
        if is_loopback(self.config.listen) {
            return Vec::new();
        }
        match self.config.auth {
            AuthMode::Open => vec![format!(
                "auth = \"open\" ({auth}): anybody who can reach {listen} can be any user with `?user=`"
            )],
            AuthMode::Password if self.config.tls().is_some() || !self.config.trusted_proxies.is_empty() => {
                Vec::new()
            }
            AuthMode::Password => vec![format!(
                "passwords come to {listen} without TLS: set tls_cert and tls_key, or trusted_proxies if a proxy that \
                 speaks it is in front of this server"
            )],
        }
    }

    /// The configuration as TOML, with a comment beside each value saying where it came from. Loaded as a
    /// file, it gives the same configuration; an `auth` that nobody asked for stays a comment in it.
    pub fn to_toml(&self) -> String {
        show::to_toml(self)
    }
}

/// Merges the layers over the defaults.
///
/// # Errors
/// All that is wrong with any layer; if no layer is wrong by itself, the first values that contradict each
/// other, or an address open to others for which `auth` was not chosen.
pub fn load(layers: &Layers) -> Result<Loaded, ConfigErrors> {
    let mut loader = Loader {
        table: toml::Table::new(),
        loaded: Loaded { config: Config::default(), origins: BTreeMap::new() },
        errors: Vec::new(),
    };
    loader.file(layers);
    loader.environment(layers);
    for (name, text) in &layers.flags {
        let origin = Origin::Flag(name.replace(['.', '_'], "-"));
        match key::find(name) {
            Some(key) => loader.set(key, &Given::text(key, text), origin),
            None => loader.unknown((*name).to_owned(), origin),
        }
    }
    if loader.errors.is_empty() {
        loader.errors.extend(contradiction(&loader.loaded));
    }
    if loader.errors.is_empty() { Ok(loader.loaded) } else { Err(ConfigErrors(loader.errors)) }
}

struct Loader {
    /// The values that were set and are right.
    table: toml::Table,
    /// What they make of the defaults.
    loaded: Loaded,
    errors: Vec<ConfigError>,
}

impl Loader {
    fn file(&mut self, layers: &Layers) {
        let variable = || layers.environment.iter().find(|(name, _)| name == CONFIG_VARIABLE);
        let (path, named_by) = match (&layers.file, variable()) {
            (Some(path), _) => (path.clone(), Origin::Flag("config".to_owned())),
            (None, Some((_, path))) => (path.into(), Origin::Variable(CONFIG_VARIABLE.to_owned())),
            (None, None) => return,
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => self.text(&path, &text),
            Err(source) => self.errors.push(ConfigError::Read { path, named_by, source }),
        }
    }

    fn text(&mut self, path: &Path, text: &str) {
        let origin = |offset| Origin::File(path.to_owned(), line_of(text, offset));
        let table = match DeTable::parse(text) {
            Ok(table) => table.into_inner(),
            Err(error) => {
                let origin = origin(error.span().map_or(0, |span| span.start));
                let message = printable(error.message());
                return self.errors.push(ConfigError::Syntax { origin, message });
            }
        };
        for (name, value) in in_order(&table) {
            let section = bare(name.get_ref());
            let here = origin(name.span().start);
            match (value.get_ref().as_table(), key::is_section(&section)) {
                (Some(fields), true) => {
                    for (field, value) in in_order(fields) {
                        let name = format!("{section}.{}", bare(field.get_ref()));
                        let given = Given::toml(value.get_ref(), text.get(value.span()));
                        self.named(name, &given, origin(field.span().start));
                    }
                }
                (None, true) => self.errors.push(ConfigError::Value {
                    value: excerpt(text.get(value.span())),
                    origin: here,
                    expected: format!("a section: [{section}], and its keys on the lines below"),
                    key: section,
                    source: None,
                }),
                (_, false) => {
                    let given = Given::toml(value.get_ref(), text.get(value.span()));
                    self.named(section, &given, here);
                }
            }
        }
    }

    fn environment(&mut self, layers: &Layers) {
        // Sorted, because the order of an environment is anyone's guess, and errors should not be.
        let environment: BTreeMap<_, _> =
            layers.environment.iter().map(|(name, value)| (name, value)).collect();
        for (name, value) in environment {
            let name = name.to_string_lossy();
            // Sorted before our own variable of this key, which overrides it therefore.
            let is_endpoint = name == ENDPOINT_VARIABLE;
            if let Some(key) = key::find("telemetry.endpoint").filter(|_| is_endpoint) {
                self.variable(key, &name, value);
                continue;
            }
            if !name.starts_with(PREFIX) || name == CONFIG_VARIABLE || name == TOKEN_VARIABLE {
                continue;
            }
            let Some(key) = key::KEYS.iter().find(|key| key.variable() == name) else {
                let field = name.strip_prefix(PREFIX).unwrap_or_default().to_ascii_lowercase();
                if key::successor(&field).is_some() {
                    self.unknown(field, Origin::Variable(name.into_owned()));
                    continue;
                }
                let nearest = key::nearest_variable(&name);
                self.errors.push(ConfigError::UnknownVariable { name: printable(&name), nearest });
                continue;
            };
            self.variable(key, &name, value);
        }
    }

    fn variable(&mut self, key: &'static Key, name: &str, value: &OsString) {
        let given = match value.to_str() {
            Some(text) => Given::text(key, text),
            None => Given { shown: format!("{value:?}"), value: None },
        };
        self.set(key, &given, Origin::Variable(name.to_owned()));
    }

    fn named(&mut self, name: String, given: &Given, origin: Origin) {
        match key::find(&name) {
            Some(key) => self.set(key, given, origin),
            None => self.unknown(name, origin),
        }
    }

    fn unknown(&mut self, key: String, origin: Origin) {
        if let Some(successor) = key::successor(&key) {
            return self.errors.push(ConfigError::Removed { key, origin, successor });
        }
        let nearest = key::nearest(&key).map(str::to_owned);
        self.errors.push(ConfigError::UnknownKey { key, origin, nearest });
    }

    /// Sets one key, if the value is right. Reading the whole table anew each time makes an error this
    /// key's: all before it were right.
    fn set(&mut self, key: &'static Key, given: &Given, origin: Origin) {
        let wrong = |origin, source| ConfigError::Value {
            key: key.name.to_owned(),
            value: given.shown.clone(),
            origin,
            expected: key.rule.to_string(),
            source,
        };
        let fits = match &key.rule {
            Rule::Integer(least, most) => {
                let number = given.value.as_ref().and_then(toml::Value::as_integer);
                number.is_some_and(|number| (*least..=*most).contains(&number))
            }
            Rule::Text(_) => given.value.as_ref().is_some_and(toml::Value::is_str),
        };
        let Some(value) = given.value.clone().filter(|_| fits) else {
            return self.errors.push(wrong(origin, None));
        };
        let mut table = self.table.clone();
        put(&mut table, key, value);
        match table.clone().try_into::<Config>() {
            Ok(config) => {
                self.table = table;
                self.loaded.config = config;
                self.loaded.origins.insert(key.name, origin);
            }
            Err(error) => self.errors.push(wrong(origin, Some(error))),
        }
    }
}

/// A value as a layer gave it.
struct Given {
    /// For an error message.
    shown: String,
    /// What it is, if it is text or a number that fits.
    value: Option<toml::Value>,
}

impl Given {
    /// A value of the environment or of a flag, which are all text.
    fn text(key: &Key, text: &str) -> Self {
        let value = match key.rule {
            Rule::Integer(..) => text.replace('_', "").parse().ok().map(toml::Value::Integer),
            Rule::Text(_) => Some(toml::Value::String(text.to_owned())),
        };
        let is_number = value.as_ref().is_some_and(toml::Value::is_integer);
        Self { shown: if is_number { text.to_owned() } else { format!("{text:?}") }, value }
    }

    /// A value of the file, and how it is written there; a section has only its name there.
    fn toml(value: &DeValue<'_>, written: Option<&str>) -> Self {
        let number = || {
            let integer = value.as_integer()?;
            i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(toml::Value::Integer)
        };
        let text = || value.as_str().map(|text| toml::Value::String(text.to_owned()));
        let shown = if value.is_table() { "a section".to_owned() } else { excerpt(written) };
        Self { shown, value: number().or_else(text) }
    }
}

/// The entries of a table as the file has them; by itself it is sorted by name.
fn in_order<'a, 'i>(table: &'a DeTable<'i>) -> Vec<(&'a Spanned<DeString<'i>>, &'a Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

fn put(table: &mut toml::Table, key: &Key, value: toml::Value) {
    let (section, field) = key.parts();
    let Some(section) = section else {
        table.insert(field.to_owned(), value);
        return;
    };
    let entry = table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    if let Some(section) = entry.as_table_mut() {
        section.insert(field.to_owned(), value);
    }
}

/// What the values of a configuration demand of each other.
fn contradiction(loaded: &Loaded) -> Option<ConfigError> {
    let config = &loaded.config;
    if let Err(error) = config.engine().validate() {
        return Some(broken(loaded, error.field, error.rule));
    }
    // The rest is for what the decoder keeps beside the message.
    const { assert!(switchboard_websocket::OVERHEAD_BYTES <= 1024) };
    if config.limits.receive_budget_bytes < config.limits.message_bytes.saturating_add(1024) {
        return Some(broken(loaded, "receive_budget_bytes", "at least message_bytes and 1024 more"));
    }
    match (&config.tls_cert, &config.tls_key) {
        (Some(_), None) => {
            return Some(broken(loaded, "tls_key", "the file of the key that belongs to tls_cert"));
        }
        (None, Some(_)) => {
            return Some(broken(loaded, "tls_cert", "the file of the certificate that belongs to tls_key"));
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    let least = config.record.file_bytes.saturating_mul(2).saturating_mul(config.shards.into());
    if config.record.folder.is_some() && config.record.total_bytes < least {
        return Some(ConfigError::Value {
            key: "record.total_bytes".to_owned(),
            value: config.record.total_bytes.to_string(),
            origin: loaded.origin("record.total_bytes"),
            expected: format!("for each shard at least twice record.file_bytes: {least}"),
            source: None,
        });
    }
    if !is_loopback(config.listen) && loaded.origin("auth") == Origin::Default {
        return Some(ConfigError::AuthNotChosen { listen: config.listen, origin: loaded.origin("listen") });
    }
    None
}

/// The error of a rule in the engine's words: its field names become keys, with their values and origins.
fn broken(loaded: &Loaded, field: &str, rule: &str) -> ConfigError {
    let word = |word: &str| match key::of_engine_field(word) {
        Some(key) => format!("{} = {} ({})", key.name, show::value(loaded, key), loaded.origin(key.name)),
        None => word.to_owned(),
    };
    let key = key::of_engine_field(field);
    ConfigError::Value {
        key: key.map_or(field, |key| key.name).to_owned(),
        value: key.map(|key| show::value(loaded, key)).unwrap_or_default(),
        origin: key.map_or(Origin::Default, |key| loaded.origin(key.name)),
        expected: rule.split(' ').map(word).collect::<Vec<_>>().join(" "),
        source: None,
    }
}

/// Whether only this machine can reach the address, also if IPv4 is written as IPv6 (RFC 4291, 2.5.5.2).
pub(crate) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// A name as it would be written in TOML, so that a quoted `"a.b"` is not taken for `b` in section `a`.
fn bare(name: &str) -> String {
    let is_bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if is_bare { name.to_owned() } else { format!("{name:?}") }
}

/// On one line, and harmless to a terminal and to a TOML comment.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// How a value is written in the file: enough of it to be recognised.
fn excerpt(written: Option<&str>) -> String {
    const LONGEST: usize = 200;
    printable(written.unwrap_or_default()).chars().take(LONGEST).collect()
}
