//! The command line: its commands and flags, and how errors leave it.

mod people;

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};
use hyper::Uri;
use switchboard_engine::{GroupId, Recipient, UserId};

use crate::{
    client::{ServerUrl, Token, UrlError},
    config::{self, ConfigErrors, Layers, Loaded},
};

pub use people::{KeyCommand, SigningAlgorithm, TokenArgs, TokenCommand, UserArgs, UserCommand, Who};

const EXAMPLES: &str = "\
Examples:
  switchboard serve
  switchboard serve --config switchboard.toml --listen [::1]:9000
  SWITCHBOARD_LIMITS_MESSAGE_BYTES=1048576 switchboard config
  switchboard group create friends --owner alice
  switchboard user add alice --role administrator
  switchboard chat --user alice --to bob
  switchboard backup /backups/monday

The configuration's layers, each overriding the one before: defaults, the file, environment variables
(limits.message_bytes is SWITCHBOARD_LIMITS_MESSAGE_BYTES), flags. `switchboard config` prints every key.

Exit codes: 0 success, 1 failure at run time, 2 wrong usage or configuration.";

#[derive(Debug, Parser)]
#[command(name = "switchboard", version, about = "An instant-messaging server", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the server.
    Serve(ServeArgs),
    /// Chat in this terminal, as a client of a server.
    Chat(ChatArgs),
    /// Create, join, leave and list groups, whether a server runs on the data folder or not.
    Group(GroupArgs),
    /// Make, list, change and ban users, whether a server runs on the data folder or not.
    User(UserArgs),
    /// Make and check signed tokens, and exchange their keys.
    Token(TokenArgs),
    /// Look after the store of a server that does not run.
    Store(StoreArgs),
    /// Copy the database and the uploaded files to a new folder, whether a server runs on them or not.
    Backup(BackupArgs),
    /// Write all data, or one user's, to a file, whether a server runs on it or not.
    Export(ExportArgs),
    /// Take the data of an export into a data folder on which no server runs.
    Import(ImportArgs),
    /// Look at everything that `serve` needs, and say what is wrong and what to do about it.
    Doctor(ServeArgs),
    /// Ask the server that runs with this configuration on this machine whether it is well.
    Health(ServeArgs),
    /// Print the configuration that `serve` would run with, and where each value comes from.
    Config(ServeArgs),
    /// Print the OpenAPI document of the JSON API under /api/v1.
    Openapi,
}

/// The flags that set the configuration. They are read with the other layers, by [`ServeArgs::load`], so that
/// a wrong value is the same error in each.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct ServeArgs {
    /// Configuration file, in TOML; otherwise the one that $SWITCHBOARD_CONFIG names, if any
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port to listen on [default: 127.0.0.1:8888]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Certificate to speak TLS with, in PEM, with those that lead from it to an authority; read again on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<String>,
    /// Its private key, in PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<String>,
    /// Folder of the database and of uploaded files [default: data]
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<String>,
    /// Threads that serve connections, 1 to 64 [default: 1]
    #[arg(long, value_name = "COUNT")]
    pub shards: Option<String>,
    /// How users prove who they are: `password` has them log in, `open` believes `?user=`. To listen on an address that
    /// is not a loopback address, one must be asked for by name [default: open]
    #[arg(long, value_name = "MODE")]
    pub auth: Option<String>,
    /// Folder of a built front-end to serve to browsers, with an index.html in it; `off` serves none, `built-in` a small page
    /// to try the server with [default: built-in]
    #[arg(long = "static", value_name = "FOLDER")]
    pub front_end: Option<String>,
    /// When a connected user connects again: `all` keeps all connections, `newest-wins` the newest
    /// [default: all]
    #[arg(long, value_name = "POLICY")]
    pub devices: Option<String>,
    /// Folder to record in what the server's engines are told, so that the simulator does the same again; all that is said is in
    /// it [default: off]
    #[arg(long, value_name = "FOLDER")]
    pub record: Option<String>,
    /// When recordings are written: `always`, or `on-demand`, which keeps the newest in memory until SIGUSR1 comes, an administrator
    /// asks, or the server fails [default: always]
    #[arg(long, value_name = "MODE")]
    pub record_mode: Option<String>,
    /// Replace texts, display names and files in recordings by stand-ins of the same lengths, the same for the same text
    #[arg(long)]
    pub record_redact: bool,
    /// URL of a collector to send traces to, by OTLP over HTTP, like `http://127.0.0.1:4318` [default: none are sent]
    #[arg(long, value_name = "URL")]
    pub telemetry_endpoint: Option<String>,
    /// Log filter, like `warn` or `info,switchboard=debug` [default: info]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
}

