//! What was said.

use axum::{Extension, extract::State, http::Uri};
use serde_json::json;

use super::{
    super::{
        access::{Caller, Desk},
        query::{pairs, value},
    },
    answer::{Answer, Fault, done, iso_8601},
    groups::group_id,
};
use crate::store::{PageOf, PastMessage};

/// `GET /message`: the newest messages of a conversation, or those before a place, oldest first.
///
/// A direct conversation is that of `Uuid` with the user called `FriendUsername`. A group's is `Uuid` itself, as the
/// front-end has it.
pub(super) async fn history(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Answer {
    let query = pairs(&uri)?;
    let id = value(&query, "Uuid")?;
    let of = match value(&query, "MessageType")?.as_str() {
        "1" => {
            let reader = caller.acts_as(&id)?.into_user();
            PageOf::Direct { reader, with: value(&query, "FriendUsername")? }
        }
        "2" => PageOf::Group { reader: caller.user().cloned(), group: group_id(&id)? },
        _ => return Err(Fault::refused("the MessageType must be 1, for a user, or 2, for a group")),
    };
    let before = number(&value(&query, "Before")?, "Before")?;
    let most = desk.rules.http.page_messages;
    let limit = number(&value(&query, "Limit")?, "Limit")?;
    let limit = limit.and_then(|limit| u32::try_from(limit).ok()).map_or(most, |limit| limit.clamp(1, most));
    let limit_bytes = desk.rules.http.page_bytes;
    let page =
        desk.accounts.directory(move |directory| directory.past(&of, before, limit, limit_bytes)).await??;
    done(page.iter().map(message_data).collect::<Vec<_>>())
}

fn number(text: &str, name: &str) -> Result<Option<u64>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| Fault::refused(format!("{name} must be a whole number")))
}

fn message_data(message: &PastMessage) -> serde_json::Value {
    json!({
        "id": message.seq,
        "fromUserId": message.sender.as_str(),
        "toUserId": message.recipient,
        "content": message.content,
        "contentType": message.content_type,
        "createAt": iso_8601(message.stored_at_ms),
        "fromUsername": message.sender_name,
        "toUsername": message.recipient_name,
        "avatar": message.avatar,
        "url": message.url,
    })
}
