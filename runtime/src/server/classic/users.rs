//! Calls about users and friends.

use axum::{
    Extension,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, Uri, header},
    response::Response,
};
use serde::Deserialize;
use serde_json::{Value, json};
use switchboard_engine::UserId;

use super::{
    super::{
        access::{Caller, Desk, Peer, session_in},
        query::{pairs, value},
    },
    answer::{Answer, Fault, done, iso_8601, nothing},
};
use crate::{
    accounts::{Change, Registration, Token},
    store::{Group, User},
};

/// Missing and null fields are empty ones.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct Fields {
    uuid: Option<String>,
    username: Option<String>,
    password: Option<String>,
    nickname: Option<String>,
    email: Option<String>,
    avatar: Option<String>,
    #[serde(rename = "friendUsername")]
    friend_username: Option<String>,
}

/// `POST /user/register`.
pub(super) async fn register(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let fields: Fields = desk.json(body).await?;
    let registration = Registration {
        username: fields.username.unwrap_or_default(),
        password: fields.password.unwrap_or_default(),
        nickname: fields.nickname.unwrap_or_default(),
        email: fields.email.unwrap_or_default(),
        avatar: fields.avatar.unwrap_or_default(),
    };
    let (user, token) = desk.accounts.register(registration, desk.visitor(peer, &headers)).await?;
    with_session(&desk, peer, &headers, Some(&token), done(own(&user)))
}

/// `POST /user/login`.
pub(super) async fn log_in(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let fields: Fields = desk.json(body).await?;
    let (username, password) = (fields.username.unwrap_or_default(), fields.password.unwrap_or_default());
    let (user, token) = desk.accounts.log_in(&username, password, desk.visitor(peer, &headers)).await?;
    with_session(&desk, peer, &headers, Some(&token), done(own(&user)))
}

/// `POST /user/logout`: ends the session. The original has no such call.
pub(super) async fn log_out(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Answer {
    // With open authentication nobody asks for it, and it ends all the same.
    if let Some(session) = caller.session().or_else(|| session_in(&headers)) {
        desk.accounts.log_out(session).await?;
    }
    with_session(&desk, peer, &headers, None, nothing())
}

/// `PUT /user`: changes the user of this name.
pub(super) async fn change(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Answer {
    let fields: Fields = desk.json(body).await?;
    let name = fields.username.unwrap_or_default().trim().to_owned();
    let actor = match caller.is_called(&name)? {
        Some(actor) => actor,
        None => {
            let wanted = name.clone();
            let found = desk.accounts.directory(move |directory| directory.user_named(&wanted)).await??;
            let user = found.ok_or_else(|| Fault::refused("there is no user of this name"))?;
            caller.believed(user.id)?
        }
    };
    let change = Change {
        nickname: fields.nickname,
        email: fields.email,
        password: fields.password.unwrap_or_default(),
        session: caller.session(),
    };
    desk.accounts.change(actor.into_user(), change).await?;
    nothing()
}

/// `GET /user/:uuid`: what everybody may know of a user.
pub(super) async fn profile(State(desk): State<Desk>, id: Result<Path<String>, PathRejection>) -> Answer {
    let id = user_id(&text(id)?)?;
    let found = desk.accounts.directory(move |directory| directory.user(&id)).await??;
    let user = found.ok_or_else(|| Fault::refused("there is no such user"))?;
    done(json!({
        "uuid": user.id.as_str(),
        "username": user.username.unwrap_or_default(),
        "nickname": user.nickname,
        "avatar": user.avatar,
    }))
}

/// `GET /user?uuid=`: the friends.
pub(super) async fn friends(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Answer {
    let actor = caller.acts_as(&value(&pairs(&uri)?, "uuid")?)?;
    let friends = desk.accounts.directory(move |directory| directory.friends_of(actor.user())).await??;
    let friend = |friend: crate::store::Friend| {
        json!({
            "uuid": friend.user.as_str(),
            "username": friend.username.unwrap_or_default(),
            "avatar": friend.avatar,
        })
    };
    done(friends.into_iter().map(friend).collect::<Vec<_>>())
}

/// `GET /user/name?name=`: a user and a group that are called so.
pub(super) async fn find(State(desk): State<Desk>, Extension(caller): Extension<Caller>, uri: Uri) -> Answer {
    let name = value(&pairs(&uri)?, "name")?.trim().to_owned();
    let (user, group) = desk
        .accounts
        .directory(move |directory| {
            let user = directory.user_named(&name)?;
            let group = directory.group_named(&name, caller.user())?;
            Ok::<_, crate::store::DirectoryError>((user, group))
        })
        .await??;
    let user = match user {
        Some(user) => json!({
            "uuid": user.id.as_str(),
            "username": user.username.unwrap_or_default(),
            "nickname": user.nickname,
            "avatar": user.avatar,
        }),
        None => json!({ "uuid": "", "username": "", "nickname": "", "avatar": "" }),
    };
    let nothing = || json!({ "uuid": "", "groupId": "", "name": "", "notice": "", "createAt": "" });
    let group = group.as_ref().map_or_else(nothing, group_data);
    done(json!({ "user": user, "group": group }))
}

/// `POST /friend`: puts a user, by name, into one's list.
pub(super) async fn befriend(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Answer {
    let fields: Fields = desk.json(body).await?;
    let actor = caller.acts_as(&fields.uuid.unwrap_or_default())?;
    let friend = fields.friend_username.unwrap_or_default().trim().to_owned();
    if friend.is_empty() {
        return Err(Fault::refused("the friendUsername is missing"));
    }
    let limit = desk.accounts.limits().friends;
    desk.accounts.directory(move |directory| directory.befriend(actor.user(), &friend, limit)).await??;
    nothing()
}

/// What is said of a group.
pub(super) fn group_data(group: &Group) -> Value {
    json!({
        "uuid": group.id.as_str(),
        "groupId": group.number,
        "name": group.name,
        "notice": group.notice,
        "createAt": iso_8601(group.created_at_ms),
    })
}

/// A part of a path.
pub(super) fn text<T>(part: Result<Path<T>, PathRejection>) -> Result<T, Fault> {
    match part {
        Ok(Path(text)) => Ok(text),
        Err(error) => Err(Fault::refused(format!("the path cannot be read: {error}"))),
    }
}

fn user_id(id: &str) -> Result<UserId, Fault> {
    UserId::new(id).map_err(|error| Fault::refused(format!("the user's id: {error}")))
}

/// What a user is told of itself.
fn own(user: &User) -> Value {
    json!({
        "uuid": user.id.as_str(),
        "username": user.username.as_deref().unwrap_or_default(),
        "nickname": user.nickname,
        "email": user.email,
        "avatar": user.avatar,
        "createAt": iso_8601(user.created_at_ms),
    })
}

fn with_session(
    desk: &Desk,
    peer: Peer,
    headers: &HeaderMap,
    token: Option<&Token>,
    answer: Answer,
) -> Answer {
    let mut response: Response = answer?;
    let cookie = desk.set_cookie(peer, headers, token).and_then(|cookie| HeaderValue::from_str(&cookie).ok());
    if let Some(mut cookie) = cookie {
        cookie.set_sensitive(true);
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
