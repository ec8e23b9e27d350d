//! A POST of JSON with a signature, so that the receiver knows who sent it.
//!
//! `anacostia-signature` is `sha256=` and the hexadecimal HMAC-SHA256 of `TIMESTAMP.ID.BODY`, where
//! TIMESTAMP and ID are the values of the headers `anacostia-timestamp` (seconds since 1970) and
//! `anacostia-id`. A receiver computes the same over the body as received, compares in constant
//! time, and refuses old timestamps. A repeated delivery has the same id, and a later timestamp.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Client, Url, header};
use serde_json::json;
use sha2::Sha256;

use super::super::time::now;
use super::{Refusal, answer};
use crate::model::Notification;

/// A webhook.
pub(super) struct Webhook {
    pub(super) client: Client,
    pub(super) url: Url,
    pub(super) key: String,
    pub(super) pipeline: String,
}

impl Webhook {
    pub(super) async fn send(&self, it: &Notification) -> Result<(), Refusal> {
        let body = self.body(it);
        let timestamp = (now().as_micros() / 1_000_000).to_string();
        let id = it.id.to_string();
        let signature = sign(&self.key, &timestamp, &id, &body).map_err(Refusal::Permanent)?;
        let request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("anacostia-id", id)
            .header("anacostia-timestamp", timestamp)
            .header("anacostia-signature", signature)
            .body(body);
        answer(request.send().await)
    }

    fn body(&self, it: &Notification) -> String {
        json!({
            "id": it.id,
            "pipeline": self.pipeline,
            "name": it.name,
            "cause": it.cause,
            "title": it.title,
            "text": it.text,
            "run_id": it.run_id,
            "run_number": it.run_number,
            "resource": it.resource,
            "event": it.event,
            "created_at": it.created_at,
        })
        .to_string()
    }
}

/// Returns the signature of a body.
fn sign(key: &str, timestamp: &str, id: &str, body: &str) -> Result<String, String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).map_err(|error| error.to_string())?;
    for part in [timestamp, ".", id, ".", body] {
        mac.update(part.as_bytes());
    }
    let mut signature = "sha256=".to_owned();
    for byte in mac.finalize().into_bytes() {
        // Writing to a string never fails.
        let _ = write!(signature, "{byte:02x}");
    }
    Ok(signature)
}

#[cfg(test)]
mod tests {
    use super::sign;

    /// Computed with `printf %s '1.2.{}' | openssl dgst -sha256 -hmac key`.
    #[test]
    fn the_signature_is_that_of_openssl() {
        let expected = "sha256=f625ce31abbc310be87f167018f77f682fd9af0be17e49a9581322c9c470759d";
        assert_eq!(sign("key", "1", "2", "{}").unwrap(), expected);
    }
}
