//! The keys of the kind `http`.

use std::collections::BTreeMap;

use reqwest::Url;
use toml::de::DeValue;

use crate::manifest::http::{HttpForm, HttpMethod, HttpSpec, HttpValue, Paging};
use crate::manifest::keys;
use crate::manifest::problem::{Problem, quoted};
use crate::manifest::read::secrets;
use crate::manifest::settings;
use crate::manifest::tree::{At, Reader, Table};

const URL: &str = "\"https://api.example.com/items\"";

/// Keys that have an effect only if the host polls an endpoint.
const POLLED: [&str; 3] = ["path", "interval", "paging"];
/// Keys that have an effect only if the host sends requests.
const REQUESTING: [&str; 3] = ["headers", "query", "timeout"];

/// Reads an endpoint.
pub(super) fn read(reader: &mut Reader<'_>, table: &Table<'_>) -> HttpSpec {
    let form = form(reader, table);
    let headers = values(reader, table, "headers", "{ authorization = \"env:API_TOKEN\" }", header);
    let query = values(reader, table, "query", "{ key = \"env:API_KEY\" }", |_, name, _| Some(name.value.clone()));
    in_the_open(reader, table, &form, headers.values().chain(query.values()));
    let max_body = reader.size_or_default(table, "max_body");
    let keep = reader.size_or_default(table, "keep");
    let max_kept = reader.size_or_default(table, "max_kept");
    let timeout = reader.duration_or_default(table, "timeout");
    HttpSpec { form, headers, query, max_body, keep, max_kept, timeout }
}

fn form(reader: &mut Reader<'_>, table: &Table<'_>) -> HttpForm {
    let push = reader.boolean(table, "push");
    let method = reader.choice(table, "method", &settings::HTTP_METHOD, &[]);
    if let Some(push) = push.filter(|push| push.value) {
        let why = "and other programs upload its artifacts";
        for key in ["url", "method"].iter().chain(&POLLED).chain(&REQUESTING) {
            no_effect(reader, table, key, &push, why);
        }
        return HttpForm::Push;
    }
    if table.get("url").is_none() && !reader.is_meant(table, "url") {
        reader.complain(
            Problem::new(format!("`url` is missing in {}", table.name))
                .at(&table.at, "here")
                .help(format!("add `url = {URL}`, or `push = true` if other programs upload its artifacts")),
        );
    }
    let url = reader.string(table, "url", URL).and_then(|text| url(reader, &text));
    let Some(method) = method else { return polled(reader, table, url) };
    for key in POLLED {
        no_effect(reader, table, key, &method, "and outputs are sent to it");
    }
    sent(reader, table, url, &method)
}

fn sent(reader: &mut Reader<'_>, table: &Table<'_>, url: Option<Url>, method: &At<HttpMethod>) -> HttpForm {
    if table.get("watch").is_some_and(|watch| matches!(watch.get_ref(), DeValue::Boolean(true))) {
        reader.complain(
            Problem::new(format!("{} is watched, and outputs are sent to it", table.name))
                .at(&table.key_span("watch"), "watched")
                .at(&method.span, "an output")
                .help("make two resources of it: one that is watched, and one with `method`"),
        );
    }
    HttpForm::Send { url: url.map(String::from).unwrap_or_default(), method: method.value }
}

fn polled(reader: &mut Reader<'_>, table: &Table<'_>, url: Option<Url>) -> HttpForm {
    let interval = reader.duration_or_default(table, "interval");
    let path = reader.string(table, "path", "\"items.json\"");
    if let Some(path) = &path
        && let Some(wrong) = wrong_path(&path.value)
    {
        reader.complain(
            Problem::new(format!("{} cannot be the path of an artifact: {wrong}", quoted(&path.value)))
                .at(&path.span, "here")
                .help("write a name such as \"items.json\""),
        );
    }
    HttpForm::Poll {
        path: path.map_or_else(|| last_segment(url.as_ref()), |path| path.value),
        url: url.map(String::from).unwrap_or_default(),
        interval,
        paging: paging(reader, table),
    }
}

fn no_effect<T>(reader: &mut Reader<'_>, table: &Table<'_>, key: &str, because: &At<T>, why: &str) {
    if table.get(key).is_some() {
        reader.complain(
            Problem::new(format!("`{key}` has no effect in {}", table.name))
                .at(&table.key_span(key), "has no effect")
                .at(&because.span, why)
                .help("remove one of them"),
        );
    }
}

/// The room that a path leaves for the number of a page.
const MAX_NAME_BYTES: usize = 200;

fn wrong_path(path: &str) -> Option<&'static str> {
    if path.starts_with('/') || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        Some("a part of it is empty, `.` or `..`")
    } else if path.chars().any(char::is_control) || path.len() > MAX_NAME_BYTES {
        Some("it has a control character in it, or more than 200 bytes")
    } else {
        None
    }
}

/// Returns the last segment of a URL, or `body` if it has none that can be a path.
fn last_segment(url: Option<&Url>) -> String {
    let segment = url.and_then(|url| url.path_segments()?.rfind(|segment| !segment.is_empty()).map(str::to_owned));
    segment.filter(|segment| wrong_path(segment).is_none()).unwrap_or_else(|| "body".to_owned())
}

