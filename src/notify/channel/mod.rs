//! How a notification reaches its receiver.

mod email;
mod slack;
mod webhook;

use std::time::Duration;

use reqwest::{Client, Response, StatusCode, Url};

use super::secret::Secrets;
use crate::base::{proxy, tls};
use crate::manifest::{ChannelSpec, NotifySpec, UrlSource};
use crate::model::Notification;

/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// The longest time for a delivery, from the connection to the answer.
const DELIVER: Duration = Duration::from_secs(30);

/// Why a delivery failed. The texts do not contain secrets.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It may succeed later.
    Temporary(String),
    /// It would fail again.
    Permanent(String),
}

/// Sends notifications to one receiver.
pub(super) struct Sender {
    secrets: Secrets,
    /// The channel to the receiver, or why it cannot be used.
    way: Result<Way, String>,
}

enum Way {
    Webhook(webhook::Webhook),
    Slack(slack::Slack),
    Email(Box<email::Mailer>),
}

impl Sender {
    /// Prepares the channel to a receiver. If a secret is missing or unusable, each delivery fails
    /// with the reason.
    pub(super) fn new(spec: &NotifySpec, client: Result<Client, String>, pipeline: &str) -> Self {
        let mut secrets = Secrets::default();
        let way = Way::open(spec, client, pipeline, &mut secrets);
        Self { secrets, way }
    }

    /// Sends a notification.
    ///
    /// # Errors
    /// [`Refusal`] if the receiver did not take it, or it is not known whether it did.
    pub(super) async fn send(&self, it: &Notification) -> Result<(), Refusal> {
        let way = self.way.as_ref().map_err(|why| Refusal::Permanent(self.secrets.mask(why)))?;
        let sent = tokio::time::timeout(DELIVER, async {
            match way {
                Way::Webhook(webhook) => webhook.send(it).await,
                Way::Slack(slack) => slack.send(it).await,
                Way::Email(mailer) => mailer.send(it).await,
            }
        });
        let late = || Refusal::Temporary(format!("the receiver did not answer within {} s", DELIVER.as_secs()));
        sent.await.unwrap_or_else(|_| Err(late())).map_err(|refusal| match refusal {
            Refusal::Temporary(why) => Refusal::Temporary(self.secrets.mask(&why)),
            Refusal::Permanent(why) => Refusal::Permanent(self.secrets.mask(&why)),
        })
    }
}

impl Way {
    fn open(
        spec: &NotifySpec,
        client: Result<Client, String>,
        pipeline: &str,
        secrets: &mut Secrets,
    ) -> Result<Self, String> {
        match &spec.channel {
            ChannelSpec::Webhook { url, secret } => {
                let (url, key) = (address(url, secrets)?, secrets.read(secret)?);
                Ok(Self::Webhook(webhook::Webhook { client: client?, url, key, pipeline: pipeline.to_owned() }))
            }
            ChannelSpec::Slack { url } => {
                Ok(Self::Slack(slack::Slack { url: address(url, secrets)?, client: client? }))
            }
            ChannelSpec::Email(mail) => {
                let login = match &mail.login {
                    Some((user, password)) => Some((secrets.read(user)?, secrets.read(password)?)),
                    None => None,
                };
                tls::use_ring();
                Ok(Self::Email(Box::new(email::Mailer::new(mail, login)?)))
            }
        }
    }
}

pub(super) fn address(source: &UrlSource, secrets: &mut Secrets) -> Result<Url, String> {
    let text = match source {
        UrlSource::Plain(text) => text.clone(),
        UrlSource::Secret(source) => secrets.read(source)?,
    };
    let url = Url::parse(text.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| "the secret in `url` is not a URL that begins with `https://` or `http://`".to_owned())
}

/// Returns the HTTP client, which all receivers share. It uses proxies from the environment, and
/// follows no redirects: a signed message is for the address in the manifest.
pub(super) fn client() -> Result<Client, String> {
    let client = tls::client()
        .connect_timeout(CONNECT)
        .timeout(DELIVER)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("anacostia/", env!("CARGO_PKG_VERSION")))
        .build();
    client.map_err(|error| format!("failed to make an HTTP client: {}", chain(&error)))
}

/// Returns the status of the answer of an HTTP server. The URL, which may be a secret, is in no
/// error.
pub(super) fn status(answer: Result<Response, reqwest::Error>) -> Result<StatusCode, Refusal> {
    answer.map(|response| response.status()).map_err(|error| {
        let through = proxy::through(&error);
        Refusal::Temporary(format!("{}{through}", chain(&error.without_url())))
    })
}

/// Turns the answer of an HTTP server into a result. The URL, which may be a secret, is in no
/// error.
fn answer(answer: Result<Response, reqwest::Error>) -> Result<(), Refusal> {
    let status = status(answer)?;
    let why = format!("the receiver answered {status}");
    match status.as_u16() {
        _ if status.is_success() => Ok(()),
        408 | 425 | 429 => Err(Refusal::Temporary(why)),
        _ if status.is_server_error() => Err(Refusal::Temporary(why)),
        _ => Err(Refusal::Permanent(why)),
    }
}

/// Returns the text of an error with those of its sources, which say what happened.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    tls::explained(&text)
}
