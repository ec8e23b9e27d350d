//! `[openlineage.NAME]`: where events for tools that read OpenLineage go.

use super::super::keys;
use super::super::openlineage::{DEFAULT_NAMESPACE, LineageTarget, OpenLineageSpec};
use super::super::problem::{Problem, quoted};
use super::super::secret::UrlSource;
use super::super::tree::{At, Reader, Table};
use super::UncheckedOpenLineage;
use super::secrets::{secret_parameter, source};

/// The most characters of a namespace.
const MAX_NAMESPACE: usize = 200;

pub(super) fn read(reader: &mut Reader<'_>, name: At<String>, table: &Table<'_>) -> UncheckedOpenLineage {
    let table = &reader.section(table, &keys::OPENLINEAGE);
    let url = reader.string(table, "url", "\"https://lineage.example.com/api/v1/lineage\"");
    let path = reader.string(table, "path", "\"lineage.jsonl\"");
    let key = reader.string(table, "api_key", "\"env:OPENLINEAGE_API_KEY\"");
    let api_key = key.and_then(|text| source(reader, "api_key", &text));
    let namespace = namespace(reader, table);
    if table.get("api_key").is_some() && table.get("url").is_none() && !reader.is_meant(table, "url") {
        let problem = Problem::new("`api_key` is given without `url`").at(&table.key_span("api_key"), "has no effect");
        reader.complain(problem.help("remove it, or add the `url` of the endpoint that wants it"));
    }
    let target = match (url, &path) {
        (Some(_), Some(path)) => {
            let problem = Problem::new(format!("{} has both `url` and `path`", table.name));
            let help = "give each receiver a table of its own";
            reader.complain(problem.at(&path.span, "the second receiver").help(help));
            None
        }
        (Some(text), None) => address(reader, &text).map(|url| LineageTarget::Http { url, api_key }),
        (None, Some(path)) => Some(LineageTarget::File { path: path.value.clone().into() }),
        (None, None) => {
            let is_there = table.get("url").is_some() || table.get("path").is_some();
            if !is_there && !reader.is_meant(table, "url") && !reader.is_meant(table, "path") {
                let problem = Problem::new(format!("{} does not say where the events go", table.name));
                let help = "add `url = \"https://lineage.example.com/api/v1/lineage\"`, or `path = \"lineage.jsonl\"`";
                reader.complain(problem.at(&table.at, "here").help(help));
            }
            None
        }
    };
    let spec = target.map(|target| OpenLineageSpec { name: name.value, namespace, target });
    UncheckedOpenLineage { spec, path }
}

fn namespace(reader: &mut Reader<'_>, table: &Table<'_>) -> String {
    let Some(text) = reader.string(table, "namespace", "\"team-a\"") else { return DEFAULT_NAMESPACE.to_owned() };
    if text.value.trim().is_empty() || text.value.chars().count() > MAX_NAMESPACE {
        let problem = Problem::new(format!("{} is not a namespace", quoted(&text.value))).at(&text.span, "here");
        reader
            .complain(problem.help(format!("write a text of at most {MAX_NAMESPACE} characters, such as \"team-a\"")));
    }
    text.value
}

/// Reads the address of an endpoint, which may be a secret. Messages do not contain it.
fn address(reader: &mut Reader<'_>, text: &At<String>) -> Option<UrlSource> {
    if text.value.starts_with("env:") {
        return source(reader, "url", text).map(UrlSource::Secret);
    }
    let wrong = match reqwest::Url::parse(&text.value) {
        Err(error) => error.to_string(),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => "it is neither `https://…` nor `http://…`".to_owned(),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => "it contains a password".to_owned(),
        Ok(url) if secret_parameter(&url).is_some() => "it contains a secret".to_owned(),
        Ok(_) => return Some(UrlSource::Plain(text.value.clone())),
    };
    let help = "write one such as \"https://lineage.example.com/api/v1/lineage\", or \"env:OPENLINEAGE_URL\" if it is a secret";
    reader.complain(Problem::new(format!("`url` cannot be used: {wrong}")).at(&text.span, "here").help(help));
    None
}
