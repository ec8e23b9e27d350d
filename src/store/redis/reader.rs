//! Asks for records.

use serde_json::{Value, json};

use super::arguments::{bound, with};
use super::connect::Link;
use super::reply::{Reply, Work};
use super::scripts::READ;
use crate::model::Page;
use crate::store::{PageRequest, page};

/// Asks for records, over the connection of a store.
pub(super) struct Reader<'s>(pub(super) &'s Link);

impl Reader<'_> {
    /// Executes a method that reads.
    pub(super) async fn ask(&self, method: &str, arguments: Value) -> Work<Reply> {
        self.0.call(&READ, method, arguments, &[]).await
    }

    /// Reads a page, newest first, of a list of which one call of a script looks at a part.
    pub(super) async fn page<T>(
        &self,
        method: &str,
        arguments: Value,
        request: &PageRequest,
        item: impl Fn(Reply) -> Work<(i64, T)>,
    ) -> Work<Page<T>> {
        let (mut before, limit) = (bound(page::before(request)?).to_string(), page::limit(request));
        let mut found = Vec::new();
        while !before.is_empty() && found.len() <= limit {
            let place = [("before", json!(before)), ("limit", json!(limit + 1 - found.len()))];
            let [next, items] = self.ask(method, with(arguments.clone(), place)).await?.parts()?;
            found.extend(items.each(&item)?);
            before = next.text()?;
        }
        Ok(page::cut(found, limit))
    }
}
