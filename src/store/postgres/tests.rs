//! Tests of what only the PostgreSQL store does, and the suite that every kind of store passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_postgres::NoTls;

use super::migrations::SCRIPTS;
use super::{PostgresStore, read_holder, steps};
use crate::base::Timestamp;
use crate::model::{Durability, Observation};
use crate::store::conformance::{LossyStoreFactory, StoreFactory, World, conformance};
use crate::store::{Batch, GuestRecords as _, HostLease as _, Loss, MetadataStore, PageRequest, Result, StoreError};

#[path = "../../../tests/suite/support/postgres_server.rs"]
#[expect(dead_code, reason = "only the suite needs the certificate, and stops servers")]
pub(in crate::store) mod postgres_server;

/// A schema of its own for one test. The server, and with it the schema, is removed when the
/// process ends.
pub(super) struct Schema {
    name: String,
}

impl Schema {
    pub(super) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        Self { name: format!("Test-{}", NUMBER.fetch_add(1, Ordering::Relaxed)) }
    }

    /// The URL of the database. The connections of the store have the name of the schema.
    pub(super) fn url(&self) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{}/postgres?application_name={}",
            postgres_server::server().port,
            self.name
        )
    }

    /// The name of the schema.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    async fn try_host(&self) -> Result<Arc<PostgresStore>> {
        PostgresStore::open(&self.url(), None, &self.name, Durability::Normal, now()).await
    }

    async fn host(&self) -> Arc<PostgresStore> {
        self.try_host().await.unwrap()
    }

    /// Executes SQL beside the store.
    async fn execute(&self, sql: &str) {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", postgres_server::server().port);
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        client.batch_execute(&format!("SET search_path TO \"{}\"; {sql}", self.name)).await.unwrap();
        connection.abort();
    }

    /// Ends all connections of the stores of this schema, as a restart of the server does.
    async fn disconnect(&self) {
        let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name";
        self.execute(&format!("{all} = '{}'", self.name)).await;
    }
}

#[async_trait]
impl StoreFactory for Schema {
    async fn open(&self) -> Arc<dyn MetadataStore> {
        self.host().await
    }
}

fn now() -> Timestamp {
    Timestamp::from_micros(1_772_366_400_000_000)
}

pub(super) async fn world() -> World {
    World::new(Box::new(Schema::new())).await
}

mod suite {
    use super::conformance;

    conformance!(super::super::world);
}

async fn lossy_world() -> World {
    World::new(Box::new(LossyStoreFactory(Schema::new()))).await
}

mod suite_with_lost_answers {
    use super::conformance;

    conformance!(super::super::lossy_world);
}

fn file(path: &str) -> Observation {
    Observation::Present { path: path.to_owned(), digest: None, size: 1, stamp: "s".to_owned() }
}

async fn record(store: &PostgresStore, path: &str) -> Result<u64> {
    Ok(store.record("raw", Batch::new(vec![file(path)], u64::MAX), now()).await?.new)
}

