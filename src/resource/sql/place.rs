//! Which rows a cursor belongs to.

use std::path::Path;

use serde_json::json;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::base::Digest;
use crate::manifest::{SqlDatabase, SqlFrom, SqlRows};

/// The port of PostgreSQL, unless the URL says otherwise.
const PORT: u16 = 5432;

/// Returns a digest of the database, the table or query, and the column that grows. How the host
/// connects does not matter, so a cursor stays valid when the user or `sslmode` changes. `state` is
/// the state folder: a file beside it may be moved together with it.
pub(super) fn digest(database: &SqlDatabase, rows: &SqlRows, state: &Path) -> Digest {
    let database = match database {
        SqlDatabase::Sqlite { path } => {
            let beside = state.parent().and_then(|folder| path.strip_prefix(folder).ok());
            json!(["sqlite", beside.unwrap_or(path).to_string_lossy()])
        }
        SqlDatabase::Postgres { url } => {
            SqlDatabase::server(url).map_or_else(|_| json!(["postgres", url]), |config| server(&config))
        }
    };
    let from = match &rows.from {
        SqlFrom::Table(name) => json!(["table", name]),
        SqlFrom::Query(query) => {
            json!(["query", query.trim().trim_end_matches(';').split_whitespace().collect::<Vec<_>>().join(" ")])
        }
    };
    Digest::of(json!(["sql", database, from, rows.high_water]).to_string().as_bytes())
}

fn server(config: &Config) -> serde_json::Value {
    let host = |host: &Host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.to_string_lossy().into_owned(),
    };
    let hosts: Vec<String> = config.get_hosts().iter().map(host).collect();
    let addresses: Vec<String> = config.get_hostaddrs().iter().map(ToString::to_string).collect();
    let ports = if config.get_ports().is_empty() { &[PORT] } else { config.get_ports() };
    // The options may name the schema.
    json!(["postgres", hosts, addresses, ports, config.get_dbname(), config.get_options()])
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::digest;
    use crate::manifest::{SqlDatabase, SqlFormat, SqlFrom, SqlRows};

    fn rows(from: SqlFrom) -> SqlRows {
        let span = Duration::from_secs(1);
        let (high_water, key) = ("id".to_owned(), Vec::new());
        SqlRows {
            from,
            high_water,
            key,
            overlap: span,
            interval: span,
            notify: None,
            max_rows: 1,
            format: SqlFormat::Jsonl,
        }
    }

    #[test]
    fn how_the_host_connects_does_not_matter_and_where_the_rows_are_does() {
        let of = |url: &str, rows: &SqlRows| {
            digest(&SqlDatabase::Postgres { url: url.to_owned() }, rows, Path::new("/p/state"))
        };
        let table = rows(SqlFrom::Table("t".to_owned()));
        let first = of("postgres://anna@db/lab", &table);
        for same in ["postgres://bob@db:5432/lab?sslmode=verify-full", "postgresql://anna@db/lab?application_name=x"] {
            assert_eq!(of(same, &table), first, "{same}");
        }
        for other in ["postgres://anna@db/real", "postgres://anna@other/lab", "postgres://anna@db:5433/lab"] {
            assert_ne!(of(other, &table), first, "{other}");
        }
        let other = [SqlFrom::Table("u".to_owned()), SqlFrom::Query("t".to_owned())].map(rows);
        assert!(other.iter().all(|rows| of("postgres://anna@db/lab", rows) != first));
        assert_ne!(of("postgres://anna@db/lab", &SqlRows { high_water: "at".to_owned(), ..table }), first);
    }

    #[test]
    fn a_pipeline_may_be_moved_with_its_database_and_a_query_may_be_laid_out_anew() {
        let of = |path: &str, query: &str, state: &str| {
            let rows = rows(SqlFrom::Query(query.to_owned()));
            digest(&SqlDatabase::Sqlite { path: path.into() }, &rows, Path::new(state))
        };
        let first = of("/p/data/lab.db", "select *\nfrom t;", "/p/state");
        assert_eq!(of("/moved/data/lab.db", "select * from t", "/moved/state"), first);
        assert_ne!(of("/p/data/other.db", "select * from t", "/p/state"), first);
        assert_ne!(of("/elsewhere/data/lab.db", "select * from t", "/p/state"), first);
        assert_ne!(of("/p/data/lab.db", "select id from t", "/p/state"), first);
    }
}
