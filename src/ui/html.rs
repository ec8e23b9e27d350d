//! How text becomes HTML. Pages show names and messages of other people, which may contain
//! characters that reorder the text around them or hide: those are shown as `\u{…}`.

use std::borrow::Cow;
use std::fmt::Write as _;

use minijinja::{Environment, Error, Output, State, Value, escape_formatter};

use crate::base::misleads;

/// Makes templates show all text [`plainly`], and adds the filter `exact` for the values of forms,
/// which are sent back.
pub(super) fn install(templates: &mut Environment<'_>) {
    templates.set_formatter(write);
    templates.add_filter("exact", |text: &str| Value::from_safe_string(escaped(text)));
}

fn write(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.as_str().filter(|_| !value.is_safe()).map(plainly) {
        Some(Cow::Owned(text)) => escape_formatter(out, state, &Value::from(text)),
        _ => escape_formatter(out, state, value),
    }
}

/// Returns a text with the characters that mislead as `\u{…}`.
pub(super) fn plainly(text: &str) -> Cow<'_, str> {
    if !text.contains(misleads) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if misleads(character) {
            let _ = write!(plain, "\\u{{{:x}}}", u32::from(character));
        } else {
            plain.push(character);
        }
    }
    Cow::Owned(plain)
}

/// Escapes a text for content and attributes, and changes nothing else.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#x27;"),
            _ => html.push(character),
        }
    }
    html
}

/// Escapes a text that is shown, for content and attributes.
pub(super) fn shown(text: &str) -> String {
    escaped(&plainly(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        assert_eq!(shown("<a b=\"c\" d='e'>&"), "&lt;a b=&quot;c&quot; d=&#x27;e&#x27;&gt;&amp;");
    }

    #[test]
    fn what_reorders_or_hides_is_shown_and_words_stay_as_they_are() {
        assert_eq!(shown("a\u{202e}vsc.\u{2066}b\u{200b}"), "a\\u{202e}vsc.\\u{2066}b\\u{200b}");
        for word in ["שלום.csv", "نامه\u{200c}ها", "👩\u{200d}🔬"] {
            assert_eq!(shown(word), word);
        }
    }

    #[test]
    fn templates_show_text_plainly_but_forms_send_it_back_as_it_was() {
        let mut templates = Environment::new();
        templates.set_auto_escape_callback(|_| minijinja::AutoEscape::Html);
        install(&mut templates);
        let page = "<b>{{ name }}</b><input value=\"{{ name|exact }}\">{{ safe }}{{ 1 }}";
        let values = minijinja::context! { name => "<\u{202e}", safe => Value::from_safe_string("<i>".to_owned()) };
        assert_eq!(
            templates.render_str(page, values).unwrap(),
            "<b>&lt;\\u{202e}</b><input value=\"&lt;\u{202e}\"><i>1"
        );
    }
}
