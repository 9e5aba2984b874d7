//! `switchboard user`: accounts, from the command line, whether a server runs on the data folder or not.

use std::{
    fmt::Write as _,
    io::{self, BufRead as _, IsTerminal as _},
    path::Path,
    time::Duration,
};

use switchboard_engine::UserId;

use super::folder::{self, NoDatabase};
use super::secret::{self, AskError};
use crate::{
    accounts::{AccountError, check_password, hash_password, random_id},
    cli::{UserCommand, Who},
    config,
    store::{Account, AccountRole, Ban, Directory, DirectoryError, NewUser, OpenError, SignedIn},
};

/// Users of a page of the list.
const PAGE_USERS: u32 = 500;

/// Sessions that are shown of one user.
const SHOWN_SESSIONS: u32 = 1_000;

/// Why a user command failed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The store could not be opened.
    #[error("cannot open the store")]
    Open(#[from] OpenError),
    /// The directory refused.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// There is nothing in the data folder.
    #[error(transparent)]
    NoDatabase(#[from] NoDatabase),
    /// A name or a password is not one that is taken.
    #[error("{0}")]
    Account(String),
    /// There is no such user.
    #[error("there is no user of this name or id: {0:?}; `switchboard user list` names them all")]
    NoSuchUser(String),
    /// The password cannot be read.
    #[error("cannot read the password from the standard input")]
    Input(#[source] io::Error),
    /// The user was removed.
    #[error("{0} was removed: nothing can be done with it any more, and nobody is given its id")]
    Removed(UserId),
    /// Whoever was asked for a password has broken off.
    #[error("broken off: nothing was changed")]
    Interrupted,
    /// The two passwords that were typed are not the same.
    #[error("these were two different passwords: nothing was changed")]
    Different,
}

impl From<AskError> for UserError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Input(source) => Self::Input(source),
            AskError::Interrupted => Self::Interrupted,
        }
    }
}

impl From<AccountError> for UserError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Directory(error) => Self::Directory(error),
            AccountError::Missing { .. }
            | AccountError::TooLong { .. }
            | AccountError::ShortPassword { .. }
            | AccountError::ControlCharacter { .. }
            | AccountError::Invisible { .. }
            | AccountError::Reserved
            | AccountError::WrongLogin
            | AccountError::Banned(_)
            | AccountError::WrongPassword
            | AccountError::TooManyTries(_)
            | AccountError::Pool(_)
            | AccountError::Hash(_) => Self::Account(error.to_string()),
        }
    }
}

/// Carries out a user command on a data folder; gives the text to print. A server that runs on the folder goes by it at once, and closes
/// connections within a quarter of a second.
///
/// # Errors
/// If there is no database, or it cannot be opened, or what is asked for cannot be done; nothing is changed then.
pub fn user(data: &Path, limits: &config::Accounts, command: &UserCommand) -> Result<String, UserError> {
    folder::check(data)?;
    let mut directory = Directory::open(data)?;
    match command {
        UserCommand::Add { username, id, role, no_password } => {
            add(&mut directory, limits, username, id.as_ref(), *role, *no_password)
        }
        UserCommand::List => list(&directory),
        UserCommand::Show { user } => show(&find_any(&directory, user)?, &directory),
        UserCommand::Remove { user } => {
            let account = find(&directory, user)?;
            remove(&mut directory, &account)
        }
        UserCommand::Password { user } => {
            let account = find(&directory, user)?;
            let hash = read_password(limits)?;
            let change = crate::store::AccountChange { password_hash: Some(hash), ..Default::default() };
            directory.change_account(&account.user.id, &change)?;
            Ok(format!("{} has another password, and is logged in nowhere\n", label(&account)))
        }
        UserCommand::Role { user, role } => {
            let account = find(&directory, user)?;
            let changed = directory.set_role(&account.user.id, *role)?;
            let is = if changed { "is now" } else { "was already" };
            Ok(format!("{} {is} {}\n", label(&account), article(*role)))
        }
        UserCommand::Ban { user, reason, lasts } => {
            let account = find(&directory, user)?;
            let reason = crate::accounts::check("reason", reason, limits.notice_bytes)?;
            let until_ms = lasts.map(|lasts| now_ms().saturating_add(millis(lasts)));
            let ban = Ban { reason, until_ms };
            directory.ban(&account.user.id, &ban)?;
            Ok(format!("{}: {ban}\n", label(&account)))
        }
        UserCommand::Unban { user } => {
            let account = find(&directory, user)?;
            let was = directory.unban(&account.user.id)?;
            Ok(format!(
                "{} {}\n",
                label(&account),
                if was { "is no longer banned" } else { "was not banned" }
            ))
        }
        UserCommand::Sessions { user } => sessions(&directory, &find(&directory, user)?),
        UserCommand::Revoke { user, session } => {
            let account = find(&directory, user)?;
            revoke(&mut directory, &account, session.as_deref())
        }
    }
}

