//! The names of artifacts in the conventions of OpenLineage, where there is one: by them, other
//! tools know the same file, object or table.

use reqwest::Url;

use super::http::{HttpForm, HttpSpec};
use super::pipeline::{ResourceKind, ResourceSpec};
use super::s3::S3Spec;
use super::sql::{SqlDatabase, SqlFrom, SqlSpec};

/// The name of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetName {
    /// Where it is: a scheme, with the server if there is one.
    pub namespace: String,
    /// Its name there.
    pub name: String,
    /// The URI of what it is part of.
    pub source: Option<String>,
}

impl ResourceSpec {
    /// Returns the name of the dataset at a path; `None` if there is no convention for such data.
    #[must_use]
    pub fn dataset(&self, path: &str) -> Option<DatasetName> {
        match &self.kind {
            ResourceKind::Folder(folder) => Some(DatasetName {
                namespace: "file".to_owned(),
                name: folder.path.join(path).display().to_string(),
                source: Url::from_directory_path(&folder.path).ok().map(Into::into),
            }),
            ResourceKind::S3(s3) => Some(object(s3, path)),
            ResourceKind::Http(http) => answer(http, path),
            ResourceKind::Sql(sql) => table(sql, &self.name),
        }
    }
}

impl DatasetName {
    /// A dataset on a server, which is its source.
    fn at(namespace: String, name: String) -> Self {
        Self { source: Some(namespace.clone()), namespace, name }
    }
}

fn object(s3: &S3Spec, path: &str) -> DatasetName {
    DatasetName::at(format!("s3://{}", s3.bucket), format!("{}{path}", s3.prefix))
}

fn answer(http: &HttpSpec, path: &str) -> Option<DatasetName> {
    let (HttpForm::Poll { url, .. } | HttpForm::Send { url, .. }) = &http.form else { return None };
    let url = Url::parse(url).ok()?;
    let name = format!("{}/{path}", url.path().trim_matches('/'));
    Some(DatasetName::at(url.origin().ascii_serialization(), name.trim_start_matches('/').to_owned()))
}

/// Returns the name of a table, or, if none is watched, that of the resource in its database.
fn table(sql: &SqlSpec, resource: &str) -> Option<DatasetName> {
    let table = sql.rows.as_ref().and_then(|rows| match &rows.from {
        SqlFrom::Table(table) => Some(table.as_str()),
        SqlFrom::Query(_) => None,
    });
    match &sql.database {
        SqlDatabase::Sqlite { path } => Some(DatasetName {
            namespace: "file".to_owned(),
            name: format!("{}/{}", path.display(), table.unwrap_or(resource)),
            source: Url::from_file_path(path).ok().map(Into::into),
        }),
        SqlDatabase::Postgres { url } => {
            let url = Url::parse(url).ok()?;
            let name = match table {
                Some(table) if table.contains('.') => table.to_owned(),
                Some(table) => format!("public.{table}"),
                None => resource.to_owned(),
            };
            let server = format!("postgres://{}:{}", url.host_str()?, url.port().unwrap_or(5432));
            Some(DatasetName::at(server, format!("{}.{name}", url.path().trim_matches('/'))))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::manifest::parse_pinned;

    #[test]
    fn each_kind_has_the_name_of_the_conventions() {
        let manifest = r#"
manifest_version = 1
[pipeline]
name = "p"
[resources.folder]
kind = "folder"
path = "data"
[resources.bucket]
kind = "s3"
bucket = "lab"
prefix = "raw/"
[resources.results]
kind = "http"
url = "https://api.example.com/results?x=1"
method = "POST"
[resources.ledger]
kind = "sql"
url = "postgres://me@db.example.com/books"
[resources.local]
kind = "sql"
url = "sqlite:lab.db"
[actions.a]
component = "a.wasm"
"#;
        let folder = Path::new("/lab");
        let pipeline = parse_pinned(manifest, folder, &folder.join("anacostia.toml"), &|_| None).unwrap();
        let name = |resource: &str| {
            let name = pipeline.resource(resource).unwrap().dataset("a/b.csv").unwrap();
            format!("{} {}", name.namespace, name.name)
        };
        assert_eq!(name("folder"), "file /lab/data/a/b.csv");
        assert_eq!(name("bucket"), "s3://lab raw/a/b.csv");
        assert_eq!(name("results"), "https://api.example.com results/a/b.csv");
        assert_eq!(name("ledger"), "postgres://db.example.com:5432 books.ledger");
        assert_eq!(name("local"), "file /lab/lab.db/local");
    }
}