impl ServeArgs {
    /// Merges these flags with the file and the environment of this process.
    ///
    /// # Errors
    /// All that is wrong with any layer: see [`config::load`].
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        config::load(&self.layers(std::env::vars_os().collect()))
    }

    /// These flags and this environment, as layers.
    pub fn layers(&self, environment: Vec<(OsString, OsString)>) -> Layers {
        let Self {
            config,
            listen,
            tls_cert,
            tls_key,
            data,
            shards,
            auth,
            front_end,
            devices,
            record,
            record_mode,
            record_redact,
            telemetry_endpoint,
            log,
        } = self;
        let redact = record_redact.then(|| "on".to_owned());
        let flags = [
            ("listen", listen),
            ("tls_cert", tls_cert),
            ("tls_key", tls_key),
            ("data", data),
            ("shards", shards),
            ("auth", auth),
            ("static", front_end),
            ("devices", devices),
            ("record.folder", record),
            ("record.mode", record_mode),
            ("record.redact", &redact),
            ("telemetry.endpoint", telemetry_endpoint),
            ("log", log),
        ];
        let flags = flags.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect();
        Layers { file: config.clone(), environment, flags }
    }
}

/// With whom to chat, and where.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(group = ArgGroup::new("recipient").args(["to", "group"]).required(true))]
pub struct ChatArgs {
    /// Who you are
    #[arg(long)]
    pub user: UserId,
    /// The user to chat with
    #[arg(long, value_name = "USER")]
    pub to: Option<UserId>,
    /// The group to chat with, instead of a user
    #[arg(long)]
    pub group: Option<GroupId>,
    /// The server
    #[arg(long, default_value = "ws://127.0.0.1:8888", value_parser = ws_url)]
    pub url: Uri,
    /// File with the certificate of the authority to trust with a wss:// URL, in PEM, instead of those that this system trusts
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The session at a server where users log in: the value of its cookie. Better given by the variable, as other
    /// processes can see flags
    #[arg(long, env = crate::config::TOKEN_VARIABLE, hide_env_values = true)]
    pub token: Option<Token>,
    /// Show so many messages of the past at the beginning [default: 20 at a terminal, 0 in a pipe]
    #[arg(long, value_name = "COUNT")]
    pub history: Option<u32>,
    /// Keep messages, and what was not sent yet, in this file, and go on from there; otherwise nothing is kept
    #[arg(long, value_name = "FILE")]
    pub store: Option<PathBuf>,
}

impl ChatArgs {
    /// The conversation to begin with.
    #[must_use]
    pub fn conversation(&self) -> Recipient {
        match (&self.to, &self.group) {
            (_, Some(group)) => Recipient::Group(group.clone()),
            (Some(user), None) => Recipient::User(user.clone()),
            // The command line asks for one of the two.
            (None, None) => Recipient::User(self.user.clone()),
        }
    }
}

/// What to do with which server's groups.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct GroupArgs {
    /// What to do
    #[command(subcommand)]
    pub command: GroupCommand,
    /// Configuration file of the server, in TOML; otherwise the one that $SWITCHBOARD_CONFIG names, if any
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Data folder of the server [default: data]
    #[arg(long, value_name = "FOLDER", global = true)]
    pub data: Option<String>,
}

impl GroupArgs {
    /// The configuration of the server whose groups are meant.
    ///
    /// # Errors
    /// All that is wrong with any layer: see [`config::load`].
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        ServeArgs { config: self.config.clone(), data: self.data.clone(), ..ServeArgs::default() }.load()
    }
}

/// What to copy, and where to.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct BackupArgs {
    /// The folder to make; there must be none of this name
    #[arg(value_name = "FOLDER")]
    pub target: PathBuf,
    /// Configuration file of the server, in TOML; otherwise the one that $SWITCHBOARD_CONFIG names, if any
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data folder of the server [default: data]
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<String>,
}

impl BackupArgs {
    /// The configuration of the server whose data is meant.
    ///
    /// # Errors
    /// All that is wrong with any layer: see [`config::load`].
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        ServeArgs { config: self.config.clone(), data: self.data.clone(), ..ServeArgs::default() }.load()
    }
}

/// What to export, and where to.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ExportArgs {
    /// The file to make, a tar; there must be none of this name
    #[arg(value_name = "FILE")]
    pub target: PathBuf,
    /// Only this user's data, for it to read
    #[arg(long, value_name = "USER")]
    pub user: Option<UserId>,
    /// The hashes of passwords as well: without, nobody can log in where the export is taken in
    #[arg(long)]
    pub with_passwords: bool,
    /// Configuration file of the server, in TOML; otherwise the one that $SWITCHBOARD_CONFIG names, if any
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data folder of the server [default: data]
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<String>,
}