/// The user of a name, or of an id if nobody has such a name; not one that was removed.
fn find(directory: &Directory, who: &Who) -> Result<Account, UserError> {
    let account = find_any(directory, who)?;
    match account.standing.removed_at_ms {
        Some(_) => Err(UserError::Removed(account.user.id)),
        None => Ok(account),
    }
}

/// The same, removed or not.
fn find_any(directory: &Directory, Who(who): &Who) -> Result<Account, UserError> {
    let named = directory.user_named(who)?.map(|user| user.id);
    let id = named.or_else(|| UserId::new(who).ok());
    let account = id.map(|id| directory.account(&id)).transpose()?.flatten();
    account.ok_or_else(|| UserError::NoSuchUser(who.clone()))
}

fn add(
    directory: &mut Directory,
    limits: &config::Accounts,
    username: &str,
    id: Option<&UserId>,
    role: AccountRole,
    no_password: bool,
) -> Result<String, UserError> {
    let username = crate::accounts::check_name("user name", username, limits.name_bytes)?;
    if username == switchboard_engine::SYSTEM {
        return Err(AccountError::Reserved.into());
    }
    if directory.user_named(&username)?.is_some() {
        return Err(DirectoryError::UsernameTaken(username).into());
    }
    let password_hash = if no_password { None } else { Some(read_password(limits)?) };
    let id = match id {
        Some(id) => id.clone(),
        None => UserId::new(&random_id()?).map_err(DirectoryError::ForeignId)?,
    };
    let new = NewUser { password_hash, ..NewUser::new(id.clone(), &username) };
    directory.create_user(&new)?;
    if role != AccountRole::User {
        directory.set_role(&id, role)?;
    }
    Ok(format!("{id}\n"))
}

/// The hash of a password from the standard input: at a terminal it is asked for twice, and not shown.
fn read_password(limits: &config::Accounts) -> Result<String, UserError> {
    let password = if io::stdin().is_terminal() {
        let first = secret::ask("password: ")?;
        if secret::ask("the same again: ")? != first {
            return Err(UserError::Different);
        }
        first
    } else {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map_err(UserError::Input)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    check_password(&password, limits)?;
    Ok(hash_password(&password)?)
}

/// Takes a user away, and says what has become of its groups.
fn remove(directory: &mut Directory, account: &Account) -> Result<String, UserError> {
    let id = &account.user.id;
    let Some(removed) = directory.remove_user(id)? else { return Err(UserError::Removed(id.clone())) };
    let mut text = format!("{} is removed", label(account));
    if removed.groups > 0 {
        let _ = write!(text, ", and has left {} groups", removed.groups);
    }
    text.push('\n');
    for (group, owner) in removed.handed_over {
        let _ = writeln!(text, "{group}  is owned by {owner} now");
    }
    Ok(text)
}

fn label(Account { user, .. }: &Account) -> String {
    match &user.username {
        Some(name) if *name != user.id.as_str() => format!("{name} ({})", user.id),
        Some(_) | None => user.id.to_string(),
    }
}

const fn article(role: AccountRole) -> &'static str {
    match role {
        AccountRole::User => "a user",
        AccountRole::Administrator => "an administrator",
    }
}