#[tokio::test]
async fn texts_with_any_character_come_back_and_are_in_byte_order() {
    let schema = Schema::new();
    let store = schema.host().await;
    let paths = ["a\0", "a\0b", "a\u{1}", "a\u{1}\u{2}", "a\u{2}", "aB", "aa", "ab", "aß", "a\u{10ffff}"];
    let seen = paths.iter().rev().map(|path| file(path)).collect();
    store.record("raw", Batch::new(seen, u64::MAX), now()).await.unwrap();
    let mut found: Vec<String> = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.known("raw", PageRequest { cursor, limit: 3 }).await.unwrap();
        found.extend(page.items.into_iter().map(|known| known.path));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found, paths);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_host_is_refused_and_told_about_the_first() {
    let schema = Schema::new();
    assert_eq!(read_holder(&schema.url(), None, &schema.name).await.unwrap(), None);
    let store = schema.host().await;
    store.announce("127.0.0.1:8123").await.unwrap();
    let Err(StoreError::InUse { store: which, holder }) = schema.try_host().await else {
        panic!("two hosts opened the same store")
    };
    assert_eq!(which, format!("the schema `{}` in {}", schema.name, schema.url()));
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let expected =
        format!("process {} on {} since {} (listening on 127.0.0.1:8123)", std::process::id(), machine.trim(), now());
    assert_eq!(holder, expected);
    let holder = read_holder(&schema.url(), None, &schema.name).await.unwrap().unwrap();
    assert_eq!(holder.listen.as_deref(), Some("127.0.0.1:8123"));
    assert_eq!(store.epoch(), 1, "the refused host changed nothing");
    drop(store);
    assert_eq!(read_holder(&schema.url(), None, &schema.name).await.unwrap(), None);
    assert_eq!(schema.host().await.epoch(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_another_one_has_taken_over_is_told_and_writes_nothing() {
    let schema = Schema::new();
    let old = schema.host().await;
    record(&old, "a").await.unwrap();
    // As if the old host had been cut off for so long that its lease has ended. It may renew the
    // lease in between.
    let new = loop {
        schema.execute("UPDATE host SET until = now() - interval '1 second'").await;
        match schema.try_host().await {
            Err(StoreError::InUse { .. }) => {}
            opened => break opened.unwrap(),
        }
    };
    let error = record(&old, "b").await.unwrap_err();
    let by = format!("process {} on ", std::process::id());
    let said = error.to_string();
    assert!(said.starts_with(&format!("another host has taken over the schema `{}` in ", schema.name)), "{said}");
    assert!(said.contains(&by) && said.contains("nothing that it writes is kept any more"), "{said}");
    let loss = tokio::time::timeout(Duration::from_secs(20), old.lost()).await.unwrap();
    assert!(matches!(&loss, Loss::Host { by: holder, .. } if holder.starts_with(&by)), "{loss:?}");
    drop(old);
    assert_eq!(record(&new, "c").await.unwrap(), 1, "the old host does not give the lease of the new one back");
    assert!(read_holder(&schema.url(), None, &schema.name).await.unwrap().is_some());
    let paths = new.known("raw", PageRequest { cursor: None, limit: 10 }).await.unwrap().items;
    assert_eq!(paths.iter().map(|known| known.path.as_str()).collect::<Vec<_>>(), ["a", "c"]);
}

/// A host that is killed does not give its lease back. The next one waits until it has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_is_not_renewed_ends_within_seconds() {
    let schema = Schema::new();
    drop(schema.host().await);
    schema.execute("UPDATE host SET holder = '{}', until = now() + interval '3 seconds'").await;
    let start = Instant::now();
    let store = schema.host().await;
    assert_eq!(store.epoch(), 2);
    assert!(start.elapsed() > Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_is_not_renewed_ends_even_if_the_clock_of_the_server_was_set_back() {
    let schema = Schema::new();
    drop(schema.host().await);
    schema.execute("UPDATE host SET holder = '{}', until = now() + interval '1 hour'").await;
    let start = Instant::now();
    let opened = tokio::time::timeout(Duration::from_secs(40), schema.host()).await;
    assert_eq!(opened.expect("the lease ends long before the hour is over").epoch(), 2);
    assert!(start.elapsed() > Duration::from_secs(9), "it may still be renewed: {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_goes_on_after_its_connections_were_lost() {
    let schema = Schema::new();
    let store = schema.host().await;
    record(&store, "a").await.unwrap();
    for round in 0..3 {
        schema.disconnect().await;
        let path = format!("b{round}");
        let batch = Batch::new(vec![file(&path)], u64::MAX);
        let deadline = Instant::now() + Duration::from_secs(20);
        let recorded = loop {
            match store.record("raw", batch.clone(), now()).await {
                Err(StoreError::Unavailable { .. }) => assert!(Instant::now() < deadline),
                answer => break answer.unwrap(),
            }
        };
        assert_eq!(recorded.new, 1);
    }
    assert_eq!(store.pending("raw").await.unwrap().count, 4);
    let events = store.events(0, None, 100).await.unwrap();
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), (1..=5).collect::<Vec<_>>());
    assert_eq!(*store.newest_event().borrow(), 5);
}

/// With `synchronous_commit = off`, a server that crashes forgets the commits of the last moments.
#[tokio::test]
async fn a_host_ends_when_the_server_has_forgotten_commits() {
    let schema = Schema::new();
    let store = schema.host().await;
    record(&store, "a").await.unwrap();
    for counter in ["seq", "event"] {
        schema.execute(&format!("UPDATE meta SET {counter} = {counter} - 1")).await;
        let said = record(&store, "b").await.unwrap_err().to_string();
        assert_eq!(
            said,
            format!(
                "the schema `{}` in {} has less on record than it had confirmed, because its server crashed, or was restored \
                 from a backup; this host has stopped, because numbers that it gave would get another meaning; run \
                 `anacostia run` again: it goes on from what is on record",
                schema.name,
                schema.url()
            )
        );
        schema.execute(&format!("UPDATE meta SET {counter} = {counter} + 1")).await;
    }
    let lost = tokio::time::timeout(Duration::from_secs(20), store.lost()).await.unwrap();
    assert!(matches!(lost, Loss::Forgotten(_)), "{lost:?}");
    record(&store, "b").await.unwrap();
}

#[tokio::test]
async fn a_write_or_a_read_that_panics_is_undone_and_the_store_goes_on() {
    let schema = Schema::new();
    let store = schema.host().await;
    for _ in 0..3 {
        let written = store
            .write::<()>(steps::TICK, |tx| {
                Box::pin(async move {
                    tx.db.later("INSERT INTO claims VALUES (gen_random_uuid(), 1)", &[]);
                    tx.at.event += 1;
                    tx.db.execute("UPDATE meta SET paused = true WHERE one", &[]).await?;
                    panic!("no luck")
                })
            })
            .await;
        let read = store.read::<()>("read a tick", |_| Box::pin(async { panic!("no luck") })).await;
        let [written, read] = [written, read].map(|result| result.unwrap_err().to_string());
        let why = "it panicked, which is a bug in Anacostia: no luck";
        assert_eq!(written, format!("the metadata store failed to record a tick: {why}"));
        assert_eq!(read, format!("the metadata store failed to read a tick: {why}"));
    }
    assert!(!store.paused().await.unwrap());
    record(&store, "a").await.unwrap();
    let events = store.events(0, None, 100).await.unwrap();
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2], "no number is missing");
}

#[tokio::test]
async fn a_newer_schema_and_one_of_another_program_are_refused() {
    let schema = Schema::new();
    assert!(PostgresStore::open_read_only(&schema.url(), None, &schema.name).await.unwrap().is_none());
    drop(schema.host().await);
    let refused = async || schema.try_host().await.unwrap_err().to_string();
    let place = format!("the metadata store is not readable: the schema `{}` in {}", schema.name, schema.url());
    schema.execute("UPDATE schema_version SET version = 7").await;
    let text = format!(
        "{place}: it has version 7 of the schema, and this anacostia knows up to {}; use the newer anacostia that wrote it",
        SCRIPTS.len()
    );
    assert_eq!(refused().await, text);
    let read = PostgresStore::open_read_only(&schema.url(), None, &schema.name).await;
    assert_eq!(read.unwrap_err().to_string(), text);
    schema
        .execute(&format!("DROP SCHEMA \"{0}\" CASCADE; CREATE SCHEMA \"{0}\"; CREATE TABLE meta (x int)", schema.name))
        .await;
    let text =
        format!("{place}: it belongs to another program; set `metadata_store.schema` to a name that is not in use yet");
    assert_eq!(refused().await, text);
}

#[tokio::test]
async fn a_store_that_is_open_for_reading_refuses_writes_and_sees_those_of_the_host() {
    let schema = Schema::new();
    let host = schema.host().await;
    let reader = PostgresStore::open_read_only(&schema.url(), None, &schema.name).await.unwrap().unwrap();
    record(&host, "a").await.unwrap();
    assert_eq!(reader.pending("raw").await.unwrap().count, 1);
    assert_eq!(
        record(&reader, "b").await.unwrap_err().to_string(),
        format!(
            "failed to record what a resource saw: the schema `{}` in {} is open for reading only; ask the host that has it, \
             or stop that host first",
            schema.name,
            schema.url()
        )
    );
}

#[tokio::test]
async fn a_server_that_is_away_is_named_without_the_password() {
    let url = "postgres://anna@127.0.0.1:1/lab";
    let error = PostgresStore::open(url, None, "anacostia", Durability::Normal, now()).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("the metadata store failed to connect to {url}: ")), "{error}");
    assert!(error.contains("onnection refused"), "{error}");
}

/// Commits that have to survive a power cut are synced with every durability.
#[tokio::test]
async fn durability_is_that_of_the_setting_or_of_the_commit() {
    let schema = Schema::new();
    for (durability, expected) in [(Durability::Normal, "off"), (Durability::Full, "on")] {
        let store = PostgresStore::open(&schema.url(), None, &schema.name, durability, now()).await.unwrap();
        for (synced, expected) in [(false, expected), (true, "on"), (false, expected)] {
            let level = store.write_synced(steps::PAUSE, synced, |tx| {
                Box::pin(async move {
                    tx.db.one("SELECT current_setting('synchronous_commit')", &[]).await?.get::<String>(0)
                })
            });
            assert_eq!(level.await.unwrap(), expected, "{durability:?}, {synced}");
        }
    }
}
