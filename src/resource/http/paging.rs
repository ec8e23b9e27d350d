//! Finds the next page.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use reqwest::Url;
use reqwest::header::{HeaderMap, LINK};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Returns the target of the first `Link` with `rel="next"` (RFC 8288), as it is written.
pub(super) fn next_link(headers: &HeaderMap) -> Option<String> {
    let texts = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(links).find(|(_, params)| is_next(params)).map(|(target, _)| target.to_owned())
}

/// Splits the value of a header into targets and their parameters. A target may have commas in it.
fn links(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((target, after)) = rest.split_once('<').and_then(|(_, open)| open.split_once('>')) {
        let params = after.split_once('<').map_or(after, |(params, _)| params);
        found.push((target, params));
        rest = after;
    }
    found
}

fn is_next(params: &str) -> bool {
    params.split(';').any(|param| {
        let Some((name, value)) = param.split_once('=') else { return false };
        let value = value.trim().trim_end_matches(',').trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("rel") && value.split_whitespace().any(|it| it.eq_ignore_ascii_case("next"))
    })
}

/// Resolves a link on a page. `None` if it leads to another server, for which the headers and
/// parameters of the requests are not meant.
pub(super) fn on_same_server(page: &Url, link: &str) -> Option<Url> {
    let mut next = page.join(link).ok()?;
    next.set_fragment(None);
    (next.origin() == page.origin() && next.username().is_empty() && next.password().is_none()).then_some(next)
}

/// Reads the value at `field` from the JSON in a file, without holding more of the file in memory.
/// `None` if there is none, or it is `null`, `false` or empty.
pub(super) fn value_in(file: &Path, field: &[String]) -> io::Result<Option<String>> {
    let mut reader = serde_json::Deserializer::from_reader(BufReader::new(File::open(file)?));
    let found = Find(field).deserialize(&mut reader)?;
    reader.end()?;
    Ok(found.filter(|value| !value.is_empty()))
}

/// Looks for a value, by the names that lead to it.
struct Find<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            match self.0.split_first() {
                Some((name, rest)) if *name == key => found = map.next_value_seed(Find(rest))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then(|| text.to_owned()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then(|| number.to_string()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then(|| number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then(|| number.to_string()))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Url;
    use reqwest::header::{HeaderMap, HeaderValue, LINK};

    use super::{next_link, on_same_server, value_in};

    #[test]
    fn the_next_page_by_link() {
        let next = |text: &str| next_link(&HeaderMap::from_iter([(LINK, HeaderValue::from_str(text).unwrap())]));
        assert_eq!(next("</a?page=2>; rel=\"next\"").as_deref(), Some("/a?page=2"));
        assert_eq!(next("</a>; rel=prev, <b?x=1,2;3>; title=\"y\"; rel=\"last next\"").as_deref(), Some("b?x=1,2;3"));
        assert_eq!(next("</a>; rel=next, </b>; rel=last").as_deref(), Some("/a"));
        for none in ["", "</a>", "</a>; rel=\"nexts\"", "/a; rel=next", "</a>; next"] {
            assert_eq!(next(none), None, "{none}");
        }
    }

    #[test]
    fn links_to_other_servers_are_not_followed() {
        let page = Url::parse("https://api.example.com/a/items?key=1").unwrap();
        let next = |link| on_same_server(&page, link).map(String::from);
        assert_eq!(next("?page=2#top").as_deref(), Some("https://api.example.com/a/items?page=2"));
        assert_eq!(next("/b").as_deref(), Some("https://api.example.com/b"));
        for other in [
            "https://evil.example.com/",
            "//evil.example.com/",
            "http://api.example.com/b",
            "https://me@api.example.com/b",
        ] {
            assert_eq!(next(other), None, "{other}");
        }
    }

    #[test]
    fn the_next_page_by_a_value_in_the_body() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let value = |json: &str, field: &str| {
            std::fs::write(file.path(), json).unwrap();
            let names: Vec<String> = field.split('.').map(str::to_owned).collect();
            value_in(file.path(), &names)
        };
        assert_eq!(value(r#"{"items":[{"next":1}],"next":"c2"}"#, "next").unwrap().as_deref(), Some("c2"));
        assert_eq!(value(r#"{"meta":{"next":42,"x":[]},"y":null}"#, "meta.next").unwrap().as_deref(), Some("42"));
        for none in [r#"{"next":null}"#, r#"{"next":""}"#, r#"{"next":false}"#, r#"{"next":{"a":1}}"#, "[1]", "{}", "7"]
        {
            assert_eq!(value(none, "next").unwrap(), None, "{none}");
        }
        for broken in ["", "{", "{\"next\":1}}", "<html>"] {
            assert!(value(broken, "next").is_err(), "{broken}");
        }
    }
}
