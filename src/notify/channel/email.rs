//! An e-mail, handed to a mail server by SMTP.

use std::collections::BTreeMap;

use lettre::address::{Address, Envelope};
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use tokio::sync::Mutex;

use super::{CONNECT, Refusal, chain};
use crate::base::NotificationId;
use crate::manifest::MailSpec;
use crate::model::Notification;

/// A mail server, with the sender and the recipients.
pub(super) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
    /// The mail that was sent last, and its recipients that a repetition leaves out.
    settled: Mutex<(Option<NotificationId>, Settled)>,
}

/// Recipients who need not be tried again, with the reason if they were refused.
type Settled = BTreeMap<Address, Option<String>>;

impl Mailer {
    /// Creates a mailer. `login` is the user and the password.
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
            settled: Mutex::default(),
        })
    }

    /// Sends the mail to each recipient separately, because a mail server may refuse one of them.
    pub(super) async fn send(&self, it: &Notification) -> Result<(), Refusal> {
        let permanent = |error: lettre::error::Error| Refusal::Permanent(chain(&error));
        let mut message = Message::builder()
            .from(self.from.clone())
            .subject(&it.title)
            // Mail programs recognise a repeated delivery by this id.
            .message_id(Some(format!("<{}@anacostia>", it.id)))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            message = message.to(to.clone());
        }
        let message = message.body(it.text.clone()).map_err(permanent)?.formatted();
        let mut settled = self.settled.lock().await;
        if settled.0 != Some(it.id) {
            *settled = (Some(it.id), BTreeMap::new());
        }
        let mut later = None;
        for to in &self.to {
            if settled.1.contains_key(&to.email) {
                continue;
            }
            let envelope = Envelope::new(Some(self.from.email.clone()), vec![to.email.clone()]).map_err(permanent)?;
            match self.transport.send_raw(&envelope, &message).await {
                Ok(_) => drop(settled.1.insert(to.email.clone(), None)),
                Err(error) if error.is_permanent() => {
                    drop(settled.1.insert(to.email.clone(), Some(chain(&error))));
                }
                Err(error) => later = Some(chain(&error)),
            }
        }
        match (later, refusals(&settled.1)) {
            (Some(why), _) => Err(Refusal::Temporary(why)),
            (None, Some(why)) => Err(Refusal::Permanent(why)),
            (None, None) => Ok(()),
        }
    }
}

/// Says which recipients were refused; `None` if none.
fn refusals(settled: &Settled) -> Option<String> {
    let refused: Vec<_> = settled.iter().filter_map(|(to, why)| Some((to, why.as_ref()?))).collect();
    match refused[..] {
        [] => None,
        [(_, why)] if settled.len() == 1 => Some(why.clone()),
        _ => {
            let list: Vec<String> = refused.iter().map(|(to, why)| format!("{to} was refused: {why}")).collect();
            let rest = if refused.len() < settled.len() { "; the other recipients have the mail" } else { "" };
            Some(list.join("; ") + rest)
        }
    }
}
