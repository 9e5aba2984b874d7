//! Lists that come in pages.

use axum::Json;
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::{IntoParams, ToSchema};

use super::problem::{Kind, Problem};
use crate::{
    server::access::Desk,
    store::{Directory, DirectoryError},
};

/// Items of a page at the most.
pub(super) const PAGE_ITEMS: u32 = 200;

/// Items of a page if nothing is said.
pub(super) const USUAL_ITEMS: u32 = 50;

/// Characters of a cursor at the most.
const CURSOR_CHARACTERS: usize = 512;

/// Which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageParams {
    /// Items at the most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub(super) limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(max_length = 512)]
    pub(super) cursor: Option<String>,
}

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    /// What is in it.
    pub(super) items: Vec<T>,
    /// Names the next page; null if this is the last one. What it is made of may change.
    pub(super) next_cursor: Option<String>,
}

impl PageParams {
    /// The page of a list. `read` gives so many items from after a place on, or from the beginning, and `place` where each is.
    pub(super) async fn of<T, U, P>(
        &self,
        desk: &Desk,
        read: impl FnOnce(&Directory, Option<P>, u32) -> Result<Vec<U>, DirectoryError> + Send + 'static,
        place: impl Fn(&U) -> P,
        give: impl FnMut(U) -> T,
    ) -> Result<Json<Page<T>>, Problem>
    where
        U: Send + 'static,
        P: DeserializeOwned + Serialize + Send + 'static,
    {
        let (limit, after) = (limit(self.limit)?, after::<P>(self.cursor.as_deref())?);
        // One more than fits tells whether there is more.
        let read = move |directory: &mut Directory| read(directory, after, limit.saturating_add(1));
        let items = desk.accounts.directory(read).await??;
        Ok(Json(Page::cut(items, limit, place, give)))
    }
}

pub(super) fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    match asked.unwrap_or(USUAL_ITEMS) {
        limit @ 1..=PAGE_ITEMS => Ok(limit),
        _ => Err(Problem::new(Kind::Malformed, format!("limit must be from 1 to {PAGE_ITEMS}"))),
    }
}

/// What a cursor was made of.
pub(super) fn after<T: DeserializeOwned>(cursor: Option<&str>) -> Result<Option<T>, Problem> {
    let wrong = || Problem::new(Kind::Malformed, "cursor must be the next_cursor of an earlier answer");
    let Some(cursor) = cursor else { return Ok(None) };
    if cursor.len() > CURSOR_CHARACTERS {
        return Err(wrong());
    }
    let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).map_err(|_| wrong())?;
    serde_json::from_slice(&bytes).map(Some).map_err(|_| wrong())
}

/// A cursor that is made of this.
pub(super) fn cursor(place: &impl Serialize) -> Option<String> {
    serde_json::to_vec(place).ok().map(|bytes| BASE64URL_NOPAD.encode(&bytes))
}

impl<T> Page<T> {
    /// A page of at most so many items, of a list that has one more if there is another page: its last item says where
    /// that begins.
    fn cut<U, P: Serialize>(
        mut items: Vec<U>,
        limit: u32,
        place: impl Fn(&U) -> P,
        give: impl FnMut(U) -> T,
    ) -> Self {
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = items.len() > most;
        items.truncate(most);
        let next_cursor = items.last().filter(|_| has_more).and_then(|last| cursor(&place(last)));
        Self { items: items.into_iter().map(give).collect(), next_cursor }
    }
}