fn url(reader: &mut Reader<'_>, text: &At<String>) -> Option<Url> {
    let (wrong, help) = match Url::parse(&text.value) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            ("it does not begin with `https://` or `http://`", format!("write one such as {URL}"))
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => (
            "it contains a user or password",
            "write them as a header: `headers = { authorization = \"env:API_TOKEN\" }`".to_owned(),
        ),
        Ok(url) if url.fragment().is_some() => {
            ("it has a `#` in it", "a server never sees what follows: remove it".to_owned())
        }
        Ok(url) if url.host_str().is_some() => {
            let Some(name) = secrets::secret_parameter(&url) else { return Some(url) };
            let name = quoted(&name);
            let name = name.trim_matches('`');
            reader.complain(
                Problem::new(format!(
                    "the parameter `{name}` in `url` holds a secret, which a manifest must not contain"
                ))
                .at(&text.span, "here")
                .help(format!("remove it from `url`, and write `query = {{ {name} = \"env:API_KEY\" }}`")),
            );
            return Some(url);
        }
        _ => ("it is not an address", format!("write one such as {URL}")),
    };
    // The text is not repeated, because it may have a password in it.
    reader.complain(Problem::new(format!("`url` cannot be used: {wrong}")).at(&text.span, "here").help(help));
    None
}

fn paging(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<Paging> {
    let example = "`paging = \"link\"`, or `paging = { param = \"after\", field = \"next\" }`";
    let value = table.get("paging")?;
    if matches!(value.get_ref(), DeValue::String(_)) {
        return reader.choice(table, "paging", &settings::PAGING, &[]).map(|_| Paging::Link);
    }
    let inside = reader.table(table, "paging", format!("`paging` of {}", table.name), &keys::PAGING, example)?;
    let param = reader.required_string(&inside, "param", "\"after\"")?;
    let field = reader.required_string(&inside, "field", "\"next\"")?;
    let names: Vec<String> = field.value.split('.').map(str::to_owned).collect();
    for (text, wrong) in [(&param, param.value.is_empty()), (&field, names.iter().any(String::is_empty))] {
        if wrong {
            reader.complain(
                Problem::new("a name in `paging` is empty").at(&text.span, "here").help(format!("write {example}")),
            );
        }
    }
    Some(Paging::Cursor { param: param.value, field: names })
}

/// Reads a table of headers or parameters. `name` checks a name, and returns how it is recorded.
fn values(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    key: &str,
    example: &str,
    name: impl Fn(&mut Reader<'_>, &At<String>, &At<String>) -> Option<String>,
) -> BTreeMap<String, HttpValue> {
    let mut found = BTreeMap::new();
    let Some(value) = table.get(key) else { return found };
    let title = format!("`{key}` of {}", table.name);
    let Some(inside) = reader.open_table(title, table.key_span(key), value, &format!("`{key} = {example}`")) else {
        return found;
    };
    for (at, value) in inside.in_order() {
        let at = At { value: at.value.to_owned(), span: at.span };
        let Some(text) = reader.string_value(&quoted(&at.value), value, &format!("{key} = {example}")) else {
            continue;
        };
        let Some(known_as) = name(reader, &at, &text) else { continue };
        let value = if text.value.starts_with("env:") {
            let Some(source) = secrets::source(reader, &at.value, &text) else { continue };
            HttpValue::Secret(source)
        } else if secrets::names_secret(&at.value) {
            reader.complain(literal(key, &at, &text));
            continue;
        } else {
            HttpValue::Plain(text.value)
        };
        if found.insert(known_as, value).is_some() {
            reader.complain(
                Problem::new(format!("the header {} appears twice", quoted(&at.value)))
                    .at(&at.span, "again, in other letters"),
            );
        }
    }
    found
}

/// Returns the problem of a secret whose value is in the manifest, which is on record. The message
/// does not contain the value.
fn literal(key: &str, name: &At<String>, value: &At<String>) -> Problem {
    let message = format!("{} in `{key}` holds a secret, and does not say where its value is", quoted(&name.value));
    let help = "name a variable of the host's environment, such as \"env:API_TOKEN\", which has the whole value; a manifest must not contain it";
    Problem::new(message).at(&value.span, "here").help(help)
}

/// Refuses secrets that would be sent in plain text over a network.
fn in_the_open<'v>(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    form: &HttpForm,
    mut values: impl Iterator<Item = &'v HttpValue>,
) {
    let (HttpForm::Poll { url, .. } | HttpForm::Send { url, .. }) = form else { return };
    let Ok(url) = Url::parse(url) else { return };
    if url.scheme() == "https" || is_this_machine(&url) || !values.any(|value| matches!(value, HttpValue::Secret(_))) {
        return;
    }
    reader.complain(
        Problem::new(format!("a secret of {} would be sent in plain text", table.name))
            .at(&table.key_span("url"), "without TLS, to another machine")
            .help("write `https://`"),
    );
}

fn is_this_machine(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

/// Headers that the host itself sets, besides those of every request.
const OWN: [&str; 5] = ["idempotency-key", "content-digest", "if-none-match", "if-modified-since", "accept-encoding"];

fn header(reader: &mut Reader<'_>, name: &At<String>, value: &At<String>) -> Option<String> {
    let known_as = secrets::header_name(reader, name)?;
    let wrong = if OWN.contains(&known_as.as_str()) {
        Some("which the host sets itself")
    } else if !value.value.bytes().all(|c| (b' '..=b'~').contains(&c)) {
        Some("whose value contains characters other than ASCII letters, digits, punctuation and spaces")
    } else {
        None
    };
    let Some(wrong) = wrong else { return Some(known_as) };
    reader.complain(
        Problem::new(format!("{} is a header {wrong}", quoted(&name.value)))
            .at(&name.span, "here")
            .help("remove or change it"),
    );
    None
}
