//! Tests of what only the Redis store does, and the suite that every kind of store passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::arguments::written;
use super::reply::Reply;
use super::scripts::WRITE;
use super::{RedisStore, RedisUpkeep, artifacts, read_holder};
use crate::base::Timestamp;
use crate::model::Observation;
use crate::store::conformance::{LossyStoreFactory, StoreFactory, World, conformance};
use crate::store::{
    Batch, GuestRecords as _, HostLease as _, Loss, MetadataStore, PageRequest, Result, StoreError, Upkeep as _,
};

#[path = "../../../tests/suite/support/redis_server.rs"]
#[expect(dead_code, reason = "only the suite needs the certificate")]
pub(in crate::store) mod redis_server;

use redis_server::Server;

/// Keys of their own for one test. The server, and with it the keys, is removed when the process
/// ends.
pub(super) struct Keys {
    port: u16,
    pub(super) prefix: String,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self::on(redis_server::server())
    }

    fn on(server: &Server) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        Self { port: server.port, prefix: format!("test-{}", NUMBER.fetch_add(1, Ordering::Relaxed)) }
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// How errors name them.
    pub(super) fn place(&self) -> String {
        format!("the keys `{{{}}}:*` in {}", self.prefix, self.url())
    }

    pub(super) async fn try_host(&self) -> Result<Arc<RedisStore>> {
        RedisStore::open(&self.url(), None, &self.prefix, now()).await
    }

    pub(super) async fn host(&self) -> Arc<RedisStore> {
        self.try_host().await.unwrap()
    }

    /// What is wrong in the records.
    fn check(&self) -> Vec<String> {
        self.look_after(|upkeep| upkeep.check().unwrap())
    }

    /// Looks after the records, on a thread without a runtime.
    fn look_after<T: Send>(&self, work: impl FnOnce(&RedisUpkeep) -> T + Send) -> T {
        std::thread::scope(|scope| {
            let look = || work(&RedisUpkeep::open(&self.url(), None, &self.prefix).unwrap().unwrap());
            scope.spawn(look).join().unwrap()
        })
    }

    /// Sends a command beside the store. `{}` stands for the prefix with its braces.
    pub(super) async fn command(&self, command: &str) -> redis::Value {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut words = command.split(' ').map(|word| word.replace("{}", &format!("{{{}}}", self.prefix)));
        let mut command = redis::cmd(&words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        command.query_async(&mut connection).await.unwrap()
    }
}

#[async_trait]
impl StoreFactory for Keys {
    async fn open(&self) -> Arc<dyn MetadataStore> {
        self.host().await
    }
}

pub(super) fn now() -> Timestamp {
    Timestamp::from_micros(1_772_366_400_000_000)
}

/// Keys whose records must be whole at the end.
struct Whole(Keys);

#[async_trait]
impl StoreFactory for Whole {
    async fn open(&self) -> Arc<dyn MetadataStore> {
        self.0.host().await
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.0.check(), [""; 0]);
        }
    }
}

async fn world() -> World {
    World::new(Box::new(Whole(Keys::new()))).await
}

mod suite {
    use super::conformance;

    conformance!(super::super::world);
}

async fn lossy_world() -> World {
    World::new(Box::new(LossyStoreFactory(Whole(Keys::new())))).await
}

mod suite_with_lost_answers {
    use super::conformance;

    conformance!(super::super::lossy_world);
}

fn file(path: &str) -> Observation {
    Observation::Present { path: path.to_owned(), digest: None, size: 1, stamp: "s".to_owned() }
}

async fn record(store: &RedisStore, path: &str) -> Result<u64> {
    Ok(store.record("raw", Batch::new(vec![file(path)], u64::MAX), now()).await?.new)
}

