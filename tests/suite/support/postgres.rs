//! Databases of the PostgreSQL server that the tests of this process share: one for each test.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::{SinkExt as _, pin_mut};
use tokio::runtime::Runtime;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row};
use tokio_util::bytes::Bytes;

use super::postgres_server::{Server, server};

/// A database of its own for one test, with a connection to it. It is removed when this is dropped.
pub(crate) struct Database {
    port: u16,
    name: String,
    connection: Connection,
}

impl Database {
    pub(crate) fn new() -> Self {
        Self::on(server())
    }

    /// Makes a database on a server that the test may stop.
    pub(crate) fn on(server: &Server) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        Connection::new(server.port, "postgres").execute(&format!("create database {name}"));
        let connection = Connection::new(server.port, &name);
        Self { port: server.port, name, connection }
    }

    /// Connects again, after the server was stopped and started.
    pub(crate) fn reconnect(&mut self) {
        self.connection = self.connect();
    }

    /// Returns the port of the server on 127.0.0.1.
    pub(crate) fn port() -> u16 {
        server().port
    }

    /// Returns the certificate of the server, as PEM.
    pub(crate) fn certificate() -> &'static str {
        &server().certificate
    }

    /// Returns the URL of the database.
    pub(crate) fn url(&self) -> String {
        self.url_by_port(self.port)
    }

    /// Returns the URL of the database behind another port on 127.0.0.1, such as that of a proxy.
    pub(crate) fn url_by_port(&self, port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/{}", self.name)
    }

    /// Opens another connection to the database.
    pub(crate) fn connect(&self) -> Connection {
        Connection::new(self.port, &self.name)
    }

    /// Executes SQL, which may be several statements.
    #[track_caller]
    pub(crate) fn execute(&self, sql: &str) {
        self.connection.execute(sql);
    }

    /// Executes a `copy … from stdin` with these bytes.
    #[track_caller]
    pub(crate) fn copy(&self, sql: &str, bytes: Vec<u8>) {
        self.connection.copy(sql, bytes);
    }

    /// Returns the rows of a query.
    #[track_caller]
    pub(crate) fn query(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        self.connection.query(sql, params)
    }

    /// Ends the connections of other programs to this database, as a restart of the server does.
    pub(crate) fn disconnect_others(&self) {
        let all = "select pg_terminate_backend(pid) from pg_stat_activity \
                   where datname = current_database() and pid <> pg_backend_pid()";
        self.query(all, &[]);
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("drop database if exists {} with (force)", self.name);
        let done = Connection::new(self.port, "postgres").try_execute(&drop);
        // A panic in a drop would hide the reason of the test.
        let _ = done.inspect_err(|why| eprintln!("{} stays: {why}", self.name));
    }
}

/// A connection to a database. Its runtime also reads what the server sends between two calls.
pub(crate) struct Connection {
    client: Client,
    runtime: Runtime,
}

impl Connection {
    /// Connects to a database of the server at this port.
    pub(crate) fn new(port: u16, database: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut url = String::new();
        write!(url, "postgres://postgres@127.0.0.1:{port}/{database}").unwrap();
        let (client, connection) = runtime.block_on(tokio_postgres::connect(&url, NoTls)).unwrap();
        runtime.spawn(connection);
        Self { client, runtime }
    }

    fn try_execute(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.runtime.block_on(self.client.batch_execute(sql))
    }

    /// Executes SQL, which may be several statements.
    #[track_caller]
    pub(crate) fn execute(&self, sql: &str) {
        self.try_execute(sql).unwrap_or_else(|why| panic!("{sql}: {why:?}"));
    }

    /// Executes a `copy … from stdin` with these bytes.
    #[track_caller]
    fn copy(&self, sql: &str, bytes: Vec<u8>) {
        let copy = async {
            let sink = self.client.copy_in::<_, Bytes>(sql).await?;
            pin_mut!(sink);
            sink.send(bytes.into()).await?;
            sink.finish().await
        };
        self.runtime.block_on(copy).unwrap_or_else(|why| panic!("{sql}: {why:?}"));
    }

    /// Returns the rows of a query.
    #[track_caller]
    pub(crate) fn query(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        self.runtime.block_on(self.client.query(sql, params)).unwrap_or_else(|why| panic!("{sql}: {why:?}"))
    }
}
