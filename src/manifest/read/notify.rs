//! `[notify.NAME]`: who is told about what, and how.

use lettre::message::Mailbox;

use super::super::keys;
use super::super::pipeline::{ChannelSpec, MailSpec, NotifySpec};
use super::super::problem::{Problem, listed, quoted};
use super::super::secret::{SecretSource, UrlSource};
use super::super::settings::{self, ChannelKind};
use super::super::tree::{At, Reader, Table};
use super::secrets::{secret_parameter, source};
use super::{UncheckedNotify, refuse_twice};
use crate::model::NotifyCause;

pub(super) fn read(reader: &mut Reader<'_>, name: At<String>, table: &Table<'_>) -> UncheckedNotify {
    let none = UncheckedNotify { spec: None, on: Vec::new(), action: None, resources: Vec::new(), silence: None };
    if table.get("kind").is_none() {
        reader.missing(table, "kind", "`kind = \"webhook\"`, `\"slack\"` or `\"email\"`");
        return none;
    }
    // Without a known kind, a problem about any other key would be a guess.
    let Some(kind) = reader.choice(table, "kind", &keys::NOTIFY_KINDS, &[]) else { return none };
    let (kind, keys) = kind.value;
    let table = &reader.section(table, keys);
    let on = causes(reader, table);
    let silence = reader.duration(table, "nothing_new_for");
    let retry_for = reader.duration_or_default(table, "retry_for");
    let action = reader.string(table, "action", "\"train\"");
    if table.get("on").is_none() && table.get("nothing_new_for").is_none() && !reader.is_meant(table, "on") {
        let example = "add `on = [\"run_failed\"]`, or `nothing_new_for = \"6h\"`";
        reader.complain(
            Problem::new(format!("{} does not say when to notify", table.name)).at(&table.at, "here").help(example),
        );
    }
    let is_about_run = |cause| cause != NotifyCause::ResourceUnreachable;
    if let Some(action) = action.as_ref().filter(|_| !on.iter().any(|it| is_about_run(it.value))) {
        let problem = Problem::new("`action` selects runs, and none of the causes is about a run");
        reader.complain(problem.at(&action.span, "has no effect").help("remove it, or add \"run_failed\" to `on`"));
    }
    let resources = resources(reader, table, silence.is_some() || on.iter().any(|it| !is_about_run(it.value)));
    let channel = match kind {
        ChannelKind::Email => mail(reader, table).map(ChannelSpec::Email),
        ChannelKind::Slack => url(reader, table).map(|url| ChannelSpec::Slack { url }),
        ChannelKind::Webhook => webhook(reader, table),
    };
    let spec = channel.map(|channel| NotifySpec {
        name: name.value,
        on: on.iter().map(|cause| cause.value).collect(),
        nothing_new_for: silence.as_ref().map(|span| span.value),
        resources: resources.iter().map(|name| name.value.clone()).collect(),
        action: action.as_ref().map(|action| action.value.clone()),
        retry_for,
        channel,
    });
    UncheckedNotify { spec, on, action, resources, silence: silence.map(|span| span.span) }
}

/// Reads the resources that it is about. `has_effect` says whether a cause is about resources.
fn resources(reader: &mut Reader<'_>, table: &Table<'_>, has_effect: bool) -> Vec<At<String>> {
    let names = reader.strings(table, "resources", "[\"raw\"]");
    refuse_twice(reader, "resources", &names);
    refuse_empty(reader, table, "resources", &names, "remove it, or name a resource");
    if table.get("resources").is_some() && !has_effect && !reader.is_incomplete() {
        let problem = Problem::new("`resources` selects resources, and none of the causes is about a resource");
        let help = "remove it, or add \"resource_unreachable\" to `on`";
        reader.complain(problem.at(&table.key_span("resources"), "has no effect").help(help));
    }
    names
}

/// Refuses an empty list in `key`, with which nothing would ever be sent.
fn refuse_empty(reader: &mut Reader<'_>, table: &Table<'_>, key: &str, items: &[At<String>], help: &str) {
    if items.is_empty() && table.get(key).is_some_and(|value| value.get_ref().is_array()) && !reader.is_incomplete() {
        let problem = Problem::new(format!("`{key}` is empty"));
        reader.complain(problem.at(&table.key_span(key), "nothing is ever sent").help(help));
    }
}

/// Reads the causes in `on`.
fn causes(reader: &mut Reader<'_>, table: &Table<'_>) -> Vec<At<NotifyCause>> {
    let words = reader.strings(table, "on", "[\"run_failed\"]");
    refuse_twice(reader, "on", &words);
    refuse_empty(reader, table, "on", &words, "remove it, or name a cause");
    let mut causes = Vec::new();
    for word in words {
        let known = settings::NOTIFY_ON.iter().find(|(known, _)| *known == word.value);
        if let Some((_, cause)) = known {
            causes.push(At { value: *cause, span: word.span });
            continue;
        }
        let names = || settings::NOTIFY_ON.iter().map(|(known, _)| *known);
        let help = match keys::nearest(&word.value, names()) {
            _ if word.value.starts_with("nothing_new") => "write it as a key: `nothing_new_for = \"6h\"`".to_owned(),
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it can be {}", listed(names(), "or")),
        };
        let problem = Problem::new(format!("unknown cause {} in `on`", quoted(&word.value)));
        reader.complain(problem.at(&word.span, "not known").help(help));
    }
    causes
}

