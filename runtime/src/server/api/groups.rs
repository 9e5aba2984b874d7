//! Groups and their members.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Deserializer, Serialize};
use switchboard_engine::{GroupChange, GroupId, Role, UserId};
use utoipa::{IntoParams, ToSchema};

use super::{
    input::{Body, Me, Params, Segments, check_length},
    model::{File, time},
    page::{Page, PageParams},
    problem::Problem,
};
use crate::{
    accounts::{check, check_present, random_id},
    server::access::Desk,
    store::{self, Member, NewGroup, SeenGroup},
};

/// Bytes of a group's name, as the session protocol has it.
const NAME_BYTES: u32 = 256;

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Role)]
#[serde(rename_all = "snake_case")]
pub(super) enum RoleName {
    Member,
    Admin,
    Owner,
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Member => Self::Member,
            Role::Admin => Self::Admin,
            Role::Owner => Self::Owner,
        }
    }
}

impl From<RoleName> for Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::Member => Self::Member,
            RoleName::Admin => Self::Admin,
            RoleName::Owner => Self::Owner,
        }
    }
}

/// How one becomes a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Joining {
    /// Whoever knows its id may join.
    Open,
    /// Members are invited.
    #[default]
    Invited,
}

/// A group.
#[derive(Serialize, ToSchema)]
pub(super) struct Group {
    id: String,
    name: String,
    /// A text for its members; may be empty.
    notice: String,
    joining: Joining,
    #[schema(format = DateTime)]
    created_at: String,
    /// How many members it has.
    members: u64,
    /// What one is in it oneself; null if one is no member.
    role: Option<RoleName>,
}

impl From<SeenGroup> for Group {
    fn from(seen: SeenGroup) -> Self {
        let SeenGroup { group, invite_only, members, role } = seen;
        Self {
            id: group.id.as_str().to_owned(),
            name: group.name,
            notice: group.notice,
            joining: if invite_only { Joining::Invited } else { Joining::Open },
            created_at: time(group.created_at_ms),
            members,
            role: role.map(RoleName::from),
        }
    }
}

/// A member of a group.
#[derive(Serialize, ToSchema)]
pub(super) struct GroupMember {
    user_id: String,
    /// The name to log in with; null if it has none.
    username: Option<String>,
    /// Its picture; null if it has none.
    avatar: Option<File>,
    role: RoleName,
    #[schema(format = DateTime)]
    joined_at: String,
    /// Until when it may not write; null if it may.
    #[schema(format = DateTime)]
    muted_until: Option<String>,
}

impl From<Member> for GroupMember {
    fn from(member: Member) -> Self {
        let is_muted = member.muted_until_ms > jiff::Timestamp::now().as_millisecond();
        Self {
            user_id: member.user.as_str().to_owned(),
            username: member.username,
            avatar: File::if_named(member.avatar),
            role: member.role.into(),
            joined_at: time(member.joined_at_ms),
            muted_until: is_muted.then(|| time(member.muted_until_ms)),
        }
    }
}

async fn group(desk: &Desk, user: UserId, id: GroupId) -> Result<Json<Group>, Problem> {
    let found = desk.accounts.directory(move |directory| directory.seen_group(&user, &id)).await??;
    Ok(Json(found.ok_or_else(|| Problem::not_found("group"))?.into()))
}

/// Changes a group, all of it or nothing, if its rules let the caller.
async fn change(
    desk: &Desk,
    sender: UserId,
    group: GroupId,
    changes: Vec<GroupChange>,
    notice: Option<String>,
) -> Result<StatusCode, Problem> {
    let limit = desk.rules.groups_per_user;
    let changed = move |directory: &mut store::Directory| {
        directory.change_group(&sender, &group, &changes, notice.as_deref(), limit)
    };
    desk.accounts.directory(changed).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// A member of a group, or who may become one, as a path names it.
fn seat((group, user): (String, String)) -> Result<(GroupId, UserId), Problem> {
    Ok((GroupId::new(&group)?, UserId::new(&user)?))
}

/// One's groups
#[utoipa::path(
    get, path = "/api/v1/groups", tag = "groups", params(PageParams),
    responses((status = 200, description = "Groups that one is a member of, the oldest first", body = Page<Group>))
)]
pub(super) async fn list_groups(
    State(desk): State<Desk>,
    me: Me,
    Params(page): Params<PageParams>,
) -> Result<Json<Page<Group>>, Problem> {
    let read = move |directory: &store::Directory, after: Option<i64>, most| {
        directory.groups_after(&me.user, after.unwrap_or_default(), most)
    };
    page.of(&desk, read, |seen| seen.group.number, Group::from).await
}

