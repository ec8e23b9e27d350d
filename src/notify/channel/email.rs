//! An e-mail, handed to a mail server by SMTP.

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use super::{CONNECT, Refusal, chain};
use crate::manifest::MailSpec;
use crate::model::Notification;

/// A mail server, and who writes to whom.
pub(super) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Mailer {
    /// `login`: user and password.
    pub(super) fn new(spec: &MailSpec, login: Option<(String, String)>) -> Result<Self, String> {
        let mailbox = |text: &String| text.parse::<Mailbox>().map_err(|error| error.to_string());
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(&spec.smtp).map_err(|error| chain(&error))?;
        if let Some((user, password)) = login {
            builder = builder.credentials(Credentials::new(user, password));
        }
        Ok(Self {
            transport: builder.timeout(Some(CONNECT)).build(),
            from: mailbox(&spec.from)?,
            to: spec.to.iter().map(mailbox).collect::<Result<_, _>>()?,
        })
    }

    pub(super) async fn send(&self, it: &Notification) -> Result<(), Refusal> {
        let permanent = |error: lettre::error::Error| Refusal::Permanent(chain(&error));
        let mut message = Message::builder()
            .from(self.from.clone())
            .subject(&it.title)
            // Mail programs recognise a repeated delivery by it.
            .message_id(Some(format!("<{}@anacostia>", it.id)))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            message = message.to(to.clone());
        }
        let message = message.body(it.text.clone()).map_err(permanent)?;
        match self.transport.send(message).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_permanent() => Err(Refusal::Permanent(chain(&error))),
            Err(error) => Err(Refusal::Temporary(chain(&error))),
        }
    }
}
