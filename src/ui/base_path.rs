//! Puts the path below which people reach the server before the addresses on a page.
//!
//! Templates, drawings and handlers write addresses as they are without it, so none of them can
//! forget it. All text from outside is escaped, and so has no quote: what looks like an attribute
//! here is one.

/// The attributes whose values are addresses.
const ATTRIBUTES: [&str; 6] = [" action", " data-events", " data-source", " data-upload", " href", " src"];

/// How a page begins an address on this server: as templates have it, and escaped.
const BEGINNINGS: [&str; 2] = ["=\"/", "=\"&#x2f;"];

/// Returns the page with `base` before each address on this server.
pub(super) fn put_before(base: &str, html: String) -> String {
    if base.is_empty() {
        return html;
    }
    let mut below = String::with_capacity(html.len() + html.len() / 8);
    let mut rest = html.as_str();
    while let Some(at) = rest.find("=\"") {
        let (before, value) = rest.split_at(at);
        below.push_str(before);
        let leads_here = BEGINNINGS.iter().any(|beginning| value.starts_with(beginning));
        below.push_str("=\"");
        if leads_here && ATTRIBUTES.iter().any(|name| before.ends_with(name)) {
            below.push_str(base);
        }
        rest = value.get(2..).unwrap_or_default();
    }
    below.push_str(rest);
    below
}

#[cfg(test)]
mod tests {
    use super::put_before;

    #[test]
    fn addresses_on_this_server_get_it_and_nothing_else_does() {
        let page =
            r##"<a href="/">x</a><a class="/x" href="&#x2f;runs?q=1">href=&quot;/x</a><img src="/i"><a href="#i">"##;
        let below = r##"<a href="/ml/">x</a><a class="/x" href="/ml&#x2f;runs?q=1">href=&quot;/x</a><img src="/ml/i"><a href="#i">"##;
        assert_eq!(put_before("/ml", page.to_owned()), below);
        assert_eq!(put_before("", page.to_owned()), page);
        let data = r#"<body data-events="/api" data-key="/x"><form action="/a"><a data-href="/x" href="">"#;
        let below = r#"<body data-events="/ml/api" data-key="/x"><form action="/ml/a"><a data-href="/x" href="">"#;
        assert_eq!(put_before("/ml", data.to_owned()), below);
    }
}