/// A group to make.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewGroup)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupToMake {
    #[schema(example = "chess", min_length = 1, max_length = 256)]
    name: String,
    /// A text for its members.
    #[serde(default)]
    #[schema(max_length = 1024)]
    notice: String,
    #[serde(default)]
    joining: Joining,
}

/// Make a group
///
/// Who makes it is its first member, and owns it.
#[utoipa::path(
    post, path = "/api/v1/groups", tag = "groups", request_body = GroupToMake,
    responses(
        (status = 201, description = "The group", body = Group),
        (status = 409, description = "You are in as many groups as you may be"),
    )
)]
pub(super) async fn create_group(
    State(desk): State<Desk>,
    me: Me,
    Body(new): Body<GroupToMake>,
) -> Result<Response, Problem> {
    let name = check_present("group's name", &new.name, NAME_BYTES)?;
    let notice = check("group's notice", &new.notice, desk.accounts.limits().notice_bytes)?;
    let id = GroupId::new(&random_id()?)?;
    let invite_only = new.joining == Joining::Invited;
    let made = NewGroup { id: id.clone(), name, notice, owner: me.user.clone(), invite_only };
    let limit = desk.rules.groups_per_user;
    desk.accounts.directory(move |directory| directory.found_group(&made, limit)).await??;
    let location = format!("/api/v1/groups/{}", id.as_str());
    let group = group(&desk, me.user, id).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], group).into_response())
}

/// Which group to find.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OpenParams {
    /// What it is called, exactly.
    #[param(example = "chess", min_length = 1, max_length = 256)]
    name: String,
}

/// Find an open group by name
///
/// The page has the oldest group of this very name that one may join uninvited, or none.
#[utoipa::path(
    get, path = "/api/v1/open_groups", tag = "groups", params(OpenParams),
    responses((status = 200, description = "The group, or none", body = Page<Group>))
)]
pub(super) async fn find_open_group(
    State(desk): State<Desk>,
    me: Me,
    Params(OpenParams { name }): Params<OpenParams>,
) -> Result<Json<Page<Group>>, Problem> {
    check_length("name", &name, 256)?;
    let found =
        desk.accounts.directory(move |directory| directory.open_group_named(&me.user, name.trim())).await??;
    Ok(Json(Page { items: found.map(Group::from).into_iter().collect(), next_cursor: None }))
}

/// A group's profile
///
/// For its members, and of an open group for everybody.
#[utoipa::path(
    get, path = "/api/v1/groups/{group_id}", tag = "groups",
    params(("group_id" = String, Path, description = "The group's id", max_length = 128)),
    responses(
        (status = 200, description = "The group", body = Group),
        (status = 404, description = "There is no such group for you"),
    )
)]
pub(super) async fn show_group(
    State(desk): State<Desk>,
    me: Me,
    Segments(id): Segments<String>,
) -> Result<Json<Group>, Problem> {
    group(&desk, me.user, GroupId::new(&id)?).await
}

/// What to change. What is missing or null stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupChanges {
    #[schema(min_length = 1, max_length = 256)]
    name: Option<String>,
    /// A text for its members.
    #[schema(max_length = 1024)]
    notice: Option<String>,
}

/// Change a group
///
/// Its admins and owners may. Another name is an entry of the log, for all members to see; another notice is not.
#[utoipa::path(
    patch, path = "/api/v1/groups/{group_id}", tag = "groups", request_body = GroupChanges,
    params(("group_id" = String, Path, description = "The group's id", max_length = 128)),
    responses(
        (status = 200, description = "The group as it is now", body = Group),
        (status = 403, description = "You are no admin of the group"),
        (status = 404, description = "There is no such group for you"),
    )
)]
pub(super) async fn change_group(
    State(desk): State<Desk>,
    me: Me,
    Segments(id): Segments<String>,
    Body(changes): Body<GroupChanges>,
) -> Result<Json<Group>, Problem> {
    let id = GroupId::new(&id)?;
    let name = changes.name.map(|name| check_present("group's name", &name, NAME_BYTES)).transpose()?;
    let notice_bytes = desk.accounts.limits().notice_bytes;
    let notice = changes.notice.map(|text| check("group's notice", &text, notice_bytes)).transpose()?;
    let changes: Vec<_> = name.map(|name| GroupChange::Rename(name.into())).into_iter().collect();
    change(&desk, me.user.clone(), id.clone(), changes, notice).await?;
    group(&desk, me.user, id).await
}

