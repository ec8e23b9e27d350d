//! A message to an incoming webhook of Slack, or of a program that takes the same JSON.

use reqwest::{Client, Url, header};
use serde_json::json;

use super::{Refusal, answer};
use crate::model::Notification;

/// An incoming webhook.
pub(super) struct Slack {
    pub(super) client: Client,
    pub(super) url: Url,
}

impl Slack {
    pub(super) async fn send(&self, it: &Notification) -> Result<(), Refusal> {
        let text = format!("*{}*\n{}", escape(&it.title), escape(it.text.trim_end()));
        let body = json!({ "text": text }).to_string();
        let request = self.client.post(self.url.clone()).header(header::CONTENT_TYPE, "application/json").body(body);
        answer(request.send().await)
    }
}

/// Escapes what Slack would read as a link or as a mention of everyone.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn an_action_cannot_mention_everyone() {
        assert_eq!(escape("<!channel> a & b"), "&lt;!channel&gt; a &amp; b");
    }
}