#[tokio::test]
async fn texts_with_any_character_come_back_and_are_in_byte_order() {
    let keys = Keys::new();
    let store = keys.host().await;
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
    let keys = Keys::new();
    assert_eq!(read_holder(&keys.url(), None, &keys.prefix).await.unwrap(), None);
    let store = keys.host().await;
    store.announce("127.0.0.1:8123").await.unwrap();
    let Err(StoreError::InUse { store: which, holder }) = keys.try_host().await else {
        panic!("two hosts opened the same store")
    };
    assert_eq!(which, keys.place());
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let expected =
        format!("process {} on {} since {} (listening on 127.0.0.1:8123)", std::process::id(), machine.trim(), now());
    assert_eq!(holder, expected);
    let holder = read_holder(&keys.url(), None, &keys.prefix).await.unwrap().unwrap();
    assert_eq!(holder.listen.as_deref(), Some("127.0.0.1:8123"));
    assert_eq!(store.epoch(), 1, "the refused host changed nothing");
    drop(store);
    assert_eq!(read_holder(&keys.url(), None, &keys.prefix).await.unwrap(), None);
    assert_eq!(keys.host().await.epoch(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_another_one_has_taken_over_is_told_and_writes_nothing() {
    let keys = Keys::new();
    let old = keys.host().await;
    record(&old, "a").await.unwrap();
    // As if the old host had been cut off for so long that its lease has ended. It may renew the
    // lease in between.
    let new = loop {
        keys.command("DEL {}:lease").await;
        match keys.try_host().await {
            Err(StoreError::InUse { .. }) => {}
            opened => break opened.unwrap(),
        }
    };
    let said = record(&old, "b").await.unwrap_err().to_string();
    let by = format!("process {} on ", std::process::id());
    assert!(said.starts_with(&format!("another host has taken over {}: {by}", keys.place())), "{said}");
    assert!(said.contains("nothing that it writes is kept any more"), "{said}");
    let loss = tokio::time::timeout(Duration::from_secs(20), old.lost()).await.unwrap();
    assert!(matches!(&loss, Loss::Host { by: holder, .. } if holder.starts_with(&by)), "{loss:?}");
    drop(old);
    assert_eq!(record(&new, "c").await.unwrap(), 1, "the old host does not give the lease of the new one back");
    assert!(read_holder(&keys.url(), None, &keys.prefix).await.unwrap().is_some());
    let paths = new.known("raw", PageRequest { cursor: None, limit: 10 }).await.unwrap().items;
    assert_eq!(paths.iter().map(|known| known.path.as_str()).collect::<Vec<_>>(), ["a", "c"]);
}

/// A host that is killed does not give its lease back. The next one waits until it has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_is_not_renewed_ends_within_seconds() {
    let keys = Keys::new();
    drop(keys.host().await);
    keys.command("SET {}:lease 1.7 PX 3000").await;
    let start = Instant::now();
    assert_eq!(keys.host().await.epoch(), 2);
    assert!(start.elapsed() > Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_is_not_renewed_ends_even_if_the_clock_of_the_server_was_set_back() {
    let keys = Keys::new();
    drop(keys.host().await);
    keys.command("SET {}:lease 1.7 PX 3600000").await;
    let start = Instant::now();
    let opened = tokio::time::timeout(Duration::from_secs(40), keys.host()).await;
    assert_eq!(opened.expect("the lease ends long before the hour is over").epoch(), 2);
    assert!(start.elapsed() > Duration::from_secs(9), "it may still be renewed: {:?}", start.elapsed());
}

/// A server that was restored from a backup, or a replica that lacks the last writes.
#[tokio::test]
async fn a_host_ends_when_the_server_has_forgotten_writes() {
    let keys = Keys::new();
    let store = keys.host().await;
    record(&store, "a").await.unwrap();
    keys.command("HINCRBY {}:meta writes -1").await;
    let said = record(&store, "b").await.unwrap_err().to_string();
    let expected = format!("{} has less on record than it had confirmed, because its server crashed, ", keys.place());
    assert!(said.starts_with(&expected), "{said}");
    let lost = tokio::time::timeout(Duration::from_secs(20), store.lost()).await.unwrap();
    assert!(matches!(lost, Loss::Forgotten(_)), "{lost:?}");
    // All of it.
    let keys = Keys::new();
    let store = keys.host().await;
    keys.command("DEL {}:meta").await;
    assert!(matches!(record(&store, "b").await, Err(StoreError::Forgotten { .. })));
}

/// What the host wants from the server is said with the settings that are wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_may_lose_what_it_has_confirmed_is_refused() {
    let server = Server::start();
    let keys = Keys::on(&server);
    let refused = async || keys.try_host().await.unwrap_err().to_string();
    let told = |what: &str| {
        format!(
            "{} cannot be the metadata store, because the server may lose what it has confirmed: {what}; set this in \
             redis.conf, or by `redis-cli CONFIG SET` and then `CONFIG REWRITE`",
            keys.place()
        )
    };
    keys.command("CONFIG SET appendfsync everysec").await;
    assert_eq!(refused().await, told("`appendfsync` is `everysec`, and must be `always`"));
    keys.command("CONFIG SET appendonly no").await;
    keys.command("CONFIG SET maxmemory-policy allkeys-lru").await;
    assert_eq!(
        refused().await,
        told(
            "`appendonly` is `no`, and must be `yes`; `appendfsync` is `everysec`, and must be `always`; `maxmemory-policy` \
             is `allkeys-lru`, and must be `noeviction`"
        )
    );
    keys.command("CONFIG SET appendonly yes").await;
    keys.command("CONFIG SET appendfsync always").await;
    keys.command("CONFIG SET maxmemory-policy noeviction").await;
    keys.command("CONFIG SET no-appendfsync-on-rewrite yes").await;
    assert_eq!(refused().await, told("`no-appendfsync-on-rewrite` is `yes`, and must be `no`"));
    keys.command("ACL SETUSER default -config").await;
    let said = refused().await;
    assert!(said.contains("because the server does not tell its settings: "), "{said}");
    let wanted = "permit `CONFIG GET` to this user: Anacostia has to see `appendonly yes`, `appendfsync always`, \
                  `maxmemory-policy noeviction`, `no-appendfsync-on-rewrite no`";
    assert!(said.ends_with(wanted), "{said}");
}

/// A server may be started again with other settings while a host is running.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_writes_nothing_to_a_server_that_may_lose_it_since_it_was_started_again() {
    let server = Server::start();
    let keys = Keys::on(&server);
    let store = keys.host().await;
    record(&store, "a").await.unwrap();
    keys.command("CONFIG SET appendfsync everysec").await;
    keys.command("CLIENT KILL TYPE normal SKIPME yes").await;
    let deadline = Instant::now() + Duration::from_secs(30);
    let said = loop {
        let said = record(&store, "b").await.unwrap_err().to_string();
        if said.contains("`appendfsync` is `everysec`, and must be `always`") {
            break said;
        }
        assert!(Instant::now() < deadline, "{said}");
    };
    let begin = "the metadata store failed to record what a resource saw: the server may lose what it has confirmed: ";
    assert!(said.starts_with(begin), "{said}");
    assert_eq!(store.pending("raw").await.map(|pending| pending.count).ok(), None, "it is not used for reading either");
    keys.command("CONFIG SET appendfsync always").await;
    assert_eq!(repeated(&store, &Batch::new(vec![file("c")], u64::MAX)).await, 1);
    assert_eq!(store.pending("raw").await.unwrap().count, 2);
}

/// A write whose answer did not come may still be on its way when the host has repeated it over
/// another connection, and gone on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_arrives_after_its_repeat_is_refused() {
    let server = Server::start();
    let keys = Keys::on(&server);
    let store = keys.host().await;
    let batch = Batch::new(vec![file("a")], u64::MAX);
    let late = written(artifacts::batch("raw", &batch, now())).unwrap();
    keys.command("CLIENT KILL TYPE normal SKIPME yes").await;
    assert_eq!(repeated(&store, &batch).await, 1);
    let gone = Observation::Gone { path: "a".to_owned() };
    assert_eq!(repeated(&store, &Batch::new(vec![gone], u64::MAX)).await, 0);
    let more = [store.epoch().to_string(), "0".to_owned(), "0".to_owned()];
    let mut connection = store.place.connect().await.unwrap();
    let answer = store.place.call(&mut connection, &WRITE, ("record", &late), &more).await.unwrap();
    assert_eq!(Reply::of(answer).unwrap(), Reply::List(vec![Reply::Text("outdated".to_owned())]));
    assert_eq!(store.pending("raw").await.unwrap().count, 0, "the file is not there again");
}

#[tokio::test]
async fn other_records_under_the_same_prefix_are_refused() {
    let keys = Keys::new();
    assert!(RedisStore::open_read_only(&keys.url(), None, &keys.prefix).await.unwrap().is_none());
    drop(keys.host().await);
    keys.command("HSET {}:meta schema 7").await;
    let text = format!(
        "the metadata store is not readable: {}: the records have version 7, and this anacostia knows up to 1; use the newer \
         anacostia that wrote them",
        keys.place()
    );
    assert_eq!(keys.try_host().await.unwrap_err().to_string(), text);
    let read = RedisStore::open_read_only(&keys.url(), None, &keys.prefix).await;
    assert_eq!(read.unwrap_err().to_string(), text);
    let text = format!(
        "the metadata store is not readable: {}: they belong to another program; set `metadata_store.prefix` to a name that \
         is not in use yet",
        keys.place()
    );
    keys.command("HDEL {}:meta schema").await;
    assert_eq!(keys.try_host().await.unwrap_err().to_string(), text);
    keys.command("DEL {}:meta").await;
    keys.command("SET {}:meta x").await;
    let said = keys.try_host().await.unwrap_err().to_string();
    assert!(said.starts_with("the metadata store is not readable: ") && said.contains("WRONGTYPE"), "{said}");
}

#[tokio::test]
async fn a_store_that_is_open_for_reading_refuses_writes_and_sees_those_of_the_host() {
    let keys = Keys::new();
    let host = keys.host().await;
    let reader = RedisStore::open_read_only(&keys.url(), None, &keys.prefix).await.unwrap().unwrap();
    record(&host, "a").await.unwrap();
    assert_eq!(reader.pending("raw").await.unwrap().count, 1);
    assert_eq!(
        record(&reader, "b").await.unwrap_err().to_string(),
        format!(
            "failed to record what a resource saw: {} is open for reading only; ask the host that has it, or stop that host \
             first",
            keys.place()
        )
    );
}

#[tokio::test]
async fn a_server_that_is_away_is_named_without_the_password() {
    let url = "redis://anna@127.0.0.1:1/3";
    let error = RedisStore::open(url, None, "anacostia", now()).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("the metadata store failed to connect to {url}: ")), "{error}");
    assert!(error.contains("onnection refused"), "{error}");
}

