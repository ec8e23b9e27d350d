//! Markdown of other people as HTML that can do nothing.
//!
//! HTML in the text is shown as text. Links lead only to other sites and to mail, because relative
//! ones have no page here. Of an image only its description is shown: a page loads nothing from
//! elsewhere. Headings begin below those of the page, and skip no level.

use minijinja::Value;
use pulldown_cmark::{Alignment, Event, HeadingLevel, LinkType, Options, Parser, Tag, TagEnd};

use super::html::shown;

/// The level of the heading below which the text stands.
const ABOVE: u8 = 2;
/// Beginnings of the addresses to which links lead.
const SCHEMES: [&str; 3] = ["http://", "https://", "mailto:"];

/// Most cells of tables. The parser fills up short rows, so that a small text could have millions.
const MAX_CELLS: usize = 20_000;

/// Returns a text in Markdown as HTML. Tables of a text that may have too many cells are shown as
/// they are written.
pub(super) fn html(text: &str) -> Value {
    let mut safe = Safe { level: ABOVE, links: Vec::new() };
    let mut options = Options::ENABLE_STRIKETHROUGH;
    let columns = text.lines().map(|line| line.matches('|').count() + 1).max().unwrap_or_default();
    options.set(Options::ENABLE_TABLES, columns.saturating_mul(text.lines().count()) <= MAX_CELLS);
    let events = Parser::new_ext(text, options).filter_map(|event| safe.event(event));
    let mut html = String::with_capacity(text.len() * 3 / 2);
    pulldown_cmark::html::push_html(&mut html, events);
    Value::from_safe_string(html)
}

/// What the events so far say about the next one.
struct Safe {
    /// The level of the last heading.
    level: u8,
    /// Whether each link that is open leads somewhere.
    links: Vec<bool>,
}

impl Safe {
    fn event<'a>(&mut self, event: Event<'a>) -> Option<Event<'a>> {
        Some(match event {
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => Event::InlineHtml(shown(&text).into()),
            Event::Code(text) => Event::InlineHtml(format!("<code>{}</code>", shown(&text)).into()),
            Event::Start(Tag::HtmlBlock) => Event::Start(Tag::Paragraph),
            Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
            Event::Start(Tag::Heading { level, .. }) => {
                self.level = (level as u8 + ABOVE).min(self.level + 1).min(6);
                Event::Start(Tag::Heading { level: self.level(), id: None, classes: Vec::new(), attrs: Vec::new() })
            }
            Event::End(TagEnd::Heading(_)) => Event::End(TagEnd::Heading(self.level())),
            Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => return None,
            Event::Start(Tag::Link { link_type, dest_url, .. }) => {
                let leads = link_type == LinkType::Email || SCHEMES.iter().any(|scheme| dest_url.starts_with(scheme));
                self.links.push(leads);
                let (title, id) = ("".into(), "".into());
                return leads.then_some(Event::Start(Tag::Link { link_type, dest_url, title, id }));
            }
            Event::End(TagEnd::Link) => return self.links.pop().filter(|leads| *leads).map(|_| event),
            // How its columns are aligned would become a style, which the browser refuses.
            Event::Start(Tag::Table(columns)) => Event::Start(Tag::Table(vec![Alignment::None; columns.len()])),
            // Its language would become a class.
            Event::Start(Tag::CodeBlock(_)) => Event::InlineHtml("<pre><code>".into()),
            Event::End(TagEnd::CodeBlock) => Event::InlineHtml("</code></pre>\n".into()),
            other => other,
        })
    }

    fn level(&self) -> HeadingLevel {
        HeadingLevel::try_from(usize::from(self.level)).unwrap_or(HeadingLevel::H6)
    }
}

#[cfg(test)]
mod tests {
    fn html(text: &str) -> String {
        super::html(text).to_string()
    }

    #[test]
    fn text_is_set_as_it_is_written() {
        assert_eq!(
            html("a *b* `c<d>`\n\n- e\n"),
            "<p>a <em>b</em> <code>c&lt;d&gt;</code></p>\n<ul>\n<li>e</li>\n</ul>\n"
        );
        assert_eq!(html("```rust\nlet a = \"b\";\n```\n"), "<pre><code>let a = &quot;b&quot;;\n</code></pre>\n");
        assert!(html("| a |\n|---|\n| b |\n").contains("<td>b</td>"));
    }

    #[test]
    fn headings_begin_below_those_of_the_page_and_skip_no_level() {
        let all = html("# a\n### b\n# c\n###### d\n");
        assert_eq!(all, "<h3>a</h3>\n<h4>b</h4>\n<h3>c</h3>\n<h4>d</h4>\n");
    }

    #[test]
    fn nothing_in_it_acts_loads_or_misleads() {
        for (text, expected) in [
            ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>\n"),
            ("a <b onclick=x>b</b>", "<p>a &lt;b onclick=x&gt;b&lt;/b&gt;</p>\n"),
            ("[a](javascript:alert(1))", "<p>a</p>\n"),
            ("[a](data:text/html,x) [b](../c.md)", "<p>a b</p>\n"),
            ("[a](https://example.com/\"onclick=x)", "<p><a href=\"https://example.com/%22onclick=x\">a</a></p>\n"),
            ("![a picture](https://example.com/p.png)", "<p>a picture</p>\n"),
            ("<javascript:alert(1)>", "<p>javascript:alert(1)</p>\n"),
            ("a\u{202e}b", "<p>a\\u{202e}b</p>\n"),
        ] {
            assert_eq!(html(text), expected, "{text}");
        }
        assert!(html("<ann@example.com>").contains("href=\"mailto:ann@example.com\""));
        assert!(!html("| a |\n|:-:|\n| b |\n").contains("style"));
        // Each row of this table would have as many cells as the first, most of them empty.
        let wide = format!("|{}\n|{}\n{}", "a|".repeat(300), "-|".repeat(300), "|b\n".repeat(3_000));
        assert!(html(&wide).len() < 2 * wide.len());
        // Neither deep nor unfinished input is trouble.
        html(&"> ".repeat(20_000));
        html(&"[".repeat(20_000));
        html(&"*a **b ".repeat(5_000));
    }
}
