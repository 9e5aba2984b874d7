//! What was said, by its words.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    conversations::{ConversationKind, Entry, named, names},
    input::{Me, Params, check_length},
    page::{Page, after, cursor, limit},
    problem::{Kind, Problem},
};
use crate::{
    server::access::Desk,
    store::{SEARCH_WORDS, Search, search_words},
};

/// Characters of what is looked for at the most.
const QUERY_CHARACTERS: usize = 256;

/// Characters of a snippet, and of what is before the first word that was found.
const SNIPPET_CHARACTERS: usize = 160;
const BEFORE_CHARACTERS: usize = 40;

/// What to look for, and where.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SearchParams {
    /// Words, all of which a message must have; the last one may be the beginning of a word. Letters and digits count, in upper
    /// or lower case, with or without accents.
    #[param(example = "correct horse", min_length = 1, max_length = 256)]
    q: String,
    /// Only in a conversation of this kind; goes with `id`.
    #[param(inline)]
    kind: Option<ConversationKind>,
    /// Only in the conversation with this user, or of this group; goes with `kind`.
    #[param(max_length = 128)]
    id: Option<String>,
    /// Messages at the most; a page may have fewer although there are more.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(max_length = 512)]
    cursor: Option<String>,
}

/// A message that was found.
#[derive(Serialize, ToSchema)]
pub(super) struct Hit {
    kind: ConversationKind,
    /// The id of the other user, or of the group.
    conversation_id: String,
    message: Entry,
    /// The part of the text that has the first of the words.
    snippet: String,
}

/// Search one's messages
///
/// The newest first, of conversations that one takes part in, or took part in when it was said. What was edited is found by what it says
/// now, and what was recalled is not found.
#[utoipa::path(
    get, path = "/api/v1/search/messages", tag = "search", params(SearchParams),
    responses(
        (status = 200, description = "Messages", body = Page<Hit>),
        (status = 404, description = "There is no such conversation"),
        (status = 422, description = "There is no word to look for"),
    )
)]
pub(super) async fn search_messages(
    State(desk): State<Desk>,
    me: Me,
    Params(params): Params<SearchParams>,
) -> Result<Json<Page<Hit>>, Problem> {
    let (limit, before) = (limit(params.limit)?, after::<i64>(params.cursor.as_deref())?);
    check_length("q", &params.q, QUERY_CHARACTERS)?;
    let words = search_words(&params.q);
    if words.is_empty() {
        return Err(Problem::invalid(format!("q must have a word, and has {SEARCH_WORDS} at the most")));
    }
    let conversation = match (params.kind, params.id) {
        (None, None) => None,
        (Some(kind), Some(id)) => Some(named(kind, &id)?),
        (Some(_), None) | (None, Some(_)) => {
            return Err(Problem::new(Kind::Malformed, "kind and id go together: name both, or neither"));
        }
    };
    let search = Search { user: me.user, words: words.clone(), conversation, before, limit };
    let (found, next) = desk.accounts.directory(move |directory| directory.search(&search)).await??;
    let hit = |(conversation, message): (_, switchboard_engine::StoredMessage)| {
        let (kind, conversation_id) = names(&conversation);
        let snippet = snippet(&message.content, &words);
        Hit { kind, conversation_id, message: message.into(), snippet }
    };
    let items = found.into_iter().map(hit).collect();
    Ok(Json(Page { items, next_cursor: next.and_then(|next| cursor(&next)) }))
}

/// The part of a text around the first place where one of the words is; where none is as it was typed, the beginning.
fn snippet(text: &str, words: &[String]) -> String {
    let lower = |c: char| c.to_lowercase().next().unwrap_or(c);
    let folded: Vec<char> = text.chars().map(lower).collect();
    let places = words.iter().filter_map(|word| {
        let word: Vec<char> = word.chars().map(lower).filter(|c| c.is_alphanumeric()).collect();
        if word.is_empty() { None } else { folded.windows(word.len()).position(|part| part == word) }
    });
    let from = places.min().unwrap_or_default().saturating_sub(BEFORE_CHARACTERS);
    let mut part: String = text.chars().skip(from).take(SNIPPET_CHARACTERS).collect();
    if from > 0 {
        part.insert(0, '…');
    }
    if folded.len() > from.saturating_add(SNIPPET_CHARACTERS) {
        part.push('…');
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_has_the_first_word_that_was_found() {
        let words = |text: &str| search_words(text);
        assert_eq!(snippet("Hello there", &words("THERE")), "Hello there");
        let long = format!("{}Needle{}", "x ".repeat(100), " y".repeat(200));
        let part = snippet(&long, &words("nothing needle"));
        assert!(part.starts_with("…x ") && part.ends_with('…') && part.contains("Needle"), "{part}");
        assert_eq!(part.chars().count(), SNIPPET_CHARACTERS + 2);
        assert_eq!(snippet("Äpfel", &words("apfel")), "Äpfel");
        assert_eq!(snippet("", &words("x")), "");
    }
}