/// Repeats a write until it is done, as callers do.
async fn repeated(store: &RedisStore, batch: &Batch) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match store.record("raw", batch.clone(), now()).await {
            Err(StoreError::Unavailable { .. }) => assert!(Instant::now() < deadline),
            answer => return answer.unwrap().new,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_goes_on_after_its_connections_were_lost() {
    let server = Server::start();
    let keys = Keys::on(&server);
    let store = keys.host().await;
    record(&store, "a").await.unwrap();
    for round in 0..3 {
        keys.command("CLIENT KILL TYPE normal SKIPME yes").await;
        let batch = Batch::new(vec![file(&format!("b{round}"))], u64::MAX);
        assert_eq!(repeated(&store, &batch).await, 1);
    }
    assert_eq!(store.pending("raw").await.unwrap().count, 4);
    let events = store.events(0, None, 100).await.unwrap();
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), (1..=5).collect::<Vec<_>>());
    assert_eq!(*store.newest_event().borrow(), 5);
}

/// What was confirmed is there when the server is back, and the host goes on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_server_is_killed() {
    let mut server = Server::start();
    let keys = Keys::on(&server);
    let store = keys.host().await;
    let mut confirmed = 0;
    for round in 0..3 {
        for n in 0..20 {
            confirmed += record(&store, &format!("{round}-{n}")).await.unwrap();
        }
        server.tell(if round == 1 { "stop" } else { "kill" });
        assert!(matches!(record(&store, "away").await, Err(StoreError::Unavailable { .. })));
        server.tell("start");
        let batch = Batch::new(vec![file(&format!("back-{round}"))], u64::MAX);
        confirmed += repeated(&store, &batch).await;
        assert_eq!(store.pending("raw").await.unwrap().count, confirmed);
    }
    assert_eq!(confirmed, 63);
}

