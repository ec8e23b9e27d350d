//! A resource of kind `sql`.

use std::path::PathBuf;

use toml::Spanned;
use toml::de::DeValue;

use crate::manifest::problem::{Problem, quoted};
use crate::manifest::read::path::checked_path;
use crate::manifest::read::{postgres, refuse_twice, secrets};
use crate::manifest::secret::SecretSource;
use crate::manifest::settings;
use crate::manifest::sql::{SqlDatabase, SqlFormat, SqlFrom, SqlRows, SqlSpec};
use crate::manifest::tree::{At, Reader, Table};

/// The keys about the rows of a database that is watched.
const ROWS: [&str; 10] =
    ["table", "query", "high_water", "key", "overlap", "interval", "notify", "max_rows", "format", "trigger"];
const URL: &str = "\"postgres://anna@db.example.com/lab\"";
const FORMS: &str = "write \"sqlite:data/app.db\", or \"postgres://anna@db.example.com/lab\"";

/// Reads the settings. Also returns the path of the file of SQLite, as written.
pub(super) fn read(reader: &mut Reader<'_>, table: &Table<'_>) -> (Option<SqlSpec>, Option<At<String>>) {
    let url = reader.required_string(table, "url", URL);
    let (database, path) = match url.as_ref().and_then(|url| database(reader, url)) {
        Some((database, path)) => (Some(database), path),
        None => (None, None),
    };
    let on_server = !matches!(database, Some(SqlDatabase::Sqlite { .. }));
    let password = password(reader, table, on_server);
    if let (Some(SqlDatabase::Postgres { url }), Some(_)) = (&database, &password) {
        postgres::refuse_open_password(reader, table, url);
    }
    let rows = if is_watched(reader, table) { rows(reader, table, on_server) } else { None };
    let keep = reader.size_or_default(table, "keep");
    let max_kept = reader.size_or_default(table, "max_kept");
    let spec = database.map(|database| SqlSpec { database, password, rows, keep, max_kept });
    (spec, path)
}

/// Reads the URL. Also returns the path in it.
fn database(reader: &mut Reader<'_>, url: &At<String>) -> Option<(SqlDatabase, Option<At<String>>)> {
    if let Some(path) = url.value.strip_prefix("sqlite:") {
        if path.starts_with("//") {
            // Other programs write two slashes before a relative path, and three before an
            // absolute one.
            let path = format!("sqlite:{}", path.trim_start_matches("//"));
            let problem = Problem::new("the path of a database follows `sqlite:` directly").at(&url.span, "here");
            reader.complain(problem.help(format!("write {}", quoted(&path))));
            return None;
        }
        let path = checked_path(reader, Some(At { value: path.to_owned(), span: url.span.clone() }))?;
        return Some((SqlDatabase::Sqlite { path: PathBuf::new() }, Some(path)));
    }
    let problem = if url.value.starts_with("postgres://") || url.value.starts_with("postgresql://") {
        match postgres::check(&url.value, FORMS) {
            Ok(()) => return Some((SqlDatabase::Postgres { url: url.value.clone() }, None)),
            // Without the text, because there may be a password in it.
            Err((wrong, help)) => Problem::new(wrong).at(&url.span, "here").help(help),
        }
    } else {
        let scheme = url.value.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| scheme.len() < 20);
        let what = scheme.map_or_else(
            || "this is not the URL of a database".to_owned(),
            |scheme| format!("databases of the kind {} are not supported", quoted(scheme)),
        );
        Problem::new(what).at(&url.span, "here").help(FORMS)
    };
    reader.complain(problem);
    None
}

fn password(reader: &mut Reader<'_>, table: &Table<'_>, on_server: bool) -> Option<SecretSource> {
    let text = reader.string(table, "password", "\"env:PGPASSWORD\"")?;
    if !on_server {
        let problem = Problem::new("a SQLite database has no password").at(&table.key_span("password"), "here");
        reader.complain(problem.help("remove it"));
        return None;
    }
    secrets::source(reader, "password", &text)
}

fn rows(reader: &mut Reader<'_>, table: &Table<'_>, on_server: bool) -> Option<SqlRows> {
    let from = from(reader, table);
    let high_water = reader.required_string(table, "high_water", "\"id\"");
    let key = reader.strings(table, "key", "[\"id\"]");
    refuse_twice(reader, "key", &key);
    let overlap = reader.duration_or_default(table, "overlap");
    let interval = reader.duration_or_default(table, "interval");
    let max_rows = reader.integer_or_default(table, "max_rows");
    let format = reader.choice(table, "format", &settings::SQL_FORMAT, &[]);
    let notify = reader.string(table, "notify", "\"readings\"");
    if notify.is_some() && !on_server {
        let problem = Problem::new("a SQLite database sends no notifications").at(&table.key_span("notify"), "here");
        reader.complain(problem.help("remove it: the host sees by itself when another program has written"));
    }
    for (key, name) in [("high_water", &high_water), ("notify", &notify)] {
        refuse_empty(reader, key, name.as_ref());
    }
    Some(SqlRows {
        from: from?,
        high_water: high_water?.value,
        key: key.into_iter().map(|column| column.value).collect(),
        overlap,
        interval,
        notify: notify.map(|channel| channel.value),
        max_rows,
        format: format.map_or(SqlFormat::Jsonl, |format| format.value),
    })
}

/// Reads `table` or `query`, exactly one of which is needed.
fn from(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<SqlFrom> {
    if table.get("table").is_some() && table.get("query").is_some() {
        reader.complain(
            Problem::new(format!("{} has both a `table` and a `query`", table.name))
                .at(&table.key_span("query"), "a query")
                .at(&table.key_span("table"), "and a table")
                .help("keep one of them: a query names its tables itself"),
        );
    }
    if table.get("query").is_some() {
        let query = reader.string(table, "query", "\"select * from readings\"");
        refuse_empty(reader, "query", query.as_ref());
        return query.map(|query| SqlFrom::Query(query.value));
    }
    let name = reader.required_string(table, "table", "\"readings\"");
    refuse_empty(reader, "table", name.as_ref());
    name.map(|name| SqlFrom::Table(name.value))
}

fn refuse_empty(reader: &mut Reader<'_>, key: &str, text: Option<&At<String>>) {
    if let Some(text) = text.filter(|text| text.value.trim().is_empty()) {
        reader.complain(Problem::new(format!("`{key}` is empty")).at(&text.span, "here"));
    }
}

/// Returns whether the rows are watched, which the keys about rows require.
fn is_watched(reader: &mut Reader<'_>, table: &Table<'_>) -> bool {
    let is_true = |value: &Spanned<DeValue<'_>>| value.get_ref().as_bool() != Some(false);
    if table.get("watch").is_some_and(is_true) {
        return true;
    }
    let Some(key) = ROWS.into_iter().find(|key| table.get(key).is_some()) else { return false };
    if table.get("watch").is_some() {
        let problem = Problem::new(format!("{} is not watched, and `{key}` is about watching it", table.name));
        reader.complain(problem.at(&table.key_span(key), "has no effect").help("write `watch = true`, or remove it"));
    } else {
        reader.missing(table, "watch", &format!("`watch = true`: `{key}` is about watching it"));
    }
    true
}
