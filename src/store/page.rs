//! Pages of lists, by a growing number, newest first unless stated otherwise. A cursor is the
//! number of the last item of the previous page, so a page costs the same wherever it is, and new
//! items do not shift the pages.

use super::{PageRequest, Result, StoreError};
use crate::base::bounds::{MAX_PAGE, cut as cut_text};
use crate::base::escape;
use crate::model::Page;

/// How many items a page may have.
pub(super) fn limit(request: &PageRequest) -> usize {
    request.limit.clamp(1, MAX_PAGE) as usize
}

/// The number below which the page begins.
pub(super) fn before(request: &PageRequest) -> Result<i64> {
    match &request.cursor {
        None => Ok(i64::MAX),
        Some(cursor) => cursor.parse().ok().filter(|it| *it > 0).ok_or_else(|| refuse(cursor)),
    }
}

/// The number above which the page begins, of a list that is oldest first.
pub(super) fn after(request: &PageRequest) -> Result<i64> {
    match &request.cursor {
        None => Ok(0),
        Some(cursor) => cursor.parse().ok().filter(|it| *it > 0).ok_or_else(|| refuse(cursor)),
    }
}

/// The error for a cursor that this store did not make.
pub(super) fn refuse(cursor: &str) -> StoreError {
    let shown = escape(cut_text(cursor, 100).as_bytes());
    StoreError::Invalid(format!("`{shown}` is not a cursor of this list; use `next_cursor` of the previous page"))
}

/// Makes a page of numbered items. The caller has read one more than `limit`, if there are more.
pub(super) fn cut<T>(mut items: Vec<(i64, T)>, limit: usize) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = if more { items.last().map(|(number, _)| number.to_string()) } else { None };
    Page { items: items.into_iter().map(|(_, item)| item).collect(), next_cursor }
}