/// A server whose memory is full refuses a write as a whole, and the host goes on once there is
/// room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_memory_refuses_writes_as_a_whole() {
    let server = Server::start();
    let keys = Keys::on(&server);
    let store = keys.host().await;
    record(&store, "a").await.unwrap();
    keys.command("CONFIG SET maxmemory 1").await;
    let batch = Batch::new((0..100).map(|n| file(&format!("b{n}"))).collect(), u64::MAX);
    let refused = store.record("raw", batch.clone(), now()).await.unwrap_err().to_string();
    assert!(refused.starts_with("the metadata store failed to record what a resource saw: OOM "), "{refused}");
    assert_eq!(store.pending("raw").await.unwrap().count, 1);
    keys.command("CONFIG SET maxmemory 0").await;
    assert_eq!(repeated(&store, &batch).await, 100);
    let events = store.events(0, None, 1_000).await.unwrap();
    assert_eq!(events.len(), 102);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_measured_and_contradictions_are_found() {
    let keys = Keys::new();
    let store = keys.host().await;
    for path in ["a", "b"] {
        record(&store, path).await.unwrap();
    }
    let parts = keys.look_after(|upkeep| upkeep.parts().unwrap());
    let count = |name: &str| parts.iter().find(|part| part.name == name).map(|part| (part.count, part.bytes > 0));
    assert_eq!(
        (count("artifacts"), count("events"), count("runs")),
        (Some((2, true)), Some((3, true)), Some((0, false)))
    );
    assert_eq!(keys.check(), [""; 0]);
    keys.command("ZREM {}:artifacts:raw:new 1").await;
    keys.command("HDEL {}:at:raw b").await;
    keys.command("XDEL {}:events 2-0").await;
    assert_eq!(
        keys.check(),
        [
            "1 resources count wrongly how many artifacts are new",
            "1 artifacts are missing in the list of their state",
            "1 artifacts are not where they lie",
            "1 events are missing between others"
        ]
    );
    let refused = keys.look_after(|upkeep| upkeep.back_up(std::path::Path::new("copy")).unwrap_err().to_string());
    assert!(
        refused.starts_with(&format!("the records are in {}, which only the server itself copies: ", keys.place()))
    );
}
