//! The text of an error of a library.

use std::error::Error;

use super::{bounds, tls};

/// The longest text. Some services answer with pages of HTML.
const MAX_BYTES: usize = 300;

/// Returns the text of the innermost cause of an error, on one line. The errors around it repeat
/// that text, and add URLs.
#[must_use]
pub fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let text = tls::explained(&cause.to_string());
    let words: Vec<&str> = text.split_whitespace().collect();
    bounds::cut(&words.join(" "), MAX_BYTES).into_owned()
}
