//! `switchboard user` and `switchboard token`: what they take.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use switchboard_engine::UserId;

use super::ServeArgs;
use crate::{
    config::{ConfigErrors, Loaded},
    store::AccountRole,
    tokens::Algorithm,
};

/// What to do with which server's users.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct UserArgs {
    /// What to do
    #[command(subcommand)]
    pub command: UserCommand,
    /// Configuration file of the server, in TOML; otherwise the one that $SWITCHBOARD_CONFIG names, if any
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Data folder of the server [default: data]
    #[arg(long, value_name = "FOLDER", global = true)]
    pub data: Option<String>,
}

impl UserArgs {
    /// The configuration of the server whose users are meant.
    ///
    /// # Errors
    /// All that is wrong with any layer: see [`config::load`](crate::config::load).
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        ServeArgs { config: self.config.clone(), data: self.data.clone(), ..ServeArgs::default() }.load()
    }
}

/// A user, by its name or its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who(pub String);

fn who(text: &str) -> Result<Who, String> {
    if text.trim().is_empty() { Err("name a user".to_owned()) } else { Ok(Who(text.trim().to_owned())) }
}

/// What to do with users. Passwords are read from the standard input; at a terminal they are asked for, and not shown.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum UserCommand {
    /// Make a user; prints its id.
    Add {
        /// The name to log in with
        username: String,
        /// Its id [default: made up]
        #[arg(long, value_name = "ID")]
        id: Option<UserId>,
        /// What it may do: `user`, or `administrator`
        #[arg(long, default_value = "user")]
        role: AccountRole,
        /// Read no password: nobody can log in with one
        #[arg(long)]
        no_password: bool,
    },
    /// List all users.
    List,
    /// Show a user.
    Show {
        /// Its name or id
        #[arg(value_parser = who)]
        user: Who,
    },
    /// Give a user another password; all its sessions end.
    Password {
        /// Its name or id
        #[arg(value_parser = who)]
        user: Who,
    },
    /// Make a user an administrator, or an administrator a user.
    Role {
        /// Its name or id
        #[arg(value_parser = who)]
        user: Who,
        /// `user` or `administrator`
        role: AccountRole,
    },
    /// Ban a user: it is thrown out, and stays outside.
    Ban {
        /// Its name or id
        #[arg(value_parser = who)]
        user: Who,
        /// What it is told
        #[arg(long, default_value = "")]
        reason: String,
        /// For how long, like 90s, 30m, 12h or 7d [default: for ever]
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        lasts: Option<Duration>,
    },
    /// End a ban.
    Unban {
        /// Its name or id
        #[arg(value_parser = who)]
        user: Who,
    },
    /// Remove a user for good: its account, sessions, friends and memberships. What it has said to others stays with them.
    Remove {
        /// Its name or id
        #[arg(value_parser = who)]
        user: Who,
    },
    /// List where a user is logged in.
    Sessions {
        /// Its name or id
        #[arg(value_parser = who)]
        user: Who,
    },
    /// Log a user out everywhere, or end one session.
    Revoke {
        /// Its name or id
        #[arg(value_parser = who)]
        user: Who,
        /// Only this session, as `sessions` names it
        #[arg(long, value_name = "ID")]
        session: Option<String>,
    },
}

/// What to do with which server's tokens.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct TokenArgs {
    /// What to do
    #[command(subcommand)]
    pub command: TokenCommand,
    /// Configuration file of the server, in TOML; otherwise the one that $SWITCHBOARD_CONFIG names, if any
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// File of the keys [default: the setting `tokens.keys`]
    #[arg(long, value_name = "FILE", global = true)]
    pub keys: Option<PathBuf>,
}

impl TokenArgs {
    /// The configuration of the server whose tokens are meant.
    ///
    /// # Errors
    /// All that is wrong with any layer: see [`config::load`](crate::config::load).
    pub fn load(&self) -> Result<crate::config::Tokens, ConfigErrors> {
        let loaded = ServeArgs { config: self.config.clone(), ..ServeArgs::default() }.load()?;
        let mut tokens = loaded.config.tokens;
        if let Some(keys) = &self.keys {
            tokens.keys = keys.to_string_lossy().into_owned();
        }
        Ok(tokens)
    }
}

/// What to do with tokens.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum TokenCommand {
    /// Add, list and retire keys.
    Key {
        /// What to do
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Make a token of a user; prints it.
    Issue {
        /// The user's id
        #[arg(long, value_name = "ID")]
        user: UserId,
        /// How long it lasts, like 90s, 30m, 12h or 7d [default: as long as it may]
        #[arg(long, value_name = "TIME", value_parser = duration)]
        lifetime: Option<Duration>,
    },
    /// Read a token from the standard input, and say what it is, or what is wrong with it.
    Check,
}

/// What to do with keys.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum KeyCommand {
    /// Make a key, with which tokens are signed from now on; prints its id.
    Add {
        /// What it signs with
        #[arg(long, value_enum, default_value = "eddsa")]
        algorithm: SigningAlgorithm,
        /// Read keys of somebody else from the standard input instead: a JWK Set, or a key, without secrets
        #[arg(long)]
        public: bool,
        /// Whose keys those are: the `iss` of their tokens [default: as the keys say]
        #[arg(long, value_name = "NAME", requires = "public")]
        issuer: Option<String>,
    },
    /// List the keys, the oldest first.
    List,
    /// Take a key away: what it has signed is worth nothing from now on.
    Retire {
        /// Its id
        kid: String,
    },
}

/// What this server can sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SigningAlgorithm {
    /// Ed25519: others can verify with the public half
    Eddsa,
    /// HMAC with SHA-256: whoever can verify can sign
    Hs256,
}

impl From<SigningAlgorithm> for Algorithm {
    fn from(algorithm: SigningAlgorithm) -> Self {
        match algorithm {
            SigningAlgorithm::Eddsa => Self::EdDsa,
            SigningAlgorithm::Hs256 => Self::Hs256,
        }
    }
}

/// A time like `90s`, `30m`, `12h` or `7d`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time is a number of seconds, minutes, hours or days: 90s, 30m, 12h, 7d".to_owned();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    if number == 0 { Err(wrong()) } else { Ok(Duration::from_secs(u64::from(number) * seconds)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)));
        }
        for wrong in ["", "7", "d", "0d", "-1d", "1.5h", "7 d", "7w", "99999999999d", "7é"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