/// A line for each user: id, name, and what is not as with most.
fn list(directory: &Directory) -> Result<String, UserError> {
    let (mut text, mut after) = (String::new(), None);
    loop {
        let page = directory.accounts(after.as_ref(), PAGE_USERS)?;
        for Account { user, standing, has_password } in &page {
            let name = user.username.as_deref().unwrap_or("-");
            if standing.removed_at_ms.is_some() {
                let _ = writeln!(text, "{}  {name}  removed", user.id);
                continue;
            }
            let role = match standing.role {
                AccountRole::User => "",
                AccountRole::Administrator => "  administrator",
            };
            let ban = if standing.ban.is_some() { "  banned" } else { "" };
            let password = if *has_password { "" } else { "  no password" };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}  {name}{role}{ban}{password}", user.id);
        }
        match page.last() {
            Some(last) => after = Some(last.user.id.clone()),
            None => break,
        }
    }
    Ok(if text.is_empty() { "no users\n".to_owned() } else { text })
}

fn show(account: &Account, directory: &Directory) -> Result<String, UserError> {
    let Account { user, standing, has_password } = account;
    let sessions = directory.sessions_of(&user.id)?;
    if let Some(removed_at_ms) = standing.removed_at_ms {
        return Ok(format!("id        {}\nremoved   {}\n", user.id, time(removed_at_ms)));
    }
    let ban = standing.ban.as_ref().map_or_else(|| "no".to_owned(), ToString::to_string);
    Ok(format!(
        "id        {}\nname      {}\nnickname  {}\ne-mail    {}\nmade      {}\nrole      {}\npassword  {}\n\
         banned    {ban}\nsessions  {sessions}\n",
        user.id,
        user.username.as_deref().unwrap_or("-"),
        user.nickname,
        user.email,
        time(user.created_at_ms),
        standing.role.name(),
        if *has_password { "yes" } else { "none: nobody can log in with one" },
    ))
}

fn sessions(directory: &Directory, account: &Account) -> Result<String, UserError> {
    let mut text = String::new();
    for session in directory.signed_in(&account.user.id, None, SHOWN_SESSIONS)? {
        let SignedIn { id, created_at_ms, used_at_ms, expires_at_ms, user_agent } = session;
        let id = data_encoding::HEXLOWER.encode(&id);
        let [begun, used, ends] = [created_at_ms, used_at_ms, expires_at_ms].map(time);
        let _ = writeln!(text, "{id}  begun {begun}  used {used}  ends {ends}  {user_agent}");
    }
    Ok(if text.is_empty() { "no sessions\n".to_owned() } else { text })
}

fn revoke(directory: &mut Directory, account: &Account, session: Option<&str>) -> Result<String, UserError> {
    let who = label(account);
    let Some(session) = session else {
        directory.end_logins(&account.user.id)?;
        return Ok(format!("{who} is logged in nowhere any more\n"));
    };
    let id = data_encoding::HEXLOWER.decode(session.as_bytes()).ok().and_then(|id| id.try_into().ok());
    let Some(id) = id else {
        return Err(UserError::Account("a session's id has 32 hexadecimal digits".to_owned()));
    };
    let ended = directory.end_session_of(&account.user.id, id)?;
    Ok(if ended {
        format!("the session of {who} has ended\n")
    } else {
        format!("{who} has no such session\n")
    })
}

fn time(ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(ms).ok();
    time.map(|time| time.strftime("%Y-%m-%d %H:%M UTC").to_string()).unwrap_or_default()
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
