//! Calls about groups.

use axum::{
    Extension,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
};
use serde::Deserialize;
use serde_json::json;
use switchboard_engine::GroupId;

use super::{
    super::access::{Caller, Desk},
    answer::{Answer, Fault, done, nothing},
    users::{group_data, text},
};
use crate::{
    accounts::{check, check_present, random_id},
    store::{DirectoryError, Member, NewGroup},
};

/// Bytes of a group's name, as the session protocol has it.
const GROUP_NAME_BYTES: u32 = 256;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    name: Option<String>,
    notice: Option<String>,
}

/// `GET /group/:userUuid`: the groups of a user.
pub(super) async fn list(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    user: Result<Path<String>, PathRejection>,
) -> Answer {
    let actor = caller.acts_as(&text(user)?)?;
    let groups = desk
        .accounts
        .directory(move |directory| {
            if directory.user(actor.user())?.is_none() {
                return Err(DirectoryError::NoSuchUser(actor.into_user()));
            }
            directory.groups_of(actor.user())
        })
        .await??;
    done(groups.iter().map(group_data).collect::<Vec<_>>())
}

/// `POST /group/:userUuid`: makes a group that whoever knows its id may join.
pub(super) async fn create(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    user: Result<Path<String>, PathRejection>,
    body: Body,
) -> Answer {
    let owner = caller.acts_as(&text(user)?)?.into_user();
    let fields: Fields = desk.json(body).await?;
    let name = check_present("group's name", &fields.name.unwrap_or_default(), GROUP_NAME_BYTES)?;
    let notice_bytes = desk.accounts.limits().notice_bytes;
    let notice = check("group's notice", &fields.notice.unwrap_or_default(), notice_bytes)?;
    let id = GroupId::new(&random_id()?).map_err(|error| Fault::Broken(error.to_string()))?;
    let group = NewGroup { id, name, notice, owner, invite_only: false };
    let limit = desk.rules.groups_per_user;
    desk.accounts.directory(move |directory| directory.found_group(&group, limit)).await??;
    nothing()
}

/// `POST /group/join/:userUuid/:groupUuid`.
pub(super) async fn join(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Answer {
    let (user, group) = text(path)?;
    let (actor, group) = (caller.acts_as(&user)?, group_id(&group)?);
    let limit = desk.rules.groups_per_user;
    desk.accounts.directory(move |directory| directory.join_open(&group, actor.user(), limit)).await??;
    nothing()
}

/// `GET /group/user/:groupUuid`: the members, for members.
pub(super) async fn members(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    group: Result<Path<String>, PathRejection>,
) -> Answer {
    let group = group_id(&text(group)?)?;
    let limit = desk.rules.http.members;
    let members = desk
        .accounts
        .directory(move |directory| {
            if let Some(user) = caller.user()
                && !directory.is_member(&group, user)?
            {
                return Err(DirectoryError::GroupNotOpen);
            }
            directory.first_members_of(&group, limit)
        })
        .await??;
    let member = |member: Member| {
        json!({
            "uuid": member.user.as_str(),
            "username": member.username.unwrap_or_default(),
            "avatar": member.avatar,
        })
    };
    done(members.into_iter().map(member).collect::<Vec<_>>())
}

/// A group's id in a call.
pub(super) fn group_id(id: &str) -> Result<GroupId, Fault> {
    GroupId::new(id).map_err(|error| Fault::refused(format!("the group's id: {error}")))
}