impl ExportArgs {
    /// The configuration of the server whose data is meant.
    ///
    /// # Errors
    /// All that is wrong with any layer: see [`config::load`].
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        ServeArgs { config: self.config.clone(), data: self.data.clone(), ..ServeArgs::default() }.load()
    }
}

/// What to import, and where to.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ImportArgs {
    /// The export
    #[arg(value_name = "FILE")]
    pub source: PathBuf,
    /// Configuration file of the server, in TOML; otherwise the one that $SWITCHBOARD_CONFIG names, if any
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data folder of the server [default: data]
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<String>,
}

impl ImportArgs {
    /// The configuration of the server whose data is meant.
    ///
    /// # Errors
    /// All that is wrong with any layer: see [`config::load`].
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        ServeArgs { config: self.config.clone(), data: self.data.clone(), ..ServeArgs::default() }.load()
    }
}

/// What to do with which server's store.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct StoreArgs {
    /// What to do
    #[command(subcommand)]
    pub command: StoreCommand,
    /// Configuration file of the server, in TOML; otherwise the one that $SWITCHBOARD_CONFIG names, if any
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Data folder of the server [default: data]
    #[arg(long, value_name = "FOLDER", global = true)]
    pub data: Option<String>,
}

impl StoreArgs {
    /// The configuration of the server whose store is meant.
    ///
    /// # Errors
    /// All that is wrong with any layer: see [`config::load`].
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        ServeArgs { config: self.config.clone(), data: self.data.clone(), ..ServeArgs::default() }.load()
    }
}

/// What to do with a store.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum StoreCommand {
    /// Have clients fetch all conversations again: after a backup of the whole data folder was restored, and
    /// before the server starts.
    NewEpochs,
}

/// What to do with groups.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum GroupCommand {
    /// Create a group; its owner is its first member.
    Create {
        /// What the group is called
        name: String,
        /// The user who owns it
        #[arg(long, value_name = "USER")]
        owner: UserId,
        /// Whoever knows its id may join; else members are invited
        #[arg(long)]
        open: bool,
    },
    /// Make a user a member of a group.
    Join {
        /// The group's id
        group: GroupId,
        /// The user
        user: UserId,
    },
    /// End a user's membership of a group.
    Leave {
        /// The group's id
        group: GroupId,
        /// The user
        user: UserId,
    },
    /// List the members of a group with their roles.
    Members {
        /// The group's id
        group: GroupId,
    },
    /// List groups: all of them, or those of one user.
    List {
        /// Only this user's groups
        #[arg(long)]
        user: Option<UserId>,
    },
}

/// The command of this process. Prints help, the version or what is wrong, and exits (0, or 2 if something
/// is wrong), where there is no command to run.
pub fn parse() -> Command {
    Cli::parse().command
}

/// The command of these arguments, the program's name first.
///
/// # Errors
/// If the usage is wrong; also if help or the version is asked for, whose text is the error's.
pub fn parse_from<A: Into<OsString> + Clone>(
    args: impl IntoIterator<Item = A>,
) -> Result<Command, clap::Error> {
    Cli::try_parse_from(args).map(|cli| cli.command)
}

/// An error for the user: a line for it, and one for each of its causes. [`ConfigErrors`] are a line each,
/// with their causes.
pub fn report(error: &(dyn Error + 'static)) -> String {
    if let Some(ConfigErrors(errors)) = error.downcast_ref() {
        return errors.iter().map(|error| report(error)).collect();
    }
    let mut text = format!("error: {}\n", one_line(error));
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!("  caused by: {}\n", one_line(error));
        cause = error.source();
    }
    text
}

/// An error with its causes on one line.
pub(crate) fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let text = report(error);
    let lines = text.lines().map(|line| line.trim().trim_start_matches("error: "));
    lines.map(|line| line.strip_prefix("caused by: ").unwrap_or(line)).collect::<Vec<_>>().join(": ")
}

/// Some libraries' errors have several lines; control characters of a peer are not for a terminal.
fn one_line(error: &dyn Error) -> String {
    let text = error.to_string();
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn ws_url(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|error| format!("{error}"))?;
    match ServerUrl::new(&url) {
        Ok(_) => Ok(url),
        Err(UrlError::Scheme | UrlError::Host | UrlError::Syntax) => {
            Err("must be like ws://HOST:PORT, or wss://HOST:PORT for TLS".to_owned())
        }
        Err(error @ UrlError::Socket) => Err(error.to_string()),
    }
}