fn webhook(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<ChannelSpec> {
    let url = url(reader, table);
    let secret = reader.required_string(table, "secret", "\"env:WEBHOOK_SECRET\"");
    let secret = secret.and_then(|text| source(reader, "secret", &text));
    Some(ChannelSpec::Webhook { url: url?, secret: secret? })
}

/// Reads `url`, which may be a secret. Messages do not contain it.
fn url(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<UrlSource> {
    let text = reader.required_string(table, "url", "\"env:WEBHOOK_URL\"")?;
    if text.value.starts_with("env:") {
        return source(reader, "url", &text).map(UrlSource::Secret);
    }
    let wrong = match reqwest::Url::parse(&text.value) {
        Err(error) => error.to_string(),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => "it is neither `https://…` nor `http://…`".to_owned(),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => "it contains a password".to_owned(),
        Ok(url) if secret_parameter(&url).is_some() || has_secret_path(&url) => {
            let message = "`url` holds a secret: whoever has it can send messages, and a manifest must not contain it";
            let help = "write `url = \"env:WEBHOOK_URL\"`, and put it into that variable of the host's environment";
            reader.complain(Problem::new(message).at(&text.span, "here").help(help));
            return None;
        }
        Ok(_) => return Some(UrlSource::Plain(text.value)),
    };
    reader.complain(
        Problem::new(format!("`url` cannot be used: {wrong}")).at(&text.span, "here").help(
            "write one such as \"https://hooks.example.com/anacostia\", or \"env:WEBHOOK_URL\" if it is a secret",
        ),
    );
    None
}

/// Returns whether this is the address of an incoming webhook of a service that asks for nothing
/// besides the address.
fn has_secret_path(url: &reqwest::Url) -> bool {
    let is_at = |host: &str, path: &str| url.host_str() == Some(host) && url.path().starts_with(path);
    let slack = ["hooks.slack.com", "hooks.slack-gov.com"].iter().any(|host| is_at(host, "/"));
    slack || ["discord.com", "discordapp.com"].iter().any(|host| is_at(host, "/api/webhooks/"))
}

fn mail(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<MailSpec> {
    let from = reader.required_string(table, "from", "\"anacostia@example.com\"");
    let from = from.and_then(|text| address(reader, &text));
    if table.get("to").is_none() {
        reader.missing(table, "to", "`to = [\"you@example.com\"]`");
    }
    let to = reader.strings(table, "to", "[\"you@example.com\"]");
    if to.is_empty()
        && table.get("to").is_some_and(|value| value.get_ref().as_array().is_some_and(|all| all.is_empty()))
    {
        let problem = Problem::new("`to` is empty").at(&table.key_span("to"), "nobody gets the e-mail");
        reader.complain(problem.help("write `to = [\"you@example.com\"]`"));
    }
    refuse_twice(reader, "to", &to);
    let to: Vec<_> = to.iter().filter_map(|text| address(reader, text)).collect();
    let smtp = reader.required_string(table, "smtp", "\"smtps://mail.example.com\"");
    let user = secret(reader, table, "user");
    let password = secret(reader, table, "password");
    for (has, lacks) in [("user", "password"), ("password", "user")] {
        if table.get(has).is_some() && table.get(lacks).is_none() && !reader.is_meant(table, lacks) {
            let problem = Problem::new(format!("`{has}` is given without `{lacks}`"));
            reader.complain(problem.at(&table.key_span(has), "here").help("give both, or neither"));
        }
    }
    let smtp = smtp.and_then(|text| server(reader, &text, table.get("password").is_some()))?;
    Some(MailSpec { from: from?, to: (!to.is_empty()).then_some(to)?, smtp, login: user.zip(password) })
}

fn secret(reader: &mut Reader<'_>, table: &Table<'_>, key: &'static str) -> Option<SecretSource> {
    let text = reader.string(table, key, "\"env:SMTP_PASSWORD\"")?;
    source(reader, key, &text)
}

fn address(reader: &mut Reader<'_>, text: &At<String>) -> Option<String> {
    if text.value.parse::<Mailbox>().is_ok() {
        return Some(text.value.clone());
    }
    reader.complain(
        Problem::new(format!("{} is not an e-mail address", quoted(&text.value)))
            .at(&text.span, "here")
            .help("write \"you@example.com\" or \"You <you@example.com>\""),
    );
    None
}

/// Checks the URL of a mail server. A password is not sent over a connection without TLS, except on
/// this machine.
fn server(reader: &mut Reader<'_>, text: &At<String>, has_password: bool) -> Option<String> {
    let url = reqwest::Url::parse(&text.value).ok();
    let tls = |url: &reqwest::Url| url.scheme() == "smtps" || url.query() == Some("tls=required");
    let local = |url: &reqwest::Url| matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let wrong = match &url {
        Some(url) if !url.username().is_empty() || url.password().is_some() => {
            Problem::new("`smtp` contains a password").help("use the keys `user` and `password`: `user = \"env:SMTP_USER\"`")
        }
        Some(url)
            if matches!(url.scheme(), "smtp" | "smtps")
                && url.host_str().is_some_and(|host| !host.is_empty())
                && matches!(url.path(), "" | "/")
                && matches!(url.query(), None | Some("tls=required")) =>
        {
            if !has_password || tls(url) || local(url) {
                return Some(text.value.clone());
            }
            Problem::new("`password` would be sent without encryption")
                .help("write \"smtps://…\", or \"smtp://…?tls=required\" for STARTTLS")
        }
        _ => Problem::new("`smtp` is not the URL of a mail server").help(
            "write \"smtps://mail.example.com\" (TLS), \"smtp://mail.example.com:587?tls=required\" (STARTTLS) or \"smtp://127.0.0.1:25\"",
        ),
    };
    reader.complain(wrong.at(&text.span, "here"));
    None
}
