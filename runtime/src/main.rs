//! The command `switchboard`.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use switchboard::cli::{self, Command, ServeArgs};
use switchboard::commands::{
    self, BackupError, ChatError, GroupError, HealthError, StoreError, TokenError, TransferError, UserError,
};
use switchboard::config::{ConfigErrors, FileStore, Loaded};
use switchboard::logging::{self, LoggingError};
use switchboard::server::ServerError;
use switchboard::store::ExportOf;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error("cannot set up logging")]
    Logging(#[from] LoggingError),
    #[error("cannot run the server")]
    Server(#[from] ServerError),
    #[error("cannot work on the groups")]
    Group(#[from] GroupError),
    #[error("cannot work on the users")]
    User(#[from] UserError),
    #[error("cannot work on the tokens")]
    Token(#[from] TokenError),
    #[error("cannot work on the store")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Chat(#[from] ChatError),
    #[error("cannot back up")]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error(transparent)]
    Health(#[from] HealthError),
    #[error("{0} of these are wrong")]
    Wrong(usize),
    #[error("cannot write to the standard output")]
    Output(#[source] std::io::Error),
}

impl Failure {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) => ExitCode::from(2),
            // As a shell says it of what Ctrl-C has ended.
            Self::User(UserError::Interrupted) => ExitCode::from(130),
            Self::Logging(_)
            | Self::Server(_)
            | Self::Group(_)
            | Self::User(_)
            | Self::Token(_)
            | Self::Store(_)
            | Self::Backup(_)
            | Self::Transfer(_)
            | Self::Wrong(_)
            | Self::Health(_)
            | Self::Output(_)
            | Self::Chat(_) => ExitCode::FAILURE,
        }
    }

    fn report(&self) -> String {
        let error: &(dyn Error + 'static) = match self {
            Self::Config(errors) => errors,
            Self::Logging(_)
            | Self::Server(_)
            | Self::Group(_)
            | Self::User(_)
            | Self::Token(_)
            | Self::Store(_)
            | Self::Backup(_)
            | Self::Transfer(_)
            | Self::Wrong(_)
            | Self::Health(_)
            | Self::Output(_)
            | Self::Chat(_) => self,
        };
        cli::report(error)
    }
}

fn main() -> ExitCode {
    match run(cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // With a closed standard error there is nobody left to tell.
            let _ = std::io::stderr().write_all(failure.report().as_bytes());
            failure.exit_code()
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => Ok(commands::serve(&prepare(&args)?.config)?),
        Command::Chat(args) => Ok(commands::chat(&args)?),
        Command::Group(args) => {
            let data = args.load()?.config.data;
            let text = commands::group(&data, &args.command)?;
            std::io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)
        }
        Command::User(args) => {
            let config = args.load()?.config;
            let text = commands::user(&config.data, &config.accounts, &args.command)?;
            std::io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)
        }
        Command::Token(args) => {
            let text = commands::token(&args.load()?, &args.command)?;
            std::io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)
        }
        Command::Store(args) => {
            let text = commands::store(&args.load()?.config.data, &args.command)?;
            std::io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)
        }
        Command::Backup(args) => {
            let config = args.load()?.config;
            let mut text = commands::backup(&config.data, &args.target)?;
            if config.media.store == FileStore::S3 {
                text += &format!(
                    "The files are in the bucket {}, and no copy of them was made.\n",
                    config.media.s3_bucket
                );
            }
            std::io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)
        }
        Command::Export(args) => {
            let of = ExportOf { user: args.user.clone(), with_passwords: args.with_passwords };
            let text = commands::export(&args.load()?.config, &args.target, &of)?;
            std::io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)
        }
        Command::Import(args) => {
            let text = commands::import(&args.load()?.config, &args.source)?;
            std::io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)
        }
        Command::Doctor(args) => {
            let (text, wrong) = commands::doctor(&args);
            std::io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)?;
            if wrong == 0 { Ok(()) } else { Err(Failure::Wrong(wrong)) }
        }
        Command::Health(args) => {
            let text = commands::health(&args.load()?.config)?;
            std::io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)
        }
        Command::Openapi => {
            std::io::stdout().write_all(commands::openapi().as_bytes()).map_err(Failure::Output)
        }
        Command::Config(args) => {
            let text = args.load()?.to_toml();
            std::io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)
        }
    }
}

/// Loads the configuration, then starts logging as it says; its warnings are the first lines.
fn prepare(args: &ServeArgs) -> Result<Loaded, Failure> {
    let loaded = args.load()?;
    logging::init(&loaded.config.log, loaded.config.log_format)?;
    for warning in loaded.warnings() {
        tracing::warn!("{warning}");
    }
    Ok(loaded)
}
