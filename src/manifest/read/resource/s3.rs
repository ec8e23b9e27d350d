//! The keys of the kind `s3`.

use super::globs;
use crate::manifest::problem::{Problem, quoted};
use crate::manifest::read::secrets;
use crate::manifest::s3::{S3Credentials, S3Spec, S3Style};
use crate::manifest::secret::SecretSource;
use crate::manifest::settings;
use crate::manifest::tree::{At, Reader, Table};

/// The longest prefix. A key has at most 1,024 bytes, and the path in the resource needs some.
const MAX_PREFIX_BYTES: usize = 500;

/// Reads a bucket.
pub(super) fn read(reader: &mut Reader<'_>, table: &Table<'_>) -> S3Spec {
    let bucket = reader.required_string(table, "bucket", "\"my-data\"").and_then(|text| bucket(reader, text));
    let prefix = reader.string(table, "prefix", "\"raw/\"").map(|text| prefix(reader, &text));
    let endpoint =
        reader.string(table, "endpoint", "\"http://127.0.0.1:9000\"").and_then(|text| endpoint(reader, &text));
    let region = reader.string(table, "region", "\"eu-central-1\"").and_then(|text| region(reader, text));
    let default_style = if table.get("endpoint").is_some() { S3Style::Path } else { S3Style::Virtual };
    let style = reader.choice(table, "style", &settings::S3_STYLE, &[]).map_or(default_style, |style| style.value);
    let (credentials, profile) = credentials(reader, table);
    let access_key_id = secret(reader, table, "access_key_id", "\"env:S3_KEY_ID\"");
    let secret_access_key = secret(reader, table, "secret_access_key", "\"env:S3_SECRET_KEY\"");
    check_keys(reader, table, credentials);
    let include = globs(reader, table, "include", None);
    let exclude = globs(reader, table, "exclude", None);
    let interval = reader.duration_or_default(table, "interval");
    S3Spec {
        bucket: bucket.unwrap_or_default(),
        prefix: prefix.unwrap_or_default(),
        endpoint,
        region,
        style,
        credentials,
        profile,
        access_key_id,
        secret_access_key,
        include,
        exclude,
        interval,
    }
}

fn bucket(reader: &mut Reader<'_>, text: At<String>) -> Option<String> {
    let usual = |c: u8| c.is_ascii_alphanumeric() || b".-_".contains(&c);
    if !text.value.is_empty() && text.value.len() <= 255 && text.value.bytes().all(usual) {
        return Some(text.value);
    }
    reader.complain(
        Problem::new(format!("{} cannot name a bucket", quoted(&text.value)))
            .at(&text.span, "here")
            .help("a name has letters, digits, `.`, `-` and `_`; put a path in the bucket into `prefix`"),
    );
    None
}

fn region(reader: &mut Reader<'_>, text: At<String>) -> Option<String> {
    if !text.value.trim().is_empty() {
        return Some(text.value);
    }
    let problem = Problem::new("`region` is empty").at(&text.span, "here");
    reader.complain(
        problem.help("write one such as \"eu-central-1\", or remove the key to take that of the environment"),
    );
    None
}

/// Returns the prefix with a `/` at its end, unless it is empty.
fn prefix(reader: &mut Reader<'_>, text: &At<String>) -> String {
    if text.value.is_empty() {
        return String::new();
    }
    let trimmed = text.value.strip_suffix('/').unwrap_or(&text.value);
    let wrong = if text.value.starts_with('/') {
        Some("it starts with `/`")
    } else if trimmed.split('/').any(|part| matches!(part, "" | "." | "..")) {
        Some("a part of it is empty, `.` or `..`")
    } else if trimmed.chars().any(char::is_control) || trimmed.len() > MAX_PREFIX_BYTES {
        Some("it has a control character in it, or more than 500 bytes")
    } else {
        None
    };
    if let Some(wrong) = wrong {
        reader.complain(
            Problem::new(format!("{} is not a prefix: {wrong}", quoted(&text.value)))
                .at(&text.span, "here")
                .help("write one such as `raw/`; without the key, paths start at the top of the bucket"),
        );
    }
    format!("{trimmed}/")
}

/// Returns the URL without a `/` at its end.
fn endpoint(reader: &mut Reader<'_>, text: &At<String>) -> Option<String> {
    let host = text.value.strip_prefix("https://").or_else(|| text.value.strip_prefix("http://"));
    let host = host.map(|host| host.trim_end_matches('/'));
    let wrong = match host {
        None => "it does not begin with `http://` or `https://`",
        Some("") => "it names no host",
        Some(host) if host.contains('@') => {
            "it contains a user or password; use `access_key_id` and `secret_access_key`"
        }
        Some(host) if host.contains(['/', '?', '#']) => "it has more than a host and a port",
        Some(host) if host.chars().any(|c| c.is_whitespace() || c.is_control()) => "it has a space in it",
        Some(_) => return Some(text.value.trim_end_matches('/').to_owned()),
    };
    // The text is not repeated, because it may have a password in it.
    reader.complain(
        Problem::new(format!("`endpoint` is not the URL of a service: {wrong}"))
            .at(&text.span, "here")
            .help("write one such as \"https://s3.example.com\" or \"http://127.0.0.1:9000\""),
    );
    None
}

fn credentials(reader: &mut Reader<'_>, table: &Table<'_>) -> (S3Credentials, Option<String>) {
    let chosen = reader.choice(table, "credentials", &settings::S3_CREDENTIALS, &[]);
    let chosen = chosen.map_or(S3Credentials::Default, |chosen| chosen.value);
    let profile = reader.string(table, "profile", "\"default\"");
    if let Some(profile) = &profile
        && chosen != S3Credentials::Profile
    {
        reader.complain(
            Problem::new("`profile` has no effect")
                .at(&profile.span, "this profile")
                .help("add `credentials = \"profile\"`, or remove it"),
        );
    }
    (chosen, profile.map(|profile| profile.value))
}

fn secret(reader: &mut Reader<'_>, table: &Table<'_>, key: &str, example: &str) -> Option<SecretSource> {
    let text = reader.string(table, key, example)?;
    secrets::source(reader, key, &text)
}

/// Refuses one key without the other, and both if the credentials come from elsewhere.
fn check_keys(reader: &mut Reader<'_>, table: &Table<'_>, credentials: S3Credentials) {
    let keys = ["access_key_id", "secret_access_key"];
    let [id, secret] = keys.map(|key| table.get(key).is_some());
    let [mine, other] = if id { keys } else { [keys[1], keys[0]] };
    if !id && !secret {
        return;
    }
    if credentials != S3Credentials::Default {
        reader.complain(
            Problem::new(format!("`{mine}` has no effect: `credentials` says that they come from elsewhere"))
                .at(&table.key_span(mine), "this key")
                .help(format!("remove `{mine}`, or `credentials`")),
        );
    } else if !(id && secret) {
        reader.complain(
            Problem::new(format!("`{mine}` needs `{other}`"))
                .at(&table.key_span(mine), "alone")
                .help(format!("add `{other} = \"env:…\"`, or remove both to take the variables AWS_…")),
        );
    }
}
