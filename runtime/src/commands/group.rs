//! `switchboard group`: groups and their members, until there is an interface for people.

use std::{fmt::Write as _, path::Path};

use switchboard_engine::{GroupId, IdError, Role, UserId};

use super::folder::{self, NoDatabase};
use crate::{
    cli::GroupCommand,
    store::{Directory, DirectoryError, Member, NewGroup, NewUser, OpenError},
};

/// Why a group command failed.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The store could not be opened.
    #[error("cannot open the store")]
    Open(#[from] OpenError),
    /// The directory refused.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// There is nothing in the data folder.
    #[error(transparent)]
    NoDatabase(#[from] NoDatabase),
    /// The group's name is empty.
    #[error("the group must have a name")]
    NoName,
    /// The operating system has no random numbers for the group's id.
    #[error("cannot make up an id for the group: {0}")]
    Random(getrandom::Error),
    /// The id that was made up is none: cannot happen.
    #[error("cannot make up an id for the group")]
    Id(#[from] IdError),
}

/// Carries out a group command on a data folder; gives the text to print: of a new group, its id. A server that runs on the folder
/// notices within a second. Users who never connected are created, as with open authentication.
///
/// # Errors
/// If the store cannot be opened, or the directory refuses.
pub fn group(data: &Path, command: &GroupCommand) -> Result<String, GroupError> {
    folder::check(data)?;
    let mut directory = Directory::open(data)?;
    match command {
        GroupCommand::Create { name, .. } if name.trim().is_empty() => Err(GroupError::NoName),
        GroupCommand::Create { name, owner, open } => {
            let owner = provision(&mut directory, owner)?;
            let id = new_id()?;
            let group = NewGroup {
                id: id.clone(),
                name: name.clone(),
                notice: String::new(),
                owner,
                invite_only: !open,
            };
            directory.create_group(&group)?;
            Ok(format!("{id}\n"))
        }
        GroupCommand::Join { group, user } => {
            let user = &provision(&mut directory, user)?;
            let joined = directory.join(group, user)?;
            Ok(format!("{user} {} a member of {group}\n", if joined { "is now" } else { "was already" }))
        }
        GroupCommand::Leave { group, user } => {
            let user = &known(&directory, user)?;
            let left = directory.leave(group, user)?;
            Ok(format!("{user} {} a member of {group}\n", if left { "is no longer" } else { "was not" }))
        }
        GroupCommand::Members { group } => members(&directory, group),
        GroupCommand::List { user } => list(&directory, user.as_ref()),
    }
}

/// A line for each member: who, as what, and until when it is muted.
fn members(directory: &Directory, group: &GroupId) -> Result<String, GroupError> {
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let mut text = String::new();
    for Member { user, role, muted_until_ms, .. } in directory.members_of(group)? {
        let role = match role {
            Role::Member => "member",
            Role::Admin => "admin",
            Role::Owner => "owner",
        };
        let muted = match jiff::Timestamp::from_millisecond(muted_until_ms) {
            _ if muted_until_ms <= now_ms => String::new(),
            Ok(until) => format!("  muted until {}", until.strftime("%Y-%m-%d %H:%M UTC")),
            // The store takes any time.
            Err(_) => "  muted for ever".to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{user}  {role}{muted}");
    }
    Ok(if text.is_empty() { "no members\n".to_owned() } else { text })
}

fn list(directory: &Directory, user: Option<&UserId>) -> Result<String, GroupError> {
    let groups = match user {
        Some(user) => directory.groups_of(user)?,
        None => directory.groups()?,
    };
    if groups.is_empty() {
        return Ok("no groups\n".to_owned());
    }
    let mut text = String::new();
    for group in groups {
        let members: Vec<_> =
            directory.members_of(&group.id)?.into_iter().map(|member| member.user.to_string()).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}  {}  members: {}", group.id, group.name, members.join(", "));
    }
    Ok(text)
}

/// The user with this id; otherwise the one with this name, if there is one.
fn known(directory: &Directory, user: &UserId) -> Result<UserId, GroupError> {
    if directory.user(user)?.is_some() {
        return Ok(user.clone());
    }
    let named = directory.user_named(user.as_str())?;
    Ok(named.map_or_else(|| user.clone(), |named| named.id))
}

/// The same; who is not there is made.
fn provision(directory: &mut Directory, user: &UserId) -> Result<UserId, GroupError> {
    let user = known(directory, user)?;
    if directory.user(&user)?.is_none() {
        directory.create_user(&NewUser::new(user.clone(), user.as_str()))?;
    }
    Ok(user)
}

/// Sixteen random bytes in hexadecimal: unique without asking anybody.
fn new_id() -> Result<GroupId, GroupError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(GroupError::Random)?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(GroupId::new(&text)?)
}
