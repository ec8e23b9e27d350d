//! Makes text for readers of the document out of the comments of the code.

use serde_json::Value;

/// Joins the lines of the paragraphs in each description; a line that begins with `- ` stays one.
/// What is said about a member that may be `null` is said about the member, not about its type.
pub(super) fn tidy(value: &mut Value) {
    match value {
        Value::Object(members) => {
            let inner = members.get_mut("oneOf").and_then(|parts| parts.get_mut(0)).and_then(Value::as_object_mut);
            if let Some(about) = inner.filter(|it| it.contains_key("$ref")).and_then(|it| it.remove("description")) {
                members.entry("description").or_insert(about);
            }
            if let Some(Value::String(text)) = members.get_mut("description") {
                *text = joined(text);
            }
            members.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

fn joined(text: &str) -> String {
    let (mut whole, mut before) = (String::with_capacity(text.len()), None::<&str>);
    for line in text.lines().map(str::trim) {
        whole.push_str(match before {
            None => "",
            Some(before) if before.is_empty() || line.is_empty() || line.starts_with("- ") => "\n",
            Some(_) => " ",
        });
        whole.push_str(line);
        before = Some(line);
    }
    whole.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{joined, tidy};

    #[test]
    fn lines_of_a_paragraph_are_joined() {
        assert_eq!(joined("One\ntwo.\n\nThree\nfour."), "One two.\n\nThree four.");
        let mut member = json!({ "oneOf": [{ "$ref": "#/x", "description": "Its\nid." }, { "type": "null" }] });
        tidy(&mut member);
        assert_eq!(member, json!({ "oneOf": [{ "$ref": "#/x" }, { "type": "null" }], "description": "Its id." }));
        assert_eq!(joined("Words.\n\n- `a`: one\n  more\n- `b`: two\n"), "Words.\n\n- `a`: one more\n- `b`: two");
    }
}