/// The members of a group
#[utoipa::path(
    get, path = "/api/v1/groups/{group_id}/members", tag = "groups",
    params(("group_id" = String, Path, description = "The group's id", max_length = 128), PageParams),
    responses(
        (status = 200, description = "Members, the oldest users first", body = Page<GroupMember>),
        (status = 404, description = "There is no such group that you are a member of"),
    )
)]
pub(super) async fn list_members(
    State(desk): State<Desk>,
    me: Me,
    Segments(id): Segments<String>,
    Params(page): Params<PageParams>,
) -> Result<Json<Page<GroupMember>>, Problem> {
    let id = GroupId::new(&id)?;
    let read = move |directory: &store::Directory, after: Option<i64>, most| {
        directory.members_after(&me.user, &id, after.unwrap_or_default(), most)
    };
    page.of(&desk, read, |(number, _)| *number, |(_, member)| member.into()).await
}

/// Invite a user, or join
///
/// With one's own id one joins an open group; with another one's that user is a member at once, if one may invite: every
/// member of an open group, and the admins of others.
#[utoipa::path(
    put, path = "/api/v1/groups/{group_id}/members/{user_id}", tag = "groups",
    params(
        ("group_id" = String, Path, description = "The group's id", max_length = 128),
        ("user_id" = String, Path, description = "Who becomes a member", max_length = 128),
    ),
    responses(
        (status = 204, description = "The user is a member"),
        (status = 403, description = "You may not invite"),
        (status = 404, description = "There is no such group for you"),
        (status = 409, description = "The user is a member already, does not exist, or is in too many groups"),
    )
)]
pub(super) async fn add_member(
    State(desk): State<Desk>,
    me: Me,
    Segments(ids): Segments<(String, String)>,
) -> Result<StatusCode, Problem> {
    let (group, user) = seat(ids)?;
    let made = if user == me.user { GroupChange::Join } else { GroupChange::Invite(user) };
    change(&desk, me.user, group, vec![made], None).await
}

/// Remove a member, or leave
///
/// Admins remove members, owners admins as well. With one's own id one leaves; the last owner cannot, while there are other
/// members.
#[utoipa::path(
    delete, path = "/api/v1/groups/{group_id}/members/{user_id}", tag = "groups",
    params(
        ("group_id" = String, Path, description = "The group's id", max_length = 128),
        ("user_id" = String, Path, description = "Who is to be no member any more", max_length = 128),
    ),
    responses(
        (status = 204, description = "The user is no member any more"),
        (status = 403, description = "You may not remove this user"),
        (status = 404, description = "There is no such group for you"),
        (status = 409, description = "The user is no member, or you are the only owner"),
    )
)]
pub(super) async fn remove_member(
    State(desk): State<Desk>,
    me: Me,
    Segments(ids): Segments<(String, String)>,
) -> Result<StatusCode, Problem> {
    let (group, user) = seat(ids)?;
    let made = if user == me.user { GroupChange::Leave } else { GroupChange::Kick(user) };
    change(&desk, me.user, group, vec![made], None).await
}

/// What to change about a member. What is missing stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MemberChanges {
    /// What it may do; owners decide.
    role: Option<RoleName>,
    /// Until when it may not write; null: it may. Admins decide.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = DateTime, max_length = 64)]
    muted_until: Option<Option<String>>,
}

/// Tells null from nothing.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}

/// Promote, demote or mute a member
///
/// All of it is done, or nothing.
#[utoipa::path(
    patch, path = "/api/v1/groups/{group_id}/members/{user_id}", tag = "groups", request_body = MemberChanges,
    params(
        ("group_id" = String, Path, description = "The group's id", max_length = 128),
        ("user_id" = String, Path, description = "The member", max_length = 128),
    ),
    responses(
        (status = 204, description = "Changed"),
        (status = 403, description = "You may not do this to this member"),
        (status = 404, description = "There is no such group for you"),
        (status = 409, description = "The user is no member, has the role already, or is the only owner"),
    )
)]
pub(super) async fn change_member(
    State(desk): State<Desk>,
    me: Me,
    Segments(ids): Segments<(String, String)>,
    Body(changes): Body<MemberChanges>,
) -> Result<StatusCode, Problem> {
    let (group, user) = seat(ids)?;
    let mut made = Vec::new();
    if let Some(muted_until) = changes.muted_until {
        let until_ms =
            muted_until.map(|text| parse_time("muted_until", &text)).transpose()?.unwrap_or_default();
        made.push(GroupChange::Mute(user.clone(), until_ms));
    }
    if let Some(role) = changes.role {
        made.push(GroupChange::SetRole(user, role.into()));
    }
    change(&desk, me.user, group, made, None).await
}

/// A time of a request, in milliseconds since 1970.
pub(super) fn parse_time(name: &str, text: &str) -> Result<i64, Problem> {
    let wrong =
        || Problem::invalid(format!("{name} must be a time like 2026-11-27T00:40:00Z, of 1970 or later"));
    let time: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
    Some(time.as_millisecond()).filter(|ms| *ms >= 0).ok_or_else(wrong)
}
